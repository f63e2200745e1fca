//! One address of the system that is being replaced: connections over mutual TLS, kept for the next request, and requests sent on them
//! with bodies that stream both ways. Certificates are always checked; there is no switch for it.
//!
//! Bounded (P6): requests at once (`crowd`), the time to connect, the pause before an answer's head and within its body, and what is read
//! ahead. What may have been heard is never sent twice: a request goes out again only where it never left.

use super::crowd::{Crowd, Place, Sender};
use super::payload::{Payload, Pieces};
use super::tls::{TlsError, certificates, expiry, read};
use http::{Request, Response, StatusCode, Uri};
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs as provider};
use rustls_pki_types::{PrivateKeyDer, ServerName, pem::PemObject};
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout, timeout_at};

/// For connection and handshake.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a connection is kept without a request: shorter than servers keep theirs, so that few are found closed.
const IDLE: Duration = Duration::from_secs(4);
/// Pieces of an answer's body that are read ahead of the caller, and most bytes of one.
const AHEAD: usize = 4;
const PIECE: usize = 64 << 10;
/// A caller who leaves an answer unread for so long keeps no place for it.
const UNREAD: Duration = Duration::from_secs(60);

/// Where certificates and keys are, all PEM.
#[derive(Clone, Debug, Default)]
pub struct Files {
    pub authorities: PathBuf,
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// Who we are there, and whom we believe; and until when, in Unix seconds, our certificate is good.
pub fn tls(files: &Files) -> Result<(Arc<ClientConfig>, i64), TlsError> {
    let mut roots = RootCertStore::empty();
    for authority in certificates(&files.authorities)? {
        let bad = |e| TlsError::Authorities(format!("{}: {e}", files.authorities.display()));
        roots.add(authority).map_err(bad)?;
    }
    let key = PrivateKeyDer::from_pem_slice(&read(&files.key)?)
        .map_err(|e| TlsError::Pem(files.key.clone(), e.to_string()))?;
    let chain = certificates(&files.certificate)?;
    let good_until = chain.first().map(|own| expiry(own)).unwrap_or_default();
    let mut config = ClientConfig::builder_with_provider(provider::default_provider().into())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(TlsError::Library)?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .map_err(|error| TlsError::Key { cert: files.certificate.clone(), key: files.key.clone(), error })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok((Arc::new(config), good_until))
}

/// Why there is no answer. The texts are for the log.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    #[error("as many requests as may be are on their way to it")]
    Crowded,
    #[error("not reached: {0}")]
    Unreached(String),
    #[error("not trusted: {0}")]
    Untrusted(String),
    #[error("no answer in time")]
    Late,
    #[error("broken off: {0}")]
    Broken(String),
}

impl Trouble {
    /// What a failed exchange means: a TLS alert behind the handshake is how a server says that it does not take our certificate.
    fn of(error: &hyper::Error) -> Trouble {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
        while let Some(error) = cause {
            let tls = error.downcast_ref::<io::Error>().and_then(|e| e.get_ref());
            if let Some(rustls::Error::AlertReceived(alert)) = tls.and_then(|e| e.downcast_ref::<rustls::Error>()) {
                return Trouble::Untrusted(format!("it says {alert:?}"));
            }
            cause = error.source();
        }
        Trouble::Broken(error.to_string())
    }
}

/// How the body of a request goes on: as long as it does, and while its sender is waited for, the other system is not late.
#[derive(Clone)]
pub struct Progress(Arc<Mutex<Going>>);

struct Going {
    last: Instant,
    /// The next is the sender's to do, who is timed where the body is read.
    senders: bool,
}

impl Progress {
    pub fn begin() -> Progress {
        Progress(Arc::new(Mutex::new(Going { last: Instant::now(), senders: false })))
    }
    /// The other system has it all, or is to take the next piece.
    pub fn step(&self) {
        *self.going() = Going { last: Instant::now(), senders: false };
    }
    /// The sender is to give the next piece.
    pub fn waits(&self) {
        self.going().senders = true;
    }
    /// There is somebody now who takes it.
    fn taken(&self) {
        self.going().last = Instant::now();
    }
    /// Since when the other system is waited for; now, while it is not.
    fn last(&self) -> Instant {
        let going = self.going();
        if going.senders { Instant::now() } else { going.last }
    }
    fn going(&self) -> MutexGuard<'_, Going> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }
}

/// A connection; whoever drops it ends it at once, whatever is half sent or half read.
struct Connection {
    send: SendRequest<Payload>,
    task: AbortHandle,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub struct Upstream {
    /// `https`, authority, and what every path begins with.
    address: Uri,
    tls: Arc<ClientConfig>,
    patience: Duration,
    crowd: Arc<Crowd>,
    idle: Mutex<Vec<(Connection, Instant)>>,
}

impl Upstream {
    pub fn new(address: Uri, tls: Arc<ClientConfig>, patience: Duration, most: usize) -> Arc<Upstream> {
        Arc::new(Upstream { address, tls, patience, crowd: Crowd::new(most), idle: Mutex::default() })
    }

    /// The value of `host` in requests to it.
    pub fn host(&self) -> &str {
        self.address.authority().map_or("", |authority| authority.as_str())
    }

    /// As the configuration has it.
    pub fn address(&self) -> String {
        self.address.to_string().trim_end_matches('/').to_owned()
    }

    /// Its path for one of ours, query included.
    pub fn path(&self, ours: &str) -> String {
        format!("{}{ours}", self.address.path().trim_end_matches('/'))
    }

    /// A place for a request, until its answer is whole.
    pub fn place(&self, sender: Sender) -> Result<Place, Trouble> {
        self.crowd.enter(sender).ok_or(Trouble::Crowded)
    }

    /// Sends a request, and gives the answer's head with its body as it comes.
    pub async fn send(
        self: &Arc<Self>,
        place: Place,
        mut request: Request<Payload>,
        sent: &Progress,
    ) -> Result<Answer, Trouble> {
        while let Some(connection) = self.kept() {
            match self.exchange(connection, request, sent).await {
                Ok((connection, response)) => return Ok(self.answer(connection, response, place)),
                Err((_, Some(unsent))) => request = unsent,
                Err((trouble, None)) => return Err(trouble),
            }
        }
        let connection = self.connect().await?;
        sent.taken();
        match self.exchange(connection, request, sent).await {
            Ok((connection, response)) => Ok(self.answer(connection, response, place)),
            Err((trouble, _)) => Err(trouble),
        }
    }

    /// One request on one connection. An error gives the request back where it never left.
    async fn exchange(
        &self,
        mut connection: Connection,
        request: Request<Payload>,
        sent: &Progress,
    ) -> Result<(Connection, Response<Incoming>), (Trouble, Option<Request<Payload>>)> {
        let done = {
            let mut asked = Box::pin(connection.send.try_send_request(request));
            loop {
                let until = sent.last() + self.patience;
                match timeout_at(until, &mut asked).await {
                    Ok(done) => break done,
                    Err(_) if sent.last() + self.patience > until => {}
                    Err(_) => return Err((Trouble::Late, None)),
                }
            }
        };
        match done {
            Ok(response) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
                Err((Trouble::Broken("it speaks another protocol from here on".into()), None))
            }
            Ok(response) => Ok((connection, response)),
            Err(mut failed) => {
                let unsent = failed.take_message();
                Err((Trouble::of(failed.error()), unsent))
            }
        }
    }

    /// A connection that was kept and is still good, the last used first.
    fn kept(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(|e| e.into_inner());
        idle.retain(|(connection, since)| since.elapsed() < IDLE && connection.send.is_ready());
        idle.pop().map(|(connection, _)| connection)
    }

    fn keep(&self, connection: Connection) {
        let mut idle = self.idle.lock().unwrap_or_else(|e| e.into_inner());
        idle.retain(|(_, since)| since.elapsed() < IDLE);
        idle.push((connection, Instant::now()));
    }

    async fn connect(&self) -> Result<Connection, Trouble> {
        let late = |_| Trouble::Unreached(format!("no connection in {CONNECT:?}"));
        timeout(CONNECT, self.connect_patiently()).await.map_err(late)?
    }

    async fn connect_patiently(&self) -> Result<Connection, Trouble> {
        let unreached = |e: io::Error| Trouble::Unreached(e.to_string());
        let host = self.address.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(host.to_owned()).map_err(|e| Trouble::Unreached(e.to_string()))?;
        let tcp = TcpStream::connect((host, self.address.port_u16().unwrap_or(443))).await.map_err(unreached)?;
        let _ = tcp.set_nodelay(true);
        let connector = tokio_rustls::TlsConnector::from(self.tls.clone());
        let tls =
            connector.connect(name, tcp).await.map_err(|e| match e.get_ref().map(|e| e.is::<rustls::Error>()) {
                Some(true) => Trouble::Untrusted(e.to_string()),
                _ => unreached(e),
            })?;
        let shaken = http1::Builder::new().max_buf_size(PIECE).handshake(TokioIo::new(tls)).await;
        let (send, connection) = shaken.map_err(|e| Trouble::Unreached(e.to_string()))?;
        let task = tokio::spawn(connection).abort_handle();
        Ok(Connection { send, task })
    }

    /// The answer's body is read in a task of its own, no further ahead than its bound; the connection is kept once it is whole.
    fn answer(self: &Arc<Self>, connection: Connection, response: Response<Incoming>, place: Place) -> Answer {
        let (head, body) = response.into_parts();
        if body.is_end_stream() {
            self.keep_when_ready(connection, place);
            return Answer { head, body: None };
        }
        let length = body.size_hint().exact();
        let (pieces, ahead) = mpsc::channel(AHEAD);
        let upstream = self.clone();
        tokio::spawn(async move {
            match upstream.pour(body, &pieces).await {
                Ok(()) => upstream.keep_when_ready(connection, place),
                Err(why) => {
                    drop((connection, place));
                    // Half an answer must not pass for the whole, however late its caller reads on.
                    let _ = pieces.send(Err(why)).await;
                }
            }
        });
        Answer { head, body: Some((ahead, length)) }
    }

    fn keep_when_ready(self: &Arc<Self>, mut connection: Connection, place: Place) {
        if connection.send.is_ready() {
            return self.keep(connection);
        }
        let upstream = self.clone();
        tokio::spawn(async move {
            if let Ok(Ok(())) = timeout(IDLE, connection.send.ready()).await {
                upstream.keep(connection);
            }
            drop(place);
        });
    }

    /// Hands all of it on.
    async fn pour(&self, mut body: Incoming, pieces: &mpsc::Sender<io::Result<bytes::Bytes>>) -> io::Result<()> {
        loop {
            let frame = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx));
            let late = |_| io::Error::from(io::ErrorKind::TimedOut);
            let Some(frame) = timeout(self.patience, frame).await.map_err(late)? else { return Ok(()) };
            // Trailers say nothing that our callers know.
            let Ok(data) = frame.map_err(io::Error::other)?.into_data() else { continue };
            let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
            timeout(UNREAD, pieces.send(Ok(data))).await.map_err(late)?.map_err(gone)?;
        }
    }
}

/// An answer: its head, and its body with the length that it says.
pub struct Answer {
    pub head: http::response::Parts,
    pub body: Option<(Pieces, Option<u64>)>,
}
