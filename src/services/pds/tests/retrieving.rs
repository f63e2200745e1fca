//! Retrieve (spec/pds.md §7) in the four modes, with headers, labels, merges, reasons for removal and per-client attributes.

use super::*;
use crate::access::{conditions::Relationship, rules};

#[test]
fn a_published_person_comes_back_as_published() {
    let people: Value = serde_json::from_str(PEOPLE).unwrap();
    for mut site in sites() {
        let mut compared = 0;
        for person in people["people"].as_array().unwrap() {
            let number = person["nhsNumber"].as_str().unwrap();
            let label = person["resource"]["meta"]["security"][0]["code"].as_str().unwrap();
            if label != "U" || person["note"].as_str().is_some_and(|n| n.starts_with("removal reason")) {
                continue;
            }
            let response = site.get(&worker(), &format!("/Patient/{number}"));
            assert_eq!(response.status, 200, "{number}");
            let mut got = json(&response);
            let mut wanted = person["resource"].clone();
            // Verification is always 01 (§5.9), whatever a published body left out; missing ids are given.
            wanted["identifier"] = got["identifier"].clone();
            for list in super::super::fhir::LISTS {
                for (n, item) in wanted[list].as_array().into_iter().flatten().enumerate() {
                    if item.get("id").is_none() {
                        got[list][n].as_object_mut().unwrap().remove("id");
                    }
                }
            }
            assert_eq!(got, wanted, "{number}");
            assert_eq!(header(&response, "etag"), format!("W/{}", got["meta"]["versionId"]));
            assert_eq!(site.last_note(), ("pds.retrieve", "ok", number));
            compared += 1;
        }
        assert!(compared > 50, "{compared}");
    }
}

#[test]
fn checks_come_in_their_order() {
    for mut site in sites() {
        let target = format!("/Patient/{JANE}");
        let none = site.raw(&worker(), "GET", &target, &[], b"");
        let text = "Invalid request with error - X-Request-ID header must be supplied to access this resource";
        expect(&none, 400, "MISSING_VALUE", text);
        let bad = site.raw(&Caller::default(), "GET", "/Patient/1", &[("x-request-id", "1234")], b"");
        expect(&bad, 400, "INVALID_VALUE", "Invalid value - '1234' in header 'X-Request-ID'");
        expect(&site.get(&Caller::default(), "/Patient/1"), 401, "ACCESS_DENIED", "Invalid Access Token");
        for wrong in ["1", "9000000000", "900000000", "90000000091", "abcdefghij"] {
            expect(&site.get(&app(), &format!("/Patient/{wrong}")), 400, "INVALID_RESOURCE_ID", "");
        }
        expect(&site.get(&app(), "/Patient/9999999468"), 404, "RESOURCE_NOT_FOUND", "");
        assert_eq!(site.last_note(), ("pds.retrieve", "RESOURCE_NOT_FOUND", "9999999468"));
        expect(&site.get(&app(), "/Patient/9990003343"), 404, "INVALIDATED_RESOURCE", "");
        let put = site.ask(&worker(), "PUT", &target, &[], b"");
        expect(&put, 400, "UNSUPPORTED_SERVICE", "");
        expect(&site.get(&app(), "/Practitioner"), 400, "UNSUPPORTED_REQUEST", "Unsupported path - '/Practitioner'");
    }
}

#[test]
fn a_patient_sees_only_themself_and_only_when_well_proofed() {
    for mut site in sites() {
        let own = site.get(&patient("9912003071"), "/Patient/9912003071");
        assert_eq!((own.status, json(&own)["id"].as_str()), (200, Some("9912003071")));
        for other in [JANE, "9000000000"] {
            let denied = site.get(&patient("9912003071"), &format!("/Patient/{other}"));
            assert_eq!(error(&denied).1, "ACCESS_DENIED", "before the check digit is looked at");
            assert_eq!(
                json(&denied)["issue"][0]["details"]["coding"][0]["display"],
                "Patient cannot perform this action"
            );
            assert_eq!(denied.status, 403);
        }
        for vector in ["P9.Cp", "", "P5.Cp.Cd"] {
            let caller = Caller { vector_of_trust: vector.into(), ..patient("9912003071") };
            assert_eq!(site.get(&caller, "/Patient/9912003071").status, 403, "{vector}");
        }
        let p5 = Caller {
            scopes: vec!["urn:nhsd:apim:user-nhs-login:P5:personal-demographics-service".into()],
            ..patient("9912003071")
        };
        assert_eq!(site.get(&p5, "/Patient/9912003071").status, 403);
    }
}

#[test]
fn a_role_is_named_or_the_only_one() {
    for mut site in sites() {
        let target = format!("/Patient/{JANE}");
        let named = |site: &mut Site, caller: &Caller, role: &str| {
            site.ask(caller, "GET", &target, &[("nhsd-session-urid", role)], b"").status
        };
        assert_eq!(named(&mut site, &worker(), "555254241102"), 200);
        assert_eq!(named(&mut site, &worker(), "1"), 400);
        assert_eq!(named(&mut site, &app(), "x"), 200, "only looked at for healthcare workers");
        let several = Caller { role_profile: String::new(), ..worker() };
        let refused = site.get(&several, &target);
        assert!(error(&refused).2.starts_with("Invalid value - '' in header 'NHSD-Session-URID'. Refer to"));
    }
}

#[test]
fn a_patient_gets_nobody_else_where_the_rule_says_themself_and_only_there() {
    let ask = |interaction: &str, nhs: &str| {
        let (mut site, caller) = (Site::new(3), patient(JANE));
        let card = example("coverage-post.json").to_string().replace(JANE, nhs);
        let headers = [("content-type", "application/json"), ("if-match", "W/\"2\"")];
        let told = match interaction {
            "pds.retrieve" => site.get(&caller, &format!("/Patient/{nhs}")),
            "pds.search" => site.get(&caller, "/Patient?family=Smith&birthdate=2010-10-22&gender=female"),
            "pds.update" => site.patch(&caller, nhs, 2, json!([])),
            "pds.create" => site.post(&caller, "/Patient", &json!({})),
            "pds.birth" => site.post(&caller, "/Patient/$process-birth-details", &json!({})),
            "pds.related" => site.get(&caller, &format!("/Patient/{nhs}/RelatedPerson")),
            "pds.coverage" => site.get(&caller, &format!("/Coverage?subscriber:identifier={nhs}")),
            "pds.coverage_set" => site.ask(&caller, "POST", "/Coverage", &headers, card.as_bytes()),
            other => panic!("{other} is not tried"),
        };
        (told.status, error_or_nothing(&told))
    };
    for rule in rules::PDS.iter().filter(|rule| !rule.activities().is_empty()) {
        let (own, other) = (ask(rule.interaction, JANE), ask(rule.interaction, MINIMAL));
        let asked = own.0 != 403 && other == (403, "ACCESS_DENIED".to_owned());
        assert_eq!(rule.relationship == Relationship::Themself, asked, "{}: {own:?} {other:?}", rule.interaction);
    }
}

fn error_or_nothing(response: &Response) -> String {
    let code = json(response).pointer("/issue/0/details/coding/0/code").cloned().unwrap_or_default();
    code.as_str().unwrap_or_default().to_owned()
}

#[test]
fn restricted_people_show_nothing_of_where_they_are() {
    for mut site in sites() {
        for caller in [app(), worker(), patient(RESTRICTED)] {
            let got = json(&site.get(&caller, &format!("/Patient/{RESTRICTED}")));
            assert_eq!(got["meta"]["security"][0]["code"], "R");
            assert_eq!(got["name"][0]["family"], "Smythe");
            for hidden in ["address", "telecom", "contact", "generalPractitioner"] {
                assert!(got.get(hidden).is_none(), "{hidden}");
            }
        }
        let whole = json(&site.get(&privileged(), &format!("/Patient/{RESTRICTED}")));
        assert_eq!(whole["address"][0]["postalCode"], "LS1 6AE");
        for caller in [app(), worker(), privileged()] {
            let got = json(&site.get(&caller, "/Patient/9727024610"));
            let members: Vec<&String> = got.as_object().unwrap().keys().collect();
            assert_eq!(members, ["id", "identifier", "meta", "resourceType"], "very restricted");
        }
    }
}

#[test]
fn a_merged_number_leads_to_the_one_it_became() {
    for mut site in sites() {
        let response = site.get(&worker(), "/Patient/5900053636");
        assert_eq!((response.status, json(&response)["id"].as_str()), (200, Some("9732019395")));
        assert_eq!(header(&response, "etag"), "W/\"2\"");
        assert_eq!(site.last_note(), ("pds.retrieve", "ok", "9732019395"));
        let refused =
            site.patch(&worker(), "5900053636", 1, json!([{"op": "replace", "path": "/gender", "value": "male"}]));
        let text = "Forbidden update with error - Update Failed - NHS No. supplied has been superseded in a merge";
        expect(&refused, 403, "FORBIDDEN_UPDATE", text);
    }
}

#[test]
fn reasons_for_removal_are_shown_to_few() {
    let code = |response: &Response| {
        let body = json(response);
        let coding = body.pointer("/extension/0/extension/0/valueCodeableConcept/coding/0").unwrap().clone();
        (coding["code"].as_str().unwrap().to_owned(), coding["display"].as_str().unwrap().to_owned())
    };
    for mut site in sites() {
        let knowing = with(app(), "return-confidential-reason-for-removal");
        for (number, real) in
            [("9733162981", "AFN"), ("9733163023", "SDN"), ("9733163015", "LDN"), ("9733163058", "SCT")]
        {
            let target = format!("/Patient/{number}");
            let plain = code(&site.get(&app(), &target));
            let told = code(&site.get(&knowing, &target)).0;
            match real {
                "SCT" => assert_eq!((plain.0.as_str(), told.as_str()), ("SCT", "SCT")),
                "LDN" => assert_eq!((plain.0.as_str(), told.as_str()), ("ORR", "ORR")),
                real => {
                    assert_eq!((plain.0.as_str(), plain.1.as_str(), told.as_str()), ("ORR", "Other Reason", real));
                    assert_eq!(code(&site.get(&privileged(), &target)).0, real);
                }
            }
        }
    }
}

#[test]
fn attributes_show_blank_lines_and_record_sharing() {
    let coded = |code: &str| json!({"coding": [{"code": code}]});
    let sharing = json!({"url": "https://hl7.org/fhir/R4/consent.html", "extension": [
        {"url": "consentType", "valueCodeableConcept": coded("4")},
        {"url": "consentValue", "valueCodeableConcept": coded("2")}]});
    let line = json!({"nhsNumber": "9990000018", "resource": {"resourceType": "Patient", "id": "9990000018",
        "extension": [sharing],
        "address": [{"use": "home", "line": ["", "1 High Street", "", "Leeds", ""], "postalCode": "LS1 1AA"}]}});
    for mut site in sites() {
        site.import(&line.to_string()).unwrap();
        let plain = json(&site.get(&app(), "/Patient/9990000018"));
        assert_eq!(plain["address"][0]["line"], json!(["1 High Street", "Leeds"]));
        assert!(plain.get("extension").is_none());
        let whole = json(&site.get(&with(app(), "return-empty-address-lines"), "/Patient/9990000018"));
        assert_eq!(whole["address"][0]["line"], json!([null, "1 High Street", null, "Leeds", null]));
        assert_eq!(whole["address"][0]["_line"].as_array().unwrap().len(), 5);
        let sharing = json(&site.get(&with(app(), "return-nhs-record-sharing-consent"), "/Patient/9990000018"));
        let value = sharing.pointer("/extension/0/extension/1/valueCodeableConcept/coding/0").unwrap();
        assert_eq!((value["code"].as_str(), value["display"].as_str()), (Some("2"), Some("dissent")));
    }
}
