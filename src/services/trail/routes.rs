//! Method and path to a route and its interaction (spec/identity.md §9.2; the base path is ours).

/// Where the FHIR interface begins.
pub const BASE: &str = "/patient-audit/FHIR/R4";
const ROOM: &str = "/patient-audit";

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// The query as it stands in the path.
    Search(String),
    Read(String),
    File,
    Metadata,
    Ping,
    Nothing,
}

/// Every name that [`Route::name`] gives.
pub const INTERACTIONS: &[&str] =
    &["audit.search", "audit.read", "audit.file", "audit.metadata", "audit.ping", "audit.not_found"];

impl Route {
    /// Stable dotted name, as in audit records and metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Route::Search(_) => "audit.search",
            Route::Read(_) => "audit.read",
            Route::File => "audit.file",
            Route::Metadata => "audit.metadata",
            Route::Ping => "audit.ping",
            Route::Nothing => "audit.not_found",
        }
    }
    /// Whether a body is read.
    pub fn has_body(&self) -> bool {
        *self == Route::File
    }
}

/// Whether a path is this service's.
pub fn is_ours(path: &str) -> bool {
    path.strip_prefix(ROOM).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

pub fn route(method: &str, path: &str, query: &str) -> Route {
    if (method, path.strip_prefix(ROOM)) == ("GET", Some("/_ping")) {
        return Route::Ping;
    }
    let below = path.strip_prefix(BASE).unwrap_or_default();
    let parts: Vec<&str> = below.split('/').skip(1).collect();
    match (method, parts.as_slice()) {
        ("GET", ["AuditEvent"]) => Route::Search(query.to_owned()),
        ("GET", ["AuditEvent", id]) if !id.is_empty() => Route::Read((*id).to_owned()),
        ("POST", ["AuditEvent"]) => Route::File,
        ("GET", ["metadata"]) => Route::Metadata,
        _ => Route::Nothing,
    }
}
