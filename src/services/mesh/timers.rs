//! What happens by itself: expiry with its reports, abandoned uploads, removal after the retention, sweeping
//! (mesh.md §3.2, §8, §9.2, §9.3).
//!
//! A mailbox has one timer that counts, whatever its size: `MailboxState.armed` says when its housekeeping is due, and
//! a timer of another moment is stale. Housekeeping works through what is due in bounded batches, in the order of
//! ids, which is the order of time, and arms the next.

use super::{
    Mesh, auth,
    decide::Cx,
    deliver::{leave_inbox, tell_sender},
    rows::{
        self, Event, InboxEntry, MailboxState, Message, Part, Status, drop_part, local_id_key, message_key, put_state,
    },
    send,
};
use crate::{
    engine::{draft::Fault, services},
    model::{EpochMillis, MessageId},
    record,
    services::directory::rows as registry,
    store::{Reader, tables::Table},
    wire::record::Record,
};
use bytes::Bytes;

/// Messages handled in one housekeeping: with their reports some two hundred rows, a millisecond of the decider.
const BATCH: usize = 64;
/// Inbox rows looked at in one housekeeping: only late chunked uploads and re-queued messages can lie before due ones.
const LOOK: usize = 2000;
/// Bodies or upload rows removed along with a decision; the rest in batches of the same size.
const SWEEP_PARTS: usize = 64;
/// Between two batches of one job, so that callers get their turn.
const PAUSE: u64 = 20;

record! {
    /// A mailbox's housekeeping, as its timer carries it.
    pub struct Housekeeping v1 {
        1 => mailbox: String,
        2 => due: u64,
    }
}

record! {
    /// A job on one mailbox or one of its messages.
    pub struct Job v1 {
        1 => mailbox: String,
        2 => message: Bytes,
    }
}

const TOKENS: u8 = 1;
const HOUSEKEEPING: u8 = 2;
const BODIES: u8 = 3;
const UPLOAD: u8 = 4;
const DRAIN: u8 = 5;
const RESET: u8 = 6;

fn tagged(tag: u8, record: &impl Record) -> Bytes {
    let mut out = vec![tag];
    record.encode_into(&mut out);
    out.into()
}

/// The timer's payload for sweeping a window of used tokens.
pub fn token_sweep(window: u64) -> Bytes {
    tagged(TOKENS, &auth::Sweep { window, ..Default::default() })
}

/// Acts on a due timer.
pub fn fire(cx: &mut Cx<'_, '_>, payload: &Bytes) -> Result<(), Fault> {
    let fail = |e| Fault::Other(format!("mesh timer: {e}"));
    let rest = payload.slice(payload.len().min(1)..);
    let job = || Job::decode(&rest).map_err(fail);
    let id =
        |job: &Job| MessageId::from_bytes(&job.message).ok_or_else(|| Fault::Other("mesh timer without id".into()));
    match payload.first() {
        Some(&TOKENS) => auth::sweep(cx, &auth::Sweep::decode(&rest).map_err(fail)?),
        Some(&HOUSEKEEPING) => housekeeping(cx, &Housekeeping::decode(&rest).map_err(fail)?),
        Some(&BODIES) => job().and_then(|job| sweep_bodies(cx, &job.mailbox, id(&job)?)),
        Some(&UPLOAD) => job().and_then(|job| sweep_upload(cx, &job.mailbox, id(&job)?)),
        Some(&DRAIN) => {
            let job = job()?;
            let row = registry::mailbox(cx.draft.site(), &job.mailbox)?;
            if row.is_some_and(|row| row.inactive) { drain(cx, &job.mailbox) } else { Ok(()) }
        }
        Some(&RESET) => super::admin::empty(cx, &job()?.mailbox),
        tag => Err(Fault::Other(format!("mesh timer of unknown tag {tag:?}"))),
    }
}

fn job(cx: &mut Cx<'_, '_>, tag: u8, mailbox: &str, id: Option<MessageId>) {
    let message = id.map(|id| Bytes::copy_from_slice(&id.to_bytes())).unwrap_or_default();
    let job = Job { mailbox: mailbox.to_owned(), message, ..Default::default() };
    let due = cx.now() + PAUSE;
    cx.draft.timer(due, services::MESH, tagged(tag, &job));
}

/// The rest of a test mode's reset.
pub fn reset_later(cx: &mut Cx<'_, '_>, mailbox: &str) {
    job(cx, RESET, mailbox, None);
}

/// When a message of that time is removed.
pub fn purge_at(mesh: &Mesh, time: EpochMillis) -> EpochMillis {
    time + mesh.options.retention.as_millis() as u64
}

/// Many things fall due one after the other; waiting a little handles them together.
pub fn lenient(mesh: &Mesh, due: EpochMillis) -> EpochMillis {
    due + (mesh.options.inbox_expiry.as_millis() as u64 / 100).min(30_000)
}

/// Sees to it that the mailbox is looked at when `due` has come. The caller stores `state`.
pub fn arm(cx: &mut Cx<'_, '_>, mailbox: &str, state: &mut MailboxState, due: EpochMillis) {
    if state.armed != 0 && state.armed <= due {
        return;
    }
    state.armed = due;
    let payload = Housekeeping { mailbox: mailbox.to_owned(), due, ..Default::default() };
    cx.draft.timer(due, services::MESH, tagged(HOUSEKEEPING, &payload));
}

/// [`arm`] for who does not hold the mailbox's state.
pub fn arm_stored(cx: &mut Cx<'_, '_>, mailbox: &str, due: EpochMillis) -> Result<(), Fault> {
    let mut state = cx.state(mailbox)?;
    let before = state.armed;
    arm(cx, mailbox, &mut state, due);
    if state.armed != before {
        put_state(cx.draft, mailbox, &state);
    }
    Ok(())
}

fn housekeeping(cx: &mut Cx<'_, '_>, timer: &Housekeeping) -> Result<(), Fault> {
    let mailbox = &timer.mailbox;
    let mut state = cx.state(mailbox)?;
    if state.armed != timer.due {
        return Ok(());
    }
    state.armed = 0;
    put_state(cx.draft, mailbox, &state);
    let next = [expire(cx, mailbox)?, abandon(cx, mailbox)?, purge_messages(cx, mailbox)?, purge_sent(cx, mailbox)?];
    match next.into_iter().flatten().min() {
        // What is due already goes on at once, in the next batch.
        Some(next) if next > cx.now() + PAUSE => arm_stored(cx, mailbox, lenient(cx.mesh, next)),
        Some(next) => arm_stored(cx, mailbox, next),
        None => Ok(()),
    }
}

/// Expires what was not collected in time. Returns when to look again.
fn expire(cx: &mut Cx<'_, '_>, mailbox: &str) -> Result<Option<EpochMillis>, Fault> {
    let now = cx.now();
    let expiry = cx.mesh.options.inbox_expiry.as_millis() as u64;
    let inbox = cx.draft.scan(Table::Inbox.key().text(mailbox).prefix(), false, LOOK)?;
    let error = not_collected(cx, mailbox)?;
    let (mut next, mut done) = (None::<u64>, 0);
    for (key, value) in inbox {
        let id = rows::id_at_end(Table::Inbox, &key)?;
        let entry = InboxEntry::decode(&value).map_err(|e| Fault::Row(Table::Inbox, e))?;
        if entry.expires > now {
            next = Some(next.map_or(entry.expires, |n| n.min(entry.expires)));
            // Nothing younger can be due: a message is accepted after its id was made.
            if id.millis() + expiry > now {
                break;
            }
        } else if done == BATCH {
            return Ok(Some(now + PAUSE));
        } else {
            undeliver(cx, mailbox, id, &error, done as u32)?;
            done += 1;
        }
    }
    Ok(next)
}

/// The words of the report (mesh.md §9.3).
pub fn not_collected(cx: &Cx<'_, '_>, mailbox: &str) -> Result<Event, Fault> {
    let closed = registry::mailbox(cx.draft.site(), mailbox)?.is_some_and(|row| row.inactive);
    let text = if closed {
        "Message was not collected as the mailbox is deactivated".into()
    } else {
        format!("Message not collected by recipient after {}", period(cx.mesh.options.inbox_expiry.as_secs()))
    };
    Ok(Event { event: "SEND".into(), code: "14".into(), text, ..Default::default() })
}

/// `5 days`; smaller units where a test has made the period short.
fn period(seconds: u64) -> String {
    let units = [(24 * 60 * 60, "day"), (60 * 60, "hour"), (60, "minute")];
    let unit = units.into_iter().find(|(size, _)| seconds >= *size && seconds.is_multiple_of(*size));
    let (count, name) = unit.map_or((seconds, "second"), |(size, name)| (seconds / size, name));
    format!("{count} {name}{}", if count == 1 { "" } else { "s" })
}

/// Takes a message out of the inbox as not delivered, and reports it to its sender unless it is a report itself.
fn undeliver(cx: &mut Cx<'_, '_>, mailbox: &str, id: MessageId, error: &Event, nth: u32) -> Result<(), Fault> {
    leave_inbox(cx, mailbox, id)?;
    let Some(mut message) = rows::message(cx.draft, mailbox, id)? else { return Ok(()) };
    message.status = Status::Undeliverable as u8;
    message.settled = cx.now();
    if !message.report {
        message.error = error.clone();
    }
    cx.draft.put(message_key(Table::Messages, mailbox, id), message.encode());
    let report = cx.mint(nth);
    tell_sender(cx, id, &message, Some(report));
    Ok(())
}

/// A deactivated mailbox's messages go back, a batch at a time (mesh.md §9.1).
pub fn drain(cx: &mut Cx<'_, '_>, mailbox: &str) -> Result<(), Fault> {
    let inbox = cx.draft.scan(Table::Inbox.key().text(mailbox).prefix(), false, BATCH + 1)?;
    let mut error = not_collected(cx, mailbox)?;
    error.text = "Message was not collected as the mailbox is deactivated".into();
    let more = inbox.len() > BATCH;
    for (nth, (key, _)) in inbox.into_iter().take(BATCH).enumerate() {
        undeliver(cx, mailbox, rows::id_at_end(Table::Inbox, &key)?, &error, nth as u32)?;
    }
    if more {
        job(cx, DRAIN, mailbox, None);
    }
    Ok(())
}

fn abandon(cx: &mut Cx<'_, '_>, mailbox: &str) -> Result<Option<EpochMillis>, Fault> {
    let now = cx.now();
    let mut next = None::<u64>;
    let uploads = send::uploads(cx.draft, mailbox, BATCH)?;
    let full = uploads.len() == BATCH;
    let mut any = false;
    for (id, upload) in uploads {
        if upload.expires <= now {
            send::abandon(cx, mailbox, id, now)?;
            any = true;
        } else {
            next = Some(next.map_or(upload.expires, |n| n.min(upload.expires)));
        }
    }
    Ok(if full && any { Some(now + PAUSE) } else { next })
}

/// The oldest messages of a table, and whether there are more.
fn oldest(cx: &Cx<'_, '_>, table: Table, mailbox: &str) -> Result<(Vec<(MessageId, Message)>, bool), Fault> {
    let rows = cx.draft.scan(table.key().text(mailbox).prefix(), false, BATCH)?;
    let more = rows.len() == BATCH;
    let read = |(key, value): (Bytes, Bytes)| {
        Ok((rows::id_at_end(table, &key)?, Message::decode(&value).map_err(|e| Fault::Row(table, e))?))
    };
    Ok((rows.into_iter().map(read).collect::<Result<_, Fault>>()?, more))
}

/// Removes received messages after the retention, payload and record. Returns when to look again.
fn purge_messages(cx: &mut Cx<'_, '_>, mailbox: &str) -> Result<Option<EpochMillis>, Fault> {
    let (messages, more) = oldest(cx, Table::Messages, mailbox)?;
    let mut next = None::<u64>;
    let mut any = false;
    for (id, message) in messages {
        // A late end of an upload makes a message younger than its id.
        let due = purge_at(cx.mesh, message.accepted.max(id.millis()));
        if due > cx.now() {
            next = Some(next.map_or(due, |n| n.min(due)));
            if purge_at(cx.mesh, id.millis()) > cx.now() {
                return Ok(next);
            }
            continue;
        }
        any = true;
        if message.status() == Status::Accepted {
            leave_inbox(cx, mailbox, id)?;
        }
        cx.draft.delete(message_key(Table::Messages, mailbox, id));
        cx.draft.delete(Table::MessageIds.key().fixed(&id.to_bytes()));
        drop_bodies(cx, mailbox, id, &message)?;
    }
    Ok(if any && more { Some(cx.now() + PAUSE) } else { next })
}

/// Removes the sender's copies after the retention. Returns when to look again.
fn purge_sent(cx: &mut Cx<'_, '_>, mailbox: &str) -> Result<Option<EpochMillis>, Fault> {
    let (messages, more) = oldest(cx, Table::Sent, mailbox)?;
    let mut any = false;
    for (id, message) in messages {
        let due = purge_at(cx.mesh, id.millis());
        if due > cx.now() {
            return Ok(Some(due));
        }
        any = true;
        forget_sent(cx, mailbox, id, &message)?;
    }
    Ok((any && more).then(|| cx.now() + PAUSE))
}

/// Removes a sender's copy with all that points to it.
pub fn forget_sent(cx: &mut Cx<'_, '_>, mailbox: &str, id: MessageId, message: &Message) -> Result<(), Fault> {
    cx.draft.delete(message_key(Table::Sent, mailbox, id));
    cx.draft.delete(Table::MessageIds.key().fixed(&id.to_bytes()));
    if !message.local_id.is_empty() {
        cx.draft.delete(local_id_key(mailbox, &message.local_id, id));
    }
    if message.status() == Status::Uploading { send::close_upload(cx, mailbox, id) } else { Ok(()) }
}

/// Removes a message's bodies. Most have one, which needs no scan.
pub fn drop_bodies(cx: &mut Cx<'_, '_>, mailbox: &str, id: MessageId, message: &Message) -> Result<(), Fault> {
    if message.chunks > 1 {
        return sweep_bodies(cx, mailbox, id);
    }
    if let Some(part) = rows::part(cx.draft, mailbox, id, 1)? {
        drop_part(cx.draft, mailbox, id, 1, &part);
    }
    Ok(())
}

/// Removes the bodies of a chunked message, the first ones now and the rest in batches.
pub fn sweep_bodies(cx: &mut Cx<'_, '_>, mailbox: &str, id: MessageId) -> Result<(), Fault> {
    let parts = cx.draft.scan(message_key(Table::Bodies, mailbox, id).prefix(), false, SWEEP_PARTS + 1)?;
    let more = parts.len() > SWEEP_PARTS;
    for (key, value) in parts.into_iter().take(SWEEP_PARTS) {
        let part = Part::decode(&value).map_err(|e| Fault::Row(Table::Bodies, e))?;
        drop_part(cx.draft, mailbox, id, rows::chunk_at_end(&key), &part);
    }
    if more {
        job(cx, BODIES, mailbox, Some(id));
    }
    Ok(())
}

/// Removes the marks of an upload's chunks, likewise.
pub fn sweep_upload(cx: &mut Cx<'_, '_>, mailbox: &str, id: MessageId) -> Result<(), Fault> {
    let parts = cx.draft.scan(message_key(Table::UploadParts, mailbox, id).prefix(), false, SWEEP_PARTS + 1)?;
    let more = parts.len() > SWEEP_PARTS;
    for (key, _) in parts.into_iter().take(SWEEP_PARTS) {
        cx.draft.delete_raw(key);
    }
    if more {
        job(cx, UPLOAD, mailbox, Some(id));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_period_reads_as_a_person_says_it() {
        let say = super::period;
        assert_eq!(
            [say(432_000), say(86_400), say(7200), say(90), say(1)],
            ["5 days", "1 day", "2 hours", "90 seconds", "1 second"]
        );
    }
}
