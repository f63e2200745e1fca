//! Running the program and looking at what it left.

use std::{
    io::Write,
    net::{SocketAddr, TcpListener},
    path::Path,
    process::{Command, Stdio},
    sync::atomic::{AtomicU16, Ordering},
};

/// What a run of the program showed.
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Ran {
    pub fn of(output: std::process::Output) -> Ran {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        Ran { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {}\n{}", self.out, self.err))
    }

    /// Asserts success.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.code, 0, "{}{}", self.out, self.err);
        self
    }

    /// Asserts a failure with its four lines, and gives them back: what, why, fix, code.
    #[track_caller]
    pub fn failed(self, code: i32) -> [String; 4] {
        assert_eq!(self.code, code, "{}{}", self.out, self.err);
        let lines: Vec<&str> = self.err.lines().collect();
        let at = lines.iter().rposition(|l| l.starts_with("error: ")).expect("an error line");
        let four = &lines[at..];
        assert_eq!(four.len(), 4, "{}", self.err);
        let part =
            |n: usize, mark: &str| four[n].strip_prefix(mark).unwrap_or_else(|| panic!("{}", self.err)).to_owned();
        [part(0, "error: "), part(1, "  why: "), part(2, "  fix: "), part(3, "  code: ")]
    }
}

/// Runs the program with a configuration file that does not exist unless the test makes one in `dir`.
pub fn spine(dir: &Path, args: &[&str]) -> Ran {
    spine_with(dir, args, "")
}

pub fn spine_with(dir: &Path, args: &[&str], stdin: &str) -> Ran {
    let mut child = command(dir, args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    // A program that does not read its stdin closes it: no failure of the test.
    let _ = child.stdin.take().expect("piped").write_all(stdin.as_bytes());
    Ran::of(child.wait_with_output().expect("the program ends"))
}

pub fn command(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_spine"));
    command.args(args).current_dir(dir).env_remove("SPINE_LOG");
    // An empty file stands for "no configuration": the machine's own must not leak in.
    let config = dir.join("spine.toml");
    if !config.exists() {
        std::fs::write(&config, "").expect("the folder can be written");
    }
    command.env("SPINE_CONFIG", config);
    command
}

/// An address that no other test of this process gets, and that the system gives to no connection going out: it is free until
/// it is used.
pub fn free_address() -> SocketAddr {
    const FIRST: u16 = 10_000;
    const ALL: u16 = 5_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    for _ in 0..ALL {
        let own = (std::process::id() % u32::from(ALL)) as u16;
        let port = FIRST + own.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % ALL;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
    panic!("no port of {FIRST} and the next {ALL} is free")
}
