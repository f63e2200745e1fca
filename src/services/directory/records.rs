//! Organisations, systems and endpoints as import files write them: JSON objects of our own (docs/formats.md, "Import
//! files"), and objects of directory attributes, as LDIF and the published samples have them (directory.md §B.3, §B.4).

use super::{
    command::{DirectoryCommand, PutEndpoint, PutOrganisation, PutSystem},
    lines::BadLine,
    organisation::{Address, Contact, Period, Relationship, Role, Succession},
    rows::{Endpoint, Organisation, System},
};
use crate::model::day;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct PeriodSaid {
    start: String,
    end: String,
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct LinkSaid {
    id: u64,
    code: String,
    target: String,
    primary: bool,
    status: String,
    legal: PeriodSaid,
    operational: PeriodSaid,
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct SuccessionSaid {
    id: u64,
    r#type: String,
    target: String,
    date: String,
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct AddressSaid {
    lines: Vec<String>,
    town: String,
    county: String,
    postcode: String,
    country: String,
    uprn: String,
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct ContactSaid {
    r#type: String,
    value: String,
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct OrganisationSaid {
    ods_code: String,
    name: String,
    record_class: String,
    status: String,
    legal: PeriodSaid,
    operational: PeriodSaid,
    roles: Vec<LinkSaid>,
    relationships: Vec<LinkSaid>,
    successions: Vec<SuccessionSaid>,
    address: AddressSaid,
    contacts: Vec<ContactSaid>,
    last_change: String,
    ref_only: bool,
    authority: String,
}

fn shape(e: impl std::fmt::Display) -> BadLine {
    BadLine::Value(e.to_string())
}

fn date(text: &str) -> Result<u32, BadLine> {
    match text.trim() {
        "" => Ok(0),
        text => day::parse(text).ok_or_else(|| shape("a date is YYYY-MM-DD or YYYYMMDD")),
    }
}

fn period(said: &PeriodSaid) -> Result<Period, BadLine> {
    Ok(Period { start: date(&said.start)?, end: date(&said.end)?, ..Default::default() })
}

fn inactive(status: &str) -> Result<bool, BadLine> {
    match status {
        "" | "Active" => Ok(false),
        "Inactive" => Ok(true),
        _ => Err(shape("a status is Active or Inactive")),
    }
}

/// A line of our own shape that says more of an organisation than its name.
pub fn organisation(object: Map<String, Value>) -> Result<DirectoryCommand, BadLine> {
    let said: OrganisationSaid = serde_json::from_value(Value::Object(object)).map_err(shape)?;
    let class = match said.record_class.as_str() {
        "" | "RC1" => 1,
        "RC2" => 2,
        _ => return Err(shape("the record class is RC1 or RC2")),
    };
    let mut row = Organisation {
        name: said.name,
        class,
        inactive: inactive(&said.status)?,
        legal: period(&said.legal)?,
        operational: period(&said.operational)?,
        last_change: date(&said.last_change)?,
        ref_only: said.ref_only,
        authority: said.authority,
        ..Default::default()
    };
    for r in said.roles {
        let (legal, operational) = (period(&r.legal)?, period(&r.operational)?);
        let (id, code, primary, inactive) = (r.id, r.code, r.primary, inactive(&r.status)?);
        row.roles.push(Role { id, code, primary, inactive, legal, operational, ..Default::default() });
    }
    for r in said.relationships {
        let (legal, operational) = (period(&r.legal)?, period(&r.operational)?);
        let (id, code, target, inactive) = (r.id, r.code, r.target, inactive(&r.status)?);
        row.relationships.push(Relationship { id, code, target, inactive, legal, operational, ..Default::default() });
    }
    for s in said.successions {
        let predecessor = match s.r#type.as_str() {
            "Predecessor" => true,
            "Successor" => false,
            _ => return Err(shape("a succession's type is Predecessor or Successor")),
        };
        let (id, target, date) = (s.id, s.target, date(&s.date)?);
        row.successions.push(Succession { id, predecessor, target, date, ..Default::default() });
    }
    let AddressSaid { lines, town, county, postcode, country, uprn } = said.address;
    row.address = Address { lines, town, county, postcode, country, uprn, ..Default::default() };
    let contact = |c: ContactSaid| Contact { kind: c.r#type, value: c.value, ..Default::default() };
    row.contacts = said.contacts.into_iter().map(contact).collect();
    Ok(PutOrganisation { ods: said.ods_code, organisation: row, ..Default::default() }.into())
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct SystemSaid {
    asid: String,
    ods_code: String,
    party_key: String,
    name: String,
    interactions: Vec<String>,
    clients: Vec<String>,
    access_control: Vec<String>,
    categories: Vec<String>,
    manufacturer: String,
    product_key: String,
    product_name: String,
    product_version: String,
    description: String,
}

/// A line of our own shape that says what a system is accredited for.
pub fn system(object: Map<String, Value>) -> Result<DirectoryCommand, BadLine> {
    let said: SystemSaid = serde_json::from_value(Value::Object(object)).map_err(shape)?;
    let system = System {
        ods: said.ods_code,
        party_key: said.party_key,
        name: said.name,
        interactions: said.interactions,
        clients: said.clients,
        access_control: said.access_control,
        categories: said.categories,
        manufacturer: said.manufacturer,
        product_key: said.product_key,
        product_name: said.product_name,
        product_version: said.product_version,
        description: said.description,
        ..Default::default()
    };
    Ok(PutSystem { asid: said.asid, system, ..Default::default() }.into())
}

/// Attribute names in lower case, with their values.
struct Attributes(BTreeMap<String, Vec<String>>);

impl Attributes {
    fn of(object: Map<String, Value>) -> Result<Attributes, BadLine> {
        let text = |value: Value| match value {
            Value::String(text) => Ok(text),
            Value::Number(number) => Ok(number.to_string()),
            _ => Err(shape("an attribute's value is a text or a list of texts")),
        };
        let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, value) in object {
            let values = match value {
                Value::Array(items) => items.into_iter().map(text).collect::<Result<_, _>>()?,
                one => vec![text(one)?],
            };
            all.entry(name.to_ascii_lowercase()).or_default().extend(values);
        }
        Ok(Attributes(all))
    }
    fn all(&mut self, name: &str) -> Vec<String> {
        self.0.remove(name).unwrap_or_default()
    }
    fn one(&mut self, name: &str) -> Result<String, BadLine> {
        let mut values = self.all(name);
        match values.len() {
            0 | 1 => Ok(values.pop().unwrap_or_default()),
            _ => Err(shape(format!("{name} has more than one value"))),
        }
    }
}

/// An object of directory attributes: a system (`nhsAs`) or an endpoint (`nhsMhs`), told by its classes, or by its
/// interactions where it names none. Attributes that the directory does not know are not kept.
pub fn attributes(object: Map<String, Value>) -> Result<DirectoryCommand, BadLine> {
    let mut a = Attributes::of(object)?;
    let classes: Vec<String> = a.all("objectclass").iter().map(|c| c.to_ascii_lowercase()).collect();
    let is = |class: &str| classes.iter().any(|c| c == class);
    if is("nhsas") || (classes.is_empty() && a.0.contains_key("nhsassvcia")) {
        return nhs_as(&mut a);
    }
    if is("nhsmhs") || (classes.is_empty() && a.0.contains_key("nhsmhssvcia")) {
        return nhs_mhs(&mut a);
    }
    Err(BadLine::Class)
}

fn nhs_as(a: &mut Attributes) -> Result<DirectoryCommand, BadLine> {
    let system = System {
        ods: a.one("nhsidcode")?,
        party_key: a.one("nhsmhspartykey")?,
        interactions: a.all("nhsassvcia"),
        clients: a.all("nhsasclient"),
        access_control: a.all("nhsasacf"),
        categories: a.all("nhsascategorybag"),
        manufacturer: a.one("nhsmhsmanufacturerorg")?,
        product_key: a.one("nhsproductkey")?,
        product_name: a.one("nhsproductname")?,
        product_version: a.one("nhsproductversion")?,
        requestor: a.one("nhsrequestorurp")?,
        requested: a.one("nhsdaterequested")?,
        approver: a.one("nhsapproverurp")?,
        approved: a.one("nhsdateapproved")?,
        temp_uid: a.one("nhstempuid")?,
        description: a.one("description")?,
        ..Default::default()
    };
    Ok(PutSystem { asid: a.one("uniqueidentifier")?, system, ..Default::default() }.into())
}

fn nhs_mhs(a: &mut Attributes) -> Result<DirectoryCommand, BadLine> {
    let endpoint = Endpoint {
        ods: a.one("nhsidcode")?,
        party_key: a.one("nhsmhspartykey")?,
        interactions: a.all("nhsmhssvcia"),
        service: a.one("nhsmhssn")?,
        interaction: a.one("nhsmhsin")?,
        addresses: a.all("nhsmhsendpoint"),
        fqdn: a.one("nhsmhsfqdn")?,
        cpa_id: a.one("nhsmhscpaid")?,
        is_authenticated: a.one("nhsmhsisauthenticated")?,
        interaction_type: a.one("nhsepinteractiontype")?,
        template_key: a.one("nhscontractpropertytemplatekey")?,
        product_key: a.one("nhsproductkey")?,
        product_name: a.one("nhsproductname")?,
        product_version: a.one("nhsproductversion")?,
        sync_reply_mode: a.one("nhsmhssyncreplymode")?,
        ack_requested: a.one("nhsmhsackrequested")?,
        duplicate_elimination: a.one("nhsmhsduplicateelimination")?,
        actors: a.all("nhsmhsactor"),
        persist_duration: a.one("nhsmhspersistduration")?,
        retries: a.one("nhsmhsretries")?,
        retry_interval: a.one("nhsmhsretryinterval")?,
        ip_address: a.one("nhsmhsipaddress")?,
        network: a.one("nhsmhsnetwork")?,
        sin_code: a.one("nhsmhssincode")?,
        description: a.one("nhsmhsservicedescription")?,
        requestor: a.one("nhsrequestorurp")?,
        requested: a.one("nhsdaterequested")?,
        approver: a.one("nhsapproverurp")?,
        approved: a.one("nhsdateapproved")?,
        dns_approver: a.one("nhsdnsapprover")?,
        dns_approved: a.one("nhsdatednsapproved")?,
        ..Default::default()
    };
    Ok(PutEndpoint { id: a.one("uniqueidentifier")?, endpoint, ..Default::default() }.into())
}
