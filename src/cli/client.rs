//! Talks to a node over its admin socket: HTTP/1.1 and JSON, one connection per command.

use super::{
    codes,
    failure::{Exit, Failure},
};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// Longest answer taken: a full page of any list is far smaller.
const MAX_ANSWER: usize = 64 << 20;
/// A write waits at most this long for a majority on the node's side; the client waits a little longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// The admin interface of one node.
pub struct Client {
    socket: PathBuf,
}

impl Client {
    pub fn new(socket: &Path) -> Self {
        Client { socket: socket.into() }
    }

    pub async fn get(&self, path: &str) -> Result<Value, Failure> {
        self.call(Method::GET, path, None).await
    }
    pub async fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.call(Method::POST, path, Some(body)).await
    }
    pub async fn put(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.call(Method::PUT, path, Some(body)).await
    }

    async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, Failure> {
        let call = tokio::time::timeout(PATIENCE, self.exchange(method, path, body));
        let (status, bytes) = call.await.map_err(|_| self.unreachable("no answer within a minute"))??;
        let value: Value = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap_or_default() };
        if (200..300).contains(&status) {
            return Ok(value);
        }
        match value.get("error").and_then(|e| serde_json::from_value::<Failure>(e.clone()).ok()) {
            Some(failure) => Err(failure),
            None => Err(Failure::new(
                Exit::Failed,
                codes::ANSWER,
                "the node's answer was not understood",
                format!("{path} was answered with status {status}"),
                "compare `spine --version` with the running node's",
            )),
        }
    }

    async fn exchange(&self, method: Method, path: &str, body: Option<&Value>) -> Result<(u16, bytes::Bytes), Failure> {
        let lost = |e: hyper::Error| self.unreachable(&format!("the connection broke: {e}"));
        let stream = tokio::net::UnixStream::connect(&self.socket).await;
        let stream = stream.map_err(|e| self.unreachable(&e.to_string()))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(lost)?;
        let driver = tokio::spawn(connection);
        let body = body.map(Value::to_string).unwrap_or_default();
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "spine")
            .header("content-type", "application/json")
            .body(Full::new(bytes::Bytes::from(body)))
            .map_err(|e| self.unreachable(&e.to_string()))?;
        let response = sender.send_request(request).await.map_err(lost)?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
        let bytes = body.map_err(|e| self.unreachable(&format!("the answer broke off: {e}")))?.to_bytes();
        driver.abort();
        Ok((status, bytes))
    }

    fn unreachable(&self, why: &str) -> Failure {
        Failure::new(
            Exit::Unreachable,
            codes::UNREACHABLE,
            "no node answers",
            format!("{}: {why}", self.socket.display()),
            "start the node (`spine serve`), or name its socket with --socket PATH",
        )
    }
}

/// One path segment or query value, percent-encoded.
pub fn encoded(part: &str) -> String {
    let mut out = String::new();
    for b in part.bytes() {
        match b {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(b as char),
            _ => out.push_str(&format!("%{b:02X}")),
        }
    }
    out
}
