//! Filters on entries (RFC 4511 §4.5.1.7): three-valued, so that what cannot be told never matches, not even negated.

use crate::wire::ldap::{Entry, Filter};

/// Attributes whose values differ by case (directory.md §B.2); all others do not.
const EXACT: &[&str] = &["nhsidcode", "nhsassvcia", "nhsmhssvcia", "nhsmhscpaid", "nhsorgtypecode"];

/// Whether an entry matches; `None` where that is undefined.
pub fn holds(filter: &Filter, entry: &Entry) -> Option<bool> {
    match filter {
        Filter::And(all) => {
            let told: Vec<Option<bool>> = all.iter().map(|f| holds(f, entry)).collect();
            if told.contains(&Some(false)) {
                Some(false)
            } else {
                told.iter().all(|t| *t == Some(true)).then_some(true)
            }
        }
        Filter::Or(any) => {
            let told: Vec<Option<bool>> = any.iter().map(|f| holds(f, entry)).collect();
            if told.contains(&Some(true)) {
                Some(true)
            } else {
                told.iter().all(|t| *t == Some(false)).then_some(false)
            }
        }
        Filter::Not(one) => holds(one, entry).map(|told| !told),
        Filter::Undefined => None,
        Filter::Present(name) => Some(values(entry, name).is_some()),
        Filter::Equal(name, wanted) => any(entry, name, |value, same| same(value) == same(wanted)),
        Filter::AtLeast(name, wanted) => any(entry, name, |value, same| !below(&same(value), &same(wanted))),
        Filter::AtMost(name, wanted) => any(entry, name, |value, same| !below(&same(wanted), &same(value))),
        Filter::Parts(name, first, middle, last) => {
            any(entry, name, |value, same| pieces(&same(value), first, middle, last, same))
        }
    }
}

fn values<'a>(entry: &'a Entry, name: &str) -> Option<&'a [String]> {
    // Options of a name (`;lang-en`) are not kept, so that they do not matter.
    let name = name.split(';').next().unwrap_or(name);
    entry.attributes.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, values)| values.as_slice())
}

type Same<'a> = &'a dyn Fn(&str) -> String;

/// Whether a value of the attribute passes; false where the entry does not have it.
fn any(entry: &Entry, name: &str, test: impl Fn(&str, Same<'_>) -> bool) -> Option<bool> {
    let exact = EXACT.contains(&name.to_ascii_lowercase().as_str());
    let same = |text: &str| prepared(text, exact);
    Some(values(entry, name).is_some_and(|values| values.iter().any(|value| test(value, &same))))
}

/// Blanks at the ends do not count and several are one (RFC 4518).
fn prepared(text: &str, exact: bool) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if exact { text } else { text.to_lowercase() }
}

/// Numbers are ordered as numbers, all else as text.
fn below(a: &str, b: &str) -> bool {
    match (a.parse::<u64>(), b.parse::<u64>()) {
        (Ok(a), Ok(b)) => a < b,
        _ => a < b,
    }
}

/// Parts of a value as RFC 4518 §2.6.1 has it: one blank stands at each end of the value, and blanks where a part meets an
/// asterisk count, as one.
fn pieces(value: &str, first: &Option<String>, middle: &[String], last: &Option<String>, same: Same<'_>) -> bool {
    let part = |text: &str, begins: bool, ends: bool| {
        let core = same(text);
        let blank = |there: bool| if there { " " } else { "" };
        if core.is_empty() {
            return " ".to_owned();
        }
        let (before, behind) = (text.starts_with(char::is_whitespace), text.ends_with(char::is_whitespace));
        format!("{}{core}{}", blank(begins || before), blank(ends || behind))
    };
    let value = format!(" {value} ");
    let mut rest = value.as_str();
    if let Some(first) = first {
        let Some(behind) = rest.strip_prefix(part(first, true, false).as_str()) else { return false };
        rest = behind;
    }
    for piece in middle {
        let piece = part(piece, false, false);
        let Some(at) = rest.find(&piece) else { return false };
        rest = &rest[at + piece.len()..];
    }
    last.as_ref().is_none_or(|last| rest.ends_with(part(last, false, true).as_str()))
}
