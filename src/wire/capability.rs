//! A FHIR interface's CapabilityStatement (FHIR R4), made from the tables that its routes and parameters are read by, so that it
//! says what is there and nothing else. The directory's, which is told as XML too, is its own.

use serde_json::{Value, json};

/// What may be done with one type of resource.
pub struct Resource {
    pub kind: &'static str,
    /// FHIR's words: `read`, `search-type`, `create`, `patch`.
    pub interactions: Vec<&'static str>,
    /// Names and types of search parameters.
    pub parameters: Vec<(&'static str, &'static str)>,
    /// Names of operations, without the dollar.
    pub operations: Vec<&'static str>,
}

/// The statement of an interface that asks for access tokens.
pub fn statement(about: &str, resources: &[Resource]) -> Value {
    let resource = |one: &Resource| {
        let words: Vec<Value> = one.interactions.iter().map(|code| json!({"code": code})).collect();
        let mut told = json!({"type": one.kind, "interaction": words});
        if !one.parameters.is_empty() {
            let params = one.parameters.iter().map(|(name, kind)| json!({"name": name, "type": kind}));
            told["searchParam"] = params.collect();
        }
        if !one.operations.is_empty() {
            let base = "http://hl7.org/fhir/OperationDefinition/";
            let operations =
                one.operations.iter().map(|name| json!({"name": name, "definition": format!("{base}{name}")}));
            told["operation"] = operations.collect();
        }
        told
    };
    json!({
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": "2026-11-29",
        "kind": "instance",
        "software": {"name": "Spine", "version": env!("CARGO_PKG_VERSION")},
        "implementation": {"description": about},
        "fhirVersion": "4.0.1",
        "format": ["application/fhir+json"],
        "rest": [{
            "mode": "server",
            "security": {
                "service": [{"coding": [{
                    "system": "http://terminology.hl7.org/CodeSystem/restful-security-service",
                    "code": "OAuth",
                }]}],
                "description": "An access token; where it is had, .well-known/smart-configuration below this base tells.",
            },
            "resource": resources.iter().map(resource).collect::<Vec<_>>(),
        }],
    })
}
