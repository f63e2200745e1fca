//! Healthcare workers in FHIR, on values: the shapes of the published examples, each way of looking somebody up, each refusal.

use super::{
    fhir::{ask, json},
    people::{ABE, NINA, staff},
    *,
};

const DORA: &str = "656005750107";

fn get(site: &MapStore, target: &str) -> (u16, serde_json::Value) {
    let answer = ask(site, "GET", &format!("/FHIR/R4/{target}"));
    (answer.status, json(&answer))
}

fn found(site: &MapStore, target: &str) -> String {
    let (status, bundle) = get(site, target);
    assert_eq!(status, 200, "{target}: {bundle}");
    let entries = bundle["entry"].as_array().cloned().unwrap_or_default();
    assert_eq!(bundle["total"].as_u64(), Some(entries.len() as u64), "{target}");
    entries.iter().map(|e| e["resource"]["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_person_and_a_role_have_the_published_shapes() {
    let site = staff();
    let (status, person) = get(&site, &format!("Practitioner/{DORA}"));
    assert_eq!(status, 200);
    assert_eq!(
        person,
        serde_json::json!({
            "resourceType": "Practitioner", "id": DORA,
            "identifier": [
                {"system": "https://fhir.nhs.uk/Id/sds-user-id", "value": DORA},
                {"use": "usual", "system": "https://fhir.hl7.org.uk/Id/gmc-number", "value": "c4428981"},
            ],
            "active": true,
            "name": [{"use": "official", "family": "Doctor", "given": ["Dora"], "prefix": ["Ms"]}],
            "telecom": [{"system": "email", "value": "Dora@example.nhs.uk", "use": "work"}],
        })
    );
    let (status, bundle) =
        get(&site, "PractitionerRole?identifier=https://fhir.nhs.uk/Id/sds-role-profile-id%7C656014452107");
    assert_eq!((status, bundle["total"].as_u64()), (200, Some(1)));
    let entry = &bundle["entry"][0];
    assert_eq!(entry["fullUrl"], "https://baseurl/FHIR/R4/PractitionerRole/656014452107");
    let name = "Nurse Access Role";
    assert_eq!(
        entry["resource"],
        serde_json::json!({
            "resourceType": "PractitionerRole", "id": "656014452107",
            "identifier": [{"system": "https://fhir.nhs.uk/Id/sds-role-profile-id", "value": "656014452107"}],
            "active": true,
            "period": {"start": "2026-11-22"},
            "practitioner": {
                "reference": format!("https://baseurl/FHIR/R4/Practitioner/{DORA}"),
                "identifier": {"system": "https://fhir.hl7.org.uk/Id/gmc-number", "value": "c4428981"},
                "display": "Ms Dora Doctor",
            },
            "organization": {
                "reference": "https://baseurl/FHIR/R4/Organization/X26",
                "identifier": {"system": "https://fhir.nhs.uk/Id/ods-organization-code", "value": "X26"},
                "display": "DEMO HOSPITAL",
            },
            "code": [
                {"coding": [{"system": "https://fhir.nhs.uk/England/CodeSystem/England-SDSJobRoleName", "code": "R8001", "display": name}]},
                {"coding": [{"system": "https://fhir.nhs.uk/CodeSystem/NHSDigital-SDS-JobRoleCode", "code": "S8000:G8000:R8001", "display": name}]},
            ],
            "telecom": [{"system": "email", "value": "Dora@example.nhs.uk", "use": "work"}],
        })
    );
}

#[test]
fn people_and_roles_are_looked_up_as_specified() {
    let site = staff();
    for (target, wanted) in [
        ("Practitioner?identifier=https://fhir.nhs.uk/Id/sds-user-id|656005750109", NINA),
        ("Practitioner?identifier=656005750109", NINA),
        ("Practitioner?identifier=https://fhir.hl7.org.uk/Id/gmc-number|C4428981", DORA),
        ("Practitioner?identifier=https://fhir.hl7.org.uk/Id/gmp-number|C4428981", ""),
        ("Practitioner?identifier=https://example.org|656005750109", ""),
        ("Practitioner?name=nurse", NINA),
        ("Practitioner?name=Nina", NINA),
        ("Practitioner?name=dora+doc", DORA),
        ("Practitioner?name=smith", ""),
        ("Practitioner?name=d,n", "656005750107 656005750109"),
        ("Practitioner?name=nina&identifier=656005750107", ""),
        ("Practitioner?_id=656005750107", DORA),
        ("PractitionerRole?practitioner=656005750109", "656014452101 656014452102 656014452103"),
        ("PractitionerRole?practitioner=Practitioner/656005750107", "656014452107"),
        ("PractitionerRole?practitioner:identifier=https://fhir.hl7.org.uk/Id/gmc-number|c4428981", "656014452107"),
        ("PractitionerRole?organization=x27", "656014452103"),
        ("PractitionerRole?organization=https://h/FHIR/R4/Organization/X26", "656014452101 656014452102 656014452107"),
        (
            "PractitionerRole?organization=X26&practitioner=https://fhir.nhs.uk/Id/sds-user-id|656005750107",
            "656014452107",
        ),
        ("PractitionerRole?organization=https://fhir.nhs.uk/Id/ods-organization-code|X27&_format=json", "656014452103"),
        // Who has only applied is nobody yet.
        ("Practitioner?name=applicant", ""),
        ("Practitioner?identifier=656005750101", ""),
        ("PractitionerRole?practitioner=656005750101", ""),
    ] {
        assert_eq!(found(&site, target), wanted, "{target}");
    }
    let (_, page) = get(&site, "PractitionerRole?organization=X26&_count=2&_getpagesoffset=2");
    assert_eq!((page["total"].as_u64(), page["entry"].as_array().unwrap().len()), (Some(3), 1));
    assert_eq!(page["link"][1]["relation"], "previous");
    let (_, count) = get(&site, "Practitioner?name=d&_summary=count");
    assert_eq!((count["total"].as_u64(), count.get("entry")), (Some(1), None));
}

#[test]
fn what_is_not_there_or_not_a_look_up_is_refused() {
    let site = staff();
    for (method, target, status, words) in [
        ("GET", "Practitioner/656005750199", 404, "HAPI-2001: Resource Practitioner/656005750199 is not known"),
        ("GET", &format!("Practitioner/{ABE}"), 404, "HAPI-2001"),
        ("GET", "PractitionerRole/656014452108", 404, "HAPI-2001: Resource PractitionerRole/656014452108 is not known"),
        ("GET", "Practitioner", 400, "names one of: _id, identifier, name"),
        ("GET", "PractitionerRole?_count=5", 400, "names one of: _id, identifier, organization, practitioner"),
        ("GET", "Practitioner?name=", 400, "names one of"),
        (
            "GET",
            "Practitioner?born=1980",
            400,
            "HAPI-0524: Unknown search parameter \"born\" for resource type \"Practitioner\"",
        ),
        ("GET", "Practitioner?organization=X26", 400, "HAPI-0524"),
        ("GET", "PractitionerRole?name=Nina", 400, "HAPI-0524"),
        ("DELETE", "Practitioner/656005750109", 405, "HAPI-0427: HTTP Method DELETE"),
        ("POST", "Practitioner/656005750109", 405, "HAPI-0427"),
        ("GET", "Practitioner/656005750109/_history", 404, "HAPI-2001"),
    ] {
        let answer = ask(&site, method, &format!("/FHIR/R4/{target}"));
        let told = json(&answer);
        assert_eq!((answer.status, told["resourceType"].as_str()), (status, Some("OperationOutcome")), "{target}");
        let diagnostics = told["issue"][0]["diagnostics"].as_str().unwrap();
        assert!(diagnostics.contains(words), "{target}: {diagnostics}");
    }
}

#[test]
fn the_capability_statement_of_the_root_tells_of_workers() {
    let site = staff();
    let kinds = |path: &str| {
        let told = json(&ask(&site, "GET", path));
        let all = told["rest"][0]["resource"].as_array().unwrap().clone();
        all.iter().map(|r| r["type"].as_str().unwrap().to_owned()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(kinds("/FHIR/R4/metadata"), "Organization OrganizationAffiliation Practitioner PractitionerRole");
    assert_eq!(kinds("/organisation-data-terminology-api/fhir/metadata"), "Organization OrganizationAffiliation");
}
