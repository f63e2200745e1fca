//! What the token service stores, and its keys.

use crate::{
    record,
    store::tables::{Key, Table},
};
use bytes::Bytes;

pub const HOUR_MS: u64 = 3_600_000;

record! {
    /// An access token, under the hour of its issue and the SHA-256 of its text. A revoked one is deleted.
    pub struct AccessToken v1 {
        /// Client id of the application it was issued to.
        1 => client: String,
        /// What was proven: `level3`, later `aal3`, `P9`.
        2 => level: String,
        3 => scopes: Vec<String>,
        /// Milliseconds since the epoch.
        4 => issued: u64,
        /// Milliseconds since the epoch.
        5 => expires: u64,
        /// `grant_type` by which it was got.
        6 => grant: String,
        /// Who proved the user: `apim` for applications.
        7 => provider: String,
        /// The person: user id; empty where none is present.
        8 => user: String,
        /// The role profile that was chosen at log-in; empty where none was.
        9 => role: String,
        /// Hour and SHA-256 of the session that it lives with, 40 bytes; empty where none is.
        10 => session: Bytes,
        /// Where the person is a citizen.
        11 => citizen: Option<Citizen>,
        /// Hour and SHA-256 of the first refresh token of its line, 40 bytes: where the end of the line is marked. Empty where there is
        /// none, and in tokens from before there was the mark.
        12 => line: Bytes,
    }
}

record! {
    /// What a citizen's log-in proved (spec/identity.md §2.6).
    pub struct Citizen v1 {
        /// `P0`, `P5`, `P9` (`identity_proofing_level`).
        1 => level: String,
        /// Ten digits; may be empty below `P9`.
        2 => nhs_number: String,
        /// `vot`.
        3 => vector_of_trust: String,
        /// `iss`: the trusted provider that said so.
        4 => issuer: String,
        /// NHS number of the one for whom they act (`act.sub`, §5), whose record alone the tokens open; empty for nobody.
        5 => acts_for: String,
    }
}

/// The provider of citizens, as tokens name it.
pub const NHS_LOGIN: &str = "nhs-login";

pub fn token_key(hour: u64, hash: &[u8; 32]) -> Key {
    Table::AccessTokens.key().number(hour).fixed(hash)
}
pub fn assertion_key(hour: u64, jti: &[u8; 32]) -> Key {
    Table::Assertions.key().number(hour).fixed(jti)
}
pub fn hour_key(hour: u64) -> Key {
    Table::IdentityHours.key().number(hour)
}
