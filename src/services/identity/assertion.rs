//! A signed JWT as proof of an application (spec/identity.md §3): everything that can be checked with the registry and
//! without a clock. Time, reuse and the registry as of now are the leader's (`decide`).

use super::refusal::Refusal;
use crate::{
    engine::draft::Fault,
    services::directory::applications::{PublicKey, application},
    store::Reader,
    wire::{
        form::Form,
        jwt::{Jwt, RsaKey},
    },
};
use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use serde_json::Value;

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// Longest client id and jti that are looked at, in bytes.
const MAX_ID: usize = 256;

/// What a form proves of its sender, as far as can be said here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// The first thing wrong with it.
    pub refusal: Option<Refusal>,
    /// The client that it names, believed or not; for the audit trail.
    pub client: String,
    /// SHA-256 of client id and jti; empty where there is none.
    pub jti: Bytes,
    /// `exp`, seconds since the epoch; `None` where it is no integer.
    pub expires: Option<u64>,
    /// SHA-256 of the key that signed it.
    pub key: Bytes,
}

impl Checked {
    fn refused(mut self, refusal: Refusal) -> Result<Self, Fault> {
        self.refusal = Some(refusal);
        Ok(self)
    }
}

/// Where a signed JWT is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// At the token service (spec/identity.md §3): RS512, with a `typ`.
    Apis,
    /// At the provider of staff (§2.3): RS256 or RS512. Libraries for OpenID Connect leave `typ` out, and nothing there asks for it.
    Provider,
}

/// Checks in the order of the table; the first failure is told.
pub fn check(form: &Form, shown: Shown, audiences: &[&str], site: &dyn Reader) -> Result<Checked, Fault> {
    let mut seen = Checked::default();
    if form.get("client_assertion_type") != Some(ASSERTION_TYPE) {
        return seen.refused(Refusal::AssertionType);
    }
    let Some(text) = form.get("client_assertion") else { return seen.refused(Refusal::AssertionMissing) };
    let Ok(jwt) = Jwt::parse(text) else { return seen.refused(Refusal::Malformed) };
    let sha256 = match (jwt.header("alg"), shown) {
        (Some("RS512"), _) => false,
        (Some("RS256"), Shown::Provider) => true,
        _ => return seen.refused(Refusal::Algorithm),
    };
    // From here on the leader may find it expired, which is told before what follows.
    let exp = jwt.claims.get("exp");
    seen.expires = exp.and_then(|exp| exp.as_u64().or_else(|| exp.as_i64().map(|_| 0)));
    let Some(kid) = jwt.header("kid") else { return seen.refused(Refusal::KidMissing) };
    let untyped = shown == Shown::Provider && !jwt.header.contains_key("typ");
    if !untyped && !jwt.header("typ").is_some_and(|typ| typ.eq_ignore_ascii_case("JWT")) {
        return seen.refused(Refusal::Type);
    }
    if exp.is_none_or(Value::is_null) {
        return seen.refused(Refusal::ExpMissing);
    }
    if seen.expires.is_none() {
        return seen.refused(Refusal::ExpType);
    }
    let named = |name| jwt.claim(name).filter(|id| !id.is_empty() && id.len() <= MAX_ID);
    let (Some(iss), Some(sub)) = (named("iss"), named("sub")) else { return seen.refused(Refusal::Issuer) };
    if iss != sub {
        return seen.refused(Refusal::Issuer);
    }
    seen.client = iss.to_owned();
    match jwt.claims.get("jti") {
        None | Some(Value::Null) => return seen.refused(Refusal::JtiMissing),
        Some(Value::String(jti)) if !jti.is_empty() && jti.len() <= MAX_ID => {
            seen.jti = Bytes::copy_from_slice(digest(&SHA256, format!("{iss}\0{jti}").as_bytes()).as_ref());
        }
        Some(_) => return seen.refused(Refusal::JtiType),
    }
    let Some(application) = application(site, iss)? else { return seen.refused(Refusal::ClientUnknown) };
    if !application.is_approved() {
        return seen.refused(Refusal::NotApproved);
    }
    if application.keys.is_empty() {
        return seen.refused(match application.jwks_uri.is_empty() {
            true => Refusal::NoKey,
            false => Refusal::KeySetUnreachable,
        });
    }
    let Some(key) = application.key(kid) else { return seen.refused(Refusal::KidUnknown) };
    let public = RsaKey { modulus: &key.modulus, exponent: &key.exponent };
    if !(if sha256 { jwt.verify_rs256(&public) } else { jwt.verify(&public) }) {
        return seen.refused(Refusal::Signature);
    }
    seen.key = thumbprint(key);
    if !is_for(jwt.claims.get("aud"), audiences) {
        return seen.refused(Refusal::Audience);
    }
    Ok(seen)
}

/// Names a key by its parts, so that another key under the same kid is another key.
pub fn thumbprint(key: &PublicKey) -> Bytes {
    let parts = [key.modulus.as_ref(), key.exponent.as_ref()].concat();
    Bytes::copy_from_slice(digest(&SHA256, &parts).as_ref())
}

/// One text, or a list of one (RFC 7519 §4.1.3): a token for several audiences could be used by one of them at us.
fn is_for(aud: Option<&Value>, audiences: &[&str]) -> bool {
    let one = match aud {
        Some(Value::String(aud)) => Some(aud.as_str()),
        Some(Value::Array(list)) if list.len() == 1 => list[0].as_str(),
        _ => None,
    };
    one.is_some_and(|aud| audiences.contains(&aud))
}
