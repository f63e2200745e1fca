//! The one call that needs no certificate: a machine with a join token asks a node to be let in.

use super::frame::{self, FLAG_FAILED, Failure, Frame, Hello};
use super::{prepare, tls};
use crate::seam::net::{MAX_PAYLOAD, kinds};
use crate::wire::record::Record;
use bytes::Bytes;
use rustls::pki_types::ServerName;
use std::net::SocketAddr;
use std::sync::Arc;
use std::{io, time::Duration};
use tokio::io::AsyncWriteExt;

/// Sends a JOIN to the node at `address`, which must prove itself by the authority with this SHA-256.
pub async fn join_call(
    address: SocketAddr,
    ca_sha256: [u8; 32],
    payload: Bytes,
    timeout: Duration,
) -> io::Result<Bytes> {
    let asking = ask(address, ca_sha256, payload);
    tokio::time::timeout(timeout, asking).await.unwrap_or(Err(io::ErrorKind::TimedOut.into()))
}

async fn ask(address: SocketAddr, ca_sha256: [u8; 32], payload: Bytes) -> io::Result<Bytes> {
    let config = Arc::new(tls::joining(ca_sha256)?);
    let socket = tokio::net::TcpStream::connect(address).await?;
    prepare(&socket)?;
    let name = ServerName::IpAddress(address.ip().into());
    let mut stream = tokio_rustls::TlsConnector::from(config).connect(name, socket).await?;
    let hello = Hello {
        oldest_version: frame::OLDEST_VERSION,
        newest_version: frame::NEWEST_VERSION,
        lane: 2,
        program: env!("CARGO_PKG_VERSION").to_owned(),
        ..Default::default()
    };
    frame::send_hello(&mut stream, &hello).await?;
    frame::read_hello(&mut stream).await?;
    frame::write(&mut stream, &Frame { flags: 0, kind: kinds::JOIN, id: 1, payload }).await?;
    stream.flush().await?;
    let answer = frame::read(&mut stream, MAX_PAYLOAD).await?.ok_or(io::ErrorKind::UnexpectedEof)?;
    if answer.flags & FLAG_FAILED != 0 {
        return Err(Failure::decode(&answer.payload).map_or_else(io::Error::other, Failure::into_error));
    }
    Ok(answer.payload)
}
