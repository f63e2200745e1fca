//! Accredited systems and message handlers' endpoints (directory.md §B.3, §B.4): writing them with their look-up rows, and
//! finding them by organisation, interaction, party key.
//!
//! Invariant: look-up rows are those of the row they point to, because [`replace`] and [`put_endpoint`] alone write both.

use super::{
    decide::{Done, No, invalid},
    index::last_text,
    rows::{self, Endpoint, NOTHING, System},
};
use crate::{
    engine::draft::{Draft, Fault},
    model::{Asid, OdsCode},
    store::{
        Reader,
        tables::{Key, Table},
    },
    wire::record::Record,
};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};

/// Longest value of a system or endpoint, in bytes: URLs and service-interaction ids are the longest.
const MAX_VALUE: usize = 1_024;
/// Most values of one attribute: the richest published system has some 200 interactions.
const MAX_VALUES: usize = 1_024;
/// Most look-up rows read for one word of a question: one supplier's party key has some thousand endpoints.
const MOST_ROWS: usize = 50_000;

/// What systems and endpoints are found by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum By {
    Organisation = 1,
    Interaction = 2,
    /// Compared without regard to case (directory.md §B.2).
    PartyKey = 3,
}

fn lookup(table: Table, by: By, word: &str) -> Key {
    let word = if by == By::PartyKey { word.to_ascii_uppercase() } else { word.to_owned() };
    table.key().fixed(&[by as u8]).text(word)
}

fn lookups(table: Table, id: &str, ods: &str, interactions: &[String], party_key: &str) -> BTreeMap<Bytes, Key> {
    let mut all = BTreeMap::new();
    let words = interactions.iter().map(|i| (By::Interaction, i.as_str()));
    for (by, word) in words.chain([(By::Organisation, ods), (By::PartyKey, party_key)]) {
        if !word.is_empty() {
            let key = lookup(table, by, word).text(id);
            all.insert(key.clone().build(), key);
        }
    }
    all
}

fn step(draft: &mut Draft<'_>, before: BTreeMap<Bytes, Key>, after: BTreeMap<Bytes, Key>) {
    for key in before.keys().filter(|key| !after.contains_key(*key)) {
        draft.delete_raw(key.clone());
    }
    for (_, key) in after.into_iter().filter(|(key, _)| !before.contains_key(key)) {
        draft.put(key, NOTHING);
    }
}

/// Writes a system and brings its look-up rows in step.
pub(super) fn replace(draft: &mut Draft<'_>, asid: &str, old: Option<&System>, new: &System) {
    let of = |row: &System| lookups(Table::SystemLookups, asid, &row.ods, &row.interactions, &row.party_key);
    // Rows of before look-ups get theirs here: putting what stands already costs nothing more.
    step(draft, old.filter(|row| row.is_looked_up()).map(of).unwrap_or_default(), of(new));
    draft.put(rows::system_key(asid), System { generation: GENERATION, ..new.clone() }.encode());
}

/// As [`organisation::GENERATION`](super::organisation::GENERATION), for systems.
const GENERATION: u32 = 1;

impl System {
    fn is_looked_up(&self) -> bool {
        self.generation != 0
    }
}

pub(super) fn put(draft: &mut Draft<'_>, asid: &str, mut new: System) -> Done {
    let asid = Asid::parse(asid)?.into_string();
    let old = rows::system(draft, &asid)?;
    new.ods = OdsCode::parse(&new.ods)?.into_string();
    let texts =
        [&new.party_key, &new.name, &new.product_key, &new.product_name, &new.product_version, &new.description];
    texts.into_iter().try_for_each(|text| check(text))?;
    [&new.requestor, &new.requested, &new.approver, &new.approved, &new.temp_uid, &new.manufacturer]
        .into_iter()
        .try_for_each(|text| check(text))?;
    [&mut new.interactions, &mut new.clients, &mut new.access_control, &mut new.categories]
        .into_iter()
        .try_for_each(check_all)?;
    if let Some(old) = &old {
        (new.certificates, new.disabled, new.emergency) = (old.certificates.clone(), old.disabled, old.emergency);
        (new.generation, new.unknown) = (GENERATION, old.unknown.clone());
        if new.name.is_empty() {
            new.name = old.name.clone();
        }
        if *old == new {
            return Ok((false, 0));
        }
    }
    replace(draft, &asid, old.as_ref(), &new);
    Ok((true, 0))
}

pub(super) fn put_endpoint(draft: &mut Draft<'_>, id: &str, mut new: Endpoint) -> Done {
    let id = id.trim();
    check(id)?;
    if id.is_empty() || new.party_key.is_empty() || new.interactions.is_empty() {
        return Err(invalid("an endpoint needs an id, a party key and an interaction"));
    }
    new.ods = OdsCode::parse(&new.ods)?.into_string();
    let texts = [&new.party_key, &new.service, &new.interaction, &new.fqdn, &new.cpa_id, &new.is_authenticated];
    texts.into_iter().try_for_each(|text| check(text))?;
    [&new.interaction_type, &new.template_key, &new.product_key, &new.product_name, &new.product_version]
        .into_iter()
        .try_for_each(|text| check(text))?;
    [&new.sync_reply_mode, &new.ack_requested, &new.duplicate_elimination, &new.persist_duration, &new.retry_interval]
        .into_iter()
        .try_for_each(|text| check(text))?;
    [&new.ip_address, &new.network, &new.sin_code, &new.description, &new.requestor, &new.requested, &new.approver]
        .into_iter()
        .chain([&new.approved, &new.dns_approver, &new.dns_approved])
        .try_for_each(|text| check(text))?;
    if !new.retries.is_empty() && new.retries.parse::<u16>().is_err() {
        return Err(invalid("the number of retries is not a number"));
    }
    [&mut new.interactions, &mut new.addresses, &mut new.actors].into_iter().try_for_each(check_all)?;
    let old = rows::endpoint(draft, id)?;
    if let Some(old) = &old {
        (new.disabled, new.unknown) = (old.disabled, old.unknown.clone());
        if *old == new {
            return Ok((false, 0));
        }
    }
    let of = |row: &Endpoint| lookups(Table::EndpointLookups, id, &row.ods, &row.interactions, &row.party_key);
    step(draft, old.as_ref().map(of).unwrap_or_default(), of(&new));
    draft.put(rows::endpoint_key(id), new.encode());
    Ok((true, 0))
}

fn check(text: &str) -> Result<(), No> {
    if text.len() > MAX_VALUE || text.chars().any(char::is_control) {
        return Err(invalid(format!("a value has more than {MAX_VALUE} bytes, or control characters")));
    }
    Ok(())
}

/// Each value once, in the order given.
fn check_all(values: &mut Vec<String>) -> Result<(), No> {
    values.iter().try_for_each(|text| check(text))?;
    let mut seen = BTreeSet::new();
    values.retain(|value| !value.is_empty() && seen.insert(value.clone()));
    if values.len() > MAX_VALUES {
        return Err(invalid(format!("an attribute has at most {MAX_VALUES} values")));
    }
    Ok(())
}

/// Ids for which all words hold, in order of id.
fn ids(site: &dyn Reader, table: Table, words: &[(By, &str)]) -> Result<BTreeSet<String>, Fault> {
    let mut found: Option<BTreeSet<String>> = None;
    for (by, word) in words {
        let rows = site.scan(lookup(table, *by, word).prefix(), false, MOST_ROWS)?;
        let these: BTreeSet<String> = rows.iter().filter_map(|(key, _)| id_of(key)).collect();
        found = Some(match found {
            Some(before) => before.intersection(&these).cloned().collect(),
            None => these,
        });
    }
    Ok(found.unwrap_or_default())
}

/// The id in a look-up row's key: behind the table, the kind and the word.
fn id_of(key: &Bytes) -> Option<String> {
    last_text(&key.slice(1..))
}

/// ASIDs for which all words hold, those of disabled systems too.
pub fn system_ids(site: &dyn Reader, words: &[(By, &str)]) -> Result<BTreeSet<String>, Fault> {
    ids(site, Table::SystemLookups, words)
}

/// As [`system_ids`], for endpoint records.
pub fn endpoint_ids(site: &dyn Reader, words: &[(By, &str)]) -> Result<BTreeSet<String>, Fault> {
    ids(site, Table::EndpointLookups, words)
}

/// Enabled systems for which all words hold, in order of ASID.
pub fn systems(site: &dyn Reader, words: &[(By, &str)]) -> Result<Vec<(String, System)>, Fault> {
    let mut found = vec![];
    for asid in ids(site, Table::SystemLookups, words)? {
        found.extend(rows::system(site, &asid)?.filter(|row| !row.disabled).map(|row| (asid, row)));
    }
    Ok(found)
}

/// Enabled endpoints for which all words hold, in order of id.
pub fn endpoints(site: &dyn Reader, words: &[(By, &str)]) -> Result<Vec<(String, Endpoint)>, Fault> {
    let mut found = vec![];
    for id in ids(site, Table::EndpointLookups, words)? {
        found.extend(rows::endpoint(site, &id)?.filter(|row| !row.disabled).map(|row| (id, row)));
    }
    Ok(found)
}
