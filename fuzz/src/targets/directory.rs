//! The directory: LDAP messages, lines of an import, its HTTP faces, rows of the published files. The first byte chooses.
//!
//! An LDAP message that was read and is written reads the same; what a search finds does not depend on whether look-up rows
//! served it, and pages together are the whole. A command given twice is one given once, a refused one changes nothing.
//! Whatever was asked of whatever is stored, an answer is well formed.

use super::deciding::{NOW, Site};
use super::{MIB, Take, Target};
use bytes::Bytes;
use serde_json::Value;
use spine::access::caller::Caller;
use spine::engine::draft::MapStore;
use spine::services::directory::command::DirectoryReply;
use spine::services::directory::http::{Answer, Asked};
use spine::services::directory::{Directory, ldap, lines, published, routes};
use spine::wire::csv::{Malformed, Rows};
use spine::wire::ldap::ber::{self, BOOLEAN, ENUMERATED, INTEGER, OCTETS, SEQUENCE, put, put_number};
use spine::wire::ldap::{Code, Filter, MAX_MESSAGE, Message, PAGED, Paged, Request, Scope, Search};
use spine::wire::ldap::{message, put_entry, put_result, tag};
use spine::wire::xml;
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// Each of some twenty entries is read some times over for one search.
pub const TARGET: Target = Target { name: "directory", run, seeds, longest: 4 << 10, base: 4 * MIB, factor: 1_000 };

/// Published and made-up organisations, systems and endpoints.
const REGISTRY: &str = include_str!("registry.ndjson");

static ROWS: LazyLock<BTreeMap<Bytes, Bytes>> = LazyLock::new(|| {
    let mut site = Site::registry(&BTreeMap::new());
    for line in REGISTRY.lines() {
        let reply = set(&mut site, &lines::parse(line).ok().flatten().expect("it is a command").encode());
        assert!(reply.is_done(), "{line}: {}", reply.text);
    }
    site.rows.0
});
static SITE: LazyLock<MapStore> = LazyLock::new(|| MapStore(ROWS.clone()));

fn set(site: &mut Site, payload: &Bytes) -> DirectoryReply {
    let caller = Caller { operator: "uid:0".into(), ..Default::default() };
    let reply = site.decide(&Directory, b"", payload.clone(), &caller);
    DirectoryReply::of(&reply).unwrap_or_else(|fault| panic!("{fault}"))
}

fn run(input: &[u8]) {
    let mut take = Take(input);
    match take.byte() % 4 {
        0 => ldap_message(take.0),
        1 => imported(take.0),
        2 => asked(take.0),
        _ => published_row(take.0),
    }
}

fn ldap_message(bytes: &[u8]) {
    let length = match ber::frame(bytes, MAX_MESSAGE) {
        Ok(Some(length)) => length,
        _ => return,
    };
    assert!(length <= MAX_MESSAGE);
    let Some(whole) = bytes.get(..length) else { return };
    let Ok(read) = message(whole) else { return };
    let written = written(&read);
    assert_eq!(message(&written).as_ref(), Ok(&read), "{written:02x?}");
    assert_eq!(ber::frame(&written, MAX_MESSAGE * 2), Ok(Some(written.len())));
    match &read.request {
        Request::Search(search) => searched(read.id, search, read.paged.as_ref()),
        Request::Compare { dn, attribute, value } => {
            let code = ldap::compare(&*SITE, dn, attribute, value).unwrap_or_else(|fault| panic!("{fault}"));
            let known = [Code::CompareTrue, Code::CompareFalse, Code::NoSuchAttribute, Code::NoSuchObject];
            assert!(known.contains(&code));
        }
        _ => {}
    }
}

fn searched(id: u32, search: &Search, paged: Option<&Paged>) {
    let told = |search: &Search, paged: Option<&Paged>| {
        ldap::search(&*SITE, search, paged).unwrap_or_else(|fault| panic!("{fault}"))
    };
    let found = told(search, paged);
    let mut out = vec![];
    found.entries.iter().for_each(|entry| put_entry(id, entry, &mut out));
    put_result(id, tag::DONE, found.code, found.words, found.cookie.as_deref(), &mut out);
    let mut rest = out.as_slice();
    while !rest.is_empty() {
        let length = ber::frame(rest, usize::MAX).ok().flatten().expect("what we write has a length");
        rest = rest.get(length..).expect("and is all there");
    }
    // Twice negated it is the same question, which no look-up row serves.
    let not = |filter: Filter| Filter::Not(Box::new(filter));
    let slow = Search { filter: not(not(search.filter.clone())), ..search.clone() };
    assert_eq!(told(&slow, paged), found, "{:?}", search.filter);
    if paged.is_none() && search.size_limit == 0 && found.code == Code::Success {
        let (mut entries, mut cookie) = (vec![], vec![]);
        for _ in 0..40 {
            let page = told(search, Some(&Paged { size: 3, cookie }));
            assert!(page.code == Code::Success && page.entries.len() <= 3);
            entries.extend(page.entries);
            cookie = page.cookie.unwrap_or_default();
            if cookie.is_empty() {
                break;
            }
        }
        assert!(entries == found.entries, "pages are the whole: {:?}", search.filter);
    }
}

fn wrapped(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut out = vec![];
    put(tag, &parts.concat(), &mut out);
    out
}

fn text(text: &str) -> Vec<u8> {
    wrapped(OCTETS, &[text.as_bytes()])
}

fn number(tag: u8, number: u32) -> Vec<u8> {
    let mut out = vec![];
    put_number(tag, number, &mut out);
    out
}

/// A message as a client would write it.
fn written(message: &Message) -> Vec<u8> {
    let operation = match &message.request {
        Request::Bind { version, simple, anonymous } => {
            let name = if *anonymous || !simple { "" } else { "cn=x" };
            let method = if *simple { 0x80 } else { 0xa3 };
            wrapped(0x60, &[&number(INTEGER, *version), &text(name), &wrapped(method, &[])])
        }
        Request::Unbind => wrapped(0x42, &[]),
        Request::Abandon => wrapped(0x50, &[]),
        Request::Search(search) => written_search(search),
        Request::Compare { dn, attribute, value } => {
            wrapped(0x6e, &[&text(dn), &wrapped(SEQUENCE, &[&text(attribute), &text(value)])])
        }
        Request::Extended(name) => wrapped(0x77, &[&wrapped(0x80, &[name.as_bytes()])]),
        Request::Change(0x6b) => wrapped(0x4a, &[]),
        Request::Change(tag) => wrapped(tag - 1, &[]),
    };
    let mut controls = vec![];
    if let Some(Paged { size, cookie }) = &message.paged {
        let value = wrapped(SEQUENCE, &[&number(INTEGER, *size as u32), &wrapped(OCTETS, &[cookie])]);
        controls.extend(wrapped(SEQUENCE, &[&text(PAGED), &wrapped(OCTETS, &[&value])]));
    }
    if message.critical {
        controls.extend(wrapped(SEQUENCE, &[&text("1.2.3"), &wrapped(BOOLEAN, &[&[0xff]])]));
    }
    let controls = if controls.is_empty() { vec![] } else { wrapped(0xa0, &[&controls]) };
    wrapped(SEQUENCE, &[&number(INTEGER, message.id), &operation, &controls])
}

fn written_search(search: &Search) -> Vec<u8> {
    let scope = match search.scope {
        Scope::Base => 0,
        Scope::One => 1,
        Scope::Sub => 2,
    };
    let attributes: Vec<u8> = search.attributes.iter().flat_map(|name| text(name)).collect();
    wrapped(
        0x63,
        &[
            &text(&search.base),
            &number(ENUMERATED, scope),
            &number(ENUMERATED, 0),
            &number(INTEGER, search.size_limit as u32),
            &number(INTEGER, 0),
            &wrapped(BOOLEAN, &[&[u8::from(search.types_only)]]),
            &written_filter(&search.filter),
            &wrapped(SEQUENCE, &[&attributes]),
        ],
    )
}

fn written_filter(filter: &Filter) -> Vec<u8> {
    let all = |tag: u8, list: &[Filter]| wrapped(tag, &[&list.iter().flat_map(written_filter).collect::<Vec<u8>>()]);
    match filter {
        Filter::And(list) => all(0xa0, list),
        Filter::Or(list) => all(0xa1, list),
        Filter::Not(one) => wrapped(0xa2, &[&written_filter(one)]),
        Filter::Equal(name, value) => wrapped(0xa3, &[&text(name), &text(value)]),
        Filter::AtLeast(name, value) => wrapped(0xa5, &[&text(name), &text(value)]),
        Filter::AtMost(name, value) => wrapped(0xa6, &[&text(name), &text(value)]),
        Filter::Present(name) => wrapped(0x87, &[name.as_bytes()]),
        Filter::Undefined => wrapped(0xa9, &[]),
        Filter::Parts(name, first, middle, last) => {
            let mut pieces = vec![];
            let mut piece = |tag: u8, text: &String| pieces.extend(wrapped(tag, &[text.as_bytes()]));
            first.iter().for_each(|first| piece(0x80, first));
            middle.iter().for_each(|middle| piece(0x81, middle));
            last.iter().for_each(|last| piece(0x82, last));
            wrapped(0xa4, &[&text(name), &wrapped(SEQUENCE, &[&pieces])])
        }
    }
}

/// Lines of a file on top of what is there.
fn imported(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let mut site = Site::registry(&ROWS);
    for line in text.lines().take(8) {
        let command = match lines::parse(line) {
            Ok(Some(command)) => command,
            Ok(None) => continue,
            Err(why) => {
                assert!(!why.to_string().is_empty());
                continue;
            }
        };
        let payload = command.encode();
        let before = site.rows.0.clone();
        let first = set(&mut site, &payload);
        if !first.is_done() {
            assert!(site.rows.0 == before, "a refusal changes nothing: {}", first.refusal);
            continue;
        }
        let once = site.rows.0.clone();
        let again = set(&mut site, &payload);
        assert!(again.is_done() && !again.changed && site.rows.0 == once, "given twice is given once: {line}");
    }
    for target in [
        "/FHIR/R4/Organization?_count=50&_format=xml",
        "/FHIR/R4/Organization?_count=50",
        "/STU3/Organization?_count=50",
        "/ORD/2-0-0/sync?LastChangeDate=2026-11-20",
        "/ORD/2-0-0/organisations?Status=Active",
    ] {
        let (path, query) = target.split_once('?').unwrap_or_default();
        shown(&site.rows, "GET", path, query, "", None);
    }
    let filter = Filter::Present("objectClass".into());
    let all = Search {
        base: "o=nhs".into(),
        scope: Scope::Sub,
        size_limit: 0,
        types_only: false,
        filter,
        attributes: vec![],
    };
    let told = ldap::search(&site.rows, &all, None).unwrap_or_else(|fault| panic!("{fault}"));
    let mut out = vec![];
    told.entries.iter().for_each(|entry| put_entry(1, entry, &mut out));
    assert!(told.entries.len() > 20 && out.len() > 1_000);
}

/// `METHOD path?query`, the accepted type, then the form.
fn asked(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let mut lines = text.splitn(3, '\n');
    let (method, target) = lines.next().unwrap_or_default().split_once(' ').unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let accept = lines.next().filter(|accept| !accept.is_empty());
    shown(&SITE, method, path, query, lines.next().unwrap_or_default(), accept);
}

fn shown(rows: &MapStore, method: &str, path: &str, query: &str, form: &str, accept: Option<&str>) {
    let Some(route) = routes::route(path) else { return };
    assert!(routes::INTERACTIONS.contains(&route.interaction()));
    let asked = Asked {
        method: method.into(),
        origin: "https://h".into(),
        path: path.into(),
        query: query.into(),
        form: form.into(),
        accept: accept.map(str::to_owned),
        correlation: None,
        now: NOW,
        unique: 7,
    };
    sound(&route.answer(rows, &asked).unwrap_or_else(|fault| panic!("{fault}")));
}

fn sound(answer: &Answer) {
    assert!((200..500).contains(&answer.status), "{answer:?}");
    let kind = answer.header("content-type").unwrap_or_default();
    if kind.contains("json") {
        let read: Result<Value, _> = serde_json::from_str(&answer.body);
        assert!(read.is_ok(), "{read:?}: {}", answer.body);
    } else if kind.contains("xml") {
        assert!(xml::parse(&answer.body).is_ok(), "{:?}: {}", xml::parse(&answer.body), answer.body);
    }
}

/// A row of a published file is refused, or is a line of our own shape.
fn published_row(input: &[u8]) {
    let mut rows = vec![];
    let taken = Rows::default().feed(input, |row| {
        rows.push(row);
        Ok::<_, Malformed>(())
    });
    if taken.is_err() {
        return;
    }
    for row in rows.iter().take(8) {
        for role in ["RO177", "RO96", "RO000"] {
            if let Ok(object) = published::object(row, role) {
                imported(Value::Object(object).to_string().as_bytes());
            }
        }
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let equal = |name: &str, value: &str| Filter::Equal(name.into(), value.into());
    let filters = [
        Filter::And(vec![equal("nhsIDCode", "A99999"), equal("objectClass", "nhsAs"), Filter::Undefined]),
        Filter::Or(vec![equal("uniqueIdentifier", "200000009001"), equal("nhsMhsCPAId", "S20003A000304")]),
        Filter::And(vec![
            equal("objectClass", "nhsMHS"),
            Filter::Not(Box::new(Filter::Present("nhsEPInteractionType".into()))),
        ]),
        Filter::Parts("o".into(), Some("bird".into()), vec!["-in".into()], Some(" surgery".into())),
        Filter::Parts("postalCode".into(), Some("ls11 5".into()), vec![], None),
        Filter::AtMost("nhsOrgOpenDate".into(), "19750101".into()),
        Filter::AtLeast("nhsMHSRetries".into(), "2".into()),
        equal("l", "Walsall"),
    ];
    let search = |filter: Filter| Search {
        base: "o=nhs".into(),
        scope: Scope::Sub,
        size_limit: 0,
        types_only: false,
        filter,
        attributes: vec!["uniqueIdentifier".into(), "nhsIDCode".into()],
    };
    let message = |request: Request, paged| Message { id: 7, request, paged, critical: false };
    let mut messages: Vec<Message> =
        filters.into_iter().map(|filter| message(Request::Search(search(filter)), None)).collect();
    let page = Paged { size: 2, cookie: b"30FDC49".to_vec() };
    messages.push(message(Request::Search(search(Filter::Present("o".into()))), Some(page)));
    let dn = "uniqueIdentifier=200000009001,ou=Services,o=nhs";
    messages
        .push(message(Request::Compare { dn: dn.into(), attribute: "nhsIDCode".into(), value: "A99999".into() }, None));
    messages.push(message(Request::Bind { version: 3, simple: true, anonymous: true }, None));
    messages.push(message(Request::Extended("1.3.6.1.4.1.1466.20037".into()), None));
    let mut seeds: Vec<Vec<u8>> = messages.iter().map(|m| [&[0][..], &written(m)].concat()).collect();
    for line in REGISTRY.lines().filter(|line| line.len() < 1_500).take(4).chain([
        r#"{"mailbox_id":"X26ABC1","ods_code":"X26","password":"p","active":true,"internal":false,"service":"s"}"#,
        r#"{"workflow_id":"W","senders":["X26ABC1"],"receivers":["X26ABC2"],"restricted":false}"#,
        r#"{"asid":"200000000100","ods_code":"X26","party_key":"X26-1","clients":["X26"],"interactions":["urn:a"]}"#,
    ]) {
        seeds.push([&[1][..], line.as_bytes()].concat());
    }
    for ask in [
        "GET /FHIR/R4/Organization?name:contains=surgery&active=true&roleCode=RO177,RO76&_lastUpdated=ge2020-01&_count=2\napplication/fhir+xml\n",
        "POST /FHIR/R4/Organization/_search?_offset=1\n\nname=bird&identifier=https%3A%2F%2Ffhir.nhs.uk%2FId%2Fods-organization-code%7CG81086",
        "GET /organisation-data-terminology-api/fhir/OrganizationAffiliation?primary-organization=G81086&_include=*\n\n",
        "GET /spine-directory/FHIR/R4/Device?organization=https://fhir.nhs.uk/Id/ods-organization-code|A99999&identifier=https://fhir.nhs.uk/Id/nhsServiceInteractionId|urn:nhs:names:services:gp2gp:RCMR_IN010000UK05\n\n",
        "GET /ORD/2-0-0/organisations?Name=BIRD&PrimaryRoleId=RO177&Limit=5&Offset=1&_format=xml\n\n",
        "GET /STU3/Organization/G81086?_format=application/xml\n\n",
    ] {
        seeds.push([&[2][..], ask.as_bytes()].concat());
    }
    let row = "\"A81001\",\"THE DENSHAM SURGERY\",\"Y63\",\"QHM\",\"THE HEALTH CENTRE\",\"LAWSON STREET\",\"\",\"STOCKTON\",\"CLEVELAND\",\"TS18 1HU\",\"19740401\",\"\",\"A\",\"B\",\"16C\",\"20130401\",\"\",\"01642 672351\",\"\",\"\",\"\",\"0\",\"\",\"16C\",\"\",\"4\",\"\"\n";
    seeds.push([&[3][..], row.as_bytes()].concat());
    seeds
}
