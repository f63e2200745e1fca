//! What a bundle tells of the machine: kernel, limits, disks, time, unit; and which files the data folder holds, never what is in them.

use super::Part;
use crate::{
    config::{KeyValue, Settings},
    ops::recorder::{REVISION, VERSION},
};
use std::{
    fmt::Write as _,
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
    process::{Command, Stdio},
};

/// Files of the data folder that are listed.
const MOST_FILES: usize = 50_000;
/// Longest output of a tool, in bytes.
const MOST: usize = 1 << 20;

/// What is told whether a node runs or not. `pid`: the node's process, if it does.
pub fn parts(settings: Option<&Settings>, pid: Option<i32>) -> Vec<Part> {
    let process = pid.map_or_else(|| "self".to_owned(), |pid| pid.to_string());
    let whose = if pid.is_some() { "of the node's process" } else { "of this command, as no node runs" };
    let mut limits = file("limits.txt", "limits", &format!("/proc/{process}/limits"));
    limits.note = whose.into();
    let data = settings.map(|settings| settings.node.data.as_path());
    vec![
        versions(),
        tool("kernel.txt", "kernel and processors", &[&["uname", "-a"], &["cat", "/etc/os-release"], &["nproc"]]),
        limits,
        tool(
            "memory.txt",
            "memory and load",
            &[&["cat", "/proc/meminfo", "/proc/loadavg"], &["cat", "/proc/pressure/io"]],
        ),
        tool("df.txt", "room on disks", &[&["df", "-hT"], &["df", "-hi"]]),
        file("mounts.txt", "mounts", "/proc/mounts"),
        tool("sockets.txt", "listening sockets", &[&["ss", "-ltn"]]),
        tool("time.txt", "time service", &[&["timedatectl", "status"], &["chronyc", "-n", "tracking"]]),
        tool(
            "unit.txt",
            "systemd's view of the unit",
            &[&["systemctl", "status", "spine", "--no-pager", "--lines", "0"]],
        ),
        match data {
            Some(data) => data_folder(data),
            None => {
                Part::missing("data-folder.txt", "files of the data folder", "the configuration cannot be read".into())
            }
        },
    ]
}

fn versions() -> Part {
    let text = format!(
        "spine {VERSION}\nrevision {REVISION}\nbuilt for {} {}, {}\n",
        std::env::consts::ARCH,
        std::env::consts::OS,
        if cfg!(debug_assertions) { "with debug assertions" } else { "release" }
    );
    Part::new("versions.txt", "versions and build of the installed program", text)
}

/// Values with where they came from. Keys name files of secrets and hold none.
pub fn config(values: &[KeyValue]) -> String {
    values.iter().map(|told| format!("{} = {}   # {}\n", told.key, told.value, told.origin)).collect()
}

/// A text whose addresses have lost what stands before the `@` of their hosts (`https://user:password@host`) and behind their `?`
/// (`?api-key=…`): where secrets are that somebody wrote into an address, in the configuration, a unit's command line or a mount.
pub fn redacted(text: &str) -> String {
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some((before, address)) = rest.split_once("://") {
        let ends = |c: char| c.is_whitespace() || c.is_control() || "\"'`<>()\\,".contains(c);
        let (address, behind) = address.split_at(address.find(ends).unwrap_or(address.len()));
        let (authority, path) = address.split_at(address.find(['/', '?', '#']).unwrap_or(address.len()));
        out.push_str(before);
        out.push_str("://");
        out.push_str(
            &authority.rsplit_once('@').map_or(authority.to_owned(), |(_, host)| format!("[redacted]@{host}")),
        );
        out.push_str(&path.split_once('?').map_or(path.to_owned(), |(path, _)| format!("{path}?[redacted]")));
        rest = behind;
    }
    out + rest
}

fn file(name: &'static str, what: &'static str, path: &str) -> Part {
    match fs::read_to_string(path) {
        Ok(text) => Part::new(name, what, text),
        Err(e) => Part::missing(name, what, format!("{path}: {e}")),
    }
}

/// The output of some commands, one after the other. A machine that lacks one of them tells of the others.
fn tool(name: &'static str, what: &'static str, commands: &[&[&str]]) -> Part {
    let (mut text, mut lacks) = (String::new(), vec![]);
    for command in commands {
        let Some((program, args)) = command.split_first() else { continue };
        match Command::new(program).args(args).stdin(Stdio::null()).output() {
            Err(e) => lacks.push(format!("{program}: {e}")),
            Ok(output) => {
                let told = [output.stdout, output.stderr].concat();
                let told = String::from_utf8_lossy(&told[..told.len().min(MOST)]).into_owned();
                let _ = writeln!(text, "$ {}\n{}\n", command.join(" "), told.trim_end());
            }
        }
    }
    if text.is_empty() {
        return Part::missing(name, what, lacks.join("; "));
    }
    let mut part = Part::new(name, what, text);
    part.note = lacks.join("; ");
    part
}

/// Mode, owner, size, time of writing and name of each file.
fn data_folder(data: &Path) -> Part {
    let (name, what) = ("data-folder.txt", "names, sizes and modes of the data folder's files");
    let mut lines = vec![];
    if let Err(e) = list(data, data, &mut lines) {
        return Part::missing(name, what, format!("{}: {e}", data.display()));
    }
    let mut part = Part::new(name, what, format!("{}\n{}\n", data.display(), lines.join("\n")));
    if lines.len() >= MOST_FILES {
        part.note = format!("the first {MOST_FILES}");
    }
    part
}

fn list(folder: &Path, root: &Path, lines: &mut Vec<String>) -> std::io::Result<()> {
    let mut entries: Vec<_> = fs::read_dir(folder)?.flatten().collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        if lines.len() >= MOST_FILES {
            return Ok(());
        }
        let path = entry.path();
        // Files come and go under a running node.
        let Ok(meta) = entry.metadata() else { continue };
        let written = jiff::Timestamp::from_second(meta.mtime()).map(|at| at.to_string()).unwrap_or_default();
        let shown = path.strip_prefix(root).unwrap_or(&path).display().to_string();
        let (mode, owner) = (meta.permissions().mode() & 0o7777, format!("{}:{}", meta.uid(), meta.gid()));
        let kind = if meta.is_dir() { "d" } else { "f" };
        lines.push(format!("{kind} {mode:04o} {owner:>9} {:>12} {written} {shown}", meta.len()));
        if meta.is_dir() && list(&path, root, lines).is_err() {
            lines.push(format!("? {shown} cannot be read"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_an_address_is_taken_out_and_the_rest_stays() {
        assert_eq!(redacted("\"https://me:s3cr:t@a.example/x@y\""), "\"https://[redacted]@a.example/x@y\"");
        let several = "[\"https://a:b@c\", \"https://d:e@f/g?api-key=h&i#j\"] http://k\nhttps://l@m";
        let left = "[\"https://[redacted]@c\", \"https://[redacted]@f/g?[redacted]\"] http://k\nhttps://[redacted]@m";
        assert_eq!(redacted(several), left);
        let part = Part::new("a", "b", "spine serve --set otlp.endpoint=https://u:p@c/v1".into());
        assert!(part.content.unwrap().ends_with(b"https://[redacted]@c/v1"), "of whatever a bundle holds");
        for stays in ["\"https://a.example:8443/x@y\"", "\"/etc/spine/tls/key.pem\"", "10", "spine.toml:3"] {
            assert_eq!(redacted(stays), stays);
        }
    }

    #[test]
    fn files_are_listed_with_sizes_and_modes_and_never_read() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("log")).unwrap();
        fs::write(dir.path().join("log/1.seg"), "Edwards").unwrap();
        fs::set_permissions(dir.path().join("log/1.seg"), fs::Permissions::from_mode(0o640)).unwrap();
        let part = data_folder(dir.path());
        let text = String::from_utf8(part.content.unwrap()).unwrap();
        let line = text.lines().find(|line| line.ends_with("log/1.seg")).unwrap();
        assert!(line.starts_with("f 0640 ") && line.contains(" 7 ") && !text.contains("Edwards"), "{text}");
        assert!(data_folder(&dir.path().join("none")).content.is_err());
    }

    #[test]
    fn a_tool_that_is_not_there_is_named_and_the_others_are_heard() {
        let part = tool("a", "b", &[&["no-such-tool"], &["uname"]]);
        assert!(part.note.contains("no-such-tool") && part.content.unwrap().starts_with(b"$ uname\n"));
        assert!(tool("a", "b", &[&["no-such-tool"]]).content.is_err());
    }
}
