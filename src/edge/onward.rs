//! What of a request goes on to the system that is being replaced, and what of its answer comes back: all as it came, but for what is
//! about one connection.
//!
//! Invariants (P5): whence a request came is told there by us alone; a path that leads out of its service goes nowhere; and what reads
//! differently to different programs is made plain, so that one request here is one there.

use super::payload::Payload;
use super::upstream::{Answer, Upstream};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, request::Parts, uri::InvalidUri};
use hyper::body::Body as _;

/// Headers that are about one connection and go no further (RFC 9110 §7.6.1), and those that are made anew.
const OF_ONE_HOP: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
/// The length is the body's own; the trace is what this site made of it.
const MADE_ANEW: [&str; 6] = ["content-length", "expect", "forwarded", "host", "traceparent", "tracestate"];
/// In which proxies say whence a request came, which certificate was shown, or what was asked for in truth. The system that is being
/// replaced sees our certificate and may believe them: a caller's own are forged.
const A_PROXYS: [&str; 9] = [
    "client-cert",
    "client-cert-chain",
    "true-client-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-original-url",
    "x-originating-ip",
    "x-real-ip",
    "x-rewrite-url",
];
/// The same, by how they begin.
const A_PROXYS_BEGIN: [&str; 8] = [
    "ssl-client-",
    "x-amzn-mtls-",
    "x-arr-",
    "x-client-cert",
    "x-forwarded-",
    "x-original-for",
    "x-ssl-",
    "x-tls-client-",
];

static FORWARDED: HeaderName = HeaderName::from_static("forwarded");

/// Whether a caller's header stays here. Some programs take `_` for `-`.
fn stays(name: &HeaderName) -> bool {
    let dashed = name.as_str().replace('_', "-");
    let is = |names: &[&str]| names.contains(&dashed.as_str());
    is(&OF_ONE_HOP) || is(&MADE_ANEW) || is(&A_PROXYS) || A_PROXYS_BEGIN.iter().any(|begin| dashed.starts_with(begin))
}

/// Headers without those of one hop, and without those that `connection` names.
fn end_to_end(headers: &HeaderMap) -> HeaderMap {
    let mut kept = headers.clone();
    for value in headers.get_all(header::CONNECTION) {
        for name in value.to_str().unwrap_or_default().split(',').map(str::trim) {
            kept.remove(name);
        }
    }
    OF_ONE_HOP.iter().for_each(|name| drop(kept.remove(*name)));
    kept.append(header::VIA, HeaderValue::from_static("1.1 spine"));
    kept
}

/// Whether a path stays where it begins, however it is read: no step back, plain or escaped.
pub fn is_straight(path: &str) -> bool {
    let mut plain = path.to_ascii_lowercase();
    for (escaped, mark) in [("%2e", "."), ("%2f", "/"), ("%5c", "/"), ("%3b", ";"), ("\\", "/")] {
        plain = plain.replace(escaped, mark);
    }
    let name = |step: &str| step.split(';').next().unwrap_or_default().to_owned();
    !plain.split('/').any(|step| [".", ".."].contains(&name(step).as_str()))
}

/// The request as it goes on. Whence it came is told by us: what the caller says of that itself is not passed on.
pub fn request(head: &Parts, upstream: &Upstream, from: &str, body: Payload) -> Result<Request<Payload>, InvalidUri> {
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let uri = upstream.path(path).parse()?;
    let mut headers = end_to_end(&head.headers);
    let own: Vec<HeaderName> = headers.keys().filter(|name| stays(name)).cloned().collect();
    own.iter().for_each(|name| drop(headers.remove(name)));
    // HTTP/2 may part them (RFC 9113 §8.2.3); HTTP/1.1 may not.
    let cookies: Vec<&[u8]> = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if cookies.len() > 1
        && let Ok(one) = HeaderValue::from_bytes(&cookies.join(&b"; "[..]))
    {
        headers.insert(header::COOKIE, one);
    }
    // No length reads as a body that is missing (411), where there is one of no bytes.
    if body.is_end_stream() && [Method::POST, Method::PUT, Method::PATCH].contains(&head.method) {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    for (name, value) in [(FORWARDED.clone(), whence(head, from)), (header::HOST, upstream.host().to_owned())] {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    }
    let mut request = Request::new(body);
    *request.method_mut() = head.method.clone();
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    Ok(request)
}

/// The value of `forwarded` (RFC 7239): the sender's address, and the name that it asked.
fn whence(head: &Parts, from: &str) -> String {
    let asked_of = head.headers.get(header::HOST).and_then(|host| host.to_str().ok().map(str::to_owned));
    let asked_of = asked_of.or_else(|| head.uri.authority().map(|authority| authority.to_string()));
    let from = if from.contains(':') { format!("\"[{from}]\"") } else { from.to_owned() };
    let host: String = asked_of.unwrap_or_default().chars().filter(|c| !"\"\\".contains(*c)).collect();
    format!("for={from};host=\"{host}\";proto=https")
}

/// The answer as it comes back.
pub fn back(answer: Answer) -> Response<Payload> {
    let payload = match answer.body {
        Some((pieces, length)) => Payload::pieces(pieces, length),
        None => Payload::empty(),
    };
    let mut response = Response::new(payload);
    *response.status_mut() = answer.head.status;
    *response.headers_mut() = end_to_end(&answer.head.headers);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_steps_back_is_found_however_it_is_written() {
        for bent in
            ["/a/../b", "/a/..", "/a/%2E%2e/b", "/a/x%2f..%2Fb", "/a/..;x=1/b", "/a/..%3b/b", "/a/%5c..%5Cb", "/./a"]
        {
            assert!(!is_straight(bent), "{bent}");
        }
        for straight in ["/", "/a/b.c", "/a/..b", "/a/b..", "/a/...", "/a;b/c", "/Patient/9990000018", "*"] {
            assert!(is_straight(straight), "{straight}");
        }
    }

    #[test]
    fn what_a_proxy_would_say_is_not_a_callers_to_say() {
        let stays = |name: &str| stays(&name.parse().unwrap());
        for forged in
            ["X-Forwarded-For", "x_forwarded_for", "Client-Cert", "X-SSL-Client-S-DN", "X-Real-IP", "Content_Length"]
        {
            assert!(stays(forged), "{forged}");
        }
        for own in ["authorization", "x-request-id", "nhsd-session-urid", "mex-to", "cookie", "x-client-version"] {
            assert!(!stays(own), "{own}");
        }
    }
}
