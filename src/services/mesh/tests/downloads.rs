//! The form in which a body goes out, and the headers that say so (mesh.md §6.4, §6.5, §7.2).

use super::*;
use std::io::{Read, Write};

const GZIP: (&str, &str) = ("accept-encoding", "br, gzip");
const TEXT: (&str, &str) = ("content-type", "text/plain");

fn unzip(bytes: &[u8]) -> Vec<u8> {
    let mut plain = vec![];
    // One member only: a second would be left unread.
    flate2::read::GzDecoder::new(bytes).read_to_end(&mut plain).unwrap();
    plain
}

#[test]
fn a_text_is_zipped_for_who_takes_gzip_in_version_2() {
    let long = b"words and words ".repeat(100);
    for (kind, headers, body, zipped) in [
        ("text/plain", &[V2, GZIP][..], &long[..], true),
        ("application/fhir+json", &[V2, GZIP], &long, true),
        ("text/plain", &[GZIP], &long, false),
        ("text/plain", &[V2], &long, false),
        ("text/plain", &[V2, ("accept-encoding", "gzip;q=0")], &long, false),
        ("application/pdf", &[V2, GZIP], &long, false),
        ("text/plain", &[V2, GZIP], b"short", false),
    ] {
        let mut site = Site::new(1, MeshOptions::default());
        let id = site.send(body, &[("content-type", kind)]);
        let got = site.ask("GET", B, &format!("inbox/{id}"), headers, b"");
        let plain = if zipped { unzip(&text(&got)) } else { text(&got) };
        assert_eq!((got.status, plain.as_slice()), (200, body), "{kind} {headers:?}");
        let (encoding, flag) = if zipped { ("gzip", "Y") } else { ("", "") };
        assert_eq!(header(&got, "content-encoding"), encoding, "{kind} {headers:?}");
        assert_eq!(header(&got, "mex-content-compressed"), flag, "{kind} {headers:?}");
        let head = site.ask("HEAD", B, &format!("inbox/{id}"), headers, b"");
        assert_eq!((head.headers, head.body), (got.headers, Body::Empty), "HEAD says what GET would");
    }
}

#[test]
fn what_its_sender_has_packed_or_encrypted_is_not_zipped_again() {
    let long = b"words and words ".repeat(100);
    for flag in ["mex-content-compressed", "mex-content-encrypted"] {
        let mut site = Site::new(1, MeshOptions::default());
        let id = site.send(&long, &[TEXT, (flag, "Y")]);
        let got = site.ask("GET", B, &format!("inbox/{id}"), &[V2, GZIP], b"");
        assert_eq!((text(&got), header(&got, "content-encoding").as_str()), (long.clone(), ""));
    }
}

#[test]
fn a_dense_body_streams_inflated() {
    let mut encoder = flate2::write::GzEncoder::new(vec![], flate2::Compression::best());
    encoder.write_all(&vec![0; 9 << 20]).unwrap();
    let packed = encoder.finish().unwrap();
    let mut site = Site::new(1, MeshOptions::default());
    let id = site.send(&packed, &[("content-encoding", "gzip")]);
    let got = site.get(B, &format!("inbox/{id}"));
    assert_eq!((got.status, header(&got, "content-encoding").as_str()), (200, ""));
    assert_eq!(got.body, Body::Inflate(packed.into()));
}

#[test]
fn an_etag_names_the_bytes_in_their_form() {
    let mut site = Site::new(3, MeshOptions::default());
    let long = b"words and words ".repeat(100);
    let (one, two) = (site.send(&long, &[TEXT]), site.send(&long, &[TEXT]));
    let mut etag = |method, id: &str, headers: &[(&str, &str)]| {
        let etag = header(&site.ask(method, B, &format!("inbox/{id}"), headers, b""), "etag");
        assert!(etag.len() == 42 && etag.starts_with('"') && etag.ends_with('"'), "{etag}");
        assert!(etag.trim_matches('"').bytes().all(|b| b.is_ascii_hexdigit()));
        etag
    };
    let first = etag("GET", &one, &[]);
    assert_eq!(first, etag("HEAD", &one, &[V2]));
    assert_ne!(first, etag("GET", &two, &[]));
    assert_ne!(first, etag("GET", &one, &[V2, GZIP]), "other bytes");
}

#[test]
fn parties_have_their_old_mail_addresses() {
    let mut site = Site::new(1, MeshOptions::default());
    let id = site.send(b"x", &[]);
    let got = site.get(B, &format!("inbox/{id}"));
    assert_eq!(header(&got, "mex-fromsmtp"), "x26abc1@dts.nhs.uk");
    assert_eq!(header(&got, "mex-tosmtp"), "x26abc2@dts.nhs.uk");
}
