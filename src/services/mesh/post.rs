//! Messages to and from the site's own services (docs/decisions/batch-trace.md): a service is told of what arrives in its
//! mailboxes, sends from them, and says when it has done with a message.
//!
//! Invariant: a message that a service sends is never announced to another, so that two cannot answer each other for ever.

use super::{
    command::{Complete, Deliver, DeliverPart},
    decide::{Cx, bounded, party},
    deliver::{leave_inbox, tell_sender},
    refusal,
    rows::{self, Message, Part, Status, local_id_key, message_key},
    timers,
};
use crate::{
    engine::{
        ServiceId,
        draft::{AuditNote, Fault},
    },
    model::MessageId,
    services::directory::rows::{self as registry, NOTHING},
    store::tables::Table,
    wire::{
        post::{self, Arrived, Body, Dispatch, Taken},
        record::Record,
    },
};
use bytes::Bytes;

/// Tells a service, if it is one's, of a message that may be collected now.
pub fn announce(cx: &mut Cx<'_, '_>, mailbox: &str, id: MessageId, service: u8) -> Result<(), Fault> {
    if service == 0 {
        return Ok(());
    }
    let Some(message) = rows::message(cx.draft, mailbox, id)? else { return Ok(()) };
    let arrived = Arrived {
        mailbox: mailbox.to_owned(),
        message: Bytes::copy_from_slice(&id.to_bytes()),
        from: message.party.mailbox,
        workflow: message.workflow,
        local_id: message.local_id,
        file_name: message.file_name,
        chunks: message.chunks,
        size: message.size,
        gzip: message.gzip,
        at: message.accepted,
        ..Default::default()
    };
    let key = Bytes::copy_from_slice(mailbox.as_bytes());
    cx.draft.send(key, ServiceId(service), post::tagged(post::ARRIVED, &arrived));
    Ok(())
}

/// Sends a service's message, whole: its chunks follow one another to the recipient.
pub fn dispatch(cx: &mut Cx<'_, '_>, dispatch: &Dispatch) -> Result<(), Fault> {
    let id = cx.mint(0);
    let site = cx.draft.site();
    let own = registry::mailbox(site, &dispatch.mailbox)?.unwrap_or_default();
    let to = registry::mailbox(site, &dispatch.to)?.filter(|row| !row.inactive && !row.internal);
    let outcome = if to.is_some() { "ok".into() } else { refusal::unregistered().outcome() };
    cx.draft.audit(AuditNote {
        interaction: "mesh.send".into(),
        outcome,
        object: if to.is_some() { id.to_string() } else { bounded(&dispatch.mailbox) },
        other: bounded(&format!("{} {}", dispatch.mailbox, dispatch.to)),
        ..Default::default()
    });
    // The answer has nobody to go to any more.
    let Some(to) = to else { return Ok(()) };
    let chunks = dispatch.parts.len() as u32;
    let mut message = Message {
        status: if chunks > 1 { Status::Uploading } else { Status::Accepted } as u8,
        party: party(&dispatch.mailbox, &own),
        workflow: dispatch.workflow.clone(),
        subject: dispatch.subject.clone(),
        local_id: dispatch.local_id.clone(),
        file_name: dispatch.file_name.clone(),
        content_type: dispatch.content_type.clone(),
        chunks,
        size: dispatch.parts.iter().map(|part| part.len).sum(),
        accepted: cx.now(),
        expires: cx.expiry(),
        ..Default::default()
    };
    deliver(cx, dispatch, id, &message);
    message.status = Status::Accepted as u8;
    message.party = party(&dispatch.to, &to);
    cx.know(id);
    cx.draft.insert(message_key(Table::Sent, &dispatch.mailbox, id), message.encode());
    if !message.local_id.is_empty() {
        cx.draft.insert(local_id_key(&dispatch.mailbox, &message.local_id, id), NOTHING);
    }
    timers::arm_stored(cx, &dispatch.mailbox, timers::purge_at(cx.mesh, id.millis()))
}

fn part(body: &Body) -> Bytes {
    Part { inline: body.inline.clone(), digest: body.digest.clone(), len: body.len, ..Default::default() }.encode()
}

/// The recipient's half: the first chunk with the message's row, the others, and that these were all.
fn deliver(cx: &mut Cx<'_, '_>, dispatch: &Dispatch, id: MessageId, message: &Message) {
    let (mailbox, id) = (dispatch.to.clone(), Bytes::copy_from_slice(&id.to_bytes()));
    let chunked = dispatch.parts.len() > 1;
    let first = Deliver {
        mailbox: mailbox.clone(),
        message: id.clone(),
        row: message.encode(),
        part: part(&dispatch.parts.first().cloned().unwrap_or_default()),
        workflow: dispatch.workflow.clone(),
        expires: if chunked { 0 } else { message.expires },
        ..Default::default()
    };
    cx.tell(&mailbox, first);
    for (n, body) in dispatch.parts.iter().enumerate().skip(1) {
        let (mailbox, message, chunk) = (mailbox.clone(), id.clone(), n as u32 + 1);
        cx.tell(&dispatch.to, DeliverPart { mailbox, message, chunk, part: part(body), ..Default::default() });
    }
    if chunked {
        let (size, at, expires) = (message.size, message.accepted, message.expires);
        cx.tell(&dispatch.to, Complete { mailbox, message: id, size, at, expires, ..Default::default() });
    }
}

/// A service has done with a message: as if its mailbox had acknowledged it.
pub fn taken(cx: &mut Cx<'_, '_>, taken: &Taken) -> Result<(), Fault> {
    let id = MessageId::from_bytes(&taken.message).ok_or_else(|| Fault::Other("mesh taken without an id".into()))?;
    let Some(mut message) = rows::message(cx.draft, &taken.mailbox, id)? else { return Ok(()) };
    if message.status() != Status::Accepted {
        return Ok(());
    }
    (message.status, message.settled) = (Status::Acknowledged as u8, cx.now());
    cx.draft.put(message_key(Table::Messages, &taken.mailbox, id), message.encode());
    leave_inbox(cx, &taken.mailbox, id)?;
    timers::drop_bodies(cx, &taken.mailbox, id, &message)?;
    tell_sender(cx, id, &message, None);
    cx.draft.audit(AuditNote {
        interaction: "mesh.acknowledge".into(),
        outcome: "ok".into(),
        object: id.to_string(),
        other: bounded(&taken.mailbox),
        ..Default::default()
    });
    Ok(())
}
