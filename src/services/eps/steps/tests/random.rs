//! Any sequence of messages, repeats and days: nothing is dispensed or claimed twice, nothing is lost, nobody gets another answer.
//!
//! A ledger beside the record keeps what was accepted, from the messages alone, and is held against the record after each step.

use super::*;
use crate::services::eps::clock::next;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// A message that was carried out, and its answer.
#[derive(Clone, Debug)]
enum Sent {
    Order(message::Order),
    Cancel(message::Cancel, Cancelled),
    Release(message::Release, Released),
    Dispense(message::Dispense),
    Return(message::Return),
    Withdraw(message::Withdraw),
    Claim(message::Claim),
}

/// What was accepted, from the messages alone.
#[derive(Default)]
struct Ledger {
    /// Notifications that stand, by issue: id and item statuses, oldest first.
    stand: BTreeMap<u32, Vec<(String, Vec<u16>)>>,
    /// Who has or had which issue.
    holder: BTreeMap<u32, String>,
    /// First claims and no-claims, by issue.
    paid: BTreeMap<u32, u32>,
    sent: Vec<Sent>,
    released_under: Option<String>,
}

const SITES: [&str; 3] = ["FA565", "FH123", "FZ999"];

struct Run {
    case: Case,
    ledger: Ledger,
}

impl Run {
    /// The issue that a message names: mostly the current one.
    fn issue(&self, b: u8) -> u32 {
        let current = self.case.p.as_ref().map_or(1, |p| p.current);
        if b.is_multiple_of(4) { u32::from(b) % self.case.issues + 1 } else { current }
    }

    fn step(&mut self, (op, a, b): (u8, u8, u8)) {
        let site = SITES[if b < 200 { 0 } else { usize::from(b) % 3 }];
        match op % 16 {
            0 | 1 => self.order(),
            2 => self.cancel(usize::from(a) % 5, ["A83008", "B81001"][usize::from(b) % 2]),
            3..=5 => self.release(site, a.is_multiple_of(2)),
            6..=8 => self.notify(site, a, b),
            9 => self.give_back(site, b),
            10 => self.withdraw(site, a, b),
            11 => self.claim(site, a, b),
            12 | 13 => self.repeat(usize::from(a)),
            14 => self.days(a, b),
            _ => self.patient(a, b),
        }
        self.settle();
    }

    fn order(&mut self) {
        let m = self.case.order();
        if self.case.send_order(&m).is_ok() {
            self.ledger.sent.push(Sent::Order(m));
        }
    }

    fn cancel(&mut self, item: usize, ods: &str) {
        let m = self.case.cancel_message(item, ods);
        let before = self.case.p.clone();
        let answer = self.case.send_cancel(&m);
        if self.case.p != before {
            self.ledger.sent.push(Sent::Cancel(m, answer));
        }
    }

    fn release(&mut self, site: &str, nominated: bool) {
        let m = self.case.release_message(site, nominated);
        if let Ok(answer) = self.case.send_release(&m) {
            let had = self.ledger.holder.insert(answer.issue, site.to_owned());
            assert_eq!(had, None, "given out twice");
            self.ledger.released_under = Some(m.request.clone());
            self.ledger.sent.push(Sent::Release(m, answer));
        }
    }

    /// A notification, or an amendment, with statuses that may or may not fit.
    fn notify(&mut self, site: &str, a: u8, b: u8) {
        let number = self.issue(b);
        let last = self.ledger.stand.get(&number).and_then(|n| n.last()).map(|(id, _)| id.clone());
        let replaces = if a.is_multiple_of(3) { last.clone().unwrap_or_default() } else { String::new() };
        let now = self.case.p.as_ref().and_then(|p| p.issue(number)).map(|i| i.item_statuses().collect::<Vec<_>>());
        let now = now.unwrap_or_else(|| vec![8; self.case.items.len()]);
        let all_of = [(6, 1), (7, 2), (3, 4), (3, 3)][usize::from(a / 3) % 4];
        let keep = |(at, from): (usize, u16)| match (from, replaces.is_empty()) {
            (5 | 6, _) | (1 | 2, true) => from,
            _ if a >= 128 && (usize::from(b) >> at) % 2 == 1 => from.max(1) % 5,
            _ => all_of.1,
        };
        let items: Vec<u16> = now.into_iter().enumerate().map(keep).collect();
        let m = self.case.dispense_message(all_of.0, &items);
        let m = message::Dispense { issue: number, replaces: replaces.clone(), by: sender(site), ..m };
        if self.case.send_dispense(&m).is_err() {
            return;
        }
        assert_eq!(self.ledger.holder.get(&number).map(String::as_str), Some(site), "by somebody else");
        assert_eq!(self.ledger.paid.get(&number), None, "after it was paid");
        let stand = self.ledger.stand.entry(number).or_default();
        if !replaces.is_empty() {
            assert_eq!(stand.pop().map(|(id, _)| id), Some(replaces));
        }
        stand.push((m.message.clone(), items));
        self.ledger.sent.push(Sent::Dispense(m));
    }

    fn give_back(&mut self, site: &str, b: u8) {
        let m = message::Return { issue: self.issue(b), ..self.case.return_message(site) };
        let current = self.case.p.as_ref().map_or(0, |p| p.current);
        if self.case.send_return(&m).is_ok() {
            assert!(self.ledger.holder.remove(&current).is_some(), "returned by nobody");
            assert!(self.ledger.stand.get(&current).is_none_or(Vec::is_empty), "returned and dispensed");
            self.ledger.released_under = None;
            self.ledger.sent.push(Sent::Return(m));
        }
    }

    fn withdraw(&mut self, site: &str, a: u8, b: u8) {
        let number = self.issue(b);
        let stand = self.ledger.stand.get(&number).cloned().unwrap_or_default();
        let which = if a.is_multiple_of(4) { stand.first() } else { stand.last() };
        let Some((id, _)) = which else { return };
        let m = message::Withdraw { issue: number, by: sender(site), ..self.case.withdraw_message(id) };
        if self.case.send_withdraw(&m).is_ok() {
            let last = self.ledger.stand.get_mut(&number).and_then(Vec::pop);
            assert_eq!(last.map(|(id, _)| id).as_ref(), Some(id), "only the last");
            self.ledger.sent.push(Sent::Withdraw(m));
        }
    }

    fn claim(&mut self, site: &str, a: u8, b: u8) {
        let number = self.issue(b);
        let claimed = self.case.p.as_ref().and_then(|p| p.issue(number)).map(|i| i.claim.id).filter(Id::is_some);
        let replaces = claimed.filter(|_| a.is_multiple_of(2)).map(|id| id.to_string()).unwrap_or_default();
        let m = message::Claim { by: sender(site), ..self.case.claim_message(number, &replaces) };
        if self.case.send_claim(&m).is_ok() {
            assert_eq!(self.ledger.holder.get(&number).map(String::as_str), Some(site), "by somebody else");
            self.ledger.sent.push(Sent::Claim(m));
        }
    }

    /// A message once more: the same answer, and nothing changes.
    fn repeat(&mut self, at: usize) {
        let Some(sent) = self.ledger.sent.get(at % self.ledger.sent.len().max(1)).cloned() else { return };
        let before = self.case.p.clone();
        if before.as_ref().is_none_or(Prescription::is_shell) {
            return;
        }
        match sent {
            Sent::Order(m) => assert_eq!(self.case.send_order(&m), Ok(())),
            Sent::Cancel(m, answer) => assert_eq!(self.case.send_cancel(&m), answer),
            Sent::Dispense(m) => assert_eq!(self.case.send_dispense(&m), Ok(())),
            Sent::Return(m) => assert_eq!(self.case.send_return(&m), Ok(())),
            Sent::Withdraw(m) => assert_eq!(self.case.send_withdraw(&m), Ok(())),
            Sent::Claim(m) => assert_eq!(self.case.send_claim(&m), Ok(())),
            Sent::Release(m, answer) => match self.case.send_release(&m) {
                Ok(again) => assert_eq!(again, answer),
                // It came back in between.
                Err(_) => assert_ne!(self.ledger.released_under, Some(m.request)),
            },
        }
        assert_eq!(self.case.p, before, "a repeat changed something");
    }

    fn days(&mut self, a: u8, b: u8) {
        self.case.pass(u64::from(a) % 40);
        if b.is_multiple_of(2) {
            self.case.night();
        }
    }

    fn patient(&mut self, a: u8, b: u8) {
        if a < 40 {
            let out = died(self.case.p.as_ref(), &self.case.at);
            self.case.apply(out).unwrap();
        } else {
            let m = Nominate { kind: "P1".into(), to: SITES[usize::from(b) % 3].into(), ..Default::default() };
            let out = nominate(self.case.p.as_ref(), &m, &self.case.at);
            self.case.apply(out).unwrap();
        }
    }

    /// Holds the ledger against the record.
    fn settle(&mut self) {
        for then in std::mem::take(&mut self.case.then) {
            if let Then::Reimburse(r) = then
                && r.replaces.is_none()
            {
                *self.ledger.paid.entry(r.issue).or_default() += 1;
            }
        }
        assert!(self.ledger.paid.values().all(|times| *times == 1), "paid twice: {:?}", self.ledger.paid);
        let Some(p) = self.case.p.as_ref().filter(|p| !p.is_shell() && !p.is_placeholder()) else { return };
        for i in &p.instances {
            let holder = self.ledger.holder.get(&i.number);
            assert_eq!(p.holder(i).map(|h| &h.ods), holder, "issue {}", i.number);
            let stand = self.ledger.stand.get(&i.number).map_or(&[][..], Vec::as_slice);
            for (at, item) in p.items.iter().enumerate() {
                let mut said = stand.iter().filter_map(|(_, items)| items.get(at));
                let supplied = said.clone().fold((0, false), |(n, was), s| (n + u32::from(*s == 1 && !was), *s == 1));
                assert!(supplied.0 <= 1, "an item supplied twice");
                let last = said.next_back().copied();
                let status = i.item(at);
                match last {
                    // What a notification said stands until expiry or a no-claim closes what it left open.
                    Some(said) => assert!(status == said || status == items::expired(said), "{said} became {status}"),
                    None => assert!([5, 6, 7, 8].contains(&status), "{status} of itself"),
                }
                let cancelled = p.cancelled_by(item.id).is_some();
                assert!(status != 5 || cancelled, "an item lost without a cancellation");
            }
        }
        let lives = p.instances.iter().any(|i| !issue::COMPLETED.contains(&i.status));
        assert!(next(p).is_some() && (!lives || next(p).unwrap().0 != crate::services::eps::clock::Activity::Delete));
    }

    /// Time goes on until nothing is left.
    fn end(&mut self) {
        for _ in 0..40 {
            let Some((_, day)) = self.case.p.as_ref().and_then(next) else { return };
            if day > self.case.at.today {
                self.case.go_to(&crate::model::day::text(day));
            }
            assert!(self.case.night(), "due, and not done");
            self.settle();
        }
        panic!("never ends: {:?}", self.case.p);
    }
}

fn sequences() -> impl Strategy<Value = (Vec<u32>, Vec<(u8, u8, u8)>)> {
    let items = prop_oneof![Just(vec![1]), Just(vec![1, 1, 1]), Just(vec![3, 1]), Just(vec![4, 4, 2, 1])];
    (items, proptest::collection::vec(any::<(u8, u8, u8)>(), 1..120))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn nothing_twice_nothing_lost_no_other_answer((items, ops) in sequences()) {
        let mut run = Run { case: Case::of(&items), ledger: Ledger::default() };
        // Most start with an order; some with whatever comes.
        if ops.len() % 5 != 0 {
            run.order();
        }
        for op in ops {
            run.step(op);
        }
        run.end();
    }
}
