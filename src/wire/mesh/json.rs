//! A small JSON writer for answers: objects and arrays are built left to right, texts are escaped, nothing is looked
//! up or reordered. Bytes that are not UTF-8 (headers pass through MESH as they came) are read as Latin-1.

use bytes::Bytes;

/// One object or array being written.
pub struct Json {
    out: Vec<u8>,
    close: u8,
}

impl Json {
    pub fn object() -> Self {
        Json { out: vec![b'{'], close: b'}' }
    }
    pub fn array() -> Self {
        Json { out: vec![b'['], close: b']' }
    }
    pub fn text(&mut self, name: &str, value: &str) -> &mut Self {
        self.name(name);
        escape(value.chars(), &mut self.out);
        self
    }
    /// A text that may not be UTF-8.
    pub fn bytes(&mut self, name: &str, value: &[u8]) -> &mut Self {
        self.name(name);
        escape_bytes(value, &mut self.out);
        self
    }
    /// Omitted when empty.
    pub fn some(&mut self, name: &str, value: &str) -> &mut Self {
        if !value.is_empty() {
            self.text(name, value);
        }
        self
    }
    /// Omitted when empty.
    pub fn some_bytes(&mut self, name: &str, value: &[u8]) -> &mut Self {
        if !value.is_empty() {
            self.bytes(name, value);
        }
        self
    }
    pub fn number(&mut self, name: &str, value: u64) -> &mut Self {
        self.raw(name, value.to_string().as_bytes())
    }
    pub fn truth(&mut self, name: &str, value: bool) -> &mut Self {
        self.raw(name, if value { b"true" } else { b"false" })
    }
    /// A value that is JSON already.
    pub fn raw(&mut self, name: &str, value: &[u8]) -> &mut Self {
        self.name(name);
        self.out.extend_from_slice(value);
        self
    }
    /// A text in an array.
    pub fn item(&mut self, value: &str) -> &mut Self {
        self.comma();
        escape(value.chars(), &mut self.out);
        self
    }
    /// A value in an array that is JSON already.
    pub fn raw_item(&mut self, value: &[u8]) -> &mut Self {
        self.comma();
        self.out.extend_from_slice(value);
        self
    }
    pub fn end(mut self) -> Bytes {
        self.out.push(self.close);
        self.out.into()
    }

    fn name(&mut self, name: &str) {
        self.comma();
        escape(name.chars(), &mut self.out);
        self.out.push(b':');
    }
    fn comma(&mut self) {
        if self.out.len() > 1 {
            self.out.push(b',');
        }
    }
}

/// A text as header or JSON shows it: UTF-8, or Latin-1 where it is not.
pub fn escape_bytes(value: &[u8], out: &mut Vec<u8>) {
    match std::str::from_utf8(value) {
        Ok(text) => escape(text.chars(), out),
        Err(_) => escape(value.iter().map(|&b| b as char), out),
    }
}

fn escape(chars: impl Iterator<Item = char>, out: &mut Vec<u8>) {
    out.push(b'"');
    for c in chars {
        match c {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            c if (c as u32) < 0x20 || c == '\u{7f}' => {
                out.extend_from_slice(format!("\\u{:04x}", c as u32).as_bytes());
            }
            c => {
                let mut buffer = [0; 4];
                out.extend_from_slice(c.encode_utf8(&mut buffer).as_bytes());
            }
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back_as_json() {
        let mut json = Json::object();
        let mut list = Json::array();
        list.item("a").raw_item(b"1");
        json.text("t", "q\"\\\n\u{1}é").bytes("b", &[0xe9]).some("none", "").number("n", 7).raw("l", &list.end());
        json.truth("y", true);
        let value: serde_json::Value = serde_json::from_slice(&json.end()).unwrap();
        assert_eq!(value, serde_json::json!({"t": "q\"\\\n\u{1}é", "b": "é", "n": 7, "l": ["a", 1], "y": true}));
        assert_eq!(Json::object().end().as_ref(), b"{}");
    }
}
