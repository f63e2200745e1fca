//! Method and path to a route and its interaction (spec/pds.md §1).

use super::fhir::BASE;
use crate::model::NhsNumber;

/// What is asked for.
#[derive(Clone, PartialEq, Eq)]
pub enum Route {
    /// The number as it stands in the path.
    Retrieve(String),
    /// The query as it stands in the path.
    Search(String),
    Update(String),
    Create,
    Birth(String),
    Related(String),
    Coverage(String),
    SetCoverage,
    Ping,
    Status,
    Metadata,
    /// A Patient's resource with a method that it has not.
    NotSupported,
    /// The path below the base.
    Nothing(String),
}

impl Route {
    /// Stable dotted name, as in audit records and metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Route::Retrieve(_) => "pds.retrieve",
            Route::Search(_) => "pds.search",
            Route::Update(_) => "pds.update",
            Route::Create => "pds.create",
            Route::Birth(_) => "pds.birth",
            Route::Related(_) => "pds.related",
            Route::Coverage(_) => "pds.coverage",
            Route::SetCoverage => "pds.coverage_set",
            Route::Ping => "pds.ping",
            Route::Status => "pds.status",
            Route::Metadata => "pds.metadata",
            Route::NotSupported => "pds.not_supported",
            Route::Nothing(_) => "pds.not_found",
        }
    }
    /// The person that the path names.
    pub fn subject(&self) -> Option<NhsNumber> {
        match self {
            Route::Retrieve(id) | Route::Update(id) | Route::Related(id) => NhsNumber::strict(id),
            _ => None,
        }
    }
    /// Whether a call's own id is looked at before who the caller is (§7, §8.2); PATCH has another order (§9.2).
    pub fn asks_first_for_its_id(&self) -> bool {
        !matches!(self, Route::Update(_) | Route::Ping | Route::Status | Route::Metadata)
    }
    /// Whether a body is read.
    pub fn has_body(&self) -> bool {
        matches!(self, Route::Update(_) | Route::Create | Route::Birth(_) | Route::SetCoverage)
    }
}

/// Every name that [`Route::name`] gives; a test compares.
pub const INTERACTIONS: &[&str] = &[
    "pds.retrieve",
    "pds.search",
    "pds.update",
    "pds.create",
    "pds.birth",
    "pds.related",
    "pds.coverage",
    "pds.coverage_set",
    "pds.ping",
    "pds.status",
    "pds.metadata",
    "pds.not_supported",
    "pds.not_found",
];

/// Whether a path is this service's.
pub fn is_ours(path: &str) -> bool {
    path.strip_prefix("/personal-demographics").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

pub fn route(method: &str, path: &str, query: &str) -> Route {
    let below = path.strip_prefix(BASE).filter(|rest| rest.is_empty() || rest.starts_with('/'));
    let Some(below) = below else {
        return match path.strip_prefix("/personal-demographics") {
            Some("/_ping") if method == "GET" => Route::Ping,
            Some("/_status") if method == "GET" => Route::Status,
            rest => Route::Nothing(rest.unwrap_or(path).to_owned()),
        };
    };
    let parts: Vec<&str> = below.split('/').skip(1).collect();
    match (method, parts.as_slice()) {
        ("GET", ["_ping"]) => Route::Ping,
        ("GET", ["_status"]) => Route::Status,
        ("GET", ["metadata"]) => Route::Metadata,
        ("GET", ["Patient"]) => Route::Search(query.to_owned()),
        ("POST", ["Patient"]) => Route::Create,
        ("POST", ["Patient", "$process-birth-details" | "%24process-birth-details"]) => Route::Birth(query.to_owned()),
        ("GET", ["Patient", id]) if !id.is_empty() => Route::Retrieve((*id).to_owned()),
        ("PATCH", ["Patient"] | ["Patient", ""]) => Route::Update(String::new()),
        ("PATCH", ["Patient", id]) => Route::Update((*id).to_owned()),
        ("GET", ["Patient", id, "RelatedPerson"]) => Route::Related((*id).to_owned()),
        ("GET", ["Coverage"]) => Route::Coverage(query.to_owned()),
        ("POST", ["Coverage"]) => Route::SetCoverage,
        ("PUT", ["Patient", ..]) => Route::NotSupported,
        _ => Route::Nothing(below.to_owned()),
    }
}

/// A query's pairs, percent-decoded; `+` is a space. Text that is not UTF-8 is replaced, so that it matches nothing.
pub fn pairs(query: &str) -> Vec<(String, String)> {
    let part = |text: &str| {
        let bytes = text.as_bytes();
        let (mut out, mut at) = (vec![], 0);
        while at < bytes.len() {
            let hex = |at: usize| bytes.get(at).and_then(|b| char::from(*b).to_digit(16));
            match (bytes[at], hex(at + 1), hex(at + 2)) {
                (b'%', Some(high), Some(low)) => {
                    out.push((high << 4 | low) as u8);
                    at += 2;
                }
                (b'+', ..) => out.push(b' '),
                (byte, ..) => out.push(byte),
            }
            at += 1;
        }
        String::from_utf8_lossy(&out).into_owned()
    };
    let pairs = query.split('&').filter(|pair| !pair.is_empty() && *pair != "=");
    pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (part(name), part(value)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_in_the_list() {
        let source = include_str!("routes.rs");
        let (_, names) = source.split_once("pub fn name(&self)").unwrap();
        let (names, _) = names.split_once("\n    }\n").unwrap();
        let names: Vec<&str> = names.split('"').skip(1).step_by(2).collect();
        assert_eq!(names, INTERACTIONS);
    }

    /// Found by the fuzz target `people`: a sign passed for a digit, so that `%+2` was a control character.
    #[test]
    fn a_sign_behind_a_percent_is_no_digit() {
        let found = pairs("family=S%+2&given=%-1%2");
        let found: Vec<(&str, &str)> = found.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        assert_eq!(found, [("family", "S% 2"), ("given", "%-1%2")]);
    }

    #[test]
    fn queries_are_decoded() {
        let found = pairs("family=Sm%2A&given=John+Paul&given=A%20B&=&x&%zz=1");
        let found: Vec<(&str, &str)> = found.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        assert_eq!(found, [("family", "Sm*"), ("given", "John Paul"), ("given", "A B"), ("x", ""), ("%zz", "1")]);
    }
}
