//! A message on its way to its recipient: the bytes in the form that the caller takes, and the headers that go with
//! them (mesh.md §6.4, §6.5, §7.2).
//!
//! Invariant: HEAD says what GET of the first chunk would, so that the form is chosen by metadata alone.

use super::{
    Ask, Body, Response, Transfer,
    answer::message_of,
    command::Reply,
    rows::{Message, Part},
    track::smtp,
};
use crate::{
    engine::draft::Fault,
    model::{MessageId, time},
    store::tables::Table,
    wire::{mesh::hex_encode, record::Record},
};
use aws_lc_rs::digest;
use bytes::Bytes;
use flate2::{Compression, read::MultiGzDecoder, write::GzEncoder};
use std::io::{Read, Write};

/// An inline body is inflated in memory up to this, so that its length can be told; a denser one streams.
const MAX_INFLATED: u64 = 1 << 20;
/// Below this, gzip saves less than a packet.
const MIN_ZIPPED: u64 = 1 << 10;

type Headers = Vec<(&'static str, Bytes)>;

/// One chunk.
pub fn chunk(ask: &Ask, reply: &Reply, mailbox: &str, chunk: u32) -> Result<Response, Fault> {
    let (id, message) = message_of(reply)?;
    let (body, encoded) = match message.report {
        true => (Body::Empty, false),
        false => {
            let part = Part::decode(&reply.part).map_err(|e| Fault::Row(Table::Bodies, e))?;
            body(part, form(ask, &message), message.gzip)
        }
    };
    let headers = headers(ask, reply, mailbox, id, &message, chunk, encoded);
    let status = if !message.report && chunk < message.chunks { 206 } else { 200 };
    Ok(Response { status, headers, body })
}

/// The headers of the first chunk, without it.
pub fn head(ask: &Ask, reply: &Reply, mailbox: &str) -> Result<Response, Fault> {
    let (id, message) = message_of(reply)?;
    let encoded = match form(ask, &message) {
        Form::Stored => message.gzip,
        Form::Inflated => false,
        Form::Zipped => true,
    };
    Ok(Response { status: 200, headers: headers(ask, reply, mailbox, id, &message, 1, encoded), body: Body::Empty })
}

/// What becomes of the stored bytes (the table of mesh.md §6.4).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Stored,
    /// The caller does not take gzip.
    Inflated,
    /// Gzipped on the fly.
    Zipped,
}

fn form(ask: &Ask, message: &Message) -> Form {
    let worth = message.size >= MIN_ZIPPED && !message.compressed && !message.encrypted && is_text(message);
    match (message.gzip, ask.gzip) {
        (true, false) => Form::Inflated,
        (false, true) if ask.version >= 2 && worth => Form::Zipped,
        _ => Form::Stored,
    }
}

/// Whether gzip is likely to gain anything: what is not called a text is mostly packed already.
fn is_text(message: &Message) -> bool {
    let kind = message.content_type.to_ascii_lowercase();
    let has = |word: &[u8]| kind.windows(word.len()).any(|w| w == word);
    kind.starts_with(b"text/") || [&b"xml"[..], b"json", b"edifact", b"hl7", b"csv"].into_iter().any(has)
}

/// The bytes to send, and whether they are gzip then, as they are stored if `gzip`.
fn body(part: Part, form: Form, gzip: bool) -> (Body, bool) {
    if let Some(digest) = part.blob() {
        let (transfer, encoded) = match form {
            Form::Stored => (Transfer::AsIs, gzip),
            Form::Inflated => (Transfer::Inflate, false),
            Form::Zipped => (Transfer::Zip, true),
        };
        return (Body::Blob { digest, len: part.len, transfer }, encoded);
    }
    match form {
        Form::Stored => (Body::Bytes(part.inline), gzip),
        Form::Zipped => (Body::Bytes(zipped(&part.inline)), true),
        Form::Inflated => inflated(part.inline),
    }
}

/// One gzip member, because clients stop at the first one's end.
fn zipped(plain: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::with_capacity(plain.len() / 2), Compression::fast());
    // Writing to memory does not fail.
    let _ = encoder.write_all(plain);
    encoder.finish().unwrap_or_default().into()
}

/// What only claims to be gzip goes out as it came, with its claim.
fn inflated(stored: Bytes) -> (Body, bool) {
    let mut plain = vec![];
    match MultiGzDecoder::new(stored.as_ref()).take(MAX_INFLATED + 1).read_to_end(&mut plain) {
        Err(_) => (Body::Bytes(stored), true),
        Ok(_) if plain.len() as u64 > MAX_INFLATED => (Body::Inflate(stored), false),
        Ok(_) => (Body::Bytes(plain.into()), false),
    }
}

/// Names these bytes in this form; a message never changes once it can be collected.
fn etag(id: MessageId, chunk: u32, encoded: bool) -> Bytes {
    let name = [&id.to_bytes()[..], &chunk.to_be_bytes(), &[u8::from(encoded)]].concat();
    let digest = digest::digest(&digest::SHA256, &name);
    format!("\"{}\"", hex_encode(digest.as_ref().get(..20).unwrap_or_default())).into()
}

/// Headers of a message (mesh.md §7.2). Empty ones are left out.
fn headers(
    ask: &Ask,
    reply: &Reply,
    mailbox: &str,
    id: MessageId,
    message: &Message,
    chunk: u32,
    encoded: bool,
) -> Headers {
    let mut headers: Headers = Vec::with_capacity(28);
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
    add("etag", etag(id, chunk, encoded));
    add("content-encoding", fixed(if encoded { b"gzip" } else { b"" }));
    add("mex-from", text(from));
    add("mex-to", text(to));
    add("mex-fromsmtp", smtp(from).into());
    add("mex-tosmtp", smtp(to).into());
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
    add("mex-content-compressed", fixed(if encoded || message.compressed { b"Y" } else { b"" }));
    add("mex-content-encrypted", fixed(if message.encrypted { b"Y" } else { b"" }));
    add("mex-statuscode", fixed(b"00"));
    add("mex-statusevent", fixed(b"TRANSFER"));
    add("mex-statusdescription", fixed(b"Transferred to recipient mailbox"));
    add("mex-statussuccess", fixed(b"SUCCESS"));
    headers
}
