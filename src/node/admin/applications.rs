//! The register of applications: wishes become the registry's commands, as for the other registers.

use super::{
    Told, fault,
    registers::{Plan, Wish, carry_out, found, fresh, page},
};
use crate::{
    node::Node,
    ops::admin::{AdminError, AdminRequest},
    services::directory::{
        applications::{self, Application, Attribute, Product, PublicKey, SetApplication},
        command::Kind,
    },
    store::{Reader, tables::Table},
    wire::jwt::{key_set, to_base64url},
};
use bytes::Bytes;
use serde_json::{Value, json};
use std::sync::Arc;

pub async fn list(node: Arc<Node>, r: AdminRequest) -> Told {
    page(&fresh(&node).await?, &r, Table::Applications, |client, row: Application| show(client, &row))
}

pub async fn show_one(node: Arc<Node>, r: AdminRequest) -> Told {
    let site = fresh(&node).await?;
    let client = r.path("id").trim();
    let row = applications::application(&site, client).map_err(fault)?;
    found("app", client, row.map(|row| show(client, &row)))
}

pub async fn put(node: Arc<Node>, r: AdminRequest) -> Told {
    let (site, client) = (fresh(&node).await?, r.path("id").trim().to_owned());
    let wish = Wish::of(&r)?;
    let old = applications::application(&site, &client).map_err(fault)?;
    let mut plan = Plan { existed: old.is_some(), commands: vec![] };
    if !wish.fields.keys().all(|k| k == "approved") || old.is_none() {
        plan.commands.push(command(&client, &wish)?.into());
    }
    plan.switch(&wish, "approved", Kind::Application, &client);
    let show = |site: &dyn Reader| {
        let row = applications::application(site, &client).map_err(fault)?;
        Ok(row.map(|row| show(&client, &row)))
    };
    carry_out(&node, &r, &site, "app", &client, wish, plan, &show).await
}

fn command(client: &str, wish: &Wish) -> Result<SetApplication, AdminError> {
    let keys = match wish.text("jwks") {
        text if text.is_empty() => vec![],
        text => key_set(&text).map_err(|bad| AdminError::bad_input(bad.to_string()))?,
    };
    let hex = |name: &str| match wish.text(name) {
        text if text.is_empty() => Ok(Bytes::new()),
        text => crate::node::pki::unhex(&text)
            .map(Bytes::from)
            .ok_or_else(|| AdminError::bad_input(format!("{name} is not hexadecimal"))),
    };
    let quota = wish.fields.get("quota").map_or(Some(0), |quota| quota.as_u64().and_then(|q| u32::try_from(q).ok()));
    Ok(SetApplication {
        client: client.to_owned(),
        name: wish.text("name"),
        ods: wish.text("ods"),
        products: products(wish),
        keys: keys.into_iter().map(PublicKey::from).collect(),
        redirect_uris: wish.list("redirect_uris"),
        attributes: attributes(wish),
        quota: quota.ok_or_else(|| AdminError::bad_input("quota is not a number of requests a second"))?,
        api_key: wish.on_off("api_key"),
        secret_salt: hex("secret_salt")?,
        secret_hash: hex("secret_hash")?,
        add_keys: wish.fields.get("add_keys").and_then(Value::as_bool).unwrap_or_default(),
        drop_keys: wish.list("drop_keys"),
        backchannel_logout_uri: wish.text("backchannel_logout_uri"),
        emergency: wish.on_off("emergency"),
        jwks_uri: wish.text("jwks_uri"),
        ..Default::default()
    })
}

/// `{"products": {"NAME": ["SCOPE", …]}}`
fn products(wish: &Wish) -> Vec<Product> {
    let all = wish.fields.get("products").and_then(Value::as_object).cloned().unwrap_or_default();
    let texts = |list: &Value| -> Vec<String> {
        list.as_array().into_iter().flatten().filter_map(|s| s.as_str().map(str::to_owned)).collect()
    };
    all.iter().map(|(name, list)| Product { name: name.clone(), scopes: texts(list), ..Default::default() }).collect()
}

/// `{"attributes": {"NAME": "VALUE"}}`
fn attributes(wish: &Wish) -> Vec<Attribute> {
    let all = wish.fields.get("attributes").and_then(Value::as_object).cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    all.iter().map(|(name, value)| Attribute { name: name.clone(), value: text(value), ..Default::default() }).collect()
}

/// The hash of the secret never leaves the registry; only whether there is one.
fn show(client: &str, row: &Application) -> Value {
    let products: serde_json::Map<String, Value> =
        row.products.iter().map(|p| (p.name.clone(), json!(p.scopes))).collect();
    let attributes: serde_json::Map<String, Value> =
        row.attributes.iter().map(|a| (a.name.clone(), json!(a.value))).collect();
    let key = |k: &PublicKey| {
        json!({
            "kty": "RSA", "alg": "RS512", "use": "sig", "kid": k.kid, "n": to_base64url(&k.modulus),
            "e": to_base64url(&k.exponent),
        })
    };
    json!({
        "id": client, "name": row.name, "ods": row.ods, "state": row.state(), "api_key": !row.key_off,
        "products": products, "kids": row.keys.iter().map(|k| k.kid.as_str()).collect::<Vec<_>>(),
        "keys": row.keys.iter().map(key).collect::<Vec<_>>(), "redirect_uris": row.redirect_uris,
        "attributes": attributes, "quota": row.quota, "emergency": row.emergency, "secret": !row.secret_hash.is_empty(),
        "backchannel_logout_uri": row.backchannel_logout_uri, "jwks_uri": row.jwks_uri,
    })
}
