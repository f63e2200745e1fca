//! Requests to addresses outside the site: a form that is posted, a document that is fetched. One connection a request, no redirect
//! followed; bounded in time and size (P6). Plain HTTP goes to this machine alone.

use crate::edge::{
    backend::{Courier, Hearing},
    protocol::Question,
};
use bytes::Bytes;
use http::Uri;
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use std::{path::PathBuf, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::Mutex,
    time::Instant,
};

/// For connection, handshakes, request and answer together.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of an answer's body that are taken.
const MAX_ANSWER: usize = 64 << 10;
/// How long the authorities that were read are used; so long a changed file waits.
const READ_AGAIN: Duration = Duration::from_secs(60);
/// Where Linux distributions keep the authorities that the machine trusts.
const OF_THE_MACHINE: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem"];

/// Nobody took the connection: nothing was sent.
const UNREACHED: &str = "unreachable";
/// Before what was not sent is sent again.
const PAUSE: Duration = Duration::from_millis(200);

/// Why nothing was posted, or nothing came back. For the log; the word is for the audit trail and metrics.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
pub struct Unsent {
    pub word: &'static str,
    why: String,
}

fn unsent(word: &'static str, why: impl std::fmt::Display) -> Unsent {
    Unsent { word, why: why.to_string() }
}

type Header = (&'static str, http::HeaderValue);

/// What a request brings.
#[derive(Clone)]
struct Sent {
    /// Its media type.
    kind: &'static str,
    body: Bytes,
    headers: Vec<Header>,
}

impl Sent {
    fn form(form: String, headers: &[Header]) -> Sent {
        Sent { kind: "application/x-www-form-urlencoded", body: form.into(), headers: headers.to_vec() }
    }
}

/// Sends requests.
pub struct Outgoing {
    /// Authorities of the addresses; empty means the machine's.
    authorities: PathBuf,
    tls: Mutex<Option<(Instant, Arc<ClientConfig>)>>,
}

impl Courier for Outgoing {
    fn ask<'a>(&'a self, question: &'a Question) -> Hearing<'a> {
        Box::pin(async move {
            self.exchange(&question.address, &question.form, &question.trace).await.map_err(|e| {
                let why = e.to_string();
                tracing::warn!(event = "outgoing.unanswered", why, "a question to an address outside was not answered");
                e.word
            })
        })
    }
}

impl Outgoing {
    pub fn new(authorities: PathBuf) -> Outgoing {
        Outgoing { authorities, tls: Mutex::new(None) }
    }

    /// The status of the answer.
    pub async fn post(&self, address: &str, form: String) -> Result<u16, Unsent> {
        Ok(self.ask(address, Some(Sent::form(form, &[]))).await?.0)
    }

    /// The status of the answer to a JSON document.
    pub async fn post_json(&self, address: &str, document: String) -> Result<u16, Unsent> {
        let sent = Sent { kind: "application/json", body: document.into(), headers: vec![] };
        Ok(self.ask(address, Some(sent)).await?.0)
    }

    /// The document that is there.
    pub async fn get(&self, address: &str) -> Result<Bytes, Unsent> {
        match self.ask(address, None).await? {
            (200, Some(body)) => Ok(body),
            (200, None) => Err(unsent("too_large", "the answer breaks off, or has more than 64 KiB")),
            (status, _) => Err(unsent("refused", format!("status {status}"))),
        }
    }

    /// Status and body of the answer to a form. What was not sent, because nobody could be reached, is sent once more within the
    /// same time: what it holds is good once, so never what may have been heard.
    pub async fn exchange(&self, address: &str, form: &str, headers: &[Header]) -> Result<(u16, Bytes), Unsent> {
        let sent = Sent::form(form.to_owned(), headers);
        let twice = async {
            match self.ask_patiently(address, Some(sent.clone())).await {
                Err(e) if e.word == UNREACHED => {
                    tokio::time::sleep(PAUSE).await;
                    self.ask_patiently(address, Some(sent)).await
                }
                other => other,
            }
        };
        let done = tokio::time::timeout(PATIENCE, twice).await;
        match done.unwrap_or_else(|_| Err(unsent("too_late", "no answer in ten seconds")))? {
            (status, Some(body)) => Ok((status, body)),
            (_, None) => Err(unsent("too_large", "the answer breaks off, or has more than 64 KiB")),
        }
    }

    /// Status and body of the answer to a form, or to the question for a document.
    async fn ask(&self, address: &str, sent: Option<Sent>) -> Result<(u16, Option<Bytes>), Unsent> {
        let done = tokio::time::timeout(PATIENCE, self.ask_patiently(address, sent)).await;
        done.unwrap_or_else(|_| Err(unsent("too_late", "no answer in ten seconds")))
    }

    async fn ask_patiently(&self, address: &str, sent: Option<Sent>) -> Result<(u16, Option<Bytes>), Unsent> {
        let uri: Uri = address.parse().map_err(|e| unsent("bad_address", e))?;
        let host = uri.host().ok_or_else(|| unsent("bad_address", "it names no host"))?;
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let secure = uri.scheme_str() == Some("https");
        if !secure && !["localhost", "127.0.0.1", "::1"].contains(&bare) {
            return Err(unsent("bad_address", "plain HTTP leaves the machine"));
        }
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let tcp = TcpStream::connect((bare, port)).await.map_err(|e| unsent(UNREACHED, e))?;
        if !secure {
            return exchange(tcp, &uri, sent).await;
        }
        let name = ServerName::try_from(bare.to_owned()).map_err(|e| unsent("bad_address", e))?;
        let connector = tokio_rustls::TlsConnector::from(self.tls().await?);
        let tls = connector.connect(name, tcp).await.map_err(|e| unsent("tls", e))?;
        exchange(tls, &uri, sent).await
    }

    async fn tls(&self) -> Result<Arc<ClientConfig>, Unsent> {
        let mut kept = self.tls.lock().await;
        if let Some((read, config)) = kept.as_ref().filter(|(read, _)| read.elapsed() < READ_AGAIN) {
            let _ = read;
            return Ok(config.clone());
        }
        let config = Arc::new(self.read().await?);
        *kept = Some((Instant::now(), config.clone()));
        Ok(config)
    }

    async fn read(&self) -> Result<ClientConfig, Unsent> {
        let given = !self.authorities.as_os_str().is_empty();
        let files = if given { vec![self.authorities.clone()] } else { OF_THE_MACHINE.map(PathBuf::from).to_vec() };
        let mut pem = None;
        for file in files {
            match tokio::fs::read(&file).await {
                Ok(bytes) => {
                    pem = Some(bytes);
                    break;
                }
                Err(e) if !given && e.kind() == std::io::ErrorKind::NotFound => {}
                Err(e) => return Err(unsent("no_authorities", format!("{}: {e}", file.display()))),
            }
        }
        let pem =
            pem.ok_or_else(|| unsent("no_authorities", "this machine has no file of authorities; set api.logout_ca"))?;
        let mut roots = RootCertStore::empty();
        // A machine's file may hold an old one that the library does not take: the others are good all the same.
        roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok));
        if roots.is_empty() {
            return Err(unsent("no_authorities", "the file of authorities holds none"));
        }
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let config = ClientConfig::builder_with_provider(provider.into())
            .with_safe_default_protocol_versions()
            .map_err(|e| unsent("tls", e))?;
        Ok(config.with_root_certificates(roots).with_no_client_auth())
    }
}

/// One request and its answer.
async fn exchange<S>(stream: S, uri: &Uri, sent: Option<Sent>) -> Result<(u16, Option<Bytes>), Unsent>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let lost = |e: hyper::Error| unsent("broken_off", e);
    let (mut send, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(lost)?;
    let driver = tokio::spawn(connection);
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let (request, body) = match sent {
        Some(Sent { kind, body, headers }) => {
            let request = http::Request::post(path).header("content-type", kind);
            (headers.into_iter().fold(request, |request, (name, value)| request.header(name, value)), body)
        }
        None => (http::Request::get(path), Bytes::new()),
    };
    let request = request
        .header("host", uri.authority().map_or("", |authority| authority.as_str()))
        .header("accept", "*/*")
        .header("connection", "close")
        .body(Full::new(body))
        .map_err(|e| unsent("bad_address", e))?;
    let answer = send.send_request(request).await;
    let status = match answer {
        Ok(answer) => {
            let status = answer.status().as_u16();
            // Whoever is cut off while it answers may think that it was not heard.
            let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
            Ok((status, body.ok().map(|body| body.to_bytes())))
        }
        Err(e) => Err(lost(e)),
    };
    driver.abort();
    status
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn a_form_is_posted_and_the_status_comes_back() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}/told?by=us", listener.local_addr().unwrap());
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (mut heard, mut piece) = (String::new(), [0; 1024]);
            while !heard.ends_with("logout_token=x") {
                let n = stream.read(&mut piece).await.unwrap();
                heard.push_str(std::str::from_utf8(&piece[..n]).unwrap());
            }
            stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
            heard
        });
        let out = Outgoing::new(PathBuf::new());
        assert_eq!(out.post(&address, "logout_token=x".into()).await.unwrap(), 204);
        let heard = server.await.unwrap().to_ascii_lowercase();
        assert!(heard.starts_with("post /told?by=us http/1.1\r\n"), "{heard}");
        assert!(heard.contains("content-type: application/x-www-form-urlencoded"), "{heard}");
    }

    #[tokio::test]
    async fn a_document_is_fetched_whole_or_not_at_all() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}/keys", listener.local_addr().unwrap());
        let server = tokio::spawn(async move {
            let large = "x".repeat(MAX_ANSWER + 1);
            for (status, body) in [("200 OK", "{}"), ("200 OK", large.as_str()), ("404 Not Found", "")] {
                let (mut stream, _) = listener.accept().await.unwrap();
                let (mut heard, mut piece) = (String::new(), [0; 1024]);
                while !heard.ends_with("\r\n\r\n") {
                    let n = stream.read(&mut piece).await.unwrap();
                    heard.push_str(std::str::from_utf8(&piece[..n]).unwrap());
                }
                assert!(heard.starts_with("GET /keys HTTP/1.1\r\n"), "{heard}");
                let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n", body.len());
                // The reader of what is too large hangs up.
                let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
            }
        });
        let out = Outgoing::new(PathBuf::new());
        assert_eq!(out.get(&address).await.unwrap(), "{}");
        assert_eq!(out.get(&address).await.unwrap_err().word, "too_large");
        assert_eq!(out.get(&address).await.unwrap_err().word, "refused");
        server.await.unwrap();
        assert_eq!(out.get(&address).await.unwrap_err().word, "unreachable");
    }

    #[tokio::test]
    async fn what_is_good_once_is_sent_again_only_where_nobody_heard_it() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let address = format!("http://{at}/token");
        let server = tokio::spawn(async move {
            let mut heard = 0;
            for answer in ["", "HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\n\r\n{}"] {
                let (mut stream, _) = listener.accept().await.unwrap();
                let (mut text, mut piece) = (String::new(), [0; 1024]);
                while !text.ends_with("code=x") {
                    let n = stream.read(&mut piece).await.unwrap();
                    text.push_str(std::str::from_utf8(&piece[..n]).unwrap());
                }
                heard += 1;
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
            heard
        });
        let out = Outgoing::new(PathBuf::new());
        // It was heard, and broken off: not again.
        assert_eq!(out.exchange(&address, "code=x", &[]).await.unwrap_err().word, "broken_off");
        let (status, body) = out.exchange(&address, "code=x", &[]).await.unwrap();
        assert_eq!((status, body.as_ref()), (400, &b"{}"[..]), "a refusal is an answer");
        assert_eq!(server.await.unwrap(), 2);
        // Nobody is there: it is tried again after a pause, and the word comes back to who asked.
        let (question, begun) = (Question { address, form: "code=x".into(), ..Default::default() }, Instant::now());
        assert_eq!(Courier::ask(&out, &question).await.unwrap_err(), UNREACHED);
        assert!(begun.elapsed() >= PAUSE);
    }

    #[tokio::test]
    async fn nothing_goes_out_in_plain_text_or_to_nobody() {
        let out = Outgoing::new("/nonexistent/authorities.pem".into());
        assert_eq!(out.post("http://example.test/", String::new()).await.unwrap_err().word, "bad_address");
        assert_eq!(out.post("/no-host", String::new()).await.unwrap_err().word, "bad_address");
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("https://{}/", listener.local_addr().unwrap());
        assert_eq!(out.post(&address, String::new()).await.unwrap_err().word, "no_authorities");
    }
}
