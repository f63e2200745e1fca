//! From a request to the calls that decide it. All checks that need no rows are made here, in the order of spec/eps.md §3.3; a
//! refusal becomes a call too, which leaves its audit note.

use super::{
    BodyIn, Call, Eps, Response, Step,
    access::{self, Duty, Who},
    command::{EpsCommand, Noted, Pick, Reply},
    ids::made_of,
    message, packed,
    read::{self, Event, Issue, Problems},
    reads::Read,
    record::key,
    refuse,
    routes::{self, Route},
    rows,
    show::{document::Document, refusals},
    sign::{self, BadSignature, Checked, Digits, Signature},
    steps,
};
use crate::{access::caller::Caller, engine::draft::Fault, model::EpochMillis, store::Reader};
use bytes::Bytes;
use http::HeaderMap;
use serde_json::Value;
use std::sync::Arc;

/// Told to whoever orders while nobody can say whether the signer's certificate was revoked.
const LISTS_OUTDATED: &str = "The signature cannot be checked now: the revocation list of the certificate's authority is older than \
                              this site may believe. Nothing was done.";
/// Told to whoever cancels where prescriptions are not taken.
const CANCELLING_OFF: &str = "This site takes and cancels no prescriptions: they are where they were ordered.";
const DAY_MS: u64 = 86_400_000;
/// Headers of test sites (§3.1).
const TEST_HEADERS: [&str; 2] = ["x-raw-response", "x-skip-validation"];
/// Prescriptions of one nominated release (§9.2).
pub const MOST_RELEASED: usize = 25;
/// How often a nominated release that got nothing tries the next ones: where several tills of one pharmacy ask at once, all see the
/// same oldest, and one gets them.
const MOST_TRIES: usize = 3;
/// Prescriptions that it knows of for that.
pub(super) const MOST_FOUND: usize = MOST_RELEASED * MOST_TRIES;

/// A request that ends here, with the word for its audit note.
pub struct Refusal {
    pub response: Response,
    pub code: &'static str,
}

/// What the answer is made of when the calls have come back.
pub enum Goal {
    /// Success says nothing but that.
    Done,
    /// The answer is there already; the call leaves its note.
    Ready(Response),
    Cancel(Box<Document>),
    /// By its id.
    Release(Box<message::Release>),
    /// Nominated: first what to take, then the prescriptions.
    Nominated {
        template: Box<message::Release>,
        stage: Stage,
        /// Keys of what is tried if nothing was had of those before.
        rest: Vec<String>,
        /// Whether more may wait than were found.
        more: bool,
    },
    Read(Read),
}

/// How far a nominated release is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// What waits is looked for.
    Looking,
    /// A repeat: at which of what was found the attempt before it got something.
    Recalling,
    Taking,
}

/// One request on its way.
pub struct Asked {
    pub(super) eps: Arc<Eps>,
    /// Whose signatures count for this request.
    pub(super) trust: Arc<sign::Trust>,
    pub(super) route: Route,
    pub(super) path: String,
    /// As the caller named it.
    pub(super) host: String,
    /// `X-Request-ID`, lower case.
    pub(super) request: String,
    /// Names this attempt of the request.
    pub(super) attempt: u64,
    /// Of the message that was read; null before.
    pub(super) root: Value,
    /// Now, by the calendar of the site.
    pub(super) now: EpochMillis,
    /// When it came, by the clock: what certificates and their lists go by.
    arrived: EpochMillis,
    pub(super) goal: Goal,
    pub(super) replies: Vec<Reply>,
    pub(super) next: Vec<Call>,
    /// Prescriptions given out to this request.
    pub(super) out: Vec<super::answer::Out>,
    /// Which of the caller's scopes and activities let it pass; empty until that is known.
    pub(super) granted: String,
}

impl Asked {
    pub fn new(eps: Arc<Eps>, trust: Arc<sign::Trust>, route: Route, path: &str, now: EpochMillis) -> Asked {
        Asked {
            eps,
            trust,
            route,
            path: path.to_owned(),
            host: String::new(),
            request: String::new(),
            attempt: 0,
            root: Value::Null,
            now,
            arrived: now,
            goal: Goal::Done,
            replies: vec![],
            next: vec![],
            out: vec![],
            granted: String::new(),
        }
    }

    /// The host as the caller named it, for the links in answers.
    pub fn name_attempt(&mut self, number: u64) {
        self.attempt = number;
    }

    pub fn name_host(&mut self, host: Option<&str>) {
        self.host = host.unwrap_or_default().to_owned();
    }

    pub fn route(&self) -> &Route {
        &self.route
    }

    /// Which of the caller's scopes and activities the message needed, once that is known.
    pub fn granted(&self) -> Option<&str> {
        Some(self.granted.as_str()).filter(|granted| !granted.is_empty())
    }

    /// The caller's `X-Request-ID`, lower case; empty before it was read.
    pub fn request(&self) -> &str {
        &self.request
    }

    /// Our address up to and with `FHIR/R4`.
    pub(super) fn base(&self) -> String {
        let below = self.path.split("/FHIR/R4").next().unwrap_or_default();
        format!("https://{}{below}/FHIR/R4", self.host)
    }

    /// The address below which this is served, of a CapabilityStatement.
    pub(super) fn served_at(&self) -> String {
        format!("https://{}{}", self.host, self.path.strip_suffix("/metadata").unwrap_or(&self.path))
    }

    /// New ids for an answer, the same for the same request and prescription: a repeat gets the same answer (§3.7).
    pub(super) fn ids(&self, of: &str) -> impl FnMut() -> String + use<> {
        let seed = format!("{} {of}", self.request);
        let mut count = 0u32;
        move || {
            count += 1;
            made_of(&format!("{seed} {count}"))
        }
    }

    /// Reads the request. `site` is the registry.
    pub fn ask(&mut self, caller: &Caller, headers: &HeaderMap, body: BodyIn, site: &dyn Reader) -> Step {
        if self.host.is_empty() {
            self.name_host(Some(header(headers, "host")));
        }
        self.now += u64::from(rows::days_ahead(site).unwrap_or_default()) * DAY_MS;
        match self.plan(caller, headers, body) {
            Ok(step) => step,
            Err(refusal) => self.refused(refusal),
        }
    }

    fn refused(&mut self, refusal: Refusal) -> Step {
        let call = self.noted(refusal.code, vec![], "");
        self.goal = Goal::Ready(refusal.response);
        Step::Submit(vec![call])
    }

    /// A note in the partition of the prescription, or where the request's id falls.
    pub(super) fn noted(&self, outcome: &str, subjects: Vec<u64>, object: &str) -> Call {
        let note = Noted {
            interaction: self.route.name().into(),
            outcome: outcome.into(),
            subjects,
            object: object.into(),
            ..Default::default()
        };
        let key = match (object, self.request.as_str()) {
            ("", "") => "eps",
            ("", request) => request,
            (object, _) => key(object),
        };
        call(key, note.into(), String::new())
    }

    fn plan(&mut self, caller: &Caller, headers: &HeaderMap, body: BodyIn) -> Result<Step, Refusal> {
        if matches!(self.route, Route::Groups(_) | Route::Group(..) | Route::Tasks(_)) {
            return self.read(caller, headers);
        }
        if self.route == Route::StatusUpdates {
            self.request = header(headers, "x-request-id").to_ascii_lowercase();
            return self.status_updates(body);
        }
        match &self.route {
            Route::Metadata => return Ok(Step::Answer(self.metadata())),
            Route::Nothing(path) => return Err(nothing(path)),
            _ => {}
        }
        self.request = request_id(headers)?;
        self.no_test_headers(headers)?;
        let text = body_text(body)?;
        let root = read::parse(&text).map_err(|p| self.wrong(p))?;
        self.root = root;
        match self.route {
            Route::Prepare => self.prepare(caller, &text),
            Route::Process => self.process(caller, &text),
            Route::Release => self.release(caller),
            Route::Task => self.task(caller, &text),
            Route::Claim => self.claim(caller, &text),
            Route::Validate => self.validate(),
            _ => Err(nothing("")),
        }
    }

    /// Headers that change what is checked or answered mean nothing here, and nobody may count on them in a live site (§3.1).
    fn no_test_headers(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let given: Vec<&str> = TEST_HEADERS.iter().copied().filter(|name| headers.contains_key(*name)).collect();
        if given.is_empty() || !self.eps.options.live {
            return Ok(());
        }
        let text = format!("Invalid headers: {}", given.join(", "));
        let issue = Issue::coded_check("invalid", "MISSING_OR_INVALID_HEADER", "", &text, "");
        let body = Problems::from(issue).outcome(&Value::Null, self.now);
        Err(Refusal::of(refuse::respond(403, &body), "forbidden"))
    }

    /// Whether the message names roles or people, and its sender's is not among them: for the log (§3.1). Nothing is refused for it.
    pub fn names_others(&self, caller: &Caller) -> bool {
        let named = |system: &str, own: &str| {
            let mut found = vec![];
            read::bundle::identified(&self.root, system, &mut found);
            !own.is_empty() && !found.is_empty() && !found.contains(&own)
        };
        named(read::codes::ROLE, &caller.role_profile) || named(read::codes::USER, &caller.user)
    }

    /// Checks that failed, as an answer (§3.4, §3.5).
    pub(super) fn wrong(&self, problems: Problems) -> Refusal {
        let response = refuse::respond(problems.status(), &problems.outcome(&self.root, self.now));
        Refusal::of(response, "invalid")
    }

    fn prepare(&mut self, caller: &Caller, text: &[u8]) -> Result<Step, Refusal> {
        let event = read::event(&self.root).map_err(|p| self.wrong(p))?;
        self.may(caller, Duty::Prescribing, Who::UserOnly, None)?;
        read::order::prepare(&self.root, event).map_err(|p| self.wrong(p))?;
        let digits = Digits::of(std::str::from_utf8(text).unwrap_or_default());
        let told = sign::prepare(&self.root, &digits, self.now, access::algorithm(caller));
        self.goal = Goal::Ready(refuse::respond(200, &told));
        Ok(Step::Submit(vec![self.noted("ok", vec![], "")]))
    }

    fn validate(&mut self) -> Result<Step, Refusal> {
        if self.eps.options.live {
            return Err(nothing(""));
        }
        read::any(&self.root).map_err(|p| self.wrong(p))?;
        self.goal = Goal::Done;
        Ok(Step::Submit(vec![self.noted("ok", vec![], "")]))
    }

    fn process(&mut self, caller: &Caller, text: &[u8]) -> Result<Step, Refusal> {
        match read::event(&self.root).map_err(|p| self.wrong(p))? {
            Event::Order => {
                self.may(caller, Duty::Prescribing, Who::UserOnly, Some(access::ORDER))?;
                self.order(text)
            }
            Event::Cancel => {
                self.allowed(caller, Duty::Prescribing, Who::UserOnly, Some(access::CANCEL))?;
                self.cancelling()?;
                let mut cancel = read::cancel::cancel(&self.root).map_err(|p| self.wrong(p))?;
                cancel.document = packed(text)?;
                self.goal = Goal::Cancel(Box::new(Document::of(self.root.clone())));
                Ok(submit(&cancel.id.clone(), cancel.into()))
            }
            Event::DispenseNotification => {
                self.may(caller, Duty::Dispensing, Who::UserOnly, Some(access::DISPENSE))?;
                let mut dispense = read::dispense::dispense(&self.root).map_err(|p| self.wrong(p))?;
                dispense.document = packed(text)?;
                Ok(submit(&dispense.id.clone(), dispense.into()))
            }
        }
    }

    fn order(&mut self, text: &[u8]) -> Result<Step, Refusal> {
        read::order::check(&self.root).map_err(|p| self.wrong(p))?;
        let signed_at = self.signature(text)?;
        let mut order = read::order::store(&self.root, self.now, signed_at).map_err(|p| self.wrong(p))?;
        order.document = packed(text)?;
        Ok(submit(&order.id.clone(), order.into()))
    }

    /// Step 9: when it was signed, if the signature holds; none where there is none.
    fn signature(&self, text: &[u8]) -> Result<Option<EpochMillis>, Refusal> {
        let options = &self.eps.options;
        let issues = match sign::check(text, options.signatures, &self.trust) {
            Checked::Missing => return Ok(None),
            Checked::NotJson => vec![],
            Checked::Bad(bad @ BadSignature::TooMany(_)) => vec![Issue::too_many(&bad.to_string(), bad.expression())],
            Checked::Bad(bad) => vec![Issue::invalid(&bad.to_string(), bad.expression())],
            Checked::Signed(failures) if failures.is_empty() => {
                if sign::outdated(&self.root, options.signatures, &self.trust, self.arrived) {
                    return Err(Refusal::of(refuse::unavailable(LISTS_OUTDATED), "revocations_outdated"));
                }
                return Ok(Signature::of(&self.root).ok().flatten().map(|signature| signature.at));
            }
            Checked::Signed(failures) => {
                let told = |f: &sign::Failure| Issue {
                    right: f.right(),
                    ..Issue::check("invalid", f.to_string(), "Provenance.signature.data")
                };
                failures.iter().map(told).collect()
            }
        };
        Err(self.wrong(Problems { issues }))
    }

    fn release(&mut self, caller: &Caller) -> Result<Step, Refusal> {
        read::resource(&self.root, "Parameters").map_err(|p| self.wrong(p))?;
        let by_id = read::release::by_id(&self.root);
        let who = if by_id { Who::UserOnly } else { Who::UserOrApplication };
        self.allowed(caller, Duty::Dispensing, who, None)?;
        if !self.eps.options.dispensing {
            return Err(Refusal::of(refuse::respond(400, &refusals::disabled(self.now)), "SERVICE_DISABLED"));
        }
        let response = made_of(&format!("{} response {}", self.request, caller.application));
        let release = read::release::release(&self.root, &self.request, &response).map_err(|p| self.wrong(p))?;
        if by_id {
            self.goal = Goal::Release(Box::new(release.clone()));
            return Ok(submit(&release.id.clone(), release.into()));
        }
        self.goal = Goal::Nominated { template: Box::new(release), stage: Stage::Looking, rest: vec![], more: false };
        Ok(Step::Look)
    }

    fn task(&mut self, caller: &Caller, text: &[u8]) -> Result<Step, Refusal> {
        read::resource(&self.root, "Task").map_err(|p| self.wrong(p))?;
        self.may(caller, Duty::Dispensing, Who::UserOnly, None)?;
        match read::task::task(&self.root).map_err(|p| self.wrong(p))? {
            read::task::Task::Return(mut told) => {
                told.document = packed(text)?;
                Ok(submit(&told.id.clone(), told.into()))
            }
            read::task::Task::Withdraw(mut told) => {
                told.document = packed(text)?;
                Ok(submit(&told.id.clone(), told.into()))
            }
        }
    }

    fn claim(&mut self, caller: &Caller, text: &[u8]) -> Result<Step, Refusal> {
        read::resource(&self.root, "Claim").map_err(|p| self.wrong(p))?;
        read::claim::before_scope(&self.root).map_err(|p| self.wrong(p))?;
        self.may(caller, Duty::Dispensing, Who::UserOnly, None)?;
        let mut claim = read::claim::claim(&self.root).map_err(|p| self.wrong(p))?;
        claim.document = packed(text)?;
        Ok(submit(&claim.id.clone(), claim.into()))
    }

    /// Scope and activity (§3.2).
    fn allowed(&mut self, caller: &Caller, duty: Duty, who: Who, activities: Option<&[&str]>) -> Result<(), Refusal> {
        let told = access::scope(caller, duty, who).and_then(|scope| {
            activities.map_or(Ok(()), |any_of| access::activity(caller, any_of))?;
            Ok(access::granted(caller, scope, activities))
        });
        self.granted = told.map_err(|words| Refusal::of(refuse::forbidden(&words), "forbidden"))?;
        Ok(())
    }

    /// Cancelling has a code of its own for a function that is off (§8.2).
    fn cancelling(&self) -> Result<(), Refusal> {
        if self.eps.options.prescribing {
            return Ok(());
        }
        let display = steps::Code::R0009.display();
        let issue = Issue::store("not-supported", read::problem::HISTORY, ("R-0009", display), "", CANCELLING_OFF);
        let Refusal { response, .. } = self.wrong(issue.into());
        Err(Refusal::of(response, "R-0009"))
    }

    /// Scope, activity and whether the feature is on (§3.2).
    fn may(&mut self, caller: &Caller, duty: Duty, who: Who, activities: Option<&[&str]>) -> Result<(), Refusal> {
        self.allowed(caller, duty, who, activities)?;
        let (on, word) = match duty {
            Duty::Prescribing => (self.eps.options.prescribing, "Prescribing"),
            Duty::Dispensing => (self.eps.options.dispensing, "Dispensing"),
            Duty::Tracker => (true, ""),
        };
        match on {
            true => Ok(()),
            false => Err(Refusal::of(refuse::disabled(&format!("{word} functionality is disabled.")), "disabled")),
        }
    }

    /// The rows of all partitions: what is nominated to a dispenser, or a person's prescriptions.
    pub fn looked(&mut self, views: &[&dyn Reader]) -> Result<Step, Fault> {
        match &self.goal {
            Goal::Nominated { template, .. } => {
                let mut found = vec![];
                for view in views {
                    found.extend(rows::nominated(*view, &template.by.ods, MOST_FOUND)?);
                }
                found.sort();
                let keys = found.into_iter().take(MOST_FOUND).map(|(_, key)| key).collect();
                let pick = Pick { ods: template.by.ods.clone(), keys, attempt: self.attempt, ..Default::default() };
                let id = format!("{} {} {}", self.route.name(), template.by.ods, self.request);
                Ok(Step::Submit(vec![call(&self.request, pick.into(), id)]))
            }
            Goal::Read(_) => self.looked_at(views),
            _ => Err(Fault::Other("a request looked for nothing".into())),
        }
    }
}

/// A path that is none, or an operation of the standard that this service does not have.
pub(super) fn nothing(path: &str) -> Refusal {
    let response = match routes::not_offered(path) {
        Some(name) => refuse::not_offered(&format!("This Spine does not offer {name}.")),
        None => refuse::incorrect(404, "There is no such path."),
    };
    Refusal::of(response, "not_found")
}

impl Refusal {
    pub fn of(response: Response, code: &'static str) -> Refusal {
        Refusal { response, code }
    }
}

pub(super) fn call(key: &str, command: EpsCommand, request_id: String) -> Call {
    Call { key: Bytes::copy_from_slice(key.as_bytes()), payload: command.encode(), request_id }
}

/// One message to its prescription. Repeats are known by the message's id in the record (§3.7), not by the request's.
fn submit(id: &str, command: EpsCommand) -> Step {
    Step::Submit(vec![call(key(id), command, String::new())])
}

/// A header's text; empty where it is not there or no text.
pub(super) fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default()
}

/// The mandatory X-Request-ID: a UUID (§3.1).
pub(super) fn request_id(headers: &HeaderMap) -> Result<String, Refusal> {
    let given = header(headers, "x-request-id");
    let words = match given {
        "" => "Invalid request with error - X-Request-ID header must be supplied to access this resource",
        _ => "Invalid value in header 'X-Request-ID': a UUID is wanted",
    };
    super::ids::uuid(given).ok_or_else(|| Refusal::of(refuse::incorrect(400, words), "invalid"))
}

pub(super) fn body_text(body: BodyIn) -> Result<Bytes, Refusal> {
    match body {
        BodyIn::Bytes(bytes) => Ok(bytes),
        BodyIn::None => Ok(Bytes::new()),
        BodyIn::TooLarge => Err(Refusal::of(refuse::incorrect(413, "The message is too large."), "too_large")),
    }
}

/// The message as it is stored.
fn packed(text: &[u8]) -> Result<Bytes, Refusal> {
    packed::pack(text).ok_or_else(|| Refusal::of(refuse::fault(), "fault"))
}

#[cfg(test)]
mod before;
#[cfg(test)]
mod tests;
