//! The answering side: accepts connections, proves who calls, runs handlers, writes answers.

use super::frame::{self, FLAG_ANSWER, FLAG_FAILED, Failure, Frame, Hello};
use super::{AbortOnDrop, Shared, lives::Presence, prepare, tls};
use crate::seam::net::{Handler, MAX_PAYLOAD, NodeNumber, kinds};
use crate::wire::record::Record;
use std::sync::Arc;
use std::{io, time::Duration};
use tokio::io::{AsyncWriteExt, BufWriter, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_rustls::server::TlsStream;

/// Connections at once: three lanes of some dozens of nodes, and room for machines that join.
const CONNECTIONS: usize = 256;
/// Handshake and hello together.
const GREETING: Duration = Duration::from_secs(5);
/// Calls of one connection under way here; reading stops while they run (the caller has its own, lower bounds).
const IN_FLIGHT: usize = 4096;
/// The same for a machine without a certificate, which may only send JOIN.
const IN_FLIGHT_JOINING: usize = 1;
/// Machines that join at once: an operator brings up a rack, not a nation. Others are refused and come again.
pub const JOINING: usize = 8;
/// A JOIN is a token, a certificate request and an address.
const MAX_JOIN: usize = 64 << 10;
/// A machine that joins needs seconds; its connection is closed after this.
const JOINING_TIME: Duration = Duration::from_secs(60);
/// After a failed accept (no file descriptors left), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

pub async fn run(shared: Arc<Shared>, socket: TcpListener) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        if connections.len() >= CONNECTIONS {
            connections.join_next().await;
            continue;
        }
        match socket.accept().await {
            Ok((stream, _)) => {
                let shared = shared.clone();
                connections.spawn(async move {
                    if let Err(e) = connection(shared, stream).await {
                        tracing::debug!(event = "peer.refused", why = %e, "peer connection ended");
                    }
                });
            }
            Err(e) => {
                tracing::warn!(event = "peer.accept", why = %e, "cannot accept peer connections");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(shared: Arc<Shared>, socket: TcpStream) -> io::Result<()> {
    prepare(&socket)?;
    let greeting = tokio::time::timeout(GREETING, greet(&shared, socket));
    let Caller { stream, from, fingerprint, presence } =
        greeting.await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    if from == NodeNumber(0) {
        let Ok(_place) = shared.joining.try_acquire() else {
            return Err(io::Error::new(io::ErrorKind::WouldBlock, "too many machines are joining"));
        };
        let shared = shared.clone();
        let served = tokio::time::timeout(JOINING_TIME, serve(shared, stream, from, presence));
        return served.await.unwrap_or(Err(io::ErrorKind::TimedOut.into()));
    }
    let mut barred = shared.barred.subscribe();
    tokio::select! {
        served = serve(shared, stream, from, presence) => served,
        Ok(now) = barred.wait_for(|barred| barred.holds(from, &fingerprint)) => {
            now.verdict(from, &fingerprint).map_or(Ok(()), Err)
        }
    }
}

/// Who has called.
struct Caller {
    stream: TlsStream<TcpStream>,
    /// From its certificate; 0 without one.
    from: NodeNumber,
    /// Of the certificate, and of its key.
    fingerprint: Vec<String>,
    presence: Presence,
}

/// TLS, then hellos.
async fn greet(shared: &Shared, socket: TcpStream) -> io::Result<Caller> {
    let config = shared.configs.load().server.clone();
    let mut stream = tokio_rustls::TlsAcceptor::from(config).accept(socket).await?;
    let certificate = stream.get_ref().1.peer_certificates().and_then(|c| c.first()).cloned();
    let fingerprint = certificate.as_ref().map(tls::fingerprints_of).unwrap_or_default();
    let theirs = frame::read_hello(&mut stream).await?;
    let verdict = match certificate {
        None => Ok(NodeNumber(0)),
        Some(cert) => tls::proven_node(&cert, &shared.cluster).ok_or_else(|| {
            io::Error::new(io::ErrorKind::PermissionDenied, "the certificate names no node of this site")
        }),
    };
    let verdict = verdict.and_then(|from| match shared.barred.borrow().verdict(from, &fingerprint) {
        Some(barred) => Err(barred),
        None => agree(shared, &theirs, from).map(|()| from),
    });
    // Machines that join have no number yet.
    let process = |from: NodeNumber| if from == NodeNumber(0) { 0 } else { theirs.process };
    let verdict =
        verdict.and_then(|from| Ok((from, shared.lives.enter(from, process(from)).ok_or_else(super::lives::taken)?)));
    match verdict {
        Ok((from, presence)) => {
            frame::send_hello(&mut stream, &shared.hello(theirs.lane)).await?;
            Ok(Caller { stream, from, fingerprint, presence })
        }
        Err(e) => {
            tracing::warn!(event = "peer.refused", node = theirs.node, why = %e, "peer connection refused");
            frame::refuse(&mut stream, &e).await?;
            // The refusal must not be lost to a reset: close in order.
            stream.shutdown().await?;
            Err(e)
        }
    }
}

fn agree(shared: &Shared, theirs: &Hello, from: NodeNumber) -> io::Result<()> {
    let refused = |why: String| Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    if theirs.node != u64::from(from.0) {
        return refused("the hello names another node than the certificate".into());
    }
    if from != NodeNumber(0) && theirs.cluster != shared.cluster {
        return refused("the peer belongs to another site".into());
    }
    if theirs.oldest_version > frame::NEWEST_VERSION || theirs.newest_version < frame::OLDEST_VERSION {
        return refused(format!(
            "frame versions {}..={} and {}..={} do not meet",
            theirs.oldest_version,
            theirs.newest_version,
            frame::OLDEST_VERSION,
            frame::NEWEST_VERSION
        ));
    }
    Ok(())
}

async fn serve(
    shared: Arc<Shared>,
    stream: TlsStream<TcpStream>,
    from: NodeNumber,
    presence: Presence,
) -> io::Result<()> {
    let joining = from == NodeNumber(0);
    let permits = Arc::new(Semaphore::new(if joining { IN_FLIGHT_JOINING } else { IN_FLIGHT }));
    let max = if joining { MAX_JOIN } else { MAX_PAYLOAD };
    let (mut read, write) = tokio::io::split(stream);
    let (answers, outgoing) = mpsc::channel(IN_FLIGHT);
    let _writer = AbortOnDrop(tokio::spawn(async move {
        if let Err(e) = write_answers(write, outgoing).await {
            tracing::debug!(event = "peer.lost", node = from.0, why = %e, "cannot answer");
        }
    }));
    while let Some(call) = frame::read(&mut read, max).await? {
        presence.heard()?;
        if call.flags != 0 || (joining && call.kind != kinds::JOIN) {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "the caller may not send this frame"));
        }
        let permit = permits.clone().acquire_owned().await.map_err(io::Error::other)?;
        answer(&shared, from, call, answers.clone(), permit);
    }
    Ok(())
}

/// Runs a handler on a task of its own: it goes on when the caller hangs up, so that nothing is half done.
fn answer(shared: &Shared, from: NodeNumber, call: Frame, answers: mpsc::Sender<Frame>, permit: OwnedSemaphorePermit) {
    let handling = shared.router.handle(from, call.kind, call.payload);
    let (kind, id) = (call.kind, call.id);
    tokio::spawn(async move {
        let frame = match handling.await {
            Ok(payload) => Frame { flags: FLAG_ANSWER, kind, id, payload },
            Err(e) => Frame { flags: FLAG_ANSWER | FLAG_FAILED, kind, id, payload: Failure::of(&e).encode() },
        };
        let _ = answers.send(frame).await;
        drop(permit);
    });
}

async fn write_answers(write: WriteHalf<TlsStream<TcpStream>>, mut answers: mpsc::Receiver<Frame>) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(64 << 10, write);
    while let Some(frame) = answers.recv().await {
        let mut next = Some(frame);
        while let Some(frame) = next.take() {
            frame::write(&mut out, &frame).await?;
            next = answers.try_recv().ok();
        }
        out.flush().await?;
    }
    Ok(())
}
