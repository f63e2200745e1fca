//! A request's body on its way in: untouched, or read already because only it says whose request it is.

use super::body::{self, Reader};
use super::connection::Conn;
use super::flow::dismiss;
use super::options::MAX_BODY;
use super::payload::Payload;
use super::problem::Refusal;
use super::protocol::{Body, BodyRule};
use super::relay::Course;
use super::upstream::Progress;
use crate::ops::codes;
use http::HeaderMap;
use hyper::body::{Body as _, Incoming};
use std::sync::{Arc, OnceLock};
use tokio::sync::mpsc;

/// Pieces of a body that are read ahead of whoever takes it.
const AHEAD: usize = 4;

pub struct Arriving {
    rest: Option<Incoming>,
    read: Option<Body>,
}

impl Arriving {
    pub fn new(body: Incoming) -> Arriving {
        Arriving { rest: Some(body), read: None }
    }

    /// Reads a short body into memory, within its bound; the rest of one that is longer is read away.
    pub async fn read(&mut self, conn: &Arc<Conn>, headers: &HeaderMap, rule: BodyRule) -> Result<(), Refusal> {
        let Some(body) = self.rest.take() else { return Ok(()) };
        let edge = &conn.edge;
        let mut reader = Reader::new(body, &edge.options);
        let read = body::read(&mut reader, rule, edge.backend.as_ref()).await;
        let rest = reader.into_rest();
        match &read {
            Ok(Body::TooLarge) => dismiss(conn, headers, rest),
            _ => self.rest = Some(rest),
        }
        self.read = Some(read?);
        Ok(())
    }

    /// What was read; empty where nothing was.
    pub fn form(&self) -> &[u8] {
        match &self.read {
            Some(Body::Inline(bytes)) => bytes,
            _ => &[],
        }
    }

    /// Whether it says of itself that it is longer than any may be, or was found to be.
    pub fn is_too_large(&self) -> bool {
        match (&self.read, &self.rest) {
            (Some(read), _) => matches!(read, Body::TooLarge),
            (None, Some(rest)) => rest.size_hint().exact().is_some_and(|length| length > MAX_BODY),
            (None, None) => false,
        }
    }

    /// Nobody wants it: it is read away, so that its sender gets to see the answer.
    pub fn dismiss(self, conn: &Arc<Conn>, headers: &HeaderMap) {
        if let Some(rest) = self.rest {
            dismiss(conn, headers, rest);
        }
    }

    /// What was read, or else what is to be read.
    pub fn open(self) -> Result<Body, Incoming> {
        match (self.read, self.rest) {
            (Some(read), _) => Ok(read),
            (None, Some(rest)) => Err(rest),
            (None, None) => Ok(Body::None),
        }
    }

    /// The body for another system, as it comes; and where its sender fails, why.
    pub fn pour(
        self,
        conn: &Arc<Conn>,
        sent: &Progress,
        course: Course,
    ) -> Result<(Payload, Arc<OnceLock<Refusal>>), Refusal> {
        let broken = Arc::new(OnceLock::new());
        let rest = match self.open() {
            Ok(Body::Inline(bytes)) => return Ok((Payload::bytes(bytes), broken)),
            Ok(Body::TooLarge) => return Err(Refusal::new(&codes::BODY_TOO_LARGE)),
            Ok(_) => return Ok((Payload::empty(), broken)),
            Err(rest) => rest,
        };
        let length = rest.size_hint().exact();
        if rest.is_end_stream() {
            return Ok((Payload::empty(), broken));
        }
        let (pieces, ahead) = mpsc::channel(AHEAD);
        let (edge, in_flight, sent, why) = (conn.edge.clone(), conn.active.begin(), sent.clone(), broken.clone());
        tokio::spawn(async move {
            let mut reader = Reader::new(rest, &edge.options);
            // One piece is kept back: with its last byte the other system has the whole.
            let mut kept = None;
            let refusal = loop {
                sent.waits();
                let (next, ends) = match reader.next().await {
                    Ok(Some(_)) if reader.received() > MAX_BODY => break Refusal::new(&codes::BODY_TOO_LARGE),
                    Ok(Some(piece)) => (kept.replace(piece), false),
                    Ok(None) => match course.still(edge.backend.site().as_ref()) {
                        Ok(()) => (kept.take(), true),
                        Err(refusal) => break refusal,
                    },
                    Err(refusal) => break refusal,
                };
                sent.step();
                // The answer came first, or the connection is gone.
                if let Some(piece) = next
                    && pieces.send(Ok(piece)).await.is_err()
                {
                    return body::discard(reader.into_rest()).await;
                }
                if ends {
                    return sent.step();
                }
            };
            // Half a body must not pass for the whole: the other connection breaks.
            let _ = why.set(refusal);
            sent.step();
            let _ = pieces.send(Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof))).await;
            body::discard(reader.into_rest()).await;
            drop(in_flight);
        });
        Ok((Payload::pieces(ahead, length), broken))
    }
}
