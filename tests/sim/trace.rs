//! What happened in a run, in order: left behind when it fails, and compared where a seed is run twice.

use std::sync::{Arc, Mutex};
use tokio::time::Instant;

#[derive(Default)]
struct Events {
    lines: Vec<String>,
    /// Lines and what happens thousands of times.
    steps: Vec<String>,
    failures: Vec<String>,
}

/// Clones write into the same trace.
#[derive(Clone)]
pub struct Trace {
    began: Instant,
    events: Arc<Mutex<Events>>,
    aloud: bool,
}

impl Trace {
    /// `SPINE_SIM_TRACE=1` prints it as it grows.
    pub fn new() -> Trace {
        let aloud = std::env::var_os("SPINE_SIM_TRACE").is_some();
        Trace { began: Instant::now(), events: Arc::default(), aloud }
    }

    fn events(&self) -> std::sync::MutexGuard<'_, Events> {
        self.events.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Microseconds since the run began.
    pub fn now(&self) -> u64 {
        self.began.elapsed().as_micros() as u64
    }

    pub fn say(&self, what: String) {
        let line = format!("{:>9.3} {what}", self.now() as f64 / 1e6);
        self.events().steps.push(line.clone());
        if self.aloud {
            eprintln!("{line}");
        }
        self.events().lines.push(line);
    }

    /// As [`Trace::say`], for what happens thousands of times: only compared.
    pub fn note(&self, what: &str) {
        let step = format!("{} {what}", self.now());
        self.events().steps.push(step);
    }

    /// A promise was broken.
    pub fn fail(&self, what: String) {
        self.say(format!("BROKEN {what}"));
        self.events().failures.push(what);
    }

    /// The promises broken so far.
    pub fn failures(&self) -> Vec<String> {
        self.events().failures.clone()
    }

    pub fn lines(&self) -> Vec<String> {
        self.events().lines.clone()
    }

    pub fn steps(&self) -> Vec<String> {
        self.events().steps.clone()
    }
}
