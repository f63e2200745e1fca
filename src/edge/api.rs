//! The API listener's protocol: a list of protocols, told apart by path. What none of them takes gets a 404.

use super::problem::Refusal;
use super::protocol::{Attempt, Body, BodyRule, Broken, Exchange, Next, Proof, Protocol, Reply, ReplyBody, Wait};
use crate::access::gate::{Permit, Rule};
use crate::access::rules;
use crate::engine::{ServiceId, services};
use crate::ops::codes::{self, Kind};
use crate::store::Reader;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use std::sync::Arc;

const NOT_FOUND: &str = "api.not_found";
pub const JSON: &[u8] = b"application/json";

/// All protocols of the listener.
pub struct Api(pub Vec<Arc<dyn Protocol>>);

impl Api {
    /// The rules of every protocol that may stand in the list, and the listener's own.
    pub fn rules(of_services: &[&[Rule]]) -> Vec<Rule> {
        [rules::API].iter().chain(of_services).flat_map(|rules| rules.iter().copied()).collect()
    }
}

impl Protocol for Api {
    fn name(&self) -> &'static str {
        "api"
    }
    fn proof(&self) -> Proof {
        Proof::Credentials
    }
    fn interactions(&self) -> Vec<&'static str> {
        let of_services = self.0.iter().flat_map(|protocol| protocol.interactions());
        of_services.chain([NOT_FOUND]).collect()
    }
    fn begin(&self, head: &http::request::Parts) -> Box<dyn Exchange> {
        match self.0.iter().find(|protocol| protocol.takes(head.uri.path())) {
            Some(protocol) => protocol.begin(head),
            None => Box::new(Nothing),
        }
    }
}

/// A path that is no protocol's.
struct Nothing;

impl Exchange for Nothing {
    fn interaction(&self) -> &'static str {
        NOT_FOUND
    }
    fn service(&self) -> ServiceId {
        services::ENGINE
    }
    fn body_rule(&self) -> BodyRule {
        BodyRule::Ignored
    }
    fn at_once(&mut self) -> Option<Reply> {
        Some(problem(404, "invalid_request", "Not Found"))
    }
    fn worth_reading(&mut self, _: &HeaderMap, _: &dyn Reader, _: u64) -> bool {
        false
    }
    fn ask(&mut self, _: &Permit, _: &HeaderMap, _: Body, _: &dyn Reader, _: Attempt) -> Next {
        Next::Answer(problem(404, "invalid_request", "Not Found"))
    }
    fn replied(&mut self, _: &[Bytes]) -> Result<Wait, Broken> {
        Ok(Wait::default())
    }
    fn answer(&mut self, _: &dyn Reader, _: Option<&dyn Reader>) -> Result<Reply, Broken> {
        Ok(problem(404, "invalid_request", "Not Found"))
    }
    fn refuse(&self, refusal: &Refusal, _: &str) -> Reply {
        refused(refusal)
    }
}

/// An OAuth error body (RFC 6749 §5.2).
pub fn problem(status: u16, error: &str, description: &str) -> Reply {
    let body = serde_json::json!({"error": error, "error_description": description});
    json(status, &body)
}

pub fn json(status: u16, body: &serde_json::Value) -> Reply {
    let headers = vec![("content-type", Bytes::from_static(JSON))];
    Reply { status, headers, body: ReplyBody::Bytes(body.to_string().into()) }
}

/// A refusal of the edge's own in the shape that clients of the gateway know: the fault texts of spec/identity.md §4.6
/// for credentials, an OAuth error for the rest. FHIR services put [`fault`]'s words into an OperationOutcome instead.
pub fn refused(refusal: &Refusal) -> Reply {
    if let Some((text, code)) = fault(refusal) {
        let body = serde_json::json!({"fault": {"faultstring": text, "detail": {"errorcode": code}}});
        return json(refusal.status().as_u16(), &body);
    }
    let error = match refusal.code.kind {
        Kind::Busy if refusal.status() == StatusCode::TOO_MANY_REQUESTS => "too_many_requests",
        Kind::Busy => "temporarily_unavailable",
        Kind::Fault => "server_error",
        Kind::Unauthenticated | Kind::Forbidden => "access_denied",
        _ => "invalid_request",
    };
    problem(refusal.status().as_u16(), error, refusal.words())
}

/// Fault text and error code of refused credentials; `None` where the refusal is about something else.
pub fn fault(refusal: &Refusal) -> Option<(&'static str, &'static str)> {
    let of = |code: &codes::Code| refusal.code.code == code.code;
    Some(if of(&codes::TOKEN_UNKNOWN) {
        ("Invalid Access Token", "keymanagement.service.invalid_access_token")
    } else if of(&codes::CREDENTIALS_MISSING) {
        ("Invalid access token", "oauth.v2.InvalidAccessToken")
    } else if of(&codes::TOKEN_EXPIRED) {
        ("Access Token expired", "keymanagement.service.access_token_expired")
    } else if of(&codes::KEY_UNKNOWN) {
        ("Invalid ApiKey", "oauth.v2.InvalidApiKey")
    } else if of(&codes::APPLICATION_REVOKED) {
        (
            "The developer app associated with the API key is not approved or revoked",
            "keymanagement.service.app_not_approved",
        )
    } else if of(&codes::SCOPE_MISSING) {
        ("Insufficient scope", "steps.oauth.v2.InsufficientScope")
    } else {
        return None;
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(reply: Reply) -> (u16, String) {
        match reply.body {
            ReplyBody::Bytes(bytes) => (reply.status, String::from_utf8(bytes.to_vec()).unwrap()),
            _ => panic!("a short body"),
        }
    }

    #[test]
    fn refused_credentials_read_as_specified() {
        let of = |code| body(refused(&Refusal::new(code)));
        let fault = |text: &str, code: &str| {
            serde_json::json!({"fault": {"faultstring": text, "detail": {"errorcode": code}}}).to_string()
        };
        let unknown = fault("Invalid Access Token", "keymanagement.service.invalid_access_token");
        assert_eq!(of(&codes::TOKEN_UNKNOWN), (401, unknown));
        let missing = fault("Invalid access token", "oauth.v2.InvalidAccessToken");
        assert_eq!(of(&codes::CREDENTIALS_MISSING), (401, missing));
        let expired = fault("Access Token expired", "keymanagement.service.access_token_expired");
        assert_eq!(of(&codes::TOKEN_EXPIRED), (401, expired));
        assert_eq!(of(&codes::RATE_LIMITED).0, 429);
        assert_eq!(of(&codes::SCOPE_MISSING).0, 403);
    }

    #[test]
    fn what_nobody_takes_is_not_found() {
        let api = Api(vec![]);
        let head = http::Request::get("/nowhere").body(()).unwrap().into_parts().0;
        let mut exchange = api.begin(&head);
        assert_eq!(exchange.interaction(), "api.not_found");
        let (status, text) = body(exchange.at_once().unwrap());
        assert_eq!((status, text.as_str()), (404, r#"{"error":"invalid_request","error_description":"Not Found"}"#));
        crate::access::gate::Gate::new(api.interactions(), &Api::rules(&[])).expect("a rule for each");
    }
}
