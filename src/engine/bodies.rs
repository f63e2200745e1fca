//! Which bodies of the blob store the rows name: those of messages, and those of commands that are on their way to another
//! partition, or were set aside there. Whoever fetches, removes or copies bodies asks here, so that none is forgotten in the moment
//! in which no message's row names it (P1).

use super::draft::OutboxItem;
use super::rows::{DeadLetter, RowError};
use crate::store::{
    Reader, StoreError,
    blobs::BlobId,
    tables::{Table, after_prefix},
};
use crate::wire::record::Record as _;
use bytes::Bytes;
use std::collections::BTreeSet;

/// Rows read at a time.
const PAGE: usize = 256;
/// Tables whose rows name bodies, and of those the ones in which commands lie: few rows, most of the time none.
const NAMING: [Table; 3] = [Table::Outbox, Table::DeadLetters, Table::BlobRefs];
const COMMANDS: [Table; 2] = [Table::Outbox, Table::DeadLetters];

/// The bodies that one row names; none for a row of a table that names none.
pub fn of_row(key: &[u8], value: &Bytes) -> Result<Vec<BlobId>, RowError> {
    let Some(table) = NAMING.into_iter().find(|table| key.first() == Some(&(*table as u8))) else { return Ok(vec![]) };
    let item = match table {
        Table::Outbox => Some(OutboxItem::decode(value).map_err(|e| RowError::Row(table, e))?),
        Table::DeadLetters => DeadLetter::decode(value).map_err(|e| RowError::Row(table, e))?.item,
        _ => return Ok(key.get(1..).and_then(|rest| rest.first_chunk()).map(|id| BlobId(*id)).into_iter().collect()),
    };
    let named = item.into_iter().flat_map(|item| item.bodies);
    Ok(named.filter_map(|id| Some(BlobId(id.as_ref().try_into().ok()?))).collect())
}

/// The rows of a partition that name bodies, a page at a time: [`NamedPages::page`] gives the bodies of each, in the order of the rows.
pub struct NamedPages<'a> {
    rows: &'a (dyn Reader + Send + Sync),
    tables: std::vec::IntoIter<Table>,
    range: Option<std::ops::Range<Bytes>>,
}

/// Every row that names a body.
pub fn all(rows: &(dyn Reader + Send + Sync)) -> NamedPages<'_> {
    NamedPages { rows, tables: NAMING.to_vec().into_iter(), range: None }
}

impl NamedPages<'_> {
    /// `None` at the end.
    pub fn page(&mut self) -> Result<Option<Vec<BlobId>>, RowError> {
        loop {
            let range = match self.range.take() {
                Some(range) => range,
                None => match self.tables.next() {
                    Some(table) => table.key().prefix(),
                    None => return Ok(None),
                },
            };
            let page = self.rows.scan(range.clone(), false, PAGE)?;
            let Some((last, _)) = page.last() else { continue };
            self.range = Some(after_prefix(last)..range.end);
            let mut ids = vec![];
            for (key, value) in &page {
                ids.extend(of_row(key, value)?);
            }
            ids.dedup();
            return Ok(Some(ids));
        }
    }
}

/// The bodies of a partition's commands that are on their way, or were set aside; `None` where there are more than `most`.
pub fn of_commands(
    rows: &(dyn Reader + Send + Sync),
    found: &mut BTreeSet<BlobId>,
    most: usize,
) -> Result<Option<()>, RowError> {
    let mut pages = NamedPages { rows, tables: COMMANDS.to_vec().into_iter(), range: None };
    while let Some(ids) = pages.page()? {
        found.extend(ids);
        if found.len() > most {
            return Ok(None);
        }
    }
    Ok(Some(()))
}

/// Whether a message of a partition has this body.
pub fn of_message(rows: &(dyn Reader + Send + Sync), id: BlobId) -> Result<bool, StoreError> {
    Ok(!rows.scan(Table::BlobRefs.key().fixed(&id.0).prefix(), false, 1)?.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{PartitionId, draft::MapStore, rows};

    pub fn item(bodies: &[BlobId]) -> OutboxItem {
        OutboxItem { bodies: bodies.iter().map(|id| Bytes::copy_from_slice(&id.0)).collect(), ..Default::default() }
    }

    #[test]
    fn bodies_of_messages_of_commands_on_their_way_and_of_dead_letters_are_named() {
        let [of_message, on_its_way, set_aside] = [1, 2, 3].map(|n| BlobId([n; 32]));
        let mut store = MapStore::default();
        let mark = Table::BlobRefs.key().fixed(&of_message.0).text("X26ABC1").build();
        let letter = DeadLetter { item: Some(item(&[set_aside])), ..Default::default() };
        store.0.extend([
            (mark, Bytes::new()),
            (rows::outbox_key(PartitionId(2), 7), item(&[on_its_way]).encode()),
            (rows::outbox_key(PartitionId(2), 8), item(&[]).encode()),
            (rows::dead_key(PartitionId(1), 4), letter.encode()),
            (rows::mark_key(), Bytes::from_static(b"no record")),
        ]);
        let (mut pages, mut found) = (all(&store), vec![]);
        while let Some(ids) = pages.page().unwrap() {
            found.extend(ids);
        }
        assert_eq!(found, [on_its_way, set_aside, of_message]);
        let mut waiting = BTreeSet::new();
        assert_eq!(of_commands(&store, &mut waiting, 2).unwrap(), Some(()));
        assert_eq!(waiting, BTreeSet::from([on_its_way, set_aside]));
        assert_eq!(of_commands(&store, &mut waiting, 1).unwrap(), None, "more than is kept count of");
        assert!(super::of_message(&store, of_message).unwrap() && !super::of_message(&store, on_its_way).unwrap());
        store.0.insert(rows::outbox_key(PartitionId(2), 9), Bytes::from_static(b"\xff"));
        assert!(all(&store).page().is_err(), "what cannot be read is not passed over");
    }
}
