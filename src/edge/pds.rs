//! PDS behind the edge: carries requests between HTTP and `services::pds`, which does all reading and rendering.

use super::carried::Look;
use super::problem::Refusal;
use super::protocol::{Attempt, Body, BodyRule, Broken, Call, Exchange, Next, Protocol, Reply, Wait};
use crate::access::{gate::Permit, rules};
use crate::engine::{ServiceId, services};
use crate::model::NhsNumber;
use crate::ops::codes::{self, Kind};
use crate::services::pds::refusal::{self, Problem};
use crate::services::pds::{self, Asked, Pds};
use crate::store::Reader;
use bytes::Bytes;
use http::HeaderMap;
use std::{sync::Arc, time::Duration};

/// Least and most of `X-Sync-Wait`, seconds.
const SYNC_WAIT: (f64, f64) = (0.25, 29.0);

const TOO_MANY_CREATES: &str = "There have been too many Create Patient requests. Please try again later.";

/// The protocol; one for all listeners.
pub struct PdsProtocol(pub Arc<Pds>);

impl Protocol for PdsProtocol {
    fn name(&self) -> &'static str {
        "pds"
    }
    fn takes(&self, path: &str) -> bool {
        pds::is_ours(path)
    }
    fn interactions(&self) -> Vec<&'static str> {
        pds::INTERACTIONS.to_vec()
    }
    fn begin(&self, head: &http::request::Parts) -> Box<dyn Exchange> {
        let uri = &head.uri;
        let route = pds::route(head.method.as_str(), uri.path(), uri.query().unwrap_or_default());
        let mut asked = Asked::new(self.0.clone(), route);
        // HTTP/2 names the host in the request's line.
        asked.name_host(uri.authority().map(|a| a.as_str()));
        let role = head.headers.get("nhsd-session-urid").and_then(|v| v.to_str().ok()).unwrap_or_default();
        let role = role.chars().take(20).collect();
        let request_id = match asked.route().asks_first_for_its_id() {
            true => pds::access::request_id(&head.headers).err(),
            false => None,
        };
        Box::new(Request { asked, look: Look::default(), shown: shown(&head.headers), role, request_id })
    }
}

struct Request {
    asked: Asked,
    look: Look,
    /// What is wrong with the access token, should there be none that is good.
    shown: String,
    /// The role profile that the request names.
    role: String,
    /// What is wrong with its id, where that is told before anything of the caller.
    request_id: Option<Problem>,
}

impl Exchange for Request {
    fn interaction(&self) -> &'static str {
        self.asked.route().name()
    }

    fn service(&self) -> ServiceId {
        services::PDS
    }

    fn body_rule(&self) -> BodyRule {
        if self.asked.route().has_body() { BodyRule::Inline } else { BodyRule::Ignored }
    }

    fn at_once(&mut self) -> Option<Reply> {
        self.asked.at_once().map(Reply::from)
    }

    fn subject(&self) -> Option<NhsNumber> {
        self.asked.route().subject()
    }

    fn worth_reading(&mut self, _: &HeaderMap, _: &dyn Reader, _: u64) -> bool {
        true
    }

    fn ask(&mut self, permit: &Permit, headers: &HeaderMap, body: Body, site: &dyn Reader, _: Attempt) -> Next {
        self.asked.ask(permit.caller(), headers, body.into(), site).into()
    }

    fn looked(&mut self, views: &[&dyn Reader]) -> Next {
        self.look.next(self.asked.looked(views))
    }

    fn replied(&mut self, replies: &[Bytes]) -> Result<Wait, Broken> {
        self.look.told()?;
        let Some(first) = replies.first() else { return Err(Broken::Fault("a request without a call".into())) };
        Ok(Wait { view: self.asked.replied(first)?, ..Default::default() })
    }

    fn onward(&mut self) -> Vec<Call> {
        self.asked.onward().into_iter().map(Call::from).collect()
    }

    fn answer(&mut self, _: &dyn Reader, view: Option<&dyn Reader>) -> Result<Reply, Broken> {
        Ok(self.asked.answer(view)?.into())
    }

    /// `X-Sync-Wait` (spec/pds.md §3.1): seconds, brought within bounds. Without it the engine's own patience counts, which
    /// is shorter than the default of the specification; what is no number is as none.
    fn patience(&self, headers: &HeaderMap) -> Option<Duration> {
        let seconds: f64 = headers.get("x-sync-wait")?.to_str().ok()?.trim().parse().ok()?;
        seconds.is_finite().then(|| Duration::from_secs_f64(seconds.clamp(SYNC_WAIT.0, SYNC_WAIT.1)))
    }

    /// New patients have a limit of their own (spec/pds.md §2).
    fn usual_quota(&self) -> Option<(&'static str, u32)> {
        (self.interaction() == "pds.create").then_some(("application for new patients", 3))
    }

    /// Never invented (spec/pds.md §3.2).
    fn names_correlation(&self) -> bool {
        false
    }

    fn refuse(&self, refusal: &Refusal, correlation: &str) -> Reply {
        let status = refusal.status().as_u16();
        let is = |these: &[&codes::Code]| these.iter().any(|code| code.code == refusal.code.code);
        let problem = match refusal.code.kind {
            // X-Request-ID comes before authorisation (spec/pds.md §7, §8.2).
            Kind::Unauthenticated | Kind::Forbidden if let Some(problem) = &self.request_id => problem.clone(),
            // The header names none of several roles: PDS has a row of its own for it (spec/pds.md §14.3).
            _ if is(&[&codes::ROLES_SEVERAL, &codes::ROLE_FOREIGN]) => Problem::session_role(&self.role),
            // No header helps where there is no role (any more): 401 in the words of spec/identity.md §5.
            _ if is(&[&codes::ROLES_NONE, &codes::ROLE_GONE]) => Problem::says(&refusal::UNAUTHORISED, refusal.words()),
            // Keys are looked at on one path, where no token need be; a wrong one is told as the token service does.
            Kind::Unauthenticated if is(&[&codes::KEY_UNKNOWN]) && self.interaction() == "pds.status" => {
                Problem::says(&refusal::UNAUTHORISED, "Invalid ApiKey")
            }
            Kind::Busy if status == 429 && self.interaction() == "pds.create" => {
                Problem::says(&refusal::TOO_MANY_REQUESTS, TOO_MANY_CREATES)
            }
            Kind::Busy if status == 429 => Problem::says(&refusal::TOO_MANY_REQUESTS, refusal.words()),
            // The system being replaced is in the way, and not how long this one takes (docs/errors.md).
            Kind::Busy if refusal.is_upstream() => Problem::says(&refusal::SERVICE_UNAVAILABLE, refusal.words()),
            Kind::Busy => Problem::unavailable(),
            Kind::Unauthenticated => Problem::says(&refusal::UNAUTHORISED, self.shown.as_str()),
            // A good token of another product, or of a level that opens nothing here, is as one that is not known (§14.3).
            Kind::Forbidden if is(&[&codes::SCOPE_MISSING]) => {
                Problem::says(&refusal::UNAUTHORISED, "Invalid Access Token")
            }
            Kind::Forbidden if is(&[&codes::ACTIVITY_MISSING]) => {
                let mine = rules::PDS.iter().find(|rule| rule.interaction == self.interaction());
                Problem::no_activity(mine.map_or(&[], |rule| rule.activities()))
            }
            Kind::Forbidden => Problem::says(&refusal::UNAUTHORISED, refusal.words()),
            Kind::Fault => Problem::says(&refusal::UNKNOWN_ERROR, format!("Message id {correlation}")),
            _ if status == 408 => Problem::plain(&refusal::UNABLE_TO_CALL_SERVICE),
            _ => Problem::says(&refusal::VALIDATION_ERROR, refusal.words()),
        };
        pds::refuse(&problem).into()
    }
}

/// What the gateway says of a token that lets nobody in, by the header that shows it (spec/pds.md §14.3).
fn shown(headers: &HeaderMap) -> String {
    let Some(value) = headers.get(http::header::AUTHORIZATION) else { return "Missing Authorization header".into() };
    let value = value.to_str().unwrap_or_default().trim();
    let (kind, token) = value.split_once(' ').unwrap_or((value, ""));
    match (kind, token.trim()) {
        ("", _) => "Empty Authorization header".into(),
        (kind, "") if kind.eq_ignore_ascii_case("bearer") => "Missing access token".into(),
        (kind, _) if kind.eq_ignore_ascii_case("bearer") => "Invalid Access Token".into(),
        // Cut: what stands there may be a secret of another scheme, and is anyhow no word of ours.
        (kind, _) => format!("Invalid token type '{}', must be 'Bearer'", kind.chars().take(20).collect::<String>()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::gate::Gate;

    #[test]
    fn every_interaction_has_a_rule() {
        Gate::new(pds::INTERACTIONS.iter().copied(), rules::PDS).expect("a rule for each");
    }

    #[test]
    fn a_token_that_is_not_good_is_told_as_the_gateway_does() {
        let of = |value: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            value.map(|v| headers.insert("authorization", http::HeaderValue::from_static(v)));
            shown(&headers)
        };
        assert_eq!(of(None), "Missing Authorization header");
        assert_eq!(of(Some("")), "Empty Authorization header");
        assert_eq!(of(Some("Bearer")), "Missing access token");
        assert_eq!(of(Some("Basic abc")), "Invalid token type 'Basic', must be 'Bearer'");
        assert_eq!(of(Some("Bearer abc")), "Invalid Access Token");
    }
}
