//! Sees to it that the site has a key for ID tokens (spec/identity.md §2.4): whichever node finds none makes one, and the registry
//! takes the first. From then on it is every node's.

use super::{Node, pki, report, rooms::Rooms};
use crate::{
    engine::{Fence, SITE},
    services::directory::{
        rows::Secret,
        signing::{AddSigningKey, SigningKey, keys},
    },
};
use aws_lc_rs::{rsa::KeyPair, signature::KeyPair as _};
use bytes::Bytes;
use rustls_pki_types::{PrivateKeyDer, pem::PemObject};
use std::{sync::Arc, time::Duration};

/// Between two looks while there is none.
const LOOK: Duration = Duration::from_secs(1);

/// Ends as soon as there is one.
pub async fn keep_a_key(node: Arc<Node>) {
    if node.settings.api.listen.is_none() {
        return;
    }
    loop {
        if let Some(rooms) = node.rooms.get() {
            match look(&node, rooms).await {
                Ok(true) => return,
                Ok(false) => {}
                Err(why) => tracing::debug!(event = "node.signing_key", why, "the site has no signing key yet"),
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Whether there is a key, now or already.
async fn look(node: &Node, rooms: &Rooms) -> Result<bool, String> {
    let view = rooms.engine.view(SITE, Fence::Linearizable).await.map_err(|e| e.to_string())?;
    if !keys(&view).map_err(|e| e.to_string())?.is_empty() {
        return Ok(true);
    }
    let key = tokio::task::spawn_blocking(make).await.map_err(|e| e.to_string())??;
    let command = AddSigningKey { key, first: true, ..Default::default() };
    let reply = report::submit(rooms, format!("node:{}", node.settings.node.number), command.into()).await?;
    if reply.is_done() { Ok(true) } else { Err(reply.text) }
}

/// A fresh RSA key of 2,048 bits.
pub fn make() -> Result<SigningKey, String> {
    read(pki::rsa_key().map_err(|e| e.to_string())?)
}

/// The RSA key that a PEM text holds.
pub fn read(pem: String) -> Result<SigningKey, String> {
    let pair = pair(&pem)?;
    let public = pair.public_key();
    Ok(SigningKey {
        modulus: Bytes::copy_from_slice(public.modulus().big_endian_without_leading_zero()),
        exponent: Bytes::copy_from_slice(public.exponent().big_endian_without_leading_zero()),
        private: Secret(pem),
        ..Default::default()
    })
}

fn pair(pem: &str) -> Result<KeyPair, String> {
    let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|e| e.to_string())?;
    let PrivateKeyDer::Pkcs8(key) = key else { return Err("not a key in PKCS#8".into()) };
    KeyPair::from_pkcs8(key.secret_pkcs8_der()).map_err(|e| e.to_string())
}
