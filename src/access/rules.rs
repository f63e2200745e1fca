//! The access rules of every interaction, one row each (P5). The gate does not start without a row for each name.

use super::conditions::{Organisation, Purpose, Relationship};
use super::gate::{Admits, Rule};
use super::policy::{AMEND_PEOPLE, CLAIM, DISPENSE, MESSAGES, PREPARE, READ_AUDIT, RECEIVE_ALERTS, TRACE_PEOPLE};

const fn any(interaction: &'static str, spec: &'static str) -> Rule {
    Rule::new(interaction, Admits::AnyCertificate, spec)
}
const fn approved(interaction: &'static str, spec: &'static str) -> Rule {
    Rule::new(interaction, Admits::ApprovedSystem, spec)
}

/// Open to anyone.
const fn open(interaction: &'static str, spec: &'static str) -> Rule {
    Rule::new(interaction, Admits::Anyone, spec)
}

/// Holders of an access token (or key) with one of these scopes; with none listed, of any access token.
const fn holders(interaction: &'static str, scopes: &'static [&'static str], spec: &'static str) -> Rule {
    Rule::new(interaction, Admits::Holders { scopes, activities: &[] }, spec)
}

/// The API listener's own names.
pub const API: &[Rule] = &[open("api.not_found", "identity.md §3")];

/// Descriptions of the interfaces, on either listener.
pub const OPENAPI: &[Rule] = &[open("api.openapi", "operations.md §10")];
pub const SUPPLIERS: &[Rule] = &[any("api.openapi", "operations.md §10")];

/// The token service (spec/identity.md §3). Whoever asks for a token proves itself within the request, to the service.
pub const IDENTITY: &[Rule] = &[
    open("identity.token", "identity.md §3"),
    open("identity.revoke", "RFC 7009"),
    open("identity.introspect", "RFC 7662"),
    holders("identity.userinfo", &[], "identity.md §4.4"),
    open("identity.ping", "identity.md §3"),
    open("identity.status", "identity.md §3"),
    open("identity.method_not_allowed", "identity.md §3"),
    open("identity.smart_configuration", "operations.md §10"),
    open("identity.not_found", "identity.md §3"),
    open("identity.authorize", "identity.md §4.1"),
    open("identity.callback", "identity.md §4.1"),
    open("identity.provider.discovery", "identity.md §2.1"),
    open("identity.provider.authorize", "identity.md §2.2"),
    open("identity.provider.log_in", "identity.md §2.2"),
    open("identity.provider.role", "identity.md §2.2"),
    open("identity.provider.token", "identity.md §2.3"),
    open("identity.provider.userinfo", "identity.md §2.2"),
    open("identity.provider.keys", "identity.md §2.1"),
    open("identity.provider.end_session", "identity.md §2.5"),
    open("identity.backchannel_logout", "identity.md §4.5"),
    open("identity.provider.passkey", "identity.md §2.4"),
    open("identity.provider.smartcard", "identity.md §2.4"),
    open("identity.provider.script", "identity.md §2.4"),
    open("identity.provider.enrol", "identity.md §6.2"),
    open("identity.provider.enrol_begin", "identity.md §6.2"),
    open("identity.provider.enrol_done", "identity.md §6.2"),
    open("identity.provider.log_out", "identity.md §2.5"),
];

/// Style and pictures of web pages: they hold nobody's data.
pub const PAGES: &[Rule] = &[open("pages.asset", "operations.md §11")];

/// The documents, which say nothing of the site that serves them.
pub const DOCUMENTS: &[Rule] = &[open("pages.document", "operations.md §12")];

/// Every table, under the listener that it is for: what `spine role matrix` prints and the tests go through.
pub const ALL: &[(&str, &[Rule])] = &[
    ("suppliers", MESH),
    ("suppliers", SMSP),
    ("suppliers", SUPPLIERS),
    ("api", API),
    ("api", OPENAPI),
    ("api", IDENTITY),
    ("api", PDS),
    ("api", DIRECTORY),
    ("api", AUDIT),
    ("api", RELATIONSHIPS),
    ("api", EPS),
    ("api", PAGES),
    ("api", DOCUMENTS),
    ("ldap", LDAP),
];

/// MESH (spec/mesh.md). The certificate proves an approved system; the Authorization header names the mailbox, and
/// the service checks it where the mailbox lives.
pub const MESH: &[Rule] = &[
    any("mesh.ping", "mesh.md §15"),
    any("mesh.not_found", "mesh.md §5"),
    any("mesh.method_not_allowed", "mesh.md §5"),
    approved("mesh.handshake", "mesh.md §6.1"),
    approved("mesh.update", "mesh.md §15"),
    approved("mesh.list", "mesh.md §6.2"),
    approved("mesh.count", "mesh.md §6.3"),
    approved("mesh.download", "mesh.md §6.4"),
    approved("mesh.head", "mesh.md §6.5"),
    approved("mesh.acknowledge", "mesh.md §6.6"),
    approved("mesh.send", "mesh.md §6.7"),
    approved("mesh.send_chunk", "mesh.md §6.8"),
    approved("mesh.inbox_rich", "mesh.md §6.9"),
    approved("mesh.outbox_rich", "mesh.md §6.9"),
    approved("mesh.track", "mesh.md §10"),
    approved("mesh.track_local", "mesh.md §10"),
    approved("mesh.lookup", "mesh.md §11.1"),
    approved("mesh.workflow_search", "mesh.md §11.1"),
    approved("mesh.mailbox", "mesh.md §15"),
    approved("mesh.admin_reset", "mesh.md §15"),
    approved("mesh.admin_report", "mesh.md §15"),
    approved("mesh.admin_event", "mesh.md §15"),
    approved("mesh.admin_mailbox", "mesh.md §15"),
    approved("mesh.admin_message", "mesh.md §15"),
];

/// Level 0, which needs an API key; a token of the products does as well.
const SDS: &[&str] = &["urn:nhsd:apim:app:level0:spine-directory", "urn:nhsd:apim:app:level3:spine-directory"];
const ODS: &[&str] =
    &["urn:nhsd:apim:app:level0:organisation-data-service", "urn:nhsd:apim:app:level3:organisation-data-service"];

/// Who works where is no reference data for everybody: systems that have shown a signed token, and staff who have logged in.
const WORKERS: &[&str] = &[
    "urn:nhsd:apim:app:level3:healthcare-worker",
    "urn:nhsd:apim:user-nhs-id:aal2:healthcare-worker",
    "urn:nhsd:apim:user-nhs-id:aal3:healthcare-worker",
    "urn:nhsd:apim:user-nhs-cis2:aal2:healthcare-worker",
    "urn:nhsd:apim:user-nhs-cis2:aal3:healthcare-worker",
];

/// The directory (spec/directory.md): reference data, no patient's, for every application that has the product. The two
/// older faces of organisations ask for nothing, as they always did.
pub const DIRECTORY: &[Rule] = &[
    holders("directory.sds.device", SDS, "directory.md §A.1"),
    holders("directory.sds.endpoint", SDS, "directory.md §A.2"),
    open("directory.sds.health", "directory.md §A.5"),
    open("directory.sds.other", "directory.md §A.5"),
    holders("directory.fhir.organization", ODS, "directory.md §C.1"),
    holders("directory.fhir.affiliation", ODS, "directory.md §C.1"),
    holders("directory.fhir.practitioner", WORKERS, "directory.md §C.5").of(Organisation::Active),
    holders("directory.fhir.practitioner_role", WORKERS, "directory.md §C.5").of(Organisation::Active),
    open("directory.fhir.other", "directory.md §C.1"),
    open("directory.stu3.organization", "directory.md §C.2"),
    open("directory.ord.organisations", "directory.md §C.4"),
    open("directory.ord.lists", "directory.md §C.4"),
    open("directory.ord.sync", "directory.md §C.4"),
    open("directory.ord.other", "directory.md §C.4"),
];

/// The directory's LDAP face. A certificate is no secret of the client's organisation: registered systems only.
pub const LDAP: &[Rule] = &[
    approved("directory.ldap.bind", "directory.md §B"),
    approved("directory.ldap.search", "directory.md §B.2"),
    approved("directory.ldap.compare", "directory.md §B"),
    approved("directory.ldap.other", "directory.md §B"),
];

/// Whoever has a product of PDS at any level. Which of the four modes may do what is the service's own table (spec/pds.md
/// §2), read off the caller, because each refusal has words of its own.
const PDS_MODES: &[&str] = &[
    "urn:nhsd:apim:app:level3:personal-demographics-service",
    "urn:nhsd:apim:app:level3:privileged-personal-demographics-service",
    "urn:nhsd:apim:user-nhs-id:aal3:personal-demographics-service",
    "urn:nhsd:apim:user-nhs-cis2:aal2:personal-demographics-service",
    "urn:nhsd:apim:user-nhs-cis2:aal3:personal-demographics-service",
    "urn:nhsd:apim:user-nhs-login:P0:personal-demographics-service",
    "urn:nhsd:apim:user-nhs-login:P5:personal-demographics-service",
    "urn:nhsd:apim:user-nhs-login:P9:personal-demographics-service",
];

/// How PDS is: an operator's API key, or whoever may ask it anything.
const PDS_WATCHERS: &[&str] = &[
    "urn:nhsd:apim:app:level0:personal-demographics-service",
    "urn:nhsd:apim:app:level3:personal-demographics-service",
    "urn:nhsd:apim:app:level3:privileged-personal-demographics-service",
    "urn:nhsd:apim:user-nhs-id:aal3:personal-demographics-service",
    "urn:nhsd:apim:user-nhs-cis2:aal2:personal-demographics-service",
    "urn:nhsd:apim:user-nhs-cis2:aal3:personal-demographics-service",
    "urn:nhsd:apim:user-nhs-login:P0:personal-demographics-service",
    "urn:nhsd:apim:user-nhs-login:P5:personal-demographics-service",
    "urn:nhsd:apim:user-nhs-login:P9:personal-demographics-service",
];

/// In each of the four modes; of staff, a role that may find people (spec/identity.md §6.5).
const fn traces(interaction: &'static str, spec: &'static str) -> Rule {
    Rule::new(interaction, Admits::Holders { scopes: PDS_MODES, activities: TRACE_PEOPLE }, spec)
        .of(Organisation::Active)
}
/// The same, and of staff a role that may amend them.
const fn amends(interaction: &'static str, spec: &'static str) -> Rule {
    Rule::new(interaction, Admits::Holders { scopes: PDS_MODES, activities: AMEND_PEOPLE }, spec)
        .of(Organisation::Active)
}

/// PDS (spec/pds.md §1).
pub const PDS: &[Rule] = &[
    open("pds.ping", "pds.md §3.3"),
    open("pds.metadata", "pds.md §1"),
    open("pds.not_found", "pds.md §1"),
    open("pds.not_supported", "pds.md §1"),
    holders("pds.status", PDS_WATCHERS, "pds.md §3.3").of(Organisation::Active),
    traces("pds.retrieve", "pds.md §7").to(Relationship::Themself),
    traces("pds.search", "pds.md §8"),
    amends("pds.update", "pds.md §9").to(Relationship::Themself),
    amends("pds.create", "pds.md §10"),
    amends("pds.birth", "pds.md §11"),
    traces("pds.related", "pds.md §12").to(Relationship::Themself),
    traces("pds.coverage", "pds.md §13").to(Relationship::Themself),
    amends("pds.coverage_set", "pds.md §13").to(Relationship::Themself),
];

const AUDIT_READERS: &[&str] = &[
    "urn:nhsd:apim:user-nhs-id:aal3:patient-audit",
    "urn:nhsd:apim:user-nhs-cis2:aal3:patient-audit",
    "urn:nhsd:apim:user-nhs-login:P9:patient-audit",
];

const fn audited(interaction: &'static str) -> Rule {
    let admits = Admits::Holders { scopes: AUDIT_READERS, activities: READ_AUDIT };
    Rule::new(interaction, admits, "identity.md §9.2").of(Organisation::Active).to(Relationship::Themself)
}

/// The audit trail as FHIR AuditEvents (spec/identity.md §9.2). Staff need an activity of a privacy officer; a citizen sees
/// the own record's trail, which the service looks to.
pub const AUDIT: &[Rule] = &[
    open("audit.ping", "identity.md §9.2"),
    open("audit.metadata", "identity.md §9.2"),
    open("audit.not_found", "identity.md §9.2"),
    audited("audit.search"),
    audited("audit.read"),
    holders("audit.file", &["urn:nhsd:apim:app:level3:patient-audit"], "identity.md §9.2"),
];

const LR_STAFF: &[&str] = &[
    "urn:nhsd:apim:user-nhs-id:aal2:legitimate-relationships",
    "urn:nhsd:apim:user-nhs-id:aal3:legitimate-relationships",
    "urn:nhsd:apim:user-nhs-cis2:aal2:legitimate-relationships",
    "urn:nhsd:apim:user-nhs-cis2:aal3:legitimate-relationships",
];
/// The same, and systems without a user: registration and referral systems tell of what happened there.
const LR_ANYONE: &[&str] = &[
    "urn:nhsd:apim:app:level3:legitimate-relationships",
    "urn:nhsd:apim:user-nhs-id:aal2:legitimate-relationships",
    "urn:nhsd:apim:user-nhs-id:aal3:legitimate-relationships",
    "urn:nhsd:apim:user-nhs-cis2:aal2:legitimate-relationships",
    "urn:nhsd:apim:user-nhs-cis2:aal3:legitimate-relationships",
];

const fn alerted(interaction: &'static str) -> Rule {
    let admits = Admits::Holders { scopes: LR_STAFF, activities: RECEIVE_ALERTS };
    Rule::new(interaction, admits, "identity.md §9.3").of(Organisation::Own)
}
const fn relates(interaction: &'static str, spec: &'static str) -> Rule {
    holders(interaction, LR_ANYONE, spec).of(Organisation::Own)
}

/// Legitimate relationships and the alerts that come of them (spec/identity.md §8, §9.3). Which kind of relationship whom
/// may be created by, and whose alerts one sees, is the service's to look at.
pub const RELATIONSHIPS: &[Rule] = &[
    open("relationships.not_found", "identity.md §8"),
    relates("relationships.create", "identity.md §8").to(Relationship::ToGrant).with(Purpose::ReasonByKind),
    relates("relationships.list", "identity.md §8").of(Organisation::OwnOrPrivacy),
    holders("relationships.check", LR_ANYONE, "identity.md §7").of(Organisation::Active).with(Purpose::Recorded),
    relates("relationships.read", "identity.md §8").of(Organisation::OwnOrPrivacy),
    relates("relationships.freeze", "identity.md §8").with(Purpose::Reason),
    relates("relationships.close", "identity.md §8").with(Purpose::Reason),
    alerted("alerts.list"),
    alerted("alerts.read"),
    alerted("alerts.acknowledge"),
    alerted("alerts.close").with(Purpose::Note),
];

/// Whoever has a product of EPS for messages. Which of them a message needs, and whether a person has to be there, is said
/// when the message has been read (spec/eps.md §3.2, §3.3), by the service's own table.
const EPS_MESSAGES: &[&str] = &[
    "urn:nhsd:apim:user-nhs-id:aal3:electronic-prescription-service-api:prescribing",
    "urn:nhsd:apim:user-nhs-id:aal3:electronic-prescription-service-api:dispensing",
    "urn:nhsd:apim:user-nhs-id:aal3:fhir-prescribing",
    "urn:nhsd:apim:user-nhs-id:aal3:fhir-dispensing",
    "urn:nhsd:apim:app:level3:electronic-prescription-service-api:prescribing",
    "urn:nhsd:apim:app:level3:electronic-prescription-service-api:dispensing",
];
const EPS_TRACKER: &[&str] = &[
    "urn:nhsd:apim:user-nhs-id:aal3:electronic-prescription-service-api:tracker",
    "urn:nhsd:apim:app:level3:electronic-prescription-service-api:tracker",
];
const EPS_CLINICAL_TRACKER: &[&str] = &[
    "urn:nhsd:apim:user-nhs-id:aal3:electronic-prescription-service-api:tracker",
    "urn:nhsd:apim:user-nhs-id:aal3:clinical-prescription-tracker",
];

const fn message(interaction: &'static str, activities: &'static [&'static str], spec: &'static str) -> Rule {
    Rule::new(interaction, Admits::Holders { scopes: EPS_MESSAGES, activities }, spec).of(Organisation::Active)
}

/// EPS (spec/eps.md §2).
pub const EPS: &[Rule] = &[
    open("eps.ping", "eps.md §2"),
    open("eps.status", "eps.md §2"),
    open("eps.not_found", "eps.md §2"),
    holders("eps.metadata", &[], "eps.md §2"),
    message("eps.prepare", PREPARE, "eps.md §6"),
    message("eps.process_message", MESSAGES, "eps.md §7"),
    message("eps.release", DISPENSE, "eps.md §9"),
    message("eps.task", DISPENSE, "eps.md §11"),
    message("eps.claim", CLAIM, "eps.md §13"),
    message("eps.validate", &[], "eps.md §3.6"),
    holders("eps.tasks", EPS_TRACKER, "eps.md §14.1").of(Organisation::Active),
    holders("eps.tracker_search", EPS_CLINICAL_TRACKER, "eps.md §14.2").of(Organisation::Active),
    holders("eps.tracker", EPS_CLINICAL_TRACKER, "eps.md §14.2").of(Organisation::Active),
    holders("eps.status_update", &["urn:nhsd:apim:app:level3:prescription-status-update"], "eps.md §15"),
];

/// Spine Mini Services (spec/pds.md §17): old clients, by the certificate of their registered system.
pub const SMSP: &[Rule] = &[
    approved("smsp.verify_nhs_number", "pds.md §17"),
    approved("smsp.get_nhs_number", "pds.md §17"),
    approved("smsp.get_patient_details_by_nhs_number", "pds.md §17"),
    approved("smsp.get_patient_details_by_search", "pds.md §17"),
    approved("smsp.get_patient_details", "pds.md §17"),
    approved("smsp.other", "pds.md §17.1"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::caller::Caller;
    use crate::access::gate::{Denied, Gate, Proven, Standing};

    /// Every kind of caller, with the word by which the expectation knows it.
    fn callers(rule: &Rule) -> Vec<(&'static str, Standing)> {
        let proven = |level: &str, scopes: Vec<String>, activities: Vec<String>| {
            let caller =
                Caller { application: "a".into(), level: level.into(), scopes, activities, ..Default::default() };
            Standing::Proven(Box::new(Proven { caller, ..Default::default() }))
        };
        let approved =
            || Standing::Approved { asid: "1".into(), ods: "X26".into(), party_key: "P".into(), emergency: false };
        let (listed, needed): (&[&str], &[&str]) = match rule.admits {
            Admits::Holders { scopes, activities } => (scopes, activities),
            _ => (&[], &[]),
        };
        let mut all = vec![
            ("nobody", Standing::Nobody),
            ("unknown certificate", Standing::Unknown),
            ("disabled system", Standing::Disabled),
            ("approved system", approved()),
            ("unknown token", Standing::Refused(Denied::TokenUnknown)),
            ("expired token", Standing::Refused(Denied::TokenExpired)),
            ("unknown key", Standing::Refused(Denied::KeyUnknown)),
            ("revoked application", Standing::Refused(Denied::ApplicationRevoked)),
        ];
        // Each level with each scope of the rule, and with one of another product.
        for level in ["level0", "level3", "aal1", "aal2", "aal3", "P0", "P5", "P9"] {
            all.push(("other scope", proven(level, vec![format!("urn:nhsd:apim:{level}:other")], vec![])));
            for scope in listed.iter().filter(|scope| scope.contains(&format!(":{level}:"))) {
                let of = |activities: &[&str]| {
                    let activities = activities.iter().map(|a| (*a).to_owned()).collect();
                    proven(level, vec![(*scope).into()], activities)
                };
                // Of systems and citizens no activity is asked.
                if needed.is_empty() || !level.starts_with("aal") {
                    all.push(("right scope", of(&[])));
                } else {
                    all.extend(needed.iter().map(|activity| ("right scope", of(&["B9998", *activity]))));
                    all.push(("no activity", of(&["B9999"])));
                    all.push(("no activity", of(&[])));
                }
            }
        }
        all
    }

    /// The rule as a reader of the table understands it.
    fn may(rule: &Rule, who: &str, standing: &Standing) -> bool {
        match rule.admits {
            Admits::Anyone => true,
            Admits::AnyCertificate => ["unknown certificate", "disabled system", "approved system"].contains(&who),
            Admits::ApprovedSystem => who == "approved system",
            Admits::Holders { scopes: [], .. } => {
                matches!(standing, Standing::Proven(proven) if proven.caller.level != "level0")
            }
            Admits::Holders { .. } => who == "right scope",
        }
    }

    #[test]
    fn every_interaction_admits_whom_its_row_says_and_nobody_else() {
        let mut tried = 0;
        for (_, rules) in ALL {
            let gate = Gate::new(rules.iter().map(|rule| rule.interaction), *rules).unwrap();
            for rule in *rules {
                for (who, standing) in callers(rule) {
                    let expected = may(rule, who, &standing);
                    let permit = gate.permit(rule.interaction, standing, &Caller::default());
                    assert_eq!(permit.is_ok(), expected, "{} by {who}", rule.interaction);
                    tried += 1;
                }
            }
        }
        assert!(tried > 400, "{tried} tried");
    }

    #[test]
    fn a_row_names_an_organisation_where_the_gate_asks_staff_for_a_role() {
        for (_, rules) in ALL {
            let gate = Gate::new(rules.iter().map(|rule| rule.interaction), *rules).unwrap();
            for rule in *rules {
                let scopes = match rule.admits {
                    Admits::Holders { scopes, .. } => scopes,
                    _ => &[],
                };
                // Those whose role is closed or whose organisation is switched off have none.
                let staff = scopes.iter().filter(|scope| scope.contains(":aal"));
                let refused = staff.map(|scope| {
                    let caller = Caller { level: "aal3".into(), scopes: vec![(*scope).into()], ..Default::default() };
                    let standing =
                        Standing::Lapsed(Denied::RolesNone, Box::new(Proven { caller, quota: 0, emergency: false }));
                    gate.permit(rule.interaction, standing, &Caller::default()).err() == Some(Denied::RolesNone)
                });
                let refused: Vec<bool> = refused.collect();
                let asked = !refused.is_empty() && refused.iter().all(|refused| *refused);
                assert_eq!(rule.organisation != Organisation::Any, asked, "{}", rule.interaction);
            }
        }
    }

    #[test]
    fn a_rule_of_scopes_admits_by_level_and_by_activity() {
        const ADMITS: Admits = Admits::Holders {
            scopes: &["urn:nhsd:apim:app:level3:x", "urn:nhsd:apim:user-nhs-id:aal3:x"],
            activities: &["B0820", "B0825"],
        };
        const RULES: &[Rule] = &[Rule::new("x.read", ADMITS, "")];
        let gate = Gate::new(["x.read"], RULES).unwrap();
        for (who, standing) in callers(&RULES[0]) {
            let expected = may(&RULES[0], who, &standing);
            let permit = gate.permit("x.read", standing, &Caller { address: "10.0.0.1".into(), ..Default::default() });
            assert_eq!(permit.is_ok(), expected, "{who}");
            match permit {
                Ok(permit) => assert_eq!(permit.caller().address, "10.0.0.1"),
                Err(why) if who == "no activity" => assert_eq!(why, Denied::NoActivity),
                Err(why) if who == "other scope" => assert_eq!(why, Denied::NoScope),
                Err(_) => {}
            }
        }
    }
}
