//! MESH's rows, their keys, and the few functions through which everything reads and writes them.
//!
//! A message id stands in keys as its eleven bytes, a chunk number as four: order is kept and each row is shorter.

use crate::{
    engine::draft::{Draft, Fault},
    model::{EpochMillis, MessageId},
    record,
    services::directory::rows::{NOTHING, read},
    store::{
        Reader, StoreError,
        tables::{Key, Parts, Table},
    },
    wire::record::{Malformed, Record},
};
use bytes::Bytes;
use std::collections::BTreeSet;

/// A message's status (mesh.md §9.1), as stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    Uploading = 1,
    Accepted = 2,
    Acknowledged = 3,
    Undeliverable = 4,
    Error = 5,
}

impl Status {
    pub fn of(number: u8) -> Option<Status> {
        [Status::Uploading, Status::Accepted, Status::Acknowledged, Status::Undeliverable, Status::Error]
            .into_iter()
            .find(|s| *s as u8 == number)
    }
    /// Reads a name of either version, in any case.
    pub fn named(name: &str) -> Option<Status> {
        [Status::Uploading, Status::Accepted, Status::Acknowledged, Status::Undeliverable, Status::Error]
            .into_iter()
            .find(|s| s.title().eq_ignore_ascii_case(name))
    }
    /// Version 1's word.
    pub fn title(self) -> &'static str {
        match self {
            Status::Uploading => "Uploading",
            Status::Accepted => "Accepted",
            Status::Acknowledged => "Acknowledged",
            Status::Undeliverable => "Undeliverable",
            Status::Error => "Error",
        }
    }
    /// Version 2's word.
    pub fn word(self) -> &'static str {
        match self {
            Status::Uploading => "uploading",
            Status::Accepted => "accepted",
            Status::Acknowledged => "acknowledged",
            Status::Undeliverable => "undeliverable",
            Status::Error => "error",
        }
    }
}

record! {
    /// The other side of a message, as its mailbox was when the message was sent.
    pub struct Party v1 {
        1 => mailbox: String,
        2 => name: String,
        3 => ods: String,
        4 => org_code: String,
        5 => org_name: String,
        6 => billing: String,
    }
}

record! {
    /// What went wrong, in the words of mesh.md §12.5.
    pub struct Event v1 {
        1 => event: String,
        2 => code: String,
        3 => text: String,
    }
}

record! {
    /// A message's metadata. In `Messages` (recipient's copy) `party` is the sender; in `Sent` it is the recipient.
    /// Texts from headers are bytes, kept as they came (mesh.md §18).
    pub struct Message v1 {
        /// A report by the site rather than data by a sender.
        1 => report: bool,
        /// A [`Status`].
        2 => status: u8,
        3 => party: Party,
        4 => workflow: Bytes,
        5 => subject: Bytes,
        6 => local_id: Bytes,
        7 => partner_id: Bytes,
        8 => file_name: Bytes,
        9 => checksum: Bytes,
        10 => encrypted: bool,
        /// The sender's own flag, not the content encoding.
        11 => compressed: bool,
        12 => content_type: Bytes,
        /// Each chunk is gzip-encoded as uploaded.
        13 => gzip: bool,
        14 => chunks: u32,
        /// Bytes as uploaded; 0 until complete.
        15 => size: u64,
        /// When it became complete; 0 while uploading.
        16 => accepted: u64,
        /// When it was acknowledged, or failed.
        17 => settled: u64,
        18 => expires: u64,
        /// Why it failed; for a report, what it reports.
        19 => error: Event,
        /// For a report, the id of the message it is about.
        20 => linked: Bytes,
        /// CRC32C over the chunk that completed it, where the site could not say that it had (503): the same chunk again
        /// hears it then. 0 where it was said.
        21 => unsaid: u32,
    }
}

impl Message {
    pub fn status(&self) -> Status {
        Status::of(self.status).unwrap_or(Status::Error)
    }
    /// Time of the last change.
    pub fn changed(&self, id: MessageId) -> EpochMillis {
        [self.settled, self.accepted, id.millis()].into_iter().find(|t| *t != 0).unwrap_or_default()
    }
    pub fn linked_id(&self) -> Option<MessageId> {
        MessageId::from_bytes(&self.linked)
    }
}

record! {
    /// A chunk's body: inline, or the digest of a blob.
    pub struct Part v1 {
        1 => inline: Bytes,
        2 => digest: Bytes,
        3 => len: u64,
    }
}

impl Part {
    /// The blob's SHA-256, where the body is one.
    pub fn blob(&self) -> Option<[u8; 32]> {
        self.digest.as_ref().try_into().ok()
    }
}

record! {
    /// A message that may be collected now.
    pub struct InboxEntry v1 {
        1 => workflow: Bytes,
        2 => expires: u64,
    }
}

record! {
    pub struct MailboxState v1 {
        /// Rows in `Inbox`.
        1 => accepted: u64,
        /// When the mailbox's housekeeping is due; 0 where no timer waits.
        2 => armed: u64,
    }
}

record! {
    /// What a client said of itself (mesh.md §6.1).
    pub struct Handshake v1 {
        1 => at: u64,
        2 => client_version: String,
        3 => os_name: String,
        4 => os_version: String,
        5 => os_architecture: String,
        6 => java_version: String,
        7 => user_agent: String,
    }
}

record! {
    /// A used authorization token (mesh.md §3.2).
    pub struct UsedToken v1 {
        /// The attempt that used it.
        1 => attempt: u64,
        /// Its request was answered with a status after which clients send the same token again.
        2 => released: bool,
        /// The message that a send made, or a chunk belongs to, so that the same request again has no second effect and
        /// gets the same answer.
        3 => message: Bytes,
        /// CRC32C over what was sent.
        4 => content: u32,
    }
}

record! {
    /// How far a chunked upload has come.
    pub struct Upload v1 {
        1 => received: u32,
        2 => size: u64,
        3 => expires: u64,
    }
}

record! {
    pub struct UploadPart v1 {
        1 => len: u64,
    }
}

/// A message's key in any of the tables under a mailbox.
pub fn message_key(table: Table, mailbox: &str, id: MessageId) -> Key {
    table.key().text(mailbox).fixed(&id.to_bytes())
}

pub fn chunk_key(table: Table, mailbox: &str, id: MessageId, chunk: u32) -> Key {
    message_key(table, mailbox, id).fixed(&chunk.to_be_bytes())
}

pub fn local_id_key(mailbox: &str, local_id: &[u8], id: MessageId) -> Key {
    Table::LocalIds.key().text(mailbox).text(local_id).fixed(&id.to_bytes())
}

pub fn blob_key(digest: &[u8; 32], mailbox: &str, id: MessageId, chunk: u32) -> Key {
    Table::BlobRefs.key().fixed(digest).text(mailbox).fixed(&id.to_bytes()).fixed(&chunk.to_be_bytes())
}

/// The message id at the end of a key made by [`message_key`] or [`local_id_key`].
pub fn id_at_end(table: Table, key: &[u8]) -> Result<MessageId, Fault> {
    let tail = key.len().checked_sub(11).and_then(|at| key.get(at..));
    tail.and_then(MessageId::from_bytes).ok_or(Fault::Row(table, Malformed::Truncated))
}

/// The chunk number at the end of a key made by [`chunk_key`].
pub fn chunk_at_end(key: &[u8]) -> u32 {
    key.last_chunk::<4>().map_or(0, |tail| u32::from_be_bytes(*tail))
}

/// Whether a mailbox of this partition, whichever, sent or received the message.
pub fn known(reader: &dyn Reader, id: MessageId) -> Result<bool, StoreError> {
    Ok(reader.get(&Table::MessageIds.key().fixed(&id.to_bytes()).build())?.is_some())
}

/// The recipient's copy of a message.
pub fn message(reader: &dyn Reader, mailbox: &str, id: MessageId) -> Result<Option<Message>, Fault> {
    read(reader, Table::Messages, message_key(Table::Messages, mailbox, id))
}

/// The sender's copy of a message.
pub fn sent(reader: &dyn Reader, mailbox: &str, id: MessageId) -> Result<Option<Message>, Fault> {
    read(reader, Table::Sent, message_key(Table::Sent, mailbox, id))
}

pub fn part(reader: &dyn Reader, mailbox: &str, id: MessageId, chunk: u32) -> Result<Option<Part>, Fault> {
    read(reader, Table::Bodies, chunk_key(Table::Bodies, mailbox, id, chunk))
}

pub fn state(reader: &dyn Reader, mailbox: &str) -> Result<MailboxState, Fault> {
    Ok(read(reader, Table::MailboxState, Table::MailboxState.key().text(mailbox))?.unwrap_or_default())
}

pub fn handshake(reader: &dyn Reader, mailbox: &str) -> Result<Option<Handshake>, Fault> {
    read(reader, Table::Handshakes, Table::Handshakes.key().text(mailbox))
}

/// Whether any message of this partition's rows still needs a blob. The collector of blobs asks it of each partition.
pub fn blob_in_use(reader: &dyn Reader, digest: &[u8; 32]) -> Result<bool, StoreError> {
    Ok(!reader.scan(Table::BlobRefs.key().fixed(digest).prefix(), false, 1)?.is_empty())
}

/// Messages of this partition whose bodies lie in a blob, as mailbox and id; at most `limit` of their chunks are looked at.
pub fn blob_holders(
    reader: &dyn Reader,
    digest: &[u8; 32],
    limit: usize,
) -> Result<BTreeSet<(String, MessageId)>, StoreError> {
    let rows = reader.scan(Table::BlobRefs.key().fixed(digest).prefix(), false, limit)?;
    let holder = |key: &[u8]| {
        // The table's number and all of the digest but its last byte, which stands where that number would.
        let mailbox = Parts::of(key.get(digest.len()..)?).text()?;
        let id = key.len().checked_sub(15).and_then(|at| MessageId::from_bytes(key.get(at..at + 11)?))?;
        Some((mailbox, id))
    };
    Ok(rows.iter().filter_map(|(key, _)| holder(key)).collect())
}

pub fn put_state(draft: &mut Draft<'_>, mailbox: &str, state: &MailboxState) {
    draft.put(Table::MailboxState.key().text(mailbox), state.encode());
}

/// Writes the first body of a chunk and, where it is a blob, the mark that the blob is in use. `encoded` is `part`.
pub fn insert_part(draft: &mut Draft<'_>, mailbox: &str, id: MessageId, chunk: u32, part: &Part, encoded: Bytes) {
    if let Some(digest) = part.blob() {
        draft.insert(blob_key(&digest, mailbox, id, chunk), NOTHING);
    }
    draft.insert(chunk_key(Table::Bodies, mailbox, id, chunk), encoded);
}

/// Writes a chunk's body over the one that came before, if any.
pub fn replace_part(draft: &mut Draft<'_>, mailbox: &str, id: MessageId, chunk: u32, part: &Part) -> Result<(), Fault> {
    match self::part(draft, mailbox, id, chunk)? {
        None => insert_part(draft, mailbox, id, chunk, part, part.encode()),
        Some(old) => {
            drop_part(draft, mailbox, id, chunk, &old);
            if let Some(digest) = part.blob() {
                draft.put(blob_key(&digest, mailbox, id, chunk), NOTHING);
            }
            draft.put(chunk_key(Table::Bodies, mailbox, id, chunk), part.encode());
        }
    }
    Ok(())
}

/// Removes a chunk's body and its mark.
pub fn drop_part(draft: &mut Draft<'_>, mailbox: &str, id: MessageId, chunk: u32, part: &Part) {
    if let Some(digest) = part.blob() {
        draft.delete(blob_key(&digest, mailbox, id, chunk));
    }
    draft.delete(chunk_key(Table::Bodies, mailbox, id, chunk));
}
