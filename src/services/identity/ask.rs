//! A request → commands, or an answer that needs none.

use super::{
    Identity,
    answer::Response,
    assertion::{self, Checked, Shown},
    command::{Claim, IdentityCommand, IdentityReply, OnToken},
    decide::TOKEN_LIFE_MS,
    login,
    refusal::Refusal,
    routes::Route,
    tokens::{self, Place},
};
use crate::{
    access::gate::Standing, engine::draft::Fault, services::directory::applications, store::Reader, wire::form::Form,
};
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
                if let Some(ask) = self.by_secret(route, headers, &body, site, attempt)? {
                    return Ok(ask);
                }
                let (first, then) = self.by_assertion(route, headers, body, site, attempt)?;
                Ask::Submit(first, then)
            }
            Route::UserInfo => Ask::Answer(Response::no_user_info(attempt)),
            Route::Ping => Ask::Answer(self.ping()),
            Route::SmartConfiguration => Ask::Answer(self.smart_configuration()),
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

    /// The command of an interaction on a token whose caller proves itself with its secret, as clients of the combined flow do at the
    /// token endpoint (spec/identity.md §4.2), with the same refusals; `None` where a signed JWT is shown, or nothing.
    fn by_secret(
        &self,
        route: Route,
        headers: &HeaderMap,
        body: &Body,
        site: &dyn Reader,
        attempt: u64,
    ) -> Result<Option<Ask>, Fault> {
        let Some(form) = (route != Route::Token).then(|| read_form(headers, body.clone()).ok()).flatten() else {
            return Ok(None);
        };
        let signed = ["client_assertion", "client_assertion_type"].iter().any(|name| form.get(name).is_some());
        if signed || form.get("client_id").or(form.get("client_secret")).is_none() {
            return Ok(None);
        }
        let client = form.get("client_id").unwrap_or_default().to_owned();
        let refusal = match login::secret_flaw(site, &form)? {
            Err(refusal) => Some(refusal),
            Ok(_) => form.get("token").is_none().then_some(Refusal::TokenMissing),
        };
        if let Some(refusal) = refusal {
            let claim =
                Claim { refusal: refusal as u8, client, interaction: route.name().into(), ..Default::default() };
            let key = Bytes::copy_from_slice(&attempt.to_be_bytes());
            return Ok(Some(Ask::Submit(Call { key, payload: IdentityCommand::Claim(claim).encode() }, None)));
        }
        // What cannot be one of ours is nobody's: it is looked for where nothing is.
        let place = form.get("token").and_then(Place::of).unwrap_or(Place { hour: 0, hash: [0; 32] });
        Ok(Some(Ask::Submit(on_token(route, client, &place, u64::MAX), None)))
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
        if matches!(seen.refusal, Some(Refusal::KidUnknown | Refusal::KeySetUnreachable))
            && applications::application(site, &seen.client)?.is_some_and(|row| !row.jwks_uri.is_empty())
        {
            self.want_keys(&seen.client);
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
        if let (None, Some(place)) = (seen.refusal, place) {
            then = Some(on_token(route, seen.client, &place, expires));
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

/// For the partition of the token.
fn on_token(route: Route, client: String, place: &Place, expires: u64) -> Call {
    let hash = Bytes::copy_from_slice(&place.hash);
    let on = OnToken { client, hour: place.hour, hash: hash.clone(), expires, ..Default::default() };
    let command = if route == Route::Revoke { IdentityCommand::Revoke(on) } else { IdentityCommand::Introspect(on) };
    Call { key: hash, payload: command.encode() }
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
