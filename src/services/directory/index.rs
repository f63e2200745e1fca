//! Look-up rows of organisations: by name, word, ending of a word, postcode, town, role, day of the last change.
//!
//! Invariant: [`replace`] is the only writer. It compares what should stand for the old row and for the new one and writes
//! the difference, so that look-up rows and organisations change in one decision and cannot drift apart.

use super::{
    organisation::facets,
    rows::{self, NOTHING, Organisation},
};
use crate::{
    engine::draft::{Draft, Fault},
    store::{
        Reader,
        tables::{Key, Parts, Table},
    },
    wire::record::Record,
};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};

/// Words are cut to this in look-up rows, in bytes: no place in Wales has a longer one that matters.
pub const LONGEST_WORD: usize = 40;
/// Names are cut to this in look-up rows, in bytes.
const LONGEST_NAME: usize = 120;
/// The first instance id of the site's own; published ones lie far below.
const FIRST_INSTANCE: u64 = 10_000_000;
/// Key of the last instance id given in [`Table::OrganisationCounts`], behind all facets.
const INSTANCES: u64 = 255;

/// How text is compared: upper case, Latin letters without accents, everything else but letters and digits one blank.
pub fn fold(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match plain(c) {
            Some(c) => out.extend(c.to_uppercase()),
            // An apostrophe joins: O'BRIEN is found as OBRIEN.
            None if c == '\'' || c == '\u{2019}' => {}
            None if !out.is_empty() && !out.ends_with(' ') => out.push(' '),
            None => {}
        }
    }
    out.truncate(out.trim_end().len());
    out
}

/// A letter without its accent, or a digit; `None` for what separates words.
fn plain(c: char) -> Option<char> {
    const ACCENTED: &str = "ÀÁÂÃÄÅÇÈÉÊËÌÍÎÏÑÒÓÔÕÖÙÚÛÜÝŴŶàáâãäåçèéêëìíîïñòóôõöùúûüýÿŵŷ";
    const BARE: &str = "AAAAAACEEEEIIIINOOOOOUUUUYWYaaaaaaceeeeiiiinooooouuuuyywy";
    match ACCENTED.chars().position(|a| a == c) {
        Some(at) => BARE.chars().nth(at),
        None => Some(c).filter(|c| c.is_alphanumeric()),
    }
}

/// Folded words of a text, each once.
pub fn words(text: &str) -> BTreeSet<String> {
    fold(text).split(' ').filter(|w| !w.is_empty()).map(|w| cut(w, LONGEST_WORD).to_owned()).collect()
}

/// At most so many bytes of a text, ending at a character.
pub fn cut(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    &text[..end]
}

/// The part of a name that is looked up.
pub fn name_key(name: &str) -> String {
    cut(&fold(name), LONGEST_NAME).to_owned()
}

/// A postcode as it is looked up: `LS11 5BD` is `LS115BD`.
pub fn postcode_key(postcode: &str) -> String {
    fold(postcode).replace(' ', "")
}

/// All look-up rows of one organisation, by key, but for the endings of words.
fn lookups(ods: &str, row: &Organisation) -> BTreeMap<Bytes, (Key, Bytes)> {
    let facets = row.facets();
    let mut all = BTreeMap::new();
    let mut add = |key: Key, value: &[u8]| {
        all.insert(key.clone().build(), (key, Bytes::copy_from_slice(value)));
    };
    add(Table::OrganisationCodes.key().text(ods), &[1, facets]);
    add(Table::OrganisationNames.key().text(name_key(&row.name)).text(ods), &[1, facets]);
    for word in words(&row.name) {
        add(Table::OrganisationWords.key().text(word).text(ods), &[1, facets]);
    }
    if !row.address.postcode.is_empty() {
        add(Table::OrganisationPostcodes.key().text(postcode_key(&row.address.postcode)).text(ods), &[1, facets]);
    }
    if !row.address.town.is_empty() {
        add(Table::OrganisationTowns.key().text(name_key(&row.address.town)).text(ods), &[1, facets]);
    }
    if row.last_change != 0 {
        add(Table::OrganisationChanges.key().number(u64::from(row.last_change)).text(ods), &[1, facets]);
    }
    let mut roles: BTreeMap<&str, u8> = BTreeMap::new();
    for role in &row.roles {
        // One row for a code held twice: primary if either is, inactive only if both are.
        let (primary, inactive) = (u8::from(role.primary), u8::from(role.inactive) << 1);
        let bits = roles.entry(&role.code).or_insert(inactive);
        *bits = (*bits | primary) & (inactive | 1);
    }
    for (code, bits) in roles {
        add(Table::OrganisationRoles.key().text(code).text(ods), &[1, facets, bits]);
    }
    for relationship in &row.relationships {
        add(Table::Relationships.key().number(relationship.id), ods.as_bytes());
        let target = Table::RelationshipTargets.key().text(&relationship.target);
        add(target.text(ods).number(relationship.id), &NOTHING);
    }
    all
}

/// Writes an organisation and brings its look-up rows in step.
pub fn replace(draft: &mut Draft<'_>, ods: &str, old: Option<&Organisation>, new: &Organisation) -> Result<(), Fault> {
    // A row of before look-ups has none to take away.
    let old = old.filter(|row| row.generation != 0);
    let before = old.map(|row| lookups(ods, row)).unwrap_or_default();
    let after = lookups(ods, new);
    for key in before.keys().filter(|key| !after.contains_key(*key)) {
        draft.delete_raw(key.clone());
    }
    for (key, (parts, value)) in &after {
        if before.get(key).is_none_or(|(_, stood)| stood != value) {
            draft.put(parts.clone(), value.clone());
        }
    }
    let gone = old.map(|row| words(&row.name)).unwrap_or_default();
    let now = words(&new.name);
    for word in gone.difference(&now) {
        if !is_used(draft, word, ods)? {
            endings(word).for_each(|ending| draft.delete(Table::WordEndings.key().text(ending).text(word)));
        }
    }
    for word in now.difference(&gone) {
        if !is_used(draft, word, ods)? {
            endings(word).for_each(|ending| draft.put(Table::WordEndings.key().text(ending).text(word), NOTHING));
        }
    }
    if old.map(Organisation::facets) != Some(new.facets()) {
        if let Some(old) = old {
            count(draft, old.facets(), -1)?;
        }
        count(draft, new.facets(), 1)?;
    }
    draft.put(rows::organisation_key(ods), new.encode());
    Ok(())
}

/// Whether an organisation other than this one has the word in its name.
fn is_used(draft: &Draft<'_>, word: &str, but: &str) -> Result<bool, Fault> {
    let rows = draft.scan(Table::OrganisationWords.key().text(word).prefix(), false, 2)?;
    Ok(rows.iter().any(|(key, _)| last_text(key).is_some_and(|ods| ods != but)))
}

fn endings(word: &str) -> impl Iterator<Item = &str> {
    word.char_indices().map(|(at, _)| &word[at..])
}

fn count(draft: &mut Draft<'_>, facets: u8, change: i64) -> Result<(), Fault> {
    let now = number(draft, u64::from(facets))?.saturating_add_signed(change);
    draft.put(Table::OrganisationCounts.key().number(u64::from(facets)), Bytes::copy_from_slice(&now.to_be_bytes()));
    Ok(())
}

fn number(site: &dyn Reader, at: u64) -> Result<u64, Fault> {
    let stored = site.get(&Table::OrganisationCounts.key().number(at).build())?;
    Ok(stored.and_then(|bytes| bytes.as_ref().try_into().ok().map(u64::from_be_bytes)).unwrap_or(0))
}

/// How many organisations have facets that a question asks for.
pub fn counted(site: &dyn Reader, wanted: impl Fn(u8) -> bool) -> Result<usize, Fault> {
    let mut sum = 0;
    for byte in (0..facets::COMBINATIONS).filter(|byte| wanted(*byte)) {
        sum += number(site, u64::from(byte))? as usize;
    }
    Ok(sum)
}

/// A fresh instance id for a role or relationship that came without one.
pub fn next_instance(draft: &mut Draft<'_>) -> Result<u64, Fault> {
    let next = number(draft, INSTANCES)?.max(FIRST_INSTANCE) + 1;
    draft.put(Table::OrganisationCounts.key().number(INSTANCES), Bytes::copy_from_slice(&next.to_be_bytes()));
    Ok(next)
}

/// The last text of a key whose parts are two texts, or one.
pub fn last_text(key: &Bytes) -> Option<String> {
    let mut parts = Parts::of(key);
    let first = parts.text()?;
    Some(parts.text().unwrap_or(first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_fold_to_what_people_type() {
        assert_eq!(fold("  St. Mary's  (Leeds) & Co"), "ST MARYS LEEDS CO");
        assert_eq!(fold("Ynys Môn"), "YNYS MON");
        assert_eq!(postcode_key("ls11 5bd"), "LS115BD");
        assert_eq!(words("THE THE SURGERY").len(), 2);
        assert_eq!(endings("ABC").collect::<Vec<_>>(), ["ABC", "BC", "C"]);
    }
}
