//! The audit trail behind the edge: carries requests between HTTP and `services::trail`, which does all reading and rendering.

use super::carried::{Look, once};
use super::problem::Refusal;
use super::protocol::{Attempt, Body, BodyRule, Broken, Exchange, Next, Protocol, Reply, Wait};
use crate::access::gate::Permit;
use crate::engine::{ServiceId, services};
use crate::ops::codes::Kind;
use crate::services::trail::{self, Asked, Problem, Step};
use crate::store::Reader;
use bytes::Bytes;
use http::HeaderMap;

/// The protocol; one for all listeners.
pub struct TrailProtocol;

impl Protocol for TrailProtocol {
    fn name(&self) -> &'static str {
        "audit"
    }
    fn takes(&self, path: &str) -> bool {
        trail::is_ours(path)
    }
    fn interactions(&self) -> Vec<&'static str> {
        trail::INTERACTIONS.to_vec()
    }
    fn begin(&self, head: &http::request::Parts) -> Box<dyn Exchange> {
        let uri = &head.uri;
        let mut asked = Asked::new(trail::route(head.method.as_str(), uri.path(), uri.query().unwrap_or_default()));
        // HTTP/2 names the host in the request's line.
        asked.name_host(uri.authority().map(|a| a.as_str()));
        Box::new(Request { asked, look: Look::default() })
    }
}

struct Request {
    asked: Asked,
    look: Look,
}

impl Exchange for Request {
    fn interaction(&self) -> &'static str {
        self.asked.route().name()
    }

    fn service(&self) -> ServiceId {
        services::TRAIL
    }

    fn body_rule(&self) -> BodyRule {
        if self.asked.route().has_body() { BodyRule::Inline } else { BodyRule::Ignored }
    }

    fn at_once(&mut self) -> Option<Reply> {
        self.asked.at_once().map(Reply::from)
    }

    fn worth_reading(&mut self, _: &HeaderMap, _: &dyn Reader, _: u64) -> bool {
        true
    }

    fn ask(&mut self, permit: &Permit, headers: &HeaderMap, body: Body, _: &dyn Reader, _: Attempt) -> Next {
        next(self.asked.ask(permit.caller(), headers, body.into()))
    }

    fn looked(&mut self, views: &[&dyn Reader]) -> Next {
        self.look.next(self.asked.looked(views))
    }

    fn replied(&mut self, replies: &[Bytes]) -> Result<Wait, Broken> {
        self.look.told()?;
        let Some(first) = replies.first() else { return Err(Broken::Fault("a request without a call".into())) };
        self.asked.replied(first)?;
        Ok(Wait::default())
    }

    fn answer(&mut self, site: &dyn Reader, _: Option<&dyn Reader>) -> Result<Reply, Broken> {
        Ok(self.asked.answer(site)?.into())
    }

    fn refuse(&self, refusal: &Refusal, correlation: &str) -> Reply {
        let status = refusal.status().as_u16();
        let problem = match refusal.code.kind {
            Kind::Busy if status == 429 => Problem::too_many(refusal.words()),
            Kind::Busy => Problem::unavailable(""),
            Kind::Unauthenticated => Problem::unauthorised(refusal.words()),
            Kind::Forbidden => Problem::denied(refusal.words()),
            Kind::Fault => Problem::unknown(format!("Message id {correlation}")),
            _ if status == 408 => Problem::too_slow(""),
            _ if status == 413 => Problem::too_large(refusal.words()),
            _ => Problem::invalid(refusal.words()),
        };
        trail::refuse(&problem).into()
    }
}

fn next(step: Step) -> Next {
    match step {
        Step::Submit(calls) => Next::Submit(calls.into_iter().map(once).collect()),
        other => other.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{gate::Gate, rules};

    #[test]
    fn every_interaction_has_a_rule() {
        Gate::new(trail::INTERACTIONS.iter().copied(), rules::AUDIT).expect("a rule for each");
    }
}
