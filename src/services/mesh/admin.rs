//! What operators and the test mode do to messages (mesh.md §9.1 re-queue, §15).
//!
//! Invariant: nothing of the test mode is decided where its switch is off, whoever made the command.

use super::{
    command::{AddEvent, Enquiry, MakeReport, Reply, Requeue, Reset},
    decide::{Cx, bounded, party},
    deliver::{First, enter_inbox, enter_report, leave_inbox, non_delivery_subject, tell_sender},
    refusal::{self, plain},
    rows::{self, Event, Message, Status, message_key},
    timers,
};
use crate::{
    access::caller::Caller,
    engine::draft::{AuditNote, Fault},
    model::MessageId,
    services::directory::rows as registry,
    store::{Reader, tables::Table},
    wire::record::Record,
};
use bytes::Bytes;

/// Messages removed in one decision of a reset: more than a test leaves behind, so that one answer finds the mailbox
/// empty, and few enough for one entry of the log.
const RESET_BATCH: usize = 5_000;

fn note(cx: &mut Cx<'_, '_>, interaction: &str, outcome: &str, object: &str, other: &str) {
    cx.draft.audit(AuditNote {
        interaction: interaction.into(),
        outcome: outcome.into(),
        object: bounded(object),
        other: bounded(other),
        ..Default::default()
    });
}

fn switched_off(cx: &Cx<'_, '_>) -> Option<Reply> {
    (!cx.mesh.options.test_endpoints).then(|| Reply::refused(plain(404, "Not Found")))
}

/// An operator puts an undeliverable message back into the inbox, with a new expiry.
pub fn requeue(cx: &mut Cx<'_, '_>, requeue: &Requeue, caller: &Caller) -> Result<Reply, Fault> {
    let mailbox = &requeue.mailbox;
    let refused = |cx: &mut Cx<'_, '_>, problem: refusal::Problem| {
        note(cx, "mesh.requeue", &problem.outcome(), &requeue.message, mailbox);
        Ok(Reply::refused(problem))
    };
    if caller.operator.is_empty() {
        return refused(cx, refusal::forbidden());
    }
    let found = match MessageId::parse(&requeue.message) {
        Some(id) => rows::message(cx.draft, mailbox, id)?.map(|message| (id, message)),
        None => None,
    };
    let Some((id, message)) = found else { return refused(cx, refusal::no_message()) };
    if message.status() != Status::Undeliverable || message.accepted == 0 {
        return refused(cx, refusal::gone());
    }
    put_back(cx, mailbox, id, message)?;
    note(cx, "mesh.requeue", "ok", &requeue.message, mailbox);
    Ok(Reply { message: Bytes::copy_from_slice(&id.to_bytes()), ..Default::default() })
}

fn put_back(cx: &mut Cx<'_, '_>, mailbox: &str, id: MessageId, mut message: Message) -> Result<(), Fault> {
    message.status = Status::Accepted as u8;
    (message.settled, message.expires) = (0, cx.expiry());
    if !message.report {
        message.error = Event::default();
    }
    if message.accepted == 0 {
        message.accepted = cx.now();
    }
    cx.draft.put(message_key(Table::Messages, mailbox, id), message.encode());
    tell_sender(cx, id, &message, None);
    enter_inbox(cx, mailbox, id, message.workflow, message.expires, First::No)
}

/// Test mode: empties a mailbox's inbox and outbox.
pub fn reset(cx: &mut Cx<'_, '_>, reset: &Reset) -> Result<Reply, Fault> {
    if let Some(off) = switched_off(cx) {
        return Ok(off);
    }
    if registry::mailbox(cx.draft.site(), &reset.mailbox)?.is_none() {
        note(cx, "mesh.admin_reset", "404", &reset.mailbox, "");
        return Ok(Reply::refused(plain(404, "Not Found")));
    }
    empty(cx, &reset.mailbox)?;
    note(cx, "mesh.admin_reset", "ok", &reset.mailbox, "");
    Ok(Reply::default())
}

/// Removes a mailbox's messages, received and sent, in bounded batches.
pub fn empty(cx: &mut Cx<'_, '_>, mailbox: &str) -> Result<(), Fault> {
    let mut more = false;
    for table in [Table::Messages, Table::Sent] {
        let found = cx.draft.scan(table.key().text(mailbox).prefix(), false, RESET_BATCH)?;
        more |= found.len() == RESET_BATCH;
        for (key, value) in found {
            let id = rows::id_at_end(table, &key)?;
            let message = Message::decode(&value).map_err(|e| Fault::Row(table, e))?;
            if table == Table::Sent {
                timers::forget_sent(cx, mailbox, id, &message)?;
                continue;
            }
            if message.status() == Status::Accepted {
                leave_inbox(cx, mailbox, id)?;
            }
            cx.draft.delete_raw(key);
            cx.draft.delete(Table::MessageIds.key().fixed(&id.to_bytes()));
            timers::drop_bodies(cx, mailbox, id, &message)?;
        }
    }
    if more {
        timers::reset_later(cx, mailbox);
    }
    Ok(())
}

/// Test mode: puts a report into an inbox.
pub fn make_report(cx: &mut Cx<'_, '_>, make: &MakeReport) -> Result<Reply, Fault> {
    if let Some(off) = switched_off(cx) {
        return Ok(off);
    }
    if registry::mailbox(cx.draft.site(), &make.mailbox)?.is_none() {
        note(cx, "mesh.admin_report", "404", &make.mailbox, "");
        return Ok(Reply::refused(plain(404, "Not Found")));
    }
    // These texts become header values, where control characters cannot stand.
    let clean = |text: &str| Bytes::from(text.chars().filter(|c| !c.is_control()).take(500).collect::<String>());
    let (subject, error) = if make.undeliverable {
        (non_delivery_subject(&clean(&make.subject)), timers::not_collected(cx, "")?)
    } else {
        let (code, text) = (make.code.clone(), make.text.clone());
        (clean(&make.subject), Event { event: "TRANSFER".into(), code, text, ..Default::default() })
    };
    let report = Message {
        workflow: clean(&make.workflow),
        subject,
        local_id: clean(&make.local_id),
        file_name: if make.undeliverable { Bytes::new() } else { clean(&make.file_name) },
        error,
        linked: MessageId::parse(&make.linked).map(|id| Bytes::copy_from_slice(&id.to_bytes())).unwrap_or_default(),
        ..Default::default()
    };
    let id = cx.mint(0);
    enter_report(cx, &make.mailbox, id, report)?;
    note(cx, "mesh.admin_report", "ok", &id.to_string(), &make.mailbox);
    Ok(Reply { message: Bytes::copy_from_slice(&id.to_bytes()), ..Default::default() })
}

/// Test mode: gives a message a status and an event, in the recipient's copy and through it in the sender's.
pub fn add_event(cx: &mut Cx<'_, '_>, add: &AddEvent) -> Result<Reply, Fault> {
    if let Some(off) = switched_off(cx) {
        return Ok(off);
    }
    let elsewhere = Reply { elsewhere: true, ..Default::default() };
    let Some(id) = MessageId::parse(&add.message) else { return Ok(elsewhere) };
    let Some(mut message) = rows::message(cx.draft, &add.mailbox, id)? else { return Ok(elsewhere) };
    let before = message.status();
    let status = Status::of(add.status).unwrap_or(before);
    if !add.error.code.is_empty() || !add.error.text.is_empty() {
        message.error = add.error.clone();
    }
    if let Some(linked) = MessageId::parse(&add.linked) {
        message.linked = Bytes::copy_from_slice(&linked.to_bytes());
    }
    match (before == Status::Accepted, status == Status::Accepted) {
        (false, true) => put_back(cx, &add.mailbox, id, message)?,
        (was, is) => {
            if was && !is {
                leave_inbox(cx, &add.mailbox, id)?;
            }
            (message.status, message.settled) = (status as u8, cx.now());
            cx.draft.put(message_key(Table::Messages, &add.mailbox, id), message.encode());
            tell_sender(cx, id, &message, None);
        }
    }
    note(cx, "mesh.admin_event", "ok", &add.message, &add.mailbox);
    Ok(Reply { message: Bytes::copy_from_slice(&id.to_bytes()), ..Default::default() })
}

/// Test mode: a message as one mailbox has it; `count` 1 says that the mailbox is its sender.
pub fn message(cx: &mut Cx<'_, '_>, enquiry: &Enquiry) -> Result<Reply, Fault> {
    if let Some(off) = switched_off(cx) {
        return Ok(off);
    }
    let elsewhere = Reply { elsewhere: true, ..Default::default() };
    let Some(id) = MessageId::parse(&enquiry.message) else { return Ok(elsewhere) };
    let (row, sender) = match rows::message(cx.draft, &enquiry.mailbox, id)? {
        Some(message) => (message, 0),
        None => match rows::sent(cx.draft, &enquiry.mailbox, id)? {
            Some(message) => (message, 1),
            None => return Ok(elsewhere),
        },
    };
    let own = registry::mailbox(cx.draft.site(), &enquiry.mailbox)?.unwrap_or_default();
    Ok(Reply {
        message: Bytes::copy_from_slice(&id.to_bytes()),
        row: row.encode(),
        count: sender,
        own: Some(party(&enquiry.mailbox, &own)),
        ..Default::default()
    })
}
