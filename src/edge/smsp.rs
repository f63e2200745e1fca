//! Spine Mini Services behind the suppliers' listener (spec/pds.md §17): carries SOAP messages to `services::pds::smsp`. And the
//! listener's list: MESH has every path that no other protocol takes.

use super::carried::Look;
use super::mesh::MeshProtocol;
use super::problem::Refusal;
use super::protocol::{Attempt, Body, BodyRule, Broken, Exchange, Next, Protocol, Reply, Wait};
use crate::access::gate::Permit;
use crate::engine::{ServiceId, services};
use crate::ops::codes::Kind;
use crate::services::pds::smsp::{self, Asked};
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
        Box::new(Request { asked: Asked::new(head.method.as_str(), &head.headers), look: Look::default() })
    }
}

struct Request {
    asked: Asked,
    look: Look,
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
        self.asked.at_once().map(Reply::from)
    }
    fn worth_reading(&mut self, _: &HeaderMap, _: &dyn Reader, _: u64) -> bool {
        true
    }
    fn ask(&mut self, permit: &Permit, headers: &HeaderMap, body: Body, _: &dyn Reader, attempt: Attempt) -> Next {
        self.asked.ask(&permit.caller().asid, headers, body.into(), attempt.number).into()
    }
    fn looked(&mut self, views: &[&dyn Reader]) -> Next {
        self.look.next(self.asked.looked(views))
    }
    fn replied(&mut self, _: &[Bytes]) -> Result<Wait, Broken> {
        self.look.told()?;
        Ok(Wait::default())
    }
    fn answer(&mut self, site: &dyn Reader, _: Option<&dyn Reader>) -> Result<Reply, Broken> {
        Ok(self.asked.answer(site)?.into())
    }
    fn refuse(&self, refusal: &Refusal, _: &str) -> Reply {
        let ours = matches!(refusal.code.kind, Kind::Busy | Kind::Fault);
        let status = match refusal.code.kind {
            Kind::Unauthenticated => 403,
            _ => refusal.status().as_u16(),
        };
        smsp::refuse(status, ours, refusal.words()).into()
    }
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
