//! The audit trail behind the edge: carries requests between HTTP and `services::trail`, which does all reading and rendering.

use super::problem::Refusal;
use super::protocol::{Attempt, Body, BodyRule, Broken, Call, Exchange, Next, Protocol, Reply, ReplyBody, Wait};
use crate::access::gate::Permit;
use crate::engine::draft::Fault;
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
        Box::new(Request { asked, fault: None })
    }
}

struct Request {
    asked: Asked,
    /// What went wrong while it looked: told when the answer is due.
    fault: Option<Fault>,
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
        self.asked.at_once().map(reply)
    }

    fn worth_reading(&mut self, _: &HeaderMap, _: &dyn Reader, _: u64) -> bool {
        true
    }

    fn ask(&mut self, permit: &Permit, headers: &HeaderMap, body: Body, _: &dyn Reader, _: Attempt) -> Next {
        let body = match body {
            Body::Inline(bytes) => trail::BodyIn::Bytes(bytes),
            Body::TooLarge | Body::Stored(_) => trail::BodyIn::TooLarge,
            Body::None | Body::Skipped => trail::BodyIn::None,
        };
        next(self.asked.ask(permit.caller(), headers, body))
    }

    fn looked(&mut self, views: &[&dyn Reader]) -> Next {
        match self.asked.looked(views) {
            Ok(step) => next(step),
            Err(fault) => {
                self.fault = Some(fault);
                Next::Submit(vec![])
            }
        }
    }

    fn replied(&mut self, replies: &[Bytes]) -> Result<Wait, Broken> {
        if let Some(fault) = self.fault.take() {
            return Err(fault.into());
        }
        let Some(first) = replies.first() else { return Err(Broken::Fault("a request without a call".into())) };
        self.asked.replied(first)?;
        Ok(Wait::default())
    }

    fn answer(&mut self, site: &dyn Reader, _: Option<&dyn Reader>) -> Result<Reply, Broken> {
        Ok(reply(self.asked.answer(site)?))
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
        reply(trail::refuse(&problem))
    }
}

fn next(step: Step) -> Next {
    match step {
        Step::Answer(response) => Next::Answer(reply(response)),
        Step::Submit(calls) => Next::Submit(calls.into_iter().map(call).collect()),
        Step::Look => Next::Look,
    }
}

fn call(call: trail::Call) -> Call {
    Call::once(call.key, call.payload, &call.request_id)
}

fn reply(response: trail::Response) -> Reply {
    Reply { status: response.status, headers: response.headers, body: ReplyBody::Bytes(response.body) }
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
