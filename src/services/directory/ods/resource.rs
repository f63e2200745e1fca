//! Rows as FHIR R4 resources (directory.md §C.1, element rules), members in the order of the published examples.

use crate::{
    model::day,
    services::directory::{
        code_lists,
        organisation::{Period, Relationship, Role},
        rows::Organisation,
    },
    wire::tree::{Members, Node},
};

pub const ODS: &str = "https://fhir.nhs.uk/Id/ods-organization-code";
pub const ROLE_SYSTEM: &str =
    "https://digital.nhs.uk/services/organisation-data-service/CodeSystem/ODSOrganisationRole";
pub const USE_SYSTEM: &str = "https://fhir.nhs.uk/England/CodeSystem/England-ODSRecordUseType";
pub const CLASS_SYSTEM: &str = "https://digital.nhs.uk/services/organisation-data-service/CodeSystem/ODSRecordClass";
pub const INSTANCE_SYSTEM: &str =
    "https://digital.nhs.uk/services/organisation-data-service/CodeSystem/organization-relationship-instance";
const RELATIONSHIP_SYSTEM: &str =
    "https://digital.nhs.uk/services/organisation-data-service/CodeSystem/ODSRelationship";
const TYPED_PERIOD: &str = "https://fhir.nhs.uk/England/StructureDefinition/Extension-England-TypedPeriod";
const TYPED_DATE: &str = "https://fhir.nhs.uk/England/StructureDefinition/Extension-England-TypedDateTime";
const ORGANISATION_ROLE: &str = "https://fhir.nhs.uk/England/StructureDefinition/Extension-England-OrganisationRole";
const PERIOD_SYSTEM: &str = "https://fhir.nhs.uk/England/CodeSystem/England-PeriodType";
const DATE_SYSTEM: &str = "https://fhir.nhs.uk/England/CodeSystem/England-ODSDateTime";
const ADDRESS_KEY: &str = "https://fhir.hl7.org.uk/StructureDefinition/Extension-UKCore-AddressKey";
const ADDRESS_KEY_SYSTEM: &str = "https://fhir.hl7.org.uk/CodeSystem/UKCore-AddressKeyType";

fn extension(url: &str, name: &'static str, value: impl Into<Node>) -> Node {
    Members::new().with("url", url).with(name, value).into()
}

pub fn coding(system: &str, code: &str, display: &str) -> Node {
    Members::new().with("system", system).with("code", code).text("display", display).into()
}

fn concept(coding: Node) -> Node {
    Members::new().with("coding", vec![coding]).into()
}

pub fn period(period: &Period) -> Node {
    Members::new().text("start", &day::text(period.start)).text("end", &day::text(period.end)).into()
}

fn is_empty(period: &Period) -> bool {
    period.start == 0 && period.end == 0
}

/// One extension for each period that is known.
fn typed_periods(legal: &Period, operational: &Period) -> Vec<Node> {
    let typed = |kind: &str, of: &Period| {
        let parts = vec![
            extension("dateType", "valueCoding", coding(PERIOD_SYSTEM, kind, kind)),
            extension("period", "valuePeriod", period(of)),
        ];
        extension(TYPED_PERIOD, "extension", parts)
    };
    let both = [("Legal", legal), ("Operational", operational)];
    both.into_iter().filter(|(_, of)| !is_empty(of)).map(|(kind, of)| typed(kind, of)).collect()
}

fn role(role: &Role) -> Node {
    let code = coding(ROLE_SYSTEM, &role.code, code_lists::role_name(&role.code));
    let mut parts = vec![
        extension("instanceID", "valueInteger", Node::Int(role.id as i64)),
        extension("roleCode", "valueCodeableConcept", concept(code)),
    ];
    parts.extend(typed_periods(&role.legal, &role.operational));
    parts.push(extension("active", "valueBoolean", !role.inactive));
    extension(ORGANISATION_ROLE, "extension", parts)
}

fn address(row: &Organisation) -> Option<Node> {
    let place = &row.address;
    let key = (!place.uprn.is_empty()).then(|| {
        let kind = coding(ADDRESS_KEY_SYSTEM, "UPRN", "Unique Property Reference Number");
        let parts = vec![
            extension("type", "valueCodeableConcept", concept(kind)),
            extension("value", "valueString", place.uprn.as_str()),
        ];
        extension(ADDRESS_KEY, "extension", parts)
    });
    let members = Members::new()
        .list("extension", key.into_iter().collect())
        .list("line", place.lines.iter().map(|line| line.as_str().into()).collect())
        .text("city", &place.town)
        .text("district", &place.county)
        .text("postalCode", &place.postcode)
        .text("country", &place.country);
    let node = Node::from(members);
    (node != Node::Object(vec![])).then_some(node)
}

/// The ways to reach an organisation, in FHIR's words.
pub fn telecom(row: &Organisation) -> Vec<Node> {
    let one = |kind: &str, value: &str| {
        let system = match kind {
            "http" => "url",
            "mail" => "email",
            "fax" => "fax",
            _ => "phone",
        };
        Members::new().with("system", system).with("value", value).into()
    };
    row.contacts.iter().map(|contact| one(&contact.kind, &contact.value)).collect()
}

pub fn organization(ods: &str, row: &Organisation) -> Node {
    let mut extensions: Vec<Node> = row.roles.iter().map(role).collect();
    if row.last_change != 0 {
        let parts = vec![
            extension("type", "valueCoding", coding(DATE_SYSTEM, "LastChangeDate", "Last Change Date")),
            extension("dateTime", "valueDateTime", day::text(row.last_change)),
        ];
        extensions.push(extension(TYPED_DATE, "extension", parts));
    }
    extensions.extend(typed_periods(&row.legal, &row.operational));
    let authority = if row.authority.is_empty() { "HSCIC" } else { &row.authority };
    let identifier = Members::new().with("use", "official").with("system", ODS).with("value", ods);
    let identifier = identifier.with("assigner", Members::new().with("display", authority));
    let used = if row.ref_only { "RefOnly" } else { "Full" };
    let class = format!("RC{}", row.class());
    let class_name = code_lists::record_class(&class).map_or("", |c| c.name);
    let types = vec![concept(coding(USE_SYSTEM, used, used)), concept(coding(CLASS_SYSTEM, &class, class_name))];
    Members::new()
        .with("resourceType", "Organization")
        .with("id", ods)
        .list("extension", extensions)
        .with("identifier", vec![identifier.into()])
        .with("active", !row.inactive)
        .with("type", types)
        .with("name", row.name.as_str())
        .list("telecom", if row.ref_only { vec![] } else { telecom(row) })
        .list("address", address(row).into_iter().collect())
        .into()
}

/// A relationship, of the organisation `source`.
pub fn affiliation(source: &str, relationship: &Relationship) -> Node {
    let party = |ods: &str| {
        let identifier = Members::new().with("system", ODS).with("value", ods);
        Members::new().with("reference", format!("Organization/{ods}")).with("identifier", identifier)
    };
    let id = relationship.id.to_string();
    let identifier = Members::new().with("system", INSTANCE_SYSTEM).with("value", id.as_str());
    let when = if is_empty(&relationship.operational) { &relationship.legal } else { &relationship.operational };
    let name = code_lists::relationship_name(&relationship.code);
    let mut members = Members::new()
        .with("resourceType", "OrganizationAffiliation")
        .with("id", id.as_str())
        .list("extension", typed_periods(&relationship.legal, &relationship.operational))
        .with("identifier", vec![identifier.into()])
        .with("active", !relationship.inactive);
    if !is_empty(when) {
        members = members.with("period", period(when));
    }
    members
        .with("organization", party(source))
        .with("participatingOrganization", party(&relationship.target))
        .with("code", vec![concept(coding(RELATIONSHIP_SYSTEM, &relationship.code, name))])
        .into()
}
