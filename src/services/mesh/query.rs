//! Query parameters of the listings, and the continuations they carry (mesh.md §6.2, §6.9).

use super::{
    Mesh, Query,
    command::Page,
    refusal::{Invalid, Problem, validation},
};
use crate::{
    model::{MessageId, time},
    wire::mesh::{hex_decode, hex_encode},
};
use aws_lc_rs::hmac;
use bytes::Bytes;

/// Listings give at most this many, and at least ten (mesh.md §6.2).
const MAX_RESULTS: u32 = 5000;
/// Page size of a listing that names none; links leave it out.
pub const DEFAULT_RESULTS: u32 = 500;
/// Page size of a rich listing that names none, and the most of a rich outbox.
pub const DEFAULT_RICH: u32 = 100;

impl Mesh {
    pub(super) fn page(&self, mailbox: &str, query: &Query, default: u32) -> Result<Page, Problem> {
        let mut wrong = vec![];
        let mut add = |kind, name, text| wrong.push(Invalid { kind, place: "query", name, text });
        let mut page = Page { max_results: default, ..Default::default() };
        if let Some(text) = &query.max_results {
            match text.trim().parse::<i64>() {
                Err(_) => add(
                    "int_parsing",
                    "max_results",
                    "Input should be a valid integer, unable to parse string as an integer",
                ),
                Ok(n) if n < 10 => {
                    add("greater_than_equal", "max_results", "Input should be greater than or equal to 10")
                }
                Ok(n) if n > i64::from(MAX_RESULTS) => {
                    add("less_than_equal", "max_results", "Input should be less than or equal to 5000")
                }
                Ok(n) => page.max_results = n as u32,
            }
        }
        if let Some(text) = &query.continue_from {
            match (text.chars().count(), self.read_cursor(mailbox, text)) {
                (..24, _) => add("string_too_short", "continue_from", "String should have at least 24 characters"),
                (1001.., _) => add("string_too_long", "continue_from", "String should have at most 1000 characters"),
                (_, None) => add("value_error", "continue_from", "Continuation is not one of this mailbox"),
                (_, Some(id)) => page.after = Bytes::copy_from_slice(&id.to_bytes()),
            }
        }
        if let Some(text) = &query.workflow_filter {
            match text.trim().chars().count() {
                ..2 => add("string_too_short", "workflow_filter", "String should have at least 2 characters"),
                256.. => add("string_too_long", "workflow_filter", "String should have at most 255 characters"),
                _ => page.filter = Some(text.trim().to_owned()),
            }
        }
        if wrong.is_empty() { Ok(page) } else { Err(validation(&wrong)) }
    }

    pub(super) fn rich_page(&self, mailbox: &str, query: &Query) -> Result<Page, Problem> {
        let mut page = self.page(mailbox, &Query { workflow_filter: None, ..query.clone() }, DEFAULT_RICH)?;
        if let Some(text) = &query.start_time {
            // A plus sign of a time zone is often sent unescaped and arrives as a space.
            let start = time::parse_iso(text.trim()).or_else(|| time::parse_iso(&text.trim().replace(' ', "+")));
            page.start = start.ok_or_else(|| {
                let text = "Input should be a valid datetime";
                validation(&[Invalid { kind: "datetime_parsing", place: "query", name: "start_time", text }])
            })?;
        }
        Ok(page)
    }

    /// The id a listing goes on behind: one of our continuations, or version 1's plain message id.
    pub(super) fn read_cursor(&self, mailbox: &str, text: &str) -> Option<MessageId> {
        if let Some(id) = MessageId::parse(text.trim()) {
            return Some(id);
        }
        let bytes = hex_decode(text.trim())?;
        let id = MessageId::from_bytes(bytes.get(..11)?)?;
        (self.cursor(mailbox, id) == text.trim().to_ascii_lowercase()).then_some(id)
    }

    /// A continuation that cannot be made up for another place or mailbox: a message id and what vouches for it.
    pub(super) fn cursor(&self, mailbox: &str, id: MessageId) -> String {
        let bytes = id.to_bytes();
        let tag = hmac::sign(&self.cursor_key, &[mailbox.as_bytes(), &[0], &bytes].concat());
        let tag = tag.as_ref().get(..8).unwrap_or_default();
        hex_encode(&[&bytes[..], tag].concat())
    }
}
