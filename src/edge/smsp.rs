//! Spine Mini Services behind the suppliers' listener (spec/pds.md §17): carries SOAP messages to `services::pds::smsp`. And the
//! listener's list: MESH has every path that no other protocol takes.

use super::mesh::MeshProtocol;
use super::problem::Refusal;
use super::protocol::{Attempt, Body, BodyRule, Broken, Call, Exchange, Next, Protocol, Reply, ReplyBody, Wait};
use crate::access::gate::Permit;
use crate::engine::draft::Fault;
use crate::engine::{ServiceId, services};
use crate::ops::codes::Kind;
use crate::services::pds::smsp::{self, Asked};
use crate::services::pds::{BodyIn, Response, Step};
use crate::store::Reader;
use bytes::Bytes;
use http::HeaderMap;
use std::sync::Arc;

/// What suppliers' systems reach with their certificates.
pub struct Suppliers {
    pub mesh: MeshProtocol,
    /// Asked first, in their order, whether they take a path.
    pub others: Vec<Arc<dyn Protocol>>,
}

impl Protocol for Suppliers {
    fn name(&self) -> &'static str {
        self.mesh.name()
    }
    fn interactions(&self) -> Vec<&'static str> {
        let others = self.others.iter().flat_map(|protocol| protocol.interactions());
        self.mesh.interactions().into_iter().chain(others).collect()
    }
    fn begin(&self, head: &http::request::Parts) -> Box<dyn Exchange> {
        match self.others.iter().find(|protocol| protocol.takes(head.uri.path())) {
            Some(protocol) => protocol.begin(head),
            None => self.mesh.begin(head),
        }
    }
}

/// The Mini Services.
pub struct SmspProtocol;

impl Protocol for SmspProtocol {
    fn name(&self) -> &'static str {
        "smsp"
    }
    fn takes(&self, path: &str) -> bool {
        path == smsp::PATH
    }
    fn interactions(&self) -> Vec<&'static str> {
        smsp::INTERACTIONS.to_vec()
    }
    fn begin(&self, head: &http::request::Parts) -> Box<dyn Exchange> {
        Box::new(Request { asked: Asked::new(head.method.as_str(), &head.headers), fault: None })
    }
}

struct Request {
    asked: Asked,
    /// What went wrong while it looked: told when the answer is due.
    fault: Option<Fault>,
}

impl Exchange for Request {
    fn interaction(&self) -> &'static str {
        self.asked.interaction()
    }
    fn service(&self) -> ServiceId {
        services::PDS
    }
    fn body_rule(&self) -> BodyRule {
        BodyRule::Inline
    }
    fn at_once(&mut self) -> Option<Reply> {
        self.asked.at_once().map(reply)
    }
    fn worth_reading(&mut self, _: &HeaderMap, _: &dyn Reader, _: u64) -> bool {
        true
    }
    fn ask(&mut self, _: &Permit, headers: &HeaderMap, body: Body, _: &dyn Reader, attempt: Attempt) -> Next {
        let body = match body {
            Body::Inline(bytes) => BodyIn::Bytes(bytes),
            Body::TooLarge | Body::Stored(_) => BodyIn::TooLarge,
            Body::None | Body::Skipped => BodyIn::None,
        };
        next(self.asked.ask(headers, body, attempt.number))
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
    fn replied(&mut self, _: &[Bytes]) -> Result<Wait, Broken> {
        match self.fault.take() {
            Some(fault) => Err(fault.into()),
            None => Ok(Wait::default()),
        }
    }
    fn answer(&mut self, site: &dyn Reader, _: Option<&dyn Reader>) -> Result<Reply, Broken> {
        Ok(reply(self.asked.answer(site)?))
    }
    fn refuse(&self, refusal: &Refusal, _: &str) -> Reply {
        let ours = matches!(refusal.code.kind, Kind::Busy | Kind::Fault);
        let status = match refusal.code.kind {
            Kind::Unauthenticated => 403,
            _ => refusal.status().as_u16(),
        };
        reply(smsp::refuse(status, ours, refusal.words()))
    }
}

fn next(step: Step) -> Next {
    let call =
        |call: crate::services::pds::Call| Call { key: call.key, payload: call.payload, request_id: call.request_id };
    match step {
        Step::Answer(response) => Next::Answer(reply(response)),
        Step::Submit(calls) => Next::Submit(calls.into_iter().map(call).collect()),
        Step::Look => Next::Look,
    }
}

fn reply(response: Response) -> Reply {
    Reply { status: response.status, headers: response.headers, body: ReplyBody::Bytes(response.body) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{gate::Gate, rules};

    #[test]
    fn every_interaction_has_a_rule() {
        Gate::new(smsp::INTERACTIONS, rules::SMSP).expect("a rule for each");
    }
}
