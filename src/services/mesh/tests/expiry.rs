//! What time does: expiry with its report, deactivated mailboxes, re-queueing, removal (mesh.md §9).

use super::*;
use crate::{
    services::directory::command::{Disable, Kind},
    store::tables::Table,
};

fn requeue(site: &mut Site, id: &str) -> Reply {
    let requeue = super::super::command::Requeue { mailbox: B.into(), message: id.into(), ..Default::default() };
    site.command(B.as_bytes(), MeshCommand::from(requeue).encode())
}

#[test]
fn what_is_not_collected_in_five_days_is_reported() {
    for mut site in sites() {
        let id = site.send(b"x", &[("mex-subject", "S"), ("mex-localid", "L")]);
        site.wait(DAY);
        let later = site.send(b"y", &[]);
        site.wait(4 * DAY - 1000);
        // Downloading alone does not stop the clock.
        assert_eq!(site.get(B, &format!("inbox/{id}")).status, 200);
        assert_eq!(site.status(&id), "accepted");
        site.wait(60_000);
        assert_eq!(site.inbox(B), std::slice::from_ref(&later));
        assert_eq!(site.get(B, &format!("inbox/{id}")).status, 410);
        let reports = site.inbox(A);
        assert_eq!(reports.len(), 1);
        for path in [format!("inbox/{}", reports[0]), format!("inbox/{}/3", reports[0])] {
            let report = site.get2(A, &path);
            assert_eq!((report.status, &report.body), (200, &Body::Empty));
            for (name, value) in [
                ("mex-messagetype", "REPORT"),
                ("mex-statuscode", "14"),
                ("mex-statusevent", "SEND"),
                ("mex-statussuccess", "ERROR"),
                ("mex-statusdescription", "Message not collected by recipient after 5 days"),
                ("mex-linkedmsgid", id.as_str()),
                ("mex-subject", "NDR: S"),
                ("mex-localid", "L"),
                ("mex-workflowid", "TEST_WORKFLOW"),
                ("mex-filename", &format!("{}.dat", reports[0])),
                ("mex-messageid", &reports[0]),
                ("mex-to", A),
                ("mex-from", ""),
                ("mex-chunk-range", ""),
            ] {
                assert_eq!(header(&report, name), value, "{name}");
            }
        }
        let tracked = json(&site.get2(A, &format!("outbox/tracking?messageID={id}")));
        assert_eq!((&tracked["status"], &tracked["status_success"]), (&"undeliverable".into(), &false.into()));
        let tracked = json(&site.get(A, &format!("outbox/tracking?messageID={id}")));
        assert_eq!((&tracked["status"], &tracked["statusSuccess"]), (&"Undeliverable".into(), &"ERROR".into()));
        assert_eq!(tracked["failureDiagnostic"], "Message not collected by recipient after 5 days");
        let rich = json(&site.get(A, "inbox/rich"));
        let report = &rich["messages"][0];
        assert_eq!((&report["sender"], &report["sender_name"]), (&"".into(), &"Central System Mailbox".into()));
        site.wait(DAY);
        assert_eq!(site.inbox(A).len(), 2);
        let last = site.inbox(A).pop().unwrap();
        assert_eq!(header(&site.get(A, &format!("inbox/{last}")), "mex-subject"), "NDR");
        // A report that nobody collects makes no further report.
        site.wait(6 * DAY);
        assert!(site.inbox(A).is_empty() && site.inbox(B).is_empty());
        assert_eq!(json(&site.get2(A, "count"))["count"], 0);
        assert_eq!(site.status(&later), "undeliverable");
    }
}

#[test]
fn a_flood_expires_completely_with_reports_of_their_own() {
    let options = MeshOptions { inbox_expiry: std::time::Duration::from_secs(3), ..Default::default() };
    for partitions in [1, 3] {
        let mut site = Site::new(partitions, options.clone());
        let sent: Vec<String> = (0..300).map(|_| site.send(b"x", &[])).collect();
        site.acknowledge(B, &sent[7]);
        site.wait(5000);
        assert!(site.inbox(B).is_empty());
        assert_eq!(json(&site.get2(B, "count"))["count"], 0);
        let reports = site.inbox(A);
        assert_eq!(reports.len(), 299);
        let linked: std::collections::BTreeSet<String> =
            reports.iter().map(|id| header(&site.get(A, &format!("inbox/{id}")), "mex-linkedmsgid")).collect();
        assert_eq!(linked.len(), 299);
        assert!(!linked.contains(&sent[7]));
        let words = header(&site.get(A, &format!("inbox/{}", reports[0])), "mex-statusdescription");
        assert_eq!(words, "Message not collected by recipient after 3 seconds");
    }
}

#[test]
fn a_deactivated_mailbox_sends_everything_back() {
    for mut site in sites() {
        let sent: Vec<String> = (0..150).map(|_| site.send(b"x", &[])).collect();
        site.register(Disable { kind: Kind::Mailbox as u8, id: B.into(), ..Default::default() });
        let refused = site.ask("POST", A, "outbox", &[("mex-to", B), ("mex-workflowid", "TEST_WORKFLOW")], b"x");
        assert_eq!(error(&refused).1, "12");
        site.wait(1000);
        let reports = site.inbox(A);
        assert_eq!(reports.len(), 150);
        let got = site.get(A, &format!("inbox/{}", reports[0]));
        assert_eq!(header(&got, "mex-statusdescription"), "Message was not collected as the mailbox is deactivated");
        assert_eq!(site.status(&sent[149]), "undeliverable");
        assert_eq!(site.rows(Table::Inbox), 150);
        site.register(Disable { kind: Kind::Mailbox as u8, id: B.into(), enable: true, ..Default::default() });
        assert!(site.inbox(B).is_empty());
    }
}

#[test]
fn an_operator_puts_an_undeliverable_message_back() {
    for mut site in sites() {
        let id = site.send(b"x", &[]);
        assert_eq!(requeue(&mut site, &id).problem.unwrap().status, 410);
        assert_eq!(requeue(&mut site, "nonsense").problem.unwrap().status, 404);
        site.wait(6 * DAY);
        assert_eq!(site.status(&id), "undeliverable");
        assert_eq!(requeue(&mut site, &id).problem, None);
        assert_eq!((site.inbox(B), site.status(&id)), (vec![id.clone()], "accepted".into()));
        assert_eq!(text(&site.get(B, &format!("inbox/{id}"))), b"x");
        // It has a new clock, and is reported again when that has run out.
        site.wait(4 * DAY);
        assert_eq!(site.inbox(B).len(), 1);
        site.wait(2 * DAY);
        assert!(site.inbox(B).is_empty());
        assert_eq!(site.inbox(A).len(), 1, "the first report has expired, the second is here");
    }
}

#[test]
fn a_late_chunk_gives_a_message_its_whole_five_days() {
    for mut site in sites() {
        let id = site.send(b"x", &[("mex-chunk-range", "1:2")]);
        let early = site.send(b"y", &[]);
        site.wait(4 * DAY);
        assert_eq!(site.ask("POST", A, &format!("outbox/{id}/2"), &[("mex-chunk-range", "2:2")], b"y").status, 202);
        site.wait(2 * DAY);
        assert_eq!((site.inbox(B), site.status(&early)), (vec![id.clone()], "undeliverable".into()));
        site.wait(4 * DAY);
        assert_eq!(site.status(&id), "undeliverable");
    }
}

#[test]
fn after_the_retention_nothing_is_left_but_the_audit_trail() {
    for mut site in sites() {
        for n in 0..200 {
            let id = site.send(b"x", &[("mex-localid", "L")]);
            if n % 2 == 0 {
                site.acknowledge(B, &id);
            }
        }
        let id = site.send(b"x", &[("mex-chunk-range", "1:2")]);
        site.wait(29 * DAY);
        assert_eq!(site.status(&id), "undeliverable");
        assert_eq!(site.get(A, "outbox/tracking/L").status, 300);
        site.wait(8 * DAY);
        assert_eq!(site.get(A, "outbox/tracking/L").status, 404);
        use Table as T;
        let tables = [
            T::Messages,
            T::Bodies,
            T::Inbox,
            T::Sent,
            T::LocalIds,
            T::Uploads,
            T::UploadParts,
            T::MessageIds,
            T::BlobRefs,
        ];
        for table in tables {
            assert_eq!(site.rows(table), 0, "{table:?}");
        }
        assert!(site.timers.values().all(|(_, timer)| timer.payload.first() == Some(&1)), "only tokens wait");
    }
}
