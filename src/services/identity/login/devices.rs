//! Deciding on passkeys and smartcards: somebody signs in with one, somebody enrols a passkey.
//!
//! Invariants: the signature is checked here, against the key that the registry holds now, and its counter against the last one
//! of the whole site, which lies in the partition of the user id; the challenge was taken from a row that gives it once.

use super::{
    command::{CardSignIn, Enrol, LoginReply, PasskeySignIn},
    decide::{Decided, Proven, may_enter, note, open_session, refused},
    means,
    rows::{PasskeyUse, passkey_use_key},
    webauthn::{self, Expected, Known},
};
use crate::{
    engine::draft::{AuditNote, Draft, Stamp},
    services::directory::{
        rows::read,
        users::{Authenticator, devices},
    },
    store::tables::Table,
    wire::record::Record,
};
use bytes::Bytes;

/// A passkey whose key may be copied to other devices is as safe as the account that keeps it: NIST SP 800-63B-4 §3.1.7 has it
/// at level 2. One that stays in its device is at level 3.
fn level_of(row: &Authenticator) -> u8 {
    if row.copied { 2 } else { 3 }
}

pub fn passkey_sign_in(draft: &mut Draft<'_>, stamp: &Stamp, command: &PasskeySignIn) -> Decided {
    const NAME: &str = "identity.sign_in.passkey";
    let uid = &command.uid;
    let told = |word: &str| AuditNote { other: command.client.clone(), ..note(NAME, word, uid) };
    let no = |word: &str| Ok((refused("refused"), told(word)));
    let found = devices::passkey(draft.site(), &command.credential)?.filter(|(owner, _)| owner == uid);
    let Some((_, row)) = found.filter(|(_, row)| row.is_good(stamp.now)) else { return no("unknown_credential") };
    let serial = devices::passkey_serial(&command.credential);
    let last: PasskeyUse = read(draft, Table::PasskeyUses, passkey_use_key(uid, &serial))?.unwrap_or_default();
    let known = Known { key: &row.public_key, counter: row.counter.max(last.counter), copied: row.copied };
    let wanted = Expected { challenge: &command.challenge, origin: &command.origin, rp_id: &command.rp_id };
    let checked =
        webauthn::assertion(&wanted, &known, &command.client_data, &command.authenticator_data, &command.signature);
    let counter = match checked {
        Ok(counter) => counter,
        Err(flaw) => return no(flaw.word()),
    };
    let level = level_of(&row);
    if level < command.level {
        return Ok((refused("level"), told("level")));
    }
    let Some(roles) = may_enter(draft, uid, stamp.now)? else { return no("not_active") };
    let used = PasskeyUse { counter, used: stamp.now, ..last };
    draft.put(passkey_use_key(uid, &serial), used.encode());
    let proven = Proven { uid: uid.clone(), level, amr: vec![means::PASSKEY.into()], serial, ago: 0 };
    open_session(draft, stamp, proven, roles, told("ok"))
}

pub fn card_sign_in(draft: &mut Draft<'_>, stamp: &Stamp, command: &CardSignIn) -> Decided {
    const NAME: &str = "identity.sign_in.smartcard";
    let uid = &command.uid;
    let told = |word: &str| AuditNote { other: command.client.clone(), ..note(NAME, word, uid) };
    let found = devices::smartcard(draft.site(), &command.certificate)?.filter(|(owner, _)| owner == uid);
    let Some((_, row)) = found.filter(|(_, row)| row.is_good(stamp.now)) else {
        return Ok((refused("refused"), told("unknown_certificate")));
    };
    let Some(roles) = may_enter(draft, uid, stamp.now)? else { return Ok((refused("refused"), told("not_active"))) };
    let serial = devices::smartcard_serial(&row.certificate);
    let (amr, ago) = (vec![means::SMARTCARD.into()], command.proven_ago);
    let proven = Proven { uid: uid.clone(), level: 3, amr, serial, ago };
    open_session(draft, stamp, proven, roles, told("ok"))
}

/// For the site partition, where the registry is changed.
pub fn enrol(draft: &mut Draft<'_>, stamp: &Stamp, command: &Enrol) -> Decided {
    const NAME: &str = "identity.passkey.enrol";
    let no = |word: &str| Ok((refused(word), note(NAME, word, &command.uid)));
    let wanted = Expected { challenge: &command.challenge, origin: &command.origin, rp_id: &command.rp_id };
    let made = match webauthn::registration(&wanted, &command.client_data, &command.attestation) {
        Ok(made) => made,
        Err(flaw) => return no(flaw.word()),
    };
    let row = Authenticator {
        credential: Bytes::from(made.credential),
        public_key: Bytes::from(made.key),
        counter: made.counter,
        copied: made.copied,
        ..Default::default()
    };
    let level = level_of(&row);
    match devices::enrol(draft, stamp, &command.uid, &command.code, row)? {
        Err(word) => no(word),
        Ok(serial) => {
            let detail =
                format!("{serial}, level {level}, {}", if command.signed_in { "signed in" } else { "by code" });
            let reply = LoginReply { now: stamp.now, level, ..Default::default() };
            Ok((reply, AuditNote { detail, ..note(NAME, "ok", &command.uid) }))
        }
    }
}
