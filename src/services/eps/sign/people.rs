//! The people of an order in its signed text (spec/eps.md §6.3): AgentPerson of the requester, recordTarget.

use super::{
    c14n::Writer,
    fragments::HL7,
    order::{Order, coding, first, identifier, list, text},
};
use serde_json::Value;

/// Root of ODS codes.
const ODS: &str = "1.2.826.0.1285.0.1.10";
const ODS_SYSTEM: &str = "https://fhir.nhs.uk/Id/ods-organization-code";
const ORGANISATION_TYPE: &str = "2.16.840.1.113883.2.1.3.2.4.17.94";
/// A patient's practice where the order does not say one (§5).
const UNKNOWN_PRACTICE: &str = "V81999";
/// Job roles: the first system that has one (§5.2).
const JOB_ROLES: [&str; 2] = [
    "https://fhir.nhs.uk/CodeSystem/NHSDigital-SDS-JobRoleCode",
    "https://fhir.hl7.org.uk/CodeSystem/UKCore-SDSJobRoleName",
];
const GMC: &str = "https://fhir.hl7.org.uk/Id/gmc-number";
/// Professional codes; an order has exactly one of them (§5.2).
const PROFESSIONAL: [&str; 5] = [
    GMC,
    "https://fhir.hl7.org.uk/Id/nmc-number",
    "https://fhir.hl7.org.uk/Id/gphc-number",
    "https://fhir.hl7.org.uk/Id/hcpc-number",
    "https://fhir.hl7.org.uk/Id/professional-code",
];

/// AgentPerson: who asked for the medicine, in which role, where.
pub fn requester(w: &mut Writer, order: &Order<'_>) {
    let role = order.resolve(&order.first_item()["requester"]);
    let person = order.resolve(&role["practitioner"]);
    let profile = identifier(&role["identifier"], "https://fhir.nhs.uk/Id/sds-role-profile-id");
    w.element("AgentPerson", &[("xmlns", HL7), ("classCode", "AGNT")], |w| {
        w.empty("id", &[("root", "1.2.826.0.1285.0.2.0.67"), ("extension", profile)]);
        w.empty("code", &[("codeSystem", "1.2.826.0.1285.0.2.1.104"), ("code", job_role(role))]);
        let own = list(&role["telecom"]);
        let contacts = if own.is_empty() { list(&person["telecom"]) } else { own };
        contacts.iter().for_each(|contact| telecom(w, contact));
        w.element("agentPerson", &[("classCode", "PSN"), ("determinerCode", "INSTANCE")], |w| {
            w.empty("id", &[("root", "1.2.826.0.1285.0.2.1.54"), ("extension", professional_code(person))]);
            name(w, first(&person["name"]));
        });
        organisation(w, order, role);
    });
}

fn job_role(role: &Value) -> &str {
    let of = |system: &&str| list(&role["code"]).iter().find_map(|concept| coding(concept, system));
    JOB_ROLES.iter().find_map(of).map_or("", |found| text(&found["code"]))
}

fn professional_code(person: &Value) -> &str {
    let of = |system: &&'static str| {
        Some((*system, identifier(&person["identifier"], system))).filter(|(_, c)| !c.is_empty())
    };
    match PROFESSIONAL.iter().find_map(of) {
        Some((GMC, code)) => code.strip_prefix('C').unwrap_or(code),
        Some((_, code)) => code,
        None => "",
    }
}

/// representedOrganization: the unit (HealthcareService of a trust, else the Organization) and its licence organisation.
fn organisation(w: &mut Writer, order: &Order<'_>, role: &Value) {
    let organisation = order.resolve(&role["organization"]);
    let service = order.resolve(first(&role["healthcareService"]));
    let (unit, address) = if service.is_object() {
        (service, &order.resolve(first(&service["location"]))["address"])
    } else {
        (organisation, first(&organisation["address"]))
    };
    w.element("representedOrganization", &[("classCode", "ORG"), ("determinerCode", "INSTANCE")], |w| {
        organisation_head(w, identifier(&unit["identifier"], ODS_SYSTEM), text(&unit["name"]));
        if let Some(contact) = list(&unit["telecom"]).first() {
            telecom(w, contact);
        }
        if address.is_object() {
            addr(w, address);
        }
        w.element("healthCareProviderLicense", &[("classCode", "PROV")], |w| {
            let (code, name) = licence(order, organisation);
            w.element("Organization", &[("classCode", "ORG"), ("determinerCode", "INSTANCE")], |w| {
                organisation_head(w, code, name);
            });
        });
    });
}

fn organisation_head(w: &mut Writer, code: &str, name: &str) {
    w.empty("id", &[("root", ODS), ("extension", code)]);
    w.empty("code", &[("code", "999"), ("codeSystem", ORGANISATION_TYPE)]);
    if !name.is_empty() {
        w.leaf("name", name);
    }
}

/// ODS code and name of the organisation above, named by identifier and display or by reference; else of the organisation itself.
fn licence<'a>(order: &Order<'a>, organisation: &'a Value) -> (&'a str, &'a str) {
    let above = &organisation["partOf"];
    if above["identifier"].is_object() {
        return (text(&above["identifier"]["value"]), text(&above["display"]));
    }
    let found = order.resolve(above);
    let one = if found.is_object() { found } else { organisation };
    (identifier(&one["identifier"], ODS_SYSTEM), text(&one["name"]))
}

/// A contact point: without blanks, and with `tel:` before it, whatever it is (§6.3).
fn telecom(w: &mut Writer, contact: &Value) {
    let usage = match text(&contact["use"]) {
        "home" => "HP",
        "work" => "WP",
        "temp" => "HV",
        "mobile" => "MC",
        _ => "",
    };
    let plain: String = text(&contact["value"]).chars().filter(|c| !c.is_whitespace()).collect();
    let value = if plain.starts_with("tel:") { plain } else { format!("tel:{plain}") };
    w.empty("telecom", &[("use", usage), ("value", &value)]);
}

fn name(w: &mut Writer, name: &Value) {
    let usage = match text(&name["use"]) {
        "usual" | "official" => "L",
        "temp" | "anonymous" => "A",
        "nickname" => "PREFERRED",
        "old" => "PREVIOUS",
        "maiden" => "PREVIOUS-MAIDEN",
        _ => "",
    };
    let all = |field: &str| list(&name[field]).iter().filter_map(Value::as_str).collect::<Vec<_>>();
    let (prefixes, given, suffixes) = (all("prefix"), all("given"), all("suffix"));
    let family = text(&name["family"]);
    w.element("name", &[("use", usage)], |w| {
        prefixes.iter().for_each(|one| w.leaf("prefix", one));
        given.iter().for_each(|one| w.leaf("given", one));
        if !family.is_empty() {
            w.leaf("family", family);
        }
        suffixes.iter().for_each(|one| w.leaf("suffix", one));
        if prefixes.is_empty() && given.is_empty() && family.is_empty() && suffixes.is_empty() {
            w.text(text(&name["text"]));
        }
    });
}

fn addr(w: &mut Writer, address: &Value) {
    let usage = match text(&address["use"]) {
        "home" => "H",
        "work" => "WP",
        "temp" => "TMP",
        "billing" => "PST",
        _ => "",
    };
    w.element("addr", &[("use", usage)], |w| {
        let lines = list(&address["line"]).iter();
        for line in lines.chain([&address["city"], &address["district"], &address["state"]]) {
            if !text(line).is_empty() {
                w.leaf("streetAddressLine", text(line));
            }
        }
        if let Some(code) = address["postalCode"].as_str() {
            w.leaf("postalCode", code);
        }
    });
}

/// recordTarget: whom it is for.
pub fn patient(w: &mut Writer, order: &Order<'_>) {
    let Some((_, patient)) = order.of_type("Patient").next() else { return };
    let number = identifier(&patient["identifier"], "https://fhir.nhs.uk/Id/nhs-number");
    w.element("recordTarget", &[("xmlns", HL7), ("typeCode", "RCT")], |w| {
        w.element("Patient", &[("classCode", "PAT")], |w| {
            w.empty("id", &[("root", "2.16.840.1.113883.2.1.4.1"), ("extension", number)]);
            list(&patient["address"]).iter().for_each(|one| addr(w, one));
            list(&patient["telecom"]).iter().for_each(|one| telecom(w, one));
            w.element("patientPerson", &[("classCode", "PSN"), ("determinerCode", "INSTANCE")], |w| {
                list(&patient["name"]).iter().for_each(|one| name(w, one));
                let gender = match text(&patient["gender"]) {
                    "male" => "1",
                    "female" => "2",
                    "other" => "9",
                    "unknown" => "0",
                    _ => "",
                };
                let system = "2.16.840.1.113883.2.1.3.2.4.16.25";
                w.empty("administrativeGenderCode", &[("code", gender), ("codeSystem", system)]);
                w.empty("birthTime", &[("value", &text(&patient["birthDate"]).replace('-', ""))]);
                practice(w, patient);
            });
        });
    });
}

/// playedProviderPatient: the practice that cares for the patient.
fn practice(w: &mut Writer, patient: &Value) {
    let said = text(&first(&patient["generalPractitioner"])["identifier"]["value"]);
    let code = if said.is_empty() { UNKNOWN_PRACTICE } else { said };
    w.element("playedProviderPatient", &[("classCode", "PAT")], |w| {
        w.element("subjectOf", &[("typeCode", "SBJ")], |w| {
            w.element("patientCareProvision", &[("classCode", "PCPR"), ("moodCode", "EVN")], |w| {
                w.empty("code", &[("code", "1"), ("codeSystem", "2.16.840.1.113883.2.1.3.2.4.17.37")]);
                w.element("responsibleParty", &[("typeCode", "RESP")], |w| {
                    w.element("healthCareProvider", &[("classCode", "PROV")], |w| {
                        w.empty("id", &[("root", ODS), ("extension", code)]);
                    });
                });
            });
        });
    });
}
