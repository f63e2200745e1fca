//! From a reply to a response, in the words of version 1 or 2 (mesh.md §6, §7.2).

use super::{
    Ask, Body, Mesh, MeshOptions, Response, Route, Transfer,
    collect::list_page,
    command::Reply,
    lookup,
    query::DEFAULT_RESULTS,
    refusal::{self, JSON_V1, JSON_V2, Problem, generic},
    rich,
    rows::{self, Message, Part},
    track,
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
use std::io::Read;

/// Inbox rows read for one page. Version 2 goes on behind a short page by its link; version 1 takes one for the end
/// (mesh.md §14), so its filtered pages may look further.
const VIEW_ROWS: [usize; 2] = [100_000, 10_000];
/// An inline body is inflated in memory up to this; a denser one goes out as gzip, whatever the client accepts.
const MAX_INFLATED: u64 = 8 << 20;

pub(super) type Headers = Vec<(&'static str, Bytes)>;

impl Mesh {
    /// Renders the answer. `site`: this node's registry; `view`: the mailbox's partition at or after the reply's index,
    /// where [`Reply::needs_view`] asked for it. A fault is ours, for the log and a 500.
    pub fn answer(
        &self,
        ask: &Ask,
        reply: &Reply,
        site: &dyn Reader,
        view: Option<&dyn Reader>,
    ) -> Result<Response, Fault> {
        if let Some(refused) = &reply.problem {
            let id = MessageId::parse(&refused.message_id);
            return Ok(match (view, id) {
                // Another partition knows the message, so it is another's.
                (Some(view), Some(id)) if refused.probe != 0 && rows::known(view, id)? => {
                    problem(&refusal::forbidden().about(id), ask.version)
                }
                _ => problem(refused, ask.version),
            });
        }
        let json_type = if ask.version < 2 { JSON_V1 } else { JSON_V2 };
        let partition = || view.ok_or_else(|| Fault::Other("mesh answer without its view".into()));
        Ok(match &ask.route {
            Route::Handshake { mailbox } => ok_or_empty(ask.version, "mailboxId", mailbox),
            Route::UpdateProbe { .. } => empty(200),
            Route::List { mailbox, .. } => self.listing(ask, reply, mailbox, view)?,
            Route::Count { .. } => json(200, json_type, count(ask.version, reply)),
            Route::Download { mailbox, chunk, .. } => download(ask, reply, mailbox, chunk.unwrap_or(1))?,
            Route::Head { mailbox, .. } => {
                let (id, message) = message_of(reply)?;
                let mut headers = head(ask, reply, mailbox, id, &message, 1);
                encoding(&mut headers, &message, message.gzip && ask.gzip);
                Response { status: 200, headers, body: Body::Empty }
            }
            Route::Acknowledge { .. } => ok_or_empty(ask.version, "messageId", &id_text(reply)),
            Route::Send { .. } => json(202, json_type, sent(ask.version, reply, None)),
            Route::SendChunk { chunk, .. } => json(202, json_type, sent(ask.version, reply, *chunk)),
            Route::Track { mailbox, .. } => track::response(reply, mailbox, ask.version)?,
            Route::TrackLocal { mailbox, .. } => track::response(reply, mailbox, 1)?,
            Route::RichInbox { mailbox, .. } => {
                json(200, JSON_V2, rich::page(self, ask, reply, mailbox, Table::Messages, partition()?)?)
            }
            Route::RichOutbox { mailbox, .. } => {
                json(200, JSON_V2, rich::page(self, ask, reply, mailbox, Table::Sent, partition()?)?)
            }
            Route::Lookup { ods, workflow, legacy } => {
                let version = if *legacy { 1 } else { ask.version };
                let kind = if version < 2 { JSON_V1 } else { JSON_V2 };
                json(200, kind, lookup::endpoints(site, ods, workflow, version, reply)?)
            }
            Route::WorkflowSearch { workflow } => json(200, json_type, lookup::workflow(site, workflow)?),
            Route::MailboxInfo { mailbox } | Route::AdminMailbox { mailbox } => lookup::mailbox(site, mailbox)?,
            Route::AdminReset { .. } => json(200, JSON_V1, Bytes::from_static(br#"{"message":"all mailboxes reset"}"#)),
            Route::AdminReport => json(200, JSON_V1, message_id_body(&id_text(reply))),
            Route::AdminEvent { .. } | Route::AdminMessage { .. } if reply.elsewhere => {
                problem(&refusal::plain(404, "Not Found"), ask.version)
            }
            Route::AdminEvent { .. } => json(200, JSON_V1, message_id_body(&id_text(reply))),
            Route::AdminMessage { .. } => track::admin(reply)?,
            Route::Ping => ping(&self.options),
            Route::NotFound | Route::MethodNotAllowed { .. } => problem(&refusal::plain(404, "Not Found"), 1),
        })
    }

    /// A refusal that is not the service's own: 429, 500, 503, in the shape of mesh.md §12.4. Texts are public.
    pub fn unavailable(&self, status: u16, text: &str, internal_id: &str) -> Response {
        problem(&generic(status, text, internal_id), 1)
    }

    fn listing(&self, ask: &Ask, reply: &Reply, mailbox: &str, view: Option<&dyn Reader>) -> Result<Response, Fault> {
        let (ids, next) = match view {
            Some(view) if reply.view => {
                let bound = VIEW_ROWS[usize::from(ask.version >= 2)];
                let listed = list_page(view, mailbox, &ask.page, bound)?;
                (listed.ids, listed.next)
            }
            _ => (reply.ids.chunks(11).filter_map(MessageId::from_bytes).collect(), MessageId::from_bytes(&reply.next)),
        };
        let mut list = Json::array();
        for id in &ids {
            list.item(&id.to_string());
        }
        let mut body = Json::object();
        body.raw("messages", &list.end());
        if ask.version < 2 {
            return Ok(json(200, JSON_V1, body.end()));
        }
        let mut query = vec![];
        if ask.page.max_results != DEFAULT_RESULTS {
            query.push(format!("max_results={}", ask.page.max_results));
        }
        if let Some(filter) = &ask.page.filter {
            query.push(format!("workflow_filter={}", percent_encode(filter.as_bytes())));
        }
        let link = |query: &[String]| match query {
            [] => format!("/messageexchange/{mailbox}/inbox"),
            query => format!("/messageexchange/{mailbox}/inbox?{}", query.join("&")),
        };
        let mut links = Json::object();
        links.text("self", &link(&query));
        if let Some(next) = next {
            query.push(format!("continue_from={}", self.cursor(mailbox, next)));
            links.text("next", &link(&query));
        }
        body.raw("links", &links.end()).number("approx_inbox_count", reply.count);
        Ok(json(200, JSON_V2, body.end()))
    }
}

/// A problem as a response.
pub(super) fn problem(refused: &Problem, version: u8) -> Response {
    let (body, kind) = refused.body(version);
    let mut response = json(refused.status, kind, body);
    if refused.status == 503 {
        response.headers.push(("retry-after", Bytes::from_static(b"1")));
    }
    response
}

/// Liveness in the words that clients know (mesh.md §15).
pub(super) fn ping(options: &MeshOptions) -> Response {
    let mut body = Json::object();
    body.text("env", &options.environment).text("build_label", &options.build_label);
    body.text("status", "running").text("outcome", "Yes");
    json(200, JSON_V1, body.end())
}

pub(super) fn json(status: u16, kind: &'static str, body: Bytes) -> Response {
    Response { status, headers: vec![("content-type", Bytes::from_static(kind.as_bytes()))], body: Body::Bytes(body) }
}

fn empty(status: u16) -> Response {
    Response { status, headers: vec![], body: Body::Empty }
}

/// Version 1 answers with one name and value, version 2 with nothing.
fn ok_or_empty(version: u8, name: &str, value: &str) -> Response {
    if version >= 2 {
        return empty(200);
    }
    let mut body = Json::object();
    body.text(name, value);
    json(200, JSON_V1, body.end())
}

fn message_id_body(id: &str) -> Bytes {
    let mut body = Json::object();
    body.text("message_id", id);
    body.end()
}

fn id_text(reply: &Reply) -> String {
    reply.message_id().map(|id| id.to_string()).unwrap_or_default()
}

fn sent(version: u8, reply: &Reply, chunk: Option<u32>) -> Bytes {
    if version >= 2 {
        return message_id_body(&id_text(reply));
    }
    let mut body = Json::object();
    body.text("messageID", &id_text(reply));
    if let Some(chunk) = chunk {
        body.number("blockID", u64::from(chunk));
    }
    body.end()
}

fn count(version: u8, reply: &Reply) -> Bytes {
    let mut body = Json::object();
    body.number("count", reply.count);
    if version < 2 {
        body.text("internalID", &format!("{}_{:06X}", time::compact(reply.now), reply.count & 0xff_ffff));
        body.truth("allResultsIncluded", true);
    }
    body.end()
}

/// The message that a reply carries.
pub(super) fn message_of(reply: &Reply) -> Result<(MessageId, Message), Fault> {
    let id = reply.message_id().ok_or_else(|| Fault::Other("mesh reply without a message id".into()))?;
    Ok((id, Message::decode(&reply.row).map_err(|e| Fault::Row(Table::Messages, e))?))
}

fn download(ask: &Ask, reply: &Reply, mailbox: &str, chunk: u32) -> Result<Response, Fault> {
    let (id, message) = message_of(reply)?;
    let mut headers = head(ask, reply, mailbox, id, &message, chunk);
    if message.report {
        return Ok(Response { status: 200, headers, body: Body::Empty });
    }
    let part = Part::decode(&reply.part).map_err(|e| Fault::Row(Table::Bodies, e))?;
    let (body, encoded) = body(&part, message.gzip, ask.gzip);
    encoding(&mut headers, &message, encoded);
    let status = if chunk < message.chunks { 206 } else { 200 };
    Ok(Response { status, headers, body })
}

fn encoding(headers: &mut Headers, message: &Message, encoded: bool) {
    if encoded {
        headers.push(("content-encoding", Bytes::from_static(b"gzip")));
    }
    if encoded || message.compressed {
        headers.push(("mex-content-compressed", Bytes::from_static(b"Y")));
    }
}

/// The bytes to send, and whether they are gzip.
fn body(part: &Part, gzip: bool, accepts: bool) -> (Body, bool) {
    match part.blob() {
        Some(digest) => {
            let transfer = if gzip && !accepts { Transfer::Inflate } else { Transfer::AsIs };
            (Body::Blob { digest, len: part.len, transfer }, gzip && accepts)
        }
        None if gzip && !accepts => match inflate(&part.inline) {
            Some(plain) => (Body::Bytes(plain), false),
            None => (Body::Bytes(part.inline.clone()), true),
        },
        None => (Body::Bytes(part.inline.clone()), gzip),
    }
}

/// `None` where it is not gzip after all, or too dense to inflate in memory.
fn inflate(bytes: &[u8]) -> Option<Bytes> {
    let mut plain = vec![];
    flate2::read::MultiGzDecoder::new(bytes).take(MAX_INFLATED + 1).read_to_end(&mut plain).ok()?;
    (plain.len() as u64 <= MAX_INFLATED).then(|| plain.into())
}

/// Headers of a message (mesh.md §7.2). Empty ones are left out.
fn head(ask: &Ask, reply: &Reply, mailbox: &str, id: MessageId, message: &Message, chunk: u32) -> Headers {
    let mut headers: Headers = Vec::with_capacity(24);
    let mut add = |name, value: Bytes| {
        if !value.is_empty() {
            headers.push((name, value));
        }
    };
    let text = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    let fixed = Bytes::from_static;
    // The sender may look at its own copy, in which the other party is the recipient.
    let (from, to) = match reply.own {
        Some(_) => (mailbox, message.party.mailbox.as_str()),
        None => (message.party.mailbox.as_str(), mailbox),
    };
    let whole = ask.version >= 2 && message.chunks <= 1 && !message.content_type.is_empty();
    let content_type = if whole { message.content_type.clone() } else { fixed(b"application/octet-stream") };
    add("content-type", content_type);
    add("last-modified", text(&time::http_date(message.changed(id))));
    add("mex-from", text(from));
    add("mex-to", text(to));
    add("mex-workflowid", message.workflow.clone());
    add("mex-messageid", text(&id.to_string()));
    add("mex-messagetype", fixed(if message.report { b"REPORT" } else { b"DATA" }));
    add("mex-addresstype", fixed(b"ALL"));
    add("mex-version", fixed(b"1.0"));
    add("mex-localid", message.local_id.clone());
    add("mex-partnerid", message.partner_id.clone());
    add("mex-subject", message.subject.clone());
    let named = if message.file_name.is_empty() { format!("{id}.dat").into() } else { message.file_name.clone() };
    add("mex-filename", named);
    let at = if message.accepted == 0 { id.millis() } else { message.accepted };
    add("mex-statustimestamp", text(&time::compact(at)));
    if message.report {
        add("mex-statuscode", text(&message.error.code));
        add("mex-statusevent", text(&message.error.event));
        add("mex-statusdescription", text(&message.error.text));
        add("mex-statussuccess", fixed(b"ERROR"));
        add("mex-linkedmsgid", message.linked_id().map(|id| text(&id.to_string())).unwrap_or_default());
        return headers;
    }
    add("mex-chunk-range", text(&format!("{chunk}:{}", message.chunks)));
    add("mex-total-chunks", text(&message.chunks.to_string()));
    add("mex-content-checksum", message.checksum.clone());
    add("mex-content-type", message.content_type.clone());
    add("mex-content-encrypted", fixed(if message.encrypted { b"Y" } else { b"" }));
    add("mex-statuscode", fixed(b"00"));
    add("mex-statusevent", fixed(b"TRANSFER"));
    add("mex-statusdescription", fixed(b"Transferred to recipient mailbox"));
    add("mex-statussuccess", fixed(b"SUCCESS"));
    headers
}
