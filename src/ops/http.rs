//! The operators' small HTTP: the loopback listener for `/metrics`, probes and `/version`, and what the admin socket
//! shares with it. Plain HTTP/1.1, no patient data, bounded.

use super::health::{Health, Probe};
use super::recorder;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use std::{collections::BTreeMap, convert::Infallible, future::Future, sync::Arc, time::Duration};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

/// Slowest that an operator's tool may send a request's head.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// Most connections of scrapers and probes at once.
const MAX_CONNECTIONS: usize = 64;
/// How often histogram samples are drained; between two they are kept in memory.
const UPKEEP: Duration = Duration::from_secs(5);

/// An answer before it is written.
pub struct Served {
    pub status: StatusCode,
    pub content_type: &'static str,
    pub body: Bytes,
}

impl Served {
    pub fn text(status: StatusCode, body: impl Into<Bytes>) -> Self {
        Served { status, content_type: "text/plain; charset=utf-8", body: body.into() }
    }
    pub fn json(status: StatusCode, body: &Value) -> Self {
        Served { status, content_type: "application/json", body: super::admin::to_bytes(body) }
    }
}

/// Answers `/metrics`, the probes and `/version`; `None` for any other path.
pub fn answer(health: &Health, method: &Method, path: &str, query: &str) -> Option<Served> {
    let probe = match path {
        "/livez" => Some(Probe::Live),
        "/readyz" => Some(Probe::Ready),
        "/startupz" => Some(Probe::Startup),
        "/metrics" | "/version" => None,
        _ => return None,
    };
    if method != Method::GET && method != Method::HEAD {
        return Some(Served::text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n"));
    }
    let Some(probe) = probe else {
        return Some(match path {
            "/metrics" => Served {
                status: StatusCode::OK,
                content_type: "text/plain; version=0.0.4; charset=utf-8",
                body: recorder::render().into(),
            },
            _ => Served::json(StatusCode::OK, &json!({ "version": recorder::VERSION, "revision": recorder::REVISION })),
        });
    };
    let pairs: Vec<(&str, &str)> = query.split('&').map(|p| p.split_once('=').unwrap_or((p, ""))).collect();
    let verbose = pairs.iter().any(|(name, _)| *name == "verbose");
    let exclude: Vec<&str> = pairs.iter().filter(|(name, _)| *name == "exclude").map(|(_, v)| *v).collect();
    let report = health.ask(probe, &exclude);
    let status = if report.ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Some(Served::text(status, report.text(verbose || !report.ok)))
}

/// Serves scrapers and probes until `stop` turns true. Keep `/readyz` answering while the node drains: stop it last.
pub async fn serve(listener: TcpListener, health: Health, mut stop: watch::Receiver<bool>) {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut upkeep = tokio::time::interval(UPKEEP);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = upkeep.tick() => { recorder::upkeep(); continue }
            _ = stop.wait_for(|s| *s) => return,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let Ok(permit) = room.clone().try_acquire_owned() else { continue };
        let (health, stop) = (health.clone(), stop.clone());
        tokio::spawn(async move {
            let _permit = permit;
            let answer = move |request: Request<Incoming>| {
                let uri = request.uri();
                let served = answer(&health, request.method(), uri.path(), uri.query().unwrap_or_default());
                std::future::ready(served.unwrap_or_else(|| {
                    Served::text(StatusCode::NOT_FOUND, "try /livez /readyz /startupz /metrics /version\n")
                }))
            };
            serve_connection(stream, answer, stop).await;
        });
    }
}

/// One connection of an operator: answers requests until the other side, a timeout or `stop` ends it.
pub async fn serve_connection<I, F, R>(io: I, answer: F, mut stop: watch::Receiver<bool>)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Fn(Request<Incoming>) -> R,
    R: Future<Output = Served>,
{
    let service = hyper::service::service_fn(|request| {
        let served = answer(request);
        async move {
            let served = served.await;
            let mut response = Response::new(Full::new(served.body));
            *response.status_mut() = served.status;
            response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(served.content_type));
            Ok::<_, Infallible>(response)
        }
    });
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(io), service));
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = stop.wait_for(|s| *s) => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

/// Splits a query into its pairs, percent-decoded; a pair that cannot be decoded is left out.
pub fn query_pairs(query: &str) -> BTreeMap<String, String> {
    let pairs = query.split('&').filter(|p| !p.is_empty()).map(|p| p.split_once('=').unwrap_or((p, "")));
    pairs.filter_map(|(name, value)| Some((percent_decode(name)?, percent_decode(value)?))).collect()
}

/// `%41` → `A`, `+` stays. `None` where the text is not valid percent-encoded UTF-8.
pub fn percent_decode(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(b) = bytes.next() {
        if b != b'%' {
            out.push(b);
            continue;
        }
        let digit = |b: Option<u8>| b.and_then(|b| (b as char).to_digit(16));
        out.push((digit(bytes.next())? * 16 + digit(bytes.next())?) as u8);
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_tell_by_status_and_metrics_are_text() {
        let health = Health::default();
        health.add(Probe::Ready, "caught_up", || Err("applying 18,204 of 91,077".into()));
        let ask = |path, query| answer(&health, &Method::GET, path, query).map(|s| s.status.as_u16());
        assert_eq!(ask("/livez", ""), Some(200));
        assert_eq!(ask("/readyz", "verbose"), Some(503));
        assert_eq!(ask("/readyz", "exclude=caught_up"), Some(200));
        assert_eq!(ask("/version", ""), Some(200));
        assert_eq!(ask("/metrics", ""), Some(200));
        assert_eq!(ask("/else", ""), None);
        assert_eq!(answer(&health, &Method::POST, "/livez", "").map(|s| s.status.as_u16()), Some(405));
    }

    #[tokio::test]
    async fn a_scraper_is_answered_on_one_connection() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        recorder::install(1.0);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        let server = tokio::spawn(serve(listener, Health::default(), stopped));
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let ask =
            "GET /readyz HTTP/1.1\r\nhost: a\r\n\r\nGET /metrics HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        stream.write_all(ask.as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        assert!(text.starts_with("HTTP/1.1 200 OK") && text.contains("# HELP spine_refusals_total"), "{text}");
        stop.send_replace(true);
        server.await.unwrap();
    }

    #[test]
    fn percent_text_is_decoded_or_refused() {
        assert_eq!(percent_decode("a%20b%2f"), Some("a b/".into()));
        assert_eq!(percent_decode("%4"), None);
        assert_eq!(percent_decode("%ff"), None);
        assert_eq!(query_pairs("a=1&b&c=%zz"), BTreeMap::from([("a".into(), "1".into()), ("b".into(), "".into())]));
    }
}
