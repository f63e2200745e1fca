//! Legitimate relationships behind the edge: carries requests between HTTP and `services::relationships`.

use super::carried::once;
use super::problem::Refusal;
use super::protocol::{Attempt, Body, BodyRule, Broken, Exchange, Next, Protocol, Reply, Wait};
use crate::access::gate::Permit;
use crate::engine::{ServiceId, services};
use crate::model::NhsNumber;
use crate::ops::codes::Kind;
use crate::services::relationships::{self, Asked, Problem};
use crate::store::Reader;
use bytes::Bytes;
use http::HeaderMap;

/// The protocol; one for all listeners.
pub struct RelationshipsProtocol;

impl Protocol for RelationshipsProtocol {
    fn name(&self) -> &'static str {
        "relationships"
    }
    fn takes(&self, path: &str) -> bool {
        relationships::is_ours(path)
    }
    fn interactions(&self) -> Vec<&'static str> {
        relationships::INTERACTIONS.to_vec()
    }
    fn begin(&self, head: &http::request::Parts) -> Box<dyn Exchange> {
        let (path, query) = (head.uri.path(), head.uri.query().unwrap_or_default());
        Box::new(Request { asked: Asked::new(relationships::route(head.method.as_str(), path, query)), reply: None })
    }
}

struct Request {
    asked: Asked,
    reply: Option<Bytes>,
}

impl Exchange for Request {
    fn interaction(&self) -> &'static str {
        self.asked.route().name()
    }

    fn service(&self) -> ServiceId {
        services::RELATIONSHIPS
    }

    fn subject(&self) -> Option<NhsNumber> {
        self.asked.route().subject()
    }

    fn body_rule(&self) -> BodyRule {
        if self.asked.route().changes() { BodyRule::Inline } else { BodyRule::Ignored }
    }

    fn at_once(&mut self) -> Option<Reply> {
        self.asked.at_once().map(Reply::from)
    }

    fn worth_reading(&mut self, _: &HeaderMap, _: &dyn Reader, _: u64) -> bool {
        true
    }

    fn ask(&mut self, permit: &Permit, headers: &HeaderMap, body: Body, _: &dyn Reader, _: Attempt) -> Next {
        Next::Submit(vec![once(self.asked.ask(permit.caller(), headers, body.into()))])
    }

    fn replied(&mut self, replies: &[Bytes]) -> Result<Wait, Broken> {
        self.reply = replies.first().cloned();
        // A self-claim is answered when its alert is in the queue, as far as that can be waited for.
        Ok(Wait { deliveries: self.asked.route().changes(), ..Default::default() })
    }

    fn answer(&mut self, _: &dyn Reader, _: Option<&dyn Reader>) -> Result<Reply, Broken> {
        let Some(bytes) = &self.reply else { return Err(Broken::Fault("an answer before its reply".into())) };
        Ok(self.asked.answer(bytes)?.into())
    }

    fn refuse(&self, refusal: &Refusal, correlation: &str) -> Reply {
        let words = refusal.words();
        let problem = match refusal.code.kind {
            Kind::Busy if refusal.status().as_u16() == 429 => Problem::too_many(words),
            Kind::Busy => Problem::unavailable(words),
            Kind::Unauthenticated => Problem::unauthorised(words),
            Kind::Forbidden => Problem::denied(words),
            Kind::Fault => Problem::unknown(format!("message id {correlation}")),
            _ => Problem::invalid(words),
        };
        relationships::refuse(&problem).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{gate::Gate, rules};

    #[test]
    fn every_interaction_has_a_rule() {
        Gate::new(relationships::INTERACTIONS.iter().copied(), rules::RELATIONSHIPS).expect("a rule for each");
    }
}
