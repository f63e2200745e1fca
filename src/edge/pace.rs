//! A socket that gives up on slow clients (P6): idle for too long, a head that trickles in, answers left unread.
//!
//! Costs a clock reading per idle period and touches its timer only when the socket has nothing: a busy connection
//! pays nothing. Slow bodies are the body reader's business, which knows what rate it wants.

use super::options::Options;
use crate::ops::metrics::TIMEOUTS;
use futures_util::task::AtomicWaker;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// Requests of one connection that are being worked on. Shared between the socket and the request path.
#[derive(Default)]
pub struct Active {
    now: AtomicU32,
    /// Rises with each request: tells the socket that the head it saw beginning has become a request.
    begun: AtomicU32,
    /// The socket's reader. While a request is worked on no time runs for it, and nothing else may ever wake it.
    reader: AtomicWaker,
}

/// Held from a request's head until the last byte of its answer.
pub struct InFlight(Arc<Active>);

impl Active {
    pub fn begin(self: &Arc<Self>) -> InFlight {
        self.now.fetch_add(1, Relaxed);
        self.begun.fetch_add(1, Relaxed);
        InFlight(self.clone())
    }
    pub fn count(&self) -> u32 {
        self.now.load(Relaxed)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if self.0.now.fetch_sub(1, Relaxed) == 1 {
            self.0.reader.wake();
        }
    }
}

pub struct Paced<S> {
    inner: S,
    active: Arc<Active>,
    idle_timeout: Duration,
    /// `None` where frames arrive between requests and say nothing about heads (HTTP/2).
    header_timeout: Option<Duration>,
    write_timeout: Duration,
    /// [`Active::begun`] as last seen.
    begun: u32,
    /// When the connection was last seen to have no request; `None` while it has one.
    idle_since: Option<Instant>,
    /// First byte of a head that is not yet whole.
    head_since: Option<Instant>,
    /// First moment at which the other side took none of our bytes.
    stalled_since: Option<Instant>,
    timer: Pin<Box<Sleep>>,
}

impl<S> Paced<S> {
    pub fn new(inner: S, active: Arc<Active>, options: &Options, heads: bool) -> Self {
        let now = Instant::now();
        Paced {
            inner,
            active,
            idle_timeout: options.idle_timeout,
            header_timeout: heads.then_some(options.header_timeout),
            write_timeout: options.write_timeout,
            begun: 0,
            idle_since: Some(now),
            head_since: None,
            stalled_since: None,
            timer: Box::pin(tokio::time::sleep_until(now + options.idle_timeout)),
        }
    }

    /// Is `deadline` past? If not, makes sure that the task wakes when it is.
    fn expired(&mut self, deadline: Instant, cx: &mut Context<'_>) -> bool {
        // A timer that is set too early fires, finds the deadline moved and is set again: cheaper than moving it
        // with every request.
        while self.timer.deadline() > deadline || self.timer.as_mut().poll(cx).is_ready() {
            if Instant::now() >= deadline {
                return true;
            }
            self.timer.as_mut().reset(deadline);
            if self.timer.as_mut().poll(cx).is_pending() {
                return false;
            }
        }
        false
    }

    /// Forgets the head and the idle time that a request has ended since.
    fn follow(&mut self) {
        let begun = self.active.begun.load(Relaxed);
        if begun != self.begun {
            self.begun = begun;
            self.head_since = None;
            self.idle_since = None;
        }
    }

    fn read_deadline(&mut self) -> Option<(Instant, &'static str)> {
        if self.active.count() > 0 {
            self.idle_since = None;
            self.head_since = None;
            return None;
        }
        if let (Some(since), Some(limit)) = (self.head_since, self.header_timeout) {
            return Some((since + limit, "header"));
        }
        Some((*self.idle_since.get_or_insert_with(Instant::now) + self.idle_timeout, "idle"))
    }

    fn stalled(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let since = *self.stalled_since.get_or_insert_with(Instant::now);
        if self.expired(since + self.write_timeout, cx) {
            return Poll::Ready(Err(too_slow("write")));
        }
        Poll::Pending
    }
}

fn too_slow(what: &'static str) -> io::Error {
    if what != "idle" {
        metrics::counter!(TIMEOUTS, "reason" => what).increment(1);
    }
    io::Error::new(io::ErrorKind::TimedOut, what)
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        self.follow();
        match polled {
            Poll::Ready(_) => {
                if buf.filled().len() > before && self.head_since.is_none() && self.active.count() == 0 {
                    self.head_since = Some(Instant::now());
                }
                polled
            }
            Poll::Pending => {
                // Before the look at the count, so that its fall to nothing is not missed.
                self.active.reader.register(cx.waker());
                match self.read_deadline() {
                    Some((deadline, what)) if self.expired(deadline, cx) => Poll::Ready(Err(too_slow(what))),
                    _ => Poll::Pending,
                }
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.inner).poll_write(cx, buf) {
            Poll::Ready(done) => {
                self.stalled_since = None;
                Poll::Ready(done)
            }
            Poll::Pending => self.stalled(cx).map(|r| r.map(|()| 0)),
        }
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.inner).poll_write_vectored(cx, bufs) {
            Poll::Ready(done) => {
                self.stalled_since = None;
                Poll::Ready(done)
            }
            Poll::Pending => self.stalled(cx).map(|r| r.map(|()| 0)),
        }
    }
    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.inner).poll_flush(cx) {
            Poll::Ready(done) => {
                self.stalled_since = None;
                Poll::Ready(done)
            }
            Poll::Pending => self.stalled(cx),
        }
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let done = match Pin::new(&mut self.inner).poll_shutdown(cx) {
            Poll::Ready(done) => done,
            Poll::Pending => ready!(self.stalled(cx)),
        };
        Poll::Ready(done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// Real but short: each limit is far from the others.
    fn options() -> Options {
        Options {
            idle_timeout: Duration::from_millis(900),
            header_timeout: Duration::from_millis(150),
            write_timeout: Duration::from_millis(400),
            ..Options::default()
        }
    }

    #[tokio::test]
    async fn an_idle_connection_ends_and_a_trickled_head_ends_sooner() {
        let start = Instant::now();
        let (_client, server) = tokio::io::duplex(100);
        let mut idle = Paced::new(server, Arc::default(), &options(), true);
        assert_eq!(idle.read_u8().await.unwrap_err().to_string(), "idle");
        assert!(start.elapsed() >= Duration::from_millis(900));

        let start = Instant::now();
        let (mut client, server) = tokio::io::duplex(100);
        let mut trickled = Paced::new(server, Arc::default(), &options(), true);
        tokio::spawn(async move {
            while client.write_u8(b'x').await.is_ok() {
                tokio::time::sleep(Duration::from_millis(30)).await;
            }
        });
        let error = loop {
            match trickled.read_u8().await {
                Ok(_) => {}
                Err(e) => break e,
            }
        };
        assert_eq!(error.to_string(), "header");
        assert!(start.elapsed() < Duration::from_millis(900));
    }

    #[tokio::test]
    async fn a_request_in_flight_is_not_idle() {
        let (mut client, server) = tokio::io::duplex(100);
        let active = Arc::<Active>::default();
        let mut paced = Paced::new(server, active.clone(), &options(), true);
        let in_flight = active.begin();
        let read = tokio::time::timeout(Duration::from_millis(1_200), paced.read_u8()).await;
        assert!(read.is_err(), "nothing times out while a request is worked on");
        let start = Instant::now();
        tokio::join!(
            async { assert_eq!(paced.read_u8().await.unwrap_err().to_string(), "idle", "nobody sends anything more") },
            async { drop(in_flight) },
        );
        assert!(start.elapsed() >= Duration::from_millis(900));
        let mut paced = Paced::new(paced.inner, active.clone(), &options(), true);
        let start = Instant::now();
        client.write_u8(7).await.unwrap();
        assert_eq!(paced.read_u8().await.unwrap(), 7);
        drop(active.begin());
        assert_eq!(paced.read_u8().await.unwrap_err().to_string(), "idle", "the head has become a request");
        assert!(start.elapsed() >= Duration::from_millis(900));
    }

    #[tokio::test]
    async fn unread_answers_end_the_connection() {
        let start = Instant::now();
        let (_client, server) = tokio::io::duplex(10);
        let mut paced = Paced::new(server, Arc::default(), &options(), true);
        let error = paced.write_all(&[0; 100]).await.unwrap_err();
        assert_eq!(error.to_string(), "write");
        assert!(start.elapsed() >= Duration::from_millis(400));
    }
}
