//! The older look-up in FHIR STU3 (directory.md §C.2): read and search of Organization, JSON or XML.

use super::{
    fhir::wants_xml,
    resource::{ODS, coding, period, telecom},
    search::changed,
};
use crate::{
    engine::draft::Fault,
    model::day,
    services::directory::{
        code_lists,
        find::{Clause, Found, How, RoleKind, Term, find},
        http::{Answer, Asked},
        organisation::Period,
        rows::{self, Organisation},
    },
    store::Reader,
    wire::tree::{Members, Node},
};

/// Largest page; also that of a client that names none.
const MAX_PAGE: usize = 20;
const ERRORS: &str = "https://fhir.nhs.uk/STU3/CodeSystem/Spine-ErrorOrWarningCode-1";
const PROFILE: &str = "https://fhir.nhs.uk/STU3/StructureDefinition/ODSAPI-Organization-1";
const ROLE: &str = "https://fhir.nhs.uk/STU3/StructureDefinition/Extension-ODSAPI-OrganizationRole-1";
const ACTIVE_PERIOD: &str = "https://fhir.nhs.uk/STU3/StructureDefinition/Extension-ODSAPI-ActivePeriod-1";
const DATE_TYPE: &str = "https://fhir.nhs.uk/STU3/StructureDefinition/Extension-ODSAPI-DateType-1";
const ROLE_SYSTEM: &str = "https://directory.spineservices.nhs.uk/STU3/CodeSystem/ODSAPI-OrganizationRole-1";
const CLASS_SYSTEM: &str = "https://directory.spineservices.nhs.uk/STU3/CodeSystem/ODSAPI-OrganizationRecordClass-1";

/// The refusals of the face: status, issue code, code, display.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    NoRecordFound,
    InvalidCodeSystem,
    InvalidCodeValue,
    InvalidIdentifierSystem,
    InvalidIdentifierValue,
    InvalidParameter,
    InvalidValue,
    Method,
}

impl Refusal {
    fn told(self) -> (u16, &'static str, &'static str, &'static str) {
        match self {
            Refusal::NoRecordFound => (404, "not-found", "NO_RECORD_FOUND", "No record found"),
            Refusal::InvalidCodeSystem => (400, "code-invalid", "INVALID_CODE_SYSTEM", "Invalid code system"),
            Refusal::InvalidCodeValue => (400, "code-invalid", "INVALID_CODE_VALUE", "Invalid code value"),
            Refusal::InvalidIdentifierSystem => {
                (400, "code-invalid", "INVALID_IDENTIFIER_SYSTEM", "Invalid identifier system")
            }
            Refusal::InvalidIdentifierValue => {
                (400, "code-invalid", "INVALID_IDENTIFIER_VALUE", "Invalid identifier value")
            }
            Refusal::InvalidParameter => (400, "invalid", "INVALID_PARAMETER", "Invalid parameter"),
            Refusal::InvalidValue => {
                (400, "invalid", "INVALID_VALUE", "An input field has an invalid value for its type")
            }
            Refusal::Method => (405, "not-supported", "NOT_IMPLEMENTED", "Not implemented"),
        }
    }
}

enum Not {
    Refused(Refusal, String),
    Fault(Fault),
}

impl From<Fault> for Not {
    fn from(fault: Fault) -> Not {
        Not::Fault(fault)
    }
}

fn no(refusal: Refusal, why: impl Into<String>) -> Not {
    Not::Refused(refusal, why.into())
}

/// Answers a request below `/STU3`; `rest` begins behind it.
pub fn answer(site: &dyn Reader, asked: &Asked, rest: &str) -> Result<Answer, Fault> {
    let parts: Vec<&str> = rest.trim_matches('/').split('/').collect();
    let told = match (asked.method.as_str(), &parts[..]) {
        ("GET", ["Organization"]) => search(site, asked),
        ("GET", ["Organization", id]) => rows::organisation(site, id).map_err(Not::Fault).and_then(|row| {
            let missing = || no(Refusal::NoRecordFound, format!("No record found for supplied ODS code - {id}"));
            row.map(|row| organization(id, &row)).ok_or_else(missing)
        }),
        ("GET", _) => Err(no(Refusal::NoRecordFound, "No such resource")),
        _ => Err(no(Refusal::Method, "Only GET is supported")),
    };
    match told {
        Ok(node) => Ok(render(asked, 200, &node)),
        Err(Not::Refused(refusal, why)) => {
            let (status, kind, code, display) = refusal.told();
            let details = Members::new().with("coding", vec![coding(ERRORS, code, display)]);
            let issue = Members::new().with("severity", "error").with("code", kind);
            let issue = issue.with("details", details).with("diagnostics", why);
            let node: Node =
                Members::new().with("resourceType", "OperationOutcome").with("issue", vec![issue.into()]).into();
            let answer = render(asked, status, &node);
            Ok(if status == 405 { answer.with("allow", "GET") } else { answer })
        }
        Err(Not::Fault(fault)) => Err(fault),
    }
}

fn render(asked: &Asked, status: u16, node: &Node) -> Answer {
    match wants_xml(asked) {
        true => Answer::of(status, "application/fhir+xml;charset=utf-8", node.fhir_xml()),
        false => Answer::of(status, "application/fhir+json;charset=utf-8", node.json()),
    }
}

fn search(site: &dyn Reader, asked: &Asked) -> Result<Node, Not> {
    let pairs = asked.pairs();
    let primary = pairs.iter().find(|(name, _)| name == "ods-org-primaryRole").map(|(_, value)| value.as_str());
    let primary = match primary {
        None => None,
        Some("true") => Some(true),
        Some("false") => Some(false),
        Some(_) => return Err(no(Refusal::InvalidValue, "ods-org-primaryRole must be true or false")),
    };
    if primary.is_some() && !pairs.iter().any(|(name, _)| name == "ods-org-role") {
        return Err(no(Refusal::InvalidParameter, "ods-org-primaryRole is only allowed with ods-org-role"));
    }
    let (mut clauses, mut count, mut page, mut only_count): (Vec<Clause>, usize, usize, bool) =
        (vec![], MAX_PAGE, 1, false);
    for (name, value) in &pairs {
        let number =
            || value.parse::<usize>().map_err(|_| no(Refusal::InvalidValue, format!("{name} must be a number")));
        match name.as_str() {
            "_count" => count = number()?.min(MAX_PAGE),
            "_page" => page = number()?.max(1),
            "_summary" if value == "count" => only_count = true,
            "_summary" => return Err(no(Refusal::InvalidValue, "_summary must be count")),
            "_format" | "ods-org-primaryRole" => {}
            _ => clauses.push(clause(name, value, primary)?),
        }
    }
    only_count |= count == 0;
    let limit = if only_count { 0 } else { count };
    let Found::Page { total, items } = find(site, &clauses, (page - 1).saturating_mul(count), limit)? else {
        return Err(no(Refusal::InvalidParameter, "The search is too broad"));
    };
    Ok(bundle(asked, total, only_count, page, count, &items))
}

fn bundle(
    asked: &Asked,
    total: usize,
    only_count: bool,
    page: usize,
    count: usize,
    items: &[(String, Organisation)],
) -> Node {
    let link =
        |relation: &str, url: String| -> Node { Members::new().with("relation", relation).with("url", url).into() };
    let mut links = vec![link("self", asked.url())];
    if !only_count && page.saturating_mul(count) < total {
        links.push(link("next", asked.url_with("_page", page + 1)));
    }
    if !only_count && page > 1 {
        links.push(link("previous", asked.url_with("_page", page - 1)));
    }
    let entry = |(ods, row): &(String, Organisation)| -> Node {
        let url = format!("{}/STU3/Organization/{ods}", asked.origin);
        let members = Members::new().with("fullUrl", url).with("resource", organization(ods, row));
        members.with("search", Members::new().with("mode", "match")).into()
    };
    Members::new()
        .with("resourceType", "Bundle")
        .with("id", asked.uuid(0).to_string())
        .with("type", "searchset")
        .with("total", Node::Int(total as i64))
        .with("link", links)
        .list("entry", items.iter().map(entry).collect())
        .into()
}

fn clause(name: &str, value: &str, primary: Option<bool>) -> Result<Clause, Not> {
    let (base, modifier) = name.split_once(':').unwrap_or((name, ""));
    let how = match modifier {
        "" => How::Begins,
        "contains" => How::Contains,
        "exact" => How::Exact,
        _ => return Err(no(Refusal::InvalidParameter, format!("{name} is not a parameter of this search"))),
    };
    let value = value.trim();
    let alphanumerics = value.chars().filter(|c| c.is_alphanumeric()).count();
    match (base, modifier) {
        ("name", _) if !(3..=100).contains(&value.chars().count()) => {
            Err(no(Refusal::InvalidValue, "name must have 3 to 100 characters"))
        }
        ("name", _) => Ok(vec![Term::Name(how, value.to_owned())]),
        ("address-postalcode", _) if alphanumerics < 2 => {
            Err(no(Refusal::InvalidValue, "address-postalcode must have at least 2 letters or digits"))
        }
        ("address-postalcode", _) => Ok(vec![Term::Postcode(how, value.to_owned())]),
        ("address-city", _) if value.is_empty() => Err(no(Refusal::InvalidValue, "address-city is empty")),
        ("address-city", _) => Ok(vec![Term::Town(how, value.to_owned())]),
        ("_id", "") => Ok(value.split(',').map(|code| Term::Code(code.trim().to_ascii_uppercase())).collect()),
        ("identifier", "") => identifier(value),
        ("active", "") => match value {
            "true" => Ok(vec![Term::Active(true)]),
            "false" => Ok(vec![Term::Active(false)]),
            _ => Err(no(Refusal::InvalidValue, "active must be true or false")),
        },
        ("_lastUpdated", "") if value.starts_with("gt") => {
            changed(value).map(|term| vec![term]).map_err(|_| no(Refusal::InvalidValue, "_lastUpdated is not a date"))
        }
        ("_lastUpdated", "") => Err(no(Refusal::InvalidValue, "_lastUpdated must begin with gt")),
        ("ods-org-role", "") => value.split(',').map(|code| role(code.trim(), primary)).collect(),
        _ => Err(no(Refusal::InvalidParameter, format!("{name} is not a parameter of this search"))),
    }
}

fn identifier(value: &str) -> Result<Clause, Not> {
    let code = match value.split_once('|') {
        None => value,
        Some((ODS, code)) => code,
        Some(_) => return Err(no(Refusal::InvalidIdentifierSystem, "The identifier's system is not known")),
    };
    match !code.is_empty() && code.len() <= 12 && code.bytes().all(|b| b.is_ascii_alphanumeric()) {
        true => Ok(vec![Term::Code(code.to_ascii_uppercase())]),
        false => Err(no(Refusal::InvalidIdentifierValue, "The identifier is not an ODS code")),
    }
}

fn role(value: &str, primary: Option<bool>) -> Result<Term, Not> {
    let number = match value.split_once('|') {
        None => value,
        Some((ROLE_SYSTEM, code)) => code,
        Some(_) => return Err(no(Refusal::InvalidCodeSystem, "The role's system is not known")),
    };
    let code = format!("RO{number}");
    match code_lists::role(&code) {
        Some(_) => Ok(Term::Role(code, RoleKind { primary, active_only: false })),
        None => Err(no(Refusal::InvalidCodeValue, "The role's code is not known")),
    }
}

fn active_period(url: &str, kind: &str, of: &Period) -> Node {
    let kind: Node = Members::new().with("url", DATE_TYPE).with("valueString", kind).into();
    let mut members = vec![("extension", Node::List(vec![kind]))];
    if let Node::Object(rest) = period(of) {
        members.extend(rest);
    }
    Members::new().with("url", url).with("valuePeriod", Node::Object(members)).into()
}

fn known(period: &Period) -> bool {
    period.start != 0 || period.end != 0
}

fn organization(ods: &str, row: &Organisation) -> Node {
    let periods = |url: &'static str, legal: &Period, operational: &Period| -> Vec<Node> {
        let both = [("Legal", legal), ("Operational", operational)];
        both.into_iter().filter(|(_, of)| known(of)).map(|(kind, of)| active_period(url, kind, of)).collect()
    };
    let mut extensions = periods(ACTIVE_PERIOD, &row.legal, &row.operational);
    for role in &row.roles {
        let number = role.code.trim_start_matches("RO");
        let value = coding(ROLE_SYSTEM, number, code_lists::role_name(&role.code));
        let mut parts: Vec<Node> = vec![
            Members::new().with("url", "role").with("valueCoding", value).into(),
            Members::new().with("url", "primaryRole").with("valueBoolean", role.primary).into(),
        ];
        parts.extend(periods("activePeriod", &role.legal, &role.operational));
        let status = if role.inactive { "Inactive" } else { "Active" };
        parts.push(Members::new().with("url", "status").with("valueString", status).into());
        extensions.push(Members::new().with("url", ROLE).with("extension", parts).into());
    }
    let meta = Members::new().text("lastUpdated", &moment(row.last_change)).with("profile", vec![PROFILE.into()]);
    let class = row.class().to_string();
    let class_name = code_lists::record_class(&format!("RC{class}")).map_or("", |c| c.name);
    let place = &row.address;
    let address = Node::from(
        Members::new()
            .list("line", place.lines.iter().map(|line| line.as_str().into()).collect())
            .text("city", &place.town)
            .text("district", &place.county)
            .text("postalCode", &place.postcode)
            .text("country", &place.country),
    );
    let kind = Members::new().with("coding", vec![coding(CLASS_SYSTEM, &class, class_name)]);
    let address = if address == Node::Object(vec![]) { vec![] } else { vec![address] };
    Members::new()
        .with("resourceType", "Organization")
        .with("id", ods)
        .with("meta", meta)
        .list("extension", extensions)
        .with("identifier", vec![Members::new().with("system", ODS).with("value", ods).into()])
        .with("active", !row.inactive)
        .with("type", vec![kind.into()])
        .with("name", row.name.as_str())
        .list("telecom", telecom(row))
        .list("address", address)
        .into()
}

/// The first moment of a day, as `meta.lastUpdated` must be a moment.
fn moment(change: u32) -> String {
    if change == 0 { String::new() } else { format!("{}T00:00:00+00:00", day::text(change)) }
}
