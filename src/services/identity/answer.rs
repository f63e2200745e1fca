//! Replies → responses (spec/identity.md §3; RFC 7009 §2.2, RFC 7662 §2.2).

use super::{Identity, command::IdentityReply, refusal::Refusal, routes::Route, rows::AccessToken};
use serde_json::{Value, json};

/// A response of the service: JSON always.
#[derive(Clone, Debug, PartialEq)]
pub struct Response {
    pub status: u16,
    /// For the `allow` header.
    pub allow: Option<&'static str>,
    pub body: Value,
}

impl Response {
    pub fn of(status: u16, body: Value) -> Response {
        Response { status, allow: None, body }
    }
    pub fn not_found() -> Response {
        Response::of(404, json!({"error": "invalid_request", "error_description": "Not Found"}))
    }
    pub fn wrong_method(allow: &'static str) -> Response {
        let body = json!({"error": "invalid_request", "error_description": "Method Not Allowed"});
        Response { allow: Some(allow), ..Response::of(405, body) }
    }
    /// §4.4: every token here is an application's.
    pub fn no_user_info(attempt: u64) -> Response {
        let text = "The Userinfo endpoint is only supported for Combined Auth integrations. \
                    Currently this is only for NHS CIS2 authentications - for more guidance see \
                    the documentation of user-restricted access";
        problem(400, "invalid_request", text, attempt)
    }
}

fn problem(status: u16, error: &str, description: &str, attempt: u64) -> Response {
    let body = json!({"error": error, "error_description": description, "message_id": format!("{attempt:016x}")});
    Response::of(status, body)
}

impl Identity {
    /// `replies` in the order of the calls.
    pub fn answer(&self, route: Route, replies: &[IdentityReply], attempt: u64) -> Response {
        let refused = replies.iter().find_map(|reply| Refusal::of(reply.refusal));
        if let Some(refusal) = refused {
            let (status, error, text) = refusal.told();
            return problem(status, error, text, attempt);
        }
        match route {
            Route::Token => replies.first().map(token).unwrap_or_else(Response::not_found),
            Route::Introspect => {
                let found = replies.iter().find_map(|reply| Some((reply.found.as_ref()?, reply.refresh)));
                let told = found.map(|(row, refresh)| self.active(row, refresh));
                Response::of(200, told.unwrap_or_else(|| json!({"active": false})))
            }
            _ => Response::of(200, json!({})),
        }
    }

    /// Where an application has its tokens from, and how it may prove itself (SMART App Launch 2, "smart-configuration").
    pub fn smart_configuration(&self) -> Response {
        let at = |path: &str| format!("{}{}/{path}", self.url(), super::routes::BASE);
        Response::of(
            200,
            json!({
                "authorization_endpoint": at("authorize"),
                "token_endpoint": self.token_url(),
                "introspection_endpoint": at("introspect"),
                "revocation_endpoint": at("revoke"),
                "grant_types_supported": [
                    "client_credentials",
                    "authorization_code",
                    "refresh_token",
                    "urn:ietf:params:oauth:grant-type:token-exchange",
                ],
                "response_types_supported": ["code"],
                "token_endpoint_auth_methods_supported": ["private_key_jwt", "client_secret_post"],
                "token_endpoint_auth_signing_alg_values_supported": ["RS512"],
                "code_challenge_methods_supported": ["S256"],
                "capabilities": ["client-confidential-asymmetric", "client-confidential-symmetric"],
            }),
        )
    }

    fn active(&self, row: &AccessToken, refresh: bool) -> Value {
        let mut told = json!({
            "active": true, "client_id": row.client, "scope": row.scopes.join(" "), "exp": row.expires / 1_000,
            "iss": self.url(), "auth_level": row.level, "auth_type": if row.user.is_empty() { "app" } else { "user" },
            "auth_grant_type": row.grant, "auth_provider": row.provider,
        });
        // A refresh token is shown to no API, and has no type of theirs.
        if !refresh {
            told["token_type"] = json!("Bearer");
            told["iat"] = json!(row.issued / 1_000);
        }
        told
    }

    pub(super) fn ping(&self) -> Response {
        Response::of(200, self.version())
    }

    pub(super) fn status(&self, known: bool) -> Response {
        if !known {
            let text = "Invalid api key for _status monitoring endpoint";
            return Response::of(401, json!({"error": "Access Denied", "error_description": text}));
        }
        let mut body = self.version();
        body["status"] = json!("pass");
        body["checks"] = json!({"identity:token": [{"status": "pass"}]});
        Response::of(200, body)
    }

    fn version(&self) -> Value {
        let version = &self.options.version;
        json!({"version": version, "revision": version, "releaseId": version, "commitId": version})
    }

    pub fn url(&self) -> &str {
        self.options.url.trim_end_matches('/')
    }
}

/// Numbers are texts here, as clients know them. `expires_in` is told a second short, so that no client uses a token
/// that ends on its way.
fn token(reply: &IdentityReply) -> Response {
    let expires_in = (reply.life / 1_000).saturating_sub(1);
    Response::of(
        200,
        json!({
            "access_token": reply.token.0, "expires_in": expires_in.to_string(), "token_type": "Bearer",
            "issued_at": reply.issued.to_string(),
        }),
    )
}
