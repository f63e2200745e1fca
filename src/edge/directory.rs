//! The directory behind the edge: carries requests between HTTP and `services::directory`, which does all reading and
//! rendering. Everything is answered from the registry as this node has applied it. Nothing is submitted but that a look at people who
//! work here leaves its audit record before it is answered (P4).

use super::problem::Refusal;
use super::protocol::{Attempt, Body, BodyRule, Broken, Call, Exchange, Next, Protocol, Reply, ReplyBody, Wait};
use crate::access::gate::Permit;
use crate::engine::{ServiceId, services};
use crate::ops::codes::Kind;
use crate::seam::clock::Clock;
use crate::services::directory::{
    http::{Answer, Asked},
    routes::{self, Route},
};
use crate::services::trail::command::{Staff, TrailCommand};
use crate::store::Reader;
use crate::wire::tree::{Members, Node};
use bytes::Bytes;
use http::HeaderMap;
use std::sync::Arc;

/// Longest form of a search by POST, in bytes.
const MAX_FORM: usize = 16 << 10;
/// Longest path that the audit trail keeps, in characters.
const MAX_OBJECT: usize = 100;

/// The protocol; one for all listeners.
pub struct DirectoryProtocol {
    pub clock: Arc<dyn Clock>,
}

impl Protocol for DirectoryProtocol {
    fn name(&self) -> &'static str {
        "directory"
    }
    fn takes(&self, path: &str) -> bool {
        routes::route(path).is_some()
    }
    fn interactions(&self) -> Vec<&'static str> {
        routes::INTERACTIONS.to_vec()
    }
    fn begin(&self, head: &http::request::Parts) -> Box<dyn Exchange> {
        let text = |name: &str| head.headers.get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
        let path = head.uri.path();
        // HTTP/2 names the host in the URI, HTTP/1.1 in a header.
        let host = head.uri.authority().map(|a| a.as_str().to_owned()).or_else(|| text("host")).unwrap_or_default();
        let accepts: Vec<&str> = head.headers.get_all("accept").iter().filter_map(|v| v.to_str().ok()).collect();
        Box::new(Looked {
            // A path that is nobody's is answered as the systems' face answers it: not found.
            route: routes::route(path).or_else(|| routes::route("/spine-directory")),
            seen: None,
            asked: Asked {
                method: head.method.as_str().to_owned(),
                origin: format!("https://{host}"),
                path: path.to_owned(),
                query: head.uri.query().unwrap_or_default().to_owned(),
                form: String::new(),
                accept: (!accepts.is_empty()).then(|| accepts.join(",")),
                correlation: text("x-correlation-id"),
                now: self.clock.now().0,
                unique: 0,
            },
        })
    }
}

struct Looked {
    route: Option<Route>,
    asked: Asked,
    /// The answer that waits for its record.
    seen: Option<Reply>,
}

impl Exchange for Looked {
    fn interaction(&self) -> &'static str {
        self.route.as_ref().map_or("directory.sds.other", Route::interaction)
    }

    /// Of the only calls that there are: those of the audit trail.
    fn service(&self) -> ServiceId {
        services::TRAIL
    }

    /// SDS has bursts of 40 and 2,400 a minute (spec/directory.md §A).
    fn usual_quota(&self) -> Option<(&'static str, u32)> {
        self.interaction().starts_with("directory.sds.").then_some(("application for sds", 40))
    }

    fn body_rule(&self) -> BodyRule {
        match self.asked.method == "POST" && self.route.as_ref().is_some_and(Route::takes_form) {
            true => BodyRule::Inline,
            false => BodyRule::Ignored,
        }
    }

    fn at_once(&mut self) -> Option<Reply> {
        None
    }

    fn worth_reading(&mut self, _: &HeaderMap, _: &dyn Reader, _: u64) -> bool {
        true
    }

    fn ask(&mut self, _: &Permit, _: &HeaderMap, body: Body, site: &dyn Reader, attempt: Attempt) -> Next {
        self.asked.unique = attempt.number;
        if let Body::Inline(form) = body
            && form.len() <= MAX_FORM
        {
            self.asked.form = String::from_utf8_lossy(&form).into_owned();
        }
        match self.look(site) {
            Ok(answer) if self.route.as_ref().is_some_and(Route::shows_staff) => {
                let call = self.noted(&answer);
                self.seen = Some(reply(answer));
                Next::Submit(vec![call])
            }
            Ok(answer) => Next::Answer(reply(answer)),
            Err(Broken::Unreadable(why) | Broken::Fault(why)) => {
                tracing::error!(event = "directory.unreadable", why, "the registry cannot be read now");
                Next::Answer(self.say(503, "Not now: the registry cannot be read on this node"))
            }
        }
    }

    fn replied(&mut self, _: &[Bytes]) -> Result<Wait, Broken> {
        Ok(Wait::default())
    }

    fn answer(&mut self, _: &dyn Reader, _: Option<&dyn Reader>) -> Result<Reply, Broken> {
        self.seen.take().ok_or_else(|| Broken::Fault("an answer without a look".into()))
    }

    fn refuse(&self, refusal: &Refusal, _: &str) -> Reply {
        self.say(refusal.status().as_u16(), refusal.words())
    }
}

impl Looked {
    fn look(&self, site: &dyn Reader) -> Result<Answer, Broken> {
        let Some(route) = &self.route else { return Err(Broken::Fault("a path without a face".into())) };
        Ok(route.answer(site, &self.asked)?)
    }

    /// What the trail is told of a look at people who work here: what was asked for, and whom the answer shows. The words of a search
    /// are not kept: they name people who may not be there.
    fn noted(&self, answer: &Answer) -> Call {
        let outcome = super::problem::kind_of(answer.status).map_or("ok", Kind::word);
        let staff = Staff {
            interaction: self.interaction().into(),
            outcome: outcome.into(),
            object: self.asked.path.chars().take(MAX_OBJECT).collect(),
            people: answer.people.clone(),
            detail: format!("people shown: {}", answer.people.len()),
            ..Default::default()
        };
        let key = format!("staff directory {}", self.asked.unique);
        Call::new(key.into(), TrailCommand::from(staff).encode())
    }

    /// The gateway's own refusals (directory.md §A.5): an outcome whose display is the fault's text.
    fn say(&self, status: u16, words: &str) -> Reply {
        let (issue, code) = match super::problem::kind_of(status) {
            Some(Kind::Unauthenticated | Kind::Forbidden) => ("forbidden", "ACCESS_DENIED"),
            Some(Kind::Busy) => ("transient", "TOO_MANY_REQUESTS"),
            Some(Kind::Fault) => ("exception", "INTERNAL_SERVER_ERROR"),
            _ => ("invalid", "BAD_REQUEST"),
        };
        let coding = Members::new()
            .with("system", "https://fhir.nhs.uk/R4/CodeSystem/Spine-ErrorOrWarningCode")
            .with("version", "1")
            .with("code", code)
            .with("display", words);
        let details = Members::new().with("coding", vec![coding.into()]);
        let issue = Members::new().with("severity", "error").with("code", issue).with("details", details);
        let node: Node =
            Members::new().with("resourceType", "OperationOutcome").with("issue", vec![issue.into()]).into();
        reply(Answer::of(status, "application/fhir+json", node.json()))
    }
}

fn reply(answer: Answer) -> Reply {
    let headers = answer.headers.into_iter().map(|(name, value)| (name, value.into())).collect();
    Reply { status: answer.status, headers, body: ReplyBody::Bytes(answer.body.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{
        caller::Caller,
        gate::{Gate, Standing},
        rules,
    };
    use crate::engine::draft::MapStore;

    #[test]
    fn every_interaction_has_a_rule() {
        Gate::new(routes::INTERACTIONS.iter().copied(), rules::DIRECTORY).expect("a rule for each");
    }

    #[test]
    fn a_request_is_answered_from_the_registry() {
        let protocol = DirectoryProtocol { clock: Arc::new(crate::seam::clock::SystemClock) };
        let head = http::Request::get("/ORD/2-0-0/organisations/NONE").header("host", "h");
        let head = head.body(()).unwrap().into_parts().0;
        assert!(protocol.takes(head.uri.path()) && !protocol.takes("/messageexchange"));
        let mut exchange = protocol.begin(&head);
        let gate = Gate::new(routes::INTERACTIONS.iter().copied(), rules::DIRECTORY).unwrap();
        let standing =
            Standing::Approved { asid: "1".into(), ods: "X26".into(), party_key: "P".into(), emergency: false };
        let permit = gate.permit(exchange.interaction(), standing, &Caller::default()).unwrap();
        let site = MapStore::default();
        let next = exchange.ask(&permit, &HeaderMap::new(), Body::None, &site, Attempt::default());
        let Next::Answer(reply) = next else { panic!("an answer") };
        let ReplyBody::Bytes(body) = reply.body else { panic!("a short body") };
        assert_eq!((reply.status, body.as_ref()), (404, br#"{"errorCode":404,"errorText":"Not found"}"# as &[u8]));
    }

    #[test]
    fn a_look_at_people_who_work_here_is_told_before_it_is_answered() {
        let protocol = DirectoryProtocol { clock: Arc::new(crate::seam::clock::SystemClock) };
        let head = http::Request::get("/FHIR/R4/Practitioner/656005750119").header("host", "h");
        let mut exchange = protocol.begin(&head.body(()).unwrap().into_parts().0);
        let gate = Gate::new(routes::INTERACTIONS.iter().copied(), rules::DIRECTORY).unwrap();
        let rule = rules::DIRECTORY.iter().find(|rule| rule.interaction == exchange.interaction()).unwrap();
        let crate::access::gate::Admits::Holders { scopes, .. } = rule.admits else { panic!("a rule of scopes") };
        let scopes = vec![scopes[0].to_owned()];
        let caller = Caller { application: "a".into(), level: "level3".into(), scopes, ..Default::default() };
        let standing = Standing::Proven(Box::new(crate::access::gate::Proven { caller, ..Default::default() }));
        let permit = gate.permit(exchange.interaction(), standing, &Caller::default()).unwrap();
        let site = MapStore::default();
        let next = exchange.ask(&permit, &HeaderMap::new(), Body::None, &site, Attempt::default());
        let Next::Submit(calls) = next else { panic!("a call for the trail") };
        let Ok(TrailCommand::Staff(told)) = TrailCommand::decode(&calls[0].payload) else { panic!("a look at staff") };
        let seen = (told.interaction.as_str(), told.outcome.as_str(), told.object.as_str());
        assert_eq!(seen, ("directory.fhir.practitioner", "not_found", "/FHIR/R4/Practitioner/656005750119"));
        assert_eq!((calls.len(), exchange.service()), (1, services::TRAIL));
        exchange.replied(&[Bytes::new()]).unwrap();
        assert_eq!(exchange.answer(&site, None).unwrap().status, 404);
    }
}
