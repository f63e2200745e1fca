//! Since when messages wait, over all mailboxes: what a metric tells.

use super::super::unread;
use super::*;

/// The earliest time of all partitions, found in steps of so many mailboxes.
fn since(site: &Site, mailboxes: usize) -> Option<EpochMillis> {
    let mut found = vec![];
    for partition in &site.partitions {
        let mut from = None;
        loop {
            let step = unread::step(partition, from, mailboxes).unwrap();
            found.extend(step.since);
            match step.next {
                Some(next) => from = Some(next),
                None => break,
            }
        }
    }
    found.into_iter().min()
}

#[test]
fn the_message_that_waits_longest_in_any_mailbox_is_found_in_steps_of_any_size() {
    for mut site in sites() {
        assert_eq!(since(&site, 1), None);
        let mut sent = vec![];
        for to in [C, B, A, B, C] {
            site.wait(60_000);
            sent.push((to, site.send_to(A, to, "TEST_WORKFLOW2", b"x", &[]), site.now));
        }
        for (to, id, at) in &sent {
            for mailboxes in [1, 2, 100] {
                assert_eq!(since(&site, mailboxes), Some(*at), "{to} {mailboxes}");
            }
            assert_eq!(site.acknowledge(to, id).status, 200);
        }
        assert_eq!(since(&site, 2), None, "nothing waits any more");
    }
}
