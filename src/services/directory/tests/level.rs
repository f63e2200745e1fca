//! The site's level: who must know it before it is raised, and who may not come afterwards.

use super::super::level::{self, RaiseLevel};
use super::*;

fn member(site: &mut MapStore, node: u16, level: u32) {
    let member = Member { name: format!("n{node}"), level, ..Default::default() };
    assert!(set(site, SetNode { node, member, ..Default::default() }).is_done());
}

fn raise(site: &mut MapStore, level: u32, instead_of: u32) -> DirectoryReply {
    set(site, RaiseLevel { level, instead_of, ..Default::default() })
}

#[test]
fn the_level_is_raised_when_every_member_knows_it_and_never_lowered() {
    let mut site = MapStore::default();
    (1..=3).for_each(|node| member(&mut site, node, 7));
    member(&mut site, 2, 0);
    assert_eq!(level::of(&site).unwrap(), 1, "never raised");
    let refused = raise(&mut site, 7, 1);
    assert_eq!((refused.refusal.as_str(), refused.text.as_str()), ("member-behind", "node 2 knows level 1"));
    assert!(level::allows(&site, 1).unwrap() && !level::allows(&site, 2).unwrap());
    member(&mut site, 2, 6);
    assert_eq!(raise(&mut site, 7, 1).text, "node 2 knows level 6");
    let raised = raise(&mut site, 6, 1);
    assert!(raised.is_done() && raised.changed);
    assert!(level::allows(&site, 6).unwrap() && !level::allows(&site, 7).unwrap());
    let again = raise(&mut site, 6, 1);
    assert!(again.is_done() && !again.changed, "one given twice is one given once");
    member(&mut site, 2, 7);
    assert_eq!(raise(&mut site, 7, 1).refusal, "changed-meanwhile");
    assert_eq!(raise(&mut site, 5, 6).refusal, "invalid");
    assert_eq!(level::of(&site).unwrap(), 6);
}

/// A machine that was taken out holds nothing back, and one that never knew the level does not come in.
#[test]
fn who_joins_must_know_the_level() {
    let mut site = MapStore::default();
    member(&mut site, 1, 3);
    member(&mut site, 2, 1);
    assert!(set(&mut site, RemoveNode { node: 2, ..Default::default() }).is_done());
    assert!(raise(&mut site, 3, 1).changed);
    let token_hash = "ab".repeat(32);
    let invitation = Invitation { expires: NOW + 1, ..Default::default() };
    set(&mut site, SetInvitation { token_hash: token_hash.clone(), invitation, ..Default::default() });
    let join = |site: &mut MapStore, level| {
        let member = Member { name: "new".into(), level, ..Default::default() };
        run(site, "", UseInvitation { token_hash: token_hash.clone(), member, ..Default::default() }).0
    };
    for level in [0, 2] {
        let refused = join(&mut site, level);
        assert_eq!(refused.refusal, "level");
        assert!(refused.text.contains(&format!("knows level {}, the site's is 3", level.max(1))), "{}", refused.text);
    }
    assert!(join(&mut site, 3).is_done(), "the token is still good");
}

/// A certificate made anew for the same key must not bring a machine back that was taken out.
#[test]
fn who_is_taken_out_leaves_neither_certificate_nor_key_behind() {
    let mut site = MapStore::default();
    let member = Member { certificate: "c1".into(), key: "k1".into(), ..Default::default() };
    set(&mut site, SetNode { node: 1, member, ..Default::default() });
    assert!(set(&mut site, RemoveNode { node: 1, ..Default::default() }).is_done());
    let expelled: Vec<String> = rows::expelled(&site).unwrap().into_iter().map(|(print, _)| print).collect();
    assert_eq!(expelled, ["c1", "k1"]);
}
