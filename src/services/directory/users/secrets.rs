//! Passwords and one-time codes: made and checked (spec/identity.md §2.4). Pure; slow on purpose, so that callers keep
//! [`hash`] and [`Password::is`] off the threads that serve others.

use super::Authenticator;
use crate::services::directory::rows::Secret;
use aws_lc_rs::{
    hmac,
    pbkdf2::{self, PBKDF2_HMAC_SHA512},
};
use bytes::Bytes;
use std::num::NonZeroU32;

/// Length of what is kept of a password.
pub const HASH_BYTES: usize = 64;
/// Rounds of PBKDF2-HMAC-SHA512 for new passwords: what OWASP asks for in 2023 and after.
pub const ROUNDS: u32 = 210_000;
pub const LEAST_ROUNDS: u32 = 100_000;
pub const MOST_ROUNDS: u32 = 5_000_000;
/// Shortest and longest password, in characters: long ones need no rules about what is in them.
pub const PASSWORD_LENGTH: std::ops::RangeInclusive<usize> = 12..=200;
/// Length of a step of time (RFC 6238 §4.1), in milliseconds.
pub const STEP_MS: u64 = 30_000;
/// Steps before and after the current one whose code is taken: clocks of telephones, and slow fingers.
const DRIFT: u64 = 1;
/// Shortest and longest shared secret, in bytes (RFC 4226 §4).
const KEY_BYTES: std::ops::RangeInclusive<usize> = 16..=64;

/// What is kept of a password, in the form in which it can travel to a thread that may be slow.
#[derive(Clone, Debug)]
pub struct Password {
    salt: Bytes,
    rounds: NonZeroU32,
    hash: Bytes,
}

impl Password {
    /// Of a row; where there is none, of nobody: checking takes as long and never succeeds.
    pub fn of(row: Option<&Authenticator>) -> Password {
        let known = row.filter(|row| row.hash.len() == HASH_BYTES);
        let rounds = NonZeroU32::new(known.map_or(ROUNDS, |row| row.rounds)).unwrap_or(NonZeroU32::MIN);
        Password {
            salt: known.map(|row| row.salt.clone()).unwrap_or_else(|| Bytes::from_static(&[0; 16])),
            rounds,
            hash: known.map(|row| row.hash.clone()).unwrap_or_default(),
        }
    }

    /// Whether it is this one. Takes about a tenth of a second.
    pub fn is(&self, text: &str) -> bool {
        if self.hash.len() == HASH_BYTES {
            return pbkdf2::verify(PBKDF2_HMAC_SHA512, self.rounds, &self.salt, text.as_bytes(), &self.hash).is_ok();
        }
        let mut out = [0; HASH_BYTES];
        pbkdf2::derive(PBKDF2_HMAC_SHA512, self.rounds, &self.salt, text.as_bytes(), &mut out);
        false
    }
}

/// Why a password is not taken.
pub fn weakness(text: &str) -> Option<String> {
    let (least, most) = (PASSWORD_LENGTH.start(), PASSWORD_LENGTH.end());
    let all: std::collections::BTreeSet<char> = text.chars().collect();
    if !PASSWORD_LENGTH.contains(&text.chars().count()) {
        return Some(format!("a password has {least} to {most} characters"));
    }
    (all.len() < 5).then(|| "a password has at least five different characters".into())
}

/// The row of a new password. Takes about a tenth of a second.
pub fn hash(text: &str, salt: [u8; 16]) -> Authenticator {
    let rounds = NonZeroU32::new(ROUNDS).unwrap_or(NonZeroU32::MIN);
    let mut out = [0; HASH_BYTES];
    pbkdf2::derive(PBKDF2_HMAC_SHA512, rounds, &salt, text.as_bytes(), &mut out);
    Authenticator {
        kind: super::Kind::Password as u8,
        salt: Bytes::copy_from_slice(&salt),
        rounds: rounds.get(),
        hash: Bytes::copy_from_slice(&out),
        ..Default::default()
    }
}

/// The row of a shared secret for one-time codes, of 160 random bits (RFC 4226 §4).
pub fn one_time(random: [u8; 20]) -> Authenticator {
    let secret = Secret(to_base32(&random));
    Authenticator { kind: super::Kind::OneTimeCode as u8, secret, ..Default::default() }
}

/// The bytes of a shared secret; `None` where the text is none.
pub fn totp_key(base32: &str) -> Option<Vec<u8>> {
    from_base32(base32).filter(|key| KEY_BYTES.contains(&key.len()))
}

/// The six digits of a step (RFC 6238 with RFC 4226's HMAC-SHA-1, which is what authenticator apps speak).
pub fn code(key: &[u8], step: u64) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key);
    let tag = hmac::sign(&key, &step.to_be_bytes());
    let tag = tag.as_ref();
    let at = usize::from(tag[tag.len() - 1] & 15);
    let number = tag[at..at + 4].iter().fold(0u32, |n, b| n << 8 | u32::from(*b)) & 0x7fff_ffff;
    format!("{:06}", number % 1_000_000)
}

/// The step whose code was given, if it is one of now and later than the last that was used.
pub fn step_of(base32: &str, given: &str, now_ms: u64, last: u64) -> Option<u64> {
    let key = totp_key(base32)?;
    let given: String = given.chars().filter(|c| !c.is_whitespace()).collect();
    let now = now_ms / STEP_MS;
    let mut found = None;
    for step in now.saturating_sub(DRIFT)..=now + DRIFT {
        let same = aws_lc_rs::constant_time::verify_slices_are_equal(code(&key, step).as_bytes(), given.as_bytes());
        if same.is_ok() && step > last {
            found = found.or(Some(step));
        }
    }
    found
}

const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// Unpadded (RFC 4648 §6), as authenticator apps take it.
pub fn to_base32(bytes: &[u8]) -> String {
    let mut out = String::new();
    let (mut group, mut bits) = (0u32, 0);
    for b in bytes {
        group = group << 8 | u32::from(*b);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            out.push(BASE32[(group >> bits) as usize & 31] as char);
        }
        group &= (1 << bits) - 1;
    }
    if bits > 0 {
        out.push(BASE32[(group << (5 - bits)) as usize & 31] as char);
    }
    out
}

/// Blanks and the case of letters do not count.
fn from_base32(text: &str) -> Option<Vec<u8>> {
    let mut out = vec![];
    let (mut group, mut bits) = (0u32, 0);
    for c in text.trim_end_matches('=').bytes().filter(|c| !c.is_ascii_whitespace()) {
        let digit = BASE32.iter().position(|b| *b == c.to_ascii_uppercase())?;
        group = group << 5 | digit as u32;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            out.push((group >> bits) as u8);
            group &= (1 << bits) - 1;
        }
    }
    Some(out)
}
