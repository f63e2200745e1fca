//! The token service and the provider of staff behind the edge: carries requests between HTTP and `services::identity`.

use super::api;
use super::id_tokens::IdTokens;
use super::problem::Refusal;
use super::protocol::{
    Attempt, Body, BodyRule, Broken, Call, Exchange, Heard, Next, Party, Protocol, Question, Reply, ReplyBody, Wait,
};
use crate::access::gate::Permit;
use crate::engine::draft::Fault;
use crate::engine::{ServiceId, services};
use crate::pages::{Sheet, transport_security};
use crate::services::directory::applications;
use crate::services::identity::command::{IdentityReply, Stranger};
use crate::services::identity::login::citizens;
use crate::services::identity::login::page::{Content, Page};
use crate::services::identity::login::visit::{Asked as LoginAsked, Step, Thought, Visit};
use crate::services::identity::{self, Ask, Identity, Response, Route, routes};
use crate::store::Reader;
use crate::wire::form::Form;
use crate::wire::jwt::Jwt;
use bytes::Bytes;
use http::HeaderMap;
use std::sync::Arc;

/// The protocol; one for all listeners.
pub struct IdentityProtocol {
    identity: Arc<Identity>,
    id_tokens: Arc<IdTokens>,
}

impl IdentityProtocol {
    pub fn new(identity: Arc<Identity>) -> Self {
        IdentityProtocol { identity, id_tokens: Arc::default() }
    }
}

impl Protocol for IdentityProtocol {
    fn name(&self) -> &'static str {
        "identity"
    }
    fn takes(&self, path: &str) -> bool {
        self.identity.takes(path)
    }
    fn interactions(&self) -> Vec<&'static str> {
        routes::INTERACTIONS.to_vec()
    }
    fn begin(&self, head: &http::request::Parts) -> Box<dyn Exchange> {
        let route = self.identity.route(head.method.as_str(), head.uri.path());
        let query = Form::parse(head.uri.query().unwrap_or_default().as_bytes()).unwrap_or_default();
        let (identity, id_tokens) = (self.identity.clone(), self.id_tokens.clone());
        let visit = Visited::None;
        Box::new(Asked {
            identity,
            id_tokens,
            route,
            query,
            attempt: 0,
            proven_ago: 0,
            replies: vec![],
            then: None,
            visit,
            stranger: String::new(),
        })
    }
}

struct Asked {
    identity: Arc<Identity>,
    id_tokens: Arc<IdTokens>,
    route: Route,
    query: Form,
    attempt: u64,
    /// How long ago the connection proved its certificate, in milliseconds.
    proven_ago: u64,
    replies: Vec<IdentityReply>,
    /// What is asked once the first call was not refused.
    then: Option<identity::Call>,
    visit: Visited,
    /// Why a stranger was refused.
    stranger: String,
}

/// Where a request of a log-in stands; others are asked and answered in one round.
enum Visited {
    None,
    Going(Visit),
    /// These are submitted next.
    Onward(Visit, Vec<identity::Call>),
    /// This is thought about next.
    Thinking(Visit, Thought),
    /// This is asked outside the site next.
    Asking(Visit, Box<citizens::Question>),
    Done(Page),
}

impl Asked {
    /// The first step, where the request is one of a log-in or for a person's tokens.
    fn visit(
        &self,
        permit: &Permit,
        headers: &HeaderMap,
        body: &identity::Body,
        site: &dyn Reader,
    ) -> Result<Option<(Visit, Step)>, Fault> {
        let form = match (self.route, body) {
            (Route::Login(route), _) if !route.has_form() => Form::default(),
            // What is no form is told by the one-round path, or holds no ticket.
            _ => identity::read_form(headers, body.clone()).unwrap_or_default(),
        };
        let (query, attempt, certificate) = (self.query.clone(), self.attempt, permit.caller().certificate.as_str());
        let proven_ago = self.proven_ago;
        let asked = LoginAsked { headers, query, form, site, attempt, certificate, proven_ago };
        match self.route {
            Route::Login(route) => Visit::begin(&self.identity, route, &asked).map(Some),
            Route::Token => match self.identity.exchange(&asked)? {
                Some(visit) => Ok(Some(visit)),
                None => self.identity.trade(&asked),
            },
            Route::UserInfo if !permit.caller().user.is_empty() => Ok(Some(self.identity.api_user_info(&asked))),
            _ => Ok(None),
        }
    }

    /// Takes a step: what is next for the edge.
    fn step(&mut self, visit: Visit, step: Step, site: Option<&dyn Reader>) -> Next {
        match (step, site) {
            (Step::Submit(calls), _) => {
                self.visit = Visited::Going(visit);
                Next::Submit(calls.into_iter().map(call).collect())
            }
            (Step::Think(work), _) => {
                self.visit = Visited::Going(visit);
                Next::Think(work)
            }
            (Step::Ask(question), _) => {
                self.visit = Visited::Asking(visit, question);
                Next::Submit(vec![])
            }
            (Step::Done(page), Some(site)) => match self.finish(page, site) {
                Ok(reply) => Next::Answer(reply),
                Err(fault) => self.unreadable(&fault),
            },
            (Step::Done(page), None) => {
                self.visit = Visited::Done(page);
                Next::Submit(vec![])
            }
        }
    }

    /// What was heard outside the site goes to the visit that asked.
    fn tell(&mut self, heard: Heard) {
        self.visit = match std::mem::replace(&mut self.visit, Visited::None) {
            Visited::Going(mut visit) => match visit.heard(heard) {
                Step::Submit(calls) => Visited::Onward(visit, calls),
                Step::Done(page) => Visited::Done(page),
                Step::Think(work) => Visited::Thinking(visit, work),
                Step::Ask(question) => Visited::Asking(visit, question),
            },
            other => other,
        };
    }

    fn finish(&self, page: Page, site: &dyn Reader) -> Result<Reply, Fault> {
        let page = self.identity.finish(page, site, &mut |claims| self.id_tokens.sign(site, claims))?;
        Ok(render(page, &self.identity))
    }

    /// The registry of this node cannot be read now: nothing is guessed, and another node knows.
    fn unreadable(&self, fault: &Fault) -> Next {
        tracing::warn!(event = "identity.registry_unreadable", error = %fault, "a client could not be looked up");
        Next::Answer(self.refuse(&Refusal::new(&crate::ops::codes::NO_LEADER), ""))
    }
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
            Route::Login(route) if route.has_form() => BodyRule::Inline,
            _ => BodyRule::Ignored,
        }
    }

    /// The application's organisation, as far as the request names one; nothing of it is believed, and nothing given for it: the side
    /// that answers checks it.
    fn party(&self, form: &[u8], site: &dyn Reader) -> Result<Party, Fault> {
        let form = Form::parse(form).unwrap_or_default();
        let signed = form.get("client_assertion").and_then(|text| Jwt::parse(text).ok());
        let client = signed.as_ref().and_then(|jwt| jwt.claim("iss"));
        let client = client.or(form.get("client_id")).or(self.query.get("client_id"));
        match client {
            Some(client) => Ok(Party::Of(applications::application(site, client)?.map(|row| row.ods))),
            None if self.route.name() == "identity.userinfo" => Ok(Party::Callers),
            None => Ok(Party::Of(None)),
        }
    }

    fn party_is_in_body(&self) -> bool {
        self.body_rule() == BodyRule::Inline
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

    fn ask(&mut self, permit: &Permit, headers: &HeaderMap, body: Body, site: &dyn Reader, attempt: Attempt) -> Next {
        (self.attempt, self.proven_ago) = (attempt.number, attempt.proven_ago);
        let body = match body {
            Body::None => identity::Body::None,
            Body::Inline(bytes) => identity::Body::Inline(bytes),
            Body::Stored(_) | Body::TooLarge | Body::Skipped => identity::Body::TooLarge,
        };
        match self.visit(permit, headers, &body, site) {
            Ok(Some((mut visit, step))) => {
                self.stranger = std::mem::take(&mut visit.stranger);
                return self.step(visit, step, Some(site));
            }
            Ok(None) => {}
            Err(fault) => return self.unreadable(&fault),
        }
        match self.identity.ask(self.route, headers, body, site, attempt.number) {
            Ok(Ask::Answer(response)) => Next::Answer(reply(response)),
            Ok(Ask::Submit(first, then)) => {
                self.then = then;
                Next::Submit(vec![call(first)])
            }
            Err(fault) => self.unreadable(&fault),
        }
    }

    fn thought(&mut self, good: bool) -> Next {
        match std::mem::replace(&mut self.visit, Visited::None) {
            Visited::Going(mut visit) => {
                let step = visit.thought(good);
                self.step(visit, step, None)
            }
            other => {
                self.visit = other;
                Next::Submit(vec![])
            }
        }
    }

    fn replied(&mut self, replies: &[Bytes]) -> Result<Wait, Broken> {
        if let Some(reason) = Stranger::among(replies) {
            self.stranger = reason;
        }
        match std::mem::replace(&mut self.visit, Visited::None) {
            Visited::None => {
                for reply in replies {
                    self.replies.push(IdentityReply::of(reply)?);
                }
                if !self.replies.iter().all(Ask::goes_on) {
                    self.then = None;
                }
            }
            Visited::Going(mut visit) => {
                self.visit = match visit.replied(&self.identity, replies)? {
                    Step::Submit(calls) => Visited::Onward(visit, calls),
                    Step::Done(page) => Visited::Done(page),
                    Step::Think(work) => Visited::Thinking(visit, work),
                    Step::Ask(question) => Visited::Asking(visit, question),
                };
            }
            done => self.visit = done,
        }
        Ok(Wait::default())
    }

    fn thinks(&mut self) -> Option<Thought> {
        match std::mem::replace(&mut self.visit, Visited::None) {
            Visited::Thinking(visit, work) => {
                self.visit = Visited::Going(visit);
                Some(work)
            }
            other => {
                self.visit = other;
                None
            }
        }
    }

    fn asks(&mut self) -> Option<Question> {
        let (visit, question) = match std::mem::replace(&mut self.visit, Visited::None) {
            Visited::Asking(visit, question) => (visit, question),
            other => {
                self.visit = other;
                return None;
            }
        };
        self.visit = Visited::Going(visit);
        match IdTokens::sign_question(&question) {
            Some(signed) => {
                let form = question.form(&signed);
                Some(Question { form, address: question.address, ..Default::default() })
            }
            None => {
                tracing::error!(event = "identity.provider.key", "the key for the citizens' provider cannot be used");
                self.tell(Err("key_unusable"));
                None
            }
        }
    }

    fn heard(&mut self, heard: Heard) -> Vec<Call> {
        self.tell(heard);
        self.onward()
    }

    fn onward(&mut self) -> Vec<Call> {
        match std::mem::replace(&mut self.visit, Visited::None) {
            Visited::Onward(visit, calls) => {
                self.visit = Visited::Going(visit);
                calls.into_iter().map(call).collect()
            }
            other => {
                self.visit = other;
                self.then.take().map(call).into_iter().collect()
            }
        }
    }

    fn answer(&mut self, site: &dyn Reader, _: Option<&dyn Reader>) -> Result<Reply, Broken> {
        match std::mem::replace(&mut self.visit, Visited::None) {
            Visited::Done(page) => Ok(self.finish(page, site)?),
            _ => Ok(reply(self.identity.answer(self.route, &self.replies, self.attempt))),
        }
    }

    fn stranger(&self) -> Option<&str> {
        (!self.stranger.is_empty()).then_some(self.stranger.as_str())
    }

    fn refuse(&self, refusal: &Refusal, _: &str) -> Reply {
        api::refused(refusal)
    }
}

fn call(call: identity::Call) -> Call {
    Call::new(call.key, call.payload)
}

/// RFC 6749 §5.1: an answer with a token must not be kept by what stands in between; a page of a log-in neither.
const NO_STORE: (&str, Bytes) = ("cache-control", Bytes::from_static(b"no-store"));

fn reply(response: Response) -> Reply {
    let mut reply = api::json(response.status, &response.body);
    reply.headers.push(NO_STORE);
    if let Some(allow) = response.allow {
        reply.headers.push(("allow", Bytes::from_static(allow.as_bytes())));
    }
    reply
}

/// A page of a log-in: in no frame, with no script but the passkeys', kept nowhere, over TLS from now on, and without telling where one
/// comes from.
fn render(page: Page, identity: &Identity) -> Reply {
    let mut reply = match page.body {
        Content::Json(body) => api::json(page.status, &body),
        Content::Html(sheet) => html(page.status, &sheet, identity),
        Content::Script(text) => {
            let headers = vec![("content-type", Bytes::from_static(b"text/javascript; charset=utf-8"))];
            Reply { status: page.status, headers, body: ReplyBody::Bytes(text.into()) }
        }
        // What the registry was needed for is text by now; the rest is a redirect.
        _ => Reply { status: page.status, headers: vec![], body: ReplyBody::Bytes(Bytes::new()) },
    };
    reply.headers.push(NO_STORE);
    reply.headers.push(("referrer-policy", Bytes::from_static(b"no-referrer")));
    reply.headers.push(("x-content-type-options", Bytes::from_static(b"nosniff")));
    if !page.location.is_empty() {
        reply.headers.push(("location", page.location.into()));
    }
    if page.parts {
        reply.headers.push(("connection", Bytes::from_static(b"close")));
    }
    for cookie in page.cookies {
        reply.headers.push(("set-cookie", cookie.into()));
    }
    reply
}

fn html(status: u16, sheet: &Sheet, identity: &Identity) -> Reply {
    let mut headers = vec![
        ("content-type", Bytes::from_static(b"text/html; charset=utf-8")),
        ("content-security-policy", Bytes::from_static(sheet.policy().as_bytes())),
        ("x-frame-options", Bytes::from_static(b"DENY")),
    ];
    if let Some(told) = transport_security(identity.url()) {
        headers.push(("strict-transport-security", Bytes::from_static(told.as_bytes())));
    }
    Reply { status, headers, body: ReplyBody::Bytes(sheet.html(identity.site_name()).into()) }
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
