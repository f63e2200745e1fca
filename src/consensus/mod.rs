//! Agreement: one Raft group per partition, carrying opaque payloads in one order to every replica.
//!
//! Promises held here: P1 (an entry is applied only when a majority has it on disk), P2 (read fences), P7 (a
//! storage error stops the process), P9 (wiped nodes come back, followers catch up). The library is openraft; only
//! this room names it.

mod api;
mod group;

pub use api::{
    ConsensusError, Entry, Fatal, GroupNumber, Leadership, Member, NotLeader, Options, RaftId, StateMachine, Status,
};
pub use group::Group;
