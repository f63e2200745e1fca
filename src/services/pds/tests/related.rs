//! Related persons (spec/pds.md §12).

use super::*;

#[test]
fn related_people_come_as_published() {
    for mut site in sites() {
        let response = site.get(&worker(), &format!("/Patient/{JANE}/RelatedPerson"));
        let got = json(&response);
        let published = example("relatedperson-bundle.json");
        assert_eq!((&got["total"], &got["type"]), (&published["total"], &json!("searchset")));
        let people: Value = serde_json::from_str(PEOPLE).unwrap();
        let jane = people["people"].as_array().unwrap().iter().find(|p| p["nhsNumber"] == JANE).unwrap();
        for (n, entry) in got["entry"].as_array().unwrap().iter().enumerate() {
            assert_eq!(entry["resource"], jane["relatedPersons"][n]);
            let id = entry["resource"]["id"].as_str().unwrap();
            let url =
                format!("https://api.example.org/personal-demographics/FHIR/R4/Patient/{JANE}/RelatedPerson/{id}");
            assert_eq!(entry["fullUrl"], url);
        }
        assert_eq!(site.last_note(), ("pds.related", "ok", JANE));
    }
}

#[test]
fn nobody_restricted_or_unknown() {
    for mut site in sites() {
        for number in [MINIMAL, RESTRICTED] {
            let body = json(&site.get(&app(), &format!("/Patient/{number}/RelatedPerson")));
            assert_eq!((&body["total"], body.get("entry")), (&json!(0), None));
        }
        assert_eq!(site.get(&app(), "/Patient/9999999468/RelatedPerson").status, 404);
        assert_eq!(site.get(&patient("9912003071"), &format!("/Patient/{JANE}/RelatedPerson")).status, 403);
        assert_eq!(site.get(&app(), "/Patient/123/RelatedPerson").status, 400);
    }
}
