//! Access tokens: their texts, and whom one belongs to (spec/identity.md §4.6).
//!
//! A text is 32 bytes in base64url: the hour of issue (4 bytes, so that its row lies with those of its time) and 28 drawn
//! bytes. It says nothing else, and only its SHA-256 is kept.

use super::rows::{self, AccessToken, HOUR_MS};
use crate::{
    access::{
        caller::Caller,
        gate::{Denied, Proven, Standing},
    },
    engine::draft::Fault,
    services::directory::{applications, rows::read},
    store::{Reader, tables::Table},
    wire::jwt::{from_base64url, to_base64url},
};
use aws_lc_rs::digest::{SHA256, digest};

const BYTES: usize = 32;
const HOUR_BYTES: usize = 4;

/// How a token is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Hours since the epoch at its issue.
    pub hour: u64,
    /// SHA-256 of its text; the partition key.
    pub hash: [u8; 32],
}

impl Place {
    /// Of a text; `None` for what cannot be one of ours.
    pub fn of(text: &str) -> Option<Place> {
        let bytes = from_base64url(text).filter(|bytes| bytes.len() == BYTES)?;
        let hour = bytes[..HOUR_BYTES].iter().fold(0, |hour, b| hour << 8 | u64::from(*b));
        Some(Place { hour, hash: sha256(text.as_bytes()) })
    }
}

/// The `n`th text that fresh randomness gives for a moment, with its place.
pub fn draw(entropy: &[u8; 16], n: u64, now_ms: u64) -> (String, Place) {
    let hour = (now_ms / HOUR_MS) as u32;
    let drawn = sha256(&[entropy.as_slice(), &n.to_be_bytes()].concat());
    let bytes = [&hour.to_be_bytes()[..], &drawn[..BYTES - HOUR_BYTES]].concat();
    let text = to_base64url(&bytes);
    let place = Place { hour: hour.into(), hash: sha256(text.as_bytes()) };
    (text, place)
}

pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, bytes).as_ref());
    out
}

pub fn token(reader: &dyn Reader, place: &Place) -> Result<Option<AccessToken>, Fault> {
    read(reader, Table::AccessTokens, rows::token_key(place.hour, &place.hash))
}

/// Whom a token belongs to. `view`: the rows of the token's partition at a fence; `site`: the registry.
pub fn standing(view: &dyn Reader, site: &dyn Reader, place: &Place, now_ms: u64) -> Result<Standing, Fault> {
    let Some(row) = token(view, place)? else { return Ok(Standing::Refused(Denied::TokenUnknown)) };
    if row.expires <= now_ms {
        return Ok(Standing::Refused(Denied::TokenExpired));
    }
    let application = applications::application(site, &row.client)?.filter(applications::Application::is_approved);
    let Some(application) = application else { return Ok(Standing::Refused(Denied::TokenUnknown)) };
    // A product that was withdrawn since is withdrawn from the token too.
    let still = |scope: &String| application.products.iter().any(|product| product.scopes.contains(scope));
    let caller = Caller {
        ods: application.ods.clone(),
        application: row.client,
        scopes: row.scopes.into_iter().filter(still).collect(),
        level: row.level,
        attributes: application.switched_on(),
        ..Default::default()
    };
    Ok(Standing::Proven(Box::new(Proven { caller, quota: application.quota })))
}

/// Whom an API key belongs to: level 0.
pub fn standing_of_key(site: &dyn Reader, key: &str) -> Result<Standing, Fault> {
    let Some(application) = applications::application(site, key)?.filter(|a| !a.key_off) else {
        return Ok(Standing::Refused(Denied::KeyUnknown));
    };
    if !application.is_approved() {
        return Ok(Standing::Refused(Denied::ApplicationRevoked));
    }
    let caller = Caller {
        scopes: application.scopes(":app:level0:"),
        ods: application.ods,
        application: key.to_owned(),
        level: "level0".into(),
        ..Default::default()
    };
    Ok(Standing::Proven(Box::new(Proven { caller, quota: application.quota })))
}
