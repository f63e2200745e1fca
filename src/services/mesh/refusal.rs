//! Every error of mesh.md §12 and §3.1, once, and how each reads in version 1 and 2.
//!
//! A problem travels in commands and replies, so it is a record. Its texts are the specification's own; none holds
//! anything a caller sent but header and parameter names (P10).

use crate::{record, wire::mesh::json::Json};
use bytes::Bytes;

record! {
    /// Why a request was refused.
    pub struct Problem v1 {
        1 => status: u16,
        2 => event: String,
        3 => code: String,
        4 => text: String,
        /// A whole JSON body that is the same in both versions (validation, unknown paths); else empty.
        5 => whole: Bytes,
        6 => message_id: String,
        /// The partition that would know the message if it is another mailbox's; 0 for none to ask.
        7 => probe: u16,
    }
}

impl Problem {
    fn new(status: u16, event: &str, code: &str, text: &str) -> Self {
        Problem { status, event: event.into(), code: code.into(), text: text.into(), ..Default::default() }
    }

    /// What the audit trail calls it: the code, or the status where there is none.
    pub fn outcome(&self) -> String {
        match (self.code.is_empty(), self.whole.is_empty()) {
            (false, _) => self.code.clone(),
            (true, true) => self.status.to_string(),
            (true, false) => format!("{} invalid", self.status),
        }
    }

    pub fn about(mut self, message_id: impl ToString) -> Self {
        self.message_id = message_id.to_string();
        self
    }

    /// The body, and its content type.
    pub fn body(&self, version: u8) -> (Bytes, &'static str) {
        if !self.whole.is_empty() {
            return (self.whole.clone(), JSON_V1);
        }
        let mut json = Json::object();
        if version < 2 {
            json.some("messageID", &self.message_id);
            json.text("errorEvent", &self.event).text("errorCode", &self.code).text("errorDescription", &self.text);
            return (json.end(), JSON_V1);
        }
        json.some("message_id", &self.message_id);
        let mut detail = Json::object();
        detail.text("event", &self.event).text("code", &self.code).text("msg", &self.text);
        json.raw("detail", &[b"[", detail.end().as_ref(), b"]"].concat());
        (json.end(), JSON_V2)
    }
}

/// Content type of JSON in version 1 and of validation errors.
pub const JSON_V1: &str = "application/json";
/// Content type of JSON in version 2.
pub const JSON_V2: &str = "application/vnd.mesh.v2+json";

/// One line of a validation error (mesh.md §12.3).
#[derive(Clone, Copy, Debug)]
pub struct Invalid<'a> {
    pub kind: &'a str,
    /// `header`, `query`, `path` or `body`.
    pub place: &'a str,
    pub name: &'a str,
    pub text: &'a str,
}

/// 400 in the shape of mesh.md §12.3.
pub fn validation(lines: &[Invalid<'_>]) -> Problem {
    let mut list = vec![b'['];
    for (n, line) in lines.iter().enumerate() {
        if n > 0 {
            list.push(b',');
        }
        let mut json = Json::object();
        json.text("type", line.kind);
        let mut place = Json::array();
        place.item(line.place).item(line.name);
        json.raw("loc", &place.end()).text("msg", line.text);
        list.extend_from_slice(&json.end());
    }
    list.push(b']');
    let mut json = Json::object();
    json.raw("detail", &list);
    Problem { status: 400, whole: json.end(), ..Default::default() }
}

/// 404 or 405 of mesh.md §5.
pub fn plain(status: u16, text: &str) -> Problem {
    let mut json = Json::object();
    json.text("detail", text);
    Problem { status, whole: json.end(), ..Default::default() }
}

/// 500 and 503 in the shape of mesh.md §12.4.
pub fn generic(status: u16, text: &str, internal_id: &str) -> Problem {
    let mut json = Json::object();
    json.text("message", text).text("internal_id", internal_id);
    Problem { status, whole: json.end(), ..Default::default() }
}

macro_rules! problems {
    ($($(#[doc = $doc:literal])* $name:ident $status:literal $event:literal $code:literal $text:literal;)*) => {
        $($(#[doc = $doc])* pub fn $name() -> Problem {
            Problem::new($status, $event, $code, $text)
        })*
    };
}

problems! {
    /// §3.1 checks 1 and 3.
    unreadable_token 403 "" "" "Error reading from Authorization header";
    /// §3.1 check 2.
    foreign_token 403 "" "" "Mailbox id does not match token";
    /// §3.1 check 4.
    no_mailbox 403 "SEND" "EPL-151" "No mailbox matched";
    /// §3.1 check 5.
    inactive_mailbox 403 "" "" "Request Received from Inactive Mailbox";
    /// §3.1 checks 6 and 7.
    invalid_token 403 "" "" "Invalid Authentication Token";
    /// §3.1 check 8.
    used_token 403 "" "" "Error Duplicated Authentication Token";
    forbidden 403 "" "" "Forbidden";
    not_found 404 "" "" "Not Found";
    /// §4.
    accept_format 400 "" "" "Accept header api format incorrect";
    /// §10.
    multiple_choices 300 "" "" "Multiple Choices";
    empty_body 417 "COLLECT" "02" "Data file is missing or inaccessible.";
    malformed_header 400 "TRANSFER" "06" "MalformedControlFile";
    invalid_from 417 "SEND" "07" "Invalid From Address (in the control file)";
    to_missing 400 "SEND" "08" "TO_DTS missing";
    wrong_message_type 417 "SEND" "11" "Invalid Message Type for the transfer";
    unregistered 417 "SEND" "12" "Unregistered to address";
    internal_mailbox 417 "SEND" "12" "Cannot send messages to internal mailbox";
    sender_not_allowed 417 "SEND" "16" "Sender is not allowed to send messages of this type";
    workflow_not_registered 417 "SEND" "17" "Workflow ID not registered for mailbox";
    no_message 404 "RECEIVE" "20" "Message does not exist";
    invalid_chunks 417 "SEND" "InvalidHeaderChunks" "Invalid chunk values sent in mex-Chunk-Range header";
    unsupported_encoding 422 "SEND" "UnsupportedContentEncoding" "Unsupported content encoding";
    invalid_checksum 400 "SEND" "Invalid checksum" "Invalid checksum";
    gone 410 "SEND" "Message already accepted" "Message no longer available for download";
    changed_encoding 417 "" "" "cannot change content encoding";
    /// §6.8: chunk beyond the declared total.
    beyond_last_chunk 406 "" "" "Chunk number is greater than the number of chunks of the message";
    /// §6.8: the message is complete.
    already_complete 423 "" "" "Message is already complete";
    /// §8.
    too_large 413 "" "" "Request body is larger than 104857600 bytes";
    /// The serving node expected a refusal and the leader knew better: the client sends again.
    try_again 503 "" "" "Please send again";
}
