//! Requests that the system being replaced answers (phased arrival): which they are, how they are handed on, what becomes of their
//! answers. A request is judged here first as any other: certificate, share, form, credentials, permit (P5, P6).
//!
//! Invariants:
//! - A request is answered by one side, whole: what the registry says when it is let in holds to its end.
//! - Nothing of a known caller is sent before its audit record is durable; nothing of one whom only the other system knows is shown
//!   before that (P4).
//! - It is sent once. Whoever hears 502 to 504 is told whether it may have been heard.

use super::Edge;
use super::admit::{Admitted, Turned};
use super::arriving::Arriving;
use super::connection::Conn;
use super::flow::Ids;
use super::payload::Payload;
use super::problem::Refusal;
use super::protocol::{Exchange, Party};
use super::relays::{Outcome, Relays};
use super::render;
use super::strangers::{self, Stranger};
use super::tally::Both;
use super::turns::{TooLong, Who};
use super::upstream::{Answer, Progress, Trouble, Upstream};
use crate::access::caller::Caller;
use crate::engine::draft::Fault;
use crate::engine::{Command, services};
use crate::model::NhsNumber;
use crate::ops::codes;
use crate::seam::spans::{self, Told};
use crate::services::directory::applications;
use crate::services::directory::arrival::{self, Found, Side};
use crate::services::trail::command::{RELAYED, Relayed, TrailCommand};
use crate::store::Reader;
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response, request::Parts};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

/// After which a message to somebody who is moving is tried again.
const MOVE: Duration = Duration::from_secs(60);

/// Where a request is answered.
pub enum Way {
    /// Here; and what counts it, where its service is one that moves.
    Here(Option<Arc<Both>>),
    There(There),
    /// Nowhere.
    No(Refusal),
}

impl Way {
    pub fn is_relayed(&self) -> bool {
        matches!(self, Way::There(_))
    }
    /// What counts the answers of this site.
    pub fn tally(&self) -> Option<Arc<Both>> {
        match self {
            Way::Here(tally) => tally.clone(),
            _ => None,
        }
    }
}

/// The other system, for one request.
pub struct There {
    relays: Arc<Relays>,
    service: &'static str,
    found: Found,
    tally: Arc<Both>,
}

/// Whose request is handed on.
pub enum Whose {
    /// Somebody whom the gate let in, with the row that they wait in.
    Known(Caller, Who),
    /// Somebody whose credentials this site does not know, and the other may.
    Stranger(Caller),
}

/// Where a request is answered, as this node's registry has it now.
pub async fn way(
    conn: &Conn,
    exchange: &mut dyn Exchange,
    head: &Parts,
    body: &mut Arriving,
    admitted: &Result<Admitted, Turned>,
) -> Way {
    let edge = &conn.edge;
    let word = exchange.interaction().split('.').next().unwrap_or_default();
    let service = arrival::SERVICES.iter().find(|service| **service == word);
    let (Some(service), Some(relays)) = (service, edge.backend.relays()) else { return Way::Here(None) };
    let site = edge.backend.site();
    match arrival::is_arriving(site.as_ref(), service) {
        Ok(true) => {}
        Ok(false) => return Way::Here(None),
        Err(fault) => return unreadable(&fault),
    }
    let caller = match admitted {
        Ok(admitted) => Some(admitted.permit.caller()),
        Err(turned) if is_elsewhere_perhaps(turned) => None,
        Err(_) => return Way::Here(None),
    };
    if caller.is_some()
        && exchange.party_is_in_body()
        && let Err(refusal) = body.read(conn, exchange.body_rule()).await
    {
        return Way::No(refusal);
    }
    let sides = sides(exchange, site.as_ref(), service, caller, (&head.headers, body.form()));
    let (found, other) = match sides {
        Ok(sides) => sides,
        Err(fault) => return unreadable(&fault),
    };
    match other {
        Some(other) if other.side != found.side => return Way::No(Refusal::new(&codes::RECIPIENT_ELSEWHERE)),
        Some(other) if other.hold => return Way::No(Refusal::new(&codes::RECIPIENT_MOVES).after(MOVE)),
        _ => {}
    }
    let tally = relays.tallies.of(service, &found);
    match found.side {
        Side::Local => Way::Here(Some(tally)),
        Side::Relay => Way::There(There { relays, service, found, tally }),
    }
}

/// Where the request is answered, and where those of whoever it is for, should there be such a one.
fn sides(
    exchange: &dyn Exchange,
    site: &dyn Reader,
    service: &str,
    caller: Option<&Caller>,
    (headers, form): (&HeaderMap, &[u8]),
) -> Result<(Found, Option<Found>), Fault> {
    let ods = match (exchange.party(form, site)?, caller) {
        (_, None) => None,
        (Party::Of(ods), _) => ods,
        (Party::Callers, Some(caller)) if caller.application.is_empty() => Some(caller.ods.clone()),
        (Party::Callers, Some(caller)) => applications::application(site, &caller.application)?.map(|row| row.ods),
    };
    let found = arrival::found(site, service, ods.as_deref())?;
    let other = match exchange.counterpart(headers, site)? {
        Some(ods) => Some(arrival::found(site, service, Some(&ods))?),
        None => None,
    };
    Ok((found, other))
}

/// A key or token that nobody has here: while everybody's requests are handed on, most are the other system's to know. What was
/// revoked here, and whoever shows nothing, is refused here.
fn is_elsewhere_perhaps(turned: &Turned) -> bool {
    let unknown = [codes::TOKEN_UNKNOWN.code, codes::KEY_UNKNOWN.code].contains(&turned.refusal.code.code);
    unknown && turned.who.as_ref().is_none_or(|who| who.0.application.is_empty())
}

/// Nothing is guessed: the wrong side would take a message that nobody finds. Another node knows.
fn unreadable(fault: &Fault) -> Way {
    tracing::warn!(event = "relay.registry_unreadable", error = %fault, "it is not known here who answers a request");
    Way::No(Refusal::new(&codes::NO_LEADER).because(fault.to_string()))
}

/// From a request that was let in to the other system's answer, or a refusal in the service's own shape.
pub async fn answer(
    conn: &Arc<Conn>,
    exchange: &mut dyn Exchange,
    there: There,
    whose: Whose,
    (head, body): (&Parts, Arriving),
    ids: &Ids,
) -> Response<Payload> {
    let begun = Instant::now();
    let _counted = there.relays.on_its_way(there.service);
    let about = (exchange.interaction(), exchange.subject());
    let done = hand_on(conn, about, &there, whose, (head, body), ids).await;
    let (response, outcome) = match done {
        Ok(response) => {
            let outcome = Outcome::of_status(response.status().as_u16());
            (response, outcome)
        }
        Err((refusal, outcome)) => (refused(exchange, &refusal, ids), outcome),
    };
    there.relays.count(there.service, outcome, begun.elapsed());
    there.tally.add(Side::Relay, response.status().as_u16(), begun.elapsed());
    response
}

/// In the service's shape, under the status that says what happened.
fn refused(exchange: &dyn Exchange, refusal: &Refusal, ids: &Ids) -> Response<Payload> {
    let mut response = render::refuse(exchange, refusal, exchange.interaction(), ids);
    if refusal.is_upstream() {
        *response.status_mut() = refusal.status();
    }
    response
}

async fn hand_on(
    conn: &Arc<Conn>,
    (interaction, subject): (&'static str, Option<NhsNumber>),
    there: &There,
    whose: Whose,
    (head, body): (&Parts, Arriving),
    ids: &Ids,
) -> Result<Response<Payload>, (Refusal, Outcome)> {
    let edge = &conn.edge;
    let unsent = |refusal: Refusal| (refusal, Outcome::Unsent);
    let troubled = |trouble: Trouble| {
        let outcome = Outcome::of_trouble(&trouble);
        (told(there.service, &trouble), outcome)
    };
    let Some(upstream) = there.relays.upstream(there.service) else {
        body.dismiss(conn, &head.headers);
        return Err(unsent(Refusal::new(&codes::UPSTREAM_MISSING)));
    };
    let place = match upstream.place() {
        Ok(place) => place,
        Err(trouble) => {
            body.dismiss(conn, &head.headers);
            return Err(troubled(trouble));
        }
    };
    let note = Relayed { interaction: interaction.into(), party: there.found.party.clone(), ..Default::default() };
    let stranger = match whose {
        Whose::Known(caller, who) => {
            if let Err(refusal) = record(edge, note.clone(), subject, caller, who, ids).await {
                body.dismiss(conn, &head.headers);
                return Err(unsent(refusal));
            }
            None
        }
        Whose::Stranger(caller) => Some(caller),
    };
    let sent = Progress::begin();
    let (payload, broken) = body.pour(conn, &sent).map_err(unsent)?;
    let request = onward(head, &upstream, &conn.peer.caller().address, payload);
    let answer = match asked(&upstream, place, request, &sent, interaction, ids).await {
        Ok(answer) => answer,
        // The caller's own fault, where the caller sent no whole request.
        Err(trouble) => return Err(broken.get().cloned().map(unsent).unwrap_or_else(|| troubled(trouble))),
    };
    let status = answer.head.status.as_u16();
    match stranger {
        // Whom the other does not know either: told of together, so that a flood cannot fill the trail.
        Some(caller) if matches!(status, 401 | 403) => {
            let stranger = Stranger { caller: &caller, interaction, reason: RELAYED, subject, known: false };
            strangers::told(edge.as_ref(), edge.clock.now().0, stranger, (&ids.correlation, ids.asked_as())).await;
        }
        Some(caller) => {
            let who = (conn.peer.hash, super::turns::Class::Usual);
            let recorded = record(edge, Relayed { status, ..note }, subject, caller, who, ids).await;
            recorded.map_err(|refusal| {
                let why = refusal.private().to_owned();
                (Refusal::new(&codes::OUTCOME_UNKNOWN).because(why), Outcome::of_status(status))
            })?;
        }
        None => {}
    }
    Ok(back(answer))
}

/// Sends it, as a step of its own in the trace: the other system's are below that one.
async fn asked(
    upstream: &Arc<Upstream>,
    place: OwnedSemaphorePermit,
    mut request: Request<Payload>,
    sent: &Progress,
    interaction: &'static str,
    ids: &Ids,
) -> Result<Answer, Trouble> {
    let mut step = ids.trace.step("relay.ask", spans::Side::Asks);
    ids.trace.headers(step.as_ref()).into_iter().for_each(|(name, value)| {
        request.headers_mut().insert(name, value);
    });
    let answer = upstream.send(place, request, sent).await;
    if let Some(step) = &mut step {
        step.tell("spine.interaction", Told::Word(interaction));
        match &answer {
            Ok(answer) => {
                step.tell("http.response.status_code", Told::Number(answer.head.status.as_u16().into()));
                if answer.head.status.is_server_error() {
                    step.failed();
                }
            }
            Err(_) => step.failed(),
        }
    }
    answer
}

/// Leaves the record of a request that is handed on, where the person's other records are.
async fn record(
    edge: &Edge,
    mut note: Relayed,
    subject: Option<NhsNumber>,
    caller: Caller,
    who: Who,
    ids: &Ids,
) -> Result<(), Refusal> {
    note.subject = subject.map(NhsNumber::digits).unwrap_or_default();
    let key = match note.subject.is_empty() {
        false => Bytes::copy_from_slice(note.subject.as_bytes()),
        true => Bytes::copy_from_slice(&who.0),
    };
    let command = Command {
        service: services::TRAIL.0,
        key,
        payload: TrailCommand::from(note).encode(),
        caller,
        correlation_id: ids.correlation.clone(),
        asked_as: ids.asked_as(),
        trace: ids.trace.encode(),
        ..Default::default()
    };
    // The turn is for the record alone: while the other system works, nothing of this one is taken.
    let _turn = match edge.turn(who).await {
        Ok(turn) => turn,
        Err(TooLong(away)) => return Err(Refusal::new(&codes::OVERLOADED).after(away)),
    };
    edge.backend.submit(command).await.map(|_| ()).map_err(Refusal::from)
}

fn told(service: &'static str, trouble: &Trouble) -> Refusal {
    let code = match trouble {
        Trouble::Crowded => &codes::UPSTREAM_CROWDED,
        Trouble::Unreached(_) => &codes::UPSTREAM_UNREACHABLE,
        Trouble::Untrusted(_) => &codes::UPSTREAM_UNTRUSTED,
        Trouble::Late => &codes::UPSTREAM_LATE,
        Trouble::Broken(_) => &codes::UPSTREAM_BROKEN,
    };
    let why = trouble.to_string();
    tracing::warn!(event = "relay.failed", service, code = code.code, why, "a request was not answered upstream");
    Refusal::new(code).because(why)
}

/// Headers that are about one connection and go no further (RFC 9110 §7.6.1), and those that are made anew.
const OF_ONE_HOP: [HeaderName; 8] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];
static FORWARDED: HeaderName = HeaderName::from_static("forwarded");
static TRACE_PARENT: HeaderName = HeaderName::from_static("traceparent");
static TRACE_STATE: HeaderName = HeaderName::from_static("tracestate");

/// Headers without those of one hop, and without those that `connection` names.
fn end_to_end(headers: &HeaderMap) -> HeaderMap {
    let mut kept = headers.clone();
    for value in headers.get_all(header::CONNECTION) {
        for name in value.to_str().unwrap_or_default().split(',').map(str::trim) {
            kept.remove(name);
        }
    }
    OF_ONE_HOP.iter().for_each(|name| drop(kept.remove(name)));
    kept.append(header::VIA, HeaderValue::from_static("1.1 spine"));
    kept
}

/// The request as it goes on: as it came, but for what is about its connection. Whence it came is told by us: what the caller says of
/// that itself is not passed on.
fn onward(head: &Parts, upstream: &Upstream, from: &str, body: Payload) -> Request<Payload> {
    let mut request = Request::new(body);
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    *request.method_mut() = head.method.clone();
    *request.uri_mut() = upstream.path(path).parse().unwrap_or_default();
    let mut headers = end_to_end(&head.headers);
    let asked_of = headers.remove(header::HOST).and_then(|host| host.to_str().ok().map(str::to_owned));
    let asked_of = asked_of.or_else(|| head.uri.authority().map(|authority| authority.to_string()));
    let from = if from.contains(':') { format!("\"[{from}]\"") } else { from.to_owned() };
    let host: String = asked_of.unwrap_or_default().chars().filter(|c| !"\"\\".contains(*c)).collect();
    // The length is the body's own; the trace is what this site made of it.
    for name in [&header::CONTENT_LENGTH, &header::EXPECT, &FORWARDED, &TRACE_PARENT, &TRACE_STATE] {
        headers.remove(name);
    }
    for (name, value) in [
        (FORWARDED.clone(), format!("for={from};host=\"{host}\";proto=https")),
        (header::HOST, upstream.host().to_owned()),
    ] {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    }
    *request.headers_mut() = headers;
    request
}

/// The answer as it comes back: as the other system gave it, but for what is about its connection.
fn back(answer: Answer) -> Response<Payload> {
    let payload = match answer.body {
        Some((pieces, length)) => Payload::pieces(pieces, length),
        None => Payload::empty(),
    };
    let mut response = Response::new(payload);
    *response.status_mut() = answer.head.status;
    *response.headers_mut() = end_to_end(&answer.head.headers);
    response
}
