//! EPS behind the edge: carries requests between HTTP and `services::eps`, which does all reading and rendering.

use super::carried::Look;
use super::prescribers::Prescribers;
use super::problem::Refusal;
use super::protocol::{Attempt, Body, BodyRule, Broken, Call, Exchange, Next, Protocol, Reply, Wait};
use crate::access::gate::Permit;
use crate::engine::{ServiceId, services};
use crate::ops::codes::{self, Kind};
use crate::seam::clock::Clock;
use crate::services::eps::{self, Asked, Eps, refuse};
use crate::store::Reader;
use bytes::Bytes;
use http::HeaderMap;
use std::sync::Arc;

/// The protocol; one for all listeners.
pub struct EpsProtocol {
    pub eps: Arc<Eps>,
    pub prescribers: Arc<Prescribers>,
    pub clock: Arc<dyn Clock>,
}

impl Protocol for EpsProtocol {
    fn name(&self) -> &'static str {
        "eps"
    }
    fn takes(&self, path: &str) -> bool {
        eps::is_ours(path)
    }
    fn interactions(&self) -> Vec<&'static str> {
        eps::INTERACTIONS.to_vec()
    }
    fn begin(&self, head: &http::request::Parts) -> Box<dyn Exchange> {
        let uri = &head.uri;
        let route = eps::route(head.method.as_str(), uri.path(), uri.query().unwrap_or_default());
        let mut asked = Asked::new(self.eps.clone(), self.prescribers.current(), route, uri.path(), self.clock.now().0);
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
        services::EPS
    }

    fn body_rule(&self) -> BodyRule {
        if self.asked.route().has_body() { BodyRule::Document } else { BodyRule::Ignored }
    }

    fn at_once(&mut self) -> Option<Reply> {
        self.asked.at_once().map(Reply::from)
    }

    fn worth_reading(&mut self, _: &HeaderMap, _: &dyn Reader, _: u64) -> bool {
        true
    }

    fn ask(&mut self, permit: &Permit, headers: &HeaderMap, body: Body, site: &dyn Reader, attempt: Attempt) -> Next {
        let caller = permit.caller();
        self.asked.name_attempt(attempt.number);
        let next = self.asked.ask(caller, headers, body.into(), site);
        if tracing::enabled!(tracing::Level::DEBUG) && self.asked.names_others(caller) {
            tracing::debug!(
                event = "eps.names_others",
                interaction = self.interaction(),
                request_id = self.asked.request(),
                application = caller.application,
                "a message names another role or person than its sender's"
            );
        }
        next.into()
    }

    fn granted(&self) -> Option<&str> {
        self.asked.granted()
    }

    fn looked(&mut self, views: &[&dyn Reader]) -> Next {
        self.look.next(self.asked.looked(views))
    }

    fn replied(&mut self, replies: &[Bytes]) -> Result<Wait, Broken> {
        self.look.told()?;
        self.asked.replied(replies)?;
        Ok(Wait::default())
    }

    fn onward(&mut self) -> Vec<Call> {
        self.asked.onward().into_iter().map(Call::from).collect()
    }

    fn answer(&mut self, _: &dyn Reader, _: Option<&dyn Reader>) -> Result<Reply, Broken> {
        Ok(self.asked.answer()?.into())
    }

    fn refuse(&self, refusal: &Refusal, _: &str) -> Reply {
        let words = refusal.words();
        let status = refusal.status().as_u16();
        let missing = [&codes::SCOPE_MISSING].iter().any(|code| code.code == refusal.code.code);
        match refusal.code.kind {
            Kind::Busy if status == 429 => refuse::too_many(words),
            Kind::Busy => refuse::unavailable(words),
            Kind::Unauthenticated => refuse::unauthenticated(words),
            Kind::Forbidden if missing => refuse::forbidden(self.asked.route().no_scope()),
            Kind::Forbidden => refuse::forbidden(words),
            Kind::Fault => refuse::fault(),
            _ => refuse::incorrect(status, words),
        }
        .into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{gate::Gate, rules};

    #[test]
    fn every_interaction_has_a_rule() {
        Gate::new(eps::INTERACTIONS.iter().copied(), rules::EPS).expect("a rule for each");
    }
}
