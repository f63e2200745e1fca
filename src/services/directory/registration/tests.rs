//! Registration on values: the steps in their order, each by somebody who may, nobody for himself, nobody twice, and nobody in
//! before the last step.

use super::{
    super::users::baseline::SetBaseline,
    command::{Apply, End, Grant, Issue, Pause, Sponsor, Verify},
    evidence::{KINDS, REMOTE, lacking},
    rules::{IDENTITY_CHECKER, Rules, SPONSOR, SetRules},
    *,
};
use crate::wire::record::Record as _;
use crate::{
    access::caller::Caller,
    engine::{
        Command, SITE,
        draft::{AuditNote, Decide, Draft, MapStore, Overlay, Stamp},
    },
    services::directory::{
        Directory,
        command::{DirectoryCommand, DirectoryReply, SetOrganisation},
        users::{
            self, Authenticator, Coded, State,
            command::{SetAuthenticator, SetUser, StandUser},
            secrets,
        },
    },
};
use bytes::Bytes;

/// 2026-11-22.
const NOW: u64 = 1_795_309_173_579;
const SAM: &str = "656005750104";
/// Role profiles of those who do the steps, and their user ids.
const MANAGER: (&str, &str) = ("656014452101", "656005750201");
const AGENT: (&str, &str) = ("656014452102", "656005750202");
const SPONSORS: (&str, &str) = ("656014452103", "656005750203");
const CHECKER: (&str, &str) = ("656014452104", "656005750204");
const NURSE: (&str, &str) = ("656014452105", "656005750205");
/// A manager who is a sponsor too.
const BOTH: (&str, &str) = ("656014452106", "656005750206");

/// Operator accounts: who enters checks and sponsors, and who enters the rest.
const FRONT: &str = "uid:1001";
const BACK: &str = "uid:1002";

struct Registry {
    rows: MapStore,
    now: u64,
    /// Enters every step, where it is not empty.
    operator: &'static str,
    notes: Vec<AuditNote>,
}

impl Registry {
    /// A hospital with those who do the steps, as the first ones of a site are registered.
    fn new() -> Registry {
        let mut registry = Registry { rows: MapStore::default(), now: NOW, operator: "", notes: vec![] };
        registry.done(open());
        for ods in ["X26", "A83001"] {
            registry.done(SetOrganisation { ods: ods.into(), name: "A hospital".into(), ..Default::default() });
        }
        let staff = "S8001:G8002";
        for ((urp, uid), job, activities) in [
            (MANAGER, "R5080", vec![]),
            (AGENT, "R5090", vec![]),
            (SPONSORS, "R8008", vec![SPONSOR]),
            (CHECKER, "R8008", vec![IDENTITY_CHECKER]),
            (NURSE, "R8001", vec![]),
            (BOTH, "R5080", vec![SPONSOR]),
        ] {
            registry.member(urp, uid, &format!("{staff}:{job}"), &activities);
        }
        registry.done(SetRules { open: 2, ..Default::default() });
        registry.notes.clear();
        registry
    }

    fn member(&mut self, urp: &str, uid: &str, role: &str, activities: &[&str]) {
        let person = SetUser {
            uid: uid.into(),
            given: uid.into(),
            family: "Staff".into(),
            identity_level: 4,
            fresh: true,
            ..Default::default()
        };
        self.done(person);
        self.done(StandUser { uid: uid.into(), state: State::IdentityVerified as u8, ..Default::default() });
        let coded = |code: &&str| Coded { code: (*code).into(), ..Default::default() };
        self.done(SetRole {
            urp: urp.into(),
            uid: uid.into(),
            ods: "X26".into(),
            person_org: uid.into(),
            role_code: role.into(),
            activities: activities.iter().map(coded).collect(),
            ..Default::default()
        });
        self.done(SetAuthenticator { uid: uid.into(), authenticator: password(), ..Default::default() });
        self.done(StandUser { uid: uid.into(), state: State::Active as u8, ..Default::default() });
    }

    fn ask(&mut self, command: impl Into<DirectoryCommand>) -> DirectoryReply {
        self.now += 1;
        let overlay = Overlay::default();
        let copy = MapStore(self.rows.0.clone());
        let mut draft = Draft::new(&copy, &overlay, &copy);
        let stamp = Stamp { now: self.now, partition: SITE, partitions: 1, sequence: self.now, entropy: [0; 16] };
        let command: DirectoryCommand = command.into();
        let operator = match (&command, self.operator) {
            (DirectoryCommand::Grant(_) | DirectoryCommand::Issue(_), "") => BACK,
            (_, "") => FRONT,
            (_, one) => one,
        };
        let caller = Caller { operator: operator.into(), ..Default::default() };
        let command = Command { payload: command.encode(), caller, ..Default::default() };
        let reply = Directory.decide(&mut draft, &stamp, &command).unwrap();
        let decided = draft.finish();
        assert_eq!(decided.audit.len(), 1, "each step, refused ones too, leaves one note");
        self.notes.extend(decided.audit);
        self.rows.apply(decided.rows);
        DirectoryReply::of(&reply).unwrap()
    }

    #[track_caller]
    fn done(&mut self, command: impl Into<DirectoryCommand>) {
        let reply = self.ask(command);
        assert!(reply.is_done(), "{}: {}", reply.refusal, reply.text);
    }

    /// The refusal's kind; empty for none.
    fn refused(&mut self, command: impl Into<DirectoryCommand>) -> String {
        self.ask(command).refusal
    }

    fn state(&self) -> State {
        users::user(&self.rows, SAM).unwrap().unwrap().state()
    }

    fn row(&self) -> Registration {
        registration(&self.rows, SAM).unwrap().unwrap()
    }

    /// Up to and with a step.
    fn upto(&mut self, what: What) {
        let steps: [(What, DirectoryCommand); 5] = [
            (What::Applied, apply().into()),
            (What::Verified, verify(CHECKER.0).into()),
            (What::Sponsored, sponsor(SPONSORS.0).into()),
            (What::Granted, grant(MANAGER.0).into()),
            (What::Issued, issue(AGENT.0).into()),
        ];
        for (_, command) in steps.into_iter().take_while(|(step, _)| *step as u8 <= what as u8) {
            self.done(command);
        }
    }
}

fn open() -> SetRules {
    SetRules { open: 1, until: u64::MAX, reason: "the first ones".into(), ..Default::default() }
}

fn password() -> Authenticator {
    Authenticator {
        kind: users::Kind::Password as u8,
        salt: Bytes::from_static(&[1; 16]),
        rounds: secrets::LEAST_ROUNDS,
        hash: Bytes::from_static(&[2; 64]),
        ..Default::default()
    }
}

fn apply() -> Apply {
    let person = SetUser {
        uid: SAM.into(),
        given: "Sam".into(),
        family: "Carer".into(),
        email: "sam@example.org".into(),
        born: 19_900_401,
        ..Default::default()
    };
    Apply { person, ni: "qq 12 34 56 c".into(), ..Default::default() }
}

fn seen(kinds: &[&str]) -> Vec<Evidence> {
    kinds.iter().map(|kind| Evidence { kind: (*kind).into(), on: 20_200_102, ..Default::default() }).collect()
}

fn verify(by: &str) -> Verify {
    let evidence = seen(&["passport", "birth-certificate", "council-tax-bill"]);
    Verify { uid: SAM.into(), by: by.into(), evidence, ..Default::default() }
}

fn sponsor(by: &str) -> Sponsor {
    let position = SetRole {
        ods: "x26".into(),
        role_code: "S8000:G8000:R8001".into(),
        activities: vec![Coded { code: "B0820".into(), ..Default::default() }],
        ..Default::default()
    };
    Sponsor { uid: SAM.into(), by: by.into(), position, ..Default::default() }
}

fn grant(by: &str) -> Grant {
    Grant {
        uid: SAM.into(),
        by: by.into(),
        urp: "656014452199".into(),
        person_org: "656008045199".into(),
        ..Default::default()
    }
}

fn issue(by: &str) -> Issue {
    Issue { uid: SAM.into(), by: by.into(), authenticator: password(), terms: true, ..Default::default() }
}

fn pause(by: &str, resume: bool) -> Pause {
    Pause { uid: SAM.into(), by: by.into(), reason: "a lost card".into(), resume, ..Default::default() }
}

#[test]
fn a_person_is_let_in_with_the_device_that_they_hold() {
    let mut r = Registry::new();
    r.upto(What::Granted);
    let device = || Issue { authenticator: Default::default(), ..issue(AGENT.0) };
    assert_eq!(r.refused(device()), "conflict", "there is none yet");
    let card = Authenticator { kind: 3, certificate: "ab".repeat(32), ..Default::default() };
    r.done(SetAuthenticator { uid: SAM.into(), authenticator: card, ..Default::default() });
    r.done(device());
    assert_eq!(r.state(), State::Active);
}

#[test]
fn the_steps_in_their_order_let_a_person_in_and_each_names_who_did_it() {
    let mut r = Registry::new();
    r.upto(What::Granted);
    assert_eq!(r.state(), State::IdentityVerified, "not before the last step");
    r.done(issue(AGENT.0));
    assert_eq!(r.state(), State::Active);
    let steps = r.row().steps;
    let told: Vec<(&str, &str)> = steps.iter().map(|s| (What::word(s.what), s.by.as_str())).collect();
    let expected = [
        ("applied", ""),
        ("identity-verified", CHECKER.0),
        ("sponsored", SPONSORS.0),
        ("granted", MANAGER.0),
        ("issued", AGENT.0),
    ];
    assert_eq!(told, expected);
    let role = users::role(&r.rows, "656014452199").unwrap().unwrap();
    assert_eq!((role.uid.as_str(), role.ods.as_str(), role.activities[0].code.as_str()), (SAM, "X26", "B0820"));
    let note = r.notes.iter().find(|n| n.interaction == "registration.grant").unwrap();
    assert_eq!((note.object.as_str(), note.outcome.as_str()), (SAM, "ok"));
    let both = format!("{} {} 656014452199 {FRONT}", MANAGER.0, SPONSORS.0);
    assert_eq!(note.other, both, "both people are in the trail, and the other operator");
    let typed: Vec<&str> = steps.iter().map(|s| s.operator.as_str()).collect();
    assert_eq!(typed, [FRONT, FRONT, FRONT, BACK, BACK]);
}

#[test]
fn no_half_registered_person_can_enter() {
    for last in [What::Applied, What::Verified, What::Sponsored, What::Granted] {
        let mut r = Registry::new();
        r.upto(last);
        // Nor by writing the register past the steps: a role, an authenticator, the state itself.
        r.ask(SetUser { uid: SAM.into(), identity_level: 4, ..Default::default() });
        let before = r.state();
        r.ask(StandUser { uid: SAM.into(), state: State::IdentityVerified as u8, ..Default::default() });
        assert_eq!(r.state(), before, "the check is a step, with its documents");
        r.done(open());
        let role = SetRole { urp: "656014452198".into(), person_org: "656008045198".into(), ..sponsor("").position };
        r.done(SetRole { uid: SAM.into(), fresh: true, ..role });
        r.done(SetAuthenticator { uid: SAM.into(), authenticator: password(), ..Default::default() });
        let enter = StandUser { uid: SAM.into(), state: State::Active as u8, ..Default::default() };
        assert_eq!(r.refused(enter), "conflict", "after {last:?}");
        assert_ne!(r.state(), State::Active);
    }
}

#[test]
fn a_step_out_of_its_turn_is_refused() {
    let mut r = Registry::new();
    assert_eq!(r.refused(verify(CHECKER.0)), "not-found");
    r.upto(What::Applied);
    assert_eq!(r.refused(grant(MANAGER.0)), "conflict", "not verified");
    assert_eq!(r.refused(issue(AGENT.0)), "conflict", "not granted");
    assert_eq!(r.refused(pause(MANAGER.0, false)), "conflict", "not active");
    r.done(verify(AGENT.0));
    assert_eq!(r.refused(verify(AGENT.0)), "conflict", "once is enough");
    assert_eq!(r.refused(grant(MANAGER.0)), "conflict", "not sponsored");
    r.done(sponsor(SPONSORS.0));
    r.done(grant(MANAGER.0));
    assert_eq!(r.refused(grant(MANAGER.0)), "conflict", "a position is granted once");
    assert_eq!(r.refused(Issue { terms: false, ..issue(AGENT.0) }), "conflict", "the terms are not accepted");
    assert_eq!(r.state(), State::IdentityVerified);
}

#[test]
fn each_step_is_for_those_who_may() {
    let everyone = [MANAGER, AGENT, SPONSORS, CHECKER, NURSE, BOTH];
    type Step = fn(&str) -> DirectoryCommand;
    let tries: [(What, Step, &[&str]); 4] = [
        (What::Applied, |by| verify(by).into(), &[MANAGER.0, AGENT.0, CHECKER.0, BOTH.0]),
        (What::Verified, |by| sponsor(by).into(), &[SPONSORS.0, BOTH.0]),
        (What::Sponsored, |by| grant(by).into(), &[MANAGER.0, AGENT.0, BOTH.0]),
        (What::Granted, |by| issue(by).into(), &[MANAGER.0, AGENT.0, BOTH.0]),
    ];
    for (before, step, may) in tries {
        for (urp, _) in everyone {
            let mut r = Registry::new();
            r.upto(before);
            let refusal = r.refused(step(urp));
            let expected = if may.contains(&urp) { "" } else { "forbidden" };
            assert_eq!(refusal, expected, "after {before:?} by {urp}");
            assert_eq!(r.notes.last().unwrap().other.split(' ').next(), Some(urp));
        }
        // A role profile that there is not, one that ended, one of somebody suspended.
        let mut r = Registry::new();
        r.upto(before);
        assert_eq!(r.refused(step("656014452999")), "forbidden");
        for (_, uid) in everyone {
            r.done(StandUser { uid: uid.into(), state: State::Suspended as u8, ..Default::default() });
        }
        assert_eq!(r.refused(step(may[0])), "forbidden", "a suspended manager does nothing");
    }
}

#[test]
fn who_sponsors_does_not_grant_and_nobody_acts_for_himself() {
    let mut r = Registry::new();
    r.upto(What::Verified);
    r.done(sponsor(BOTH.0));
    assert_eq!(r.refused(grant(BOTH.0)), "forbidden", "the same person");
    assert!(r.row().wanted.is_some(), "and the position waits for somebody else");
    r.done(grant(AGENT.0));
    r.done(issue(AGENT.0));
    // Sam becomes a registration manager, and cannot serve himself.
    let position = SetRole {
        role_code: "S8001:G8002:R5080".into(),
        activities: vec![Coded { code: SPONSOR.into(), ..Default::default() }],
        ..sponsor("").position
    };
    r.done(Sponsor { position: position.clone(), ..sponsor(SPONSORS.0) });
    r.done(Grant { urp: "656014452200".into(), ..grant(MANAGER.0) });
    assert_eq!(r.refused(Sponsor { position, ..sponsor("656014452200") }), "forbidden");
    r.done(sponsor(SPONSORS.0));
    for own in [
        DirectoryCommand::from(grant("656014452200")),
        issue("656014452200").into(),
        pause("656014452200", false).into(),
    ] {
        assert_eq!(r.refused(own), "forbidden");
    }
    let elsewhere = SetRole { ods: "A83001".into(), ..sponsor("").position };
    assert_eq!(
        r.refused(Sponsor { position: elsewhere, ..sponsor(SPONSORS.0) }),
        "forbidden",
        "of another organisation"
    );
}

#[test]
fn one_operator_account_is_not_two_people() {
    for alone in [FRONT, BACK] {
        let mut r = Registry::new();
        r.upto(What::Applied);
        // The same account for all: after the check, after the sponsor's step, and after both.
        r.done(verify(CHECKER.0));
        r.operator = alone;
        r.done(sponsor(SPONSORS.0));
        r.operator = FRONT;
        let refused = r.ask(grant(MANAGER.0));
        assert_eq!(refused.refusal, "forbidden");
        assert!(refused.text.contains("two operator accounts") && refused.text.contains(FRONT), "{}", refused.text);
        assert!(users::roles_of(&r.rows, SAM).unwrap().is_empty() && r.row().wanted.is_some(), "and nothing happened");
        r.operator = BACK;
        assert_eq!(r.refused(grant(MANAGER.0)), if alone == BACK { "forbidden" } else { "" });
        r.operator = "uid:1003";
        r.ask(grant(MANAGER.0));
        let last = r.row().last(What::Granted).cloned().unwrap();
        assert!(!last.alone && last.operator != FRONT, "{last:?}");
        r.done(issue(AGENT.0));
        assert_eq!(r.state(), State::Active);
    }
}

#[test]
fn a_site_with_one_operator_says_so_and_each_such_grant_shows_it() {
    let mut r = Registry::new();
    r.operator = FRONT;
    r.upto(What::Sponsored);
    let one = SetRules { one_operator: 1, ..Default::default() };
    assert_eq!(r.refused(one.clone()), "invalid", "a reason is needed");
    r.done(SetRules { reason: "a practice of three".into(), ..one });
    let note = r.notes.last().unwrap();
    let told = (note.interaction.as_str(), note.object.as_str(), note.purpose.as_str());
    assert_eq!(told, ("registration.rules", "one-operator=on", "a practice of three"));
    r.done(grant(MANAGER.0));
    assert_eq!(r.notes.last().unwrap().detail, "one operator");
    assert!(r.row().last(What::Granted).unwrap().alone, "and the registration keeps it");
    // Still two people.
    r.done(sponsor(BOTH.0));
    assert_eq!(r.refused(Grant { urp: "656014452200".into(), ..grant(BOTH.0) }), "forbidden");
    r.done(SetRules { one_operator: 2, ..Default::default() });
    assert_eq!(r.refused(Grant { urp: "656014452200".into(), ..grant(MANAGER.0) }), "forbidden");
}

#[test]
fn a_site_chooses_the_activities_of_sponsors_and_checkers() {
    let mut r = Registry::new();
    r.upto(What::Applied);
    let own = SetRules { sponsors: vec!["b1700".into()], checkers: vec!["B0062".into()], ..Default::default() };
    r.done(own);
    assert_eq!(Rules::of(&r.rows).unwrap().sponsors(), ["B1700"]);
    assert_eq!(r.refused(verify(CHECKER.0)), "forbidden", "our own code holds no more");
    assert_eq!(r.refused(verify(NURSE.0)), "forbidden");
    // What a job role has by itself counts as what was added to it.
    let baseline =
        |activity: &str| SetBaseline { job: "R8001".into(), activities: vec![activity.into()], ..Default::default() };
    r.done(baseline("B0062"));
    r.done(verify(NURSE.0));
    assert_eq!(r.refused(sponsor(NURSE.0)), "forbidden");
    r.done(baseline("B1700"));
    r.done(sponsor(NURSE.0));
    assert_eq!(r.refused(SetRules { sponsors: vec!["R8001".into()], ..Default::default() }), "invalid");
}

#[test]
fn who_was_in_before_gets_the_next_position_by_steps() {
    let mut r = Registry::new();
    let of = |uid: &str| Sponsor { uid: uid.into(), ..sponsor(SPONSORS.0) };
    r.done(of(NURSE.1));
    r.done(Grant { uid: NURSE.1.into(), ..grant(MANAGER.0) });
    assert_eq!(users::roles_of(&r.rows, NURSE.1).unwrap().len(), 2);
    // A suspension ends as before.
    for resume in [false, true] {
        r.done(Pause { uid: NURSE.1.into(), ..pause(MANAGER.0, resume) });
    }
    assert!(users::user(&r.rows, NURSE.1).unwrap().unwrap().is_active());
    r.done(SetUser { uid: SAM.into(), given: "S".into(), family: "C".into(), fresh: true, ..Default::default() });
    assert_eq!(r.refused(of(SAM)), "not-found", "who was never in applies first");
}

#[test]
fn one_person_has_one_user_id() {
    let mut r = Registry::new();
    r.upto(What::Applied);
    let again = |change: fn(&mut Apply)| {
        let mut second = apply();
        second.person.uid = "656005750105".into();
        change(&mut second);
        second
    };
    for (what, second) in [
        ("everything", again(|_| ())),
        ("name and birth date", again(|a| (a.person.email, a.ni) = (String::new(), String::new()))),
        (
            "in other letters",
            again(|a| (a.person.given, a.ni, a.person.email) = ("SAM ".into(), String::new(), String::new())),
        ),
        ("e-mail", again(|a| (a.person.given, a.ni) = ("Other".into(), String::new()))),
        ("National Insurance number", again(|a| (a.person.given, a.person.email) = ("Other".into(), String::new()))),
    ] {
        let reply = r.ask(second);
        assert_eq!(reply.refusal, "conflict", "the same {what}");
        assert!(reply.text.contains(SAM), "and it says who");
    }
    r.done(again(|a| (a.person.given, a.person.email, a.ni) = ("Alex".into(), String::new(), String::new())));
    let twin = again(|a| {
        a.person.uid = "656005750106".into();
        a.others = vec![SAM.into()];
    });
    r.done(twin);
    // A name that changes is found by the new one.
    r.done(SetUser { uid: SAM.into(), family: "Nurse".into(), email: "s@example.org".into(), ..Default::default() });
    let married = again(|a| {
        (a.person.uid, a.person.family) = ("656005750107".into(), "Nurse".into());
        (a.person.email, a.ni) = (String::new(), String::new());
    });
    assert_eq!(r.refused(married), "conflict");
    for wrong in [again(|a| a.person.born = 0), again(|a| a.ni = "QQ123456Z".into())] {
        assert_eq!(r.refused(Apply { others: vec![SAM.into(), "656005750106".into()], ..wrong }), "invalid");
    }
}

#[test]
fn an_identity_needs_three_documents_with_and_without_a_photo() {
    let today = 20_261_122;
    for (kinds, enough) in [
        (&["passport", "birth-certificate", "council-tax-bill"][..], true),
        (&["passport", "driving-licence", "payslip"], true),
        (&[REMOTE], true),
        (&[], false),
        (&["passport", "birth-certificate"], false),
        (&["passport", "driving-licence", "armed-forces-card"], false),
        (&["birth-certificate", "payslip", "utility-bill"], false),
        (&["passport", "passport", "payslip"], false),
        (&["passport", "payslip", "library-card"], false),
    ] {
        assert_eq!(lacking(&seen(kinds), today).is_none(), enough, "{kinds:?}");
    }
    let mut early = seen(&["passport", "payslip", "utility-bill"]);
    early[0].on = today + 1;
    assert!(lacking(&early, today).is_some(), "issued tomorrow");
    assert!(KINDS.iter().filter(|(_, photo)| *photo).count() >= 3);
    let mut r = Registry::new();
    r.upto(What::Applied);
    assert_eq!(r.refused(Verify { evidence: seen(&["passport"]), ..verify(CHECKER.0) }), "invalid");
    assert_eq!(r.state(), State::Applied);
    r.done(verify(CHECKER.0));
    assert_eq!(r.row().evidence, verify("").evidence);
    assert_eq!(users::user(&r.rows, SAM).unwrap().unwrap().identity_level, 3);
}

#[test]
fn a_person_is_suspended_resumed_and_leaves() {
    let mut r = Registry::new();
    r.upto(What::Issued);
    assert_eq!(r.refused(Pause { reason: " ".into(), ..pause(MANAGER.0, false) }), "invalid", "a reason is needed");
    r.done(pause(MANAGER.0, false));
    assert_eq!(r.state(), State::Suspended);
    assert_eq!(r.notes.last().unwrap().interaction, "registration.suspend");
    r.done(pause(AGENT.0, true));
    assert_eq!(r.state(), State::Active);
    let end = End { uid: SAM.into(), by: MANAGER.0.into(), reason: "moved".into(), ..Default::default() };
    r.done(End { urp: "656014452199".into(), ..end.clone() });
    assert!(!users::role(&r.rows, "656014452199").unwrap().unwrap().is_open(r.now), "the role profile is over");
    assert_eq!(users::authenticators_of(&r.rows, SAM).unwrap().len(), 1, "the authenticator is not");
    assert_eq!(r.refused(end.clone()), "not-found", "nothing is open any more");
    r.done(End { leaving: true, ..end });
    assert_eq!(r.state(), State::Closed);
    assert!(users::authenticators_of(&r.rows, SAM).unwrap().is_empty());
    assert!(users::user(&r.rows, SAM).unwrap().is_some(), "the user id stays");
    assert_eq!(r.refused(sponsor(SPONSORS.0)), "conflict", "for ever");
}

#[test]
fn steps_that_pile_up_hide_nobody_who_sponsored_and_end_no_registration() {
    let mut r = Registry::new();
    r.upto(What::Issued);
    // Somebody else sponsors the first position again, then the one who may do both sponsors and waits for that to be forgotten.
    r.done(sponsor(BOTH.0));
    for n in 0..98 {
        r.done(pause(AGENT.0, n % 2 == 1));
    }
    assert_eq!(r.row().steps.len(), MOST_STEPS);
    assert!(r.row().is_complete(), "what let the person in is not forgotten");
    assert_eq!(r.row().last(What::Sponsored).map(|step| step.by.as_str()), Some(BOTH.0));
    let granted = Grant { urp: "656014452200".into(), ..grant(BOTH.0) };
    assert_eq!(r.refused(granted.clone()), "forbidden", "the same person");
    // Nor does it go by the list of steps at all: a row whose sponsor is not known is granted by nobody.
    let mut row = r.row();
    row.steps.retain(|step| step.what != What::Sponsored as u8 || step.by != BOTH.0);
    r.rows.0.insert(key(SAM).build(), row.encode());
    assert_eq!(r.refused(granted.clone()), "forbidden", "the row knows who sponsored");
    r.done(Grant { by: MANAGER.0.into(), ..granted.clone() });
    let note = r.notes.last().unwrap();
    assert_eq!(note.other, format!("{} {} 656014452200 {FRONT}", MANAGER.0, BOTH.0), "and so does the trail");
    r.done(sponsor(SPONSORS.0));
    let row = Registration { sponsor: String::new(), sponsored_by: String::new(), ..r.row() };
    r.rows.0.insert(key(SAM).build(), row.encode());
    assert_eq!(r.refused(Grant { urp: "656014452201".into(), ..grant(MANAGER.0) }), "forbidden");
}
