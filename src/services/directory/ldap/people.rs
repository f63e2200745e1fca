//! People, where they belong, in which roles they act, and workgroups, as entries (directory.md §B.5).
//!
//! Invariants: nothing that a person proves themself by is read here, nor birth date, National Insurance number or evidence; who has
//! only applied has no entry; of who has left, the mail address is not told any more.

use super::entries::Attributes;
use crate::{
    engine::draft::Fault,
    model::day,
    services::directory::{
        rows,
        users::{
            self, Coded, State, User,
            lookups::{self, listed},
        },
    },
    store::Reader,
    wire::ldap::Entry,
};

const PEOPLE: &str = "ou=People,o=nhs";
const WORKGROUPS: &str = "ou=Workgroups,o=nhs";

/// Professional ids as rows and as entries name them. The General Pharmaceutical Council's numbers stand where its predecessor's did.
pub const PROFESSIONAL: [(&str, &str); 8] = [
    ("gmc_id", "nhsGMC"),
    ("gmp_id", "nhsGMP"),
    ("gdc_id", "nhsGDC"),
    ("gdp_id", "nhsGDP"),
    ("nmc_id", "nhsNMC"),
    ("rcn_id", "nhsRCN"),
    ("gphc_id", "nhsRPSGB"),
    ("consultant_id", "nhsConsultant"),
];

fn compact(millis: u64) -> String {
    if millis == 0 { String::new() } else { day::text(day::of_millis(millis)).replace('-', "") }
}

/// Names, of a person or of their belonging somewhere.
fn named(attributes: Attributes, row: &User) -> Attributes {
    attributes
        .one("cn", &row.name())
        .one("sn", &row.family)
        .one("givenName", &row.given)
        .one("nhsMiddleNames", &row.middle)
        .one("displayName", &row.shown())
}

pub fn person(site: &dyn Reader, uid: &str) -> Result<Option<Entry>, Fault> {
    let Some(row) = listed(site, uid)? else { return Ok(None) };
    let mut entry = Attributes::of(&["top", "person", "inetOrgPerson", "nhsPerson"]).one("uid", uid);
    entry = named(entry, &row).one("personalTitle", &row.title);
    if row.state() != State::Closed {
        entry = entry.one("mail", &row.email);
    }
    for (name, attribute) in PROFESSIONAL {
        let held = row.professional.iter().filter(|a| a.name == name).map(|a| a.value.clone());
        entry = entry.all(attribute, held.collect());
    }
    Ok(Some(entry.one("nhsPersonStatus", row.state().word()).entry(format!("uid={uid},{PEOPLE}"))))
}

/// A person's belonging to an organisation.
pub fn membership(site: &dyn Reader, uid: &str, ods: &str) -> Result<Option<Entry>, Fault> {
    let Some(row) = users::org_person(site, uid, ods)? else { return Ok(None) };
    let Some(user) = listed(site, uid)? else { return Ok(None) };
    let name = rows::organisation(site, ods)?.map(|o| o.name).filter(|name| !name.is_empty());
    let entry = Attributes::of(&["top", "person", "inetOrgPerson", "nhsOrgPerson"])
        .one("uniqueIdentifier", &row.id)
        .one("uid", uid);
    let entry = named(entry, &user)
        .one("o", name.as_deref().unwrap_or(ods))
        .one("nhsIDCode", ods)
        .one("nhsOrgOpenDate", &compact(row.opened));
    Ok(Some(entry.entry(format!("uniqueIdentifier={},uid={uid},{PEOPLE}", row.id))))
}

pub fn role(site: &dyn Reader, urp: &str) -> Result<Option<Entry>, Fault> {
    let Some(row) = users::role(site, urp)? else { return Ok(None) };
    if listed(site, &row.uid)?.is_none() {
        return Ok(None);
    }
    let codes = |list: &[Coded]| -> Vec<String> { list.iter().map(|c| c.code.clone()).collect() };
    let names = |list: &[Coded]| -> Vec<String> {
        list.iter().map(|c| c.name.clone()).filter(|name| !name.is_empty()).collect()
    };
    let entry = Attributes::of(&["top", "nhsOrgPersonRole"])
        .one("uniqueIdentifier", urp)
        .one("nhsJobRole", &row.role_name)
        .one("nhsJobRoleCode", &row.role_code)
        .one("nhsIDCode", &row.ods)
        .all("nhsAreaOfWork", names(&row.areas))
        .all("nhsAreaOfWorkCodes", codes(&row.areas))
        .all("nhsBusinessFunctions", names(&row.activities))
        .all("nhsBusinessFunctionsCodes", codes(&row.activities))
        .all("nhsWorkGroups", names(&row.workgroups))
        .all("nhsWorkGroupsCodes", codes(&row.workgroups))
        .one("nhsOrgOpenDate", &compact(row.opened))
        .one("nhsOrgCloseDate", &compact(row.closes));
    let dn = format!("uniqueIdentifier={urp},uniqueIdentifier={},uid={},{PEOPLE}", row.person_org, row.uid);
    Ok(Some(entry.entry(dn)))
}

pub fn workgroup(site: &dyn Reader, id: &str) -> Result<Option<Entry>, Fault> {
    let told = lookups::workgroup(site, id)?;
    Ok(told.map(|(name, ods)| {
        Attributes::of(&["top", "nhsWg"])
            .one("uniqueIdentifier", id)
            .one("cn", &name)
            .one("nhsIDCode", &ods)
            .entry(format!("uniqueIdentifier={id},{WORKGROUPS}"))
    }))
}

/// What the entry of a person may say.
pub const PERSON_ATTRIBUTES: &[&str] = &[
    "objectClass",
    "uid",
    "cn",
    "sn",
    "givenName",
    "nhsMiddleNames",
    "displayName",
    "personalTitle",
    "mail",
    "nhsGMC",
    "nhsGMP",
    "nhsGDC",
    "nhsGDP",
    "nhsNMC",
    "nhsRCN",
    "nhsRPSGB",
    "nhsConsultant",
    "nhsPersonStatus",
];

/// What the entry of a person in an organisation may say.
pub const MEMBERSHIP_ATTRIBUTES: &[&str] = &[
    "objectClass",
    "uniqueIdentifier",
    "uid",
    "cn",
    "sn",
    "givenName",
    "nhsMiddleNames",
    "displayName",
    "o",
    "nhsIDCode",
    "nhsOrgOpenDate",
];

/// What the entry of a role profile may say.
pub const ROLE_ATTRIBUTES: &[&str] = &[
    "objectClass",
    "uniqueIdentifier",
    "nhsJobRole",
    "nhsJobRoleCode",
    "nhsIDCode",
    "nhsAreaOfWork",
    "nhsAreaOfWorkCodes",
    "nhsBusinessFunctions",
    "nhsBusinessFunctionsCodes",
    "nhsWorkGroups",
    "nhsWorkGroupsCodes",
    "nhsOrgOpenDate",
    "nhsOrgCloseDate",
];

/// What the entry of a workgroup may say.
pub const WORKGROUP_ATTRIBUTES: &[&str] = &["objectClass", "uniqueIdentifier", "cn", "nhsIDCode"];
