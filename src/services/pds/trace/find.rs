//! Who a row means (spec/pds.md §16.6): cross-check, alphanumeric, algorithmic; the first that succeeds. Reads the rows of all
//! partitions, bounded for each row.
//!
//! Not found by any step: a very restricted record, of which not even the birth date is shown; a restricted one by its postcode,
//! which is hidden.

use super::{code::Code, layout::Request};
use crate::{
    engine::draft::Fault,
    model::{NhsNumber, time},
    services::pds::{
        fhir::{Object, items, text},
        names::{self, day_number, fold, soundex},
        query::Query,
        rows::{self, CURRENT_NAMES, NameRow, Person, Sensitivity, given_names, name_key, postcode_key},
        search::{self, Found},
    },
    store::{
        Reader,
        tables::{Parts, after_prefix},
    },
};
use serde_json::Value;
use std::collections::BTreeMap;

/// Least score of an algorithmic match, in percent.
const LEAST: u32 = 50;
/// Candidates whose scores are so near are several.
const CLOSE: u32 = 5;
/// Name and postcode rows read for one algorithmic trace. More are of a name that nothing narrows.
const MOST_ROWS: usize = 20_000;
/// Records read for one algorithmic trace: those that the index rows promise most of.
const MOST_READ: usize = 64;
/// Oldest birth looked at where the year differs.
const AGES: u32 = 125;

/// What of a person is shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Shown {
    pub family: String,
    pub given: String,
    pub other_given: String,
    pub gender: String,
    pub born: String,
    pub died: String,
    pub lines: [String; 5],
    pub postcode: String,
    pub practice: String,
    pub registered: String,
    pub telephone: String,
    pub mobile: String,
    pub email: String,
}

/// What a row is answered with.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Answer {
    pub code: Code,
    /// 0 no trace, 1 cross-check, 3 alphanumeric, 4 algorithmic: the last step that ran.
    pub indicator: u8,
    pub confidence: u32,
    /// `MATCHED_NHS_NO`.
    pub matched: String,
    /// Whom the sender is shown, for the audit trail; 0 for nobody.
    pub subject: u64,
    pub sensitive: bool,
    pub shown: Shown,
    /// Family name, given name, birth date, gender, postcode, in percent; algorithmic only.
    pub scores: [u32; 5],
}

impl Answer {
    pub fn refused(code: Code) -> Answer {
        Answer { code, matched: "0000000000".into(), ..Default::default() }
    }
    fn none(code: Code, indicator: u8) -> Answer {
        let matched = if code == Code::SEVERAL { "9999999999" } else { "0000000000" };
        Answer { code, indicator, matched: matched.into(), ..Default::default() }
    }
}

type Views<'a> = &'a [&'a dyn Reader];

/// Traces one sound row. `today`: `YYYYMMDD`.
pub fn trace(views: Views<'_>, request: &Request, today: u32) -> Result<Answer, Fault> {
    if !request.traceable {
        return Ok(Answer::refused(Code::NO_TRACE));
    }
    let (mut ran, mut invalidated) = (0, false);
    if !request.nhs.is_empty() && request.born != 0 {
        ran = 1;
        match cross_check(views, request)? {
            Checked::Is(nhs, person, moved) => {
                let code = if moved { Code::SUPERSEDED } else { Code::SUCCESS };
                return matched(views, nhs, *person, request, code, (1, 100), today);
            }
            Checked::Invalidated => invalidated = true,
            Checked::No => {}
        }
    }
    if let Some(query) = alphanumeric(request) {
        ran = 3;
        if let Found::People(mut hits) = search::find(views, &query)?
            && hits.len() == 1
            && let Some(hit) = hits.pop()
        {
            return matched(views, hit.nhs, hit.person, request, Code::SUCCESS, (3, 100), today);
        }
    }
    if enough(request) {
        let answer = algorithmic(views, request, today)?;
        return Ok(if invalidated && answer.code == Code::NOT_FOUND {
            Answer::none(Code::INVALIDATED, 4)
        } else {
            answer
        });
    }
    Ok(match (ran, invalidated) {
        (_, true) => Answer::none(Code::INVALIDATED, ran),
        (0, _) => Answer::none(Code::NOT_ENOUGH, 0),
        _ => Answer::none(Code::NOT_FOUND, ran),
    })
}

/// What a number and a birth date have come to.
pub enum Checked {
    /// The person, and whether the number was merged into theirs.
    Is(NhsNumber, Box<Person>, bool),
    Invalidated,
    No,
}

fn cross_check(views: Views<'_>, request: &Request) -> Result<Checked, Fault> {
    let checked = by_number(views, &request.nhs)?;
    let Checked::Is(_, person, _) = &checked else { return Ok(checked) };
    let stored = person.stored()?;
    let parts = equal_parts(born(&stored), request.born);
    let agrees = parts == 3 || (parts == 2 && a_name_agrees(request, &stored));
    Ok(if agrees { checked } else { Checked::No })
}

/// The record that a number stands for, merges followed.
pub fn by_number(views: Views<'_>, number: &str) -> Result<Checked, Fault> {
    let Some(asked) = NhsNumber::strict(number) else { return Ok(Checked::No) };
    let Some(person) = person(views, asked)? else { return Ok(Checked::No) };
    if person.invalidated && person.superseded_by == 0 {
        return Ok(Checked::Invalidated);
    }
    Ok(match search::survivor(views, asked, person)?.filter(may_be_told) {
        Some((nhs, person)) => Checked::Is(nhs, Box::new(person), nhs != asked),
        None => Checked::No,
    })
}

/// No trace tells that a very restricted person is there.
fn may_be_told((_, person): &(NhsNumber, Person)) -> bool {
    person.sensitivity() != Sensitivity::VeryRestricted
}

fn person(views: Views<'_>, nhs: NhsNumber) -> Result<Option<Person>, Fault> {
    for view in views {
        if let Some(person) = rows::person(*view, nhs)? {
            return Ok(Some(person));
        }
    }
    Ok(None)
}

pub fn born(stored: &Object) -> u32 {
    stored.get("birthDate").and_then(Value::as_str).and_then(day_number).unwrap_or(0)
}

/// How many of day, month and year are the same; a part that is not known is not.
pub fn equal_parts(one: u32, other: u32) -> u32 {
    let parts = |day: u32| [day / 10_000, day / 100 % 100, day % 100];
    parts(one).iter().zip(parts(other)).filter(|(a, b)| **a == *b && *b != 0).count() as u32
}

fn current_names(stored: &Object) -> impl Iterator<Item = &Value> {
    items(stored, "name").iter().filter(|name| CURRENT_NAMES.contains(&text(name, "use")))
}

fn a_name_agrees(request: &Request, stored: &Object) -> bool {
    let (family, given) = (fold(&request.family), fold(&request.given));
    current_names(stored).any(|name| {
        (!family.is_empty() && fold(text(name, "family")) == family)
            || (!given.is_empty() && given_names(name).first() == Some(&given))
    })
}

/// FHIR's word for a gender; `None` where it is not given or not known.
pub fn gender(code: &str) -> Option<&'static str> {
    match code {
        "1" => Some("male"),
        "2" => Some("female"),
        "9" => Some("other"),
        _ => None,
    }
}

/// Family name, birth date and gender, and whatever else is given: all must be equal.
fn alphanumeric(request: &Request) -> Option<Query> {
    let gender = gender(&request.gender)?;
    if request.family.is_empty() || request.born == 0 {
        return None;
    }
    let mut given: Vec<String> = Some(fold(&request.given)).filter(|g| !g.is_empty()).into_iter().collect();
    if !given.is_empty() {
        given.extend(request.other_given.split_whitespace().map(fold));
    }
    let postcode = names::postcode(&request.postcode);
    Some(Query {
        max: 1,
        family: Some(fold(&request.family)),
        given,
        gender: Some(gender.into()),
        born: (request.born, request.born),
        postcode: Some(postcode).filter(|code| !code.is_empty()),
        ..Default::default()
    })
}

/// Whether an algorithmic trace can find anybody: it looks by name and birth date, or by postcode and birth date.
fn enough(request: &Request) -> bool {
    let placed = !request.given.is_empty() && !request.postcode.is_empty();
    request.born != 0 && (!request.family.is_empty() || placed)
}

/// Days that have two parts in common with this one, as ranges.
fn near(born: u32, today: u32) -> Vec<(u32, u32)> {
    let (year, month, day) = (born / 10_000, born / 100 % 100, born % 100);
    let mut days = vec![(year * 10_000 + month * 100, year * 10_000 + month * 100 + 99)];
    let point = |year: u32, month: u32| (year * 10_000 + month * 100 + day, year * 10_000 + month * 100 + day);
    days.extend((1..=12).filter(|m| *m != month).map(|m| point(year, m)));
    let now = today / 10_000;
    days.extend((now.saturating_sub(AGES)..=now).filter(|y| *y != year).map(|y| point(y, month)));
    days
}

/// What a row asks, folded once for all candidates.
struct Wanted<'a> {
    family: String,
    given: String,
    gender: Option<&'a str>,
    born: u32,
    postcode: String,
}

/// Percentages of the fields that are given, and their weighted mean.
struct Score {
    parts: [u32; 5],
    all: u32,
}

const WEIGHTS: [u32; 5] = [3, 2, 3, 1, 2];

fn mean(parts: [Option<u32>; 5]) -> Score {
    let (mut sum, mut weights) = (0, 0);
    for (part, weight) in parts.iter().zip(WEIGHTS) {
        if let Some(part) = part {
            sum += part * weight;
            weights += weight;
        }
    }
    Score { parts: parts.map(Option::unwrap_or_default), all: u32::checked_div(sum, weights).unwrap_or(0) }
}

fn similar(one: &str, other: &str) -> u32 {
    (strsim::normalized_levenshtein(one, other) * 100.0) as u32
}

impl Wanted<'_> {
    fn given(&self, names: &[String]) -> Option<u32> {
        let words = names.iter().flat_map(|name| name.split_whitespace().chain([name.as_str()]));
        let best = words.map(|word| similar(&self.given, word)).max().unwrap_or(0);
        (!self.given.is_empty()).then_some(best)
    }
    fn family(&self, family: &str) -> Option<u32> {
        (!self.family.is_empty()).then(|| similar(&self.family, family))
    }
    fn born(&self, born: u32) -> Option<u32> {
        Some([0, 33, 67, 100][equal_parts(born, self.born) as usize])
    }

    /// The best that a record behind this index row can come to.
    fn promise(&self, family: &str, row: &NameRow, born: u32) -> u32 {
        let given = row.names.iter().filter(|(historic, _)| !historic).filter_map(|(_, names)| self.given(names)).max();
        let gender = self.gender.map(|g| if g.bytes().next() == Some(row.gender) { 100 } else { 0 });
        let given = given.or((!self.given.is_empty()).then_some(0));
        mean([self.family(family), given, self.born(born), gender, (!self.postcode.is_empty()).then_some(100)]).all
    }

    /// The score of a record. What is hidden of a restricted one neither helps nor harms.
    fn score(&self, person: &Person, stored: &Object) -> Score {
        let gender = self.gender.map(|g| if stored.get("gender").and_then(Value::as_str) == Some(g) { 100 } else { 0 });
        let hidden = person.sensitivity() != Sensitivity::Unrestricted;
        let postcode = (!self.postcode.is_empty() && !hidden).then(|| self.place(stored));
        let born = self.born(born(stored));
        let each = current_names(stored).map(|name| {
            let family = self.family(&fold(text(name, "family")));
            mean([family, self.given(&given_names(name)), born, gender, postcode])
        });
        each.max_by_key(|score| score.all).unwrap_or(Score { parts: [0; 5], all: 0 })
    }

    fn place(&self, stored: &Object) -> u32 {
        let outward = |code: &str| code.len().checked_sub(3).and_then(|at| code.get(..at)).map(str::to_owned);
        let codes = items(stored, "address").iter().map(|address| names::postcode(text(address, "postalCode")));
        let worth = |code: String| match code {
            same if same == self.postcode => 100,
            near if outward(&near).is_some_and(|o| !o.is_empty()) && outward(&near) == outward(&self.postcode) => 50,
            _ => 0,
        };
        codes.map(worth).max().unwrap_or(0)
    }
}

fn algorithmic(views: Views<'_>, request: &Request, today: u32) -> Result<Answer, Fault> {
    let wanted = Wanted {
        family: fold(&request.family),
        given: fold(&request.given),
        gender: gender(&request.gender),
        born: request.born,
        postcode: names::postcode(&request.postcode),
    };
    let Some(candidates) = candidates(views, &wanted, today)? else { return Ok(Answer::none(Code::SEVERAL, 4)) };
    let mut best: BTreeMap<NhsNumber, (Person, Score)> = BTreeMap::new();
    for nhs in candidates {
        let Some(found) = person(views, nhs)? else { continue };
        let score = match found.sensitivity() {
            Sensitivity::VeryRestricted => continue,
            _ => wanted.score(&found, &found.stored()?),
        };
        let Some((nhs, found)) = search::survivor(views, nhs, found)?.filter(may_be_told) else { continue };
        if best.get(&nhs).is_none_or(|(_, old)| old.all < score.all) {
            best.insert(nhs, (found, score));
        }
    }
    let mut ranked: Vec<(NhsNumber, Person, Score)> = best.into_iter().map(|(nhs, (p, s))| (nhs, p, s)).collect();
    ranked.sort_by_key(|(_, _, score)| std::cmp::Reverse(score.all));
    let second = ranked.get(1).map_or(0, |(_, _, score)| score.all);
    match ranked.into_iter().next() {
        Some((_, _, score)) if score.all >= LEAST && second + CLOSE >= score.all => Ok(Answer::none(Code::SEVERAL, 4)),
        Some((nhs, person, score)) if score.all >= LEAST => {
            let answer = matched(views, nhs, person, request, Code::SUCCESS, (4, score.all), today)?;
            Ok(Answer { scores: score.parts, ..answer })
        }
        _ => Ok(Answer::none(Code::NOT_FOUND, 4)),
    }
}

/// The likeliest people by the index rows of near birth dates; `None` where there are too many to look at.
fn candidates(views: Views<'_>, wanted: &Wanted<'_>, today: u32) -> Result<Option<Vec<NhsNumber>>, Fault> {
    let (mut read, mut found) = (0, BTreeMap::<NhsNumber, u32>::new());
    for view in views {
        for (first, last) in near(wanted.born, today) {
            let mut scan = |range, take: &mut dyn FnMut(&[u8], &[u8])| -> Result<bool, Fault> {
                let rows = view.scan(range, false, MOST_ROWS + 1 - read)?;
                read += rows.len();
                rows.iter().for_each(|(key, value)| take(key, value));
                Ok(read <= MOST_ROWS)
            };
            if !wanted.family.is_empty() {
                let code = soundex(&wanted.family);
                let range = name_key(code, first).build()..after_prefix(&name_key(code, last).build());
                let whole = scan(range, &mut |key, value| {
                    let born = key.get(5..9).and_then(|b| b.try_into().ok()).map_or(0, u32::from_be_bytes);
                    let mut parts = Parts::of(key.get(8..).unwrap_or_default());
                    let (Some(family), Some(nhs)) = (parts.text(), parts.number().and_then(NhsNumber::of)) else {
                        return;
                    };
                    let Some(row) = NameRow::decode(value) else { return };
                    let promise = wanted.promise(&family, &row, born);
                    if promise >= LEAST {
                        let best = found.entry(nhs).or_default();
                        *best = promise.max(*best);
                    }
                })?;
                if !whole {
                    return Ok(None);
                }
            }
            if !wanted.postcode.is_empty() {
                let to = after_prefix(&postcode_key(&wanted.postcode, last).build());
                let whole = scan(postcode_key(&wanted.postcode, first).build()..to, &mut |key, _| {
                    let nhs = key.last_chunk::<8>().and_then(|n| NhsNumber::of(u64::from_be_bytes(*n)));
                    // Of a postcode's few people nothing is known yet: each is read.
                    found.extend(nhs.map(|nhs| (nhs, 100)));
                })?;
                if !whole {
                    return Ok(None);
                }
            }
        }
    }
    let mut likely: Vec<(NhsNumber, u32)> = found.into_iter().collect();
    likely.sort_by_key(|(nhs, promise)| (std::cmp::Reverse(*promise), *nhs));
    Ok(Some(likely.into_iter().take(MOST_READ).map(|(nhs, _)| nhs).collect()))
}

/// The answer that shows a person: as of the day that is asked for, and what their label leaves.
fn matched(
    views: Views<'_>,
    nhs: NhsNumber,
    person: Person,
    request: &Request,
    code: Code,
    (indicator, confidence): (u8, u32),
    today: u32,
) -> Result<Answer, Fault> {
    let sensitive = person.sensitivity() != Sensitivity::Unrestricted;
    let then = match request.as_at {
        0 => person,
        day if day >= today => person,
        day => as_at(views, nhs, person, day)?,
    };
    let stored = then.stored()?;
    let shown = if sensitive { who(&stored) } else { where_too(&stored) };
    Ok(Answer {
        code: if sensitive { Code::SENSITIVE } else { code },
        indicator,
        confidence,
        matched: nhs.digits(),
        subject: nhs.value(),
        sensitive,
        shown,
        ..Default::default()
    })
}

/// The record as it was at the end of a day; the oldest version known where that is younger.
fn as_at(views: Views<'_>, nhs: NhsNumber, now: Person, day: u32) -> Result<Person, Fault> {
    let end = time::parse_compact(&format!("{day:08}")).unwrap_or(0) + 86_399_999;
    for view in views {
        if rows::person(*view, nhs)?.is_none() {
            continue;
        }
        let then = match rows::on(*view, nhs, end)? {
            Some(then) => Some(then),
            None => rows::as_of(*view, nhs, now.clone(), 1)?,
        };
        return Ok(then.unwrap_or(now));
    }
    Ok(now)
}

fn plain_date(text: &str) -> String {
    text.chars().take(10).filter(char::is_ascii_digit).collect()
}

/// Name, gender and birth date: what a restricted record shows.
fn who(stored: &Object) -> Shown {
    let member = |name: &str| stored.get(name).and_then(Value::as_str).unwrap_or_default();
    let usual = items(stored, "name").iter().find(|name| text(name, "use") == "usual");
    let name = usual.or_else(|| current_names(stored).next()).cloned().unwrap_or_default();
    let given: Vec<&str> = name["given"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let gender = match member("gender") {
        "male" => "1",
        "female" => "2",
        "other" => "9",
        "unknown" => "0",
        _ => "",
    };
    Shown {
        family: text(&name, "family").to_owned(),
        given: given.first().map(|g| (*g).to_owned()).unwrap_or_default(),
        other_given: given.get(1..).unwrap_or_default().join(" "),
        gender: gender.into(),
        born: plain_date(member("birthDate")),
        ..Default::default()
    }
}

/// Everything.
fn where_too(stored: &Object) -> Shown {
    let home = items(stored, "address").iter().find(|address| text(address, "use") == "home");
    let mut lines: [String; 5] = Default::default();
    let given = home.and_then(|home| home.get("line")?.as_array()).into_iter().flatten();
    for (line, value) in lines.iter_mut().zip(given) {
        *line = value.as_str().unwrap_or_default().to_owned();
    }
    let practice = items(stored, "generalPractitioner").first().and_then(|gp| gp.get("identifier"));
    let telecom = |wanted: &dyn Fn(&str, &str) -> bool| {
        let found = items(stored, "telecom").iter().find(|t| wanted(text(t, "system"), text(t, "use")));
        found.map(|t| text(t, "value").to_owned()).unwrap_or_default()
    };
    let start = practice.and_then(|gp| gp.pointer("/period/start")?.as_str()).unwrap_or_default();
    Shown {
        died: plain_date(stored.get("deceasedDateTime").and_then(Value::as_str).unwrap_or_default()),
        lines,
        postcode: home.map(|home| text(home, "postalCode").to_owned()).unwrap_or_default(),
        practice: practice.map(|gp| text(gp, "value").to_owned()).unwrap_or_default(),
        registered: plain_date(start),
        telephone: telecom(&|system, of| system == "phone" && of != "mobile"),
        mobile: telecom(&|system, of| system == "phone" && of == "mobile"),
        email: telecom(&|system, _| system == "email"),
        ..who(stored)
    }
}
