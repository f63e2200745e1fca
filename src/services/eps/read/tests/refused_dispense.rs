//! Dispensers' messages: each rule refuses an example that breaks it, in its own words (spec/eps.md §19.1 nos. 5, 9, 18–30).

use super::*;
use crate::services::eps::read::{claim, dispense, release, task};

const NOTICE: &str = "09-dispense-notification/acute-01-request";
const RETURN: &str = "10-return/acute-request";
const WITHDRAW: &str = "11-withdraw/acute-request";
const CLAIM: &str = "12-claim/acute-request";
const RELEASE: &str = "08-release/by-prescription-id-request";
/// Class of a check.
const VALUE: (&str, &str, &str) = ("error", "value", "");
const INVALID: (&str, &str, &str) = ("error", "invalid", "");

fn entry(bundle: &mut Value, n: usize) -> &mut Value {
    nth(bundle, "MedicationDispense", n)
}

#[track_caller]
fn refused(class: (&str, &str, &str), words: &str, change: impl FnOnce(&mut Value)) {
    assert_only(dispense::dispense(&changed(NOTICE, change)), class, words);
}

#[test]
fn differing_reasons_are_refused_as_published() {
    let bundle = example("09-dispense-notification/acute-05-request");
    assert_eq!(event(&bundle), Ok(Event::DispenseNotification));
    let problems = dispense::dispense(&bundle).expect_err("refused");
    let mut outcome = problems.outcome(&bundle, now());
    assert_eq!(outcome["meta"]["lastUpdated"], "2022-10-21T13:47:00+00:00");
    drop_member(&mut outcome, "meta");
    let name = "15-errors/dispense-mixed-non-dispensing-reason-response";
    let published: Value = serde_json::from_str(text(name)).expect("JSON");
    assert_eq!((outcome, problems.status()), (published, 400));
}

#[test]
fn a_reason_counts_where_every_entry_says_it() {
    let says = |n: usize, code: &'static str| {
        move |b: &mut Value| {
            let reason = json!({"url": "https://fhir.nhs.uk/StructureDefinition/Extension-DM-PrescriptionNonDispensingReason",
                "valueCoding": {"code": code}});
            entry(b, n)["extension"].as_array_mut().expect("extensions").push(reason);
        }
    };
    let some = changed(NOTICE, |b| (0..3).for_each(|n| says(n, if n == 1 { "0002" } else { "0001" })(b)));
    assert_eq!(dispense::dispense(&some).expect("ignored").reason, "");
    let all = changed(NOTICE, |b| (0..4).for_each(|n| says(n, "0010")(b)));
    assert_eq!(dispense::dispense(&all).expect("said").reason, "0010");
}

#[test]
fn no_5_and_18_what_differs_between_entries() {
    let class = ("error", "structure", "CONFLICTING_VALUES");
    refused(
        class,
        "MedicationDispense cannot contain both medicationReference and medicationCodeableConcept fields.",
        |b| {
            entry(b, 0)["medicationReference"] = json!({"reference": "#x"});
        },
    );
    let words = |path: &str, received: &str| {
        format!("Expected all MedicationDispenses to have the same value for {path}. Received {received}.")
    };
    let times = "[\"2022-11-27\",\"2022-11-27T11:45:00+00:00\"]";
    refused(VALUE, &words("whenHandedOver", times), |b| entry(b, 0)["whenHandedOver"] = json!("2022-11-27"));
    refused(VALUE, &words("subject.identifier.value", "[\"9990548609\",\"9449304130\"]"), |b| {
        entry(b, 0)["subject"]["identifier"]["value"] = json!("9990548609");
    });
    let performers = "[[{\"actor\":{\"reference\":\"#other\"}}],[{\"actor\":{\"reference\":\"#performer\"}}]]";
    refused(VALUE, &words("performer", performers), |b| {
        entry(b, 0)["performer"][0]["actor"]["reference"] = json!("#other");
        entry(b, 0)["contained"][0]["id"] = json!("other");
        let contained = entry(b, 0)["contained"].as_array_mut().expect("contained");
        contained.iter_mut().filter(|c| c["resourceType"] == "PractitionerRole").for_each(|c| c["id"] = json!("other"));
        contained.iter_mut().filter(|c| c["resourceType"] == "MedicationRequest").for_each(|c| c["id"] = json!("m1"));
    });
    let odd = changed("09-dispense-notification/erd-request", |b| {
        let repeats = &mut entry(b, 0)["extension"][1]["extension"][1];
        repeats["valueInteger"] = json!(3);
    });
    assert!(only(dispense::dispense(&odd).expect_err("refused")).4.contains("Extension-EPS-RepeatInformation"));
}

/// Changes the role or the request inside every entry.
fn inside(bundle: &mut Value, kind: &str, change: impl Fn(&mut Value)) {
    for n in 0..4 {
        let contained = entry(bundle, n)["contained"].as_array_mut().expect("contained");
        contained.iter_mut().filter(|c| c["resourceType"] == kind).for_each(&change);
    }
}

#[test]
fn no_19_to_22_who_handed_over_and_who_pays() {
    refused(VALUE, "Expected MedicationDispense to have a value for performer.ofType(PractitionerRole).", |b| {
        (0..4).for_each(|n| drop_member(entry(b, n), "performer"));
    });
    let words = "Bundle.entry(\"PractitionerRole\").practitioner populated incorrectly. Please populate with Identifier and \
                 Display.";
    refused(INVALID, words, |b| {
        inside(b, "PractitionerRole", |role| role["practitioner"] = json!({"reference": "urn:uuid:x"}));
    });
    let words = "Bundle.entry(\"PractitionerRole\").organization populated incorrectly. Please populate with Reference to \
                 resource within Bundle.";
    refused(INVALID, words, |b| {
        inside(b, "PractitionerRole", |role| role["organization"] = json!({"identifier": {"value": "VNE51"}}));
    });
    let words = "The dispense notification is missing the reimbursement authority and it should be provided.";
    refused(INVALID, words, |b| drop_member(first(b, "Organization"), "extension"));
    let words =
        "The dispense notification is missing the ODS code for reimbursement authority and it should be provided.";
    refused(INVALID, words, |b| {
        let authority = &mut first(b, "Organization")["extension"][0]["extension"][0];
        drop_member(&mut authority["valueIdentifier"], "value");
    });
}

#[test]
fn values_of_a_notification_that_mean_nothing_are_refused() {
    let class = ("fatal", "invalid", "INVALID_VALUE");
    refused(class, "Extension-EPS-TaskBusinessStatus must be one of: 0003, 0006, 0007.", |b| {
        entry(b, 0)["extension"][0]["valueCoding"]["code"] = json!("0008");
    });
    refused(class, "MedicationDispense.type must be one of: 0001, 0002, 0003, 0004, 0005, 0006, 0007, 0008.", |b| {
        entry(b, 1)["type"]["coding"][0]["code"] = json!("0009");
    });
    let few = ("fatal", "invalid", "TOO_FEW_VALUES_SUBMITTED");
    refused(few, "Too few values submitted. Expected 1 element.", |b| {
        drop_member(entry(b, 2), "authorizingPrescription");
        inside(b, "MedicationRequest", |_| {});
    });
    let class = ("error", "not-found", "PRESCRIPTION_NOT_FOUND");
    refused(class, "Prescription can not be found. Contact prescriber", |b| {
        inside(b, "MedicationRequest", |request| request["groupIdentifier"]["value"] = json!("24F5DA-A83008-7EFE6A"));
    });
}

#[test]
fn no_24_and_25_tasks() {
    let refused = |name: &str, words: &str, change: &dyn Fn(&mut Value)| {
        assert_only(task::task(&changed(name, change)), VALUE, words);
    };
    refused(RETURN, "Task.intent must be one of: 'order'.", &|t| t["intent"] = json!("plan"));
    refused(RETURN, "Task.status must be one of: 'in-progress', 'rejected'.", &|t| t["status"] = json!("draft"));
    refused(WITHDRAW, "Task.code.coding.code must be one of: 'abort'.", &|t| {
        t["code"]["coding"][0]["code"] = json!("fulfill");
    });
    refused(WITHDRAW, "Task.code is required when Task.status is 'in-progress'.", &|t| drop_member(t, "code"));
    for (name, system, wrong) in [
        (RETURN, "https://fhir.nhs.uk/CodeSystem/EPS-task-dispense-return-status-reason", "0009"),
        (WITHDRAW, "https://fhir.nhs.uk/CodeSystem/EPS-task-dispense-withdraw-reason", "0003"),
    ] {
        let words = format!("Task.reasonCode must have a system of '{system}' and a value from that system.");
        refused(name, &words, &|t| t["statusReason"]["coding"][0]["code"] = json!(wrong));
        refused(name, &words, &|t| t["statusReason"]["coding"][0]["system"] = json!("x"));
        refused(name, &words, &|t| drop_member(t, "statusReason"));
    }
}

#[test]
fn tasks_name_the_person_by_identifier_and_the_organisation_inside() {
    let words = "Task.contained(\"PractitionerRole\").practitioner populated incorrectly. Please populate with Identifier and \
                 Display.";
    let wrong = changed(RETURN, |t| t["contained"][0]["practitioner"] = json!({"reference": "#x"}));
    assert_only(task::task(&wrong), INVALID, words);
    let both = changed(RETURN, |t| t["contained"][0]["practitioner"]["reference"] = json!("#x"));
    assert_only(task::task(&both), INVALID, words);
    for (member, path) in [("requester", "Task.requester"), ("contained", "Task.requester")] {
        let wrong = changed(RETURN, |t| drop_member(t, member));
        assert_eq!(only(task::task(&wrong).expect_err("refused")).4, path);
    }
    let two = changed(RETURN, |t| {
        t["intent"] = json!("plan");
        drop_member(t, "statusReason");
    });
    assert_eq!(task::task(&two).expect_err("refused").issues.len(), 2);
    let bad = changed(RETURN, |t| t["for"]["identifier"]["value"] = json!("1"));
    let words = "Unable to process message. Information missing or invalid - nhsNumber is not valid";
    assert_only(task::task(&bad), ("error", "processing", "FAILURE_TO_PROCESS_MESSAGE"), words);
}

#[test]
fn no_26_and_27_releases() {
    let read = |change: &dyn Fn(&mut Vec<Value>)| {
        let parameters = changed(RELEASE, |p| change(p["parameter"].as_array_mut().expect("parameters")));
        release::release(&parameters, "a", "b")
    };
    let named = |all: &[Value], name: &str| all.iter().position(|p| p["name"] == name).expect("there");
    for name in ["owner", "agent"] {
        let wrong = read(&|all| all.retain(|p| p["name"] != name));
        assert_only(wrong, INVALID, &format!("Required parameter {name} is missing."));
    }
    let path = "Parameters.parameter(\"agent\").resource";
    let wrong = read(&|all| {
        let n = named(all, "agent");
        drop_member(&mut all[n]["resource"], "telecom");
    });
    assert_only(wrong, INVALID, &format!("Required field {path}.telecom is missing."));
    let wrong = read(&|all| {
        let n = named(all, "agent");
        all[n]["resource"]["practitioner"] = json!({"reference": "urn:uuid:x"});
    });
    let words = format!("{path}.practitioner populated incorrectly. Please populate with Identifier and Display.");
    assert_only(wrong, INVALID, &words);
    let wrong = read(&|all| {
        let n = named(all, "group-identifier");
        all[n]["valueIdentifier"]["value"] = json!("A0548B-A99968-451484");
    });
    assert_only(wrong, ("error", "not-found", "RESOURCE_NOT_FOUND"), "Resource not found");
}

#[test]
fn no_28_to_30_claims() {
    let early = |change: &dyn Fn(&mut Value)| claim::before_scope(&changed(CLAIM, change));
    let none = early(&|c| c["insurance"] = json!([]));
    assert_only(none, INVALID, "Expected 1 item(s) in Claim.insurance, but received 0.");
    let two = early(&|c| {
        let one = c["insurance"][0].clone();
        c["insurance"].as_array_mut().expect("insurance").push(one);
    });
    assert_only(two, INVALID, "Expected 1 item(s) in Claim.insurance, but received 2.");
    let other = early(&|c| c["insurance"][0]["coverage"]["identifier"]["value"] = json!("T1451"));
    assert_only(other, VALUE, "Claim.insurance[0].coverage.identifier.value must be one of: 'T1450', 'RQFZ1'.");
    let reference = early(&|c| c["contained"][0]["practitioner"] = json!({"reference": "#x"}));
    let words = "Claim.contained(\"PractitionerRole\").practitioner populated incorrectly. Please populate with Identifier and \
                 Display.";
    assert_only(reference, INVALID, words);

    let late = |change: &dyn Fn(&mut Value)| claim::claim(&changed(CLAIM, change));
    let bare = late(&|c| drop(c["item"][0]["detail"][0]["programCode"].as_array_mut().expect("codes").remove(1)));
    assert_only(bare, INVALID, "The claim is missing the required endorsement code.");
    // Only the first line that has any code is looked at.
    late(&|c| drop(c["item"][0]["detail"][1]["programCode"].as_array_mut().expect("codes").remove(1))).expect("passes");
    let charge = late(&|c| c["item"][0]["detail"][1]["programCode"][0]["coding"][0]["code"] = json!("free"));
    let words = "Claim.item.detail.programCode must be one of: paid-once, paid-twice, not-paid.";
    assert_only(charge, ("fatal", "invalid", "INVALID_VALUE"), words);
}

#[test]
fn no_3_scopes_are_told_in_the_published_words() {
    let told = |issue: problem::Issue| {
        let problems = Problems::from(issue);
        (problems.status(), only(problems))
    };
    let (status, found) = told(problem::Issue::no_scope("tracker"));
    assert_eq!((status, found.0.as_str(), found.1.as_str()), (403, "fatal", "forbidden"));
    assert_eq!(found.3, "Your app does not have permission to access tracker functionality.");
    let (status, found) = told(problem::Issue::user_needed("prescribing"));
    assert_eq!((status, found.1.as_str()), (403, "forbidden"));
    assert_eq!(found.3, "Prescribing functionality can only be accessed using the user-restricted access mode.");
    let (status, found) = told(problem::Issue::disabled("dispensing"));
    assert_eq!((status, found.1.as_str()), (400, "not-supported"));
    assert_eq!(found.3, "Dispensing functionality is disabled.");
}

#[test]
fn the_status_follows_the_issues() {
    let issue = |code: &'static str| problem::Issue::check(code, "x", "");
    let status = |codes: &[&'static str]| Problems { issues: codes.iter().map(|c| issue(c)).collect() }.status();
    assert_eq!(status(&["informational", "informational"]), 200);
    assert_eq!(status(&["forbidden"]), 403);
    assert_eq!(
        (status(&["forbidden", "value"]), status(&["informational", "value"]), status(&["not-found"])),
        (400, 400, 400)
    );
}
