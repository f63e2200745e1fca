//! Answers onto the wire: a protocol's reply as an HTTP response, bodies at hand or streamed from the blob store.

use super::Edge;
use super::admit::Limit;
use super::coding::{inflated, is_gzip, whole, zipped};
use super::flow::Ids;
use super::payload::Payload;
use super::problem::Refusal;
use super::protocol::{Coding, Exchange, Reply, ReplyBody};
use crate::engine::Unavailable;
use crate::ops::codes::{self, Kind};
use bytes::Bytes;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use http::header::{CONTENT_LENGTH, HeaderName, HeaderValue, RETRY_AFTER};
use http::{HeaderMap, Response, StatusCode};
use std::num::NonZeroU32;
use std::sync::LazyLock;

static CORRELATION: HeaderName = HeaderName::from_static("x-correlation-id");
static REQUEST: HeaderName = HeaderName::from_static("x-request-id");

/// Refusals logged at info a second.
const LINES_PER_SECOND: NonZeroU32 = NonZeroU32::new(20).unwrap();

/// A reply as a response. An error means that its stored body cannot be read now.
pub async fn reply(edge: &Edge, reply: Reply, ids: &Ids) -> Result<Response<Payload>, Refusal> {
    let mut headers = reply.headers;
    let (payload, length) = match reply.body {
        ReplyBody::Bytes(bytes) => {
            let length = bytes.len() as u64;
            (Payload::bytes(bytes), Some(length))
        }
        ReplyBody::Inflate(bytes) => (Payload::pieces(inflated(bytes, whole()), None), None),
        ReplyBody::Stored { body, coding } => {
            let mut pieces = edge.backend.download(body).await.map_err(unreadable)?;
            match coding {
                Coding::AsIs => (Payload::pieces(pieces, Some(body.len)), Some(body.len)),
                Coding::Zip => (Payload::pieces(zipped(pieces, body.len), None), None),
                Coding::Inflate => match pieces.recv().await {
                    Some(Ok(first)) if is_gzip(&first) => (Payload::pieces(inflated(first, pieces), None), None),
                    Some(Ok(_)) => {
                        let again = edge.backend.download(body).await.map_err(unreadable)?;
                        headers.push(("content-encoding", Bytes::from_static(b"gzip")));
                        (Payload::pieces(again, Some(body.len)), Some(body.len))
                    }
                    Some(Err(e)) => return Err(Refusal::new(&codes::BODY_UNAVAILABLE).because(e.to_string())),
                    None => return Err(Refusal::new(&codes::BODY_UNAVAILABLE).because("stored body is empty")),
                },
            }
        }
    };
    edge.meter.response_bytes.increment(length.unwrap_or_default());
    Ok(respond(reply.status, headers, payload, length, ids))
}

fn unreadable(why: Unavailable) -> Refusal {
    match why {
        Unavailable::Lost(_) => why.into(),
        why => Refusal::new(&codes::BODY_UNAVAILABLE).because(why.to_string()),
    }
}

/// A refusal in the protocol's words; its private words go to the log, under the correlation id.
pub fn refuse(exchange: &dyn Exchange, refusal: &Refusal, interaction: &'static str, ids: &Ids) -> Response<Payload> {
    log(refusal, interaction, ids);
    let reply = exchange.refuse(refusal, &ids.correlation);
    let payload = match reply.body {
        ReplyBody::Bytes(bytes) => bytes,
        ReplyBody::Inflate(_) | ReplyBody::Stored { .. } => Bytes::new(),
    };
    let length = payload.len() as u64;
    let mut response = respond(reply.status, reply.headers, Payload::bytes(payload), Some(length), ids);
    if let Some(seconds) = refusal.retry_after {
        come_again(response.headers_mut(), seconds);
    }
    if [codes::CERTIFICATE_REFUSED.code, codes::REVOCATIONS_STALE.code].contains(&refusal.code.code) {
        response.headers_mut().insert(http::header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Says after how many seconds to come again. A protocol may ask for more patience than that (spec/pds.md §9.7) and never for less: a
/// client that kept to less would be held on its connection for the rest (`flow::later`).
fn come_again(headers: &mut HeaderMap, seconds: u32) {
    let own = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse::<u32>().ok());
    if own.is_none_or(|own| own < seconds) {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
}

/// Tells an application how it stands with its quota (draft-ietf-httpapi-ratelimit-headers, the three-field form).
pub fn limit(response: &mut Response<Payload>, limit: Limit) {
    let headers = response.headers_mut();
    headers.insert("ratelimit-limit", HeaderValue::from(limit.quota));
    headers.insert("ratelimit-remaining", HeaderValue::from(limit.remaining));
    // The quota is by the second and fills up steadily: after one it is whole again.
    headers.insert("ratelimit-reset", HeaderValue::from(1));
}

/// The line that the correlation id leads to. Who may not come in is worth a line each, but not so many that a noisy
/// caller fills the journal; what is over a limit or malformed is told by metrics.
fn log(refusal: &Refusal, interaction: &'static str, ids: &Ids) {
    static LINES: LazyLock<DefaultDirectRateLimiter> =
        LazyLock::new(|| RateLimiter::direct(Quota::per_second(LINES_PER_SECOND)));
    let (code, cause, correlation_id) = (refusal.code.code, refusal.private(), &ids.correlation);
    let trace_id = ids.trace.id();
    match refusal.code.kind {
        Kind::Fault => tracing::error!(
            event = "request.fault",
            interaction,
            correlation_id,
            trace_id,
            code,
            cause,
            "a request met a fault of ours"
        ),
        Kind::Forbidden | Kind::Unauthenticated if LINES.check().is_ok() => {
            tracing::info!(
                event = "request.refused",
                interaction,
                correlation_id,
                trace_id,
                code,
                cause,
                "a request was refused"
            );
        }
        _ => tracing::debug!(
            event = "request.refused",
            interaction,
            correlation_id,
            trace_id,
            code,
            cause,
            "a request was refused"
        ),
    }
}

fn respond(
    status: u16,
    headers: Vec<(&'static str, Bytes)>,
    payload: Payload,
    length: Option<u64>,
    ids: &Ids,
) -> Response<Payload> {
    let mut response = Response::new(payload);
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let out = response.headers_mut();
    out.reserve(headers.len() + 4);
    for (name, value) in headers {
        // A stored value that cannot be a header (a control character of old data) is left out, never guessed.
        if let Ok(value) = HeaderValue::from_maybe_shared(value) {
            out.append(HeaderName::from_static(name), value);
        }
    }
    if let Some(length) = length {
        out.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    // A protocol whose clients know a form of their own for it has said its own already.
    if ids.told
        && let Ok(id) = HeaderValue::from_str(&ids.correlation)
    {
        out.entry(CORRELATION.clone()).or_insert(id);
    }
    if let Some(id) = &ids.request {
        out.insert(REQUEST.clone(), id.clone());
    }
    response
}
