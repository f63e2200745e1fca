//! The four access modes (spec/pds.md §2), read off the proven caller, and the headers that every call shares (§3).

use super::refusal::Problem;
use crate::access::caller::Caller;
use http::HeaderMap;

/// How much a caller may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Mode {
    /// A system with no user present.
    Application = 1,
    /// One of a few national back-end systems.
    Privileged = 2,
    /// A clinician.
    Worker = 3,
    /// The patient.
    Patient = 4,
}

impl Mode {
    /// The string of the error texts.
    pub fn word(self) -> &'static str {
        match self {
            Mode::Application => "application-restricted",
            Mode::Privileged => "privileged-application-restricted",
            Mode::Worker => "healthcare-worker",
            Mode::Patient => "patient-access",
        }
    }
    pub fn of_number(number: u8) -> Option<Mode> {
        [Mode::Application, Mode::Privileged, Mode::Worker, Mode::Patient].into_iter().find(|m| *m as u8 == number)
    }
    /// No user is present.
    pub fn is_application(self) -> bool {
        matches!(self, Mode::Application | Mode::Privileged)
    }
}

const PRODUCT: &str = ":personal-demographics-service";
const PRIVILEGED: &str = "urn:nhsd:apim:app:level3:privileged-personal-demographics-service";
const APPLICATION: &str = "urn:nhsd:apim:app:level3:personal-demographics-service";
/// Vectors of trust that make patient access (§2).
const TRUSTED: [&str; 3] = ["P9.Cp.Cd", "P9.Cp.Ck", "P9.Cm"];

/// The caller's mode. A system on mutual TLS alone, without a token, stands for an application with no user [C].
pub fn mode(caller: &Caller) -> Result<Mode, Problem> {
    let has = |wanted: &dyn Fn(&str) -> bool| caller.scopes.iter().any(|scope| wanted(scope));
    let user = |provider: &str, scope: &str| scope.strip_prefix(provider).is_some_and(|rest| rest.ends_with(PRODUCT));
    if has(&|s| user("urn:nhsd:apim:user-nhs-login:", s)) {
        let proofed = has(&|s| user("urn:nhsd:apim:user-nhs-login:P9", s));
        return match proofed && TRUSTED.contains(&caller.vector_of_trust.as_str()) {
            true => Ok(Mode::Patient),
            false => Err(Problem::patient_denied()),
        };
    }
    let worker =
        ["urn:nhsd:apim:user-nhs-id:aal3", "urn:nhsd:apim:user-nhs-cis2:aal2", "urn:nhsd:apim:user-nhs-cis2:aal3"];
    if worker.iter().any(|provider| has(&|s| user(provider, s))) {
        return Ok(Mode::Worker);
    }
    if has(&|s| s == PRIVILEGED) {
        return Ok(Mode::Privileged);
    }
    if has(&|s| s == APPLICATION) {
        return Ok(Mode::Application);
    }
    if caller.application.is_empty() && !caller.asid.is_empty() {
        return Ok(Mode::Application);
    }
    Err(Problem::says(&super::refusal::UNAUTHORISED, "Invalid Access Token"))
}

/// What an operator has switched on for the calling application (§2).
pub mod attribute {
    pub const EMPTY_LINES: &str = "return-empty-address-lines";
    pub const CONFIDENTIAL_REMOVAL: &str = "return-confidential-reason-for-removal";
    pub const RECORD_SHARING: &str = "return-nhs-record-sharing-consent";
    /// PATCH without a user.
    pub const UPDATE: &str = "pds.app-restricted.update";
    /// Back-office clients: restricted records, formal deaths, ends of registrations (§6, §9.5).
    pub const BACK_OFFICE: &str = "pds.back-office";
}

pub fn has_attribute(caller: &Caller, name: &str) -> bool {
    caller.attributes.iter().any(|a| a == name)
}

/// A header's text; empty where it is not there or no text.
pub fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default()
}

/// The mandatory X-Request-ID: a UUID (§3.1).
pub fn request_id(headers: &HeaderMap) -> Result<String, Problem> {
    const NAME: &str = "X-Request-ID";
    let Some(value) = headers.get("x-request-id") else {
        let text = "Invalid request with error - X-Request-ID header must be supplied to access this resource";
        return Err(Problem::says(&super::refusal::MISSING_VALUE, text));
    };
    let text = String::from_utf8_lossy(value.as_bytes());
    if is_uuid(&text) { Ok(text.to_ascii_lowercase()) } else { Err(Problem::header(&text, NAME)) }
}

fn is_uuid(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    parts.len() == 5
        && parts
            .iter()
            .zip([8, 4, 4, 4, 12])
            .all(|(part, len)| part.len() == len && part.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// The role a member of staff acts in: named in the header where there are several, and one of theirs (§3.1).
pub fn session_role(headers: &HeaderMap, caller: &Caller, mode: Mode) -> Result<(), Problem> {
    if mode != Mode::Worker {
        return Ok(());
    }
    let given = header(headers, "nhsd-session-urid");
    let mine = &caller.role_profile;
    let known = match (given.is_empty(), mine.is_empty()) {
        (true, one) => !one,
        // The token's person has no such role.
        (false, true) => false,
        (false, false) => given == mine,
    };
    if known { Ok(()) } else { Err(Problem::session_role(given)) }
}

/// The number in `W/"n"` (§3.1).
pub fn if_match(headers: &HeaderMap) -> Result<u64, Problem> {
    let given = header(headers, "if-match");
    let digits = given.strip_prefix("W/\"").and_then(|rest| rest.strip_suffix('"'));
    let digits = digits.filter(|d| !d.is_empty() && d.bytes().all(|b| b.is_ascii_digit()));
    digits.and_then(|d| d.parse().ok()).ok_or_else(|| {
        let text = "Invalid request with error - If-Match header must be supplied to update this resource";
        Problem::says(&super::refusal::PRECONDITION_FAILED, text)
    })
}
