//! The history checker: judges what clients saw, by the order in real time in which they saw it.
//!
//! Every operation is recorded as invoked, then ok, refused or unknown. A message is a small object of its own: not there,
//! waiting, collected. The checker finds each history that no such object could have made (P1, P2, P3): something
//! accepted and gone, something there that was never sent or twice, something back after it was acknowledged, a list
//! that shows less than an earlier one; and each answer that a client should never see.

use std::collections::{BTreeMap, HashMap, HashSet};

/// Microseconds since the history began.
pub type Moment = u64;

#[derive(Clone, Debug, PartialEq)]
pub enum Call {
    /// A body that carries a tag of its own.
    Send {
        tag: String,
        to: String,
    },
    List {
        mailbox: String,
    },
    Retrieve {
        mailbox: String,
        id: String,
    },
    Acknowledge {
        id: String,
    },
    /// An operator's write of a row of the registry; every value is written once.
    Write {
        key: String,
        value: String,
    },
    Read {
        key: String,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    Sent {
        id: String,
    },
    /// `whole` if nothing was cut off at the page's end.
    Listed {
        ids: Vec<String>,
        whole: bool,
    },
    Got {
        tag: String,
    },
    Acknowledged,
    Written,
    /// A row's value; empty where there is no row.
    Value {
        value: String,
    },
    /// An answer other than success. A 503 leaves open whether it happened, as any lost answer does.
    Refused {
        status: u16,
        retry_after: bool,
    },
    /// No answer: a closed connection, a timeout.
    Unknown,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Op {
    pub call: Call,
    pub invoked: Moment,
    pub done: Moment,
    pub outcome: Outcome,
}

/// What is known of one message id.
#[derive(Default, Debug)]
struct Known {
    mailbox: String,
    tags: HashSet<String>,
    sent_from: Option<Moment>,
    /// From here on every list must show it.
    visible: Option<Moment>,
    acknowledge_begun: Option<Moment>,
    /// From here on no list may show it.
    gone: Option<Moment>,
}

/// Everything that is wrong with a history; empty for a good one.
pub fn judge(ops: &[Op]) -> Vec<String> {
    let mut wrong = answers(ops);
    let mut known = gather(ops, &mut wrong);
    lists(ops, &mut known, &mut wrong);
    origins(ops, &known, &mut wrong);
    wrong
}

/// Answers that no client should ever see.
fn answers(ops: &[Op]) -> Vec<String> {
    let mut wrong = vec![];
    for op in ops {
        let Outcome::Refused { status, retry_after } = op.outcome else { continue };
        let late_retrieve = status == 410 && matches!(op.call, Call::Retrieve { .. });
        if status == 503 && !retry_after {
            wrong.push(format!("503 without Retry-After: {op:?}"));
        } else if status != 503 && !late_retrieve {
            wrong.push(format!("an answer that nobody should see: {op:?}"));
        }
    }
    wrong
}

fn earliest(slot: &mut Option<Moment>, at: Moment) {
    *slot = Some(slot.map_or(at, |old| old.min(at)));
}

fn gather(ops: &[Op], wrong: &mut Vec<String>) -> HashMap<String, Known> {
    let mut known: HashMap<String, Known> = HashMap::new();
    for op in ops {
        match (&op.call, &op.outcome) {
            (Call::Send { tag, to }, Outcome::Sent { id }) => {
                let one = known.entry(id.clone()).or_default();
                if one.sent_from.is_some() {
                    wrong.push(format!("one id for two messages: {id}"));
                }
                one.mailbox = to.clone();
                one.tags.insert(tag.clone());
                one.sent_from = Some(op.invoked);
                earliest(&mut one.visible, op.done);
            }
            (Call::List { mailbox }, Outcome::Listed { ids, .. }) => {
                for id in ids {
                    let one = known.entry(id.clone()).or_default();
                    if one.mailbox.is_empty() {
                        one.mailbox = mailbox.clone();
                    } else if one.mailbox != *mailbox {
                        wrong.push(format!("{id} is for {} and was listed in {mailbox}", one.mailbox));
                    }
                    earliest(&mut one.visible, op.done);
                }
            }
            (Call::Retrieve { id, .. }, Outcome::Got { tag }) => {
                known.entry(id.clone()).or_default().tags.insert(tag.clone());
            }
            (Call::Acknowledge { id }, outcome) => {
                let one = known.entry(id.clone()).or_default();
                earliest(&mut one.acknowledge_begun, op.invoked);
                if *outcome == Outcome::Acknowledged {
                    earliest(&mut one.gone, op.done);
                }
            }
            _ => {}
        }
    }
    known
}

/// Walks through lists in the order they were asked for, with the messages that each must and must not show.
fn lists(ops: &[Op], known: &mut HashMap<String, Known>, wrong: &mut Vec<String>) {
    let mut asked: Vec<&Op> = ops.iter().filter(|op| matches!(op.outcome, Outcome::Listed { .. })).collect();
    asked.sort_by_key(|op| op.invoked);
    let mut coming: Vec<(Moment, String)> = known.iter().filter_map(|(id, k)| Some((k.visible?, id.clone()))).collect();
    coming.sort();
    let mut coming = coming.into_iter().peekable();
    let mut due: BTreeMap<String, HashSet<String>> = BTreeMap::new();
    for op in &asked {
        let (Call::List { mailbox }, Outcome::Listed { ids, whole }) = (&op.call, &op.outcome) else { continue };
        while let Some((_, id)) = coming.next_if(|(at, _)| *at < op.invoked) {
            due.entry(known[&id].mailbox.clone()).or_default().insert(id);
        }
        if ids.windows(2).any(|pair| pair[0] >= pair[1]) {
            wrong.push(format!("not oldest first: {op:?}"));
        }
        let shown: HashSet<&String> = ids.iter().collect();
        let waiting = due.entry(mailbox.clone()).or_default();
        waiting.retain(|id| {
            let Some(one) = known.get_mut(id) else { return false };
            if one.gone.is_some_and(|gone| gone < op.invoked) {
                return false;
            }
            let missing = *whole && !shown.contains(id);
            if missing && one.acknowledge_begun.is_none_or(|begun| begun > op.done) {
                wrong.push(format!("lost: {id}, visible from {:?}, is not in the list of {}", one.visible, op.invoked));
                return false;
            }
            if missing {
                earliest(&mut one.gone, op.done);
            }
            !missing
        });
    }
    for op in asked {
        let Outcome::Listed { ids, .. } = &op.outcome else { continue };
        for id in ids {
            let one = &known[id];
            if one.gone.is_some_and(|gone| gone < op.invoked) {
                wrong
                    .push(format!("delivered again: {id}, gone from {:?}, is in the list of {}", one.gone, op.invoked));
            }
            if one.sent_from.is_some_and(|from| from > op.done) {
                wrong.push(format!("seen before it was sent: {id} in the list of {}", op.invoked));
            }
        }
    }
}

/// Every message that was seen comes from exactly one send, and no send made two.
fn origins(ops: &[Op], known: &HashMap<String, Known>, wrong: &mut Vec<String>) {
    let mut sends: HashMap<&str, (&Op, &str)> = HashMap::new();
    for op in ops {
        if let Call::Send { tag, to } = &op.call {
            sends.insert(tag, (op, to));
        }
    }
    let mut made: HashMap<&str, &str> = HashMap::new();
    for (id, one) in known.iter().filter(|(_, one)| one.visible.is_some()) {
        if one.tags.len() != 1 {
            wrong.push(format!("{id} has not one body but {:?}", one.tags));
        }
        for tag in &one.tags {
            if let Some(other) = made.insert(tag, id) {
                wrong.push(format!("one send made two messages: {tag} is {other} and {id}"));
            }
            let Some((send, to)) = sends.get(tag.as_str()) else {
                wrong.push(format!("never sent: {id} with {tag}"));
                continue;
            };
            if *to != one.mailbox {
                wrong.push(format!("{id} was sent to {to} and came to {}", one.mailbox));
            }
            match &send.outcome {
                Outcome::Sent { id: said } if said != id => wrong.push(format!("{tag} was called {said} and is {id}")),
                Outcome::Refused { status, .. } if *status != 503 => {
                    wrong.push(format!("refused with {status} and delivered all the same: {id} with {tag}"));
                }
                _ => {}
            }
        }
    }
}

/// The longest time that begins in `from..until` and in which no send succeeded, as clients felt it, in microseconds.
pub fn longest_silence(ops: &[Op], from: Moment, until: Moment) -> Moment {
    let mut done: Vec<Moment> = ops
        .iter()
        .filter(|op| matches!(op.outcome, Outcome::Sent { .. }) && op.done > from)
        .map(|op| op.done)
        .collect();
    done.push(from);
    done.sort_unstable();
    let begun = done.windows(2).filter(|pair| pair[0] < until);
    begun.map(|pair| pair[1] - pair[0]).max().unwrap_or(Moment::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn op(at: Moment, call: Call, outcome: Outcome) -> Op {
        Op { call, invoked: at, done: at + 5, outcome }
    }
    fn send(at: Moment, tag: &str, outcome: Outcome) -> Op {
        op(at, Call::Send { tag: tag.into(), to: "B".into() }, outcome)
    }
    fn sent(at: Moment, tag: &str, id: &str) -> Op {
        send(at, tag, Outcome::Sent { id: id.into() })
    }
    fn list(at: Moment, ids: &[&str]) -> Op {
        let ids = ids.iter().map(|s| s.to_string()).collect();
        op(at, Call::List { mailbox: "B".into() }, Outcome::Listed { ids, whole: true })
    }
    fn got(at: Moment, id: &str, tag: &str) -> Op {
        op(at, Call::Retrieve { mailbox: "B".into(), id: id.into() }, Outcome::Got { tag: tag.into() })
    }
    fn acknowledge(at: Moment, id: &str, outcome: Outcome) -> Op {
        op(at, Call::Acknowledge { id: id.into() }, outcome)
    }
    const LOST_ANSWER: Outcome = Outcome::Unknown;

    #[track_caller]
    fn finds(words: &str, ops: &[Op]) {
        let wrong = judge(ops);
        assert!(wrong.iter().any(|w| w.contains(words)), "wanted `{words}`, found {wrong:?}");
    }
    #[track_caller]
    fn good(ops: &[Op]) {
        assert_eq!(judge(ops), Vec::<String>::new());
    }

    #[test]
    fn good_histories_pass() {
        good(&[
            sent(0, "t1", "1"),
            list(10, &["1"]),
            got(20, "1", "t1"),
            acknowledge(30, "1", Outcome::Acknowledged),
            list(40, &[]),
        ]);
        // A send whose answer was lost may have happened or not.
        good(&[send(0, "t1", LOST_ANSWER), list(10, &[])]);
        good(&[send(0, "t1", LOST_ANSWER), list(10, &["1"]), got(20, "1", "t1")]);
        // So may an acknowledgement; a list during it may show either.
        good(&[sent(0, "t1", "1"), acknowledge(10, "1", LOST_ANSWER), list(20, &["1"]), list(30, &[]), list(40, &[])]);
        good(&[sent(0, "t1", "1"), acknowledge(10, "1", Outcome::Acknowledged), list(12, &["1"])]);
        // A list that was asked for before the send was answered.
        good(&[sent(0, "t1", "1"), list(3, &[])]);
        let refused = Outcome::Refused { status: 503, retry_after: true };
        good(&[send(0, "t1", refused), list(10, &["1"]), got(20, "1", "t1")]);
    }

    #[test]
    fn what_was_accepted_and_is_gone_is_found() {
        finds("lost: 1", &[sent(0, "t1", "1"), list(10, &[])]);
        finds("lost: 1", &[sent(0, "t1", "1"), list(10, &[]), acknowledge(30, "1", Outcome::Acknowledged)]);
        // Seen once, then not: the send was unknown, but the first list has decided it.
        finds("lost: 1", &[send(0, "t1", LOST_ANSWER), list(10, &["1"]), got(15, "1", "t1"), list(30, &[])]);
    }

    #[test]
    fn what_comes_again_is_found() {
        let gone = acknowledge(10, "1", Outcome::Acknowledged);
        finds("delivered again: 1", &[sent(0, "t1", "1"), gone, list(20, &["1"])]);
        let unknown = acknowledge(10, "1", LOST_ANSWER);
        finds("delivered again: 1", &[sent(0, "t1", "1"), unknown, list(20, &[]), list(30, &["1"])]);
    }

    #[test]
    fn what_was_never_sent_is_found() {
        finds("not one body", &[list(10, &["9"])]);
        finds("never sent: 9", &[list(10, &["9"]), got(20, "9", "t9")]);
        let refused = Outcome::Refused { status: 417, retry_after: false };
        finds("delivered all the same", &[send(0, "t1", refused), list(10, &["1"]), got(20, "1", "t1")]);
        finds("seen before it was sent", &[list(0, &["1"]), sent(20, "t1", "1")]);
    }

    #[test]
    fn doubles_and_mixed_bodies_are_found() {
        let two = [sent(0, "t1", "1"), list(10, &["1", "2"]), got(20, "1", "t1"), got(30, "2", "t1")];
        finds("one send made two", &two);
        finds("one id for two", &[sent(0, "t1", "1"), sent(10, "t2", "1")]);
        finds("not one body", &[sent(0, "t1", "1"), got(10, "1", "t2")]);
        finds("was called 1 and is 2", &[sent(0, "t1", "1"), list(10, &["1", "2"]), got(20, "2", "t1")]);
    }

    #[test]
    fn lists_out_of_order_and_in_wrong_places_are_found() {
        finds("not oldest first", &[sent(0, "t1", "1"), sent(0, "t2", "2"), list(10, &["2", "1"])]);
        let elsewhere = Outcome::Listed { ids: vec!["1".into()], whole: true };
        finds("was listed in C", &[sent(0, "t1", "1"), op(10, Call::List { mailbox: "C".into() }, elsewhere)]);
    }

    #[test]
    fn answers_nobody_should_see_are_found() {
        for status in [500, 502, 504, 403, 404] {
            finds("nobody should see", &[send(0, "t1", Outcome::Refused { status, retry_after: true })]);
        }
        finds("without Retry-After", &[send(0, "t1", Outcome::Refused { status: 503, retry_after: false })]);
    }

    #[test]
    fn silence_is_measured_from_the_fault_on() {
        let ops = [sent(0, "a", "1"), sent(1_000, "b", "2"), sent(1_100, "c", "3")];
        assert_eq!(longest_silence(&ops, 0, Moment::MAX), 1_000);
        assert_eq!(longest_silence(&ops, 1_000, Moment::MAX), 100);
        assert_eq!(longest_silence(&ops, 2_000, Moment::MAX), Moment::MAX);
        assert_eq!(longest_silence(&ops, 0, 4), 5);
    }
}
