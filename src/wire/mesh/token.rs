//! The MESH authorization token (mesh.md §3): `NHSMESH mailbox:nonce:count:timestamp:hash`.

use crate::model::{EpochMillis, time};

/// Longest nonce taken: clients send GUIDs; a longer one would make longer rows in the replay memory.
const MAX_NONCE: usize = 200;
/// Longest count taken, leading zeros included.
const MAX_COUNT: usize = 20;

/// A token's parts, as sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Token<'a> {
    pub mailbox: &'a str,
    pub nonce: &'a str,
    /// Decimal digits; the literal text counts.
    pub count: &'a str,
    pub timestamp: &'a str,
    pub hash: &'a str,
}

/// Why there is no token: checks 1 to 3 of mesh.md §3.1, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadToken {
    #[error("the token is missing or not of the form")]
    Unreadable,
    #[error("the token is another mailbox's")]
    Foreign,
}

impl<'a> Token<'a> {
    /// Reads the `Authorization` header's value for the mailbox of the path.
    pub fn parse(header: &'a [u8], mailbox: &str) -> Result<Self, BadToken> {
        let text = std::str::from_utf8(header).map_err(|_| BadToken::Unreadable)?.trim();
        if text.is_empty() {
            return Err(BadToken::Unreadable);
        }
        let (known, token) = match text.split_once(' ') {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("NHSMESH") => (true, rest.trim()),
            // Very old clients sent the bare token; any other scheme is none of ours.
            Some((_, rest)) => (false, rest.trim()),
            None => (true, text),
        };
        let mut parts = token.split(':');
        if parts.next() != Some(mailbox) {
            return Err(BadToken::Foreign);
        }
        let mut next = || parts.next().ok_or(BadToken::Unreadable);
        let (nonce, count, timestamp, hash) = (next()?, next()?, next()?, next()?);
        let sound = known
            && parts.next().is_none()
            && (1..=MAX_NONCE).contains(&nonce.len())
            && (1..=MAX_COUNT).contains(&count.len())
            && count.bytes().all(|b| b.is_ascii_digit());
        if sound {
            Ok(Token { mailbox: &token[..mailbox.len()], nonce, count, timestamp, hash })
        } else {
            Err(BadToken::Unreadable)
        }
    }

    /// The token's own time; `None` where its twelve digits are no minute.
    pub fn time(&self) -> Option<EpochMillis> {
        if self.timestamp.len() == 12 { time::parse_compact(self.timestamp) } else { None }
    }

    /// What the hash is over. The password sits between count and timestamp and never travels.
    pub fn message(&self, password: &str) -> Vec<u8> {
        [self.mailbox, self.nonce, self.count, password, self.timestamp].join(":").into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_come_in_the_specified_order() {
        let parse = |header: &'static str| Token::parse(header.as_bytes(), "X26ABC1").map(|t| t.nonce);
        assert_eq!(parse("NHSMESH X26ABC1:n:001:202005041305:00"), Ok("n"));
        assert_eq!(parse("nhsmesh  X26ABC1:n:1:202005041305:00 "), Ok("n"));
        assert_eq!(parse("X26ABC1:n:1:202005041305:00"), Ok("n"));
        assert_eq!(parse(""), Err(BadToken::Unreadable));
        assert_eq!(parse("   "), Err(BadToken::Unreadable));
        assert_eq!(parse("NHSMESH"), Err(BadToken::Foreign));
        assert_eq!(parse("NHSMESH X26ABC2:n:1:202005041305:00"), Err(BadToken::Foreign));
        assert_eq!(parse("NHSMESH x26abc1:n:1:202005041305:00"), Err(BadToken::Foreign));
        assert_eq!(parse("NHSMESH X26ABC1:n:x:202005041305:00"), Err(BadToken::Unreadable));
        assert_eq!(parse("NHSMESH X26ABC1:n::202005041305:00"), Err(BadToken::Unreadable));
        assert_eq!(parse("NHSMESH X26ABC1:n:1:202005041305"), Err(BadToken::Unreadable));
        assert_eq!(parse("NHSMESH X26ABC1:n:1:202005041305:00:1"), Err(BadToken::Unreadable));
        assert_eq!(parse("Basic X26ABC1:n:1:202005041305:00"), Err(BadToken::Unreadable));
        assert_eq!(Token::parse(b"\xff", "X26ABC1").map(|t| t.nonce), Err(BadToken::Unreadable));
    }

    #[test]
    fn a_time_is_twelve_digits() {
        let time = |t: &str| Token::parse(format!("A:n:0:{t}:0").as_bytes(), "A").unwrap().time();
        assert_eq!(time("202005041305"), Some(1_588_597_500_000));
        assert_eq!(time("20200504130500"), None);
        assert_eq!(time("202013041305"), None);
    }
}
