//! LDAPv3 messages (RFC 4511): requests from bytes, responses to bytes. Pure and bounded: a message has at most
//! [`MAX_MESSAGE`] bytes, a filter at most [`MAX_DEPTH`] levels and [`MAX_PARTS`] parts.

pub mod ber;

use ber::{BadBer, ENUMERATED, Elements, INTEGER, OCTETS, SEQUENCE, SET, put, put_number};

/// Longest request, in bytes: a filter of a hundred clauses is a tenth of it.
pub const MAX_MESSAGE: usize = 64 << 10;
pub const MAX_DEPTH: usize = 16;
pub const MAX_PARTS: usize = 256;
/// Most attributes that a search may name.
const MAX_ATTRIBUTES: usize = 256;
/// Paged results (RFC 2696).
pub const PAGED: &str = "1.2.840.113556.1.4.319";

/// How deep a search goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    Base,
    One,
    Sub,
}

/// What an entry must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    And(Vec<Filter>),
    Or(Vec<Filter>),
    Not(Box<Filter>),
    Equal(String, String),
    /// Begins with, contains in this order, ends with.
    Parts(String, Option<String>, Vec<String>, Option<String>),
    AtLeast(String, String),
    AtMost(String, String),
    Present(String),
    /// Matching rules by name: known to the protocol, to none of our attributes.
    Undefined,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Search {
    pub base: String,
    pub scope: Scope,
    /// 0: as many as the server gives.
    pub size_limit: usize,
    pub types_only: bool,
    pub filter: Filter,
    /// Empty or `*`: all.
    pub attributes: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// `simple`: no SASL; `anonymous`: neither name nor password.
    Bind {
        version: u32,
        simple: bool,
        anonymous: bool,
    },
    Unbind,
    Search(Search),
    Compare {
        dn: String,
        attribute: String,
        value: String,
    },
    Abandon,
    Extended(String),
    /// A request that would change something: the tag of its response.
    Change(u8),
}

/// Paged results: how many, and where the last page ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paged {
    pub size: usize,
    pub cookie: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub id: u32,
    pub request: Request,
    pub paged: Option<Paged>,
    /// A control that must be honoured and is not known.
    pub critical: bool,
}

/// Result codes (RFC 4511 §4.1.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Code {
    Success = 0,
    Protocol = 2,
    SizeLimit = 4,
    CompareFalse = 5,
    CompareTrue = 6,
    AuthMethod = 7,
    AdminLimit = 11,
    CriticalExtension = 12,
    NoSuchAttribute = 16,
    NoSuchObject = 32,
    InvalidCredentials = 49,
    InsufficientAccess = 50,
    Busy = 51,
    Unavailable = 52,
    Unwilling = 53,
}

/// One entry of an answer: name, and attributes with their values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    pub dn: String,
    pub attributes: Vec<(String, Vec<String>)>,
}

/// Tags of responses.
pub mod tag {
    pub const BIND: u8 = 0x61;
    pub const ENTRY: u8 = 0x64;
    pub const DONE: u8 = 0x65;
    pub const COMPARE: u8 = 0x6f;
    pub const EXTENDED: u8 = 0x78;
}

/// Reads one whole message, as [`ber::frame`] found it.
pub fn message(bytes: &[u8]) -> Result<Message, BadBer> {
    let mut outer = Elements(bytes);
    let mut parts = outer.sequence()?;
    let id = parts.number(INTEGER)?;
    let (tag, content) = parts.element()?;
    let (mut paged, mut critical) = (None, false);
    if parts.peek() == Some(0xa0) {
        let mut controls = Elements(parts.take(0xa0)?);
        while !controls.is_empty() {
            let mut control = controls.sequence()?;
            let kind = control.text()?;
            let must = control.peek() == Some(ber::BOOLEAN) && control.boolean()?;
            if kind == PAGED {
                let value = control.take(OCTETS)?;
                let mut value = Elements(value).sequence()?;
                let size = value.number(INTEGER)? as usize;
                paged = Some(Paged { size, cookie: value.take(OCTETS)?.to_vec() });
            } else {
                critical |= must;
            }
        }
    }
    Ok(Message { id, request: request(tag, content)?, paged, critical })
}

fn request(tag: u8, content: &[u8]) -> Result<Request, BadBer> {
    let mut parts = Elements(content);
    Ok(match tag {
        0x60 => {
            let version = parts.number(INTEGER)?;
            let name = parts.take(OCTETS)?;
            let (method, secret) = parts.element()?;
            let simple = method == 0x80;
            Request::Bind { version, simple, anonymous: simple && name.is_empty() && secret.is_empty() }
        }
        0x42 => Request::Unbind,
        0x50 => Request::Abandon,
        0x63 => Request::Search(search(parts)?),
        0x6e => {
            let dn = parts.text()?;
            let mut assertion = parts.sequence()?;
            Request::Compare { dn, attribute: assertion.text()?, value: assertion.text()? }
        }
        0x77 => Request::Extended(ber::text(parts.take(0x80)?)?),
        // Modify, add, delete, rename: the response's tag follows the request's.
        0x66 | 0x68 | 0x6c => Request::Change(tag + 1),
        0x4a => Request::Change(0x6b),
        _ => return Err(BadBer::Unexpected),
    })
}

fn search(mut parts: Elements<'_>) -> Result<Search, BadBer> {
    let base = parts.text()?;
    let scope = match parts.number(ENUMERATED)? {
        0 => Scope::Base,
        1 => Scope::One,
        2 => Scope::Sub,
        _ => return Err(BadBer::Number),
    };
    parts.number(ENUMERATED)?;
    let size_limit = parts.number(INTEGER)? as usize;
    parts.number(INTEGER)?;
    let types_only = parts.boolean()?;
    let mut count = 0;
    let filter = filter(&mut parts, 0, &mut count)?;
    let mut named = parts.sequence()?;
    let mut attributes = vec![];
    while !named.is_empty() {
        if attributes.len() == MAX_ATTRIBUTES {
            return Err(BadBer::TooLong);
        }
        attributes.push(named.text()?);
    }
    Ok(Search { base, scope, size_limit, types_only, filter, attributes })
}

fn filter(parts: &mut Elements<'_>, depth: usize, count: &mut usize) -> Result<Filter, BadBer> {
    *count += 1;
    if depth > MAX_DEPTH || *count > MAX_PARTS {
        return Err(BadBer::Filter);
    }
    let (tag, content) = parts.element()?;
    let mut inner = Elements(content);
    let mut all = |mut inner: Elements<'_>| {
        let mut list = vec![];
        while !inner.is_empty() {
            list.push(filter(&mut inner, depth + 1, count)?);
        }
        Ok(list)
    };
    Ok(match tag {
        0xa0 => Filter::And(all(inner)?),
        0xa1 => Filter::Or(all(inner)?),
        0xa2 => Filter::Not(Box::new(filter(&mut inner, depth + 1, count)?)),
        // Approximately equal: we know nothing nearer than equal.
        0xa3 | 0xa8 => Filter::Equal(inner.text()?, inner.text()?),
        0xa4 => substrings(inner)?,
        0xa5 => Filter::AtLeast(inner.text()?, inner.text()?),
        0xa6 => Filter::AtMost(inner.text()?, inner.text()?),
        0x87 => Filter::Present(ber::text(content)?),
        0xa9 => Filter::Undefined,
        _ => return Err(BadBer::Unexpected),
    })
}

fn substrings(mut inner: Elements<'_>) -> Result<Filter, BadBer> {
    let name = inner.text()?;
    let mut pieces = inner.sequence()?;
    let (mut first, mut middle, mut last) = (None, vec![], None);
    while !pieces.is_empty() {
        let (tag, content) = pieces.element()?;
        let text = ber::text(content)?;
        match tag {
            0x80 if first.is_none() && middle.is_empty() => first = Some(text),
            0x81 if last.is_none() && middle.len() < MAX_PARTS => middle.push(text),
            0x82 if last.is_none() => last = Some(text),
            _ => return Err(BadBer::Unexpected),
        }
    }
    Ok(Filter::Parts(name, first, middle, last))
}

/// Wraps an operation's bytes into a message.
fn wrap(id: u32, operation: &[u8], controls: &[u8], out: &mut Vec<u8>) {
    let mut inner = Vec::with_capacity(operation.len() + controls.len() + 8);
    put_number(INTEGER, id, &mut inner);
    inner.extend_from_slice(operation);
    inner.extend_from_slice(controls);
    put(SEQUENCE, &inner, out);
}

/// A result: of a bind, a search, a compare, a refused change. `paged` carries the cookie of the next page, empty at
/// the end.
pub fn put_result(id: u32, tag: u8, code: Code, words: &str, paged: Option<&[u8]>, out: &mut Vec<u8>) {
    let mut content = vec![];
    put_number(ENUMERATED, u32::from(code as u8), &mut content);
    put(OCTETS, b"", &mut content);
    put(OCTETS, words.as_bytes(), &mut content);
    let mut operation = vec![];
    put(tag, &content, &mut operation);
    let mut controls = vec![];
    if let Some(cookie) = paged {
        let (mut value, mut inner, mut control) = (vec![], vec![], vec![]);
        put_number(INTEGER, 0, &mut inner);
        put(OCTETS, cookie, &mut inner);
        put(SEQUENCE, &inner, &mut value);
        put(OCTETS, PAGED.as_bytes(), &mut control);
        put(OCTETS, &value, &mut control);
        let mut one = vec![];
        put(SEQUENCE, &control, &mut one);
        put(0xa0, &one, &mut controls);
    }
    wrap(id, &operation, &controls, out);
}

/// An entry of a search's answer.
pub fn put_entry(id: u32, entry: &Entry, out: &mut Vec<u8>) {
    let mut attributes = vec![];
    for (name, values) in &entry.attributes {
        let (mut set, mut one) = (vec![], vec![]);
        values.iter().for_each(|value| put(OCTETS, value.as_bytes(), &mut set));
        put(OCTETS, name.as_bytes(), &mut one);
        put(SET, &set, &mut one);
        put(SEQUENCE, &one, &mut attributes);
    }
    let (mut content, mut operation) = (vec![], vec![]);
    put(OCTETS, entry.dn.as_bytes(), &mut content);
    put(SEQUENCE, &attributes, &mut content);
    put(tag::ENTRY, &content, &mut operation);
    wrap(id, &operation, &[], out);
}

/// The server's last words before it closes a connection (RFC 4511 §4.4.1).
pub fn put_notice(code: Code, words: &str, out: &mut Vec<u8>) {
    let mut content = vec![];
    put_number(ENUMERATED, u32::from(code as u8), &mut content);
    put(OCTETS, b"", &mut content);
    put(OCTETS, words.as_bytes(), &mut content);
    put(0x8a, b"1.3.6.1.4.1.1466.20036", &mut content);
    let mut operation = vec![];
    put(tag::EXTENDED, &content, &mut operation);
    wrap(0, &operation, &[], out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(|b| b.is_ascii_hexdigit()).collect();
        digits.chunks(2).map(|d| u8::from_str_radix(std::str::from_utf8(d).unwrap(), 16).unwrap()).collect()
    }

    #[test]
    fn a_bind_and_a_search_are_read_as_clients_send_them() {
        let bind = hex("300c 020101 6007 020103 0400 8000");
        let wanted = Request::Bind { version: 3, simple: true, anonymous: true };
        assert_eq!(message(&bind).unwrap().request, wanted);
        // ldapsearch -b o=nhs -s sub '(&(cn=a*)(!(o>=1)))' cn
        let search = hex("3037 020102 6332 0405 6f3d6e6873 0a0102 0a0100 020100 020100 010100 \
             a014 a409 0402 636e 3003 800161 a207 a505 0401 6f 0400 3004 0402 636e");
        let Request::Search(got) = message(&search).unwrap().request else { panic!("a search") };
        assert_eq!(
            (got.base.as_str(), got.scope, got.attributes.as_slice()),
            ("o=nhs", Scope::Sub, &["cn".into()][..])
        );
        let parts = Filter::Parts("cn".into(), Some("a".into()), vec![], None);
        let not = Filter::Not(Box::new(Filter::AtLeast("o".into(), String::new())));
        assert_eq!(got.filter, Filter::And(vec![parts, not]));
    }

    #[test]
    fn results_have_the_bytes_of_the_standard() {
        let mut out = vec![];
        put_result(1, tag::BIND, Code::Success, "", None, &mut out);
        assert_eq!(out, hex("300c 020101 6107 0a0100 0400 0400"));
        let mut long = vec![];
        put(OCTETS, &[0; 200], &mut long);
        assert_eq!(long[..3], [4, 0x81, 200]);
        let mut number = vec![];
        put_number(INTEGER, 128, &mut number);
        assert_eq!(number, [2, 2, 0, 128]);
    }

    #[test]
    fn a_deep_filter_is_refused_and_a_long_message_before_it_comes() {
        let mut inner = vec![0x87, 1, b'a'];
        for _ in 0..MAX_DEPTH + 2 {
            let mut outer = vec![];
            put(0xa2, &inner, &mut outer);
            inner = outer;
        }
        assert_eq!(filter(&mut Elements(&inner), 0, &mut 0), Err(BadBer::Filter));
        assert_eq!(ber::frame(&[0x30, 0x84, 0x7f, 0, 0, 0], MAX_MESSAGE), Err(BadBer::TooLong));
        assert_eq!(ber::frame(&[0x30, 0x82, 1], MAX_MESSAGE), Ok(None));
        assert_eq!(ber::frame(b"GET / HTTP/1.1", MAX_MESSAGE), Err(BadBer::Unexpected));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_message_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = message(&bytes);
            let _ = ber::frame(&bytes, MAX_MESSAGE);
        }
    }
}
