//! The other end of the admin socket, for the command line.

use super::admin::{AdminError, to_bytes};
use super::codes;
use http::{Method, Request};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Longest answer taken, in bytes.
const MAX_ANSWER: usize = 256 << 20;

/// Calls one node's admin socket; a connection for each call.
#[derive(Clone, Debug)]
pub struct AdminClient {
    socket: PathBuf,
}

impl AdminClient {
    pub fn new(socket: &Path) -> Self {
        AdminClient { socket: socket.to_owned() }
    }
    /// `path` may carry a query. A failure comes back as the operation's own four lines.
    pub async fn get(&self, path: &str) -> Result<Value, AdminError> {
        self.call(Method::GET, path, &Value::Null).await
    }
    pub async fn post(&self, path: &str, body: &Value) -> Result<Value, AdminError> {
        self.call(Method::POST, path, body).await
    }
    pub async fn call(&self, method: Method, path: &str, body: &Value) -> Result<Value, AdminError> {
        let (ok, body) = self.raw(method, path, body).await?;
        let value: Value = serde_json::from_slice(&body)
            .map_err(|e| unreachable_because(&self.socket, format!("its answer is not JSON: {e}")))?;
        match (ok, value.get("error")) {
            (true, _) => Ok(value),
            (false, Some(error)) => {
                Err(serde_json::from_value(error.clone()).unwrap_or_else(|e| AdminError::bad_input(e.to_string())))
            }
            (false, None) => Err(unreachable_because(&self.socket, "its answer has no error in it".into())),
        }
    }

    /// The answer as text, for `/metrics` and the probes. The flag says whether the status was a success.
    pub async fn text(&self, path: &str) -> Result<(bool, String), AdminError> {
        let (ok, body) = self.raw(Method::GET, path, &Value::Null).await?;
        Ok((ok, String::from_utf8_lossy(&body).into_owned()))
    }

    /// The process at the other end, as the kernel says.
    pub async fn pid(&self) -> Option<i32> {
        tokio::net::UnixStream::connect(&self.socket).await.ok()?.peer_cred().ok()?.pid()
    }

    async fn raw(&self, method: Method, path: &str, body: &Value) -> Result<(bool, bytes::Bytes), AdminError> {
        let lost = |e: String| unreachable_because(&self.socket, e);
        let stream = tokio::net::UnixStream::connect(&self.socket).await.map_err(|e| lost(e.to_string()))?;
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(|e| lost(e.to_string()))?;
        let driver = tokio::spawn(connection);
        let body = if body.is_null() { Full::default() } else { Full::new(to_bytes(body)) };
        let request = Request::builder().method(method).uri(path).header("host", "spine").body(body);
        let request = request.map_err(|e| AdminError::bad_input(e.to_string()))?;
        let answer = sender.send_request(request).await.map_err(|e| lost(e.to_string()))?;
        let ok = answer.status().is_success();
        let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await.map_err(|e| lost(e.to_string()))?;
        driver.abort();
        Ok((ok, body.to_bytes()))
    }
}

fn unreachable_because(socket: &Path, why: String) -> AdminError {
    AdminError::of(&codes::ADMIN_UNREACHABLE, codes::ADMIN_UNREACHABLE.words, format!("{}: {why}", socket.display()))
}
