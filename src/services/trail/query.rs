//! Search parameters of AuditEvent (FHIR R4, AuditEvent and Search): `patient`, `agent`, `date`, `_count`, `_cursor`. One that
//! is not known is refused: a filter that is silently left out shows more than was asked for.

use super::refusal::Problem;
use crate::{
    audit::Cursor,
    model::{NhsNumber, time},
    wire::form::Form,
};

/// Most events of a page, and how many there are unless the caller says.
pub const MOST: usize = 100;
const USUAL: usize = 50;
const DAY: u64 = 86_400_000;

/// What is looked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    pub patient: Option<NhsNumber>,
    /// User id of a member of staff.
    pub agent: String,
    /// Milliseconds since the epoch, inclusive.
    pub since: Option<u64>,
    /// Milliseconds since the epoch, exclusive.
    pub until: Option<u64>,
    pub count: usize,
    pub before: Option<Cursor>,
}

impl Query {
    /// Reads a query string. `own`: whom it is about where it names nobody.
    pub fn parse(text: &str, own: Option<NhsNumber>) -> Result<Query, Problem> {
        let form = Form::parse(text.as_bytes()).map_err(|_| Problem::invalid("the query cannot be read"))?;
        let mut query = Query { count: USUAL, ..Default::default() };
        for (name, value) in form.fields() {
            query.take(name, value)?;
        }
        query.patient = query.patient.or(own);
        if query.patient.is_none() && query.agent.is_empty() {
            return Err(Problem::missing("patient or agent must be given"));
        }
        Ok(query)
    }

    fn take(&mut self, name: &str, value: &str) -> Result<(), Problem> {
        let bad = || Problem::invalid(format!("Invalid value in parameter '{name}'"));
        // `system|value`, with or without the system.
        let bare = value.rsplit_once('|').map_or(value, |(_, bare)| bare);
        match name {
            "patient" | "patient.identifier" | "patient:identifier" => {
                let digits = bare.strip_prefix("Patient/").unwrap_or(bare);
                let nhs = NhsNumber::strict(digits).ok_or_else(bad)?;
                if self.patient.is_some_and(|before| before != nhs) {
                    return Err(bad());
                }
                self.patient = Some(nhs);
            }
            "agent" | "agent.identifier" | "agent:identifier" => {
                let bare = bare.strip_prefix("Practitioner/").unwrap_or(bare);
                // No id has a slash, and a link would lose what stands before a second one.
                if bare.is_empty() || bare.len() > 64 || bare.contains('/') || !self.agent.is_empty() {
                    return Err(bad());
                }
                self.agent = bare.to_owned();
            }
            "date" => self.date(value).ok_or_else(bad)?,
            "_count" => {
                let count: usize = value.parse().map_err(|_| bad())?;
                // More than the most is no error in FHIR: the server may always give fewer.
                self.count = count.clamp(1, MOST);
            }
            "_cursor" => self.before = Some(Cursor::parse(value).ok_or_else(bad)?),
            _ => return Err(Problem::invalid(format!("Parameter '{}' is not supported", shortened(name)))),
        }
        Ok(())
    }

    /// A date with or without a prefix; several narrow one another.
    fn date(&mut self, text: &str) -> Option<()> {
        let (prefix, rest) = match text.get(..2) {
            Some(two) if two.bytes().all(|b| b.is_ascii_lowercase()) => (two, &text[2..]),
            _ => ("eq", text),
        };
        let (from, to) = span(rest)?;
        let (since, until) = match prefix {
            "eq" => (Some(from), Some(to)),
            "ge" => (Some(from), None),
            "gt" | "sa" => (Some(to), None),
            "le" => (None, Some(to)),
            "lt" | "eb" => (None, Some(from)),
            _ => return None,
        };
        self.since = self.since.max(since);
        self.until = match (self.until, until) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        Some(())
    }

    /// The query string of the page at a place of the list.
    pub fn link(&self, before: Option<Cursor>) -> String {
        let mut parts = vec![];
        if let Some(nhs) = self.patient {
            parts.push(format!("patient={}", nhs.digits()));
        }
        if !self.agent.is_empty() {
            let kept = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            let agent: String = self.agent.chars().map(|c| if kept(c) { c.to_string() } else { escaped(c) }).collect();
            parts.push(format!("agent={agent}"));
        }
        if let Some(since) = self.since {
            parts.push(format!("date=ge{}", time::iso(since)));
        }
        if let Some(until) = self.until {
            parts.push(format!("date=lt{}", time::iso(until)));
        }
        parts.push(format!("_count={}", self.count));
        if let Some(before) = before {
            parts.push(format!("_cursor={}", before.text()));
        }
        parts.join("&")
    }
}

fn escaped(c: char) -> String {
    let mut bytes = [0; 4];
    c.encode_utf8(&mut bytes).bytes().map(|b| format!("%{b:02X}")).collect()
}

fn shortened(text: &str) -> String {
    text.chars().take(40).collect()
}

/// From and to (exclusive) of what a FHIR date means: a year, a month, a day, a second, a millisecond.
fn span(text: &str) -> Option<(u64, u64)> {
    match text.len() {
        4 => {
            let year: u32 = text.parse().ok()?;
            Some((day(&format!("{year:04}-01-01"))?, day(&format!("{:04}-01-01", year + 1))?))
        }
        7 => {
            let (year, month) = text.split_once('-')?;
            let (year, month): (u32, u32) = (year.parse().ok()?, month.parse().ok()?);
            let next = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
            Some((day(&format!("{text}-01"))?, day(&format!("{:04}-{:02}-01", next.0, next.1))?))
        }
        10 => day(text).map(|from| (from, from + DAY)),
        _ => {
            let from = time::parse_iso(text)?;
            Some((from, from + if text.contains('.') { 1 } else { 1_000 }))
        }
    }
}

fn day(text: &str) -> Option<u64> {
    time::parse_iso(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_mean_all_that_they_leave_open() {
        let day = time::parse_iso("2026-11-22").unwrap();
        assert_eq!(span("2026-11-22"), Some((day, day + DAY)));
        assert_eq!(span("2026-11-22T00:00:01Z"), Some((day + 1_000, day + 2_000)));
        assert_eq!(span("2026-11-22T00:00:01.5Z"), Some((day + 1_500, day + 1_501)));
        assert_eq!(
            span("2026-12"),
            Some((time::parse_iso("2026-12-01").unwrap(), time::parse_iso("2027-01-01").unwrap()))
        );
        assert_eq!(span("2026").map(|(a, b)| (b - a) / DAY), Some(365));
        for none in ["", "26", "2026-13", "2026-02-30", "yesterday"] {
            assert_eq!(span(none), None, "{none}");
        }
        let query =
            Query::parse("patient=9990000018&date=ge2026-11-22&date=lt2026-11-24&date=le2026-11-22", None).unwrap();
        assert_eq!((query.since, query.until), (Some(day), Some(day + DAY)));
    }

    #[test]
    fn a_link_says_what_the_query_said() {
        let text =
            "patient=https%3A%2F%2Ffhir.nhs.uk%2FId%2Fnhs-number%7C9990000018&agent=a%20b&date=2026-11-22&_count=7";
        let query = Query::parse(text, None).unwrap();
        let before = Cursor { at: 9, partition: 2, sequence: 4 };
        let again = Query::parse(&query.link(Some(before)), None).unwrap();
        assert_eq!(again, Query { before: Some(before), ..query });
    }

    #[test]
    fn what_is_not_understood_is_refused_and_not_left_out() {
        for (bad, code) in [
            ("", "MISSING_VALUE"),
            ("_count=3", "MISSING_VALUE"),
            ("patient=9990000019", "INVALID_VALUE"),
            ("patient=9990000018&patient=9990000026", "INVALID_VALUE"),
            ("agent=Practitioner/Practitioner/1", "INVALID_VALUE"),
            ("patient=9990000018&outcome=0", "INVALID_VALUE"),
            ("patient=9990000018&date=zz2026", "INVALID_VALUE"),
            ("patient=9990000018&_count=x", "INVALID_VALUE"),
            ("patient=9990000018&_cursor=1-2", "INVALID_VALUE"),
        ] {
            assert_eq!(Query::parse(bad, None).unwrap_err().code, code, "{bad}");
        }
        assert_eq!(Query::parse("agent=1&_count=100000", None).unwrap().count, MOST);
    }
}
