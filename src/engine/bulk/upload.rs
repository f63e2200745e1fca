//! The sender's side of an upload: each piece goes to our disk and, through a short queue each, to the peers.

use super::*;
use crate::ops::metrics::BLOB_BYTES_SENT;
use crate::seam::net::Lane;
use crate::wire::record::Record;
use std::io;
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::sync::oneshot;

/// A body on its way. Dropping it makes everyone forget it.
pub struct Upload {
    bulk: Bulk,
    local: Writer,
    peers: Vec<Peer>,
    /// Peers that must have it besides us.
    needed: usize,
    voters: usize,
}

enum Step {
    Piece(u64, Bytes),
    Commit([u8; 32], oneshot::Sender<bool>),
}

/// One peer's queue; its task ends with the queue, or at the peer's first failure.
struct Peer {
    queue: mpsc::Sender<Step>,
}

impl Bulk {
    /// Begins an upload to a majority of the voters.
    pub async fn upload(&self) -> Result<Upload, BulkError> {
        let voters = self.voters();
        let mut id = [0; 8];
        self.0.rng.fill(&mut id);
        let upload = u64::from_be_bytes(id);
        let majority = voters.len() / 2 + 1;
        let needed = majority - usize::from(voters.contains(&self.0.me));
        let peers = voters.iter().filter(|n| **n != self.0.me).map(|to| self.send_to(*to, upload));
        let local = self.0.blobs.writer().await?;
        Ok(Upload { bulk: self.clone(), peers: peers.collect(), needed, voters: voters.len(), local })
    }

    fn send_to(&self, to: NodeNumber, upload: u64) -> Peer {
        let (queue, steps) = mpsc::channel(QUEUE);
        tokio::spawn(deliver(self.clone(), to, upload, steps));
        Peer { queue }
    }
}

/// Sends one peer's steps in order; stops at the first failure, which closes the queue.
async fn deliver(bulk: Bulk, to: NodeNumber, upload: u64, mut steps: mpsc::Receiver<Step>) {
    let call = |put: Put, timeout| {
        let answer = bulk.0.transport.call(to, Lane::Bulk, kinds::BLOB_PUT, put.encode(), timeout);
        async move { answer.await.map(drop) }
    };
    let mut begun = false;
    while let Some(step) = steps.recv().await {
        match step {
            Step::Piece(offset, content) => {
                begun = true;
                let bytes = content.len() as u64;
                let put = Put { upload, step: STEP_PIECE, offset, content, ..Default::default() };
                if let Err(e) = call(put, PIECE_TIMEOUT).await {
                    return left_behind(to, &e);
                }
                metrics::counter!(BLOB_BYTES_SENT).increment(bytes);
            }
            Step::Commit(digest, done) => {
                let digest = Bytes::copy_from_slice(&digest);
                let put = Put { upload, step: STEP_COMMIT, digest, ..Default::default() };
                let result = call(put, COMMIT_TIMEOUT).await;
                let _ = done.send(result.is_ok());
                return result.err().into_iter().for_each(|e| left_behind(to, &e));
            }
        }
    }
    // The upload was dropped: the peer need not wait for its own time-out.
    if begun {
        let _ = call(Put { upload, step: STEP_FORGET, ..Default::default() }, PIECE_TIMEOUT).await;
    }
}

fn left_behind(to: NodeNumber, e: &io::Error) {
    tracing::info!(event = "bulk.peer_left_behind", peer = to.0, error = %e, "a node did not take a body; it fetches it later");
}

impl Upload {
    /// Adds content. Waits for our disk and for enough peers; a slow peer that is not needed is left behind.
    pub async fn piece(&mut self, content: Bytes) -> Result<(), BulkError> {
        let mut content = content;
        while !content.is_empty() {
            let part = content.split_to(content.len().min(PIECE));
            let offset = self.local.length();
            self.offer(offset, &part).await?;
            self.local.write(part).await?;
        }
        Ok(())
    }

    async fn offer(&mut self, offset: u64, part: &Bytes) -> Result<(), BulkError> {
        let mut kept = Vec::with_capacity(self.peers.len());
        let mut full = vec![];
        for peer in self.peers.drain(..) {
            match peer.queue.try_send(Step::Piece(offset, part.clone())) {
                Ok(()) => kept.push(peer),
                Err(TrySendError::Full(_)) => full.push(peer),
                Err(TrySendError::Closed(_)) => {}
            }
        }
        for peer in full {
            let patience = if kept.len() < self.needed { PIECE_TIMEOUT } else { LAG_PATIENCE };
            let step = Step::Piece(offset, part.clone());
            if peer.queue.send_timeout(step, patience).await.is_ok() {
                kept.push(peer);
            }
        }
        self.peers = kept;
        self.enough(self.peers.len())
    }

    fn enough(&self, peers: usize) -> Result<(), BulkError> {
        if peers >= self.needed {
            return Ok(());
        }
        let mine = self.voters / 2 + 1 - self.needed;
        Err(BulkError::NoMajority(peers + mine, self.voters / 2 + 1))
    }

    /// Syncs everywhere at once and returns when a majority has. Slower nodes finish in the background.
    pub async fn commit(self) -> Result<(BlobId, u64), BulkError> {
        let digest = self.local.digest();
        let (answers, mut done) = mpsc::channel(self.peers.len().max(1));
        for peer in &self.peers {
            let (answer, answered) = oneshot::channel();
            // A queue that stays full belongs to a peer that is lost.
            let sent = peer.queue.send_timeout(Step::Commit(digest.0, answer), PIECE_TIMEOUT);
            if sent.await.is_ok() {
                let answers = answers.clone();
                tokio::spawn(async move {
                    let _ = answers.send(answered.await.unwrap_or(false)).await;
                });
            }
        }
        drop(answers);
        let (needed, voters) = (self.needed, self.voters);
        let Upload { bulk, local, peers, .. } = self;
        let others = async {
            let mut taken = 0;
            while taken < needed {
                match done.recv().await {
                    Some(true) => taken += 1,
                    Some(false) => {}
                    None => break,
                }
            }
            taken
        };
        let (here, taken) = tokio::join!(bulk.name(local, None), others);
        drop(peers);
        let (id, length) = here?;
        if taken < needed {
            let majority = voters / 2 + 1;
            return Err(BulkError::NoMajority(taken + majority - needed, majority));
        }
        Ok((id, length))
    }
}
