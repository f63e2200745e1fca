//! Relying parties that are to be told of the end of a session (spec/identity.md §2.5): a row for each until it has heard, written with
//! the end of the session in one entry, so that no notice is lost with a node.
//!
//! Invariants: a notice is told at least once, or given up for a reason that the audit trail names; told again it has the same
//! `jti`. Whoever sends looks at the rows of partitions that its node leads, and says what came of it with [`NoticeSent`].

use super::{
    command::LoginReply,
    decide::{Decided, note},
    rows::{Grant, sid},
};
use crate::{
    engine::draft::{AuditNote, Draft, Fault, Stamp},
    record,
    services::{
        directory::{applications, rows::read},
        identity::{Identity, tokens},
    },
    store::{
        Reader,
        tables::{Key, Table},
    },
    wire::record::{Malformed, Record},
};
use bytes::Bytes;
use serde_json::{Value, json};

/// Between two attempts: this long after the first, doubled each time up to the longest, in milliseconds.
const FIRST_WAIT_MS: u64 = 2_000;
const LONGEST_WAIT_MS: u64 = 900_000;
/// When a notice is given up, in milliseconds after the session's end: no session of a relying party that began with this one should last
/// longer than a day.
pub const GIVE_UP_MS: u64 = 24 * 3_600_000;
/// How long a logout token is good for, in seconds (OpenID Connect Back-Channel Logout 1.0 §2.4 asks for two minutes at most).
const TOKEN_S: u64 = 120;
/// Bytes of a notice's id.
const ID: usize = 16;
/// The event that a logout token tells of.
pub const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// Outcomes after which a notice is gone.
pub const TOLD: &str = "ok";
pub const NO_ADDRESS: &str = "no_address";

record! {
    /// A relying party that has not heard yet, under (when it is to be tried, id).
    pub struct LogoutNotice v1 {
        /// Client id.
        1 => client: String,
        /// Whose session it was.
        2 => user: String,
        /// Hour and SHA-256 of the session, 40 bytes.
        3 => session: Bytes,
        /// When it ended, milliseconds since the epoch.
        4 => ended: u64,
        /// Failed attempts.
        5 => tries: u32,
    }
}

record! {
    /// What came of an attempt. For the partition of the session.
    pub struct NoticeSent v1 {
        /// When the notice was to be tried, milliseconds since the epoch.
        1 => due: u64,
        2 => id: Bytes,
        /// [`TOLD`], [`NO_ADDRESS`], or a stable word for what went wrong.
        3 => outcome: String,
    }
}

fn key(due: u64, id: &[u8; ID]) -> Key {
    Table::LogoutNotices.key().number(due).fixed(id)
}

/// Writes a notice for each client that was given an ID token of this session and has an address to be told at.
pub fn owe(draft: &mut Draft<'_>, now: u64, session: &Bytes, row: &Grant) -> Result<(), Fault> {
    for client in &row.clients {
        let application = applications::application(draft.site(), client)?;
        if application.is_none_or(|a| a.backchannel_logout_uri.is_empty()) {
            continue;
        }
        let drawn = tokens::sha256(&[session, client.as_bytes()].concat());
        let mut id = [0; ID];
        id.copy_from_slice(&drawn[..ID]);
        let notice = LogoutNotice {
            client: client.clone(),
            user: row.user.clone(),
            session: session.clone(),
            ended: now,
            ..Default::default()
        };
        draft.insert(key(now, &id), notice.encode());
    }
    Ok(())
}

/// A notice with the key that it is found under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    pub due: u64,
    pub id: Bytes,
    pub notice: LogoutNotice,
}

/// Up to `most` notices that are to be tried now, the oldest first.
pub fn due(rows: &dyn Reader, now: u64, most: usize) -> Result<Vec<Due>, Fault> {
    let range = Table::LogoutNotices.key().build()..Table::LogoutNotices.key().number(now.saturating_add(1)).build();
    let found = rows.scan(range, false, most)?;
    let read = |(key, value): (Bytes, Bytes)| {
        let broken = || Fault::Row(Table::LogoutNotices, Malformed::Truncated);
        let (due, id) = key.get(1..).and_then(|k| k.split_first_chunk::<8>()).ok_or_else(broken)?;
        let notice = LogoutNotice::decode(&value).map_err(|e| Fault::Row(Table::LogoutNotices, e))?;
        Ok(Due { due: u64::from_be_bytes(*due), id: Bytes::copy_from_slice(id), notice })
    };
    found.into_iter().map(read).collect()
}

pub fn sent(draft: &mut Draft<'_>, stamp: &Stamp, command: &NoticeSent) -> Decided {
    const NAME: &str = "identity.logout_notice";
    let id: [u8; ID] =
        command.id.as_ref().try_into().map_err(|_| Fault::Other("a notice's id has sixteen bytes".into()))?;
    let at = key(command.due, &id);
    let row: Option<LogoutNotice> = read(draft, Table::LogoutNotices, at.clone())?;
    let Some(mut row) = row else {
        let reply = LoginReply { refusal: "unknown".into(), ..Default::default() };
        return Ok((reply, note(NAME, "unknown", "")));
    };
    draft.delete(at);
    let mut outcome = command.outcome.as_str();
    if ![TOLD, NO_ADDRESS].contains(&outcome) {
        if row.ended + GIVE_UP_MS <= stamp.now {
            outcome = "given_up";
        } else {
            let wait = FIRST_WAIT_MS.saturating_mul(1 << row.tries.min(16)).min(LONGEST_WAIT_MS);
            row.tries = row.tries.saturating_add(1);
            draft.insert(key(stamp.now.max(command.due) + wait, &id), row.encode());
        }
    }
    let told = AuditNote { other: row.user, detail: jti(&command.id), ..note(NAME, outcome, &row.client) };
    Ok((LoginReply::default(), told))
}

fn jti(id: &[u8]) -> String {
    id.iter().map(|b| format!("{b:02x}")).collect()
}

impl Identity {
    /// Claims of the logout token (spec/identity.md §2.5); `now` in milliseconds.
    pub fn logout_token(&self, due: &Due, now: u64) -> Value {
        let (now, notice) = (now / 1_000, &due.notice);
        json!({
            "iss": self.issuer(), "sub": notice.user, "aud": [notice.client], "iat": now, "exp": now + TOKEN_S,
            "jti": jti(&due.id), "sid": sid(&notice.session), "events": {EVENT: {}},
        })
    }
}
