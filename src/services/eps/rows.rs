//! What is stored of prescriptions, and the rows that find them (spec/eps.md §16). All rows of a prescription lie in the partition
//! of its key.
//!
//! Invariant: the look-up rows are those of the record, always ([`put`] writes both).

use super::{
    record::{
        Id, Prescription,
        index::{IndexKey, index_rows},
    },
    status::StatusUpdate,
};
use crate::{
    engine::draft::{Draft, Fault},
    model::EpochMillis,
    store::{
        Reader,
        tables::{Key, Parts, Table},
    },
    wire::record::Record,
};
use bytes::Bytes;

/// The value of rows that say all by their key.
const NOTHING: Bytes = Bytes::from_static(b"\x01");

pub fn prescription_key(key: &str) -> Key {
    Table::Prescriptions.key().text(key)
}
pub fn document_key(key: &str, message: Id) -> Key {
    Table::PrescriptionDocuments.key().text(key).fixed(&message.0)
}
pub fn day_key(day: u32) -> Key {
    Table::PrescriptionDays.key().number(day.into())
}
pub fn update_key(key: &str, task: &str) -> Key {
    Table::PrescriptionUpdates.key().text(key).text(task.to_ascii_lowercase())
}

fn row<R: Record>(rows: &dyn Reader, table: Table, key: Key) -> Result<Option<R>, Fault> {
    match rows.get(&key.build())? {
        Some(bytes) => R::decode(&bytes).map(Some).map_err(|e| Fault::Row(table, e)),
        None => Ok(None),
    }
}

pub fn prescription(rows: &dyn Reader, key: &str) -> Result<Option<Prescription>, Fault> {
    row(rows, Table::Prescriptions, prescription_key(key))
}

/// A stored message, packed.
pub fn document(rows: &dyn Reader, key: &str, message: Id) -> Result<Option<Bytes>, Fault> {
    Ok(rows.get(&document_key(key, message).build())?)
}

/// The row of a look-up key; none for those that are not kept: lists by prescriber and by dispenser have no reader here.
fn lookup(of: &IndexKey, key: &str) -> Option<Key> {
    match of {
        IndexKey::Nominated { ods, since } => {
            Some(Table::NominatedPrescriptions.key().text(ods).number(*since).text(key))
        }
        IndexKey::Patient { nhs, at } => Some(Table::PrescriptionsOfPeople.key().number(*nhs).number(*at).text(key)),
        IndexKey::Activity { day, .. } => Some(Table::PrescriptionsDue.key().number((*day).into()).text(key)),
        IndexKey::Prescriber { .. } | IndexKey::Dispenser { .. } => None,
    }
}

/// Writes a record and its look-up rows. The day of its next activity, where it is another than before.
pub fn put(draft: &mut Draft<'_>, old: Option<&Prescription>, new: &Prescription) -> Option<u32> {
    let key = new.key().to_owned();
    let (before, after) = (old.map(index_rows).unwrap_or_default(), index_rows(new));
    for gone in before.iter().filter(|row| !after.contains(row)) {
        lookup(gone, &key).into_iter().for_each(|row| draft.delete(row));
    }
    let mut due = None;
    for fresh in after.iter().filter(|row| !before.contains(row)) {
        lookup(fresh, &key).into_iter().for_each(|row| draft.put(row, NOTHING));
        if let IndexKey::Activity { day, .. } = fresh {
            due = Some(*day);
        }
    }
    draft.put(prescription_key(&key), new.encode());
    due
}

/// Takes a record away with its look-up rows, documents and status updates.
pub fn remove(draft: &mut Draft<'_>, old: &Prescription) -> Result<(), Fault> {
    let key = old.key().to_owned();
    for row in index_rows(old) {
        lookup(&row, &key).into_iter().for_each(|row| draft.delete(row));
    }
    draft.delete(prescription_key(&key));
    remove_documents(draft, &key)
}

/// Takes the documents and status updates of a prescription away. A record has at most 512 changes, and so a bounded number of
/// documents; what pharmacies tell of it is bounded by [`MOST_UPDATES`].
pub fn remove_documents(draft: &mut Draft<'_>, key: &str) -> Result<(), Fault> {
    for table in [Table::PrescriptionDocuments, Table::PrescriptionUpdates] {
        for (row, _) in draft.scan(table.key().text(key).prefix(), false, MOST_UPDATES + 512)? {
            draft.delete_raw(row);
        }
    }
    Ok(())
}

/// Most status updates that are kept of one prescription.
pub const MOST_UPDATES: usize = 1_000;

/// Status updates of a prescription.
pub fn updates(rows: &dyn Reader, key: &str) -> Result<Vec<StatusUpdate>, Fault> {
    let found = rows.scan(Table::PrescriptionUpdates.key().text(key).prefix(), false, MOST_UPDATES)?;
    let read = |(_, value): (Bytes, Bytes)| {
        StatusUpdate::decode(&value).map_err(|e| Fault::Row(Table::PrescriptionUpdates, e))
    };
    found.into_iter().map(read).collect()
}

/// Up to `limit` of the prescriptions that a pharmacy may release by nomination, oldest first: since when, and the key.
pub fn nominated(rows: &dyn Reader, ods: &str, limit: usize) -> Result<Vec<(EpochMillis, String)>, Fault> {
    let found = rows.scan(Table::NominatedPrescriptions.key().text(ods).prefix(), false, limit)?;
    let read = |(row, _): (Bytes, Bytes)| {
        let mut parts = Parts::of(&row);
        parts.bytes();
        Some((parts.number()?, parts.text()?))
    };
    let keys: Option<Vec<_>> = found.into_iter().map(read).collect();
    keys.ok_or_else(|| Fault::Other("a nomination's row without its parts".into()))
}

/// Keys of a person's prescriptions, newest first, up to `limit`.
pub fn of_person(rows: &dyn Reader, nhs: u64, limit: usize) -> Result<Vec<String>, Fault> {
    let found = rows.scan(Table::PrescriptionsOfPeople.key().number(nhs).prefix(), true, limit)?;
    let read = |(row, _): (Bytes, Bytes)| {
        let mut parts = Parts::of(&row);
        parts.number();
        parts.number();
        parts.text()
    };
    let keys: Option<Vec<_>> = found.into_iter().map(read).collect();
    keys.ok_or_else(|| Fault::Other("a person's row of prescriptions without its parts".into()))
}

/// Up to `limit` keys of prescriptions that something is to be done with on `today` or before.
pub fn due(rows: &dyn Reader, today: u32, limit: usize) -> Result<Vec<(Bytes, String)>, Fault> {
    let from = Table::PrescriptionsDue.key().build();
    let to = Table::PrescriptionsDue.key().number(u64::from(today) + 1).build();
    let found = rows.scan(from..to, false, limit)?;
    let read = |(row, _): (Bytes, Bytes)| {
        let mut parts = Parts::of(&row);
        parts.number();
        parts.text().map(|key| (row.clone(), key))
    };
    let keys: Option<Vec<_>> = found.into_iter().map(read).collect();
    keys.ok_or_else(|| Fault::Other("a due row without its parts".into()))
}

/// Days by which a test site's calendar is ahead.
pub fn days_ahead(site: &dyn Reader) -> Result<u32, Fault> {
    let row = site.get(&Table::PrescriptionClock.key().build())?;
    Ok(row.and_then(|bytes| bytes.as_ref().try_into().ok()).map_or(0, u32::from_be_bytes))
}
pub fn set_days_ahead(draft: &mut Draft<'_>, days: u32) {
    draft.put(Table::PrescriptionClock.key(), Bytes::copy_from_slice(&days.to_be_bytes()));
}
