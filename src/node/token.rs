//! Join tokens: what an operator carries from a running node to a new machine. One use, 30 minutes.

use crate::node::pki;
use crate::record;
use crate::wire::record::Record;
use bytes::Bytes;
use std::net::SocketAddr;

record! {
    /// What a token holds. Whoever has it may make one node; it is shown once and never stored (only its hash is).
    pub struct Token v1 {
        /// `IP:PORT` of peer listeners to ask, in order.
        1 => addresses: Vec<String>,
        /// SHA-256 of the site authority's certificate (DER): the new machine trusts nothing else.
        2 => ca_sha256: Bytes,
        3 => secret: Bytes,
    }
}

record! {
    /// JOIN: a machine without a certificate asks to become a node.
    pub struct JoinAsk v1 {
        1 => secret: Bytes,
        /// Certificate request, PEM. The node signs the key in it, and names it itself.
        2 => request: String,
        /// Where the new node will listen for peers.
        3 => address: String,
        /// Its name for people.
        4 => name: String,
        /// Label of the site that it stands in.
        5 => site: String,
        /// The highest level that its release knows; 0 of a release that does not tell: 1.
        20 => level: u32,
    }
}

record! {
    /// What a node answers to JOIN.
    pub struct JoinAnswer v1 {
        1 => cluster: String,
        2 => number: u16,
        3 => ca: String,
        4 => cert: String,
        /// `NUMBER=IP:PORT` of the site's nodes.
        5 => nodes: Vec<String>,
        /// Why not, in words for the operator; then all else is empty.
        6 => refusal: String,
        /// The incarnation under which it was admitted.
        7 => incarnation: u16,
        /// Partitions of the services' data.
        8 => partitions: u16,
        /// Authorities of the sites that this one was restored from, PEM: for the audit trail's older signatures only.
        9 => trail_ca: String,
    }
}

const PREFIX: &str = "spine1-";

impl Token {
    /// The token as an operator carries it.
    pub fn text(&self) -> String {
        format!("{PREFIX}{}", pki::hex(&self.encode()))
    }

    /// `None` where the text is no token.
    pub fn parse(text: &str) -> Option<Token> {
        let bytes = pki::unhex(text.trim().strip_prefix(PREFIX)?)?;
        let token = Token::decode(&bytes.into()).ok()?;
        (token.ca_sha256.len() == 32 && !token.addresses().is_empty()).then_some(token)
    }

    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.addresses.iter().filter_map(|a| a.parse().ok()).collect()
    }

    /// The authority's fingerprint.
    pub fn fingerprint(&self) -> [u8; 32] {
        let mut out = [0; 32];
        out.copy_from_slice(&self.ca_sha256[..32]);
        out
    }
}

/// What the registry keeps of a token: SHA-256 of its secret.
pub fn secret_hash(secret: &[u8]) -> Bytes {
    Bytes::copy_from_slice(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, secret).as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_survives_being_carried_and_half_a_token_is_none() {
        let token = Token {
            addresses: vec!["10.0.0.1:8441".into()],
            ca_sha256: Bytes::from(vec![7; 32]),
            secret: Bytes::from(vec![1, 2, 3]),
            ..Default::default()
        };
        let text = token.text();
        assert_eq!(Token::parse(&format!(" {text}\n")), Some(token));
        assert_eq!(Token::parse(&text[..text.len() - 20]), None);
        assert_eq!(Token::parse("spine1-zz"), None);
    }
}
