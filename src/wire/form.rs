//! `application/x-www-form-urlencoded` bodies (WHATWG URL §5.1), bounded. Pure.

/// Most fields of a form: the longest that is specified has a dozen.
const MAX_FIELDS: usize = 64;

/// A form's fields in their order. Holds secrets: no `Debug`.
#[derive(Clone, Default)]
pub struct Form(Vec<(String, String)>);

/// The body is no form: not UTF-8 behind its percent signs, or too many fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a form")]
pub struct Malformed;

/// What [`Form::get`] gives for a field that came twice: no field that is known has such a value, so every check of a
/// value refuses it (RFC 6749 §3.2: parameters must not be included more than once).
const TWICE: &str = "\u{0}twice";

impl Form {
    pub fn parse(body: &[u8]) -> Result<Form, Malformed> {
        let mut fields = vec![];
        for pair in body.split(|b| *b == b'&').filter(|pair| !pair.is_empty()) {
            if fields.len() == MAX_FIELDS {
                return Err(Malformed);
            }
            let at = pair.iter().position(|b| *b == b'=');
            let (name, value) = at.map_or((pair, &b""[..]), |at| (&pair[..at], &pair[at + 1..]));
            fields.push((decoded(name)?, decoded(value)?));
        }
        Ok(Form(fields))
    }

    /// All fields, in their order.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// A field's value; one that is empty counts as not there (RFC 6749 §3.2).
    pub fn get(&self, name: &str) -> Option<&str> {
        let mut values = self.0.iter().filter(|(n, v)| n == name && !v.is_empty());
        let value = values.next()?;
        Some(if values.next().is_some() { TWICE } else { &value.1 })
    }
}

/// A value as it may stand in a form or a query.
pub fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for b in text.bytes() {
        match b {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(b as char),
            _ => out.push_str(&format!("%{b:02X}")),
        }
    }
    out
}

fn decoded(part: &[u8]) -> Result<String, Malformed> {
    let mut out = Vec::with_capacity(part.len());
    let mut at = 0;
    while let Some(&b) = part.get(at) {
        at += 1;
        out.push(match b {
            b'+' => b' ',
            b'%' => {
                let hex = part.get(at..at + 2).filter(|hex| hex.iter().all(u8::is_ascii_hexdigit)).ok_or(Malformed)?;
                at += 2;
                hex.iter().fold(0, |n, d| n << 4 | (*d as char).to_digit(16).unwrap_or_default() as u8)
            }
            b => b,
        });
    }
    String::from_utf8(out).map_err(|_| Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_decoded_and_doubles_are_nobodys_value() {
        let form = Form::parse(b"a=1+2%263&b=&c=x&c=y&d").unwrap();
        assert_eq!(form.get("a"), Some("1 2&3"));
        assert_eq!((form.get("b"), form.get("d"), form.get("e")), (None, None, None));
        assert_eq!(form.get("c"), Some(TWICE));
        for bad in [&b"a=%f"[..], b"a=%zz", b"a=%ff"] {
            assert!(Form::parse(bad).is_err());
        }
        assert!(Form::parse("a=1&".repeat(65).as_bytes()).is_err());
    }
}
