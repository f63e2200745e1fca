//! Spine Mini Services (spec/pds.md §17): five questions about a person over SOAP, answered from the same records as everything else.
//!
//! | file | duty |
//! |---|---|
//! | `request` | SOAP and ITK envelope, payload → what is asked, or the fault |
//! | `find` | what is asked → a person and a code (§17.4, §17.5) |
//! | `response` | code and person → the answer's envelope; faults |
//!
//! One request: [`Asked::ask`] reads it; a good one looks at the rows of all partitions ([`Asked::looked`]); then its audit note is
//! written, with whom it shows (P4); then [`Asked::answer`].

mod find;
mod request;
mod response;

use super::{
    BodyIn, Call, Response, Step,
    command::{Noted, PdsCommand},
};
use crate::{engine::draft::Fault, store::Reader};
use bytes::Bytes;
use find::Outcome;
use http::HeaderMap;
use request::{Bad, Request};

pub const PATH: &str = "/smsp/pds";

/// The five operations, by their names on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Verify,
    GetNumber,
    DetailsByNumber,
    DetailsBySearch,
    Details,
}

impl Operation {
    pub const ALL: [Operation; 5] = [
        Operation::Verify,
        Operation::GetNumber,
        Operation::DetailsByNumber,
        Operation::DetailsBySearch,
        Operation::Details,
    ];
    pub fn name(self) -> &'static str {
        match self {
            Operation::Verify => "verifyNHSNumber",
            Operation::GetNumber => "getNHSNumber",
            Operation::DetailsByNumber => "getPatientDetailsByNHSNumber",
            Operation::DetailsBySearch => "getPatientDetailsBySearch",
            Operation::Details => "getPatientDetails",
        }
    }
    /// The name of its answer: the three detail operations have one (§17.1).
    pub fn answer(self) -> &'static str {
        match self {
            Operation::Verify => "verifyNHSNumberResponse-v1-0",
            Operation::GetNumber => "getNHSNumberResponse-v1-0",
            _ => "getPatientDetailsResponse-v1-0",
        }
    }
    /// The interaction in rules and the audit trail.
    pub fn interaction(self) -> &'static str {
        match self {
            Operation::Verify => "smsp.verify_nhs_number",
            Operation::GetNumber => "smsp.get_nhs_number",
            Operation::DetailsByNumber => "smsp.get_patient_details_by_nhs_number",
            Operation::DetailsBySearch => "smsp.get_patient_details_by_search",
            Operation::Details => "smsp.get_patient_details",
        }
    }
    /// By the SOAP action, with or without its quotes.
    pub fn of_action(action: &str) -> Option<Operation> {
        let action = action.trim().trim_matches('"');
        let name = action.strip_prefix("urn:nhs-itk:services:201005:")?.strip_suffix("-v1-0")?;
        Operation::ALL.into_iter().find(|operation| operation.name() == name)
    }
    fn action(self) -> String {
        format!("urn:nhs-itk:services:201005:{}-v1-0", self.name())
    }
}

/// Requests to the path that name none of the operations.
pub const OTHER: &str = "smsp.other";
pub const INTERACTIONS: [&str; 6] = [
    "smsp.verify_nhs_number",
    "smsp.get_nhs_number",
    "smsp.get_patient_details_by_nhs_number",
    "smsp.get_patient_details_by_search",
    "smsp.get_patient_details",
    OTHER,
];

/// Longest ids taken from a caller into the audit trail.
const MAX_ID: usize = 100;

/// One request on its way.
pub struct Asked {
    post: bool,
    operation: Option<Operation>,
    /// Unique over the site: what the answer's ids are made of.
    attempt: u64,
    request: Option<Request>,
    bad: Option<Bad>,
    found: Option<Outcome>,
}

impl Asked {
    pub fn new(method: &str, headers: &HeaderMap) -> Asked {
        let action = headers.get("soapaction").and_then(|v| v.to_str().ok()).unwrap_or_default();
        let (post, operation) = (method == "POST", Operation::of_action(action));
        Asked { post, operation, attempt: 0, request: None, bad: None, found: None }
    }

    pub fn interaction(&self) -> &'static str {
        self.operation.filter(|_| self.post).map_or(OTHER, Operation::interaction)
    }

    /// What is no request at all needs no engine.
    pub fn at_once(&self) -> Option<Response> {
        (!self.post).then(|| Response {
            status: 405,
            headers: vec![("allow", Bytes::from_static(b"POST"))],
            body: Bytes::new(),
        })
    }

    /// Reads a request of the system with this ASID. `attempt` names it, once in the site.
    pub fn ask(&mut self, asid: &str, headers: &HeaderMap, body: BodyIn, attempt: u64) -> Step {
        self.attempt = attempt;
        let kind = headers.get("content-type").and_then(|v| v.to_str().ok()).unwrap_or_default();
        let xml = kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("text/xml"));
        let read = match (self.operation, body) {
            (None, _) => Err(Bad::Fault("the SOAPAction is none of this service")),
            (_, _) if !xml => Err(Bad::Fault("the content type is not text/xml")),
            (Some(operation), BodyIn::Bytes(body)) => request::read(operation, &body, asid),
            (_, BodyIn::None) => Err(Bad::Fault("there is no message")),
            (_, BodyIn::TooLarge) => Err(Bad::Fault("the message is too large")),
        };
        match read {
            Ok(request) => {
                self.request = Some(request);
                Step::Look
            }
            Err(bad) => {
                let (code, message, identity) = match &bad {
                    Bad::Fault(_) => ("fault", "", ""),
                    Bad::Coded { code, message, identity } => (*code, message.as_str(), identity.as_str()),
                };
                let call = self.noted(code, vec![], message, identity);
                self.bad = Some(bad);
                Step::Submit(vec![call])
            }
        }
    }

    /// Finds the person, and notes whom the answer shows.
    pub fn looked(&mut self, views: &[&dyn Reader]) -> Result<Step, Fault> {
        let Some(request) = &self.request else { return Err(Fault::Other("a request looked for nothing".into())) };
        let found = find::find(views, request)?;
        let subjects = found.person.iter().map(|(nhs, _)| nhs.value()).collect();
        let call = self.noted(found.code, subjects, &request.message, &request.identity);
        self.found = Some(found);
        Ok(Step::Submit(vec![call]))
    }

    fn noted(&self, outcome: &str, subjects: Vec<u64>, message: &str, identity: &str) -> Call {
        let bounded = |text: &str| text.chars().filter(|c| !c.is_control()).take(MAX_ID).collect::<String>();
        let note = Noted {
            interaction: self.interaction().into(),
            outcome: outcome.into(),
            subjects,
            detail: bounded(identity),
            request: bounded(message),
            ..Default::default()
        };
        let key = format!("smsp {}", self.attempt);
        Call { key: key.into(), payload: PdsCommand::from(note).encode(), request_id: String::new() }
    }

    /// The answer. `site` is the registry, for the practice's name and address.
    pub fn answer(&self, site: &dyn Reader) -> Result<Response, Fault> {
        match (&self.bad, self.operation, &self.request, &self.found) {
            (Some(Bad::Coded { code, .. }), Some(operation), ..) => {
                Ok(response::refused(operation, self.attempt, code))
            }
            (None, Some(_), Some(request), Some(found)) => response::answer(request, found, self.attempt, site),
            (Some(Bad::Fault(why)), ..) => Ok(response::fault(500, "soap:Client", why, self.attempt)),
            _ => Err(Fault::Other("an answer without a question".into())),
        }
    }
}

/// A refusal of the edge's own as a SOAP fault.
pub fn refuse(status: u16, ours: bool, words: &str) -> Response {
    response::fault(status, if ours { "soap:Server" } else { "soap:Client" }, words, 0)
}
