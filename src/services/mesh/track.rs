//! Tracking by the sender (mesh.md §10), and the test mode's view of a message (§15).

use super::{
    Response,
    answer::{json, message_of},
    command::{Reply, Request},
    decide::{Answer, Cx, party},
    refusal::{self, JSON_V1, JSON_V2},
    rows::{self, Message, Party, Status},
};
use crate::{
    engine::draft::Fault,
    model::{MessageId, time},
    services::directory::rows::Mailbox,
    store::{Reader, tables::Table},
    wire::mesh::json::Json,
};
use bytes::Bytes;

/// Tracks by message id. Another's message is as unknown as none.
pub fn by_id(cx: &mut Cx<'_, '_>, request: &Request, own: &Mailbox) -> Answer {
    let not_found = || refusal::not_found().about(&request.message);
    let id = MessageId::parse(request.message.trim()).ok_or_else(not_found)?;
    let message = rows::sent(cx.draft, &request.mailbox, id)?.ok_or_else(not_found)?;
    Ok(tracked(id, &message, party(&request.mailbox, own)))
}

/// Tracks by local id: 300 where more than one message has it.
pub fn by_local_id(cx: &mut Cx<'_, '_>, request: &Request, own: &Mailbox) -> Answer {
    let range = Table::LocalIds.key().text(&request.mailbox).text(&request.local_id).prefix();
    let found = cx.draft.scan(range, false, 2)?;
    let key = match found.as_slice() {
        [] => return Err(refusal::not_found().into()),
        [(key, _)] => key,
        _ => return Err(refusal::multiple_choices().into()),
    };
    let id = rows::id_at_end(Table::LocalIds, key)?;
    let message = rows::sent(cx.draft, &request.mailbox, id)?.ok_or_else(refusal::not_found)?;
    Ok(tracked(id, &message, party(&request.mailbox, own)))
}

fn tracked(id: MessageId, message: &Message, own: Party) -> Reply {
    use crate::wire::record::Record;
    let message_id = Bytes::copy_from_slice(&id.to_bytes());
    Reply { message: message_id, row: message.encode(), own: Some(own), ..Default::default() }
}

/// The tracking body of either version.
pub fn response(reply: &Reply, mailbox: &str, version: u8) -> Result<Response, Fault> {
    let (id, message) = message_of(reply)?;
    let own = reply.own.clone().unwrap_or_else(|| Party { mailbox: mailbox.to_owned(), ..Default::default() });
    Ok(if version < 2 {
        json(200, JSON_V1, first_version(id, &message, &own))
    } else {
        json(200, JSON_V2, second_version(id, &message))
    })
}

/// Whether what went wrong is to be told: not before it has.
fn failed(message: &Message) -> bool {
    matches!(message.status(), Status::Undeliverable | Status::Error)
}

fn file_name(id: MessageId, message: &Message) -> Bytes {
    if message.file_name.is_empty() { format!("{id}.dat").into() } else { message.file_name.clone() }
}

fn second_version(id: MessageId, message: &Message) -> Bytes {
    let to = &message.party;
    let mut body = Json::object();
    body.text("message_id", &id.to_string())
        .some_bytes("local_id", &message.local_id)
        .some_bytes("workflow_id", &message.workflow)
        .bytes("filename", &file_name(id, message))
        .text("expiry_time", &time::iso(message.expires))
        .text("upload_timestamp", &time::iso(id.millis()))
        .some("recipient", &to.mailbox)
        .some("recipient_name", &to.name)
        .some("recipient_ods_code", &to.ods)
        .some("recipient_org_code", &to.org_code)
        .some("recipient_org_name", &to.org_name)
        .text("status", message.status().word())
        .truth("status_success", !failed(message));
    if failed(message) && !message.error.code.is_empty() {
        body.text("status_event", &message.error.event)
            .text("status_timestamp", &time::iso(message.changed(id)))
            .text("status_description", &message.error.text)
            .text("status_code", &message.error.code);
    }
    body.end()
}

/// A mailbox as the mail address it once had; empty for none.
pub fn smtp(mailbox: &str) -> String {
    if mailbox.is_empty() { String::new() } else { format!("{}@dts.nhs.uk", mailbox.to_lowercase()) }
}

fn yes(flag: bool) -> &'static str {
    if flag { "Y" } else { "" }
}

fn first_version(id: MessageId, message: &Message, own: &Party) -> Bytes {
    let to = &message.party;
    let name = id.to_string();
    let mut body = Json::object();
    body.text("messageId", &name)
        .text("dtsId", &name)
        .bytes("localId", &message.local_id)
        .bytes("workflowId", &message.workflow)
        .bytes("subject", &message.subject)
        .bytes("fileName", &file_name(id, message))
        .bytes("checksum", &message.checksum)
        .bytes("partnerId", &message.partner_id)
        .number("fileSize", message.size)
        .number("chunkCount", u64::from(message.chunks))
        .text("messageType", if message.report { "Report" } else { "Data" })
        .text("status", message.status().title())
        .text("statusSuccess", if failed(message) { "ERROR" } else { "SUCCESS" })
        .text("uploadTimestamp", &time::compact(id.millis()))
        .text("expiryTime", &time::compact(message.expires))
        .text("downloadTimestamp", &downloaded(message, time::compact))
        .text("addressType", "ALL")
        .text("version", "1.0")
        .text("contentEncoding", if message.gzip { "gzip" } else { "" })
        .text("compressFlag", yes(message.gzip))
        .text("isCompressed", yes(message.compressed || message.gzip))
        .text("encryptedFlag", yes(message.encrypted));
    if failed(message) && !message.error.code.is_empty() {
        body.text("failureDate", &time::compact(message.changed(id))).text("failureDiagnostic", &message.error.text);
    }
    body.text("recipient", &to.mailbox)
        .text("recipientName", &to.name)
        .text("recipientOrgCode", &to.org_code)
        .text("recipientOrgName", &to.org_name)
        .text("meshRecipientOdsCode", &to.ods)
        .text("recipientBillingEntity", &to.billing)
        .text("recipientSmtp", &smtp(&to.mailbox))
        .text("sender", &own.mailbox)
        .text("senderName", &own.name)
        .text("senderOdsCode", &own.ods)
        .text("senderOrgCode", &own.org_code)
        .text("senderOrgName", &own.org_name)
        .text("senderBillingEntity", &own.billing)
        .text("senderSmtp", &smtp(&own.mailbox));
    body.end()
}

fn downloaded(message: &Message, form: fn(u64) -> String) -> String {
    if message.status() == Status::Acknowledged { form(message.settled) } else { String::new() }
}

/// The test mode's view: a superset of tracking in snake case (mesh.md §15).
pub fn admin(reply: &Reply) -> Result<Response, Fault> {
    let (id, message) = message_of(reply)?;
    let holder = reply.own.clone().unwrap_or_default();
    // In a recipient's copy the other party is the sender, in a sender's the recipient.
    let (from, to) = if reply.count == 1 { (&holder, &message.party) } else { (&message.party, &holder) };
    let failed = failed(&message) || message.report;
    let mut body = Json::object();
    body.text("message_id", &id.to_string())
        .bytes("local_id", &message.local_id)
        .bytes("workflow_id", &message.workflow)
        .bytes("subject", &message.subject)
        .bytes("file_name", &file_name(id, &message))
        .bytes("checksum", &message.checksum)
        .bytes("partner_id", &message.partner_id)
        .number("file_size", message.size)
        .number("chunk_count", u64::from(message.chunks))
        .text("message_type", if message.report { "Report" } else { "Data" })
        .text("status", message.status().title())
        .text("status_success", if failed { "ERROR" } else { "SUCCESS" })
        .text("status_code", &message.error.code)
        .text("status_event", &message.error.event)
        .text("status_description", &message.error.text)
        .text("status_timestamp", &time::iso(message.changed(id)))
        .text("upload_timestamp", &time::iso(id.millis()))
        .text("expiry_time", &time::iso(message.expires))
        .text("download_timestamp", &downloaded(&message, time::iso))
        .text("content_encoding", if message.gzip { "gzip" } else { "" })
        .text("is_compressed", yes(message.compressed || message.gzip))
        .text("is_encrypted", yes(message.encrypted))
        .text("linked_msg_id", &message.linked_id().map(|id| id.to_string()).unwrap_or_default());
    for (side, party) in [("sender", from), ("recipient", to)] {
        body.text(side, &party.mailbox)
            .text(&format!("{side}_name"), &party.name)
            .text(&format!("{side}_ods_code"), &party.ods)
            .text(&format!("{side}_org_code"), &party.org_code)
            .text(&format!("{side}_org_name"), &party.org_name);
    }
    Ok(json(200, JSON_V1, body.end()))
}
