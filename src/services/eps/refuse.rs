//! Refusals that are not of the message itself: of the gate, the edge and the site, as an OperationOutcome (spec/eps.md §3.2, §3.5).

use super::{Response, show::FHIR_JSON};
use bytes::Bytes;
use serde_json::{Value, json};

/// Code system of what HTTP itself says.
const HTTP: &str = "https://fhir.nhs.uk/CodeSystem/http-error-codes";
/// Seconds after which a client comes again where the site cannot say it better.
const COME_AGAIN: &[u8] = b"5";

/// A response with a FHIR body.
pub fn respond(status: u16, body: &Value) -> Response {
    written(status, body.to_string())
}

/// The same of a text.
pub fn written(status: u16, body: String) -> Response {
    let headers = vec![("content-type", Bytes::from_static(FHIR_JSON.as_bytes()))];
    Response { status, headers, body: body.into() }
}

fn outcome(severity: &str, code: &str, coding: Option<(&str, &str)>, words: &str) -> Value {
    let mut issue = json!({"severity": severity, "code": code});
    if let Some((code, display)) = coding {
        issue["details"] = json!({"coding": [{"system": HTTP, "code": code, "display": display}]});
    }
    if !words.is_empty() {
        issue["diagnostics"] = json!(words);
    }
    json!({"resourceType": "OperationOutcome", "issue": [issue]})
}

/// Scope, activity or access mode: fatal/forbidden (§3.2).
pub fn forbidden(words: &str) -> Response {
    respond(403, &outcome("fatal", "forbidden", None, words))
}

/// A feature that is switched off (§3.2).
pub fn disabled(words: &str) -> Response {
    respond(400, &outcome("fatal", "not-supported", None, words))
}

pub fn unauthenticated(words: &str) -> Response {
    respond(401, &outcome("error", "forbidden", Some(("ACCESS_DENIED", "401: Access Denied - Unauthorised")), words))
}

/// A request whose head or body is not as it must be.
pub fn incorrect(status: u16, words: &str) -> Response {
    respond(status, &outcome("error", if status == 404 { "not-found" } else { "invalid" }, None, words))
}

/// An operation that the standard has and this service has not.
pub fn not_offered(words: &str) -> Response {
    respond(404, &outcome("error", "not-supported", None, words))
}

pub fn too_many(words: &str) -> Response {
    respond(429, &outcome("error", "throttled", Some(("TOO_MANY_REQUESTS", "429: Too many requests")), words))
}

/// Nothing was done, or it is not known; a repeat with the same message is safe (§3.7).
pub fn unavailable(words: &str) -> Response {
    let coding = ("SERVICE_UNAVAILABLE", "503: The service is unavailable");
    let mut response = respond(503, &outcome("error", "transient", Some(coding), words));
    response.headers.push(("retry-after", Bytes::from_static(COME_AGAIN)));
    response
}

pub fn fault() -> Response {
    let display = "500: The Server has encountered an error processing the request.";
    respond(500, &outcome("fatal", "exception", Some(("SERVER_ERROR", display)), ""))
}
