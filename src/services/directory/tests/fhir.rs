//! FHIR R4 organisations: the published examples come back member by member, and every search and error as specified.

use super::{imports::import, *};
use crate::services::directory::{
    http::{Answer, Asked},
    routes::route,
};
use serde_json::Value;

/// The published examples as import lines.
pub const EXAMPLES: &str = concat!(
    r#"{"ods_code":"G81086","name":"BIRD-IN-EYE SURGERY","last_change":"2023-08-22","authority":"NHS BUSINESS SERVICES AUTHORITY","roles":[{"id":103262,"code":"RO177","primary":true,"legal":{"start":"1974-04-01"},"operational":{"start":"1974-04-01"}},{"id":184233,"code":"RO76","legal":{"start":"2014-04-15"},"operational":{"start":"2014-04-15"}}],"contacts":[{"type":"tel","value":"01825 763196"}],"address":{"lines":["UCKFIELD COMMUNITY HOSPITAL","FRAMFIELD ROAD"],"town":"UCKFIELD","county":"EAST SUSSEX","postcode":"TN22 5AW","country":"ENGLAND","uprn":"10091054340"},"relationships":[{"id":256248,"code":"RE4","target":"4VE03","status":"Inactive","legal":{"start":"1999-04-01","end":"2002-03-31"},"operational":{"start":"1999-04-01","end":"2002-03-31"}}]}"#,
    "\n",
    r#"{"ods_code":"FCE71","name":"LLOYDS PHARMACY","status":"Inactive","last_change":"2024-01-15","authority":"NHS BUSINESS SERVICES AUTHORITY","roles":[{"id":214621,"code":"RO182","primary":true,"status":"Inactive","legal":{"start":"1948-01-01","end":"2023-04-23"},"operational":{"start":"1948-01-01","end":"2023-04-23"}}],"contacts":[{"type":"tel","value":"01922 646521"}],"address":{"lines":["DARTMOUTH STATIONERS","126 LICHFIELD STREET"],"town":"WALSALL","county":"WEST MIDLANDS","postcode":"WS1 1SY","country":"ENGLAND","uprn":"100071066809"}}"#,
    "\n",
    r#"{"ods_code":"Q72","name":"NHS ENGLAND NORTH EAST AND YORKSHIRE (YORKSHIRE AND HUMBER)","last_change":"2020-09-30","roles":[{"id":202011,"code":"RO210","primary":true,"legal":{"start":"2015-04-01","end":"2020-03-31"},"operational":{"start":"2015-01-16"}}],"address":{"lines":["CITY OFFICE PARK","3 LEEDS CITY OFFICE PARK","HOLBECK"],"town":"LEEDS","county":"WEST YORKSHIRE","postcode":"LS11 5BD","country":"ENGLAND"}}"#,
    "\n",
    r#"{"ods_code":"FDC49","name":"A PHARMACY","record_class":"RC2","ref_only":true,"last_change":"2022-01-01","roles":[{"id":300001,"code":"RO280","primary":true}],"contacts":[{"type":"http","value":"https://x"}],"relationships":[{"id":383689,"code":"RE5","target":"Q72","status":"Inactive","legal":{"start":"2015-05-11","end":"2020-03-31"},"operational":{"start":"2015-05-11","end":"2020-03-31"}}]}"#,
);

pub fn ask(site: &MapStore, method: &str, target: &str) -> Answer {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let asked = Asked {
        method: method.into(),
        origin: "https://baseurl".into(),
        path: path.into(),
        query: query.into(),
        now: NOW,
        unique: 7,
        ..Default::default()
    };
    route(path).unwrap().answer(site, &asked).unwrap()
}

pub fn json(answer: &Answer) -> Value {
    serde_json::from_str(&answer.body).unwrap()
}

fn fhir(site: &MapStore, target: &str) -> Answer {
    ask(site, "GET", &format!("/organisation-data-terminology-api/fhir/{target}"))
}

pub fn example_site() -> MapStore {
    let mut site = MapStore::default();
    import(&mut site, EXAMPLES);
    site
}

/// XML without what differs between writers: blanks between elements and before the end of an empty one.
fn squeezed(xml: &str) -> String {
    let body = xml.split_once("?>").map_or(xml, |(_, body)| body);
    let lines: String = body.lines().map(str::trim).collect();
    lines.replace(" />", "/>")
}

#[test]
fn published_organisations_come_back_as_published() {
    let site = example_site();
    for (code, example) in [
        ("G81086", include_str!("data/ODS-Organization-G81086-Example.xml")),
        ("FCE71", include_str!("data/ODS-Organization-FCE71-Example.xml")),
    ] {
        let answer = fhir(&site, &format!("Organization/{code}?_format=xml"));
        // The examples are filed under ids of their own.
        let wanted = squeezed(example).replace(&format!("ODS-Organization-{code}-Example"), code);
        assert_eq!((answer.status, squeezed(&answer.body)), (200, wanted));
    }
}

#[test]
fn a_published_affiliation_comes_back_with_what_is_included() {
    let site = example_site();
    let answer = fhir(
        &site,
        "OrganizationAffiliation?_include=OrganizationAffiliation%3Aparticipating-organization\
         &participating-organization=Q72&primary-organization=FDC49&_format=xml",
    );
    let wanted = squeezed(include_str!("data/ODS-Bundle-includeSearchResults-Example.xml"));
    let (_, wanted) = wanted.split_once("<entry>").unwrap();
    let got = squeezed(&answer.body).replace("https://baseurl/organisation-data-terminology-api", "https://baseurl");
    let (head, got) = got.split_once("<entry>").unwrap();
    assert_eq!(got, wanted);
    assert!(head.contains("<total value=\"2\"/>"), "{head}");
    let one = squeezed(&fhir(&site, "OrganizationAffiliation/256248?_format=xml").body);
    let example = squeezed(include_str!("data/ODS-OrganizationAffiliation-256248-Example.xml"));
    let example = example.replace("ODS-OrganizationAffiliation-256248-Example", "256248");
    let example = example.replace("ODS-Organization-G81086-Example", "G81086");
    assert_eq!(one, example.replace("ODS-Organization-4VE03-Example", "4VE03"));
}

#[test]
fn affiliations_are_found_by_whether_they_are_active_alone() {
    let site = example_site();
    let total = |query: &str| json(&fhir(&site, &format!("OrganizationAffiliation?{query}")))["total"].as_u64();
    let (active, ended) = (total("active=true").unwrap(), total("active=false").unwrap());
    let by_source = |state: &str| -> u64 {
        let one = |code: &str| total(&format!("primary-organization={code}&active={state}")).unwrap();
        ["FCE71", "FDC49", "G81086", "Q72"].map(one).iter().sum()
    };
    assert!(ended > 0);
    assert_eq!((active, ended), (by_source("true"), by_source("false")));
}

#[test]
fn every_search_finds_what_it_should() {
    let site = example_site();
    let role = "https%3A%2F%2Fdigital.nhs.uk%2Fservices%2Forganisation-data-service%2FCodeSystem%2FODSOrganisationRole";
    for (query, wanted) in [
        ("", "FCE71 FDC49 G81086 Q72"),
        ("_id=G81086", "G81086"),
        ("_id=g81086,q72", "G81086 Q72"),
        ("identifier=https://fhir.nhs.uk/Id/ods-organization-code|Q72", "Q72"),
        ("identifier=https://elsewhere|Q72", ""),
        ("active=false", "FCE71"),
        ("active=true&type=RC2", "FDC49"),
        ("type=https://fhir.nhs.uk/England/CodeSystem/England-ODSRecordUseType|RefOnly", "FDC49"),
        ("type=Full", "FCE71 G81086 Q72"),
        ("name=bird", "G81086"),
        ("name=bird in eye", "G81086"),
        ("name=EYE", ""),
        ("name:contains=eye", "G81086"),
        ("name:contains=harma", "FCE71 FDC49"),
        ("name:contains=ds pharm", "FCE71"),
        ("name:exact=LLOYDS PHARMACY", "FCE71"),
        ("name:exact=Lloyds Pharmacy", ""),
        ("lastChangeDate=eq2023-08-22", "G81086"),
        ("lastChangeDate=2023-08-22", "G81086"),
        ("lastChangeDate=gt2023-08-22", "FCE71"),
        ("lastChangeDate=gt2020-09-30&lastChangeDate=lt2023-08-22", "FDC49"),
        ("lastChangeDate=2020", "Q72"),
        ("lastChangeDate=2024-01", "FCE71"),
        ("_lastUpdated=gt2023-12-31", "FCE71"),
        ("roleCode=RO76", "G81086"),
        (&format!("roleCode={role}%7CRO182"), "FCE71"),
        ("activeRoleCode=RO182", ""),
        ("activeRoleCode=RO76,RO210", "G81086 Q72"),
        ("roleCode=RO76&roleCode=RO210", ""),
        ("address-city=leeds", "Q72"),
        ("address-postalcode=TN22", "G81086"),
        ("address-postalcode=tn225aw", "G81086"),
        ("address-postalcode:exact=TN22 5AW", "G81086"),
        ("address-state=WEST", "FCE71 Q72"),
        ("address-country:exact=ENGLAND&name=N", "Q72"),
        ("address:contains=lichfield", "FCE71"),
        ("partof=X26", ""),
        ("name=&_id=Q72", "Q72"),
    ] {
        let bundle = json(&fhir(&site, &format!("Organization?{}", query.replace(' ', "+"))));
        let found = bundle["entry"].as_array().cloned().unwrap_or_default();
        let codes: Vec<&str> = found.iter().map(|e| e["resource"]["id"].as_str().unwrap()).collect();
        assert_eq!(codes.join(" "), wanted, "{query}");
        assert_eq!(bundle["total"].as_u64(), Some(codes.len() as u64), "{query}");
    }
}

#[test]
fn pages_follow_one_another() {
    let site = example_site();
    let mut url = "https://baseurl/FHIR/R4/Organization?_count=3&type=Full,RefOnly".to_owned();
    let mut seen = vec![];
    loop {
        let bundle = json(&ask(&site, "GET", url.strip_prefix("https://baseurl").unwrap()));
        assert_eq!(bundle["total"], 4);
        seen.extend(bundle["entry"].as_array().unwrap().iter().map(|e| e["fullUrl"].as_str().unwrap().to_owned()));
        let links = bundle["link"].as_array().unwrap();
        match links.iter().find(|l| l["relation"] == "next") {
            Some(next) => url = next["url"].as_str().unwrap().to_owned(),
            None => break,
        }
    }
    assert_eq!(seen.len(), 4);
    assert_eq!(seen[3], "https://baseurl/FHIR/R4/Organization/Q72");
    let counted = json(&fhir(&site, "Organization?_summary=count"));
    assert_eq!((counted["total"].as_u64(), counted.get("entry")), (Some(4), None));
}

#[test]
fn refusals_read_as_published() {
    let site = example_site();
    let names = "_content, _id, _lastUpdated, _profile, _security, _source, _tag, _text, active, activeRoleCode, \
                 address, address-city, address-country, address-postalcode, address-state, address-use, endpoint, \
                 identifier, lastChangeDate, name, partof, phonetic, roleCode, type";
    let unknown = format!(
        "HAPI-0524: Unknown search parameter \"INVALID\" for resource type \"Organization\". Valid search parameters \
         for this search are: [{names}]"
    );
    for (method, target, status, words) in [
        ("GET", "Organization/83632648493", 404, "HAPI-2001: Resource Organization/83632648493 is not known"),
        ("GET", "OrganizationAffiliation/1", 404, "HAPI-2001: Resource OrganizationAffiliation/1 is not known"),
        ("GET", "Organization?INVALID=1", 400, &unknown),
        (
            "GET",
            "Organization?lastChangeDate=gtINVALID",
            400,
            "HAPI-1940: Invalid date/time/quantity format: \"gtINVALID\"",
        ),
        (
            "DELETE",
            "Organization/G81086",
            405,
            "HAPI-0427: HTTP Method DELETE is not allowed for this operation. Allowed method(s): POST, GET",
        ),
    ] {
        let answer = ask(&site, method, &format!("/FHIR/R4/{target}"));
        let body = json(&answer);
        let issue = &body["issue"][0];
        let got = (answer.status, issue["diagnostics"].as_str().unwrap());
        assert_eq!(got, (status, words), "{target}");
        assert_eq!((issue["severity"].as_str(), issue["code"].as_str()), (Some("error"), Some("processing")));
        assert_eq!(answer.header("allow"), (status == 405).then_some("POST, GET"));
    }
    let example = squeezed(include_str!("data/ODS-OperationOutcome-UnknownSearchParameter-Example.xml"));
    let got = squeezed(&ask(&site, "GET", "/FHIR/R4/Organization?INVALID=1&_format=xml").body);
    assert!(example.contains(got.split_once("<issue>").unwrap().1), "{got}");
    let example = squeezed(include_str!("data/ODS-Bundle-NoOrganisationSearchResults-Example.xml"));
    let none = json(&fhir(&site, "Organization?lastChangeDate=eq2023-08-20"));
    assert!(example.contains("<total value=\"0\"/>") && !example.contains("<entry>"));
    assert_eq!((none["total"].as_u64(), none.get("entry")), (Some(0), None));
}

#[test]
fn a_search_may_come_as_a_form() {
    let site = example_site();
    let path = "/FHIR/R4/Organization/_search";
    let asked = Asked { method: "POST".into(), path: path.into(), form: "name=BIRD".into(), ..Default::default() };
    let answer = route(path).unwrap().answer(&site, &asked).unwrap();
    assert_eq!(json(&answer)["entry"][0]["resource"]["id"], "G81086");
}
