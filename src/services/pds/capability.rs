//! What the interface can do, for FHIR clients that ask first (spec/pds.md §1; operations.md §10): each interaction with the word of
//! FHIR for it, and the parameters that a search knows.

use super::query;
use crate::wire::capability::{self, Resource};
use serde_json::Value;

/// What an interaction is to a FHIR client.
enum As {
    Interaction(&'static str),
    Operation(&'static str),
}

/// Interactions on resources; a test compares them with all that there are.
const TOLD: [(&str, &str, As); 8] = [
    ("pds.retrieve", "Patient", As::Interaction("read")),
    ("pds.search", "Patient", As::Interaction("search-type")),
    ("pds.update", "Patient", As::Interaction("patch")),
    ("pds.create", "Patient", As::Interaction("create")),
    ("pds.birth", "Patient", As::Operation("process-birth-details")),
    ("pds.related", "RelatedPerson", As::Interaction("search-type")),
    ("pds.coverage", "Coverage", As::Interaction("search-type")),
    ("pds.coverage_set", "Coverage", As::Interaction("create")),
];

pub fn statement() -> Value {
    let resource = |kind: &'static str, parameters: Vec<(&'static str, &'static str)>| {
        let mine = || TOLD.iter().filter(move |(_, of, _)| *of == kind);
        Resource {
            kind,
            interactions: mine()
                .filter_map(|(.., told)| if let As::Interaction(w) = told { Some(*w) } else { None })
                .collect(),
            operations: mine()
                .filter_map(|(.., told)| if let As::Operation(w) = told { Some(*w) } else { None })
                .collect(),
            parameters,
        }
    };
    let resources = [
        resource("Patient", query::KNOWN.to_vec()),
        // Of one person: `Patient/{id}/RelatedPerson`.
        resource("RelatedPerson", vec![]),
        resource("Coverage", vec![("subscriber:identifier", "token")]),
    ];
    capability::statement("Personal Demographics Service", &resources)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::pds::INTERACTIONS;

    #[test]
    fn each_interaction_on_people_is_told_and_no_other() {
        let plain = ["pds.ping", "pds.status", "pds.metadata", "pds.not_supported", "pds.not_found"];
        let all: Vec<&str> = INTERACTIONS.iter().copied().filter(|name| !plain.contains(name)).collect();
        assert_eq!(TOLD.map(|(name, ..)| name).to_vec(), all);
        let told = statement();
        let patient = &told["rest"][0]["resource"][0];
        assert_eq!(patient["interaction"].as_array().unwrap().len(), 4);
        assert_eq!(patient["operation"][0]["name"], "process-birth-details");
        assert!(
            patient["searchParam"].as_array().unwrap().iter().any(|p| p["name"] == "birthdate" && p["type"] == "date")
        );
    }
}
