//! Sending: the first chunk or whole message, and later chunks (mesh.md §6.7, §6.8, §8, §11.2, §11.3).
//!
//! Invariants: a message id is answered only together with the rows that make the message durable; a chunked
//! message is completed exactly when the last missing chunk arrives, in whatever order; once complete it never changes.
//!
//! Bodies go to the recipient's partition chunk by chunk as they come; the sender's keeps which have come, so that
//! an upload of any size costs one small row a chunk there.

use super::{
    Enforcement,
    command::{Complete, Deliver, DeliverPart, Reply, Request, Settle},
    decide::{Answer, Cx, No, party},
    refusal,
    rows::{self, Event, Message, Party, Status, Upload, UploadPart, chunk_key, local_id_key, message_key},
    timers,
};
use crate::{
    engine::draft::Fault,
    model::{EpochMillis, MessageId, NhsNumber},
    services::directory::rows::{self as registry, Mailbox, NOTHING, read},
    store::{Reader, tables::Table},
    wire::record::Record,
};
use bytes::Bytes;

/// Workflows whose messages may name a patient instead of a mailbox (mesh.md §11.2).
const ROUTED: &[&[u8]] = &[
    b"TOC_FHIR_IP_DISCH",
    b"TOC_FHIR_MH_DISCH",
    b"TOC_FHIR_EC_DISCH",
    b"TOC_FHIR_OP_ATTEN",
    b"TOC_OUTP_ATT_DMS",
    b"GPFED_CONSULT_REPORT",
    b"GPFED_CONSULT_REPORT_ACK",
    b"GPCONNECT_UPDATE_RECORD",
    b"GPCONNECT_UPDATE_RECORD_ACK",
    b"GPCONNECT_SEND_DOCUMENT",
];

/// Shown in place of a recipient that could not be found: nothing of the patient is kept (P10).
const UNROUTED: &str = "GPPROVIDER";

/// Whether a recipient is given as a patient's details. Such text is never stored, logged or audited.
pub fn is_demographic(to: &str) -> bool {
    to.starts_with("GPPROVIDER_")
}

/// A checksum over what a send sends, to tell a repeat of it from another send.
pub fn content(request: &Request) -> u32 {
    let mut sum = crc32c::crc32c(&request.body);
    if let Some(headers) = &request.headers {
        sum = crc32c::crc32c_append(sum, headers.to.as_bytes());
        sum = crc32c::crc32c_append(sum, &headers.workflow);
        sum = crc32c::crc32c_append(sum, &headers.local_id);
    }
    sum
}

/// The same for a later chunk; never equal to a whole send's.
pub fn chunk_content(request: &Request) -> u32 {
    let mut sum = crc32c::crc32c(b"chunk");
    sum = crc32c::crc32c_append(sum, &request.chunk.to_be_bytes());
    sum = crc32c::crc32c_append(sum, request.message.as_bytes());
    crc32c::crc32c_append(sum, &request.body)
}

/// Takes a whole message or its first chunk.
pub fn send(cx: &mut Cx<'_, '_>, request: &Request, own: &Mailbox) -> Answer {
    let headers = request.headers.clone().unwrap_or_default();
    let sender = &request.mailbox;
    let mut service = 0;
    let (recipient, failure) = if is_demographic(&headers.to) && ROUTED.contains(&headers.workflow.as_ref()) {
        (Party { mailbox: UNROUTED.into(), ..Default::default() }, Some(unroutable(&headers.to)))
    } else {
        let row = registry::mailbox(cx.draft.site(), &headers.to)?.filter(|row| !row.inactive);
        let row = row.ok_or_else(refusal::unregistered)?;
        if row.internal {
            return Err(refusal::internal_mailbox().into());
        }
        permitted(cx, &headers.workflow, sender, &headers.to)?;
        service = row.service;
        (party(&headers.to, &row), None)
    };
    if request.body.is_empty() {
        return Err(refusal::empty_body().into());
    }
    let id = cx.mint(0);
    let part = rows::Part::decode(&request.body).map_err(|e| Fault::Row(Table::Bodies, e))?;
    let complete = headers.chunks == 1;
    let mut message = Message {
        status: if complete { Status::Accepted } else { Status::Uploading } as u8,
        party: party(sender, own),
        workflow: headers.workflow.clone(),
        subject: headers.subject,
        local_id: headers.local_id,
        partner_id: headers.partner_id,
        file_name: headers.file_name,
        checksum: headers.checksum,
        encrypted: headers.encrypted,
        compressed: headers.compressed,
        content_type: headers.content_type,
        gzip: headers.gzip,
        chunks: headers.chunks,
        size: if complete { part.len } else { 0 },
        accepted: if complete { cx.now() } else { 0 },
        expires: cx.expiry(),
        ..Default::default()
    };
    if failure.is_none() {
        let deliver = Deliver {
            mailbox: recipient.mailbox.clone(),
            message: Bytes::copy_from_slice(&id.to_bytes()),
            row: message.encode(),
            part: request.body.clone(),
            workflow: headers.workflow,
            expires: if complete { message.expires } else { 0 },
            service,
            ..Default::default()
        };
        cx.tell(&recipient.mailbox, deliver);
    }
    message.party = recipient;
    message.error = failure.unwrap_or_default();
    keep_sent(cx, sender, id, &message, part.len)?;
    if complete && !message.error.code.is_empty() {
        report_unroutable(cx, sender, id, message);
    }
    Ok(Reply { message: Bytes::copy_from_slice(&id.to_bytes()), deliveries: true, ..Default::default() })
}

/// The sender's rows of a new message.
fn keep_sent(cx: &mut Cx<'_, '_>, sender: &str, id: MessageId, message: &Message, first: u64) -> Result<(), Fault> {
    cx.know(id);
    cx.draft.insert(message_key(Table::Sent, sender, id), message.encode());
    if !message.local_id.is_empty() {
        cx.draft.insert(local_id_key(sender, &message.local_id, id), NOTHING);
    }
    if message.chunks > 1 {
        let upload = Upload { received: 1, size: first, expires: message.expires, ..Default::default() };
        cx.draft.insert(message_key(Table::Uploads, sender, id), upload.encode());
        let arrived = UploadPart { len: first, ..Default::default() };
        cx.draft.insert(chunk_key(Table::UploadParts, sender, id, 1), arrived.encode());
        timers::arm_stored(cx, sender, timers::lenient(cx.mesh, message.expires))
    } else {
        timers::arm_stored(cx, sender, timers::purge_at(cx.mesh, id.millis()))
    }
}

/// Whether sender and recipient may use a workflow (mesh.md §11.3).
fn permitted(cx: &Cx<'_, '_>, workflow: &[u8], sender: &str, recipient: &str) -> Result<(), No> {
    let enforcement = cx.mesh.options.enforcement;
    if enforcement == Enforcement::Off {
        return Ok(());
    }
    let site = cx.draft.site();
    match (registry::workflow(site, workflow)?.filter(|w| !w.disabled), enforcement) {
        (None, Enforcement::Strict) => return Err(refusal::workflow_not_registered().into()),
        (None, _) => return Ok(()),
        (Some(row), Enforcement::Restricted) if row.open => return Ok(()),
        _ => {}
    }
    if !registry::may_send(site, workflow, sender)? {
        return Err(refusal::sender_not_allowed().into());
    }
    if !registry::may_receive(site, workflow, recipient)? {
        return Err(refusal::workflow_not_registered().into());
    }
    Ok(())
}

/// Why a patient's practice cannot be found. The demographic service is not part of this site, so that no number
/// is known to it; a wrong check digit is told apart (mesh.md §11.2).
fn unroutable(to: &str) -> Event {
    let number = to.split('_').nth(1).and_then(NhsNumber::parse);
    let (code, text) = match number {
        None => ("EPL-152", "Invalid NHS Number"),
        Some(_) => ("EPL-153", "NHS Number not found"),
    };
    Event { event: "SEND".into(), code: code.into(), text: text.into(), ..Default::default() }
}

/// The failure after the 202, as a report to the sender (mesh.md §9.4).
fn report_unroutable(cx: &mut Cx<'_, '_>, sender: &str, id: MessageId, message: Message) {
    let settle = Settle {
        mailbox: sender.to_owned(),
        message: Bytes::copy_from_slice(&id.to_bytes()),
        status: Status::Error as u8,
        at: cx.now(),
        error: message.error,
        report: Bytes::copy_from_slice(&cx.mint(1).to_bytes()),
        workflow: message.workflow,
        subject: message.subject,
        local_id: message.local_id,
        ..Default::default()
    };
    cx.tell(sender, settle);
}

/// Notes that the sender was told to come again with the chunk that `content` is of, though it had completed the message.
pub fn unsaid(cx: &mut Cx<'_, '_>, sender: &str, message: &Bytes, content: u32) -> Result<(), Fault> {
    let Some(id) = MessageId::from_bytes(message) else { return Ok(()) };
    if let Some(row) = rows::sent(cx.draft, sender, id)?.filter(|m| m.chunks > 1 && m.status() != Status::Uploading) {
        let row = Message { unsaid: content, ..row };
        cx.draft.put(message_key(Table::Sent, sender, id), row.encode());
    }
    Ok(())
}

/// Takes a later chunk, or one again.
pub fn chunk(cx: &mut Cx<'_, '_>, request: &Request) -> Answer {
    let sender = &request.mailbox;
    let about = |problem: refusal::Problem| problem.about(&request.message);
    let id = MessageId::parse(&request.message).ok_or_else(|| about(refusal::no_message()))?;
    let Some(message) = rows::sent(cx.draft, sender, id)? else {
        return Err(cx.not_here(id)?.into());
    };
    let upload: Option<Upload> = read(cx.draft, Table::Uploads, message_key(Table::Uploads, sender, id))?;
    let taken = || Reply { message: Bytes::copy_from_slice(&id.to_bytes()), deliveries: true, ..Default::default() };
    let (Some(upload), Status::Uploading) = (upload, message.status()) else {
        if message.unsaid != 0 && message.unsaid == chunk_content(request) {
            return Ok(taken());
        }
        return Err(about(refusal::already_complete()).into());
    };
    if request.chunk > message.chunks {
        return Err(about(refusal::beyond_last_chunk()).into());
    }
    if request.headers.as_ref().is_none_or(|h| h.gzip != message.gzip) {
        return Err(about(refusal::changed_encoding()).into());
    }
    if request.body.is_empty() {
        return Err(about(refusal::empty_body()).into());
    }
    let upload = take_chunk(cx, request, id, &message, upload)?;
    if upload.received == message.chunks {
        finish(cx, sender, id, message, upload)?;
    } else {
        cx.draft.put(message_key(Table::Uploads, sender, id), upload.encode());
    }
    Ok(taken())
}

/// Passes a chunk on and counts it; the same one again replaces the first (last write wins, mesh.md §8).
fn take_chunk(
    cx: &mut Cx<'_, '_>,
    request: &Request,
    id: MessageId,
    message: &Message,
    mut upload: Upload,
) -> Result<Upload, Fault> {
    let part = rows::Part::decode(&request.body).map_err(|e| Fault::Row(Table::Bodies, e))?;
    let key = chunk_key(Table::UploadParts, &request.mailbox, id, request.chunk);
    match read::<UploadPart>(cx.draft, Table::UploadParts, key.clone())? {
        Some(before) => upload.size -= before.len.min(upload.size),
        None => upload.received += 1,
    }
    upload.size += part.len;
    cx.draft.put(key, UploadPart { len: part.len, ..Default::default() }.encode());
    if message.error.code.is_empty() {
        let deliver = DeliverPart {
            mailbox: message.party.mailbox.clone(),
            message: Bytes::copy_from_slice(&id.to_bytes()),
            chunk: request.chunk,
            part: request.body.clone(),
            ..Default::default()
        };
        cx.tell(&message.party.mailbox, deliver);
    }
    Ok(upload)
}

/// All chunks are there: the message is accepted now, and its clock starts (mesh.md §18).
fn finish(cx: &mut Cx<'_, '_>, sender: &str, id: MessageId, mut message: Message, upload: Upload) -> Result<(), Fault> {
    message.status = Status::Accepted as u8;
    (message.size, message.accepted, message.expires) = (upload.size, cx.now(), cx.expiry());
    cx.draft.put(message_key(Table::Sent, sender, id), message.encode());
    close_upload(cx, sender, id)?;
    if message.error.code.is_empty() {
        let complete = Complete {
            mailbox: message.party.mailbox.clone(),
            message: Bytes::copy_from_slice(&id.to_bytes()),
            size: message.size,
            at: message.accepted,
            expires: message.expires,
            service: registry::mailbox(cx.draft.site(), &message.party.mailbox)?.map_or(0, |row| row.service),
            ..Default::default()
        };
        cx.tell(&message.party.mailbox, complete);
    } else {
        report_unroutable(cx, sender, id, message);
    }
    Ok(())
}

/// Removes an upload's own rows; many chunks in batches.
pub fn close_upload(cx: &mut Cx<'_, '_>, sender: &str, id: MessageId) -> Result<(), Fault> {
    cx.draft.delete(message_key(Table::Uploads, sender, id));
    timers::sweep_upload(cx, sender, id)
}

/// Gives an upload up that was not finished in time (mesh.md §8): no report, since nothing was accepted.
pub fn abandon(cx: &mut Cx<'_, '_>, sender: &str, id: MessageId, at: EpochMillis) -> Result<(), Fault> {
    if let Some(mut message) = rows::sent(cx.draft, sender, id)? {
        (message.status, message.settled) = (Status::Undeliverable as u8, at);
        cx.draft.put(message_key(Table::Sent, sender, id), message.encode());
        if message.error.code.is_empty() {
            let mailbox = message.party.mailbox.clone();
            let message = Bytes::copy_from_slice(&id.to_bytes());
            let complete = Complete { mailbox: mailbox.clone(), message, at, abandoned: true, ..Default::default() };
            cx.tell(&mailbox, complete);
        }
    }
    close_upload(cx, sender, id)
}

/// Up to `limit` of a sender's unfinished uploads, oldest first.
pub fn uploads(reader: &dyn Reader, sender: &str, limit: usize) -> Result<Vec<(MessageId, Upload)>, Fault> {
    let rows = reader.scan(Table::Uploads.key().text(sender).prefix(), false, limit)?;
    let read = |(key, value): (Bytes, Bytes)| {
        let upload = Upload::decode(&value).map_err(|e| Fault::Row(Table::Uploads, e))?;
        Ok((rows::id_at_end(Table::Uploads, &key)?, upload))
    };
    rows.into_iter().map(read).collect()
}
