//! What members of a group say to each other, as records (P8). Kinds are in `seam::net::kinds`.
//!
//! Every call names the group and the Raft id it is meant for, so that a node's next incarnation never acts on what
//! was sent to an earlier one.

use super::storage::malformed;
use super::types::{Entry, PositionRecord, Types, VoteRecord, content, log_id, payload};
use crate::record;
use crate::wire::record::{ListItem, Malformed, Raw, Record, next_field, put_varint};
use bytes::Bytes;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, TransferLeaderRequest, VoteRequest, VoteResponse};
use std::io;

record! {
    /// RAFT_APPEND: entries for a follower's log, or a heartbeat without any.
    pub struct AppendCall v1 {
        1 => group: u16,
        2 => to: u64,
        3 => vote: VoteRecord,
        /// The entry before the first of `entries`.
        4 => previous: PositionRecord,
        5 => commit: PositionRecord,
        6 => entries: Vec<Packed>,
    }
}

record! {
    /// One entry of an append. Its index follows from its place.
    pub struct EntryRecord v1 {
        1 => term: u64,
        2 => content: Bytes,
    }
}

/// An [`EntryRecord`] that is written without being copied first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Packed {
    pub term: u64,
    pub content: Bytes,
}

impl ListItem for Packed {
    fn put_item(&self, field: u32, out: &mut Vec<u8>) {
        let mut head = vec![1];
        if self.term != 0 {
            put_varint(1 << 3, &mut head);
            put_varint(self.term, &mut head);
        }
        if !self.content.is_empty() {
            put_varint(2 << 3 | 2, &mut head);
            put_varint(self.content.len() as u64, &mut head);
        }
        put_varint(u64::from(field) << 3 | 2, out);
        put_varint((head.len() + self.content.len()) as u64, out);
        out.extend_from_slice(&head);
        out.extend_from_slice(&self.content);
    }
    fn take_item(_: u32, bytes: Bytes) -> Result<Self, Malformed> {
        let record = EntryRecord::decode(&bytes)?;
        Ok(Packed { term: record.term, content: record.content })
    }
}

record! {
    /// Answer to RAFT_APPEND.
    pub struct AppendAnswer v1 {
        /// 0 all stored, 1 stored up to `matched`, 2 the previous entry differs, 3 a higher vote is known.
        1 => result: u64,
        2 => matched: PositionRecord,
        3 => vote: VoteRecord,
    }
}

record! {
    /// RAFT_VOTE and RAFT_PRE_VOTE.
    pub struct VoteCall v1 {
        1 => group: u16,
        2 => to: u64,
        3 => vote: VoteRecord,
        4 => last: PositionRecord,
        /// The candidate was asked by the leader to take over.
        5 => transfer: bool,
    }
}

record! {
    pub struct VoteAnswer v1 {
        1 => vote: VoteRecord,
        2 => granted: bool,
        3 => last: PositionRecord,
    }
}

record! {
    /// RAFT_TRANSFER: the leader hands over to `next`.
    pub struct TransferCall v1 {
        1 => group: u16,
        2 => to: u64,
        3 => vote: VoteRecord,
        4 => next: u64,
        5 => last: PositionRecord,
    }
}

record! {
    /// Answer to RAFT_TRANSFER. Refused: the vote or the log moved on meanwhile.
    pub struct TransferAnswer v1 {
        1 => refused: bool,
    }
}

impl AppendCall {
    pub fn of(group: u16, to: u64, request: &AppendEntriesRequest<Types>) -> Self {
        let pack = |e: &Entry| Packed { term: e.log_id.leader_id.term, content: content(e) };
        AppendCall {
            group,
            to,
            vote: VoteRecord::of(&request.vote),
            previous: PositionRecord::of(request.prev_log_id.as_ref()),
            commit: PositionRecord::of(request.leader_commit.as_ref()),
            entries: request.entries.iter().map(pack).collect(),
            ..Default::default()
        }
    }

    /// Encodes with memory for everything taken at once: appends are the bulk of all traffic.
    pub fn encode_whole(&self) -> Bytes {
        const PER_ENTRY: usize = 32;
        let size: usize = self.entries.iter().map(|e| e.content.len() + PER_ENTRY).sum();
        let mut out = Vec::with_capacity(size + 256);
        self.encode_into(&mut out);
        out.into()
    }

    pub fn request(self) -> io::Result<AppendEntriesRequest<Types>> {
        let before = self.previous.index;
        let entry = |(n, packed): (usize, Packed)| -> Result<Entry, Malformed> {
            let index = before.checked_add(1 + n as u64).ok_or(Malformed::Range(4))?;
            let at = log_id(index, packed.term).ok_or(Malformed::Range(4))?;
            Ok(Entry { log_id: at, payload: payload(packed.content)? })
        };
        let entries: Result<Vec<_>, _> = self.entries.into_iter().enumerate().map(entry).collect();
        Ok(AppendEntriesRequest {
            vote: self.vote.vote(),
            prev_log_id: self.previous.log_id(),
            entries: entries.map_err(malformed)?,
            leader_commit: self.commit.log_id(),
        })
    }
}

impl AppendAnswer {
    pub fn of(response: &AppendEntriesResponse<Types>) -> Self {
        let (result, matched, vote) = match response {
            AppendEntriesResponse::Success => (0, None, None),
            AppendEntriesResponse::PartialSuccess(at) => (1, at.as_ref(), None),
            AppendEntriesResponse::Conflict => (2, None, None),
            AppendEntriesResponse::HigherVote(vote) => (3, None, Some(vote)),
        };
        AppendAnswer {
            result,
            matched: PositionRecord::of(matched),
            vote: vote.map(VoteRecord::of).unwrap_or_default(),
            ..Default::default()
        }
    }

    pub fn response(&self) -> io::Result<AppendEntriesResponse<Types>> {
        match self.result {
            0 => Ok(AppendEntriesResponse::Success),
            1 => Ok(AppendEntriesResponse::PartialSuccess(self.matched.log_id())),
            2 => Ok(AppendEntriesResponse::Conflict),
            3 => Ok(AppendEntriesResponse::HigherVote(self.vote.vote())),
            _ => Err(malformed(Malformed::Range(1))),
        }
    }
}

impl VoteCall {
    pub fn of(group: u16, to: u64, request: &VoteRequest<Types>) -> Self {
        VoteCall {
            group,
            to,
            vote: VoteRecord::of(&request.vote),
            last: PositionRecord::of(request.last_log_id.as_ref()),
            transfer: request.leadership_transfer,
            ..Default::default()
        }
    }
    pub fn request(&self) -> VoteRequest<Types> {
        let mut request = VoteRequest::new(self.vote.vote(), self.last.log_id());
        request.leadership_transfer = self.transfer;
        request
    }
}

impl VoteAnswer {
    pub fn of(response: &VoteResponse<Types>) -> Self {
        VoteAnswer {
            vote: VoteRecord::of(&response.vote),
            granted: response.vote_granted,
            last: PositionRecord::of(response.last_log_id.as_ref()),
            ..Default::default()
        }
    }
    pub fn response(&self) -> VoteResponse<Types> {
        VoteResponse::new(self.vote.vote(), self.last.log_id(), self.granted)
    }
}

impl TransferCall {
    pub fn of(group: u16, to: u64, request: &TransferLeaderRequest<Types>) -> Self {
        TransferCall {
            group,
            to,
            vote: VoteRecord::of(request.from_leader()),
            next: *request.to_node_id(),
            last: PositionRecord::of(request.last_log_id()),
            ..Default::default()
        }
    }
    pub fn request(&self) -> TransferLeaderRequest<Types> {
        TransferLeaderRequest::new(self.vote.vote(), self.next, self.last.log_id())
    }
}

/// Group and addressee of any call, read without the rest. `None` where the bytes are no such call.
pub fn addressee(call: &Bytes) -> Option<(u16, u64)> {
    let mut bytes = call.slice(call.len().min(1)..);
    // Group and addressee come first in every call; a group of 0 is left out.
    match next_field(&mut bytes).ok()?? {
        (2, Raw::Varint(to)) => Some((0, to)),
        (1, Raw::Varint(group)) => match next_field(&mut bytes).ok()?? {
            (2, Raw::Varint(to)) => Some((u16::try_from(group).ok()?, to)),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consensus::types::{Proposal, Vote};
    use openraft::EntryPayload;
    use openraft::vote::{RaftVote, leader_id_std::LeaderId};

    fn vote() -> Vote {
        Vote::from_leader_id(LeaderId { term: 9, voted_for: 65537 }, true)
    }

    fn append() -> AppendEntriesRequest<Types> {
        let normal =
            |bytes: &'static [u8]| EntryPayload::Normal(Proposal { payload: Bytes::from_static(bytes), reign: None });
        AppendEntriesRequest {
            vote: vote(),
            prev_log_id: log_id(4, 8),
            entries: vec![
                Entry { log_id: log_id(5, 8).unwrap(), payload: EntryPayload::Blank },
                Entry { log_id: log_id(6, 9).unwrap(), payload: normal(b"\x01abc") },
            ],
            leader_commit: log_id(3, 8),
        }
    }

    #[test]
    fn an_append_comes_back_as_it_went() {
        let call = AppendCall::of(0, 131073, &append()).encode_whole();
        assert_eq!(addressee(&call), Some((0, 131073)));
        let back = AppendCall::decode(&call).unwrap().request().unwrap();
        assert_eq!(format!("{back:?}"), format!("{:?}", append()));
        let call = AppendCall::of(3, 1, &append()).encode_whole();
        assert_eq!(addressee(&call), Some((3, 1)));
    }

    #[test]
    fn a_packed_entry_is_an_entry_record() {
        let record = EntryRecord { term: 300, content: Bytes::from_static(b"xyz"), ..Default::default() };
        let packed = Packed { term: 300, content: Bytes::from_static(b"xyz") };
        let (mut a, mut b) = (vec![], vec![]);
        record.put_item(6, &mut a);
        packed.put_item(6, &mut b);
        assert_eq!(a, b);
    }

    #[test]
    fn answers_come_back_as_they_went() {
        for response in [
            AppendEntriesResponse::Success,
            AppendEntriesResponse::PartialSuccess(log_id(7, 2)),
            AppendEntriesResponse::Conflict,
            AppendEntriesResponse::HigherVote(vote()),
        ] {
            let bytes = AppendAnswer::of(&response).encode();
            assert_eq!(AppendAnswer::decode(&bytes).unwrap().response().unwrap(), response);
        }
        let granted = VoteResponse::new(vote(), log_id(2, 1), true);
        let bytes = VoteAnswer::of(&granted).encode();
        assert_eq!(VoteAnswer::decode(&bytes).unwrap().response(), granted);
    }

    #[test]
    fn broken_calls_are_refused() {
        assert_eq!(addressee(&Bytes::new()), None);
        assert_eq!(addressee(&Bytes::from_static(&[1, 0xff])), None);
        let last = PositionRecord { index: u64::MAX, term: 1, ..Default::default() };
        let behind = AppendCall { previous: last, entries: vec![Packed::default()], ..Default::default() };
        assert!(behind.request().is_err(), "nothing follows the last index that can be counted");
        let odd = AppendAnswer { result: 9, ..Default::default() };
        assert!(odd.response().is_err());
    }
}
