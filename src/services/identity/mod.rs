//! The OAuth 2 server in front of the HTTP APIs (spec/identity.md §3): applications prove who they are with a signed JWT
//! and get a short-lived, opaque access token, which works on every node from its answer on and on none after its
//! revocation.
//!
//! How the edge uses it, one request:
//! ```text
//! route(method, path)                        which interaction
//! identity.ask(route, headers, body, site)   → calls with their partition keys, or a response
//! engine.submit(call) for each of the calls  → reply bytes
//! identity.answer(ask, replies, …)           → response
//! tokens::standing(view, site, token, now)   for each request of any API: whom a token belongs to, as of the fence
//! ```
//!
//! | file | duty |
//! |---|---|
//! | `routes` | method and path → interaction |
//! | `ask` | form → commands |
//! | `assertion` | the checks of a signed JWT that need no rows but the registry's |
//! | `command` | the records that travel to the leader, and the reply |
//! | `decide` | claim a JWT, issue, revoke and look up a token, sweep |
//! | `answer` | replies → response |
//! | `tokens` | token texts, their rows, and whom one belongs to |
//! | `login` | members of staff: log-in, sessions, tokens for a person |
//! | `refusal` | every refusal of the specification, in its order |
//!
//! Invariants:
//! - A JWT is claimed in the partition of (client, jti), in the same entry as the token's row: the token is drawn so that
//!   its own hash lies in that partition too. So one JWT gives one token, on whatever nodes it is shown.
//! - The text of a token is in the answer and nowhere else; rows, notes and logs know its SHA-256.
//! - What the leader refuses and what the asking node refuses are told in one order, that of the specification's table.

mod answer;
mod ask;
mod assertion;
pub mod command;
mod decide;
pub mod login;
pub mod refusal;
pub mod routes;
pub mod rows;
#[cfg(test)]
mod tests;
pub mod tokens;

pub use answer::Response;
pub use ask::{Ask, Body, Call, read_form};
pub use routes::{Route, route};

use std::{collections::BTreeSet, sync::Mutex};

/// What the configuration says of the service.
#[derive(Clone, Debug, Default)]
pub struct IdentityOptions {
    /// Where clients find the site: `https://host`, without a slash at its end. Signed JWTs must name it.
    pub url: String,
    /// Where the provider of staff lies below it: `/openam/…`, without a slash at its end.
    pub issuer_path: String,
    /// Of the program, for `_ping` and `_status`.
    pub version: String,
    /// The site's name, as its pages show it.
    pub site: String,
}

/// The service: its options and the addresses made from them.
#[derive(Debug)]
pub struct Identity {
    options: IdentityOptions,
    token_url: String,
    /// Clients that showed a key which the registry does not have, and publish their keys themselves.
    wanted: Mutex<BTreeSet<String>>,
}

/// Most clients whose keys are asked for at once; the next look has the others.
const MOST_WANTED: usize = 64;

impl Identity {
    pub fn new(options: IdentityOptions) -> Self {
        let token_url = format!("{}{}", options.url.trim_end_matches('/'), routes::TOKEN);
        Identity { options, token_url, wanted: Mutex::default() }
    }

    /// A hint for whoever fetches keys: no answer depends on it.
    fn want_keys(&self, client: &str) {
        let mut wanted = self.wanted.lock().unwrap_or_else(|e| e.into_inner());
        if wanted.len() < MOST_WANTED {
            wanted.insert(client.to_owned());
        }
    }

    /// Whose keys were asked for since the last call.
    pub fn wanted_keys(&self) -> BTreeSet<String> {
        std::mem::take(&mut *self.wanted.lock().unwrap_or_else(|e| e.into_inner()))
    }

    /// The address that the `aud` of a signed JWT must be.
    pub fn token_url(&self) -> &str {
        &self.token_url
    }

    /// The site's name on pages.
    pub fn site_name(&self) -> &str {
        if self.options.site.is_empty() { "Spine" } else { &self.options.site }
    }

    /// The provider's path.
    pub fn issuer_path(&self) -> &str {
        self.options.issuer_path.trim_end_matches('/')
    }

    /// The provider's name in ID tokens.
    pub fn issuer(&self) -> String {
        format!("{}{}", self.url(), self.issuer_path())
    }
}
