//! From a request to the one call that decides it, and from its reply to the response.

use super::{
    BodyIn, Call, Response,
    command::{Change, ChangeAlert, Create, Find, FindAlerts, Noted, RelationshipCommand, Reply, act, find},
    refusal::{Problem, refuse},
    routes::Route,
    rows,
};
use crate::{access::caller::Caller, engine::draft::Fault, model::NhsNumber, wire::form::Form};
use bytes::Bytes;
use http::HeaderMap;
use serde_json::{Map, Value};

/// Longest id taken from a path or query: a UUID has 36.
const MAX_ID: usize = 64;
/// Longest life that may be asked for, in days.
const MAX_DAYS: u64 = 3_660;

/// One request on its way.
pub struct Asked {
    route: Route,
    refusal: Option<Problem>,
}

impl Asked {
    pub fn new(route: Route) -> Asked {
        Asked { route, refusal: None }
    }

    pub fn route(&self) -> &Route {
        &self.route
    }

    /// An answer that needs neither caller nor engine.
    pub fn at_once(&self) -> Option<Response> {
        (self.route == Route::Nothing).then(|| refuse(&Problem::not_found("there is nothing at this path")))
    }

    /// Reads the request; one that is refused here leaves its record all the same.
    pub fn ask(&mut self, caller: &Caller, headers: &HeaderMap, body: BodyIn) -> Call {
        match self.plan(caller, headers, body) {
            Ok(call) => call,
            Err(problem) => {
                let subject = self.route.subject().map(NhsNumber::digits).unwrap_or_default();
                let key = if subject.is_empty() { "relationships".into() } else { subject.clone() };
                let (interaction, outcome) = (self.route.name().into(), problem.code.into());
                let noted = Noted { interaction, outcome, subject, ..Default::default() };
                self.refusal = Some(problem);
                call(key.into(), noted.into(), String::new())
            }
        }
    }

    fn plan(&self, caller: &Caller, headers: &HeaderMap, body: BodyIn) -> Result<Call, Problem> {
        let request_id = match self.route.changes() {
            true => request_id(headers)?,
            false => String::new(),
        };
        let nhs = || self.route.subject().ok_or_else(|| Problem::invalid("the patient's number is no NHS number"));
        let said = match self.route.changes() {
            true => object(body)?,
            false => Members(Map::new()),
        };
        match &self.route {
            Route::Create(_) => {
                let create = said.create(nhs()?)?;
                said.nothing_else(&["kind", "holder", "reason", "reference", "days", "organisation"])?;
                Ok(call(nhs()?.digits().into(), create.into(), request_id))
            }
            Route::List(_, query) => {
                let id = params(query, &["after"])?.get("after").unwrap_or_default().to_owned();
                self.find(nhs()?, find::LIST, id, Form::default())
            }
            Route::Check(_, query) => {
                let params = params(query, &["workgroup", "user"])?;
                self.find(nhs()?, find::CHECK, String::new(), params)
            }
            Route::Read(_, id) => self.find(nhs()?, find::SHOW, id.clone(), Form::default()),
            Route::Freeze(_, id) | Route::Close(_, id) => {
                said.nothing_else(&["reason", "immediately"])?;
                let what = if matches!(self.route, Route::Freeze(..)) { act::FREEZE } else { act::CLOSE };
                let change = Change {
                    nhs: nhs()?.value(),
                    id: short(id)?,
                    what,
                    reason: said.text("reason")?,
                    now: said.flag("immediately")?,
                    ..Default::default()
                };
                Ok(call(nhs()?.digits().into(), change.into(), request_id))
            }
            Route::Alerts(query) => {
                let params = params(query, &["state", "after"])?;
                let all = match params.get("state") {
                    None | Some("open") => false,
                    Some("all") => true,
                    Some(_) => return Err(Problem::invalid("state is open or all")),
                };
                let after = short(params.get("after").unwrap_or_default())?;
                let find = FindAlerts { ods: organisation(caller)?, after, all, ..Default::default() };
                Ok(call(rows::alerts_partition_key(&caller.ods), find.into(), String::new()))
            }
            Route::Alert(id, what) => {
                said.nothing_else(&["note"])?;
                let (ods, note) = (organisation(caller)?, said.text("note")?);
                let change = ChangeAlert { ods, id: short(id)?, what: *what, note, ..Default::default() };
                Ok(call(rows::alerts_partition_key(&caller.ods), change.into(), request_id))
            }
            Route::Nothing => Err(Problem::not_found("there is nothing at this path")),
        }
    }

    fn find(&self, nhs: NhsNumber, what: u8, id: String, holder: Form) -> Result<Call, Problem> {
        let find = Find {
            nhs: nhs.value(),
            what,
            id: short(&id)?,
            workgroup: short(holder.get("workgroup").unwrap_or_default())?,
            user: short(holder.get("user").unwrap_or_default())?,
            ..Default::default()
        };
        Ok(call(nhs.digits().into(), find.into(), String::new()))
    }

    pub fn answer(&self, reply: &Bytes) -> Result<Response, Fault> {
        if let Some(problem) = &self.refusal {
            return Ok(refuse(problem));
        }
        let reply = Reply::of(reply)?;
        let headers = vec![("content-type", Bytes::from_static(b"application/json"))];
        Ok(Response { status: reply.status, headers, body: reply.body })
    }
}

fn call(key: Bytes, command: RelationshipCommand, request_id: String) -> Call {
    Call { key, payload: command.encode(), request_id }
}

/// Changes must name themselves, so that a repeat has no second effect (P3).
fn request_id(headers: &HeaderMap) -> Result<String, Problem> {
    let id = headers.get("x-request-id").and_then(|v| v.to_str().ok()).unwrap_or_default();
    match uuid::Uuid::try_parse(id) {
        Ok(id) => Ok(id.to_string()),
        Err(_) => Err(Problem::missing("header X-Request-ID must be given, and be a UUID")),
    }
}

/// Alerts are an organisation's: a caller without one has none.
fn organisation(caller: &Caller) -> Result<String, Problem> {
    match caller.ods.is_empty() {
        true => Err(Problem::denied("the caller belongs to no organisation")),
        false => Ok(caller.ods.clone()),
    }
}

fn short(id: &str) -> Result<String, Problem> {
    if id.len() <= MAX_ID { Ok(id.to_owned()) } else { Err(Problem::invalid("an id is too long")) }
}

/// A query with these parameters and no others, each once.
fn params(query: &str, known: &[&str]) -> Result<Form, Problem> {
    let form = Form::parse(query.as_bytes()).map_err(|_| Problem::invalid("the query cannot be read"))?;
    let all_known = form.fields().all(|(name, _)| known.contains(&name));
    if all_known { Ok(form) } else { Err(Problem::invalid(format!("the parameters are {}", known.join(", ")))) }
}

/// A body's members.
struct Members(Map<String, Value>);

fn object(body: BodyIn) -> Result<Members, Problem> {
    let bytes = match body {
        BodyIn::None => return Ok(Members(Map::new())),
        BodyIn::TooLarge => return Err(Problem::invalid("the body is too large")),
        BodyIn::Bytes(bytes) => bytes,
    };
    match serde_json::from_slice(&bytes) {
        Ok(Value::Object(members)) => Ok(Members(members)),
        _ => Err(Problem::invalid("the body is no JSON object")),
    }
}

impl Members {
    /// A text; empty where it is not there.
    fn text(&self, name: &str) -> Result<String, Problem> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(String::new()),
            Some(Value::String(text)) => Ok(text.clone()),
            Some(_) => Err(Problem::invalid(format!("{name} is no text"))),
        }
    }
    fn flag(&self, name: &str) -> Result<bool, Problem> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(_) => Err(Problem::invalid(format!("{name} is neither true nor false"))),
        }
    }
    fn nothing_else(&self, known: &[&str]) -> Result<(), Problem> {
        match self.0.keys().find(|name| !known.contains(&name.as_str())) {
            Some(_) => Err(Problem::invalid(format!("the members are {}", known.join(", ")))),
            None => Ok(()),
        }
    }

    fn create(&self, nhs: NhsNumber) -> Result<Create, Problem> {
        let holder = match self.0.get("holder") {
            None | Some(Value::Null) => Members(Map::new()),
            Some(Value::Object(members)) => Members(members.clone()),
            Some(_) => return Err(Problem::invalid("holder is no object")),
        };
        holder.nothing_else(&["workgroup", "user"])?;
        let days = match self.0.get("days") {
            None | Some(Value::Null) => 0,
            Some(days) => {
                let days = days.as_u64().filter(|days| (1..=MAX_DAYS).contains(days));
                days.ok_or_else(|| Problem::invalid(format!("days is no number from 1 to {MAX_DAYS}")))?
            }
        };
        let kind = self.text("kind")?;
        if kind.is_empty() {
            return Err(Problem::missing("kind must be given"));
        }
        Ok(Create {
            nhs: nhs.value(),
            kind,
            workgroup: holder.text("workgroup")?,
            user: holder.text("user")?,
            ods: self.text("organisation")?,
            reason: self.text("reason")?,
            reference: self.text("reference")?,
            days,
            ..Default::default()
        })
    }
}
