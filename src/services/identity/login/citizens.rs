//! Citizens log in elsewhere, the combined flow (spec/identity.md §4.1 with `scope=nhs-login`): the browser goes to the provider that the
//! registry names and comes back with a code; the provider is asked what it stands for, and its ID token is judged as in an exchange
//! (§5), and besides must be for the site, and for this log-in.
//!
//! Pure: whoever carries the visit signs and sends the question. `state` is the errand's secret, good once and in the browser that began;
//! `nonce` and the verifier of PKCE come of 32 bytes in the errand's row, so neither tells the other.

use super::{
    command::{CitizenIn, LoginReply},
    exchange::{Subject, citizens_token, read},
    page::Page,
    platform::{MAX_AGE_MS, MAX_AGE_S},
    provider::{challenge, with},
    rows::{Grant, LoginRequest},
    visit::{Doing, Step, Visit, call},
};
use crate::{
    engine::draft::Fault,
    services::{
        directory::{
            issuers::{self, CitizenIssuer, LogInAt},
            rows::Secret,
        },
        identity::{Identity, command::IdentityCommand, tokens::sha256},
    },
    store::Reader,
    wire::{
        form::encode,
        jwt::{Jwt, to_base64url},
    },
};
use bytes::Bytes;
use serde_json::{Value, json};

/// What a citizen's log-in is asked to tell.
const SCOPE: &str = "openid profile";
/// Life of the JWT by which the site proves itself, in seconds.
const ASSERTION_S: u64 = 120;
/// How far the provider's clock may go behind ours, in milliseconds.
const SKEW_MS: u64 = 60_000;
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// The provider where citizens log in, as the registry has it.
pub(super) struct Provider {
    name: String,
    row: CitizenIssuer,
    at: LogInAt,
}

/// A question for a token endpoint outside the site, but for the proof of who asks.
pub struct Question {
    pub address: String,
    form: Vec<(&'static str, String)>,
    /// Claims of the JWT that is to be signed (RS512), and with what.
    pub assertion: Value,
    pub kid: String,
    pub private: Secret,
}

impl Question {
    /// The form, once the JWT is signed.
    pub fn form(&self, signed: &str) -> String {
        let more = [("client_assertion_type", ASSERTION_TYPE), ("client_assertion", signed)];
        let pairs = self.form.iter().map(|(name, value)| (*name, value.as_str())).chain(more);
        let pairs: Vec<String> = pairs.map(|(name, value)| format!("{name}={}", encode(value))).collect();
        pairs.join("&")
    }
}

/// Status and body of the answer; or why there is none, a stable word.
pub type Heard = Result<(u16, Bytes), &'static str>;

/// A log-in that is on its way through the provider.
pub(super) struct Errand {
    provider: Provider,
    request: LoginRequest,
    /// When it was begun, milliseconds since the epoch.
    begun: u64,
    nonce: String,
}

impl Provider {
    pub(super) fn of(site: &dyn Reader) -> Result<Option<Provider>, Fault> {
        let found = issuers::log_in(site)?;
        Ok(found.and_then(|(name, row)| row.log_in.clone().map(|at| Provider { name, row, at })))
    }
    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

/// What the errand's row keeps, as the verifier of PKCE (RFC 7636 §4.1).
fn verifier(kept: &[u8]) -> String {
    to_base64url(kept)
}

fn nonce(kept: &[u8]) -> String {
    to_base64url(&sha256(&[b"nonce", kept].concat()))
}

impl Visit {
    /// The errand has begun: the browser goes to the provider.
    pub(super) fn citizen_sent(
        &mut self,
        identity: &Identity,
        reply: &LoginReply,
        provider: &Provider,
        acr: &str,
    ) -> Step {
        let kept = &reply.challenge;
        let to = with(
            &provider.at.authorize,
            &[
                ("client_id", &provider.at.client),
                ("redirect_uri", &identity.callback_url()),
                ("response_type", "code"),
                ("scope", SCOPE),
                ("state", &reply.secret.0),
                ("nonce", &nonce(kept)),
                ("code_challenge", &challenge(&verifier(kept))),
                ("code_challenge_method", "S256"),
                ("max_age", MAX_AGE_S),
                ("acr_values", acr),
            ],
        );
        Step::Done(Page::found(to).with_browser(&reply.other.0))
    }

    /// The browser is back with a code: what does it stand for?
    pub(super) fn citizen_back(
        &mut self,
        identity: &Identity,
        (grant, begun, now): (Grant, u64, u64),
        provider: Option<Provider>,
        (code, named): (&str, &str),
    ) -> Step {
        let Some(request) = grant.request else { return Step::Done(self.broken()) };
        let began_at = grant.citizen.map(|citizen| citizen.issuer).unwrap_or_default();
        // Trust may have been taken away in between; and who answers for another provider is not asked (RFC 9207).
        let provider = provider.filter(|known| known.name == began_at);
        let Some(provider) = provider else { return self.citizen_refused(&request, UNAVAILABLE, "provider_gone") };
        if !named.is_empty() && named != provider.name {
            return self.citizen_refused(&request, DENIED, "other_issuer");
        }
        let kept = &grant.challenge;
        let assertion = json!({
            "iss": provider.at.client, "sub": provider.at.client, "aud": provider.at.token, "iat": now / 1_000,
            "exp": now / 1_000 + ASSERTION_S, "jti": to_base64url(&sha256(&[b"jti", &kept[..]].concat())),
        });
        let question = Question {
            address: provider.at.token.clone(),
            form: vec![
                ("grant_type", "authorization_code".into()),
                ("code", code.into()),
                ("redirect_uri", identity.callback_url()),
                ("client_id", provider.at.client.clone()),
                ("code_verifier", verifier(kept)),
            ],
            assertion,
            kid: provider.at.kid.clone(),
            private: provider.at.private.clone(),
        };
        self.doing = Doing::CitizenAsking(Box::new(Errand { provider, request, begun, nonce: nonce(kept) }));
        Step::Ask(Box::new(question))
    }

    /// What came of [`Step::Ask`].
    pub fn heard(&mut self, heard: Heard) -> Step {
        let Doing::CitizenAsking(errand) = std::mem::replace(&mut self.doing, Doing::Showing) else {
            return Step::Done(self.broken());
        };
        let body = match heard {
            Ok((200, body)) => body,
            // The code is not the provider's, or not any more: whoever brought it is nobody.
            Ok((400, body)) if told(&body, "error") == "invalid_grant" => {
                return self.citizen_refused(&errand.request, DENIED, "provider_refused");
            }
            Ok((status, _)) if status < 500 => {
                return self.citizen_refused(&errand.request, "server_error", "provider_refused_us");
            }
            Ok(_) => return self.citizen_refused(&errand.request, UNAVAILABLE, "provider_failed"),
            Err(why) => return self.citizen_refused(&errand.request, UNAVAILABLE, why),
        };
        let subject = match judged(&errand, &told(&body, "id_token")) {
            Ok(subject) => subject,
            Err(why) => return self.citizen_refused(&errand.request, DENIED, why),
        };
        let request = errand.request;
        self.doing = Doing::Passing { redirect: request.redirect.clone(), state: request.state.clone() };
        let command = CitizenIn {
            request,
            user: subject.user,
            citizen: subject.citizen,
            expires: subject.expires,
            acted_expires: subject.acted_expires,
            ..Default::default()
        };
        call(self.anywhere(), IdentityCommand::CitizenIn(command))
    }

    /// Back to the application with an error of RFC 6749 §4.1.2.1, once the trail tells of it.
    fn citizen_refused(&mut self, request: &LoginRequest, error: &str, word: &str) -> Step {
        let to = with(&request.redirect, &[("error", error), ("state", &request.state)]);
        self.noting("identity.callback", word, &request.client, Page::found(to))
    }
}

const DENIED: &str = "access_denied";
const UNAVAILABLE: &str = "temporarily_unavailable";

/// A text of a JSON object; empty where there is none.
fn told(body: &[u8], name: &str) -> String {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    body[name].as_str().unwrap_or_default().to_owned()
}

/// Who an ID token says has logged in; or why it is not believed, for the trail. Its end is the leader's to judge.
fn judged(errand: &Errand, text: &str) -> Result<Subject, &'static str> {
    if text.is_empty() {
        return Err("no_id_token");
    }
    let mut seen = Subject::default();
    let jwt = read(text, &mut seen).map_err(|refusal| refusal.word())?;
    if jwt.claim("iss") != Some(&errand.provider.name) {
        return Err("SubjectIss");
    }
    if !is_for(&jwt, &errand.provider.at.client) {
        return Err("other_audience");
    }
    citizens_token(&jwt, &errand.provider.row, &mut seen).map_err(|refusal| refusal.word())?;
    if jwt.claim("nonce") != Some(&errand.nonce) {
        return Err("nonce");
    }
    // What was asked for went through the browser, which may have left `max_age` out.
    let logged_in = jwt.claims.get("auth_time").and_then(Value::as_u64).ok_or("no_auth_time")?;
    if logged_in.saturating_mul(1_000).saturating_add(MAX_AGE_MS + SKEW_MS) < errand.begun {
        return Err("old_log_in");
    }
    Ok(seen)
}

/// Whether a token is for a client of the provider (OpenID Connect Core §3.1.3.7, 3 to 5).
fn is_for(jwt: &Jwt, client: &str) -> bool {
    let others = match jwt.claims.get("aud") {
        Some(Value::String(aud)) if aud == client => false,
        Some(Value::Array(list)) if list.iter().any(|aud| aud == client) => list.len() > 1,
        _ => return false,
    };
    match jwt.claims.get("azp") {
        None => !others,
        Some(azp) => azp == client,
    }
}
