//! What clients saw, key by key, before the checker of histories (P2): each message is sent, waits and is collected; each
//! row of the registry is a value that is written and read whole. Lists count for every message that they show or miss.

use super::history::{Call, Moment, Op, Outcome};
use super::linear::{Access, Delivery, Event, Register, Step, Verdict, check};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// No operation takes longer than its client waits, with some room.
const LONGEST: Moment = 10_000_000;

/// Everything in a history that no single inbox and no single row could have answered.
pub fn judge(ops: &[Op]) -> Vec<String> {
    let mut wrong = messages(ops);
    wrong.extend(registry(ops));
    wrong
}

fn told(key: &str, verdict: Verdict) -> Option<String> {
    match verdict {
        Verdict::Linearizable => None,
        Verdict::Wrong { told, .. } => Some(format!("{key} is not linearizable: {told}")),
        Verdict::Undecided => Some(format!("{key}: too much was under way at once to judge")),
    }
}

fn event<T>(op: &Op, what: T) -> Event<T> {
    let answered = !matches!(op.outcome, Outcome::Unknown | Outcome::Refused { status: 503, .. });
    Event { op: what, invoked: op.invoked, done: answered.then_some(op.done) }
}

/// One message's events, and where it was sent.
#[derive(Default)]
struct Story {
    mailbox: String,
    events: Vec<Event<Step>>,
    seen: Vec<Event<Step>>,
    sent: bool,
}

fn messages(ops: &[Op]) -> Vec<String> {
    let mut stories: BTreeMap<&str, Story> = BTreeMap::new();
    let mut by_tag: HashMap<&str, &str> = HashMap::new();
    for op in ops {
        match (&op.call, &op.outcome) {
            (Call::Send { tag, .. }, Outcome::Sent { id }) => drop(by_tag.insert(tag, id)),
            (Call::Retrieve { id, mailbox }, Outcome::Got { tag }) => {
                by_tag.insert(tag, id);
                let story = stories.entry(id).or_default();
                story.mailbox.clone_from(mailbox);
                story.seen.push(event(op, Step::Seen));
            }
            (Call::Retrieve { id, .. }, Outcome::Refused { status: 410, .. }) => {
                stories.entry(id).or_default().events.push(event(op, Step::Over));
            }
            (Call::Acknowledge { id }, _) => {
                stories.entry(id).or_default().events.push(event(op, Step::Acknowledge));
            }
            (Call::List { mailbox }, Outcome::Listed { ids, .. }) => {
                for id in ids {
                    let story = stories.entry(id).or_default();
                    story.mailbox.clone_from(mailbox);
                    story.seen.push(event(op, Step::Seen));
                }
            }
            _ => {}
        }
    }
    for op in ops {
        let Call::Send { tag, to } = &op.call else { continue };
        let Some(id) = by_tag.get(tag.as_str()) else { continue };
        let story = stories.entry(id).or_default();
        story.events.push(event(op, Step::Send));
        (story.sent, story.mailbox) = (true, to.clone());
    }
    let lists = whole_lists(ops);
    let judged = stories.iter().filter(|(_, story)| story.sent).filter_map(|(id, story)| {
        let events = whole_story(id, story, lists.get(&story.mailbox).map_or(&[], Vec::as_slice));
        told(&format!("message {id}"), check(&Delivery, &events))
    });
    judged.collect()
}

type List<'a> = (&'a Op, HashSet<&'a str>);

/// Lists that nothing was cut off from, of each mailbox, in the order in which they were asked for.
fn whole_lists(ops: &[Op]) -> HashMap<String, Vec<List<'_>>> {
    let mut lists: HashMap<String, Vec<List<'_>>> = HashMap::new();
    for op in ops {
        if let (Call::List { mailbox }, Outcome::Listed { ids, whole: true }) = (&op.call, &op.outcome) {
            let shown = ids.iter().map(String::as_str).collect();
            lists.entry(mailbox.clone()).or_default().push((op, shown));
        }
    }
    lists.values_mut().for_each(|all| all.sort_by_key(|(op, _)| op.invoked));
    lists
}

/// The events of a message with the lists that miss it. What others imply is left out: a message never begins to wait
/// again, so that it was there between two that saw it, and of many lists after its end one says what all say.
fn whole_story(id: &str, story: &Story, lists: &[List<'_>]) -> Vec<Event<Step>> {
    let mut events = story.events.clone();
    let first_seen = story.seen.iter().filter_map(|e| e.done).min().unwrap_or(Moment::MAX);
    let last_seen = story.seen.iter().map(|e| e.invoked).max().unwrap_or(0);
    let implied = |e: &Event<Step>| first_seen <= e.invoked && e.done.is_some_and(|done| done <= last_seen);
    events.extend(story.seen.iter().filter(|e| !implied(e)).cloned());
    let (sent, accepted) =
        events.iter().find(|e| e.op == Step::Send).map_or((0, 0), |e| (e.invoked, e.done.unwrap_or(0)));
    let collected = events.iter().filter(|e| e.op == Step::Acknowledge).map(|e| e.invoked).min().unwrap_or(0);
    let over = story.seen.iter().filter_map(|e| e.done).max().unwrap_or(0).max(collected).max(accepted);
    let from = lists.partition_point(|(op, _)| op.invoked + LONGEST < sent);
    for (op, shown) in &lists[from..] {
        if op.done < sent || shown.contains(id) {
            continue;
        }
        events.push(event(op, Step::Unseen));
        if op.invoked > over {
            break;
        }
    }
    events
}

fn registry(ops: &[Op]) -> Vec<String> {
    let mut rows: BTreeMap<&str, Vec<Event<Access<String>>>> = BTreeMap::new();
    let mut read: BTreeSet<&str> = BTreeSet::new();
    for op in ops {
        match (&op.call, &op.outcome) {
            (Call::Write { key, value }, _) => {
                rows.entry(key).or_default().push(event(op, Access::Write(value.clone())));
            }
            (Call::Read { key }, Outcome::Value { value }) => {
                read.insert(value);
                rows.entry(key).or_default().push(event(op, Access::Read(value.clone())));
            }
            _ => {}
        }
    }
    let judged = rows.into_iter().filter_map(|(key, mut events)| {
        // Nobody can tell whether a write happened that was not answered and whose value was never read.
        events.retain(|e| e.done.is_some() || matches!(&e.op, Access::Write(value) if read.contains(value.as_str())));
        told(&format!("row {key}"), check(&Register { start: String::new() }, &events))
    });
    judged.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn op(invoked: Moment, call: Call, outcome: Outcome) -> Op {
        Op { call, invoked, done: invoked + 5, outcome }
    }
    fn sent(at: Moment, id: &str) -> Op {
        op(at, Call::Send { tag: format!("tag-{id}"), to: "B".into() }, Outcome::Sent { id: id.into() })
    }
    fn list(at: Moment, ids: &[&str]) -> Op {
        let ids = ids.iter().map(|id| (*id).to_owned()).collect();
        op(at, Call::List { mailbox: "B".into() }, Outcome::Listed { ids, whole: true })
    }
    fn got(at: Moment, id: &str) -> Op {
        op(at, Call::Retrieve { mailbox: "B".into(), id: id.into() }, Outcome::Got { tag: format!("tag-{id}") })
    }
    fn acknowledge(at: Moment, id: &str, outcome: Outcome) -> Op {
        op(at, Call::Acknowledge { id: id.into() }, outcome)
    }
    fn write(at: Moment, value: &str, outcome: Outcome) -> Op {
        op(at, Call::Write { key: "mailbox A".into(), value: value.into() }, outcome)
    }
    fn read(at: Moment, value: &str) -> Op {
        op(at, Call::Read { key: "mailbox A".into() }, Outcome::Value { value: value.into() })
    }

    #[track_caller]
    fn good(ops: &[Op]) {
        assert_eq!(judge(ops), Vec::<String>::new());
    }
    #[track_caller]
    fn bad(key: &str, ops: &[Op]) {
        let wrong = judge(ops);
        assert!(wrong.len() == 1 && wrong[0].starts_with(key), "wanted one of `{key}`: {wrong:?}");
    }

    #[test]
    fn good_histories_pass() {
        good(&[sent(0, "1"), list(10, &["1"]), acknowledge(20, "1", Outcome::Acknowledged), list(30, &[])]);
        let lost = Op { outcome: Outcome::Unknown, ..sent(0, "1") };
        good(&[lost, list(10, &[]), list(20, &["1"]), got(30, "1"), list(40, &["1"]), list(50, &["1"])]);
        let busy = Outcome::Refused { status: 503, retry_after: true };
        good(&[sent(0, "1"), acknowledge(10, "1", busy), list(20, &["1"]), list(30, &[]), list(40, &[])]);
        good(&[write(0, "x", Outcome::Written), read(10, "x"), write(20, "y", Outcome::Unknown), read(30, "x")]);
    }

    #[test]
    fn bad_histories_of_messages_are_found() {
        bad("message 1", &[sent(0, "1"), list(10, &[]), list(20, &["1"])]);
        bad("message 1", &[sent(0, "1"), list(3, &[]), list(10, &[])]);
        bad("message 1", &[sent(0, "1"), list(10, &["1"]), list(20, &[]), list(30, &["1"]), list(40, &["1"])]);
        bad("message 1", &[sent(0, "1"), acknowledge(10, "1", Outcome::Acknowledged), list(20, &[]), got(30, "1")]);
        bad("message 1", &[sent(0, "1"), list(10, &["1"]), list(20, &[])]);
        let unknown = acknowledge(20, "1", Outcome::Unknown);
        bad("message 1", &[sent(0, "1"), list(10, &["1"]), unknown, list(30, &[]), list(40, &["1"])]);
        let over = Outcome::Refused { status: 410, retry_after: false };
        let early = op(10, Call::Retrieve { mailbox: "B".into(), id: "1".into() }, over);
        bad("message 1", &[sent(0, "1"), early, list(20, &["1"])]);
    }

    #[test]
    fn bad_histories_of_the_registry_are_found() {
        bad("row mailbox A", &[write(0, "x", Outcome::Written), write(10, "y", Outcome::Written), read(20, "x")]);
        bad("row mailbox A", &[read(0, "x"), write(10, "x", Outcome::Written)]);
        let late = write(10, "y", Outcome::Unknown);
        bad("row mailbox A", &[write(0, "x", Outcome::Written), late, read(20, "y"), read(30, "x")]);
    }
}
