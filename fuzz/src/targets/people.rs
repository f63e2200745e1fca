//! People: lines of an import, and the requests of PDS with their queries, patches and bodies, decided on a small site; the
//! other documents about people are in `papers`. The first byte chooses.
//!
//! A refusal has a code and changes no row (but the trail's); whatever an import or a request made of a person can be
//! exported, and read again it is the same; nobody's record is kept that reading would choke on.

use super::deciding::{NOW, Site, told};
use super::papers;
use super::{MIB, Take, Target};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use serde_json::{Value, json};
use spine::access::caller::Caller;
use spine::fuzz::pds;
use spine::model::NhsNumber;
use spine::services::directory::http::decode;
use spine::services::pds::command::{Import, PdsCommand};
use spine::services::pds::{Asked, BodyIn, Pds, PdsOptions, Step, export, import, route, rows};
use spine::wire::record::Record;
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

/// A body's tree, the record's before and after, and what is written of it.
pub const TARGET: Target = Target { name: "people", run, seeds, longest: 8 << 10, base: 4 * MIB, factor: 2_000 };

/// The published examples with numbers of the range for tests.
pub const PEOPLE: &str = include_str!("people.ndjson");
/// Unrestricted with all that there is; restricted; nearly empty; with a number merged into it.
const NUMBERS: [&str; 4] = ["9990000018", "9990000026", "9990000034", "9990000042"];

static ROWS: LazyLock<BTreeMap<Bytes, Bytes>> = LazyLock::new(|| {
    let mut site = Site::default();
    for line in PEOPLE.lines() {
        written(&mut site, import::line(line).expect("it is a person"));
    }
    site.rows.0
});
static PDS: LazyLock<Arc<Pds>> =
    LazyLock::new(|| Arc::new(Pds { options: PdsOptions { check_organisations: false, ..Default::default() } }));

/// A site with the people of the file.
pub fn site() -> Site {
    Site::of(&ROWS)
}

fn run(input: &[u8]) {
    let mut take = Take(input);
    match take.byte() % 11 {
        0 => imported(take.0),
        1 => searched(&mut take),
        2 => patched(&mut take),
        3 => created("/Patient", take.0),
        4 => created("/Patient/$process-birth-details?ignore_potential_matches=true", take.0),
        5 => carded(&mut take),
        6 => papers::traced(&mut take, &site()),
        7 => papers::enquired(take.0),
        8 => papers::filed(take.0),
        9 => papers::related(&mut take),
        _ => papers::csv_rows(&mut take),
    }
}

fn written(site: &mut Site, (nhs, line): (NhsNumber, import::Line)) {
    let command = Import { people: vec![line.encode()], source: "a file".into(), ..Default::default() };
    let caller = Caller { operator: "uid:0".into(), ..Default::default() };
    let pds = Pds::default();
    site.decide(&pds, nhs.digits().as_bytes(), PdsCommand::from(command).encode(), &caller);
}

/// A stored person comes back from a file as it went there.
fn keeps(site: &Site, nhs: NhsNumber) {
    let exported = |site: &Site| export::line(&site.rows, nhs, NOW + 1).unwrap_or_else(|fault| panic!("{fault}"));
    let Some(first) = exported(site) else { return };
    let mut copy = Site::default();
    written(&mut copy, import::line(&first).unwrap_or_else(|why| panic!("{why}: {first}")));
    assert_eq!(exported(&copy), Some(first));
}

fn imported(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    match import::line(text) {
        Err(why) => assert!(!why.is_empty()),
        Ok((nhs, line)) => {
            let mut site = site();
            written(&mut site, (nhs, line));
            keeps(&site, nhs);
            for who in 0..4 {
                answered(&mut site, &caller(who, &nhs.digits()), "GET", &format!("/Patient/{}", nhs.digits()), b"", 1);
                let related = format!("/Patient/{}/RelatedPerson", nhs.digits());
                answered(&mut site, &caller(who, &nhs.digits()), "GET", &related, b"", 1);
            }
        }
    }
}

/// An application, a member of staff, a citizen, an application that may do all.
fn caller(who: u8, nhs: &str) -> Caller {
    let scoped = |scope: &str| Caller {
        application: "app-1".into(),
        scopes: vec![format!("urn:nhsd:apim:{scope}personal-demographics-service")],
        ..Default::default()
    };
    match who % 4 {
        0 => scoped("app:level3:"),
        1 => Caller {
            user: "555254240100".into(),
            role_profile: "555254241102".into(),
            attributes: vec!["return-empty-address-lines".into()],
            ..scoped("user-nhs-id:aal3:")
        },
        2 => Caller { nhs_number: nhs.into(), vector_of_trust: "P9.Cp.Cd".into(), ..scoped("user-nhs-login:P9:") },
        _ => Caller {
            attributes: ["pds.app-restricted.update", "pds.back-office"].map(str::to_owned).to_vec(),
            ..scoped("app:level3:")
        },
    }
}

/// A request on its whole way; a refusal leaves every row as it was.
fn answered(site: &mut Site, caller: &Caller, method: &str, target: &str, body: &[u8], version: u64) -> (u16, Value) {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut asked = Asked::new(PDS.clone(), route(method, &format!("/personal-demographics/FHIR/R4{path}"), query));
    let mut headers = HeaderMap::new();
    headers.insert("x-request-id", HeaderValue::from_static("60e0b220-8136-4ca5-ae46-1d97ef59d068"));
    headers.insert("content-type", HeaderValue::from_static("application/json"));
    let etag = HeaderValue::from_str(&format!("W/\"{version}\"")).expect("it is one");
    headers.insert("if-match", etag);
    let (before, notes) = (site.rows.0.clone(), site.notes.len());
    let body = if body.is_empty() { BodyIn::None } else { BodyIn::Bytes(Bytes::copy_from_slice(body)) };
    let mut step = asked.ask(caller, &headers, body, &site.registry);
    if matches!(step, Step::Look) {
        step = asked.looked(&[&site.rows]).unwrap_or_else(|fault| panic!("{fault}"));
    }
    let Step::Submit(mut calls) = step else { panic!("each request is decided") };
    let mut wants = false;
    while let Some(call) = calls.pop() {
        let reply = site.decide(&*PDS.clone(), &call.key, call.payload, caller);
        wants = asked.replied(&reply).unwrap_or_else(|fault| panic!("{fault}"));
        calls = asked.onward();
    }
    let view: Option<&dyn spine::store::Reader> = if wants { Some(&site.rows) } else { None };
    let response = asked.answer(view).unwrap_or_else(|fault| panic!("{fault}"));
    assert!(site.notes.len() > notes, "what was asked is in the trail (P4)");
    let told = told(response.status, &response.body);
    if response.status >= 400 {
        assert!(site.rows.0 == before, "a refusal changes nothing: {told}");
        let code = told.pointer("/issue/0/details/coding/0/code").and_then(Value::as_str);
        assert!(code.is_some_and(|code| !code.is_empty()), "{told}");
    }
    (response.status, told)
}

/// Whom it is about, and who asks: one byte.
fn chosen(take: &mut Take<'_>) -> (NhsNumber, Caller) {
    let byte = take.byte();
    let nhs = NUMBERS[usize::from(byte >> 2) % NUMBERS.len()];
    (NhsNumber::strict(nhs).expect("it is one"), caller(byte, nhs))
}

fn searched(take: &mut Take<'_>) {
    let (_, caller) = chosen(take);
    let Ok(text) = std::str::from_utf8(take.0) else { return };
    // All readers of queries agree on what a part says.
    for (pair, (name, value)) in text.split('&').filter(|p| !p.is_empty() && *p != "=").zip(pds::pairs(text)) {
        let (raw_name, raw_value) = pair.split_once('=').unwrap_or((pair, ""));
        assert_eq!((decode(raw_name), decode(raw_value)), (name, value));
    }
    let mut site = site();
    let (status, bundle) = answered(&mut site, &caller, "GET", &format!("/Patient?{text}"), b"", 1);
    if status == 200 {
        let entries = bundle["entry"].as_array().map_or(0, Vec::len);
        assert!(bundle["total"] == entries && entries <= 50, "{bundle}");
    }
    answered(&mut site, &caller, "GET", &format!("/Coverage?{text}"), b"", 1);
}

fn patched(take: &mut Take<'_>) {
    let (nhs, caller) = chosen(take);
    let mut site = site();
    let version = |site: &Site| rows::person(&site.rows, nhs).ok().flatten().map_or(0, |person| person.version);
    let before = version(&site);
    let path = format!("/Patient/{}", nhs.digits());
    let (status, _) = answered(&mut site, &caller, "PATCH", &path, take.0, before);
    if status < 400 {
        assert!((before..=before + 1).contains(&version(&site)), "one update is one version");
        keeps(&site, nhs);
        for who in [0, 1, 3] {
            answered(&mut site, &super::people::caller(who, ""), "GET", &path, b"", 1);
        }
    }
}

fn created(target: &str, body: &[u8]) {
    let mut site = site();
    let (status, told) = answered(&mut site, &caller(1, ""), "POST", target, body, 1);
    if status == 201 {
        let nhs = told["id"].as_str().and_then(NhsNumber::strict).expect("a new person has a number");
        keeps(&site, nhs);
        answered(&mut site, &caller(1, ""), "GET", &format!("/Patient/{}", nhs.digits()), b"", 1);
    }
}

fn carded(take: &mut Take<'_>) {
    let byte = take.byte();
    let nhs = NhsNumber::strict(NUMBERS[usize::from(byte >> 2) % NUMBERS.len()]).expect("it is one");
    let mut site = site();
    let caller = caller(2, &nhs.digits());
    let (status, _) = answered(&mut site, &caller, "POST", "/Coverage", take.0, u64::from(byte & 3));
    if status < 400 {
        keeps(&site, nhs);
    }
}

/// The template of a birth, filled in and without what need not be there.
fn born(template: &str) -> String {
    let mut body: Value = serde_json::from_str(template).expect("it is JSON");
    let baby = &mut body["entry"][0]["resource"];
    baby["name"] = json!([{"use": "usual", "given": ["A"], "family": "Newborn", "period": {"start": "2026-11-02"}}]);
    (baby["gender"], baby["birthDate"]) = (json!("male"), json!("2026-11-02"));
    baby["address"] = json!([{"use": "home", "line": ["24 Park End St", "", "", "Brockley"], "postalCode": "BS19 5PZ",
        "period": {"start": "1990-02-28"}}]);
    baby["multipleBirthInteger"] = json!(1);
    baby.as_object_mut().expect("it is one").remove("telecom");
    body["entry"][1]["resource"]["valueQuantity"]["value"] = json!(3200);
    body["entry"][7]["resource"]["identifier"][0]["value"] = json!(NUMBERS[0]);
    body.to_string()
}

fn seeds() -> Vec<Vec<u8>> {
    let with = |head: &[u8], text: &str| [head, text.as_bytes()].concat();
    let mut seeds: Vec<Vec<u8>> = PEOPLE.lines().skip(1).map(|line| with(&[0], line)).collect();
    for query in [
        "family=Smith&gender=female&birthdate=eq2010-10-22",
        "family=Sm*th&given=J%61ne&birthdate=ge2010-01-01&birthdate=le2011-01-01&_history=true&_max-results=1",
        "_fuzzy-match=true&family=Smythe&given=Jayne&given=Marie&birthdate=2010-10-22&address-postalcode=LS1%206AE",
        "_exact-match=true&family=Smith&birthdate=2010-10-22&email=jane.smith@example.com&phone=01632960587",
        "family=&general-practitioner=Y12345&death-date=ge2010-10-22&_fuzzy-match=maybe",
        "subscriber%3Aidentifier=9990000018",
    ] {
        seeds.push(with(&[1, 1], query));
    }
    for (who, patch) in [
        (1, r#"{"patches":[{"op":"replace","path":"/gender","value":"male"}]}"#),
        (
            1,
            r#"{"patches":[{"op":"add","path":"/name/-","value":{"use":"nickname","period":{"start":"2020-01-01"},"given":["Joe","Horation"],"family":"Bloggs","suffix":["PhD"]}}]}"#,
        ),
        (1, r#"{"patches":[{"op":"test","path":"/name/0/id","value":"123"},{"op":"remove","path":"/name/0"}]}"#),
        (
            1,
            r#"{"patches":[{"op":"replace","path":"/address/0/id","value":"456"},{"op":"replace","path":"/address/0/line/0","value":"2 Whitehall Quay"},{"op":"replace","path":"/address/0/postalCode","value":"LS1 4BU"}]}"#,
        ),
        (
            2,
            r#"{"patches":[{"op":"replace","path":"/telecom/0","value":{"id":"789","system":"phone","use":"home","value":"01632960588","period":{"start":"2020-01-01"}}}]}"#,
        ),
        (3, r#"{"patches":[{"op":"add","path":"/deceasedDateTime","value":"2026-10-22T00:00:00+00:00"}]}"#),
        (5, r#"{"patches":[{"op":"add","path":"/name/-","value":{"use":"usual","family":"New","given":["A"]}}]}"#),
        (
            9,
            r#"{"patches":[{"op":"add","path":"/address/-","value":{"use":"home","line":["1 A Street","","","Leeds"],"postalCode":"LS1 6AE","period":{"start":"2020-01-01"}}},{"op":"add","path":"/birthDate","value":"1990-01-01"}]}"#,
        ),
    ] {
        seeds.push(with(&[2, who], patch));
    }
    let create = include_str!("../../../tests/data/pds/create/create-patient.json");
    let birth = include_str!("../../../tests/data/pds/create/create-at-birth-template.json");
    let small = |text: &str| serde_json::from_str::<Value>(text).map(|v| v.to_string()).unwrap_or_default();
    let card = include_str!("../../../tests/data/pds/coverage-post.json").replace("9000000009", NUMBERS[0]);
    seeds.extend([with(&[3], &small(create)), with(&[4], &born(birth)), with(&[5, 2], &small(&card))]);
    seeds.extend(papers::seeds());
    seeds
}
