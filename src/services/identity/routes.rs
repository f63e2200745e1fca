//! Method and path → interaction (spec/identity.md §3, "Other paths").

pub const BASE: &str = "/oauth2";
pub const TOKEN: &str = "/oauth2/token";
const REVOKE: &str = "/oauth2/revoke";
const INTROSPECT: &str = "/oauth2/introspect";
const USERINFO: &str = "/oauth2/userinfo";
const PING: &str = "/oauth2/_ping";
const STATUS: &str = "/oauth2/_status";

const AUTHORIZE: &str = "/oauth2/authorize";
pub const CALLBACK: &str = "/oauth2/callback";
const BACKCHANNEL_LOGOUT: &str = "/oauth2/backchannel_logout";

use super::login::routes::LoginRoute;

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    Token,
    Revoke,
    Introspect,
    UserInfo,
    Ping,
    Status,
    /// Where tokens are had, for clients that know an interface's base alone.
    SmartConfiguration,
    /// Of log-ins.
    Login(LoginRoute),
    /// The path is there, the method is not; the one that is.
    WrongMethod(&'static str),
    NotFound,
}

/// Every name that [`Route::name`] gives.
pub const INTERACTIONS: &[&str] = &[
    "identity.token",
    "identity.revoke",
    "identity.introspect",
    "identity.userinfo",
    "identity.ping",
    "identity.status",
    "identity.smart_configuration",
    "identity.method_not_allowed",
    "identity.not_found",
    "identity.authorize",
    "identity.callback",
    "identity.provider.discovery",
    "identity.provider.authorize",
    "identity.provider.log_in",
    "identity.provider.role",
    "identity.provider.token",
    "identity.provider.userinfo",
    "identity.provider.keys",
    "identity.provider.end_session",
    "identity.backchannel_logout",
    "identity.provider.passkey",
    "identity.provider.smartcard",
    "identity.provider.script",
    "identity.provider.enrol",
    "identity.provider.enrol_begin",
    "identity.provider.enrol_done",
    "identity.provider.log_out",
];

impl Route {
    pub fn name(self) -> &'static str {
        match self {
            Route::Token => "identity.token",
            Route::Revoke => "identity.revoke",
            Route::Introspect => "identity.introspect",
            Route::UserInfo => "identity.userinfo",
            Route::Ping => "identity.ping",
            Route::Status => "identity.status",
            Route::SmartConfiguration => "identity.smart_configuration",
            Route::Login(route) => route.name(),
            Route::WrongMethod(_) => "identity.method_not_allowed",
            Route::NotFound => "identity.not_found",
        }
    }
}

/// The FHIR interfaces' bases, below which SMART clients look (SMART App Launch, "Conformance"); and the root.
const FHIR_BASES: [&str; 6] = [
    "",
    "/personal-demographics/FHIR/R4",
    "/patient-audit/FHIR/R4",
    "/spine-directory/FHIR/R4",
    "/organisation-data-terminology-api/fhir",
    "/FHIR/R4",
];

fn is_smart_configuration(path: &str) -> bool {
    path.strip_suffix("/.well-known/smart-configuration").is_some_and(|base| FHIR_BASES.contains(&base))
}

/// Whether a path is this service's.
pub fn takes(path: &str) -> bool {
    is_smart_configuration(path) || path.strip_prefix(BASE).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

pub fn route(method: &str, path: &str) -> Route {
    let (route, right) = match path {
        TOKEN => (Route::Token, "POST"),
        REVOKE => (Route::Revoke, "POST"),
        INTROSPECT => (Route::Introspect, "POST"),
        USERINFO => (Route::UserInfo, "GET"),
        PING => (Route::Ping, "GET"),
        STATUS => (Route::Status, "GET"),
        path if is_smart_configuration(path) => (Route::SmartConfiguration, "GET"),
        AUTHORIZE => (Route::Login(LoginRoute::ApiAuthorize), "GET"),
        CALLBACK => (Route::Login(LoginRoute::Callback), "GET"),
        BACKCHANNEL_LOGOUT => (Route::Login(LoginRoute::BackchannelLogout), "POST"),
        _ => return Route::NotFound,
    };
    if method == right { route } else { Route::WrongMethod(right) }
}
