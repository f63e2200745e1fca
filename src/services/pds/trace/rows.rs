//! What is stored of batch traces, by the service's mailbox and the message's id, which is the order of arrival. All rows of a
//! file are in the partition of the mailbox.

use crate::{
    access::caller::Caller,
    engine::draft::Fault,
    model::MessageId,
    record,
    store::{
        Reader,
        tables::{Key, Parts, Table},
    },
    wire::{post::Body, record::Record},
};
use bytes::Bytes;

record! {
    /// A file under way.
    pub struct TraceJob v1 {
        /// The sender's mailbox, which gets the answer.
        1 => from: String,
        2 => workflow: Bytes,
        3 => local_id: Bytes,
        4 => file_name: Bytes,
        5 => chunks: u32,
        /// Bytes as uploaded.
        6 => size: u64,
        7 => gzip: bool,
        /// When it arrived, milliseconds since the epoch.
        8 => at: u64,
        /// Who sent it: whom the audit trail names for each person shown.
        9 => caller: Caller,
        /// It was read through: `rows` says how many there are.
        10 => checked: bool,
        11 => rows: u64,
        /// The cursor: so many rows are answered.
        12 => done: u64,
        /// How many of them show a person.
        13 => matched: u64,
        /// Pieces written so far, and those before `folded` are in `parts`.
        14 => pieces: u32,
        15 => folded: u32,
        /// Bytes of the pieces that are not folded.
        16 => loose: u64,
        17 => parts: Vec<Body>,
        /// The answer's file, without its ending.
        18 => answer: String,
    }
}

record! {
    /// A file that was answered.
    pub struct TraceDone v1 {
        1 => from: String,
        2 => workflow: Bytes,
        3 => at: u64,
        4 => ended: u64,
        5 => rows: u64,
        6 => matched: u64,
        /// Code of the file.
        7 => code: u8,
        /// Blobs of the answer, kept until it has certainly arrived at its mailbox's partition.
        8 => parts: Vec<Body>,
        /// Pieces that were written.
        9 => pieces: u32,
    }
}

pub fn key(table: Table, mailbox: &str, id: MessageId) -> Key {
    table.key().text(mailbox).fixed(&id.to_bytes())
}
pub fn piece_key(mailbox: &str, id: MessageId, piece: u32) -> Key {
    key(Table::TracePieces, mailbox, id).fixed(&piece.to_be_bytes())
}
/// Says that a blob is a part of the answer.
pub fn blob_key(digest: &[u8; 32], mailbox: &str, id: MessageId, part: u32) -> Key {
    Table::BlobRefs.key().fixed(digest).text(mailbox).fixed(&id.to_bytes()).fixed(&part.to_be_bytes())
}

pub fn job(rows: &dyn Reader, mailbox: &str, id: MessageId) -> Result<Option<TraceJob>, Fault> {
    row(rows, Table::TraceJobs, key(Table::TraceJobs, mailbox, id))
}
pub fn done(rows: &dyn Reader, mailbox: &str, id: MessageId) -> Result<Option<TraceDone>, Fault> {
    row(rows, Table::TracesDone, key(Table::TracesDone, mailbox, id))
}

fn row<R: Record>(rows: &dyn Reader, table: Table, key: Key) -> Result<Option<R>, Fault> {
    match rows.get(&key.build())? {
        Some(bytes) => R::decode(&bytes).map(Some).map_err(|e| Fault::Row(table, e)),
        None => Ok(None),
    }
}

/// Pieces from `first` up to `end`, in order, as far as they are there.
pub fn pieces(rows: &dyn Reader, mailbox: &str, id: MessageId, first: u32, end: u32) -> Result<Vec<Bytes>, Fault> {
    let range = piece_key(mailbox, id, first).build()..piece_key(mailbox, id, end).build();
    let found = rows.scan(range, false, end.saturating_sub(first) as usize)?;
    Ok(found.into_iter().map(|(_, value)| value).collect())
}

/// Up to `limit` rows of one of the two tables: mailbox, message, row; from the oldest of each mailbox on.
pub fn list<R: Record>(rows: &dyn Reader, table: Table, limit: usize) -> Result<Vec<(String, MessageId, R)>, Fault> {
    read(rows.scan(table.key().prefix(), false, limit)?, table)
}

/// The first file under way, in the order of keys, that is `wanted`. Looks at all of them, `page` at once.
pub fn first(
    rows: &dyn Reader,
    page: usize,
    wanted: impl Fn(&MessageId, &TraceJob) -> bool,
) -> Result<Option<(String, MessageId, TraceJob)>, Fault> {
    let mut range = Table::TraceJobs.key().prefix();
    loop {
        let found = rows.scan(range.clone(), false, page)?;
        let next = found.last().filter(|_| found.len() == page).map(|(key, _)| [key.as_ref(), &[0]].concat());
        if let Some(job) = read(found, Table::TraceJobs)?.into_iter().find(|(_, id, job)| wanted(id, job)) {
            return Ok(Some(job));
        }
        match next {
            Some(next) => range.start = next.into(),
            None => return Ok(None),
        }
    }
}

/// Up to `limit` answered files, from the newest of each mailbox on.
pub fn newest(rows: &dyn Reader, limit: usize) -> Result<Vec<(String, MessageId, TraceDone)>, Fault> {
    read(rows.scan(Table::TracesDone.key().prefix(), true, limit)?, Table::TracesDone)
}

fn read<R: Record>(found: Vec<(Bytes, Bytes)>, table: Table) -> Result<Vec<(String, MessageId, R)>, Fault> {
    let read = |(key, value): (Bytes, Bytes)| {
        let id = key.last_chunk::<11>().and_then(|id| MessageId::from_bytes(id));
        let (Some(mailbox), Some(id)) = (Parts::of(&key).text(), id) else {
            return Err(Fault::Other("a trace's key is none".into()));
        };
        Ok((mailbox, id, R::decode(&value).map_err(|e| Fault::Row(table, e))?))
    };
    found.into_iter().map(read).collect()
}
