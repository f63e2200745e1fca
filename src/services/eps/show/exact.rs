//! JSON whose numbers keep the digits they came with (spec/eps.md §3.1: 63 is not 63.0, 10.00 is not 10.0): a quantity goes into the
//! signature, so a released prescription must write it as the prescriber did.
//!
//! `serde_json` keeps a number's value, not its digits. A number that it would write otherwise becomes, while read, a string that
//! starts with [`MARK`]; [`write`] makes a number of it again. A sender's own string of that form comes out as the number that it
//! spells; nothing but a number can come of it.

use serde_json::Value;

/// A private-use character, in front of a number's digits.
pub const MARK: char = '\u{e000}';

/// Reads a message; `None` where it is no JSON.
pub fn read(text: &[u8]) -> Option<Value> {
    match marked(text) {
        Some(text) => serde_json::from_slice(&text).ok(),
        None => serde_json::from_slice(text).ok(),
    }
}

/// The text with its unusual numbers as marked strings; `None` where it has none.
fn marked(text: &[u8]) -> Option<Vec<u8>> {
    let (mut out, mut copied, mut at) = (vec![], 0, 0);
    let mut quoted = false;
    while let Some(byte) = text.get(at) {
        match byte {
            b'\\' if quoted => at += 2,
            b'"' => {
                quoted = !quoted;
                at += 1;
            }
            b'-' | b'0'..=b'9' if !quoted => {
                let rest = text.get(at..).unwrap_or_default();
                let length = rest.iter().take_while(|b| is_number(**b)).count().max(1);
                let token = rest.get(..length).unwrap_or_default();
                if unusual(token) {
                    out.extend_from_slice(text.get(copied..at).unwrap_or_default());
                    out.extend_from_slice(format!("\"{MARK}").as_bytes());
                    out.extend_from_slice(token);
                    out.push(b'"');
                    copied = at + length;
                }
                at += length;
            }
            _ => at += 1,
        }
    }
    (copied > 0).then(|| {
        out.extend_from_slice(text.get(copied..).unwrap_or_default());
        out
    })
}

fn is_number(byte: u8) -> bool {
    byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E')
}

/// Whether a token is a number that would be written with other digits.
fn unusual(token: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(token) else { return false };
    // Most numbers are short whole ones.
    let plain =
        token.len() < 18 && token.iter().all(u8::is_ascii_digit) && (token.len() == 1 || token.first() != Some(&b'0'));
    !plain && serde_json::from_str::<serde_json::Number>(text).is_ok_and(|n| n.to_string() != text)
}

/// The digits of a number, marked or not.
pub fn digits(value: &Value) -> Option<String> {
    match value {
        Value::Number(n) => Some(n.to_string()),
        Value::String(s) => s.strip_prefix(MARK).map(str::to_owned),
        _ => None,
    }
}

/// Writes an answer. Depth is that of a message that was read, which `serde_json` bounds, and of the answer around it.
pub fn write(value: &Value) -> String {
    let mut out = String::with_capacity(4096);
    put(value, &mut out);
    out
}

fn put(value: &Value, out: &mut String) {
    match value {
        Value::Object(members) => {
            out.push('{');
            for (nth, (name, value)) in members.iter().enumerate() {
                if nth > 0 {
                    out.push(',');
                }
                text(name, out);
                out.push(':');
                put(value, out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (nth, value) in items.iter().enumerate() {
                if nth > 0 {
                    out.push(',');
                }
                put(value, out);
            }
            out.push(']');
        }
        Value::String(s) => {
            match s.strip_prefix(MARK).filter(|d| serde_json::from_str::<serde_json::Number>(d).is_ok()) {
                Some(digits) => out.push_str(digits.trim()),
                None => text(s, out),
            }
        }
        other => out.push_str(&other.to_string()),
    }
}

fn text(text: &str, out: &mut String) {
    // A string is always writable as JSON.
    out.push_str(&serde_json::to_string(text).unwrap_or_else(|_| "\"\"".into()));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through(text: &str) -> String {
        write(&read(text.as_bytes()).unwrap())
    }

    #[test]
    fn digits_stay_as_they_came() {
        for number in ["63", "63.0", "63.00", "0.50", "-0", "1E2", "0", "12345678901234567890123", "0.1", "1e400"] {
            let text = format!(r#"{{"a":[{number},"x"],"b":{number}}}"#);
            // A number that JSON knows but that has no value (1e400) is refused by the reader: nothing is shown of it.
            let Some(value) = read(text.as_bytes()) else {
                assert_eq!(number, "1e400");
                continue;
            };
            assert_eq!(write(&value), text);
        }
        assert_eq!(digits(&read(b"10.00").unwrap()).as_deref(), Some("10.00"));
        assert_eq!(digits(&read(b"10").unwrap()).as_deref(), Some("10"));
    }

    #[test]
    fn strings_are_left_alone() {
        let text = r#"{"a":"63.00 \" 1.00","b":"\\","c":1.50,"d":"é\n"}"#;
        assert_eq!(through(text), text);
    }

    #[test]
    fn a_mark_in_a_message_makes_nothing_but_a_number() {
        let evil = format!(r#"["{MARK}1,2","{MARK}]","{MARK} 7 ","{MARK}"]"#);
        let out = through(&evil);
        let back: Vec<Value> = serde_json::from_str(&out).unwrap();
        assert_eq!(back.len(), 4);
        assert!(back[0].is_string() && back[1].is_string() && back[3].is_string());
    }

    #[test]
    fn what_is_no_json_is_none() {
        for text in ["", "{", "[1.00", "01.00", "-", "1.0.0", "\"\\"] {
            assert_eq!(read(text.as_bytes()), None, "{text}");
        }
    }
}
