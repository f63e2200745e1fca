//! A release's answer against the published one, and what it makes of each published order.

use super::{differences, document, example, ids, json, numbered};
use crate::{
    model::time,
    services::eps::show::{
        document::Document,
        exact,
        release::{Answer, Given, GivenItem},
    },
};
use serde_json::{Value, json};

const BASE: &str = "https://internal-dev.api.service.nhs.uk/fhir-dispensing";

fn at(text: &str) -> u64 {
    time::parse_iso(text).unwrap()
}

/// A prescription of an order, all items to be dispensed.
fn given(order: &Document, treatment: u8, issue: u32, issues: u32) -> Given<'_> {
    let items = order.of_kind("MedicationRequest").map(|(_, r)| GivenItem {
        id: r["identifier"][0]["value"].as_str().unwrap().to_lowercase(),
        status: 7,
        issues,
    });
    Given {
        order,
        treatment,
        prescribed_at: at("2022-10-20T00:00:00Z"),
        issue,
        items: items.collect(),
        nominated: "",
        nominated_type: "",
        last_dispensed: None,
    }
}

fn show(passed: &[Given<'_>], failed: &[Given<'_>]) -> Value {
    let answer = Answer {
        response: "57674b6e-c6c9-42de-943d-f2ed90f36862",
        request: "264fe32e-7217-43d2-8954-a87f9da514b8",
        passed,
        failed,
        at: at("2023-02-15T15:14:47Z"),
        base: BASE,
    };
    answer.show(&mut ids())
}

/// Items of the only prescription that passed.
fn items(answer: &Value) -> Vec<Value> {
    let bundle = &answer["parameter"][0]["resource"]["entry"][0]["resource"];
    let entries = bundle["entry"].as_array().unwrap().iter();
    entries.map(|e| e["resource"].clone()).filter(|r| r["resourceType"] == "MedicationRequest").collect()
}

/// The published prescription, given in as if it were the order, comes out as it is: only how a dispenser is addressed has changed
/// since (§8.4).
#[test]
fn a_failed_prescription_is_as_published() {
    let published = json(example!("08-release/acute-response.json"));
    let failed = &published["parameter"][1]["resource"];
    let order = Document::of(failed["entry"][1]["resource"].clone());
    let given = Given { nominated: "FCG75", nominated_type: "P1", ..given(&order, 1, 1, 1) };
    let ours = show(&[], &[given]);
    let found = differences(&numbered(&ours["parameter"][1]["resource"]), &numbered(failed));
    let header = ".entry[1].resource.entry[0].resource.destination[0].endpoint: ";
    assert_eq!(
        found,
        [format!(
            "{header}\"urn:nhs-uk:addressing:ods:FCG75\" / \
         \"https://directory.spineservices.nhs.uk/STU3/Organization/FCG75\""
        )]
    );
    assert_eq!(ours["parameter"][0]["resource"]["total"], 0);
    assert_eq!(ours["parameter"][0]["resource"]["entry"], json!([]));
}

#[test]
fn an_acute_order_comes_out_as_it_was_signed() {
    let order = document(example!("01-order-acute-nominated/order-request.json"));
    let mut given = Given { nominated: "FA565", nominated_type: "P1", ..given(&order, 1, 1, 1) };
    given.items[3].status = 5;
    let answer = show(&[given], &[]);
    let bundle = &answer["parameter"][0]["resource"]["entry"][0]["resource"];
    assert_eq!(bundle["identifier"]["value"], "46183abc-9fad-4673-85db-ce2cb6614732");
    assert_eq!(bundle["meta"]["lastUpdated"], "2022-10-20T00:00:00+00:00");
    let kinds: Vec<_> =
        bundle["entry"].as_array().unwrap().iter().map(|e| e["resource"]["resourceType"].as_str().unwrap()).collect();
    let request = ["MedicationRequest"; 4];
    let rest = ["Patient", "Practitioner", "PractitionerRole", "Organization", "Provenance"];
    assert_eq!(kinds, [&["MessageHeader"][..], &request, &rest].concat());
    let header = &bundle["entry"][0]["resource"];
    assert_eq!(
        header["destination"][0]["receiver"],
        json!({
            "identifier": {"system": "https://fhir.nhs.uk/Id/ods-organization-code", "value": "FA565"},
            "display": "ASDA INSTORE PHARMACY",
        })
    );
    assert_eq!(header["response"], json!({"identifier": "264fe32e-7217-43d2-8954-a87f9da514b8", "code": "ok"}));
    assert_eq!(header["focus"].as_array().unwrap().len(), 5);
    let items = items(&answer);
    let statuses: Vec<_> = items.iter().map(|i| i["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["active", "active", "active", "cancelled"]);
    let first = &items[0];
    assert_eq!(first["dosageInstruction"], json!([{"text": "2 times a day for 10 days"}]));
    assert_eq!(first["category"][0]["coding"][0]["code"], "outpatient");
    assert_eq!(first.get("basedOn"), None);
    assert_eq!(first["dispenseRequest"]["validityPeriod"], json!({"start": "2022-10-21"}));
    assert_eq!(first["dispenseRequest"]["performer"]["identifier"]["value"], "FA565");
    assert_eq!(first["dispenseRequest"]["numberOfRepeatsAllowed"], 0);
    let provenance = &bundle["entry"][9]["resource"];
    assert_eq!(provenance["recorded"], "2022-10-21T13:47:00+00:00");
    assert_eq!(provenance["signature"][0]["data"], sent_signature(&order));
    assert_eq!(provenance["target"].as_array().unwrap().len(), 9);
}

fn sent_signature(order: &Document) -> Value {
    order.of_kind("Provenance").next().unwrap().1["signature"][0]["data"].clone()
}

/// An issue of a repeat dispensing prescription (§5.5): the sixth of seven, with one item that is for five only.
#[test]
fn a_repeat_dispensing_issue_counts_from_zero() {
    let order = document(example!("04-order-erd/order-request.json"));
    let mut given = given(&order, 3, 6, 7);
    given.items[1].issues = 5;
    given.items[1].status = 6;
    given.last_dispensed = Some(at("2022-12-01T10:11:12Z"));
    let items = items(&show(&[given], &[]));
    let repeat = |item: &Value| item["basedOn"][0]["extension"][0]["extension"].clone();
    let numbers = |allowed: u32, issued: u32| {
        json!([
            {"url": "numberOfRepeatsAllowed", "valueInteger": allowed},
            {"url": "numberOfRepeatsIssued", "valueInteger": issued},
        ])
    };
    assert_eq!(repeat(&items[0]), numbers(6, 5));
    assert_eq!(repeat(&items[1]), numbers(4, 4));
    assert_eq!(
        items[0]["basedOn"][0]["reference"],
        format!("urn:uuid:{}", items[0]["identifier"][0]["value"].as_str().unwrap())
    );
    assert_eq!((&items[0]["intent"], &items[1]["status"]), (&json!("reflex-order"), &json!("stopped")));
    assert_eq!(items[0]["dispenseRequest"]["numberOfRepeatsAllowed"], 6);
    assert_eq!(items[0]["dispenseRequest"]["validityPeriod"], json!({"start": "2022-10-21", "end": "2022-11-21"}));
    assert_eq!(items[0]["courseOfTherapyType"]["coding"][0]["code"], "continuous-repeat-dispensing");
    let extensions = items[0]["extension"].as_array().unwrap();
    let of =
        |end: &str| extensions.iter().find(|e| e["url"].as_str().unwrap().ends_with(end)).unwrap()["extension"].clone();
    let issued = of("UKCore-MedicationRepeatInformation");
    assert_eq!(
        issued.as_array().unwrap().last(),
        Some(&json!({"url": "numberOfPrescriptionsIssued", "valueUnsignedInt": 6}))
    );
    assert_eq!(
        of("EPS-DispensingInformation"),
        json!([{"url": "dateLastDispensed", "valueDateTime": "2022-12-01T10:11:12+00:00"}])
    );
    // Without a nomination nobody is the receiver.
    let answer = show(&[self::given(&order, 3, 6, 7)], &[]);
    let header = &answer["parameter"][0]["resource"]["entry"][0]["resource"]["entry"][0]["resource"];
    assert_eq!(header.get("destination"), None);
    assert_eq!(items[0]["dispenseRequest"].get("performer"), None);
}

#[test]
fn a_repeat_prescription_is_one_of_one() {
    let order = document(example!("03-order-repeat-prescribing/order-request.json"));
    let items = items(&show(&[given(&order, 2, 1, 1)], &[]));
    assert_eq!(items[0]["intent"], "order");
    assert_eq!(items[0]["courseOfTherapyType"]["coding"][0]["code"], "continuous");
    assert_eq!(items[0]["basedOn"][0]["extension"][0]["extension"][0]["valueInteger"], 0);
    let review = &items[0]["extension"][2]["extension"];
    assert_eq!(
        *review,
        json!([
            {"url": "authorisationExpiryDate", "valueDateTime": "2023-04-07"},
            {"url": "numberOfPrescriptionsIssued", "valueUnsignedInt": 1},
        ])
    );
}

#[test]
fn words_notes_and_lists_come_back() {
    let drugs = document(example!("06-order-controlled-drug/order-request.json"));
    let shown = items(&show(&[given(&drugs, 1, 1, 1)], &[]));
    assert!(shown[0]["extension"].as_array().unwrap().contains(&json!({
        "url": "https://fhir.nhs.uk/StructureDefinition/Extension-DM-ControlledDrug",
        "extension": [{"url": "quantityWords", "valueString": "twenty eight"}],
    })));
    assert_eq!(shown[1]["note"], json!([{"text": "Dosage has been decreased on advice from the hospital."}]));
    let list = document(example!("04-order-erd/order-with-medication-list-request.json"));
    let answer = show(&[given(&list, 3, 1, 6)], &[]);
    let entries = &answer["parameter"][0]["resource"]["entry"][0]["resource"]["entry"];
    assert_eq!(entries[1]["resource"]["resourceType"], "CommunicationRequest");
    assert_eq!(entries[2]["resource"]["entry"].as_array().unwrap().len(), 2);
}

#[test]
fn several_instructions_become_one() {
    let order = document(example!("01-order-acute-nominated/order-multiple-dosage-request.json"));
    let shown = items(&show(&[given(&order, 1, 1, 1)], &[]));
    let twice = "2 times a day for 10 days, and 2 times a day for 10 days";
    assert_eq!(shown[0]["dosageInstruction"], json!([{"text": twice}]));
    let text = example!("01-order-acute-nominated/order-multiple-dosage-request.json");
    let later = text.replacen(r#""sequence": 1"#, r#""sequence": 2"#, 1).replacen("2 times a day", "later", 1);
    let shown = items(&show(&[given(&document(&later), 1, 1, 1)], &[]));
    let order = "2 times a day for 10 days, then later for 10 days";
    assert_eq!(shown[0]["dosageInstruction"], json!([{"text": order}]));
}

#[test]
fn a_quantity_keeps_its_digits() {
    let text = example!("01-order-acute-nominated/order-request.json");
    let text =
        text.replacen(r#""value": 20,"#, r#""value": 20.00,"#, 1).replacen(r#""value": 30,"#, r#""value": "30.0","#, 1);
    let answer = exact::write(&show(&[given(&document(&text), 1, 1, 1)], &[]));
    assert!(answer.contains(r#""value":20.00}"#), "{answer}");
    assert!(answer.contains(r#""value":30.0}"#), "{answer}");
    json(&answer);
}

/// A medication that stands in an entry of its own.
#[test]
fn a_medication_by_reference_becomes_its_code() {
    let mut bundle = json(example!("01-order-acute-nominated/order-request.json"));
    let concept = bundle["entry"][1]["resource"]["medicationCodeableConcept"].take();
    let resource = bundle["entry"][1]["resource"].as_object_mut().unwrap();
    resource.remove("medicationCodeableConcept");
    resource.insert("medicationReference".into(), json!({"reference": "urn:uuid:aaaa"}));
    let medication = json!({"fullUrl": "urn:uuid:aaaa", "resource": {"resourceType": "Medication", "code": concept}});
    bundle["entry"].as_array_mut().unwrap().push(medication);
    let shown = items(&show(&[given(&Document::of(bundle), 1, 1, 1)], &[]));
    assert_eq!(shown[0]["medicationCodeableConcept"]["coding"][0]["display"], "Amoxicillin 250mg capsules");
    assert_eq!(shown[0].get("medicationReference"), None);
}

/// What is missing is not shown, and never a panic.
#[test]
fn an_empty_document_breaks_nothing() {
    for bundle in
        [json!(null), json!({}), json!({"entry": [{}, 7, {"resource": {"resourceType": "MedicationRequest"}}]})]
    {
        let order = Document::of(bundle);
        let bare = Given { items: vec![], ..given_nothing(&order) };
        show(&[bare], &[given_nothing(&order)]);
    }
}

fn given_nothing(order: &Document) -> Given<'_> {
    Given {
        order,
        treatment: 3,
        prescribed_at: 0,
        issue: 0,
        items: vec![GivenItem { id: String::new(), status: 0, issues: 0 }],
        nominated: "",
        nominated_type: "",
        last_dispensed: None,
    }
}

/// What a release decided of a record is what is shown of it.
#[test]
fn a_record_is_shown_as_it_was_released() {
    use crate::services::eps::{
        record::{Id, Prescription},
        steps::Released,
    };
    let order = document(example!("04-order-erd/order-request.json"));
    let mut record: Prescription = super::tasks::record();
    for (at, (_, request)) in order.of_kind("MedicationRequest").enumerate() {
        let id = Id::read(request["identifier"][0]["value"].as_str().unwrap()).unwrap();
        record.items.truncate(at);
        record.items.push(crate::services::eps::record::LineItem { id, issues: 6, ..Default::default() });
    }
    let items_before = vec![7; record.items.len()];
    let released = Released {
        issue: 3,
        response: Id::NONE,
        items_before,
        last_dispensed: at("2021-07-06T10:11:12Z"),
        taken_back: 0,
    };
    let given = Given::of(&record, &released, &order);
    assert_eq!((given.issue, given.nominated, given.nominated_type, given.treatment), (3, "FA565", "P1", 3));
    let shown = items(&show(&[given], &[]));
    assert_eq!(shown.last().unwrap()["basedOn"][0]["extension"][0]["extension"][1]["valueInteger"], 2);
    assert_eq!(shown.last().unwrap()["status"], "active");
}
