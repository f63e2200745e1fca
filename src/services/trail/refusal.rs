//! Every refusal of the service, once, and its shape: an OperationOutcome with the codes that the national FHIR APIs use.

use serde_json::{Value, json};

/// A refusal: status, code of the national list, FHIR issue type, and what it says of this request. The text goes to the
/// caller only, never to a log (P10).
#[derive(Clone, PartialEq, Eq)]
pub struct Problem {
    pub status: u16,
    pub code: &'static str,
    pub issue: &'static str,
    pub display: &'static str,
    pub diagnostics: String,
}

impl std::fmt::Debug for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Problem({})", self.code)
    }
}

macro_rules! problems {
    ($($(#[doc = $doc:literal])* $name:ident $status:literal $code:literal $issue:literal $display:literal;)*) => {
        impl Problem {
            $($(#[doc = $doc])* pub fn $name(diagnostics: impl Into<String>) -> Problem {
                Problem { status: $status, code: $code, issue: $issue, display: $display, diagnostics: diagnostics.into() }
            })*
        }
    };
}

problems! {
    missing 400 "MISSING_VALUE" "required" "Required value is missing";
    invalid 400 "INVALID_VALUE" "value" "Provided value is invalid";
    bad_id 400 "INVALID_RESOURCE_ID" "value" "Resource Id is invalid";
    unsupported 400 "UNSUPPORTED_SERVICE" "processing" "Unsupported Service";
    too_large 413 "INVALID_VALUE" "too-long" "Provided value is invalid";
    unauthorised 401 "ACCESS_DENIED" "forbidden" "Access Denied - Unauthorised";
    denied 403 "ACCESS_DENIED" "forbidden" "Access Denied";
    /// A citizen who asks for the trail of another.
    patient_denied 403 "ACCESS_DENIED" "forbidden" "Patient cannot perform this action";
    not_found 404 "RESOURCE_NOT_FOUND" "not-found" "Resource not found";
    too_slow 408 "UNABLE_TO_CALL_SERVICE" "timeout" "Unable to call service";
    too_many 429 "TOO_MANY_REQUESTS" "throttled" "Too many requests";
    unknown 500 "UNKNOWN_ERROR" "unknown" "Unknown Error";
    unavailable 503 "SERVICE_UNAVAILABLE" "timeout" "Service unavailable";
}

impl Problem {
    pub fn outcome(&self) -> Value {
        let mut issue = json!({
            "severity": "error",
            "code": self.issue,
            "details": {"coding": [{
                "system": "https://fhir.nhs.uk/R4/CodeSystem/Spine-ErrorOrWarningCode",
                "version": "1",
                "code": self.code,
                "display": self.display,
            }]},
        });
        if !self.diagnostics.is_empty() {
            issue["diagnostics"] = json!(self.diagnostics);
        }
        json!({"resourceType": "OperationOutcome", "issue": [issue]})
    }
}
