//! A person makes a passkey: with the one-time code that an operator issued for them and, where they have a password, with it and a
//! code of their authenticator app; where they have a passkey or smartcard only, logged in with that. Whoever has nothing yet
//! shows the code alone, which is how a new person comes to a first authenticator. Nobody is logged in by it.
//!
//! The page's ticket holds the challenge and is good once; the code is used up by the passkey that comes of it.

use super::{
    command::{Enrol, LoginReply, Open, SignIn, Take},
    page::{BROWSER, Content, Page},
    passkey::bytes_of,
    passkey_page::{self, Form as EnrolForm},
    provider::over,
    routes as paths,
    rows::{Grant, Kind},
    visit::{Asked, Doing, Step, Visit, call, take, use_session},
    webauthn::ALGORITHMS,
};
use crate::{
    engine::draft::Fault,
    services::{
        directory::{
            rows::Secret,
            users::{self, devices, secrets::Password},
        },
        identity::{Identity, command::IdentityCommand, tokens::Place},
    },
    wire::jwt::to_base64url,
};
use bytes::Bytes;
use serde_json::{Value, json};

/// How long the page may take, in milliseconds.
const PAGE_MS: u64 = 600_000;
/// What a session must have proven that a passkey is enrolled by (`acr_values`), and how old it may be, in seconds.
const SIGNED_IN: &str = "AAL2_OR_AAL3_ANY";
const SIGNED_IN_S: u64 = 600;
const LOG_IN_FIRST: &str =
    "You have a passkey or smartcard already. Log in with it here first, then open the link again within ten minutes.";

/// Where an enrolment stands.
pub(super) enum Enrolling {
    /// The password is being looked at.
    Checking {
        begun: Begun,
        hash: Bytes,
        code: String,
    },
    SigningIn {
        begun: Begun,
    },
    /// The browser came with a session.
    Session {
        begun: Begun,
    },
    Opening {
        options: Value,
    },
    Taking {
        client_data: Bytes,
        attestation: Bytes,
    },
    Enrolled,
}

/// Who begins, with a code that is theirs.
pub(super) struct Begun {
    uid: String,
    /// As it was typed, for the page that is shown again.
    typed: String,
    browser: Bytes,
    options: Value,
}

impl Identity {
    fn enrol_page(&self, status: u16, uid: &str, code: &str, password: bool, failed: bool) -> Page {
        let action = format!("{}{}", self.issuer_path(), paths::ENROL_BEGIN);
        let form = EnrolForm { action: &action, uid, code, password, failed };
        Page { status, body: Content::Html(passkey_page::enrol(&form)), ..Default::default() }
    }

    /// The page that the link leads to. Nothing is used up by looking at it.
    pub(super) fn enrol_start(&self, asked: &Asked<'_>) -> (Visit, Step) {
        let text = |name: &str| asked.query.get(name).unwrap_or_default();
        Visit::answered(asked, self.enrol_page(200, text("user"), text("code"), false, false))
    }

    /// The form of that page.
    pub(super) fn enrol_begin(&self, asked: &Asked<'_>) -> Result<(Visit, Step), Fault> {
        const NAME: &str = "identity.provider.enrol_begin";
        let text = |name: &str| asked.form.get(name).unwrap_or_default().to_owned();
        let uid: String = text("user").chars().filter(|c| !c.is_whitespace()).take(12).collect();
        let (typed, password) = (text("code"), text("password"));
        let code = devices::code_hash(&typed);
        // Whether it has expired is the decider's to say, who has the time.
        if !users::is_id(&uid) || !devices::is_invited(asked.site, &uid, &code, 0)? {
            let object = if users::is_id(&uid) { uid.as_str() } else { "" };
            let page = self.enrol_page(401, &uid, &typed, false, true);
            return Ok(Visit::refused(asked, NAME, "not_invited", object, page));
        }
        let begun = Begun { options: self.creation(asked, &uid)?, uid, typed, browser: asked.browser() };
        let row = users::authenticator(asked.site, &begun.uid, users::Kind::Password)?;
        let Some(row) = row else {
            // Whoever has a device already is logged in with it; a new person has the code alone.
            if let Some(at) = asked.session() {
                let step = use_session(&at, SIGNED_IN.into(), SIGNED_IN_S + 1);
                return Ok(Visit::new(asked, Doing::Enrolling(Enrolling::Session { begun }), step));
            }
            let step = self.open_enrolment(&begun, 0);
            let doing = Enrolling::Opening { options: begun.options };
            return Ok(Visit::new(asked, Doing::Enrolling(doing), step));
        };
        if password.is_empty() {
            return Ok(Visit::answered(asked, self.enrol_page(200, &begun.uid, &begun.typed, true, false)));
        }
        let (hash, kept) = (row.hash.clone(), Password::of(Some(&row)));
        let doing = Enrolling::Checking { begun, hash, code: text("totp") };
        Ok(Visit::new(asked, Doing::Enrolling(doing), Step::Think(Box::new(move || kept.is(&password)))))
    }

    /// What the browser is told to make (W3C Web Authentication level 2, §5.4), but for the challenge.
    fn creation(&self, asked: &Asked<'_>, uid: &str) -> Result<Value, Fault> {
        let shown = users::user(asked.site, uid)?.map(|user| user.shown()).unwrap_or_default();
        let mut known = vec![];
        for (_, row) in users::authenticators_of(asked.site, uid)? {
            if row.kind == users::Kind::Passkey as u8 {
                known.push(json!({"type": "public-key", "id": to_base64url(&row.credential)}));
            }
        }
        let parameters: Vec<Value> = ALGORITHMS.iter().map(|alg| json!({"type": "public-key", "alg": alg})).collect();
        Ok(json!({
            "rp": {"id": self.names().1, "name": "Spine"},
            "user": {"id": to_base64url(&self.handle(uid)), "name": uid, "displayName": shown},
            "pubKeyCredParams": parameters, "excludeCredentials": known, "attestation": "none", "timeout": 300_000,
            "authenticatorSelection":
                {"residentKey": "required", "requireResidentKey": true, "userVerification": "required"},
        }))
    }

    fn open_enrolment(&self, begun: &Begun, level: u8) -> Step {
        let grant = Grant {
            kind: Kind::Enrolment as u8,
            user: begun.uid.clone(),
            browser: begun.browser.clone(),
            invitation: Bytes::copy_from_slice(&devices::code_hash(&begun.typed)),
            level,
            ..Default::default()
        };
        let interaction = "identity.passkey.begin".into();
        let open = Open { grant, life: PAGE_MS, interaction, challenge: true, ..Default::default() };
        call(&begun.uid, IdentityCommand::Open(open))
    }

    /// What the page's script sends.
    pub(super) fn enrol_done(&self, asked: &Asked<'_>) -> (Visit, Step) {
        const NAME: &str = "identity.provider.enrol_done";
        let (ticket, browser) = (asked.form.get("ticket").unwrap_or_default(), asked.browser());
        let (Some(at), false) = (Place::of(ticket), browser.is_empty()) else {
            return Visit::refused(asked, NAME, "ticket", "", over());
        };
        let field = |name| bytes_of(&asked.form, name);
        let doing = Enrolling::Taking { client_data: field("client_data"), attestation: field("attestation") };
        Visit::new(
            asked,
            Doing::Enrolling(doing),
            take(&at, Kind::Enrolment, NAME, Take { browser, ..Default::default() }),
        )
    }
}

impl Visit {
    /// The password was looked at.
    pub(super) fn enrol_thought(&mut self, begun: Begun, hash: Bytes, code: String, right: bool) -> Step {
        let code = Secret(code.chars().take(16).collect());
        let client = "passkey".into();
        let sign_in = SignIn {
            uid: begun.uid.clone(),
            right,
            hash,
            code,
            level: 2,
            client,
            // No session: the form may have come from anybody's page.
            prove_only: true,
            ..Default::default()
        };
        let key = begun.uid.clone();
        self.doing = Doing::Enrolling(Enrolling::SigningIn { begun });
        call(key, IdentityCommand::SignIn(sign_in))
    }

    pub(super) fn enrolling(&mut self, identity: &Identity, reply: LoginReply, at: Enrolling) -> Step {
        match at {
            Enrolling::Checking { .. } => Step::Done(self.broken()),
            Enrolling::SigningIn { begun } => {
                if !reply.refusal.is_empty() {
                    return Step::Done(identity.enrol_page(401, &begun.uid, &begun.typed, true, true));
                }
                let step = identity.open_enrolment(&begun, 2);
                self.doing = Doing::Enrolling(Enrolling::Opening { options: begun.options });
                step
            }
            Enrolling::Session { begun } => {
                let own = reply.refusal.is_empty() && reply.grant.is_some_and(|session| session.user == begun.uid);
                let step = identity.open_enrolment(&begun, if own { 2 } else { 0 });
                self.doing = Doing::Enrolling(Enrolling::Opening { options: begun.options });
                step
            }
            Enrolling::Opening { mut options } => {
                match reply.refusal.as_str() {
                    "" => {}
                    "not_signed_in" => return Step::Done(Page::wrong(401, LOG_IN_FIRST)),
                    _ => return Step::Done(identity.enrol_page(401, "", "", false, true)),
                }
                options["challenge"] = json!(to_base64url(&reply.challenge));
                let at = |path: &str| format!("{}{path}", identity.issuer_path());
                let (action, script) = (&*at(paths::ENROL_DONE), &*at(paths::SCRIPT));
                let filled = passkey_page::Filled { ticket: &reply.secret.0, action, script, options: &options };
                let body = Content::Html(passkey_page::create(&filled));
                let page = Page { status: 200, body, ..Default::default() };
                Step::Done(match reply.other.0.as_str() {
                    "" => page,
                    browser => page.with_cookie(BROWSER, browser, 24 * 3_600),
                })
            }
            Enrolling::Taking { client_data, attestation } => {
                let Some(grant) = reply.grant else { return Step::Done(over()) };
                let (origin, rp_id) = identity.names();
                let enrol = Enrol {
                    uid: grant.user,
                    code: grant.invitation,
                    client_data,
                    attestation,
                    challenge: grant.challenge,
                    origin,
                    rp_id,
                    signed_in: grant.level > 1,
                    ..Default::default()
                };
                self.doing = Doing::Enrolling(Enrolling::Enrolled);
                // The registry is one partition's, which an empty key names.
                call([], IdentityCommand::Enrol(enrol))
            }
            Enrolling::Enrolled => Step::Done(match reply.refusal.as_str() {
                "" => {
                    Page { status: 200, body: Content::Html(passkey_page::enrolled(reply.level)), ..Default::default() }
                }
                "enrolled_already" => Page::wrong(409, "This passkey is enrolled already."),
                _ => Page::wrong(400, "The passkey could not be enrolled. Open the link again; it may have expired."),
            }),
        }
    }
}
