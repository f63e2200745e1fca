//! Whether a person is the one who is searched for, and how surely (spec/pds.md §8.3, §8.4).
//!
//! A score is in ten thousandths, so that it is the same on all nodes and can be compared.

use super::{
    fhir::{Object, items, text},
    names::{day_number, fold, matches_pattern, postcode, soundex},
    query::{Days, Query},
    rows::{CURRENT_NAMES, given_names},
};
use serde_json::Value;

/// Certainly the one.
pub const CERTAIN: u32 = 10_000;
/// Below this nobody is shown.
const LEAST: u32 = 5_000;

const FAMILY: f64 = 0.30;
const GIVEN: f64 = 0.25;
const BORN: f64 = 0.25;
const POSTCODE: f64 = 0.10;
const GENDER: f64 = 0.06;
const DIED: f64 = 0.02;
const PRACTICE: f64 = 0.02;

const HOMOPHONE: f64 = 0.85;
const TRANSPOSED: f64 = 0.8;
const HISTORIC: f64 = 0.7;
const LIKE: f64 = 0.7;
const LEAST_WILD: f64 = 0.75;
const MORE_NAMES: f64 = 0.95;

/// A weighted mean in the making.
#[derive(Default)]
struct Mean {
    sum: f64,
    weights: f64,
}

impl Mean {
    fn add(&mut self, weight: f64, value: f64) {
        self.sum += weight * value;
        self.weights += weight;
    }
    fn score(&self) -> u32 {
        if self.weights > 0.0 { (self.sum / self.weights * f64::from(CERTAIN)).round() as u32 } else { 0 }
    }
}

/// The score of a person, or `None` where they are not the one.
pub fn score(query: &Query, stored: &Object, history: &Object) -> Option<u32> {
    let born = stored.get("birthDate").and_then(Value::as_str).and_then(day_number)?;
    if !within(born, query.born) || !contacts_match(query, stored, history) {
        return None;
    }
    let score = match query.fuzzy {
        true => fuzzy(query, stored, history)?,
        false => strict(query, stored, history)?,
    };
    let least = if query.exact { CERTAIN } else { LEAST };
    (score >= least).then_some(score)
}

fn within(day: u32, range: Days) -> bool {
    (range.0..=range.1).contains(&day)
}

/// (historic, folded family, folded given names)
type Name = (bool, String, Vec<String>);

fn names(query: &Query, stored: &Object, history: &Object) -> Vec<Name> {
    let one = |historic: bool, name: &Value| (historic, fold(text(name, "family")), given_names(name));
    let mut names: Vec<Name> = vec![];
    for name in items(stored, "name") {
        let historic = !CURRENT_NAMES.contains(&text(name, "use"));
        if !historic || query.history {
            names.push(one(historic, name));
        }
    }
    if query.history {
        names.extend(items(history, "name").iter().map(|name| one(true, name)));
    }
    names
}

/// 1, a wildcard's share, or `None` where they differ.
fn pattern_value(pattern: &str, stored: &str) -> Option<f64> {
    if !pattern.contains('*') {
        return (pattern == stored).then_some(1.0);
    }
    if !matches_pattern(pattern, stored) {
        return None;
    }
    let fixed = pattern.chars().filter(|c| *c != '*').count() as f64;
    Some((fixed / stored.chars().count().max(1) as f64).max(LEAST_WILD))
}

fn aged(historic: bool, value: f64) -> f64 {
    if historic { value * HISTORIC } else { value }
}

/// Exact and wildcard search: everything that was given must agree.
fn strict(query: &Query, stored: &Object, history: &Object) -> Option<u32> {
    let mut best: Option<(f64, f64)> = None;
    for (historic, family, given) in names(query, stored, history) {
        let family = match &query.family {
            Some(pattern) => pattern_value(pattern, &family),
            None => Some(1.0),
        };
        let (Some(family), Some(given)) = (family, strict_given(&query.given, &given)) else { continue };
        let found = (aged(historic, family), aged(historic, given));
        if best.is_none_or(|b| b.0 + b.1 < found.0 + found.1) {
            best = Some(found);
        }
    }
    let (family, given) = best?;
    let mut mean = Mean::default();
    mean.add(BORN, 1.0);
    if query.family.is_some() {
        mean.add(FAMILY, family);
    }
    if !query.given.is_empty() {
        mean.add(GIVEN, given);
    }
    if query.gender.is_some() {
        mean.add(GENDER, gender_value(query, stored, history)?);
    }
    if let Some(wanted) = &query.postcode {
        let values = postcodes(query, stored, history);
        let best = values.iter().filter_map(|(old, code)| pattern_value(wanted, code).map(|v| aged(*old, v)));
        mean.add(POSTCODE, best.reduce(f64::max)?);
    }
    if let Some(range) = query.died {
        died(stored).filter(|day| within(*day, range))?;
        mean.add(DIED, 1.0);
    }
    if let Some(code) = &query.practice {
        (practice(stored) == *code).then_some(())?;
        mean.add(PRACTICE, 1.0);
    }
    managing_matches(query, stored).then(|| mean.score())
}

/// The first value against the first given name, later ones against the others (§8.1).
fn strict_given(wanted: &[String], given: &[String]) -> Option<f64> {
    let Some((first, others)) = wanted.split_first() else { return Some(1.0) };
    let mut sum = pattern_value(first, given.first()?)?;
    for other in others {
        let values = given.iter().skip(1).filter_map(|name| pattern_value(other, name));
        sum += values.reduce(f64::max)?;
    }
    Some(sum / wanted.len() as f64)
}

/// Current is 1, historic less where history counts, `None` otherwise.
fn gender_value(query: &Query, stored: &Object, history: &Object) -> Option<f64> {
    let wanted = query.gender.as_deref()?;
    if stored.get("gender").and_then(Value::as_str) == Some(wanted) {
        return Some(1.0);
    }
    let old = query.history && items(history, "gender").iter().any(|g| g.as_str() == Some(wanted));
    old.then_some(HISTORIC)
}

fn postcodes(query: &Query, stored: &Object, history: &Object) -> Vec<(bool, String)> {
    let one = |historic: bool, address: &Value| (historic, postcode(text(address, "postalCode")));
    let mut all: Vec<(bool, String)> = items(stored, "address").iter().map(|a| one(false, a)).collect();
    if query.history {
        all.extend(items(history, "address").iter().map(|a| one(true, a)));
    }
    all
}

fn died(stored: &Object) -> Option<u32> {
    stored.get("deceasedDateTime").and_then(Value::as_str).and_then(day_number)
}

fn practice(stored: &Object) -> String {
    let first = items(stored, "generalPractitioner").first();
    first.and_then(|gp| gp.pointer("/identifier/value")?.as_str()).unwrap_or_default().to_uppercase()
}

fn managing_matches(query: &Query, stored: &Object) -> bool {
    query.managing.as_ref().is_none_or(|wanted| {
        let found = stored.get("managingOrganization").and_then(|m| m.pointer("/identifier/value")?.as_str());
        found.is_some_and(|code| code.eq_ignore_ascii_case(wanted))
    })
}

/// E-mail and phone must both agree, in every kind of search; phones of emergency contacts count.
fn contacts_match(query: &Query, stored: &Object, history: &Object) -> bool {
    let squeezed = |text: &str| if query.fuzzy { text.replace(' ', "") } else { text.trim().to_owned() };
    let mut all: Vec<&Value> = items(stored, "telecom").iter().collect();
    for contact in items(stored, "contact") {
        all.extend(contact.get("telecom").and_then(Value::as_array).into_iter().flatten());
    }
    if query.history {
        all.extend(items(history, "telecom"));
    }
    let has = |email: bool, wanted: &str| {
        all.iter().any(|item| {
            let value = text(item, "value");
            match text(item, "system") == "email" {
                true => email && squeezed(&value.to_lowercase()) == squeezed(wanted),
                false => !email && squeezed(value) == squeezed(wanted),
            }
        })
    };
    query.email.as_ref().is_none_or(|e| has(true, e)) && query.phone.as_ref().is_none_or(|p| has(false, p))
}

/// How a name agrees: its value, and whether it is the same, sounds the same, or stands in the other's place.
#[derive(Clone, Copy, Default)]
struct Likeness {
    value: f64,
    agrees: bool,
}

fn likeness(wanted: &str, stored: &str) -> Likeness {
    if wanted == stored {
        return Likeness { value: 1.0, agrees: true };
    }
    let (one, other) = (soundex(wanted), soundex(stored));
    if one == other && one != *b"0000" {
        return Likeness { value: HOMOPHONE, agrees: true };
    }
    let initial = wanted.chars().count() == 1 && stored.starts_with(wanted);
    if initial {
        return Likeness { value: TRANSPOSED, agrees: true };
    }
    let like = strsim::normalized_levenshtein(wanted, stored);
    Likeness { value: if like >= LIKE { like } else { 0.0 }, agrees: false }
}

fn best(all: impl Iterator<Item = Likeness>) -> Likeness {
    all.fold(Likeness::default(), |a, b| if (b.agrees, b.value) > (a.agrees, a.value) { b } else { a })
}

/// Any given name against any given name.
fn fuzzy_given(wanted: &[String], given: &[String]) -> Likeness {
    let words = |names: &[String]| -> Vec<String> {
        names.iter().flat_map(|name| name.split_whitespace()).map(str::to_owned).collect()
    };
    let (asked, stored) = (words(wanted), words(given));
    if asked.is_empty() || stored.is_empty() {
        return Likeness::default();
    }
    let each: Vec<Likeness> = asked.iter().map(|word| best(stored.iter().map(|name| likeness(word, name)))).collect();
    let value = each.iter().map(|l| l.value).sum::<f64>() / each.len() as f64;
    let value = if stored.len() > asked.len() { value * MORE_NAMES } else { value };
    Likeness { value, agrees: each.iter().any(|l| l.agrees) }
}

/// Family and given name of one name of the record against the query's, also the other way round.
fn fuzzy_name(query: &Query, (historic, family, given): &Name) -> (Likeness, Likeness) {
    let asked = query.family.as_deref();
    let straight = (asked.map(|f| likeness(f, family)).unwrap_or_default(), fuzzy_given(&query.given, given));
    let crossed = asked.filter(|_| !query.given.is_empty()).map(|f| {
        let family_there = best(given.iter().flat_map(|name| name.split_whitespace()).map(|name| likeness(f, name)));
        let given_there = best(query.given.iter().map(|name| likeness(name, family)));
        let both = family_there.agrees && given_there.agrees;
        let value = if both { TRANSPOSED * family_there.value.min(given_there.value) } else { 0.0 };
        Likeness { value, agrees: both }
    });
    let straight_agrees = straight.0.agrees && straight.1.agrees;
    let (mut family, mut given) = match crossed {
        Some(crossed) if crossed.agrees && !straight_agrees => (crossed, crossed),
        _ => straight,
    };
    family.value = aged(*historic, family.value);
    given.value = aged(*historic, given.value);
    (family, given)
}

/// Fuzzy search: one of the combinations that were given whole must agree; the rest moves the score (§8.3).
fn fuzzy(query: &Query, stored: &Object, history: &Object) -> Option<u32> {
    if !managing_matches(query, stored) {
        return None;
    }
    let gender = gender_value(query, stored, history);
    let codes = postcodes(query, stored, history);
    let wanted = query.postcode.as_deref();
    let same_place = wanted.is_some_and(|w| codes.iter().any(|(_, code)| code == w));
    let place = wanted.map(|w| {
        let values = codes.iter().map(|(old, code)| {
            let like = strsim::normalized_levenshtein(w, code);
            aged(
                *old,
                if code == w {
                    1.0
                } else if like >= LIKE {
                    like
                } else {
                    0.0
                },
            )
        });
        values.fold(0.0, f64::max)
    });
    let placed = same_place && gender.is_some();
    let mut found: Option<u32> = None;
    for name in names(query, stored, history) {
        let (family, given) = fuzzy_name(query, &name);
        let (f, g) = (family.agrees && query.family.is_some(), given.agrees && !query.given.is_empty());
        if [f, g, placed].iter().filter(|part| **part).count() < 2 {
            continue;
        }
        let mut mean = Mean::default();
        mean.add(BORN, 1.0);
        if query.family.is_some() {
            mean.add(FAMILY, family.value);
        }
        if !query.given.is_empty() {
            mean.add(GIVEN, given.value);
        }
        if query.gender.is_some() {
            mean.add(GENDER, gender.unwrap_or(0.0));
        }
        if let Some(place) = place {
            mean.add(POSTCODE, place);
        }
        if let Some(range) = query.died {
            mean.add(DIED, f64::from(u8::from(died(stored).is_some_and(|day| within(day, range)))));
        }
        if let Some(code) = &query.practice {
            mean.add(PRACTICE, f64::from(u8::from(practice(stored) == *code)));
        }
        found = found.max(Some(mean.score()));
    }
    found
}
