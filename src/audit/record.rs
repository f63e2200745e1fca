//! One audit record, the hash that chains it, and the rows that find it (P4).

use crate::record;
use crate::store::RowOp;
use crate::store::tables::{Key, Table};
use crate::wire::record::Record as _;
use aws_lc_rs::digest;
use bytes::Bytes;

/// Length of a chain hash: SHA-256.
pub const HASH_LEN: usize = 32;

record! {
    /// Who did what to whom, why, from where, and how it ended.
    pub struct Record v1 {
        /// Place in the partition's chain, from 1.
        1 => sequence: u64,
        /// Milliseconds since the epoch, never falling along the chain.
        2 => at: u64,
        /// Node that decided.
        3 => node: u16,
        4 => interaction: String,
        5 => outcome: String,
        6 => object: String,
        7 => other: String,
        /// Patient in audit form.
        8 => subject: String,
        9 => purpose: String,
        10 => detail: String,
        11 => correlation_id: String,
        12 => request_id: String,
        13 => asid: String,
        14 => ods: String,
        15 => party_key: String,
        /// SHA-256 of the client certificate, lower-case hex.
        16 => certificate: String,
        17 => common_name: String,
        18 => principal: String,
        19 => address: String,
        20 => operator: String,
        /// Hash of the record before; zeros for the first.
        21 => previous: [u8; 32],
        /// Client id of the application whose key or token came with the request, and how far the caller was proven.
        22 => application: String,
        23 => level: String,
        /// The member of staff or the citizen behind it, and what the former acted as.
        24 => user: String,
        25 => role_profile: String,
        26 => job_role: String,
        /// Session at the identity provider.
        27 => session: String,
        /// C, R, U, D or E (DICOM's and FHIR's letters; spec/identity.md §9.1).
        28 => action: String,
        /// The scope and activities that met the gate's rule.
        29 => granted: String,
        /// Workgroup through which the access was justified.
        30 => workgroup: String,
        /// Of a citizen: the own NHS number.
        31 => nhs_number: String,
        /// An AuditEvent that a system filed, as JSON.
        32 => filed: Bytes,
        /// Of a citizen who acts for another: the other's NHS number.
        33 => acts_for: String,
    }
}

/// The end of a chain: what the next record must hang on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chain {
    /// Sequence of the newest record; 0 for an empty chain.
    pub sequence: u64,
    pub hash: [u8; HASH_LEN],
}

impl Chain {
    /// Hangs `record` on the chain (sets its sequence and previous hash) and pushes its rows: the record, then its index rows.
    pub fn push(&mut self, mut record: Record, rows: &mut Vec<RowOp>) {
        record.sequence = self.sequence + 1;
        record.previous = self.hash;
        let bytes = record.encode();
        *self = Chain { sequence: record.sequence, hash: chained(&self.hash, &bytes) };
        for key in index_keys(&record) {
            rows.push(RowOp::Put { key, value: Bytes::new(), fresh: true });
        }
        rows.push(RowOp::Put { key: record_key(record.sequence), value: bytes, fresh: true });
    }

    /// Takes a stored record as the next one; `false` where it does not hang on this chain.
    pub fn follow(&mut self, record: &Record, bytes: &[u8]) -> bool {
        if record.sequence != self.sequence + 1 || record.previous != self.hash {
            return false;
        }
        *self = Chain { sequence: record.sequence, hash: chained(&self.hash, bytes) };
        true
    }
}

fn chained(previous: &[u8; HASH_LEN], record: &[u8]) -> [u8; HASH_LEN] {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(previous);
    context.update(record);
    let mut hash = [0; HASH_LEN];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

/// Key of a record in [`Table::Audit`].
pub fn record_key(sequence: u64) -> Bytes {
    Table::Audit.key().number(sequence).build()
}

/// What an index row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Indexed {
    /// A record's object or one of its other objects.
    Id = 1,
    Correlation = 2,
    /// Who did it: user id of a member of staff, `sub` of a citizen, local user of an operator.
    Actor = 3,
}

impl Indexed {
    /// Start of the index keys of one word among the records of an epoch.
    pub(super) fn key(self, epoch: u64, word: Short) -> Key {
        Table::AuditIndex.key().fixed(&[self as u8]).fixed(&(epoch as u32).to_be_bytes()).fixed(&word)
    }
}

/// Other objects by which a record is found.
pub const OTHER_OBJECTS: usize = 4;

/// The other objects of a record, as they are found by: each word is one. More than an interaction touches are not told
/// apart from noise.
pub(super) fn other_objects(record: &Record) -> impl Iterator<Item = &str> {
    record.other.split(' ').filter(|word| !word.is_empty() && *word != record.object).take(OTHER_OBJECTS)
}

/// Keys of a record's index rows: object, other objects, the person it is about, correlation id, and of a refusal the client's own
/// id, where they are there and differ. So "who has looked at this person" is one question.
pub fn index_keys(record: &Record) -> Vec<Bytes> {
    let mut keys = Vec::with_capacity(4);
    let mut add = |kind: Indexed, word: &str| {
        if !word.is_empty() {
            keys.push(kind.key(epoch(record.sequence), short(word)).number(record.sequence).build());
        }
    };
    add(Indexed::Id, &record.object);
    other_objects(record).for_each(|word| add(Indexed::Id, word));
    if record.subject != record.object {
        add(Indexed::Id, &record.subject);
    }
    add(Indexed::Correlation, &record.correlation_id);
    // A client that was refused knows its own id. Of all that went well it would be a row for each message.
    if record.outcome != "ok" && record.request_id != record.correlation_id {
        add(Indexed::Correlation, &record.request_id);
    }
    // Of applications without a user there are too many records for the index to tell them apart from all.
    add(Indexed::Actor, actor(record));
    keys
}

/// The person who did what a record tells of, as they are found by; empty for a system alone.
pub fn actor(record: &Record) -> &str {
    if record.user.is_empty() { &record.operator } else { &record.user }
}

/// C, R, U, D or E, by the last word of an interaction's name (spec/identity.md §9.1): what no word says is an execution.
pub fn action_of(interaction: &str) -> &'static str {
    let word = interaction.rsplit('.').next().unwrap_or_default();
    match word {
        "create" | "birth" | "send" | "send_chunk" | "import" | "invite" | "apply" | "claim" | "file" | "token" => "C",
        "retrieve" | "read" | "search" | "list" | "count" | "download" | "head" | "track" | "track_local"
        | "lookup" | "workflow_search" | "mailbox" | "inbox_rich" | "outbox_rich" | "related" | "coverage"
        | "export" | "introspect" | "userinfo" | "authorize" => "R",
        "update" | "set" | "coverage_set" | "acknowledge" | "supersede" | "freeze" | "close" | "expire" => "U",
        "revoke" | "delete" | "remove" | "drop" => "D",
        _ => "E",
    }
}

/// A record's name outside (spec/identity.md §9.1, "event id"): a UUID of version 8 that holds partition and sequence.
pub fn event_id(partition: u16, sequence: u64) -> String {
    let low = sequence & ((1 << 48) - 1);
    let high = (sequence >> 48) as u16;
    format!("{partition:08x}-{high:04x}-8000-8000-{low:012x}")
}

/// The partition and sequence of an id that [`event_id`] made; `None` for any other text.
pub fn place_of(id: &str) -> Option<(u16, u64)> {
    let parts: Vec<&str> = id.split('-').collect();
    let [partition, high, "8000", "8000", low] = parts.as_slice() else { return None };
    let partition = u16::try_from(u32::from_str_radix(partition, 16).ok()?).ok()?;
    let sequence = u64::from(u16::from_str_radix(high, 16).ok()?) << 48 | u64::from_str_radix(low, 16).ok()?;
    // Only the one way of writing it: an id is compared as text elsewhere.
    (event_id(partition, sequence) == id).then_some((partition, sequence))
}

/// A word as the index holds it.
pub(super) type Short = [u8; 8];

/// Words are hashed to 8 bytes: rows stay small, and a search looks at the record itself anyway, so that a collision
/// costs one read.
pub(super) fn short(word: &str) -> Short {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(word.as_bytes());
    let mut short = [0u8; 8];
    short.copy_from_slice(&context.finish().as_ref()[..8]);
    short
}

const EPOCH_BITS: u32 = 14;

/// The stretch of records whose index rows lie together. Hashes are spread evenly: in one index over all records each
/// new row would fall into another block, and the cost of a flush grow with the age of the site. So only the blocks of
/// the newest epoch change, some hundred, and a search looks into every epoch.
pub(super) fn epoch(sequence: u64) -> u64 {
    sequence >> EPOCH_BITS
}

/// The first sequence of an epoch.
pub(super) fn first_of(epoch: u64) -> u64 {
    epoch << EPOCH_BITS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_id_leads_back_to_its_record() {
        for (partition, sequence) in [(0, 1), (3, 70_000), (u16::MAX, u64::MAX)] {
            let id = event_id(partition, sequence);
            assert_eq!((id.len(), place_of(&id)), (36, Some((partition, sequence))));
        }
        assert_eq!(event_id(2, 258), "00000002-0000-8000-8000-000000000102");
        for other in ["", "2/258", "00000002-0000-8000-8000-00000000010G", "2-0-8000-8000-102"] {
            assert_eq!(place_of(other), None, "{other}");
        }
    }

    #[test]
    fn what_was_done_has_a_letter() {
        for (interaction, letter) in
            [("mesh.send", "C"), ("pds.retrieve", "R"), ("pds.update", "U"), ("identity.revoke", "D"), ("mesh.x", "E")]
        {
            assert_eq!(action_of(interaction), letter, "{interaction}");
        }
    }

    #[test]
    fn a_record_follows_only_the_chain_it_was_pushed_to() {
        let mut chain = Chain::default();
        let mut rows = vec![];
        for object in ["M1", "M2"] {
            chain.push(Record { object: object.into(), correlation_id: "c".into(), ..Default::default() }, &mut rows);
        }
        let records: Vec<_> = rows
            .iter()
            .filter_map(|op| match op {
                RowOp::Put { key, value, .. } if key[0] == Table::Audit as u8 => Some(value.clone()),
                _ => None,
            })
            .collect();
        assert_eq!((records.len(), rows.len()), (2, 6));
        let mut again = Chain::default();
        let second = Record::decode(&records[1]).unwrap();
        assert!(!again.follow(&second, &records[1]), "out of turn");
        assert!(again.follow(&Record::decode(&records[0]).unwrap(), &records[0]));
        let mut forged = second.clone();
        forged.object = "M3".into();
        let mut branch = again;
        assert!(branch.follow(&forged, &forged.encode()), "its own link cannot tell, what follows can");
        assert!(again.follow(&second, &records[1]));
        assert_eq!(again, chain);
        assert_ne!(branch, chain);
    }
}
