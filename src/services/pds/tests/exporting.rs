//! People out of the site and into another: export, import, export is the identity; what changed meanwhile is left out.

use super::*;
use crate::services::pds::{export, rows};

/// Every line of the site as of a moment, in the order of the numbers.
fn lines(site: &Site, at: EpochMillis) -> Vec<String> {
    let mut found = BTreeMap::new();
    for view in &site.partitions {
        let mut after = 0;
        loop {
            let numbers = rows::numbers(view, after, 7).unwrap();
            for nhs in &numbers {
                found.insert(*nhs, export::line(view, *nhs, at).unwrap());
            }
            match numbers.last() {
                Some(last) => after = last.value(),
                None => break,
            }
        }
    }
    found.into_values().flatten().collect()
}

fn another(lines: &[String], partitions: usize) -> Site {
    let mut site = Site::empty(partitions, PdsOptions::default());
    for line in lines {
        let reply = site.import(line).unwrap();
        assert_eq!((reply.written, reply.same, reply.kept), (1, 0, 0), "{line}");
    }
    site
}

#[test]
fn export_wipe_import_export_gives_the_same_bytes() {
    for mut site in sites() {
        // With changes, a card, a birth's mother and a sharing choice of every kind among them.
        site.patch(&worker(), JANE, 2, json!([{"op": "replace", "path": "/gender", "value": "male"}]));
        let extension = |code: u8| {
            let coded = |code: String| json!({"coding": [{"code": code}]});
            json!([{"url": "https://hl7.org/fhir/R4/consent.html", "extension": [
                {"url": "consentType", "valueCodeableConcept": coded("4".into())},
                {"url": "consentValue", "valueCodeableConcept": coded(code.to_string())}]}])
        };
        for (nhs, code) in [("9990000018", 1), ("9990000026", 2), ("9990000034", 3), ("9990000042", 5)] {
            let resource = json!({"resourceType": "Patient", "extension": extension(code)});
            site.import(&json!({"nhsNumber": nhs, "resource": resource}).to_string()).unwrap();
        }
        // A number with data of its own, merged before and after its line.
        for (survivor, old, line_first) in [("9990000050", "9990000069", true), ("9990000077", "9990000085", false)] {
            let person = |nhs: &str| {
                json!({"nhsNumber": nhs, "resource": {"birthDate": "1970-01-01", "gender": "female",
                "meta": {"versionId": "4"}, "name": [{"use": "usual", "family": "Merged", "given": [nhs]}]}})
            };
            let mut new = person(survivor);
            new["supersedes"] = json!([old]);
            let mut both = vec![person(old), new];
            if !line_first {
                both.reverse();
            }
            for line in both {
                site.import(&line.to_string()).unwrap();
            }
            assert_eq!(json(&site.get(&app(), &format!("/Patient/{old}")))["id"], survivor, "{line_first}");
        }
        let first = lines(&site, NOW);
        assert_eq!(first.len(), 64 + 4 + 4);
        for partitions in [1, 3] {
            let mut copy = another(&first, partitions);
            assert_eq!(lines(&copy, NOW), first);
            let mut turned = first.clone();
            turned.reverse();
            assert_eq!(lines(&another(&turned, partitions), NOW), first, "whatever the order of the lines");
            for nhs in ["9990000069", "9990000085", "9732019395", JANE, RESTRICTED] {
                let path = format!("/Patient/{nhs}");
                assert_eq!(json(&copy.get(&privileged(), &path)), json(&site.get(&privileged(), &path)));
            }
        }
    }
}

#[test]
fn what_is_changed_after_the_fence_is_exported_as_it_was() {
    for mut site in sites() {
        let before = lines(&site, site.now);
        let fence = site.now;
        site.now += 1_000;
        site.patch(&worker(), "9693632966", 2, json!([{"op": "replace", "path": "/gender", "value": "unknown"}]));
        let line = json!({"nhsNumber": "9990000018", "resource": {"resourceType": "Patient"}});
        site.import(&line.to_string()).unwrap();
        let after = lines(&site, fence);
        assert_eq!(after.len(), before.len(), "who came later is not in it");
        let changed: Vec<_> = after.iter().zip(&before).filter(|(a, b)| a != b).collect();
        let of = |line: &str| serde_json::from_str::<Value>(line).unwrap();
        for (now, then) in changed {
            assert_eq!(of(now)["resource"], of(then)["resource"]);
        }
        assert_ne!(lines(&site, site.now), before);
    }
}

#[test]
fn a_line_that_differs_at_the_same_version_is_told_and_leaves_what_is_here() {
    let line = |gender: &str| json!({"nhsNumber": "9990000018", "resource": {"gender": gender}}).to_string();
    for mut site in sites() {
        assert_eq!(site.import(&line("male")).unwrap().written, 1);
        assert_eq!(site.import(&line("male")).unwrap().same, 1);
        let told = site.import(&line("female")).unwrap();
        assert_eq!((told.kept, told.left), (1, vec![9_990_000_018]));
        assert_eq!(json(&site.get(&app(), "/Patient/9990000018"))["gender"], "male");
    }
}

#[test]
fn a_line_with_a_later_version_replaces_all_that_it_speaks_of() {
    let line = |version: u8, related: Value| {
        json!({"nhsNumber": "9990000018", "relatedPersons": related, "resource": {"meta": {"versionId": version.to_string()}}})
            .to_string()
    };
    for mut site in sites() {
        site.import(&line(1, json!([{"id": "A"}, {"id": "B"}]))).unwrap();
        site.import(&line(2, json!([{"id": "B"}]))).unwrap();
        let related = json(&site.get(&app(), "/Patient/9990000018/RelatedPerson"));
        assert_eq!((&related["total"], &related["entry"][0]["resource"]["id"]), (&json!(1), &json!("B")));
    }
}
