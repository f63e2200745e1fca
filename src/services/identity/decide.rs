//! Deciding: a JWT is claimed and gives a token; a token is revoked or looked up; what is old is swept.

use super::{
    Identity, assertion,
    command::{Claim, IdentityCommand, IdentityReply, OnToken},
    login::{self, rows::SWEEP_GRANTS},
    refusal::Refusal,
    rows::{self, AccessToken, HOUR_MS},
    tokens::{self, Place},
};
use crate::{
    access::gate::Standing,
    engine::{
        Command, PartitionMap, ServiceId,
        draft::{AuditNote, Decide, Draft, Fault, Stamp, Timer},
        services,
    },
    services::directory::{
        applications::{self, Application},
        rows::{NOTHING, Secret},
    },
    store::{Reader, tables::Table},
    wire::record::Record,
};
use bytes::Bytes;

/// Longest life of an access token (spec/identity.md §3), in milliseconds.
pub const TOKEN_LIFE_MS: u64 = 600_000;
/// How far ahead `exp` of a signed JWT may lie, in seconds: five minutes and the skew of clocks.
const MOST_AHEAD_S: u64 = 310;
/// Attribute of an application that may ask about tokens of others: a gateway of the site's own.
const MAY_INTROSPECT: &str = "introspect-all";
/// Rows that one sweep takes away; what is left waits for the next.
const SWEEP: usize = 512;
/// Between two sweeps of one hour.
const SWEEP_AGAIN_MS: u64 = 50;
/// Texts drawn for each partition of the site before giving up: none of them lies here once in 10^27 draws.
const DRAWS: u64 = 64;

impl Decide for Identity {
    fn service(&self) -> ServiceId {
        services::IDENTITY
    }

    fn decide(&self, draft: &mut Draft<'_>, stamp: &Stamp, command: &Command) -> Result<Bytes, Fault> {
        let (reply, note) = match IdentityCommand::decode(&command.payload)? {
            IdentityCommand::Claim(claim) => self.claim(draft, stamp, claim)?,
            IdentityCommand::Revoke(on) => self.revoke(draft, stamp, &on)?,
            IdentityCommand::Introspect(on) => self.introspect(draft, stamp, &on)?,
            of_a_log_in => {
                let (reply, note) = login::decide(draft, stamp, of_a_log_in)?;
                let stranger = if of_a_stranger(&note) { note.outcome.clone() } else { String::new() };
                if stranger.is_empty() {
                    draft.audit(note);
                }
                return Ok(login::command::LoginReply { stranger, ..reply }.encode());
            }
        };
        if let Some(note) = note {
            draft.audit(note);
        }
        Ok(reply.encode())
    }

    fn timer(&self, draft: &mut Draft<'_>, stamp: &Stamp, timer: &Timer) -> Result<(), Fault> {
        if let Some((&SWEEP_GRANTS, hour)) = timer.payload.split_first()
            && let Ok(hour) = hour.try_into()
        {
            if login::rows::sweep(draft, stamp.now, u64::from_be_bytes(hour), SWEEP)? {
                draft.timer(stamp.now + SWEEP_AGAIN_MS, services::IDENTITY, timer.payload.clone());
            }
            return Ok(());
        }
        let hour = timer.payload.as_ref().try_into().map(u64::from_be_bytes);
        let hour = hour.map_err(|_| Fault::Other("an identity timer names no hour".into()))?;
        let mut left = SWEEP;
        for table in [Table::AccessTokens, Table::Assertions] {
            let old = draft.scan(table.key().number(hour).prefix(), false, left)?;
            left -= old.len();
            for (key, _) in old {
                draft.delete_raw(key);
            }
        }
        if left == 0 {
            draft.timer(stamp.now + SWEEP_AGAIN_MS, services::IDENTITY, timer.payload.clone());
        } else {
            draft.delete(rows::hour_key(hour));
        }
        Ok(())
    }
}

type Decided = (IdentityReply, Option<AuditNote>);

impl Identity {
    fn claim(&self, draft: &mut Draft<'_>, stamp: &Stamp, claim: Claim) -> Result<Decided, Fault> {
        let mut note = AuditNote {
            interaction: claim.interaction.clone(),
            object: claim.client.chars().take(64).collect(),
            ..Default::default()
        };
        let application = match self.refusal(draft, stamp, &claim)? {
            Ok(application) => application,
            Err(refusal) => {
                note.outcome = refusal.word().into();
                // Who names no client that there is, is told of with others: strangers must not fill the trail (P6).
                let known = applications::application(draft.site(), &claim.client)?.is_some();
                let stranger = if known { String::new() } else { refusal.word().into() };
                let reply = IdentityReply { refusal: refusal as u8, stranger, ..Default::default() };
                return Ok((reply, known.then_some(note)));
            }
        };
        let jti = hash_of(&claim.jti)?;
        let hour = stamp.now / HOUR_MS;
        draft.insert(rows::assertion_key(hour, &jti), NOTHING);
        plan_sweep(draft, hour)?;
        if claim.life == 0 {
            // The command on the token itself leaves the note.
            return Ok((IdentityReply::default(), None));
        }
        let life = claim.life.min(TOKEN_LIFE_MS);
        let (text, place) = draw_here(stamp)?;
        let row = AccessToken {
            client: claim.client,
            level: "level3".into(),
            scopes: application.scopes(LEVEL3),
            issued: stamp.now,
            expires: stamp.now + life,
            grant: "client_credentials".into(),
            provider: "apim".into(),
            ..Default::default()
        };
        draft.insert(rows::token_key(place.hour, &place.hash), row.encode());
        note.outcome = "ok".into();
        note.detail = named(&place);
        let reply = IdentityReply { token: Secret(text), issued: stamp.now, life, ..Default::default() };
        Ok((reply, Some(note)))
    }

    /// The first refusal in the table's order, of those that the asking node saw and those that only the leader can see.
    fn refusal(
        &self,
        draft: &mut Draft<'_>,
        stamp: &Stamp,
        claim: &Claim,
    ) -> Result<Result<Application, Refusal>, Fault> {
        let now_s = stamp.now / 1_000;
        let mut all: Vec<Refusal> = Refusal::of(claim.refusal).into_iter().collect();
        if let Some(expires) = claim.expires.checked_sub(1) {
            if expires <= now_s {
                all.push(Refusal::Expired);
            }
            if expires > now_s + MOST_AHEAD_S {
                all.push(Refusal::ExpFar);
            }
        }
        if !claim.jti.is_empty() {
            let (jti, hour) = (hash_of(&claim.jti)?, stamp.now / HOUR_MS);
            // An hour at least is remembered: longer than any JWT is good for.
            for hour in [hour, hour.saturating_sub(1)] {
                if draft.get(&rows::assertion_key(hour, &jti).build())?.is_some() {
                    all.push(Refusal::JtiSeen);
                }
            }
        }
        if let Some(first) = all.into_iter().min() {
            return Ok(Err(first));
        }
        // As of now: the asking node may have known an older registry.
        let Some(application) = applications::application(draft.site(), &claim.client)? else {
            return Ok(Err(Refusal::ClientUnknown));
        };
        if !application.is_approved() {
            return Ok(Err(Refusal::NotApproved));
        }
        if !application.keys.iter().any(|key| assertion::thumbprint(key) == claim.key) {
            return Ok(Err(Refusal::KidUnknown));
        }
        if claim.life > 0 && application.scopes(LEVEL3).is_empty() {
            return Ok(Err(Refusal::NoScope));
        }
        Ok(Ok(application))
    }

    /// RFC 7009: a token of the client's own is dead from here on, and of a refresh token's line all access tokens too; of others' and
    /// of unknown ones nothing is told. Which of the two it is, the rows say, whatever the client's hint.
    fn revoke(&self, draft: &mut Draft<'_>, stamp: &Stamp, on: &OnToken) -> Result<Decided, Fault> {
        const NAME: &str = "identity.revoke";
        let place = place(on)?;
        if let Some(refused) = not_approved(draft, NAME, on, &place)? {
            return Ok(refused);
        }
        let mut whose = String::new();
        let mut outcome = "unknown";
        if stale(stamp, on) {
            outcome = "Expired";
        } else if let Some(row) = tokens::token(draft, &place)? {
            (outcome, whose) = (own(&row.client, on), row.user);
            if outcome == OK {
                draft.delete(rows::token_key(place.hour, &place.hash));
            }
        } else if let Some(row) = login::rows::grant(draft, &place, login::rows::Kind::Refresh)? {
            outcome = own(&row.client, on);
            if outcome == OK {
                login::rows::end_line(draft, &place, &row)?;
            }
            whose = row.user;
        }
        let note = AuditNote { other: whose, ..note_on(NAME, on, &place, outcome) };
        Ok((IdentityReply::default(), Some(note)))
    }

    /// RFC 7662, for the application's own tokens, and for all where it has the attribute. A token is told of as the gate would take it
    /// now: not where its owner, its session or its person is no longer good, and with the scopes that are left.
    fn introspect(&self, draft: &mut Draft<'_>, stamp: &Stamp, on: &OnToken) -> Result<Decided, Fault> {
        const NAME: &str = "identity.introspect";
        let place = place(on)?;
        if let Some(refused) = not_approved(draft, NAME, on, &place)? {
            return Ok(refused);
        }
        if let Some((row, shown)) = login::refresh_token(draft, stamp, &place)? {
            // Its owner alone: to an API, which asks whether to open, it is no token.
            let outcome = if stale(stamp, on) { "Expired" } else { own(&row.client, on) };
            let found = shown.filter(|_| outcome == OK);
            let reply = IdentityReply { found, refresh: true, ..Default::default() };
            return Ok((reply, Some(note_on(NAME, on, &place, outcome))));
        }
        let scopes = match tokens::standing(draft, draft.site(), &place, "", stamp.now)? {
            // In which role somebody acts, each request says.
            Standing::Proven(proven) | Standing::Lapsed(_, proven) => Some(proven.caller.scopes),
            _ => None,
        };
        let row = match (tokens::token(draft, &place)?, scopes) {
            (Some(row), Some(scopes)) => Some(AccessToken { scopes, ..row }),
            _ => None,
        };
        let (found, outcome) = match row {
            _ if stale(stamp, on) => (None, "Expired"),
            Some(row) => {
                let asker = applications::application(draft.site(), &on.client)?;
                let may = row.client == on.client
                    || asker.is_some_and(|asker| asker.attribute(MAY_INTROSPECT) == Some("true"));
                if may { (Some(row), "ok") } else { (None, "not_own") }
            }
            _ => (None, "unknown"),
        };
        let reply = IdentityReply { found, ..Default::default() };
        Ok((reply, Some(note_on(NAME, on, &place, outcome))))
    }
}

const OK: &str = "ok";

/// Whether a token is the asking client's, as the audit trail tells it.
fn own(client: &str, on: &OnToken) -> &'static str {
    if client == on.client { OK } else { "not_own" }
}

/// The refusal of an application that is not approved as of now: the asking node may have known an older registry.
fn not_approved(draft: &Draft<'_>, name: &str, on: &OnToken, place: &Place) -> Result<Option<Decided>, Fault> {
    if applications::application(draft.site(), &on.client)?.is_some_and(|a| a.is_approved()) {
        return Ok(None);
    }
    let refusal = Refusal::NotApproved;
    let reply = IdentityReply { refusal: refusal as u8, ..Default::default() };
    Ok(Some((reply, Some(note_on(name, on, place, refusal.word())))))
}

/// Whether a refusal is of somebody who shows nothing that is known here: the edge tells of it with others, so that the trail is not filled with it
/// (P6).
fn of_a_stranger(note: &AuditNote) -> bool {
    note.outcome != "ok" && note.object.is_empty() && note.other.is_empty()
}

const LEVEL3: &str = ":app:level3:";

/// A token whose hash lies in this partition, so that it is written with the claim of its JWT.
pub(super) fn draw_here(stamp: &Stamp) -> Result<(String, Place), Fault> {
    let map = PartitionMap { partitions: stamp.partitions };
    let drawn = (0..DRAWS * u64::from(stamp.partitions.max(1))).map(|n| tokens::draw(&stamp.entropy, n, stamp.now));
    let mut here = drawn.filter(|(_, place)| map.of(&place.hash) == stamp.partition);
    here.next().ok_or_else(|| Fault::Other("no token could be drawn for this partition".into()))
}

/// One timer for an hour's rows: when it is due, neither its tokens nor its assertions are looked at any more.
pub(super) fn plan_sweep(draft: &mut Draft<'_>, hour: u64) -> Result<(), Fault> {
    if draft.get(&rows::hour_key(hour).build())?.is_none() {
        draft.put(rows::hour_key(hour), NOTHING);
        let due = (hour + 2) * HOUR_MS + 1;
        draft.timer(due, services::IDENTITY, Bytes::copy_from_slice(&hour.to_be_bytes()));
    }
    Ok(())
}

fn stale(stamp: &Stamp, on: &OnToken) -> bool {
    on.expires <= stamp.now / 1_000
}

fn hash_of(bytes: &Bytes) -> Result<[u8; 32], Fault> {
    bytes.as_ref().try_into().map_err(|_| Fault::Other("an identity command holds no SHA-256".into()))
}

fn place(on: &OnToken) -> Result<Place, Fault> {
    Ok(Place { hour: on.hour, hash: hash_of(&on.hash)? })
}

/// How the audit trail names a token: enough to find its other records, too little to find it.
pub(super) fn named(place: &Place) -> String {
    place.hash[..8].iter().map(|b| format!("{b:02x}")).collect()
}

fn note_on(interaction: &str, on: &OnToken, place: &Place, outcome: &str) -> AuditNote {
    AuditNote {
        interaction: interaction.into(),
        outcome: outcome.into(),
        object: on.client.chars().take(64).collect(),
        detail: named(place),
        ..Default::default()
    }
}
