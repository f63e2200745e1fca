//! The checker on histories known to be right and known to be wrong, and against an oracle that tries every order (P2).

use super::*;
use Access::{Read, Write};
use Step::{Acknowledge, Over, Seen, Send, Unseen};

fn event<Op>(invoked: Moment, done: Moment, op: Op) -> Event<Op> {
    Event { op, invoked, done: Some(done) }
}
fn lost<Op>(invoked: Moment, op: Op) -> Event<Op> {
    Event { op, invoked, done: None }
}
fn register(history: &[Event<Access<u8>>]) -> Verdict {
    check(&Register { start: 0 }, history)
}
fn delivery(history: &[Event<Step>]) -> Verdict {
    check(&Delivery, history)
}

#[track_caller]
fn wrong_at(place: usize, verdict: Verdict) {
    assert!(matches!(verdict, Verdict::Wrong { at, .. } if at == place), "wanted wrong at {place}: {verdict:?}");
}
#[track_caller]
fn right(verdict: Verdict) {
    assert_eq!(verdict, Verdict::Linearizable);
}

#[test]
fn histories_of_a_right_register_pass() {
    right(register(&[]));
    right(register(&[event(0, 5, Read(0)), event(6, 8, Write(1)), event(9, 12, Read(1))]));
    // While a write is under way a read may see either, also one after another in its order.
    right(register(&[event(0, 20, Write(1)), event(1, 3, Read(0)), event(4, 6, Read(1)), event(7, 9, Read(1))]));
    // Two writes at once: the later in effect may be the first that was asked for.
    right(register(&[event(0, 10, Write(1)), event(1, 11, Write(2)), event(20, 21, Read(1))]));
    // At one moment of a coarse clock the order is open.
    right(register(&[event(0, 5, Write(1)), event(5, 6, Read(0))]));
}

#[test]
fn lost_updates_stale_reads_and_reads_of_the_future_are_found() {
    wrong_at(2, register(&[event(0, 1, Write(1)), event(2, 3, Write(2)), event(4, 5, Read(1))]));
    wrong_at(1, register(&[event(0, 1, Write(1)), event(2, 3, Read(0))]));
    // One reader saw the new value, a later one the old, while the write was under way.
    wrong_at(2, register(&[event(0, 20, Write(1)), event(1, 3, Read(1)), event(4, 6, Read(0))]));
    wrong_at(0, register(&[event(0, 1, Read(1)), event(2, 3, Write(1))]));
    wrong_at(1, register(&[event(0, 1, Write(1)), event(2, 3, Read(9))]));
    // Two readers that saw two writes in two orders.
    let two_orders = [
        event(0, 50, Write(1)),
        event(0, 50, Write(2)),
        event(1, 4, Read(1)),
        event(5, 8, Read(2)),
        event(9, 12, Read(1)),
    ];
    wrong_at(4, register(&two_orders));
}

#[test]
fn an_operation_without_an_answer_happens_once_at_any_later_time_or_never() {
    let late = |reads: &[u8]| {
        let mut history = vec![lost(0, Write(1)), event(1, 2, Write(2))];
        history.extend((10..).step_by(10).zip(reads).map(|(at, value)| event(at, at + 1, Read(*value))));
        register(&history)
    };
    right(late(&[2, 2]));
    right(late(&[2, 1, 1]));
    wrong_at(4, late(&[2, 1, 2]));
    wrong_at(0, register(&[event(0, 1, Read(1)), lost(2, Write(1))]));
}

#[test]
fn histories_of_a_right_inbox_pass() {
    right(delivery(&[event(0, 1, Send), event(2, 3, Seen), event(4, 5, Acknowledge), event(6, 7, Unseen)]));
    right(delivery(&[event(0, 10, Send), event(1, 2, Unseen), event(3, 4, Seen), event(11, 12, Seen)]));
    right(delivery(&[lost(0, Send), event(1, 2, Unseen), event(3, 4, Seen), event(5, 6, Acknowledge)]));
    right(delivery(&[event(0, 1, Send), lost(2, Acknowledge), event(3, 4, Seen), event(5, 6, Over)]));
    // Acknowledged twice is no harm: it is the same answer.
    right(delivery(&[event(0, 1, Send), event(2, 3, Acknowledge), event(4, 5, Acknowledge), event(6, 7, Over)]));
}

#[test]
fn losses_double_deliveries_and_undone_acknowledgements_are_found() {
    wrong_at(1, delivery(&[event(0, 1, Send), event(2, 3, Unseen), event(4, 5, Acknowledge)]));
    wrong_at(2, delivery(&[event(0, 1, Send), event(2, 3, Acknowledge), event(4, 5, Seen)]));
    wrong_at(3, delivery(&[event(0, 1, Send), lost(2, Acknowledge), event(3, 4, Unseen), event(5, 6, Seen)]));
    wrong_at(0, delivery(&[event(0, 1, Seen), event(2, 3, Send)]));
    wrong_at(1, delivery(&[event(0, 1, Send), event(2, 3, Over)]));
    wrong_at(1, delivery(&[event(0, 1, Send), event(2, 3, Send)]));
    // The acknowledgement is under way: one list may miss the message, but none may show it after that.
    let flicker = [event(0, 1, Send), event(2, 30, Acknowledge), event(3, 4, Unseen), event(5, 6, Seen)];
    wrong_at(3, delivery(&flicker));
}

/// Small numbers from a seed.
struct Luck(u64);

impl Luck {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// Any order of any subset that holds all that returned: slow, and plainly right.
fn some_order_fits(history: &[Event<Access<u8>>], state: u8, left: &[usize]) -> bool {
    let first_return = left.iter().filter_map(|n| history[*n].done).min();
    let Some(first_return) = first_return else { return true };
    left.iter().any(|n| {
        let may_be_first = history[*n].invoked <= first_return;
        let rest: Vec<usize> = left.iter().copied().filter(|m| m != n).collect();
        let then = Register { start: 0 }.step(&state, &history[*n].op);
        may_be_first && then.is_some_and(|then| some_order_fits(history, then, &rest))
    })
}

#[test]
fn the_verdict_is_that_of_trying_every_order() {
    let mut counts = [0, 0];
    for seed in 0..3_000 {
        let mut luck = Luck(seed);
        let history: Vec<Event<Access<u8>>> = (0..2 + luck.below(6))
            .map(|_| {
                let (invoked, value) = (luck.below(12), luck.below(3) as u8);
                let op = if luck.below(2) == 0 { Write(value) } else { Read(value) };
                let done = (luck.below(5) > 0).then(|| invoked + luck.below(8));
                Event { op, invoked, done }
            })
            .collect();
        let all: Vec<usize> = (0..history.len()).collect();
        let fits = some_order_fits(&history, 0, &all);
        assert_eq!(register(&history) == Verdict::Linearizable, fits, "seed {seed}: {history:?}");
        counts[usize::from(fits)] += 1;
    }
    assert!(counts.iter().all(|n| *n > 300), "right and wrong ones were tried: {counts:?}");
}

/// What clients of a register that is one would see: each operation takes effect at a moment between call and answer.
fn lived(seed: u64, clients: u64, each: u64) -> Vec<Event<Access<u64>>> {
    let mut luck = Luck(seed);
    let mut asked = vec![];
    for client in 0..clients {
        let mut now = luck.below(50);
        for n in 0..each {
            let (effect, done) = (now + luck.below(60), now + 60 + luck.below(60));
            let write = (luck.below(2) == 0).then_some(1 + client * each + n);
            let fate = luck.below(20);
            asked.push((effect, write, now, done, fate));
            now = done + 1 + luck.below(20);
        }
    }
    asked.sort_unstable();
    let mut value = 0;
    let mut seen = vec![];
    for (_, write, invoked, done, fate) in asked {
        // Of those that write, some lose their answer, and half of these did not happen.
        let (answer, happens) = (write.is_none() || fate > 3, fate > 1 || write.is_none());
        if let (Some(new), true) = (write, happens) {
            value = new;
        }
        let op = write.map_or(Read(value), Write);
        seen.push(Event { op, invoked, done: answer.then_some(done) });
    }
    seen
}

#[test]
fn long_histories_of_many_clients_are_judged_soon() {
    for seed in 0..4 {
        let mut history = lived(seed, 10, 60);
        let began = std::time::Instant::now();
        assert_eq!(check(&Register { start: 0 }, &history), Verdict::Linearizable, "seed {seed}");
        assert!(began.elapsed().as_secs() < 60, "seed {seed}: {:?} for 600 operations", began.elapsed());
        // One read near the end tells what was long overwritten.
        let last = history.iter().rposition(|e| matches!(e.op, Read(_))).expect("somebody reads");
        history[last].op = Read(0);
        let found = check(&Register { start: 0 }, &history);
        assert!(matches!(found, Verdict::Wrong { .. }), "seed {seed}: {found:?}");
    }
}

#[test]
fn what_cannot_be_decided_is_said() {
    let mut history: Vec<Event<Access<u8>>> = (0..10).map(|n| event(0, 100, Write(n))).collect();
    history.push(event(1, 2, Read(99)));
    assert_eq!(check_within(&Register { start: 0 }, &history, 1_000), Verdict::Undecided);
    wrong_at(10, register(&history));
}
