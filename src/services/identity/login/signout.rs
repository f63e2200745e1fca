//! The provider tells the token service of the HTTP APIs that a session has ended (spec/identity.md §4.5): the token is checked, then
//! one deleted row ends every access and refresh token of the session on every node.

use super::{
    command::{EndSession, LoginReply},
    notices::EVENT,
    page::Page,
    rows::{place_bytes, place_of_sid},
    visit::{Asked, Doing, Step, Visit, call},
};
use crate::{
    engine::draft::Fault,
    services::identity::{Identity, command::IdentityCommand, tokens::Place},
    wire::jwt::Jwt,
};
use serde_json::Value;

const NAME: &str = "identity.backchannel_logout";

/// Error and words of a refusal.
type No = (&'static str, &'static str);

/// Not ours, not a token, or too old.
const UNVERIFIED: No = ("bad_request", "Unable to verify JWT");

impl Identity {
    pub(super) fn backchannel_logout(&self, asked: &Asked<'_>) -> Result<(Visit, Step), Fault> {
        let (place, expires) = match self.logout_told(asked)? {
            Ok(told) => told,
            Err((error, why)) => {
                let page = Page::problem(400, error, why, asked.attempt);
                return Ok(Visit::refused(asked, NAME, why, "", page));
            }
        };
        let end = EndSession { place: place_bytes(&place), interaction: NAME.into(), expires, ..Default::default() };
        Ok(Visit::new(asked, Doing::SigningOut, call(place.hash, IdentityCommand::EndSession(end))))
    }

    /// The session that a logout token names, and one more than its `exp`. Checks in the order of the table.
    fn logout_told(&self, asked: &Asked<'_>) -> Result<Result<(Place, u64), No>, Fault> {
        let jwt = asked.form.get("logout_token").and_then(|text| Jwt::parse(text).ok());
        let Some(jwt) = jwt else { return Ok(Err(UNVERIFIED)) };
        if !self.has_our_signature(asked.site, &jwt)? {
            return Ok(Err(UNVERIFIED));
        }
        let wrong = |why| Ok(Err(("invalid_request", why)));
        if !names(jwt.claims.get("aud"), self.own_client()) {
            return wrong("Missing/invalid aud claim in JWT");
        }
        if jwt.claim("iss") != Some(&self.issuer()) {
            return wrong("Missing/invalid iss claim in JWT");
        }
        let Some(sid) = jwt.claim("sid").filter(|sid| !sid.is_empty()) else {
            return wrong("Missing sid claim in JWT");
        };
        if !jwt.claims.get("events").and_then(|events| events.get(EVENT)).is_some_and(Value::is_object) {
            return wrong("Missing/invalid events claim in JWT");
        }
        if jwt.claims.contains_key("nonce") {
            return wrong("Prohibited nonce claim in JWT");
        }
        let expires = match jwt.claims.get("exp") {
            None => 0,
            Some(exp) => match exp.as_u64() {
                Some(exp) => exp.saturating_add(1),
                None => return Ok(Err(UNVERIFIED)),
            },
        };
        // What can be the name of no session of ours is looked for where nothing is.
        Ok(Ok((place_of_sid(sid).unwrap_or(Place { hour: 0, hash: [0; 32] }), expires)))
    }
}

/// Whether an audience, one text or a list of several (RFC 7519 §4.1.3), names somebody.
fn names(aud: Option<&Value>, who: &str) -> bool {
    match aud {
        Some(Value::String(one)) => one == who,
        Some(Value::Array(list)) => list.iter().any(|one| one.as_str() == Some(who)),
        _ => false,
    }
}

impl Visit {
    pub(super) fn signed_out(&self, reply: &LoginReply) -> Page {
        match reply.refusal.as_str() {
            "" => Page::json(200, serde_json::json!({"success": true})),
            "expired" => Page::problem(400, UNVERIFIED.0, UNVERIFIED.1, self.attempt),
            _ => Page::problem(501, "not_implemented", "SID not found", self.attempt),
        }
    }
}
