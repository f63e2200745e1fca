//! From the reply, and rows where they are wanted, to the response.

use super::{
    Response,
    ask::Asked,
    command::Reply,
    fhir::{self, BASE, Object},
    refusal::Problem,
    routes::Route,
    rows::{self, Card, Person, Sensitivity},
    search, show,
};
use crate::{engine::draft::Fault, model::NhsNumber, store::Reader, wire::record::Record};
use bytes::Bytes;
use serde_json::{Value, json};

const FHIR_JSON: &str = "application/fhir+json";

/// A response with a body.
pub fn respond(status: u16, body: &Value) -> Response {
    let headers = vec![("content-type", Bytes::from_static(FHIR_JSON.as_bytes()))];
    Response { status, headers, body: body.to_string().into() }
}

/// A refusal as the specification writes it.
pub fn refuse(problem: &Problem) -> Response {
    let mut response = respond(problem.row.status, &problem.outcome());
    if problem.row.status == 503 {
        response.headers.push(("retry-after", Bytes::from_static(b"5")));
    }
    response
}

fn with_version(mut response: Response, version: u64) -> Response {
    response.headers.push(("etag", format!("W/\"{version}\"").into()));
    response
}

impl Asked {
    /// The answer. `view`: rows of the call's partition, as of its decision, where `replied` wanted them.
    pub fn answer(&mut self, view: Option<&dyn Reader>) -> Result<Response, Fault> {
        if let Some(problem) = &self.refusal {
            return Ok(refuse(problem));
        }
        let reply = self.reply.take().ok_or_else(|| Fault::Other("an answer before its reply".into()))?;
        match &self.route {
            Route::Search(_) => {
                let bundle = search::bundle(&self.host, reply.at, &self.hits, self.flags)?;
                Ok(respond(200, &bundle))
            }
            Route::Related(_) => self.related(&reply),
            Route::Coverage(_) => self.coverage(&reply, 200),
            Route::SetCoverage => self.coverage(&reply, 201),
            Route::Retrieve(_) => {
                let row = person(&reply.person)?;
                self.patient(200, subject(&reply)?, &row)
            }
            Route::Update(_) => self.made(200, &reply, view),
            Route::Create => self.made(201, &reply, view),
            Route::Birth(_) => {
                let mut response = self.made(201, &reply, view)?;
                response.headers.push(("notification-id", notification(&reply).into()));
                Ok(response)
            }
            _ => Err(Fault::Other("a route without an answer".into())),
        }
    }

    /// The version that a write made, even where a later one is there already: a repeat gets the first answer (P3).
    fn made(&self, status: u16, reply: &Reply, view: Option<&dyn Reader>) -> Result<Response, Fault> {
        let view = view.ok_or_else(|| Fault::Other("a written person without its rows".into()))?;
        let nhs = subject(reply)?;
        let now = rows::person(view, nhs)?.ok_or_else(|| Fault::Other("a written person is not there".into()))?;
        let row = rows::as_of(view, nhs, now, reply.version)?;
        let row = row.ok_or_else(|| Fault::Other("a written version is not there".into()))?;
        self.patient(status, nhs, &row)
    }

    fn patient(&self, status: u16, nhs: NhsNumber, row: &Person) -> Result<Response, Fault> {
        let patient = show::patient(nhs, row, self.flags)?;
        Ok(with_version(respond(status, &Value::Object(patient)), row.version))
    }

    /// §12. The reply holds the people, packed as a list.
    fn related(&self, reply: &Reply) -> Result<Response, Fault> {
        let nhs = subject(reply)?.digits();
        let list = super::codec::unpack(&reply.extra).map_err(|e| Fault::Other(format!("related people: {e}")))?;
        let mut entries = vec![];
        for person in list.as_array().into_iter().flatten() {
            let mut person: Object = person.as_object().cloned().unwrap_or_default();
            person.insert("resourceType".into(), json!("RelatedPerson"));
            let id = person.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
            entries.push(json!({
                "fullUrl": format!("https://{}{BASE}/Patient/{nhs}/RelatedPerson/{id}", self.host),
                "resource": person,
            }));
        }
        Ok(respond(200, &fhir::bundle(&fhir::moment(reply.at), entries)))
    }

    /// §13.
    fn coverage(&self, reply: &Reply, status: u16) -> Result<Response, Fault> {
        let nhs = subject(reply)?.digits();
        let card = match reply.extra.is_empty() {
            true => Card { version: 1, ..Default::default() },
            false => Card::decode(&reply.extra).map_err(|e| Fault::Other(format!("card: {e}")))?,
        };
        let mut entries = vec![];
        let mut resource = rows::object(&card.resource)?;
        let numbered = Value::Object(resource.clone()).pointer("/beneficiary/identifier/value").is_some();
        if numbered {
            resource.insert("resourceType".into(), json!("Coverage"));
            entries.push(json!({
                "fullUrl": format!("https://{}{BASE}/Coverage?subscriber:identifier={nhs}", self.host),
                "resource": resource,
            }));
        }
        let mut bundle = fhir::bundle(&fhir::moment(reply.at), entries);
        bundle["meta"] = json!({"versionId": card.version.to_string()});
        Ok(with_version(respond(status, &bundle), card.version))
    }
}

/// Whether everything beside the names of a person may be shown: not the related people and cards of others (§6).
pub fn open(person: &Person) -> bool {
    person.sensitivity() == Sensitivity::Unrestricted
}

fn subject(reply: &Reply) -> Result<NhsNumber, Fault> {
    NhsNumber::of(reply.nhs).ok_or_else(|| Fault::Other("a reply about nobody".into()))
}

fn person(bytes: &Bytes) -> Result<Person, Fault> {
    Person::decode(bytes).map_err(|e| Fault::Other(format!("a person in a reply: {e}")))
}

/// A UUID (version 8) made of the number and the moment: a repeat gets the same one.
fn notification(reply: &Reply) -> String {
    let seed = [reply.nhs.to_be_bytes(), reply.at.to_be_bytes()].concat();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &seed);
    let mut id = [0; 16];
    id.copy_from_slice(&digest.as_ref()[..16]);
    uuid::Builder::from_custom_bytes(id).into_uuid().to_string()
}
