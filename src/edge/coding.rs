//! Gzip on the way out, streamed in bounded steps: stored gzip is inflated for who does not take it, stored text is
//! zipped for who does (mesh.md §6.4, P6).
//!
//! A stream that cannot be finished breaks, and with it the connection: nobody takes half a body for the whole.

use super::payload::Pieces;
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder, write::MultiGzDecoder};
use std::io::{self, Write};
use tokio::sync::mpsc;

/// Compressed bytes inflated at a time: gzip grows data at most some thousandfold, so 1 KiB becomes 1 MiB at the very most.
const INFLATE_AT_ONCE: usize = 1 << 10;
/// The same where the data turns out dense: 64 KiB. A thousand clients that ask for a bomb and do not read must not hold
/// a MiB for each step.
const INFLATE_DENSE: usize = 1 << 6;
/// Plain bytes zipped at a time: a fraction of a millisecond, after which other requests get their turn.
const ZIP_AT_ONCE: usize = 32 << 10;
/// What is ready is sent in pieces of at least this, so that each is worth a write.
const WORTH_SENDING: usize = 64 << 10;
/// Pieces ahead of the socket.
const AHEAD: usize = 2;

/// Whether a body's first bytes are gzip's.
pub fn is_gzip(first: &[u8]) -> bool {
    first.starts_with(&[0x1f, 0x8b])
}

/// The pieces behind a body that is at hand as a whole: none.
pub fn whole() -> Pieces {
    mpsc::channel(1).1
}

/// Gunzips `first` and what follows it.
pub fn inflated(first: Bytes, mut rest: Pieces) -> Pieces {
    let (out, inflated) = mpsc::channel(AHEAD);
    tokio::spawn(async move {
        let mut decoder = MultiGzDecoder::new(Vec::new());
        let mut step = INFLATE_AT_ONCE;
        let mut next = Some(Ok(first));
        while let Some(piece) = next {
            let piece = match piece {
                Ok(piece) => piece,
                Err(e) => return drop(out.send(Err(e)).await),
            };
            let mut piece = piece.as_ref();
            while !piece.is_empty() {
                let (part, later) = piece.split_at(step.min(piece.len()));
                let before = decoder.get_ref().len();
                if let Err(e) = decoder.write_all(part) {
                    return drop(out.send(Err(e)).await);
                }
                let dense = decoder.get_ref().len() - before > WORTH_SENDING / 2;
                step = if dense { INFLATE_DENSE } else { INFLATE_AT_ONCE.min(step * 2) };
                piece = later;
                if !ready(decoder.get_mut(), &out).await {
                    return;
                }
            }
            next = rest.recv().await;
        }
        last(decoder.finish(), out).await;
    });
    inflated
}

/// Gzips `len` bytes of a stream, as one member.
pub fn zipped(mut pieces: Pieces, len: u64) -> Pieces {
    let (out, zipped) = mpsc::channel(AHEAD);
    tokio::spawn(async move {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        let mut taken = 0;
        while let Some(piece) = pieces.recv().await {
            let piece = match piece {
                Ok(piece) => piece,
                Err(e) => return drop(out.send(Err(e)).await),
            };
            for part in piece.chunks(ZIP_AT_ONCE) {
                taken += part.len() as u64;
                if let Err(e) = encoder.write_all(part) {
                    return drop(out.send(Err(e)).await);
                }
                if !ready(encoder.get_mut(), &out).await {
                    return;
                }
                tokio::task::yield_now().await;
            }
        }
        // Gzip would close a half body as neatly as a whole one.
        let ended = if taken == len {
            encoder.finish()
        } else {
            Err(io::Error::new(io::ErrorKind::UnexpectedEof, "stored body ended early"))
        };
        last(ended, out).await;
    });
    zipped
}

type Out = mpsc::Sender<io::Result<Bytes>>;

/// Sends what is ready where it is worth it; false where nobody listens any more.
async fn ready(made: &mut Vec<u8>, out: &Out) -> bool {
    made.len() < WORTH_SENDING || out.send(Ok(std::mem::take(made).into())).await.is_ok()
}

async fn last(rest: io::Result<Vec<u8>>, out: Out) {
    match rest {
        Ok(rest) if rest.is_empty() => {}
        rest => drop(out.send(rest.map(Bytes::from)).await),
    }
}
