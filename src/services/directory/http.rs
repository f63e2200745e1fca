//! What the directory's HTTP faces take and give, as values: one request's head, one answer. The edge carries them.

/// One request, as far as the faces look at it.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    pub method: String,
    /// `https://host`, for links.
    pub origin: String,
    pub path: String,
    /// As it came, percent-encoded.
    pub query: String,
    /// Form body of a search by POST; empty otherwise.
    pub form: String,
    pub accept: Option<String>,
    pub correlation: Option<String>,
    /// Milliseconds since the epoch.
    pub now: u64,
    /// Names the request, over the whole site; ids of answers are made of it.
    pub unique: u64,
}

impl Asked {
    /// Names and values of the query, then of the form, decoded, in their order.
    pub fn pairs(&self) -> Vec<(String, String)> {
        let both = self.query.split('&').chain(self.form.split('&'));
        let pair = |part: &str| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            (decode(name), decode(value))
        };
        both.filter(|part| !part.is_empty()).map(pair).collect()
    }

    pub fn url(&self) -> String {
        let mark = if self.query.is_empty() { "" } else { "?" };
        format!("{}{}{mark}{}", self.origin, self.path, self.query)
    }

    /// This URL with one parameter of its query set to another value.
    pub fn url_with(&self, name: &str, value: usize) -> String {
        let others = self.query.split('&').chain(self.form.split('&'));
        let others = others.filter(|part| !part.is_empty() && part.split('=').next() != Some(name));
        let all: Vec<String> = others.map(str::to_owned).chain([format!("{name}={value}")]).collect();
        format!("{}{}?{}", self.origin, self.path, all.join("&"))
    }

    /// A UUID that no other request of the site has, the `n`th of this one.
    pub fn uuid(&self, n: usize) -> uuid::Uuid {
        let seed = format!("{}/{}/{n}", self.unique, self.now);
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, seed.as_bytes());
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest.as_ref()[..16]);
        uuid::Builder::from_random_bytes(bytes).into_uuid()
    }

    /// As the directory writes them.
    pub fn upper_uuid(&self, n: usize) -> String {
        self.uuid(n).to_string().to_ascii_uppercase()
    }
}

/// One answer. Header names are lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: String,
    /// User ids of the members of staff whom it shows.
    pub people: Vec<String>,
}

impl Answer {
    pub fn of(status: u16, content_type: &str, body: String) -> Answer {
        Answer { status, headers: vec![("content-type", content_type.to_owned())], body, people: vec![] }
    }
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Answer {
        self.headers.push((name, value.into()));
        self
    }
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| *n == name).map(|(_, v)| v.as_str())
    }
}

/// Percent-decoding of a query's part; `+` is a blank. What is no UTF-8 is shown as such.
pub fn decode(part: &str) -> String {
    let bytes = part.as_bytes();
    let hex = |at: usize| bytes.get(at).and_then(|b| char::from(*b).to_digit(16));
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while let Some(b) = bytes.get(at) {
        match (b, hex(at + 1), hex(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high << 4 | low) as u8);
                at += 2;
            }
            (b'+', ..) => out.push(b' '),
            (b, ..) => out.push(*b),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_decoded_and_pages_linked() {
        let asked = Asked {
            origin: "https://h".into(),
            path: "/p".into(),
            query: "a=1%7C2+3&_offset=5&b".into(),
            form: "c=%C3%A9%2".into(),
            ..Default::default()
        };
        let pairs = asked.pairs();
        let want = [("a", "1|2 3"), ("_offset", "5"), ("b", ""), ("c", "é%2")];
        assert!(pairs.iter().map(|(n, v)| (n.as_str(), v.as_str())).eq(want), "{pairs:?}");
        assert_eq!(asked.url_with("_offset", 10), "https://h/p?a=1%7C2+3&b&c=%C3%A9%2&_offset=10");
        assert_ne!(asked.uuid(0), asked.uuid(1));
    }
}
