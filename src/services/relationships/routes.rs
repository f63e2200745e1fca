//! Method and path to a route and its interaction. Paths are ours (D):
//!
//! | method | path below `/legitimate-relationships` | |
//! |---|---|---|
//! | POST, GET | `/patients/{nhs}/relationships` | create; list (`?after=`) |
//! | GET | `/patients/{nhs}/relationships/check` | does it give access? (`?workgroup=` or `?user=`) |
//! | GET | `/patients/{nhs}/relationships/{id}` | show |
//! | POST | `/patients/{nhs}/relationships/{id}/freeze`, `…/close` | |
//! | GET | `/alerts` | the organisation's alerts (`?state=all`, `?after=`) |
//! | GET | `/alerts/{id}` | show |
//! | POST | `/alerts/{id}/acknowledge`, `…/close` | |

use super::command::act;
use crate::model::NhsNumber;

const ROOM: &str = "/legitimate-relationships";

/// What is asked for. Patients' numbers and queries as they stand in the path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    Create(String),
    List(String, String),
    Check(String, String),
    Read(String, String),
    Freeze(String, String),
    Close(String, String),
    Alerts(String),
    /// An alert's id, and one of `act`.
    Alert(String, u8),
    Nothing,
}

/// Every name that [`Route::name`] gives.
pub const INTERACTIONS: &[&str] = &[
    "relationships.create",
    "relationships.list",
    "relationships.check",
    "relationships.read",
    "relationships.freeze",
    "relationships.close",
    "alerts.list",
    "alerts.acknowledge",
    "alerts.close",
    "alerts.read",
    "relationships.not_found",
];

impl Route {
    /// Stable dotted name, as in audit records and metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Route::Create(_) => "relationships.create",
            Route::List(..) => "relationships.list",
            Route::Check(..) => "relationships.check",
            Route::Read(..) => "relationships.read",
            Route::Freeze(..) => "relationships.freeze",
            Route::Close(..) => "relationships.close",
            Route::Alerts(_) => "alerts.list",
            Route::Alert(_, act::ACKNOWLEDGE) => "alerts.acknowledge",
            Route::Alert(_, act::CLOSE) => "alerts.close",
            Route::Alert(..) => "alerts.read",
            Route::Nothing => "relationships.not_found",
        }
    }
    /// Whether it changes something: then a body is read, and a repeat has no second effect (P3).
    pub fn changes(&self) -> bool {
        match self {
            Route::Create(_) | Route::Freeze(..) | Route::Close(..) => true,
            Route::Alert(_, what) => *what != act::READ,
            _ => false,
        }
    }
    /// The patient whom the path names, where the number is one.
    pub fn subject(&self) -> Option<NhsNumber> {
        match self {
            Route::Create(nhs)
            | Route::List(nhs, _)
            | Route::Check(nhs, _)
            | Route::Read(nhs, _)
            | Route::Freeze(nhs, _)
            | Route::Close(nhs, _) => NhsNumber::strict(nhs),
            _ => None,
        }
    }
}

/// Whether a path is this service's.
pub fn is_ours(path: &str) -> bool {
    path.strip_prefix(ROOM).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

pub fn route(method: &str, path: &str, query: &str) -> Route {
    let own = |text: &str| text.to_owned();
    let below = path.strip_prefix(ROOM).unwrap_or_default();
    let parts: Vec<&str> = below.split('/').skip(1).collect();
    match (method, parts.as_slice()) {
        ("POST", ["patients", nhs, "relationships"]) => Route::Create(own(nhs)),
        ("GET", ["patients", nhs, "relationships"]) => Route::List(own(nhs), own(query)),
        ("GET", ["patients", nhs, "relationships", "check"]) => Route::Check(own(nhs), own(query)),
        ("GET", ["patients", nhs, "relationships", id]) => Route::Read(own(nhs), own(id)),
        ("POST", ["patients", nhs, "relationships", id, "freeze"]) => Route::Freeze(own(nhs), own(id)),
        ("POST", ["patients", nhs, "relationships", id, "close"]) => Route::Close(own(nhs), own(id)),
        ("GET", ["alerts"]) => Route::Alerts(own(query)),
        ("GET", ["alerts", id]) => Route::Alert(own(id), act::READ),
        ("POST", ["alerts", id, "acknowledge"]) => Route::Alert(own(id), act::ACKNOWLEDGE),
        ("POST", ["alerts", id, "close"]) => Route::Alert(own(id), act::CLOSE),
        _ => Route::Nothing,
    }
}
