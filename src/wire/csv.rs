//! Comma-separated values as they come in (RFC 4180): quotes, doubled quotes, line breaks inside quotes. Reads a file of any
//! length piece by piece, strictly: what another reader might understand otherwise is refused. Pure.
//!
//! Bounds (P6): a row has at most [`MAX_ROW`] bytes and [`MAX_FIELDS`] fields.

/// Bytes of one row: some twenty times a long one.
pub const MAX_ROW: usize = 8 << 10;
/// Fields of one row; more cannot be told apart from a file without line ends.
pub const MAX_FIELDS: usize = 256;

/// Why a file is none. Holds nothing of its content (P10).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("a quote in the middle of a field, or something behind a closed one")]
    Quote,
    #[error("a quote is not closed")]
    Unclosed,
    #[error("a row is too long")]
    TooLong,
    #[error("a row has too many fields")]
    TooManyFields,
    #[error("a row is not UTF-8")]
    NotText,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// At the start of a field.
    #[default]
    Start,
    Plain,
    Quoted,
    /// Behind a quote within quotes: the field's end, or the first of two.
    Closed,
    /// Behind a carriage return outside of quotes.
    Return,
}

/// A reader in the middle of a file.
#[derive(Debug, Default)]
pub struct Rows {
    state: State,
    /// The row's fields so far, one behind the other, and where each ends.
    text: Vec<u8>,
    ends: Vec<usize>,
    /// Anything of the row was read.
    begun: bool,
    /// The byte order mark is behind us.
    marked: usize,
}

const MARK: [u8; 3] = [0xef, 0xbb, 0xbf];

impl Rows {
    /// Reads a piece, and gives every row that ends in it to `take`, until that says no with an error of its own.
    pub fn feed<E: From<Malformed>>(
        &mut self,
        piece: &[u8],
        mut take: impl FnMut(Vec<String>) -> Result<(), E>,
    ) -> Result<(), E> {
        for &byte in piece {
            if self.marked < MARK.len() {
                if byte == MARK[self.marked] {
                    self.marked += 1;
                    continue;
                }
                // Half a mark is text.
                let half = std::mem::replace(&mut self.marked, MARK.len());
                for byte in MARK.iter().take(half) {
                    self.step(*byte)?;
                }
            }
            if self.step(byte)? {
                take(self.row()?)?;
            }
        }
        Ok(())
    }

    /// The last row, where no line end follows it.
    pub fn finish(&mut self) -> Result<Option<Vec<String>>, Malformed> {
        match self.state {
            State::Quoted => Err(Malformed::Unclosed),
            _ if !self.begun => Ok(None),
            _ => {
                self.field()?;
                self.row().map(Some)
            }
        }
    }

    /// Takes a byte in; true where the row ends with it.
    fn step(&mut self, byte: u8) -> Result<bool, Malformed> {
        if self.text.len() >= MAX_ROW {
            return Err(Malformed::TooLong);
        }
        self.begun = true;
        match (self.state, byte) {
            (State::Return, b'\n') | (State::Start | State::Plain | State::Closed, b'\n') => {
                self.field()?;
                return Ok(true);
            }
            (State::Return, _) => return Err(Malformed::Quote),
            (State::Quoted, b'"') => self.state = State::Closed,
            (State::Quoted, byte) => self.text.push(byte),
            (State::Closed, b'"') => {
                self.text.push(b'"');
                self.state = State::Quoted;
            }
            (_, b',') => self.field()?,
            (_, b'\r') => self.state = State::Return,
            (State::Start, b'"') => self.state = State::Quoted,
            (State::Closed, _) | (State::Plain, b'"') => return Err(Malformed::Quote),
            (_, byte) => {
                self.text.push(byte);
                self.state = State::Plain;
            }
        }
        Ok(false)
    }

    fn field(&mut self) -> Result<(), Malformed> {
        if self.ends.len() == MAX_FIELDS {
            return Err(Malformed::TooManyFields);
        }
        self.ends.push(self.text.len());
        self.state = State::Start;
        Ok(())
    }

    fn row(&mut self) -> Result<Vec<String>, Malformed> {
        let mut from = 0;
        let mut fields = Vec::with_capacity(self.ends.len());
        for end in self.ends.drain(..) {
            let field = std::str::from_utf8(&self.text[from..end]).map_err(|_| Malformed::NotText)?;
            fields.push(field.to_owned());
            from = end;
        }
        self.text.clear();
        self.begun = false;
        Ok(fields)
    }
}

/// Appends a row with its line end; fields are quoted where they must be.
pub fn write(out: &mut String, fields: &[&str]) {
    for (n, field) in fields.iter().enumerate() {
        if n > 0 {
            out.push(',');
        }
        if field.contains([',', '"', '\r', '\n']) {
            out.push('"');
            out.push_str(&field.replace('"', "\"\""));
            out.push('"');
        } else {
            out.push_str(field);
        }
    }
    out.push_str("\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &[u8], piece: usize) -> Result<Vec<Vec<String>>, Malformed> {
        let (mut rows, mut all) = (Rows::default(), vec![]);
        for piece in text.chunks(piece) {
            rows.feed(piece, |row| {
                all.push(row);
                Ok::<_, Malformed>(())
            })?;
        }
        all.extend(rows.finish()?);
        Ok(all)
    }

    #[test]
    fn quotes_commas_and_line_ends_are_read_however_the_file_is_cut() {
        let text = "\u{feff}a,\"b, \"\"c\"\"\"\r\n\r\n\"two\r\nlines\",é\nlast,";
        for piece in 1..text.len() {
            let rows = read(text.as_bytes(), piece).unwrap();
            let expected: [&[&str]; 4] = [&["a", "b, \"c\""], &[""], &["two\r\nlines", "é"], &["last", ""]];
            assert_eq!(rows, expected, "cut after {piece}");
        }
        assert_eq!(read(b"", 1), Ok(vec![]));
        assert_eq!(read(b"a,b\n", 1).unwrap().len(), 1, "a line end begins no row");
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        for (text, why) in [
            ("a\"b", Malformed::Quote),
            ("\"a\"b", Malformed::Quote),
            ("a\rb", Malformed::Quote),
            ("x,\"open", Malformed::Unclosed),
        ] {
            assert_eq!(read(text.as_bytes(), 3), Err(why), "{text}");
        }
        assert_eq!(read(b"a,\xff\n", 2), Err(Malformed::NotText));
        assert_eq!(read(&[b'a'; MAX_ROW + 1], 100), Err(Malformed::TooLong));
        assert_eq!(read(&[b','; MAX_FIELDS + 1], 100), Err(Malformed::TooManyFields));
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(rows in prop::collection::vec(prop::collection::vec("[a-c,\"\r\né ]{0,5}", 1..5), 1..6), piece in 1..20usize) {
            let mut text = String::new();
            for row in &rows {
                write(&mut text, &row.iter().map(String::as_str).collect::<Vec<_>>());
            }
            prop_assert_eq!(read(text.as_bytes(), piece).unwrap(), rows);
        }

        #[test]
        fn nothing_makes_it_panic(text in prop::collection::vec(any::<u8>(), 0..300), piece in 1..50usize) {
            let _ = read(&text, piece);
        }
    }
}
