//! One connection as HTTP: 1.1 or 2 by ALPN, bounds on heads, keep-alive, and the moment at which it is told to close.

use super::busiest::Party;
use super::listener::Phase;
use super::pace::{Active, Paced};
use super::payload::Payload;
use super::{Edge, flow, peer::Peer, tenant::Place};
use http::{HeaderValue, Request, Response, Version, header};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::convert::Infallible;
use std::pin::pin;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_rustls::server::TlsStream;

/// Most bytes that a connection holds unparsed or unsent: a body's frame is at most this long.
const READ_BUFFER: usize = 64 << 10;

/// What every request of a connection shares.
pub struct Conn {
    pub edge: Arc<Edge>,
    pub peer: Peer,
    pub place: Place,
    pub active: Arc<Active>,
    /// Whose certificate it is, as the registry had it when that was first asked for `spine top`.
    pub party: OnceLock<Party>,
    opened: Instant,
    /// Nothing is done for this connection's client before then: it was told to come again later.
    pub rest: Rest,
    phases: watch::Receiver<Phase>,
    /// An answer asked the client to come back on another connection.
    parted: Arc<Notify>,
}

impl Conn {
    /// Since the handshake.
    pub fn age_ms(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
    /// Should the client come back on a new connection?
    fn parting(&self) -> bool {
        *self.phases.borrow() != Phase::Serving || self.opened.elapsed() > self.edge.options.connection_age
    }
}

/// Makes a client wait that was refused for want of room and does not wait by itself. Otherwise refusing those who come
/// again at once, a few ten thousand times a second, would take the processors from those who are served (P6).
#[derive(Default)]
pub struct Rest(Mutex<Option<Instant>>);

impl Rest {
    /// The client was told so.
    pub fn begin(&self, time: Duration) {
        *self.0.lock().unwrap_or_else(|e| e.into_inner()) = Some(Instant::now() + time);
    }

    /// What is left of it.
    pub async fn end(&self) {
        let until = *self.0.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(until) = until {
            tokio::time::sleep_until(until).await;
        }
    }
}

/// Serves one connection until either side ends it.
pub async fn serve(
    edge: Arc<Edge>,
    stream: TlsStream<TcpStream>,
    peer: Peer,
    place: Place,
    phases: watch::Receiver<Phase>,
) {
    let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    speak(edge, stream, h2, peer, place, phases).await;
}

/// HTTP over any stream, once it is known who is at its other end.
pub async fn speak<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    edge: Arc<Edge>,
    stream: S,
    h2: bool,
    peer: Peer,
    place: Place,
    phases: watch::Receiver<Phase>,
) {
    let active = Arc::<Active>::default();
    let io = TokioIo::new(Paced::new(stream, active.clone(), &edge.options, !h2));
    let conn = Arc::new(Conn {
        edge,
        peer,
        place,
        active,
        party: OnceLock::new(),
        opened: Instant::now(),
        rest: Rest::default(),
        parted: Arc::default(),
        phases: phases.clone(),
    });
    let result = if h2 { serve_http2(conn, io, phases).await } else { serve_http1(conn, io, phases).await };
    if let Err(e) = result {
        // The client's fault or the network's, and counted elsewhere where it matters.
        tracing::debug!(event = "edge.connection.ended", error = %e, "a connection ended with an error");
    }
}

async fn serve_http1<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    conn: Arc<Conn>,
    io: TokioIo<Paced<S>>,
    mut phases: watch::Receiver<Phase>,
) -> hyper::Result<()> {
    let options = &conn.edge.options;
    let mut builder = http1::Builder::new();
    builder
        .keep_alive(true)
        // Idle and slow heads are timed by the socket, without a timer for each request.
        .header_read_timeout(None)
        .max_headers(options.max_headers)
        .max_header_size(options.max_head)
        .max_buf_size(READ_BUFFER.max(options.max_head));
    let service = hyper::service::service_fn(|request| answer(conn.clone(), request));
    let mut connection = pin!(builder.serve_connection(io, service));
    tokio::select! {
        done = connection.as_mut() => return done,
        _ = phases.wait_for(|p| *p >= Phase::CloseIdle) => connection.as_mut().graceful_shutdown(),
    }
    connection.await
}

async fn serve_http2<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    conn: Arc<Conn>,
    io: TokioIo<Paced<S>>,
    mut phases: watch::Receiver<Phase>,
) -> hyper::Result<()> {
    let options = &conn.edge.options;
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(options.max_streams)
        .max_header_list_size(u32::try_from(options.max_head).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(20)
        .max_send_buf_size(256 << 10)
        .initial_stream_window_size(256 << 10)
        .initial_connection_window_size(1 << 20)
        .keep_alive_interval(options.idle_timeout / 2)
        .keep_alive_timeout(options.header_timeout);
    let parted = conn.parted.clone();
    let service = hyper::service::service_fn(|request| answer(conn.clone(), request));
    let mut connection = pin!(builder.serve_connection(io, service));
    let aged = tokio::time::sleep(options.connection_age);
    tokio::select! {
        done = connection.as_mut() => return done,
        _ = aged => connection.as_mut().graceful_shutdown(),
        // Over HTTP/2 a goodbye harms nobody: what is in flight ends, new streams go elsewhere.
        _ = phases.wait_for(|p| *p >= Phase::Closing) => connection.as_mut().graceful_shutdown(),
        _ = parted.notified() => connection.as_mut().graceful_shutdown(),
    }
    connection.await
}

async fn answer(conn: Arc<Conn>, request: Request<Incoming>) -> Result<Response<Payload>, Infallible> {
    let http1 = request.version() < Version::HTTP_2;
    let mut response = flow::answer(&conn, request).await;
    if http1 && conn.parting() {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    // An answer that wants the client on a new connection says so as HTTP/1.1 does; HTTP/2 has a goodbye of its own.
    if !http1 && response.headers_mut().remove(header::CONNECTION).is_some() {
        conn.parted.notify_one();
    }
    Ok(response)
}
