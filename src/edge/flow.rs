//! The request path on one page: limits → permit → body → turn → ask (→ think) → submit → view → answer.
//!
//! Nothing is read before the caller has a permit and its share. What writes runs in a task of its own: a client that
//! hangs up does not half-do it. Wherever the site cannot answer now, the answer is 503 or 429 with Retry-After, and
//! the request's token is made usable again where its use is in doubt (P3, spec/mesh.md §3.2).

use super::admit::{Admitted, Noted, Turned, admit};
use super::arriving::Arriving;
use super::body::{self, Reader};
use super::connection::Conn;
use super::payload::{Held, Payload};
use super::problem::Refusal;
use super::problem::kind_of;
use super::protocol::{Attempt, Body, BodyRule, Call, Exchange, Next, Wait};
use super::records;
use super::relay::{self, Course, Way, Whose};
use super::strangers::{self, Stranger};
use super::tenant::CertificateHash;
use super::trace::Trace;
use super::turns::{TooLong, Who};
use super::{AtWork, Edge, render};
use crate::access::{caller::Caller, gate::Permit};
use crate::engine::{Command, Outcome, Unavailable};
use crate::model::NhsNumber;
use crate::ops::codes::{self, Kind};
use crate::seam::spans::{Side, Step, Told};
use crate::services::directory::arrival;
use crate::services::trail::command::Refused;
use bytes::Bytes;
use futures_util::future::try_join_all;
use http::{HeaderMap, Request, Response, request::Parts};
use hyper::body::{Body as _, Incoming};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long an answer of unknown outcome waits for its token's release, so that a client's first retry finds it free.
const RELEASE_WAIT: Duration = Duration::from_secs(2);
/// Tries of a release, with a growing pause: about a minute, longer than any election.
const RELEASE_TRIES: u32 = 12;

/// One request's names in logs and answers.
#[derive(Clone)]
pub struct Ids {
    /// Names this attempt, whatever the client says.
    pub attempt: u64,
    pub correlation: String,
    /// The caller's own `x-request-id`, given back.
    pub request: Option<http::HeaderValue>,
    /// The answer names the correlation id: the caller gave it, or the protocol's clients are told ours.
    pub told: bool,
    pub trace: Trace,
}

impl Ids {
    /// The caller's own id as text, for the audit trail.
    pub(super) fn asked_as(&self) -> String {
        self.request.as_ref().and_then(|id| id.to_str().ok()).unwrap_or_default().to_owned()
    }
}

/// From a request's head to its answer's head.
pub async fn answer(conn: &Arc<Conn>, request: Request<Incoming>) -> Response<Payload> {
    let edge = &conn.edge;
    let in_flight = conn.active.begin();
    conn.rest.end().await;
    let begun = Instant::now();
    let _counted = Counted::new(&edge.meter.in_flight);
    let (head, body) = request.into_parts();
    let mut ids = ids(edge, &head.headers);
    let mut exchange = edge.protocol.begin(&head);
    ids.told |= exchange.names_correlation();
    let interaction = exchange.interaction();
    let step = ids.trace.step("request", Side::Asked);
    ids.trace.within(step.as_ref());

    let mut noted = Noted::default();
    let mut body = Arriving::new(body);
    let admitted = admit(conn, exchange.as_mut(), &head, &mut noted).await;
    let way = relay::way(conn, exchange.as_mut(), &head, &mut body, &admitted).await;
    let (relayed, tally) = (way.is_relayed(), way.tally());
    let (mut reply, mut held) = served(conn, exchange, (admitted, way), (head, body), &ids).await;
    let party = noted.party.unwrap_or_else(|| edge.nobody_came());
    if let Some(limit) = noted.limit {
        render::limit(&mut reply, limit);
    }
    held.in_flight = Some(in_flight);
    let status = reply.status().as_u16();
    // What was handed on is counted apart: operators compare the two.
    if !relayed {
        edge.meter.answered(interaction, status, begun.elapsed());
    }
    if let Some(tally) = tally {
        tally.add(arrival::Side::Local, status, begun.elapsed());
    }
    edge.busiest.answered(&party, kind_of(status).is_some(), begun.elapsed());
    ended(step, interaction, status);
    tracing::debug!(
        event = "request.done",
        interaction,
        status,
        correlation_id = ids.correlation,
        trace_id = ids.trace.id(),
        duration_ms = begun.elapsed().as_millis() as u64,
        "a request was answered"
    );
    reply.map(|payload| payload.hold(held))
}

/// The answer of whoever has to give it, and what is kept until its body is out.
async fn served(
    conn: &Arc<Conn>,
    mut exchange: Box<dyn Exchange>,
    (admitted, way): (Result<Admitted, Turned>, Way),
    (head, body): (Parts, Arriving),
    ids: &Ids,
) -> (Response<Payload>, Held) {
    let interaction = exchange.interaction();
    match (admitted, way) {
        (Ok(Admitted { permit, held, who }), Way::Here(here)) => {
            let course = here.map(|(_, course)| course);
            (work(conn, exchange, (permit, who), (head, body), course, ids).await, held)
        }
        (Ok(Admitted { permit, held, who }), Way::There(there)) => {
            let whose = Whose::Known(permit.into_caller(), who);
            (relay::answer(conn, exchange.as_mut(), there, whose, (&head, body), ids).await, held)
        }
        (Ok(Admitted { held, .. }), Way::No(refusal)) => {
            body.dismiss(conn, &head.headers);
            (render::refuse(exchange.as_ref(), &refusal, interaction, ids), held)
        }
        (Err(Turned { held, .. }), Way::There(there)) => {
            let whose = Whose::Stranger(conn.peer.caller().clone());
            (relay::answer(conn, exchange.as_mut(), there, whose, (&head, body), ids).await, held)
        }
        (Err(turned), _) => {
            body.dismiss(conn, &head.headers);
            let refusal = recorded(conn, interaction, exchange.subject(), turned, ids).await;
            (render::refuse(exchange.as_ref(), &refusal, interaction, ids), Held::default())
        }
    }
}

fn ended(step: Option<Step>, interaction: &'static str, status: u16) {
    let Some(mut step) = step else { return };
    step.tell("spine.interaction", Told::Word(interaction));
    step.tell("http.response.status_code", Told::Number(status.into()));
    if status >= 500 {
        step.failed();
    }
}

/// A refusal of the gate, once the audit trail tells of it: who was turned away from what (P4). Where the record cannot be
/// written the caller hears that instead (spec/identity.md §7). Those whom nobody knows are told of together (`strangers`).
async fn recorded(
    conn: &Conn,
    interaction: &'static str,
    subject: Option<NhsNumber>,
    turned: Turned,
    ids: &Ids,
) -> Refusal {
    let edge = &conn.edge;
    let Turned { refusal, who, held: _held } = turned;
    let Some(who) = who else {
        if matches!(refusal.code.kind, Kind::Unauthenticated | Kind::Forbidden) {
            let (caller, reason) = (conn.peer.caller(), refusal.code.code);
            strangers::turned_away(edge, Stranger { caller, interaction, reason, subject, known: false }, ids).await;
        }
        return refusal;
    };
    let (caller, who) = *who;
    let subject = subject.map(NhsNumber::digits).unwrap_or_default();
    let note = Refused {
        interaction: interaction.into(),
        code: refusal.code.code.into(),
        subject: subject.clone(),
        ..Default::default()
    };
    match records::leave(edge, note, &subject, (caller, who), ids).await {
        Ok(()) => refusal,
        Err(why) if why.code.code == codes::OVERLOADED.code => later(conn, why),
        Err(why) => why,
    }
}

pub fn overloaded(conn: &Conn) -> Refusal {
    let away = conn.edge.turns.refused();
    later(conn, Refusal::new(&codes::OVERLOADED).after(away))
}

/// Refuses for want of room, and holds the client to the Retry-After that it is told: to between a half and the whole of it,
/// since those who were refused together would come again together, and be refused again.
pub fn later(conn: &Conn, refusal: Refusal) -> Refusal {
    let told = Duration::from_secs(refusal.retry_after.unwrap_or_default().into());
    let spread = (conn.edge.attempt() % 1_024) as u32;
    conn.rest.begin(told / 2 + told * spread / 2_048);
    refusal
}

/// A turn, waited for in its row; or until when there is none.
async fn turn(conn: &Conn, who: Who) -> Result<AtWork, Refusal> {
    let _waits = Counted::new(&conn.edge.meter.waiting);
    let turn = conn.edge.turn(who).await;
    turn.map_err(|TooLong(away)| later(conn, Refusal::new(&codes::OVERLOADED).after(away)))
}

/// The body, a turn, then the work in a task of its own.
async fn work(
    conn: &Arc<Conn>,
    mut exchange: Box<dyn Exchange>,
    (permit, who): (Permit, Who),
    (head, body): (Parts, Arriving),
    course: Option<Course>,
    ids: &Ids,
) -> Response<Payload> {
    let edge = &conn.edge;
    let interaction = exchange.interaction();
    if let Some(reply) = exchange.at_once() {
        body.dismiss(conn, &head.headers);
        return render::reply(edge, reply, ids)
            .await
            .unwrap_or_else(|r| render::refuse(exchange.as_ref(), &r, interaction, ids));
    }
    let body = receive(conn, exchange.as_mut(), &head.headers, body).await;
    let moved = || course.map_or(Ok(()), |course| course.still(edge.backend.site().as_ref()));
    let body = match body.and_then(|body| moved().map(|()| body)) {
        Ok(body) => body,
        Err(refusal) => return render::refuse(exchange.as_ref(), &refusal, interaction, ids),
    };
    let turn = match turn(conn, who).await {
        Ok(turn) => turn,
        Err(refusal) => return render::refuse(exchange.as_ref(), &refusal, interaction, ids),
    };
    // The credentials that may be used once, if there are any.
    let token = head.headers.get(http::header::AUTHORIZATION).cloned();
    let forgiven = token.as_ref().map(|t| edge.forgiven.of(t.as_bytes())).unwrap_or_default();
    let attempt = Attempt { number: ids.attempt, forgiven, proven_ago: conn.age_ms() };
    let next = match exchange.ask(&permit, &head.headers, body, edge.backend.site().as_ref(), attempt) {
        Next::Answer(reply) => {
            drop(turn);
            let (reason, about) = (exchange.stranger().map(str::to_owned), (interaction, exchange.subject()));
            told(edge, reason, permit.caller(), about, ids).await;
            return render::reply(edge, reply, ids)
                .await
                .unwrap_or_else(|r| render::refuse(exchange.as_ref(), &r, interaction, ids));
        }
        next => next,
    };
    // Rendered while there is somebody to render it: the work takes the exchange with it.
    let late = exchange.patience(&head.headers).map(|patience| {
        let refusal = Refusal::from(Unavailable::Unknown);
        (patience, exchange.refuse(&refusal, &ids.correlation))
    });
    let (worker, names) = (edge.clone(), ids.clone());
    let done = tokio::spawn(async move {
        let response = carry_out(&worker, exchange, permit, who.0, next, &names).await;
        if let (Some(token), Some(Kind::Busy)) = (token, kind_of(response.status().as_u16())) {
            worker.forgiven.add(token.as_bytes(), names.attempt);
        }
        drop(turn);
        response
    });
    match late {
        None => done.await.unwrap_or_else(|_| broken()),
        // What was begun goes on, and the caller who comes again with its request id hears how it ended.
        Some((patience, reply)) => match tokio::time::timeout(patience, done).await {
            Ok(done) => done.unwrap_or_else(|_| broken()),
            Err(_) => render::reply(edge, reply, ids).await.unwrap_or_else(|_| broken()),
        },
    }
}

/// After a panic in the task: the connection ends without an answer, and the process does too in a release build.
fn broken() -> Response<Payload> {
    let mut response = Response::new(Payload::empty());
    *response.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR;
    response
}

async fn receive(
    conn: &Arc<Conn>,
    exchange: &mut dyn Exchange,
    headers: &HeaderMap,
    body: Arriving,
) -> Result<Body, Refusal> {
    let body = match body.open() {
        Ok(read) => return Ok(read),
        Err(body) => body,
    };
    if body.is_end_stream() {
        return Ok(Body::None);
    }
    let edge = &conn.edge;
    let mut reader = Reader::new(body, &edge.options);
    // A short body costs less than the question whether it is worth reading.
    let large = matches!(exchange.body_rule(), BodyRule::Payload | BodyRule::Document)
        && reader.announced().is_none_or(|n| n > super::options::INLINE_BODY as u64);
    let mut upload = None;
    if large {
        if !exchange.worth_reading(headers, edge.backend.site().as_ref(), edge.clock.now().0) {
            dismiss(conn, headers, reader.into_rest());
            return Ok(Body::Skipped);
        }
        let turn = tokio::time::timeout(edge.options.upload_patience, edge.uploads.acquire());
        upload = Some(turn.await.map_err(|_| overloaded(conn))?);
    }
    let read = body::read(&mut reader, exchange.body_rule(), edge.backend.as_ref()).await;
    drop(upload);
    edge.meter.request_bytes.increment(reader.received());
    if !matches!(read, Ok(Body::None | Body::Inline(_) | Body::Stored(_))) {
        dismiss(conn, headers, reader.into_rest());
    }
    read
}

/// Looks where the protocol wants to, then commands, then the answer as of their decision.
async fn carry_out(
    edge: &Arc<Edge>,
    mut exchange: Box<dyn Exchange>,
    permit: Permit,
    share: CertificateHash,
    next: Next,
    ids: &Ids,
) -> Response<Payload> {
    let interaction = permit.interaction();
    let mut caller = permit.into_caller();
    if let Some(granted) = exchange.granted() {
        granted.clone_into(&mut caller.granted);
    }
    let service = exchange.service().0;
    let command = |call: Call| Command {
        service,
        key: call.key,
        payload: call.payload,
        request_id: call.request_id,
        caller: caller.clone(),
        correlation_id: ids.correlation.clone(),
        asked_as: ids.asked_as(),
        trace: ids.trace.encode(),
        ..Default::default()
    };
    let calls = match looked(edge, exchange.as_mut(), share, next).await {
        Ok(Next::Submit(calls)) => calls,
        Ok(Next::Answer(reply)) => {
            return render::reply(edge, reply, ids)
                .await
                .unwrap_or_else(|r| render::refuse(exchange.as_ref(), &r, interaction, ids));
        }
        Ok(Next::Look | Next::Think(_)) => {
            let refusal = Refusal::new(&codes::FAULT).because("the protocol looked or thought twice");
            return render::refuse(exchange.as_ref(), &refusal, interaction, ids);
        }
        Err(refusal) => return render::refuse(exchange.as_ref(), &refusal, interaction, ids),
    };
    // Was the token used up, or may it have been, while the client is told to come again with it?
    let (refusal, spent) = match rounds(edge, exchange.as_mut(), share, calls, &command, ids).await {
        Ok(response) => {
            let (reason, about) = (exchange.stranger().map(str::to_owned), (interaction, exchange.subject()));
            told(edge, reason, &caller, about, ids).await;
            return response;
        }
        Err((refusal, spent)) => (refusal, spent),
    };
    if spent && let Some(call) = exchange.release() {
        release(edge, command(call)).await;
    }
    render::refuse(exchange.as_ref(), &refusal, interaction, ids)
}

/// Where the service turned away somebody whom nobody knows: the trail tells of it, with others.
async fn told(
    edge: &Edge,
    reason: Option<String>,
    caller: &Caller,
    (interaction, subject): (&'static str, Option<NhsNumber>),
    ids: &Ids,
) {
    if let Some(reason) = reason.as_deref() {
        strangers::turned_away(edge, Stranger { caller, interaction, reason, subject, known: false }, ids).await;
    }
}

/// The protocol's next step once it has thought, or seen the rows that it asked for; any other step as it is.
async fn looked(edge: &Edge, exchange: &mut dyn Exchange, share: CertificateHash, next: Next) -> Result<Next, Refusal> {
    let next = match next {
        Next::Think(work) => exchange.thought(edge.thoughts.think(share, work).await?),
        next => next,
    };
    if !matches!(next, Next::Look) {
        return Ok(next);
    }
    let views = edge.backend.views_now().await?;
    let views: Vec<&dyn crate::store::Reader> = views.iter().map(|view| view.as_ref() as _).collect();
    Ok(exchange.looked(&views))
}

/// Rounds of commands one after the other that a request may take: records merged into others are followed so far.
const MOST_ROUNDS: usize = 8;

/// Commands, those that follow from their replies, and the answer. An error says whether the request's token was, or may
/// have been, used up.
async fn rounds(
    edge: &Edge,
    exchange: &mut dyn Exchange,
    share: CertificateHash,
    mut calls: Vec<Call>,
    command: &(impl Fn(Call) -> Command + Sync),
    ids: &Ids,
) -> Result<Response<Payload>, (Refusal, bool)> {
    let done = |refusal: Refusal| {
        let spent = refusal.code.kind == Kind::Busy;
        (refusal, spent)
    };
    for _ in 0..MOST_ROUNDS {
        let outcomes = submit(edge, calls.into_iter().map(command).collect())
            .await
            .map_err(|why| (Refusal::from(why.clone()), !why.retry_is_safe()))?;
        let replies: Vec<Bytes> = outcomes.iter().map(|o| o.reply.clone()).collect();
        let wait = exchange.replied(&replies).map_err(|broken| done(broken.into()))?;
        calls = onward(edge, exchange, share, ids).await.map_err(|refusal| (refusal, false))?;
        if calls.is_empty() {
            return finish(edge, exchange, &outcomes, wait, ids).await.map_err(done);
        }
    }
    Err((Refusal::new(&codes::FAULT).because("a request went on and on"), false))
}

/// The calls that follow from what was decided, after what the protocol wants to think about or to ask outside.
async fn onward(
    edge: &Edge,
    exchange: &mut dyn Exchange,
    share: CertificateHash,
    ids: &Ids,
) -> Result<Vec<Call>, Refusal> {
    if let Some(work) = exchange.thinks() {
        let good = edge.thoughts.think(share, work).await?;
        return match exchange.thought(good) {
            Next::Submit(calls) => Ok(calls),
            _ => Err(Refusal::new(&codes::FAULT).because("a thought led nowhere")),
        };
    }
    if let Some(mut question) = exchange.asks() {
        let step = ids.trace.step("outside.ask", Side::Asks);
        question.trace = ids.trace.headers(step.as_ref());
        let heard = edge.outside.ask(share, edge.backend.ask(&question)).await;
        return Ok(exchange.heard(heard));
    }
    Ok(exchange.onward())
}

async fn submit(edge: &Edge, mut commands: Vec<Command>) -> Result<Vec<Outcome>, Unavailable> {
    match (commands.pop(), commands.is_empty()) {
        (Some(only), true) => Ok(vec![edge.backend.submit(only).await?]),
        (Some(last), false) => {
            commands.push(last);
            try_join_all(commands.into_iter().map(|c| edge.backend.submit(c))).await
        }
        (None, _) => Ok(vec![]),
    }
}

/// What is decided, as an answer: waits for what the protocol wants to see, and opens the body.
async fn finish(
    edge: &Edge,
    exchange: &mut dyn Exchange,
    outcomes: &[Outcome],
    wait: Wait,
    ids: &Ids,
) -> Result<Response<Payload>, Refusal> {
    let mut view = None;
    if let Some(outcome) = outcomes.get(wait.call) {
        let _step = ids.trace.step("engine.view", Side::Within);
        if wait.deliveries {
            edge.backend.settled(outcome).await;
        }
        view = match wait.other {
            Some(other) => Some(edge.backend.view(other, 0).await?),
            None if wait.view => Some(edge.backend.view(outcome.partition, outcome.index).await?),
            None => None,
        };
    }
    let site = edge.backend.site();
    let reply = exchange.answer(site.as_ref(), view.as_ref().map(|v| v.as_ref() as _))?;
    render::reply(edge, reply, ids).await
}

/// Makes a token usable again, in the background after a moment; bounded, because each holds a place in a queue.
async fn release(edge: &Arc<Edge>, command: Command) {
    let Ok(place) = edge.releases.clone().try_acquire_owned() else { return };
    let edge = edge.clone();
    let released = tokio::spawn(async move {
        let _place = place;
        let mut pause = Duration::from_millis(50);
        for _ in 0..RELEASE_TRIES {
            if edge.backend.submit(command.clone()).await.is_ok() {
                return;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(10));
        }
    });
    let _ = tokio::time::timeout(RELEASE_WAIT, released).await;
}

/// Longest id taken from a client, in characters: a UUID has 36.
const MAX_ID: usize = 64;

fn ids(edge: &Edge, headers: &HeaderMap) -> Ids {
    let plain = |v: &http::HeaderValue| {
        let bytes = v.as_bytes();
        !bytes.is_empty()
            && bytes.len() <= MAX_ID
            && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b))
    };
    let given = |name| headers.get(name).filter(|v| plain(v));
    let attempt = edge.attempt();
    let correlation = given("x-correlation-id").and_then(|v| v.to_str().ok());
    Ids {
        attempt,
        told: correlation.is_some(),
        correlation: correlation.map_or_else(|| format!("{attempt:016x}"), str::to_owned),
        request: given("x-request-id").cloned(),
        trace: Trace::of(headers),
    }
}

/// Reads the rest of an unwanted body away, so that its sender gets to see the answer.
pub(super) fn dismiss(conn: &Arc<Conn>, headers: &HeaderMap, body: Incoming) {
    // Who waits for a 100 has not sent the body, and must not be told to.
    if body.is_end_stream() || headers.contains_key(http::header::EXPECT) {
        return;
    }
    let Ok(place) = conn.edge.discards.clone().try_acquire_owned() else { return };
    let in_flight = conn.active.begin();
    tokio::spawn(async move {
        body::discard(body).await;
        drop((in_flight, place));
    });
}

/// Counts a request in a gauge as long as it lives.
struct Counted<'a>(&'a metrics::Gauge);

impl<'a> Counted<'a> {
    fn new(gauge: &'a metrics::Gauge) -> Self {
        gauge.increment(1.0);
        Counted(gauge)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}
