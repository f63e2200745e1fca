//! One listener for clients: accepts, bounds, shakes hands, and hands each connection to `connection` (P5, P6).
//!
//! A connection above the bound is closed at once, which a client can tell from a slow site. Draining: no more
//! connections, each answer says `connection: close`, then idle ones are closed, then the rest at the deadline.

use super::connection;
use super::peer::Peer;
use super::strangers;
use super::tls;
use super::{Edge, tenant::Place};
use crate::ops::metrics::{CONNECTIONS, CONNECTIONS_REFUSED, TIMEOUTS, TLS_HANDSHAKE_DURATION, TLS_HANDSHAKES};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// After a failed accept: descriptors are short, and a moment lets some close.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How far a drain has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    Serving,
    /// Answers say `connection: close`.
    Closing,
    /// Idle connections are closed.
    CloseIdle,
}

/// Serves until `stop` turns true, then drains. Returns when the last connection is closed.
pub async fn serve(edge: Arc<Edge>, listener: TcpListener, mut stop: watch::Receiver<bool>) {
    // A node that was drained and is put back serves again.
    edge.draining.store(false, Relaxed);
    let room = Arc::new(Semaphore::new(edge.options.max_connections));
    let handshakes = Arc::new(Semaphore::new(edge.options.max_handshakes));
    let (phase, phases) = watch::channel(Phase::Serving);
    let mut connections = JoinSet::new();
    let gathering = tokio::spawn(strangers::tend(edge.clone(), stop.clone()));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            _ = stop.wait_for(|s| *s) => break,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(e) => {
                tracing::warn!(event = "edge.accept.failed", error = %e, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(permit) = room.clone().try_acquire_owned() else {
            metrics::counter!(CONNECTIONS_REFUSED, "listener" => edge.options.label).increment(1);
            continue;
        };
        let (edge, phases, handshakes) = (edge.clone(), phases.clone(), handshakes.clone());
        connections.spawn(async move {
            let _permit = permit;
            let _counted = Open::new(edge.clone());
            welcome(edge, stream, address, phases, handshakes).await;
        });
    }
    drop(listener);
    drain(&edge, phase, connections).await;
    let _ = gathering.await;
    strangers::end(edge.as_ref()).await;
}

/// Counts a connection while it is open, however it ends.
struct Open(Arc<Edge>);

impl Open {
    fn new(edge: Arc<Edge>) -> Open {
        edge.open.fetch_add(1, Relaxed);
        metrics::gauge!(CONNECTIONS, "listener" => edge.options.label).increment(1.0);
        Open(edge)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
        metrics::gauge!(CONNECTIONS, "listener" => self.0.options.label).decrement(1.0);
    }
}

async fn drain(edge: &Edge, phase: watch::Sender<Phase>, mut connections: JoinSet<()>) {
    edge.draining.store(true, Relaxed);
    let deadline = Instant::now() + edge.options.drain_timeout;
    tracing::info!(
        event = "edge.drain.begun",
        listener = edge.options.label,
        connections = connections.len(),
        "a listener is closed"
    );
    phase.send_replace(Phase::Closing);
    let linger = Instant::now() + edge.options.drain_linger;
    while let Ok(Some(_)) = tokio::time::timeout_at(linger, connections.join_next()).await {}
    phase.send_replace(Phase::CloseIdle);
    while let Ok(Some(_)) = tokio::time::timeout_at(deadline, connections.join_next()).await {}
    if !connections.is_empty() {
        tracing::warn!(
            event = "edge.drain.cut",
            connections = connections.len(),
            "connections were cut at the deadline"
        );
    }
    connections.shutdown().await;
}

async fn welcome(
    edge: Arc<Edge>,
    stream: TcpStream,
    address: SocketAddr,
    phases: watch::Receiver<Phase>,
    handshakes: Arc<Semaphore>,
) {
    // Answers are written whole; waiting for more to send would only delay them.
    let _ = stream.set_nodelay(true);
    let Some((stream, peer, place)) = shake(&edge, stream, address, handshakes).await else { return };
    connection::serve(edge, stream, peer, place, phases).await;
}

/// The handshake, within its time, and the connection's place with its tenant.
async fn shake(
    edge: &Edge,
    stream: TcpStream,
    address: SocketAddr,
    handshakes: Arc<Semaphore>,
) -> Option<(TlsStream<TcpStream>, Peer, Place)> {
    let begun = Instant::now();
    let config = edge.tls.current().config.clone();
    let shaken = tokio::time::timeout(edge.options.handshake_timeout, async {
        let _turn = handshakes.acquire().await;
        TlsAcceptor::from(config).accept(stream).await
    });
    let outcome = |outcome: &'static str| {
        metrics::counter!(TLS_HANDSHAKES, "listener" => edge.options.label, "outcome" => outcome).increment(1);
    };
    let stream = match shaken.await {
        Ok(Ok(stream)) => stream,
        Ok(Err(e)) => {
            let why = tls::failure(&e);
            outcome(why);
            tracing::info!(event = "tls.client.refused", reason = why, error = %e, address = %address.ip(),
                "a handshake failed");
            return None;
        }
        Err(_) => {
            outcome("timeout");
            metrics::counter!(TIMEOUTS, "reason" => "handshake").increment(1);
            return None;
        }
    };
    let (_, tls) = stream.get_ref();
    let resumed = tls.handshake_kind() == Some(rustls::HandshakeKind::Resumed);
    outcome(if resumed { "resumed" } else { "full" });
    metrics::histogram!(TLS_HANDSHAKE_DURATION, "listener" => edge.options.label).record(begun.elapsed());
    // Without one the handshake passes only where certificates are optional.
    let peer = match tls.peer_certificates() {
        Some(chain) => Peer::new(chain, address)?,
        None => Peer::without_certificate(address),
    };
    let Some(place) = edge.place(&peer) else {
        metrics::counter!(CONNECTIONS_REFUSED, "listener" => edge.options.label).increment(1);
        tracing::info!(
            event = "edge.connections.full",
            certificate = peer.certificate(),
            "one system has as many connections as it may"
        );
        return None;
    };
    Some((stream, peer, place))
}
