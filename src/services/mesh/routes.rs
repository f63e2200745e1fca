//! Every MESH interaction by method and path (mesh.md §5, §6, §10, §11, §15), parameters already parsed.
//!
//! `inbox/rich`, `outbox/rich` and `outbox/tracking` win over ids; `endpointlookup`, `workflowsearch`, `mailbox`,
//! `admin` and the pings win over mailboxes.

use crate::wire::mesh::percent_decode;

/// Longest path segment that can name anything: a workflow id of 300 characters, percent-encoded, is far below.
const MAX_SEGMENT: usize = 4096;

/// One interaction. Mailbox and message ids are upper case; other texts as sent, percent-decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    Ping,
    Handshake {
        mailbox: String,
    },
    /// The Java client asks whether it should update itself.
    UpdateProbe {
        mailbox: String,
    },
    List {
        mailbox: String,
        query: Query,
    },
    Count {
        mailbox: String,
    },
    /// `chunk` is `None` where the path holds no valid number (400).
    Download {
        mailbox: String,
        message: String,
        chunk: Option<u32>,
    },
    Head {
        mailbox: String,
        message: String,
    },
    Acknowledge {
        mailbox: String,
        message: String,
    },
    Send {
        mailbox: String,
    },
    SendChunk {
        mailbox: String,
        message: String,
        chunk: Option<u32>,
    },
    /// `message` is `None` where the query lacks `messageID` (400).
    Track {
        mailbox: String,
        message: Option<String>,
    },
    TrackLocal {
        mailbox: String,
        local_id: Vec<u8>,
    },
    RichInbox {
        mailbox: String,
        query: Query,
    },
    RichOutbox {
        mailbox: String,
        query: Query,
    },
    /// `legacy`: the old address, which always answers in version 1.
    Lookup {
        ods: String,
        workflow: String,
        legacy: bool,
    },
    WorkflowSearch {
        workflow: String,
    },
    MailboxInfo {
        mailbox: String,
    },
    /// Test mode only, like all that follow; elsewhere answered with 404.
    AdminReset {
        mailbox: Option<String>,
    },
    AdminReport,
    AdminEvent {
        message: String,
    },
    AdminMailbox {
        mailbox: String,
    },
    AdminMessage {
        message: String,
    },
    NotFound,
    MethodNotAllowed {
        allow: &'static str,
    },
}

/// The query parameters of the listings, as sent and percent-decoded; checked by `ask`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    pub max_results: Option<String>,
    pub continue_from: Option<String>,
    pub workflow_filter: Option<String>,
    pub start_time: Option<String>,
}

/// What the edge does with a request's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyRule {
    /// Read and thrown away, up to a small bound.
    Ignored,
    /// A message or chunk: inline up to [`INLINE_LIMIT`](super::INLINE_LIMIT), else to the blob store.
    Payload,
    /// A small JSON document of the test mode, inline only.
    Json,
}

impl Route {
    /// Stable dotted name for audit, metrics and logs.
    pub fn name(&self) -> &'static str {
        match self {
            Route::Ping => "mesh.ping",
            Route::Handshake { .. } => "mesh.handshake",
            Route::UpdateProbe { .. } => "mesh.update",
            Route::List { .. } => "mesh.list",
            Route::Count { .. } => "mesh.count",
            Route::Download { .. } => "mesh.download",
            Route::Head { .. } => "mesh.head",
            Route::Acknowledge { .. } => "mesh.acknowledge",
            Route::Send { .. } => "mesh.send",
            Route::SendChunk { .. } => "mesh.send_chunk",
            Route::Track { .. } => "mesh.track",
            Route::TrackLocal { .. } => "mesh.track_local",
            Route::RichInbox { .. } => "mesh.inbox_rich",
            Route::RichOutbox { .. } => "mesh.outbox_rich",
            Route::Lookup { .. } => "mesh.lookup",
            Route::WorkflowSearch { .. } => "mesh.workflow_search",
            Route::MailboxInfo { .. } => "mesh.mailbox",
            Route::AdminReset { .. } => "mesh.admin_reset",
            Route::AdminReport => "mesh.admin_report",
            Route::AdminEvent { .. } => "mesh.admin_event",
            Route::AdminMailbox { .. } => "mesh.admin_mailbox",
            Route::AdminMessage { .. } => "mesh.admin_message",
            Route::NotFound => "mesh.not_found",
            Route::MethodNotAllowed { .. } => "mesh.method_not_allowed",
        }
    }

    /// The mailbox that must authenticate with a token, for the interactions that need one (mesh.md §3).
    pub fn authenticates(&self) -> Option<&str> {
        match self {
            Route::Handshake { mailbox }
            | Route::UpdateProbe { mailbox }
            | Route::List { mailbox, .. }
            | Route::Count { mailbox }
            | Route::Download { mailbox, .. }
            | Route::Head { mailbox, .. }
            | Route::Acknowledge { mailbox, .. }
            | Route::Send { mailbox }
            | Route::SendChunk { mailbox, .. }
            | Route::Track { mailbox, .. }
            | Route::TrackLocal { mailbox, .. }
            | Route::RichInbox { mailbox, .. }
            | Route::RichOutbox { mailbox, .. } => Some(mailbox),
            _ => None,
        }
    }

    pub fn body(&self) -> BodyRule {
        match self {
            Route::Send { .. } | Route::SendChunk { .. } => BodyRule::Payload,
            Route::AdminReport | Route::AdminEvent { .. } => BodyRule::Json,
            _ => BodyRule::Ignored,
        }
    }

    /// Whether the interaction exists only where test endpoints are switched on.
    pub fn test_only(&self) -> bool {
        matches!(
            self,
            Route::AdminReset { .. }
                | Route::AdminReport
                | Route::AdminEvent { .. }
                | Route::AdminMailbox { .. }
                | Route::AdminMessage { .. }
        )
    }
}

/// Names the interaction. `path` and `query` as they came, still percent-encoded, `query` without its `?`.
pub fn route(method: &str, path: &str, query: &str) -> Route {
    let path = path.strip_suffix('/').unwrap_or(path);
    let mut parts = path.split('/').skip(1);
    let Some(first) = parts.next() else { return Route::NotFound };
    let rest: Vec<&str> = parts.collect();
    if rest.iter().any(|part| part.is_empty() || part.len() > MAX_SEGMENT) || rest.len() > 16 {
        return Route::NotFound;
    }
    let get = |route: Route| if method == "GET" { route } else { Route::MethodNotAllowed { allow: "GET" } };
    match (first, rest.as_slice()) {
        ("_ping" | "_status" | "health" | "healthcheck", []) => get(Route::Ping),
        ("messageexchange", ["_ping" | "deepping"]) => get(Route::Ping),
        ("messageexchange", ["endpointlookup", ods, workflow]) => get(lookup(ods, workflow, false)),
        ("endpointlookup", ["mesh", ods, workflow]) => get(lookup(ods, workflow, true)),
        ("messageexchange", ["workflowsearch", workflow]) => {
            get(text(workflow).map_or(Route::NotFound, |workflow| Route::WorkflowSearch { workflow }))
        }
        ("messageexchange", ["mailbox", id]) => {
            get(upper(id).map_or(Route::NotFound, |mailbox| Route::MailboxInfo { mailbox }))
        }
        ("admin", rest) | ("messageexchange", ["admin", rest @ ..]) => admin(method, rest),
        ("messageexchange", ["endpointlookup" | "workflowsearch" | "mailbox" | "_ping" | "deepping", ..]) => {
            Route::NotFound
        }
        ("messageexchange", [mailbox, rest @ ..]) => match upper(mailbox) {
            Some(mailbox) => of_mailbox(method, mailbox, rest, query),
            None => Route::NotFound,
        },
        _ => Route::NotFound,
    }
}

fn of_mailbox(method: &str, mailbox: String, rest: &[&str], query: &str) -> Route {
    let (allow, route) = match rest {
        [] => ("GET, POST", Route::Handshake { mailbox }),
        ["update"] => ("POST", Route::UpdateProbe { mailbox }),
        ["count"] => ("GET", Route::Count { mailbox }),
        ["inbox"] => ("GET", Route::List { mailbox, query: parse_query(query) }),
        ["inbox", "rich"] => ("GET", Route::RichInbox { mailbox, query: parse_query(query) }),
        ["inbox", id] => match (method, upper(id)) {
            ("HEAD", Some(message)) => ("GET, HEAD", Route::Head { mailbox, message }),
            (_, Some(message)) => ("GET, HEAD", Route::Download { mailbox, message, chunk: Some(1) }),
            _ => return Route::NotFound,
        },
        ["inbox", id, "status", "acknowledged"] => match upper(id) {
            Some(message) => ("PUT", Route::Acknowledge { mailbox, message }),
            None => return Route::NotFound,
        },
        ["inbox", id, chunk] => match upper(id) {
            Some(message) => ("GET", Route::Download { mailbox, message, chunk: chunk_number(chunk) }),
            None => return Route::NotFound,
        },
        ["outbox"] => ("POST", Route::Send { mailbox }),
        ["outbox", "rich"] => ("GET", Route::RichOutbox { mailbox, query: parse_query(query) }),
        ["outbox", "tracking"] => {
            let message = parameter(query, "messageID").map(|id| id.to_uppercase()).filter(|id| !id.trim().is_empty());
            ("GET", Route::Track { mailbox, message })
        }
        // A local id may hold a slash that its sender did not encode.
        ["outbox", "tracking", local_id @ ..] => {
            ("GET", Route::TrackLocal { mailbox, local_id: percent_decode(&local_id.join("/")) })
        }
        ["outbox", id, chunk] => match upper(id) {
            Some(message) => ("POST", Route::SendChunk { mailbox, message, chunk: chunk_number(chunk) }),
            None => return Route::NotFound,
        },
        _ => return Route::NotFound,
    };
    if allow.split(", ").any(|allowed| allowed == method) { route } else { Route::MethodNotAllowed { allow } }
}

fn admin(method: &str, rest: &[&str]) -> Route {
    let (allow, route) = match rest {
        ["reset"] => ("DELETE", Some(Route::AdminReset { mailbox: None })),
        ["reset", id] => ("DELETE", upper(id).map(|id| Route::AdminReset { mailbox: Some(id) })),
        ["report"] => ("POST", Some(Route::AdminReport)),
        ["message", id, "event"] => ("POST", upper(id).map(|message| Route::AdminEvent { message })),
        ["message", id] => ("GET", upper(id).map(|message| Route::AdminMessage { message })),
        ["mailbox", id] => ("GET", upper(id).map(|mailbox| Route::AdminMailbox { mailbox })),
        _ => ("", None),
    };
    match route {
        None => Route::NotFound,
        Some(route) if method == allow => route,
        Some(_) => Route::MethodNotAllowed { allow },
    }
}

fn lookup(ods: &str, workflow: &str, legacy: bool) -> Route {
    match (upper(ods), text(workflow)) {
        (Some(ods), Some(workflow)) => Route::Lookup { ods, workflow, legacy },
        _ => Route::NotFound,
    }
}

fn text(segment: &str) -> Option<String> {
    String::from_utf8(percent_decode(segment)).ok()
}

fn upper(segment: &str) -> Option<String> {
    text(segment).map(|text| text.to_uppercase())
}

/// Chunk numbers are 1-based (mesh.md §8); `None` for anything else. One too large to count is beyond every message.
fn chunk_number(segment: &str) -> Option<u32> {
    let text = text(segment)?;
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u32::MAX)).filter(|n| *n >= 1)
}

fn parse_query(query: &str) -> Query {
    Query {
        max_results: parameter(query, "max_results"),
        continue_from: parameter(query, "continue_from"),
        workflow_filter: parameter(query, "workflow_filter"),
        start_time: parameter(query, "start_time"),
    }
}

/// The last value of a parameter, as frameworks of the reference do.
fn parameter(query: &str, name: &str) -> Option<String> {
    let mut values = query.split('&').filter_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (percent_decode(key) == name.as_bytes()).then_some(value)
    });
    values.next_back().map(|value| String::from_utf8_lossy(&percent_decode(&value.replace('+', " "))).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixed_words_win_over_ids() {
        let m = || "X26ABC1".to_owned();
        let on = |method, path| route(method, path, "");
        assert_eq!(on("GET", "/messageexchange/x26abc1"), Route::Handshake { mailbox: m() });
        assert_eq!(on("POST", "/messageexchange/X26ABC1/"), Route::Handshake { mailbox: m() });
        assert_eq!(on("GET", "/messageexchange/_ping"), Route::Ping);
        assert!(matches!(on("GET", "/messageexchange/X26ABC1/inbox/rich"), Route::RichInbox { .. }));
        assert!(matches!(on("GET", "/messageexchange/X26ABC1/outbox/rich"), Route::RichOutbox { .. }));
        assert!(matches!(on("GET", "/messageexchange/X26ABC1/outbox/tracking"), Route::Track { message: None, .. }));
        assert_eq!(on("GET", "/messageexchange/mailbox"), Route::NotFound);
        assert_eq!(on("GET", "/messageexchange/mailbox/x26abc1"), Route::MailboxInfo { mailbox: m() });
        assert_eq!(on("DELETE", "/messageexchange/admin/reset/x26abc1"), Route::AdminReset { mailbox: Some(m()) });
        assert_eq!(on("GET", "/messageexchange"), Route::NotFound);
        assert_eq!(on("GET", "/"), Route::NotFound);
        assert_eq!(on("GET", "/messageexchange//inbox"), Route::NotFound);
    }

    #[test]
    fn parameters_are_decoded_and_chunks_are_numbers_from_one() {
        let chunk = |n: &str| match route("GET", &format!("/messageexchange/A/inbox/id/{n}"), "") {
            Route::Download { chunk, .. } => chunk,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            [chunk("1"), chunk("%31"), chunk("0"), chunk("x"), chunk("-1"), chunk("99999999999")],
            [Some(1), Some(1), None, None, None, Some(u32::MAX)]
        );
        let Route::List { query, .. } =
            route("GET", "/messageexchange/A/inbox", "workflow_filter=%21a+b&max_results=10")
        else {
            panic!()
        };
        assert_eq!((query.workflow_filter.as_deref(), query.max_results.as_deref()), (Some("!a b"), Some("10")));
        assert_eq!(
            route("GET", "/endpointlookup/mesh/x26/My%20Flow", ""),
            Route::Lookup { ods: "X26".into(), workflow: "My Flow".into(), legacy: true }
        );
        assert_eq!(
            route("GET", "/messageexchange/A/outbox/tracking/a%2Fb/c", ""),
            Route::TrackLocal { mailbox: "A".into(), local_id: b"a/b/c".to_vec() }
        );
    }

    #[test]
    fn wrong_methods_say_which_are_right() {
        for (method, path, allow) in [
            ("PUT", "/messageexchange/A", "GET, POST"),
            ("GET", "/messageexchange/A/outbox", "POST"),
            ("DELETE", "/messageexchange/A/inbox/x", "GET, HEAD"),
            ("POST", "/messageexchange/A/inbox/x/status/acknowledged", "PUT"),
            ("POST", "/messageexchange/_ping", "GET"),
            ("GET", "/admin/reset", "DELETE"),
        ] {
            assert_eq!(route(method, path, ""), Route::MethodNotAllowed { allow }, "{path}");
        }
    }
}
