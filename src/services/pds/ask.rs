//! From a request to the calls that decide it. All checks that need no rows are made here, in the specified order; a refusal
//! becomes a call too, which leaves its audit note.

use super::{
    BodyIn, Call, Pds, Response, Step,
    access::{self, Mode, attribute, has_attribute, header},
    birth, capability, codec,
    command::{Create, Noted, PdsCommand, Reply, Retrieve, SetCard, Update, kind},
    coverage, create,
    query::{self, Query},
    refusal::{self, Problem},
    routes::{Route, pairs},
    rows::{Actor, Person},
    search::{self, Found, Hit},
    show::Flags,
};
use crate::{access::caller::Caller, engine::draft::Fault, model::NhsNumber, store::Reader};
use bytes::Bytes;
use http::HeaderMap;
use serde_json::Value;
use std::sync::Arc;

/// One request on its way.
pub struct Asked {
    pub(super) pds: Arc<Pds>,
    pub(super) route: Route,
    pub(super) flags: Flags,
    pub(super) request: String,
    /// As the caller named it.
    pub(super) host: String,
    pub(super) refusal: Option<Problem>,
    pub(super) reply: Option<Reply>,
    pub(super) hits: Vec<Hit>,
    detail: String,
    query: Option<Query>,
    create: Option<Create>,
    /// The number asked for, and the one to ask for instead.
    asked: Option<NhsNumber>,
    next: Option<NhsNumber>,
}

/// Longest detail in an audit note.
const MAX_DETAIL: usize = 200;

impl Asked {
    pub fn new(pds: Arc<Pds>, route: Route) -> Asked {
        Asked {
            pds,
            route,
            flags: Flags::default(),
            request: String::new(),
            host: String::new(),
            refusal: None,
            reply: None,
            hits: vec![],
            detail: String::new(),
            query: None,
            create: None,
            asked: None,
            next: None,
        }
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
        let text = match self.route {
            Route::Ping => format!(r#"{{"version":"{}"}}"#, env!("CARGO_PKG_VERSION")),
            Route::Status => r#"{"status":"pass"}"#.into(),
            Route::Metadata => capability::statement().to_string(),
            _ => return None,
        };
        let kind = if self.route == Route::Metadata { "application/fhir+json" } else { "application/json" };
        let headers = vec![("content-type", Bytes::from_static(kind.as_bytes()))];
        Some(Response { status: 200, headers, body: text.into() })
    }

    /// Reads the request. `site` is the registry.
    pub fn ask(&mut self, caller: &Caller, headers: &HeaderMap, body: BodyIn, site: &dyn Reader) -> Step {
        if self.host.is_empty() {
            self.name_host(Some(header(headers, "host")));
        }
        match self.plan(caller, headers, body, site) {
            Ok(step) => step,
            Err(problem) => self.refused(problem),
        }
    }

    /// A refusal leaves its note where the person is, or where the request's id falls.
    fn refused(&mut self, problem: Problem) -> Step {
        let subjects: Vec<u64> = self.asked.iter().map(|nhs| nhs.value()).collect();
        let call = self.noted(problem.row.code, subjects);
        self.refusal = Some(problem);
        Step::Submit(vec![call])
    }

    fn noted(&self, outcome: &str, subjects: Vec<u64>) -> Call {
        let key = match subjects.first().copied().and_then(NhsNumber::of) {
            Some(nhs) => nhs.digits(),
            None if self.request.is_empty() => "pds".into(),
            None => self.request.clone(),
        };
        let note = Noted {
            interaction: self.route.name().into(),
            outcome: outcome.into(),
            subjects,
            detail: self.detail.clone(),
            request: self.request.clone(),
            ..Default::default()
        };
        call(&key, note.into(), String::new())
    }

    fn plan(&mut self, caller: &Caller, headers: &HeaderMap, body: BodyIn, site: &dyn Reader) -> Result<Step, Problem> {
        let request = access::request_id(headers);
        if let Ok(id) = &request {
            self.request.clone_from(id);
        }
        if self.route.asks_first_for_its_id() {
            request.clone()?;
        }
        match &self.route {
            Route::NotSupported => return Err(Problem::plain(&refusal::UNSUPPORTED_SERVICE)),
            Route::Nothing(path) => {
                let text = format!("Unsupported path - '{}'", path.chars().take(MAX_DETAIL).collect::<String>());
                return Err(Problem::says(&refusal::UNSUPPORTED_REQUEST, text));
            }
            _ => {}
        }
        let mode = access::mode(caller)?;
        self.flags = Flags::of(caller, mode);
        let ods = header(headers, "nhsd-end-user-organisation-ods");
        self.detail = format!("{} {ods}", mode.word()).trim().chars().take(MAX_DETAIL).collect();
        let by = Actor::of(caller, &self.request, &ods.chars().take(20).collect::<String>());
        match self.route.clone() {
            Route::Retrieve(id) => self.retrieve(&id, kind::PATIENT, caller, headers, mode),
            Route::Related(id) => self.retrieve(&id, kind::RELATED, caller, headers, mode),
            Route::Search(text) => {
                if mode == Mode::Patient {
                    return Err(Problem::patient_denied());
                }
                access::session_role(headers, caller, mode)?;
                self.query = Some(query::parse(&text, mode)?);
                Ok(Step::Look)
            }
            Route::Update(id) => self.update(&id, caller, headers, mode, body, by, request),
            Route::Create => {
                let new = self.new_person(caller, headers, mode, body)?;
                let resource = create::checked(&new, &self.pds.options, site)?;
                self.creating(resource, 0, false, by)
            }
            Route::Birth(text) => {
                let new = self.new_person(caller, headers, mode, body)?;
                let identical = pairs(&text).iter().any(|(n, v)| n == "ignore_potential_matches" && v == "true");
                let (resource, mother) = birth::checked(&new)?;
                self.creating(resource, mother.value(), identical, by)
            }
            Route::Coverage(text) => {
                let nhs = coverage::subscriber(&text, mode, caller)?;
                self.one(nhs, kind::COVERAGE)
            }
            Route::SetCoverage => self.set_card(caller, headers, mode, body, by),
            Route::Ping | Route::Status | Route::Metadata | Route::NotSupported | Route::Nothing(_) => {
                Err(Problem::plain(&refusal::UNSUPPORTED_SERVICE))
            }
        }
    }

    fn retrieve(
        &mut self,
        id: &str,
        kind: u8,
        caller: &Caller,
        headers: &HeaderMap,
        mode: Mode,
    ) -> Result<Step, Problem> {
        if mode == Mode::Patient && id != caller.own_record() {
            return Err(Problem::patient_denied());
        }
        access::session_role(headers, caller, mode)?;
        let nhs = NhsNumber::strict(id).ok_or(Problem::plain(&refusal::INVALID_RESOURCE_ID))?;
        self.one(nhs, kind)
    }

    /// One retrieve of one person.
    fn one(&mut self, nhs: NhsNumber, kind: u8) -> Result<Step, Problem> {
        self.asked = Some(nhs);
        Ok(Step::Submit(vec![self.retrieving(nhs, kind)]))
    }

    fn retrieving(&self, nhs: NhsNumber, kind: u8) -> Call {
        let via = self.asked.filter(|asked| *asked != nhs).map_or(0, NhsNumber::value);
        let command = Retrieve {
            nhs: nhs.value(),
            kind,
            detail: self.detail.clone(),
            request: self.request.clone(),
            via,
            ..Default::default()
        };
        call(&nhs.digits(), command.into(), String::new())
    }

    #[allow(clippy::too_many_arguments, reason = "the parts of one request")]
    fn update(
        &mut self,
        id: &str,
        caller: &Caller,
        headers: &HeaderMap,
        mode: Mode,
        body: BodyIn,
        by: Actor,
        request: Result<String, Problem>,
    ) -> Result<Step, Problem> {
        let may = match mode {
            Mode::Application => has_attribute(caller, attribute::UPDATE),
            Mode::Privileged => false,
            Mode::Worker | Mode::Patient => true,
        };
        if !may {
            return Err(Problem::no_method("update", mode.word()));
        }
        if mode == Mode::Patient && id != caller.own_record() && !id.is_empty() {
            return Err(Problem::patient_denied());
        }
        access::session_role(headers, caller, mode)?;
        if id.is_empty() {
            return Err(Problem::plain(&refusal::UNSUPPORTED_SERVICE));
        }
        let nhs = NhsNumber::strict(id).ok_or(Problem::plain(&refusal::INVALID_RESOURCE_ID))?;
        self.asked = Some(nhs);
        let version = access::if_match(headers)?;
        json_type(headers, &["application/json"])?;
        request?;
        // No body has no patches, which is said once the record is known to be there (§9.2).
        let body = match body {
            BodyIn::None => Value::Null,
            BodyIn::Bytes(bytes) if bytes.is_empty() => Value::Null,
            body => parsed(body).map_err(|why| Problem::update(format!("Invalid patch - {why}")))?,
        };
        let command = Update {
            nhs: nhs.value(),
            mode: mode as u8,
            version,
            body: codec::pack(&body),
            detail: self.detail.clone(),
            by,
            flags: self.flags.bits(),
            back_office: has_attribute(caller, attribute::BACK_OFFICE),
            ..Default::default()
        };
        Ok(Step::Submit(vec![call(&nhs.digits(), command.into(), self.once())]))
    }

    fn new_person(&mut self, caller: &Caller, headers: &HeaderMap, mode: Mode, body: BodyIn) -> Result<Value, Problem> {
        if mode != Mode::Worker {
            return Err(Problem::no_method("create", mode.word()));
        }
        access::session_role(headers, caller, mode)?;
        json_type(headers, &["application/json", "application/fhir+json"])?;
        parsed(body).map_err(|why| Problem::says(&refusal::VALIDATION_ERROR, format!("Validation error - {why}")))
    }

    fn creating(
        &mut self,
        resource: super::fhir::Object,
        mother: u64,
        identical: bool,
        by: Actor,
    ) -> Result<Step, Problem> {
        self.create = Some(Create {
            resource: codec::pack(&Value::Object(resource)),
            detail: self.detail.clone(),
            by,
            mother,
            interaction: self.route.name().into(),
            identical_only: identical,
            ..Default::default()
        });
        Ok(Step::Look)
    }

    fn set_card(
        &mut self,
        caller: &Caller,
        headers: &HeaderMap,
        mode: Mode,
        body: BodyIn,
        by: Actor,
    ) -> Result<Step, Problem> {
        if mode != Mode::Patient {
            return Err(Problem::no_operation("POST", mode.word()));
        }
        let version = access::if_match(headers)?;
        json_type(headers, &["application/json"])?;
        let body = parsed(body)
            .map_err(|why| Problem::says(&refusal::VALIDATION_ERROR, format!("Validation error - {why}")))?;
        let (nhs, card) = coverage::checked(&body, caller)?;
        self.asked = Some(nhs);
        let command = SetCard {
            nhs: nhs.value(),
            version,
            resource: codec::pack(&Value::Object(card)),
            detail: self.detail.clone(),
            by,
            ..Default::default()
        };
        Ok(Step::Submit(vec![call(&nhs.digits(), command.into(), self.once())]))
    }

    /// The rows of all partitions: searches, or looks for people who are the same as a new one.
    pub fn looked(&mut self, views: &[&dyn Reader]) -> Result<Step, Fault> {
        if let Some(query) = self.query.take() {
            return Ok(match search::find(views, &query)? {
                Found::TooMany => self.refused(Problem::plain(&refusal::TOO_MANY_MATCHES)),
                Found::People(hits) => {
                    self.hits = hits;
                    let subjects = self.hits.iter().map(|hit| hit.nhs.value()).collect();
                    Step::Submit(vec![self.noted("ok", subjects)])
                }
            });
        }
        let Some(mut command) = self.create.take() else {
            return Err(Fault::Other("a request looked for nothing".into()));
        };
        let resource = super::rows::object(&command.resource)?;
        if let Some(mother) = NhsNumber::of(command.mother).filter(|_| command.mother != 0) {
            let mut known = false;
            for view in views {
                known |= super::rows::person(*view, mother)?.is_some_and(|row: Person| !row.invalidated);
            }
            if !known {
                return Ok(self.refused(Problem::invalid(&mother.digits(), "entry/7/resource/identifier/0/value")));
            }
        }
        let same = search::same_people(views, &resource, command.identical_only)?;
        command.matches = same.iter().map(|nhs| nhs.value()).collect();
        let key = super::fhir::text(&Value::Object(resource), "birthDate").to_owned();
        Ok(Step::Submit(vec![call(&key, command.into(), self.once())]))
    }

    /// What repeats of this write are known by (§3.1): the id is good once for each kind of write, so that a client that gives
    /// one id to two of them is not told that the second was done.
    fn once(&self) -> String {
        format!("{} {}", self.route.name(), self.request)
    }

    /// The reply of the last call. True where rows of its partition are wanted for the answer.
    pub fn replied(&mut self, reply: &Bytes) -> Result<bool, Fault> {
        let reply = Reply::of(reply)?;
        self.next = match reply.superseded_by {
            0 => None,
            number => NhsNumber::of(number),
        };
        if let (Route::Update(_) | Route::SetCoverage, Some(asked)) = (&self.route, self.asked)
            && self.refusal.is_none()
            && reply.nhs != asked.value()
        {
            // The id of a request on somebody else: its first outcome is not this person's.
            self.refusal = Some(Problem::header(&self.request, "X-Request-ID"));
        }
        let wants = self.refusal.is_none() && reply.problem == 0 && reply.version != 0;
        if self.refusal.is_none() {
            self.refusal = reply.problem();
        }
        self.reply = Some(reply);
        Ok(wants)
    }

    /// The question once more, about the number that this one was merged into.
    pub fn onward(&mut self) -> Vec<Call> {
        let kind = match self.route {
            Route::Retrieve(_) => kind::PATIENT,
            Route::Related(_) => kind::RELATED,
            Route::Coverage(_) => kind::COVERAGE,
            _ => return vec![],
        };
        self.next.take().map(|nhs| self.retrieving(nhs, kind)).into_iter().collect()
    }
}

fn call(key: &str, command: PdsCommand, request_id: String) -> Call {
    Call { key: Bytes::copy_from_slice(key.as_bytes()), payload: command.encode(), request_id }
}

/// The body as JSON; the error says what is wrong in words of ours.
fn parsed(body: BodyIn) -> Result<Value, &'static str> {
    match body {
        BodyIn::Bytes(bytes) => serde_json::from_slice(&bytes).map_err(|_| "the body is not JSON"),
        BodyIn::None => Err("there is no body"),
        BodyIn::TooLarge => Err("the body is too large"),
    }
}

/// A content type of these; `application/json` also stands for `application/json-patch+json` and its like (§3.1).
fn json_type(headers: &HeaderMap, allowed: &[&str]) -> Result<(), Problem> {
    let given = header(headers, "content-type").to_ascii_lowercase();
    if allowed.iter().any(|kind| given.starts_with(kind)) {
        return Ok(());
    }
    Err(Problem::plain(&refusal::UNSUPPORTED_SERVICE))
}
