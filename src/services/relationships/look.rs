//! Which relationships there are, and whether one gives access (spec/identity.md §7, check 7).

use super::{
    command::{Find, find},
    decide::{Done, No, has_any, is_operator, is_staff, is_system, number},
    kinds::{self, Holder},
    refusal::Problem,
    rows::{self, Relationship},
};
use crate::{
    access::caller::Caller,
    engine::draft::{AuditNote, Draft, Fault, Stamp},
    model::{EpochMillis, NhsNumber},
    store::{
        Reader,
        tables::{Parts, Table, after_prefix},
    },
    wire::record::Record,
};
use serde_json::{Value, json};

/// Relationships of a page of a list, and rows looked at for it: others may be hidden from the caller.
const PAGE: usize = 50;
const MOST_LOOKED_AT: usize = 500;
/// Open relationships of one holder with one patient: one of each kind.
const MOST_OF_HOLDER: usize = 16;

/// Whose privacy they look after.
const PRIVACY: [&str; 4] = ["B0015", "B0016", "B0017", "B0018"];

/// Whether the caller may know of it: the own organisation's and the own, and all for those who look after privacy. Who
/// treats a patient elsewhere says something of the patient.
pub fn visible(caller: &Caller, row: &Relationship) -> bool {
    let same = |a: &str, b: &str| !a.is_empty() && a == b;
    is_operator(caller)
        || same(&caller.ods, &row.ods)
        || same(&caller.user, &row.user)
        || (is_staff(caller) && has_any(caller, &PRIVACY))
}

pub fn find(draft: &mut Draft<'_>, stamp: &Stamp, caller: &Caller, c: &Find) -> Result<Done, No> {
    let nhs = number(c.nhs)?;
    match c.what {
        find::SHOW => {
            let row = rows::relationship(draft, nhs, &c.id)?.filter(|row| visible(caller, row));
            let row = row.ok_or_else(|| Problem::not_found("the patient has no such relationship"))?;
            let note = AuditNote { object: c.id.clone(), ..Default::default() };
            Ok(Done { note, ..Done::ok(row.shown(nhs, &c.id, stamp.now)) })
        }
        find::CHECK => check(draft, stamp, caller, nhs, c),
        _ => list(draft, stamp, caller, nhs, &c.id),
    }
}

fn list(draft: &Draft<'_>, stamp: &Stamp, caller: &Caller, nhs: NhsNumber, after: &str) -> Result<Done, No> {
    let mut range = rows::of_patient(nhs).prefix();
    if !after.is_empty() {
        range.start = after_prefix(&rows::key(nhs, after).build());
    }
    let found = draft.scan(range, false, MOST_LOOKED_AT)?;
    let (mut items, mut next) = (vec![], Value::Null);
    let all = found.len() < MOST_LOOKED_AT;
    for (n, (key, value)) in found.iter().enumerate() {
        let id = id_of(key);
        let row = Relationship::decode(value).map_err(|e| Fault::Row(Table::LegitimateRelationships, e))?;
        if visible(caller, &row) {
            items.push(row.shown(nhs, &id, stamp.now));
        }
        let last = n + 1 == found.len();
        if (items.len() == PAGE && !last) || (last && !all) {
            next = json!(id);
            break;
        }
    }
    let mut body = json!({"patient": nhs.digits(), "items": items});
    if !next.is_null() {
        body["next"] = next;
    }
    Ok(Done::ok(body))
}

fn id_of(key: &[u8]) -> String {
    let mut parts = Parts::of(key);
    parts.number();
    parts.text().unwrap_or_default()
}

/// A patient's open relationships with their ids, of one holder or of all.
pub fn open(
    reader: &dyn Reader,
    nhs: NhsNumber,
    holder: Option<&str>,
    most: usize,
) -> Result<Vec<(String, Relationship)>, Fault> {
    let mut found = vec![];
    for (key, _) in reader.scan(rows::open_of(nhs, holder).prefix(), false, most)? {
        let mut parts = Parts::of(&key);
        parts.number();
        parts.text();
        let id = parts.text().unwrap_or_default();
        if let Some(row) = rows::relationship(reader, nhs, &id)? {
            found.push((id, row));
        }
    }
    Ok(found)
}

/// Until when a user has access to a patient by relationships of his own, 0 for no end; `None` where he has none. What a colleague
/// granted him is not his own: else two could keep each other in for ever.
pub fn lasts(reader: &dyn Reader, nhs: NhsNumber, user: &str, now: EpochMillis) -> Result<Option<EpochMillis>, Fault> {
    let held = open(reader, nhs, Some(&rows::holder("", user)), MOST_OF_HOLDER)?;
    let granted = |row: &Relationship| kinds::by_number(row.kind).is_none_or(|k| k.holder == Holder::Colleague);
    let own = held.into_iter().filter(|(_, row)| row.gives_access(now) && !granted(row)).map(|(_, row)| row.expires);
    // 0 less one is the latest of all.
    Ok(own.max_by_key(|end| end.wrapping_sub(1)))
}

fn by_which(
    reader: &dyn Reader,
    nhs: NhsNumber,
    user: &str,
    workgroup: &str,
    now: EpochMillis,
) -> Result<Option<(String, Relationship)>, Fault> {
    let holders = [(workgroup, ""), ("", user)];
    for (workgroup, user) in holders.into_iter().filter(|(w, u)| !w.is_empty() || !u.is_empty()) {
        let held = open(reader, nhs, Some(&rows::holder(workgroup, user)), MOST_OF_HOLDER)?;
        if let Some(found) = held.into_iter().find(|(_, row)| row.gives_access(now)) {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// Does a relationship give access? The answer is in the trail as the access reason of what follows.
fn check(draft: &Draft<'_>, stamp: &Stamp, caller: &Caller, nhs: NhsNumber, c: &Find) -> Result<Done, No> {
    let user = match (is_staff(caller), c.user.as_str()) {
        (true, "") if c.workgroup.is_empty() => caller.user.as_str(),
        (true, other) if !other.is_empty() && other != caller.user => {
            return Err(Problem::denied("staff ask for themselves").into());
        }
        (_, user) => user,
    };
    if user.is_empty() && c.workgroup.is_empty() {
        return Err(Problem::missing("workgroup or user must be given").into());
    }
    if !(is_staff(caller) || is_system(caller) || is_operator(caller)) {
        return Err(Problem::denied("only staff and their systems").into());
    }
    let found = by_which(draft, nhs, user, &c.workgroup, stamp.now)?;
    let mut body = json!({"patient": nhs.digits(), "access": found.is_some()});
    let mut note = AuditNote { workgroup: c.workgroup.clone(), other: user.to_owned(), ..Default::default() };
    match found {
        Some((id, row)) => {
            let kind = kinds::by_number(row.kind).map_or("unknown", |kind| kind.name);
            note.purpose = format!("{kind} relationship {id}");
            note.object = id.clone();
            body["relationship"] =
                json!({"id": id, "kind": kind, "expires": row.shown(nhs, &id, stamp.now)["expires"]});
        }
        None => note.purpose = "no relationship".into(),
    }
    Ok(Done { note, ..Done::ok(body) })
}
