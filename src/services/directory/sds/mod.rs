//! The systems' face, SDS FHIR (directory.md §A): which systems are accredited for an interaction (Device), and where and
//! how their message handlers are reached (Endpoint). Reads rows, writes nothing.
//!
//! | file | duty |
//! |---|---|
//! | `wish` | query parameters → what is looked for, or the exact words of the refusal |
//! | `resource` | rows as Device and Endpoint |

mod resource;
mod wish;

use super::{
    http::{Answer, Asked},
    rows::Endpoint,
    systems::{By, endpoints, systems},
};
use crate::{
    engine::draft::Fault,
    store::Reader,
    wire::tree::{Members, Node},
};
use wish::Wish;

const FHIR_JSON: &str = "application/fhir+json";
const PLAIN_JSON: &str = "application/json";
const ERRORS: &str = "https://fhir.nhs.uk/STU3/ValueSet/Spine-ErrorOrWarningCode-1";
/// The organisation whose endpoints are Spine's own.
const SPINE: &str = "YES";

/// A refusal, as directory.md §A.5 lists them.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Refused {
    Bad(String),
    NoPath,
    Method,
    Accept,
    Internal(String),
}

impl Refused {
    /// Status, issue code, code, display, diagnostics.
    fn told(&self) -> (u16, &'static str, &'static str, &'static str, String) {
        match self {
            Refused::Bad(why) => {
                (400, "required", "BAD_REQUEST", "Bad request", format!("HTTP 400: Bad Request ({why})"))
            }
            Refused::NoPath => {
                (404, "not-found", "NO_RECORD_FOUND", "No record found", "HTTP endpoint not found".into())
            }
            Refused::Method => {
                let text = "HTTP operation not supported".into();
                (405, "not-supported", "NOT_IMPLEMENTED", "Not implemented", text)
            }
            Refused::Accept => {
                let display = "There is a required header missing or invalid";
                (406, "not-supported", "MISSING_OR_INVALID_HEADER", display, "Accept type not supported".into())
            }
            Refused::Internal(why) => {
                (500, "exception", "INTERNAL_SERVER_ERROR", "Unexpected internal server error", why.clone())
            }
        }
    }
}

enum Not {
    Refused(Refused),
    Fault(Fault),
}

impl From<Refused> for Not {
    fn from(refused: Refused) -> Not {
        Not::Refused(refused)
    }
}
impl From<Fault> for Not {
    fn from(fault: Fault) -> Not {
        Not::Fault(fault)
    }
}

/// Answers a request below the face's base; `rest` begins behind it.
pub fn answer(site: &dyn Reader, asked: &Asked, rest: &str) -> Result<Answer, Fault> {
    match (asked.method.as_str(), rest) {
        ("GET", "/healthcheck" | "/_ping") => return Ok(Answer { status: 200, ..Default::default() }),
        ("GET", "/healthcheck/deep" | "/_status") => return Ok(deep(site)),
        _ => {}
    }
    let correlation = correlation(asked);
    let id = correlation.clone().unwrap_or_else(|_| asked.upper_uuid(0));
    let told = correlation.map_err(Not::from).and_then(|_| bundle(site, asked, rest));
    let answer = match told {
        Ok((kind, node)) => Answer::of(200, kind, node.json()),
        Err(Not::Fault(fault)) => return Err(fault),
        Err(Not::Refused(refused)) => {
            let (status, issue, code, display, diagnostics) = refused.told();
            let answer = Answer::of(status, FHIR_JSON, outcome(&id, issue, code, display, &diagnostics).json());
            if status == 405 { answer.with("allow", "GET") } else { answer }
        }
    };
    Ok(answer.with("x-correlation-id", id))
}

fn outcome(id: &str, issue: &str, code: &str, display: &str, diagnostics: &str) -> Node {
    let coding = Members::new().with("system", ERRORS).with("code", code).with("display", display);
    let details = Members::new().with("coding", vec![coding.into()]);
    let issue = Members::new().with("severity", "error").with("code", issue).with("details", details);
    let issue = issue.with("diagnostics", diagnostics);
    Members::new().with("resourceType", "OperationOutcome").with("id", id).with("issue", vec![issue.into()]).into()
}

/// The caller's correlation id, or a fresh one where there is none.
fn correlation(asked: &Asked) -> Result<String, Refused> {
    const WORDS: &str = "Invalid X-Correlation-ID header. Should be an UUIDv4 matching regex \
        '^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$'";
    let Some(given) = &asked.correlation else { return Ok(asked.upper_uuid(0)) };
    let groups: Vec<&str> = given.split('-').collect();
    let fits = groups.iter().map(|g| g.len()).eq([8, 4, 4, 4, 12])
        && groups.iter().all(|g| g.bytes().all(|b| b.is_ascii_hexdigit()));
    if fits { Ok(given.clone()) } else { Err(Refused::Bad(WORDS.into())) }
}

/// The content type of the answer: fhir+json where it may be, json where only that is listed.
fn negotiate(accept: Option<&str>) -> Result<&'static str, Refused> {
    let Some(accept) = accept.map(str::to_ascii_lowercase) else { return Ok(FHIR_JSON) };
    // Parameters are not compared: `application/fhir+json; charset=utf-8` is fhir+json (directory.md §A.3 allows it).
    let types: Vec<&str> = accept.split(',').map(|t| t.split(';').next().unwrap_or(t).trim()).collect();
    if types.iter().any(|t| matches!(*t, "" | "*/*" | FHIR_JSON)) {
        Ok(FHIR_JSON)
    } else if types.contains(&PLAIN_JSON) {
        Ok(PLAIN_JSON)
    } else {
        Err(Refused::Accept)
    }
}

fn bundle(site: &dyn Reader, asked: &Asked, rest: &str) -> Result<(&'static str, Node), Not> {
    if !matches!(rest, "/Device" | "/Endpoint") {
        return Err(Refused::NoPath.into());
    }
    if asked.method != "GET" {
        return Err(Refused::Method.into());
    }
    let kind = negotiate(asked.accept.as_deref())?;
    let pairs = asked.pairs();
    let resources = match rest {
        "/Device" => devices(site, asked, &wish::device(&pairs)?)?,
        _ => routes(site, asked, &wish::endpoint(&pairs)?)?,
    };
    let url = super::http::decode(&asked.url());
    let link: Node = Members::new().with("relation", "self").with("url", url).into();
    let entry = |(id, resource): &(String, Node)| -> Node {
        let full = format!("{}{}/{id}", asked.origin, asked.path);
        let members = Members::new().with("fullUrl", full).with("resource", resource.clone());
        members.with("search", Members::new().with("mode", "match")).into()
    };
    let bundle = Members::new()
        .with("resourceType", "Bundle")
        .with("id", asked.upper_uuid(1))
        .with("type", "searchset")
        .with("total", Node::Int(resources.len() as i64))
        .with("link", vec![link])
        .with("entry", resources.iter().map(entry).collect::<Vec<_>>());
    Ok((kind, bundle.into()))
}

fn devices(site: &dyn Reader, asked: &Asked, wish: &Wish) -> Result<Vec<(String, Node)>, Not> {
    let mut all = vec![];
    for (asid, row) in systems(site, &wish.words())? {
        if wish.manufacturer.as_ref().is_some_and(|wanted| *wanted != row.manufacturer) {
            continue;
        }
        if row.clients.len() > 1 {
            let why = format!("More than one client organisation for system {asid}");
            return Err(Refused::Internal(why).into());
        }
        let id = asked.upper_uuid(2 + all.len());
        all.push((id.clone(), resource::device(&id, &asid, &row)));
    }
    Ok(all)
}

fn routes(site: &dyn Reader, asked: &Asked, wish: &Wish) -> Result<Vec<(String, Node)>, Not> {
    let mut all = vec![];
    for (record, mut row) in endpoints(site, &wish.words())? {
        let interaction = wish.interaction.clone().or_else(|| row.interactions.first().cloned()).unwrap_or_default();
        if let Some(intermediary) = intermediary(&interaction) {
            row.addresses = vec![address_of(site, intermediary)?];
        }
        // A record without an address is still shown, without one.
        let addresses = if row.addresses.is_empty() { vec![String::new()] } else { row.addresses.clone() };
        for address in addresses {
            let id = asked.upper_uuid(2 + all.len());
            all.push((id.clone(), resource::endpoint(&id, &record, &address, &row)));
        }
    }
    Ok(all)
}

/// Services whose forward-reliable interactions go through Spine (mhs.md §2, 4).
const FORWARDED: &[&str] = &[
    "cc", "ebs", "ebsepr", "ebsnpr", "gp2gp", "pat", "itk", "dis", "ed", "op", "caf", "adm", "ooh", "am", "mh", "nd",
    "dir",
];
/// The forward-reliable interactions.
const RELIABLE: &[&str] = &[
    "COPC_IN000001UK01",
    "PRSC_IN040000UK08",
    "PRSC_IN080000UK07",
    "PRPA_IN010000UK07",
    "PRPA_IN020000UK06",
    "PRSC_IN050000UK06",
    "PRSC_IN090000UK09",
    "PRPA_IN030000UK08",
    "PRSC_IN100000UK06",
    "PRSC_IN070000UK08",
    "PRSC_IN140000UK06",
    "RCMR_IN010000UK05",
    "RCMR_IN030000UK06",
    "RCMR_IN030000UK07",
    "PRSC_IN130000UK07",
    "PRSC_IN110000UK08",
    "PRSC_IN060000UK06",
    "PRSC_IN150000UK06",
    "POLB_IN020006UK01",
    "POLB_IN020005UK01",
    "COMT_IN000004GB01",
    "MCCI_IN010000UK13",
];
/// The forward-express ones.
const EXPRESS: &[&str] = &["PRSC_IN080000UK03", "PRSC_IN040000UK03"];

/// The interaction whose address stands for this one's, where Spine is between.
fn intermediary(interaction: &str) -> Option<&'static str> {
    let (service, action) = interaction.strip_prefix("urn:nhs:names:services:")?.rsplit_once(':')?;
    if !FORWARDED.contains(&service) {
        return None;
    }
    if RELIABLE.contains(&action) {
        Some("urn:nhs:names:services:tms:ReliableIntermediary")
    } else if EXPRESS.contains(&action) {
        Some("urn:nhs:names:services:tms:ExpressIntermediary")
    } else {
        None
    }
}

/// Spine's one address for an intermediary.
fn address_of(site: &dyn Reader, interaction: &str) -> Result<String, Not> {
    let found: Vec<(String, Endpoint)> = endpoints(site, &[(By::Organisation, SPINE), (By::Interaction, interaction)])?;
    match &found[..] {
        [(_, row)] if row.addresses.len() == 1 => Ok(row.addresses[0].clone()),
        [_] => Err(Refused::Internal(format!("Expected one address for {interaction}")).into()),
        _ => Err(Refused::Internal(format!("Expected one record for {interaction}, found {}", found.len())).into()),
    }
}

/// The store can be read: that is what the reference server asks its LDAP.
fn deep(site: &dyn Reader) -> Answer {
    let fine = systems(site, &[(By::Organisation, SPINE)]).is_ok();
    let word = if fine { "pass" } else { "fail" };
    let ldap = Members::new()
        .with("status", word)
        .with("links", Members::new().with("ldap", "in-process"))
        .with("output", if fine { "the registry is readable" } else { "the registry cannot be read" });
    let node: Node = Members::new().with("status", word).with("details", Members::new().with("ldap", ldap)).into();
    Answer::of(if fine { 200 } else { 503 }, PLAIN_JSON, node.json())
}
