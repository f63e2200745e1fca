//! Collecting: handshake, list, count, download, head, acknowledge (mesh.md §6.1 to §6.6).
//!
//! A listing's cost is its page, never the inbox: it goes on behind a key. A short one is read while deciding, a long
//! one from a view afterwards, so that the decider is not held up.

use super::{
    command::{Page, Reply, Request},
    decide::{Answer, Cx, No, party},
    deliver::{leave_inbox, tell_sender},
    refusal,
    rows::{self, InboxEntry, Message, Status, message_key},
    timers,
};
use crate::{
    engine::draft::Fault,
    model::MessageId,
    services::directory::rows::Mailbox,
    store::{
        Reader,
        tables::{Table, after_prefix},
    },
    wire::{mesh::values::Filter, record::Record},
};
use bytes::Bytes;

/// Inbox rows read while deciding: some ten microseconds. What is longer is read from a view.
const DECIDED_ROWS: usize = 64;
/// Rows read at once from a view.
const SCAN_BATCH: usize = 512;

pub fn handshake(cx: &mut Cx<'_, '_>, request: &Request) -> Answer {
    let mut row = request.handshake.clone().unwrap_or_default();
    row.at = cx.now();
    cx.draft.put(Table::Handshakes.key().text(&request.mailbox), row.encode());
    Ok(Reply::default())
}

pub fn count(cx: &mut Cx<'_, '_>, request: &Request) -> Answer {
    Ok(Reply { count: cx.state(&request.mailbox)?.accepted, ..Default::default() })
}

pub fn list(cx: &mut Cx<'_, '_>, request: &Request) -> Answer {
    let page = request.page.clone().unwrap_or_default();
    let count = cx.state(&request.mailbox)?.accepted;
    let listed = list_page(cx.draft, &request.mailbox, &page, DECIDED_ROWS)?;
    if listed.unfinished {
        return Ok(Reply { view: true, count, ..Default::default() });
    }
    let ids = listed.ids.iter().flat_map(MessageId::to_bytes).collect::<Vec<_>>().into();
    Ok(Reply { count, ids, next: next_bytes(listed.next), ..Default::default() })
}

fn next_bytes(next: Option<MessageId>) -> Bytes {
    next.map(|id| Bytes::copy_from_slice(&id.to_bytes())).unwrap_or_default()
}

/// One page of an inbox.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Listed {
    pub ids: Vec<MessageId>,
    /// More is behind this id.
    pub next: Option<MessageId>,
    /// The bound on rows was reached before the page was full or the inbox at its end; `next` says where.
    pub unfinished: bool,
}

/// Reads a page of what may be collected, oldest first, looking at no more than `bound` rows.
pub fn list_page(reader: &dyn Reader, mailbox: &str, page: &Page, bound: usize) -> Result<Listed, Fault> {
    let whole = Table::Inbox.key().text(mailbox).prefix();
    let mut from = match MessageId::from_bytes(&page.after) {
        Some(after) => after_prefix(&message_key(Table::Inbox, mailbox, after).build()),
        None => whole.start,
    };
    let filter = page.filter.as_deref().map(Filter::parse);
    let wanted = page.max_results as usize;
    let mut listed = Listed::default();
    let (mut looked, mut last) = (0, None);
    loop {
        let batch = SCAN_BATCH.min(bound + 1 - looked);
        let rows = reader.scan(from..whole.end.clone(), false, batch)?;
        let ended = rows.len() < batch;
        from = match rows.last() {
            Some((key, _)) => after_prefix(key),
            None => return Ok(listed),
        };
        for (key, value) in rows {
            let id = rows::id_at_end(Table::Inbox, &key)?;
            if looked == bound {
                (listed.next, listed.unfinished) = (last, true);
                return Ok(listed);
            }
            looked += 1;
            if passes(filter.as_ref(), &value)? {
                if listed.ids.len() == wanted {
                    listed.next = last;
                    return Ok(listed);
                }
                listed.ids.push(id);
            }
            last = Some(id);
        }
        if ended {
            return Ok(listed);
        }
    }
}

fn passes(filter: Option<&Filter<'_>>, value: &Bytes) -> Result<bool, Fault> {
    let Some(filter) = filter else { return Ok(true) };
    let entry = InboxEntry::decode(value).map_err(|e| Fault::Row(Table::Inbox, e))?;
    Ok(filter.passes(&entry.workflow))
}

/// The recipient's copy that a path names, also as stored: 404 where there is no such message, 403 where it is
/// another's.
fn own_message(cx: &Cx<'_, '_>, request: &Request) -> Result<(MessageId, Message, Bytes), No> {
    let no_message = || refusal::no_message().about(&request.message);
    let id = MessageId::parse(&request.message).ok_or_else(no_message)?;
    match cx.draft.get(&message_key(Table::Messages, &request.mailbox, id).build())? {
        Some(row) => {
            let message = Message::decode(&row).map_err(|e| Fault::Row(Table::Messages, e))?;
            Ok((id, message, row))
        }
        None => Err(cx.not_here(id)?.into()),
    }
}

/// One chunk of a message. Its body comes along where it is inline, so that no view is needed.
pub fn download(cx: &mut Cx<'_, '_>, request: &Request) -> Answer {
    let (id, message, row) = own_message(cx, request)?;
    let gone = || refusal::gone().about(&request.message);
    let mut reply = Reply { message: Bytes::copy_from_slice(&id.to_bytes()), row, ..Default::default() };
    match message.status() {
        Status::Accepted | Status::Acknowledged if message.report => return Ok(reply),
        Status::Accepted | Status::Acknowledged => {}
        _ => return Err(gone().into()),
    }
    if request.chunk > message.chunks {
        return Err(refusal::no_message().about(&request.message).into());
    }
    let key = rows::chunk_key(Table::Bodies, &request.mailbox, id, request.chunk);
    reply.part = cx.draft.get(&key.build())?.ok_or_else(gone)?;
    Ok(reply)
}

/// Metadata, for the recipient and for the sender (mesh.md §6.5).
pub fn head(cx: &mut Cx<'_, '_>, request: &Request, own: &Mailbox) -> Answer {
    let no_message = || refusal::no_message().about(&request.message);
    let id = MessageId::parse(&request.message).ok_or_else(no_message)?;
    let mut reply = Reply { message: Bytes::copy_from_slice(&id.to_bytes()), ..Default::default() };
    if let Some(message) = rows::message(cx.draft, &request.mailbox, id)? {
        if matches!(message.status(), Status::Accepted | Status::Acknowledged) {
            reply.row = message.encode();
            return Ok(reply);
        }
        if rows::sent(cx.draft, &request.mailbox, id)?.is_none() {
            return Err(refusal::gone().about(&request.message).into());
        }
    }
    let sent = rows::sent(cx.draft, &request.mailbox, id)?.ok_or_else(no_message)?;
    reply.row = sent.encode();
    reply.own = Some(party(&request.mailbox, own));
    Ok(reply)
}

/// Takes a message out of the inbox; again and again without harm (mesh.md §6.6).
pub fn acknowledge(cx: &mut Cx<'_, '_>, request: &Request) -> Answer {
    let (id, mut message, _) = own_message(cx, request)?;
    match message.status() {
        Status::Accepted => {}
        Status::Uploading => return Err(refusal::no_message().about(&request.message).into()),
        _ => return Ok(Reply { message: Bytes::copy_from_slice(&id.to_bytes()), ..Default::default() }),
    }
    message.status = Status::Acknowledged as u8;
    message.settled = cx.now();
    cx.draft.put(message_key(Table::Messages, &request.mailbox, id), message.encode());
    leave_inbox(cx, &request.mailbox, id)?;
    // The payload has arrived where it should; the metadata stays for tracking (mesh.md §9.2).
    timers::drop_bodies(cx, &request.mailbox, id, &message)?;
    tell_sender(cx, id, &message, None);
    Ok(Reply { message: Bytes::copy_from_slice(&id.to_bytes()), ..Default::default() })
}
