//! Every refusal of the service, once: status, a stable code, and one sentence of what to do. The shape is ours (D).

use super::Response;
use bytes::Bytes;
use serde_json::{Value, json};

/// A refusal. The text goes to the caller only.
#[derive(Clone, PartialEq, Eq)]
pub struct Problem {
    pub status: u16,
    pub code: &'static str,
    pub text: String,
}

impl std::fmt::Debug for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Problem({})", self.code)
    }
}

macro_rules! problems {
    ($($name:ident $status:literal $code:literal;)*) => {
        impl Problem {
            $(pub fn $name(text: impl Into<String>) -> Problem {
                Problem { status: $status, code: $code, text: text.into() }
            })*
        }
    };
}

problems! {
    invalid 400 "INVALID_VALUE";
    missing 400 "MISSING_VALUE";
    unauthorised 401 "ACCESS_DENIED";
    denied 403 "ACCESS_DENIED";
    activity 403 "ACTIVITY_MISSING";
    not_found 404 "NOT_FOUND";
    conflict 409 "CONFLICT";
    too_many_open 422 "TOO_MANY_RELATIONSHIPS";
    too_many 429 "TOO_MANY_REQUESTS";
    unknown 500 "UNKNOWN_ERROR";
    unavailable 503 "SERVICE_UNAVAILABLE";
}

impl Problem {
    pub fn body(&self) -> Value {
        json!({"error": self.code, "message": self.text})
    }
}

/// A refusal as it is answered.
pub fn refuse(problem: &Problem) -> Response {
    let mut headers = vec![("content-type", Bytes::from_static(b"application/json"))];
    if problem.status == 503 {
        headers.push(("retry-after", Bytes::from_static(b"5")));
    }
    Response { status: problem.status, headers, body: problem.body().to_string().into() }
}
