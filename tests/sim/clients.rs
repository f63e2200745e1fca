//! Clients of a simulated site, and what they know afterwards: which writes were answered, and what each register said
//! when. A client believes only answers from a process that was alive when they came.

use crate::service::{put, register_key, set, value_of};
use crate::site::Site;
use spine::engine::{Command, Engine, Fence, Outcome, Unavailable};
use spine::seam::net::NodeNumber;
use spine::seam::sim::SimRng;
use spine::store::Reader;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::timeout;

/// Registers that clients share; few, so that they get into each other's way.
const REGISTERS: u64 = 3;
/// How long a client waits for an answer before it gives the attempt up.
const PATIENCE: Duration = Duration::from_secs(10);

/// One operation on a register, for the judge. Times are microseconds since the run began.
#[derive(Clone, Debug)]
pub struct Op {
    pub called: u64,
    /// `None`: it may take effect at any later time, or never.
    pub answered: Option<u64>,
    pub act: Act,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    Set(u64),
    Saw(u64),
}

/// What clients know.
#[derive(Default)]
pub struct Known {
    /// Writes that were answered, by id.
    pub answered: Mutex<BTreeSet<String>>,
    /// Writes that were asked for.
    pub asked: Mutex<BTreeSet<String>>,
    /// Operations by register.
    pub registers: Mutex<BTreeMap<String, Vec<Op>>>,
    /// Clients start nothing new.
    pub enough: AtomicBool,
    values: AtomicU64,
}

/// One client.
pub struct Client {
    pub site: Site,
    pub known: Arc<Known>,
    pub rng: SimRng,
    pub name: u64,
}

impl Client {
    fn enough(&self) -> bool {
        self.known.enough.load(Ordering::Relaxed)
    }

    async fn pause(&self, longest: u64) {
        tokio::time::sleep(Duration::from_micros(500 + self.rng.below(longest * 1000))).await;
    }

    fn node(&self) -> NodeNumber {
        let all = self.site.numbers();
        all[self.rng.below(all.len() as u64) as usize]
    }

    /// Asks one node. `None`: nobody is there, or nobody was there any more when the answer came.
    async fn ask<T>(
        &self,
        what: impl AsyncFnOnce(&Engine) -> Result<T, Unavailable>,
    ) -> Option<Result<T, Unavailable>> {
        let running = self.site.running(self.node())?;
        let answer = timeout(PATIENCE, what(&running.engine)).await.unwrap_or(Err(Unavailable::Unknown));
        match running.life.alive() {
            true => Some(answer),
            false => Some(Err(Unavailable::Unknown)),
        }
    }

    async fn submit(&self, command: &Command) -> Option<Result<Outcome, Unavailable>> {
        let answer = self.ask(async |engine| engine.submit(command.clone()).await).await;
        if let Some(Err(Unavailable::Fault(why))) = &answer {
            self.site.trace.fail(format!("a command met a fault: {why}"));
        }
        answer
    }

    /// Makes writes, each until it is answered, through whatever node is there.
    pub async fn write(self) {
        let mut n = 0;
        while !self.enough() {
            n += 1;
            let id = format!("{}-{n}", self.name);
            self.known.asked.lock().unwrap().insert(id.clone());
            let command = put(&id);
            loop {
                match self.submit(&command).await {
                    Some(Ok(outcome)) => {
                        if outcome.reply != "1" {
                            self.site.trace.fail(format!("P3: write {id} was answered {:?}", outcome.reply));
                        }
                        self.site.trace.note(&id);
                        self.known.answered.lock().unwrap().insert(id);
                        break;
                    }
                    _ => self.pause(100).await,
                }
            }
            self.pause(60).await;
        }
    }

    /// Sets and reads registers.
    pub async fn registers(self) {
        while !self.enough() {
            let name = format!("r{}", self.rng.below(REGISTERS));
            let called = self.site.trace.now();
            let op = match self.rng.below(5) {
                0 => self.set_once(&name, called).await,
                1 => self.set_surely(&name, called).await,
                _ => self.read(&name, called).await,
            };
            if let Some(op) = op {
                self.known.registers.lock().unwrap().entry(name).or_default().push(op);
            }
            self.pause(50).await;
        }
    }

    fn value(&self) -> u64 {
        self.known.values.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Asks once. What is refused with the promise that nothing was done is no operation.
    async fn set_once(&self, name: &str, called: u64) -> Option<Op> {
        let value = self.value();
        let answered = match self.submit(&set(name, value, "")).await? {
            Ok(_) => Some(self.site.trace.now()),
            Err(why) if why.retry_is_safe() => return None,
            Err(_) => None,
        };
        Some(Op { called, answered, act: Act::Set(value) })
    }

    /// Asks under one request id until there is an answer.
    async fn set_surely(&self, name: &str, called: u64) -> Option<Op> {
        let value = self.value();
        let command = set(name, value, &format!("s{value}"));
        loop {
            if let Some(Ok(_)) = self.submit(&command).await {
                return Some(Op { called, answered: Some(self.site.trace.now()), act: Act::Set(value) });
            }
            self.pause(100).await;
        }
    }

    async fn read(&self, name: &str, called: u64) -> Option<Op> {
        let key = register_key(name);
        let read = async |engine: &Engine| {
            let view = engine.view(engine.partition_of(name.as_bytes()), Fence::Linearizable).await?;
            view.get(&key).map_err(|_| Unavailable::NoLeader)
        };
        let value = value_of(self.ask(read).await?.ok()?);
        self.site.trace.note(name);
        Some(Op { called, answered: Some(self.site.trace.now()), act: Act::Saw(value) })
    }
}
