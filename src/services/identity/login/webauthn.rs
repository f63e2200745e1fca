//! What a passkey says, checked (W3C Web Authentication level 2, §7.1 registration and §7.2 assertion). Pure: whoever calls
//! knows the challenge, and sees to it that each is good once.
//!
//! Invariants: nothing is taken from a response that its signature, or at registration the browser's word over TLS, does not
//! cover; the person was there and was verified (PIN or biometry), else it would be one factor, not two; no key of another
//! kind than it was registered with is tried. Attestation is read over and not judged: any make of authenticator is taken.

use crate::wire::{cbor, jwt::from_base64url};
use aws_lc_rs::{
    digest::{SHA256, digest},
    signature::{
        ECDSA_P256_SHA256_ASN1, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
    },
};
use serde_json::Value;

/// Longest credential id that is taken (§7.1, step 18), in bytes.
pub const MAX_CREDENTIAL: usize = 1_023;
/// Longest key that is kept, in bytes: RSA of 4096 bits in COSE has some 530.
const MAX_KEY: usize = 1_100;
/// Longest client data, in bytes: browsers write some 150.
const MAX_CLIENT_DATA: usize = 4_096;

/// The person was there, was verified; the key may be, is, copied to other devices; a credential follows.
const PRESENT: u8 = 0x01;
const VERIFIED: u8 = 0x04;
const MAY_BE_COPIED: u8 = 0x08;
const IS_COPIED: u8 = 0x10;
const HAS_CREDENTIAL: u8 = 0x40;

/// COSE algorithms (RFC 9053) that keys may be of, the best liked first.
pub const ALGORITHMS: [i64; 3] = [ES256, EDDSA, RS256];
const ES256: i64 = -7;
const EDDSA: i64 = -8;
const RS256: i64 = -257;

/// Why a response is not taken; the word is for the audit trail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    Unreadable,
    /// Made for something else than this step.
    WrongType,
    WrongChallenge,
    WrongOrigin,
    WrongSite,
    NotPresent,
    NotVerified,
    /// Whether the key may be copied is not as it was at registration, or contradicts itself.
    CopyFlag,
    /// The kind of key, or its form.
    WrongKey,
    WrongSignature,
    /// The signature counter did not rise: there may be two of this authenticator (§6.1.1).
    CounterBack,
}

impl Flaw {
    pub fn word(self) -> &'static str {
        match self {
            Flaw::Unreadable => "unreadable",
            Flaw::WrongType => "wrong_type",
            Flaw::WrongChallenge => "wrong_challenge",
            Flaw::WrongOrigin => "wrong_origin",
            Flaw::WrongSite => "wrong_site",
            Flaw::NotPresent => "user_not_present",
            Flaw::NotVerified => "user_not_verified",
            Flaw::CopyFlag => "copy_flag",
            Flaw::WrongKey => "wrong_key",
            Flaw::WrongSignature => "wrong_signature",
            Flaw::CounterBack => "counter_back",
        }
    }
}

/// What a response must be for.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    pub challenge: &'a [u8],
    /// `https://host`, with a port where it is not 443.
    pub origin: &'a str,
    /// The host alone.
    pub rp_id: &'a str,
}

/// A passkey that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    pub credential: Vec<u8>,
    /// COSE_Key, as the authenticator wrote it.
    pub key: Vec<u8>,
    pub counter: u32,
    /// It may be copied to other devices (backup eligible): it is as safe as the account that it is kept in.
    pub copied: bool,
}

/// A passkey as it is known.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    pub key: &'a [u8],
    /// The highest that was seen.
    pub counter: u32,
    pub copied: bool,
}

/// What the authenticator has just made for this person (§7.1).
pub fn registration(wanted: &Expected<'_>, client_data: &[u8], attestation: &[u8]) -> Result<Made, Flaw> {
    client(wanted, client_data, "webauthn.create")?;
    let (object, rest) = cbor::read(attestation).map_err(|_| Flaw::Unreadable)?;
    let data = object.named("authData").and_then(cbor::Value::bytes).ok_or(Flaw::Unreadable)?;
    if !rest.is_empty() || object.named("fmt").and_then(cbor::Value::text).is_none() {
        return Err(Flaw::Unreadable);
    }
    let seen = Data::read(wanted, data)?;
    let (credential, key) = credential(&seen)?;
    // It is understood, or nothing could ever be checked with it.
    Key::read(key)?;
    Ok(Made { credential: credential.to_vec(), key: key.to_vec(), counter: seen.counter, copied: seen.copied })
}

/// What the authenticator says now (§7.2): its counter.
pub fn assertion(
    wanted: &Expected<'_>,
    known: &Known<'_>,
    client_data: &[u8],
    data: &[u8],
    signature: &[u8],
) -> Result<u32, Flaw> {
    client(wanted, client_data, "webauthn.get")?;
    let seen = Data::read(wanted, data)?;
    if seen.copied != known.copied {
        return Err(Flaw::CopyFlag);
    }
    let signed = [data, digest(&SHA256, client_data).as_ref()].concat();
    if !Key::read(known.key)?.signed(&signed, signature) {
        return Err(Flaw::WrongSignature);
    }
    // Authenticators that do not count say 0 for ever.
    if (seen.counter != 0 || known.counter != 0) && seen.counter <= known.counter {
        return Err(Flaw::CounterBack);
    }
    Ok(seen.counter)
}

/// What the browser says of the page that asked.
fn client(wanted: &Expected<'_>, text: &[u8], kind: &str) -> Result<(), Flaw> {
    if text.len() > MAX_CLIENT_DATA {
        return Err(Flaw::Unreadable);
    }
    let data: Value = serde_json::from_slice(text).map_err(|_| Flaw::Unreadable)?;
    let said = |name: &str| data.get(name).and_then(Value::as_str).unwrap_or_default();
    if said("type") != kind {
        return Err(Flaw::WrongType);
    }
    if wanted.challenge.is_empty() || from_base64url(said("challenge")).as_deref() != Some(wanted.challenge) {
        return Err(Flaw::WrongChallenge);
    }
    let framed = data.get("crossOrigin").is_some_and(|v| v != &Value::Bool(false)) || data.get("topOrigin").is_some();
    if said("origin") != wanted.origin || framed {
        return Err(Flaw::WrongOrigin);
    }
    Ok(())
}

/// Authenticator data (§6.1).
struct Data<'a> {
    flags: u8,
    counter: u32,
    copied: bool,
    rest: &'a [u8],
}

impl<'a> Data<'a> {
    /// Read, and found to be about this site and a person who was verified.
    fn read(wanted: &Expected<'_>, bytes: &'a [u8]) -> Result<Data<'a>, Flaw> {
        let (site, rest) = bytes.split_first_chunk::<32>().ok_or(Flaw::Unreadable)?;
        let (&flags, rest) = rest.split_first().ok_or(Flaw::Unreadable)?;
        let (counter, rest) = rest.split_first_chunk::<4>().ok_or(Flaw::Unreadable)?;
        if site != digest(&SHA256, wanted.rp_id.as_bytes()).as_ref() {
            return Err(Flaw::WrongSite);
        }
        if flags & PRESENT == 0 {
            return Err(Flaw::NotPresent);
        }
        if flags & VERIFIED == 0 {
            return Err(Flaw::NotVerified);
        }
        let copied = flags & MAY_BE_COPIED != 0;
        if flags & IS_COPIED != 0 && !copied {
            return Err(Flaw::CopyFlag);
        }
        Ok(Data { flags, counter: u32::from_be_bytes(*counter), copied, rest })
    }
}

/// Credential id and COSE key behind the head of authenticator data (§6.5.1).
fn credential<'a>(data: &Data<'a>) -> Result<(&'a [u8], &'a [u8]), Flaw> {
    if data.flags & HAS_CREDENTIAL == 0 {
        return Err(Flaw::Unreadable);
    }
    let (_make, rest) = data.rest.split_first_chunk::<16>().ok_or(Flaw::Unreadable)?;
    let (length, rest) = rest.split_first_chunk::<2>().ok_or(Flaw::Unreadable)?;
    let length = usize::from(u16::from_be_bytes(*length));
    let (id, rest) = rest.split_at_checked(length).ok_or(Flaw::Unreadable)?;
    let (_, behind) = cbor::read(rest).map_err(|_| Flaw::Unreadable)?;
    let key = &rest[..rest.len() - behind.len()];
    if id.is_empty() || id.len() > MAX_CREDENTIAL || key.len() > MAX_KEY {
        return Err(Flaw::Unreadable);
    }
    Ok((id, key))
}

/// A public key of one of [`ALGORITHMS`].
enum Key {
    /// Uncompressed point on P-256.
    Es256(Vec<u8>),
    Ed25519(Vec<u8>),
    Rs256 {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
}

impl Key {
    /// Of a COSE_Key (RFC 9053 §7, RFC 8230 §4).
    fn read(cose: &[u8]) -> Result<Key, Flaw> {
        let (map, rest) = cbor::read(cose).map_err(|_| Flaw::WrongKey)?;
        let int = |label| map.at(label).and_then(cbor::Value::int);
        let part = |label, lengths: std::ops::RangeInclusive<usize>| {
            let bytes = map.at(label).and_then(cbor::Value::bytes).filter(|b| lengths.contains(&b.len()));
            bytes.map(<[u8]>::to_vec).ok_or(Flaw::WrongKey)
        };
        if !rest.is_empty() {
            return Err(Flaw::WrongKey);
        }
        match (int(1), int(3), int(-1)) {
            (Some(2), Some(ES256), Some(1)) => {
                Ok(Key::Es256([vec![4], part(-2, 32..=32)?, part(-3, 32..=32)?].concat()))
            }
            (Some(1), Some(EDDSA), Some(6)) => Ok(Key::Ed25519(part(-2, 32..=32)?)),
            (Some(3), Some(RS256), None) => {
                Ok(Key::Rs256 { modulus: part(-1, 256..=1_024)?, exponent: part(-2, 1..=8)? })
            }
            _ => Err(Flaw::WrongKey),
        }
    }

    fn signed(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Key::Es256(point) => UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).verify(message, signature),
            Key::Ed25519(point) => UnparsedPublicKey::new(&ED25519, point).verify(message, signature),
            Key::Rs256 { modulus, exponent } => {
                let key = RsaPublicKeyComponents { n: modulus, e: exponent };
                key.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
            }
        }
        .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};

    // What Chromium with a virtual authenticator said to a page of https://localhost:42261, whose challenge was 32 times `c`.
    const MADE_CLIENT: &str = "eyJ0eXBlIjoid2ViYXV0aG4uY3JlYXRlIiwiY2hhbGxlbmdlIjoiWTJOalkyTmpZMk5qWTJOalkyTmpZMk5qWTJOalkyTmpZMk5q\
         WTJOalkyTSIsIm9yaWdpbiI6Imh0dHBzOi8vbG9jYWxob3N0OjQyMjYxIiwiY3Jvc3NPcmlnaW4iOmZhbHNlfQ";
    const MADE: &str = "o2NmbXRkbm9uZWdhdHRTdG10oGhhdXRoRGF0YVikSZYN5YgOjGh0NBcPZHZgW4_krrmihjLHmVzzuoMdl2NFAAAAAQECAwQFBgcI\
         AQIDBAUGBwgAIK_HdJhzoUGaWla6IFjhLU78Bg1xodNlM6C9m8IKAP-BpQECAyYgASFYIL8G7FanqIMYf-k8HinduKIATdWM7O71\
         tOqSNLPoZpHIIlggjugbOWD8JdS0jiHa-uqjG5tR1glOTfrVt_8BlMi5nrk";
    const USED_CLIENT: &str = "eyJ0eXBlIjoid2ViYXV0aG4uZ2V0IiwiY2hhbGxlbmdlIjoiWTJOalkyTmpZMk5qWTJOalkyTmpZMk5qWTJOalkyTmpZMk5qWTJO\
         alkyTSIsIm9yaWdpbiI6Imh0dHBzOi8vbG9jYWxob3N0OjQyMjYxIiwiY3Jvc3NPcmlnaW4iOmZhbHNlfQ";
    const USED_DATA: &str = "SZYN5YgOjGh0NBcPZHZgW4_krrmihjLHmVzzuoMdl2MFAAAAAg";
    const USED_SIGNATURE: &str =
        "MEUCIQDelm-NDxyrLyy9I5qYEzsA1dZtmook1SQyOXmDyMZ37gIgQs3vJxLRIEP1QI9bzLVaE3fiha0pOCIIdY2ytLZ14Dk";
    const CREDENTIAL: &str = "r8d0mHOhQZpaVrogWOEtTvwGDXGh02UzoL2bwgoA_4E";

    const WANTED: Expected<'_> =
        Expected { challenge: &[b'c'; 32], origin: "https://localhost:42261", rp_id: "localhost" };

    fn bytes(text: &str) -> Vec<u8> {
        from_base64url(text).unwrap()
    }

    #[test]
    fn what_a_real_browser_says_is_taken() {
        let made = registration(&WANTED, &bytes(MADE_CLIENT), &bytes(MADE)).unwrap();
        assert_eq!((made.credential, made.counter, made.copied), (bytes(CREDENTIAL), 1, false));
        let used = |counter, data: &[u8]| {
            let known = Known { key: &made.key, counter, copied: false };
            assertion(&WANTED, &known, &bytes(USED_CLIENT), data, &bytes(USED_SIGNATURE))
        };
        assert_eq!(used(1, &bytes(USED_DATA)), Ok(2));
        assert_eq!(used(2, &bytes(USED_DATA)), Err(Flaw::CounterBack));
        // Nothing is read that the signature does not cover, and nothing is read past the end.
        let data = bytes(USED_DATA);
        for bit in 0..8 * data.len() {
            let mut other = data.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(used(0, &other).is_err(), "bit {bit}");
        }
        for length in 0..data.len() {
            assert!(used(0, &data[..length]).is_err());
        }
        let attestation = bytes(MADE);
        for length in 0..attestation.len() {
            assert!(registration(&WANTED, &bytes(MADE_CLIENT), &attestation[..length]).is_err());
        }
    }

    #[test]
    fn keys_of_each_kind_check_their_own_signatures_only() {
        let head = |length: usize| [0x59, (length >> 8) as u8, length as u8];
        let ed = Ed25519KeyPair::generate().unwrap();
        let ed_key = [&b"\xa4\x01\x01\x03\x27\x20\x06\x21\x58\x20"[..], ed.public_key().as_ref()].concat();
        let (rsa, jwk) = crate::wire::jwt::tests::key("k");
        let modulus = bytes(jwk["n"].as_str().unwrap());
        let rsa_key =
            [&b"\xa4\x01\x03\x03\x39\x01\x00\x20"[..], &head(modulus.len()), &modulus, b"\x21\x43\x01\x00\x01"]
                .concat();
        let mut rsa_signature = vec![0; rsa.public_modulus_len()];
        let none = aws_lc_rs::test::rand::FixedByteRandom { byte: 0 };
        rsa.sign(&aws_lc_rs::signature::RSA_PKCS1_SHA256, &none, b"message", &mut rsa_signature).unwrap();
        let ed_signature = ed.sign(b"message").as_ref().to_vec();
        let signed = |key: &[u8], signature: &[u8]| Key::read(key).ok().unwrap().signed(b"message", signature);
        assert!(signed(&ed_key, &ed_signature) && signed(&rsa_key, &rsa_signature));
        assert!(!signed(&ed_key, &rsa_signature) && !signed(&rsa_key, &ed_signature));
        // Another curve, another algorithm, a short point, no map.
        for bad in [
            &b"\xa5\x01\x02\x03\x26\x20\x02\x21\x40\x22\x40"[..],
            b"\xa5\x01\x02\x03\x26\x20\x01\x21\x40\x22\x40",
            b"\xa1\x03\x26",
            b"\x01",
        ] {
            assert!(Key::read(bad).is_err());
        }
    }
}
