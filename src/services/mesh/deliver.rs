//! The other mailbox's half of what was decided: a message reaches its recipient's rows, a status its sender's.
//!
//! These commands come through the outbox, in order and once. Invariant: `Inbox`, `MailboxState.accepted` and a
//! message's status change together, only in [`enter_inbox`] and [`leave_inbox`].

use super::{
    command::{Complete, Deliver, DeliverPart, Settle},
    decide::Cx,
    post,
    rows::{self, InboxEntry, Message, Part, Party, Status, insert_part, message_key, put_state, replace_part},
    timers,
};
use crate::{
    engine::draft::Fault,
    model::{EpochMillis, MessageId},
    store::tables::Table,
    wire::record::Record,
};
use bytes::Bytes;

fn id_of(bytes: &Bytes) -> Result<MessageId, Fault> {
    MessageId::from_bytes(bytes).ok_or_else(|| Fault::Other("mesh delivery without a message id".into()))
}

/// A whole message or a first chunk.
pub fn deliver(cx: &mut Cx<'_, '_>, deliver: &Deliver) -> Result<(), Fault> {
    let id = id_of(&deliver.message)?;
    cx.know(id);
    cx.draft.insert(message_key(Table::Messages, &deliver.mailbox, id), deliver.row.clone());
    let part = Part::decode(&deliver.part).map_err(|e| Fault::Row(Table::Bodies, e))?;
    insert_part(cx.draft, &deliver.mailbox, id, 1, &part, deliver.part.clone());
    match deliver.expires {
        0 => timers::arm_stored(cx, &deliver.mailbox, timers::purge_at(cx.mesh, id.millis())),
        expires => {
            enter_inbox(cx, &deliver.mailbox, id, deliver.workflow.clone(), expires, First::Yes)?;
            post::announce(cx, &deliver.mailbox, id, deliver.service)
        }
    }
}

/// A later chunk. One that comes after the message was given up is dropped.
pub fn part(cx: &mut Cx<'_, '_>, deliver: &DeliverPart) -> Result<(), Fault> {
    let id = id_of(&deliver.message)?;
    match rows::message(cx.draft, &deliver.mailbox, id)? {
        Some(message) if message.status() == Status::Uploading => {
            let part = Part::decode(&deliver.part).map_err(|e| Fault::Row(Table::Bodies, e))?;
            replace_part(cx.draft, &deliver.mailbox, id, deliver.chunk, &part)
        }
        _ => Ok(()),
    }
}

/// The end of an upload, good or bad.
pub fn complete(cx: &mut Cx<'_, '_>, complete: &Complete) -> Result<(), Fault> {
    let id = id_of(&complete.message)?;
    let mailbox = &complete.mailbox;
    let Some(mut message) = rows::message(cx.draft, mailbox, id)? else { return Ok(()) };
    if message.status() != Status::Uploading {
        return Ok(());
    }
    if complete.abandoned {
        (message.status, message.settled) = (Status::Undeliverable as u8, complete.at);
        cx.draft.put(message_key(Table::Messages, mailbox, id), message.encode());
        return timers::sweep_bodies(cx, mailbox, id);
    }
    message.status = Status::Accepted as u8;
    (message.size, message.accepted, message.expires) = (complete.size, complete.at, complete.expires);
    cx.draft.put(message_key(Table::Messages, mailbox, id), message.encode());
    enter_inbox(cx, mailbox, id, message.workflow, message.expires, First::Yes)?;
    post::announce(cx, mailbox, id, complete.service)
}

/// Whether a message has never been in the inbox. One that comes back must not be called fresh to the store, which
/// would then forget that an older row may still be on disk.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum First {
    Yes,
    No,
}

/// Makes a message collectable.
pub fn enter_inbox(
    cx: &mut Cx<'_, '_>,
    mailbox: &str,
    id: MessageId,
    workflow: Bytes,
    expires: EpochMillis,
    first: First,
) -> Result<(), Fault> {
    let entry = InboxEntry { workflow, expires, ..Default::default() };
    let key = message_key(Table::Inbox, mailbox, id);
    match first {
        First::Yes => cx.draft.insert(key, entry.encode()),
        First::No => cx.draft.put(key, entry.encode()),
    }
    let mut state = cx.state(mailbox)?;
    state.accepted += 1;
    timers::arm(cx, mailbox, &mut state, timers::lenient(cx.mesh, expires));
    put_state(cx.draft, mailbox, &state);
    Ok(())
}

/// Makes a message not collectable any more.
pub fn leave_inbox(cx: &mut Cx<'_, '_>, mailbox: &str, id: MessageId) -> Result<(), Fault> {
    cx.draft.delete(message_key(Table::Inbox, mailbox, id));
    let mut state = cx.state(mailbox)?;
    state.accepted = state.accepted.saturating_sub(1);
    put_state(cx.draft, mailbox, &state);
    Ok(())
}

/// Tells the sender of a message what became of it; with a report where `report` names one.
pub fn tell_sender(cx: &mut Cx<'_, '_>, id: MessageId, message: &Message, report: Option<MessageId>) {
    if message.report || message.party.mailbox.is_empty() {
        return;
    }
    let mut settle = Settle {
        mailbox: message.party.mailbox.clone(),
        message: Bytes::copy_from_slice(&id.to_bytes()),
        status: message.status,
        at: message.settled,
        error: message.error.clone(),
        expires: message.expires,
        ..Default::default()
    };
    if let Some(report) = report {
        settle.report = Bytes::copy_from_slice(&report.to_bytes());
        (settle.workflow, settle.local_id) = (message.workflow.clone(), message.local_id.clone());
        settle.subject = non_delivery_subject(&message.subject);
    }
    cx.tell(&message.party.mailbox, settle);
}

/// `NDR: <subject>`, or `NDR` (mesh.md §9.3).
pub fn non_delivery_subject(subject: &[u8]) -> Bytes {
    if subject.is_empty() { Bytes::from_static(b"NDR") } else { [b"NDR: ", subject].concat().into() }
}

/// The sender's half: its copy's status, and the report in its inbox.
pub fn settle(cx: &mut Cx<'_, '_>, settle: &Settle) -> Result<(), Fault> {
    let id = id_of(&settle.message)?;
    if let Some(mut message) = rows::sent(cx.draft, &settle.mailbox, id)? {
        message.status = settle.status;
        message.settled = settle.at;
        message.error = settle.error.clone();
        if settle.expires != 0 {
            message.expires = settle.expires;
        }
        cx.draft.put(message_key(Table::Sent, &settle.mailbox, id), message.encode());
    }
    if settle.report.is_empty() {
        return Ok(());
    }
    let report = Message {
        workflow: settle.workflow.clone(),
        subject: settle.subject.clone(),
        local_id: settle.local_id.clone(),
        error: settle.error.clone(),
        linked: settle.message.clone(),
        ..Default::default()
    };
    enter_report(cx, &settle.mailbox, id_of(&settle.report)?, report)
}

/// Puts a report by the site into an inbox (mesh.md §9.3, §9.4).
pub fn enter_report(cx: &mut Cx<'_, '_>, mailbox: &str, id: MessageId, mut report: Message) -> Result<(), Fault> {
    report.report = true;
    report.status = Status::Accepted as u8;
    report.party = Party { name: "Central System Mailbox".into(), ods: "X26".into(), ..Default::default() };
    (report.accepted, report.expires) = (cx.now(), cx.expiry());
    cx.know(id);
    cx.draft.insert(message_key(Table::Messages, mailbox, id), report.encode());
    enter_inbox(cx, mailbox, id, report.workflow, report.expires, First::Yes)
}
