//! From a request to its look and calls, and from the reply to the response.

use super::{
    BodyIn, Call, Response, Step,
    command::{File, Reply, Shown, TrailCommand},
    event::{self, Reads},
    filing,
    query::Query,
    refusal::Problem,
    routes::{BASE, Route},
};
use crate::{
    access::caller::Caller,
    audit::{self, Cursor, Indexed, Record, Wanted},
    engine::draft::Fault,
    model::NhsNumber,
    store::Reader,
    wire::record::Record as _,
};
use bytes::Bytes;
use http::HeaderMap;
use serde_json::Value;

/// Longest id that is looked for: a UUID.
const MAX_ID: usize = 36;
/// Records looked at for one id that a system's event was given: ids are unique, so that this is for the unlucky.
const MOST_NAMESAKES: usize = 16;

/// One request on its way.
pub struct Asked {
    route: Route,
    host: String,
    /// Whom a citizen may see: himself.
    own: Option<NhsNumber>,
    query: Query,
    refusal: Option<Problem>,
    found: Vec<(u16, Record)>,
    next: Option<Cursor>,
    reply: Option<Reply>,
}

impl Asked {
    pub fn new(route: Route) -> Asked {
        let (host, query) = (String::new(), Query::default());
        Asked { route, host, own: None, query, refusal: None, found: vec![], next: None, reply: None }
    }

    /// The host as the caller named it, for the links in answers.
    pub fn name_host(&mut self, host: Option<&str>) {
        self.host = host.unwrap_or_default().to_owned();
    }

    pub fn route(&self) -> &Route {
        &self.route
    }

    /// An answer that needs neither caller nor engine.
    pub fn at_once(&self) -> Option<Response> {
        match self.route {
            Route::Ping => Some(respond(200, &serde_json::json!({"version": env!("CARGO_PKG_VERSION")}))),
            Route::Metadata => Some(respond(200, &event::capability())),
            Route::Nothing => Some(refuse(&Problem::unsupported(""))),
            _ => None,
        }
    }

    /// Reads the request. The gate has seen to scope and activity.
    pub fn ask(&mut self, caller: &Caller, headers: &HeaderMap, body: BodyIn) -> Step {
        if self.host.is_empty() {
            self.name_host(headers.get("host").and_then(|v| v.to_str().ok()));
        }
        match self.plan(caller, headers, body) {
            Ok(step) => step,
            Err(problem) => self.refused(problem),
        }
    }

    fn plan(&mut self, caller: &Caller, headers: &HeaderMap, body: BodyIn) -> Result<Step, Problem> {
        if caller.level.starts_with('P') {
            let own = NhsNumber::strict(caller.own_record()).ok_or_else(|| Problem::patient_denied(""))?;
            self.own = Some(own);
        }
        match self.route.clone() {
            Route::Search(text) => {
                // Whoever may see one person only need not name him.
                self.query = Query::parse(&text, self.own)?;
                if self.own.is_some() && self.query.patient != self.own {
                    return Err(Problem::patient_denied(""));
                }
                Ok(Step::Look)
            }
            Route::Read(id) if id.len() <= MAX_ID => Ok(Step::Look),
            Route::Read(_) => Err(Problem::bad_id("")),
            Route::File => {
                let id = headers.get("x-request-id").and_then(|v| v.to_str().ok()).unwrap_or_default();
                if uuid::Uuid::try_parse(id).is_err() {
                    return Err(Problem::missing("X-Request-ID header must be supplied, and be a UUID"));
                }
                let BodyIn::Bytes(body) = body else {
                    return Err(Problem::invalid("there is no body that can be read"));
                };
                let filed = filing::checked(&body)?;
                let key = Bytes::from(filed.subject.digits());
                let file = File {
                    subject: filed.subject.digits(),
                    event: filed.event.into(),
                    action: filed.action,
                    ..Default::default()
                };
                let payload = TrailCommand::from(file).encode();
                Ok(Step::Submit(vec![Call { key, payload, request_id: id.to_ascii_lowercase() }]))
            }
            Route::Metadata | Route::Ping | Route::Nothing => Err(Problem::unsupported("")),
        }
    }

    /// A refusal leaves its record too, with the person where the request named one.
    fn refused(&mut self, problem: Problem) -> Step {
        let subjects = self.query.patient.map(NhsNumber::digits).into_iter().collect();
        let call = self.shown(problem.code, subjects, String::new());
        self.refusal = Some(problem);
        Step::Submit(vec![call])
    }

    fn shown(&self, outcome: &str, subjects: Vec<String>, event: String) -> Call {
        let key = subjects.first().cloned().unwrap_or_else(|| "audit".into());
        let shown = Shown {
            interaction: self.route.name().into(),
            outcome: outcome.into(),
            subjects,
            agent: self.query.agent.clone(),
            event,
            ..Default::default()
        };
        Call { key: key.into(), payload: TrailCommand::from(shown).encode(), request_id: String::new() }
    }

    /// The rows of all partitions, from 1.
    pub fn looked(&mut self, views: &[&dyn Reader]) -> Result<Step, Fault> {
        let views: Vec<(u16, &dyn Reader)> = views.iter().zip(1..).map(|(view, n)| (n, *view)).collect();
        if let Route::Read(id) = self.route.clone() {
            return self.read(&views, &id);
        }
        let patient = self.query.patient.map(NhsNumber::digits).unwrap_or_default();
        let agent = self.query.agent.clone();
        let keep = |record: &Record| {
            (patient.is_empty() || record.subject == patient) && (agent.is_empty() || audit::actor(record) == agent)
        };
        let (kind, word) = match patient.is_empty() {
            true => (Indexed::Actor, agent.as_str()),
            false => (Indexed::Id, patient.as_str()),
        };
        let wanted = Wanted { kind, word, since: self.query.since, until: self.query.until, keep: &keep };
        let stretch = audit::timeline(&views, &wanted, self.query.before, self.query.count)?;
        (self.found, self.next) = (stretch.records, stretch.next);
        let mut subjects: Vec<String> = self.found.iter().map(|(_, record)| record.subject.clone()).collect();
        subjects.push(patient);
        subjects.retain(|subject| !subject.is_empty());
        subjects.sort_unstable();
        subjects.dedup();
        Ok(Step::Submit(vec![self.shown("ok", subjects, String::new())]))
    }

    fn read(&mut self, views: &[(u16, &dyn Reader)], id: &str) -> Result<Step, Fault> {
        let found = match audit::place_of(id) {
            Some((partition, sequence)) => at_place(views, partition, sequence)?,
            None => filed(views, id)?,
        };
        let found = found.filter(|(_, record)| match self.own {
            // Not his: the same words as for one that is not there.
            Some(own) => record.subject == own.digits(),
            None => true,
        });
        let Some((partition, record)) = found else {
            return Ok(self.refused(Problem::not_found("")));
        };
        let subjects = Some(record.subject.clone()).into_iter().filter(|s| !s.is_empty()).collect();
        self.found = vec![(partition, record)];
        Ok(Step::Submit(vec![self.shown("ok", subjects, id.to_owned())]))
    }

    pub fn replied(&mut self, reply: &Bytes) -> Result<(), Fault> {
        self.reply = Some(Reply::of(reply)?);
        Ok(())
    }

    /// The answer. `site`: the registry.
    pub fn answer(&mut self, site: &dyn Reader) -> Result<Response, Fault> {
        if let Some(problem) = &self.refusal {
            return Ok(refuse(problem));
        }
        let reply = self.reply.take().ok_or_else(|| Fault::Other("an answer before its reply".into()))?;
        let base = format!("https://{}{BASE}", self.host);
        if self.route == Route::File {
            let mut response = Response { status: 201, headers: vec![], body: Bytes::new() };
            response.headers.push(("location", format!("{base}/AuditEvent/{}", reply.id).into()));
            return Ok(response);
        }
        let reads = if self.own.is_some() { Reads::Citizen } else { Reads::Officer };
        let mut events = vec![];
        for (partition, record) in &self.found {
            events.push(event::event(*partition, record, site, &format!("{}{BASE}/", self.host), reads)?);
        }
        if let Route::Read(_) = self.route {
            let event = events.pop().ok_or_else(|| Fault::Other("a read of nothing".into()))?;
            return Ok(respond(200, &event));
        }
        let links = (self.query.link(self.query.before), self.next.map(|next| self.query.link(Some(next))));
        Ok(respond(200, &event::bundle(&base, reply.at, links, events)))
    }
}

/// The record of an id that says where it is.
fn at_place(views: &[(u16, &dyn Reader)], partition: u16, sequence: u64) -> Result<Option<(u16, Record)>, Fault> {
    let Some((_, view)) = views.iter().find(|(number, _)| *number == partition) else { return Ok(None) };
    let record = view.get(&audit::record_key(sequence))?.and_then(|value| Record::decode(&value).ok());
    Ok(record.filter(|record| record.filed.is_empty()).map(|record| (partition, record)))
}

/// The event that a system filed under this id.
fn filed(views: &[(u16, &dyn Reader)], id: &str) -> Result<Option<(u16, Record)>, Fault> {
    let keep = |record: &Record| record.object == id && !record.filed.is_empty();
    let wanted = Wanted { kind: Indexed::Id, word: id, since: None, until: None, keep: &keep };
    Ok(audit::timeline(views, &wanted, None, MOST_NAMESAKES)?.records.into_iter().next())
}

fn respond(status: u16, body: &Value) -> Response {
    let headers = vec![("content-type", Bytes::from_static(b"application/fhir+json"))];
    Response { status, headers, body: body.to_string().into() }
}

/// A refusal, as an OperationOutcome.
pub fn refuse(problem: &Problem) -> Response {
    let mut response = respond(problem.status, &problem.outcome());
    if problem.status == 503 {
        response.headers.push(("retry-after", Bytes::from_static(b"5")));
    }
    response
}
