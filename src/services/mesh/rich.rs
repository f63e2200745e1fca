//! The detailed listings that user interfaces use (mesh.md §6.9): newest first, acknowledged messages included.

use super::{
    Ask, Mesh,
    command::Reply,
    rows::{self, Message, message_key},
};
use crate::{
    engine::draft::Fault,
    model::{MessageId, time},
    store::{Reader, tables::Table},
    wire::{
        mesh::{json::Json, percent_encode},
        record::Record,
    },
};
use bytes::Bytes;

/// Without a start, the listing reaches back this far.
const DEFAULT_SPAN: u64 = 30 * 24 * 60 * 60 * 1000;

/// One page. `table`: `Messages` for the inbox, `Sent` for the outbox.
pub fn page(
    mesh: &Mesh,
    ask: &Ask,
    reply: &Reply,
    mailbox: &str,
    table: Table,
    view: &dyn Reader,
) -> Result<Bytes, Fault> {
    let start = if ask.page.start == 0 { reply.now.saturating_sub(DEFAULT_SPAN) } else { ask.page.start };
    let whole = table.key().text(mailbox).prefix();
    let from = message_key(table, mailbox, MessageId::first_of(start)).build();
    let to = match MessageId::from_bytes(&ask.page.after) {
        Some(before) => message_key(table, mailbox, before).build(),
        None => whole.end,
    };
    let wanted = ask.page.max_results as usize;
    let rows = view.scan(from..to, true, wanted + 1)?;
    let more = rows.len() > wanted;
    let mut list = Json::array();
    let mut last = None;
    let own = reply.own.clone().unwrap_or_default();
    for (key, value) in rows.into_iter().take(wanted) {
        let id = rows::id_at_end(table, &key)?;
        let message = Message::decode(&value).map_err(|e| Fault::Row(table, e))?;
        last = Some(id);
        // A recipient sees nothing of a message that is not complete (mesh.md §8); such a page is short.
        if table == Table::Sent || message.accepted != 0 {
            list.raw_item(&line(id, &message, &own, table == Table::Sent));
        }
    }
    let side = if table == Table::Sent { "outbox" } else { "inbox" };
    let link = format!(
        "/messageexchange/{mailbox}/{side}/rich?start_time={}&max_results={wanted}",
        percent_encode(time::iso(start).as_bytes())
    );
    let mut links = Json::object();
    links.text("self", &link);
    if let (true, Some(last)) = (more, last) {
        links.text("next", &format!("{link}&continue_from={}", mesh.cursor(mailbox, last)));
    }
    let mut body = Json::object();
    body.text("valid_at", &time::iso(reply.now)).raw("messages", &list.end()).raw("links", &links.end());
    Ok(body.end())
}

fn line(id: MessageId, message: &Message, own: &rows::Party, outbox: bool) -> Bytes {
    let (sender, recipient) = if outbox { (own, &message.party) } else { (&message.party, own) };
    let sent = if outbox || message.accepted == 0 { id.millis() } else { message.accepted };
    let mut line = Json::object();
    line.text("message_id", &id.to_string()).text("expiry_timestamp", &time::iso(message.expires));
    let kind = if message.report { "REPORT" } else { "DATA" };
    if outbox {
        line.bytes("local_id", &message.local_id).text("message_type", kind);
    } else {
        line.some_bytes("local_id", &message.local_id).text("message_type", kind);
    }
    line.text("recipient", &recipient.mailbox);
    if outbox {
        line.text("recipient_name", &recipient.name);
    } else {
        line.some("recipient_name", &recipient.name);
    }
    line.text("sender", &sender.mailbox).some("sender_name", &sender.name).text("sent_date", &time::iso(sent));
    line.text("status", message.status().word());
    if outbox {
        line.text("status_code", &message.error.code).bytes("workflow_id", &message.workflow);
    } else {
        line.some("status_code", &message.error.code).some_bytes("workflow_id", &message.workflow);
    }
    line.number("total_chunks", u64::from(message.chunks));
    line.end()
}
