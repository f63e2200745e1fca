//! Rows as Practitioner and PractitionerRole, members in the order of the published examples.

use super::PRACTITIONER;
use crate::{
    engine::draft::Fault,
    model::day,
    services::directory::{
        http::Asked,
        ods::{
            fhir::base,
            resource::{ODS, coding},
        },
        rows,
        users::{RoleProfile, State, User},
    },
    store::Reader,
    wire::tree::{Members, Node},
};

pub const USER: &str = "https://fhir.nhs.uk/Id/sds-user-id";
pub const ROLE_PROFILE: &str = "https://fhir.nhs.uk/Id/sds-role-profile-id";
const JOB_ROLE: &str = "https://fhir.nhs.uk/England/CodeSystem/England-SDSJobRoleName";
/// Staff group, sub-group and role: what the registry holds. Of England-JobRoleCode it has no codes.
const JOB_ROLE_CODE: &str = "https://fhir.nhs.uk/CodeSystem/NHSDigital-SDS-JobRoleCode";
/// Professional ids as rows name them, and their systems: the first that a person has stands for them in a role.
pub const PROFESSIONAL: [(&str, &str); 4] = [
    ("gmc_id", "https://fhir.hl7.org.uk/Id/gmc-number"),
    ("gmp_id", "https://fhir.hl7.org.uk/Id/gmp-number"),
    ("nmc_id", "https://fhir.hl7.org.uk/Id/nmc-number"),
    ("gphc_id", "https://fhir.hl7.org.uk/Id/gphc-number"),
];

fn identifier(system: &str, value: &str) -> Members {
    Members::new().with("system", system).with("value", value)
}

/// Professional ids with their systems.
fn professional(row: &User) -> impl Iterator<Item = (&'static str, &str)> {
    PROFESSIONAL.iter().flat_map(|(name, system)| {
        row.professional.iter().filter(move |a| a.name == *name).map(move |a| (*system, a.value.as_str()))
    })
}

/// Where they are reached at work; nowhere any more once they have left.
fn telecom(row: &User) -> Vec<Node> {
    if row.email.is_empty() || row.state() == State::Closed {
        return vec![];
    }
    let mail = Members::new().with("system", "email").with("value", row.email.as_str()).with("use", "work");
    vec![mail.into()]
}

pub fn practitioner(uid: &str, row: &User) -> Node {
    let further = professional(row).map(|(system, value)| -> Node {
        Members::new().with("use", "usual").with("system", system).with("value", value).into()
    });
    let identifiers: Vec<Node> = [identifier(USER, uid).into()].into_iter().chain(further).collect();
    let given: Vec<Node> =
        [&row.given, &row.middle].into_iter().filter(|n| !n.is_empty()).map(|n| n.as_str().into()).collect();
    let prefix: Vec<Node> = Some(row.title.as_str()).filter(|t| !t.is_empty()).map(Node::from).into_iter().collect();
    let name = Members::new().with("use", "official").with("family", row.family.as_str());
    Members::new()
        .with("resourceType", PRACTITIONER)
        .with("id", uid)
        .with("identifier", identifiers)
        .with("active", row.is_active())
        .with("name", vec![name.list("given", given).list("prefix", prefix).into()])
        .list("telecom", telecom(row))
        .into()
}

pub fn role(site: &dyn Reader, asked: &Asked, urp: &str, row: &RoleProfile, user: &User) -> Result<Node, Fault> {
    let organisation = rows::organisation(site, &row.ods)?;
    let known = organisation.as_ref().is_some_and(|o| !o.disabled);
    let date = |millis: u64| if millis == 0 { String::new() } else { day::text(day::of_millis(millis)) };
    let (system, value) = professional(user).next().unwrap_or((USER, &row.uid));
    let display = [user.title.as_str(), &user.given, &user.family].join(" ");
    let base = base(asked);
    let person = Members::new()
        .with("reference", format!("{base}/{PRACTITIONER}/{}", row.uid))
        .with("identifier", identifier(system, value))
        .with("display", display.trim());
    let name = organisation.map(|o| o.name).unwrap_or_default();
    let place = Members::new()
        .with("reference", format!("{base}/Organization/{}", row.ods))
        .with("identifier", identifier(ODS, &row.ods))
        .text("display", &name);
    let job = row.role_code.rsplit(':').next().unwrap_or_default();
    let called = row.role_name.rsplit("\":\"").next().unwrap_or_default().trim_matches('"');
    let code = |system, code| -> Node { Members::new().with("coding", vec![coding(system, code, called)]).into() };
    Ok(Members::new()
        .with("resourceType", super::ROLE)
        .with("id", urp)
        .with("identifier", vec![identifier(ROLE_PROFILE, urp).into()])
        .with("active", known && user.is_active() && row.is_open(asked.now))
        .with("period", Members::new().text("start", &date(row.opened)).text("end", &date(row.closes)))
        .with("practitioner", person)
        .with("organization", place)
        .with("code", vec![code(JOB_ROLE, job), code(JOB_ROLE_CODE, &row.role_code)])
        .list("telecom", telecom(user))
        .into())
}
