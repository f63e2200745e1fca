//! Listing: pages, continuations, filters, links, cost (mesh.md §6.2, §6.9).

use super::super::{collect::list_page, command::Page};
use super::*;
use proptest::prelude::*;

fn follow(site: &mut Site, link: &str) -> Value {
    let token = site.token(B);
    json(&site.raw("GET", link, &[("authorization", &token), V2], BodyInfo::None))
}

fn ids(page: &Value) -> Vec<String> {
    page["messages"].as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned()).collect()
}

#[test]
fn both_versions_of_an_empty_and_a_full_inbox() {
    for mut site in sites() {
        assert_eq!(json(&site.get(B, "inbox")), serde_json::json!({"messages": []}));
        let links = serde_json::json!({"self": "/messageexchange/X26ABC2/inbox"});
        let empty = serde_json::json!({"messages": [], "links": links, "approx_inbox_count": 0});
        assert_eq!(json(&site.get2(B, "inbox")), empty);
        let sent: Vec<String> = (0..25).map(|_| site.send(b"x", &[])).collect();
        assert_eq!(site.inbox(B), sent);
        let page = json(&site.get2(B, "inbox?max_results=10"));
        assert_eq!(ids(&page), sent[..10]);
        assert_eq!(page["links"]["self"], "/messageexchange/X26ABC2/inbox?max_results=10");
        assert_eq!(page["approx_inbox_count"], 25);
        let next = page["links"]["next"].as_str().unwrap();
        assert!(next.starts_with("/messageexchange/X26ABC2/inbox?max_results=10&continue_from="));
        let second = follow(&mut site, next);
        assert_eq!(ids(&second), sent[10..20]);
        let third = follow(&mut site, second["links"]["next"].as_str().unwrap());
        assert_eq!(ids(&third), sent[20..]);
        assert!(third["links"].get("next").is_none());
        // Version 1 goes on behind the last id.
        let rest = json(&site.get(B, &format!("inbox?max_results=10&continue_from={}", sent[9])));
        assert_eq!(ids(&rest), sent[10..20]);
    }
}

#[test]
fn parameters_out_of_range() {
    let mut site = Site::new(1, MeshOptions::default());
    let other = site.mesh.cursor(A, MessageId::first_of(NOW));
    for (query, name) in [
        ("max_results=9", "max_results"),
        ("max_results=5001", "max_results"),
        ("max_results=ten", "max_results"),
        ("continue_from=short", "continue_from"),
        ("continue_from=0123456789012345678901234567", "continue_from"),
        (&format!("continue_from={}", "0".repeat(1001)), "continue_from"),
        (&format!("continue_from={other}"), "continue_from"),
        ("workflow_filter=a", "workflow_filter"),
        (&format!("workflow_filter={}", "a".repeat(256)), "workflow_filter"),
    ] {
        for response in [site.get(B, &format!("inbox?{query}")), site.get2(B, &format!("inbox?{query}"))] {
            let body = json(&response);
            assert_eq!(
                (response.status, &body["detail"][0]["loc"]),
                (400, &serde_json::json!(["query", name])),
                "{query}"
            );
            assert_eq!(header(&response, "content-type"), "application/json");
        }
    }
}

#[test]
fn filters_choose_and_links_keep_them() {
    for mut site in sites() {
        for n in 0..30 {
            let workflow = if n % 3 == 0 { "FREE A_ACK" } else { "FREE A" };
            site.send_to(A, B, workflow, b"x", &[]);
        }
        let page = json(&site.get2(B, "inbox?max_results=10&workflow_filter=!*_ACK*"));
        assert_eq!(ids(&page).len(), 10);
        let next = page["links"]["next"].as_str().unwrap().to_owned();
        assert!(next.contains("workflow_filter=%21%2A_ACK%2A"));
        let second = follow(&mut site, &next);
        assert_eq!((ids(&second).len(), second["links"].get("next")), (10, None));
        assert_eq!(second["approx_inbox_count"], 30);
        assert_eq!(ids(&json(&site.get(B, "inbox?workflow_filter=FREE+A"))).len(), 20);
        assert_eq!(ids(&json(&site.get(B, "inbox?workflow_filter=*ACK*"))).len(), 10);
    }
}

#[test]
fn a_long_inbox_is_read_from_a_view_in_bounded_pages() {
    let mut site = Site::new(1, MeshOptions::default());
    let sent: Vec<String> = (0..150).map(|_| site.send(b"x", &[])).collect();
    assert_eq!(site.inbox(B), sent);
    let page = json(&site.get2(B, "inbox?max_results=100"));
    assert_eq!(ids(&page), sent[..100]);
    // A filter that finds nothing looks at no more than the bound, and says where it stopped.
    let page = Page { max_results: 10, filter: Some("NONE".into()), ..Default::default() };
    let listed = list_page(&site.partitions[0], B, &page, 64).unwrap();
    assert!(listed.unfinished && listed.ids.is_empty());
    assert_eq!(listed.next.unwrap().to_string(), sent[63]);
    // Exactly the bound is still finished.
    let page = Page { max_results: 5000, ..Default::default() };
    assert!(!list_page(&site.partitions[0], B, &page, 150).unwrap().unfinished);
    assert!(list_page(&site.partitions[0], B, &page, 149).unwrap().unfinished);
}

#[test]
fn the_rich_listings() {
    for mut site in sites() {
        let mut sent = vec![];
        for n in 0..15 {
            let local = format!("L{n}");
            sent.push(site.send(b"x", &[("mex-localid", &local)]));
            site.wait(1000);
        }
        site.acknowledge(B, &sent[14]);
        let page = json(&site.get(B, "inbox/rich?max_results=10"));
        let list = page["messages"].as_array().unwrap();
        assert_eq!((list.len(), list[0]["message_id"].as_str()), (10, Some(sent[14].as_str())));
        assert_eq!((&list[0]["status"], &list[0]["sender_name"]), (&"acknowledged".into(), &"TESTMB1".into()));
        assert_eq!((&list[0]["recipient"], &list[0]["total_chunks"]), (&B.into(), &1.into()));
        assert!(list[0].get("status_code").is_none());
        let next = page["links"]["next"].as_str().unwrap().to_owned();
        let second = follow(&mut site, &next);
        assert_eq!(second["messages"][0]["message_id"].as_str(), Some(sent[4].as_str()));
        assert_eq!((second["messages"].as_array().unwrap().len(), second["links"].get("next")), (5, None));
        let outbox = site.get(A, "outbox/rich?max_results=500");
        assert_eq!(header(&outbox, "content-type"), V2.1);
        let first = &json(&outbox)["messages"][0];
        assert_eq!(
            (&first["local_id"], &first["status_code"], &first["recipient_name"]),
            (&"L14".into(), &"".into(), &"TESTMB2".into())
        );
        let late = time::iso(NOW + 10_500);
        let page = json(&site.get(B, &format!("inbox/rich?start_time={late}")));
        assert_eq!(page["messages"].as_array().unwrap().len(), 4);
        assert_eq!(site.get(B, "inbox/rich?start_time=yesterday").status, 400);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever is acknowledged between pages, every other message is listed once and in order.
    #[test]
    fn acknowledging_while_paging(count in 0usize..60, choices in proptest::collection::vec(any::<u8>(), 60)) {
        let mut site = Site::new(1, MeshOptions::default());
        let sent: Vec<String> = (0..count).map(|_| site.send(b"x", &[])).collect();
        let mut seen: Vec<String> = vec![];
        let mut link = "/messageexchange/X26ABC2/inbox?max_results=10".to_owned();
        loop {
            let page = follow(&mut site, &link);
            seen.extend(ids(&page));
            for (id, choice) in sent.iter().zip(&choices) {
                if (usize::from(*choice) + seen.len()).is_multiple_of(3) && seen.contains(id) {
                    site.acknowledge(B, id);
                }
            }
            match page["links"]["next"].as_str() {
                Some(next) => link = next.to_owned(),
                None => break,
            }
        }
        prop_assert_eq!(seen, sent);
    }
}

#[test]
fn a_rich_inbox_shows_nothing_that_is_not_complete() {
    for mut site in sites() {
        let whole = site.send(b"x", &[]);
        let half = site.send(b"x", &[("mex-chunk-range", "1:2")]);
        let ids = |page: &Value| {
            let lines = page["messages"].as_array().unwrap().clone();
            lines.iter().map(|m| m["message_id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(ids(&json(&site.get(B, "inbox/rich"))), std::slice::from_ref(&whole));
        assert_eq!(ids(&json(&site.get(A, "outbox/rich"))), [half, whole]);
    }
}
