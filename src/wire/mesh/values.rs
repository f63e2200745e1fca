//! Values of MESH headers and parameters (mesh.md §4, §6.2, §7.1): API version, chunk range, booleans, workflow filter.

/// API version asked for by `Accept` (mesh.md §4): the highest known one that is named, 1 where none is.
/// `Err` where a mesh type is named in a form that is none.
#[allow(clippy::result_unit_err, reason = "there is one way to be wrong, and one answer to it")]
pub fn api_version(accept: &[u8]) -> Result<u8, ()> {
    let mut version = None;
    for part in accept.split(|&b| b == b',' || b == b';') {
        let part = part.trim_ascii();
        let mesh = part.to_ascii_lowercase();
        if !mesh.windows(8).any(|w| w == b"vnd.mesh") {
            continue;
        }
        let number = mesh.strip_prefix(b"application/vnd.mesh.v").and_then(|rest| rest.strip_suffix(b"+json"));
        let number = number.filter(|n| (1..=4).contains(&n.len()) && n.iter().all(u8::is_ascii_digit)).ok_or(())?;
        let number = std::str::from_utf8(number).ok().and_then(|n| n.parse::<u16>().ok()).ok_or(())?;
        if number == 0 {
            return Err(());
        }
        version = version.max(Some(number.min(2) as u8));
    }
    Ok(version.unwrap_or(1))
}

/// `n:m` with 0 < n ≤ m, at most nine digits each (mesh.md §8).
pub fn chunk_range(value: &[u8]) -> Option<(u32, u32)> {
    let number = |digits: &[u8]| {
        let fits = (1..=9).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
        fits.then(|| digits.iter().fold(0u32, |n, d| n * 10 + u32::from(d - b'0')))
    };
    let at = value.iter().position(|&b| b == b':')?;
    let (n, m) = (number(&value[..at])?, number(&value[at + 1..])?);
    (n > 0 && n <= m).then_some((n, m))
}

/// Anything that is not a word for yes is no, never an error (mesh.md §7.1).
pub fn boolean(value: &[u8]) -> bool {
    [&b"y"[..], b"yes", b"t", b"true", b"on", b"1"].iter().any(|yes| value.eq_ignore_ascii_case(yes))
}

/// Whether an `Accept-Encoding` lets gzip through: named, and not with a weight of nothing. `*` is no wish for it.
pub fn accepts_gzip(value: &[u8]) -> bool {
    value.split(|&b| b == b',').any(|choice| {
        let mut parts = choice.split(|&b| b == b';').map(<[u8]>::trim_ascii);
        let name = parts.next().unwrap_or_default();
        let refused = parts.any(|p| matches!(p, b"q=0" | b"q=0." | b"q=0.0" | b"q=0.00" | b"q=0.000"));
        (name.eq_ignore_ascii_case(b"gzip") || name.eq_ignore_ascii_case(b"x-gzip")) && !refused
    })
}

/// Characters allowed in a checksum (mesh.md §7.1).
pub fn checksum_fits(value: &[u8]) -> bool {
    value.iter().all(|b| b.is_ascii_alphanumeric() || b.is_ascii_whitespace() || matches!(b, b':' | b'-' | b'/'))
}

/// Characters as a person counts them; bytes where the value is not UTF-8.
pub fn characters(value: &[u8]) -> usize {
    std::str::from_utf8(value).map_or(value.len(), |text| text.chars().count())
}

/// UTF-8, or Latin-1 where it is not.
pub fn readable(value: &[u8]) -> String {
    match std::str::from_utf8(value) {
        Ok(text) => text.to_owned(),
        Err(_) => value.iter().map(|&b| b as char).collect(),
    }
}

/// A workflow filter (mesh.md §6.2): `text`, `text*`, `*text*`, each with a leading `!` for its opposite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filter<'a> {
    negated: bool,
    how: How,
    text: &'a [u8],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Equals,
    Begins,
    Contains,
}

impl<'a> Filter<'a> {
    pub fn parse(filter: &'a str) -> Self {
        let text = filter.trim();
        let (negated, text) = match text.strip_prefix('!') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (how, text) = match (text.strip_suffix('*'), text.strip_prefix('*')) {
            (Some(begin), Some(_)) => (How::Contains, begin.strip_prefix('*').unwrap_or("")),
            (Some(begin), None) => (How::Begins, begin),
            _ => (How::Equals, text),
        };
        Filter { negated, how, text: text.as_bytes() }
    }

    pub fn passes(&self, workflow: &[u8]) -> bool {
        let matches = match self.how {
            How::Equals => workflow == self.text,
            How::Begins => workflow.starts_with(self.text),
            How::Contains => self.text.is_empty() || workflow.windows(self.text.len()).any(|w| w == self.text),
        };
        matches != self.negated
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_as_the_specification_lists_them() {
        for (accept, version) in [
            ("", Ok(1)),
            ("*/*", Ok(1)),
            ("application/json", Ok(1)),
            ("application/vnd.mesh.v1+json", Ok(1)),
            ("application/vnd.mesh.v2+json", Ok(2)),
            ("application/vnd.mesh.v7+json", Ok(2)),
            ("text/html, Application/VND.mesh.v2+JSON;q=0.9", Ok(2)),
            ("application/vnd.mesh.v1+json, application/vnd.mesh.v2+json", Ok(2)),
            ("application/vnd.mesh.vX+json", Err(())),
            ("application/vnd.mesh+json", Err(())),
            ("application/vnd.mesh.v2+xml", Err(())),
            ("application/vnd.mesh.v0+json", Err(())),
        ] {
            assert_eq!(api_version(accept.as_bytes()), version, "{accept}");
        }
    }

    #[test]
    fn ranges_and_words() {
        assert_eq!(chunk_range(b"2:10"), Some((2, 10)));
        assert_eq!(chunk_range(b"001:001"), Some((1, 1)));
        for wrong in ["", "1", "1:", ":1", "0:1", "2:1", "1:2:3", "a:b", "-1:2", "1:1234567890", " 1:1", "1;1"] {
            assert_eq!(chunk_range(wrong.as_bytes()), None, "{wrong}");
        }
        assert!(["Y", "yes", "T", "TRUE", "on", "1"].iter().all(|w| boolean(w.as_bytes())));
        assert!(!["n", "0", "", "yep", "false"].iter().any(|w| boolean(w.as_bytes())));
        assert!(accepts_gzip(b"deflate, GZIP;q=0.5") && !accepts_gzip(b"gzip;q=0") && !accepts_gzip(b"br"));
        assert!(checksum_fits(b"sha256 - 0aF/:") && !checksum_fits(b"md5;") && !checksum_fits("é".as_bytes()));
        assert_eq!(characters("né".as_bytes()), 2);
        assert_eq!(readable(b"n\xe9"), "né");
    }

    #[test]
    fn filters_as_the_grammar_says() {
        let passes = |filter, workflow: &str| Filter::parse(filter).passes(workflow.as_bytes());
        assert!(passes("FLOW", "FLOW") && !passes("FLOW", "FLOW_ACK") && !passes("flow", "FLOW"));
        assert!(passes("FLOW*", "FLOW_ACK") && !passes("LOW*", "FLOW"));
        assert!(passes("*_ACK*", "FLOW_ACK") && passes("*FLOW*", "FLOW") && !passes("*X*", "FLOW"));
        assert!(passes("!*_ACK*", "FLOW") && !passes(" !*_ACK* ", "FLOW_ACK"));
        assert!(passes("!FLOW", "OTHER") && passes("**", "any") && passes("*", "any"));
    }
}
