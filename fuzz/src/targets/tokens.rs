//! Tokens: MESH's `Authorization` header, an operator's join token, a listing's continuation.

use super::{KIB, Target};
use spine::model::MessageId;
use spine::node::token;
use spine::wire::mesh::token::Token;
use spine::wire::mesh::{hex_decode, hex_encode};

pub const TARGET: Target = Target { name: "tokens", run, seeds, longest: 2 << 10, base: 64 * KIB, factor: 100 };

fn run(input: &[u8]) {
    for mailbox in ["X26ABC1", ""] {
        if let Ok(read) = Token::parse(input, mailbox) {
            assert_eq!(read.mailbox, mailbox);
            assert!(!read.nonce.is_empty() && read.nonce.len() <= 200, "rows of used tokens stay short");
            assert!(read.count.bytes().all(|b| b.is_ascii_digit()) && read.count.len() <= 20);
            let [count, nonce, time, hash] = [read.count, read.nonce, read.timestamp, read.hash];
            let plain = format!("NHSMESH {mailbox}:{nonce}:{count}:{time}:{hash}");
            let again = Token::parse(plain.as_bytes(), mailbox);
            assert!(again.is_ok_and(|t| t.message("p") == read.message("p") && t.time() == read.time()));
        }
    }
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Some(read) = token::Token::parse(text) {
        assert_eq!(token::Token::parse(&read.text()).as_ref(), Some(&read));
        assert_eq!(read.fingerprint().len(), 32);
    }
    if let Some(id) = MessageId::parse(text) {
        assert_eq!(id.to_string(), text.to_ascii_uppercase(), "an id is written one way");
        assert_eq!(MessageId::from_bytes(&id.to_bytes()), Some(id));
    }
    if let Some(bytes) = hex_decode(text) {
        assert_eq!(hex_encode(&bytes), text.to_ascii_lowercase());
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let join = token::Token {
        addresses: vec!["10.0.0.1:8441".into(), "[::1]:8441".into()],
        ca_sha256: vec![7; 32].into(),
        secret: vec![1; 32].into(),
        ..Default::default()
    };
    let texts = [
        "NHSMESH X26ABC1:f5a3bd2c-7f1e-4a3c-8c8e-2f6f1f1b7a11:001:202601011200:ab12",
        "nhsmesh  X26ABC1:n:1:202613011200:00 ",
        "X26ABC1:n:1:202601011200:00",
        "NHSMESH X26ABC2:n:1:202601011200:00",
        "NHSMESH X26ABC1:n:1:202601011200:00:1",
        "20220228174323222222_ABCDEF",
        "0011223344556677889900aabbccddeeff0011",
    ];
    texts.iter().map(|t| t.as_bytes().to_vec()).chain([join.text().into_bytes()]).collect()
}
