//! The registry on values: what commands do to rows, and what they refuse.

mod arrival;
mod fhir;
mod finding;
mod imports;
mod ldap;
mod level;
mod older;
mod people;
mod signing;
mod size;
mod systems;
mod workers;

use super::{
    Directory,
    command::{
        DirectoryCommand, DirectoryReply, Disable, Kind, RemoveNode, SetInvitation, SetMailbox, SetNode,
        SetOrganisation, SetSystem, SetWorkflow, UseInvitation,
    },
    lines::{self, BadLine},
    rows::{self, Invitation, Mailbox, Member, Secret, System},
    sites,
};
use crate::{
    access::caller::Caller,
    engine::{
        Command, SITE,
        draft::{Decide, Decided, Draft, MapStore, Overlay, Stamp},
        services,
    },
    store::tables::Table,
};

const NOW: u64 = 1_795_309_173_579;

fn run(site: &mut MapStore, operator: &str, command: impl Into<DirectoryCommand>) -> (DirectoryReply, Decided) {
    let command = Command {
        service: services::DIRECTORY.0,
        payload: command.into().encode(),
        caller: Caller { operator: operator.into(), ..Default::default() },
        ..Default::default()
    };
    let stamp = Stamp { now: NOW, partition: SITE, partitions: 1, sequence: 1, entropy: [0; 16] };
    let overlay = Overlay::default();
    let (reply, decided) = {
        let mut draft = Draft::new(&*site, &overlay, &*site);
        let reply = Directory.decide(&mut draft, &stamp, &command).unwrap();
        (DirectoryReply::of(&reply).unwrap(), draft.finish())
    };
    site.apply(decided.rows.clone());
    (reply, decided)
}

fn set(site: &mut MapStore, command: impl Into<DirectoryCommand>) -> DirectoryReply {
    run(site, "uid:0", command).0
}

fn mailbox(id: &str) -> SetMailbox {
    SetMailbox { mailbox: id.into(), ods: "x26".into(), password: Secret("p".into()), ..Default::default() }
}

#[test]
fn only_an_operator_changes_the_registry_and_every_try_is_noted() {
    let mut site = MapStore::default();
    let (reply, decided) = run(&mut site, "", mailbox("A"));
    assert_eq!(reply.refusal, "forbidden");
    assert!(decided.rows.is_empty());
    let note = &decided.audit[0];
    assert_eq!(
        (note.interaction.as_str(), note.outcome.as_str(), note.object.as_str()),
        ("directory.mailbox.set", "forbidden", "A")
    );
}

#[test]
fn a_command_given_twice_is_one_given_once() {
    let mut site = MapStore::default();
    for (n, changed) in [true, false].into_iter().enumerate() {
        assert_eq!(set(&mut site, mailbox("x26abc1")).changed, changed, "{n}");
        let organisation = SetOrganisation { ods: "X26".into(), name: "Org".into(), ..Default::default() };
        assert_eq!(set(&mut site, organisation).changed, changed);
        let flow = SetWorkflow { workflow: "W".into(), senders: vec!["a".into()], ..Default::default() };
        assert_eq!(set(&mut site, flow).changed, changed);
        let system = SetSystem {
            asid: "1".into(),
            ods: "X26".into(),
            certificates: vec!["ab".repeat(32)],
            ..Default::default()
        };
        assert_eq!(set(&mut site, system).changed, changed);
    }
    assert_eq!(rows::mailbox(&site, "X26ABC1").unwrap().unwrap().ods, "X26");
}

#[test]
fn a_mailbox_moves_with_its_index_and_keeps_what_is_not_said() {
    let mut site = MapStore::default();
    set(&mut site, mailbox("A"));
    let moved = SetMailbox { mailbox: "A".into(), ods: "X27".into(), name: "N".into(), ..Default::default() };
    assert!(set(&mut site, moved).changed);
    let row = rows::mailbox(&site, "A").unwrap().unwrap();
    assert_eq!((row.password.0.as_str(), row.name.as_str()), ("p", "N"));
    assert!(rows::mailboxes_of(&site, "X26", 9).unwrap().is_empty());
    assert_eq!(rows::mailboxes_of(&site, "X27", 9).unwrap(), ["A"]);
}

#[test]
fn switching_a_mailbox_off_tells_the_exchange_once() {
    let mut site = MapStore::default();
    set(&mut site, mailbox("A"));
    let off = Disable { kind: Kind::Mailbox as u8, id: "a".into(), ..Default::default() };
    let (_, decided) = run(&mut site, "uid:0", off.clone());
    assert_eq!(decided.outbox.len(), 1);
    assert_eq!(decided.outbox[0].0.as_ref(), b"A");
    let (reply, decided) = run(&mut site, "uid:0", off);
    assert!(!reply.changed && decided.outbox.is_empty());
    let nobody = Disable { kind: Kind::Mailbox as u8, id: "B".into(), ..Default::default() };
    assert_eq!(set(&mut site, nobody).refusal, "not-found");
}

#[test]
fn a_certificate_belongs_to_one_system() {
    let mut site = MapStore::default();
    let (a, b) = ("ab".repeat(32), "cd".repeat(32));
    let system = |asid: &str, certificates: &[&String], add| SetSystem {
        asid: asid.into(),
        ods: "X26".into(),
        certificates: certificates.iter().map(|c| c.to_uppercase()).collect(),
        add,
        ..Default::default()
    };
    assert!(set(&mut site, system("1", &[&a], false)).changed);
    assert_eq!(set(&mut site, system("2", &[&a], false)).refusal, "conflict");
    assert!(rows::system(&site, "2").unwrap().is_none());
    assert!(set(&mut site, system("1", &[&b], true)).changed);
    assert_eq!(rows::system_of_certificate(&site, &a).unwrap().unwrap().0, "1");
    assert!(set(&mut site, system("1", &[&b], false)).changed);
    assert!(rows::system_of_certificate(&site, &a).unwrap().is_none());
    assert!(set(&mut site, system("2", &[&a], false)).changed);
    assert_eq!(set(&mut site, system("3", &[&"xyz".to_owned()], false)).refusal, "invalid");
}

#[test]
fn a_workflows_lists_are_replaced_or_added_to() {
    let mut site = MapStore::default();
    let flow = |receivers: &[&str], add| SetWorkflow {
        workflow: "W".into(),
        senders: vec!["S".into()],
        receivers: receivers.iter().map(|r| r.to_string()).collect(),
        add,
        ..Default::default()
    };
    set(&mut site, flow(&["B", "A"], false));
    set(&mut site, flow(&["C"], true));
    assert_eq!(rows::receivers(&site, b"W", 9).unwrap(), ["A", "B", "C"]);
    set(&mut site, flow(&["C"], false));
    assert_eq!(rows::receivers(&site, b"W", 9).unwrap(), ["C"]);
    let row = rows::workflow(&site, b"W").unwrap().unwrap();
    assert_eq!((row.senders, row.receivers), (1, 1));
    assert!(rows::may_send(&site, b"W", "S").unwrap() && !rows::may_receive(&site, b"W", "A").unwrap());
}

#[test]
fn an_invitation_admits_one_node_once() {
    let mut site = MapStore::default();
    let member = |name: &str| Member { name: name.into(), ..Default::default() };
    assert_eq!(set(&mut site, SetNode { member: member("n1"), ..Default::default() }).node, 1);
    let invitation = Invitation { expires: NOW + 1, ..Default::default() };
    set(&mut site, SetInvitation { token_hash: "0".repeat(64), invitation, ..Default::default() });
    let join = |hash: &str| UseInvitation { token_hash: hash.repeat(64), member: member("n2"), ..Default::default() };
    assert_eq!(run(&mut site, "", join("1")).0.refusal, "not-found");
    let (reply, _) = run(&mut site, "", join("0"));
    assert_eq!((reply.refusal.as_str(), reply.node), ("", 2));
    assert_eq!(run(&mut site, "", join("0")).0.refusal, "expired");
    assert_eq!(rows::members(&site).unwrap().len(), 2);
}

#[test]
fn a_promotion_names_the_site_that_goes_on_and_lets_nobody_of_the_lost_one_back() {
    let mut site = MapStore::default();
    for (number, label) in [(1, "leeds"), (2, ""), (4, "york"), (5, "york")] {
        let member = Member { site: label.into(), certificate: format!("c{number}"), ..Default::default() };
        set(&mut site, SetNode { node: number, member, ..Default::default() });
    }
    set(&mut site, sites::SetServing { site: "leeds".into(), ..Default::default() });
    let promote = |instead_of: &str| sites::Promote {
        site: "york".into(),
        instead_of: instead_of.into(),
        least: 2,
        without: vec![5],
        missing: "what came after noon".into(),
        ..Default::default()
    };
    assert_eq!(set(&mut site, promote("bath")).refusal, "changed-meanwhile");
    assert!(rows::expelled(&site).unwrap().is_empty(), "nothing is changed");
    let (reply, decided) = run(&mut site, "uid:0", promote("leeds"));
    assert!(reply.changed);
    let note = decided.audit.last().expect("a note");
    assert_eq!((note.object.as_str(), note.detail.as_str()), ("york", "what came after noon"));
    let serving = sites::serving(&site).unwrap().expect("a row");
    assert_eq!((serving.site.as_str(), serving.before.as_str(), serving.least), ("york", "leeds", 2));
    let out = |number| rows::member(&site, number).unwrap().expect("a row");
    for number in [1, 2, 5] {
        assert!(out(number).removed && out(number).given_up > 0, "node {number}");
    }
    assert!(!out(4).removed && out(4).given_up == 0);
    let expelled: Vec<String> =
        rows::expelled(&site).unwrap().into_iter().filter(|(_, at)| *at > 0).map(|e| e.0).collect();
    assert_eq!(expelled, ["c1", "c2", "c5"], "a silent node of the site itself, too");
}

#[test]
fn provisioning_lines_become_commands() {
    let line = r#"{"mailbox_id":"X26ABC1","mailbox_name":"TESTMB1","billing_entity":"England","ods_code":"X26","org_code":"X26","org_name":"","password":"password","active":true}"#;
    let Ok(Some(DirectoryCommand::SetMailbox(set))) = lines::parse(line) else { panic!() };
    assert_eq!((set.mailbox.as_str(), set.password.0.as_str(), set.active), ("X26ABC1", "password", 1));
    let line = r#"{"workflow_id":"TEST_WORKFLOW","senders":["X26ABC1"],"receivers":["X26ABC2"]}"#;
    let Ok(Some(DirectoryCommand::SetWorkflow(set))) = lines::parse(line) else { panic!() };
    assert_eq!((set.receivers.as_slice(), set.open), (&["X26ABC2".to_owned()][..], false));
    assert!(matches!(lines::parse(r#"{"ods_code":"X26","name":"n"}"#), Ok(Some(DirectoryCommand::SetOrganisation(_)))));
    assert!(matches!(lines::parse(r#"{"asid":"1","ods_code":"X26"}"#), Ok(Some(DirectoryCommand::SetSystem(_)))));
    assert_eq!(lines::parse("# comment"), Ok(None));
    assert_eq!(lines::parse("{}"), Err(BadLine::Kind));
    assert!(matches!(lines::parse(r#"{"mailbox_id":1}"#), Err(BadLine::Json(_))));
}

#[test]
fn secrets_do_not_show() {
    let row = Mailbox { password: Secret("hunter2".into()), ..Default::default() };
    assert!(!format!("{row:?} {:?}", mailbox("A")).contains("hunter2"));
    assert!(!format!("{:?}", mailbox("A")).contains("\"p\""));
    let _: Vec<(String, System)> = rows::list(&MapStore::default(), Table::Systems, "", 9).unwrap();
}
