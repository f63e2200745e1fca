//! What the store asks of an order before it looks at anything stored (spec/eps.md §7.2), and the order as it takes it.
//!
//! Invariant: an order that comes out obeys every row of that table; each row that it breaks is one issue.

use super::{
    Problems,
    bundle::{Bundle, day_of, extension, from_one, identifier, integer, moment, text},
    codes, message_id, order, order_checks as checks, people,
    problem::Issue,
    rules::{self, Rule},
};
use crate::{
    model::{EpochMillis, NhsNumber, day},
    services::eps::{
        ids,
        message::{self, Item, treatment},
    },
};
use serde_json::Value;

/// Days that an order is for which does not say.
const DAYS_SUPPLY: u32 = 28;
/// Most of them.
const MOST_DAYS: i64 = 366;
/// Most issues of repeat dispensing.
const MOST_ISSUES: u32 = 99;
/// Months that the dispensing window of repeat dispensing may last from now.
const WINDOW_MONTHS: i8 = 12;

/// The reasons so far.
struct Reasons(Vec<Issue>);

impl Reasons {
    fn add(&mut self, broken: Rule) {
        self.0.push(Issue::failure(broken));
    }

    /// The value, or the reason and something in its place.
    fn need<T: Default>(&mut self, value: Option<T>, rule: Rule) -> T {
        if value.is_none() {
            self.add(rule);
        }
        value.unwrap_or_default()
    }
}

/// Reads an order that passed the checks.
pub fn order(
    bundle: &Bundle,
    requests: &[&Value],
    now: EpochMillis,
    signed_at: EpochMillis,
) -> Result<message::Order, Problems> {
    let mut reasons = Reasons(Vec::new());
    let first = requests.first().copied().unwrap_or(&Value::Null);
    let today = day::of_millis(now);
    let prescriber = sender(bundle, requests, &mut reasons);
    let (nhs, born) = patient(bundle, first, today, &mut reasons);
    let treatment = treatment(requests);
    let prescribed_at = match text(first, "/dispenseRequest/validityPeriod/start") {
        None => signed_at,
        Some(start) => reasons.need(moment(start), rules::PRESCRIBED_AT),
    };
    let message = reasons.need(message_id(bundle.root), rules::MESSAGE);
    let issues = issues(first, treatment, &mut reasons);
    let items = items(requests, issues, &mut reasons);
    let (nominated, nominated_type) = nomination(first, &mut reasons);
    let (short, long) = checks::group(first);
    let id = ids::short(short);
    if let Err(wrong) = id {
        reasons.add(rules::short_id(wrong));
    }
    let long_id = reasons.need(ids::uuid(long), rules::LONG_ID);
    let days_supply = days_supply(first, &mut reasons);
    let (window_low, window_high) = match treatment {
        treatment::DISPENSING => window(first, today, &mut reasons),
        _ => (0, 0),
    };
    Problems::none(reasons.0)?;
    Ok(message::Order {
        message,
        id: id.unwrap_or_default(),
        long_id,
        nhs,
        born,
        treatment,
        prescription_type: codes::prescription_type(checks::prescription_type(first).unwrap_or_default()),
        prescribed_at,
        signed_at,
        prescriber,
        days_supply,
        window_low,
        window_high,
        issues,
        items,
        nominated,
        nominated_type,
        ..Default::default()
    })
}

/// The requester, whose organisation and whose responsible prescriber have codes that the store takes.
fn sender(bundle: &Bundle, requests: &[&Value], reasons: &mut Reasons) -> message::Sender {
    let Some(role) = checks::requester(bundle, requests) else {
        reasons.add(rules::PRESCRIBER);
        return message::Sender::default();
    };
    let sender = people::prescriber(bundle, role);
    if !people::known(&sender) {
        reasons.add(rules::PRESCRIBER);
    }
    if let Some(parent) = people::organization(bundle, role).and_then(|o| o.get("partOf")) {
        let by_reference = || bundle.resolve(Some(parent), "Organization").and_then(|o| identifier(o, codes::ODS));
        let code = text(parent, "/identifier/value").or_else(by_reference);
        if code.and_then(ids::ods).is_none() {
            reasons.add(rules::PARENT);
        }
    }
    let code = checks::responsible(bundle, requests).and_then(|role| order::prescriber_code(bundle, role));
    // Up to twelve characters are tolerated.
    if code.and_then(|code| ids::code(code, 12)).is_none() {
        reasons.add(rules::PRESCRIBER_CODE);
    }
    sender
}

/// NHS number and birth date.
fn patient(bundle: &Bundle, request: &Value, today: u32, reasons: &mut Reasons) -> (u64, u32) {
    let patient = bundle.resolve(request.get("subject"), "Patient").unwrap_or(&Value::Null);
    let number = identifier(patient, codes::NHS_NUMBER).and_then(NhsNumber::strict).map(NhsNumber::value);
    let number = reasons.need(number, rules::NHS_NUMBER);
    let born = text(patient, "/birthDate").and_then(day::parse);
    let born = reasons.need(born, rules::BORN);
    if born > today {
        reasons.add(rules::BORN_LATER);
    }
    (number, born)
}

/// §5.3; what does not fit there was refused before.
fn treatment(requests: &[&Value]) -> u8 {
    let all = |course: &str| requests.iter().all(|r| checks::course(r) == Some(course));
    if all(checks::REPEAT_DISPENSING) {
        treatment::DISPENSING
    } else if all("continuous") {
        treatment::REPEAT
    } else {
        treatment::ACUTE
    }
}

/// Issues in all; a repeat prescription is one issue whatever it says (§7.2).
fn issues(request: &Value, treatment: u8, reasons: &mut Reasons) -> u32 {
    if treatment != treatment::DISPENSING {
        return 1;
    }
    let count = from_one(request.pointer("/dispenseRequest/numberOfRepeatsAllowed"));
    let count = count.filter(|n| (1..=MOST_ISSUES).contains(n));
    reasons.need(count, rules::ISSUES)
}

fn items(requests: &[&Value], issues: u32, reasons: &mut Reasons) -> Vec<Item> {
    if requests.is_empty() {
        reasons.add(rules::NO_ITEMS);
    }
    let mut items = Vec::with_capacity(requests.len().min(super::ITEMS));
    for request in requests.iter().take(super::ITEMS) {
        let id = reasons.need(checks::item(request).and_then(ids::uuid), rules::ITEM);
        items.push(Item { id, issues, ..Default::default() });
    }
    items
}

/// Code and type of the nominated dispenser (§5.4).
fn nomination(request: &Value, reasons: &mut Reasons) -> (String, String) {
    let dispense = request.get("dispenseRequest").unwrap_or(&Value::Null);
    let site = extension(dispense, checks::SITE).and_then(|e| text(e, "/valueCoding/code")).unwrap_or_default();
    if !matches!(site, "P1" | "P2" | "P3" | "0004") {
        reasons.add(rules::SITE);
    }
    let Some(performer) = dispense.get("performer") else { return (String::new(), site.to_owned()) };
    if site == "0004" {
        reasons.add(rules::SITE);
    }
    let code = text(performer, "/identifier/value").and_then(ids::ods);
    (reasons.need(code, rules::NOMINATED), site.to_owned())
}

fn days_supply(request: &Value, reasons: &mut Reasons) -> u32 {
    let Some(duration) = request.pointer("/dispenseRequest/expectedSupplyDuration") else { return DAYS_SUPPLY };
    match integer(duration.get("value")) {
        Some(days) if days > MOST_DAYS => reasons.add(rules::DAYS_MANY),
        Some(days) => return reasons.need(u32::try_from(days).ok(), rules::DAYS_NEGATIVE),
        None => reasons.add(rules::DAYS_NO_NUMBER),
    }
    0
}

/// First and last day of the window of repeat dispensing.
fn window(request: &Value, today: u32, reasons: &mut Reasons) -> (u32, u32) {
    let period = request.pointer("/dispenseRequest/validityPeriod").unwrap_or(&Value::Null);
    let low = reasons.need(text(period, "/start").and_then(day_of), rules::WINDOW_LOW);
    let high = reasons.need(text(period, "/end").and_then(day_of), rules::WINDOW_HIGH);
    if low == 0 || high == 0 {
        return (low, high);
    }
    if high < today {
        reasons.add(rules::WINDOW_PAST);
    }
    if high > months_after(today, WINDOW_MONTHS) {
        reasons.add(rules::WINDOW_FAR);
    }
    if low > high {
        reasons.add(rules::WINDOW_TURNED);
    }
    (low, high)
}

/// The same day some months later, or the last of that month (§18.1).
fn months_after(from: u32, months: i8) -> u32 {
    let date = jiff::civil::Date::new((from / 10_000) as i16, (from / 100 % 100) as i8, (from % 100) as i8).ok();
    let later = date.and_then(|d| d.checked_add(jiff::Span::new().months(i64::from(months))).ok());
    later.map_or(u32::MAX, |d| d.year() as u32 * 10_000 + d.month() as u32 * 100 + d.day() as u32)
}
