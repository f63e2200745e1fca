//! A request for prescriptions (spec/eps.md §9.1): by id, or all that are nominated to a dispenser.

use super::{
    Problems,
    bundle::{identifier, is, list, text},
    codes, order_checks as checks, people,
    problem::{Issue, SPINE},
    rules,
};
use crate::{
    services::eps::{ids, message},
    wire::packed,
};
use serde_json::Value;

const OWNER: &str = "Parameters.parameter(\"owner\").resource.identifier.value";
/// Where a release names its prescription.
pub const SHORT_ID: &str = "Parameters.parameter(\"group-identifier\").valueIdentifier.value";
const AGENT: &str = "Parameters.parameter(\"agent\").resource";

/// A parameter by its name.
fn parameter<'a>(root: &'a Value, name: &str) -> Option<&'a Value> {
    list(root, "/parameter").iter().find(|p| p.get("name").and_then(Value::as_str) == Some(name))
}

fn resource<'a>(root: &'a Value, name: &str, kind: &str) -> Option<&'a Value> {
    parameter(root, name)?.get("resource").filter(|r| is(r, kind))
}

/// Whether a checked request names one prescription: that needs a user, the other kind may come from an application (§3.2).
pub fn by_id(root: &Value) -> bool {
    parameter(root, "group-identifier").is_some()
}

/// Reads a request. `request` is its `X-Request-ID`, `response` the id that its answer will have. A nominated release comes
/// out with `nominated` and without an id: it is one `Release` for each prescription that is then found.
pub fn release(root: &Value, request: &str, response: &str) -> Result<message::Release, Problems> {
    let owner = resource(root, "owner", "Organization");
    let agent = resource(root, "agent", "PractitionerRole");
    let mut issues = Vec::new();
    if owner.is_none() {
        issues.push(missing("owner"));
    }
    match agent {
        None => issues.push(missing("agent")),
        Some(agent) => {
            if !people::by_identifier(agent) {
                issues.push(checks::not_identified(&format!("{AGENT}.practitioner")));
            }
            if list(agent, "/telecom").is_empty() {
                let text = format!("Required field {AGENT}.telecom is missing.");
                issues.push(Issue::check("invalid", text, format!("{AGENT}.telecom")));
            }
        }
    }
    Problems::none(issues)?;
    let (owner, agent) = (owner.unwrap_or(&Value::Null), agent.unwrap_or(&Value::Null));
    if identifier(owner, codes::ODS).is_none() {
        let path = "Parameters.parameter(\"owner\").resource.identifier";
        return Err(Issue::too_few("Too few values submitted. Expected 1 element.", path).into());
    }
    let by = people::dispenser(agent, owner);
    if !people::known(&by) {
        return Err(Issue::failure(rules::DISPENSER.at(OWNER)).into());
    }
    let nominated = !by_id(root);
    let id = if nominated { String::new() } else { short(root)? };
    Ok(message::Release {
        id,
        by,
        request: request.to_ascii_lowercase(),
        response: response.to_ascii_lowercase(),
        nominated,
        owner: packed::pack(owner),
        agent: packed::pack(agent),
        ..Default::default()
    })
}

/// No. 26.
fn missing(name: &str) -> Issue {
    Issue::check(
        "invalid",
        format!("Required parameter {name} is missing."),
        format!("Parameters.parameter(\"{name}\")"),
    )
}

/// The prescription asked for. An id that no prescription can have is unknown like any other (§9.3).
fn short(root: &Value) -> Result<String, Issue> {
    let id = parameter(root, "group-identifier").and_then(|p| text(p, "/valueIdentifier/value"));
    let id = id.and_then(|id| ids::short(id).ok());
    let told = ("RESOURCE_NOT_FOUND", "Resource not found");
    id.ok_or_else(|| Issue::store("not-found", SPINE, told, SHORT_ID, rules::SHORT_ID_FORM))
}
