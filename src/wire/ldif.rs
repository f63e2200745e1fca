//! LDIF content records (RFC 2849) as far as directories export them: comments, folded lines, base64 values. Pure.
//! Change records and values by URL are refused, not guessed.

use std::fmt;

/// One entry: its name, and its attributes in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub dn: String,
    pub attributes: Vec<(String, String)>,
}

/// Why text is no entry. Says the rule, not the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadEntry {
    /// A line without a colon.
    Line,
    /// The first line is no `dn`.
    Name,
    Base64,
    /// `changetype`, or a value that stands at a URL.
    Unsupported,
}

impl fmt::Display for BadEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BadEntry::Line => "a line is not `attribute: value`",
            BadEntry::Name => "the entry does not begin with its dn",
            BadEntry::Base64 => "a value behind `::` is not base64 of UTF-8 text",
            BadEntry::Unsupported => "change records and values at URLs are not taken",
        })
    }
}

impl std::error::Error for BadEntry {}

/// Reads the lines between two blank ones. `None` where there are only comments or the version.
pub fn entry(text: &str) -> Result<Option<Entry>, BadEntry> {
    let mut lines: Vec<String> = vec![];
    for line in text.lines() {
        match (line.strip_prefix(' '), lines.last_mut()) {
            (Some(more), Some(last)) => last.push_str(more),
            _ => lines.push(line.to_owned()),
        }
    }
    let mut lines = lines.iter().filter(|l| !l.starts_with('#') && !l.trim().is_empty() && !l.starts_with("version:"));
    let Some(first) = lines.next() else { return Ok(None) };
    let (name, dn) = attribute(first)?;
    if !name.eq_ignore_ascii_case("dn") {
        return Err(BadEntry::Name);
    }
    let attributes = lines.map(|line| attribute(line)).collect::<Result<Vec<_>, _>>()?;
    if attributes.iter().any(|(name, _)| name.eq_ignore_ascii_case("changetype")) {
        return Err(BadEntry::Unsupported);
    }
    Ok(Some(Entry { dn, attributes }))
}

fn attribute(line: &str) -> Result<(String, String), BadEntry> {
    let (name, value) = line.split_once(':').ok_or(BadEntry::Line)?;
    let value = match value.strip_prefix(':') {
        Some(coded) => base64(coded.trim()).and_then(|b| String::from_utf8(b).ok()).ok_or(BadEntry::Base64)?,
        None if value.starts_with('<') => return Err(BadEntry::Unsupported),
        None => value.trim().to_owned(),
    };
    // Options (`;binary`, `;lang-en`) do not matter to what we keep.
    let name = name.split(';').next().unwrap_or(name).trim();
    let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
    if is_name { Ok((name.to_owned(), value)) } else { Err(BadEntry::Line) }
}

/// Standard base64 with padding.
fn base64(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=');
    if !text.len().is_multiple_of(4) || text.len() - digits.len() > 2 {
        return None;
    }
    let (mut out, mut bits, mut held) = (Vec::with_capacity(digits.len() * 3 / 4), 0u32, 0);
    for b in digits.bytes() {
        let value = match b {
            b'A'..=b'Z' => b - b'A',
            b'a'..=b'z' => b - b'a' + 26,
            b'0'..=b'9' => b - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push((bits >> held) as u8);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_as_directories_write_them() {
        let text = "version: 1\n# a comment\ndn: uid=1,\n ou=People\ncn:: w4VzZQ==\nnhsAsSvcIA: urn:nhs:names:a:b\nnhsAsSvcIA: c\n";
        let got = entry(text).unwrap().unwrap();
        assert_eq!(got.dn, "uid=1,ou=People");
        let pairs: Vec<(&str, &str)> = got.attributes.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert_eq!(pairs, [("cn", "Åse"), ("nhsAsSvcIA", "urn:nhs:names:a:b"), ("nhsAsSvcIA", "c")]);
        assert_eq!(entry("# nothing\n\n"), Ok(None));
    }

    #[test]
    fn what_is_no_entry_is_refused() {
        for (text, why) in [
            ("cn: a", BadEntry::Name),
            ("dn: a\nrubbish", BadEntry::Line),
            ("dn: a\n#\tb\n\t#c: d", BadEntry::Line),
            ("dn: a\nc d: e", BadEntry::Line),
            ("dn: a\ncn:: a", BadEntry::Base64),
            ("dn: a\nchangetype: delete", BadEntry::Unsupported),
            ("dn: a\njpegPhoto:< file:///x", BadEntry::Unsupported),
        ] {
            assert_eq!(entry(text), Err(why), "{text}");
        }
    }
}
