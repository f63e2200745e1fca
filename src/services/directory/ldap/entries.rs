//! The tree (directory.md §B.1): its fixed entries, and rows as entries below them.

use super::people;
use crate::{
    engine::draft::Fault,
    model::day,
    services::directory::{
        code_lists,
        rows::{self, Endpoint, Organisation, System},
        users,
    },
    store::Reader,
    wire::ldap::{Entry, PAGED},
};

pub const SERVICES: &str = "ou=Services,o=nhs";
pub const ORGANISATIONS: &str = "ou=Organisations,o=nhs";
/// Containers, in the order in which a search shows them.
pub const CONTAINERS: &[&str] = &["ou=Services", "ou=Organisations", "ou=People", "ou=Workgroups", "ou=RBAC"];

/// Where something stands in the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The server itself.
    Root,
    Schema,
    /// `o=nhs`.
    Nhs,
    /// Number in [`CONTAINERS`].
    Container(usize),
    System(String),
    Endpoint(String),
    /// A system or an endpoint: both stand under `ou=Services` by their id.
    Service(String),
    Organisation(String),
    /// By user id.
    Person(String),
    /// A person's belonging to an organisation, by user id and ODS code.
    Membership(String, String),
    /// The same as a name tells it: by user id and person-in-organisation id.
    MembershipNamed(String, String),
    /// By role profile id.
    Role(String),
    /// The same as a name tells it: by user id, person-in-organisation id, role profile id.
    RoleNamed(String, String, String),
    Workgroup(String),
}

/// Blanks around commas and the case of names do not count.
fn parts(dn: &str) -> Vec<String> {
    dn.split(',').map(|part| part.trim().to_ascii_lowercase()).filter(|part| !part.is_empty()).collect()
}

impl Place {
    pub fn of_dn(dn: &str) -> Option<Place> {
        let all = parts(dn);
        let id = || dn.split(',').next().and_then(|first| first.split_once('=')).map(|(_, id)| id.trim().to_owned());
        let names: Vec<&str> = all.iter().map(String::as_str).collect();
        if let [.., person, "ou=people", "o=nhs"] = names[..] {
            return of_people(&names[..names.len() - 3], person);
        }
        match names[..] {
            [] => Some(Place::Root),
            ["cn=subschema"] => Some(Place::Schema),
            ["o=nhs"] => Some(Place::Nhs),
            [container, "o=nhs"] => {
                CONTAINERS.iter().position(|c| c.eq_ignore_ascii_case(container)).map(Place::Container)
            }
            [entry, "ou=services", "o=nhs"] if entry.starts_with("uniqueidentifier=") => id().map(Place::Service),
            [entry, "ou=organisations", "o=nhs"] if entry.starts_with("uniqueidentifier=") => {
                id().map(|id| Place::Organisation(id.to_ascii_uppercase()))
            }
            [entry, "ou=workgroups", "o=nhs"] if entry.starts_with("uniqueidentifier=") => id().map(Place::Workgroup),
            _ => None,
        }
    }

    /// The place under the one name that a walk knows it by; `None` where nothing has the name.
    pub fn settled(self, site: &dyn Reader) -> Result<Option<Place>, Fault> {
        match self {
            Place::MembershipNamed(uid, id) => {
                let all = users::lookups::memberships(site, &uid)?;
                let ods = all.into_iter().find(|(_, row)| row.id == id).map(|(ods, _)| ods);
                Ok(ods.map(|ods| Place::Membership(uid, ods)))
            }
            Place::RoleNamed(uid, person_org, urp) => {
                let row = users::role(site, &urp)?.filter(|row| row.uid == uid && row.person_org == person_org);
                Ok(row.map(|_| Place::Role(urp)))
            }
            place => Ok(Some(place)),
        }
    }

    pub fn exists(&self, site: &dyn Reader) -> Result<bool, Fault> {
        Ok(self.entry(site)?.is_some())
    }

    pub fn entry(&self, site: &dyn Reader) -> Result<Option<Entry>, Fault> {
        Ok(match self {
            Place::Root => Some(root()),
            Place::Schema => Some(schema()),
            Place::Nhs => Some(fixed("o=nhs", &["top", "organization"], "o", "nhs")),
            Place::Container(n) => CONTAINERS.get(*n).map(|name| {
                let value = name.split_once('=').map_or(*name, |(_, value)| value);
                fixed(&format!("{name},o=nhs"), &["top", "organizationalUnit"], "ou", value)
            }),
            Place::System(asid) => rows::system(site, asid)?.filter(|row| !row.disabled).map(|row| system(asid, &row)),
            Place::Endpoint(id) => rows::endpoint(site, id)?.filter(|row| !row.disabled).map(|row| endpoint(id, &row)),
            Place::Service(id) => match Place::System(id.clone()).entry(site)? {
                Some(entry) => Some(entry),
                None => Place::Endpoint(id.clone()).entry(site)?,
            },
            Place::Organisation(ods) => rows::organisation(site, ods)?.map(|row| organisation(ods, &row)),
            Place::Person(uid) => people::person(site, uid)?,
            Place::Membership(uid, ods) => people::membership(site, uid, ods)?,
            Place::Role(urp) => people::role(site, urp)?,
            Place::Workgroup(id) => people::workgroup(site, id)?,
            named @ (Place::MembershipNamed(..) | Place::RoleNamed(..)) => match named.clone().settled(site)? {
                Some(place) => place.entry(site)?,
                None => None,
            },
        })
    }
}

/// The place of a name below a person: `above` is what stands before `person`, the lowest first.
fn of_people(above: &[&str], person: &str) -> Option<Place> {
    let uid = person.strip_prefix("uid=")?.trim().to_owned();
    let id = |part: &str| part.strip_prefix("uniqueidentifier=").map(|id| id.trim().to_owned());
    match above {
        [] => Some(Place::Person(uid)),
        [membership] => Some(Place::MembershipNamed(uid, id(membership)?)),
        [role, membership] => Some(Place::RoleNamed(uid, id(membership)?, id(role)?)),
        _ => None,
    }
}

/// Attributes in order; those without a value are left out.
pub(super) struct Attributes(Vec<(String, Vec<String>)>);

impl Attributes {
    pub(super) fn of(classes: &[&str]) -> Attributes {
        Attributes(vec![]).all("objectClass", classes.iter().map(|c| (*c).to_owned()).collect())
    }
    pub(super) fn one(self, name: &str, value: &str) -> Attributes {
        let value = value.to_owned();
        self.all(name, Some(value).filter(|v| !v.is_empty()).into_iter().collect())
    }
    pub(super) fn all(mut self, name: &str, values: Vec<String>) -> Attributes {
        if !values.is_empty() {
            self.0.push((name.to_owned(), values));
        }
        self
    }
    pub(super) fn entry(self, dn: String) -> Entry {
        Entry { dn, attributes: self.0 }
    }
}

fn fixed(dn: &str, classes: &[&str], name: &str, value: &str) -> Entry {
    Attributes::of(classes).one(name, value).entry(dn.to_owned())
}

fn root() -> Entry {
    let contexts = ["o=nhs", "dc=spine2,dc=ncrs,dc=nhs,dc=uk", "cn=accesslog"];
    Attributes::of(&["top"])
        .all("namingContexts", contexts.map(str::to_owned).to_vec())
        .one("supportedLDAPVersion", "3")
        .one("supportedControl", PAGED)
        .one("subschemaSubentry", "cn=Subschema")
        .one("vendorName", "Spine")
        .entry(String::new())
}

fn schema() -> Entry {
    let lines = include_str!("schema.txt").lines();
    let of = |kind: char| lines.clone().filter_map(|line| line.strip_prefix(kind)).map(str::to_owned).collect();
    Attributes::of(&["top", "subschema"])
        .one("cn", "Subschema")
        .all("attributeTypes", of('A'))
        .all("objectClasses", of('C'))
        .entry("cn=Subschema".into())
}

pub fn system(asid: &str, row: &System) -> Entry {
    Attributes::of(&["top", "nhsAs"])
        .one("uniqueIdentifier", asid)
        .one("nhsIDCode", &row.ods)
        .one("nhsMHSPartyKey", &row.party_key)
        .all("nhsAsSvcIA", row.interactions.clone())
        .all("nhsAsClient", row.clients.clone())
        .all("nhsAsACF", row.access_control.clone())
        .all("nhsAsCategoryBag", row.categories.clone())
        .one("nhsMhsManufacturerOrg", &row.manufacturer)
        .one("nhsProductKey", &row.product_key)
        .one("nhsProductName", &row.product_name)
        .one("nhsProductVersion", &row.product_version)
        .one("nhsRequestorURP", &row.requestor)
        .one("nhsDateRequested", &row.requested)
        .one("nhsApproverURP", &row.approver)
        .one("nhsDateApproved", &row.approved)
        .one("nhsTempUid", &row.temp_uid)
        .one("description", &row.description)
        .entry(format!("uniqueIdentifier={asid},{SERVICES}"))
}

pub fn endpoint(id: &str, row: &Endpoint) -> Entry {
    Attributes::of(&["top", "nhsMhs"])
        .one("uniqueIdentifier", id)
        .one("nhsIDCode", &row.ods)
        .one("nhsMHSPartyKey", &row.party_key)
        .all("nhsMhsSvcIA", row.interactions.clone())
        .one("nhsMHsSN", &row.service)
        .one("nhsMHsIN", &row.interaction)
        .all("nhsMHSEndPoint", row.addresses.clone())
        .one("nhsMhsFQDN", &row.fqdn)
        .one("nhsMhsCPAId", &row.cpa_id)
        .one("nhsMHSIsAuthenticated", &row.is_authenticated)
        .one("nhsEPInteractionType", &row.interaction_type)
        .one("nhsContractPropertyTemplateKey", &row.template_key)
        .one("nhsProductKey", &row.product_key)
        .one("nhsProductName", &row.product_name)
        .one("nhsProductVersion", &row.product_version)
        .one("nhsMHSSyncReplyMode", &row.sync_reply_mode)
        .one("nhsMHSAckRequested", &row.ack_requested)
        .one("nhsMHSDuplicateElimination", &row.duplicate_elimination)
        .all("nhsMHSActor", row.actors.clone())
        .one("nhsMHSPersistDuration", &row.persist_duration)
        .one("nhsMHSRetries", &row.retries)
        .one("nhsMHSRetryInterval", &row.retry_interval)
        .one("nhsMhsIPAddress", &row.ip_address)
        .one("nhsMhsNetwork", &row.network)
        .one("nhsMhsSinCode", &row.sin_code)
        .one("nhsMHSServiceDescription", &row.description)
        .one("nhsRequestorURP", &row.requestor)
        .one("nhsDateRequested", &row.requested)
        .one("nhsApproverURP", &row.approver)
        .one("nhsDateApproved", &row.approved)
        .one("nhsDNSApprover", &row.dns_approver)
        .one("nhsDateDNSApproved", &row.dns_approved)
        .entry(format!("uniqueIdentifier={id},{SERVICES}"))
}

/// The class follows from the record: sites are nhsSite, organisations with a GP practice's role nhsGPPractice.
pub fn organisation(ods: &str, row: &Organisation) -> Entry {
    let site = row.class() == 2;
    let practice = row.roles.iter().any(|role| role.code == "RO76" && !role.inactive);
    let class = match (site, practice) {
        (true, _) => "nhsSite",
        (_, true) => "nhsGPPractice",
        _ => "nhsOrg",
    };
    let role = row.primary_role().map_or("", |role| role.code.as_str());
    let place = &row.address;
    let address: Vec<&str> = place.lines.iter().chain([&place.town, &place.county]).map(String::as_str).collect();
    let address: Vec<&str> = address.into_iter().filter(|line| !line.is_empty()).collect();
    let related = |codes: &[&str]| -> String {
        let found = row.relationships.iter().find(|r| codes.contains(&r.code.as_str()) && !r.inactive);
        found.map(|r| r.target.clone()).unwrap_or_default()
    };
    let followed = |predecessor: bool| -> Vec<String> {
        row.successions.iter().filter(|s| s.predecessor == predecessor).map(|s| s.target.clone()).collect()
    };
    let contact = |kind: &str| row.contacts.iter().filter(|c| c.kind == kind).map(|c| c.value.clone()).collect();
    let compact = |day: u32| day::text(day).replace('-', "");
    // Many records date only their roles: the primary one's days are then the organisation's.
    let of_role = row.primary_role().map(|role| [&role.operational, &role.legal]).into_iter().flatten();
    let period = [&row.operational, &row.legal].into_iter().chain(of_role).find(|p| p.start != 0 || p.end != 0);
    let (open, close) = period.map_or((0, 0), |p| (p.start, p.end));
    Attributes::of(&["top", if site { "organizationalUnit" } else { "organization" }, class])
        .one("uniqueIdentifier", ods)
        .one(if site { "ou" } else { "o" }, &row.name)
        .one("nhsIDCode", ods)
        .one("nhsOrgType", if role.is_empty() { "" } else { code_lists::role_name(role) })
        .one("nhsOrgTypeCode", role)
        .one("postalAddress", &address.join("$"))
        .one("postalCode", &place.postcode)
        .one("l", &place.town)
        .one("nhsCountry", &place.country)
        .one("nhsParentOrgCode", &related(&["RE4", "RE6"]))
        .one("nhsOrgOpenDate", &compact(open))
        .one("nhsOrgCloseDate", &compact(close))
        .all("nhsOCSPredecessor", followed(true))
        .all("nhsOCSSuccessor", followed(false))
        .all("telephoneNumber", contact("tel"))
        .all("facsimileTelephoneNumber", contact("fax"))
        .all("mail", contact("mail"))
        .all("labeledUri", contact("http"))
        .entry(format!("uniqueIdentifier={ods},{ORGANISATIONS}"))
}
