//! The FHIR R4 face: read and search of Organization and OrganizationAffiliation, paging, and errors as HAPI words them
//! (directory.md §C.1). GET, and POST to `_search` only.

use super::{
    affiliation,
    resource::organization,
    search::{self, CONTROLS},
};
use crate::{
    engine::draft::Fault,
    services::directory::{
        find::{Clause, Found, find},
        http::{Answer, Asked},
        rows, workers,
    },
    store::Reader,
    wire::tree::{Members, Node},
};

/// Page size where the client names none, and the largest.
const PAGE: usize = 20;
pub const MAX_PAGE: usize = 1_000;
/// Most parameters of one search.
const MAX_PARAMETERS: usize = 64;

/// A refusal: status and diagnostics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub status: u16,
    pub diagnostics: String,
}

impl Refused {
    pub fn invalid(diagnostics: String) -> Refused {
        Refused { status: 400, diagnostics }
    }
    pub fn unknown(kind: &str, id: &str) -> Refused {
        Refused { status: 404, diagnostics: format!("HAPI-2001: Resource {kind}/{id} is not known") }
    }
    pub fn unknown_parameter(name: &str, kind: &str, valid: &str) -> Refused {
        Refused::invalid(format!(
            "HAPI-0524: Unknown search parameter \"{name}\" for resource type \"{kind}\". Valid search parameters for \
             this search are: [{valid}]"
        ))
    }
    pub fn method(method: &str) -> Refused {
        let diagnostics =
            format!("HAPI-0427: HTTP Method {method} is not allowed for this operation. Allowed method(s): POST, GET");
        Refused { status: 405, diagnostics }
    }
    /// The bound on what one question may look through (P6).
    pub fn too_broad() -> Refused {
        Refused::invalid("The search looks through too many organisations: narrow it by name, role or postcode".into())
    }
    pub fn too_many_people() -> Refused {
        Refused::invalid("The search looks through too many people: narrow it by identifier or a longer name".into())
    }
}

/// Why a request has no plain answer.
pub enum Not {
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

/// How much is asked for, and in which form.
pub struct Control {
    pub count: usize,
    pub offset: usize,
    pub only_count: bool,
    pub includes: Vec<String>,
}

impl Control {
    /// How many matches are in the answer at most.
    pub fn shown(&self) -> usize {
        if self.only_count { 0 } else { self.count }
    }
}

/// Answers a request below the face's base; `rest` begins behind it.
pub fn answer(site: &dyn Reader, asked: &Asked, rest: &str) -> Result<Answer, Fault> {
    told(asked, resource(site, asked, rest))
}

/// What was found, or why not, as an answer.
pub fn told(asked: &Asked, found: Result<Node, Not>) -> Result<Answer, Fault> {
    match found {
        Ok(node) => Ok(render(asked, 200, &node)),
        Err(Not::Refused(refused)) => {
            let allow = refused.status == 405;
            let answer = render(asked, refused.status, &outcome(&refused));
            Ok(if allow { answer.with("allow", "POST, GET") } else { answer })
        }
        Err(Not::Fault(fault)) => Err(fault),
    }
}

fn resource(site: &dyn Reader, asked: &Asked, rest: &str) -> Result<Node, Not> {
    let parts: Vec<&str> = rest.trim_matches('/').split('/').collect();
    if !matches!(asked.method.as_str(), "GET" | "POST") {
        return Err(Refused::method(&asked.method).into());
    }
    let post = asked.method == "POST";
    match parts[..] {
        ["metadata"] if !post => Ok(capabilities(asked)),
        ["Organization"] | ["Organization", "_search"] => organizations(site, asked),
        ["Organization", id] if !post => {
            let row = rows::organisation(site, id)?;
            row.map(|row| organization(id, &row)).ok_or_else(|| Refused::unknown("Organization", id).into())
        }
        ["OrganizationAffiliation"] | ["OrganizationAffiliation", "_search"] => affiliation::search(site, asked),
        ["OrganizationAffiliation", id] if !post => affiliation::read(site, id),
        ["Organization" | "OrganizationAffiliation", _] => Err(Refused::method(&asked.method).into()),
        [kind, ..] => {
            let diagnostics = format!(
                "HAPI-0302: Unknown resource type '{kind}' - Server knows how to handle: [Organization, \
                 OrganizationAffiliation]"
            );
            Err(Refused { status: 404, diagnostics }.into())
        }
        [] => Err(Refused::unknown("Organization", "").into()),
    }
}

fn organizations(site: &dyn Reader, asked: &Asked) -> Result<Node, Not> {
    let pairs = asked.pairs();
    let control = control(&pairs)?;
    let mut clauses: Vec<Clause> = vec![];
    for (name, value) in pairs.iter().filter(|(name, _)| !CONTROLS.contains(&name.as_str())) {
        let clause = search::clause(name, value)?;
        // A parameter without a value says nothing, as HAPI has it.
        clauses.extend(Some(clause).filter(|clause| !clause.is_empty()));
    }
    match find(site, &clauses, control.offset, control.shown())? {
        Found::TooBroad => Err(Refused::too_broad().into()),
        Found::Page { total, items } => {
            let entries = items.iter().map(|(ods, row)| (format!("Organization/{ods}"), organization(ods, row)));
            Ok(bundle(asked, &control, total, total, entries.collect(), vec![]))
        }
    }
}

/// Reads the parameters about the answer.
pub fn control(pairs: &[(String, String)]) -> Result<Control, Refused> {
    if pairs.len() > MAX_PARAMETERS {
        return Err(Refused::invalid(format!("HAPI-0400: at most {MAX_PARAMETERS} search parameters")));
    }
    let mut control = Control { count: PAGE, offset: 0, only_count: false, includes: vec![] };
    for (name, value) in pairs {
        let number = || {
            let bad = format!("HAPI-0400: Invalid value for parameter \"{name}\": {value}");
            value.parse::<usize>().map_err(|_| Refused::invalid(bad))
        };
        match name.as_str() {
            "_count" => control.count = number()?.min(MAX_PAGE),
            "_getpagesoffset" => control.offset = number()?,
            "_summary" => control.only_count |= value == "count",
            "_include" => control.includes.push(value.clone()),
            _ => {}
        }
    }
    control.only_count |= control.count == 0;
    Ok(control)
}

/// A page of matches and what was included with them, with links to its neighbours. `total` is told; `matches` are all
/// that could be paged through.
pub fn bundle(
    asked: &Asked,
    control: &Control,
    total: usize,
    matches: usize,
    found: Vec<(String, Node)>,
    included: Vec<(String, Node)>,
) -> Node {
    let link =
        |relation: &str, url: String| -> Node { Members::new().with("relation", relation).with("url", url).into() };
    let mut links = vec![link("self", asked.url())];
    let next = control.offset.saturating_add(control.count);
    if !control.only_count && next < matches {
        links.push(link("next", asked.url_with("_getpagesoffset", next)));
    }
    if !control.only_count && control.offset > 0 {
        links.push(link("previous", asked.url_with("_getpagesoffset", control.offset.saturating_sub(control.count))));
    }
    let base = base(asked);
    let entry = |mode: &'static str| {
        let base = base.clone();
        move |(path, resource): (String, Node)| -> Node {
            let members = Members::new().with("fullUrl", format!("{base}/{path}")).with("resource", resource);
            members.with("search", Members::new().with("mode", mode)).into()
        }
    };
    let entries = found.into_iter().map(entry("match")).chain(included.into_iter().map(entry("include")));
    Members::new()
        .with("resourceType", "Bundle")
        .with("id", asked.uuid(0).to_string())
        .with("type", "searchset")
        .with("total", Node::Int(total as i64))
        .with("link", links)
        .list("entry", entries.collect())
        .into()
}

/// The URL above the resource types.
pub fn base(asked: &Asked) -> String {
    let at = ["/Organization", "/Practitioner"].iter().find_map(|kind| asked.path.find(kind));
    let path = at.map_or(asked.path.as_str(), |at| &asked.path[..at]);
    format!("{}{path}", asked.origin)
}

pub fn outcome(refused: &Refused) -> Node {
    let issue = Members::new().with("severity", "error").with("code", "processing");
    let issue = issue.with("diagnostics", refused.diagnostics.as_str());
    Members::new().with("resourceType", "OperationOutcome").with("issue", vec![issue.into()]).into()
}

/// Whether XML is asked for: `_format` before `Accept`.
pub fn wants_xml(asked: &Asked) -> bool {
    let format = asked.pairs().into_iter().find(|(name, _)| name == "_format");
    match format {
        Some((_, format)) => format.contains("xml"),
        None => asked.accept.as_deref().is_some_and(|a| a.contains("xml") && !a.contains("json")),
    }
}

fn render(asked: &Asked, status: u16, node: &Node) -> Answer {
    match wants_xml(asked) {
        true => Answer::of(status, "application/fhir+xml;charset=utf-8", node.fhir_xml()),
        false => Answer::of(status, "application/fhir+json;charset=utf-8", node.json()),
    }
}

/// At the root of R4 healthcare workers are looked up too.
fn capabilities(asked: &Asked) -> Node {
    let interaction = |code: &str| -> Node { Members::new().with("code", code).into() };
    let resource = |kind: &str, parameters: &str| -> Node {
        let parameter = |name: &str| -> Node {
            let kind = match name {
                "name" | "phonetic" => "string",
                _ if name.starts_with("address") => "string",
                "lastChangeDate" | "_lastUpdated" => "date",
                "practitioner" | "organization" => "reference",
                _ => "token",
            };
            Members::new().with("name", name).with("type", kind).into()
        };
        Members::new()
            .with("type", kind)
            .with("interaction", vec![interaction("read"), interaction("search-type")])
            .with("searchParam", parameters.split(", ").map(parameter).collect::<Vec<_>>())
            .into()
    };
    let mut all = vec![
        resource("Organization", search::PARAMETERS),
        resource("OrganizationAffiliation", search::AFFILIATION_PARAMETERS),
    ];
    if asked.path.starts_with("/FHIR/R4") {
        all.push(resource(workers::PRACTITIONER, workers::PRACTITIONER_PARAMETERS));
        all.push(resource(workers::ROLE, workers::ROLE_PARAMETERS));
    }
    let rest = Members::new().with("mode", "server").with("resource", all);
    Members::new()
        .with("resourceType", "CapabilityStatement")
        .with("status", "active")
        .with("kind", "instance")
        .with("fhirVersion", "4.0.1")
        .with("format", vec!["application/fhir+json".into(), "application/fhir+xml".into()])
        .with("rest", vec![rest.into()])
        .into()
}
