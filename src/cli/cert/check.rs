//! Making a handshake and explaining what happened, in the words of whoever has to mend it.

use super::{read, trouble};
use crate::{
    cli::{
        args::Globals,
        failure::{Done, Failure, exit, failure},
        output,
    },
    node::pki,
    ops::codes,
};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use serde_json::json;
use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A handshake across a country takes well under a second.
const PATIENCE: Duration = Duration::from_secs(10);

/// What to check.
pub struct Ask {
    pub host: String,
    pub name: Option<String>,
    pub ca: Option<PathBuf>,
    pub cert: Option<(PathBuf, PathBuf)>,
}

pub async fn run(globals: &Globals, ask: &Ask) -> Done {
    let address = address(&ask.host)?;
    let ca = match &ask.ca {
        Some(path) => path.clone(),
        None => globals.checked_settings().await?.supplier.ca,
    };
    let config = client(&ca, ask.cert.as_ref())?;
    let host = ask.host.rsplit_once(':').map_or(ask.host.as_str(), |(host, _)| host);
    let name = ask.name.clone().unwrap_or_else(|| host.trim_matches(['[', ']']).to_owned());
    let expected = ServerName::try_from(name.clone()).map_err(|e| unusable(&format!("--name {name}: {e}")))?;
    let shaken = tokio::time::timeout(PATIENCE, handshake(config, address, expected)).await;
    let stream = shaken.unwrap_or(Err(io::ErrorKind::TimedOut.into())).map_err(|e| explained(&e, ask, address))?;
    let (_, tls) = stream.get_ref();
    let chain = tls.peer_certificates().unwrap_or_default();
    let told = chain.first().map(|der| pki::describe_der(der)).transpose();
    let told = told.map_err(|e| trouble("the certificate cannot be read", Path::new(&ask.host), &e))?;
    let version = tls.protocol_version().map_or("?".into(), |v| format!("{v:?}"));
    let cipher = tls.negotiated_cipher_suite().map_or("?".into(), |c| format!("{:?}", c.suite()));
    let Some(told) = told else {
        return Err(unusable("the other side showed no certificate"));
    };
    let value = json!({
        "address": address.to_string(), "version": version, "cipher": cipher, "common_name": told.common_name,
        "names": told.names, "days_left": told.days_left(), "issuer": told.issuer, "fingerprint": told.fingerprint,
        "client_certificate": ask.cert.is_some(),
    });
    globals.out().one("Handshake", &value, "fingerprint", || {
        output::facts(&[
            ("handshake", "ok".into()),
            ("with", address.to_string()),
            ("version", format!("{version}, {cipher}")),
            ("certificate", format!("{} ({})", told.common_name, told.names.join(", "))),
            ("issued by", told.issuer.clone()),
            ("days left", told.days_left().to_string()),
        ])
    });
    Ok(())
}

/// Under TLS 1.3 a refused client certificate shows only when something is read, so a byte is asked for.
async fn handshake(
    config: ClientConfig,
    address: SocketAddr,
    name: ServerName<'static>,
) -> io::Result<tokio_rustls::client::TlsStream<tokio::net::TcpStream>> {
    let socket = tokio::net::TcpStream::connect(address).await?;
    let mut stream = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, socket).await?;
    stream.write_all(b"GET /messageexchange/_ping HTTP/1.1\r\nhost: spine\r\nconnection: close\r\n\r\n").await?;
    stream.read_u8().await?;
    Ok(stream)
}

fn client(ca: &Path, cert: Option<&(PathBuf, PathBuf)>) -> Result<ClientConfig, Failure> {
    let mut roots = RootCertStore::empty();
    for der in certificates(ca)? {
        roots.add(der).map_err(|e| unusable(&format!("{}: {e}", ca.display())))?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| unusable(&e.to_string()))?
        .with_root_certificates(roots);
    let Some((cert, key)) = cert else { return Ok(builder.with_no_client_auth()) };
    let private = PrivateKeyDer::from_pem_slice(read(key)?.as_bytes())
        .map_err(|e| unusable(&format!("{}: {e}", key.display())))?;
    let chain = certificates(cert)?;
    builder.with_client_auth_cert(chain, private).map_err(|e| unusable(&format!("{}: {e}", cert.display())))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let text = read(path)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    match all {
        Ok(all) if !all.is_empty() => Ok(all),
        Ok(_) => Err(unusable(&format!("{} holds no certificate", path.display()))),
        Err(e) => Err(unusable(&format!("{}: {e}", path.display()))),
    }
}

/// The static program resolves no names; `localhost` is the one everybody types.
fn address(host: &str) -> Result<SocketAddr, Failure> {
    host.replace("localhost:", "127.0.0.1:").parse().map_err(|_| {
        let why = format!("{host} is no IP address with a port");
        failure(&codes::CLI_USAGE, "the host was not understood", why, "write it as 10.0.0.1:8443; add --name NAME")
    })
}

fn unusable(why: &str) -> Failure {
    failure(&codes::CLI_CERTIFICATE, "the check cannot be made", why, "see `spine cert check --help`")
}

/// One sentence of cause and one of remedy for each way a handshake fails.
fn explained(error: &io::Error, ask: &Ask, address: SocketAddr) -> Failure {
    use rustls::{AlertDescription as Alert, CertificateError as Cert, Error as Tls};
    let inner = error.get_ref().and_then(|e| e.downcast_ref::<Tls>());
    let (why, fix) = match inner {
        Some(Tls::InvalidCertificate(Cert::UnknownIssuer)) => (
            "its certificate comes from another authority",
            "give the right --ca, or have the host's certificate reissued",
        ),
        Some(Tls::InvalidCertificate(Cert::Expired | Cert::ExpiredContext { .. })) => {
            ("its certificate has run out", "renew the host's certificate")
        }
        Some(Tls::InvalidCertificate(Cert::NotValidYet | Cert::NotValidYetContext { .. })) => {
            ("its certificate is not valid yet", "compare the clocks of the two machines")
        }
        Some(Tls::InvalidCertificate(Cert::NotValidForName | Cert::NotValidForNameContext { .. })) => {
            ("its certificate is for other names", "give --name NAME, or have the certificate issued for this one")
        }
        Some(Tls::AlertReceived(Alert::CertificateRequired)) => {
            ("it wants a client certificate and got none", "give --cert and --key")
        }
        Some(Tls::AlertReceived(Alert::UnknownCA | Alert::BadCertificate | Alert::DecryptError)) => {
            ("it does not accept the client certificate", "use one from an authority that it trusts")
        }
        Some(Tls::AlertReceived(Alert::CertificateRevoked)) => {
            ("the client certificate is revoked", "ask for a new one")
        }
        Some(Tls::AlertReceived(Alert::CertificateExpired)) => ("the client certificate has run out", "renew it"),
        _ if ask.cert.is_none() && error.kind() == io::ErrorKind::ConnectionReset => {
            ("it closed the connection, perhaps for want of a client certificate", "give --cert and --key")
        }
        _ => ("", "check the address, and that the node runs"),
    };
    let why = if why.is_empty() { error.to_string() } else { format!("{why} ({error})") };
    let failed = failure(&codes::CLI_HANDSHAKE, format!("the handshake with {address} failed"), why, fix);
    match error.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::TimedOut => failed.with_exit(exit::UNREACHABLE),
        _ => failed,
    }
}
