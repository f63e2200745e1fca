//! A send's request headers, checked in the order of mesh.md §6.7: presence and lengths, control characters and
//! web addresses, checksum, recipient, content encoding, chunk range; then sender and message type.

use super::{
    command::SendHeaders,
    refusal::{self, Invalid, Problem, validation},
};
use crate::{
    model::ids::looks_like_url,
    wire::mesh::values::{boolean, characters, checksum_fits, chunk_range, readable},
};
use bytes::Bytes;
use http::HeaderMap;

/// Longest value of each header, in characters (mesh.md §7.1). `content-type` has no published bound; ours keeps rows
/// small and is four times what any known media type needs.
const LENGTHS: &[(&str, usize, &str)] = &[
    ("mex-to", 100, "String should have at most 100 characters"),
    ("mex-workflowid", 300, "String should have at most 300 characters"),
    ("mex-from", 100, "String should have at most 100 characters"),
    ("mex-chunk-range", 20, "String should have at most 20 characters"),
    ("mex-subject", 500, "String should have at most 500 characters"),
    ("mex-localid", 300, "String should have at most 300 characters"),
    ("mex-partnerid", 500, "String should have at most 500 characters"),
    ("mex-filename", 300, "String should have at most 300 characters"),
    ("mex-content-encrypted", 20, "String should have at most 20 characters"),
    ("mex-content-compressed", 20, "String should have at most 20 characters"),
    ("mex-content-checksum", 100, "String should have at most 100 characters"),
    ("mex-content-type", 100, "String should have at most 100 characters"),
    ("content-type", 300, "String should have at most 300 characters"),
];

const REQUIRED: &[&str] = &["mex-to", "mex-workflowid"];

/// One header's value, trimmed; empty where it is missing.
pub fn value<'a>(headers: &'a HeaderMap, name: &str) -> &'a [u8] {
    headers.get(name).map(|v| v.as_bytes().trim_ascii()).unwrap_or_default()
}

fn owned(headers: &HeaderMap, name: &str) -> Bytes {
    Bytes::copy_from_slice(value(headers, name))
}

/// Reads a first chunk's headers for the authenticated mailbox.
pub fn send_headers(headers: &HeaderMap, mailbox: &str) -> Result<SendHeaders, Problem> {
    present_and_fitting(headers)?;
    let written = LENGTHS.iter().map(|(name, ..)| value(headers, name));
    let addresses = ["mex-to", "mex-workflowid", "mex-content-checksum"].map(|name| value(headers, name));
    if written.flatten().any(|b| *b < 0x20) || addresses.into_iter().any(looks_like_url) {
        return Err(refusal::malformed_header());
    }
    if !checksum_fits(value(headers, "mex-content-checksum")) {
        return Err(refusal::invalid_checksum());
    }
    let to = readable(value(headers, "mex-to")).to_uppercase();
    if to.is_empty() {
        return Err(refusal::to_missing());
    }
    let gzip = match content_encoding(headers) {
        Encoding::None => false,
        Encoding::Gzip => true,
        Encoding::Other => return Err(refusal::unsupported_encoding()),
    };
    let chunks = match headers.get("mex-chunk-range") {
        None => 1,
        Some(_) => match chunk_range(value(headers, "mex-chunk-range")) {
            Some((1, total)) => total,
            _ => return Err(refusal::invalid_chunks()),
        },
    };
    let from = value(headers, "mex-from");
    if !from.is_empty() && !from.eq_ignore_ascii_case(mailbox.as_bytes()) {
        return Err(refusal::invalid_from());
    }
    let kind = value(headers, "mex-messagetype");
    if !kind.is_empty() && !kind.eq_ignore_ascii_case(b"DATA") {
        return Err(refusal::wrong_message_type());
    }
    Ok(SendHeaders {
        to,
        workflow: owned(headers, "mex-workflowid"),
        subject: owned(headers, "mex-subject"),
        local_id: owned(headers, "mex-localid"),
        partner_id: owned(headers, "mex-partnerid"),
        file_name: owned(headers, "mex-filename"),
        checksum: owned(headers, "mex-content-checksum"),
        encrypted: boolean(value(headers, "mex-content-encrypted")),
        compressed: boolean(value(headers, "mex-content-compressed")),
        content_type: content_type(headers),
        gzip,
        chunks,
        ..Default::default()
    })
}

/// Every header that is missing, too long or there twice, in one answer (400, mesh.md §12.3).
fn present_and_fitting(headers: &HeaderMap) -> Result<(), Problem> {
    let mut wrong: Vec<Invalid<'_>> = vec![];
    let line = |kind, name, text| Invalid { kind, place: "header", name, text };
    for name in REQUIRED {
        // A blank recipient has an error of its own.
        if !headers.contains_key(*name) || (*name != "mex-to" && value(headers, name).is_empty()) {
            wrong.push(line("missing", name, "Field required"));
        }
    }
    for (name, most, text) in LENGTHS {
        if characters(value(headers, name)) > *most {
            wrong.push(line("string_too_long", name, text));
        }
        if headers.get_all(*name).iter().nth(1).is_some() {
            wrong.push(line("value_error", name, "Field must not be repeated"));
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(validation(&wrong)) }
}

/// A request body's content encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    None,
    Gzip,
    Other,
}

pub fn content_encoding(headers: &HeaderMap) -> Encoding {
    let mut all = headers.get_all("content-encoding").iter().map(|v| v.as_bytes().trim_ascii());
    match (all.next(), all.next()) {
        (None, _) => Encoding::None,
        (Some(b""), None) => Encoding::None,
        (Some(one), None) if one.eq_ignore_ascii_case(b"gzip") => Encoding::Gzip,
        _ => Encoding::Other,
    }
}

/// `mex-content-type`, else `content-type` in lower case, else octets (mesh.md §7.1).
fn content_type(headers: &HeaderMap) -> Bytes {
    let explicit = value(headers, "mex-content-type");
    if !explicit.is_empty() {
        return Bytes::copy_from_slice(explicit);
    }
    let general = value(headers, "content-type").to_ascii_lowercase();
    if general.is_empty() { Bytes::from_static(b"application/octet-stream") } else { general.into() }
}
