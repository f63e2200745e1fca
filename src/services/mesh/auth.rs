//! Who may act for a mailbox: the checks of mesh.md §3.1 in their order, and the memory of used tokens (§3.2).
//!
//! Invariants: a token is remembered only after its hash was found right; it is remembered in the same decision as
//! its request's effect; the same mailbox, nonce and count are refused whatever the timestamp, as long as any
//! timestamp they could carry is inside the acceptance span.
//!
//! Used tokens lie in windows of token time as long as the acceptance span: four hours, where a token may be two hours
//! off either way. A span touches two windows, so a replay is found with two reads, and a window is swept as a whole
//! once no token of it can be accepted any more.

use super::{
    Mesh,
    command::Request,
    decide::Cx,
    refusal::{self, Problem},
    rows::UsedToken,
};
use crate::{
    engine::{draft::Fault, services},
    model::EpochMillis,
    record,
    services::directory::rows::{self as registry, Mailbox, NOTHING, read},
    store::{
        Reader,
        tables::{Key, Table},
    },
    wire::{
        mesh::{
            hex_decode,
            token::{BadToken, Token},
        },
        record::Record,
    },
};
use aws_lc_rs::hmac;
use bytes::Bytes;

/// Rows removed by one sweep: a fraction of a millisecond of the decider's time.
const SWEEP_ROWS: usize = 1000;
/// Pause between sweeps of one window: 20,000 rows a second, above any sustained rate of requests.
const SWEEP_PAUSE: u64 = 50;

/// A caller proven to know its mailbox's password.
pub struct Verified<'a> {
    pub token: Token<'a>,
    pub time: EpochMillis,
    pub mailbox: Mailbox,
}

/// What the memory of tokens says of a proven caller's token.
#[derive(Debug, PartialEq, Eq)]
pub enum Use {
    First,
    /// The same request again, after an answer that tells clients to come again, or by our own retry. With the window
    /// that remembers it.
    Again(u64, UsedToken),
}

record! {
    /// A window of tokens that should be swept, as its timer carries it.
    pub struct Sweep v1 {
        1 => window: u64,
    }
}

/// Checks 1 to 7. The outer error is ours, the inner the caller's.
pub fn verify<'a>(
    mesh: &Mesh,
    site: &dyn Reader,
    mailbox: &str,
    header: &'a [u8],
    now: EpochMillis,
) -> Result<Result<Verified<'a>, Problem>, Fault> {
    let token = match Token::parse(header, mailbox) {
        Ok(token) => token,
        Err(BadToken::Unreadable) => return Ok(Err(refusal::unreadable_token())),
        Err(BadToken::Foreign) => return Ok(Err(refusal::foreign_token())),
    };
    let Some(row) = registry::mailbox(site, mailbox)? else { return Ok(Err(refusal::no_mailbox())) };
    if row.inactive {
        return Ok(Err(refusal::inactive_mailbox()));
    }
    let skew = skew(mesh);
    // The token's minute counts whole: it is inside the span if any of its seconds is.
    let near = |time: &EpochMillis| time.saturating_add(skew + 59_999) >= now && *time <= now.saturating_add(skew);
    let Some(time) = token.time().filter(near) else { return Ok(Err(refusal::invalid_token())) };
    let hash = hex_decode(token.hash).unwrap_or_default();
    // `verify` compares in constant time.
    if hmac::verify(&mesh.token_key, &token.message(&row.password.0), &hash).is_err() {
        return Ok(Err(refusal::invalid_token()));
    }
    Ok(Ok(Verified { token, time, mailbox: row }))
}

/// Check 8. Writes nothing: the token is spent by [`spend`] together with the effect.
pub fn replay(cx: &Cx<'_, '_>, verified: &Verified<'_>, request: &Request) -> Result<Result<Use, Problem>, Fault> {
    let Some((window, used)) = used_token(cx, &verified.token)? else { return Ok(Ok(Use::First)) };
    // An attempt without a number is like no other, itself included.
    let ours = used.attempt != 0 && (used.attempt == request.attempt || request.forgiven.contains(&used.attempt));
    if used.released || ours {
        return Ok(Ok(Use::Again(window, used)));
    }
    Ok(Err(refusal::used_token()))
}

fn used_token(cx: &Cx<'_, '_>, token: &Token<'_>) -> Result<Option<(u64, UsedToken)>, Fault> {
    let (skew, now) = (skew(cx.mesh), cx.now());
    let length = window_length(cx.mesh);
    let windows = now.saturating_sub(skew + 59_999) / length..=now.saturating_add(skew) / length;
    for window in windows {
        if let Some(used) = read(cx.draft, Table::Tokens, token_key(window, token))? {
            return Ok(Some((window, used)));
        }
    }
    Ok(None)
}

/// Remembers a token as used by this attempt, and sees to it that its window is swept one day.
pub fn spend(cx: &mut Cx<'_, '_>, verified: &Verified<'_>, how: &Use, used: UsedToken) -> Result<(), Fault> {
    let (draft, length) = (&mut *cx.draft, window_length(cx.mesh));
    let window = verified.time / length;
    match how {
        Use::First => draft.insert(token_key(window, &verified.token), used.encode()),
        Use::Again(window, _) => draft.put(token_key(*window, &verified.token), used.encode()),
    }
    let mark = window_key(window);
    if draft.get(&mark.clone().build())?.is_none() {
        draft.put(mark, NOTHING);
        // The last minute of the window, with its slack, is past.
        let due = (window + 1) * length + skew(cx.mesh) + 60_000;
        draft.timer(due, services::MESH, super::timers::token_sweep(window));
    }
    Ok(())
}

/// Lets a token come again, if it was this attempt that used it. Whatever the attempt did stays done.
pub fn release(cx: &mut Cx<'_, '_>, header: &[u8], mailbox: &str, attempt: u64) -> Result<(), Fault> {
    let Ok(token) = Token::parse(header, mailbox) else { return Ok(()) };
    if let Some((window, used)) = used_token(cx, &token)?
        && used.attempt == attempt
        && attempt != 0
        && !used.released
    {
        if !used.message.is_empty() {
            super::send::unsaid(cx, mailbox, &used.message, used.content)?;
        }
        cx.draft.put(token_key(window, &token), UsedToken { released: true, ..used }.encode());
    }
    Ok(())
}

/// Removes a window's rows, a batch at a time. The mark is the window's first row and goes with the last batch.
pub fn sweep(cx: &mut Cx<'_, '_>, sweep: &Sweep) -> Result<(), Fault> {
    let (now, draft) = (cx.now(), &mut *cx.draft);
    let mark: Bytes = window_key(sweep.window).build();
    let rows = draft.scan(window_key(sweep.window).prefix(), false, SWEEP_ROWS + 1)?;
    let more = rows.len() > SWEEP_ROWS;
    for (key, _) in rows {
        if !more || key != mark {
            draft.delete_raw(key);
        }
    }
    if more {
        draft.timer(now + SWEEP_PAUSE, services::MESH, super::timers::token_sweep(sweep.window));
    }
    Ok(())
}

fn skew(mesh: &Mesh) -> u64 {
    mesh.options.clock_skew.as_millis() as u64
}

/// How much token time lies in one window.
fn window_length(mesh: &Mesh) -> u64 {
    (2 * skew(mesh)).max(1)
}

fn window_key(window: u64) -> Key {
    Table::Tokens.key().fixed(&(window as u32).to_be_bytes())
}

fn token_key(window: u64, token: &Token<'_>) -> Key {
    window_key(window).text(token.mailbox).text(token.nonce).text(token.count)
}
