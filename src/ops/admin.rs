//! The admin socket: HTTP/1.1 with JSON over a Unix socket; who may connect is the socket's file mode.
//!
//! The caller is the peer's user id, as the kernel tells it, and goes into the audit trail. Whoever wires the node
//! registers operations on an [`AdminRouter`]; a socket shows nothing that was not registered.

use super::codes::{self, Code, Kind};
use super::health::Health;
use super::http::{Served, answer as answer_probe, serve_connection};
use crate::access::caller::Caller;
use bytes::Bytes;
use http::{Method, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{collections::BTreeMap, future::Future, io, os::unix::fs::PermissionsExt, path::Path, pin::Pin, sync::Arc};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};

/// Longest request body, in bytes: an import of mailboxes is sent in pieces of this size.
pub const MAX_BODY: usize = 8 << 20;
/// Most operators' connections at once.
const MAX_CONNECTIONS: usize = 64;

/// Why an operation failed: the four lines that the command line shows, and its exit code.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdminError {
    pub what: String,
    pub why: String,
    pub fix: String,
    /// `SPN-…`
    pub code: String,
    /// Exit code of the command (`operations.md` §1).
    pub exit: u8,
    /// The command has shown all of it in its own document: scripts get no second one.
    #[serde(skip)]
    pub told: bool,
}

impl AdminError {
    /// From the catalogue, with words of its own for what failed and why.
    pub fn of(code: &Code, what: impl Into<String>, why: impl Into<String>) -> Self {
        let exit = match code.kind {
            Kind::Incorrect | Kind::Unsupported => 2,
            Kind::Busy => 4,
            Kind::Conflict | Kind::Forbidden | Kind::Stale | Kind::Unauthenticated => 5,
            Kind::NotFound | Kind::Gone => 6,
            Kind::Fault => 1,
        };
        AdminError {
            what: what.into(),
            why: why.into(),
            fix: code.fix.into(),
            code: code.code.into(),
            exit,
            told: false,
        }
    }
    /// A parameter that is missing or wrong.
    pub fn bad_input(why: impl Into<String>) -> Self {
        Self::of(&codes::ADMIN_BAD_REQUEST, codes::ADMIN_BAD_REQUEST.words, why)
    }
    pub fn with_fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = fix.into();
        self
    }
    /// See [`AdminError::told`].
    pub fn after_a_report(mut self) -> Self {
        self.told = true;
        self
    }
    pub fn with_exit(mut self, exit: u8) -> Self {
        self.exit = exit;
        self
    }
    fn status(&self) -> StatusCode {
        match self.exit {
            2 => StatusCode::BAD_REQUEST,
            4 => StatusCode::SERVICE_UNAVAILABLE,
            5 | 7 => StatusCode::CONFLICT,
            6 => StatusCode::NOT_FOUND,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// One operation asked for.
pub struct AdminRequest {
    /// Only `operator` is set: `uid:1000`.
    pub caller: Caller,
    /// Values of the pattern's `{names}`, percent-decoded.
    pub path: BTreeMap<&'static str, String>,
    pub query: BTreeMap<String, String>,
    /// `Null` where there was no body.
    pub body: Value,
}

impl AdminRequest {
    pub fn path(&self, name: &str) -> &str {
        self.path.get(name).map(String::as_str).unwrap_or_default()
    }
    pub fn query(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str)
    }
    /// `?dry_run`, `?dry_run=true` or `1`.
    pub fn flag(&self, name: &str) -> bool {
        matches!(self.query(name), Some("" | "true" | "1"))
    }
    /// The body as a type.
    pub fn input<T: serde::de::DeserializeOwned>(&self) -> Result<T, AdminError> {
        serde_json::from_value(self.body.clone()).map_err(|e| AdminError::bad_input(e.to_string()))
    }
}

type Reply = Pin<Box<dyn Future<Output = Result<Value, AdminError>> + Send>>;
type Handler = Box<dyn Fn(AdminRequest) -> Reply + Send + Sync>;

struct Route {
    method: Method,
    pattern: Vec<&'static str>,
    handler: Handler,
}

/// Operations by method and path pattern (`/v1/mailboxes/{id}`).
#[derive(Default)]
pub struct AdminRouter {
    routes: Vec<Route>,
}

impl AdminRouter {
    pub fn new() -> Self {
        Self::default()
    }
    pub fn get<F, R>(&mut self, pattern: &'static str, handler: F)
    where
        F: Fn(AdminRequest) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Value, AdminError>> + Send + 'static,
    {
        self.route(Method::GET, pattern, handler);
    }
    pub fn post<F, R>(&mut self, pattern: &'static str, handler: F)
    where
        F: Fn(AdminRequest) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Value, AdminError>> + Send + 'static,
    {
        self.route(Method::POST, pattern, handler);
    }
    /// Registers an operation. Earlier registrations win.
    pub fn route<F, R>(&mut self, method: Method, pattern: &'static str, handler: F)
    where
        F: Fn(AdminRequest) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Value, AdminError>> + Send + 'static,
    {
        let handler: Handler = Box::new(move |request| Box::pin(handler(request)));
        self.routes.push(Route { method, pattern: pattern.trim_start_matches('/').split('/').collect(), handler });
    }

    fn find(&self, method: &Method, path: &str) -> Option<(&Route, BTreeMap<&'static str, String>)> {
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        self.routes.iter().find_map(|route| {
            if route.method != *method || route.pattern.len() != parts.len() {
                return None;
            }
            let mut values = BTreeMap::new();
            for (pattern, part) in route.pattern.iter().zip(&parts) {
                match pattern.strip_prefix('{').and_then(|p| p.strip_suffix('}')) {
                    Some(name) => {
                        values.insert(name, super::http::percent_decode(part)?);
                    }
                    None if pattern == part => {}
                    None => return None,
                }
            }
            Some((route, values))
        })
    }

    async fn answer(&self, caller: Caller, request: http::Request<Incoming>) -> Served {
        let (head, body) = request.into_parts();
        let Some((route, path)) = self.find(&head.method, head.uri.path()) else {
            let why = format!("{} {} is not registered", head.method, head.uri.path());
            return refusal(&AdminError::of(&codes::ADMIN_NO_ROUTE, codes::ADMIN_NO_ROUTE.words, why));
        };
        let body = match Limited::new(body, MAX_BODY).collect().await {
            Ok(body) => body.to_bytes(),
            Err(e) => return refusal(&AdminError::bad_input(format!("the body cannot be read: {e}"))),
        };
        let body = match body.is_empty() {
            true => Value::Null,
            false => match serde_json::from_slice(&body) {
                Ok(value) => value,
                Err(e) => return refusal(&AdminError::bad_input(format!("the body is not JSON: {e}"))),
            },
        };
        let query = super::http::query_pairs(head.uri.query().unwrap_or_default());
        // Not the path as it came: there may be an NHS number in it (P10), and the reason may name one.
        let operation = (head.method.clone(), route.pattern.join("/"));
        match (route.handler)(AdminRequest { caller, path, query, body }).await {
            Ok(value) => Served::json(StatusCode::OK, &value),
            Err(error) => {
                tracing::info!(event = "admin.refused", method = %operation.0, path = operation.1, code = error.code,
                    "an operator's request was refused");
                refusal(&error)
            }
        }
    }
}

fn refusal(error: &AdminError) -> Served {
    let body = serde_json::to_value(serde_json::json!({ "error": error })).unwrap_or_default();
    Served::json(error.status(), &body)
}

/// Opens the socket with mode 0660. A socket file that nobody serves is replaced; a served one is an error.
pub async fn bind(path: &Path) -> io::Result<UnixListener> {
    if path.exists() {
        if UnixStream::connect(path).await.is_ok() {
            let text = format!("another process serves {}", path.display());
            return Err(io::Error::new(io::ErrorKind::AddrInUse, text));
        }
        std::fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
    Ok(listener)
}

/// Serves operators until `stop` turns true; probes, `/metrics` and `/version` too, from `health`.
pub async fn serve(listener: UnixListener, router: Arc<AdminRouter>, health: Health, mut stop: watch::Receiver<bool>) {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|s| *s) => return,
        };
        let Ok((stream, _)) = accepted else {
            // Out of descriptors, most likely: give others time to close some.
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            continue;
        };
        let Ok(permit) = room.clone().try_acquire_owned() else { continue };
        let (router, health, stop) = (router.clone(), health.clone(), stop.clone());
        tokio::spawn(async move {
            let _permit = permit;
            let operator = match stream.peer_cred() {
                Ok(peer) => format!("uid:{}", peer.uid()),
                Err(_) => return,
            };
            let caller = Caller { operator, ..Default::default() };
            let answer = move |request: http::Request<Incoming>| {
                let uri = request.uri();
                let probe = answer_probe(&health, request.method(), uri.path(), uri.query().unwrap_or_default());
                let (router, caller) = (router.clone(), caller.clone());
                async move {
                    match probe {
                        Some(served) => served,
                        None => router.answer(caller, request).await,
                    }
                }
            };
            serve_connection(stream, answer, stop).await;
        });
    }
}

/// The body of a JSON answer.
pub fn to_bytes(value: &Value) -> Bytes {
    let mut out = serde_json::to_vec(value).unwrap_or_default();
    out.push(b'\n');
    out.into()
}

#[cfg(test)]
mod tests {
    use super::super::admin_client::AdminClient;
    use super::*;
    use serde_json::json;

    #[tokio::test]
    async fn an_operator_is_known_by_uid_and_gets_json_or_the_four_lines() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.sock");
        let mut router = AdminRouter::new();
        router.post("/v1/things/{id}", |r: AdminRequest| async move {
            Ok(json!({ "id": r.path("id"), "who": r.caller.operator, "dry": r.flag("dry_run"), "body": r.body }))
        });
        router.get("/v1/broken", |_| async {
            Err(AdminError::of(&codes::ADMIN_BAD_REQUEST, "no", "because").with_fix("try yes").with_exit(5))
        });
        let (stop, stopped) = watch::channel(false);
        let server = tokio::spawn(serve(bind(&path).await.unwrap(), Arc::new(router), Health::default(), stopped));
        assert!(bind(&path).await.is_err(), "a served socket is not taken over");

        let client = AdminClient::new(&path);
        let got = client.post("/v1/things/a%20b?dry_run", &json!({"x": 1})).await.unwrap();
        let uid = nix::unistd::getuid();
        assert_eq!(got, json!({"id": "a b", "who": format!("uid:{uid}"), "dry": true, "body": {"x": 1}}));
        let error = client.get("/v1/broken").await.unwrap_err();
        assert_eq!((error.what.as_str(), error.fix.as_str(), error.exit), ("no", "try yes", 5));
        assert_eq!(client.text("/livez").await.unwrap(), (true, "ok\n".into()));
        assert_eq!(client.get("/v1/none").await.unwrap_err().code, "SPN-2001");
        stop.send(true).unwrap();
        server.await.unwrap();
        assert_eq!(AdminClient::new(&dir.path().join("none")).get("/").await.unwrap_err().exit, 4);
        bind(&path).await.expect("a socket file that nobody serves is replaced");
    }
}
