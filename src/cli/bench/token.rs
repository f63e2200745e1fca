//! MESH authorization tokens (MESH §3): one nonce for each maker, counted up, so that no token is ever used twice.

use aws_lc_rs::hmac;
use http::HeaderValue;
use std::fmt::Write;

/// Makes tokens for one mailbox. Reuses its buffers; one token costs about a microsecond.
pub struct Tokens {
    key: hmac::Key,
    mailbox: String,
    password: String,
    nonce: String,
    count: u64,
    minute: u64,
    stamp: String,
    text: String,
}

impl Tokens {
    pub fn new(shared_key: &str, mailbox: &str, password: &str) -> Tokens {
        Tokens {
            key: hmac::Key::new(hmac::HMAC_SHA256, shared_key.as_bytes()),
            mailbox: mailbox.to_owned(),
            password: password.to_owned(),
            nonce: uuid::Uuid::new_v4().to_string(),
            count: 0,
            minute: 0,
            stamp: String::new(),
            text: String::with_capacity(256),
        }
    }

    /// The next token's header value, for the machine's time now.
    pub fn make(&mut self) -> HeaderValue {
        let now = jiff::Timestamp::now();
        let minute = now.as_second() as u64 / 60;
        if minute != self.minute {
            self.minute = minute;
            self.stamp = now.strftime("%Y%m%d%H%M").to_string();
        }
        let count = self.count;
        self.count += 1;
        self.sign(count)
    }

    fn sign(&mut self, count: u64) -> HeaderValue {
        let Tokens { mailbox, password, nonce, stamp, text, .. } = self;
        text.clear();
        // Writing to a String cannot fail.
        let _ = write!(text, "{mailbox}:{nonce}:{count}:{password}:{stamp}");
        let tag = hmac::sign(&self.key, text.as_bytes());
        text.clear();
        let _ = write!(text, "NHSMESH {mailbox}:{nonce}:{count}:{stamp}:");
        for byte in tag.as_ref() {
            const HEX: &[u8; 16] = b"0123456789abcdef";
            text.push(HEX[usize::from(byte >> 4)] as char);
            text.push(HEX[usize::from(byte & 15)] as char);
        }
        HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static("mailbox or nonce is not printable"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_the_one_of_the_specification() {
        let mut tokens = Tokens::new("TestKey", "X26ABC1", "password");
        tokens.nonce = "bd0e2bd5-218e-41d0-83a9-73fdec414803".into();
        tokens.stamp = "202005041305".into();
        let hash = "b35be3a6bdca886d8117b2f29cc9f3f90ad607efbc88c20aa41a0f3d5e65c863";
        let wanted = format!("NHSMESH X26ABC1:{}:1:202005041305:{hash}", tokens.nonce);
        assert_eq!(tokens.sign(1).to_str().unwrap(), wanted);
    }

    #[test]
    fn no_token_comes_twice() {
        let mut tokens = Tokens::new("TestKey", "X26ABC1", "password");
        let first = tokens.make();
        assert_ne!(first, tokens.make());
    }
}
