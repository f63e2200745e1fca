//! Tests of the log room (P1, P7).

mod basics;
mod crash;
mod damage;
mod model;

use super::*;
use crate::seam::{clock::SystemClock, fs_real::RealFs, rng::SystemRng};

/// The machine's world.
fn real() -> World {
    World { fs: Arc::new(RealFs), clock: Arc::new(SystemClock), rng: Arc::new(SystemRng) }
}

/// Options with small segments.
fn small() -> LogOptions {
    LogOptions {
        segment_bytes: 64 << 10,
        space_patience: Duration::ZERO,
        fatal: Arc::new(|why| panic!("{why}")),
        ..LogOptions::default()
    }
}

fn record(index: u64, term: u64, len: usize) -> LogRecord {
    let byte = (index * 31 + term) as u8;
    LogRecord { index, term, leader: term << 16 | 1, payload: vec![byte; len].into() }
}

/// Appends and waits for durability.
async fn append(group: &GroupLog, records: Vec<LogRecord>) -> io::Result<()> {
    let (done, receive) = done_channel();
    group.append(records, done);
    receive.await.unwrap()
}
