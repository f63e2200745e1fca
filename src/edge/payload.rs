//! The body of an answer: bytes at hand or a stream of stored pieces, with whatever must live until its last byte.

use super::pace::InFlight;
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::OwnedSemaphorePermit;

/// Pieces of a stored body, read ahead of the socket by a bounded channel.
pub type Pieces = tokio::sync::mpsc::Receiver<io::Result<Bytes>>;

/// Up to three places that a request takes.
pub type Places = [Option<OwnedSemaphorePermit>; 3];

/// What is held until the answer is written: the request counts as in flight until then.
#[derive(Default)]
pub struct Held {
    pub in_flight: Option<InFlight>,
    /// Of its sender's share, of the site's bound, and of what one may have of that.
    pub permits: Places,
}

enum Source {
    Bytes(Bytes),
    /// Length where it is known; the stream must keep to it.
    Pieces(Pieces, Option<u64>),
}

pub struct Payload {
    source: Source,
    _held: Held,
}

impl Payload {
    pub fn bytes(bytes: Bytes) -> Self {
        Payload { source: Source::Bytes(bytes), _held: Held::default() }
    }
    pub fn empty() -> Self {
        Self::bytes(Bytes::new())
    }
    /// A broken stream breaks the connection, so that nobody takes half a body for the whole.
    pub fn pieces(pieces: Pieces, length: Option<u64>) -> Self {
        Payload { source: Source::Pieces(pieces, length), _held: Held::default() }
    }
    pub fn hold(mut self, held: Held) -> Self {
        self._held = held;
        self
    }
    /// Bytes at hand; `None` for a stream.
    pub fn at_hand(&self) -> Option<&Bytes> {
        match &self.source {
            Source::Bytes(bytes) => Some(bytes),
            Source::Pieces(..) => None,
        }
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match &mut self.source {
            Source::Bytes(bytes) if bytes.is_empty() => Poll::Ready(None),
            Source::Bytes(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Source::Pieces(pieces, left) => match std::task::ready!(pieces.poll_recv(cx)) {
                Some(Ok(piece)) => {
                    if let Some(left) = left {
                        *left = left.saturating_sub(piece.len() as u64);
                    }
                    Poll::Ready(Some(Ok(Frame::data(piece))))
                }
                Some(Err(e)) => Poll::Ready(Some(Err(e))),
                None if left.is_some_and(|l| l > 0) => {
                    Poll::Ready(Some(Err(io::Error::new(io::ErrorKind::UnexpectedEof, "stored body ended early"))))
                }
                None => Poll::Ready(None),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.source, Source::Bytes(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Bytes(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Source::Pieces(_, Some(left)) => SizeHint::with_exact(*left),
            Source::Pieces(_, None) => SizeHint::default(),
        }
    }
}
