//! People on values: nobody enters half-registered, ids are for ever, secrets stay where they are, codes are those of the RFC.

use super::*;
use crate::services::directory::registration::rules::SetRules;
use crate::{
    access::caller::Caller,
    engine::{
        Command, SITE,
        draft::{Decide, Draft, MapStore, Overlay, Stamp},
    },
    services::directory::{
        Directory,
        command::{DirectoryCommand, DirectoryReply, SetOrganisation, SetSystem},
    },
};
use command::{DropAuthenticator, EndRole, SetAuthenticator, SetRole, SetUser, StandUser};

const UID: &str = "656005750104";
const URP: &str = "656014452101";

struct Registry(MapStore, u64);

impl Registry {
    fn new() -> Registry {
        let mut registry = Registry(MapStore::default(), 1_000);
        registry.done(SetOrganisation { ods: "X26".into(), name: "A hospital".into(), ..Default::default() });
        registry.done(open(u64::MAX));
        registry
    }

    fn ask(&mut self, command: impl Into<DirectoryCommand>) -> DirectoryReply {
        self.1 += 1;
        let overlay = Overlay::default();
        let copy = MapStore(self.0.0.clone());
        let mut draft = Draft::new(&copy, &overlay, &copy);
        let stamp = Stamp { now: self.1, partition: SITE, partitions: 1, sequence: self.1, entropy: [0; 16] };
        let caller = Caller { operator: "uid:0".into(), ..Default::default() };
        let command = Command { payload: command.into().encode(), caller, ..Default::default() };
        let reply = Directory.decide(&mut draft, &stamp, &command).unwrap();
        let decided = draft.finish();
        assert_eq!(decided.audit.len(), 1);
        self.0.apply(decided.rows);
        DirectoryReply::of(&reply).unwrap()
    }

    #[track_caller]
    fn done(&mut self, command: impl Into<DirectoryCommand>) {
        let reply = self.ask(command);
        assert!(reply.is_done(), "{}: {}", reply.refusal, reply.text);
    }

    fn stand(&mut self, state: State) -> String {
        self.ask(StandUser { uid: UID.into(), state: state as u8, ..Default::default() }).text
    }

    fn person(&mut self) {
        self.done(SetUser {
            uid: UID.into(),
            given: "Sam".into(),
            family: "Carer".into(),
            fresh: true,
            ..Default::default()
        });
    }

    fn role(&mut self) {
        self.done(SetRole {
            urp: URP.into(),
            uid: UID.into(),
            ods: "x26".into(),
            person_org: "656008045105".into(),
            role_code: "S8000:G8000:R8001".into(),
            activities: vec![Coded { code: "B0825".into(), ..Default::default() }],
            fresh: true,
            ..Default::default()
        });
    }

    fn password(&mut self) {
        let authenticator = Authenticator {
            kind: Kind::Password as u8,
            salt: Bytes::from_static(&[1; 16]),
            rounds: secrets::LEAST_ROUNDS,
            hash: Bytes::from_static(&[2; 64]),
            ..Default::default()
        };
        self.done(SetAuthenticator { uid: UID.into(), authenticator, ..Default::default() });
    }

    fn verified(&mut self) {
        self.done(SetUser { uid: UID.into(), identity_level: 4, ..Default::default() });
        assert_eq!(self.stand(State::IdentityVerified), "");
    }
}

/// The register takes people without steps until then; not any more for 0.
fn open(until: u64) -> SetRules {
    SetRules { open: if until == 0 { 2 } else { 1 }, until, reason: "the first ones".into(), ..Default::default() }
}

#[test]
fn where_the_register_is_closed_nobody_is_let_in_and_no_role_is_opened_by_an_operator_alone() {
    let mut r = Registry::new();
    r.person();
    r.role();
    r.password();
    r.done(open(0));
    let role =
        |urp: &str| SetRole { urp: urp.into(), fresh: urp != URP, ..as_stored(&role(&r.0, URP).unwrap().unwrap()) };
    let (second, wider) = (role("656014452102"), SetRole { activities: vec![], ..role(URP) });
    let same = role(URP);
    for refused in [second.clone(), wider] {
        assert_eq!(r.ask(refused).refusal, "forbidden");
    }
    r.done(same);
    r.done(SetUser { uid: UID.into(), identity_level: 4, ..Default::default() });
    let verified = || StandUser { uid: UID.into(), state: State::IdentityVerified as u8, ..Default::default() };
    let enter = || StandUser { uid: UID.into(), state: State::Active as u8, ..Default::default() };
    let leave = || StandUser { uid: UID.into(), state: State::Suspended as u8, ..Default::default() };
    assert_eq!(r.ask(verified()).refusal, "forbidden");
    r.done(open(r.1 + 4));
    r.done(verified());
    r.1 += 10;
    let refused = r.ask(enter());
    assert_eq!(refused.refusal, "forbidden", "the time is over");
    assert!(refused.text.contains("spine registration"), "{}", refused.text);
    r.done(open(u64::MAX));
    r.done(enter());
    r.done(open(0));
    // Who was in comes back after a suspension.
    r.done(leave());
    r.done(enter());
    // To open it needs a reason, and a moment to come.
    assert_eq!(r.ask(SetRules { reason: String::new(), ..open(u64::MAX) }).refusal, "invalid");
    assert_eq!(r.ask(open(1)).refusal, "invalid");
}

fn as_stored(row: &RoleProfile) -> SetRole {
    let row = row.clone();
    SetRole {
        uid: row.uid,
        ods: row.ods,
        person_org: row.person_org,
        role_code: row.role_code,
        role_name: row.role_name,
        activities: row.activities,
        ..Default::default()
    }
}

#[test]
fn nobody_becomes_active_before_everything_is_there() {
    let mut r = Registry::new();
    r.person();
    assert_eq!(r.stand(State::Active), "a user who is applied cannot become active");
    assert_eq!(r.stand(State::IdentityVerified), "the identity has no level; verify it first");
    r.verified();
    assert_eq!(r.stand(State::Active), "the user has no open role profile");
    r.role();
    assert_eq!(r.stand(State::Active), "the user has no authenticator");
    r.password();
    assert_eq!(r.stand(State::Active), "");
    assert!(user(&r.0, UID).unwrap().unwrap().is_active());
    assert_eq!(r.stand(State::Suspended), "");
    assert_eq!(r.stand(State::IdentityVerified), "a user who is suspended cannot become identity-verified");
    assert_eq!(r.stand(State::Active), "");
}

#[test]
fn a_closed_user_keeps_the_id_and_nothing_to_enter_with() {
    let mut r = Registry::new();
    r.person();
    r.verified();
    r.role();
    r.password();
    assert_eq!(r.stand(State::Active), "");
    assert_eq!(r.stand(State::Closed), "");
    assert!(authenticators_of(&r.0, UID).unwrap().is_empty());
    assert!(open_roles(&r.0, UID, r.1).unwrap().is_empty() && roles_of(&r.0, UID).unwrap().len() == 1);
    assert_eq!(r.stand(State::Active), "a user who is closed cannot become active");
    let again = SetUser { uid: UID.into(), given: "A".into(), family: "B".into(), fresh: true, ..Default::default() };
    assert_eq!(r.ask(again).refusal, "conflict");
    let renamed = SetUser { uid: UID.into(), given: "A".into(), ..Default::default() };
    assert_eq!(r.ask(renamed).refusal, "conflict");
}

#[test]
fn a_role_profile_is_of_one_person_in_one_organisation_and_ends_once() {
    let mut r = Registry::new();
    r.person();
    r.role();
    let row = role(&r.0, URP).unwrap().unwrap();
    assert_eq!(row.role_name, "\"Clinical\":\"Clinical Provision\":\"Nurse Access Role\"");
    assert_eq!(row.person_org, "656008045105");
    let set = |change: &dyn Fn(&mut SetRole)| {
        let mut role = SetRole {
            urp: "656014452102".into(),
            uid: UID.into(),
            ods: "X26".into(),
            role_code: "S8000:G8000:R8001".into(),
            ..Default::default()
        };
        change(&mut role);
        role
    };
    assert_eq!(r.ask(set(&|role| role.ods = "Y99".into())).refusal, "not-found");
    assert_eq!(r.ask(set(&|role| role.role_code = "R8001".into())).refusal, "invalid");
    assert_eq!(r.ask(set(&|role| role.role_code = "S1:G1:R1".into())).refusal, "invalid");
    assert_eq!(r.ask(set(&|role| role.uid = "656005750199".into())).refusal, "not-found");
    // A second role in the same organisation is of the same person there.
    r.done(set(&|_| {}));
    assert_eq!(role(&r.0, "656014452102").unwrap().unwrap().person_org, "656008045105");
    assert_eq!(open_roles(&r.0, UID, r.1).unwrap().len(), 2);
    r.done(EndRole { urp: URP.into(), ..Default::default() });
    let ended = role(&r.0, URP).unwrap().unwrap().closes;
    r.done(EndRole { urp: URP.into(), ..Default::default() });
    assert_eq!(role(&r.0, URP).unwrap().unwrap().closes, ended);
    assert_eq!(open_roles(&r.0, UID, r.1).unwrap().len(), 1);
}

#[test]
fn only_an_operator_and_only_good_authenticators() {
    let mut r = Registry::new();
    r.person();
    let weak = Authenticator { kind: 1, rounds: 1, salt: "x".into(), hash: "y".into(), ..Default::default() };
    let set = |authenticator| SetAuthenticator { uid: UID.into(), authenticator, ..Default::default() };
    assert_eq!(r.ask(set(weak)).refusal, "invalid");
    assert_eq!(r.ask(set(Authenticator { kind: 9, ..Default::default() })).refusal, "invalid");
    r.done(set(secrets::one_time([7; 20])));
    let told = format!("{:?}", authenticator(&r.0, UID, Kind::OneTimeCode).unwrap().unwrap());
    assert!(!told.contains(&secrets::to_base32(&[7; 20])), "{told}");
    r.done(DropAuthenticator { uid: UID.into(), serial: "totp".into(), ..Default::default() });
    assert!(authenticators_of(&r.0, UID).unwrap().is_empty());
}

#[test]
fn a_certificate_is_a_systems_or_a_persons() {
    const CERTIFICATE: &str = "aa11bb22cc33dd44ee55ff6600112233445566778899aabbccddeeff00112233";
    let mut r = Registry::new();
    r.person();
    let card = Authenticator { kind: Kind::Smartcard as u8, certificate: CERTIFICATE.into(), ..Default::default() };
    let bind = SetAuthenticator { uid: UID.into(), authenticator: card, ..Default::default() };
    let system = SetSystem {
        asid: "200000000101".into(),
        ods: "X26".into(),
        name: "PAS".into(),
        certificates: vec![CERTIFICATE.into()],
        ..Default::default()
    };
    r.done(bind.clone());
    let reply = r.ask(system.clone());
    assert_eq!((reply.refusal.as_str(), reply.text.contains("smartcard")), ("conflict", true), "{}", reply.text);
    let serial = devices::smartcard_serial(CERTIFICATE);
    r.done(DropAuthenticator { uid: UID.into(), serial, ..Default::default() });
    r.done(system);
    assert_eq!(r.ask(bind).refusal, "conflict");
}

#[test]
fn however_many_devices_there_are_a_password_is_seen_and_taken_away() {
    let mut r = Registry::new();
    r.person();
    for n in 0..MAX_AUTHENTICATORS {
        let certificate = format!("{n:064x}");
        let card = Authenticator { kind: Kind::Smartcard as u8, certificate, ..Default::default() };
        r.done(SetAuthenticator { uid: UID.into(), authenticator: card, ..Default::default() });
    }
    r.password();
    let one_time = secrets::one_time([7; 20]);
    r.done(SetAuthenticator { uid: UID.into(), authenticator: one_time, ..Default::default() });
    for serial in ["password", "totp"] {
        r.done(DropAuthenticator { uid: UID.into(), serial: serial.into(), ..Default::default() });
    }
    assert!(authenticator(&r.0, UID, Kind::Password).unwrap().is_none());
    assert!(authenticator(&r.0, UID, Kind::OneTimeCode).unwrap().is_none());
}

/// RFC 6238, appendix B (SHA-1), cut to six digits.
#[test]
fn codes_agree_with_the_standard_and_are_good_once() {
    let key = b"12345678901234567890";
    for (seconds, wanted) in [(59, "287082"), (1_111_111_109, "081804"), (20_000_000_000, "353130")] {
        assert_eq!(secrets::code(key, seconds / 30), wanted);
    }
    let secret = secrets::to_base32(key);
    assert_eq!(secret, "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
    assert_eq!(secrets::totp_key("gezd gnbv gy3t qojq GEZDGNBVGY3TQOJQ").unwrap(), key);
    let now = 59_000;
    assert_eq!(secrets::step_of(&secret, "287 082", now, 0), Some(1));
    assert_eq!(secrets::step_of(&secret, "287082", now, 1), None, "used");
    assert_eq!(secrets::step_of(&secret, "287082", now + 90_000, 0), None, "old");
    assert_eq!(secrets::step_of(&secret, "", now, 0), None);
}

#[test]
fn a_password_is_itself_and_nobody_has_none() {
    let row = secrets::hash("correct horse battery", [3; 16]);
    let kept = secrets::Password::of(Some(&row));
    assert!(kept.is("correct horse battery") && !kept.is("correct horse batterz"));
    assert!(!secrets::Password::of(None).is(""));
    assert!(secrets::weakness("short").is_some() && secrets::weakness("aaaaaaaaaaaaaaaa").is_some());
    assert!(secrets::weakness("correct horse battery").is_none());
    assert!(is_id(&draw_id([0; 8])) && is_id(&draw_id([255; 8])));
}
