//! Every error of the specification, once (spec/pds.md §14): HTTP status, code, display, issue code, severity; and its shape.

use serde_json::{Value, json};

/// A row of the tables of §14.2 and §14.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    pub status: u16,
    pub code: &'static str,
    pub display: &'static str,
    pub issue: &'static str,
    pub severity: &'static str,
}

const fn row(status: u16, code: &'static str, display: &'static str, issue: &'static str) -> Row {
    Row { status, code, display, issue, severity: "error" }
}
const fn informs(status: u16, code: &'static str, display: &'static str, issue: &'static str) -> Row {
    Row { status, code, display, issue, severity: "information" }
}

pub const INVALID_RESOURCE_ID: Row = row(400, "INVALID_RESOURCE_ID", "Resource Id is invalid", "value");
pub const UNSUPPORTED_SERVICE: Row = row(400, "UNSUPPORTED_SERVICE", "Unsupported Service", "processing");
pub const MISSING_VALUE: Row = row(400, "MISSING_VALUE", "Required value is missing", "required");
pub const INVALID_VALUE: Row = row(400, "INVALID_VALUE", "Provided value is invalid", "value");
pub const ADDITIONAL_PROPERTIES: Row =
    row(400, "ADDITIONAL_PROPERTIES", "Additional properties should not be included", "invariant");
pub const INVALID_SEARCH_DATA: Row = row(400, "INVALID_SEARCH_DATA", "Search data is invalid", "value");
pub const INVALID_UPDATE: Row = row(400, "INVALID_UPDATE", "Update is invalid", "structure");
pub const INVALID_CREATE: Row = row(400, "INVALID_CREATE", "Patient create data is invalid", "value");
pub const TOO_FEW_VALUES: Row = row(400, "TOO_FEW_VALUES_SUBMITTED", "Too few values submitted", "value");
pub const TOO_MANY_VALUES: Row = row(400, "TOO_MANY_VALUES_SUBMITTED", "Too many values submitted", "value");
pub const UNSUPPORTED_CHARACTERS: Row =
    row(400, "UNSUPPORTED_CHARACTERS_IN_FIELD", "Unsupported characters in field", "value");
pub const UNSUPPORTED_VALUE: Row = row(400, "UNSUPPORTED_VALUE", "Unsupported value", "value");
pub const VALIDATION_ERROR: Row = row(400, "VALIDATION_ERROR", "Validation error", "value");
pub const BIRTH_DEATH_INCONSISTENT: Row =
    row(400, "INSERT_BIRTH_DEATH_STATUS_INCONSISTENT", "INSERT_BIRTH_DEATH_STATUS_INCONSISTENT", "processing");
pub const FORBIDDEN_UPDATE: Row = informs(403, "FORBIDDEN_UPDATE", "Update is forbidden", "forbidden");
pub const RESOURCE_NOT_FOUND: Row = informs(404, "RESOURCE_NOT_FOUND", "Resource not found", "not-found");
pub const INVALIDATED_RESOURCE: Row = row(
    404,
    "INVALIDATED_RESOURCE",
    "Resource that has been marked as invalid was requested - invalid resources cannot be retrieved",
    "processing",
);
pub const UNABLE_TO_CALL_SERVICE: Row = row(408, "UNABLE_TO_CALL_SERVICE", "Unable to call service", "timeout");
pub const VERSION_MISMATCH: Row =
    row(409, "RESOURCE_VERSION_MISMATCH", "Resource version supplied does not match actual version", "conflict");
pub const PRECONDITION_FAILED: Row =
    row(412, "PRECONDITION_FAILED", "Required condition was not fulfilled", "structure");
pub const TOO_MANY_MATCHES: Row = informs(200, "TOO_MANY_MATCHES", "Too Many Matches", "multiple-matches");
pub const SINGLE_MATCH: Row = row(200, "SINGLE_MATCH", "Single match found", "value");
pub const MULTIPLE_MATCHES: Row = row(200, "MULTIPLE_MATCHES", "Multiple matches found", "value");
pub const UNAUTHORISED: Row = row(401, "ACCESS_DENIED", "Access Denied - Unauthorised", "forbidden");
pub const PATIENT_DENIED: Row = row(403, "ACCESS_DENIED", "Patient cannot perform this action", "forbidden");
pub const ACCESS_DENIED: Row = row(403, "ACCESS_DENIED", "", "forbidden");
pub const INVALID_METHOD: Row = row(403, "INVALID_METHOD", "", "forbidden");
pub const ONE_RESULT_ONLY: Row = row(403, "INVALID_VALUE", "", "token");
pub const UNSUPPORTED_REQUEST: Row =
    row(400, "UNSUPPORTED_REQUEST", "The request is not one that is supported.", "value");
pub const TOO_MANY_REQUESTS: Row = row(429, "TOO_MANY_REQUESTS", "Too many requests", "value");
pub const UNKNOWN_ERROR: Row = row(500, "UNKNOWN_ERROR", "Unknown Error", "unknown");
pub const SERVICE_UNAVAILABLE: Row = row(503, "SERVICE_UNAVAILABLE", "Service unavailable", "timeout");

/// All rows, in the order of their numbers in replies: appended, never moved.
pub const ALL: &[&Row] = &[
    &INVALID_RESOURCE_ID,
    &UNSUPPORTED_SERVICE,
    &MISSING_VALUE,
    &INVALID_VALUE,
    &ADDITIONAL_PROPERTIES,
    &INVALID_SEARCH_DATA,
    &INVALID_UPDATE,
    &INVALID_CREATE,
    &TOO_FEW_VALUES,
    &TOO_MANY_VALUES,
    &UNSUPPORTED_CHARACTERS,
    &UNSUPPORTED_VALUE,
    &VALIDATION_ERROR,
    &BIRTH_DEATH_INCONSISTENT,
    &FORBIDDEN_UPDATE,
    &RESOURCE_NOT_FOUND,
    &INVALIDATED_RESOURCE,
    &UNABLE_TO_CALL_SERVICE,
    &VERSION_MISMATCH,
    &PRECONDITION_FAILED,
    &TOO_MANY_MATCHES,
    &SINGLE_MATCH,
    &MULTIPLE_MATCHES,
    &UNAUTHORISED,
    &PATIENT_DENIED,
    &ACCESS_DENIED,
    &INVALID_METHOD,
    &ONE_RESULT_ONLY,
    &UNSUPPORTED_REQUEST,
    &TOO_MANY_REQUESTS,
    &UNKNOWN_ERROR,
    &SERVICE_UNAVAILABLE,
];

/// Where to read about patient access (§14.3).
const GUIDANCE: &str = "https://digital.nhs.uk/developer/api-catalogue/personal-demographics-service-fhir";
const NO_METHOD: &str = "Your app has insufficient permissions to use this method. Please contact support.";
const NO_OPERATION: &str = "Your app has insufficient permissions to use this operation. Please contact support.";

/// One refusal: a row, and what it says of this request. `diagnostics` may name the caller's own values: it goes to the caller,
/// and never to a log (P10).
#[derive(Clone, PartialEq, Eq)]
pub struct Problem {
    pub row: &'static Row,
    /// In the place of the row's, where the table has a text with the mode in it.
    pub display: String,
    /// Empty where the table says none.
    pub diagnostics: String,
}

impl std::fmt::Debug for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Problem({})", self.row.code)
    }
}

impl Problem {
    pub fn plain(row: &'static Row) -> Problem {
        Problem { row, display: String::new(), diagnostics: String::new() }
    }
    pub fn says(row: &'static Row, diagnostics: impl Into<String>) -> Problem {
        Problem { diagnostics: diagnostics.into(), ..Problem::plain(row) }
    }
    /// `Missing value - '<path>'`.
    pub fn missing(path: &str) -> Problem {
        Problem::says(&MISSING_VALUE, format!("Missing value - '{path}'"))
    }
    /// `Invalid value - '<v>' in field '<path>'`.
    pub fn invalid(value: &str, path: &str) -> Problem {
        Problem::says(&INVALID_VALUE, format!("Invalid value - '{value}' in field '{path}'"))
    }
    /// `Invalid value - '<v>' in header '<name>'`.
    pub fn header(value: &str, name: &str) -> Problem {
        Problem::says(&INVALID_VALUE, format!("Invalid value - '{value}' in header '{name}'"))
    }
    /// `Invalid update with error - …`.
    pub fn update(what: impl std::fmt::Display) -> Problem {
        Problem::says(&INVALID_UPDATE, format!("Invalid update with error - {what}"))
    }
    /// `Forbidden update with error - …`.
    pub fn forbidden(what: impl std::fmt::Display) -> Problem {
        Problem::says(&FORBIDDEN_UPDATE, format!("Forbidden update with error - {what}"))
    }
    /// `Invalid patient create data provided - '…'`.
    pub fn create(what: &str) -> Problem {
        Problem::says(&INVALID_CREATE, format!("Invalid patient create data provided - '{what}'"))
    }
    /// `Additional properties are not allowed ('a', 'b' were unexpected)`.
    pub fn additional(names: &[&str]) -> Problem {
        let list: Vec<String> = names.iter().map(|name| format!("'{name}'")).collect();
        let verb = if list.len() == 1 { "was" } else { "were" };
        let text = format!(
            "Invalid request with error - Additional properties are not allowed ({} {verb} unexpected)",
            list.join(", ")
        );
        Problem::says(&ADDITIONAL_PROPERTIES, text)
    }
    pub fn patient_denied() -> Problem {
        let text = format!(
            "Your access token has insufficient permissions. See documentation regarding Patient access restrictions {GUIDANCE}"
        );
        Problem::says(&PATIENT_DENIED, text)
    }
    /// A member of staff whose role has none of the activities that open the function (spec/identity.md §6.5, §7 step 4). The
    /// code is the one of §14.3 for whoever may not; the words are ours [C].
    pub fn no_activity(needed: &[&str]) -> Problem {
        let text = format!(
            "Your role has none of the activities that open this: {}. Act in another role, or ask your registration authority.",
            needed.join(", ")
        );
        Problem { display: "Role cannot perform this action".into(), ..Problem::says(&ACCESS_DENIED, text) }
    }
    /// PATCH and POST Patient in a mode that may not.
    pub fn no_method(verb: &str, mode: &str) -> Problem {
        let display = format!("Cannot {verb} resource with {mode} access token");
        Problem { display, ..Problem::says(&INVALID_METHOD, NO_METHOD) }
    }
    /// Coverage in a mode that may not.
    pub fn no_operation(method: &str, mode: &str) -> Problem {
        let display = format!("Cannot {method} resource with {mode} access token");
        Problem { display, ..Problem::says(&ACCESS_DENIED, NO_OPERATION) }
    }
    pub fn one_result_only(mode: &str) -> Problem {
        let text = "Your app has insufficient permissions to perform this search. Please contact support.";
        let display = format!("Cannot retrieve more than one result with {mode} access token");
        Problem { display, ..Problem::says(&ONE_RESULT_ONLY, text) }
    }
    pub fn session_role(value: &str) -> Problem {
        let text = format!(
            "Invalid value - '{value}' in header 'NHSD-Session-URID'. Refer to the guidance for this header in our API \
             Specification {GUIDANCE}"
        );
        Problem::says(&INVALID_VALUE, text)
    }
    pub fn unavailable() -> Problem {
        let text = "The downstream domain processing has not completed within the configured timeout period. Using the same \
                    'X-Request-ID' header, retry your request after the time specified by the 'Retry-After' response header.";
        Problem::says(&SERVICE_UNAVAILABLE, text)
    }

    /// The OperationOutcome of §14.1.
    pub fn outcome(&self) -> Value {
        let display = if self.display.is_empty() { self.row.display } else { &self.display };
        let mut issue = json!({
            "severity": self.row.severity,
            "code": self.row.issue,
            "details": {"coding": [{
                "system": "https://fhir.nhs.uk/R4/CodeSystem/Spine-ErrorOrWarningCode",
                "version": "1",
                "code": self.row.code,
                "display": display,
            }]},
        });
        if !self.diagnostics.is_empty() {
            issue["diagnostics"] = json!(self.diagnostics);
        }
        json!({"resourceType": "OperationOutcome", "issue": [issue]})
    }
}

/// A value as Python would print it, as the published texts do (§14.2): single quotes, `True`, `None`.
pub fn python(value: &Value) -> String {
    match value {
        Value::Null => "None".into(),
        Value::Bool(true) => "True".into(),
        Value::Bool(false) => "False".into(),
        Value::Number(n) => n.to_string(),
        Value::String(text) => format!("'{text}'"),
        Value::Array(items) => format!("[{}]", items.iter().map(python).collect::<Vec<_>>().join(", ")),
        Value::Object(members) => {
            let members: Vec<String> = members.iter().map(|(k, v)| format!("'{k}': {}", python(v))).collect();
            format!("{{{}}}", members.join(", "))
        }
    }
}

/// A value in a diagnostic: text as it is, anything else in Python's style, of bounded length.
pub fn shown(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        other => python(other),
    };
    if text.len() > MAX_SHOWN { "<json too long to display>".into() } else { text }
}

/// Longest value that a diagnostic repeats.
const MAX_SHOWN: usize = 1_000;
