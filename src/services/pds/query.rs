//! The parameters of a search, checked in the order of the specification (spec/pds.md §8.1, §8.2).

use super::{
    access::Mode,
    names::{self, fold},
    refusal::{self, Problem},
    routes::pairs,
};

/// Days from and to, both included, as `names::day_number` makes them.
pub type Days = (u32, u32);

/// A search that may be done. Names and codes are folded.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Query {
    pub fuzzy: bool,
    pub exact: bool,
    pub history: bool,
    /// Most people that an answer may hold.
    pub max: usize,
    pub family: Option<String>,
    pub given: Vec<String>,
    pub gender: Option<String>,
    pub born: Days,
    pub died: Option<Days>,
    pub postcode: Option<String>,
    pub practice: Option<String>,
    pub managing: Option<String>,
    pub email: Option<String>,
    pub phone: Option<String>,
    /// For the check on duplicates: restricted and very restricted people are judged by all that is stored of them.
    pub whole: bool,
}

/// Parameters and their types in FHIR; those that steer a search have none of its own.
pub const KNOWN: [(&str, &str); 15] = [
    ("_fuzzy-match", "special"),
    ("_exact-match", "special"),
    ("_history", "special"),
    ("_max-results", "special"),
    ("family", "string"),
    ("given", "string"),
    ("gender", "token"),
    ("birthdate", "date"),
    ("death-date", "date"),
    ("address-postalcode", "string"),
    ("address-postcode", "string"),
    ("general-practitioner", "reference"),
    ("managing-organization", "reference"),
    ("email", "token"),
    ("phone", "token"),
];
/// Most given names, and longest text, that are looked at.
const MAX_GIVEN: usize = 10;
const MAX_TEXT: usize = 35;
const NO_MINIMUM: &str = "No searches were performed as the search criteria did not meet the minimum requirements";
const NO_FUZZY: &str = "A fuzzy search was requested however the data given did not meet the fuzzy search criteria";
/// Most people in one answer (§8.1).
pub const MOST: usize = 50;

fn data(text: &str) -> Problem {
    Problem::says(&refusal::INVALID_SEARCH_DATA, format!("Invalid search data provided - '{text}'"))
}

/// Pairs of a query by name.
struct Given(Vec<(String, String)>);

impl Given {
    fn all(&self, name: &str) -> Vec<&str> {
        self.0.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str()).collect()
    }
    /// The only value; empty ones are as if not given.
    fn one(&self, name: &str) -> Result<Option<&str>, Problem> {
        match self.all(name).as_slice() {
            [] => Ok(None),
            [one] => Ok(Some(one.trim()).filter(|v| !v.is_empty())),
            _ => Err(data(&format!("{name} was given more than once"))),
        }
    }
    fn flag(&self, name: &str) -> Result<bool, Problem> {
        match self.one(name)?.map(str::to_ascii_lowercase).as_deref() {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(other) => Err(Problem::invalid(other, name)),
        }
    }
    fn folded(&self, name: &str) -> Result<Option<String>, Problem> {
        match self.one(name)? {
            Some(value) if value.chars().count() > MAX_TEXT => Err(Problem::invalid(value, name)),
            value => Ok(value.map(fold)),
        }
    }
    fn upper(&self, name: &str) -> Result<Option<String>, Problem> {
        Ok(self.one(name)?.map(str::to_uppercase))
    }
}

/// Reads a query. `max` of application modes first: it is the gateway's check.
pub fn parse(query: &str, mode: Mode) -> Result<Query, Problem> {
    let given = Given(pairs(query));
    let max = given.all("_max-results");
    if mode.is_application() && max.iter().any(|m| *m != "1") {
        return Err(Problem::one_result_only(mode.word()));
    }
    if given.0.is_empty() {
        return Err(Problem::plain(&refusal::UNSUPPORTED_SERVICE));
    }
    let known = |name: &str| KNOWN.iter().any(|(known, _)| *known == name);
    let mut unknown: Vec<&str> = given.0.iter().map(|(n, _)| n.as_str()).filter(|n| !known(n)).collect();
    unknown.dedup();
    if !unknown.is_empty() {
        return Err(Problem::additional(&unknown));
    }
    let born = days(&given.all("birthdate"), "birthdate")?;
    let died = days(&given.all("death-date"), "death-date")?;
    let max = match given.one("_max-results")? {
        None => {
            if mode.is_application() {
                1
            } else {
                MOST
            }
        }
        Some(text) => match text.parse::<usize>() {
            Ok(n) if (1..=MOST).contains(&n) => n,
            _ => return Err(Problem::invalid(text, "_max-results")),
        },
    };
    let Some(born) = born else {
        return Err(Problem::missing("birth_date/birth_date_range_start/birth_date_range_end"));
    };
    let fuzzy = given.flag("_fuzzy-match")?;
    let parsed = Query {
        fuzzy,
        exact: given.flag("_exact-match")?,
        history: given.flag("_history")? || fuzzy,
        max,
        family: given.folded("family")?,
        given: given_names(&given)?,
        gender: gender(&given)?,
        born,
        died,
        postcode: postcode(&given)?,
        practice: given.upper("general-practitioner")?,
        managing: given.upper("managing-organization")?,
        email: given.one("email")?.map(str::to_lowercase),
        phone: given.one("phone")?.map(str::to_owned),
        whole: false,
    };
    if parsed.fuzzy {
        fuzzy_minimum(&parsed)?
    } else {
        minimum(&parsed)?
    };
    Ok(parsed)
}

fn given_names(given: &Given) -> Result<Vec<String>, Problem> {
    let names: Vec<&str> = given.all("given").into_iter().map(str::trim).filter(|v| !v.is_empty()).collect();
    match names.iter().find(|name| name.chars().count() > MAX_TEXT) {
        Some(long) => Err(Problem::invalid(long, "given")),
        None if names.len() > MAX_GIVEN => Err(data("too many given names")),
        None => Ok(names.into_iter().map(fold).collect()),
    }
}

fn gender(given: &Given) -> Result<Option<String>, Problem> {
    match given.one("gender")? {
        None => Ok(None),
        Some(text) => match text.to_ascii_lowercase() {
            known if ["male", "female", "other", "unknown"].contains(&known.as_str()) => Ok(Some(known)),
            _ => Err(Problem::invalid(text, "gender")),
        },
    }
}

fn postcode(given: &Given) -> Result<Option<String>, Problem> {
    match (given.one("address-postalcode")?, given.one("address-postcode")?) {
        (Some(_), Some(_)) => Err(data("address-postalcode and address-postcode cannot both be given")),
        (one, other) => Ok(one.or(other).map(names::postcode)),
    }
}

/// Family name and birth date; wildcards not among the first two characters.
fn minimum(query: &Query) -> Result<(), Problem> {
    let wild = |text: &String| text.chars().take(2).any(|c| c == '*');
    if query.family.is_none() || query.family.iter().chain(&query.given).chain(&query.postcode).any(wild) {
        return Err(data(NO_MINIMUM));
    }
    Ok(())
}

/// One of three combinations, and no wildcards at all.
fn fuzzy_minimum(query: &Query) -> Result<(), Problem> {
    let (family, given) = (query.family.is_some(), !query.given.is_empty());
    let where_and_who = query.gender.is_some() && query.postcode.is_some();
    let enough = [family, given, where_and_who].iter().filter(|part| **part).count() >= 2;
    let wild = query.family.iter().chain(&query.given).chain(&query.postcode).any(|text| text.contains('*'));
    if enough && !wild { Ok(()) } else { Err(data(NO_FUZZY)) }
}

/// One or two dates with `eq`, `ge`, `le`.
fn days(values: &[&str], field: &str) -> Result<Option<Days>, Problem> {
    let mut range = (None, None);
    let mut count = 0;
    for value in values {
        let (prefix, date) = match value.get(..2) {
            Some(p @ ("eq" | "ge" | "le")) => (p, &value[2..]),
            _ => ("eq", *value),
        };
        let Some(day) = real_day(date) else { return Err(Problem::invalid(value, field)) };
        count += 1;
        match prefix {
            "ge" if range.0.is_none() => range.0 = Some(day),
            "le" if range.1.is_none() => range.1 = Some(day),
            "eq" if count == 1 && values.len() == 1 => range = (Some(day), Some(day)),
            _ => return Err(data(&format!("{field} is one date, or a range of ge and le"))),
        }
    }
    Ok((count > 0).then(|| (range.0.unwrap_or(0), range.1.unwrap_or(u32::MAX))))
}

/// `YYYY-MM-DD` of the calendar.
pub fn real_day(text: &str) -> Option<u32> {
    if text.len() != 10 {
        return None;
    }
    let day = names::day_number(text)?;
    let (year, month, of) = (i16::try_from(day / 10_000).ok()?, (day / 100 % 100) as i8, (day % 100) as i8);
    jiff::civil::Date::new(year, month, of).ok().map(|_| day)
}
