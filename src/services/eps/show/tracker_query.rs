//! What a search of `RequestGroup` or one of them asks for (spec/eps.md §14.2), and the errors of that tracker.

use super::{HTTP_ERRORS, coding};
use crate::{
    model::{EpochMillis, NhsNumber, day, time},
    services::eps::{
        ids::{self, BadShortId},
        read::rules::{NHS_NUMBER, short_id},
    },
};
use serde_json::{Value, json};

/// Headers without which the tracker does not answer.
pub const HEADERS: [&str; 5] =
    ["x-request-id", "nhsd-organization-uuid", "nhsd-session-urid", "nhsd-identity-uuid", "nhsd-session-jobrole"];
/// How far back a search looks that does not say.
const DEFAULT_DAYS: i32 = 2 * 365;
/// Most issues that a prescription has.
const MOST_ISSUES: u32 = 99;
/// The parameters of which a search has one.
const WHOSE: [&str; 2] = ["prescriptionId", "nhsNumber"];
const ONE_OF_THEM: &str = "One of the two is wanted.";

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    /// Short id, upper case.
    Prescription(String),
    Patient(u64),
}

/// A search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Search {
    pub whose: Whose,
    /// Days of the order, both included.
    pub low: u32,
    pub high: u32,
}

/// One prescription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detail {
    pub prescription: String,
    /// None: the current issue.
    pub issue: Option<u32>,
}

/// What is wrong with a request: the published text, which header or parameters it is of, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub text: String,
    pub of: Vec<&'static str>,
    pub right: &'static str,
}

fn problem(of: &[&'static str], text: impl Into<String>, right: &'static str) -> Problem {
    Problem { text: text.into(), of: of.to_vec(), right }
}

/// A text for each header that is missing; `has` says whether one is there and not empty.
pub fn missing_headers(has: impl Fn(&str) -> bool) -> Vec<Problem> {
    let missing = HEADERS.iter().filter(|name| !has(name));
    let told = |name: &&'static str| {
        problem(&[*name], format!("Missing required header, {name}."), "The header must be there and not be empty.")
    };
    missing.map(told).collect()
}

fn value<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    pairs.iter().find(|(n, v)| n == name && !v.is_empty()).map(|(_, v)| v.as_str())
}

/// Reads a search's pairs, decoded; `today` bounds the days where the search does not.
pub fn search(pairs: &[(String, String)], today: u32) -> Result<Search, Vec<Problem>> {
    let mut problems = vec![];
    let whose = match (value(pairs, "prescriptionId"), value(pairs, "nhsNumber")) {
        (None, None) => Err(problem(
            &WHOSE,
            "Missing required query string parameter; either prescriptionId or nhsNumber must be included.",
            ONE_OF_THEM,
        )),
        (Some(_), Some(_)) => Err(problem(
            &WHOSE,
            "Invalid query string parameters; only prescriptionId or nhsNumber must be provided, not both.",
            ONE_OF_THEM,
        )),
        (Some(id), None) => prescription(&ids::from_query(id)).map(Whose::Prescription),
        (None, Some(number)) => patient(number).map(Whose::Patient),
    };
    let mut limit = |name: &'static str, without: u32| match value(pairs, name) {
        None => without,
        Some(text) if text.len() == 8 && day::parse(text).is_some() => day::parse(text).unwrap_or(without),
        Some(_) => {
            let text = format!("{name} does not match required format.");
            problems.push(problem(&[name], text, "A day is wanted: YYYYMMDD."));
            without
        }
    };
    let low = limit("lowDate", day::before(today, DEFAULT_DAYS));
    let high = limit("highDate", today);
    match whose {
        Ok(whose) if problems.is_empty() => Ok(Search { whose, low, high }),
        Ok(_) => Err(problems),
        Err(first) => {
            problems.insert(0, first);
            Err(problems)
        }
    }
}

/// Reads the id of the path and the pairs.
pub fn detail(id: &str, pairs: &[(String, String)]) -> Result<Detail, Vec<Problem>> {
    let issue = value(pairs, "issueNumber").map(|text| {
        let number = text.parse::<u32>().ok().filter(|n| (1..=MOST_ISSUES).contains(n));
        let text = "issueNumber does not match required format.";
        number.ok_or_else(|| problem(&["issueNumber"], text, "A whole number from 1 to 99 is wanted."))
    });
    match (prescription(id), issue.transpose()) {
        (Ok(prescription), Ok(issue)) => Ok(Detail { prescription, issue }),
        (id, issue) => Err(id.err().into_iter().chain(issue.err()).collect()),
    }
}

fn prescription(id: &str) -> Result<String, Problem> {
    ids::short(id).map_err(|bad| {
        let text = match bad {
            BadShortId::Format => "prescriptionId does not match required format.",
            BadShortId::Check => "prescriptionId checksum is invalid.",
        };
        problem(&["prescriptionId"], text, short_id(bad).right)
    })
}

fn patient(number: &str) -> Result<u64, Problem> {
    let wrong = |text| problem(&["nhsNumber"], text, NHS_NUMBER.right);
    if number.len() != 10 || !number.bytes().all(|b| b.is_ascii_digit()) {
        return Err(wrong("nhsNumber does not match required format."));
    }
    NhsNumber::strict(number).map(NhsNumber::value).ok_or_else(|| wrong("nhsNumber checksum is invalid."))
}

/// An OperationOutcome of the tracker, one issue for each problem.
pub fn refusal(status: u16, problems: &[Problem], at: EpochMillis) -> Value {
    let (code, word, display) = match status {
        400 => ("value", "BAD_REQUEST", "400: The Server was unable to process the request."),
        401 => ("forbidden", "UNAUTHORIZED", "401: The Server deemed you unauthorized to make this request."),
        403 => ("forbidden", "FORBIDDEN", "403: Failed to Authenticate with the Server."),
        404 => ("not-found", "NOT_FOUND", "404: The Server was unable to find the specified resource."),
        408 => ("timeout", "TIMEOUT", "408: The request timed out."),
        _ => ("exception", "SERVER_ERROR", "500: The Server has encountered an error processing the request."),
    };
    let issues = problems.iter().map(|p| {
        let mut issue = json!({
            "code": code,
            "severity": "error",
            "diagnostics": p.text,
            "details": {"coding": [coding(HTTP_ERRORS, word, display)]},
        });
        if !p.of.is_empty() {
            // Headers and parameters are no elements: R4 names them so.
            issue["location"] = p.of.iter().map(|name| json!(format!("http.{name}"))).collect();
            issue["details"]["text"] = json!(p.right);
        }
        issue
    });
    json!({
        "resourceType": "OperationOutcome",
        "meta": {"lastUpdated": time::iso(at)},
        "issue": issues.collect::<Vec<_>>(),
    })
}

/// Nothing is known of a prescription; its status is 404.
pub fn not_found(at: EpochMillis) -> Value {
    refusal(404, &[problem(&[], "not found", "")], at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        text.split('&').filter_map(|p| p.split_once('=')).map(|(n, v)| (n.into(), v.into())).collect()
    }

    #[test]
    fn headers_are_wanted() {
        assert!(missing_headers(|_| true).is_empty());
        let missing = missing_headers(|name| name == "x-request-id" || name == "nhsd-session-urid");
        assert_eq!(missing.len(), 3);
        assert_eq!(missing[0].text, "Missing required header, nhsd-organization-uuid.");
        assert_eq!(refusal(400, &missing, 0)["issue"][0]["location"], json!(["http.nhsd-organization-uuid"]));
    }

    #[test]
    fn every_error_has_its_text() {
        let cases = [
            ("", "Missing required query string parameter; either prescriptionId or nhsNumber must be included."),
            (
                "prescriptionId=24F5DA-A83008-7EFE6Z&nhsNumber=9449304130",
                "Invalid query string parameters; only prescriptionId or nhsNumber must be provided, not both.",
            ),
            ("prescriptionId=1", "prescriptionId does not match required format."),
            ("prescriptionId=24F5DA-A83008-7EFE60", "prescriptionId checksum is invalid."),
            ("nhsNumber=944930413", "nhsNumber does not match required format."),
            ("nhsNumber=9449304131", "nhsNumber checksum is invalid."),
            ("nhsNumber=9449304130&lowDate=2025-01-01", "lowDate does not match required format."),
            ("nhsNumber=9449304130&highDate=20250230", "highDate does not match required format."),
        ];
        for (query, text) in cases {
            let problems = search(&pairs(query), 20251001).unwrap_err();
            assert_eq!(problems.iter().map(|p| p.text.as_str()).collect::<Vec<_>>(), [text], "{query}");
            let issue = refusal(400, &problems, 0)["issue"][0].clone();
            assert!(issue["location"][0].as_str().unwrap().starts_with("http."), "{issue}");
            assert!(issue["details"]["text"].as_str().unwrap().ends_with('.'), "{issue}");
        }
        assert_eq!(detail("1", &pairs("issueNumber=0")).unwrap_err().len(), 2);
    }

    #[test]
    fn what_is_asked_for() {
        let two_years = search(&pairs("prescriptionId=24f5da-a83008-7efe6z"), 20251001).unwrap();
        let whose = Whose::Prescription("24F5DA-A83008-7EFE6Z".into());
        assert_eq!(two_years, Search { whose, low: 20231002, high: 20251001 });
        let named = search(&pairs("nhsNumber=9449304130&lowDate=20200101&highDate=20200229"), 20251001).unwrap();
        assert_eq!(named, Search { whose: Whose::Patient(9449304130), low: 20200101, high: 20200229 });
        let one = detail("24f5da-a83008-7efe6z", &pairs("issueNumber=7")).unwrap();
        assert_eq!(one, Detail { prescription: "24F5DA-A83008-7EFE6Z".into(), issue: Some(7) });
    }

    #[test]
    fn not_found_is_as_published() {
        let text = include_str!("../../../../tests/data/eps/13-tracker/requestgroup-404_NotFound.json");
        let published: Value = serde_json::from_str(text).unwrap();
        let at = time::parse_iso(published["meta"]["lastUpdated"].as_str().unwrap()).unwrap();
        assert_eq!(not_found(at), published);
    }
}
