//! Keeps the demo's node processes: starts them, starts them again when they die, kills them on request, stops all.
//!
//! Each node's stdin is a pipe held here: when the demo itself is killed, the pipe closes and its nodes stop, so that
//! none is left behind.

use super::{control::Ask, layout::Layout, record::Record};
use crate::cli::{
    failure::{Failure, file},
    output,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{fs::OpenOptions, path::PathBuf, process::Stdio, time::Duration};
use tokio::{
    process::{Child, Command},
    sync::mpsc,
    time::Instant,
};

/// A node that died is started again after this long.
const PAUSE: Duration = Duration::from_secs(1);
/// A process that was sent SIGKILL is gone well before this.
const DYING: Duration = Duration::from_millis(500);
/// A node has 60 s to drain; nobody waits that long for a demo, whose clients are gone.
const PATIENCE: Duration = Duration::from_secs(15);

/// One node's process.
struct Slot {
    child: Option<Child>,
    /// Of its newest process, also when that has ended: a 0 in demo.json would be a trap for `kill`.
    pid: u32,
    /// When to start it again.
    again: Option<Instant>,
}

pub struct Supervisor {
    layout: Layout,
    program: PathBuf,
    set: Vec<String>,
    restart: bool,
    slots: Vec<Slot>,
    /// Once the first demo.json is out, each new process id is told there.
    recorded: bool,
}

impl Supervisor {
    pub fn new(layout: Layout, program: PathBuf, set: Vec<String>, restart: bool, nodes: u16) -> Self {
        let slots = (0..nodes).map(|_| Slot { child: None, pid: 0, again: None }).collect();
        Supervisor { layout, program, set, restart, slots, recorded: false }
    }

    /// Starts node `n`; its output goes to its log.
    pub fn start(&mut self, n: u16) -> Result<(), Failure> {
        let path = self.layout.log(n);
        let trouble = |e: std::io::Error| file(format!("node {n} cannot be started"), &path, &e);
        let log = OpenOptions::new().create(true).append(true).open(&path).map_err(trouble)?;
        let errors = log.try_clone().map_err(trouble)?;
        let mut command = Command::new(&self.program);
        command.arg("serve").arg("--config").arg(self.layout.config(n)).arg("--until-stdin-closes");
        for set in &self.set {
            command.arg("--set").arg(set);
        }
        // A signal from the terminal reaches the demo alone, which then stops its nodes in order.
        command.stdin(Stdio::piped()).stdout(log).stderr(errors).process_group(0).env_remove("NOTIFY_SOCKET");
        let child = command.spawn().map_err(trouble)?;
        let slot = &mut self.slots[usize::from(n) - 1];
        slot.pid = child.id().unwrap_or_default();
        slot.child = Some(child);
        slot.again = None;
        if self.recorded {
            self.record()?;
        }
        Ok(())
    }

    /// Writes demo.json, now and whenever a process changes from now on.
    pub fn record(&mut self) -> Result<(), Failure> {
        self.recorded = true;
        let pids: Vec<u32> = self.slots.iter().map(|s| s.pid).collect();
        Record::new(&self.layout, &pids).write(&self.layout)
    }

    /// Whether node `n`'s process has ended; with its exit, once.
    pub fn ended(&mut self, n: u16) -> Option<String> {
        let slot = &mut self.slots[usize::from(n) - 1];
        let status = slot.child.as_mut()?.try_wait().ok().flatten()?;
        slot.child = None;
        Some(status.to_string())
    }

    /// Serves until `stop` ends: restarts, and does what `demo kill` and `demo start` ask.
    pub async fn run(&mut self, asks: &mut mpsc::Receiver<Ask>, stop: impl Future<Output = ()>) -> Result<(), Failure> {
        tokio::pin!(stop);
        let mut ended = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::child())
            .map_err(|e| file("the demo cannot watch its nodes", &self.layout.dir, &e))?;
        loop {
            self.look_after()?;
            let next = self.slots.iter().filter_map(|s| s.again).min();
            tokio::select! {
                () = &mut stop => return Ok(()),
                _ = ended.recv() => {}
                () = tokio::time::sleep_until(next.unwrap_or_else(far)), if next.is_some() => {}
                ask = asks.recv() => match ask {
                    Some(ask) => self.act(ask).await,
                    None => return Ok(()),
                },
            }
        }
    }

    /// Notices the dead and starts again those whose pause is over.
    fn look_after(&mut self) -> Result<(), Failure> {
        for n in 1..=self.slots.len() as u16 {
            if let Some(status) = self.ended(n) {
                let (log, restart) = (self.layout.log(n), self.restart);
                let then = if restart { "starting it again in a second" } else { "it stays down (--no-restart)" };
                output::progress(&format!("node {n} ended ({status}); {then}; its log: {}", log.display()));
                self.slots[usize::from(n) - 1].again = restart.then(|| Instant::now() + PAUSE);
            }
            if self.slots[usize::from(n) - 1].again.is_some_and(|at| at <= Instant::now()) {
                self.start(n)?;
            }
        }
        Ok(())
    }

    async fn act(&mut self, ask: Ask) {
        let known = (1..=self.slots.len() as u16).contains(&ask.node);
        if known && ask.verb == "start" {
            self.let_die(ask.node).await;
        }
        let running = known && self.slots[usize::from(ask.node) - 1].child.is_some();
        let result = match ask.verb.as_str() {
            _ if !known => Err(format!("this demo has nodes 1 to {}", self.slots.len())),
            "kill" if !running => Err(format!("node {} is not running", ask.node)),
            "kill" => self.kill(ask.node).await,
            // Repeating is no error: it runs.
            "start" if running => Ok(()),
            "start" => self.start(ask.node).map_err(|e| format!("{}: {}", e.what, e.why)),
            _ => Err("not understood".into()),
        };
        let _ = ask.answer.send(result);
    }

    /// A script that has just killed a node by its process id asks for a start before the process is gone.
    async fn let_die(&mut self, n: u16) {
        let slot = &mut self.slots[usize::from(n) - 1];
        let Some(child) = &mut slot.child else { return };
        // Waiting closes a child's stdin, which would stop a node that lives on.
        let stdin = child.stdin.take();
        if tokio::time::timeout(DYING, child.wait()).await.is_ok() {
            slot.child = None;
        } else {
            child.stdin = stdin;
        }
    }

    /// kill -9, done when the process is gone.
    async fn kill(&mut self, n: u16) -> Result<(), String> {
        let slot = &mut self.slots[usize::from(n) - 1];
        let Some(mut child) = slot.child.take() else { return Err("not running".into()) };
        child.kill().await.map_err(|e| e.to_string())?;
        slot.again = self.restart.then(|| Instant::now() + PAUSE);
        Ok(())
    }

    /// SIGTERM to all at once, then SIGKILL to whoever is left.
    pub async fn stop(&mut self) {
        for slot in &self.slots {
            if let Some(pid) = slot.child.as_ref().and_then(Child::id) {
                let _ = kill(Pid::from_raw(pid as i32), Signal::SIGTERM);
            }
        }
        let deadline = Instant::now() + PATIENCE;
        for slot in &mut self.slots {
            let Some(child) = &mut slot.child else { continue };
            if tokio::time::timeout_at(deadline, child.wait()).await.is_err() {
                let _ = child.kill().await;
            }
        }
    }
}

fn far() -> Instant {
    Instant::now() + Duration::from_secs(3_600)
}
