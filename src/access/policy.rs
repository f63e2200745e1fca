//! Which activity opens which function (spec/identity.md §6.5), as one table: the seed policy. Rules and services take their
//! activities from here; `spine role functions` prints it.

/// One function.
#[derive(Clone, Copy, Debug)]
pub struct Function {
    /// Stable word.
    pub name: &'static str,
    /// One of these opens it.
    pub any_of: &'static [&'static str],
    /// And one of these; empty asks for nothing more.
    pub with: &'static [&'static str],
    /// Whether the specification has it from a public source (`S`), or infers it (`I`).
    pub status: &'static str,
    /// What holds it: an interaction's rule, a service; empty while nothing here does the function yet.
    pub held_by: &'static str,
}

const PLAIN: Function = Function { name: "", any_of: &[], with: &[], status: "S", held_by: "" };

/// Finding and reading people; whoever may amend them must find them first.
pub const TRACE_PEOPLE: &[&str] = &["B0264", "B0254", "B0825", "B0820"];
/// Changing people and making new ones.
pub const AMEND_PEOPLE: &[&str] = &["B0825"];
/// Signing prescriptions.
pub const SIGN: &[&str] = &["B0420", "B0440", "B0058"];
/// Preparing them to be signed; whoever signs has to.
pub const PREPARE: &[&str] = &["B0278", "B0420", "B0440", "B0058"];
/// Taking prescriptions back; whoever signs may anyway.
pub const CANCEL: &[&str] = &["B0468", "B0420", "B0440", "B0058"];
/// Dispensing; B0572 includes B0570 (I).
pub const DISPENSE: &[&str] = &["B0570", "B0572"];
/// Claiming for what was dispensed.
pub const CLAIM: &[&str] = &["B0572"];
/// Any of the messages that one path takes; which of them is the service's to look at.
pub const MESSAGES: &[&str] = &["B0420", "B0440", "B0058", "B0468", "B0570", "B0572"];
/// Those to whom §9.3 delivers alerts.
pub const RECEIVE_ALERTS: &[&str] = &["B0015", "B0016", "B0017", "B0018"];
/// Those who may read the audit trail: privacy officers, and who views system logs and reports (B0011).
pub const READ_AUDIT: &[&str] = &["B0011", "B0015", "B0016", "B0017", "B0018"];
/// Of a summary care record (§6.5 and the list in §6.4).
const VIEW_SCR: &[&str] = &[
    "B0370", "B0360", "B0380", "B8028", "B8029", "B0790", "B0064", "B0072", "B0800", "B1690", "B1691", "B1693", "B1694",
];

/// The table of §6.5, in its order.
pub const FUNCTIONS: &[Function] = &[
    Function { name: "scr.view", any_of: VIEW_SCR, ..PLAIN },
    Function { name: "scr.view_without_permission", any_of: &["B0168", "B0082"], ..PLAIN },
    Function { name: "scr.set_consent", any_of: &["B0020"], with: &["B0380", "B8028", "B8029"], ..PLAIN },
    // PDS asks them of staff; systems without a user and patients are admitted by their scope (spec/pds.md §2).
    Function {
        name: "pds.trace",
        any_of: TRACE_PEOPLE,
        status: "I",
        held_by: "pds.retrieve, pds.search, pds.related, pds.coverage",
        ..PLAIN
    },
    Function {
        name: "pds.amend",
        any_of: AMEND_PEOPLE,
        status: "I",
        held_by: "pds.update, pds.create, pds.birth, pds.coverage_set",
        ..PLAIN
    },
    // Opens nothing here: what is published of PDS shows a restricted record without what says where the person is to every
    // member of staff, whatever their activities, and lets none of them change it (spec/pds.md §6); §7 step 5 leaves it to that.
    Function { name: "pds.sensitive_record", any_of: &["B1611"], status: "I", ..PLAIN },
    Function { name: "eps.sign", any_of: SIGN, ..PLAIN },
    Function { name: "eps.prepare", any_of: PREPARE, held_by: "eps.prepare", ..PLAIN },
    Function { name: "eps.cancel", any_of: CANCEL, ..PLAIN },
    // One path for orders, cancellations and dispense notifications: the service asks for the row of each.
    Function { name: "eps.message", any_of: MESSAGES, status: "I", held_by: "eps.process_message", ..PLAIN },
    Function { name: "eps.nominate", any_of: &["B0424"], ..PLAIN },
    Function { name: "eps.dispense", any_of: DISPENSE, held_by: "eps.release, eps.task", ..PLAIN },
    Function { name: "eps.claim", any_of: CLAIM, held_by: "eps.claim", ..PLAIN },
    Function { name: "cpis.view", any_of: &["B0107", "B0170"], ..PLAIN },
    Function { name: "alerts.receive", any_of: RECEIVE_ALERTS, held_by: "alerts.*", ..PLAIN },
    Function { name: "audit.read", any_of: READ_AUDIT, status: "I", held_by: "audit.search, audit.read", ..PLAIN },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::rules;

    #[test]
    fn each_function_is_there_once_and_its_rules_ask_for_what_it_says() {
        for (at, function) in FUNCTIONS.iter().enumerate() {
            assert!(FUNCTIONS[..at].iter().all(|other| other.name != function.name), "{} twice", function.name);
            let code = |c: &&str| c.len() == 5 && c.starts_with('B') && c[1..].bytes().all(|b| b.is_ascii_digit());
            assert!(!function.any_of.is_empty() && function.any_of.iter().chain(function.with).all(code));
            let holds = function.held_by.split(", ").filter(|name| !name.is_empty());
            for name in holds {
                let all = rules::ALL.iter().flat_map(|(_, rules)| rules.iter());
                let mine = all.filter(|rule| {
                    rule.interaction == name
                        || name.ends_with('*') && rule.interaction.starts_with(name.trim_end_matches('*'))
                });
                let activities: Vec<_> = mine.map(|rule| rule.activities()).collect();
                assert!(!activities.is_empty() && activities.iter().all(|a| *a == function.any_of), "{name}");
            }
        }
    }

    #[test]
    fn a_rule_that_asks_for_activities_takes_them_from_the_table() {
        let asking = rules::ALL.iter().flat_map(|(_, rules)| rules.iter()).filter(|rule| !rule.activities().is_empty());
        for rule in asking {
            let name = rule.interaction;
            let is_named = |held: &str| held == name || held.strip_suffix('*').is_some_and(|all| name.starts_with(all));
            let held = FUNCTIONS.iter().any(|f| f.any_of == rule.activities() && f.held_by.split(", ").any(is_named));
            assert!(held, "{name} is held by no function");
        }
    }
}
