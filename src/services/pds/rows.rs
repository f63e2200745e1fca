//! What is stored of people, its keys, and the search rows that go with it (spec/pds.md §15). All rows of a person are in the
//! partition of the NHS number.
//!
//! Invariants: the search rows are those of the person's row, always (`put` writes both); a version's row is written once, by
//! the update that replaces it, so a person who never changed has none.

use super::{
    codec,
    fhir::{self, Object, items, text},
    names::{self, day_number, fold, soundex},
};
use crate::{
    access::caller::Caller,
    engine::draft::{Draft, Fault},
    model::{EpochMillis, NhsNumber},
    record,
    store::{
        Reader,
        tables::{Key, Table},
    },
    wire::record::Record,
};
use bytes::Bytes;
use serde_json::Value;
use std::collections::BTreeMap;

record! {
    /// A person as of now.
    pub struct Person v1 {
        /// Serial change number: `meta.versionId`. From 1.
        1 => version: u64,
        /// Members of the Patient that are stored, as `codec` packs them; what the sensitivity hides included.
        2 => resource: Bytes,
        /// 0 unrestricted, 1 restricted, 2 very restricted.
        3 => sensitivity: u8,
        /// Marked as invalid.
        4 => invalidated: bool,
        /// The number that this one was merged into; 0 for none.
        5 => superseded_by: u64,
        /// Replaced values that a search with history finds: an object of lists by member, packed.
        6 => history: Bytes,
        /// When this version was made, milliseconds since the epoch.
        7 => at: u64,
        /// Who made it; empty for an import.
        8 => by: Actor,
        /// Numbers that were merged into this one.
        9 => supersedes: Vec<u64>,
        /// Record sharing: 0 not said, 1 consent, 2 dissent, 3 and 5 never shown.
        10 => consent: u8,
    }
}

record! {
    /// Who changed a record.
    pub struct Actor v1 {
        1 => application: String,
        2 => user: String,
        3 => role_profile: String,
        /// ODS code of the system or the end user's organisation.
        4 => ods: String,
        5 => asid: String,
        /// The request's id.
        6 => request: String,
        /// Local user of the admin socket.
        7 => operator: String,
    }
}

record! {
    /// A version that was replaced.
    pub struct Version v1 {
        1 => at: u64,
        2 => by: Actor,
        /// Members that the next version changed, with their values in this one (null: not there), packed.
        3 => before: Bytes,
        4 => sensitivity: u8,
        /// What else of this one the next version changed; nothing where it changed none of it.
        5 => marks: Option<Marks>,
    }
}

record! {
    /// What a record says of itself beside its members.
    pub struct Marks v1 {
        1 => invalidated: bool,
        2 => superseded_by: u64,
        3 => supersedes: Vec<u64>,
        4 => consent: u8,
    }
}

record! {
    /// A European health insurance card.
    pub struct Card v1 {
        1 => version: u64,
        /// The Coverage without resourceType; empty where there is no card.
        2 => resource: Bytes,
        3 => at: u64,
        4 => by: Actor,
    }
}

impl Actor {
    pub fn of(caller: &Caller, request: &str, end_user_ods: &str) -> Actor {
        let ods = if end_user_ods.is_empty() { &caller.ods } else { end_user_ods };
        Actor {
            application: caller.application.clone(),
            user: if caller.user.is_empty() { caller.nhs_number.clone() } else { caller.user.clone() },
            role_profile: caller.role_profile.clone(),
            ods: ods.to_owned(),
            asid: caller.asid.clone(),
            request: request.to_owned(),
            operator: caller.operator.clone(),
            ..Default::default()
        }
    }
}

/// How much of a record is shown (§6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sensitivity {
    Unrestricted = 0,
    Restricted = 1,
    VeryRestricted = 2,
}

impl Sensitivity {
    pub fn code(self) -> &'static str {
        ["U", "R", "V"][self as usize]
    }
    pub fn display(self) -> &'static str {
        ["unrestricted", "restricted", "very restricted"][self as usize]
    }
    pub fn of_code(code: &str) -> Option<Sensitivity> {
        [Sensitivity::Unrestricted, Sensitivity::Restricted, Sensitivity::VeryRestricted]
            .into_iter()
            .find(|s| s.code() == code)
    }
}

impl Person {
    /// What is not known is very restricted: a label of a newer release never shows more.
    pub fn sensitivity(&self) -> Sensitivity {
        match self.sensitivity {
            0 => Sensitivity::Unrestricted,
            1 => Sensitivity::Restricted,
            _ => Sensitivity::VeryRestricted,
        }
    }
    /// The stored members.
    pub fn stored(&self) -> Result<Object, Fault> {
        object(&self.resource)
    }
    pub fn history(&self) -> Result<Object, Fault> {
        object(&self.history)
    }
    fn marks(&self) -> Marks {
        Marks {
            invalidated: self.invalidated,
            superseded_by: self.superseded_by,
            supersedes: self.supersedes.clone(),
            consent: self.consent,
            ..Default::default()
        }
    }
    pub fn superseded_by(&self) -> Option<NhsNumber> {
        NhsNumber::of(self.superseded_by).filter(|_| self.superseded_by != 0)
    }
}

/// An object as `codec` packed it.
pub fn object(bytes: &Bytes) -> Result<Object, Fault> {
    match codec::unpack(bytes).map_err(|e| Fault::Row(Table::People, e))? {
        Value::Object(members) => Ok(members),
        Value::Null => Ok(Object::new()),
        _ => Err(Fault::Other("a stored resource is no object".into())),
    }
}

pub fn person_key(nhs: NhsNumber) -> Key {
    Table::People.key().number(nhs.value())
}
pub fn version_key(nhs: NhsNumber, version: u64) -> Key {
    Table::PersonVersions.key().number(nhs.value()).number(version)
}
pub fn related_key(nhs: NhsNumber, id: &str) -> Key {
    Table::RelatedPersons.key().number(nhs.value()).text(id)
}
pub fn card_key(nhs: NhsNumber) -> Key {
    Table::Coverages.key().number(nhs.value())
}

fn row<R: Record>(rows: &dyn Reader, table: Table, key: Key) -> Result<Option<R>, Fault> {
    match rows.get(&key.build())? {
        Some(bytes) => R::decode(&bytes).map(Some).map_err(|e| Fault::Row(table, e)),
        None => Ok(None),
    }
}

pub fn person(rows: &dyn Reader, nhs: NhsNumber) -> Result<Option<Person>, Fault> {
    row(rows, Table::People, person_key(nhs))
}
pub fn version(rows: &dyn Reader, nhs: NhsNumber, version: u64) -> Result<Option<Version>, Fault> {
    row(rows, Table::PersonVersions, version_key(nhs, version))
}
/// Up to `limit` numbers behind `after` that have a row, in order; what is there of each says [`person`].
pub fn numbers(rows: &dyn Reader, after: u64, limit: usize) -> Result<Vec<NhsNumber>, Fault> {
    let from = Table::People.key().number(after.saturating_add(1)).build();
    let found = rows.scan(from..Table::People.end(), false, limit)?;
    let number = |(key, _): (Bytes, Bytes)| {
        let nhs = key.last_chunk::<8>().map(|n| u64::from_be_bytes(*n)).and_then(NhsNumber::of);
        nhs.ok_or_else(|| Fault::Other("a person's key is no NHS number".into()))
    };
    found.into_iter().map(number).collect()
}
pub fn card(rows: &dyn Reader, nhs: NhsNumber) -> Result<Option<Card>, Fault> {
    row(rows, Table::Coverages, card_key(nhs))
}

/// Most related people of one person.
pub const MAX_RELATED: usize = 100;

/// The related people of a person, in the order of their ids.
pub fn related(rows: &dyn Reader, nhs: NhsNumber) -> Result<Vec<Object>, Fault> {
    let range = Table::RelatedPersons.key().number(nhs.value()).prefix();
    rows.scan(range, false, MAX_RELATED)?.into_iter().map(|(_, value)| object(&value)).collect()
}

/// Rolls a person back to an earlier version, with the rows of the versions between. `None` where there is no such version.
/// What a search with history finds stays that of now: it only ever grows.
pub fn as_of(rows: &dyn Reader, nhs: NhsNumber, now: Person, wanted: u64) -> Result<Option<Person>, Fault> {
    let mut person = now;
    if wanted == 0 || wanted > person.version {
        return Ok(None);
    }
    while person.version > wanted {
        let Some(older) = version(rows, nhs, person.version - 1)? else { return Ok(None) };
        let mut stored = person.stored()?;
        for (member, value) in object(&older.before)? {
            if value.is_null() {
                stored.remove(&member);
            } else {
                stored.insert(member, value);
            }
        }
        person.resource = codec::pack(&Value::Object(stored));
        person.sensitivity = older.sensitivity;
        if let Some(marks) = older.marks {
            person.invalidated = marks.invalidated;
            person.superseded_by = marks.superseded_by;
            person.supersedes = marks.supersedes;
            person.consent = marks.consent;
        }
        (person.at, person.by) = (older.at, older.by);
        person.version -= 1;
    }
    Ok(Some(person))
}

/// The last version made at or before `at`: the record as it was then.
pub fn on(rows: &dyn Reader, nhs: NhsNumber, at: EpochMillis) -> Result<Option<Person>, Fault> {
    let Some(mut found) = person(rows, nhs)? else { return Ok(None) };
    while found.at > at {
        let wanted = found.version - 1;
        match as_of(rows, nhs, found, wanted)? {
            Some(older) => found = older,
            None => return Ok(None),
        }
    }
    Ok(Some(found))
}

/// Writes a person and its search rows; `old` is what was stored before.
pub fn put(draft: &mut Draft<'_>, nhs: NhsNumber, old: Option<&Person>, new: &Person) -> Result<(), Fault> {
    let before = match old {
        Some(old) => search_rows(nhs, old)?,
        None => BTreeMap::new(),
    };
    let after = search_rows(nhs, new)?;
    for key in before.keys().filter(|key| !after.contains_key(*key)) {
        draft.delete_raw(key.clone());
    }
    for (key, (value, build)) in &after {
        match (old, before.get(key)) {
            // Whoever is new has no row at all yet.
            (None, _) => draft.insert(build.clone(), value.clone()),
            (_, Some((before, _))) if before == value => {}
            _ => draft.put(build.clone(), value.clone()),
        }
    }
    match old {
        None => draft.insert(person_key(nhs), new.encode()),
        Some(_) => draft.put(person_key(nhs), new.encode()),
    }
    Ok(())
}

/// Keeps what the next version replaces. `next`: that version's row, `new`: its stored members.
pub fn keep_version(
    draft: &mut Draft<'_>,
    nhs: NhsNumber,
    old: &Person,
    next: &Person,
    new: &Object,
) -> Result<(), Fault> {
    let mut before = Object::new();
    let stored = old.stored()?;
    for (member, value) in &stored {
        if new.get(member) != Some(value) {
            before.insert(member.clone(), value.clone());
        }
    }
    for member in new.keys().filter(|member| !stored.contains_key(*member)) {
        before.insert(member.clone(), Value::Null);
    }
    let row = Version {
        at: old.at,
        by: old.by.clone(),
        before: codec::pack(&Value::Object(before)),
        sensitivity: old.sensitivity,
        marks: (old.marks() != next.marks()).then(|| old.marks()),
        ..Default::default()
    };
    draft.insert(version_key(nhs, old.version), row.encode());
    Ok(())
}

/// Uses of names that a search looks at as current (§8.3).
pub const CURRENT_NAMES: [&str; 3] = ["usual", "nickname", "temp"];

/// What a name row says beside its key: gender, then each name of this family name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameRow {
    /// First letter of the gender; 0 where none is known.
    pub gender: u8,
    /// (historic, folded given names)
    pub names: Vec<(bool, Vec<String>)>,
}

impl NameRow {
    fn encode(&self) -> Bytes {
        let names: Vec<String> = self
            .names
            .iter()
            .map(|(historic, given)| format!("{}{}", if *historic { 'h' } else { 'c' }, given.join("\u{1f}")))
            .collect();
        let mut out = vec![self.gender];
        out.extend_from_slice(names.join("\u{1e}").as_bytes());
        out.into()
    }
    pub fn decode(bytes: &[u8]) -> Option<NameRow> {
        let (gender, names) = bytes.split_first()?;
        let names = std::str::from_utf8(names).ok()?.split('\u{1e}');
        let one = |name: &str| {
            let given = name.get(1..)?;
            let given = if given.is_empty() { vec![] } else { given.split('\u{1f}').map(str::to_owned).collect() };
            Some((name.starts_with('h'), given))
        };
        Some(NameRow { gender: *gender, names: names.map(one).collect::<Option<_>>()? })
    }
}

/// A name's folded given names: the first may be a compound.
pub fn given_names(name: &Value) -> Vec<String> {
    name.get("given").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).map(fold).collect()
}

/// By whole key: value, and the key once more as the draft wants it.
type SearchRows = BTreeMap<Bytes, (Bytes, Key)>;

/// Every search row of a person. None of one that is invalid; no postcodes of a restricted one, who is never found by them. The
/// names of a very restricted one are for the check on duplicates alone (§10): searches judge whom they may show.
fn search_rows(nhs: NhsNumber, person: &Person) -> Result<SearchRows, Fault> {
    let mut rows = SearchRows::new();
    let hidden = person.invalidated && person.superseded_by == 0;
    if hidden {
        return Ok(rows);
    }
    let (stored, history) = (person.stored()?, person.history()?);
    let born = stored.get("birthDate").and_then(Value::as_str).and_then(day_number);
    let Some(born) = born else { return Ok(rows) };
    let gender = stored.get("gender").and_then(Value::as_str).and_then(|g| g.bytes().next()).unwrap_or(0);
    let mut by_family: BTreeMap<String, NameRow> = BTreeMap::new();
    let current = items(&stored, "name").iter().map(|name| (!CURRENT_NAMES.contains(&text(name, "use")), name));
    for (historic, name) in current.chain(items(&history, "name").iter().map(|name| (true, name))) {
        let row = by_family.entry(fold(text(name, "family"))).or_insert_with(|| NameRow { gender, names: vec![] });
        let entry = (historic, given_names(name));
        if !row.names.contains(&entry) {
            row.names.push(entry);
        }
    }
    for (family, row) in by_family {
        let key = name_key(soundex(&family), born).text(&family).number(nhs.value());
        rows.insert(key.clone().build(), (row.encode(), key));
    }
    if person.sensitivity() == Sensitivity::Unrestricted {
        for address in items(&stored, "address").iter().chain(items(&history, "address")) {
            let postcode = names::postcode(text(address, "postalCode"));
            if !postcode.is_empty() {
                let key = postcode_key(&postcode, born).number(nhs.value());
                rows.insert(key.clone().build(), (Bytes::new(), key));
            }
        }
    }
    Ok(rows)
}

/// Start of the name rows of a Soundex code and a birth date.
pub fn name_key(code: names::Soundex, born: u32) -> Key {
    Table::PeopleByName.key().fixed(&code).fixed(&born.to_be_bytes())
}

/// Start of the postcode rows of a postcode and a birth date.
pub fn postcode_key(postcode: &str, born: u32) -> Key {
    Table::PeopleByPostcode.key().text(postcode).fixed(&born.to_be_bytes())
}

/// Eight upper-case hex digits for the id of an item, from the decision's luck and a count (§5).
pub fn object_id(entropy: &[u8; 16], count: u64) -> String {
    let mut seed = [0; 24];
    seed[..16].copy_from_slice(entropy);
    seed[16..].copy_from_slice(&count.to_be_bytes());
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &seed);
    digest.as_ref()[..4].iter().map(|b| format!("{b:02X}")).collect()
}

/// Gives every item of the lists that has none an id that no other item of the person has.
pub fn give_ids(resource: &mut Object, entropy: &[u8; 16]) {
    let mut taken: Vec<String> = vec![];
    for list in fhir::LISTS {
        taken.extend(items(resource, list).iter().map(|item| text(item, "id").to_owned()));
    }
    let mut count = 0;
    for list in fhir::LISTS {
        let Some(Value::Array(items)) = resource.get_mut(list) else { continue };
        for item in items.iter_mut().filter_map(Value::as_object_mut) {
            if item.get("id").and_then(Value::as_str).is_some_and(|id| !id.is_empty()) {
                continue;
            }
            let id = loop {
                count += 1;
                let id = object_id(entropy, count);
                if !taken.contains(&id) {
                    break id;
                }
            };
            item.insert("id".into(), Value::String(id.clone()));
            taken.push(id);
        }
    }
}
