//! A FHIR message → `message`, or every check that failed (spec/eps.md §3.3: steps 1 to 4 and 6 to 8, and of step 10 what needs no
//! stored record; scopes, step 5, are the caller's, and signatures, step 9, are `sign`'s).
//!
//! Invariant: what comes out is complete and in stored form; what does not come out has changed nothing.
//!
//! | message | steps 1–4 | then, after the scope |
//! |---|---|---|
//! | `$process-message`, `$prepare` | [`parse`], [`event`] | `order`, `cancel`, `dispense` |
//! | `Task/$release` | [`parse`], [`resource`], `release::by_id` | `release::release` |
//! | `Task` | [`parse`], [`resource`] | `task::task` |
//! | `Claim` | [`parse`], [`resource`], `claim::before_scope` | `claim::claim` |

pub mod bundle;
pub mod cancel;
pub mod claim;
pub mod codes;
pub mod dispense;
pub mod order;
mod order_checks;
mod order_store;
mod people;
pub mod problem;
pub mod release;
pub(super) mod rules;
mod same;
mod shapes;
pub mod structure;
pub mod task;

pub use problem::{Issue, Problems};

use bundle::Bundle;
use serde_json::Value;

/// What a message in a Bundle is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// `prescription-order`
    Order,
    /// `prescription-order-update`
    Cancel,
    /// `dispense-notification`
    DispenseNotification,
}

/// Most signatures in an order: that of the requester counts.
const SIGNATURES: usize = 4;
/// Most items of a prescription (§5).
const ITEMS: usize = 4;

/// Step 1: a body is JSON. Systems of HL7's terminology come out as the standard writes them (§3.6).
pub fn parse(body: &[u8]) -> Result<Value, Problems> {
    let mut value: Value = serde_json::from_slice(body).map_err(|e| {
        let text = format!("Failed to parse JSON encoded FHIR content: {e}");
        Problems::from(Issue::check("invalid", text, ""))
    })?;
    bundle::rewrite_systems(&mut value);
    Ok(value)
}

/// Steps 2 and 3: a resource has its FHIR shape and is of the type that this path takes.
pub fn resource(root: &Value, expected: &str) -> Result<(), Problems> {
    structure::validate(root)?;
    if bundle::is(root, expected) {
        return Ok(());
    }
    let text = format!("Incorrect FHIR resource type. Expected {expected}.");
    Err(Issue::fatal("value", text, "resourceType").into())
}

/// Step 2 alone: any resource, for `$validate`.
pub fn any(root: &Value) -> Result<(), Problems> {
    structure::validate(root)?;
    match bundle::text(root, "/resourceType") {
        Some(_) => Ok(()),
        None => Err(Issue::missing("Resource", "resourceType", "resourceType").into()),
    }
}

/// Steps 2, 3 and 4: what a Bundle wants.
pub fn event(root: &Value) -> Result<Event, Problems> {
    resource(root, "Bundle")?;
    if bundle::text(root, "/type") != Some("message") {
        return Err(Issue::shape("Bundle.type must be message", "Bundle.type").into());
    }
    if bundle::text(root, "/identifier/value").is_none() {
        return Err(Issue::missing("Bundle", "identifier", "Bundle.identifier").into());
    }
    let bundle = Bundle::of(root);
    count(&bundle, "MessageHeader", 1, 1)?;
    let code = bundle.all("MessageHeader").next().and_then(|header| bundle::text(header, "/eventCoding/code"));
    let event = match code {
        Some("prescription-order") => Event::Order,
        Some("prescription-order-update") => Event::Cancel,
        Some("dispense-notification") => Event::DispenseNotification,
        _ => {
            let text = "MessageHeader.eventCoding.code must be one of: prescription-order, prescription-order-update, \
                        dispense-notification.";
            return Err(Issue::fatal("value", text, EVENT_CODE).into());
        }
    };
    match event {
        // What is signed is the first of each: there must be no other that could be taken for it.
        Event::Order => {
            count(&bundle, "MedicationRequest", 1, ITEMS)?;
            count(&bundle, "Patient", 1, 1)?;
            count(&bundle, "Provenance", 0, SIGNATURES)?;
            unlike(&bundle)?;
        }
        Event::Cancel => {}
        Event::DispenseNotification => count(&bundle, "MedicationDispense", 1, usize::MAX)?,
    }
    Ok(event)
}

const EVENT_CODE: &str = "Bundle.entry.resource.ofType(MessageHeader).eventCoding.code";

/// No two entries of one name.
fn unlike(bundle: &Bundle) -> Result<(), Problems> {
    let mut seen = std::collections::HashSet::new();
    let twice = bundle.urls().any(|url| !url.is_empty() && !seen.insert(url.to_ascii_lowercase()));
    match twice {
        false => Ok(()),
        true => {
            let text = "Bundle contains two entries with the same fullUrl.";
            Err(Issue::check("processing", text, "Bundle.entry.fullUrl").into())
        }
    }
}

/// How many resources of a type a Bundle has (§5).
fn count(bundle: &Bundle, kind: &str, least: usize, most: usize) -> Result<(), Problems> {
    let found = bundle.all(kind).count();
    let wrong = if found < least {
        format!("Bundle contains too few resources of type {kind}. Expected at least {least}.")
    } else if found > most {
        format!("Bundle contains too many resources of type {kind}. Expected at most {most}.")
    } else {
        return Ok(());
    };
    Err(Issue::check("processing", wrong, "Bundle.entry").into())
}

/// A message's id (§4): of a Bundle the `identifier`, of others the first of them.
fn message_id(root: &Value) -> Option<String> {
    let one = bundle::text(root, "/identifier/value");
    let first = bundle::identifier(root, codes::RFC4122).or_else(|| bundle::text(root, "/identifier/0/value"));
    one.or(first).and_then(super::ids::uuid)
}

/// The reader, opened to `crate::fuzz` and to the tests.
#[cfg(any(test, feature = "fuzz"))]
pub mod parsers {
    use super::*;

    /// Reads a body as every message that there is, at this moment. Gives what refused it.
    pub fn anything(body: &[u8], now: crate::model::EpochMillis) -> Vec<Problems> {
        match parse(body) {
            Ok(root) => of(&root, now),
            Err(problems) => vec![problems],
        }
    }

    /// The same for a body that was parsed.
    pub fn of(root: &Value, now: crate::model::EpochMillis) -> Vec<Problems> {
        let mut refusals = Vec::new();
        refusals.extend(event(root).err());
        refusals.extend(order::prepare(root, Event::Order).err());
        refusals.extend(order::order(root, now, Some(now)).err());
        refusals.extend(order::store(root, now, Some(0)).err());
        refusals.extend(cancel::cancel(root).err());
        refusals.extend(dispense::dispense(root).err());
        refusals.extend(release::release(root, "a", "b").err());
        refusals.extend(task::task(root).err());
        refusals.extend(claim::before_scope(root).err());
        refusals.extend(claim::claim(root).err());
        refusals.extend(["Bundle", "Task", "Claim", "Parameters"].iter().filter_map(|kind| resource(root, kind).err()));
        refusals
    }
}

#[cfg(test)]
mod tests;
