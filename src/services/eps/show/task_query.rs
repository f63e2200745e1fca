//! What a `GET /Task` asks for (spec/eps.md §14.1), or every error of its query.

use super::{BUSINESS_STATUS, NHS_NUMBER, SHORT_ID, zoned};
use crate::{
    model::{EpochMillis, NhsNumber, day},
    services::eps::ids,
};
use serde_json::{Value, json};

/// A bound on the day of an issue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    On(u32),
    Until(u32),
    From(u32),
}

/// What is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskQuery {
    /// Short id, upper case; a Task has it as its focus and as its identifier.
    pub prescription: Option<String>,
    /// The same once more, where both parameters are given: both must fit.
    pub identifier: Option<String>,
    /// `None` where none is asked for; 0 for a number that nobody has.
    pub patient: Option<u64>,
    /// Status of the issue.
    pub status: Option<String>,
    pub authored: Vec<Bound>,
}

/// The parameters and the system that each may name.
const PARAMETERS: [(&str, &str); 5] = [
    ("focus:identifier", SHORT_ID),
    ("identifier", SHORT_ID),
    ("patient:identifier", NHS_NUMBER),
    ("business-status", BUSINESS_STATUS),
    ("authored-on", ""),
];
/// One of these must be there.
const ENOUGH: [&str; 3] = ["focus:identifier", "identifier", "patient:identifier"];
/// Most bounds on the day: more say nothing new.
const MOST_BOUNDS: usize = 10;

/// An error: its issue code, the parameters that it is of, its published text, and what would be right where that does not say it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub code: &'static str,
    pub of: Vec<&'static str>,
    pub text: String,
    pub right: String,
}

fn problem(code: &'static str, of: &[&'static str], text: String) -> Problem {
    Problem { code, of: of.to_vec(), text, right: String::new() }
}

/// Reads a query's pairs, decoded. Parameters of other names are ignored.
pub fn read(pairs: &[(String, String)]) -> Result<TaskQuery, Vec<Problem>> {
    let mut problems = vec![];
    let of = |name: &str| pairs.iter().filter(move |(n, _)| n == name).map(|(_, v)| v.as_str()).collect::<Vec<_>>();
    if ENOUGH.iter().all(|name| of(name).is_empty()) {
        let names = ENOUGH.join(", ");
        let text = format!("At least one of the following query parameters must be provided: {names}.");
        problems.push(problem("invalid", &ENOUGH, text));
    }
    let mut query = TaskQuery::default();
    for (name, system) in PARAMETERS {
        let values = of(name);
        let most = if name == "authored-on" { MOST_BOUNDS } else { 1 };
        if values.len() > most {
            let right = format!("Query parameter {name} may come {most} time(s).");
            let wrong = problem("invalid", &[name], "Invalid combination of query parameters.".into());
            problems.push(Problem { right, ..wrong });
            continue;
        }
        for value in values {
            match taken(name, system, value) {
                Ok(value) => query.take(name, value, &mut problems),
                Err(wrong) => problems.push(wrong),
            }
        }
    }
    if problems.is_empty() { Ok(query) } else { Err(problems) }
}

/// The value behind its system.
fn taken<'a>(name: &'static str, system: &str, value: &'a str) -> Result<&'a str, Problem> {
    let Some((said, value)) = value.split_once('|') else { return Ok(value) };
    let text = match system {
        "" => format!("Query parameter {name} must not have a system specified."),
        _ if said == system => return Ok(value),
        _ => format!("Query parameter {name} must have system {system} if specified."),
    };
    Err(problem("value", &[name], text))
}

impl TaskQuery {
    fn take(&mut self, name: &str, value: &str, problems: &mut Vec<Problem>) {
        match name {
            "focus:identifier" => self.prescription = Some(ids::from_query(value).to_uppercase()),
            "identifier" => self.identifier = Some(ids::from_query(value).to_uppercase()),
            "patient:identifier" => self.patient = Some(NhsNumber::strict(value).map_or(0, NhsNumber::value)),
            "business-status" => self.status = Some(value.to_owned()),
            _ => match bound(value) {
                Some(bound) => self.authored.push(bound),
                None => {
                    let text =
                        "Query parameter authored-on must be a date YYYY-MM-DD, with eq, le or ge before it if wanted.";
                    problems.push(problem("invalid", &["authored-on"], text.into()));
                }
            },
        }
    }
    /// The one prescription that is asked for, by whichever parameter.
    pub fn one(&self) -> Option<&str> {
        self.prescription.as_deref().or(self.identifier.as_deref())
    }
    /// Whether an issue is asked for: its prescription, patient, status and day.
    pub fn fits(&self, id: &str, nhs: u64, status: &str, day: u32) -> bool {
        let named = |wanted: &Option<String>| wanted.as_ref().is_none_or(|w| w == id);
        named(&self.prescription)
            && named(&self.identifier)
            && self.patient.is_none_or(|p| p == nhs)
            && self.status.as_ref().is_none_or(|s| s == status)
            && self.authored.iter().all(|bound| match bound {
                Bound::On(on) => day == *on,
                Bound::Until(last) => day <= *last,
                Bound::From(first) => day >= *first,
            })
    }
}

fn bound(value: &str) -> Option<Bound> {
    let date = |text: &str| (text.len() == 10).then(|| day::parse(text)).flatten();
    match value.get(..2) {
        Some("eq") => date(value.get(2..)?).map(Bound::On),
        Some("le") => date(value.get(2..)?).map(Bound::Until),
        Some("ge") => date(value.get(2..)?).map(Bound::From),
        _ => date(value).map(Bound::On),
    }
}

/// The answer to a query with errors; its status is 400.
pub fn refusal(problems: &[Problem], at: EpochMillis) -> Value {
    let issues = problems.iter().map(|p| {
        let mut issue = json!({"severity": "error", "code": p.code, "diagnostics": p.text});
        // Parameters are no elements: R4 names them so.
        issue["location"] = p.of.iter().map(|name| json!(format!("http.{name}"))).collect();
        if !p.right.is_empty() {
            issue["details"] = json!({"text": p.right});
        }
        issue
    });
    json!({
        "resourceType": "OperationOutcome",
        "meta": {"lastUpdated": zoned(at)},
        "issue": issues.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(text: &str) -> Result<TaskQuery, Vec<String>> {
        let pairs: Vec<_> =
            text.split('&').filter_map(|p| p.split_once('=')).map(|(n, v)| (n.into(), v.into())).collect();
        read(&pairs).map_err(|all| all.into_iter().map(|p| format!("{} {}", p.code, p.text)).collect())
    }

    #[test]
    fn every_error_has_its_text() {
        let cases = [
            (
                "business-status=0001",
                "invalid At least one of the following query parameters must be provided: \
                 focus:identifier, identifier, patient:identifier.",
            ),
            ("identifier=a&identifier=b", "invalid Invalid combination of query parameters."),
            (
                "identifier=https://x|24F5DA-A83008-7EFE6Z",
                "value Query parameter identifier must have system \
                 https://fhir.nhs.uk/Id/prescription-order-number if specified.",
            ),
            (
                "patient:identifier=|9449304130",
                "value Query parameter patient:identifier must have system https://fhir.nhs.uk/Id/nhs-number if specified.",
            ),
            (
                "identifier=a&authored-on=x|2022-01-01",
                "value Query parameter authored-on must not have a system specified.",
            ),
            (
                "identifier=a&authored-on=gt2022-01-01",
                "invalid Query parameter authored-on must be a date YYYY-MM-DD, with eq, le or ge before it if wanted.",
            ),
        ];
        for (query, text) in cases {
            assert_eq!(ask(query), Err(vec![text.to_owned()]), "{query}");
        }
        assert_eq!(ask("identifier=a&identifier=b&authored-on=é").unwrap_err().len(), 2);
        let twice = ["a", "b"].map(|v| ("identifier".to_owned(), v.to_owned()));
        let told = refusal(&read(&twice).unwrap_err(), 0);
        assert_eq!(told["issue"][0]["location"], json!(["http.identifier"]));
        assert_eq!(told["issue"][0]["details"]["text"], "Query parameter identifier may come 1 time(s).");
    }

    #[test]
    fn what_fits_is_shown() {
        let all = "focus:identifier=https://fhir.nhs.uk/Id/prescription-order-number|24f5da-a83008-7efe6z\
                   &authored-on=ge2022-01-01&authored-on=le2022-12-31&x=1\
                   &business-status=https://fhir.nhs.uk/CodeSystem/EPS-task-business-status|0001";
        let query = ask(all).unwrap();
        let id = "24F5DA-A83008-7EFE6Z";
        assert_eq!(query.one(), Some(id));
        assert!(query.fits(id, 9, "0001", 20220101) && query.fits(id, 9, "0001", 20221231));
        assert!(!query.fits(id, 9, "0001", 20230101) && !query.fits(id, 9, "0002", 20220101));
        assert!(!query.fits("24F5DA-A83008-7EFE60", 9, "0001", 20220101));
        let patient = ask("patient:identifier=9449304130&authored-on=2022-01-01").unwrap();
        assert!(patient.fits("x", 9449304130, "0001", 20220101) && !patient.fits("x", 9449304131, "0001", 20220101));
        assert!(!ask("patient:identifier=12").unwrap().fits("x", 9449304130, "0001", 20220101));
    }
}
