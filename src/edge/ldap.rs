//! The LDAP listener (directory.md §B): mutual TLS, LDAPv3 messages, answers from the registry as this node has it.
//!
//! Bounded (P6): connections, handshakes, message length, entries looked through, searches at once; whoever does not send
//! or does not read for too long is disconnected. A client may bind anonymously, because its certificate has already said
//! who it is; only registered, enabled systems get entries (P5). Draining: no more connections, and open ones end after
//! their present request with the notice that RFC 4511 §4.4.1 gives for it.

use super::admit::{party, refused};
use super::backend::Backend;
use super::busiest::Busiest;
use super::meter::Meter;
use super::peer::{Judgement, Peer};
use super::problem::kind_of;
use super::strangers::{self, Refusing, Stranger, Strangers};
use super::tls::{self, Tls};
use crate::access::caller::Caller;
use crate::access::gate::{BadRules, Gate, Permit};
use crate::access::rules;
use crate::engine::{Command, services};
use crate::ops::codes::{self, Kind};
use crate::ops::metrics::{CONNECTIONS, CONNECTIONS_REFUSED, TIMEOUTS, TLS_HANDSHAKES};
use crate::seam::clock::Clock;
use crate::services::directory::ldap;
use crate::services::trail::command::{Staff, TrailCommand};
use crate::wire::ldap::{
    Code, Entry, MAX_MESSAGE, Message, Request,
    ber::{self, BadBer},
    message, put_entry, put_notice, put_result, tag,
};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

const LABEL: &str = "ldap";
/// Names of what can be asked; each has a rule.
pub const INTERACTIONS: &[&str] =
    &["directory.ldap.bind", "directory.ldap.search", "directory.ldap.compare", "directory.ldap.other"];
/// After a failed accept: descriptors are short, and a moment lets some close.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Bytes of entries that are written at once.
const CHUNK: usize = 32 << 10;
/// Longest base that the audit trail keeps, in characters.
const MAX_OBJECT: usize = 200;

/// Bounds of the listener.
#[derive(Clone, Debug)]
pub struct Options {
    pub max_connections: usize,
    pub handshake_timeout: Duration,
    /// How long a connection may stay without a request.
    pub idle_timeout: Duration,
    /// How long a client may take for the rest of a message, or to read what it asked for.
    pub io_timeout: Duration,
    /// Searches at once; more wait.
    pub max_at_work: usize,
    pub drain_timeout: Duration,
    /// How long refusals of one kind are gathered before one record tells of them (`strangers`).
    pub gather: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            max_connections: 1_000,
            handshake_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(300),
            io_timeout: Duration::from_secs(30),
            max_at_work: 4,
            drain_timeout: Duration::from_secs(10),
            gather: Duration::from_secs(60),
        }
    }
}

/// What the listener's connections share.
pub struct Directory {
    options: Options,
    tls: Arc<Tls>,
    clock: Arc<dyn Clock>,
    backend: Arc<dyn Backend>,
    gate: Gate,
    meter: Meter,
    pub busiest: Busiest,
    turns: Semaphore,
    strangers: Strangers,
}

impl Refusing for Directory {
    fn strangers(&self) -> &Strangers {
        &self.strangers
    }
    fn backend(&self) -> &dyn Backend {
        self.backend.as_ref()
    }
}

impl Directory {
    /// An error means that an interaction has no access rule: the node must not start (P5).
    pub fn new(
        options: Options,
        tls: Arc<Tls>,
        clock: Arc<dyn Clock>,
        backend: Arc<dyn Backend>,
    ) -> Result<Arc<Directory>, BadRules> {
        Ok(Arc::new(Directory {
            gate: Gate::new(INTERACTIONS.iter().copied(), rules::LDAP)?,
            meter: Meter::new(LABEL, INTERACTIONS),
            busiest: Busiest::default(),
            turns: Semaphore::new(options.max_at_work),
            strangers: Strangers::new(options.gather),
            options,
            tls,
            clock,
            backend,
        }))
    }
}

/// Serves until `stop` turns true, then drains. Returns when the last connection is closed.
pub async fn serve(directory: Arc<Directory>, listener: TcpListener, mut stop: watch::Receiver<bool>) {
    let room = Arc::new(Semaphore::new(directory.options.max_connections));
    let mut connections = JoinSet::new();
    let stopping = stop.clone();
    let gathering = tokio::spawn(strangers::tend(directory.clone(), stop.clone()));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            _ = stop.wait_for(|s| *s) => break,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(e) => {
                tracing::warn!(event = "ldap.accept.failed", error = %e, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(permit) = room.clone().try_acquire_owned() else {
            metrics::counter!(CONNECTIONS_REFUSED, "listener" => LABEL).increment(1);
            continue;
        };
        let (directory, stopping) = (directory.clone(), stopping.clone());
        connections.spawn(async move {
            let _permit = permit;
            let gauge = metrics::gauge!(CONNECTIONS, "listener" => LABEL);
            gauge.increment(1.0);
            if let Some((stream, peer)) = shake(&directory, stream, address).await {
                converse(&directory, stream, &peer, stopping).await;
            }
            gauge.decrement(1.0);
        });
    }
    drop(listener);
    let deadline = Instant::now() + directory.options.drain_timeout;
    while let Ok(Some(_)) = tokio::time::timeout_at(deadline, connections.join_next()).await {}
    connections.shutdown().await;
    let _ = gathering.await;
    strangers::end(directory.as_ref()).await;
}

async fn shake(
    directory: &Directory,
    stream: TcpStream,
    address: std::net::SocketAddr,
) -> Option<(TlsStream<TcpStream>, Peer)> {
    let _ = stream.set_nodelay(true);
    let config = directory.tls.current().config.clone();
    let outcome = |outcome: &'static str| {
        metrics::counter!(TLS_HANDSHAKES, "listener" => LABEL, "outcome" => outcome).increment(1);
    };
    let stream = match timeout(directory.options.handshake_timeout, TlsAcceptor::from(config).accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(e)) => {
            outcome(tls::failure(&e));
            return None;
        }
        Err(_) => {
            outcome("timeout");
            return None;
        }
    };
    outcome("full");
    let peer = Peer::new(stream.get_ref().1.peer_certificates()?, address)?;
    Some((stream, peer))
}

/// Why a connection ends.
enum End {
    /// The client is done, or gone.
    Client,
    Slow,
    Bad(BadBer),
    Draining,
}

async fn converse(
    directory: &Directory,
    mut stream: TlsStream<TcpStream>,
    peer: &Peer,
    mut stopping: watch::Receiver<bool>,
) {
    let mut buffer = Vec::with_capacity(1_024);
    let end = loop {
        match next(directory, &mut stream, &mut buffer, &mut stopping).await {
            Ok(Message { request: Request::Unbind, .. }) => break End::Client,
            Ok(message) => {
                if let Err(end) = answer(directory, &mut stream, peer, message).await {
                    break end;
                }
            }
            Err(end) => break end,
        }
    };
    let (code, words) = match end {
        End::Client => (Code::Success, ""),
        End::Slow => {
            metrics::counter!(TIMEOUTS, "reason" => "ldap").increment(1);
            (Code::Unavailable, "the connection was idle too long")
        }
        End::Bad(why) => {
            tracing::debug!(event = "ldap.malformed", why = %why, "a client sent what is no LDAP message");
            (Code::Protocol, "the message cannot be read")
        }
        End::Draining => (Code::Unavailable, "the server is going out of service"),
    };
    if code != Code::Success {
        let mut out = vec![];
        put_notice(code, words, &mut out);
        let _ = timeout(directory.options.io_timeout, stream.write_all(&out)).await;
    }
    let _ = timeout(directory.options.io_timeout, stream.shutdown()).await;
}

/// The next whole message.
async fn next(
    directory: &Directory,
    stream: &mut TlsStream<TcpStream>,
    buffer: &mut Vec<u8>,
    stopping: &mut watch::Receiver<bool>,
) -> Result<Message, End> {
    loop {
        if let Some(length) = ber::frame(buffer, MAX_MESSAGE).map_err(End::Bad)?
            && buffer.len() >= length
        {
            let bytes: Vec<u8> = buffer.drain(..length).collect();
            return message(&bytes).map_err(End::Bad);
        }
        let patience = match buffer.is_empty() {
            true => directory.options.idle_timeout,
            false => directory.options.io_timeout,
        };
        let mut piece = [0; 4_096];
        let read = tokio::select! {
            read = timeout(patience, stream.read(&mut piece)) => read,
            _ = stopping.wait_for(|s| *s) => return Err(End::Draining),
        };
        match read {
            Err(_) => return Err(End::Slow),
            Ok(Ok(0) | Err(_)) => return Err(End::Client),
            Ok(Ok(n)) => buffer.extend_from_slice(&piece[..n]),
        }
    }
}

/// Why a client gets nothing: its result, and where it is the client's own, the code of the catalogue.
struct NotAdmitted {
    code: Code,
    words: &'static str,
    reason: Option<&'static str>,
}

/// May this client have entries now? As whom, for the audit trail.
fn admitted(directory: &Directory, peer: &Peer, interaction: &'static str) -> Result<Caller, NotAdmitted> {
    let not_now = |words| NotAdmitted { code: Code::Unavailable, words, reason: None };
    let never = |words, reason| NotAdmitted { code: Code::InsufficientAccess, words, reason: Some(reason) };
    match peer.judge(&directory.tls.current(), directory.clock.now().0) {
        Judgement::Good => {}
        Judgement::Refused => {
            return Err(never("the certificate is not valid any more", codes::CERTIFICATE_REFUSED.code));
        }
        Judgement::Unknown => return Err(not_now("the certificate cannot be judged now")),
    }
    let standing = directory.backend.standing(peer.certificate());
    let standing = standing.map_err(|_| not_now("the registry cannot be read on this node now"))?;
    let permit = directory.gate.permit(interaction, standing, peer.caller());
    permit
        .map(Permit::into_caller)
        .map_err(|denied| never("the certificate belongs to no registered, enabled system", refused(denied).code.code))
}

/// Why the trail tells of a result as a refusal, a stable word: a log-in that is not taken, a change, more than is given at once.
/// What only is not there, or not spoken here, is none.
fn refusal(code: Code, all: bool) -> Option<&'static str> {
    match code {
        Code::AuthMethod => Some("auth_method"),
        Code::InvalidCredentials => Some("invalid_credentials"),
        Code::AdminLimit => Some("admin_limit"),
        // Not where the client itself wanted no more.
        Code::SizeLimit if all => Some("size_limit"),
        Code::Unwilling => Some("unwilling"),
        _ => None,
    }
}

/// Whether a search wants more entries than are given at once.
fn wants_all(request: &Request) -> bool {
    matches!(request, Request::Search(search) if search.size_limit == 0 || search.size_limit > ldap::MAX_ENTRIES)
}

/// Leaves word of a refusal in the trail, before its result goes out (P4).
async fn turned_away(directory: &Directory, caller: &Caller, interaction: &'static str, reason: &str) {
    let known = reason != codes::CERTIFICATE_UNKNOWN.code;
    let stranger = Stranger { caller, interaction, reason, subject: None, known };
    strangers::told(directory, directory.clock.now().0, stranger, ("", String::new())).await;
}

fn counted(directory: &Directory, peer: &Peer, interaction: &'static str, code: Code, took: Duration) {
    let status = status(code);
    directory.meter.answered(interaction, status, took);
    directory.busiest.came(directory.clock.now().0, &peer.hash, || party(directory.backend.as_ref(), peer));
    directory.busiest.answered(&peer.hash, kind_of(status).is_some(), took);
}

async fn answer(
    directory: &Directory,
    stream: &mut TlsStream<TcpStream>,
    peer: &Peer,
    message: Message,
) -> Result<(), End> {
    let begun = Instant::now();
    let (id, mut out) = (message.id, vec![]);
    let (interaction, result_tag) = match &message.request {
        Request::Bind { .. } => ("directory.ldap.bind", tag::BIND),
        Request::Search(_) => ("directory.ldap.search", tag::DONE),
        Request::Compare { .. } => ("directory.ldap.compare", tag::COMPARE),
        Request::Extended(_) => ("directory.ldap.other", tag::EXTENDED),
        Request::Change(tag) => ("directory.ldap.other", *tag),
        // Searches are answered before the next request is read: there is nothing left to abandon.
        Request::Abandon | Request::Unbind => return Ok(()),
    };
    let code = match admitted(directory, peer, interaction) {
        Err(NotAdmitted { code, words, reason }) => {
            if let Some(reason) = reason {
                turned_away(directory, peer.caller(), interaction, reason).await;
            }
            put_result(id, result_tag, code, words, None, &mut out);
            code
        }
        Ok(_) if message.critical => {
            put_result(id, result_tag, Code::CriticalExtension, "a critical control is not known", None, &mut out);
            Code::CriticalExtension
        }
        Ok(caller) => {
            let turn = directory.turns.acquire().await;
            let all = wants_all(&message.request);
            let Done { code, bytes, staff } = work(directory, message, result_tag).await;
            drop(turn);
            if let Some(reason) = refusal(code, all) {
                turned_away(directory, &caller, interaction, reason).await;
            }
            match noted(directory, caller, interaction, code, staff).await {
                Ok(()) => {
                    out = bytes;
                    code
                }
                Err(words) => {
                    put_result(id, result_tag, Code::Unavailable, words, None, &mut out);
                    Code::Unavailable
                }
            }
        }
    };
    counted(directory, peer, interaction, code, begun.elapsed());
    for chunk in out.chunks(CHUNK) {
        match timeout(directory.options.io_timeout, stream.write_all(chunk)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Err(End::Client),
            Err(_) => return Err(End::Slow),
        }
    }
    match timeout(directory.options.io_timeout, stream.flush()).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(End::Client),
        Err(_) => Err(End::Slow),
    }
}

/// Metrics tell outcomes in HTTP's words.
fn status(code: Code) -> u16 {
    match code {
        Code::Success | Code::CompareFalse | Code::CompareTrue | Code::SizeLimit => 200,
        Code::NoSuchObject | Code::NoSuchAttribute => 404,
        Code::InsufficientAccess => 403,
        Code::AuthMethod | Code::InvalidCredentials => 401,
        Code::Busy | Code::Unavailable => 503,
        _ => 400,
    }
}

/// A request that was done.
struct Done {
    code: Code,
    bytes: Vec<u8>,
    /// Where it was about members of staff: the base, and whom it shows.
    staff: Option<(String, Vec<String>)>,
}

/// A look at members of staff leaves its record before its entries go out (P4); all that one message shows are in one command.
async fn noted(
    directory: &Directory,
    caller: Caller,
    interaction: &'static str,
    code: Code,
    staff: Option<(String, Vec<String>)>,
) -> Result<(), &'static str> {
    let Some((base, people)) = staff else { return Ok(()) };
    let outcome = super::problem::kind_of(status(code)).map_or("ok", Kind::word);
    let staff = Staff {
        interaction: interaction.into(),
        outcome: outcome.into(),
        object: base.chars().take(MAX_OBJECT).collect(),
        detail: format!("people shown: {}", people.len()),
        people,
        ..Default::default()
    };
    let (key, payload) = (format!("staff directory {}", caller.certificate).into(), TrailCommand::from(staff).encode());
    let command = Command { service: services::TRAIL.0, key, payload, caller, ..Default::default() };
    let written = directory.backend.submit(command).await;
    written.map(|_| ()).map_err(|_| "the audit trail cannot be written now")
}

/// Whom entries are about; `None` where neither they nor the base are about people who work here.
fn staff(base: &str, entries: &[Entry]) -> Option<(String, Vec<String>)> {
    let mut people: Vec<String> = entries.iter().filter_map(|e| ldap::person_of(&e.dn)).map(str::to_owned).collect();
    people.sort_unstable();
    people.dedup();
    let about = !people.is_empty() || base.to_ascii_lowercase().contains("ou=people");
    about.then(|| (base.to_owned(), people))
}

/// The answer's bytes. Rows are read off the runtime's threads: a wide search must not hold up the others.
async fn work(directory: &Directory, message: Message, result_tag: u8) -> Done {
    let (id, paged) = (message.id, message.paged);
    let plain = |code: Code, words: &str| {
        let mut out = vec![];
        put_result(id, result_tag, code, words, None, &mut out);
        Done { code, bytes: out, staff: None }
    };
    let site = directory.backend.site();
    match message.request {
        Request::Bind { version, .. } if version != 3 => plain(Code::Protocol, "only version 3 is spoken"),
        Request::Bind { simple: false, .. } => plain(Code::AuthMethod, "only simple bind is offered"),
        Request::Bind { anonymous: false, .. } => {
            plain(Code::InvalidCredentials, "the client certificate says who you are: bind anonymously")
        }
        Request::Bind { .. } => plain(Code::Success, ""),
        Request::Compare { dn, attribute, value } => match ldap::compare(site.as_ref(), &dn, &attribute, &value) {
            Ok(code) => {
                let about = ldap::person_of(&dn).map(|uid| (dn.clone(), vec![uid.to_owned()]));
                Done { staff: about, ..plain(code, "") }
            }
            Err(fault) => unreadable(&fault.to_string(), plain),
        },
        Request::Search(search) => {
            let base = search.base.clone();
            let told = tokio::task::spawn_blocking(move || ldap::search(site.as_ref(), &search, paged.as_ref())).await;
            match told {
                Ok(Ok(told)) => {
                    let mut out = vec![];
                    told.entries.iter().for_each(|entry| put_entry(id, entry, &mut out));
                    put_result(id, result_tag, told.code, told.words, told.cookie.as_deref(), &mut out);
                    Done { code: told.code, bytes: out, staff: staff(&base, &told.entries) }
                }
                Ok(Err(fault)) => unreadable(&fault.to_string(), plain),
                Err(_) => plain(Code::Unavailable, "the search was broken off"),
            }
        }
        Request::Extended(_) => plain(Code::Protocol, "no extended operation is offered"),
        _ => plain(Code::Unwilling, "the directory is changed by the site's operators only"),
    }
}

fn unreadable(why: &str, plain: impl Fn(Code, &str) -> Done) -> Done {
    tracing::error!(event = "directory.unreadable", why, "the registry cannot be read now");
    plain(Code::Unavailable, "the registry cannot be read on this node now")
}
