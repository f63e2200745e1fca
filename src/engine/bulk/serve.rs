//! The receiver's side: uploads of other nodes into our blob store, and parts of our blobs for them.

use super::*;
use crate::seam::net::{Answer, Handler, Kind};
use crate::store::blobs::MAX_READ_BYTES;
use crate::wire::record::{Malformed, Record};
use std::io;
use tokio::time::Instant;

/// Uploads of one peer at once: more than its edge lets in.
const MAX_SESSIONS: usize = 256;
/// An upload without a step for so long is forgotten: its sender is gone.
const SESSION_TIMEOUT: Duration = Duration::from_secs(60);

/// Uploads under way, by sender and its number.
pub(super) type Sessions = Mutex<HashMap<(NodeNumber, u64), Session>>;

/// Out of the map while a step works on it, so that steps of one upload never overlap.
pub(super) struct Session {
    writer: Writer,
    touched: Instant,
}

pub(super) struct Serve(pub Bulk);

impl Handler for Serve {
    fn handle(&self, from: NodeNumber, kind: Kind, payload: Bytes) -> Answer {
        let bulk = self.0.clone();
        Box::pin(async move {
            match kind {
                kinds::BLOB_PUT => bulk.put(from, Put::decode(&payload).map_err(malformed)?).await,
                _ => bulk.get(Get::decode(&payload).map_err(malformed)?).await,
            }
        })
    }
}

fn malformed(e: Malformed) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, e)
}

fn failed(e: impl std::fmt::Display) -> io::Error {
    io::Error::other(e.to_string())
}

fn digest(bytes: &Bytes) -> io::Result<BlobId> {
    let digest: [u8; 32] = bytes.as_ref().try_into().map_err(|_| failed("a digest has 32 bytes"))?;
    Ok(BlobId(digest))
}

impl Bulk {
    async fn put(&self, from: NodeNumber, put: Put) -> io::Result<Bytes> {
        let key = (from, put.upload);
        match put.step {
            STEP_PIECE => {
                let mut session = match self.take_session(key) {
                    Some(session) => session,
                    None if put.offset == 0 => self.begin(from).await?,
                    None => return Err(failed("no such upload")),
                };
                if session.writer.length() != put.offset {
                    return Err(failed("a piece is missing"));
                }
                session.writer.write(put.content).await.map_err(failed)?;
                session.touched = Instant::now();
                self.sessions().insert(key, session);
            }
            STEP_COMMIT => {
                let session = self.take_session(key).ok_or_else(|| failed("no such upload"))?;
                self.name(session.writer, Some(digest(&put.digest)?)).await.map_err(failed)?;
            }
            STEP_FORGET => drop(self.take_session(key)),
            other => return Err(failed(format!("no step {other} of uploads is known"))),
        }
        Ok(Bytes::new())
    }

    async fn begin(&self, from: NodeNumber) -> io::Result<Session> {
        {
            let mut sessions = self.sessions();
            sessions.retain(|_, s| s.touched.elapsed() < SESSION_TIMEOUT);
            if sessions.keys().filter(|(node, _)| *node == from).count() >= MAX_SESSIONS {
                return Err(failed("too many uploads at once"));
            }
        }
        Ok(Session { writer: self.0.blobs.writer().await.map_err(failed)?, touched: Instant::now() })
    }

    fn take_session(&self, key: (NodeNumber, u64)) -> Option<Session> {
        self.sessions().remove(&key)
    }

    fn sessions(&self) -> std::sync::MutexGuard<'_, HashMap<(NodeNumber, u64), Session>> {
        self.0.sessions.lock().unwrap_or_else(|e| e.into_inner())
    }

    async fn get(&self, get: Get) -> io::Result<Bytes> {
        let max = (get.max as usize).min(MAX_READ_BYTES);
        let id = digest(&get.digest)?;
        let read = async {
            let length = self.0.blobs.length(id).await?;
            Ok((length, self.0.blobs.read(id, get.offset, max).await?))
        };
        let got = match read.await {
            Ok((length, content)) => Got { found: true, content, length, ..Default::default() },
            // Damage here is this node's own trouble; whoever asks goes on to the next.
            Err(BlobError::Missing(_) | BlobError::Corrupt(_)) => Got::default(),
            Err(e) => return Err(failed(e)),
        };
        Ok(got.encode())
    }
}
