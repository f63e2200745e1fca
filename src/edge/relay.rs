//! Requests that the system being replaced answers (phased arrival): which they are, how they are handed on, what becomes of their
//! answers. A request is judged here first as any other: certificate, share, form, credentials, permit (P5, P6).
//!
//! Invariants:
//! - A request is answered by one side, whole: what the registry says when it is let in holds to its end.
//! - Nothing of a known caller is sent before its audit record is durable; nothing of one whom only the other system knows is shown
//!   before that (P4).
//! - It is sent once. Whoever hears 502 to 504 is told whether it may have been heard.
//! - A message that took its time to come ends where its organisations are when it is whole, or nowhere.
//! - Nobody reaches more there than requests of the services that are handed on (P5).

use super::Edge;
use super::admit::{Admitted, Turned};
use super::arriving::Arriving;
use super::connection::Conn;
use super::crowd::{Place, Sender};
use super::flow::Ids;
use super::onward;
use super::payload::Payload;
use super::problem::Refusal;
use super::protocol::{BodyRule, Exchange, Party};
use super::records;
use super::relays::{Outcome, Relays};
use super::render;
use super::strangers::{self, Stranger};
use super::tally::Both;
use super::tenant::CertificateHash;
use super::turns::Who;
use super::upstream::{Answer, Progress, Trouble, Upstream};
use crate::access::caller::Caller;
use crate::engine::draft::Fault;
use crate::model::NhsNumber;
use crate::ops::codes;
use crate::seam::spans::{self, Told};
use crate::services::directory::applications;
use crate::services::directory::arrival::{self, Found, Side};
use crate::services::trail::command::{RELAYED, Relayed};
use crate::store::Reader;
use http::{HeaderMap, Request, Response, request::Parts};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// After which a message to somebody who is moving is tried again.
const MOVE: Duration = Duration::from_secs(60);

/// The last words of interactions that are no request of their service: they are answered here, so that nobody comes to whatever else
/// there is behind the other system's address.
const OF_NO_SERVICE: [&str; 4] = ["not_found", "method_not_allowed", "not_supported", "other"];

/// A body that is whole within this time goes where its request went: a switch takes as long to be known on every node.
const PROMPT: Duration = Duration::from_secs(1);

/// Where a request is answered.
pub enum Way {
    /// Here; and where its service is one that moves, what counts it, and by whose lines it is answered here.
    Here(Option<(Arc<Both>, Course)>),
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
            Way::Here(Some((tally, _))) => Some(tally.clone()),
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
    course: Course,
}

/// By whose lines it was said where a request is answered.
#[derive(Clone)]
pub struct Course {
    service: &'static str,
    ods: Option<String>,
    counterpart: Option<String>,
    side: Side,
    begun: Instant,
    /// It leaves a message that somebody has to find.
    is_message: bool,
}

impl Course {
    fn look(&self, site: &dyn Reader) -> Result<(Found, Option<Found>), Fault> {
        let found = arrival::found(site, self.service, self.ods.as_deref())?;
        let other = self.counterpart.as_deref().map(|ods| arrival::found(site, self.service, Some(ods)));
        Ok((found, other.transpose()?))
    }

    /// Once its body is whole, an hour after its head perhaps: whether it may still end where it began. Where the recipient has moved
    /// meanwhile, nobody would find the message; its sender comes again.
    pub fn still(&self, site: &dyn Reader) -> Result<(), Refusal> {
        if !self.is_message || self.begun.elapsed() < PROMPT {
            return Ok(());
        }
        match self.look(site) {
            Ok((found, other)) => {
                let stays = found.side == self.side && other.is_none_or(|other| other.side == self.side && !other.hold);
                if stays { Ok(()) } else { Err(Refusal::new(&codes::RECIPIENT_MOVES)) }
            }
            Err(fault) => Err(Refusal::new(&codes::NO_LEADER).because(fault.to_string())),
        }
    }
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
    conn: &Arc<Conn>,
    exchange: &mut dyn Exchange,
    head: &Parts,
    body: &mut Arriving,
    admitted: &Result<Admitted, Turned>,
) -> Way {
    let (edge, begun) = (&conn.edge, Instant::now());
    let (word, last) = exchange.interaction().split_once('.').unwrap_or_default();
    let last = last.rsplit('.').next().unwrap_or_default();
    // Nor what empties mailboxes of a test site.
    if OF_NO_SERVICE.contains(&last) || last.starts_with("admin_") {
        return Way::Here(None);
    }
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
        && let Err(refusal) = body.read(conn, &head.headers, exchange.body_rule()).await
    {
        return Way::No(refusal);
    }
    let parties = parties(exchange, site.as_ref(), caller, (&head.headers, body.form()));
    let is_message = exchange.body_rule() == BodyRule::Payload;
    let course =
        parties.map(|(ods, counterpart)| Course { service, ods, counterpart, side: Side::Local, begun, is_message });
    let looked = course.and_then(|course| course.look(site.as_ref()).map(|sides| (course, sides)));
    let (course, (found, other)) = match looked {
        Ok(looked) => looked,
        Err(fault) => return unreadable(&fault),
    };
    let course = Course { side: found.side, ..course };
    match other {
        Some(other) if other.side != found.side => return Way::No(Refusal::new(&codes::RECIPIENT_ELSEWHERE)),
        Some(other) if other.hold => return Way::No(Refusal::new(&codes::RECIPIENT_MOVES).after(MOVE)),
        _ => {}
    }
    let tally = relays.tallies.of(service, &found);
    match found.side {
        Side::Local => Way::Here(Some((tally, course))),
        Side::Relay if !onward::is_straight(head.uri.path()) => {
            Way::No(Refusal::new(&codes::BAD_REQUEST).because("a path that steps back"))
        }
        Side::Relay => Way::There(There { relays, service, found, tally, course }),
    }
}

/// Whose request it is, and whom it is for, should there be such a one.
fn parties(
    exchange: &dyn Exchange,
    site: &dyn Reader,
    caller: Option<&Caller>,
    (headers, form): (&HeaderMap, &[u8]),
) -> Result<(Option<String>, Option<String>), Fault> {
    let ods = match (exchange.party(form, site)?, caller) {
        (_, None) => None,
        (Party::Of(ods), _) => ods,
        (Party::Callers, Some(caller)) if caller.application.is_empty() => Some(caller.ods.clone()),
        (Party::Callers, Some(caller)) => applications::application(site, &caller.application)?.map(|row| row.ods),
    };
    Ok((ods, exchange.counterpart(headers, site)?))
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

/// What came of it: the answer, or the refusal with the word that it is counted under.
type Done = Result<Answer, (Refusal, Outcome)>;

fn unsent(refusal: Refusal) -> (Refusal, Outcome) {
    (refusal, Outcome::Unsent)
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
    let sender = match &whose {
        Whose::Known(_, who) => Sender { share: who.0, known: true },
        Whose::Stranger(_) => Sender { share: conn.peer.hash, known: false },
    };
    let (upstream, place) = match place(there, sender, &body, ids) {
        Ok(found) => found,
        Err(refused) => {
            body.dismiss(conn, &head.headers);
            return Err(refused);
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
    let (payload, broken) = body.pour(conn, &sent, there.course.clone()).map_err(unsent)?;
    let request = onward::request(head, &upstream, &conn.peer.caller().address, payload);
    let request = request.map_err(|e| unsent(Refusal::new(&codes::BAD_REQUEST).because(e.to_string())))?;
    let (service, names) = (there.service, ids.clone());
    let asked = async move {
        let answer = asked(&upstream, place, request, &sent, interaction, &names).await;
        // The caller's own fault, where the caller sent no whole request.
        let at_fault =
            |trouble: Trouble| broken.get().cloned().map(unsent).unwrap_or_else(|| told(service, &trouble, &names));
        answer.map_err(at_fault)
    };
    let answer = match stranger {
        None => asked.await?,
        Some(caller) => {
            let about = OfStranger { caller, share: conn.peer.hash, interaction, subject, note, ids: ids.clone() };
            let edge = edge.clone();
            // A task of its own: whoever hangs up is told of all the same.
            let done = tokio::spawn(async move { about.recorded(&edge, asked.await).await });
            let lost = |_| unsent(Refusal::new(&codes::FAULT).because("a request was lost on its way"));
            done.await.unwrap_or_else(|e| Err(lost(e)))?
        }
    };
    Ok(onward::back(answer))
}

/// Whither a request goes, and its place there.
fn place(
    there: &There,
    sender: Sender,
    body: &Arriving,
    ids: &Ids,
) -> Result<(Arc<Upstream>, Place), (Refusal, Outcome)> {
    if body.is_too_large() {
        return Err(unsent(Refusal::new(&codes::BODY_TOO_LARGE)));
    }
    let Some(upstream) = there.relays.upstream(there.service) else {
        return Err(unsent(Refusal::new(&codes::UPSTREAM_MISSING)));
    };
    let place = upstream.place(sender).map_err(|trouble| told(there.service, &trouble, ids))?;
    Ok((upstream, place))
}

/// Somebody whom nobody here knows, and what was asked.
struct OfStranger {
    caller: Caller,
    share: CertificateHash,
    interaction: &'static str,
    subject: Option<NhsNumber>,
    note: Relayed,
    ids: Ids,
}

impl OfStranger {
    /// What came of the request, once the trail tells of it. Those whom the other system does not know either, and those of whom it heard
    /// nothing whole, are told of together, so that a flood cannot fill the trail.
    async fn recorded(self, edge: &Edge, done: Done) -> Done {
        let status = done.as_ref().map_or(0, |answer| answer.head.status.as_u16());
        let heard = match &done {
            Ok(_) => !matches!(status, 401 | 403),
            Err((_, outcome)) => matches!(outcome, Outcome::Late | Outcome::Broken),
        };
        let OfStranger { caller, share, interaction, subject, note, ids } = self;
        if !heard {
            let stranger = Stranger { caller: &caller, interaction, reason: RELAYED, subject, known: false };
            strangers::told(edge, edge.clock.now().0, stranger, (&ids.correlation, ids.asked_as())).await;
            return done;
        }
        let who = (share, super::turns::Class::Usual);
        match record(edge, Relayed { status, ..note }, subject, caller, who, &ids).await {
            Ok(()) => done,
            Err(refusal) => {
                let why = refusal.private().to_owned();
                Err((Refusal::new(&codes::OUTCOME_UNKNOWN).because(why), Outcome::of_status(status)))
            }
        }
    }
}

/// Sends it, as a step of its own in the trace: the other system's are below that one.
async fn asked(
    upstream: &Arc<Upstream>,
    place: Place,
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
    let about = note.subject.clone();
    records::leave(edge, note, &about, (caller, who), ids).await
}

/// A request that the other system did not answer, for the log and for whoever asked.
fn told(service: &'static str, trouble: &Trouble, ids: &Ids) -> (Refusal, Outcome) {
    let code = match trouble {
        Trouble::Crowded => &codes::UPSTREAM_CROWDED,
        Trouble::Unreached(_) => &codes::UPSTREAM_UNREACHABLE,
        Trouble::Untrusted(_) => &codes::UPSTREAM_UNTRUSTED,
        Trouble::Late => &codes::UPSTREAM_LATE,
        Trouble::Broken(_) => &codes::UPSTREAM_BROKEN,
    };
    let why = trouble.to_string();
    tracing::warn!(
        event = "relay.failed",
        service,
        code = code.code,
        why,
        correlation_id = ids.correlation,
        "a request was not answered upstream"
    );
    (Refusal::new(code).because(why), Outcome::of_trouble(trouble))
}
