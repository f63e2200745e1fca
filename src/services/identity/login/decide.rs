//! Deciding what belongs to log-ins: secrets handed out and taken back, people signing in, codes and tokens of a session.
//!
//! Invariants: a code, an errand and a refresh token are good once, whatever becomes of the request that shows them; nothing is
//! given for a session that is over or a person who is not active; a right password during a lock-out opens nothing.

use super::{
    command::{EndSession, IssueCode, LoginReply, Note, Open, Redeem, Show, SignIn, Take, UseSession},
    means::{self, Wanted},
    notices,
    rows::{
        self, Attempts, Grant, IDLE_MS, Kind, MARGIN_MS, SESSION_MS, attempts, attempts_key, grant, grant_key,
        hand_out, place_bytes, place_of,
    },
};
use crate::{
    engine::draft::{AuditNote, Draft, Fault, Stamp},
    services::{
        directory::{
            rows::Secret,
            users::{self, devices, secrets},
        },
        identity::tokens::{self, Place},
    },
    wire::record::Record,
};
use bytes::Bytes;

/// Life of a code (spec/identity.md §2.3), in milliseconds.
pub(super) const CODE_MS: u64 = 60_000;
/// Life of the provider's access token, in milliseconds.
const PROVIDER_TOKEN_MS: u64 = 3_600_000;
/// Failures after which one has to wait, and how long; each further failure doubles it.
const MOST_FAILURES: u32 = 5;
const FIRST_WAIT_MS: u64 = 60_000;
const LONGEST_WAIT_MS: u64 = 3_600_000;
/// How often one log-in page may be sent back.
const MOST_TRIES: u32 = 20;
/// Most clients that one session gives ID tokens: each is told of its end.
const MOST_CLIENTS: usize = 64;
/// A session's row is written anew only where its last use lies so far back.
const TOUCH_MS: u64 = 60_000;

pub type Decided = Result<(LoginReply, AuditNote), Fault>;

pub fn note(interaction: &str, outcome: &str, object: &str) -> AuditNote {
    AuditNote {
        interaction: interaction.into(),
        outcome: outcome.into(),
        object: object.chars().take(64).collect(),
        ..Default::default()
    }
}

pub(super) fn refused(word: &str) -> LoginReply {
    LoginReply { refusal: word.into(), ..Default::default() }
}

pub(super) fn place(bytes: &Bytes) -> Result<Place, Fault> {
    place_of(bytes).ok_or_else(|| Fault::Other("a log-in command holds no place".into()))
}

pub fn noted(command: &Note) -> (LoginReply, AuditNote) {
    (LoginReply::default(), note(&command.interaction, &command.outcome, &command.object))
}

pub fn open(draft: &mut Draft<'_>, stamp: &Stamp, command: Open) -> Decided {
    let mut row = command.grant;
    row.expires = stamp.now + command.life;
    if row.kind == Kind::Enrolment as u8 && !devices::is_invited(draft.site(), &row.user, &row.invitation, stamp.now)? {
        return Ok((refused("not_invited"), note(&command.interaction, "not_invited", &row.user)));
    }
    // The code alone is for a first authenticator: it is in more hands than its person's.
    if row.kind == Kind::Enrolment as u8 && row.level < 2 {
        let known = users::authenticators_of(draft.site(), &row.user)?;
        if known.iter().any(|(_, known)| known.is_good(stamp.now)) {
            return Ok((refused("not_signed_in"), note(&command.interaction, "not_signed_in", &row.user)));
        }
    }
    let mut reply = LoginReply { now: stamp.now, life: command.life, ..Default::default() };
    if row.browser.is_empty() {
        // The browser has no cookie of ours yet: it gets one, of which we keep the hash.
        let (text, _) = tokens::draw(&stamp.entropy, u64::MAX, stamp.now);
        row.browser = Bytes::copy_from_slice(&tokens::sha256(text.as_bytes()));
        reply.other = Secret(text);
    }
    if command.challenge {
        row.challenge = challenge(stamp);
        reply.challenge = row.challenge.clone();
    }
    reply.secret = Secret(hand_out(draft, stamp, 0, &row)?.0);
    let client = row.request.map(|request| request.client).filter(|c| !c.is_empty()).unwrap_or(row.client);
    let object = if client.is_empty() { row.user } else { client };
    Ok((reply, note(&command.interaction, "ok", &object)))
}

/// Of this decision: 32 bytes that nobody foresees.
fn challenge(stamp: &Stamp) -> Bytes {
    let (_, place) = tokens::draw(&stamp.entropy, u64::MAX - 1, stamp.now);
    Bytes::copy_from_slice(&place.hash)
}

pub fn take(draft: &mut Draft<'_>, stamp: &Stamp, command: &Take) -> Decided {
    let at = place(&command.place)?;
    let kinds = [Kind::Ticket, Kind::Errand, Kind::Enrolment, Kind::Leaving];
    let Some(kind) = kinds.into_iter().find(|kind| *kind as u8 == command.kind) else {
        return Err(Fault::Other("what is taken is no ticket".into()));
    };
    let found = grant(draft, &at, kind)?.filter(|row| row.expires > stamp.now && row.browser == command.browser);
    let Some(mut row) = found.filter(|row| row.count < MOST_TRIES) else {
        return Ok((refused("unknown"), note(&command.interaction, "unknown", "")));
    };
    let next = if command.challenge { challenge(stamp) } else { row.challenge.clone() };
    if command.keep {
        row.count += 1;
        let kept = Grant { challenge: next.clone(), ..row.clone() };
        draft.put(grant_key(&at), kept.encode());
    } else {
        draft.delete(grant_key(&at));
    }
    let reply = LoginReply { grant: Some(row), now: stamp.now, challenge: next, ..Default::default() };
    Ok((reply, note(&command.interaction, "ok", "")))
}

/// What a person may act in, if they may enter at all.
pub(super) fn may_enter(draft: &Draft<'_>, uid: &str, now: u64) -> Result<Option<Vec<String>>, Fault> {
    if !users::user(draft.site(), uid)?.is_some_and(|user| user.is_active()) {
        return Ok(None);
    }
    let roles = users::open_roles(draft.site(), uid, now)?;
    Ok(Some(roles.into_iter().map(|(urp, _)| urp).collect()))
}

pub fn sign_in(draft: &mut Draft<'_>, stamp: &Stamp, command: &SignIn) -> Decided {
    const NAME: &str = "identity.sign_in";
    let uid = &command.uid;
    let told = |word: &str| AuditNote { other: command.client.clone(), ..note(NAME, word, uid) };
    if users::user(draft.site(), uid)?.is_none() {
        // No row for whoever is not there: guessed ids must not fill the store.
        return Ok((refused("refused"), told("unknown_user")));
    }
    let mut tries = attempts(draft, uid)?;
    if tries.locked_until > stamp.now {
        return Ok((refused("refused"), told("locked")));
    }
    let proof = prove(draft, stamp, command, &tries)?;
    let (level, step) = match proof {
        Ok(proven) => proven,
        Err(word) => {
            count_failure(&mut tries, word, stamp.now);
            draft.put(attempts_key(uid), tries.encode());
            return Ok((refused("refused"), told(word)));
        }
    };
    (tries.failed, tries.locked_until) = (0, 0);
    if let Some(step) = step {
        // A right password alone clears nothing of the codes: else it would buy new guesses at them.
        (tries.last_step, tries.codes_failed, tries.codes_locked_until) = (step, 0, 0);
    }
    draft.put(attempts_key(uid), tries.encode());
    if command.prove_only {
        let reply = LoginReply { now: stamp.now, level, ..Default::default() };
        return Ok((reply, AuditNote { detail: format!("level {level}, proven only"), ..told("ok") }));
    }
    let Some(roles) = may_enter(draft, uid, stamp.now)? else { return Ok((refused("refused"), told("not_active"))) };
    let mut amr = vec![means::PASSWORD.to_owned()];
    if step.is_some() {
        amr.push(means::TOTP.into());
    }
    let proven = Proven { uid: uid.clone(), level, amr, ..Default::default() };
    open_session(draft, stamp, proven, roles, told("ok"))
}

/// Who has proven themself, and how.
#[derive(Default)]
pub(super) struct Proven {
    pub uid: String,
    pub level: u8,
    pub amr: Vec<String>,
    /// Of the passkey or smartcard; empty for a password.
    pub serial: String,
    /// How long ago, in milliseconds.
    pub ago: u64,
}

/// The session of somebody who may enter, with the roles that they may act in.
pub(super) fn open_session(
    draft: &mut Draft<'_>,
    stamp: &Stamp,
    proven: Proven,
    roles: Vec<String>,
    told: AuditNote,
) -> Decided {
    let Proven { uid, level, amr, serial, ago } = proven;
    // Not before what it stands on, should the clock that stamped that go ahead of ours.
    let changed = rows::changed(draft.site(), &uid, &amr, &serial, stamp.now)?.unwrap_or_default();
    let auth_time = changed.max(stamp.now.saturating_sub(ago));
    let session = Grant {
        kind: Kind::Session as u8,
        expires: stamp.now + SESSION_MS + MARGIN_MS,
        user: uid,
        level,
        amr,
        serial,
        auth_time,
        used: stamp.now,
        ..Default::default()
    };
    let (text, at) = hand_out(draft, stamp, 0, &session)?;
    let reply = LoginReply {
        secret: Secret(text),
        session: place_bytes(&at),
        grant: Some(session),
        roles,
        now: stamp.now,
        life: SESSION_MS,
        ..Default::default()
    };
    Ok((reply, AuditNote { detail: format!("level {level}"), ..told }))
}

const WRONG_CODE: &str = "wrong_code";
const LOCKED: &str = "locked";

/// Counts a failure where it belongs: wrong codes apart from all else.
fn count_failure(tries: &mut Attempts, word: &str, now: u64) {
    let until = |failed: u32| {
        let more = failed.checked_sub(MOST_FAILURES)?;
        Some(now + FIRST_WAIT_MS.saturating_mul(1 << more.min(16)).min(LONGEST_WAIT_MS))
    };
    match word {
        LOCKED => {}
        WRONG_CODE => {
            (tries.codes_failed, tries.codes_failed_at) = (tries.codes_failed.saturating_add(1), now);
            tries.codes_locked_until = until(tries.codes_failed).unwrap_or(tries.codes_locked_until);
        }
        _ => {
            tries.failed = tries.failed.saturating_add(1);
            tries.locked_until = until(tries.failed).unwrap_or(tries.locked_until);
        }
    }
}

/// The level that is proven, and the step of the code; or what is wrong, as the audit trail tells it.
fn prove(
    draft: &Draft<'_>,
    stamp: &Stamp,
    command: &SignIn,
    tries: &Attempts,
) -> Result<Result<(u8, Option<u64>), &'static str>, Fault> {
    let (site, uid) = (draft.site(), &command.uid);
    let password = users::authenticator(site, uid, users::Kind::Password)?.filter(|a| a.is_good(stamp.now));
    if !command.right || password.is_none_or(|a| a.hash != command.hash) {
        return Ok(Err("wrong_password"));
    }
    if command.code.0.is_empty() {
        return Ok(if command.level > 1 { Err("code_missing") } else { Ok((1, None)) });
    }
    if command.level > 2 {
        return Ok(Err("level"));
    }
    let codes = users::authenticator(site, uid, users::Kind::OneTimeCode)?.filter(|a| a.is_good(stamp.now));
    if tries.codes_locked_until > stamp.now && codes.as_ref().is_none_or(|a| a.issued <= tries.codes_failed_at) {
        return Ok(Err(LOCKED));
    }
    let step = codes.and_then(|a| secrets::step_of(&a.secret.0, &command.code.0, stamp.now, tries.last_step));
    Ok(step.map(|step| (2, Some(step))).ok_or(WRONG_CODE))
}

/// The session, where it lasts and its person may enter; with what they may act in.
pub(super) fn alive(draft: &Draft<'_>, stamp: &Stamp, at: &Place) -> Result<Option<(Grant, Vec<String>)>, Fault> {
    let Some(row) = rows::session(draft, at, stamp.now)? else { return Ok(None) };
    if !rows::stands(draft.site(), &row, stamp.now)? {
        return Ok(None);
    }
    if row.citizen.is_some() {
        // Citizens are in no register of ours, and have no roles.
        return Ok(Some((row, vec![])));
    }
    Ok(may_enter(draft, &row.user, stamp.now)?.map(|roles| (row, roles)))
}

pub fn use_session(draft: &mut Draft<'_>, stamp: &Stamp, command: &UseSession) -> Decided {
    const NAME: &str = "identity.session";
    let at = place(&command.place)?;
    let Some((mut row, roles)) = alive(draft, stamp, &at)? else {
        return Ok((refused("unknown"), note(NAME, "unknown", "")));
    };
    if row.used + IDLE_MS <= stamp.now || row.auth_time + SESSION_MS <= stamp.now {
        // The tokens that came of it have lives of their own.
        return Ok((refused("idle"), note(NAME, "idle", &row.user)));
    }
    let old = command
        .max_age
        .checked_sub(1)
        .is_some_and(|age| row.auth_time.saturating_add(age.saturating_mul(1_000)) < stamp.now);
    // Of a node that does not tell the values yet, the level.
    let other = match command.acr.as_str() {
        "" => row.level < command.level,
        acr => Wanted::of(acr).met(row.level, &row.amr).is_none(),
    };
    if old || other {
        return Ok((refused("again"), note(NAME, "again", &row.user)));
    }
    if row.used + TOUCH_MS <= stamp.now {
        row.used = stamp.now;
        draft.put(grant_key(&at), row.encode());
    }
    let told = note(NAME, "ok", &row.user);
    let reply =
        LoginReply { grant: Some(row), session: command.place.clone(), roles, now: stamp.now, ..Default::default() };
    Ok((reply, told))
}

pub fn issue_code(draft: &mut Draft<'_>, stamp: &Stamp, command: IssueCode) -> Decided {
    const NAME: &str = "identity.code";
    let at = place(&command.session)?;
    let Some((session, roles)) = alive(draft, stamp, &at)? else {
        return Ok((refused("unknown"), note(NAME, "unknown", "")));
    };
    if !command.role.is_empty() && !roles.contains(&command.role) {
        return Ok((refused("role"), note(NAME, "role", &session.user)));
    }
    let told = AuditNote { other: command.request.client.clone(), ..note(NAME, "ok", &session.user) };
    let code = Grant {
        kind: Kind::Code as u8,
        expires: stamp.now + CODE_MS,
        request: Some(command.request),
        session: command.session,
        role: command.role,
        browser: Bytes::new(),
        used: 0,
        clients: vec![],
        ..session
    };
    let (text, _) = hand_out(draft, stamp, 0, &code)?;
    Ok((LoginReply { secret: Secret(text), now: stamp.now, ..Default::default() }, told))
}

/// Whether what a client shows with its code is what it asked for the code with (RFC 7636 §4.6).
pub(super) fn fits(code: &Grant, client: &str, redirect: &str, challenge: &str) -> bool {
    let asked = code.request.as_ref();
    asked.is_some_and(|r| r.client == client && r.redirect == redirect && r.challenge == challenge)
}

pub fn redeem(draft: &mut Draft<'_>, stamp: &Stamp, command: Redeem) -> Decided {
    const NAME: &str = "identity.redeem";
    let at = place(&command.place)?;
    let code = grant(draft, &at, Kind::Code)?;
    // Whatever comes of it: the code was shown.
    draft.delete(grant_key(&at));
    let good =
        code.filter(|c| c.expires > stamp.now && fits(c, &command.client, &command.redirect, &command.challenge));
    let Some(code) = good else { return Ok((refused("code"), note(NAME, "code", &command.client))) };
    let at = place(&code.session)?;
    let Some((mut session, _)) = alive(draft, stamp, &at)? else {
        return Ok((refused("code"), note(NAME, "session_over", &command.client)));
    };
    if command.onward.is_none() && !session.clients.contains(&command.client) {
        if session.clients.len() >= MOST_CLIENTS {
            return Ok((refused("code"), note(NAME, "too_many_clients", &command.client)));
        }
        session.clients.push(command.client.clone());
        draft.put(grant_key(&at), session.encode());
    }
    if code.auth_time < command.least_auth_time {
        return Ok((refused("code"), note(NAME, "old_log_in", &code.user)));
    }
    // Nor what the browser, which took the request to the provider, may have made of it.
    let asked = command.onward.as_ref().filter(|request| !request.acr.is_empty());
    if asked.is_some_and(|request| Wanted::of(&request.acr).met(code.level, &code.amr).is_none()) {
        return Ok((refused("code"), note(NAME, "level", &code.user)));
    }
    let told = AuditNote { other: command.client.clone(), ..note(NAME, "ok", &code.user) };
    let (given, life) = match command.onward {
        Some(request) => {
            let client = request.client.clone();
            let kind = Kind::ApiCode as u8;
            (Grant { kind, expires: stamp.now + CODE_MS, request: Some(request), client, ..code.clone() }, CODE_MS)
        }
        None => {
            let kind = Kind::ProviderToken as u8;
            (Grant { kind, expires: stamp.now + PROVIDER_TOKEN_MS, ..code.clone() }, PROVIDER_TOKEN_MS)
        }
    };
    let (text, _) = hand_out(draft, stamp, 0, &given)?;
    let session = code.session.clone();
    let reply =
        LoginReply { secret: Secret(text), grant: Some(code), session, now: stamp.now, life, ..Default::default() };
    Ok((reply, told))
}

pub fn end_session(draft: &mut Draft<'_>, stamp: &Stamp, command: &EndSession) -> Decided {
    let at = place(&command.place)?;
    if command.expires.checked_sub(1).is_some_and(|expires| expires <= stamp.now / 1_000) {
        return Ok((refused("expired"), note(&command.interaction, "expired", "")));
    }
    let Some(row) = rows::session(draft, &at, stamp.now)? else {
        return Ok((refused("unknown"), note(&command.interaction, "unknown", "")));
    };
    draft.delete(grant_key(&at));
    notices::owe(draft, stamp.now, &command.place, &row)?;
    Ok((LoginReply::default(), note(&command.interaction, "ok", &row.user)))
}

/// Whose token it is: for user-info.
pub fn show(draft: &mut Draft<'_>, stamp: &Stamp, command: &Show) -> Decided {
    let name = if command.api { "identity.userinfo" } else { "identity.provider.userinfo" };
    let at = place(&command.place)?;
    if command.api {
        let row = tokens::token(draft, &at)?.filter(|row| row.expires > stamp.now);
        let client = row.as_ref().map(|row| row.client.clone()).unwrap_or_default();
        let found = row.filter(|row| !row.session.is_empty() && row.grant == "authorization_code");
        // The provider of staff has the document, and nobody else.
        let found = found.filter(|row| row.citizen.is_none());
        let Some(row) = found else { return Ok((refused("unknown"), note(name, "no_user", &client))) };
        let told = note(name, "ok", &row.user);
        let grant = Grant { user: row.user, role: row.role, ..Default::default() };
        return Ok((LoginReply { grant: Some(grant), now: stamp.now, ..Default::default() }, told));
    }
    let row = grant(draft, &at, Kind::ProviderToken)?.filter(|row| row.expires > stamp.now);
    let Some(row) = row else { return Ok((refused("unknown"), note(name, "unknown", ""))) };
    if alive(draft, stamp, &place(&row.session)?)?.is_none() {
        return Ok((refused("unknown"), note(name, "session_over", &row.user)));
    }
    let told = note(name, "ok", &row.user);
    Ok((LoginReply { grant: Some(row), now: stamp.now, ..Default::default() }, told))
}
