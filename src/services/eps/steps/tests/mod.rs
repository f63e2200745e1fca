//! The steps against spec/eps.md §8 to §18: one prescription, messages to it, days that pass.

mod cancelling;
mod clock;
mod dispensing;
mod paying;
mod random;
mod releasing;
mod walk;

use super::*;
use crate::services::eps::{
    message::{self, Dispensed, Item, treatment},
    record::index::{IndexKey, index_rows},
    states::{Trigger, consistent, issue},
};
use crate::wire::record::Record;

/// Monday, 2 March 2026, 09:00 in London.
const MONDAY: u64 = 1_772_442_000_000;
const DAY: u64 = 24 * 3600 * 1000;

fn uuid(n: u64) -> String {
    format!("0a000000-0000-4000-8000-{n:012x}")
}

fn item_id(n: usize) -> String {
    uuid(0xff00 + n as u64)
}

fn sender(ods: &str) -> Sender {
    let (name, person) = (format!("Site {ods}"), "A Person".to_owned());
    let (user, role) = ("555086689106".to_owned(), "555254242106".to_owned());
    Sender { ods: ods.into(), name, user, role, person, ..Default::default() }
}

/// One prescription under test: everything that is written is checked for contradictions and read back from its bytes.
#[derive(Clone)]
struct Case {
    p: Option<Prescription>,
    at: Moment,
    then: Vec<Then>,
    messages: u64,
    issues: u32,
    items: Vec<u32>,
    treatment: u8,
}

impl Case {
    /// Nothing yet; an order would have these items, each for so many issues.
    fn of(items: &[u32]) -> Case {
        let issues = items.iter().copied().max().unwrap_or(1);
        let treatment = if issues > 1 { treatment::DISPENSING } else { treatment::ACUTE };
        Case { p: None, at: Moment::of(MONDAY), then: vec![], messages: 0, issues, items: items.to_vec(), treatment }
    }

    fn ordered(items: &[u32]) -> Case {
        let mut case = Case::of(items);
        let order = case.order();
        assert_eq!(case.send_order(&order), Ok(()));
        case
    }

    fn released(items: &[u32]) -> Case {
        let mut case = Case::ordered(items);
        case.release("FA565").unwrap();
        case
    }

    fn id(&mut self) -> String {
        self.messages += 1;
        uuid(self.messages)
    }

    fn p(&self) -> &Prescription {
        self.p.as_ref().unwrap()
    }

    fn status(&self) -> u16 {
        self.p.as_ref().and_then(|p| p.current_issue()).map_or(u16::MAX, |i| i.status)
    }

    fn statuses(&self) -> Vec<u16> {
        self.p().instances.iter().map(|i| i.status).collect()
    }

    fn items_of(&self, number: u32) -> Vec<u16> {
        self.p().issue(number).unwrap().item_statuses().collect()
    }

    fn pass(&mut self, days: u64) {
        self.at = Moment { rules: self.at.rules, ..Moment::of(self.at.now + days * DAY) };
    }

    /// Goes to a day, 12:00 UTC, without doing what is due.
    fn go_to(&mut self, day: &str) {
        let now = crate::model::time::parse_iso(day).unwrap() + DAY / 2;
        self.at = Moment { rules: self.at.rules, ..Moment::of(now) };
    }

    /// Does what is due.
    fn night(&mut self) -> bool {
        let Some(out) = self.p.as_ref().and_then(|p| crate::services::eps::clock::due(p, &self.at)) else {
            return false;
        };
        let gone = out.then.contains(&Then::Remove);
        self.apply(out).unwrap();
        if gone {
            self.p = None;
        }
        true
    }

    fn apply<T>(&mut self, out: Outcome<T>) -> Result<T, Refused> {
        if let Some(p) = out.record {
            assert_eq!(consistent(&p), Ok(()), "{p:#?}");
            assert_eq!(Prescription::decode(&p.encode()).as_ref(), Ok(&p));
            let before = self.p.as_ref().map_or(0, |p| p.scn);
            assert!(p.scn > before && p.scn <= before + 2, "each write counts");
            self.p = Some(p);
        }
        self.then.extend(out.then);
        out.result
    }

    fn order(&mut self) -> message::Order {
        let items = self.items.clone().into_iter().enumerate();
        message::Order {
            message: self.id(),
            id: "7D9625-Z72BF2-11E3AC".into(),
            long_id: uuid(0xabc),
            nhs: 9_999_999_999,
            born: 19_800_229,
            treatment: self.treatment,
            prescription_type: "0101".into(),
            prescribed_at: self.at.now,
            signed_at: self.at.now,
            prescriber: sender("A83008"),
            days_supply: 28,
            window_low: self.at.today,
            window_high: crate::services::eps::clock::plus_months(self.at.today, 12),
            issues: self.issues,
            items: items.map(|(n, issues)| Item { id: item_id(n), issues, ..Default::default() }).collect(),
            nominated: "FA565".into(),
            nominated_type: "P1".into(),
            ..Default::default()
        }
    }

    fn send_order(&mut self, m: &message::Order) -> Result<(), Refused> {
        let out = super::order(self.p.as_ref(), m, &self.at);
        self.apply(out)
    }

    fn cancel_message(&mut self, item: usize, ods: &str) -> message::Cancel {
        message::Cancel {
            message: self.id(),
            id: "7D9625-Z72BF2-11E3AC".into(),
            long_id: uuid(0xabc),
            nhs: 9_999_999_999,
            item: item_id(item),
            reason: "0001".into(),
            by: sender(ods),
            ..Default::default()
        }
    }

    fn send_cancel(&mut self, m: &message::Cancel) -> Cancelled {
        let out = super::cancel(self.p.as_ref(), m, &self.at);
        self.apply(out).unwrap()
    }

    fn cancel(&mut self, item: usize, ods: &str) -> Code {
        let m = self.cancel_message(item, ods);
        self.send_cancel(&m).code
    }

    fn release_message(&mut self, ods: &str, nominated: bool) -> message::Release {
        message::Release {
            id: "7D9625-Z72BF2-11E3AC".into(),
            by: sender(ods),
            request: self.id(),
            response: self.id(),
            nominated,
            owner: vec![7; 300].into(),
            agent: vec![9; 300].into(),
            ..Default::default()
        }
    }

    fn send_release(&mut self, m: &message::Release) -> Result<Released, Refused> {
        let out = super::release(self.p.as_ref(), m, &self.at);
        self.apply(out)
    }

    fn release(&mut self, ods: &str) -> Result<Released, Refused> {
        let m = self.release_message(ods, false);
        self.send_release(&m)
    }

    /// A notification of the current issue, each item's status in order.
    fn dispense_message(&mut self, status: u16, items: &[u16]) -> message::Dispense {
        let items = items.iter().enumerate();
        message::Dispense {
            message: self.id(),
            id: "7D9625-Z72BF2-11E3AC".into(),
            nhs: 9_999_999_999,
            issue: if self.issues > 1 { self.p.as_ref().map_or(1, |p| p.current) } else { 0 },
            issues: if self.issues > 1 { self.issues } else { 0 },
            by: sender("FA565"),
            status,
            at: self.at.now,
            items: items.map(|(n, s)| Dispensed { item: item_id(n), status: *s, ..Default::default() }).collect(),
            ..Default::default()
        }
    }

    fn send_dispense(&mut self, m: &message::Dispense) -> Result<(), Refused> {
        let out = super::dispense(self.p.as_ref(), m, &self.at);
        self.apply(out)
    }

    fn dispense(&mut self, status: u16, items: &[u16]) -> Result<String, Refused> {
        let m = self.dispense_message(status, items);
        self.send_dispense(&m).map(|()| m.message)
    }

    fn amend(&mut self, replaces: &str, status: u16, items: &[u16]) -> Result<String, Refused> {
        let m = message::Dispense { replaces: replaces.into(), ..self.dispense_message(status, items) };
        self.send_dispense(&m).map(|()| m.message)
    }

    fn return_message(&mut self, ods: &str) -> message::Return {
        message::Return {
            message: self.id(),
            nhs: 9_999_999_999,
            reason: "0003".into(),
            by: sender(ods),
            ..Default::default()
        }
    }

    fn send_return(&mut self, m: &message::Return) -> Result<(), Refused> {
        let out = super::give_back(self.p.as_ref(), m, &self.at);
        self.apply(out)
    }

    fn give_back(&mut self) -> Result<(), Refused> {
        let m = self.return_message("FA565");
        self.send_return(&m)
    }

    fn withdraw_message(&mut self, notification: &str) -> message::Withdraw {
        message::Withdraw {
            message: self.id(),
            nhs: 9_999_999_999,
            reason: "QU".into(),
            notification: notification.to_uppercase(),
            by: sender("FA565"),
            ..Default::default()
        }
    }

    fn send_withdraw(&mut self, m: &message::Withdraw) -> Result<(), Refused> {
        let out = super::withdraw(self.p.as_ref(), m, &self.at);
        self.apply(out)
    }

    fn withdraw(&mut self, notification: &str) -> Result<(), Refused> {
        let m = self.withdraw_message(notification);
        self.send_withdraw(&m)
    }

    fn claim_message(&mut self, issue: u32, replaces: &str) -> message::Claim {
        message::Claim {
            message: self.id(),
            nhs: 9_999_999_999,
            issue,
            replaces: replaces.into(),
            by: sender("FA565"),
            payer: "T1450".into(),
            at: self.at.now,
            ..Default::default()
        }
    }

    fn send_claim(&mut self, m: &message::Claim) -> Result<(), Refused> {
        let out = super::claim(self.p.as_ref(), m, &self.at);
        self.apply(out)
    }

    fn claim(&mut self, issue: u32, replaces: &str) -> Result<String, Refused> {
        let m = self.claim_message(issue, replaces);
        self.send_claim(&m).map(|()| m.message)
    }
}
