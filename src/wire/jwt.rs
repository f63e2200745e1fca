//! JSON Web Tokens and key sets as applications use them (RFC 7515, 7517, 7519; spec/identity.md §3): compact form, RS512.
//!
//! Strict on purpose: the algorithm is the reader's choice and never the token's, sizes are bounded before anything is
//! decoded, base64url is unpadded and canonical, a member that is there twice or an extension that must be understood
//! makes a token malformed. Pure.

use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA512, RsaPublicKeyComponents};
use serde::de::{MapAccess, Visitor};
use serde_json::{Map, Value};

/// Longest token that is read, in bytes: an assertion of a 4,096-bit key has about 1,100.
pub const MAX_TOKEN: usize = 8 << 10;
/// Longest key set that is read, in bytes.
pub const MAX_KEY_SET: usize = 64 << 10;
/// Most keys of a set: old and new of a rotation, for a few systems.
pub const MAX_KEYS: usize = 16;
/// Bits of an RSA modulus that are taken.
pub const MODULUS_BITS: std::ops::RangeInclusive<usize> = 2_048..=8_192;

/// The text is no token that this reader takes. Says nothing of its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a JSON Web Token in compact form")]
pub struct Malformed;

/// A token whose form is right. Nothing in it is believed before [`Jwt::verify`].
#[derive(Clone, Debug)]
pub struct Jwt {
    pub header: Map<String, Value>,
    pub claims: Map<String, Value>,
    signed: String,
    signature: Vec<u8>,
}

impl Jwt {
    pub fn parse(text: &str) -> Result<Jwt, Malformed> {
        if text.len() > MAX_TOKEN {
            return Err(Malformed);
        }
        let mut parts = text.split('.');
        let (Some(header), Some(claims), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Malformed);
        };
        let jwt = Jwt {
            header: object(header)?,
            claims: object(claims)?,
            signed: format!("{header}.{claims}"),
            signature: from_base64url(signature).ok_or(Malformed)?,
        };
        // A member named in `crit` must be understood (RFC 7515 §4.1.11), and none is.
        if jwt.header.contains_key("crit") { Err(Malformed) } else { Ok(jwt) }
    }

    /// Whether the key signed this with RSASSA-PKCS1-v1_5 and SHA-512, whatever the token's own header says.
    pub fn verify(&self, key: &RsaKey<'_>) -> bool {
        let key = RsaPublicKeyComponents { n: key.modulus, e: key.exponent };
        key.verify(&RSA_PKCS1_2048_8192_SHA512, self.signed.as_bytes(), &self.signature).is_ok()
    }

    /// The same with SHA-256 (RS256), for ID tokens.
    pub fn verify_rs256(&self, key: &RsaKey<'_>) -> bool {
        let key = RsaPublicKeyComponents { n: key.modulus, e: key.exponent };
        key.verify(&RSA_PKCS1_2048_8192_SHA256, self.signed.as_bytes(), &self.signature).is_ok()
    }

    /// A text of the header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.header.get(name).and_then(Value::as_str)
    }
    /// A text among the claims.
    pub fn claim(&self, name: &str) -> Option<&str> {
        self.claims.get(name).and_then(Value::as_str)
    }
}

/// A public key by its parts, big-endian without leading zeros.
#[derive(Clone, Copy, Debug)]
pub struct RsaKey<'a> {
    pub modulus: &'a [u8],
    pub exponent: &'a [u8],
}

/// A key of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jwk {
    pub kid: String,
    pub modulus: Vec<u8>,
    pub exponent: Vec<u8>,
}

/// Why a key set is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadKeys {
    #[error("the key set is no JSON object with a list `keys` (at most 64 KiB)")]
    Shape,
    #[error("the key set holds no key")]
    Empty,
    #[error("the key set holds more than {MAX_KEYS} keys")]
    TooMany,
    #[error("key {0} has no `kid`, or one of more than 128 characters")]
    Kid(usize),
    #[error("two keys have the kid {0}")]
    Twice(String),
    #[error("key {0} is not an RSA key: `kty` must be RSA")]
    Type(String),
    #[error("key {0} is for another algorithm or use: `alg` must be RS512 or absent, `use` must be sig or absent")]
    Use(String),
    #[error("key {0} is a private key; register the public half only, and replace this key, which has been shown")]
    Private(String),
    #[error("key {0}: `n` or `e` is missing or not base64url")]
    Parts(String),
    #[error("key {0} has {1} bits; 2,048 to 8,192 are taken")]
    Bits(String, usize),
    #[error("key {0} has a weak exponent; use 65537")]
    Exponent(String),
}

/// Reads a key set (RFC 7517 §5).
pub fn key_set(text: &str) -> Result<Vec<Jwk>, BadKeys> {
    if text.len() > MAX_KEY_SET {
        return Err(BadKeys::Shape);
    }
    let set: Value = serde_json::from_str(text).map_err(|_| BadKeys::Shape)?;
    let keys = set.get("keys").and_then(Value::as_array).ok_or(BadKeys::Shape)?;
    if keys.is_empty() {
        return Err(BadKeys::Empty);
    }
    if keys.len() > MAX_KEYS {
        return Err(BadKeys::TooMany);
    }
    let mut read: Vec<Jwk> = vec![];
    for (at, key) in keys.iter().enumerate() {
        let key = jwk(at + 1, key)?;
        if read.iter().any(|k| k.kid == key.kid) {
            return Err(BadKeys::Twice(key.kid));
        }
        read.push(key);
    }
    Ok(read)
}

fn jwk(at: usize, key: &Value) -> Result<Jwk, BadKeys> {
    let text = |name: &str| key.get(name).and_then(Value::as_str);
    let kid = text("kid").filter(|kid| !kid.is_empty() && kid.len() <= 128 && !kid.contains(char::is_control));
    let kid = kid.ok_or(BadKeys::Kid(at))?.to_owned();
    if ["d", "p", "q", "k"].iter().any(|secret| key.get(secret).is_some()) {
        return Err(BadKeys::Private(kid));
    }
    if text("kty") != Some("RSA") {
        return Err(BadKeys::Type(kid));
    }
    let other = |name: &str, right: &str| key.get(name).is_some_and(|v| v.as_str() != Some(right));
    if other("alg", "RS512") || other("use", "sig") {
        return Err(BadKeys::Use(kid));
    }
    let part = |name: &str| text(name).and_then(|part| from_base64url(part.as_bytes()));
    let (Some(modulus), Some(exponent)) = (part("n"), part("e")) else { return Err(BadKeys::Parts(kid)) };
    let key = Jwk { kid, modulus: trimmed(&modulus), exponent: trimmed(&exponent) };
    key.check()?;
    Ok(key)
}

impl Jwk {
    /// Strong enough, and a key at all.
    pub fn check(&self) -> Result<(), BadKeys> {
        let bits = self.modulus.first().map_or(0, |first| self.modulus.len() * 8 - first.leading_zeros() as usize);
        if !MODULUS_BITS.contains(&bits) {
            return Err(BadKeys::Bits(self.kid.clone(), bits));
        }
        let even = |number: &[u8]| number.last().is_none_or(|last| last % 2 == 0);
        let small =
            self.exponent.len() < 3 || self.exponent.as_slice() < [1, 0, 1].as_slice() && self.exponent.len() == 3;
        if small || self.exponent.len() > 4 || even(&self.exponent) {
            return Err(BadKeys::Exponent(self.kid.clone()));
        }
        if even(&self.modulus) {
            return Err(BadKeys::Parts(self.kid.clone()));
        }
        Ok(())
    }
}

fn trimmed(number: &[u8]) -> Vec<u8> {
    let zeros = number.iter().take_while(|b| **b == 0).count();
    number[zeros..].to_vec()
}

/// One part of a token: a JSON object in which no member comes twice.
fn object(part: &str) -> Result<Map<String, Value>, Malformed> {
    let bytes = from_base64url(part).ok_or(Malformed)?;
    let object: Once = serde_json::from_slice(&bytes).map_err(|_| Malformed)?;
    Ok(object.0)
}

struct Once(Map<String, Value>);

impl<'de> serde::Deserialize<'de> for Once {
    fn deserialize<D: serde::Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Once;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object without members of one name")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Once, A::Error> {
                let mut map = Map::new();
                while let Some((name, value)) = members.next_entry::<String, Value>()? {
                    if map.insert(name, value).is_some() {
                        return Err(serde::de::Error::custom("a member comes twice"));
                    }
                }
                Ok(Once(map))
            }
        }
        reader.deserialize_map(Members)
    }
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Unpadded base64url (RFC 7515 §2).
pub fn to_base64url(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().fold(0u32, |n, b| n << 8 | u32::from(*b)) << (8 * (3 - chunk.len()));
        for place in 0..=chunk.len() {
            out.push(ALPHABET[(group >> (18 - 6 * place)) as usize & 63] as char);
        }
    }
    out
}

/// The bytes of unpadded base64url; `None` for anything that [`to_base64url`] would not have written.
pub fn from_base64url(text: impl AsRef<[u8]>) -> Option<Vec<u8>> {
    let text = text.as_ref();
    let mut out = Vec::with_capacity(text.len() / 4 * 3 + 2);
    for chunk in text.chunks(4) {
        let mut group = 0u32;
        for c in chunk {
            let digit = match c {
                b'A'..=b'Z' => c - b'A',
                b'a'..=b'z' => c - b'a' + 26,
                b'0'..=b'9' => c - b'0' + 52,
                b'-' => 62,
                b'_' => 63,
                _ => return None,
            };
            group = group << 6 | u32::from(digit);
        }
        group <<= 6 * (4 - chunk.len());
        let bytes = chunk.len().checked_sub(1).filter(|n| *n > 0)?;
        // Bits behind the last byte must be zero: one text for one value.
        if group & ((1 << (8 * (3 - bytes))) - 1) != 0 {
            return None;
        }
        out.extend_from_slice(&group.to_be_bytes()[1..=bytes]);
    }
    Some(out)
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use aws_lc_rs::rsa::{KeyPair, KeySize};
    use aws_lc_rs::signature::KeyPair as _;
    use aws_lc_rs::{signature, test::rand::FixedByteRandom};
    use serde_json::json;

    /// A fresh key, its public half as JWK.
    pub fn key(kid: &str) -> (KeyPair, Value) {
        let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let public = pair.public_key();
        let n = to_base64url(public.modulus().big_endian_without_leading_zero());
        let e = to_base64url(public.exponent().big_endian_without_leading_zero());
        (pair, json!({"kty": "RSA", "kid": kid, "alg": "RS512", "use": "sig", "n": n, "e": e}))
    }

    /// A token in compact form, signed with RS512 whatever the header says.
    pub fn sign(pair: &KeyPair, header: &Value, claims: &Value) -> String {
        let part = |v: &Value| to_base64url(v.to_string().as_bytes());
        let signed = format!("{}.{}", part(header), part(claims));
        let mut signature = vec![0; pair.public_modulus_len()];
        // PKCS#1 v1.5 signatures need no randomness.
        let none = FixedByteRandom { byte: 0 };
        pair.sign(&signature::RSA_PKCS1_SHA512, &none, signed.as_bytes(), &mut signature).unwrap();
        format!("{signed}.{}", to_base64url(&signature))
    }

    fn of(jwk: &Jwk) -> RsaKey<'_> {
        RsaKey { modulus: &jwk.modulus, exponent: &jwk.exponent }
    }

    #[test]
    fn only_the_key_that_signed_verifies_and_only_what_was_signed() {
        let (pair, public) = key("a");
        let (_, other) = key("b");
        let keys = key_set(&json!({"keys": [public, other]}).to_string()).unwrap();
        let text = sign(&pair, &json!({"alg": "RS512"}), &json!({"iss": "x"}));
        let jwt = Jwt::parse(&text).unwrap();
        assert!(jwt.verify(&of(&keys[0])) && !jwt.verify(&of(&keys[1])));
        let changed = text.replacen(&to_base64url(br#"{"iss":"x"}"#), &to_base64url(br#"{"iss":"y"}"#), 1);
        assert!(!Jwt::parse(&changed).unwrap().verify(&of(&keys[0])));
    }

    #[test]
    fn what_is_no_token_is_told_from_what_is_one() {
        let part = |text: &str| to_base64url(text.as_bytes());
        let good = format!("{}.{}.{}", part("{}"), part("{}"), part("s"));
        assert!(Jwt::parse(&good).is_ok());
        let bad = [
            String::new(),
            "a.b".into(),
            format!("{good}.x"),
            format!("{}.{}.=", part("{}"), part("{}")),
            format!("{}.{}.{}", part("[]"), part("{}"), part("s")),
            format!("{}.{}.{}", part(r#"{"alg":"RS512","alg":"none"}"#), part("{}"), part("s")),
            format!("{}.{}.{}", part(r#"{"crit":["x"]}"#), part("{}"), part("s")),
            "a".repeat(MAX_TOKEN + 1),
        ];
        for text in bad {
            assert!(Jwt::parse(&text).is_err(), "{text}");
        }
    }

    #[test]
    fn base64url_is_one_text_for_one_value() {
        for bytes in [&b""[..], b"f", b"fo", b"foo", b"foob", &[255, 254, 253]] {
            assert_eq!(from_base64url(to_base64url(bytes)).as_deref(), Some(bytes));
        }
        assert_eq!(to_base64url(&[251, 255]), "-_8");
        for bad in ["A", "AB", "+_8", "-_8=", "-_9", "AAAAA"] {
            assert_eq!(from_base64url(bad), None, "{bad}");
        }
    }

    #[test]
    fn weak_odd_and_private_keys_are_named() {
        let (_, good) = key("k1");
        let with = |name: &str, value: Value| {
            let mut key = good.clone();
            key[name] = value;
            key_set(&json!({"keys": [key]}).to_string())
        };
        assert!(key_set(&json!({"keys": [good]}).to_string()).is_ok());
        assert_eq!(key_set("{}"), Err(BadKeys::Shape));
        assert_eq!(key_set(r#"{"keys":[]}"#), Err(BadKeys::Empty));
        assert_eq!(key_set(&json!({"keys": [good, good]}).to_string()), Err(BadKeys::Twice("k1".into())));
        assert_eq!(with("kty", json!("EC")), Err(BadKeys::Type("k1".into())));
        assert_eq!(with("alg", json!("RS256")), Err(BadKeys::Use("k1".into())));
        assert_eq!(with("d", json!("AQAB")), Err(BadKeys::Private("k1".into())));
        assert_eq!(with("e", json!("Aw")), Err(BadKeys::Exponent("k1".into())));
        assert_eq!(with("n", json!("not base64")), Err(BadKeys::Parts("k1".into())));
        assert_eq!(with("n", json!(to_base64url(&[0x81; 128]))), Err(BadKeys::Bits("k1".into(), 1_024)));
        assert_eq!(with("kid", json!("")), Err(BadKeys::Kid(1)));
    }
}
