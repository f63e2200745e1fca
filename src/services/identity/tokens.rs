//! Access tokens: their texts, and whom one belongs to (spec/identity.md §4.6).
//!
//! A text is 32 bytes in base64url: the hour of issue (4 bytes, so that its row lies with those of its time) and 28 drawn
//! bytes. It says nothing else, and only its SHA-256 is kept.

use super::{
    login::rows as login,
    rows::{self, AccessToken, HOUR_MS},
};
use crate::{
    access::{
        caller::Caller,
        gate::{Denied, Proven, Standing},
    },
    engine::draft::Fault,
    services::directory::{
        applications::{self, Application},
        rows::read,
        users,
    },
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

/// Whom a token belongs to. `view`: the rows of the token's partition at a fence; `site`: the registry; `wished`: the role
/// profile that the request names, which may be none.
pub fn standing(
    view: &dyn Reader,
    site: &dyn Reader,
    place: &Place,
    wished: &str,
    now_ms: u64,
) -> Result<Standing, Fault> {
    let Some(row) = token(view, place)? else { return Ok(Standing::Refused(Denied::TokenUnknown)) };
    if row.expires <= now_ms {
        return Ok(Standing::Refused(Denied::TokenExpired));
    }
    let application = applications::application(site, &row.client)?.filter(applications::Application::is_approved);
    let Some(application) = application else { return Ok(Standing::Refused(Denied::TokenUnknown)) };
    // A product that was withdrawn since is withdrawn from the token too.
    let still = |scope: &String| application.products.iter().any(|product| product.scopes.contains(scope));
    let mut caller = Caller {
        ods: application.ods.clone(),
        application: row.client.clone(),
        scopes: row.scopes.iter().filter(|scope| still(scope)).cloned().collect(),
        level: row.level.clone(),
        attributes: application.switched_on(),
        ..Default::default()
    };
    let why = if row.user.is_empty() { None } else { person(&mut caller, view, site, &row, wished, now_ms)? };
    let proven = Box::new(proven(caller, &application));
    Ok(match why {
        None => Standing::Proven(proven),
        Some(why) if why.is_of_roles() => Standing::Lapsed(why, proven),
        Some(why) => Standing::Refused(why),
    })
}

/// Whose a token is or was that [`standing`] refuses, for the audit trail; `None` where nobody knows it (any more).
pub fn holder(view: &dyn Reader, site: &dyn Reader, place: &Place) -> Result<Option<Proven>, Fault> {
    let Some(row) = token(view, place)? else { return Ok(None) };
    let application = applications::application(site, &row.client)?.unwrap_or_default();
    // A person acts for a role's organisation, which is not asked for here.
    let ods = if row.user.is_empty() { application.ods.clone() } else { String::new() };
    let mut caller = Caller { ods, application: row.client, level: row.level, ..Default::default() };
    caller.user = row.user;
    Ok(Some(proven(caller, &application)))
}

/// Whose an API key is that [`standing_of_key`] refuses.
pub fn holder_of_key(site: &dyn Reader, key: &str) -> Result<Option<Proven>, Fault> {
    Ok(applications::application(site, key)?.map(|application| {
        let (ods, application_id) = (application.ods.clone(), key.to_owned());
        proven(Caller { ods, application: application_id, level: "level0".into(), ..Default::default() }, &application)
    }))
}

/// The person behind a token, as of now: the session lasts, they may enter, and the one open role that they act in can be told
/// (spec/identity.md §5). Else what is wrong: where it is about roles, the caller is the person, without role, activities and
/// organisation.
fn person(
    caller: &mut Caller,
    view: &dyn Reader,
    site: &dyn Reader,
    row: &AccessToken,
    wished: &str,
    now_ms: u64,
) -> Result<Option<Denied>, Fault> {
    let Some(at) = login::place_of(&row.session) else { return Ok(Some(Denied::TokenUnknown)) };
    let session = login::session(view, &at, now_ms)?.filter(|session| session.user == row.user);
    let lasts = session.map(|session| login::stands(site, &session, now_ms)).transpose()?.unwrap_or_default();
    let lasts = lasts && !login::is_ended(view, &row.line)?;
    if let (Some(citizen), true) = (&row.citizen, lasts) {
        caller.user = row.user.clone();
        caller.ods = String::new();
        caller.session = login::sid(&row.session);
        caller.nhs_number = citizen.nhs_number.clone();
        caller.acts_for = citizen.acts_for.clone();
        caller.vector_of_trust = citizen.vector_of_trust.clone();
        return Ok(None);
    }
    if !lasts || !users::user(site, &row.user)?.is_some_and(|user| user.is_active()) {
        return Ok(Some(Denied::TokenUnknown));
    }
    let mut roles = users::open_roles(site, &row.user, now_ms)?;
    // First what was chosen at log-in, then what the request names, then the only one (spec/identity.md §5).
    let chosen = if row.role.is_empty() { wished } else { &row.role };
    let none = roles.is_empty();
    roles.retain(|(urp, _)| chosen.is_empty() || urp == chosen);
    caller.user = row.user.clone();
    caller.session = login::sid(&row.session);
    // Of the role or of none: nobody acts for the organisation that an application was registered by.
    caller.ods = String::new();
    if let [(urp, role)] = roles.as_slice() {
        caller.role_profile = urp.clone();
        caller.job_role = role.role_code.clone();
        caller.activities = users::baseline::effective(site, role)?;
        caller.ods = role.ods.clone();
        return Ok(None);
    }
    Ok(Some(match roles.len() {
        _ if !row.role.is_empty() => Denied::RoleGone,
        // Whatever the header names: another value would not help.
        0 if none => Denied::RolesNone,
        0 if !wished.is_empty() => Denied::RoleForeign,
        0 => Denied::RolesNone,
        _ => Denied::RolesSeveral,
    }))
}

/// The caller with how much the application may ask, and how urgently.
fn proven(caller: Caller, application: &Application) -> Proven {
    Proven { caller, quota: application.quota, emergency: application.emergency && application.is_approved() }
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
        ods: application.ods.clone(),
        application: key.to_owned(),
        level: "level0".into(),
        ..Default::default()
    };
    Ok(Standing::Proven(Box::new(proven(caller, &application))))
}
