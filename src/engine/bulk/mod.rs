//! Bodies too long for the log: streamed to a majority's blob stores before their command is decided, fetched from a
//! peer where a replica lacks one, collected where no row names them (design §3, Bulk).
//!
//! | file | duty |
//! |---|---|
//! | `upload` | a body on its way to our disk and the peers' |
//! | `serve` | the peers' side of it |
//! | `fetch` | reading a body, from here or from whoever has it |
//! | `tend` | fetching what this node should have, removing what nobody names |
//! | `lost` | bodies of which nobody has a whole copy |
//!
//! Promises held here: P1 (a committed upload is synced on a majority), P6 (pieces, sessions and fetches are bounded),
//! P7 (what fails its checksum is fetched from a peer, never served).

pub mod fetch;
mod lost;
pub mod serve;
pub mod tend;
pub mod upload;

use crate::record;
use crate::seam::net::{NodeNumber, Transport, kinds};
use crate::seam::rng::Rng;
use crate::store::blobs::{BlobError, BlobId, Blobs, Writer};
use bytes::Bytes;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Semaphore;

/// Longest piece that one call carries, in bytes: far below the frame bound, so that lanes stay fair.
pub const PIECE: usize = 1 << 20;
/// Pieces that wait for one peer. With [`PIECE`] it bounds the memory of an upload.
const QUEUE: usize = 2;
/// A piece that a peer has not taken by then counts as lost, and the peer as out of this upload.
const PIECE_TIMEOUT: Duration = Duration::from_secs(10);
/// Syncing up to 100 MB may take a slow disk a while.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(30);
/// A peer that is full for so long, while enough others keep up, is left behind; it fetches the body later.
const LAG_PATIENCE: Duration = Duration::from_millis(250);
/// Bodies fetched at once to restore copies.
const FETCHES: usize = 4;

record! {
    /// BLOB_PUT: one step of an upload. Steps of one upload come in order.
    pub struct Put v1 {
        /// Chosen by the sender, unique among its uploads.
        1 => upload: u64,
        /// 1 piece, 2 commit, 3 forget.
        2 => step: u8,
        /// Where the piece belongs; must be the length so far.
        3 => offset: u64,
        4 => content: Bytes,
        /// Commit: the content's SHA-256.
        5 => digest: Bytes,
    }
}

/// [`Put::step`]
const STEP_PIECE: u8 = 1;
const STEP_COMMIT: u8 = 2;
const STEP_FORGET: u8 = 3;

record! {
    /// BLOB_GET: asks for a part of a blob.
    pub struct Get v1 {
        1 => digest: Bytes,
        2 => offset: u64,
        3 => max: u32,
    }
}

record! {
    /// Answer to BLOB_GET.
    pub struct Got v1 {
        /// The peer has it, whole.
        1 => found: bool,
        2 => content: Bytes,
        /// Length of the whole blob.
        3 => length: u64,
    }
}

/// The site's nodes, ourselves included, and whether each has a vote: asked for each upload, because membership changes.
pub type Nodes = Arc<dyn Fn() -> Vec<(NodeNumber, bool)> + Send + Sync>;

/// The site's bodies as one node sees them. Cheap to clone.
#[derive(Clone)]
pub struct Bulk(Arc<Inner>);

struct Inner {
    me: NodeNumber,
    blobs: Blobs,
    transport: Arc<dyn Transport>,
    nodes: Nodes,
    rng: Arc<dyn Rng>,
    sessions: serve::Sessions,
    /// Bodies being fetched to restore our copy.
    fetching: Mutex<HashMap<BlobId, ()>>,
    fetches: Semaphore,
    /// When the last look for bodies began that found all of them here in the end.
    whole: Mutex<Option<tokio::time::Instant>>,
    /// Rings when a round is to begin before its time.
    sooner: tokio::sync::Notify,
    /// Bodies that nobody has.
    lost: Mutex<BTreeSet<BlobId>>,
    /// Blobs that no row named when they were last looked at, and since when.
    orphans: Mutex<HashMap<BlobId, tokio::time::Instant>>,
    /// Read: a blob gets its name. Write: an orphan is removed. So that no body is removed just when it comes again.
    naming: tokio::sync::RwLock<()>,
}

/// Why a body cannot be stored or read now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BulkError {
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// Fewer than a majority of the voters took it.
    #[error("a majority did not take the body: {0} of {1} needed")]
    NoMajority(usize, usize),
    /// No reachable node holds an intact copy, and not all can be reached.
    #[error("no reachable node holds body {0}")]
    Nowhere(BlobId),
    /// Every voter was asked, and none holds an intact copy.
    #[error("body {0} is damaged or gone on every node")]
    Lost(BlobId),
}

impl Bulk {
    pub fn new(me: NodeNumber, blobs: Blobs, transport: Arc<dyn Transport>, nodes: Nodes, rng: Arc<dyn Rng>) -> Bulk {
        Bulk(Arc::new(Inner {
            me,
            blobs,
            transport,
            nodes,
            rng,
            sessions: Default::default(),
            fetching: Default::default(),
            fetches: Semaphore::new(FETCHES),
            whole: Default::default(),
            sooner: Default::default(),
            lost: Default::default(),
            orphans: Default::default(),
            naming: Default::default(),
        }))
    }

    /// Claims the frame kinds of blobs.
    pub fn claim(&self, router: &crate::seam::net::Router) {
        let handler = Arc::new(serve::Serve(self.clone()));
        router.claim(kinds::BLOB_PUT, handler.clone());
        router.claim(kinds::BLOB_GET, handler);
    }

    pub fn blobs(&self) -> &Blobs {
        &self.0.blobs
    }

    /// Gives a written blob its name. It counts as new, also where the same content was here before.
    async fn name(&self, writer: Writer, announced: Option<BlobId>) -> Result<(BlobId, u64), BlobError> {
        let _naming = self.0.naming.read().await;
        let named = match announced {
            Some(id) => (id, writer.finish_as(id).await?),
            None => writer.finish().await?,
        };
        self.0.orphans.lock().unwrap_or_else(|e| e.into_inner()).remove(&named.0);
        Ok(named)
    }

    /// Nodes other than this one: one without a vote may hold what a voter lacks.
    fn peers(&self) -> Vec<NodeNumber> {
        (self.0.nodes)().into_iter().map(|(node, _)| node).filter(|node| *node != self.0.me).collect()
    }

    /// The voters, of whom a majority makes a body durable; this node may not be one.
    fn voters(&self) -> Vec<NodeNumber> {
        (self.0.nodes)().into_iter().filter(|(_, votes)| *votes).map(|(node, _)| node).collect()
    }
}

#[cfg(test)]
mod tests;
