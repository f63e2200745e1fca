//! The older faces, STU3 and ORD 2-0-0: shapes, filters, pages, refusals.

use super::fhir::{ask, example_site, json};

#[test]
fn stu3_finds_and_shows() {
    let site = example_site();
    let one = json(&ask(&site, "GET", "/STU3/Organization/G81086"));
    assert_eq!(one["meta"]["profile"][0], "https://fhir.nhs.uk/STU3/StructureDefinition/ODSAPI-Organization-1");
    assert_eq!(one["identifier"][0]["value"], "G81086");
    let role = one["extension"].as_array().unwrap().iter().find(|e| e["url"].as_str().unwrap().ends_with("Role-1"));
    let parts = role.unwrap()["extension"].as_array().unwrap();
    assert_eq!((&parts[0]["valueCoding"]["code"], &parts[1]["valueBoolean"]), (&"177".into(), &true.into()));
    for (query, wanted) in [
        ("name=bird", "G81086"),
        ("name:contains=PHARM", "FCE71 FDC49"),
        ("name:exact=LLOYDS PHARMACY", "FCE71"),
        ("active=true&address-city=uck", "G81086"),
        ("address-postalcode=WS1", "FCE71"),
        ("ods-org-role=76,182", "FCE71 G81086"),
        ("ods-org-role=76&ods-org-role=177", "G81086"),
        ("ods-org-role=76&ods-org-primaryRole=true", ""),
        ("ods-org-role=177&ods-org-primaryRole=true", "G81086"),
        ("_lastUpdated=gt2023-01-01", "FCE71 G81086"),
        ("identifier=https://fhir.nhs.uk/Id/ods-organization-code|Q72", "Q72"),
        ("_id=Q72", "Q72"),
    ] {
        let bundle = json(&ask(&site, "GET", &format!("/STU3/Organization?{}", query.replace(' ', "+"))));
        let found = bundle["entry"].as_array().cloned().unwrap_or_default();
        let codes: Vec<&str> = found.iter().map(|e| e["resource"]["id"].as_str().unwrap()).collect();
        assert_eq!(codes.join(" "), wanted, "{query}");
    }
    let page = json(&ask(&site, "GET", "/STU3/Organization?_count=3"));
    assert_eq!((page["total"].as_u64(), page["entry"].as_array().map(Vec::len)), (Some(4), Some(3)));
    assert_eq!(page["link"][1]["url"], "https://baseurl/STU3/Organization?_count=3&_page=2");
    let counted = json(&ask(&site, "GET", "/STU3/Organization?active=true&_summary=count"));
    assert_eq!((counted["total"].as_u64(), counted.get("entry")), (Some(3), None));
    let xml = ask(&site, "GET", "/STU3/Organization/Q72?_format=xml");
    assert!(xml.body.contains("<Organization xmlns=\"http://hl7.org/fhir\"><id value=\"Q72\"/>"), "{}", xml.body);
}

#[test]
fn stu3_refuses_as_specified() {
    let site = example_site();
    for (target, status, issue, code) in [
        ("Organization/NONE", 404, "not-found", "NO_RECORD_FOUND"),
        ("Patient", 404, "not-found", "NO_RECORD_FOUND"),
        ("Organization?ods-org-role=https://elsewhere|76", 400, "code-invalid", "INVALID_CODE_SYSTEM"),
        ("Organization?ods-org-role=999", 400, "code-invalid", "INVALID_CODE_VALUE"),
        ("Organization?identifier=https://elsewhere|X26", 400, "code-invalid", "INVALID_IDENTIFIER_SYSTEM"),
        ("Organization?identifier=X-26", 400, "code-invalid", "INVALID_IDENTIFIER_VALUE"),
        ("Organization?who=me", 400, "invalid", "INVALID_PARAMETER"),
        ("Organization?ods-org-primaryRole=true", 400, "invalid", "INVALID_PARAMETER"),
        ("Organization?name=ab", 400, "invalid", "INVALID_VALUE"),
        ("Organization?address-postalcode=L-", 400, "invalid", "INVALID_VALUE"),
        ("Organization?active=maybe", 400, "invalid", "INVALID_VALUE"),
        ("Organization?_lastUpdated=2023-01-01", 400, "invalid", "INVALID_VALUE"),
        ("Organization?_count=many", 400, "invalid", "INVALID_VALUE"),
    ] {
        let answer = ask(&site, "GET", &format!("/STU3/{target}"));
        let body = json(&answer);
        let got = &body["issue"][0];
        let coded = got["details"]["coding"][0]["code"].as_str();
        assert_eq!((answer.status, got["code"].as_str(), coded), (status, Some(issue), Some(code)), "{target}");
    }
    assert_eq!(ask(&site, "PUT", "/STU3/Organization/Q72").status, 405);
}

#[test]
fn ord_shows_an_organisation_whole() {
    let mut site = example_site();
    let line = r#"{"ods_code":"4VE03","name":"AN OLD GROUP","status":"Inactive","last_change":"2002-04-01","operational":{"start":"1999-04-01","end":"2002-03-31"},"roles":[{"id":9,"code":"RO171","primary":true}],"successions":[{"id":4,"type":"Successor","target":"Q72","date":"2002-04-01"}]}"#;
    super::imports::import(&mut site, line);
    let one = &json(&ask(&site, "GET", "/ORD/2-0-0/organisations/g81086"))["Organisation"];
    assert_eq!((&one["Name"], &one["Status"]), (&"BIRD-IN-EYE SURGERY".into(), &"Active".into()));
    assert_eq!(one["OrgId"]["root"], "2.16.840.1.113883.2.1.3.2.4.18.48");
    let place = &one["GeoLoc"]["Location"];
    assert_eq!((&place["AddrLn2"], &place["UPRN"]), (&"FRAMFIELD ROAD".into(), &"10091054340".into()));
    assert_eq!(one["Contacts"]["Contact"][0]["value"], "01825 763196");
    let roles = &one["Roles"]["Role"];
    assert_eq!((&roles[0]["primaryRole"], roles[1].get("primaryRole")), (&true.into(), None));
    let rel = &one["Rels"]["Rel"][0];
    assert_eq!((&rel["id"], &rel["uniqueRelId"]), (&"RE4".into(), &256_248.into()));
    assert_eq!(rel["Target"]["PrimaryRoleId"]["id"], "RO171");
    assert_eq!(rel["Date"][1]["End"], "2002-03-31");
    let old = &json(&ask(&site, "GET", "/ORD/2-0-0/organisations/4VE03"))["Organisation"];
    assert_eq!(old["Succs"]["Succ"][0]["Type"], "Successor");
    assert_eq!(old["Date"][0]["Type"], "Operational");
    let xml = ask(&site, "GET", "/ORD/2-0-0/organisations/Q72?_format=xml").body;
    assert!(xml.contains("<Organisation orgRecordClass=\"RC1\"><Name>NHS ENGLAND"), "{xml}");
    assert!(xml.contains("<Role id=\"RO210\" uniqueRoleId=\"202011\" primaryRole=\"true\">"), "{xml}");
}

#[test]
fn ord_filters_pages_and_lists() {
    let site = example_site();
    for (query, wanted) in [
        ("PrimaryRoleId=RO177&Status=Active&Limit=1000", "G81086"),
        ("NonPrimaryRoleId=RO76", "G81086"),
        ("Roles=RO76,RO182", "FCE71 G81086"),
        ("Name=pharm", "FCE71 FDC49"),
        ("PostCode=LS11", "Q72"),
        ("LastChangeDate=2023-08-22", "FCE71 G81086"),
        ("Status=Inactive", "FCE71"),
        ("OrgRecordClass=RC2", "FDC49"),
        ("Name=ZZZ", ""),
    ] {
        let answer = ask(&site, "GET", &format!("/ORD/2-0-0/organisations?{query}"));
        let body = json(&answer);
        let codes: Vec<&str> =
            body["Organisations"].as_array().unwrap().iter().map(|o| o["OrgId"].as_str().unwrap()).collect();
        assert_eq!(codes.join(" "), wanted, "{query}");
        assert_eq!(answer.header("x-total-count"), Some(codes.len().to_string().as_str()), "{query}");
    }
    let page = ask(&site, "GET", "/ORD/2-0-0/organisations?Status=Active&Limit=1&Offset=1");
    let url = |offset| Some(format!("https://baseurl/ORD/2-0-0/organisations?Status=Active&Limit=1&Offset={offset}"));
    assert_eq!(page.header("next-page").map(str::to_owned), url(2));
    assert_eq!(page.header("previous-page").map(str::to_owned), url(0));
    let brief = &json(&page)["Organisations"][0];
    assert_eq!(brief["OrgLink"], "https://baseurl/ORD/2-0-0/organisations/G81086");
    assert_eq!(brief["PrimaryRoleDescription"], "PRESCRIBING COST CENTRE");
    let roles = json(&ask(&site, "GET", "/ORD/2-0-0/roles"));
    assert_eq!(roles["Roles"].as_array().unwrap().len(), 190);
    let one = json(&ask(&site, "GET", "/ORD/2-0-0/roles/RO177"));
    let wanted = r#"{"id":"RO177","code":"177","displayName":"PRESCRIBING COST CENTRE","primaryRole":"true"}"#;
    assert_eq!(one["Roles"][0], serde_json::from_str::<serde_json::Value>(wanted).unwrap());
    for list in ["rels", "recordclasses"] {
        assert_eq!(ask(&site, "GET", &format!("/ORD/2-0-0/{list}")).status, 200);
    }
}

#[test]
fn ord_tells_what_changed_and_refuses_what_it_cannot() {
    let mut site = example_site();
    let line =
        r#"{"ods_code":"NEW","name":"NEW","last_change":"2026-11-20","roles":[{"code":"RO177","primary":true}]}"#;
    super::imports::import(&mut site, line);
    let changed = json(&ask(&site, "GET", "/ORD/2-0-0/sync?LastChangeDate=2026-11-19"));
    assert_eq!(changed["Organisations"][0]["OrgLink"], "https://baseurl/ORD/2-0-0/organisations/NEW");
    assert_eq!(changed["Organisations"].as_array().unwrap().len(), 1);
    for (target, status) in [
        ("organisations/NONE", 404),
        ("nothing", 404),
        ("roles/RO999", 404),
        ("organisations?Limit=0", 406),
        ("organisations?Limit=1001", 406),
        ("organisations?Offset=x", 406),
        ("organisations?Status=open", 406),
        ("organisations?PrimaryRoleId=RO999", 406),
        ("organisations?OrgRecordClass=RC3", 406),
        ("organisations?LastChangeDate=20230822", 406),
        ("organisations?Who=me", 406),
        ("organisations?_format=yaml", 406),
        ("sync", 406),
        ("sync?LastChangeDate=2026-05-01", 406),
        ("sync?LastChangeDate=2026-11-23", 406),
    ] {
        let answer = ask(&site, "GET", &format!("/ORD/2-0-0/{target}"));
        let body = json(&answer);
        assert_eq!((answer.status, body["errorCode"].as_u64()), (status, Some(u64::from(status))), "{target}");
        assert!(body["errorText"].as_str().is_some_and(|text| !text.is_empty()));
    }
}
