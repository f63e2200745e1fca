//! Signed JWTs as an application makes them (spec/identity.md §3), and the token that one gives.

use super::record::{Application, Record};
use crate::{
    cli::failure::{Failure, failure, file},
    ops::codes,
    wire::jwt::to_base64url,
};
use aws_lc_rs::{
    rand::SystemRandom,
    rsa::KeyPair,
    signature::{KeyPair as _, RSA_PKCS1_SHA512},
};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use serde_json::{Value, json};
use std::{path::Path, sync::Arc, time::Duration};

/// How long a signed JWT is good for; five minutes is the most that is taken.
const LIFE_S: i64 = 240;
const PATIENCE: Duration = Duration::from_secs(10);

/// An application's private key.
pub struct Signer(KeyPair);

impl Signer {
    pub fn of_pem(pem: &str) -> Result<Signer, String> {
        let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|e| e.to_string())?;
        let PrivateKeyDer::Pkcs8(key) = key else { return Err("not a key in PKCS#8".into()) };
        KeyPair::from_pkcs8(key.secret_pkcs8_der()).map(Signer).map_err(|e| e.to_string())
    }

    /// The public half as a JWK.
    pub fn public(&self, kid: &str) -> Value {
        let public = self.0.public_key();
        let n = to_base64url(public.modulus().big_endian_without_leading_zero());
        let e = to_base64url(public.exponent().big_endian_without_leading_zero());
        json!({"kty": "RSA", "alg": "RS512", "use": "sig", "kid": kid, "n": n, "e": e})
    }

    /// A signed JWT for the token endpoint, good once.
    pub fn assertion(&self, client: &str, kid: &str, token_url: &str) -> Result<String, String> {
        let header = json!({"alg": "RS512", "typ": "JWT", "kid": kid});
        let exp = jiff::Timestamp::now().as_second() + LIFE_S;
        let jti = uuid::Uuid::new_v4().to_string();
        let claims = json!({"iss": client, "sub": client, "aud": token_url, "jti": jti, "exp": exp});
        let part = |v: &Value| to_base64url(v.to_string().as_bytes());
        let signed = format!("{}.{}", part(&header), part(&claims));
        let mut signature = vec![0; self.0.public_modulus_len()];
        let done = self.0.sign(&RSA_PKCS1_SHA512, &SystemRandom::new(), signed.as_bytes(), &mut signature);
        done.map_err(|e| e.to_string())?;
        Ok(format!("{signed}.{}", to_base64url(&signature)))
    }
}

/// A ready access token of an application, from the first node that answers.
pub async fn token(record: &Record, application: &Application) -> Result<String, Failure> {
    let pem = std::fs::read_to_string(&application.key_file)
        .map_err(|e| file("the application's key cannot be read", &application.key_file, &e))?;
    let trouble = |why: String| Failure::of(&codes::CLI_DEMO, "no token was given", why);
    let signer = Signer::of_pem(&pem).map_err(trouble)?;
    let mut last = String::from("the demo has no API listener");
    for node in record.nodes.iter().filter_map(|node| node.internet.as_deref()) {
        let jwt = signer.assertion(&application.client_id, &application.kid, &record.token_url).map_err(trouble)?;
        let asked = tokio::time::timeout(PATIENCE, ask(record, node, &jwt)).await;
        match asked.unwrap_or_else(|_| Err("it did not answer in time".into())) {
            Ok(told) => match told["access_token"].as_str() {
                Some(token) => return Ok(token.to_owned()),
                None => return Err(trouble(told["error_description"].as_str().unwrap_or("refused").to_owned())),
            },
            Err(why) => last = format!("{node}: {why}"),
        }
    }
    Err(failure(&codes::CLI_DEMO, "no token was given", last, "see `spine status`, and the nodes' logs"))
}

/// One request for a token.
async fn ask(record: &Record, node: &str, jwt: &str) -> Result<Value, String> {
    let kind = "urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer";
    let body = format!("grant_type=client_credentials&client_assertion_type={kind}&client_assertion={jwt}");
    let response = request(record, node, "/oauth2/token", "", Some(body), None).await?;
    serde_json::from_slice(response.body()).map_err(|_| "the answer is not JSON".into())
}

/// A smartcard: files of its certificate and key.
pub type Card<'a> = (&'a Path, &'a Path);

/// One request, over TLS that trusts the demo's own authority, with a smartcard where there is one: GET, or POST of a form.
pub async fn request(
    record: &Record,
    node: &str,
    path: &str,
    cookies: &str,
    form: Option<String>,
    card: Option<Card<'_>>,
) -> Result<http::Response<Bytes>, String> {
    let told = |e: &dyn std::fmt::Display| e.to_string();
    let address = node.trim_start_matches("https://");
    let mut roots = rustls::RootCertStore::empty();
    for authority in CertificateDer::pem_file_iter(&record.ca).map_err(|e| told(&e))? {
        roots.add(authority.map_err(|e| told(&e))?).map_err(|e| told(&e))?;
    }
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let config = rustls::ClientConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .map_err(|e| told(&e))?
        .with_root_certificates(roots);
    let config = match card {
        None => config.with_no_client_auth(),
        Some((cert, key)) => {
            let chain = CertificateDer::pem_file_iter(cert).map_err(|e| told(&e))?;
            let chain = chain.collect::<Result<Vec<_>, _>>().map_err(|e| told(&e))?;
            let key = PrivateKeyDer::from_pem_file(key).map_err(|e| told(&e))?;
            config.with_client_auth_cert(chain, key).map_err(|e| told(&e))?
        }
    };
    // The static program resolves no names.
    let tcp = tokio::net::TcpStream::connect(address.replace("localhost", "127.0.0.1")).await.map_err(|e| told(&e))?;
    let name = ServerName::try_from("localhost").map_err(|e| told(&e))?;
    let tls = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, tcp).await.map_err(|e| told(&e))?;
    let (mut send, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(tls)).await.map_err(|e| told(&e))?;
    let driver = tokio::spawn(connection);
    let mut builder = match &form {
        Some(_) => http::Request::post(path).header("content-type", "application/x-www-form-urlencoded"),
        None => http::Request::get(path),
    };
    if !cookies.is_empty() {
        builder = builder.header("cookie", cookies);
    }
    let body = Full::new(Bytes::from(form.unwrap_or_default()));
    let request = builder.header("host", address).body(body).map_err(|e| told(&e))?;
    let response = send.send_request(request).await.map_err(|e| told(&e))?;
    let (head, body) = response.into_parts();
    let body = body.collect().await.map_err(|e| told(&e))?.to_bytes();
    driver.abort();
    Ok(http::Response::from_parts(head, body))
}
