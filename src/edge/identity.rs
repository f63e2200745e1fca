//! The token service behind the edge: carries requests between HTTP and `services::identity`.

use super::api;
use super::problem::Refusal;
use super::protocol::{Attempt, Body, BodyRule, Broken, Call, Exchange, Next, Protocol, Reply, Wait};
use crate::access::gate::Permit;
use crate::engine::{ServiceId, services};
use crate::services::identity::{self, Ask, Identity, Response, Route, command::IdentityReply, routes};
use crate::store::Reader;
use bytes::Bytes;
use http::HeaderMap;
use std::sync::Arc;

/// The protocol; one for all listeners.
pub struct IdentityProtocol(pub Arc<Identity>);

impl Protocol for IdentityProtocol {
    fn name(&self) -> &'static str {
        "identity"
    }
    fn takes(&self, path: &str) -> bool {
        routes::takes(path)
    }
    fn interactions(&self) -> Vec<&'static str> {
        routes::INTERACTIONS.to_vec()
    }
    fn begin(&self, head: &http::request::Parts) -> Box<dyn Exchange> {
        let route = identity::route(head.method.as_str(), head.uri.path());
        Box::new(Asked { identity: self.0.clone(), route, attempt: 0, replies: vec![] })
    }
}

struct Asked {
    identity: Arc<Identity>,
    route: Route,
    attempt: u64,
    replies: Vec<IdentityReply>,
}

impl Exchange for Asked {
    fn interaction(&self) -> &'static str {
        self.route.name()
    }

    fn service(&self) -> ServiceId {
        services::IDENTITY
    }

    fn body_rule(&self) -> BodyRule {
        match self.route {
            Route::Token | Route::Revoke | Route::Introspect => BodyRule::Inline,
            _ => BodyRule::Ignored,
        }
    }

    fn at_once(&mut self) -> Option<Reply> {
        match self.route {
            Route::WrongMethod(allow) => Some(reply(Response::wrong_method(allow))),
            Route::NotFound => Some(reply(Response::not_found())),
            _ => None,
        }
    }

    fn worth_reading(&mut self, _: &HeaderMap, _: &dyn Reader, _: u64) -> bool {
        false
    }

    fn ask(&mut self, _: &Permit, headers: &HeaderMap, body: Body, site: &dyn Reader, attempt: Attempt) -> Next {
        self.attempt = attempt.number;
        let body = match body {
            Body::None => identity::Body::None,
            Body::Inline(bytes) => identity::Body::Inline(bytes),
            Body::Stored(_) | Body::TooLarge | Body::Skipped => identity::Body::TooLarge,
        };
        match self.identity.ask(self.route, headers, body, site, attempt.number) {
            Ok(Ask::Answer(response)) => Next::Answer(reply(response)),
            Ok(Ask::Submit(calls)) => {
                let call = |c: identity::Call| Call::new(c.key, c.payload);
                Next::Submit(calls.into_iter().map(call).collect())
            }
            Err(fault) => {
                // The registry of this node cannot be read now: nothing is guessed, and another node knows.
                tracing::warn!(event = "identity.registry_unreadable", error = %fault, "a client could not be looked up");
                Next::Answer(self.refuse(&Refusal::new(&crate::ops::codes::NO_LEADER), ""))
            }
        }
    }

    fn replied(&mut self, replies: &[Bytes]) -> Result<Wait, Broken> {
        self.replies = replies.iter().map(IdentityReply::of).collect::<Result<_, _>>()?;
        Ok(Wait::default())
    }

    fn answer(&mut self, _: &dyn Reader, _: Option<&dyn Reader>) -> Result<Reply, Broken> {
        Ok(reply(self.identity.answer(self.route, &self.replies, self.attempt)))
    }

    fn refuse(&self, refusal: &Refusal, _: &str) -> Reply {
        api::refused(refusal)
    }
}

fn reply(response: Response) -> Reply {
    let mut reply = api::json(response.status, &response.body);
    // RFC 6749 §5.1: an answer with a token must not be kept by what stands in between.
    reply.headers.push(("cache-control", Bytes::from_static(b"no-store")));
    if let Some(allow) = response.allow {
        reply.headers.push(("allow", Bytes::from_static(allow.as_bytes())));
    }
    reply
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{gate::Gate, rules};

    #[test]
    fn every_interaction_has_a_rule() {
        Gate::new(routes::INTERACTIONS.iter().copied(), rules::IDENTITY).expect("a rule for each");
    }
}
