//! What is hashed, against the published texts.

use super::{example, find, json, xml};
use crate::model::time::parse_compact;
use crate::services::eps::sign::{
    Algorithm, Digits, base64,
    c14n::{Writer, canonical},
    fragments::fragments,
    prepare::{prepare, signed_info_of},
};
use crate::wire::xml::Element;
use serde_json::{Value, json as value};

/// FragmentsToBeHashed out of an HL7 v3 prescription: what a system that stores that form hashes.
pub fn fragments_of_hl7(document: &str) -> (String, u64) {
    let document = xml(document);
    let prescription = find(&document, "pertinentPrescription").unwrap();
    let author = prescription.child("author").unwrap();
    let mut parts: Vec<Vec<&Element>> = vec![
        vec![author.child("time").unwrap(), prescription.child("id").unwrap()],
        vec![author.child("AgentPerson").unwrap()],
        vec![find(&document, "recordTarget").unwrap()],
    ];
    let items = prescription.children.iter().filter(|child| child.name == "pertinentInformation2");
    parts.extend(items.map(|item| vec![item.child("pertinentLineItem").unwrap()]));
    let mut text = String::from("<FragmentsToBeHashed>");
    for part in parts {
        let written: Vec<String> = part.into_iter().map(|one| canonical(&signed_part(one))).collect();
        text += &format!("<Fragment>{}</Fragment>", written.concat());
    }
    let at = parse_compact(author.child("time").unwrap().attribute("value")).unwrap();
    (text + "</FragmentsToBeHashed>", at)
}

/// In the namespace of HL7 v3, without what may change from issue to issue.
fn signed_part(element: &Element) -> Element {
    let mut part = element.clone();
    part.namespace = "urn:hl7-org:v3".to_owned();
    if part.name == "pertinentLineItem" {
        part.children.retain(|child| child.name != "pertinentInformation4");
    }
    if part.name == "repeatNumber" {
        part.children.retain(|child| child.name != "low");
    }
    part.children = part.children.iter().map(signed_part).collect();
    part
}

fn of(text: &str, at: u64) -> String {
    fragments(&json(text), &Digits::of(text), at)
}

#[test]
fn the_published_vector_comes_out_byte_for_byte() {
    let request = example!("14-signature/prepare-request-of-fixture.json");
    // Fragment 1 of the vector was made for another id (spec/eps.md §6.3).
    let request = request.replace("5f3b444b-9378-4597-ab49-194ebfd05439", "f5012e83-bd9e-4866-b453-86f75aee2bd6");
    let at = parse_compact("20201218123434").unwrap();
    assert_eq!(of(&request, at), example!("14-signature/fragments-canonical.txt").trim_end());
    assert_eq!(canonical(&xml(example!("14-signature/fragments.xml"))), of(&request, at));
}

#[test]
fn orders_agree_with_their_published_hl7_v3_form() {
    for (order, hl7) in [
        (
            example!("01-order-acute-nominated/order-request.json"),
            example!("01-order-acute-nominated/order-as-hl7v3.xml"),
        ),
        (
            example!("02-order-acute-no-nomination/order-request.json"),
            example!("02-order-acute-no-nomination/order-as-hl7v3.xml"),
        ),
        (
            example!("05-order-secondary-care-four-items/order-request.json"),
            example!("05-order-secondary-care-four-items/order-as-hl7v3.xml"),
        ),
        (
            example!("06-order-controlled-drug/order-request.json"),
            example!("06-order-controlled-drug/order-as-hl7v3.xml"),
        ),
    ] {
        let (expected, at) = fragments_of_hl7(hl7);
        assert_eq!(of(order, at), expected);
    }
}

#[test]
fn prepare_answers_in_the_published_shape() {
    let published = json(example!("01-order-acute-nominated/prepare-response.json"));
    let request = example!("01-order-acute-nominated/prepare-request.json");
    let at = crate::model::time::parse_iso("2024-12-09T11:50:04.900+00:00").unwrap();
    let answer = prepare(&json(request), &Digits::of(request), at, Algorithm::Rs256);
    let decoded = |v: &Value| {
        let text = v["parameter"][0]["valueString"].as_str().unwrap().to_owned();
        String::from_utf8(base64::decode(&text).unwrap()).unwrap()
    };
    let without_value = |text: String| text.split("<DigestValue>").next().unwrap().to_owned();
    assert_eq!(without_value(decoded(&answer)), without_value(decoded(&published)));
    assert_eq!(decoded(&answer), signed_info_of(&of(request, at), Algorithm::Rs256));
    assert_eq!(answer["parameter"][1], published["parameter"][1]);
    assert_eq!(answer["parameter"][2], published["parameter"][2]);
    let names: Vec<&Value> = answer["parameter"].as_array().unwrap().iter().map(|p| &p["name"]).collect();
    assert_eq!(names, ["digest", "timestamp", "algorithm"]);
    assert_eq!(prepare(&json(request), &Digits::default(), at, Algorithm::Rs1)["parameter"][2]["valueString"], "RS1");
}

/// The order of two items with a list of medicines and messages to the patient.
fn changed(change: impl FnOnce(&mut Value)) -> String {
    let mut order = json(example!("04-order-erd/order-with-medication-list-request.json"));
    change(&mut order);
    fragments(&order, &Digits::default(), 0)
}

fn item(order: &mut Value, n: usize) -> &mut Value {
    let entries = order["entry"].as_array_mut().unwrap();
    &mut entries.iter_mut().filter(|e| e["resource"]["resourceType"] == "MedicationRequest").nth(n).unwrap()["resource"]
}

#[test]
fn instructions_go_to_the_first_item_and_are_escaped_twice() {
    let text = changed(|order| {
        item(order, 0)["note"] = value!([{"text": "a & b"}]);
        let drug = value!({
            "url": "https://fhir.nhs.uk/StructureDefinition/Extension-DM-ControlledDrug",
            "extension": [{"url": "quantityWords", "valueString": "two <2>"}]
        });
        item(order, 0)["extension"].as_array_mut().unwrap().push(drug);
        item(order, 1)["note"] = value!([{"text": "second"}]);
    });
    let values: Vec<&str> = text.split("<value>").skip(1).map(|v| v.split("</value>").next().unwrap()).collect();
    assert_eq!(
        values[0],
        "&lt;medication&gt;Bendroflumethiazide 2.5mg tablets (3/6)&lt;/medication&gt;&lt;medication&gt;Salbutamol \
         100micrograms/dose inhaler CFC free (2/6)&lt;/medication&gt;&lt;patientInfo&gt;Due to Coronavirus restrictions \
         Church View Surgery is CLOSED until further notice&lt;/patientInfo&gt;CD: two &amp;lt;2&amp;gt;\na &amp;amp; b"
    );
    assert_eq!(values[2], "second");
}

#[test]
fn doses_are_joined_by_their_sequence() {
    let text = changed(|order| {
        item(order, 0)["dosageInstruction"] = value!([
            {"sequence": 2, "text": "c"}, {"sequence": "1", "text": "a"}, {"sequence": 1, "text": "b"},
        ]);
    });
    assert!(text.contains("<value>a, and b, then c</value>"), "{text}");
    assert_eq!(text.matches("<high value=\"").count(), 2);
}

#[test]
fn repeats_are_signed_when_all_items_are_of_one_kind() {
    let with = |codes: [&str; 2], repeats: Value| {
        changed(|order| {
            for (n, code) in codes.iter().enumerate() {
                item(order, n)["courseOfTherapyType"] = value!({"coding": [{"code": code}]});
                item(order, n)["dispenseRequest"]["numberOfRepeatsAllowed"] = repeats.clone();
            }
        })
    };
    let erd = "continuous-repeat-dispensing";
    for (codes, repeats, high) in [
        (["acute", "acute"], value!(5), None),
        (["continuous", "continuous"], value!(5), Some("1")),
        (["continuous", "acute"], value!(5), None),
        ([erd, erd], value!(5), Some("6")),
        ([erd, erd], value!("98"), Some("99")),
        ([erd, erd], Value::Null, None),
    ] {
        let text = with(codes, repeats);
        let found = text.split("<high value=\"").nth(1).map(|rest| rest.split('"').next().unwrap());
        assert_eq!(found, high, "{codes:?}");
    }
}

#[test]
fn quantities_are_signed_with_their_digits() {
    let plain = example!("02-order-acute-no-nomination/prepare-request.json");
    let number = json(plain)["entry"][1]["resource"]["dispenseRequest"]["quantity"]["value"].to_string();
    for digits in ["63", "63.0", "1.50", "1e2", "0.10", "\"7.00\""] {
        let text = plain.replacen(&format!("\"value\": {number},"), &format!("\"value\": {digits},"), 1);
        assert_ne!(text, plain);
        let shown = format!("<quantity unit=\"1\" value=\"{}\">", digits.trim_matches('"'));
        assert!(of(&text, 0).contains(&shown), "{digits}");
    }
}

#[test]
fn a_unit_of_a_trust_signs_with_its_own_name_and_the_trusts_licence() {
    let text = changed(|order| {
        let role = order["entry"]
            .as_array_mut()
            .unwrap()
            .iter_mut()
            .find(|e| e["resource"]["resourceType"] == "PractitionerRole");
        role.unwrap()["resource"]["healthcareService"] = value!([{"reference": "urn:uuid:s"}]);
        let ods = "https://fhir.nhs.uk/Id/ods-organization-code";
        let more = [
            value!({"fullUrl": "urn:uuid:s", "resource": {"resourceType": "HealthcareService", "name": "Ward",
                "identifier": [{"system": ods, "value": "RBA01"}], "location": [{"reference": "urn:uuid:l"}],
                "telecom": [{"use": "work", "value": "020 7946 0000"}]}}),
            value!({"fullUrl": "urn:uuid:l", "resource": {"resourceType": "Location", "address": {"use": "work", "line": ["1", ""],
                "city": "Taunton", "postalCode": "TA1 5DA"}}}),
        ];
        order["entry"].as_array_mut().unwrap().extend(more);
    });
    assert!(
        text.contains(
            "<id extension=\"RBA01\" root=\"1.2.826.0.1285.0.1.10\"></id><code code=\"999\" \
             codeSystem=\"2.16.840.1.113883.2.1.3.2.4.17.94\"></code><name>Ward</name><telecom use=\"WP\" \
             value=\"tel:02079460000\"></telecom><addr use=\"WP\"><streetAddressLine>1</streetAddressLine>\
             <streetAddressLine>Taunton</streetAddressLine><postalCode>TA1 5DA</postalCode></addr>\
             <healthCareProviderLicense classCode=\"PROV\"><Organization classCode=\"ORG\" determinerCode=\"INSTANCE\">\
             <id extension=\"84H\""
        ),
        "{text}"
    );
}

fn resource<'a>(order: &'a mut Value, kind: &str) -> &'a mut Value {
    let entries = order["entry"].as_array_mut().unwrap();
    &mut entries.iter_mut().find(|e| e["resource"]["resourceType"] == kind).unwrap()["resource"]
}

/// What is changed in an order, and what its text then holds and did not before.
type Case<'a> = (&'a dyn Fn(&mut Value), &'a str);

fn hold(cases: &[Case<'_>]) {
    for (change, expected) in cases {
        let text = changed(|order| {
            assert!(!fragments(order, &Digits::default(), 0).contains(expected), "there before: {expected}");
            change(order);
        });
        assert!(text.contains(expected), "{expected} not in {text}");
    }
}

#[test]
fn people_that_the_published_orders_do_not_have_are_written_as_the_tables_say() {
    let cases: &[Case<'_>] = &[
        (&|o| resource(o, "Practitioner")["identifier"][1]["value"] = value!("C6095104"), "<id extension=\"6095104\""),
        (
            &|o| {
                resource(o, "Practitioner")["identifier"] =
                    value!([{"system": "https://fhir.hl7.org.uk/Id/nmc-number", "value": "C12"}])
            },
            "<id extension=\"C12\"",
        ),
        (
            &|o| {
                resource(o, "PractitionerRole")["telecom"] = Value::Null;
                resource(o, "Practitioner")["telecom"] = value!([{"use": "mobile", "value": "tel:07 700"}]);
            },
            "<telecom use=\"MC\" value=\"tel:07700\">",
        ),
        (
            &|o| resource(o, "PractitionerRole")["code"] = value!([{"coding": [{"system": "https://fhir.hl7.org.uk/CodeSystem/UKCore-SDSJobRoleName", "code": "R1"}]}]),
            "<code code=\"R1\" codeSystem=\"1.2.826.0.1285.0.2.1.104\">",
        ),
        (
            &|o| resource(o, "Practitioner")["name"] = value!([{"use": "maiden", "text": "A & B"}]),
            "<name use=\"PREVIOUS-MAIDEN\">A &amp; B</name>",
        ),
        (
            &|o| resource(o, "Patient")["name"] = value!([{"use": "old", "text": "x", "family": "F", "suffix": ["S"]}]),
            "<name use=\"PREVIOUS\"><family>F</family><suffix>S</suffix></name>",
        ),
        (
            &|o| {
                resource(o, "Patient")["telecom"] =
                    value!([{"use": "home", "value": "1"}, {"use": "temp", "value": "2"}])
            },
            "</addr><telecom use=\"HP\" value=\"tel:1\"></telecom><telecom use=\"HV\" value=\"tel:2\"></telecom><patientPerson",
        ),
    ];
    hold(cases);
}

#[test]
fn parts_that_the_published_orders_do_not_have_are_written_as_the_tables_say() {
    let more = |order: &mut Value, entry: Value| order["entry"].as_array_mut().unwrap().push(entry);
    let cases: &[Case<'_>] = &[
        (&|o| resource(o, "Patient")["generalPractitioner"] = Value::Null, "<id extension=\"V81999\""),
        (&|o| resource(o, "Patient")["gender"] = value!("unknown"), "<administrativeGenderCode code=\"0\""),
        (
            &|o| {
                resource(o, "Patient")["address"] =
                    value!([{"use": "billing", "line": ["1"], "state": "S", "district": "D"}])
            },
            "<addr use=\"PST\"><streetAddressLine>1</streetAddressLine><streetAddressLine>D</streetAddressLine>\
             <streetAddressLine>S</streetAddressLine></addr>",
        ),
        (
            &|o| {
                resource(o, "Organization")["partOf"] = value!({"reference": "urn:uuid:p"});
                let ods = "https://fhir.nhs.uk/Id/ods-organization-code";
                let above = value!({"name": "Above", "identifier": [{"system": ods, "value": "ABV"}]});
                more(o, value!({"fullUrl": "urn:uuid:p", "resource": above}));
            },
            "<Organization classCode=\"ORG\" determinerCode=\"INSTANCE\"><id extension=\"ABV\" root=\"1.2.826.0.1285.0.1.10\">\
             </id><code code=\"999\" codeSystem=\"2.16.840.1.113883.2.1.3.2.4.17.94\"></code><name>Above</name>",
        ),
        (
            &|o| resource(o, "Organization")["partOf"] = Value::Null,
            "<Organization classCode=\"ORG\" determinerCode=\"INSTANCE\"><id extension=\"A83008\"",
        ),
        (
            &|o| {
                item(o, 1)["medicationCodeableConcept"] = Value::Null;
                item(o, 1)["medicationReference"] = value!({"reference": "urn:uuid:m"});
                let coding =
                    value!([{"system": "x"}, {"system": "https://snomed.info/sct", "code": "77", "display": "M"}]);
                more(
                    o,
                    value!({"fullUrl": "urn:uuid:m", "resource": {"resourceType": "Medication", "code": {"coding": coding}}}),
                );
            },
            "<code code=\"77\" codeSystem=\"2.16.840.1.113883.2.1.3.2.4.15\" displayName=\"M\">",
        ),
    ];
    hold(cases);
}

#[test]
fn a_writer_writes_nothing_for_what_is_not_there() {
    let mut w = Writer::new();
    w.empty("telecom", &[("use", "")]);
    assert_eq!(w.finish(), "<telecom></telecom>");
}
