//! The node's operating log of the last day: out of the journal, else out of the file that the node writes to.
//!
//! Patient data are not in it by rule (operations.md §8). Here is a second fence: only lines of the operating log's own shape go on,
//! so that what a library or a panic printed stays behind, and whatever reads like an NHS number is struck out.

use super::Part;
use crate::model::NhsNumber;
use serde_json::Value;
use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Most bytes of a log that are looked at: its end.
const MOST: u64 = 32 << 20;
const DAY: jiff::SignedDuration = jiff::SignedDuration::from_hours(24);
const NAME: &str = "log.jsonl";

/// `pid`: the process that answers on the admin socket, if one does.
pub fn part(pid: Option<i32>) -> Part {
    let of_unit = pid.is_none_or(is_of_the_unit);
    let journal = if of_unit { journal() } else { Err("the node runs outside of systemd's unit".into()) };
    let text = journal.or_else(|why| match pid {
        None => Err(format!("{why}; and no node runs here that would say where else it writes")),
        Some(pid) => written_to(pid).and_then(|path| end_of(&path)).map_err(|e| format!("{why}; {e}")),
    });
    match text {
        Err(why) => Part::missing(NAME, "the node's log of 24 h", why),
        Ok(text) => {
            let since = jiff::Timestamp::now() - DAY;
            let (kept, left) = fenced(&text, &since.to_string());
            let mut part = Part::new(NAME, "the node's log of 24 h", kept);
            if left > 0 {
                part.note = format!("{left} lines that are not of the operating log's shape were left out");
            }
            part
        }
    }
}

/// Whether systemd started a process as the node: another that runs here by hand has its log elsewhere.
fn is_of_the_unit(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/cgroup")).is_ok_and(|groups| groups.contains("spine.service"))
}

/// What the journal has of the unit; an error where it has nothing, or may not be read.
fn journal() -> Result<String, String> {
    let mut ask = Command::new("journalctl");
    ask.args(["--unit", "spine", "--since", "-24h", "--output", "cat", "--no-pager", "--quiet", "--lines", "200000"]);
    let output = ask.stdin(Stdio::null()).output().map_err(|e| format!("journalctl cannot be run: {e}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    match (output.status.success(), text.trim().is_empty()) {
        (true, false) => Ok(text),
        (true, true) => {
            Err("the journal shows nothing of the unit spine (as root, or in the group systemd-journal?)".into())
        }
        (false, _) => Err(format!("journalctl: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}

/// The file that a process has for its stdout.
fn written_to(pid: i32) -> Result<PathBuf, String> {
    let link = format!("/proc/{pid}/fd/1");
    let path = std::fs::read_link(&link).map_err(|e| format!("{link}: {e}"))?;
    match path.is_file() {
        true => Ok(path),
        false => Err(format!("the node writes its log to {}, which is no file", path.display())),
    }
}

fn end_of(path: &Path) -> Result<String, String> {
    let read = || -> io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(MOST)))?;
        let mut bytes = vec![];
        file.take(MOST).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    read().map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).map_err(|e| format!("{}: {e}", path.display()))
}

/// Lines of the operating log from `since` on, and how many others there were.
fn fenced(text: &str, since: &str) -> (String, usize) {
    let (mut kept, mut left) = (String::new(), 0);
    let from = text.len().saturating_sub(MOST as usize);
    for line in text.get(from..).unwrap_or(text).lines() {
        let value: Option<Value> = serde_json::from_str(line).ok();
        let field = |name: &str| value.as_ref().and_then(|value| value[name].as_str());
        match (field("ts"), field("level"), field("event")) {
            // RFC 3339 in UTC: the order of the text is the order of time, down to the second.
            (Some(at), Some(_), Some(_)) if at.get(..19) >= since.get(..19) => {
                kept.push_str(&without_numbers(line));
                kept.push('\n');
            }
            (Some(_), Some(_), Some(_)) => {}
            _ => left += 1,
        }
    }
    (kept, left)
}

/// Ten digits with the check digit of an NHS number, together or in groups of 3, 3 and 4.
fn without_numbers(line: &str) -> String {
    let (mut out, mut rest) = (String::with_capacity(line.len()), line);
    let mut before = None;
    while let Some(c) = rest.chars().next() {
        let alone = !before.is_some_and(|c: char| c.is_ascii_alphanumeric());
        match number(rest).filter(|_| alone && c.is_ascii_digit()) {
            Some(length) => {
                out.push_str("[struck out]");
                rest = rest.get(length..).unwrap_or_default();
                before = Some(']');
            }
            None => {
                out.push(c);
                rest = rest.get(c.len_utf8()..).unwrap_or_default();
                before = Some(c);
            }
        }
    }
    out
}

/// How long the NHS number is that a text begins with, if it does.
fn number(text: &str) -> Option<usize> {
    let grouped = text.get(3..4) == Some(" ") && text.get(7..8) == Some(" ");
    let length = if grouped { 12 } else { 10 };
    let digits: String = text.get(..length)?.chars().filter(|c| *c != ' ').collect();
    let ends = text.get(length..)?.chars().next().is_none_or(|c| !c.is_ascii_alphanumeric());
    (ends && digits.len() == 10 && NhsNumber::parse(&digits).is_some()).then_some(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_of_the_log_pass_and_no_nhs_number_does() {
        let text = "{\"ts\":\"2026-11-30T10:00:00.000Z\",\"level\":\"info\",\"event\":\"a.b\",\"msg\":\"9990000018 999 000 0018\"}\n\
                    thread 'main' panicked: Edwards\n{\"name\":\"Edwards\"}\n\
                    {\"ts\":\"2026-11-28T10:00:00.000Z\",\"level\":\"info\",\"event\":\"a.b\",\"msg\":\"old\"}\n";
        let (kept, left) = fenced(text, "2026-11-29T10:00:00Z");
        let wanted = "{\"ts\":\"2026-11-30T10:00:00.000Z\",\"level\":\"info\",\"event\":\"a.b\",\"msg\":\"[struck out] [struck out]\"}\n";
        assert_eq!((kept.as_str(), left), (wanted, 2));
        for stays in ["9990000019", "a9990000018", "99900000180", "1234567", "0123-é9"] {
            assert_eq!(without_numbers(stays), stays);
        }
        assert_eq!(without_numbers("x=9990000018,"), "x=[struck out],");
    }

    #[test]
    fn a_log_that_goes_to_no_file_is_told_so() {
        let why = written_to(0).unwrap_err();
        assert!(why.contains("/proc/0/fd/1"), "{why}");
    }
}
