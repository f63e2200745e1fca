//! A request → commands, or an answer that needs none.

use super::{
    Identity,
    answer::Response,
    assertion::{self, Checked, Shown},
    command::{Claim, IdentityCommand, IdentityReply, OnToken},
    decide::TOKEN_LIFE_MS,
    refusal::Refusal,
    routes::Route,
    tokens::{self, Place},
};
use crate::{access::gate::Standing, engine::draft::Fault, store::Reader, wire::form::Form};
use bytes::Bytes;
use http::{HeaderMap, header};

/// One command for the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The partition key.
    pub key: Bytes,
    pub payload: Bytes,
}

/// A body as the edge received it.
#[derive(Clone, Debug)]
pub enum Body {
    None,
    Inline(Bytes),
    /// Longer than a form may be.
    TooLarge,
}

/// What is to be done for a request.
pub enum Ask {
    Answer(Response),
    /// Submit the first, and the second once that was not [refused](Ask::goes_on): who has not proven itself changes nothing.
    Submit(Call, Option<Call>),
}

impl Ask {
    /// Whether what follows a reply is done.
    pub fn goes_on(reply: &IdentityReply) -> bool {
        Refusal::of(reply.refusal).is_none()
    }
}

impl Identity {
    /// `attempt` names this request, for the audit trail and the answer.
    pub fn ask(
        &self,
        route: Route,
        headers: &HeaderMap,
        body: Body,
        site: &dyn Reader,
        attempt: u64,
    ) -> Result<Ask, Fault> {
        Ok(match route {
            Route::Token | Route::Revoke | Route::Introspect => {
                let (first, then) = self.by_assertion(route, headers, body, site, attempt)?;
                Ask::Submit(first, then)
            }
            Route::UserInfo => Ask::Answer(Response::no_user_info(attempt)),
            Route::Ping => Ask::Answer(self.ping()),
            Route::Status => {
                let key = headers.get("apikey").and_then(|key| key.to_str().ok()).unwrap_or_default();
                let known = matches!(tokens::standing_of_key(site, key)?, Standing::Proven(_));
                Ask::Answer(self.status(known))
            }
            // Log-ins are carried step by step: `login::visit`.
            Route::Login(_) => Ask::Answer(Response::not_found()),
            Route::WrongMethod(allow) => Ask::Answer(Response::wrong_method(allow)),
            Route::NotFound => Ask::Answer(Response::not_found()),
        })
    }

    /// Commands of an interaction whose caller proves itself with a signed JWT; a refused one leaves its record too.
    fn by_assertion(
        &self,
        route: Route,
        headers: &HeaderMap,
        body: Body,
        site: &dyn Reader,
        attempt: u64,
    ) -> Result<(Call, Option<Call>), Fault> {
        let form = read_form(headers, body);
        let (mut seen, place, life) = match &form {
            Err(refusal) => (Checked { refusal: Some(*refusal), ..Default::default() }, None, 0),
            Ok(form) => self.read(route, form, site)?,
        };
        if route != Route::Token && seen.refusal.is_none() && form.as_ref().is_ok_and(|f| f.get("token").is_none()) {
            seen.refusal = Some(Refusal::TokenMissing);
        }
        let expires = seen.expires.unwrap_or_default();
        let claim = Claim {
            refusal: seen.refusal.map_or(0, |refusal| refusal as u8),
            client: seen.client.clone(),
            jti: seen.jti.clone(),
            expires: seen.expires.map_or(0, |exp| exp.saturating_add(1)),
            key: seen.key,
            life,
            interaction: route.name().into(),
            ..Default::default()
        };
        // Where there is no jti there is nothing to claim, and any partition keeps the record.
        let key = if seen.jti.is_empty() { Bytes::copy_from_slice(&attempt.to_be_bytes()) } else { seen.jti };
        let first = Call { key, payload: IdentityCommand::Claim(claim).encode() };
        let mut then = None;
        if let (None, Some(Place { hour, hash })) = (seen.refusal, place) {
            let hash = Bytes::copy_from_slice(&hash);
            let on = OnToken { client: seen.client, hour, hash: hash.clone(), expires, ..Default::default() };
            let command =
                if route == Route::Revoke { IdentityCommand::Revoke(on) } else { IdentityCommand::Introspect(on) };
            then = Some(Call { key: hash, payload: command.encode() });
        }
        Ok((first, then))
    }

    /// What the form proves, which token it is about, and how long a token it asks for may live.
    fn read(&self, route: Route, form: &Form, site: &dyn Reader) -> Result<(Checked, Option<Place>, u64), Fault> {
        if route != Route::Token {
            // The token address is what clients sign for at every endpoint (RFC 7523 §3); ours may be named as well.
            let own = format!("{}/oauth2/{}", self.url(), if route == Route::Revoke { "revoke" } else { "introspect" });
            let seen = assertion::check(form, Shown::Apis, &[self.token_url(), &own], site)?;
            return Ok((seen, form.get("token").and_then(Place::of), 0));
        }
        let refused = |refusal| Checked { refusal: Some(refusal), ..Default::default() };
        let seen = match form.get("grant_type") {
            None => refused(Refusal::GrantMissing),
            Some("client_credentials") => assertion::check(form, Shown::Apis, &[self.token_url()], site)?,
            Some(_) => refused(Refusal::GrantUnknown),
        };
        let wish = form.get("_access_token_expiry_ms").and_then(|ms| ms.parse::<u64>().ok()).filter(|ms| *ms > 0);
        Ok((seen, None, wish.unwrap_or(TOKEN_LIFE_MS).min(TOKEN_LIFE_MS)))
    }
}

/// The form that a body holds.
pub fn read_form(headers: &HeaderMap, body: Body) -> Result<Form, Refusal> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Err(Refusal::ContentType);
    }
    match body {
        Body::None => Ok(Form::default()),
        Body::Inline(bytes) => Form::parse(&bytes).map_err(|_| Refusal::Unreadable),
        Body::TooLarge => Err(Refusal::Unreadable),
    }
}
