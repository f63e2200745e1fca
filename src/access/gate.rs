//! The gate: the only maker of a [`Permit`], without which no interaction starts (P5). Pure.
//!
//! Invariants: an interaction without a rule row stops the node from starting ([`Gate::new`]); a permit names one
//! interaction and one caller and cannot be copied, kept or made elsewhere.

use super::caller::Caller;
use super::conditions::{Organisation, Purpose, Relationship};
use std::collections::HashMap;

/// What the registry says of the connecting system's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Belongs to a registered system.
    Approved { asid: String, ods: String, party_key: String, emergency: bool },
    /// Belongs to a system that an operator has disabled.
    Disabled,
    /// Our authorities signed it, and no registered system has it.
    Unknown,
    /// The request shows no credentials, and none were asked for.
    Nobody,
    /// The credentials that the request shows are not taken.
    Refused(Denied),
    /// They are not taken, and whose they are or were is known: of an expired token, of an application that was revoked.
    Lapsed(Denied, Box<Proven>),
    /// The credentials are good.
    Proven(Box<Proven>),
}

/// What an API key or an access token proves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proven {
    /// Fields from `application` on are set; the connection adds its own.
    pub caller: Caller,
    /// Requests a second that the application may make on each node; 0 leaves it to the listener.
    pub quota: u32,
    /// The application is emergency care: it is served also where there is no room for others.
    pub emergency: bool,
}

/// Whom a rule admits, before the service itself looks at tokens, mailboxes and rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admits {
    /// Whoever has a certificate of our authorities: pings and answers that tell nothing.
    AnyCertificate,
    /// Registered, enabled systems.
    ApprovedSystem,
    /// Anyone at all: the service itself checks whoever asks, or tells nothing.
    Anyone,
    /// Whoever shows an API key or access token with one of these scopes (spec/identity.md §1). A scope names its level:
    /// `…:app:level0:…` (API key), `…:app:level3:…` (signed JWT), `…:user-nhs-id:aal3:…` (staff),
    /// `…:user-nhs-login:P9:…` (citizen). No scopes mean any access token, and no API key. A member of staff needs one of the activities too, where any are listed.
    Holders { scopes: &'static [&'static str], activities: &'static [&'static str] },
}

/// One row of the rules.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Stable dotted name, as in audit records and metrics.
    pub interaction: &'static str,
    pub admits: Admits,
    pub organisation: Organisation,
    pub relationship: Relationship,
    pub purpose: Purpose,
    /// Where the interaction is specified.
    pub spec: &'static str,
}

impl Rule {
    /// A rule that asks for nothing beyond whom it admits.
    pub const fn new(interaction: &'static str, admits: Admits, spec: &'static str) -> Rule {
        let (organisation, relationship, purpose) = (Organisation::Any, Relationship::Any, Purpose::Any);
        Rule { interaction, admits, organisation, relationship, purpose, spec }
    }
    pub const fn of(self, organisation: Organisation) -> Rule {
        Rule { organisation, ..self }
    }
    pub const fn to(self, relationship: Relationship) -> Rule {
        Rule { relationship, ..self }
    }
    pub const fn with(self, purpose: Purpose) -> Rule {
        Rule { purpose, ..self }
    }
    /// One of these is asked of staff; none where it is empty.
    pub fn activities(&self) -> &'static [&'static str] {
        match self.admits {
            Admits::Holders { activities, .. } => activities,
            _ => &[],
        }
    }
}

/// Leave for one caller to do one thing, once.
#[derive(Debug)]
pub struct Permit {
    interaction: &'static str,
    caller: Caller,
}

impl Permit {
    pub fn interaction(&self) -> &'static str {
        self.interaction
    }
    pub fn caller(&self) -> &Caller {
        &self.caller
    }
    /// Ends the permit: the caller goes into the command.
    pub fn into_caller(self) -> Caller {
        self.caller
    }
}

/// Why the gate stays shut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    #[error("the certificate belongs to no registered system")]
    Unknown,
    #[error("the system is disabled")]
    Disabled,
    #[error("no rule admits the interaction")]
    NoRule,
    #[error("no API key or access token came with the request")]
    NoCredentials,
    #[error("no application has the API key")]
    KeyUnknown,
    #[error("the access token is unknown or revoked")]
    TokenUnknown,
    #[error("the access token has expired")]
    TokenExpired,
    #[error("the application is not approved, or revoked")]
    ApplicationRevoked,
    #[error("no product of the application gives the scope at this level")]
    NoScope,
    #[error("the role has none of the activities")]
    NoActivity,
    /// Which role a member of staff acts in cannot be told, in the words of spec/identity.md §5: as this and the next three.
    #[error("multiple roles found in user info, please check NHSD-Session-URID")]
    RolesSeveral,
    #[error("no userroles available, please check NHSD-Session-URID is valid")]
    RolesNone,
    #[error("NHSD-Session-URID is invalid")]
    RoleForeign,
    #[error("selected_roleid is misconfigured/invalid")]
    RoleGone,
}

impl Denied {
    /// Whether the caller is known and good, and only the role they act in is not.
    pub fn is_of_roles(self) -> bool {
        matches!(self, Denied::RolesSeveral | Denied::RolesNone | Denied::RoleForeign | Denied::RoleGone)
    }
}

/// Why the node does not start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRules {
    #[error("interaction {0} has no rule")]
    Missing(&'static str),
    #[error("interaction {0} has two rules")]
    Twice(&'static str),
    #[error("rule {0} is for no interaction")]
    Stray(&'static str),
}

pub struct Gate {
    rules: HashMap<&'static str, Admits>,
}

impl Gate {
    /// `interactions`: the names of all that can be asked for; `rules`: their rows.
    pub fn new<'a>(
        interactions: impl IntoIterator<Item = &'static str>,
        rules: impl IntoIterator<Item = &'a Rule>,
    ) -> Result<Gate, BadRules> {
        let mut by_name = HashMap::new();
        for rule in rules {
            if by_name.insert(rule.interaction, rule.admits).is_some() {
                return Err(BadRules::Twice(rule.interaction));
            }
        }
        let mut names = std::collections::HashSet::new();
        for name in interactions {
            if !by_name.contains_key(name) {
                return Err(BadRules::Missing(name));
            }
            names.insert(name);
        }
        match by_name.keys().find(|name| !names.contains(*name)) {
            Some(stray) => Err(BadRules::Stray(stray)),
            None => Ok(Gate { rules: by_name }),
        }
    }

    /// `caller` as the connection proved it, without the registry's part, which comes from `standing`.
    pub fn permit(&self, interaction: &'static str, standing: Standing, caller: &Caller) -> Result<Permit, Denied> {
        let admits = *self.rules.get(interaction).ok_or(Denied::NoRule)?;
        let mut caller = caller.clone();
        let standing = match (standing, admits) {
            // Who somebody is, is told without a role too; all else is done in one (spec/identity.md §5).
            (Standing::Lapsed(why, proven), Admits::Holders { scopes: [], .. }) if why.is_of_roles() => {
                Standing::Proven(proven)
            }
            // Another role would not help whoever lacks the product.
            (Standing::Lapsed(why, proven), Admits::Holders { scopes, .. })
                if why.is_of_roles() && !proven.caller.scopes.iter().any(|s| scopes.contains(&s.as_str())) =>
            {
                return Err(Denied::NoScope);
            }
            (standing, _) => standing,
        };
        match (standing, admits) {
            (Standing::Proven(proven), Admits::Holders { scopes, activities }) => {
                let proven = proven.caller;
                let any_token = scopes.is_empty() && proven.level != "level0";
                let scope = proven.scopes.iter().find(|s| scopes.contains(&s.as_str()));
                if !any_token && scope.is_none() {
                    return Err(Denied::NoScope);
                }
                let staff = proven.level.starts_with("aal");
                if staff
                    && !activities.is_empty()
                    && !proven.activities.iter().any(|a| activities.contains(&a.as_str()))
                {
                    return Err(Denied::NoActivity);
                }
                let used = proven.activities.iter().filter(|a| activities.contains(&a.as_str()));
                let granted: Vec<&str> = scope.into_iter().chain(used).map(String::as_str).collect();
                let granted = granted.join(" ");
                let connection = std::mem::replace(&mut caller, proven);
                caller.granted = granted;
                (caller.address, caller.certificate) = (connection.address, connection.certificate);
                caller.common_name = connection.common_name;
            }
            (Standing::Refused(why) | Standing::Lapsed(why, _), Admits::Holders { .. }) => return Err(why),
            (_, Admits::Holders { .. }) => return Err(Denied::NoCredentials),
            (_, Admits::Anyone) => {}
            (Standing::Approved { asid, ods, party_key, .. }, _) => {
                (caller.asid, caller.ods, caller.party_key) = (asid, ods, party_key);
            }
            (Standing::Disabled | Standing::Unknown, Admits::AnyCertificate) => {}
            (Standing::Disabled, Admits::ApprovedSystem) => return Err(Denied::Disabled),
            (_, Admits::AnyCertificate | Admits::ApprovedSystem) => return Err(Denied::Unknown),
        }
        Ok(Permit { interaction, caller })
    }

    /// Who it is that a refusal turns away, as far as certificate, key or token say: what the audit trail names. `None` for
    /// those that nobody knows.
    pub fn turned_away(standing: &Standing, caller: &Caller) -> Option<Caller> {
        match standing {
            Standing::Proven(proven) | Standing::Lapsed(_, proven) => {
                let connection = caller.clone();
                let mut caller = proven.caller.clone();
                (caller.address, caller.certificate) = (connection.address, connection.certificate);
                caller.common_name = connection.common_name;
                Some(caller)
            }
            _ if !caller.certificate.is_empty() => Some(caller.clone()),
            _ => None,
        }
    }

    /// Whether the interaction asks for an API key or access token: others need not be looked up.
    pub fn wants_credentials(&self, interaction: &str) -> bool {
        matches!(self.rules.get(interaction), Some(Admits::Holders { .. }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: [Rule; 2] =
        [Rule::new("a.open", Admits::AnyCertificate, ""), Rule::new("a.closed", Admits::ApprovedSystem, "")];

    #[test]
    fn an_interaction_without_a_rule_does_not_start() {
        assert_eq!(Gate::new(["a.open", "a.closed", "a.new"], &RULES).err(), Some(BadRules::Missing("a.new")));
        assert_eq!(Gate::new(["a.open"], &RULES).err(), Some(BadRules::Stray("a.closed")));
        assert_eq!(Gate::new(["a.open"], [&RULES[0], &RULES[0]]).err(), Some(BadRules::Twice("a.open")));
    }

    #[test]
    fn who_is_turned_away_is_known_by_token_or_certificate_and_else_not_at_all() {
        let here = Caller { address: "10.0.0.1".into(), ..Default::default() };
        let proven = Box::new(Proven {
            caller: Caller { application: "app".into(), address: "forged".into(), ..Default::default() },
            ..Default::default()
        });
        let lapsed = Standing::Lapsed(Denied::TokenExpired, proven.clone());
        for standing in [Standing::Proven(proven), lapsed] {
            let who = Gate::turned_away(&standing, &here).unwrap();
            assert_eq!((who.application.as_str(), who.address.as_str()), ("app", "10.0.0.1"));
        }
        for standing in [Standing::Nobody, Standing::Refused(Denied::TokenUnknown)] {
            assert_eq!(Gate::turned_away(&standing, &here), None);
        }
        let system = Caller { certificate: "ab".into(), ..here };
        assert_eq!(Gate::turned_away(&Standing::Unknown, &system), Some(system));
    }

    #[test]
    fn a_permit_says_by_what_of_the_callers_it_was_given() {
        const SCOPED: [Rule; 1] =
            [Rule::new("a.read", Admits::Holders { scopes: &["s:aal3:x"], activities: &["B0016", "B0820"] }, "")];
        let gate = Gate::new(["a.read"], &SCOPED).unwrap();
        let caller = Caller {
            level: "aal3".into(),
            scopes: vec!["s:aal3:y".into(), "s:aal3:x".into()],
            activities: vec!["B0001".into(), "B0016".into()],
            ..Default::default()
        };
        let standing = Standing::Proven(Box::new(Proven { caller, ..Default::default() }));
        let permit = gate.permit("a.read", standing, &Caller::default()).unwrap();
        assert_eq!(permit.caller().granted, "s:aal3:x B0016");
    }

    #[test]
    fn only_a_registered_enabled_system_gets_through() {
        let gate = Gate::new(["a.open", "a.closed"], &RULES).unwrap();
        let caller = Caller { certificate: "ab".into(), ..Default::default() };
        let approved =
            || Standing::Approved { asid: "2000".into(), ods: "X26".into(), party_key: "P".into(), emergency: false };
        let permit = gate.permit("a.closed", approved(), &caller).unwrap();
        assert_eq!((permit.caller().asid.as_str(), permit.caller().certificate.as_str()), ("2000", "ab"));
        assert_eq!(gate.permit("a.closed", Standing::Unknown, &caller).unwrap_err(), Denied::Unknown);
        assert_eq!(gate.permit("a.closed", Standing::Disabled, &caller).unwrap_err(), Denied::Disabled);
        assert_eq!(gate.permit("a.none", approved(), &caller).unwrap_err(), Denied::NoRule);
        assert!(gate.permit("a.open", Standing::Unknown, &caller).unwrap().into_caller().asid.is_empty());
    }

    #[test]
    fn staff_without_one_role_get_to_no_interaction_but_who_they_are() {
        let rule = |interaction, scopes| Rule::new(interaction, Admits::Holders { scopes, activities: &[] }, "");
        let rules = [rule("a.read", &["s:aal3:x"]), rule("a.self", &[])];
        let gate = Gate::new(["a.read", "a.self"], &rules).unwrap();
        let lapsed = |why, scope: &str| {
            let caller = Caller {
                level: "aal3".into(),
                user: "656005750104".into(),
                scopes: vec![scope.into()],
                ..Default::default()
            };
            Standing::Lapsed(why, Box::new(Proven { caller, ..Default::default() }))
        };
        for why in [Denied::RolesSeveral, Denied::RolesNone, Denied::RoleForeign, Denied::RoleGone] {
            let of = |scope, name| gate.permit(name, lapsed(why, scope), &Caller::default());
            assert_eq!(of("s:aal3:x", "a.read").unwrap_err(), why);
            assert_eq!(of("s:aal3:y", "a.read").unwrap_err(), Denied::NoScope);
            assert_eq!(of("s:aal3:x", "a.self").unwrap().caller().user, "656005750104");
        }
        let expired = gate.permit("a.self", lapsed(Denied::TokenExpired, "s:aal3:x"), &Caller::default());
        assert_eq!(expired.unwrap_err(), Denied::TokenExpired);
    }
}
