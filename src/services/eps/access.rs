//! Who may do what (spec/eps.md §3.2; activities: spec/identity.md §6.5), read off the proven caller once the message is known.

use super::sign::Algorithm;
use crate::access::{caller::Caller, policy};

/// Attribute of an application that still signs with SHA-1 (§6.1).
pub const SHA1: &str = "eps.rs1";

/// What a scope opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duty {
    Prescribing,
    Dispensing,
    Tracker,
}

/// Whether a system may do it without a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    UserOnly,
    UserOrApplication,
}

/// A refusal's words; its issue is `forbidden`, severity `fatal`.
pub type Denied = String;

impl Duty {
    fn word(self) -> &'static str {
        match self {
            Duty::Prescribing => "prescribing",
            Duty::Dispensing => "dispensing",
            Duty::Tracker => "tracker",
        }
    }
    fn is_user(self, scope: &str) -> bool {
        let Some(product) = scope.strip_prefix("urn:nhsd:apim:user-nhs-id:aal3:") else { return false };
        match self {
            Duty::Tracker => product == "electronic-prescription-service-api:tracker",
            _ => {
                product.strip_prefix("electronic-prescription-service-api:") == Some(self.word())
                    || product.strip_prefix("fhir-") == Some(self.word())
            }
        }
    }
    fn is_application(self, scope: &str) -> bool {
        let product = scope.strip_prefix("urn:nhsd:apim:app:level3:electronic-prescription-service-api:");
        product == Some(self.word())
    }
}

/// The scopes' rule of §3.2: the scope that opens the duty.
pub fn scope(caller: &Caller, duty: Duty, who: Who) -> Result<&str, Denied> {
    if let Some(scope) = caller.scopes.iter().find(|scope| duty.is_user(scope)) {
        return Ok(scope);
    }
    let Some(scope) = caller.scopes.iter().find(|scope| duty.is_application(scope)) else {
        return Err(format!("Your app does not have permission to access {} functionality.", duty.word()));
    };
    match who {
        Who::UserOrApplication => Ok(scope),
        Who::UserOnly => {
            let word = match duty {
                Duty::Prescribing => "Prescribing",
                Duty::Dispensing => "Dispensing",
                Duty::Tracker => "Tracker",
            };
            Err(format!("{word} functionality can only be accessed using the user-restricted access mode."))
        }
    }
}

/// One of the function's activities, of a person; systems without one have none (spec/identity.md §6.5).
pub fn activity(caller: &Caller, any_of: &[&str]) -> Result<(), Denied> {
    if caller.user.is_empty() || any_of.iter().any(|wanted| caller.activities.iter().any(|has| has == wanted)) {
        return Ok(());
    }
    Err(format!("Your role needs one of these activities: {}.", any_of.join(", ")))
}

/// What the trail names as having let a message pass: its scope, and of the activities those that the message asks for; where it
/// asks for none of its own, those that met the gate's rule.
pub fn granted(caller: &Caller, scope: &str, any_of: Option<&[&str]>) -> String {
    let used: Vec<&str> = match any_of {
        Some(any_of) => caller.activities.iter().map(String::as_str).filter(|has| any_of.contains(has)).collect(),
        None => caller.granted.split(' ').filter(|word| !word.is_empty() && !word.starts_with("urn:")).collect(),
    };
    std::iter::once(scope).chain(used).collect::<Vec<_>>().join(" ")
}

/// How an application signs: what `$prepare` makes for it (§6.1).
pub fn algorithm(caller: &Caller) -> Algorithm {
    if caller.attributes.iter().any(|name| name == SHA1) { Algorithm::Rs1 } else { Algorithm::Rs256 }
}

/// Activities for each kind of message on the shared path.
pub const ORDER: &[&str] = policy::SIGN;
pub const CANCEL: &[&str] = policy::CANCEL;
pub const DISPENSE: &[&str] = policy::DISPENSE;

#[cfg(test)]
mod tests {
    use super::*;

    fn with(scopes: &[&str]) -> Caller {
        Caller { scopes: scopes.iter().map(|s| (*s).to_owned()).collect(), ..Default::default() }
    }

    #[test]
    fn scopes_open_what_they_name_and_say_what_is_missing() {
        let user = with(&["urn:nhsd:apim:user-nhs-id:aal3:fhir-prescribing"]);
        assert_eq!(
            scope(&user, Duty::Prescribing, Who::UserOnly),
            Ok("urn:nhsd:apim:user-nhs-id:aal3:fhir-prescribing")
        );
        let told = "Your app does not have permission to access dispensing functionality.";
        assert_eq!(scope(&user, Duty::Dispensing, Who::UserOnly), Err(told.into()));
        let system = with(&["urn:nhsd:apim:app:level3:electronic-prescription-service-api:dispensing"]);
        assert!(scope(&system, Duty::Dispensing, Who::UserOrApplication).is_ok());
        let told = "Dispensing functionality can only be accessed using the user-restricted access mode.";
        assert_eq!(scope(&system, Duty::Dispensing, Who::UserOnly), Err(told.into()));
        let tracker = with(&["urn:nhsd:apim:user-nhs-id:aal3:fhir-tracker"]);
        assert!(scope(&tracker, Duty::Tracker, Who::UserOrApplication).is_err(), "there is no such product");
    }

    #[test]
    fn an_application_signs_with_sha1_only_where_it_is_on_the_list() {
        let listed = Caller { attributes: vec!["pds.back-office".into(), SHA1.into()], ..Default::default() };
        assert_eq!(algorithm(&listed), Algorithm::Rs1);
        assert_eq!(algorithm(&Caller::default()), Algorithm::Rs256);
    }

    #[test]
    fn a_person_needs_an_activity_and_a_system_none() {
        let nurse = Caller { user: "1".into(), activities: vec!["B0278".into()], ..Default::default() };
        assert!(activity(&nurse, ORDER).is_err());
        assert_eq!(activity(&Caller::default(), DISPENSE), Ok(()));
    }
}
