//! What a request of the API listener shows of its sender (spec/identity.md §1, §4.6): header `apikey`, or `authorization`
//! with the word Bearer. Only interactions whose rule asks for credentials have them looked up (P5, P6).

use super::Edge;
use super::backend::Credentials;
use super::problem::Refusal;
use crate::access::gate::{Proven, Standing};
use http::{HeaderMap, HeaderValue, header};

/// Longest key or token that is looked up, in bytes: ours have 43 characters.
const MAX_LENGTH: usize = 256;

/// How the sender of these headers stands now.
pub async fn standing(edge: &Edge, interaction: &str, headers: &HeaderMap) -> Result<Standing, Refusal> {
    if !edge.gate.wants_credentials(interaction) {
        return Ok(Standing::Nobody);
    }
    match shown(headers) {
        Some(shown) => Ok(edge.backend.known(&shown).await?),
        None => Ok(Standing::Nobody),
    }
}

/// The emergency-care application whose credentials these seem to be. It is asked where there is no room left, or where the
/// interaction asks for no credentials, so that an application's request for its next token is as welcome as its others.
pub fn emergency(edge: &Edge, headers: &HeaderMap) -> Option<Proven> {
    shown(headers).and_then(|shown| edge.backend.seen(&shown)).filter(|proven| proven.emergency)
}

/// A token is taken before a key: it proves more.
fn shown(headers: &HeaderMap) -> Option<Credentials> {
    if let Some(token) = headers.get(header::AUTHORIZATION).and_then(bearer) {
        let role = headers.get("nhsd-session-urid").and_then(text).unwrap_or_default();
        return Some(Credentials::Bearer(token, role));
    }
    headers.get("apikey").and_then(text).map(Credentials::Key)
}

/// What stands behind `Bearer`, in any case, as RFC 6750 §2.1 has it; `None` for other schemes and for nothing.
pub fn bearer(value: &HeaderValue) -> Option<String> {
    let value = text(value)?;
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then(|| token.to_owned())
}

/// A header's text; an absurdly long one is cut, which makes it one that nobody has.
fn text(value: &HeaderValue) -> Option<String> {
    let value = value.to_str().ok()?.trim();
    let cut = value.get(..MAX_LENGTH).unwrap_or(value);
    (!cut.is_empty()).then(|| cut.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_bearer_with_something_behind_it_is_a_token() {
        let of = |value: &'static str| bearer(&HeaderValue::from_static(value));
        assert_eq!(of("Bearer abc").as_deref(), Some("abc"));
        assert_eq!(of("bearer   abc ").as_deref(), Some("abc"));
        for none in ["Bearer", "Bearer ", "Basic abc", "abc", ""] {
            assert_eq!(of(none), None, "{none:?}");
        }
    }
}
