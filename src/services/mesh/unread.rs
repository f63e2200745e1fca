//! Since when messages wait unread: a walk over the inboxes of a partition, one look at each mailbox whatever it holds, in
//! steps of bounded size (P6).

use super::rows;
use crate::{
    engine::draft::Fault,
    model::EpochMillis,
    store::{
        Reader,
        tables::{Parts, Table, after_prefix},
    },
    wire::record::Malformed,
};
use bytes::Bytes;

/// What one step of a walk found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// When the first message of each mailbox looked at was accepted: the earliest of those times; `None` where none waits.
    pub since: Option<EpochMillis>,
    /// Where the next step begins; `None` at the end.
    pub next: Option<Bytes>,
}

/// Looks at the first message of so many mailboxes, from `from` on or from the beginning.
pub fn step(reader: &dyn Reader, from: Option<Bytes>, mailboxes: usize) -> Result<Step, Fault> {
    let inboxes = Table::Inbox.key().prefix();
    let mut at = from.unwrap_or(inboxes.start);
    let mut since = None::<EpochMillis>;
    for _ in 0..mailboxes {
        let first = reader.scan(at..inboxes.end.clone(), false, 1)?;
        let Some((key, _)) = first.first() else { return Ok(Step { since, next: None }) };
        let id = rows::id_at_end(Table::Inbox, key)?;
        let mailbox = Parts::of(key).text().ok_or(Fault::Row(Table::Inbox, Malformed::Truncated))?;
        // A chunked message is accepted later than its id was made.
        let accepted = rows::message(reader, &mailbox, id)?.map_or(0, |message| message.accepted).max(id.millis());
        since = Some(since.map_or(accepted, |earliest| earliest.min(accepted)));
        at = after_prefix(&Table::Inbox.key().text(&mailbox).build());
    }
    Ok(Step { since, next: Some(at) })
}
