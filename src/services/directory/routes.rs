//! Which face a path belongs to, and the name of the interaction: what the gate's rules, the metrics and the edge go by.

use super::{
    http::{Answer, Asked},
    ods::{fhir, ord, stu3},
    sds, workers,
};
use crate::{engine::draft::Fault, store::Reader};

/// Every name that [`Route::interaction`] gives.
pub const INTERACTIONS: &[&str] = &[
    "directory.sds.device",
    "directory.sds.endpoint",
    "directory.sds.health",
    "directory.sds.other",
    "directory.fhir.organization",
    "directory.fhir.affiliation",
    "directory.fhir.practitioner",
    "directory.fhir.practitioner_role",
    "directory.fhir.other",
    "directory.stu3.organization",
    "directory.ord.organisations",
    "directory.ord.lists",
    "directory.ord.sync",
    "directory.ord.other",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Face {
    Sds,
    Fhir,
    Stu3,
    Ord,
    Workers,
}

/// Bases of the faces, longest first where one begins like another. An empty base: the reference server's root.
const BASES: &[(Face, &str)] = &[
    (Face::Sds, "/spine-directory/FHIR/R4"),
    (Face::Sds, "/spine-directory"),
    (Face::Fhir, "/organisation-data-terminology-api/fhir"),
    (Face::Fhir, "/organisation-data-terminology-api"),
    (Face::Stu3, "/STU3"),
    (Face::Ord, "/ORD/2-0-0"),
    (Face::Ord, "/ORD"),
];

/// A path of the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    face: Face,
    rest: String,
}

/// The directory's route for a path; `None` where the path is somebody else's.
pub fn route(path: &str) -> Option<Route> {
    let below = |base: &str| path.strip_prefix(base).filter(|rest| rest.is_empty() || rest.starts_with('/'));
    // R4 organisations also without their gateway's base (directory.md §C.1).
    if let Some(rest) = below("/FHIR/R4").filter(|rest| rest.starts_with("/Organization") || *rest == "/metadata") {
        return Some(Route { face: Face::Fhir, rest: rest.to_owned() });
    }
    // Healthcare workers are where the published examples have them (§C.5 says no path).
    if let Some(rest) = below("/FHIR/R4")
        && let Some(workers::PRACTITIONER | workers::ROLE) = rest.split('/').nth(1)
    {
        return Some(Route { face: Face::Workers, rest: rest.to_owned() });
    }
    if ["/Device", "/Endpoint", "/healthcheck"].iter().any(|base| below(base).is_some()) {
        return Some(Route { face: Face::Sds, rest: path.to_owned() });
    }
    let (face, rest) = BASES.iter().find_map(|(face, base)| below(base).map(|rest| (*face, rest)))?;
    Some(Route { face, rest: rest.to_owned() })
}

impl Route {
    pub fn interaction(&self) -> &'static str {
        let first = self.rest.trim_start_matches('/').split('/').next().unwrap_or_default();
        match (self.face, first) {
            (Face::Sds, "Device") => "directory.sds.device",
            (Face::Sds, "Endpoint") => "directory.sds.endpoint",
            (Face::Sds, "healthcheck" | "_ping" | "_status") => "directory.sds.health",
            (Face::Sds, _) => "directory.sds.other",
            (Face::Fhir, "Organization") => "directory.fhir.organization",
            (Face::Fhir, "OrganizationAffiliation") => "directory.fhir.affiliation",
            (Face::Workers, workers::PRACTITIONER) => "directory.fhir.practitioner",
            (Face::Workers, _) => "directory.fhir.practitioner_role",
            (Face::Fhir, _) => "directory.fhir.other",
            (Face::Stu3, _) => "directory.stu3.organization",
            (Face::Ord, "organisations") => "directory.ord.organisations",
            (Face::Ord, "roles" | "rels" | "recordclasses") => "directory.ord.lists",
            (Face::Ord, "sync") => "directory.ord.sync",
            (Face::Ord, _) => "directory.ord.other",
        }
    }

    /// Whether a body is read: a search by POST has its parameters in it.
    pub fn takes_form(&self) -> bool {
        matches!(self.face, Face::Fhir | Face::Workers)
    }

    /// Whether it shows people who work here: then the audit trail tells of each look (P4).
    pub fn shows_staff(&self) -> bool {
        self.face == Face::Workers
    }

    pub fn answer(&self, site: &dyn Reader, asked: &Asked) -> Result<Answer, Fault> {
        match self.face {
            Face::Sds => sds::answer(site, asked, &self.rest),
            Face::Fhir => fhir::answer(site, asked, &self.rest),
            Face::Stu3 => stu3::answer(site, asked, &self.rest),
            Face::Workers => workers::answer(site, asked, &self.rest),
            Face::Ord => ord::answer(site, asked, &self.rest),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_find_their_face() {
        for (path, wanted) in [
            ("/spine-directory/FHIR/R4/Device", Some("directory.sds.device")),
            ("/spine-directory/FHIR/R4/device", Some("directory.sds.other")),
            ("/Endpoint", Some("directory.sds.endpoint")),
            ("/healthcheck/deep", Some("directory.sds.health")),
            ("/FHIR/R4/Organization/X26", Some("directory.fhir.organization")),
            ("/FHIR/R4/Patient", None),
            ("/FHIR/R4/metadata", Some("directory.fhir.other")),
            ("/FHIR/R4/Practitioner/656005750109", Some("directory.fhir.practitioner")),
            ("/FHIR/R4/PractitionerRole", Some("directory.fhir.practitioner_role")),
            ("/FHIR/R4/PractitionerRoles", None),
            ("/organisation-data-terminology-api/fhir/OrganizationAffiliation", Some("directory.fhir.affiliation")),
            ("/STU3/Organization", Some("directory.stu3.organization")),
            ("/ORD/2-0-0/sync", Some("directory.ord.sync")),
            ("/Devices", None),
            ("/messageexchange/X26", None),
        ] {
            let name = route(path).map(|route| route.interaction());
            assert_eq!(name, wanted, "{path}");
            assert!(name.is_none_or(|name| INTERACTIONS.contains(&name)));
        }
    }
}
