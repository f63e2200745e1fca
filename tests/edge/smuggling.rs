//! Two readers of one byte stream: each pair of framings that a proxy and a server might read differently (P5, P6).
//!
//! Behind each hostile head stands a whole request that one of the two readings would carry out. It must never be: the
//! bytes are a body, or the connection is over.

use crate::support::{Client, Server};
use spine::edge::options::Options;

/// The request that must not be carried out; its effect is `inline 8`.
const INNER: &str = "POST /write HTTP/1.1\r\nhost: a\r\ncontent-length: 8\r\n\r\nsmuggled";

/// The statuses of all answers until the connection ends or is left; bytes that hyper does not take end it.
async fn statuses(server: &Server, bytes: &[u8], end: bool) -> Vec<u16> {
    let mut client = Client::connect(server).await;
    let _ = tokio::io::AsyncWriteExt::write_all(&mut client.stream, bytes).await;
    let _ = tokio::io::AsyncWriteExt::flush(&mut client.stream).await;
    if end {
        let _ = tokio::io::AsyncWriteExt::shutdown(&mut client.stream).await;
    }
    let mut seen = vec![];
    while let Ok(answer) = client.answer().await {
        seen.push(answer.status);
    }
    seen
}

/// (what, head up to its empty line and what stands before the inner request). `{n}` is the inner request's length.
const PAIRS: &[(&str, &str)] = &[
    ("CL.TE", "content-length: {n}\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("TE.CL", "transfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n0\r\n\r\n"),
    ("CL.0: a length on what has no body", "content-length: 0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("CL.CL, different", "content-length: 0\r\ncontent-length: {n}\r\n\r\n"),
    ("CL.CL, the other way", "content-length: {n}\r\ncontent-length: 0\r\n\r\n"),
    ("CL as a list", "content-length: 0, {n}\r\n\r\n"),
    ("CL with a sign", "content-length: +0\r\n\r\n"),
    ("CL in hex", "content-length: 0x0\r\n\r\n"),
    ("CL with a vertical tab", "content-length: \u{b}0\r\n\r\n"),
    ("CL with a space inside", "content-length: 0 0\r\n\r\n"),
    ("CL that overflows", "content-length: 18446744073709551616\r\n\r\n"),
    ("CL empty", "content-length: \r\n\r\n"),
    ("TE.TE, one unknown", "transfer-encoding: chunked\r\ntransfer-encoding: cow\r\n\r\n0\r\n\r\n"),
    (
        "TE.TE, unknown first",
        "transfer-encoding: cow\r\ntransfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n0\r\n\r\n",
    ),
    ("TE identity last", "transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n"),
    ("TE with a space before the colon", "transfer-encoding : chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n"),
    ("TE with a vertical tab", "transfer-encoding: \u{b}chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n"),
    ("TE with a zero byte", "transfer-encoding: chunked\u{0}\r\ncontent-length: 5\r\n\r\n0\r\n\r\n"),
    ("TE folded", "transfer-encoding:\r\n chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n"),
    ("TE behind a bare CR", "x: a\rtransfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n"),
    ("TE behind a bare LF", "x: a\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n"),
    ("a head that ends in bare LFs", "content-length: 5\n\n0\r\n\r\n"),
    ("TE quoted", "transfer-encoding: \"chunked\"\r\ncontent-length: 5\r\n\r\n0\r\n\r\n"),
    ("TE misspelt", "transfer-encoding: xchunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n"),
    ("TE with an underscore", "transfer_encoding: chunked\r\ncontent-length: {n}\r\n\r\n"),
    ("chunk size with a bare LF", "transfer-encoding: chunked\r\n\r\n0\n\n"),
    ("a bare LF in a chunk's extension", "transfer-encoding: chunked\r\n\r\n2;\nxx\r\n0\r\n\r\n"),
    ("a bare CR in a chunk's extension", "transfer-encoding: chunked\r\n\r\n2;\rxx\r\n0\r\n\r\n"),
    ("chunk data that runs over", "transfer-encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n"),
    ("chunk size with a sign", "transfer-encoding: chunked\r\n\r\n+0\r\n\r\n"),
    ("chunk size with a prefix", "transfer-encoding: chunked\r\n\r\n0x0\r\n\r\n"),
    ("chunk size that overflows", "transfer-encoding: chunked\r\n\r\n10000000000000000\r\n\r\n"),
    ("no size in the last chunk", "transfer-encoding: chunked\r\n\r\n\r\n\r\n"),
    ("TE in HTTP/1.0", "transfer-encoding: chunked\r\nconnection: keep-alive\r\n\r\n0\r\n\r\n"),
    ("a body that is announced and waits", "expect: 100-continue\r\ncontent-length: {n}\r\n\r\n"),
    ("an upgrade with a body", "connection: upgrade\r\nupgrade: h2c\r\ncontent-length: {n}\r\n\r\n"),
];

#[tokio::test]
async fn no_pair_of_framings_smuggles_a_request() {
    let server = Server::start(Options::default()).await;
    for (what, head) in PAIRS {
        let version = if what.contains("1.0") { "1.0" } else { "1.1" };
        let head = head.replace("{n}", &INNER.len().to_string());
        for method in ["POST /write", "GET /open", "DELETE /nothing"] {
            let bytes = format!("{method} HTTP/{version}\r\nhost: a\r\n{head}{INNER}");
            let seen = statuses(&server, bytes.as_bytes(), true).await;
            let done = server.memory.payloads();
            assert!(!done.iter().any(|p| p == "inline 8"), "{what}, {method}: carried out, {seen:?}");
            assert!(seen.len() <= 1, "{what}, {method}: one request, several answers {seen:?}");
        }
    }
}

#[tokio::test]
async fn what_is_lawful_is_read_one_way() {
    let server = Server::start(Options::default()).await;
    let chunked = "POST /write HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    for (what, bytes) in [
        ("an extension", format!("{chunked}5;name=\"va;lue\"\r\nhello\r\n0;last\r\n\r\n")),
        ("zeros before a size", format!("{chunked}00000005\r\nhello\r\n000\r\n\r\n")),
        (
            "trailers that would be headers",
            format!("{chunked}5\r\nhello\r\n0\r\ncontent-length: 900\r\nhost: b\r\n\r\n"),
        ),
        ("a tab before a value", chunked.replace(": chunked", ":\tchunked") + "5\r\nhello\r\n0\r\n\r\n"),
        ("a capital letter", chunked.replace("chunked", "Chunked") + "5\r\nhello\r\n0\r\n\r\n"),
        (
            "an absolute target",
            "POST http://elsewhere/write HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello".into(),
        ),
    ] {
        let bytes = format!("{bytes}{INNER}GET /open HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        let before = server.memory.payloads().len();
        assert_eq!(statuses(&server, bytes.as_bytes(), false).await, [202, 202, 200], "{what}");
        assert_eq!(server.memory.payloads()[before..], ["inline 5", "inline 8"], "{what}");
    }
}

/// A target names a path of ours or nothing; no host in it leads anywhere else.
#[tokio::test]
async fn strange_targets_do_nothing() {
    let server = Server::start(Options::default()).await;
    for target in [
        "http://a@elsewhere:99//write",
        "//elsewhere/write",
        "/open/../write",
        "/%77rite",
        "/write%00",
        "/write;x",
        "write",
        "*",
        "elsewhere:443",
        "http:///write",
        "/write#fragment",
        "\\write",
        "/ write",
    ] {
        let bytes = format!("POST {target} HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 5\r\n\r\nhello");
        let seen = statuses(&server, bytes.as_bytes(), true).await;
        assert!(seen.iter().all(|s| (400..500).contains(s)), "{target}: {seen:?}");
    }
    assert!(server.memory.payloads().is_empty(), "{:?}", server.memory.payloads());
}
