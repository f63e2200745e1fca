//! Logging in with what one holds in the hand (spec/identity.md §2.4): a passkey, or a smartcard whose certificate the
//! connection has proven. Both begin at the log-in page and end in a session of the same kind as a password's.

use super::{
    command::{CardSignIn, LoginReply, PasskeySignIn, Take},
    means::Wanted,
    page::{self, Again, Content, LogIn, Page},
    passkey_page,
    provider::{TICKET_MS, over},
    routes as paths,
    rows::{Kind, LoginRequest},
    visit::{Asked, Doing, Step, Visit, call, take},
};
use crate::{
    engine::draft::Fault,
    services::{
        directory::users::devices,
        identity::{
            Identity,
            command::IdentityCommand,
            tokens::{Place, sha256},
        },
    },
    wire::{
        form::Form,
        jwt::{from_base64url, to_base64url},
    },
};
use bytes::Bytes;
use serde_json::json;

/// Where a log-in with a device stands.
pub(super) enum Device {
    /// The page's ticket and challenge are being looked up; without an answer the page is shown for the first time.
    Taking {
        ticket: String,
        answer: Option<Answer>,
        other: bool,
    },
    SigningIn {
        request: LoginRequest,
        ticket: String,
        browser: Bytes,
        challenge: Bytes,
    },
    CardTaking {
        uid: String,
        certificate: String,
        proven_ago: u64,
    },
    CardSigningIn {
        request: LoginRequest,
        browser: Bytes,
    },
}

/// What a passkey answered, through the page's form.
pub(super) struct Answer {
    /// Empty where nobody here has the passkey.
    uid: String,
    credential: Bytes,
    client_data: Bytes,
    authenticator_data: Bytes,
    signature: Bytes,
}

/// A field in base64url; empty where it is none.
pub(super) fn bytes_of(form: &Form, name: &str) -> Bytes {
    form.get(name).and_then(from_base64url).unwrap_or_default().into()
}

impl Identity {
    /// How browsers name this site: origin, and the host that passkeys are bound to.
    pub(super) fn names(&self) -> (String, String) {
        let url = self.url().to_ascii_lowercase();
        let authority = url.strip_prefix("https://").unwrap_or(&url).split('/').next().unwrap_or_default();
        let authority = authority.strip_suffix(":443").unwrap_or(authority);
        let host = match authority.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
            _ => authority,
        };
        (format!("https://{authority}"), host.to_owned())
    }

    /// Whether browsers make passkeys for this site at all: not where it is known by an address only.
    pub(super) fn takes_passkeys(&self) -> bool {
        let (_, host) = self.names();
        !host.starts_with('[') && !host.bytes().all(|b| b.is_ascii_digit() || b == b'.')
    }

    /// How a passkey names its person: it tells nothing, not even the user id, to who finds the device.
    pub fn handle(&self, uid: &str) -> [u8; 32] {
        sha256(format!("{}\0{uid}", self.names().1).as_bytes())
    }

    /// The passkey's page: shown, or come back filled in by its script.
    pub(super) fn passkey(&self, asked: &Asked<'_>) -> Result<(Visit, Step), Fault> {
        const NAME: &str = "identity.provider.passkey";
        let (ticket, browser) = (asked.form.get("ticket").unwrap_or_default(), asked.browser());
        let (Some(at), false) = (Place::of(ticket), browser.is_empty()) else {
            return Ok(Visit::refused(asked, NAME, "ticket", "", over()));
        };
        let other = asked.form.get("other").is_some();
        let answer = match asked.form.get("credential").is_some() && !other {
            true => Some(self.passkey_answer(asked)?),
            false => None,
        };
        let step = take(&at, Kind::Ticket, NAME, Take { browser, keep: true, challenge: true, ..Default::default() });
        Ok(Visit::new(asked, Doing::Device(Device::Taking { ticket: ticket.to_owned(), answer, other }), step))
    }

    fn passkey_answer(&self, asked: &Asked<'_>) -> Result<Answer, Fault> {
        let field = |name| bytes_of(&asked.form, name);
        let credential = field("credential");
        let found = devices::passkey(asked.site, &credential)?;
        // The passkey itself names whose it is (W3C Web Authentication level 2, §7.2, step 6).
        let uid = found.map(|(uid, _)| uid).filter(|uid| self.handle(uid) == field("user_handle")[..]);
        Ok(Answer {
            uid: uid.unwrap_or_default(),
            credential,
            client_data: field("client_data"),
            authenticator_data: field("authenticator_data"),
            signature: field("signature"),
        })
    }

    /// The log-in page's button for a smartcard.
    pub(super) fn smartcard(&self, asked: &Asked<'_>) -> Result<(Visit, Step), Fault> {
        const NAME: &str = "identity.provider.smartcard";
        let (ticket, browser) = (asked.form.get("ticket").unwrap_or_default(), asked.browser());
        let (Some(at), false) = (Place::of(ticket), browser.is_empty()) else {
            return Ok(Visit::refused(asked, NAME, "ticket", "", over()));
        };
        let found = devices::smartcard(asked.site, asked.certificate)?;
        let doing = Device::CardTaking {
            uid: found.map(|(uid, _)| uid).unwrap_or_default(),
            certificate: asked.certificate.to_owned(),
            proven_ago: asked.proven_ago,
        };
        let kept = Take { browser, keep: true, ..Default::default() };
        Ok(Visit::new(asked, Doing::Device(doing), take(&at, Kind::Ticket, NAME, kept)))
    }

    /// The log-in page for a request.
    pub(super) fn log_in_page(&self, request: &LoginRequest, ticket: &str, card: bool, again: Again<'_>) -> Content {
        let wanted = Wanted::of(&request.acr);
        let at = |path: &str| format!("{}{path}", self.issuer_path());
        let offers = LogIn {
            ticket,
            password: wanted.password().then(|| at(paths::LOG_IN)),
            code: wanted.password_level() > 1,
            passkey: (wanted.passkey() && self.takes_passkeys()).then(|| at(paths::PASSKEY)),
            smartcard: (wanted.smartcard() && card).then(|| at(paths::SMARTCARD)),
            again,
        };
        Content::Html(page::log_in(&offers))
    }

    fn passkey_page(&self, request: &LoginRequest, ticket: &str, challenge: &Bytes, alert: Option<&str>) -> Content {
        let at = |path: &str| format!("{}{path}", self.issuer_path());
        let options = json!({
            "challenge": to_base64url(challenge), "rpId": self.names().1, "userVerification": "required",
            "timeout": 300_000,
        });
        let wanted = Wanted::of(&request.acr);
        let others = wanted.password() || wanted.smartcard();
        let (action, script) = (&*at(paths::PASSKEY), &*at(paths::SCRIPT));
        let filled = passkey_page::Filled { ticket, action, script, options: &options };
        Content::Html(passkey_page::log_in(&filled, others, alert))
    }
}

/// How long before the log-in page was opened a smartcard may have been read, in milliseconds: the page itself comes on that connection.
const CARD_MS: u64 = 60_000;
const REFUSED: &str = "This passkey was not accepted. Try again, or ask who issued it to you.";
const COPIED: &str = "This passkey is kept in an account from which it can be copied. The application asks for one that stays in its device.";
const NO_CARD: &str = "No smartcard that is known here came with this connection, or its owner may not log in.";

impl Visit {
    pub(super) fn device(&mut self, identity: &Identity, reply: LoginReply, device: Device) -> Step {
        match device {
            Device::Taking { ticket, answer, other } => {
                let Some(grant) = reply.grant else { return Step::Done(over()) };
                let (browser, Some(request)) = (grant.browser, grant.request) else { return Step::Done(over()) };
                let wanted = Wanted::of(&request.acr);
                let Some(answer) = answer else {
                    let body = match other || !wanted.passkey() {
                        true => identity.log_in_page(&request, &ticket, self.card, Again::default()),
                        false => identity.passkey_page(&request, &ticket, &reply.challenge, None),
                    };
                    return Step::Done(Page { status: 200, body, ..Default::default() });
                };
                if !wanted.passkey() {
                    return Step::Done(over());
                }
                let (origin, rp_id) = identity.names();
                let key = if answer.uid.is_empty() { self.anywhere() } else { answer.uid.clone().into_bytes() };
                let sign_in = PasskeySignIn {
                    uid: answer.uid,
                    credential: answer.credential,
                    client_data: answer.client_data,
                    authenticator_data: answer.authenticator_data,
                    signature: answer.signature,
                    challenge: grant.challenge,
                    origin,
                    rp_id,
                    level: wanted.passkey_level(),
                    client: request.client.clone(),
                    ..Default::default()
                };
                self.doing = Doing::Device(Device::SigningIn { request, ticket, browser, challenge: reply.challenge });
                call(key, IdentityCommand::PasskeySignIn(sign_in))
            }
            Device::SigningIn { request, ticket, browser, challenge } => {
                if reply.refusal.is_empty() {
                    return self.entered(reply, request, browser);
                }
                let why = if reply.refusal == "level" { COPIED } else { REFUSED };
                let body = identity.passkey_page(&request, &ticket, &challenge, Some(why));
                Step::Done(Page { status: 401, body, ..Default::default() })
            }
            Device::CardTaking { uid, certificate, proven_ago } => {
                let Some(grant) = reply.grant else { return Step::Done(over()) };
                let opened = grant.expires.saturating_sub(TICKET_MS);
                let (browser, Some(request)) = (grant.browser, grant.request) else { return Step::Done(over()) };
                if !Wanted::of(&request.acr).smartcard() {
                    return Step::Done(over());
                }
                // A connection from before does not tell that the card is in its reader now.
                if reply.now.saturating_sub(proven_ago) + CARD_MS < opened {
                    return Step::Done(Page::again(format!("{}{}", identity.issuer_path(), paths::SMARTCARD)));
                }
                let key = if uid.is_empty() { self.anywhere() } else { uid.clone().into_bytes() };
                let client = request.client.clone();
                self.doing = Doing::Device(Device::CardSigningIn { request, browser });
                let sign_in = CardSignIn { uid, certificate, client, proven_ago, ..Default::default() };
                call(key, IdentityCommand::CardSignIn(sign_in))
            }
            Device::CardSigningIn { request, browser } => match reply.refusal.is_empty() {
                true => self.entered(reply, request, browser),
                false => Step::Done(Page::wrong(401, NO_CARD)),
            },
        }
    }
}
