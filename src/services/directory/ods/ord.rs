//! The organisation reference data interface, ORD 2-0-0 (directory.md §C.4): JSON by default, XML by `_format`.

use crate::{
    engine::draft::Fault,
    model::day,
    services::directory::{
        code_lists::{self, Coded},
        find::{Clause, Found, How, RoleKind, Term, find},
        http::{Answer, Asked},
        organisation::Period,
        rows::{self, Organisation},
    },
    store::Reader,
    wire::tree::{Members, Node},
};

/// Results where the client names no limit, and the most.
const LIMIT: usize = 20;
const MAX_LIMIT: usize = 1_000;
/// How far back `sync` goes.
const SYNC_DAYS: i32 = 185;
/// Most changed organisations that `sync` lists.
const MAX_SYNC: usize = 250_000;
const ROOT: &str = "2.16.840.1.113883.2.1.3.2.4.18.48";

enum Not {
    /// Status and text.
    Refused(u16, &'static str),
    Fault(Fault),
}

impl From<Fault> for Not {
    fn from(fault: Fault) -> Not {
        Not::Fault(fault)
    }
}

const NOT_FOUND: Not = Not::Refused(404, "Not found");

fn bad(text: &'static str) -> Not {
    Not::Refused(406, text)
}

/// What a request gives: the document's outer name, what it holds, headers.
struct Told {
    name: &'static str,
    item: &'static str,
    node: Node,
    headers: Vec<(&'static str, String)>,
}

/// Answers a request below `/ORD/2-0-0`; `rest` begins behind it.
pub fn answer(site: &dyn Reader, asked: &Asked, rest: &str) -> Result<Answer, Fault> {
    let pairs = asked.pairs();
    let xml = pairs.iter().any(|(name, value)| name == "_format" && value.to_ascii_lowercase().contains("xml"));
    let told = match asked.method.as_str() {
        "GET" => told(site, asked, &pairs, rest),
        _ => Err(Not::Refused(405, "Method not allowed")),
    };
    match told {
        Ok(Told { name, item, node, headers }) => {
            let mut answer = if xml {
                // Lists have an element around each of their items.
                let inner = match node {
                    Node::List(items) => Node::Object(items.into_iter().map(|i| (item, i)).collect()),
                    one => one,
                };
                Answer::of(200, "application/xml", inner.ord_xml(name))
            } else {
                Answer::of(200, "application/json", Node::from(Members::new().with(name, node)).json())
            };
            answer.headers.extend(headers);
            Ok(answer)
        }
        Err(Not::Refused(status, text)) => {
            let error = Members::new().with("errorCode", Node::Int(status.into())).with("errorText", text);
            let answer = Answer::of(status, "application/json", Node::from(error).json());
            Ok(if status == 405 { answer.with("allow", "GET") } else { answer })
        }
        Err(Not::Fault(fault)) => Err(fault),
    }
}

fn told(site: &dyn Reader, asked: &Asked, pairs: &[(String, String)], rest: &str) -> Result<Told, Not> {
    let parts: Vec<&str> = rest.trim_matches('/').split('/').collect();
    match parts[..] {
        ["organisations"] => organisations(site, asked, pairs),
        ["organisations", code] => {
            let code = code.to_ascii_uppercase();
            let row = rows::organisation(site, &code)?.ok_or(NOT_FOUND)?;
            Ok(Told { name: "Organisation", item: "", node: whole(site, &code, &row)?, headers: vec![] })
        }
        ["roles"] => Ok(listed("Roles", "Role", "RO", code_lists::roles())),
        ["roles", id] => one("Roles", "Role", "RO", code_lists::role(id)),
        ["rels"] => Ok(listed("Relationships", "Relationship", "RE", code_lists::RELATIONSHIPS)),
        ["rels", id] => one("Relationships", "Relationship", "RE", code_lists::relationship(id)),
        ["recordclasses"] => Ok(listed("RecordClasses", "RecordClass", "RC", code_lists::RECORD_CLASSES)),
        ["recordclasses", id] => one("RecordClasses", "RecordClass", "RC", code_lists::record_class(id)),
        ["sync"] => sync(site, asked, pairs),
        _ => Err(NOT_FOUND),
    }
}

fn listed(name: &'static str, item: &'static str, letters: &str, list: &[Coded]) -> Told {
    let node = |coded: &Coded| {
        let number = coded.number.to_string();
        let members = Members::new().with("id", format!("{letters}{number}")).with("code", number);
        let members = members.with("displayName", coded.name);
        let primary = if coded.primary { "true" } else { "false" };
        Node::from(if letters == "RO" { members.with("primaryRole", primary) } else { members })
    };
    Told { name, item, node: list.iter().map(node).collect::<Vec<_>>().into(), headers: vec![] }
}

fn one(name: &'static str, item: &'static str, letters: &str, found: Option<&Coded>) -> Result<Told, Not> {
    found.map(|coded| listed(name, item, letters, &[*coded])).ok_or(NOT_FOUND)
}

fn link(asked: &Asked, code: &str) -> String {
    format!("{}/ORD/2-0-0/organisations/{code}", asked.origin)
}

fn organisations(site: &dyn Reader, asked: &Asked, pairs: &[(String, String)]) -> Result<Told, Not> {
    let (mut clauses, mut limit, mut offset): (Vec<Clause>, usize, usize) = (vec![], LIMIT, 0);
    for (name, value) in pairs {
        let value = value.trim();
        match name.as_str() {
            "Limit" => limit = value.parse().ok().filter(|n| (1..=MAX_LIMIT).contains(n)).ok_or(bad(BAD_LIMIT))?,
            "Offset" => offset = value.parse().map_err(|_| bad("Offset must be a number"))?,
            "_format" if matches!(value.to_ascii_lowercase().as_str(), "json" | "xml") => {}
            "_format" => return Err(bad("_format must be json or xml")),
            name => clauses.push(filter(name, value)?),
        }
    }
    let Found::Page { total, items } = find(site, &clauses, offset, limit)? else {
        return Err(bad("The search is too broad"));
    };
    let brief = |(code, row): &(String, Organisation)| {
        let role = row.primary_role().map_or("", |role| role.code.as_str());
        let members = Members::new()
            .with("Name", row.name.as_str())
            .with("OrgId", code.as_str())
            .with("Status", status(row.inactive))
            .with("OrgRecordClass", format!("RC{}", row.class()))
            .text("PostCode", &row.address.postcode)
            .with("LastChangeDate", day::text(row.last_change))
            .text("PrimaryRoleId", role)
            .text("PrimaryRoleDescription", if role.is_empty() { "" } else { code_lists::role_name(role) });
        Node::from(members.with("OrgLink", link(asked, code)))
    };
    let mut headers = vec![("x-total-count", total.to_string()), ("returned-records", items.len().to_string())];
    if offset + limit < total {
        headers.push(("next-page", asked.url_with("Offset", offset + limit)));
    }
    if offset > 0 {
        headers.push(("previous-page", asked.url_with("Offset", offset.saturating_sub(limit))));
    }
    let node = items.iter().map(brief).collect::<Vec<_>>().into();
    Ok(Told { name: "Organisations", item: "Organisation", node, headers })
}

const BAD_LIMIT: &str = "Limit must be a number between 1 and 1000";

fn filter(name: &str, value: &str) -> Result<Clause, Not> {
    let roles = |primary: Option<bool>| {
        let kind = RoleKind { primary, active_only: false };
        let codes: Vec<&str> = value.split(',').map(str::trim).collect();
        match codes.iter().all(|code| code_lists::role(code).is_some()) {
            true => Ok(codes.iter().map(|code| Term::Role((*code).to_owned(), kind)).collect()),
            false => Err(bad("The role is not known")),
        }
    };
    match name {
        "Name" if value.len() >= 3 => Ok(vec![Term::Name(How::Contains, value.to_owned())]),
        "Name" => Err(bad("Name must have at least 3 characters")),
        "PostCode" if value.len() >= 2 => Ok(vec![Term::Postcode(How::Begins, value.to_owned())]),
        "PostCode" => Err(bad("PostCode must have at least 2 characters")),
        "LastChangeDate" => Ok(vec![Term::Changed(date(value)?, u32::MAX)]),
        "Status" if value == "Active" => Ok(vec![Term::Active(true)]),
        "Status" if value == "Inactive" => Ok(vec![Term::Active(false)]),
        "Status" => Err(bad("Status must be Active or Inactive")),
        "PrimaryRoleId" => roles(Some(true)),
        "NonPrimaryRoleId" => roles(Some(false)),
        "Roles" => roles(None),
        "OrgRecordClass" if value == "RC1" => Ok(vec![Term::Class(1)]),
        "OrgRecordClass" if value == "RC2" => Ok(vec![Term::Class(2)]),
        "OrgRecordClass" => Err(bad("OrgRecordClass must be RC1 or RC2")),
        _ => Err(bad("A parameter is not known")),
    }
}

fn date(value: &str) -> Result<u32, Not> {
    Some(value).filter(|v| v.len() == 10).and_then(day::parse).ok_or(bad("LastChangeDate must be yyyy-mm-dd"))
}

fn sync(site: &dyn Reader, asked: &Asked, pairs: &[(String, String)]) -> Result<Told, Not> {
    let mut since = None;
    for (name, value) in pairs {
        match name.as_str() {
            "LastChangeDate" => since = Some(date(value.trim())?),
            "_format" => {}
            _ => return Err(bad("A parameter is not known")),
        }
    }
    let since = since.ok_or(bad("LastChangeDate is required"))?;
    let today = day::of_millis(asked.now);
    if since < day::before(today, SYNC_DAYS) || since > today {
        return Err(bad("LastChangeDate must lie within the last 185 days"));
    }
    let codes = crate::services::directory::find::changed_since(site, since, MAX_SYNC)?;
    let links = codes.iter().map(|code| Members::new().with("OrgLink", link(asked, code)).into());
    Ok(Told { name: "Organisations", item: "Organisation", node: links.collect::<Vec<Node>>().into(), headers: vec![] })
}

fn status(inactive: bool) -> &'static str {
    if inactive { "Inactive" } else { "Active" }
}

fn dates(legal: &Period, operational: &Period) -> Vec<Node> {
    let known =
        [("Legal", legal), ("Operational", operational)].into_iter().filter(|(_, p)| p.start != 0 || p.end != 0);
    let date = |(kind, p): (&str, &Period)| {
        let members = Members::new().with("Type", kind).text("Start", &day::text(p.start));
        members.text("End", &day::text(p.end)).into()
    };
    known.map(date).collect()
}

fn org_id(code: &str) -> Members {
    Members::new().with("root", ROOT).with("assigningAuthorityName", "HSCIC").with("extension", code)
}

/// The other end of a relationship or succession, with its primary role where it is known.
fn target(site: &dyn Reader, code: &str) -> Result<Node, Fault> {
    let members = Members::new().with("OrgId", org_id(code));
    let other = rows::organisation(site, code)?;
    Ok(match other.as_ref().and_then(Organisation::primary_role) {
        Some(role) => {
            let id = Members::new().with("id", role.code.as_str()).with("uniqueRoleId", Node::Int(role.id as i64));
            members.with("PrimaryRoleId", id).into()
        }
        None => members.into(),
    })
}

fn whole(site: &dyn Reader, code: &str, row: &Organisation) -> Result<Node, Fault> {
    let authority = if row.authority.is_empty() { "HSCIC" } else { &row.authority };
    let id = Members::new().with("root", ROOT).with("assigningAuthorityName", authority).with("extension", code);
    let mut members = Members::new()
        .with("Name", row.name.as_str())
        .list("Date", dates(&row.legal, &row.operational))
        .with("OrgId", id)
        .with("Status", status(row.inactive))
        .with("LastChangeDate", day::text(row.last_change))
        .with("orgRecordClass", format!("RC{}", row.class()));
    if row.ref_only {
        members = members.with("refOnly", true);
    }
    if let Some(place) = location(row) {
        members = members.with("GeoLoc", Members::new().with("Location", place));
    }
    let contact = |c: &crate::services::directory::organisation::Contact| -> Node {
        Members::new().with("type", c.kind.as_str()).with("value", c.value.as_str()).into()
    };
    members = wrapped(members, "Contacts", "Contact", row.contacts.iter().map(contact).collect());
    let role = |r: &crate::services::directory::organisation::Role| -> Node {
        let head = Members::new().with("id", r.code.as_str()).with("uniqueRoleId", Node::Int(r.id as i64));
        let head = if r.primary { head.with("primaryRole", true) } else { head };
        head.list("Date", dates(&r.legal, &r.operational)).with("Status", status(r.inactive)).into()
    };
    members = wrapped(members, "Roles", "Role", row.roles.iter().map(role).collect());
    let mut rels = vec![];
    for r in &row.relationships {
        let head = Members::new().with("id", r.code.as_str()).with("uniqueRelId", Node::Int(r.id as i64));
        let head = head.list("Date", dates(&r.legal, &r.operational)).with("Status", status(r.inactive));
        rels.push(head.with("Target", target(site, &r.target)?).into());
    }
    members = wrapped(members, "Rels", "Rel", rels);
    let mut successions = vec![];
    for s in &row.successions {
        let kind = if s.predecessor { "Predecessor" } else { "Successor" };
        let legal = Period { start: s.date, ..Default::default() };
        let head = Members::new().with("uniqueSuccId", Node::Int(s.id as i64));
        let head = head.list("Date", dates(&legal, &Period::default())).with("Type", kind);
        successions.push(head.with("Target", target(site, &s.target)?).into());
    }
    Ok(wrapped(members, "Succs", "Succ", successions).into())
}

fn wrapped(members: Members, outer: &'static str, inner: &'static str, items: Vec<Node>) -> Members {
    if items.is_empty() { members } else { members.with(outer, Members::new().with(inner, items)) }
}

fn location(row: &Organisation) -> Option<Node> {
    const LINES: [&str; 5] = ["AddrLn1", "AddrLn2", "AddrLn3", "AddrLn4", "AddrLn5"];
    let place = &row.address;
    let lines = LINES.into_iter().zip(&place.lines);
    let members = lines.fold(Members::new(), |members, (name, line)| members.text(name, line));
    let members = members.text("Town", &place.town).text("County", &place.county).text("PostCode", &place.postcode);
    let node = Node::from(members.text("Country", &place.country).text("UPRN", &place.uprn));
    (node != Node::Object(vec![])).then_some(node)
}
