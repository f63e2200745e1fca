//! The calling side of one lane to one peer: a queue, a connection when there is something to send, back-off.

use super::frame::{self, FLAG_ANSWER, FLAG_FAILED, Failure, Frame};
use super::{AbortOnDrop, Shared, lock, prepare, tls};
use crate::seam::net::{Kind, Lane, MAX_PAYLOAD, NodeNumber};
use crate::wire::record::Record;
use bytes::Bytes;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::{io, time::Duration};
use tokio::io::{AsyncWriteExt, BufWriter, ReadHalf};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_rustls::client::TlsStream;

/// TCP, TLS and hello together. Longer than a handshake on a busy machine, shorter than an operator's patience.
const CONNECT: Duration = Duration::from_secs(3);
/// TCP's part of that, which the peer's kernel answers however busy the peer is. A first packet that was lost is sent again
/// after a second or more, so that asking anew is quicker (P2).
const REACH: Duration = Duration::from_millis(500);
/// After a failed connection attempt, calls fail at once for this long; doubled up to the longest. A peer that is back, or
/// a network, must not wait for this much longer than for an election (P2).
const BACKOFF_FIRST: Duration = Duration::from_millis(50);
const BACKOFF_LONGEST: Duration = Duration::from_millis(200);
/// The longest where somebody answers who is not that peer, or does not take this node for one: a handshake costs him, too.
const BACKOFF_STRANGER: Duration = Duration::from_secs(1);
/// A connection on which calls wait and nothing has arrived for this long is given up.
const STALLED: Duration = Duration::from_secs(10);
/// Frames are gathered up to this many bytes before they go to TLS.
const WRITE_BUFFER: usize = 64 << 10;

/// Calls under way on one connection. Raft has few but never waits; pieces are large.
fn in_flight(lane: Lane) -> usize {
    match lane {
        Lane::Raft => 512,
        Lane::Ask => 2048,
        Lane::Bulk => 16,
    }
}

pub fn lane_number(lane: Lane) -> u64 {
    match lane {
        Lane::Raft => 1,
        Lane::Ask => 2,
        Lane::Bulk => 3,
    }
}

/// A handle to the task that owns the connection. The task ends with the last handle.
#[derive(Clone)]
pub struct Link {
    queue: mpsc::Sender<Request>,
    permits: Arc<Semaphore>,
    pending: Pending,
    _task: Arc<AbortOnDrop>,
}

struct Request {
    kind: Kind,
    payload: Bytes,
    waiting: Waiting,
}

/// A caller that waits, and its place among the calls in flight.
struct Waiting {
    answer: oneshot::Sender<io::Result<Bytes>>,
    _permit: OwnedSemaphorePermit,
}

type Pending = Arc<Mutex<HashMap<u64, Waiting>>>;

impl Link {
    pub fn start(shared: Arc<Shared>, to: NodeNumber, lane: Lane, address: watch::Receiver<SocketAddr>) -> Self {
        let (queue, requests) = mpsc::channel(in_flight(lane));
        let pending = Pending::default();
        let task = Task { shared, to, lane, address, pending: pending.clone() };
        let task = Arc::new(AbortOnDrop(tokio::spawn(task.run(requests))));
        Link { queue, permits: Arc::new(Semaphore::new(in_flight(lane))), pending, _task: task }
    }

    /// Waits for a place among the calls in flight, then for the answer.
    pub async fn call(self, kind: Kind, payload: Bytes) -> io::Result<Bytes> {
        if payload.len() > MAX_PAYLOAD {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "payload is longer than a frame may be"));
        }
        if self.permits.available_permits() == 0 {
            // Callers that gave up still hold a place until the other side answers; take those places back.
            lock(&self.pending).retain(|_, waiting| !waiting.answer.is_closed());
        }
        let permit = self.permits.clone().acquire_owned().await.map_err(|_| closed())?;
        let (answer, answered) = oneshot::channel();
        let request = Request { kind, payload, waiting: Waiting { answer, _permit: permit } };
        self.queue.send(request).await.map_err(|_| closed())?;
        answered.await.map_err(|_| closed())?
    }
}

fn closed() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "the connection to the peer ended")
}

struct Task {
    shared: Arc<Shared>,
    to: NodeNumber,
    lane: Lane,
    address: watch::Receiver<SocketAddr>,
    pending: Pending,
}

impl Task {
    async fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        let mut backoff = BACKOFF_FIRST;
        let mut not_before = Instant::now();
        let mut told = false;
        while let Some(first) = requests.recv().await {
            if first.waiting.answer.is_closed() {
                continue;
            }
            if Instant::now() < not_before && !self.address.has_changed().unwrap_or(false) {
                let e = io::Error::new(io::ErrorKind::NotConnected, format!("node {} cannot be reached", self.to));
                let _ = first.waiting.answer.send(Err(e));
                continue;
            }
            match tokio::time::timeout(CONNECT, self.connect()).await.unwrap_or(Err(io::ErrorKind::TimedOut.into())) {
                Ok(stream) => {
                    self.shared.refusals.note(self.to, Ok(()));
                    told = false;
                    backoff = BACKOFF_FIRST;
                    let ended = self.pump(stream, first, &mut requests).await;
                    lock(&self.pending).clear();
                    tracing::info!(event = "peer.lost", node = self.to.0, lane = ?self.lane, why = %ended, "connection ended");
                }
                Err(e) => {
                    self.shared.refusals.note(self.to, Err(&e));
                    let stranger = matches!(e.kind(), io::ErrorKind::InvalidData | io::ErrorKind::PermissionDenied);
                    // Said once, not at each try: somebody answers there, and it will not mend itself.
                    if stranger && !told {
                        told = true;
                        let address = self.address.borrow().to_string();
                        tracing::warn!(event = "peer.stranger", node = self.to.0, address, why = %e,
                            "what answers there is not this site's node, or does not take this one for it");
                    }
                    tracing::debug!(event = "peer.unreachable", node = self.to.0, lane = ?self.lane, why = %e, "no connection");
                    let _ = first.waiting.answer.send(Err(e));
                    not_before = Instant::now() + backoff;
                    backoff = (backoff * 2).min(if stranger { BACKOFF_STRANGER } else { BACKOFF_LONGEST });
                }
            }
        }
    }

    async fn connect(&mut self) -> io::Result<TlsStream<TcpStream>> {
        let address = *self.address.borrow_and_update();
        let reached = tokio::time::timeout(REACH, TcpStream::connect(address)).await;
        let socket = reached.unwrap_or(Err(io::ErrorKind::TimedOut.into()))?;
        prepare(&socket)?;
        let config = self.shared.configs.load().client.clone();
        let name = tls::server_name(self.to, &self.shared.cluster)?;
        let mut stream = tokio_rustls::TlsConnector::from(config).connect(name, socket).await?;
        frame::send_hello(&mut stream, &self.shared.hello(lane_number(self.lane))).await?;
        let theirs = frame::read_hello(&mut stream).await?;
        if theirs.cluster != self.shared.cluster || theirs.node != u64::from(self.to.0) {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "another node answers at this address"));
        }
        tracing::info!(event = "peer.connected", node = self.to.0, lane = ?self.lane, program = theirs.program, "connected");
        Ok(stream)
    }

    /// Sends calls and hands out answers until the connection ends; says why it did.
    async fn pump(
        &mut self,
        stream: TlsStream<TcpStream>,
        first: Request,
        from: &mut mpsc::Receiver<Request>,
    ) -> io::Error {
        let (read, write) = tokio::io::split(stream);
        let heard = Arc::new(Mutex::new(Instant::now()));
        let (ended, mut end) = oneshot::channel();
        let reader = read_answers(read, self.pending.clone(), heard.clone());
        let _reader = AbortOnDrop(tokio::spawn(async move {
            let _ = ended.send(reader.await);
        }));
        let mut out = BufWriter::with_capacity(WRITE_BUFFER, write);
        let mut next_id = 1u64;
        let mut next = Some(first);
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        loop {
            while let Some(request) = next.take() {
                lock(&self.pending).insert(next_id, request.waiting);
                let frame = Frame { flags: 0, kind: request.kind, id: next_id, payload: request.payload };
                next_id += 1;
                if let Err(e) = frame::write(&mut out, &frame).await {
                    return e;
                }
                next = from.try_recv().ok();
            }
            if let Err(e) = out.flush().await {
                return e;
            }
            tokio::select! {
                biased;
                why = &mut end => return why.unwrap_or_else(|_| closed()),
                _ = self.address.changed() => return io::Error::other("the peer's address changed"),
                _ = tick.tick() => {
                    let waiting = !lock(&self.pending).is_empty();
                    if waiting && lock(&heard).elapsed() > STALLED {
                        return io::Error::new(io::ErrorKind::TimedOut, "the peer answers nothing");
                    }
                    if !waiting {
                        *lock(&heard) = Instant::now();
                    }
                }
                request = from.recv() => match request {
                    Some(request) => next = Some(request),
                    None => return closed(),
                },
            }
        }
    }
}

async fn read_answers(
    mut read: ReadHalf<TlsStream<TcpStream>>,
    pending: Pending,
    heard: Arc<Mutex<Instant>>,
) -> io::Error {
    loop {
        let frame = match frame::read(&mut read, MAX_PAYLOAD).await {
            Ok(Some(frame)) if frame.flags & FLAG_ANSWER != 0 => frame,
            Ok(Some(_)) => return io::Error::new(io::ErrorKind::InvalidData, "a call came where answers belong"),
            Ok(None) => return closed(),
            Err(e) => return e,
        };
        *lock(&heard) = Instant::now();
        let Some(waiting) = lock(&pending).remove(&frame.id) else { continue };
        let answer = if frame.flags & FLAG_FAILED != 0 {
            Err(Failure::decode(&frame.payload).map_or_else(io::Error::other, Failure::into_error))
        } else {
            Ok(frame.payload)
        };
        // A caller that gave up is not an error.
        let _ = waiting.answer.send(answer);
    }
}
