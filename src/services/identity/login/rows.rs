//! What a log-in leaves while it lasts: one row for each secret that was handed out, and how often somebody failed.
//!
//! A secret is 32 bytes in base64url: the hour in which it expires and 28 drawn bytes; only its SHA-256 is kept. Session, codes and
//! tokens of one log-in are drawn so that they lie in one partition: one entry ends them together, and one fence shows all.

use super::{means, notices};
use crate::{
    engine::{
        PartitionMap,
        draft::{Draft, Fault, Stamp},
        services,
    },
    record,
    services::{
        directory::{
            issuers,
            rows::{NOTHING, read},
            users::{self, devices},
        },
        identity::{
            rows::{Citizen, HOUR_MS},
            tokens::{self, Place},
        },
    },
    store::{
        Reader,
        tables::{Key, Table},
    },
    wire::jwt::{from_base64url, to_base64url},
};
use bytes::Bytes;

/// What a secret is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A log-in page that was shown: the ticket in its form.
    Ticket = 1,
    /// A session at the provider: its cookie.
    Session = 2,
    /// The provider's authorization code.
    Code = 3,
    /// A log-in for an application of the HTTP APIs, on its way through the provider: the `state`.
    Errand = 4,
    /// The authorization code of the HTTP APIs.
    ApiCode = 5,
    Refresh = 6,
    /// The provider's access token: good for its user-info only.
    ProviderToken = 7,
    /// The page on which a passkey is enrolled: the ticket in its form.
    Enrolment = 8,
    /// A line of refresh tokens was given up (RFC 7009): none of the access tokens that came of it is good. Lies where the first
    /// refresh token of the line lay, which no later one outlives.
    Ended = 9,
    /// The page that asks whether to log out: the ticket in its form.
    Leaving = 10,
}

record! {
    /// What a client asked the provider for (spec/identity.md §2.2).
    pub struct LoginRequest v1 {
        /// Client id; empty for the token service of the HTTP APIs itself.
        1 => client: String,
        2 => redirect: String,
        3 => scope: String,
        4 => state: String,
        5 => nonce: String,
        /// PKCE, S256; empty without.
        6 => challenge: String,
        /// `acr_values`.
        7 => acr: String,
        /// One more than `max_age`, in seconds; 0 without.
        8 => max_age: u64,
    }
}

record! {
    /// A secret's row, under the hour in which it expires and its SHA-256.
    pub struct Grant v1 {
        /// A [`Kind`].
        1 => kind: u8,
        /// Milliseconds since the epoch.
        2 => expires: u64,
        3 => request: Option<LoginRequest>,
        /// SHA-256 of the browser's cookie, for what must come from the browser that began.
        4 => browser: Bytes,
        /// Hour and SHA-256 of the session, 40 bytes; of a ticket: the one that chooses a role with it, empty where it is for a log-in.
        5 => session: Bytes,
        6 => user: String,
        /// Level of authentication, 1 to 3.
        7 => level: u8,
        /// How it was proven: `PASSWORD`, `TOTP`, `FIDO2`, `SMARTCARD`.
        8 => amr: Vec<String>,
        /// When, milliseconds since the epoch.
        9 => auth_time: u64,
        /// Session: when it was last used, milliseconds since the epoch.
        10 => used: u64,
        /// The role profile that was chosen; empty where none was.
        11 => role: String,
        /// Ticket: how often it was shown. Refresh token: how many were before it.
        12 => count: u32,
        /// The application, for grants of the HTTP APIs.
        13 => client: String,
        /// `grant_type` of the first token.
        14 => grant: String,
        /// Session: clients that were given an ID token of it, who may want to hear of its end.
        15 => clients: Vec<String>,
        /// Session and refresh token of a citizen.
        16 => citizen: Option<Citizen>,
        /// Ticket, enrolment: what a passkey must sign; another one after each try.
        17 => challenge: Bytes,
        /// Session: serial of the passkey or smartcard that it is by; empty for a password.
        18 => serial: String,
        /// Enrolment: SHA-256 of the code that it is by.
        19 => invitation: Bytes,
        /// Refresh token: hour and SHA-256 of the first one of its line, 40 bytes; empty in that one itself.
        20 => line: Bytes,
    }
}

record! {
    /// A passkey's last use, under (user id, serial).
    pub struct PasskeyUse v1 {
        /// Its signature counter.
        1 => counter: u32,
        /// Milliseconds since the epoch.
        2 => used: u64,
    }
}

record! {
    /// Failed attempts of a user, and the last step of time whose one-time code was used; under the user id.
    pub struct Attempts v1 {
        1 => failed: u32,
        /// Nobody gets in before this, milliseconds since the epoch.
        2 => locked_until: u64,
        3 => last_step: u64,
        /// Wrong codes beside a right password, since the last right one: whoever knows the password is not let guess at leisure.
        4 => codes_failed: u32,
        /// No code is looked at before this, milliseconds since the epoch.
        5 => codes_locked_until: u64,
        /// When the last wrong code was shown, milliseconds since the epoch: a secret issued since was not guessed at.
        6 => codes_failed_at: u64,
    }
}

pub fn grant_key(place: &Place) -> Key {
    Table::Grants.key().number(place.hour).fixed(&place.hash)
}
pub fn attempts_key(uid: &str) -> Key {
    Table::SignInAttempts.key().text(uid)
}

pub fn passkey_use_key(uid: &str, serial: &str) -> Key {
    Table::PasskeyUses.key().text(uid).text(serial)
}

/// The row of a secret, if it is of this kind; expired ones too.
pub fn grant(reader: &dyn Reader, place: &Place, kind: Kind) -> Result<Option<Grant>, Fault> {
    let row: Option<Grant> = read(reader, Table::Grants, grant_key(place))?;
    Ok(row.filter(|row| row.kind == kind as u8))
}

pub fn attempts(reader: &dyn Reader, uid: &str) -> Result<Attempts, Fault> {
    Ok(read(reader, Table::SignInAttempts, attempts_key(uid))?.unwrap_or_default())
}

/// A place as a row keeps it.
pub fn place_bytes(place: &Place) -> Bytes {
    [&place.hour.to_be_bytes()[..], &place.hash[..]].concat().into()
}

pub fn place_of(bytes: &[u8]) -> Option<Place> {
    let (hour, hash) = bytes.split_first_chunk::<8>()?;
    Some(Place { hour: u64::from_be_bytes(*hour), hash: hash.try_into().ok()? })
}

/// A session's public name (`sid`): it finds the row, and opens nothing.
pub fn sid(session: &[u8]) -> String {
    to_base64url(session)
}

pub fn place_of_sid(sid: &str) -> Option<Place> {
    place_of(&from_base64url(sid)?)
}

/// Idle time after which a session is over (spec/identity.md §2.5), in milliseconds.
pub const IDLE_MS: u64 = 3_600_000;
/// Longest session, in milliseconds.
pub const SESSION_MS: u64 = 12 * 3_600_000;
/// A session's row stays so much longer, because refresh tokens live as long from a moment a little later.
pub const MARGIN_MS: u64 = 600_000;

/// The session at a place, while it lasts.
pub fn session(reader: &dyn Reader, place: &Place, now: u64) -> Result<Option<Grant>, Fault> {
    Ok(grant(reader, place, Kind::Session)?.filter(|row| row.expires > now))
}

/// When what a log-in stands on last changed: the person's state, and each authenticator that was shown, of which the passkey or
/// smartcard has a serial; milliseconds since the epoch. `None`: the person or one of the authenticators is not there any more, or the
/// device has expired.
pub fn changed(site: &dyn Reader, uid: &str, amr: &[String], serial: &str, now: u64) -> Result<Option<u64>, Fault> {
    let Some(user) = users::user(site, uid)? else { return Ok(None) };
    let mut at = user.since;
    for (word, kind) in [(means::PASSWORD, users::Kind::Password), (means::TOTP, users::Kind::OneTimeCode)] {
        if amr.iter().any(|shown| shown == word) {
            let Some(row) = users::authenticator(site, uid, kind)? else { return Ok(None) };
            at = at.max(row.issued);
        }
    }
    if !serial.is_empty() {
        let held = devices::held(site, uid, serial)?.filter(|row| row.is_good(now));
        let Some(row) = held else { return Ok(None) };
        at = at.max(row.issued);
    }
    Ok(Some(at))
}

/// Whether a session is younger than all that it stands on, and its passkey or smartcard still good. A suspension, a new password or
/// a device taken away ends those from before, whoever holds them: that is what they are for.
pub fn stands(site: &dyn Reader, session: &Grant, now: u64) -> Result<bool, Fault> {
    if let Some(citizen) = &session.citizen {
        // Of a provider that is trusted still.
        return Ok(issuers::issuer(site, &citizen.issuer)?.is_some());
    }
    let changed = changed(site, &session.user, &session.amr, &session.serial, now)?;
    Ok(changed.is_some_and(|at| at <= session.auth_time))
}

/// Where the end of a refresh token's line is marked.
pub fn line_of(row: &Grant, at: &Place) -> Bytes {
    if row.line.is_empty() { place_bytes(at) } else { row.line.clone() }
}

/// Whether the refresh tokens that an access token came with were given up.
pub fn is_ended(reader: &dyn Reader, line: &[u8]) -> Result<bool, Fault> {
    let Some(at) = place_of(line) else { return Ok(false) };
    Ok(grant(reader, &at, Kind::Ended)?.is_some())
}

/// A refresh token is given up, and with it what came of its line; all of one partition, so from one entry on.
pub fn end_line(draft: &mut Draft<'_>, at: &Place, row: &Grant) -> Result<(), Fault> {
    use crate::wire::record::Record;
    draft.delete(grant_key(at));
    if let Some(first) = place_of(&line_of(row, at)) {
        // The sweep of that hour is planned since the first token was drawn, and is later than any access token of the line.
        let mark = Grant { kind: Kind::Ended as u8, expires: row.expires, ..Default::default() };
        draft.put(grant_key(&first), mark.encode());
    }
    Ok(())
}

/// Draws a secret that lies in this partition and writes its row. `nth`: which of the secrets of one decision.
pub fn hand_out(draft: &mut Draft<'_>, stamp: &Stamp, nth: u64, row: &Grant) -> Result<(String, Place), Fault> {
    use crate::wire::record::Record;
    /// Draws for each partition of the site before giving up: none lies here once in 10^27.
    const DRAWS: u64 = 64;
    let map = PartitionMap { partitions: stamp.partitions };
    let most = DRAWS * u64::from(stamp.partitions.max(1));
    // Apart from the draws of access tokens in the same decision.
    let drawn = (0..most).map(|n| tokens::draw(&stamp.entropy, (nth + 1) << 32 | n, row.expires));
    let (text, place) = drawn
        .into_iter()
        .find(|(_, place)| map.of(&place.hash) == stamp.partition)
        .ok_or_else(|| Fault::Other("no secret could be drawn for this partition".into()))?;
    draft.insert(grant_key(&place), row.encode());
    plan_sweep(draft, place.hour)?;
    Ok((text, place))
}

/// First byte of the timers that sweep grants; those of access tokens have none.
pub const SWEEP_GRANTS: u8 = 1;

/// One timer for the rows of an hour. A row without hash says that it is planned.
fn plan_sweep(draft: &mut Draft<'_>, hour: u64) -> Result<(), Fault> {
    let mark = Table::Grants.key().number(hour);
    if draft.get(&mark.clone().build())?.is_none() {
        draft.put(mark, NOTHING);
        let payload = [&[SWEEP_GRANTS][..], &hour.to_be_bytes()[..]].concat();
        draft.timer((hour + 2) * HOUR_MS, services::IDENTITY, payload.into());
    }
    Ok(())
}

/// Takes away up to `most` rows of an hour; whether any may be left.
/// Whoever was given an ID token of a session that ran out hears of its end now.
pub fn sweep(draft: &mut Draft<'_>, now: u64, hour: u64, most: usize) -> Result<bool, Fault> {
    use crate::wire::record::Record;
    let old = draft.scan(Table::Grants.key().number(hour).prefix(), false, most)?;
    let full = old.len() == most;
    for (key, value) in old {
        let session = Grant::decode(&value).ok().filter(|row| row.kind == Kind::Session as u8);
        if let (Some(row), Some(place)) = (session, key.get(1..).and_then(place_of)) {
            notices::owe(draft, now, &place_bytes(&place), &row)?;
        }
        draft.delete_raw(key);
    }
    Ok(full)
}
