//! Authenticators that people hold in their hands (spec/identity.md §2.4, §6.1): passkeys and smartcards.
//!
//! Invariants: a credential or certificate is one person's; its look-up row goes with its authenticator's row; a passkey
//! comes only by a one-time code that an operator issued for this person, of which nothing but the hash is kept; a system's
//! certificate is no smartcard.

use super::{
    Authenticator, Kind, MAX_AUTHENTICATORS, State, authenticator_key, authenticators_of, decide::conflict, user,
};
use crate::{
    engine::draft::{Draft, Fault, Stamp},
    record,
    services::directory::{
        decide::{Done, No, invalid},
        rows::{certificate_key, read},
    },
    store::{
        Reader,
        tables::{Key, Table},
    },
    wire::{mesh::hex_encode, record::Record},
};
use aws_lc_rs::digest::{SHA256, digest};
use std::ops::RangeInclusive;

/// How long a code for enrolling may be good, in milliseconds.
pub const CODE_LIFE_MS: RangeInclusive<u64> = 60_000..=24 * 3_600_000;
/// Bytes of a hash that a serial shows.
const SHOWN: usize = 8;
/// Longest name of an authenticator, in characters.
const MAX_NAME: usize = 200;

record! {
    /// A person may enrol a passkey; under the user id, so that there is one at a time.
    pub struct PasskeyInvitation v1 {
        /// SHA-256 of the code.
        1 => code: bytes::Bytes,
        /// Milliseconds since the epoch.
        2 => expires: u64,
    }
}

/// Serial of a passkey, by the id of its credential.
pub fn passkey_serial(credential: &[u8]) -> String {
    format!("{}-{}", Kind::Passkey.serial(), hex_encode(&sha256(credential)[..SHOWN]))
}

/// Serial of a smartcard, by the SHA-256 of its certificate in hex.
pub fn smartcard_serial(fingerprint: &str) -> String {
    format!("{}-{}", Kind::Smartcard.serial(), fingerprint.get(..2 * SHOWN).unwrap_or(fingerprint))
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}

/// What is kept of a code: blanks, hyphens and the case of its letters do not count.
pub fn code_hash(code: &str) -> [u8; 32] {
    let plain: String = code.chars().filter(|c| c.is_ascii_alphanumeric()).take(64).collect();
    sha256(plain.to_ascii_uppercase().as_bytes())
}

pub fn invitation_key(uid: &str) -> Key {
    Table::PasskeyInvitations.key().text(uid)
}
fn holder_key(kind: Kind, hash: &[u8; 32]) -> Key {
    Table::DeviceHolders.key().fixed(&[kind as u8]).fixed(hash)
}

/// The SHA-256 that a device is found by.
fn hash_of(row: &Authenticator) -> Option<(Kind, [u8; 32])> {
    match Kind::of(row.kind)? {
        Kind::Passkey => Some((Kind::Passkey, sha256(&row.credential))),
        Kind::Smartcard => Some((Kind::Smartcard, fingerprint(&row.certificate)?)),
        _ => None,
    }
}

/// The bytes of a fingerprint in hex; `None` where the text is none.
fn fingerprint(text: &str) -> Option<[u8; 32]> {
    crate::wire::mesh::hex_decode(text)?.try_into().ok()
}

fn holder(site: &dyn Reader, kind: Kind, hash: &[u8; 32]) -> Result<Option<String>, Fault> {
    let row = site.get(&holder_key(kind, hash).build())?;
    Ok(row.and_then(|uid| String::from_utf8(uid.to_vec()).ok()))
}

/// A person's passkey by the id of its credential.
pub fn passkey(site: &dyn Reader, credential: &[u8]) -> Result<Option<(String, Authenticator)>, Fault> {
    let Some(uid) = holder(site, Kind::Passkey, &sha256(credential))? else { return Ok(None) };
    let row = read::<Authenticator>(site, Table::Authenticators, authenticator_key(&uid, &passkey_serial(credential)))?;
    Ok(row.filter(|row| row.kind == Kind::Passkey as u8 && row.credential == credential).map(|row| (uid, row)))
}

/// A person's smartcard by the SHA-256 of its certificate, lower-case hex.
pub fn smartcard(site: &dyn Reader, certificate: &str) -> Result<Option<(String, Authenticator)>, Fault> {
    let Some(hash) = fingerprint(certificate) else { return Ok(None) };
    let Some(uid) = holder(site, Kind::Smartcard, &hash)? else { return Ok(None) };
    let key = authenticator_key(&uid, &smartcard_serial(certificate));
    let row: Option<Authenticator> = read(site, Table::Authenticators, key)?;
    Ok(row.filter(|row| row.kind == Kind::Smartcard as u8 && row.certificate == certificate).map(|row| (uid, row)))
}

/// A person's authenticator, while it is theirs.
pub fn held(site: &dyn Reader, uid: &str, serial: &str) -> Result<Option<Authenticator>, Fault> {
    read(site, Table::Authenticators, authenticator_key(uid, serial))
}

/// Whose smartcard a certificate is, by its SHA-256 in lower-case hex.
pub fn holder_of_certificate(site: &dyn Reader, certificate: &str) -> Result<Option<String>, Fault> {
    fingerprint(certificate).map_or(Ok(None), |hash| holder(site, Kind::Smartcard, &hash))
}

pub fn is_device(row: &Authenticator) -> bool {
    hash_of(row).is_some()
}

/// Who may be given one: whose identity is verified, and who is not kept out.
pub fn may_enrol(state: State) -> bool {
    matches!(state, State::IdentityVerified | State::Active)
}

/// Whether a person is invited with this code now. Compared without telling where it differs.
pub fn is_invited(site: &dyn Reader, uid: &str, code: &[u8], now_ms: u64) -> Result<bool, Fault> {
    let row: Option<PasskeyInvitation> = read(site, Table::PasskeyInvitations, invitation_key(uid))?;
    let same = |row: &PasskeyInvitation| aws_lc_rs::constant_time::verify_slices_are_equal(&row.code, code).is_ok();
    Ok(row.is_some_and(|row| same(&row) && now_ms < row.expires))
}

/// Whether the person may have one more.
pub(super) fn room(draft: &Draft<'_>, uid: &str) -> Result<(), No> {
    match authenticators_of(draft, uid)?.len() < MAX_AUTHENTICATORS {
        true => Ok(()),
        false => Err(conflict(format!("a user has at most {MAX_AUTHENTICATORS} authenticators; remove one"))),
    }
}

/// Takes an authenticator away, and what finds it.
pub(super) fn remove(draft: &mut Draft<'_>, uid: &str, serial: &str, row: &Authenticator) {
    draft.delete(authenticator_key(uid, serial));
    if let Some((kind, hash)) = hash_of(row) {
        draft.delete(holder_key(kind, &hash));
    }
}

/// Binds a client certificate to a person. That an authority of the site signed it, and did not revoke it, is checked when it
/// is shown, as for every other certificate.
pub(super) fn set_smartcard(draft: &mut Draft<'_>, stamp: &Stamp, uid: &str, mut row: Authenticator) -> Done {
    row.certificate = row.certificate.trim().to_ascii_lowercase();
    let Some(hash) = fingerprint(&row.certificate) else {
        return Err(invalid("a smartcard's certificate is told by its SHA-256, in hex"));
    };
    if row.name.chars().count() > MAX_NAME || row.name.contains(char::is_control) {
        return Err(invalid("the name of the smartcard is too long"));
    }
    if !row.is_good(stamp.now) {
        return Err(conflict("the smartcard's certificate has expired"));
    }
    if draft.get(&certificate_key(&row.certificate).build())?.is_some() {
        return Err(conflict("the certificate is a system's"));
    }
    match holder(draft, Kind::Smartcard, &hash)? {
        Some(other) if other != uid => return Err(conflict("the certificate is another person's smartcard")),
        Some(_) => return Ok((false, 0)),
        None => {}
    }
    room(draft, uid)?;
    row.issued = stamp.now;
    draft.put(holder_key(Kind::Smartcard, &hash), uid.to_owned().into());
    draft.put(authenticator_key(uid, &smartcard_serial(&row.certificate)), row.encode());
    Ok((true, 0))
}

/// Gives a person the passkey that they made, and uses the code up. `draft` is of the site partition. A stable word where
/// it is refused; else its serial.
pub fn enrol(
    draft: &mut Draft<'_>,
    stamp: &Stamp,
    uid: &str,
    code: &[u8],
    row: Authenticator,
) -> Result<Result<String, &'static str>, Fault> {
    if !is_invited(draft, uid, code, stamp.now)? {
        return Ok(Err("not_invited"));
    }
    if !user(draft, uid)?.is_some_and(|user| may_enrol(user.state())) {
        return Ok(Err("not_active"));
    }
    let hash = sha256(&row.credential);
    let serial = passkey_serial(&row.credential);
    let known = authenticators_of(draft, uid)?;
    if holder(draft, Kind::Passkey, &hash)?.is_some() || known.iter().any(|(other, _)| *other == serial) {
        return Ok(Err("enrolled_already"));
    }
    if known.len() >= MAX_AUTHENTICATORS {
        return Ok(Err("too_many"));
    }
    let row = Authenticator { kind: Kind::Passkey as u8, issued: stamp.now, ..row };
    draft.delete(invitation_key(uid));
    draft.put(holder_key(Kind::Passkey, &hash), uid.to_owned().into());
    draft.put(authenticator_key(uid, &serial), row.encode());
    Ok(Ok(serial))
}
