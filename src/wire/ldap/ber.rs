//! The part of BER that LDAP uses (RFC 4511 §5.1): one-byte tags, definite lengths. Every read is bounded by its slice.

/// Why bytes are no LDAP message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadBer {
    #[error("the message ends inside an element")]
    Truncated,
    #[error("a length is indefinite or longer than four bytes")]
    Length,
    #[error("an element is not the one that must stand there")]
    Unexpected,
    #[error("a number is out of range")]
    Number,
    #[error("text is not UTF-8")]
    Text,
    #[error("the message is longer than one may be")]
    TooLong,
    #[error("a filter is nested too deep or has too many parts")]
    Filter,
}

pub const BOOLEAN: u8 = 0x01;
pub const INTEGER: u8 = 0x02;
pub const OCTETS: u8 = 0x04;
pub const ENUMERATED: u8 = 0x0a;
pub const SEQUENCE: u8 = 0x30;
pub const SET: u8 = 0x31;

/// Elements of a slice, one after the other.
#[derive(Clone, Copy, Debug)]
pub struct Elements<'a>(pub &'a [u8]);

impl<'a> Elements<'a> {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// The tag of the next element, without taking it.
    pub fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }
    pub fn element(&mut self) -> Result<(u8, &'a [u8]), BadBer> {
        let tag = self.peek().ok_or(BadBer::Truncated)?;
        let (head, length) = header(self.0)?.ok_or(BadBer::Truncated)?;
        let end = head.checked_add(length).ok_or(BadBer::Length)?;
        let content = self.0.get(head..end).ok_or(BadBer::Truncated)?;
        self.0 = &self.0[end..];
        Ok((tag, content))
    }
    pub fn take(&mut self, wanted: u8) -> Result<&'a [u8], BadBer> {
        match self.element()? {
            (tag, content) if tag == wanted => Ok(content),
            _ => Err(BadBer::Unexpected),
        }
    }
    pub fn sequence(&mut self) -> Result<Elements<'a>, BadBer> {
        self.take(SEQUENCE).map(Elements)
    }
    pub fn text(&mut self) -> Result<String, BadBer> {
        text(self.take(OCTETS)?)
    }
    pub fn number(&mut self, tag: u8) -> Result<u32, BadBer> {
        number(self.take(tag)?)
    }
    pub fn boolean(&mut self) -> Result<bool, BadBer> {
        match self.take(BOOLEAN)? {
            [byte] => Ok(*byte != 0),
            _ => Err(BadBer::Number),
        }
    }
}

pub fn text(content: &[u8]) -> Result<String, BadBer> {
    String::from_utf8(content.to_vec()).map_err(|_| BadBer::Text)
}

/// A number from 0 to 2³¹ - 1: LDAP has no others.
pub fn number(content: &[u8]) -> Result<u32, BadBer> {
    if content.is_empty() || content.len() > 4 || content[0] & 0x80 != 0 {
        return Err(BadBer::Number);
    }
    Ok(content.iter().fold(0, |n, b| n << 8 | u32::from(*b)))
}

/// Bytes of the header and of the content; `None` while the header is not all there.
fn header(bytes: &[u8]) -> Result<Option<(usize, usize)>, BadBer> {
    let Some(first) = bytes.get(1) else { return Ok(None) };
    match *first {
        short @ 0..=0x7f => Ok(Some((2, usize::from(short)))),
        long @ 0x81..=0x84 => {
            let count = usize::from(long & 0x7f);
            let Some(digits) = bytes.get(2..2 + count) else { return Ok(None) };
            Ok(Some((2 + count, digits.iter().fold(0, |n, b| n << 8 | usize::from(*b)))))
        }
        _ => Err(BadBer::Length),
    }
}

/// How long the first message in a buffer is; `None` while that cannot be told. Refuses what is longer than `most` before
/// it has come.
pub fn frame(bytes: &[u8], most: usize) -> Result<Option<usize>, BadBer> {
    if bytes.first().is_some_and(|tag| *tag != SEQUENCE) {
        return Err(BadBer::Unexpected);
    }
    let Some((head, length)) = header(bytes)? else { return Ok(None) };
    let whole = head.checked_add(length).ok_or(BadBer::Length)?;
    if whole > most { Err(BadBer::TooLong) } else { Ok(Some(whole)) }
}

/// Writes one element.
pub fn put(tag: u8, content: &[u8], out: &mut Vec<u8>) {
    out.push(tag);
    let length = content.len();
    if length < 0x80 {
        out.push(length as u8);
    } else {
        let digits = (length as u32).to_be_bytes();
        let digits = &digits[digits.iter().position(|b| *b != 0).unwrap_or(3)..];
        out.push(0x80 | digits.len() as u8);
        out.extend_from_slice(digits);
    }
    out.extend_from_slice(content);
}

pub fn put_number(tag: u8, number: u32, out: &mut Vec<u8>) {
    let bytes = number.to_be_bytes();
    let from = bytes.iter().position(|b| *b != 0).unwrap_or(3);
    // The first bit is the sign.
    let from = if bytes[from] & 0x80 != 0 && from > 0 { from - 1 } else { from };
    put(tag, &bytes[from..], out);
}
