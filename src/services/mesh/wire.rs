//! From a request's head and body to commands. Everything that can be said without rows is said here, but a refusal
//! travels in the command: authorization is decided first, on the leader (mesh.md §6.7).

use super::{
    BodyInfo, Call, INLINE_LIMIT, Mesh, Response, Route,
    answer::{self, ping},
    auth,
    command::{Enquiry, Interaction, MeshCommand, Page, Release, Request, SendHeaders},
    headers::{Encoding, content_encoding, send_headers, value},
    query::{DEFAULT_RESULTS, DEFAULT_RICH},
    refusal::{self, Invalid, Problem, plain, validation},
    rows::{Handshake, Part},
};
use crate::{
    model::EpochMillis,
    store::Reader,
    wire::{
        mesh::values::{accepts_gzip, api_version, chunk_range, readable},
        record::Record,
    },
};
use bytes::Bytes;
use http::HeaderMap;

/// A client's words about itself in the audit trail: one line is enough to find who must update.
const MAX_CLIENT: usize = 160;

/// A request understood, and what its answer needs to know of it.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Stable dotted name for audit, metrics and logs.
    pub interaction: &'static str,
    /// Commands in order; one but for the test mode.
    pub calls: Vec<Call>,
    /// Whether all of them are wanted. Otherwise the first whose reply is not `elsewhere` is the answer.
    pub every: bool,
    pub(super) route: Route,
    /// API version of the answer, 1 or 2.
    pub(super) version: u8,
    pub(super) gzip: bool,
    pub(super) page: Page,
    pub(super) mailbox: String,
    /// The `Authorization` header, for [`Mesh::release`].
    pub(super) token: Bytes,
    pub(super) attempt: u64,
}

/// What the edge adds to a request of its own.
#[derive(Clone, Debug, Default)]
pub struct Attempt {
    /// Names this attempt at the token: a fresh random number, never from anything the client sent.
    pub number: u64,
    /// Earlier attempts with this very token that this node answered with 425, 429, 502, 503 or 504; mostly none.
    pub forgiven: Vec<u64>,
}

impl Mesh {
    /// Answers what needs neither engine nor body: pings, unknown paths, wrong methods, test mode where it is off.
    pub fn at_once(&self, route: &Route, headers: &HeaderMap) -> Option<Response> {
        let problem = match route {
            Route::Ping => return Some(ping(&self.options)),
            Route::NotFound => plain(404, "Not Found"),
            Route::MethodNotAllowed { allow } => {
                let mut response = answer::problem(&plain(405, "Method Not Allowed"), 1);
                response.headers.push(("allow", Bytes::from_static(allow.as_bytes())));
                return Some(response);
            }
            route if route.test_only() && !self.options.test_endpoints => plain(404, "Not Found"),
            Route::Lookup { ods, workflow, .. } if ods.trim().is_empty() || workflow.trim().is_empty() => {
                blank_path(if ods.trim().is_empty() { "ods_code" } else { "workflow_id" })
            }
            Route::WorkflowSearch { workflow } if workflow.trim().is_empty() => blank_path("workflow_id"),
            Route::Lookup { .. } | Route::WorkflowSearch { .. } if version(headers).is_err() => {
                refusal::accept_format()
            }
            _ => return None,
        };
        Some(answer::problem(&problem, 1))
    }

    /// Whether a body is worth receiving: false where the token is already known to be refused. Advice only; the
    /// leader decides. `site` is this node's copy of the registry.
    pub fn worth_reading(&self, route: &Route, headers: &HeaderMap, site: &dyn Reader, now: EpochMillis) -> bool {
        match route.authenticates() {
            None => true,
            Some(mailbox) => auth::verify(self, site, mailbox, &authorization(headers), now).is_ok_and(|v| v.is_ok()),
        }
    }

    /// Turns a request into commands. What can be refused without a decision of the leader's is refused here: bad
    /// bodies of the test mode.
    pub fn ask(
        &self,
        route: &Route,
        headers: &HeaderMap,
        body: BodyInfo,
        site: &dyn Reader,
        attempt: Attempt,
    ) -> Result<Ask, Response> {
        let mut ask = Ask {
            interaction: route.name(),
            calls: vec![],
            every: false,
            route: route.clone(),
            version: version(headers).unwrap_or(1),
            gzip: headers.get_all("accept-encoding").iter().any(|v| accepts_gzip(v.as_bytes())),
            page: Page::default(),
            mailbox: route.authenticates().unwrap_or_default().to_owned(),
            token: authorization(headers),
            attempt: attempt.number,
        };
        if let Some(request) = self.request(route, headers, body.clone(), attempt) {
            ask.page = request.page.clone().unwrap_or_default();
            ask.calls = vec![call(&ask.mailbox, request.into())];
        } else if matches!(
            route,
            Route::AdminReset { .. } | Route::AdminReport | Route::AdminEvent { .. } | Route::AdminMessage { .. }
        ) {
            ask.every = matches!(route, Route::AdminReset { .. });
            ask.calls = self.test_mode(route, body, site).map_err(|refused| answer::problem(&refused, ask.version))?;
        } else if let Some(enquiry) = enquiry(route, headers) {
            let key = [&enquiry.mailbox, &enquiry.ods, &enquiry.workflow].into_iter().find(|k| !k.is_empty());
            ask.calls = vec![call(key.map_or("mesh", |k| k), enquiry.clone().into())];
        }
        Ok(ask)
    }

    /// The command that lets an attempt's token come again, where the attempt was one with a token. Submit it when
    /// a request got 425, 429, 502, 503 or 504 and its outcome is not known; again until it succeeds.
    pub fn release(&self, ask: &Ask) -> Option<Call> {
        ask.route.authenticates()?;
        let (mailbox, token) = (ask.mailbox.clone(), ask.token.clone());
        let release = Release { mailbox, token, attempt: ask.attempt, ..Default::default() };
        Some(call(&ask.mailbox, release.into()))
    }

    fn request(&self, route: &Route, headers: &HeaderMap, body: BodyInfo, attempt: Attempt) -> Option<Request> {
        let mailbox = route.authenticates()?.to_owned();
        let mut request = Request {
            token: authorization(headers),
            client: client(headers),
            unread: body == BodyInfo::Skipped,
            version: version(headers).unwrap_or(1),
            attempt: attempt.number,
            forgiven: attempt.forgiven,
            mailbox,
            ..Default::default()
        };
        let interaction = match self.fill(&mut request, route, headers, body) {
            Ok(interaction) => interaction,
            Err((interaction, problem)) => {
                request.refusal = Some(problem);
                interaction
            }
        };
        request.interaction = interaction as u8;
        if version(headers).is_err() {
            request.refusal = Some(refusal::accept_format());
        }
        Some(request)
    }

    /// Fills in what the interaction needs; an error is the first thing wrong.
    fn fill(
        &self,
        request: &mut Request,
        route: &Route,
        headers: &HeaderMap,
        body: BodyInfo,
    ) -> Result<Interaction, (Interaction, Problem)> {
        use Interaction as I;
        let mailbox = request.mailbox.clone();
        let fail = |interaction| move |problem| (interaction, problem);
        Ok(match route {
            Route::Handshake { .. } => {
                request.handshake = Some(handshake(headers).map_err(fail(I::Handshake))?);
                I::Handshake
            }
            Route::List { query, .. } => {
                request.page = Some(self.page(&mailbox, query, DEFAULT_RESULTS).map_err(fail(I::List))?);
                I::List
            }
            Route::RichInbox { query, .. } => {
                request.page = Some(self.rich_page(&mailbox, query).map_err(fail(I::RichInbox))?);
                I::RichInbox
            }
            Route::RichOutbox { query, .. } => {
                let mut page = self.rich_page(&mailbox, query).map_err(fail(I::RichOutbox))?;
                page.max_results = page.max_results.min(DEFAULT_RICH);
                request.page = Some(page);
                I::RichOutbox
            }
            Route::Download { message, chunk, .. } => {
                request.message = message.clone();
                request.chunk = chunk.ok_or_else(bad_chunk_number).map_err(fail(I::Download))?;
                I::Download
            }
            Route::Head { message, .. } => {
                request.message = message.clone();
                I::Head
            }
            Route::Acknowledge { message, .. } => {
                request.message = message.clone();
                I::Acknowledge
            }
            Route::Track { message, .. } => {
                request.message = message.clone().ok_or_else(missing_message_id).map_err(fail(I::Track))?;
                I::Track
            }
            Route::TrackLocal { local_id, .. } => {
                request.local_id = local_id.clone().into();
                I::TrackLocal
            }
            Route::Send { .. } => {
                request.headers = Some(send_headers(headers, &mailbox).map_err(fail(I::Send))?);
                request.body = payload(body).map_err(fail(I::Send))?;
                I::Send
            }
            Route::SendChunk { message, chunk, .. } => {
                request.message = message.clone();
                request.chunk = chunk_headers(request, headers, *chunk).map_err(fail(I::SendChunk))?;
                request.body = payload(body).map_err(fail(I::SendChunk))?;
                I::SendChunk
            }
            Route::Count { .. } => I::Count,
            // `authenticates` lets nothing else through.
            _ => I::Update,
        })
    }
}

pub(super) fn call(key: &str, command: MeshCommand) -> Call {
    Call { key: Bytes::copy_from_slice(key.as_bytes()), payload: command.encode() }
}

/// The one `Authorization` header; none where there are two, which no client sends.
fn authorization(headers: &HeaderMap) -> Bytes {
    let mut all = headers.get_all("authorization").iter();
    match (all.next(), all.next()) {
        (Some(one), None) => Bytes::copy_from_slice(one.as_bytes()),
        _ => Bytes::new(),
    }
}

fn version(headers: &HeaderMap) -> Result<u8, ()> {
    let mut version = 1;
    for accept in headers.get_all("accept") {
        version = version.max(api_version(accept.as_bytes())?);
    }
    Ok(version)
}

/// What the client says of itself, for the audit trail.
fn client(headers: &HeaderMap) -> String {
    let mut out = String::new();
    for name in
        ["mex-clientversion", "mex-osname", "mex-osversion", "mex-osarchitecture", "mex-javaversion", "user-agent"]
    {
        let value = readable(value(headers, name));
        let room = MAX_CLIENT.saturating_sub(out.len() + 1);
        if value.is_empty() || room == 0 {
            continue;
        }
        if !out.is_empty() {
            out.push(' ');
        }
        out.extend(value.chars().filter(|c| !c.is_control()).take(room));
    }
    out
}

fn handshake(headers: &HeaderMap) -> Result<Handshake, Problem> {
    let required = ["mex-clientversion", "mex-osname", "mex-osversion"];
    let missing: Vec<_> = required.iter().filter(|name| value(headers, name).is_empty()).collect();
    if !missing.is_empty() {
        let line = |name: &&&'static str| Invalid { kind: "missing", place: "header", name, text: "Field required" };
        return Err(validation(&missing.iter().map(line).collect::<Vec<_>>()));
    }
    let text = |name| readable(value(headers, name)).chars().take(MAX_CLIENT).collect::<String>();
    Ok(Handshake {
        client_version: text("mex-clientversion"),
        os_name: text("mex-osname"),
        os_version: text("mex-osversion"),
        os_architecture: text("mex-osarchitecture"),
        java_version: text("mex-javaversion"),
        user_agent: text("user-agent"),
        ..Default::default()
    })
}

/// The chunk that path and `mex-chunk-range` agree on (mesh.md §6.8).
fn chunk_headers(request: &mut Request, headers: &HeaderMap, chunk: Option<u32>) -> Result<u32, Problem> {
    let range = chunk_range(value(headers, "mex-chunk-range"));
    let number = match (range, chunk) {
        (Some((n, _)), Some(chunk)) if n == chunk => n,
        _ => return Err(refusal::invalid_chunks().about(&request.message)),
    };
    let gzip = match content_encoding(headers) {
        Encoding::None => false,
        Encoding::Gzip => true,
        Encoding::Other => return Err(refusal::changed_encoding().about(&request.message)),
    };
    request.headers = Some(SendHeaders { gzip, ..Default::default() });
    Ok(number)
}

/// An encoded `Part`, empty for an empty body; that is refused after the recipient was looked at.
fn payload(body: BodyInfo) -> Result<Bytes, Problem> {
    let part = match body {
        BodyInfo::TooLarge => return Err(refusal::too_large()),
        BodyInfo::Inline(bytes) if bytes.len() > INLINE_LIMIT => return Err(refusal::too_large()),
        BodyInfo::Inline(bytes) if !bytes.is_empty() => {
            Part { len: bytes.len() as u64, inline: bytes, ..Default::default() }
        }
        BodyInfo::Blob { digest, len } if len > 0 => {
            Part { digest: Bytes::copy_from_slice(&digest), len, ..Default::default() }
        }
        _ => return Ok(Bytes::new()),
    };
    Ok(part.encode())
}

fn enquiry(route: &Route, headers: &HeaderMap) -> Option<Enquiry> {
    let mut enquiry = Enquiry { client: client(headers), ..Default::default() };
    match route {
        Route::Lookup { ods, workflow, .. } => {
            (enquiry.kind, enquiry.ods, enquiry.workflow) = (1, ods.trim().to_owned(), workflow.trim().to_owned());
        }
        Route::WorkflowSearch { workflow } => (enquiry.kind, enquiry.workflow) = (2, workflow.trim().to_owned()),
        Route::MailboxInfo { mailbox } => (enquiry.kind, enquiry.mailbox) = (3, mailbox.clone()),
        Route::AdminMailbox { mailbox } => (enquiry.kind, enquiry.mailbox) = (4, mailbox.clone()),
        _ => return None,
    }
    Some(enquiry)
}

fn blank_path(name: &str) -> Problem {
    validation(&[Invalid {
        kind: "string_too_short",
        place: "path",
        name,
        text: "String should have at least 1 character",
    }])
}

fn bad_chunk_number() -> Problem {
    let text = "Input should be greater than or equal to 1";
    validation(&[Invalid { kind: "greater_than_equal", place: "path", name: "chunk_number", text }])
}

fn missing_message_id() -> Problem {
    validation(&[Invalid { kind: "missing", place: "query", name: "messageID", text: "Field required" }])
}
