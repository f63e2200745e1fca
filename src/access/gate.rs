//! The gate: the only maker of a [`Permit`], without which no interaction starts (P5). Pure.
//!
//! Invariants: an interaction without a rule row stops the node from starting ([`Gate::new`]); a permit names one
//! interaction and one caller and cannot be copied, kept or made elsewhere.

use super::caller::Caller;
use std::collections::HashMap;

/// What the registry says of the connecting system's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Belongs to a registered system.
    Approved { asid: String, ods: String, party_key: String },
    /// Belongs to a system that an operator has disabled.
    Disabled,
    /// Our authorities signed it, and no registered system has it.
    Unknown,
}

/// Whom a rule admits, before the service itself looks at tokens, mailboxes and rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admits {
    /// Whoever has a certificate of our authorities: pings and answers that tell nothing.
    AnyCertificate,
    /// Registered, enabled systems.
    ApprovedSystem,
}

/// One row of the rules.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Stable dotted name, as in audit records and metrics.
    pub interaction: &'static str,
    pub admits: Admits,
    /// Where the interaction is specified.
    pub spec: &'static str,
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
        match (standing, admits) {
            (Standing::Approved { asid, ods, party_key }, _) => {
                (caller.asid, caller.ods, caller.party_key) = (asid, ods, party_key);
            }
            (_, Admits::AnyCertificate) => {}
            (Standing::Disabled, Admits::ApprovedSystem) => return Err(Denied::Disabled),
            (Standing::Unknown, Admits::ApprovedSystem) => return Err(Denied::Unknown),
        }
        Ok(Permit { interaction, caller })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: [Rule; 2] = [
        Rule { interaction: "a.open", admits: Admits::AnyCertificate, spec: "" },
        Rule { interaction: "a.closed", admits: Admits::ApprovedSystem, spec: "" },
    ];

    #[test]
    fn an_interaction_without_a_rule_does_not_start() {
        assert_eq!(Gate::new(["a.open", "a.closed", "a.new"], &RULES).err(), Some(BadRules::Missing("a.new")));
        assert_eq!(Gate::new(["a.open"], &RULES).err(), Some(BadRules::Stray("a.closed")));
        assert_eq!(Gate::new(["a.open"], [&RULES[0], &RULES[0]]).err(), Some(BadRules::Twice("a.open")));
    }

    #[test]
    fn only_a_registered_enabled_system_gets_through() {
        let gate = Gate::new(["a.open", "a.closed"], &RULES).unwrap();
        let caller = Caller { certificate: "ab".into(), ..Default::default() };
        let approved = || Standing::Approved { asid: "2000".into(), ods: "X26".into(), party_key: "P".into() };
        let permit = gate.permit("a.closed", approved(), &caller).unwrap();
        assert_eq!((permit.caller().asid.as_str(), permit.caller().certificate.as_str()), ("2000", "ab"));
        assert_eq!(gate.permit("a.closed", Standing::Unknown, &caller).unwrap_err(), Denied::Unknown);
        assert_eq!(gate.permit("a.closed", Standing::Disabled, &caller).unwrap_err(), Denied::Disabled);
        assert_eq!(gate.permit("a.none", approved(), &caller).unwrap_err(), Denied::NoRule);
        assert!(gate.permit("a.open", Standing::Unknown, &caller).unwrap().into_caller().asid.is_empty());
    }
}
