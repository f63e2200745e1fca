//! Trusted providers of citizens' log-ins, for operators (spec/identity.md §2.6).

use super::{Told, fault, registers::fresh, rooms};
use crate::{
    node::{Node, report, signing},
    ops::admin::{AdminError, AdminRequest},
    services::directory::{
        applications::PublicKey,
        issuers::{CitizenIssuer, LogInAt, MAX_ISSUERS, SetIssuer},
        rows,
        signing::thumbprint,
    },
    store::{Reader, tables::Table},
    wire::jwt::{key_set, to_base64url},
};
use serde_json::{Value, json};
use std::sync::Arc;

pub async fn list(node: Arc<Node>, _: AdminRequest) -> Told {
    Ok(json!({"items": told(&fresh(&node).await?)?}))
}

/// `{"issuer": "https://…", "jwks": "…", "remove": false, "log_in": {"authorize": "…", "token": "…", "client": "…", "key": PEM},
/// "no_log_in": false}`. What is not given stays.
pub async fn put(node: Arc<Node>, r: AdminRequest) -> Told {
    let text = |name: &str| r.body[name].as_str().unwrap_or_default();
    let remove = r.body["remove"] == true;
    let keys = if remove || text("jwks").is_empty() { vec![] } else { keys(text("jwks"))? };
    let log_in = match &r.body["log_in"] {
        Value::Null => None,
        wanted => Some(log_in(wanted)?),
    };
    let no_log_in = r.body["no_log_in"] == true;
    let issuer = text("issuer").to_owned();
    let command = SetIssuer { issuer, keys, remove, log_in, no_log_in, ..Default::default() };
    let reply = report::submit(rooms(&node)?, r.caller.operator.clone(), command.into()).await.map_err(fault)?;
    if !reply.is_done() {
        return Err(AdminError::bad_input(reply.text));
    }
    Ok(json!({"changed": reply.changed, "items": told(&fresh(&node).await?)?}))
}

/// A set as providers publish it: both algorithms may be named, of which the token says one (spec/identity.md §5).
fn keys(text: &str) -> Result<Vec<PublicKey>, AdminError> {
    let mut set: Value = serde_json::from_str(text).map_err(|_| AdminError::bad_input("the key set is no JSON"))?;
    for key in set["keys"].as_array_mut().into_iter().flatten() {
        if let Some(key) = key.as_object_mut().filter(|key| key.get("alg").is_some_and(|alg| alg == "RS256")) {
            key.remove("alg");
        }
    }
    let keys = key_set(&set.to_string()).map_err(|bad| AdminError::bad_input(bad.to_string()))?;
    Ok(keys.into_iter().map(PublicKey::from).collect())
}

fn told(site: &dyn Reader) -> Result<Vec<Value>, AdminError> {
    let all = rows::list::<CitizenIssuer>(site, Table::CitizenIssuers, "", MAX_ISSUERS).map_err(fault)?;
    let kids = |row: &CitizenIssuer| row.keys.iter().map(|key| key.kid.clone()).collect::<Vec<_>>();
    let one = |(issuer, row): &(String, CitizenIssuer)| {
        let mut told = json!({"issuer": issuer, "kids": kids(row)});
        if let Some(at) = &row.log_in {
            told["log_in"] = shown(at);
        }
        told
    };
    Ok(all.iter().map(one).collect())
}

/// Where citizens are sent, and the public key by which the provider knows the site. The private one is shown to nobody.
fn shown(at: &LogInAt) -> Value {
    let key = json!({
        "kty": "RSA", "kid": at.kid, "use": "sig", "alg": "RS512",
        "n": to_base64url(&at.modulus), "e": to_base64url(&at.exponent),
    });
    json!({"authorize": at.authorize, "token": at.token, "client_id": at.client, "jwk": key})
}

fn log_in(wanted: &Value) -> Result<LogInAt, AdminError> {
    let text = |name: &str| wanted[name].as_str().unwrap_or_default().trim().to_owned();
    let unusable = |why: String| AdminError::bad_input(format!("the private key for the provider: {why}"));
    let key = signing::read(text("key")).map_err(unusable)?;
    Ok(LogInAt {
        authorize: text("authorize"),
        token: text("token"),
        client: text("client"),
        kid: thumbprint(&key.modulus, &key.exponent),
        private: key.private,
        modulus: key.modulus,
        exponent: key.exponent,
        ..Default::default()
    })
}
