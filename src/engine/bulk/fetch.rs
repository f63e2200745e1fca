//! Reading a body piece by piece: from our disk, and from whoever has it where ours is missing or damaged (P7, P9).

use super::*;
use crate::ops::metrics::BLOB_FETCHES;
use crate::seam::net::Lane;
use crate::wire::record::Record;

/// Bytes read at a time: small enough to hold for each of many readers, large enough for one disk access.
const READ: usize = 256 << 10;
/// Pieces ahead of the reader.
const AHEAD: usize = 1;

impl Bulk {
    /// The bytes of a body in order. The first piece is there when this returns, so that a body that nobody has is
    /// told before an answer has begun. A stream that ends in an error must not be taken for the whole.
    pub async fn open(
        &self,
        id: BlobId,
        length: u64,
    ) -> Result<tokio::sync::mpsc::Receiver<std::io::Result<Bytes>>, BulkError> {
        let (send, pieces) = tokio::sync::mpsc::channel(AHEAD);
        if length == 0 {
            return Ok(pieces);
        }
        // What is whole in front would be sent, and the answer break off where it is not.
        if self.is_lost(id) {
            self.restore_later(id);
            return Err(BulkError::Lost(id));
        }
        let first = self.part(id, 0, length).await?;
        let bulk = self.clone();
        tokio::spawn(async move {
            let mut at = first.len() as u64;
            if send.send(Ok(first)).await.is_err() {
                return;
            }
            while at < length {
                let part = bulk.part(id, at, length).await;
                let ended = part.is_err();
                at += part.as_ref().map_or(0, |p| p.len() as u64);
                if send.send(part.map_err(std::io::Error::other)).await.is_err() || ended {
                    return;
                }
            }
        });
        Ok(pieces)
    }

    /// At least one byte from `offset` on.
    async fn part(&self, id: BlobId, offset: u64, length: u64) -> Result<Bytes, BulkError> {
        let max = READ.min(usize::try_from(length - offset).unwrap_or(READ));
        match self.0.blobs.read(id, offset, max).await {
            Ok(part) if !part.is_empty() => return Ok(part),
            // Shorter than its row says: as good as damaged.
            Ok(_) | Err(BlobError::Missing(_) | BlobError::Corrupt(_)) => {}
            Err(e) => tracing::warn!(event = "bulk.read_failed", error = %e, "a body could not be read here"),
        }
        self.restore_later(id);
        match self.ask_peers(id, offset, max).await?.content {
            part if part.is_empty() => Err(BulkError::Nowhere(id)),
            part => Ok(part),
        }
    }

    async fn ask_peers(&self, id: BlobId, offset: u64, max: usize) -> Result<Got, BulkError> {
        let max = u32::try_from(max).unwrap_or(u32::MAX);
        let get = Get { digest: Bytes::copy_from_slice(&id.0), offset, max, ..Default::default() }.encode();
        let mut silent = false;
        for peer in self.peers() {
            let call = self.0.transport.call(peer, Lane::Bulk, kinds::BLOB_GET, get.clone(), PIECE_TIMEOUT);
            match call.await.map(|answer| Got::decode(&answer)) {
                Ok(Ok(got)) if got.found && (!got.content.is_empty() || offset >= got.length) => return Ok(got),
                Ok(Ok(_)) => {}
                _ => silent = true,
            }
        }
        Err(if silent { BulkError::Nowhere(id) } else { BulkError::Lost(id) })
    }

    /// Fetches our own copy again, in the background, once at a time for each body.
    fn restore_later(&self, id: BlobId) {
        let mut fetching = self.0.fetching.lock().unwrap_or_else(|e| e.into_inner());
        // Readers of many lost bodies must not start as many fetches: `tend` finds the rest.
        if fetching.len() >= 2 * FETCHES || fetching.insert(id, ()).is_some() {
            return;
        }
        let bulk = self.clone();
        tokio::spawn(async move {
            let _ = bulk.restore(id).await;
            bulk.0.fetching.lock().unwrap_or_else(|e| e.into_inner()).remove(&id);
        });
    }

    /// Fetches a body from a peer into our blob store; its digest is checked before it gets its name.
    pub async fn restore(&self, id: BlobId) -> Result<(), BulkError> {
        let _turn = self.0.fetches.acquire().await;
        let result = self.copy(id).await;
        self.searched(id, &result);
        let outcome = if result.is_ok() { "ok" } else { "failed" };
        metrics::counter!(BLOB_FETCHES, "outcome" => outcome).increment(1);
        match &result {
            Ok(()) => tracing::info!(event = "bulk.restored", blob = %id, "a body was fetched from another node"),
            Err(e) => tracing::warn!(event = "bulk.restore_failed", blob = %id, error = %e, "a body is missing here"),
        }
        result
    }

    async fn copy(&self, id: BlobId) -> Result<(), BulkError> {
        let mut writer = self.0.blobs.writer().await?;
        loop {
            let got = self.ask_peers(id, writer.length(), PIECE).await?;
            writer.write(got.content).await?;
            if writer.length() >= got.length {
                break;
            }
        }
        self.name(writer, Some(id)).await?;
        Ok(())
    }
}
