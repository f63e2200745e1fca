//! A client that sends exactly the bytes it is told to, over mutual TLS, and reads one answer at a time.

use super::pki::Identity;
use super::server::Server;
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs as provider};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

/// Longer than any limit that a test sets.
const PATIENCE: Duration = Duration::from_secs(20);

pub struct Client {
    pub stream: TlsStream<TcpStream>,
    buffer: Vec<u8>,
    /// The next answer is to a HEAD: it has no body, whatever its length says.
    pub head: bool,
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// The head as sent, without the status line.
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|l| l.split_once(": ").filter(|(n, _)| *n == name)).map(|(_, v)| v)
    }
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// A TLS client; `identity` is what it shows.
pub fn config(
    server: &Server,
    identity: Option<&Identity>,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> ClientConfig {
    config_for(&server.pki.authority_pem, identity, versions)
}

/// The same for a server that only its authority is known of.
pub fn config_for(
    authority: &str,
    identity: Option<&Identity>,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(provider::default_provider().into())
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots);
    match identity {
        Some(identity) => builder.with_client_auth_cert(vec![identity.der()], identity.key_der()).unwrap(),
        None => builder.with_no_client_auth(),
    }
}

impl Client {
    /// Connects with the registered certificate.
    pub async fn connect(server: &Server) -> Client {
        Self::with(server, config(server, Some(&server.approved), rustls::ALL_VERSIONS)).await.unwrap()
    }

    pub async fn with(server: &Server, config: ClientConfig) -> io::Result<Client> {
        Self::at(server.address, config).await
    }

    pub async fn at(address: SocketAddr, config: ClientConfig) -> io::Result<Client> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from("localhost").unwrap();
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        Ok(Client { stream, buffer: vec![], head: false })
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// Sends and reads one answer.
    pub async fn ask(&mut self, bytes: impl AsRef<[u8]>) -> Answer {
        self.send(bytes).await;
        self.answer().await.expect("an answer")
    }

    pub async fn get(&mut self, path: &str) -> Answer {
        self.ask(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n")).await
    }

    pub async fn post(&mut self, path: &str, headers: &str, body: &[u8]) -> Answer {
        let length = body.len();
        let mut bytes = format!("POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n{headers}\r\n")
            .into_bytes();
        bytes.extend_from_slice(body);
        self.ask(bytes).await
    }

    /// The next answer; an error where the connection ended first.
    pub async fn answer(&mut self) -> io::Result<Answer> {
        let read = self.read_answer();
        match tokio::time::timeout(PATIENCE, read).await {
            Ok(answer) => answer,
            Err(_) => panic!("neither an answer nor an end of the connection"),
        }
    }

    async fn read_answer(&mut self) -> io::Result<Answer> {
        let end = loop {
            if let Some(at) = self.buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
            self.more().await?;
        };
        let head = String::from_utf8(self.buffer.drain(..end).collect()).unwrap();
        let (line, head) = head.split_once("\r\n").unwrap();
        let status = line.split(' ').nth(1).unwrap().parse().unwrap();
        let mut answer = Answer { status, head: head.to_owned(), body: vec![] };
        if std::mem::take(&mut self.head) {
            return Ok(answer);
        }
        if let Some(length) = answer.header("content-length") {
            let length: usize = length.parse().unwrap();
            while self.buffer.len() < length {
                self.more().await?;
            }
            answer.body = self.buffer.drain(..length).collect();
        } else if answer.header("transfer-encoding") == Some("chunked") {
            answer.body = self.read_chunks().await?;
        }
        Ok(answer)
    }

    async fn read_chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = vec![];
        loop {
            let end = loop {
                if let Some(at) = self.buffer.windows(2).position(|w| w == b"\r\n") {
                    break at;
                }
                self.more().await?;
            };
            let line: Vec<u8> = self.buffer.drain(..end + 2).collect();
            let length = usize::from_str_radix(std::str::from_utf8(&line[..end]).unwrap(), 16).unwrap();
            while self.buffer.len() < length + 2 {
                self.more().await?;
            }
            body.extend(self.buffer.drain(..length));
            self.buffer.drain(..2);
            if length == 0 {
                return Ok(body);
            }
        }
    }

    async fn more(&mut self) -> io::Result<()> {
        let mut piece = [0; 16 << 10];
        match self.stream.read(&mut piece).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            n => {
                self.buffer.extend_from_slice(&piece[..n]);
                Ok(())
            }
        }
    }

    /// Waits until the server ends the connection; panics if it answers or goes on.
    pub async fn closed(&mut self) {
        match self.answer().await {
            Err(_) => {}
            Ok(answer) => panic!("expected the connection to end, got {} {}", answer.status, answer.head),
        }
    }
}
