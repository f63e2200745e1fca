//! Paths of log-ins → interaction (spec/identity.md §2.1, §4).

use crate::services::identity::{
    Identity,
    routes::{self, Route},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginRoute {
    Discovery,
    Authorize,
    /// The log-in page's form.
    LogIn,
    /// The role page's form.
    Role,
    Token,
    UserInfo,
    Keys,
    EndSession,
    /// The form of the page that asks whether to log out.
    LogOut,
    /// The token service's own: for applications.
    ApiAuthorize,
    Callback,
    /// The provider tells of the end of a session.
    BackchannelLogout,
    /// The passkey's page, shown or filled in.
    Passkey,
    /// The log-in page's button for a smartcard.
    Smartcard,
    /// The passkeys' script.
    Script,
    /// A passkey is enrolled: the page, its form, and what the script sends.
    Enrol,
    EnrolBegin,
    EnrolDone,
}

impl LoginRoute {
    pub fn name(self) -> &'static str {
        match self {
            LoginRoute::Discovery => "identity.provider.discovery",
            LoginRoute::Authorize => "identity.provider.authorize",
            LoginRoute::LogIn => "identity.provider.log_in",
            LoginRoute::Role => "identity.provider.role",
            LoginRoute::Token => "identity.provider.token",
            LoginRoute::UserInfo => "identity.provider.userinfo",
            LoginRoute::Keys => "identity.provider.keys",
            LoginRoute::EndSession => "identity.provider.end_session",
            LoginRoute::LogOut => "identity.provider.log_out",
            LoginRoute::ApiAuthorize => "identity.authorize",
            LoginRoute::Callback => "identity.callback",
            LoginRoute::BackchannelLogout => "identity.backchannel_logout",
            LoginRoute::Passkey => "identity.provider.passkey",
            LoginRoute::Smartcard => "identity.provider.smartcard",
            LoginRoute::Script => "identity.provider.script",
            LoginRoute::Enrol => "identity.provider.enrol",
            LoginRoute::EnrolBegin => "identity.provider.enrol_begin",
            LoginRoute::EnrolDone => "identity.provider.enrol_done",
        }
    }

    /// Whether it takes a form in its body.
    pub fn has_form(self) -> bool {
        use LoginRoute as R;
        matches!(
            self,
            R::LogIn
                | R::LogOut
                | R::Role
                | R::Token
                | R::BackchannelLogout
                | R::Passkey
                | R::Smartcard
                | R::EnrolBegin
                | R::EnrolDone
        )
    }
}

/// Below the issuer.
pub const AUTHORIZE: &str = "/authorize";
pub const LOG_IN: &str = "/authorize/log-in";
pub const ROLE: &str = "/authorize/role";
pub const PASSKEY: &str = "/authorize/passkey";
pub const SMARTCARD: &str = "/authorize/smartcard";
pub const SCRIPT: &str = "/passkey.js";
/// Where a link with a code for enrolling leads.
pub const ENROL: &str = "/passkey";
pub const ENROL_BEGIN: &str = "/passkey/begin";
pub const ENROL_DONE: &str = "/passkey/done";
pub const TOKEN: &str = "/access_token";
pub const USERINFO: &str = "/userinfo";
pub const KEYS: &str = "/connect/jwk_uri";
pub const END_SESSION: &str = "/connect/endSession";
pub const LOG_OUT: &str = "/connect/endSession/log-out";
const DISCOVERY: &str = "/.well-known/openid-configuration";

impl Identity {
    /// Whether a path is this service's.
    pub fn takes(&self, path: &str) -> bool {
        routes::takes(path) || self.below_issuer(path).is_some()
    }

    fn below_issuer<'a>(&self, path: &'a str) -> Option<&'a str> {
        let issuer = Some(self.issuer_path()).filter(|path| !path.is_empty())?;
        path.strip_prefix(issuer).filter(|rest| rest.starts_with('/'))
    }

    pub fn route(&self, method: &str, path: &str) -> Route {
        let Some(rest) = self.below_issuer(path) else { return routes::route(method, path) };
        let (route, right) = match rest {
            DISCOVERY => (LoginRoute::Discovery, "GET"),
            AUTHORIZE => (LoginRoute::Authorize, "GET"),
            LOG_IN => (LoginRoute::LogIn, "POST"),
            ROLE => (LoginRoute::Role, "POST"),
            PASSKEY => (LoginRoute::Passkey, "POST"),
            SMARTCARD => (LoginRoute::Smartcard, "POST"),
            SCRIPT => (LoginRoute::Script, "GET"),
            ENROL => (LoginRoute::Enrol, "GET"),
            ENROL_BEGIN => (LoginRoute::EnrolBegin, "POST"),
            ENROL_DONE => (LoginRoute::EnrolDone, "POST"),
            TOKEN => (LoginRoute::Token, "POST"),
            USERINFO => (LoginRoute::UserInfo, "GET"),
            KEYS => (LoginRoute::Keys, "GET"),
            END_SESSION => (LoginRoute::EndSession, "GET"),
            LOG_OUT => (LoginRoute::LogOut, "POST"),
            _ => return Route::NotFound,
        };
        if method == right { Route::Login(route) } else { Route::WrongMethod(right) }
    }
}
