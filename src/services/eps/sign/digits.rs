//! Quantities keep the digits that they came with (spec/eps.md §3.1): 63, 63.0 and 1.50 are three texts, and the prescriber signs one of
//! them. `serde_json` makes numbers of them and forgets how they were written, so the text of `dispenseRequest.quantity.value` is read a
//! second time, as raw JSON. Kept is only what the number would not be written back as: for nearly all orders, nothing.
//!
//! The text that is read must be the one that came in; so an order is stored as its text, not as its values.

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// Quantities whose text is not what their number is written as, by the entry's place in the Bundle.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Digits(Vec<(usize, String)>);

impl Digits {
    /// Of a Bundle's text. What is no Bundle has none.
    pub fn of(text: &str) -> Digits {
        if !may_matter(text) {
            return Digits::default();
        }
        let entries = serde_json::from_str::<&RawValue>(text).ok().and_then(|bundle| member(bundle, "entry"));
        let entries: Vec<&RawValue> =
            entries.and_then(|list| serde_json::from_str(list.get()).ok()).unwrap_or_default();
        Digits(entries.iter().enumerate().filter_map(|(at, entry)| Some((at, odd(entry)?))).collect())
    }

    /// The text of an entry's quantity, where it is kept.
    pub(super) fn at(&self, entry: usize) -> Option<&str> {
        let found = self.0.binary_search_by_key(&entry, |(at, _)| *at).ok()?;
        self.0.get(found).map(|(_, text)| text.as_str())
    }
}

/// Whether some `value` may be written otherwise than its number: a fast look that lets nearly every order off the second reading. A
/// name can hide behind an escape, so a text with one is read.
fn may_matter(text: &str) -> bool {
    let odd = |after: &str| {
        let number = after.trim_start().strip_prefix(':').unwrap_or("").trim_start();
        let digits = number.bytes().take_while(u8::is_ascii_digit).take(16).count();
        digits > 15 || matches!(number.as_bytes().get(digits), Some(b'.' | b'e' | b'E' | b'-'))
    };
    text.contains("\\u") || text.split("\"value\"").skip(1).any(odd)
}

/// The quantity's text in an entry, if it is a number that would be written otherwise.
fn odd(entry: &RawValue) -> Option<String> {
    let path = ["resource", "dispenseRequest", "quantity", "value"];
    let raw = path.iter().try_fold(entry, |within, name| member(within, name))?;
    let number: serde_json::Number = serde_json::from_str(raw.get()).ok()?;
    (number.to_string() != raw.get()).then(|| raw.get().to_owned())
}

/// A member of an object; the last where it is there twice, as `serde_json` has it.
fn member<'a>(object: &'a RawValue, name: &str) -> Option<&'a RawValue> {
    let mut reader = serde_json::Deserializer::from_str(object.get());
    Member(name).deserialize(&mut reader).ok()?
}

struct Member<'n>(&'n str);

impl<'de> DeserializeSeed<'de> for Member<'_> {
    type Value = Option<&'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        reader.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Member<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(name) = members.next_key::<Name<'de>>().map_err(A::Error::custom)? {
            if name.0 == self.0 {
                found = Some(members.next_value()?);
            } else {
                members.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

/// A member's name, borrowed where nothing in it is escaped.
#[derive(serde::Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    fn order(values: &[&str]) -> String {
        let entry = |v: &&str| format!("{{\"resource\":{{\"dispenseRequest\":{{\"quantity\":{{\"value\":{v}}}}}}}}}");
        format!("{{\"entry\":[{}]}}", values.iter().map(entry).collect::<Vec<_>>().join(","))
    }

    #[test]
    fn only_texts_that_a_number_would_lose_are_kept() {
        let long = "12345678901234567890123";
        let all = ["63", "63.0", "1.50", "\"1.50\"", "1e2", "null", "0.10", "-0", "1E2", long];
        let digits = Digits::of(&order(&all));
        let kept: Vec<Option<&str>> = (0..11).map(|at| digits.at(at)).collect();
        let expected = [
            None,
            None,
            Some("1.50"),
            None,
            Some("1e2"),
            None,
            Some("0.10"),
            Some("-0"),
            Some("1E2"),
            Some(long),
            None,
        ];
        assert_eq!(kept, expected);
        for (one, kept) in all.iter().zip(expected) {
            let text = order(&[one]).replace(':', " :\n ");
            assert_eq!(Digits::of(&text).at(0), kept, "the fast look lets {one} off");
        }
    }

    #[test]
    fn the_last_of_two_counts_and_other_shapes_have_none() {
        let twice = "{\"entry\":[],\"e\\u006etry\":[{\"resource\":{\"dispenseRequest\":{\"quantity\":{\"value\":1,\"value\":2.00}}}}]}";
        assert_eq!(Digits::of(twice).at(0), Some("2.00"));
        for text in ["", "{", "[]", "{\"entry\":{}}", "{\"entry\":[1,[],{\"resource\":3}]}", "7"] {
            assert_eq!(Digits::of(text), Digits::default(), "{text}");
        }
    }
}
