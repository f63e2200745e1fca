//! A return (spec/eps.md §11) and a withdrawal (§12): Tasks that differ by their status.

use super::{
    Problems,
    bundle::{code_of, repeats, text},
    codes, message_id, order_checks as checks, people,
    problem::Issue,
    rules,
};
use crate::{
    model::NhsNumber,
    services::eps::{ids, message},
};
use serde_json::Value;

/// What a Task is.
#[derive(Clone, Debug, PartialEq)]
pub enum Task {
    Return(message::Return),
    Withdraw(message::Withdraw),
}

/// What both are, once checked.
struct Common {
    message: String,
    id: String,
    nhs: u64,
    issue: u32,
    reason: String,
    /// Id of what the Task is about, lower case.
    focus: String,
    by: message::Sender,
}

/// Reads a Task whose shape and scope were checked.
pub fn task(root: &Value) -> Result<Task, Problems> {
    let withdraws = text(root, "/status") == Some("in-progress");
    let (system, table) = match withdraws {
        true => (codes::WITHDRAW_REASON, codes::WITHDRAW_REASONS),
        false => (codes::RETURN_REASON, codes::RETURN_REASONS),
    };
    let reason = code_of(root.get("statusReason"), system).filter(|r| table.contains(r));
    check(root, reason.is_some(), system)?;
    let c = read(root, reason.unwrap_or_default())?;
    let Common { message, id, nhs, issue, reason, focus, by } = c;
    Ok(if withdraws {
        let notification = focus;
        let unset = Default::default();
        Task::Withdraw(message::Withdraw { message, id, nhs, issue, reason, notification, by, ..unset })
    } else {
        let unset = Default::default();
        Task::Return(message::Return { message, id, nhs, issue, reason, response: focus, by, ..unset })
    })
}

/// Nos. 24, 25, 9 and 20.
fn check(root: &Value, reason: bool, system: &str) -> Result<(), Problems> {
    let mut issues = Vec::new();
    let mut wrong = |text: &str, path: &str| issues.push(Issue::check("value", text, path));
    if text(root, "/intent") != Some("order") {
        wrong("Task.intent must be one of: 'order'.", "Task.intent");
    }
    let known = match text(root, "/status") {
        Some("rejected") => true,
        Some("in-progress") => {
            // Without a code there is nothing to compare.
            if root.get("code").is_none() {
                wrong("Task.code is required when Task.status is 'in-progress'.", "Task.code");
            } else if code_of(root.get("code"), codes::TASK_CODE) != Some("abort") {
                wrong("Task.code.coding.code must be one of: 'abort'.", "Task.code.coding.code");
            }
            true
        }
        _ => {
            wrong("Task.status must be one of: 'in-progress', 'rejected'.", "Task.status");
            false
        }
    };
    if known && !reason {
        let text = format!("Task.reasonCode must have a system of '{system}' and a value from that system.");
        wrong(&text, "Task.reasonCode");
    }
    match people::inner_role(root, root.get("requester")) {
        None => issues.push(checks::not_contained("Task.requester")),
        Some(role) => {
            if !people::by_identifier(role) {
                issues.push(checks::not_identified("Task.contained(\"PractitionerRole\").practitioner"));
            }
            if people::inner_organization(root, role).is_none() {
                issues.push(checks::not_contained("Task.contained(\"PractitionerRole\").organization"));
            }
        }
    }
    Problems::none(issues)
}

fn read(root: &Value, reason: &str) -> Result<Common, Issue> {
    let role = people::inner_role(root, root.get("requester")).unwrap_or(&Value::Null);
    let by = people::dispenser(role, people::inner_organization(root, role).unwrap_or(&Value::Null));
    if !people::known(&by) {
        return Err(Issue::failure(rules::DISPENSER.at("Task.contained(\"Organization\").identifier.value")));
    }
    let short = text(root, "/groupIdentifier/value").unwrap_or_default();
    let nhs = text(root, "/for/identifier/value").and_then(NhsNumber::strict);
    Ok(Common {
        message: message_id(root).ok_or_else(|| Issue::failure(rules::MESSAGE.at("Task.identifier.value")))?,
        id: ids::short(short).map_err(|_| checks::unknown("Task.groupIdentifier.value"))?,
        nhs: nhs.ok_or_else(|| Issue::failure(rules::NHS_NUMBER.at("Task.for.identifier.value")))?.value(),
        issue: repeats(root).0,
        reason: reason.to_owned(),
        focus: text(root, "/focus/identifier/value").unwrap_or_default().to_ascii_lowercase(),
        by,
    })
}
