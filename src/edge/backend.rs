//! What the edge needs of the rooms below, as one narrow trait: commands, views, the registry, stored bodies.
//!
//! In the product the engine and the blob store stand behind it; tests of the edge bring one of their own.

use super::payload::Pieces;
use super::protocol::{Heard, Question};
use super::relays::Relays;
use crate::access::gate::{Denied, Proven, Standing};
use crate::engine::{Command, Outcome, PartitionId, Unavailable};
use crate::store::Reader;
use bytes::Bytes;
use std::{future::Future, pin::Pin, sync::Arc};

pub type Answering<'a, T> = Pin<Box<dyn Future<Output = Result<T, Unavailable>> + Send + 'a>>;
pub type Hearing<'a> = Pin<Box<dyn Future<Output = Heard> + Send + 'a>>;
/// Rows as of some moment.
pub type View = Arc<dyn Reader + Send + Sync>;

/// What a request of the API listener shows of its sender.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// Header `apikey`.
    Key(String),
    /// Header `Authorization: Bearer`, and the role that header `NHSD-Session-URID` names (spec/identity.md §5).
    Bearer(String, String),
}

/// A body that a majority has stored, by its SHA-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    pub digest: [u8; 32],
    /// Bytes.
    pub len: u64,
}

pub trait Backend: Send + Sync + 'static {
    fn submit(&self, command: Command) -> Answering<'_, Outcome>;
    /// Rows of a partition that show at least everything up to `index`.
    fn view(&self, partition: PartitionId, index: u64) -> Answering<'_, View>;
    /// Rows of every data partition, in order from 1, each as of some moment after this call (P2). They are asked for together.
    fn views_now(&self) -> Answering<'_, Vec<View>>;
    /// Waits until what `outcome` sent to other partitions has been applied there; gives up silently after a bounded
    /// time, because delivery is certain and only its moment is not.
    fn settled<'a>(&'a self, outcome: &'a Outcome) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>;
    /// The registry as this node has it.
    fn site(&self) -> View;
    /// Whom a certificate (SHA-256, lower-case hex) belongs to.
    fn standing(&self, certificate: &str) -> Result<Standing, Unavailable>;
    /// Whom credentials belong to, as of now: one that was revoked anywhere before the call is refused here.
    fn known<'a>(&'a self, shown: &'a Credentials) -> Answering<'a, Standing> {
        let unknown = match shown {
            Credentials::Key(_) => Denied::KeyUnknown,
            Credentials::Bearer(..) => Denied::TokenUnknown,
        };
        Box::pin(async move { Ok(Standing::Refused(unknown)) })
    }
    /// Whose credentials these seem to be, by what this node has at hand: quick, without a fence, and never enough for a permit.
    fn seen(&self, shown: &Credentials) -> Option<Proven> {
        let _ = shown;
        None
    }
    /// Asks outside the site, within bounds of time and size.
    fn ask<'a>(&'a self, question: &'a Question) -> Hearing<'a> {
        let _ = question;
        Box::pin(async { Err("unreachable") })
    }
    /// The system that is being replaced, where there may be one.
    fn relays(&self) -> Option<Arc<Relays>> {
        None
    }
    /// Begins to store a body on a majority.
    fn upload(&self) -> Answering<'_, Box<dyn Upload>>;
    /// A stored body's bytes in order; fetched from another node where this one lacks it.
    fn download(&self, body: Stored) -> Answering<'_, Pieces>;
}

/// Whoever sends questions outside the site.
pub trait Courier: Send + Sync {
    fn ask<'a>(&'a self, question: &'a Question) -> Hearing<'a>;
}

/// A body on its way to a majority of disks. Dropping it forgets it.
pub trait Upload: Send {
    fn piece(&mut self, piece: Bytes) -> Answering<'_, ()>;
    /// `Ok` means: synced on a majority.
    fn commit(self: Box<Self>) -> Answering<'static, Stored>;
}
