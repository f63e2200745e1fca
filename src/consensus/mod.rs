//! Agreement: one Raft group per partition, carrying opaque payloads in one order to every replica.
//!
//! Promises held here: P1 (an entry is applied only when a majority has it on disk), P2 (read fences), P7 (a
//! storage error stops the process), P9 (wiped nodes come back, followers catch up). The library is openraft; only
//! this room names it.

mod api;
#[allow(clippy::module_inception, reason = "the file of the type that the room is named after")]
mod consensus;
mod driver;
mod group;
mod handler;
mod logged;
mod machine;
mod members;
mod network;
mod refill;
mod reign;
mod rejoin;
mod repair;
mod snapshot;
mod storage;
mod succession;
mod types;
mod wire;

pub use api::{
    ConsensusError, Entry, Fatal, GroupNumber, Leadership, Member, NotLeader, Options, RaftId, StateMachine, Status,
};
pub use consensus::{Consensus, Parts, SITE_GROUP};
pub use group::Group;
pub use logged::Unread;
pub use rejoin::{Rejoined, rejoin};
pub use storage::promised;
pub use succession::{End, Place, succeeding};
pub use types::founded;

#[cfg(test)]
mod tests;

/// The room's parsers, opened to `crate::fuzz` alone.
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod parsers {
    pub use super::{refill::*, rejoin::*, repair::*, snapshot::*, types::*, wire::*};
}
