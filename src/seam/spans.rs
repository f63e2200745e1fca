//! What a request did where, for whoever keeps traces: steps with a beginning and an end, handed to the one task that sends them out
//! of the process (`node/spans.rs`). Where none does, or nobody above records the trace, a step costs one look. Bounded:
//! what the task has no room for is dropped and counted (P6). Names and figures only, nothing of a patient (P10).

use crate::model::trace_context::TraceContext;
use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Instant, SystemTime, UNIX_EPOCH},
};
use tokio::sync::mpsc;

/// Steps that wait to be sent.
const ROOM: usize = 8_192;

/// On whose side of a call a step is; the numbers are OTLP's (opentelemetry-proto trace.proto, SpanKind).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Within = 1,
    Asked = 2,
    Asks = 3,
}

/// What is told of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    Word(&'static str),
    Number(u64),
}

/// A step that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    pub trace: [u8; 16],
    pub id: [u8; 8],
    /// All zeroes where it is the first of its trace.
    pub parent: [u8; 8],
    pub name: &'static str,
    pub side: Side,
    /// Nanoseconds since the epoch.
    pub begun: u64,
    pub ended: u64,
    pub told: Vec<(&'static str, Told)>,
    /// It did not do what was asked.
    pub failed: bool,
}

struct Sink {
    spans: mpsc::Sender<Span>,
    /// Every so many requests that bring no context begin a trace of ours; 0: none.
    sample_every: u64,
    requests: AtomicU64,
    ids: AtomicU64,
    dropped: AtomicU64,
}

static SINK: OnceLock<Sink> = OnceLock::new();

/// From now on steps are kept for the caller to send. `None` if somebody has them already. `seed` is random.
pub fn collect(sample_every: u64, seed: u64) -> Option<mpsc::Receiver<Span>> {
    let (spans, receive) = mpsc::channel(ROOM);
    let sink = Sink {
        spans,
        sample_every,
        requests: AtomicU64::new(0),
        ids: AtomicU64::new(seed),
        dropped: AtomicU64::new(0),
    };
    SINK.set(sink).ok().map(|()| receive)
}

/// Steps for which there was no room, since this was asked last.
pub fn dropped() -> u64 {
    SINK.get().map_or(0, |sink| sink.dropped.swap(0, Relaxed))
}

/// A context for a request that brings none, if it is its turn to be traced.
pub fn begin_trace() -> Option<TraceContext> {
    let sink = SINK.get().filter(|sink| sink.sample_every > 0)?;
    if sink.requests.fetch_add(1, Relaxed) % sink.sample_every != 0 {
        return None;
    }
    let halves = [sink.id(), sink.id()];
    let mut trace = [0; 16];
    trace[..8].copy_from_slice(&halves[0]);
    trace[8..].copy_from_slice(&halves[1]);
    Some(TraceContext { trace, span: [0; 8], sampled: true })
}

/// Begins a step below `above`, if anybody records it.
pub fn begin(above: Option<TraceContext>, name: &'static str, side: Side) -> Option<Step> {
    let above = above.filter(|above| above.sampled)?;
    let sink = SINK.get()?;
    let begun = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
    let span = Span {
        trace: above.trace,
        id: sink.id(),
        parent: above.span,
        name,
        side,
        begun,
        ended: begun,
        told: vec![],
        failed: false,
    };
    Some(Step { span: Some(span), begun: Instant::now() })
}

/// A step under way. It ends when it is dropped.
pub struct Step {
    span: Option<Span>,
    begun: Instant,
}

impl Step {
    /// For whatever is done within the step.
    pub fn context(&self) -> Option<TraceContext> {
        self.span.as_ref().map(|span| TraceContext { trace: span.trace, span: span.id, sampled: true })
    }
    pub fn tell(&mut self, what: &'static str, told: Told) {
        if let Some(span) = &mut self.span {
            span.told.push((what, told));
        }
    }
    pub fn failed(&mut self) {
        if let Some(span) = &mut self.span {
            span.failed = true;
        }
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        let (Some(mut span), Some(sink)) = (self.span.take(), SINK.get()) else { return };
        // The clock may have been set meanwhile: a step takes the time that passed.
        span.ended = span.begun + self.begun.elapsed().as_nanos() as u64;
        if sink.spans.try_send(span).is_err() {
            sink.dropped.fetch_add(1, Relaxed);
        }
    }
}

impl Sink {
    /// Never all zeroes. A random start, counted on and mixed (the finaliser of splitmix64).
    fn id(&self) -> [u8; 8] {
        let mut z = self.ids.fetch_add(0x9e37_79b9_7f4a_7c15, Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)).max(1).to_be_bytes()
    }
}
