//! Method and path to a route and its interaction (spec/eps.md §2).

use crate::wire::mesh::percent_decode;

/// The published bases and the older one that served both (§2); all reach one implementation.
const BASES: [&str; 3] = ["/fhir-prescribing", "/fhir-dispensing", "/electronic-prescriptions"];
/// Base of status updates (§15).
const STATUS: &str = "/prescription-status-update";
/// Base of the clinical tracker (§14.2), beside the others.
const TRACKER: &str = "/clinical-prescription-tracker";

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// `POST /$prepare`
    Prepare,
    /// `POST /$process-message`
    Process,
    /// `POST /Task/$release`
    Release,
    /// `POST /Task`: return or withdraw.
    Task,
    /// `POST /Claim`
    Claim,
    /// `GET /Task`, with the query as it stands in the path.
    Tasks(String),
    /// `GET /RequestGroup`, with the query.
    Groups(String),
    /// `GET /RequestGroup/{id}`, with the query.
    Group(String, String),
    /// `POST {status-base}/`
    StatusUpdates,
    /// `POST /$validate`, on test sites.
    Validate,
    Metadata,
    Ping,
    Status,
    /// Another method or path below one of the bases.
    Nothing(String),
}

impl Route {
    /// Stable dotted name, as in rules, metrics and refusals of the gate.
    pub fn name(&self) -> &'static str {
        match self {
            Route::Prepare => "eps.prepare",
            Route::Process => "eps.process_message",
            Route::Release => "eps.release",
            Route::Task => "eps.task",
            Route::Claim => "eps.claim",
            Route::Tasks(_) => "eps.tasks",
            Route::Groups(_) => "eps.tracker_search",
            Route::Group(..) => "eps.tracker",
            Route::StatusUpdates => "eps.status_update",
            Route::Validate => "eps.validate",
            Route::Metadata => "eps.metadata",
            Route::Ping => "eps.ping",
            Route::Status => "eps.status",
            Route::Nothing(_) => "eps.not_found",
        }
    }
    /// What is told to who has no product for it (§3.2).
    pub fn no_scope(&self) -> &'static str {
        match self {
            Route::Release | Route::Task | Route::Claim => {
                "Your app does not have permission to access dispensing functionality."
            }
            Route::Tasks(_) | Route::Groups(_) | Route::Group(..) => {
                "Your app does not have permission to access tracker functionality."
            }
            Route::StatusUpdates => "Your app does not have permission to send prescription status updates.",
            _ => "Your app does not have permission to access prescribing functionality.",
        }
    }
    /// Whether a body is read.
    pub fn has_body(&self) -> bool {
        matches!(
            self,
            Route::Prepare
                | Route::Process
                | Route::Release
                | Route::Task
                | Route::Claim
                | Route::StatusUpdates
                | Route::Validate
        )
    }
}

/// Every name that [`Route::name`] gives; a test compares.
pub const INTERACTIONS: &[&str] = &[
    "eps.prepare",
    "eps.process_message",
    "eps.release",
    "eps.task",
    "eps.claim",
    "eps.tasks",
    "eps.tracker_search",
    "eps.tracker",
    "eps.status_update",
    "eps.validate",
    "eps.metadata",
    "eps.ping",
    "eps.status",
    "eps.not_found",
];

/// What stands below a base, if the path is below it.
fn below<'a>(path: &'a str, base: &str) -> Option<&'a str> {
    path.strip_prefix(base).filter(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether a path is this service's.
pub fn is_ours(path: &str) -> bool {
    BASES.iter().chain([&STATUS, &TRACKER]).any(|base| below(path, base).is_some())
}

/// What §2 and §15 call optional or retired and this service does not have: its name as callers know it.
pub fn not_offered(rest: &str) -> Option<&'static str> {
    const NAMES: [&str; 5] =
        ["$convert", "$dose-to-text", "$verify-signature", "Tracker", "checkprescriptionstatusupdates"];
    let rest = rest.replace("%24", "$");
    let name = rest.strip_prefix('/').unwrap_or(&rest);
    // Every answer is given at once: there is none to come back for.
    let poll = name.starts_with("_poll/").then_some("_poll");
    NAMES.into_iter().find(|known| *known == name).or(poll)
}

pub fn route(method: &str, path: &str, query: &str) -> Route {
    if let Some(rest) = below(path, STATUS) {
        return match (method, rest) {
            ("POST", "" | "/") => Route::StatusUpdates,
            ("GET", "/metadata") => Route::Metadata,
            _ => probe(method, rest),
        };
    }
    if let Some(rest) = below(path, TRACKER) {
        return tracker(method, rest.strip_prefix("/FHIR/R4").unwrap_or(rest), query);
    }
    let Some(rest) = BASES.iter().find_map(|base| below(path, base)) else { return Route::Nothing(path.to_owned()) };
    let Some(rest) = below(rest, "/FHIR/R4") else {
        return match (method, rest) {
            ("GET", "/metadata") => Route::Metadata,
            _ => probe(method, rest),
        };
    };
    // Clients write the dollar sign as it is, or as they must in a template.
    match (method, rest.replace("%24", "$").as_str()) {
        ("POST", "/$prepare") => Route::Prepare,
        ("POST", "/$process-message") => Route::Process,
        ("POST", "/$validate") => Route::Validate,
        ("POST", "/Task/$release") => Route::Release,
        ("POST", "/Task") => Route::Task,
        ("POST", "/Claim") => Route::Claim,
        ("GET", "/Task") => Route::Tasks(query.to_owned()),
        _ => tracker(method, rest, query),
    }
}

fn tracker(method: &str, rest: &str, query: &str) -> Route {
    match (method, rest) {
        ("GET", "/RequestGroup") => Route::Groups(query.to_owned()),
        ("GET", "/metadata") => Route::Metadata,
        ("GET", group) if group.starts_with("/RequestGroup/") && group.matches('/').count() == 2 => {
            Route::Group(segment(group.trim_start_matches("/RequestGroup/")), query.to_owned())
        }
        _ => probe(method, rest),
    }
}

/// An id as its caller means it: one short id in 37 ends with a plus sign, which many write as `%2B`.
fn segment(text: &str) -> String {
    String::from_utf8_lossy(&percent_decode(text)).into_owned()
}

fn probe(method: &str, rest: &str) -> Route {
    match (method, rest) {
        ("GET", "/_ping") => Route::Ping,
        ("GET", "/_status" | "/healthcheck") => Route::Status,
        _ => Route::Nothing(rest.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_in_the_list() {
        let source = include_str!("routes.rs");
        let (_, names) = source.split_once("pub fn name(&self)").unwrap();
        let (names, _) = names.split_once("\n    }\n").unwrap();
        let names: Vec<&str> = names.split('"').skip(1).step_by(2).collect();
        assert_eq!(names, INTERACTIONS);
    }

    #[test]
    fn what_is_not_offered_is_known_by_name() {
        for (method, path, name) in [
            ("POST", "/fhir-prescribing/FHIR/R4/$convert", "$convert"),
            ("POST", "/fhir-dispensing/FHIR/R4/%24verify-signature", "$verify-signature"),
            ("POST", "/electronic-prescriptions/FHIR/R4/$dose-to-text", "$dose-to-text"),
            ("GET", "/electronic-prescriptions/FHIR/R4/Tracker", "Tracker"),
            ("GET", "/fhir-dispensing/_poll/7", "_poll"),
            ("GET", "/prescription-status-update/checkprescriptionstatusupdates", "checkprescriptionstatusupdates"),
        ] {
            let Route::Nothing(rest) = route(method, path, "") else { panic!("{path} is served") };
            assert_eq!(not_offered(&rest), Some(name), "{path}");
        }
        assert_eq!(not_offered("/Task"), None);
    }

    #[test]
    fn each_endpoint_on_each_base() {
        for base in BASES {
            let at = |method, rest: &str| route(method, &format!("{base}/FHIR/R4{rest}"), "q");
            assert_eq!(at("POST", "/$process-message"), Route::Process);
            assert_eq!(at("POST", "/%24prepare"), Route::Prepare);
            assert_eq!(at("POST", "/Task/$release"), Route::Release);
            assert_eq!(at("GET", "/Task"), Route::Tasks("q".into()));
            assert_eq!(at("GET", "/RequestGroup/A-B-C"), Route::Group("A-B-C".into(), "q".into()));
            assert_eq!(at("GET", "/RequestGroup/A-B-C%2B"), Route::Group("A-B-C+".into(), "q".into()));
            assert_eq!(at("GET", "/RequestGroup/A-B-C+"), Route::Group("A-B-C+".into(), "q".into()));
            assert_eq!(at("GET", "/metadata"), Route::Metadata);
            assert_eq!(at("PUT", "/Task"), Route::Nothing("/Task".into()));
            assert_eq!(route("GET", &format!("{base}/_ping"), ""), Route::Ping);
            assert_eq!(route("GET", &format!("{base}/metadata"), ""), Route::Metadata);
            assert!(is_ours(&format!("{base}/x")) && !is_ours(&format!("{base}x")));
        }
        assert_eq!(route("POST", "/prescription-status-update/", ""), Route::StatusUpdates);
        assert_eq!(route("GET", "/clinical-prescription-tracker/RequestGroup", "a=b"), Route::Groups("a=b".into()));
    }
}
