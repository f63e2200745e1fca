//! From a reply to a response, in the words of version 1 or 2 (mesh.md §6, §7.2).

use super::{
    Ask, Body, Mesh, MeshOptions, Response, Route,
    collect::list_page,
    command::Reply,
    download, lookup,
    query::DEFAULT_RESULTS,
    refusal::{self, JSON_V1, JSON_V2, Problem, generic},
    rich,
    rows::{self, Message},
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

/// Inbox rows read for one page. Version 2 goes on behind a short page by its link; version 1 takes one for the end
/// (mesh.md §14), so its filtered pages may look further.
const VIEW_ROWS: [usize; 2] = [100_000, 10_000];

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
            Route::Download { mailbox, chunk, .. } => download::chunk(ask, reply, mailbox, chunk.unwrap_or(1))?,
            Route::Head { mailbox, .. } => download::head(ask, reply, mailbox)?,
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
