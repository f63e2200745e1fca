//! MESH behind the edge: carries requests between HTTP and `services::mesh`, which does all reading and rendering.

use super::backend::Stored;
use super::problem::Refusal;
use super::protocol::{
    Attempt, Body, BodyRule, Broken, Call, Coding, Exchange, Next, Party, Protocol, Reply, ReplyBody, Wait,
};
use crate::access::gate::Permit;
use crate::engine::{PartitionId, ServiceId, draft::Fault, services};
use crate::ops::codes::Kind;
use crate::services::directory::rows;
use crate::services::mesh::{self, Mesh, Route};
use crate::store::Reader;
use crate::wire::mesh::values::api_version;
use bytes::Bytes;
use http::HeaderMap;
use std::sync::Arc;

/// Every name that [`Route::name`] gives; a test compares.
const INTERACTIONS: &[&str] = &[
    "mesh.ping",
    "mesh.handshake",
    "mesh.update",
    "mesh.list",
    "mesh.count",
    "mesh.download",
    "mesh.head",
    "mesh.acknowledge",
    "mesh.send",
    "mesh.send_chunk",
    "mesh.track",
    "mesh.track_local",
    "mesh.inbox_rich",
    "mesh.outbox_rich",
    "mesh.lookup",
    "mesh.workflow_search",
    "mesh.mailbox",
    "mesh.admin_reset",
    "mesh.admin_report",
    "mesh.admin_event",
    "mesh.admin_mailbox",
    "mesh.admin_message",
    "mesh.not_found",
    "mesh.method_not_allowed",
];

/// The protocol; one for all listeners.
pub struct MeshProtocol(pub Arc<Mesh>);

impl Protocol for MeshProtocol {
    fn name(&self) -> &'static str {
        "mesh"
    }
    fn interactions(&self) -> Vec<&'static str> {
        INTERACTIONS.to_vec()
    }
    fn begin(&self, head: &http::request::Parts) -> Box<dyn Exchange> {
        let uri = &head.uri;
        let route = mesh::route(head.method.as_str(), uri.path(), uri.query().unwrap_or_default());
        // Read here and not later: a refusal must speak the caller's version before anything else is known.
        let accepts = head.headers.get_all(http::header::ACCEPT).iter();
        let version = accepts.filter_map(|a| api_version(a.as_bytes()).ok()).max().unwrap_or(1);
        Box::new(Asked {
            mesh: self.0.clone(),
            at_once: self.0.at_once(&route, &head.headers),
            route,
            version,
            ask: None,
            reply: None,
        })
    }
}

struct Asked {
    mesh: Arc<Mesh>,
    route: Route,
    version: u8,
    at_once: Option<mesh::Response>,
    ask: Option<mesh::Ask>,
    reply: Option<mesh::Reply>,
}

impl Exchange for Asked {
    fn interaction(&self) -> &'static str {
        self.route.name()
    }

    fn service(&self) -> ServiceId {
        services::MESH
    }

    fn body_rule(&self) -> BodyRule {
        match self.route.body() {
            mesh::BodyRule::Ignored => BodyRule::Ignored,
            mesh::BodyRule::Payload => BodyRule::Payload,
            mesh::BodyRule::Json => BodyRule::Inline,
        }
    }

    fn at_once(&mut self) -> Option<Reply> {
        self.at_once.take().map(reply)
    }

    fn worth_reading(&mut self, headers: &HeaderMap, site: &dyn Reader, now_ms: u64) -> bool {
        self.mesh.worth_reading(&self.route, headers, site, now_ms)
    }

    fn ask(&mut self, _: &Permit, headers: &HeaderMap, body: Body, site: &dyn Reader, attempt: Attempt) -> Next {
        let body = match body {
            Body::None => mesh::BodyInfo::None,
            Body::Inline(bytes) => mesh::BodyInfo::Inline(bytes),
            Body::Stored(Stored { digest, len }) => mesh::BodyInfo::Blob { digest, len },
            Body::TooLarge => mesh::BodyInfo::TooLarge,
            Body::Skipped => mesh::BodyInfo::Skipped,
        };
        let attempt = mesh::Attempt { number: attempt.number, forgiven: attempt.forgiven };
        let mut ask = match self.mesh.ask(&self.route, headers, body, site, attempt) {
            Ok(ask) => ask,
            Err(refused) => return Next::Answer(reply(refused)),
        };
        let calls = std::mem::take(&mut ask.calls).into_iter().map(call).collect();
        self.ask = Some(ask);
        Next::Submit(calls)
    }

    fn replied(&mut self, replies: &[Bytes]) -> Result<Wait, Broken> {
        let every = self.ask.as_ref().is_some_and(|ask| ask.every);
        let mut chosen = (0, mesh::Reply { elsewhere: true, ..Default::default() });
        for (call, bytes) in replies.iter().enumerate() {
            let reply = mesh::Reply::of(bytes)?;
            // Where all are wanted, a refusal of one is the answer of all.
            let better = if every { reply.problem.is_some() } else { chosen.1.elsewhere && !reply.elsewhere };
            if call == 0 || better {
                chosen = (call, reply);
            }
        }
        let (call, reply) = chosen;
        let other = reply.probes().map(PartitionId);
        let wait = Wait { call, view: reply.needs_view(), deliveries: reply.awaits_deliveries(), other };
        self.reply = Some(reply);
        Ok(wait)
    }

    fn answer(&mut self, site: &dyn Reader, view: Option<&dyn Reader>) -> Result<Reply, Broken> {
        match (&self.ask, &self.reply) {
            (Some(ask), Some(answer)) => Ok(reply(self.mesh.answer(ask, answer, site, view)?)),
            _ => Err(Broken::Fault("an answer was asked for before its reply was there".into())),
        }
    }

    fn refuse(&self, refusal: &Refusal, correlation: &str) -> Reply {
        let status = match refusal.code.kind {
            // MESH knows no 401: whoever may not come in is told so with 403 (mesh.md §3.1).
            Kind::Unauthenticated => 403,
            _ => refusal.status().as_u16(),
        };
        // The shape of these (mesh.md §12.4) has no place for a code but the text.
        if status >= 500 && refusal.is_of_a_move() {
            let text = format!("{} ({})", refusal.words(), refusal.code.code);
            return reply(self.mesh.unavailable(status, &text, correlation));
        }
        if status >= 500 {
            return reply(self.mesh.unavailable(status, refusal.words(), correlation));
        }
        // Words and codes of the catalogue hold nothing that JSON would escape; a test holds that.
        let (code, words) = (refusal.code.code, refusal.words());
        let (body, kind) = if self.version < 2 {
            let body = format!(r#"{{"errorEvent":"","errorCode":"{code}","errorDescription":"{words}"}}"#);
            (body, mesh::refusal::JSON_V1)
        } else {
            let body = format!(
                r#"{{"internal_id":"{correlation}","detail":[{{"event":"","code":"{code}","msg":"{words}"}}]}}"#
            );
            (body, mesh::refusal::JSON_V2)
        };
        let headers = vec![("content-type", Bytes::from_static(kind.as_bytes()))];
        Reply { status, headers, body: ReplyBody::Bytes(body.into()) }
    }

    /// The mailbox says whose request it is, whatever system sends it: what it holds lies on one side.
    fn party(&self, _: &[u8], site: &dyn Reader) -> Result<Party, Fault> {
        match self.route.authenticates() {
            Some(mailbox) => Ok(Party::Of(rows::mailbox(site, mailbox)?.map(|row| row.ods))),
            None => Ok(Party::Callers),
        }
    }

    /// The recipient's, but for mailboxes that the site itself reads: each side has its own.
    fn counterpart(&self, headers: &HeaderMap, site: &dyn Reader) -> Result<Option<String>, Fault> {
        let Route::Send { .. } = self.route else { return Ok(None) };
        let to = headers.get("mex-to").and_then(|to| to.to_str().ok()).unwrap_or_default().trim().to_uppercase();
        let row = if to.is_empty() { None } else { rows::mailbox(site, &to)? };
        Ok(row.filter(|row| row.service == 0 && !row.internal).map(|row| row.ods))
    }

    fn release(&self) -> Option<Call> {
        self.mesh.release(self.ask.as_ref()?).map(call)
    }
}

fn call(call: mesh::Call) -> Call {
    Call::new(call.key, call.payload)
}

fn reply(response: mesh::Response) -> Reply {
    let body = match response.body {
        mesh::Body::Empty => ReplyBody::Bytes(Bytes::new()),
        mesh::Body::Bytes(bytes) => ReplyBody::Bytes(bytes),
        mesh::Body::Inflate(bytes) => ReplyBody::Inflate(bytes),
        mesh::Body::Blob { digest, len, transfer } => {
            let coding = match transfer {
                mesh::Transfer::AsIs => Coding::AsIs,
                mesh::Transfer::Inflate => Coding::Inflate,
                mesh::Transfer::Zip => Coding::Zip,
            };
            ReplyBody::Stored { body: Stored { digest, len }, coding }
        }
    };
    Reply { status: response.status, headers: response.headers, body }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{gate::Gate, rules};
    use crate::ops::codes::catalogue;

    #[test]
    fn every_interaction_is_known_and_has_a_rule() {
        let source = include_str!("../services/mesh/routes.rs");
        let (_, names) = source.split_once("pub fn name(&self)").unwrap();
        let (names, _) = names.split_once("\n    }\n").unwrap();
        let names: Vec<&str> = names.split('"').skip(1).step_by(2).collect();
        assert_eq!(names, INTERACTIONS);
        Gate::new(INTERACTIONS.iter().copied(), rules::MESH).expect("a rule for each");
    }

    #[test]
    fn public_words_stand_in_json_as_they_are() {
        assert!(catalogue().iter().all(|c| !c.words.contains(['"', '\\']) && !c.words.contains(char::is_control)));
    }
}
