//! Signs ID tokens and logout tokens with the site's key (RS256, spec/identity.md §2.4, §2.5), of which the parsed form is kept until another
//! signs; and what proves the site to a provider elsewhere, with the key that the provider knows.

use crate::engine::draft::Fault;
use crate::services::directory::signing;
use crate::services::identity::login::citizens::Question;
use crate::store::Reader;
use crate::wire::jwt::to_base64url;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RSA_PKCS1_SHA512, RsaEncoding};
use rustls_pki_types::{PrivateKeyDer, pem::PemObject};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, PoisonError};

/// Made once for a listener.
#[derive(Default)]
pub struct IdTokens(Mutex<Option<(String, Arc<KeyPair>)>>);

impl IdTokens {
    /// An ID token of these claims.
    pub fn sign(&self, site: &dyn Reader, claims: &Value) -> Result<String, Fault> {
        self.sign_as(site, "JWT", claims)
    }

    /// A JWT of this type. Which key signs follows from `iat`, which all nodes have alike, not from a node's own clock.
    pub fn sign_as(&self, site: &dyn Reader, typ: &str, claims: &Value) -> Result<String, Fault> {
        let unusable = |why: &str| Fault::Other(format!("the site's signing key: {why}"));
        let now_ms = claims["iat"].as_u64().unwrap_or_default().saturating_mul(1_000);
        let signs = signing::signs(site, now_ms)?.ok_or_else(|| unusable("there is none yet"))?;
        let pair = self.pair(signs).ok_or_else(|| unusable("not a private key"))?;
        let header = json!({"typ": typ, "alg": "RS256", "kid": pair.0});
        signed(&pair.1, &RSA_PKCS1_SHA256, &header, claims).ok_or_else(|| unusable("it does not sign"))
    }

    /// The JWT by which the site proves itself to a provider elsewhere (`private_key_jwt`, RS512); `None` where the key is none.
    pub fn sign_question(question: &Question) -> Option<String> {
        let pair = parsed(&question.private.0)?;
        let header = json!({"typ": "JWT", "alg": "RS512", "kid": question.kid});
        signed(&pair, &RSA_PKCS1_SHA512, &header, &question.assertion)
    }

    fn pair(&self, (kid, row): (String, signing::SigningKey)) -> Option<(String, Arc<KeyPair>)> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pair) = kept.as_ref().filter(|(known, _)| *known == kid) {
            return Some(pair.clone());
        }
        let pair = (kid, Arc::new(parsed(&row.private.0)?));
        *kept = Some(pair.clone());
        Some(pair)
    }
}

fn parsed(pem: &str) -> Option<KeyPair> {
    let PrivateKeyDer::Pkcs8(key) = PrivateKeyDer::from_pem_slice(pem.as_bytes()).ok()? else { return None };
    KeyPair::from_pkcs8(key.secret_pkcs8_der()).ok()
}

fn signed(pair: &KeyPair, padding: &'static dyn RsaEncoding, header: &Value, claims: &Value) -> Option<String> {
    let part = |v: &Value| to_base64url(v.to_string().as_bytes());
    let text = format!("{}.{}", part(header), part(claims));
    let mut signature = vec![0; pair.public_modulus_len()];
    pair.sign(padding, &SystemRandom::new(), text.as_bytes(), &mut signature).ok()?;
    Some(format!("{text}.{}", to_base64url(&signature)))
}
