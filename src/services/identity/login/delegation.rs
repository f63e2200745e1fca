//! Delegation (spec/identity.md §5): a citizen's ID token may name somebody whom its person acts for, by a second JWT of the same
//! provider in `act.sub`. The tokens that come of it open the record of that one, and the audit trail names who acts.

use super::exchange::names_somebody;
use crate::{
    model::NhsNumber,
    services::{directory::issuers::CitizenIssuer, identity::refusal::Refusal},
    wire::jwt::{Jwt, RsaKey},
};
use serde_json::Value;

/// Whose record is acted on, where the token names anybody: the NHS number. `expires` gets one more than the `exp` of the second JWT,
/// in seconds, which only the leader can judge. Checks in the order of those of the subject token.
pub(super) fn acted_for(jwt: &Jwt, provider: &CitizenIssuer, expires: &mut u64) -> Result<Option<NhsNumber>, Refusal> {
    let Some(act) = jwt.claims.get("act") else { return Ok(None) };
    let text = match act.get("sub") {
        None | Some(Value::Null) => return Err(Refusal::ActedMissing),
        Some(Value::String(text)) => text,
        Some(_) => return Err(Refusal::ActedMalformed),
    };
    let acted = Jwt::parse(text).map_err(|_| Refusal::ActedMalformed)?;
    headers(&acted)?;
    *expires = match acted.claims.get("exp") {
        None | Some(Value::Null) => return Err(Refusal::ActedExpMissing),
        Some(exp) => match exp.as_u64() {
            Some(exp) => exp.saturating_add(1),
            None if exp.is_i64() => 1,
            None => return Err(Refusal::ActedExpType),
        },
    };
    match acted.claim("iss") {
        None | Some("") => return Err(Refusal::ActedIssMissing),
        // Another provider, trusted or not, has not seen the two together.
        Some(iss) if Some(iss) != jwt.claim("iss") => return Err(Refusal::ActedIss),
        Some(_) => {}
    }
    if !acted.claims.get("aud").is_some_and(names_somebody) {
        return Err(Refusal::ActedAudMissing);
    }
    let number = match acted.claims.get("nhs_number") {
        None | Some(Value::Null) => return Err(Refusal::ActedNumberMissing),
        Some(number) => number.as_str().and_then(NhsNumber::strict).ok_or(Refusal::ActedNumber)?,
    };
    match is_signed(&acted, provider) {
        None => Err(Refusal::ActedKid),
        Some(false) => Err(Refusal::ActedSignature),
        Some(true) => Ok(Some(number)),
    }
}

fn headers(acted: &Jwt) -> Result<(), Refusal> {
    let header = |name: &str| acted.header(name).filter(|text| !text.is_empty());
    if header("kid").is_none() {
        return Err(Refusal::ActedKidMissing);
    }
    let typ = header("typ").ok_or(Refusal::ActedTypMissing)?;
    if !typ.eq_ignore_ascii_case("JWT") {
        return Err(Refusal::ActedTyp);
    }
    header("alg").map(|_| ()).ok_or(Refusal::ActedAlgMissing)
}

/// Whether a provider signed it; `None` where it names no key of theirs.
pub(super) fn is_signed(jwt: &Jwt, provider: &CitizenIssuer) -> Option<bool> {
    let key = provider.key(jwt.header("kid").unwrap_or_default())?;
    let key = RsaKey { modulus: &key.modulus, exponent: &key.exponent };
    Some(match jwt.header("alg") {
        Some("RS256") => jwt.verify_rs256(&key),
        Some("RS512") => jwt.verify(&key),
        _ => false,
    })
}
