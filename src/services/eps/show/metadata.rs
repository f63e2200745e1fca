//! CapabilityStatement of each base path, `_ping` and `_status` (spec/eps.md §2 nos. 13, 14): what is listed is what is served.

use serde_json::{Value, json};

/// Which base path is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base {
    Prescribing,
    Dispensing,
    /// `/electronic-prescriptions`: both.
    Both,
    /// `/clinical-prescription-tracker`.
    Tracker,
    /// `/prescription-status-update`.
    Status,
}

/// An operation: its name, and who asks for it.
struct Operation {
    name: &'static str,
    resource: Option<&'static str>,
    bases: &'static [Base],
    documentation: &'static str,
}

use Base::{Both, Dispensing, Prescribing, Status, Tracker};

const OPERATIONS: [Operation; 3] = [
    Operation {
        name: "prepare",
        resource: None,
        bases: &[Prescribing, Both],
        documentation: "What is to be signed of a prescription-order.",
    },
    Operation {
        name: "process-message",
        resource: None,
        bases: &[Prescribing, Dispensing, Both],
        documentation: "prescription-order, prescription-order-update, dispense-notification.",
    },
    Operation {
        name: "release",
        resource: Some("Task"),
        bases: &[Dispensing, Both],
        documentation: "Nominated prescriptions, or one by its id.",
    },
];

/// Interactions of a resource, with the search parameters.
struct Resource {
    kind: &'static str,
    bases: &'static [Base],
    interactions: &'static [&'static str],
    /// Name and type.
    parameters: &'static [(&'static str, &'static str)],
}

const TASK_PARAMETERS: &[(&str, &str)] = &[
    ("focus:identifier", "token"),
    ("identifier", "token"),
    ("patient:identifier", "token"),
    ("business-status", "token"),
    ("authored-on", "date"),
];

const RESOURCES: [Resource; 4] = [
    Resource {
        kind: "Task",
        bases: &[Dispensing, Both],
        interactions: &["create", "search-type"],
        parameters: TASK_PARAMETERS,
    },
    Resource { kind: "Task", bases: &[Prescribing], interactions: &["search-type"], parameters: TASK_PARAMETERS },
    Resource { kind: "Claim", bases: &[Dispensing, Both], interactions: &["create"], parameters: &[] },
    Resource {
        kind: "RequestGroup",
        bases: &[Tracker],
        interactions: &["read", "search-type"],
        parameters: &[
            ("prescriptionId", "token"),
            ("nhsNumber", "token"),
            ("lowDate", "date"),
            ("highDate", "date"),
            ("issueNumber", "number"),
        ],
    },
];

/// The CapabilityStatement; `at` is the address that was asked, `date` now.
pub fn capability(base: Base, at: &str, date: &str, version: &str) -> Value {
    let operation = |o: &Operation| {
        json!({
            "name": o.name,
            "definition": format!("https://fhir.nhs.uk/OperationDefinition/{}", o.name),
            "documentation": o.documentation,
        })
    };
    let at_level = |level: Option<&str>| -> Vec<Value> {
        OPERATIONS.iter().filter(|o| o.bases.contains(&base) && o.resource == level).map(operation).collect()
    };
    let mut resources: Vec<Value> = vec![];
    for resource in RESOURCES.iter().filter(|r| r.bases.contains(&base)) {
        let codes: Vec<Value> = resource.interactions.iter().map(|code| json!({"code": code})).collect();
        let mut shown = json!({"type": resource.kind, "interaction": codes});
        let parameter = |(name, kind): &(&str, &str)| json!({"name": name, "type": kind});
        let parameters: Vec<Value> = resource.parameters.iter().map(parameter).collect();
        for (member, list) in [("searchParam", parameters), ("operation", at_level(Some(resource.kind)))] {
            if !list.is_empty() {
                shown[member] = list.into();
            }
        }
        resources.push(shown);
    }
    let mut rest = json!({"mode": "server"});
    for (member, list) in [("resource", resources), ("operation", at_level(None))] {
        if !list.is_empty() {
            rest[member] = list.into();
        }
    }
    if base == Status {
        rest["interaction"] = json!([{"code": "transaction"}]);
    }
    json!({
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": date,
        "kind": "instance",
        "fhirVersion": "4.0.1",
        "format": ["application/fhir+json"],
        "software": {"name": "Spine", "version": version},
        "implementation": {"description": "Electronic Prescription Service", "url": at},
        "rest": [rest],
    })
}

/// `_ping`.
pub fn ping(version: &str) -> Value {
    json!({"version": version})
}

/// `_status` and `healthcheck`. `pass`: whether the store answers.
pub fn status(version: &str, commit: &str, pass: bool) -> Value {
    let word = if pass { "pass" } else { "fail" };
    json!({
        "status": word,
        "commitId": commit,
        "versionNumber": version,
        "checks": {"store": {"status": word}},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(value: &Value, member: &str, name: &str) -> Vec<String> {
        let all = value[member].as_array().cloned().unwrap_or_default();
        all.iter().map(|v| v[name].as_str().unwrap_or_default().to_owned()).collect()
    }

    #[test]
    fn each_base_lists_its_endpoints() {
        let rest = |base| capability(base, "https://x/FHIR/R4", "2026-01-02", "1")["rest"][0].clone();
        let prescribing = rest(Base::Prescribing);
        assert_eq!(names(&prescribing, "operation", "name"), ["prepare", "process-message"]);
        assert_eq!(names(&prescribing, "resource", "type"), ["Task"]);
        let dispensing = rest(Base::Dispensing);
        assert_eq!(names(&dispensing, "operation", "name"), ["process-message"]);
        assert_eq!(names(&dispensing, "resource", "type"), ["Task", "Claim"]);
        assert_eq!(names(&dispensing["resource"][0], "operation", "name"), ["release"]);
        assert_eq!(names(&rest(Base::Both), "operation", "name"), ["prepare", "process-message"]);
        assert_eq!(names(&rest(Base::Tracker), "resource", "type"), ["RequestGroup"]);
        assert_eq!(rest(Base::Status)["interaction"][0]["code"], "transaction");
    }

    #[test]
    fn it_says_where_and_of_when_it_is() {
        let shown = capability(Base::Both, "https://x/FHIR/R4", "2026-01-02T03:04:05+00:00", "1");
        assert_eq!(shown["implementation"]["url"], "https://x/FHIR/R4");
        assert_eq!(shown["date"], "2026-01-02T03:04:05+00:00");
    }

    #[test]
    fn status_tells_what_it_is() {
        assert_eq!(ping("1.2")["version"], "1.2");
        let shown = status("1.2", "abc", true);
        assert_eq!(
            (&shown["status"], &shown["commitId"], &shown["versionNumber"]),
            (&json!("pass"), &json!("abc"), &json!("1.2"))
        );
        assert_eq!(status("1.2", "abc", false)["checks"]["store"]["status"], "fail");
    }
}
