//! Frames between nodes: a 16-byte head, then the payload; and the hello that opens each connection (P8).
//!
//! Head, little-endian: payload length u32, frame version u8, flags u8, kind u16, call id u64. See
//! `docs/formats.md`, "Peer frames".

use crate::record;
use crate::seam::net::{Kind, MAX_PAYLOAD};
use crate::wire::record::Record;
use bytes::{Bytes, BytesMut};
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Versions of the frame format this program speaks.
pub const OLDEST_VERSION: u64 = 1;
pub const NEWEST_VERSION: u64 = 1;

/// Set on answers; clear on calls.
pub const FLAG_ANSWER: u8 = 1;
/// Set on answers whose payload is a [`Failure`].
pub const FLAG_FAILED: u8 = 2;

/// The frame that opens a connection in both directions. Never claimed by a handler.
pub const HELLO: Kind = Kind(0);

const HEAD: usize = 16;
/// Payloads are read in steps of this size, so that a length in a head alone never makes us allocate much.
const READ_STEP: usize = 256 << 10;

record! {
    /// Who is on the other end of a connection, and what it speaks.
    pub struct Hello v1 {
        1 => cluster: String,
        /// 0: a machine that wants to join and has no certificate.
        2 => node: u64,
        3 => oldest_version: u64,
        4 => newest_version: u64,
        /// 1 Raft, 2 Ask, 3 Bulk. For the metrics of the accepting side.
        5 => lane: u64,
        /// Release of the program, for `spine status`.
        6 => program: String,
        /// Random name of the process; 0 from a release that does not tell.
        7 => process: u64,
    }
}

record! {
    /// Why a call failed on the other side.
    pub struct Failure v1 {
        /// 1 no handler, 2 not found, 3 refused, 4 timed out, 5 invalid, 6 busy, 7 another process runs as this node, 8 this node's
        /// site was given up; anything else: other.
        1 => reason: u64,
        /// For logs. Carries no payload content (P10).
        2 => text: String,
    }
}

impl Failure {
    pub fn of(e: &io::Error) -> Self {
        let reason = match e.kind() {
            io::ErrorKind::Unsupported => 1,
            io::ErrorKind::NotFound => 2,
            io::ErrorKind::PermissionDenied => 3,
            io::ErrorKind::TimedOut => 4,
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => 5,
            io::ErrorKind::WouldBlock => 6,
            io::ErrorKind::AlreadyExists => 7,
            super::GIVEN_UP => 8,
            _ => 0,
        };
        Failure { reason, text: e.to_string(), ..Default::default() }
    }

    pub fn into_error(self) -> io::Error {
        let kind = match self.reason {
            1 => io::ErrorKind::Unsupported,
            2 => io::ErrorKind::NotFound,
            3 => io::ErrorKind::PermissionDenied,
            4 => io::ErrorKind::TimedOut,
            5 => io::ErrorKind::InvalidData,
            6 => io::ErrorKind::WouldBlock,
            7 => io::ErrorKind::AlreadyExists,
            8 => super::GIVEN_UP,
            _ => io::ErrorKind::Other,
        };
        io::Error::new(kind, self.text)
    }
}

/// One frame, as read.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame {
    pub flags: u8,
    pub kind: Kind,
    pub id: u64,
    pub payload: Bytes,
}

/// Writes a frame without flushing.
pub async fn write(out: &mut (impl AsyncWrite + Unpin), frame: &Frame) -> io::Result<()> {
    if frame.payload.len() > MAX_PAYLOAD {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "payload is longer than a frame may be"));
    }
    let mut head = [0u8; HEAD];
    head[0..4].copy_from_slice(&(frame.payload.len() as u32).to_le_bytes());
    head[4] = NEWEST_VERSION as u8;
    head[5] = frame.flags;
    head[6..8].copy_from_slice(&frame.kind.0.to_le_bytes());
    head[8..16].copy_from_slice(&frame.id.to_le_bytes());
    out.write_all(&head).await?;
    out.write_all(&frame.payload).await
}

/// Reads a frame. `None` where the other side closed between two frames.
pub async fn read(from: &mut (impl AsyncRead + Unpin), max: usize) -> io::Result<Option<Frame>> {
    let mut head = [0u8; HEAD];
    if from.read(&mut head[..1]).await? == 0 {
        return Ok(None);
    }
    from.read_exact(&mut head[1..]).await?;
    let [l0, l1, l2, l3, version, flags, k0, k1, id @ ..] = head;
    let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
    if u64::from(version) != NEWEST_VERSION || length > max {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "not a frame of this protocol"));
    }
    let mut payload = BytesMut::with_capacity(length.min(READ_STEP));
    while payload.len() < length {
        let start = payload.len();
        payload.resize(length.min(start + READ_STEP), 0);
        from.read_exact(&mut payload[start..]).await?;
    }
    let kind = Kind(u16::from_le_bytes([k0, k1]));
    Ok(Some(Frame { flags, kind, id: u64::from_le_bytes(id), payload: payload.freeze() }))
}

/// Sends our hello.
pub async fn send_hello(out: &mut (impl AsyncWrite + Unpin), hello: &Hello) -> io::Result<()> {
    write(out, &Frame { flags: 0, kind: HELLO, id: 0, payload: hello.encode() }).await?;
    out.flush().await
}

/// Reads the other side's hello, or its refusal.
pub async fn read_hello(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Hello> {
    let frame = read(from, 4096).await?.ok_or(io::ErrorKind::UnexpectedEof)?;
    let broken = |e: crate::wire::record::Malformed| io::Error::new(io::ErrorKind::InvalidData, e);
    if frame.kind != HELLO {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "connection does not start with a hello"));
    }
    if frame.flags & FLAG_FAILED != 0 {
        return Err(Failure::decode(&frame.payload).map_err(broken)?.into_error());
    }
    Hello::decode(&frame.payload).map_err(broken)
}

/// Refuses a connection with a reason that the other side can log.
pub async fn refuse(out: &mut (impl AsyncWrite + Unpin), why: &io::Error) -> io::Result<()> {
    let payload = Failure::of(why).encode();
    write(out, &Frame { flags: FLAG_FAILED, kind: HELLO, id: 0, payload }).await?;
    out.flush().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn frames_come_back_as_they_went_and_lengths_are_bounded() {
        let (mut a, mut b) = tokio::io::duplex(1 << 20);
        let frame = Frame { flags: FLAG_ANSWER, kind: Kind(7), id: u64::MAX, payload: vec![9u8; 300_000].into() };
        write(&mut a, &frame).await.unwrap();
        assert_eq!(read(&mut b, MAX_PAYLOAD).await.unwrap(), Some(frame));
        let small = Frame { flags: 0, kind: Kind(7), id: 1, payload: vec![1u8; 101].into() };
        write(&mut a, &small).await.unwrap();
        assert_eq!(read(&mut b, 100).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[tokio::test]
    async fn a_closed_connection_is_the_end_and_half_a_head_is_an_error() {
        let (a, mut b) = tokio::io::duplex(64);
        drop(a);
        assert_eq!(read(&mut b, 10).await.unwrap(), None);
        let (mut a, mut b) = tokio::io::duplex(64);
        a.write_all(&[0; 5]).await.unwrap();
        drop(a);
        assert!(read(&mut b, 10).await.is_err());
    }

    #[tokio::test]
    async fn a_refusal_reaches_the_other_side_as_an_error() {
        let (mut a, mut b) = tokio::io::duplex(4096);
        refuse(&mut a, &io::Error::new(io::ErrorKind::PermissionDenied, "another site")).await.unwrap();
        let e = read_hello(&mut b).await.unwrap_err();
        assert_eq!((e.kind(), e.to_string().as_str()), (io::ErrorKind::PermissionDenied, "another site"));
    }
}
