//! What is odd about some people, and what programs stumble over therefore: names of one part, of full length, with an apostrophe;
//! birth dates of which only a part is known; records of hardly anything; namesakes; cards, contacts, choices.

use super::{
    luck::Luck,
    person::{Household, Member},
};
use crate::{model::NhsNumber, services::pds::fhir};
use serde_json::{Map, Value, json};

/// 35 characters, the most that a name holds.
const LONGEST: &str = "Featherstonehaugh-Cholmondeley-Wyke";

/// Changes a person's line here and there.
pub fn make(line: &mut Value, member: &Member, mother: Option<NhsNumber>, luck: &mut Luck) {
    let Some(line) = line.as_object_mut() else { return };
    if let Some(mother) = mother.filter(|_| member.is_child() && luck.percent(60)) {
        let mother = json!([{"id": luck.id(), "active": true,
            "patient": {"type": "Patient", "identifier": {"system": fhir::NHS_NUMBER, "value": mother.digits()},
                "reference": format!("Patient/{}", mother.digits())},
            "relationship": [{"coding": [
                {"system": "https://fhir.nhs.uk/R4/CodeSystem/UKCore-AdditionalRelatedPersonRole", "code": "Guardian",
                 "display": "Guardian of patient"},
                {"system": "http://hl7.org/fhir/ValueSet/relatedperson-relationshiptype", "code": "MTH", "display": "mother"}]}]}]);
        line.insert("relatedPersons".into(), mother);
    }
    if luck.one_in(500) {
        line.insert("coverage".into(), card(line, luck));
    }
    let secret = line.contains_key("confidential");
    let Some(resource) = line.get_mut("resource").and_then(Value::as_object_mut) else { return };
    if luck.one_in(1_200) {
        // All that an old system knew.
        resource.retain(|member, _| ["resourceType", "id", "meta"].contains(&member.as_str()));
        return;
    }
    name(resource, luck);
    born(resource, luck);
    choices(resource, luck);
    if !secret {
        contacts(resource, luck);
    }
}

fn name(resource: &mut Map<String, Value>, luck: &mut Luck) {
    let Some(name) = resource.get_mut("name").and_then(|names| names.get_mut(0)).and_then(Value::as_object_mut) else {
        return;
    };
    match luck.below(1_000) {
        0 | 1 => {
            name.remove("given");
        }
        2 | 3 => {
            name.insert("family".into(), json!(LONGEST));
        }
        4..=13 => {
            let family = luck.pick(&["O'Brien", "O'Connor", "O'Neill", "D'Souza", "M'Baye"]);
            name.insert("family".into(), json!(family));
        }
        14..=16 => {
            name.insert("suffix".into(), json!([luck.pick(&["MBE", "OBE", "PhD", "Junior"])]));
        }
        _ => {}
    }
}

/// Old records know a year, or a year and a month.
fn born(resource: &mut Map<String, Value>, luck: &mut Luck) {
    let Some(Value::String(day)) = resource.get_mut("birthDate") else { return };
    if day.as_str() < "1950" && luck.one_in(150) {
        day.truncate(if luck.percent(50) { 4 } else { 7 });
    }
}

fn push(resource: &mut Map<String, Value>, list: &str, item: Value) {
    match resource.entry(list.to_owned()).or_insert_with(|| json!([])) {
        Value::Array(items) => items.push(item),
        other => *other = json!([item]),
    }
}

fn coded(url: &str, system: &str, code: &str, display: &str) -> Value {
    json!({"url": url, "valueCodeableConcept": {"coding": [{"system": system, "code": code, "display": display}]}})
}

fn choices(resource: &mut Map<String, Value>, luck: &mut Luck) {
    if luck.one_in(100) {
        let (code, display) = [("1", "Letter"), ("3", "Telephone"), ("4", "E-mail"), ("8", "No Telephone contact")]
            [luck.below(4) as usize];
        let system = "https://fhir.hl7.org.uk/CodeSystem/UKCore-PreferredContactMethod";
        let mut parts = vec![coded("PreferredContactMethod", system, code, display)];
        if luck.percent(30) {
            parts.push(json!({"url": "PreferredContactTimes", "valueString": "Not after 7pm"}));
        }
        push(resource, "extension", json!({"url": fhir::CONTACT_PREFERENCE, "extension": parts}));
    }
    if luck.one_in(60) {
        let coding = |code: &str, display: &str| json!({"coding": [{"code": code, "display": display}]});
        let (code, display) = if luck.percent(50) { ("1", "consent") } else { ("2", "dissent") };
        push(
            resource,
            "extension",
            json!({"url": fhir::CONSENT, "extension": [
            {"url": "consentType", "valueCodeableConcept": coding("4", "ncrs")},
            {"url": "consentValue", "valueCodeableConcept": coding(code, display)}]}),
        );
    }
}

fn contacts(resource: &mut Map<String, Value>, luck: &mut Luck) {
    if luck.one_in(30) {
        let phone = format!("07700900{:03}", luck.below(1_000));
        push(
            resource,
            "contact",
            json!({"id": luck.id(), "relationship": [{"coding": [{
            "system": "http://terminology.hl7.org/CodeSystem/v2-0131", "code": "C", "display": "Emergency Contact"}]}],
            "telecom": [{"system": "phone", "value": phone}]}),
        );
    }
    if luck.one_in(400) {
        let phone = format!("01632960{:03}", luck.below(1_000));
        push(
            resource,
            "telecom",
            json!({"id": luck.id(), "system": "other", "use": "home", "value": phone,
            "period": {"start": "2015-01-01"},
            "extension": [{"url": "https://fhir.hl7.org.uk/StructureDefinition/Extension-UKCore-OtherContactSystem",
                "valueCoding": {"system": "https://fhir.hl7.org.uk/CodeSystem/UKCore-OtherContactSystem", "code": "textphone",
                    "display": "Minicom (Textphone)"}}]}),
        );
    }
    if luck.one_in(300) {
        push(
            resource,
            "address",
            json!({"id": luck.id(), "use": "billing", "period": {"start": "2026-01-01", "end": "2026-12-01"},
            "line": ["", format!("{} Quay Street", luck.between(1, 90)), "", "Leeds", ""], "postalCode": "LS1 4AP"}),
        );
    }
    if luck.one_in(25) {
        let (city, district) =
            [("Manchester", "Greater Manchester"), ("Leeds", "West Yorkshire"), ("Swansea", "West Glamorgan")]
                [luck.below(3) as usize];
        let country = if city == "Swansea" { "3" } else { "1" };
        push(
            resource,
            "extension",
            json!({"url": fhir::BIRTH_PLACE,
            "valueAddress": {"city": city, "district": district, "country": country}}),
        );
    }
}

fn card(line: &Map<String, Value>, luck: &mut Luck) -> Value {
    let (code, display) = [("FRA", "France"), ("ESP", "Spain"), ("DEU", "Germany")][luck.below(3) as usize];
    json!({"versionId": "1", "resource": {
        "resourceType": "Coverage", "status": "active",
        "subscriber": {"type": "Patient", "identifier": {"system": fhir::NHS_NUMBER, "value": line["nhsNumber"]}},
        "identifier": [{"value": format!("ES{:010}", luck.below(10_000_000_000)),
            "assigner": {"display": display, "identifier": {"system": "urn:iso:std:iso:3166", "value": code}}}],
        "payor": [{"identifier": {"value": format!("ES{:05}", luck.below(100_000))}}],
        "beneficiary": {"type": "Patient", "identifier": {"value": format!("{:010}", luck.below(10_000_000_000))}},
        "period": {"end": "2030-03-03"}}})
}

/// A person of the same name, gender and birth date as the one of a line, in another household.
pub fn namesake(line: &Value, household: &Household, number: NhsNumber, luck: &mut Luck) -> Value {
    let mut resource = Map::new();
    resource.insert("resourceType".into(), json!("Patient"));
    resource.insert("id".into(), json!(number.digits()));
    resource.insert("meta".into(), json!({"versionId": "1", "security": [{"code": "U"}]}));
    for member in ["name", "gender", "birthDate"] {
        if let Some(value) = line["resource"].get(member) {
            resource.insert(member.into(), value.clone());
        }
    }
    let mut home = household.address.clone();
    home["id"] = json!(luck.id());
    home["use"] = json!("home");
    home["period"] = json!({"start": "2019-05-01"});
    resource.insert("address".into(), json!([home]));
    json!({"nhsNumber": number.digits(), "resource": resource})
}
