//! Reading request bodies: small ones into memory, large ones piece by piece to the blob store, none for too long (P6).
//!
//! The sender is timed only while we wait for it: a pause limit, and a rate on the whole. Time that our own disks take
//! is not held against it.

use super::backend::{Backend, Stored, Upload};
use super::options::{DOCUMENT_BODY, INLINE_BODY, MAX_BODY, Options};
use super::problem::Refusal;
use super::protocol::{Body, BodyRule};
use crate::ops::codes;
use crate::ops::metrics::TIMEOUTS;
use bytes::{Bytes, BytesMut};
use hyper::body::{Body as _, Incoming};
use std::future::Future;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;
use tokio::time::Instant;

/// Bytes gathered before they go to the blob store as one piece.
const PIECE: usize = 256 << 10;
/// A refused request's body is read and thrown away for this long, so that its sender gets to read the refusal.
const DISCARD_TIME: Duration = Duration::from_secs(10);

/// Frames of a body, with their sender's time kept.
pub struct Reader<'a> {
    body: Incoming,
    options: &'a Options,
    waited: Duration,
    received: u64,
}

impl<'a> Reader<'a> {
    pub fn new(body: Incoming, options: &'a Options) -> Self {
        Reader { body, options, waited: Duration::ZERO, received: 0 }
    }
    pub fn received(&self) -> u64 {
        self.received
    }
    /// Length as announced; `None` where chunked.
    pub fn announced(&self) -> Option<u64> {
        self.body.size_hint().exact()
    }
    /// What is left, for [`discard`].
    pub fn into_rest(self) -> Incoming {
        self.body
    }

    /// The next bytes; `None` at the end. Trailers are dropped.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Refusal> {
        loop {
            let frame = self.frame().await?;
            match frame.map(|f| f.into_data()) {
                None => return Ok(None),
                Some(Ok(data)) => {
                    self.received += data.len() as u64;
                    return Ok(Some(data));
                }
                Some(Err(_trailers)) => {}
            }
        }
    }

    async fn frame(&mut self) -> Result<Option<hyper::body::Frame<Bytes>>, Refusal> {
        let body = &mut self.body;
        let mut begun = None;
        let mut timer: Option<Pin<Box<tokio::time::Sleep>>> = None;
        let pause = self.options.body_pause;
        // The timer exists only once the sender keeps us waiting.
        let polled = std::future::poll_fn(|cx| {
            if let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(cx) {
                return Poll::Ready(Some(frame));
            }
            begun.get_or_insert_with(Instant::now);
            let timer = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(pause)));
            timer.as_mut().poll(cx).map(|()| None)
        });
        let frame = polled.await;
        if let Some(begun) = begun {
            self.waited += begun.elapsed();
        }
        match frame {
            None => Err(self.too_slow()),
            Some(_) if self.below_rate() => Err(self.too_slow()),
            Some(Some(Ok(frame))) => Ok(Some(frame)),
            Some(Some(Err(e))) => Err(Refusal::new(&codes::BODY_BROKEN).because(e.to_string())),
            Some(None) => Ok(None),
        }
    }

    fn below_rate(&self) -> bool {
        let counted = self.waited.saturating_sub(self.options.body_pause);
        counted.as_millis() as u64 * self.options.body_min_rate / 1000 > self.received
    }

    fn too_slow(&self) -> Refusal {
        metrics::counter!(TIMEOUTS, "reason" => "body").increment(1);
        Refusal::new(&codes::BODY_TOO_SLOW)
    }
}

/// Reads a body as its interaction wants it. [`Body::TooLarge`] leaves the rest unread.
pub async fn read(reader: &mut Reader<'_>, rule: BodyRule, backend: &dyn Backend) -> Result<Body, Refusal> {
    let limit = if rule == BodyRule::Payload { MAX_BODY } else { in_memory(rule) as u64 };
    if reader.announced().is_some_and(|n| n > limit) {
        return Ok(Body::TooLarge);
    }
    let Some(first) = reader.next().await? else { return Ok(Body::None) };
    let Some(second) = reader.next().await? else { return whole(first, rule, backend).await };
    let mut gathered = BytesMut::with_capacity(first.len() + second.len());
    gathered.extend_from_slice(&first);
    gathered.extend_from_slice(&second);
    while gathered.len() <= in_memory(rule) {
        match reader.next().await? {
            Some(more) => gathered.extend_from_slice(&more),
            None => return whole(gathered.freeze(), rule, backend).await,
        }
    }
    if rule != BodyRule::Payload {
        return Ok(Body::TooLarge);
    }
    store(reader, gathered, backend).await
}

/// Bytes of a body that are kept in memory.
fn in_memory(rule: BodyRule) -> usize {
    if rule == BodyRule::Document { DOCUMENT_BODY } else { INLINE_BODY }
}

/// A body that came to its end while it was gathered.
async fn whole(body: Bytes, rule: BodyRule, backend: &dyn Backend) -> Result<Body, Refusal> {
    match rule {
        BodyRule::Ignored => Ok(Body::None),
        _ if body.len() <= in_memory(rule) => Ok(Body::Inline(body)),
        BodyRule::Inline | BodyRule::Document => Ok(Body::TooLarge),
        BodyRule::Payload => {
            let mut upload = backend.upload().await?;
            upload.piece(body).await?;
            Ok(Body::Stored(upload.commit().await?))
        }
    }
}

/// Streams the rest of a large body, of which `gathered` came first.
async fn store(reader: &mut Reader<'_>, mut gathered: BytesMut, backend: &dyn Backend) -> Result<Body, Refusal> {
    let mut upload: Box<dyn Upload> = backend.upload().await?;
    loop {
        if reader.received() > MAX_BODY {
            return Ok(Body::TooLarge);
        }
        if gathered.len() >= PIECE {
            upload.piece(gathered.split().freeze()).await?;
        }
        match reader.next().await? {
            Some(more) => gathered.extend_from_slice(&more),
            None => break,
        }
    }
    if !gathered.is_empty() {
        upload.piece(gathered.freeze()).await?;
    }
    let stored: Stored = upload.commit().await?;
    Ok(Body::Stored(stored))
}

/// Reads on for a while without keeping anything. Without it, closing the socket would take the refusal away from a
/// client that is still sending.
pub async fn discard(mut body: Incoming) {
    let deadline = Instant::now() + DISCARD_TIME;
    let mut left = MAX_BODY + (16 << 20);
    // By its length: behind an answer that is out already the end itself may come with the next request only.
    while left > 0 && !body.is_end_stream() {
        let frame = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx));
        match tokio::time::timeout_at(deadline, frame).await {
            Ok(Some(Ok(frame))) => left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len) as u64),
            _ => return,
        }
    }
}
