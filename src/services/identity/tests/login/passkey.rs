//! Passkeys and smartcards on values, with a passkey in software that can lie: enrolled with a code, good for level 3, refused for
//! every reason there is, and worth nothing any more once taken away.

use super::*;
use crate::services::directory::users::{
    command::{DropAuthenticator, InvitePasskey, SetAuthenticator, StandUser},
    devices,
};
use crate::services::directory::{
    Directory,
    command::{DirectoryCommand, DirectoryReply},
};
use crate::services::identity::{
    command::IdentityCommand,
    login::{
        command::{LoginReply, UseSession},
        rows::place_bytes,
    },
    tokens::Place,
};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};

const CODE: &str = "ABCD-EFGH-JKLM-NPQR";
const UID_2: &str = "656005750110";
const AAL3_SCOPE: &str = "urn:nhsd:apim:user-nhs-cis2:aal3:personal-demographics-service";
const CARD: &str = "aa11bb22cc33dd44ee55ff6600112233445566778899aabbccddeeff00112233";

/// User present, user verified.
const GOOD: u8 = 0x05;

/// An authenticator.
struct Passkey {
    key: EcdsaKeyPair,
    id: Vec<u8>,
    handle: String,
    counter: u32,
    flags: u8,
    origin: String,
    rp_id: String,
    kind: &'static str,
    more: Value,
}

fn bytes_head(major: u8, length: usize) -> Vec<u8> {
    let major = major << 5;
    match length {
        0..=23 => vec![major | length as u8],
        24..=255 => vec![major | 24, length as u8],
        _ => vec![major | 25, (length >> 8) as u8, length as u8],
    }
}

fn cbor_bytes(bytes: &[u8]) -> Vec<u8> {
    [bytes_head(2, bytes.len()), bytes.to_vec()].concat()
}

impl Passkey {
    fn new(id: &[u8]) -> Passkey {
        Passkey {
            key: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap(),
            id: id.to_vec(),
            handle: String::new(),
            counter: 1,
            flags: GOOD,
            origin: URL.into(),
            rp_id: "api.spine.test".into(),
            kind: "",
            more: json!({}),
        }
    }

    fn client_data(&self, kind: &str, challenge: &str) -> Vec<u8> {
        let kind = if self.kind.is_empty() { kind } else { self.kind };
        let mut data = json!({"type": kind, "challenge": challenge, "origin": self.origin, "crossOrigin": false});
        data.as_object_mut().unwrap().extend(self.more.as_object().unwrap().clone());
        data.to_string().into_bytes()
    }

    fn data(&self, more: u8) -> Vec<u8> {
        let head = [tokens::sha256(self.rp_id.as_bytes()).to_vec(), vec![self.flags | more]].concat();
        [head, self.counter.to_be_bytes().to_vec()].concat()
    }

    fn cose(&self) -> Vec<u8> {
        let point = self.key.public_key().as_ref();
        [b"\xa5\x01\x02\x03\x26\x20\x01\x21".to_vec(), cbor_bytes(&point[1..33]), vec![0x22], cbor_bytes(&point[33..])]
            .concat()
    }

    /// `navigator.credentials.create`: client data and attestation object.
    fn create(&mut self, options: &Value) -> (String, String) {
        self.handle = options["user"]["id"].as_str().unwrap().into();
        let client = self.client_data("webauthn.create", options["challenge"].as_str().unwrap());
        let length = (self.id.len() as u16).to_be_bytes();
        let data = [self.data(0x40), vec![0; 16], length.to_vec(), self.id.clone(), self.cose()].concat();
        let object = [b"\xa3\x63fmt\x64none\x67attStmt\xa0\x68authData".to_vec(), cbor_bytes(&data)].concat();
        (jwt::to_base64url(&client), jwt::to_base64url(&object))
    }

    /// `navigator.credentials.get`: the fields of the page's form.
    fn get(&mut self, challenge: &str) -> Vec<(&'static str, String)> {
        self.counter += 1;
        let client = self.client_data("webauthn.get", challenge);
        let data = self.data(0);
        let signed = [data.clone(), tokens::sha256(&client).to_vec()].concat();
        let signature = self.key.sign(&FixedByteRandom { byte: 7 }, &signed).unwrap();
        vec![
            ("credential", jwt::to_base64url(&self.id)),
            ("client_data", jwt::to_base64url(&client)),
            ("authenticator_data", jwt::to_base64url(&data)),
            ("signature", jwt::to_base64url(signature.as_ref())),
            ("user_handle", self.handle.clone()),
        ]
    }
}

impl Told {
    fn options(&self) -> Value {
        let at = self.text.find("data-options=\"").unwrap_or_else(|| panic!("no options in {self:?}")) + 14;
        let text = self.text[at..].split('"').next().unwrap().replace("&quot;", "\"");
        serde_json::from_str(&text).unwrap()
    }
}

fn command(site: &mut Site, command: impl Into<DirectoryCommand>) -> DirectoryReply {
    let mut command = Command { payload: command.into().encode(), ..Default::default() };
    command.caller.operator = "uid:0".into();
    let reply = site.decide_site(|_, draft, stamp| Directory.decide(draft, stamp, &command).unwrap());
    DirectoryReply::of(&reply).unwrap()
}

fn invite(site: &mut Site) {
    let code = Bytes::copy_from_slice(&devices::code_hash(CODE));
    let reply = command(site, InvitePasskey { uid: UID.into(), code, life: 600_000, ..Default::default() });
    assert!(reply.is_done(), "{}", reply.text);
}

fn a_site_with_level_3(partitions: u16) -> Site {
    let mut site = a_site(partitions);
    let mut application = an_application();
    application.products[0].scopes = vec![USER_SCOPE.into(), AAL3_SCOPE.into()];
    application.redirect_uris = vec![BACK.into()];
    application.secret_salt = Bytes::from_static(&[7; 16]);
    application.secret_hash =
        Bytes::copy_from_slice(&tokens::sha256(&[&[7; 16][..], CLIENT_SECRET.as_bytes()].concat()));
    site.register(CLIENT, application);
    site
}

fn at(path: &str) -> String {
    format!("{ISSUER_PATH}{path}")
}

/// The page that shows what to make.
fn begin_enrolment(site: &mut Site, browser: &mut Browser, password: &str) -> Told {
    let code = code_at(site);
    let fields = [("user", UID), ("code", "abcdefghjklmnpqr"), ("password", password), ("totp", &code)];
    browser.post(site, &at("/passkey/begin"), &fields)
}

fn end_enrolment(site: &mut Site, browser: &mut Browser, page: &Told, passkey: &mut Passkey) -> Told {
    let (client, attestation) = passkey.create(&page.options());
    let ticket = page.hidden("ticket");
    let fields = [("ticket", ticket.as_str()), ("client_data", &client), ("attestation", &attestation)];
    browser.post(site, &at("/passkey/done"), &fields)
}

fn enrol(site: &mut Site, passkey: &mut Passkey) {
    invite(site);
    let mut browser = Browser::default();
    let page = begin_enrolment(site, &mut browser, PASSWORD);
    assert_eq!(page.status, 200, "{page:?}");
    let done = end_enrolment(site, &mut browser, &page, passkey);
    assert_eq!(done.status, 200, "{done:?}");
    assert!(done.text.contains("Your passkey is ready"));
}

fn authorize(site: &mut Site, browser: &mut Browser, acr: &str) -> Told {
    let url = format!(
        "{ISSUER_PATH}/authorize?client_id={CLIENT}&redirect_uri={}&response_type=code&scope=openid&state=s-3{acr}",
        encode(BACK)
    );
    browser.get(site, &url)
}

/// The passkey's page, reached by the log-in page's button.
fn passkey_page(site: &mut Site, browser: &mut Browser, acr: &str) -> Told {
    let page = authorize(site, browser, acr);
    assert!(page.text.contains("Log in with a passkey"), "{page:?}");
    let ticket = page.hidden("ticket");
    browser.post(site, &at("/authorize/passkey"), &[("ticket", &ticket)])
}

fn show(site: &mut Site, browser: &mut Browser, ticket: &str, answer: &[(&'static str, String)]) -> Told {
    let mut fields = vec![("ticket", ticket)];
    fields.extend(answer.iter().map(|(n, v)| (*n, v.as_str())));
    browser.post(site, &at("/authorize/passkey"), &fields)
}

fn log_in(site: &mut Site, browser: &mut Browser, passkey: &mut Passkey, acr: &str) -> Told {
    let page = passkey_page(site, browser, acr);
    let answer = passkey.get(page.options()["challenge"].as_str().unwrap());
    show(site, browser, &page.hidden("ticket"), &answer)
}

fn claims(site: &mut Site, sent: &Told) -> Value {
    let code = sent.parameter("code");
    let fields = [
        ("grant_type", "authorization_code"),
        ("client_id", CLIENT),
        ("client_secret", CLIENT_SECRET),
        ("redirect_uri", BACK),
        ("code", &code),
    ];
    let told = Browser::default().post(site, &at("/access_token"), &fields);
    let token = text(&told, "id_token");
    let part = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&jwt::from_base64url(part).unwrap()).unwrap()
}

#[test]
fn a_passkey_is_enrolled_with_a_code_and_proves_level_3() {
    for partitions in [1, 3] {
        let mut site = a_site_with_level_3(partitions);
        let mut passkey = Passkey::new(b"credential-1");
        enrol(&mut site, &mut passkey);
        assert!(site.notes.iter().any(|n| n.interaction == "identity.passkey.enrol" && n.detail.contains("signed in")));
        for (acr, named) in [("", "AAL3_ANY"), ("&acr_values=AAL3_FIDO2", "AAL3_FIDO2")] {
            let sent = log_in(&mut site, &mut Browser::default(), &mut passkey, acr);
            assert_eq!(sent.status, 303, "{sent:?}");
            let told = claims(&mut site, &sent);
            assert_eq!((told["sub"].as_str(), told["acr"].as_str()), (Some(UID), Some(named)));
            assert_eq!(told["amr"], json!(["FIDO2"]));
            assert_eq!(
                (&told["authentication_assurance_level"], &told["id_assurance_level"]),
                (&json!("3"), &json!("3"))
            );
        }
        // The combined flow: a token at level 3, and at no other.
        let mut browser = Browser::default();
        let page = to_the_page(&mut site, &mut browser);
        let ticket = page.hidden("ticket");
        let page = browser.post(&mut site, &at("/authorize/passkey"), &[("ticket", &ticket)]);
        let answer = passkey.get(page.options()["challenge"].as_str().unwrap());
        let sent = show(&mut site, &mut browser, &page.hidden("ticket"), &answer);
        let back = browser.get(&mut site, &sent.location);
        let token = text(&redeem(&mut site, &back.parameter("code")), "access_token");
        let caller = proven(site.standing(&token)).caller;
        assert_eq!((caller.level.as_str(), caller.scopes), ("aal3", vec![AAL3_SCOPE.to_owned()]));
        // Taken away, it ends what it opened.
        let serial = devices::passkey_serial(b"credential-1");
        command(&mut site, DropAuthenticator { uid: UID.into(), serial, ..Default::default() });
        assert_eq!(site.standing(&token), Standing::Refused(Denied::TokenUnknown));
        assert_eq!(log_in(&mut site, &mut Browser::default(), &mut passkey, "").status, 401);
        assert_eq!(site.notes.last().unwrap().outcome, "unknown_credential");
    }
}

#[test]
fn what_a_passkey_must_not_say_is_refused() {
    type Lie = (&'static str, fn(&mut Passkey), fn(&mut Passkey));
    let lies: [Lie; 9] = [
        ("wrong_origin", |p| p.origin = "https://evil.test".into(), |p| p.origin = URL.into()),
        ("wrong_origin", |p| p.more = json!({"crossOrigin": true}), |p| p.more = json!({})),
        ("wrong_challenge", |p| p.more = json!({"challenge": "AAAA"}), |p| p.more = json!({})),
        ("wrong_site", |p| p.rp_id = "evil.test".into(), |p| p.rp_id = "api.spine.test".into()),
        ("wrong_type", |p| p.kind = "webauthn.create", |p| p.kind = ""),
        ("user_not_verified", |p| p.flags = 0x01, |p| p.flags = GOOD),
        ("user_not_present", |p| p.flags = 0x04, |p| p.flags = GOOD),
        ("copy_flag", |p| p.flags = GOOD | 0x08, |p| p.flags = GOOD),
        ("counter_back", |p| p.counter -= 2, |p| p.counter += 2),
    ];
    for partitions in [1, 3] {
        let mut site = a_site_with_level_3(partitions);
        let mut passkey = Passkey::new(b"credential-1");
        passkey.counter = 10;
        enrol(&mut site, &mut passkey);
        for (word, lie, truth) in &lies {
            lie(&mut passkey);
            let told = log_in(&mut site, &mut Browser::default(), &mut passkey, "");
            assert_eq!((told.status, site.notes.last().unwrap().outcome.as_str()), (401, *word));
            truth(&mut passkey);
            assert_eq!(log_in(&mut site, &mut Browser::default(), &mut passkey, "").status, 303, "after {word}");
        }
        // Another key under the same id.
        let mut foreign = Passkey { handle: passkey.handle.clone(), counter: 100, ..Passkey::new(b"credential-1") };
        assert_eq!(log_in(&mut site, &mut Browser::default(), &mut foreign, "").status, 401);
        assert_eq!(site.notes.last().unwrap().outcome, "wrong_signature");
        // Another person's name on it.
        passkey.handle = jwt::to_base64url(&site.identity.handle(UID_2));
        assert_eq!(log_in(&mut site, &mut Browser::default(), &mut passkey, "").status, 401);
        assert_eq!(site.notes.last().unwrap().outcome, "unknown_credential");
    }
}

#[test]
fn an_answer_is_good_once_and_for_the_page_that_asked() {
    for partitions in [1, 3] {
        let mut site = a_site_with_level_3(partitions);
        let mut passkey = Passkey::new(b"credential-1");
        enrol(&mut site, &mut passkey);
        let mut browser = Browser::default();
        let page = passkey_page(&mut site, &mut browser, "");
        let ticket = page.hidden("ticket");
        let answer = passkey.get(page.options()["challenge"].as_str().unwrap());
        // From another browser, the page itself is worth nothing.
        let mut thief = Browser(BTreeMap::from([("__Host-spine-browser".into(), "x".into())]));
        assert_eq!(show(&mut site, &mut thief, &ticket, &answer).status, 400);
        assert_eq!(show(&mut site, &mut browser, &ticket, &answer).status, 303);
        // Again, by the same page and by another.
        let again = show(&mut site, &mut browser, &ticket, &answer);
        assert_eq!((again.status, site.notes.last().unwrap().outcome.as_str()), (401, "wrong_challenge"));
        let page = passkey_page(&mut site, &mut thief, "");
        assert_eq!(show(&mut site, &mut thief, &page.hidden("ticket"), &answer).status, 401);
        // The page that is shown again asks for something new, and takes that.
        let answer = passkey.get(again.options()["challenge"].as_str().unwrap());
        assert_eq!(show(&mut site, &mut browser, &ticket, &answer).status, 303);
        // Left too long.
        let page = passkey_page(&mut site, &mut thief, "");
        let answer = passkey.get(page.options()["challenge"].as_str().unwrap());
        site.pass(600_001);
        assert_eq!(show(&mut site, &mut thief, &page.hidden("ticket"), &answer).status, 400);
        // A suspended person.
        stand(&mut site, users::State::Suspended);
        assert_eq!(log_in(&mut site, &mut Browser::default(), &mut passkey, "").status, 401);
        assert_eq!(site.notes.last().unwrap().outcome, "not_active");
    }
}

#[test]
fn nobody_enrols_without_the_code_and_the_password() {
    for partitions in [1, 3] {
        let mut site = a_site_with_level_3(partitions);
        let mut browser = Browser::default();
        let mut passkey = Passkey::new(b"credential-1");
        assert_eq!(begin_enrolment(&mut site, &mut browser, PASSWORD).status, 401);
        assert_eq!(site.notes.last().unwrap().outcome, "not_invited");
        invite(&mut site);
        let link = browser.get(&mut site, &format!("{ISSUER_PATH}/passkey?user={UID}&code={CODE}"));
        assert!(link.text.contains(CODE) && !link.text.contains("name=\"password\""));
        // The code alone shows that a password is asked for; a wrong one does not do.
        let asked = browser.post(&mut site, &at("/passkey/begin"), &[("user", UID), ("code", CODE)]);
        assert!(asked.status == 200 && asked.text.contains("name=\"password\""));
        assert_eq!(begin_enrolment(&mut site, &mut browser, "a wrong password").status, 401);
        let page = begin_enrolment(&mut site, &mut browser, PASSWORD);
        assert!(!browser.0.contains_key("__Host-spine-session"), "whose form it was is not known: nobody is logged in");
        passkey.flags = 0x01;
        assert_eq!(end_enrolment(&mut site, &mut browser, &page, &mut passkey).status, 400);
        assert_eq!(site.notes.last().unwrap().outcome, "user_not_verified");
        passkey.flags = GOOD;
        // The page was used up; the code was not.
        assert_eq!(end_enrolment(&mut site, &mut browser, &page, &mut passkey).status, 400);
        site.pass(secrets::STEP_MS);
        let page = begin_enrolment(&mut site, &mut browser, PASSWORD);
        let mut thief = Browser(BTreeMap::from([("__Host-spine-browser".into(), "x".into())]));
        assert_eq!(end_enrolment(&mut site, &mut thief, &page, &mut passkey).status, 400);
        assert_eq!(end_enrolment(&mut site, &mut browser, &page, &mut passkey).status, 200);
        // Once.
        site.pass(secrets::STEP_MS);
        assert_eq!(begin_enrolment(&mut site, &mut browser, PASSWORD).status, 401);
        // A code that has expired, and a passkey that is there already.
        invite(&mut site);
        site.pass(600_000);
        assert_eq!(begin_enrolment(&mut site, &mut browser, PASSWORD).status, 401);
        site.pass(secrets::STEP_MS);
        invite(&mut site);
        let page = begin_enrolment(&mut site, &mut browser, PASSWORD);
        assert_eq!(end_enrolment(&mut site, &mut browser, &page, &mut passkey).status, 409);
        stand(&mut site, users::State::Suspended);
        let code = Bytes::copy_from_slice(&devices::code_hash(CODE));
        let reply = command(&mut site, InvitePasskey { uid: UID.into(), code, life: 600_000, ..Default::default() });
        assert_eq!(reply.refusal, "conflict");
    }
}

#[test]
fn who_has_no_password_yet_enrols_by_the_code_alone() {
    let mut site = a_site_with_level_3(3);
    for kind in [Kind::Password, Kind::OneTimeCode] {
        site.registry.0.remove(&users::authenticator_key(UID, kind.serial()).build());
    }
    stand(&mut site, users::State::IdentityVerified);
    let (mut browser, mut passkey) = (Browser::default(), Passkey::new(b"credential-1"));
    invite(&mut site);
    let page = browser.post(&mut site, &at("/passkey/begin"), &[("user", UID), ("code", CODE)]);
    assert_eq!(end_enrolment(&mut site, &mut browser, &page, &mut passkey).status, 200);
    // It opens nothing before the person is let in.
    assert_eq!(log_in(&mut site, &mut Browser::default(), &mut passkey, "").status, 401);
    stand(&mut site, users::State::Active);
    site.pass(1);
    assert_eq!(log_in(&mut site, &mut browser, &mut passkey, "").status, 303);
    // A further one wants more than the code, which the operator knows too: the first, and not long ago.
    let mut second = Passkey::new(b"credential-2");
    invite(&mut site);
    let begin = |site: &mut Site, browser: &mut Browser| {
        browser.post(site, &at("/passkey/begin"), &[("user", UID), ("code", CODE)])
    };
    let told = begin(&mut site, &mut Browser::default());
    assert!(told.status == 401 && told.text.contains("Log in with it"), "{told:?}");
    let page = begin(&mut site, &mut browser);
    assert_eq!(end_enrolment(&mut site, &mut browser, &page, &mut second).status, 200);
    invite(&mut site);
    site.pass(590_000);
    invite(&mut site);
    assert_eq!(begin(&mut site, &mut browser).status, 200);
    site.pass(20_000);
    assert_eq!(begin(&mut site, &mut browser).status, 401);
}

#[test]
fn an_enrolment_code_ends_with_a_suspension_or_a_removed_authenticator() {
    let mut site = a_site_with_level_3(3);
    let mut passkey = Passkey::new(b"credential-1");
    enrol(&mut site, &mut passkey);
    let begin = |site: &mut Site| begin_enrolment(site, &mut Browser::default(), PASSWORD).status;
    invite(&mut site);
    site.pass(secrets::STEP_MS);
    assert_eq!(begin(&mut site), 200);
    for state in [users::State::Suspended, users::State::Active] {
        let reply = command(&mut site, StandUser { uid: UID.into(), state: state as u8, ..Default::default() });
        assert!(reply.is_done(), "{}", reply.text);
    }
    site.pass(secrets::STEP_MS);
    assert_eq!(begin(&mut site), 401);
    invite(&mut site);
    let serial = devices::passkey_serial(b"credential-1");
    command(&mut site, DropAuthenticator { uid: UID.into(), serial, ..Default::default() });
    site.pass(secrets::STEP_MS);
    assert_eq!(begin(&mut site), 401);
}

#[test]
fn who_has_a_password_but_may_not_enter_yet_enrols_with_it() {
    let mut site = a_site_with_level_3(1);
    stand(&mut site, users::State::IdentityVerified);
    enrol(&mut site, &mut Passkey::new(b"credential-1"));
}

#[test]
fn a_passkey_that_can_be_copied_is_level_2() {
    let mut site = a_site_with_level_3(3);
    let mut passkey = Passkey { flags: GOOD | 0x18, ..Passkey::new(b"credential-1") };
    enrol(&mut site, &mut passkey);
    let told = log_in(&mut site, &mut Browser::default(), &mut passkey, "");
    assert!(told.status == 401 && told.text.contains("can be copied"), "{told:?}");
    let sent = log_in(&mut site, &mut Browser::default(), &mut passkey, "&acr_values=AAL2_OR_AAL3_ANY");
    assert_eq!(claims(&mut site, &sent)["authentication_assurance_level"], "2");
}

#[test]
fn a_password_does_not_do_where_more_is_asked_for() {
    let mut site = a_site_with_level_3(3);
    let mut browser = Browser::default();
    let page = authorize(&mut site, &mut browser, "");
    assert!(!page.text.contains("name=\"password\"") && page.text.contains("Log in with a passkey"));
    let code = code_at(&site);
    assert_eq!(fill_in(&mut site, &mut browser, &page, PASSWORD, &code).status, 401);
    assert_eq!(site.notes.last().unwrap().outcome, "level");
    // Nor does a session that it opened.
    let page = authorize(&mut site, &mut browser, "&acr_values=AAL2_ANY");
    assert_eq!(fill_in(&mut site, &mut browser, &page, PASSWORD, &code).status, 303);
    assert_eq!(authorize(&mut site, &mut browser, "&acr_values=AAL2_ANY").status, 303);
    assert_eq!(authorize(&mut site, &mut browser, "&acr_values=AAL3_ANY").status, 200);
    // What nobody offers is told to the client, what nobody knows too.
    let told = authorize(&mut site, &mut browser, "&acr_values=AAL3_IOS");
    assert_eq!(told.parameter("error"), "unmet_authentication_requirements");
    assert_eq!(authorize(&mut site, &mut browser, "&acr_values=AAL9").parameter("error"), "invalid_request");
}

#[test]
fn a_smartcard_is_a_certificate_of_its_person() {
    for partitions in [1, 3] {
        let mut site = a_site_with_level_3(partitions);
        let card = Authenticator {
            kind: Kind::Smartcard as u8,
            certificate: CARD.into(),
            name: "Nina Nurse".into(),
            expires: NOW + HOUR_MS,
            ..Default::default()
        };
        let set = |uid: &str| SetAuthenticator { uid: uid.into(), authenticator: card.clone(), ..Default::default() };
        assert!(command(&mut site, set(UID)).is_done());
        let mut browser = Browser::default();
        // Without the card nothing is offered, and the button's address opens nothing.
        let page = authorize(&mut site, &mut browser, "&acr_values=AAL3_SMARTCARD");
        assert!(page.text.contains("Put your smartcard into its reader") && !page.text.contains("<form"));
        let page = authorize(&mut site, &mut browser, "&acr_values=AAL3_ANY");
        let ticket = page.hidden("ticket");
        assert_eq!(browser.post(&mut site, &at("/authorize/smartcard"), &[("ticket", &ticket)]).status, 401);
        // A strange one.
        site.certificate = CARD.replace("aa11", "bb11");
        let page = authorize(&mut site, &mut browser, "&acr_values=AAL3_ANY");
        assert!(!page.text.contains("your smartcard"));
        site.certificate = CARD.into();
        let page = authorize(&mut site, &mut browser, "&acr_values=AAL3_N3_SMARTCARD");
        assert!(page.text.contains("Log in with your smartcard") && !page.text.contains("passkey"));
        let ticket = page.hidden("ticket");
        let sent = browser.post(&mut site, &at("/authorize/smartcard"), &[("ticket", &ticket)]);
        assert_eq!(sent.status, 303, "{sent:?}");
        let told = claims(&mut site, &sent);
        assert_eq!((&told["acr"], &told["amr"]), (&json!("AAL3_N3_SMARTCARD"), &json!(["SMARTCARD"])));
        assert_eq!(told["authentication_assurance_level"], "3");
        // A session by smartcard is none by passkey; when the certificate ends, so does the session.
        assert_eq!(authorize(&mut site, &mut browser, "&acr_values=AAL3_FIDO2").status, 200);
        assert_eq!(authorize(&mut site, &mut browser, "&acr_values=AAL3_SMARTCARD").status, 303);
        site.now += HOUR_MS - 1;
        assert_eq!(authorize(&mut site, &mut browser, "&acr_values=AAL3_SMARTCARD").status, 303);
        site.now += 1;
        assert_eq!(authorize(&mut site, &mut browser, "&acr_values=AAL3_SMARTCARD").status, 200);
        // Taken away, it ends what it opened, and does not revive it when it is given back.
        site.now -= HOUR_MS / 2;
        let page = authorize(&mut site, &mut browser, "&acr_values=AAL3_SMARTCARD&prompt=login");
        browser.post(&mut site, &at("/authorize/smartcard"), &[("ticket", &page.hidden("ticket"))]);
        let valid = |site: &mut Site, browser: &mut Browser| {
            authorize(site, browser, "&acr_values=AAL3_SMARTCARD&prompt=none").parameter("error").is_empty()
        };
        assert!(valid(&mut site, &mut browser));
        let serial = devices::smartcard_serial(CARD);
        command(&mut site, DropAuthenticator { uid: UID.into(), serial, ..Default::default() });
        assert!(!valid(&mut site, &mut browser));
        site.pass(1);
        assert!(command(&mut site, set(UID)).is_done());
        assert!(!valid(&mut site, &mut browser));
        site.now += HOUR_MS / 2;
        // It is one person's.
        let row = User { given: "B".into(), family: "B".into(), state: 2, ..Default::default() };
        site.registry.0.insert(users::user_key(UID_2).build(), row.encode());
        site.now -= HOUR_MS;
        assert_eq!(command(&mut site, set(UID_2)).refusal, "conflict");
        let serial = devices::smartcard_serial(CARD);
        command(&mut site, DropAuthenticator { uid: UID.into(), serial, ..Default::default() });
        assert!(command(&mut site, set(UID_2)).is_done());
    }
}

#[test]
fn a_smartcard_proves_itself_when_the_log_in_begins() {
    let mut site = a_site_with_level_3(3);
    let card = Authenticator {
        kind: Kind::Smartcard as u8,
        certificate: CARD.into(),
        expires: NOW + 24 * HOUR_MS,
        ..Default::default()
    };
    let set = SetAuthenticator { uid: UID.into(), authenticator: card, ..Default::default() };
    assert!(command(&mut site, set).is_done());
    site.pass(HOUR_MS);
    site.certificate = CARD.into();
    let mut browser = Browser::default();
    let page = authorize(&mut site, &mut browser, "&acr_values=AAL3_SMARTCARD&prompt=login");
    let ticket = page.hidden("ticket");
    // A connection from before the log-in: the browser is sent to make another one, with the same form.
    site.proven_ago = 600_000;
    let told = browser.post(&mut site, &at("/authorize/smartcard"), &[("ticket", &ticket)]);
    assert_eq!((told.status, told.location.as_str()), (307, at("/authorize/smartcard").as_str()));
    // The page came on it a moment ago: the card was there, and the token tells since when.
    site.proven_ago = 30_000;
    let sent = browser.post(&mut site, &at("/authorize/smartcard"), &[("ticket", &ticket)]);
    assert_eq!(sent.status, 303, "{sent:?}");
    let since = site.now - 30_000;
    assert_eq!(claims(&mut site, &sent)["auth_time"], json!(since / 1_000));
}

#[test]
fn a_node_that_tells_the_level_only_is_understood() {
    let mut site = a_site_with_level_3(1);
    let mut browser = Browser::default();
    let page = authorize(&mut site, &mut browser, "&acr_values=AAL2_ANY");
    let code = code_at(&site);
    assert_eq!(fill_in(&mut site, &mut browser, &page, PASSWORD, &code).status, 303);
    let place = Place::of(&browser.0["__Host-spine-session"]).unwrap();
    let bytes = place_bytes(&place);
    let uses = |level| {
        // As it was before acr_values came along: place, level.
        let head = [&[1, 0x0a, bytes.len() as u8][..], &bytes[..], &[0x10, level][..]].concat();
        UseSession::decode(&Bytes::from(head)).expect("a command")
    };
    for (level, refusal) in [(2, ""), (3, "again")] {
        let command = uses(level);
        assert_eq!((command.level, command.acr.as_str()), (level, ""));
        let payload = IdentityCommand::UseSession(command).encode();
        let command = Command { payload, ..Default::default() };
        let at = site.map().of(&place.hash).0;
        let reply = site.decide(at, |i, draft, stamp| i.decide(draft, stamp, &command).unwrap());
        assert_eq!(LoginReply::decode(&reply).unwrap().refusal, refusal);
    }
    let ours = UseSession { place: bytes, level: 2, acr: "AAL2_ANY".into(), ..Default::default() }.encode();
    assert!(ours.windows(2).any(|two| two == [0x10, 2]), "an older node finds the level where it looks for it");
}
