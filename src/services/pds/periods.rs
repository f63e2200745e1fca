//! Business periods (spec/pds.md §9.4) and the rules on text that several fields share.

use super::{
    fhir::Object,
    query::real_day,
    refusal::{Problem, shown},
};
use serde_json::{Value, json};

/// A period that may be stored: `start` required and not in the future, `end` not before it. `today` as `names::day_number`.
pub fn check(item: &Object, path: &str, today: u32) -> Result<(), Problem> {
    let Some(period) = item.get("period") else { return Ok(()) };
    let field = |member: &str| format!("{path}/period/{member}");
    let Some(members) = period.as_object() else {
        return Err(Problem::invalid(&shown(period), &format!("{path}/period")));
    };
    if let Some(unknown) = members.keys().find(|m| !["start", "end"].contains(&m.as_str())) {
        return Err(Problem::additional(&[unknown]));
    }
    let Some(start) = members.get("start") else { return Err(Problem::missing(&field("start"))) };
    let from = start.as_str().and_then(|s| real_day(s.get(..10).unwrap_or(s))).filter(|day| *day <= today);
    let from = from.ok_or_else(|| Problem::invalid(&shown(start), &field("start")))?;
    if let Some(end) = members.get("end") {
        let to = end.as_str().and_then(|s| real_day(s.get(..10).unwrap_or(s))).filter(|day| *day >= from);
        to.ok_or_else(|| Problem::invalid(&shown(end), &field("end")))?;
    }
    Ok(())
}

/// `start` = today where a new or replaced item has no period.
pub fn complete(item: &mut Object, today: &str) {
    if !item.contains_key("period") {
        item.insert("period".into(), json!({"start": today}));
    }
}

/// Days from start to end of an item's period, if it has both.
pub fn length(item: &Object) -> Option<i64> {
    let day = |member: &str| {
        let text = item.get("period")?.get(member)?.as_str()?.get(..10)?;
        text.parse::<jiff::civil::Date>().ok()
    };
    let (start, end) = (day("start")?, day("end")?);
    Some(i64::from(start.until(end).ok()?.get_days()))
}

/// Letters, digits and signs that names may hold (§5.12).
pub fn name_characters(text: &str) -> bool {
    text.chars().all(
        |c| matches!(c as u32, 32 | 39 | 45 | 46 | 48..=57 | 65..=90 | 97..=122 | 192..=214 | 216..=246 | 248..=383),
    )
}

/// A name's text: of these characters, and not longer than 35.
pub fn name_text(value: &Value, path: &str) -> Result<(), Problem> {
    let good = value.as_str().is_some_and(|t| name_characters(t) && t.chars().count() <= 35);
    if good { Ok(()) } else { Err(Problem::invalid(&shown(value), path)) }
}

/// An e-mail address as far as it is checked: between 7 and 89 characters, one @ with a name before and a dotted domain behind.
pub fn is_email(text: &str) -> bool {
    let parts = text.split_once('@');
    let domain = |d: &str| {
        d.contains('.')
            && !d.starts_with(['.', '-'])
            && !d.ends_with(['.', '-'])
            && d.chars().all(|c| c.is_ascii_alphanumeric() || ".-".contains(c))
    };
    (7..90).contains(&text.chars().count())
        && parts.is_some_and(|(name, d)| {
            !name.is_empty() && !name.contains(char::is_whitespace) && !d.contains('@') && domain(d)
        })
}

/// Whether a text can be a postcode, tidied or not: nothing but letters and digits, 5 to 7 of them, from a letter to an inward part of
/// a digit and two letters. So are those of the Crown dependencies, of the forces and the pseudo-postcodes; whether there is such a
/// place is not asked. Nothing at all is as none.
pub fn is_postcode(text: &str) -> bool {
    let plain = super::names::postcode(text);
    let (bytes, letter) = (plain.as_bytes(), |b: &u8| b.is_ascii_uppercase());
    if plain.is_empty() {
        return true;
    }
    (5..=7).contains(&bytes.len())
        && letter(&bytes[0])
        && bytes.iter().all(|b| letter(b) || b.is_ascii_digit())
        && matches!(bytes, [.., digit, a, b] if digit.is_ascii_digit() && letter(a) && letter(b))
}

/// Upper case, one space before the inward part where the text is long enough to have one (§5.2).
pub fn tidy_postcode(text: &str) -> String {
    let plain = super::names::postcode(text);
    match plain.len() {
        5..=7 if plain.is_ascii() => format!("{} {}", &plain[..plain.len() - 3], &plain[plain.len() - 3..]),
        _ => plain,
    }
}

/// A postcode that stands for none: no fixed abode and the like.
pub fn is_pseudo(postcode: &str) -> bool {
    postcode.starts_with("ZZ99")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_postcode_is_told_from_nonsense() {
        for good in
            ["LS1 6AE", "ls16ae", "M1 1AA", "ZZ99 3VZ", "GIR 0AA", "ASCN 1ZZ", "BF1 3AA", "JE2 3AB", "EC1A1BB", " ", ""]
        {
            assert!(is_postcode(good), "{good}");
        }
        for bad in ["!!!", "LS1", "LS1 6A!", "12345", "1S1 6AE", "LS1-6AE", "LS1 6AÉ", "LS1 66E", "LONG01 6AE", "a"] {
            assert!(!is_postcode(bad), "{bad}");
        }
    }
}
