//! What a search of `RequestGroup` or one of them asks for (spec/eps.md §14.2), and the errors of that tracker.

use super::{HTTP_ERRORS, coding};
use crate::{
    model::{EpochMillis, NhsNumber, day, time},
    services::eps::ids::{self, BadShortId},
};
use serde_json::{Value, json};

/// Headers without which the tracker does not answer.
pub const HEADERS: [&str; 5] =
    ["x-request-id", "nhsd-organization-uuid", "nhsd-session-urid", "nhsd-identity-uuid", "nhsd-session-jobrole"];
/// How far back a search looks that does not say.
const DEFAULT_DAYS: i32 = 2 * 365;
/// Most issues that a prescription has.
const MOST_ISSUES: u32 = 99;

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

/// A text for each header that is missing; `has` says whether one is there and not empty.
pub fn missing_headers(has: impl Fn(&str) -> bool) -> Vec<String> {
    HEADERS.iter().filter(|name| !has(name)).map(|name| format!("Missing required header, {name}.")).collect()
}

fn value<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    pairs.iter().find(|(n, v)| n == name && !v.is_empty()).map(|(_, v)| v.as_str())
}

/// Reads a search's pairs, decoded; `today` bounds the days where the search does not.
pub fn search(pairs: &[(String, String)], today: u32) -> Result<Search, Vec<String>> {
    let mut problems = vec![];
    let whose = match (value(pairs, "prescriptionId"), value(pairs, "nhsNumber")) {
        (None, None) => {
            Err("Missing required query string parameter; either prescriptionId or nhsNumber must be included.".into())
        }
        (Some(_), Some(_)) => {
            Err("Invalid query string parameters; only prescriptionId or nhsNumber must be provided, not both.".into())
        }
        (Some(id), None) => prescription(id).map(Whose::Prescription),
        (None, Some(number)) => patient(number).map(Whose::Patient),
    };
    let mut limit = |name: &str, without: u32| match value(pairs, name) {
        None => without,
        Some(text) if text.len() == 8 && day::parse(text).is_some() => day::parse(text).unwrap_or(without),
        Some(_) => {
            problems.push(format!("{name} does not match required format."));
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
pub fn detail(id: &str, pairs: &[(String, String)]) -> Result<Detail, Vec<String>> {
    let issue = value(pairs, "issueNumber").map(|text| {
        let number = text.parse::<u32>().ok().filter(|n| (1..=MOST_ISSUES).contains(n));
        number.ok_or_else(|| "issueNumber does not match required format.".to_owned())
    });
    match (prescription(id), issue.transpose()) {
        (Ok(prescription), Ok(issue)) => Ok(Detail { prescription, issue }),
        (id, issue) => Err(id.err().into_iter().chain(issue.err()).collect()),
    }
}

fn prescription(id: &str) -> Result<String, String> {
    ids::short(id).map_err(|bad| match bad {
        BadShortId::Format => "prescriptionId does not match required format.".to_owned(),
        BadShortId::Check => "prescriptionId checksum is invalid.".to_owned(),
    })
}

fn patient(number: &str) -> Result<u64, String> {
    if number.len() != 10 || !number.bytes().all(|b| b.is_ascii_digit()) {
        return Err("nhsNumber does not match required format.".into());
    }
    NhsNumber::strict(number).map(NhsNumber::value).ok_or_else(|| "nhsNumber checksum is invalid.".into())
}

/// An OperationOutcome of the tracker, one issue for each text.
pub fn refusal(status: u16, texts: &[String], at: EpochMillis) -> Value {
    let (code, word, display) = match status {
        400 => ("value", "BAD_REQUEST", "400: The Server was unable to process the request."),
        401 => ("forbidden", "UNAUTHORIZED", "401: The Server deemed you unauthorized to make this request."),
        403 => ("forbidden", "FORBIDDEN", "403: Failed to Authenticate with the Server."),
        404 => ("not-found", "NOT_FOUND", "404: The Server was unable to find the specified resource."),
        408 => ("timeout", "TIMEOUT", "408: The request timed out."),
        _ => ("exception", "SERVER_ERROR", "500: The Server has encountered an error processing the request."),
    };
    let issues = texts.iter().map(|text| {
        json!({
            "code": code,
            "severity": "error",
            "diagnostics": text,
            "details": {"coding": [coding(HTTP_ERRORS, word, display)]},
        })
    });
    json!({
        "resourceType": "OperationOutcome",
        "meta": {"lastUpdated": time::iso(at)},
        "issue": issues.collect::<Vec<_>>(),
    })
}

/// Nothing is known of a prescription; its status is 404.
pub fn not_found(at: EpochMillis) -> Value {
    refusal(404, &["not found".to_owned()], at)
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
        assert_eq!(missing[0], "Missing required header, nhsd-organization-uuid.");
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
            assert_eq!(search(&pairs(query), 20251001), Err(vec![text.to_owned()]), "{query}");
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
