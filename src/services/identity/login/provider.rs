//! The provider's side of a log-in: authorization, pages, code → tokens, user-info (spec/identity.md §2).

use super::{
    claims::SCOPES,
    command::{LoginReply, Open, Redeem, Show, SignIn, Take},
    means::{self, Wanted},
    page::{Again, BROWSER, Content, Page, SESSION},
    routes as paths,
    rows::{self, Grant, Kind, LoginRequest, place_bytes},
    visit::{Asked, Doing, Step, Thought, Visit, call, take, use_session},
};
use crate::{
    engine::draft::Fault,
    pages::parts::Mistake,
    services::{
        directory::{
            applications::{self, Application},
            rows::Secret,
            signing,
            users::{self, secrets::Password},
        },
        identity::{
            Identity, assertion,
            command::{Claim, IdentityCommand},
            refusal::Refusal,
            tokens::{Place, sha256},
        },
    },
    store::Reader,
    wire::{
        form::encode,
        jwt::{Jwt, RsaKey, to_base64url},
    },
};
use bytes::Bytes;

/// How long a log-in page may be filled in, in milliseconds.
pub(super) const TICKET_MS: u64 = 600_000;
/// Longest text of a request that is given back: state, nonce.
pub(super) const MAX_TEXT: usize = 2_048;
/// Greatest `max_age` that says anything, in seconds: no session is older.
const MAX_AGE_S: u64 = rows::SESSION_MS / 1_000;

/// An address with more parameters.
pub(super) fn with(address: &str, parameters: &[(&str, &str)]) -> String {
    let mut out = address.to_owned();
    for (name, value) in parameters.iter().filter(|(_, value)| !value.is_empty()) {
        out.push(if out.contains('?') { '&' } else { '?' });
        out.push_str(&format!("{name}={}", encode(value)));
    }
    out
}

impl Identity {
    /// Whether a client may be sent back to this address: a registered application, or the token service itself.
    pub(super) fn knows(&self, site: &dyn Reader, client: &str, redirect: &str) -> Result<bool, Fault> {
        if client == self.own_client() {
            return Ok(redirect == self.callback_url());
        }
        let application = applications::application(site, client)?.filter(Application::is_approved);
        Ok(application.is_some_and(|a| a.redirect_uris.iter().any(|uri| uri == redirect)))
    }

    pub(super) fn authorize(&self, asked: &Asked<'_>) -> Result<(Visit, Step), Fault> {
        const NAME: &str = "identity.provider.authorize";
        let text = |name: &str| asked.query.get(name).unwrap_or_default().to_owned();
        let (client, redirect) = (text("client_id"), text("redirect_uri"));
        if !self.knows(asked.site, &client, &redirect)? {
            // Nobody is sent to an address that is not the client's own.
            let page = Page::wrong(400, "The application or its address is not registered here.");
            return Ok(Visit::refused(asked, NAME, "client", &client, page));
        }
        let request = LoginRequest {
            client: client.clone(),
            redirect,
            scope: text("scope"),
            state: text("state"),
            nonce: text("nonce"),
            challenge: text("code_challenge"),
            acr: text("acr_values"),
            max_age: text("max_age").parse::<u64>().map_or(0, |age| age.min(MAX_AGE_S) + 1),
            ..Default::default()
        };
        let prompt = text("prompt");
        let back = |error: &str, why: &str| {
            let to = [("error", error), ("error_description", why), ("state", &request.state)];
            Visit::refused(asked, NAME, error, &client, Page::found(with(&request.redirect, &to)))
        };
        if let Some((error, why)) = flaw(asked, &request) {
            return Ok(back(error, &why));
        }
        let wanted = match means::asked(&request.acr) {
            means::Asked::For(wanted) => wanted,
            means::Asked::Unknown => return Ok(back("invalid_request", "acr_values is invalid")),
            means::Asked::OutOfReach => {
                let why = "no authenticator of this kind is offered";
                return Ok(back("unmet_authentication_requirements", why));
            }
        };
        if wanted.only(means::PASSKEY) && !self.takes_passkeys() {
            let why = "this site is known by an address, for which browsers make no passkeys";
            return Ok(back("unmet_authentication_requirements", why));
        }
        let silent = prompt == "none";
        match asked.session().filter(|_| !prompt.split(' ').any(|p| p == "login")) {
            Some(at) => {
                let step = use_session(&at, request.acr.clone(), request.max_age);
                let browser = asked.browser();
                Ok(Visit::new(asked, Doing::Looking { request, browser, silent }, step))
            }
            None if silent => Ok(back("login_required", "nobody is logged in")),
            None => {
                let step = open_ticket(&request, Bytes::new(), asked.browser(), asked.anywhere());
                Ok(Visit::new(asked, Doing::Opening { request, chosen: None, cookie: None }, step))
            }
        }
    }

    /// The log-in page's form. Its ticket is looked up first, so that whoever was shown no page has no password checked; then the
    /// password, whoever it is said to be of: what takes long takes as long for nobody.
    pub(super) fn log_in(&self, asked: &Asked<'_>) -> Result<(Visit, Step), Fault> {
        let text = |name: &str| asked.form.get(name).unwrap_or_default().to_owned();
        let (ticket, browser) = (text("ticket"), asked.browser());
        let (Some(at), false) = (Place::of(&ticket), browser.is_empty()) else {
            return Ok(Visit::refused(asked, "identity.provider.log_in", "ticket", "", over()));
        };
        let typed: String = text("user").trim().chars().take(20).collect();
        let uid: String = typed.chars().filter(|c| !c.is_whitespace()).collect();
        let mistakes = mistakes(&uid, &text("password"));
        let uid = if users::is_id(&uid) { uid } else { String::new() };
        let row = users::authenticator(asked.site, &uid, users::Kind::Password)?;
        let hash = row.as_ref().map(|row| row.hash.clone()).unwrap_or_default();
        let (kept, password) = (Password::of(row.as_ref()), text("password"));
        let work: Thought = Box::new(move || kept.is(&password));
        let doing = Doing::TicketTaking { uid, hash, code: text("code"), ticket, work, typed, mistakes };
        // The page may be shown again.
        let kept = Take { browser, keep: true, ..Default::default() };
        Ok(Visit::new(asked, doing, take(&at, Kind::Ticket, "identity.provider.log_in", kept)))
    }

    /// The role page's form.
    pub(super) fn choose(&self, asked: &Asked<'_>) -> (Visit, Step) {
        let (ticket, browser) = (asked.form.get("ticket").unwrap_or_default(), asked.browser());
        let (Some(at), false) = (Place::of(ticket), browser.is_empty()) else {
            return Visit::refused(asked, "identity.provider.role", "ticket", "", over());
        };
        let role = asked.form.get("role").unwrap_or_default().to_owned();
        let step = take(&at, Kind::Ticket, "identity.provider.role", Take { browser, ..Default::default() });
        Visit::new(asked, Doing::Taking { session: asked.session(), role }, step)
    }

    pub(super) fn provider_token(&self, asked: &Asked<'_>) -> Result<(Visit, Step), Fault> {
        const NAME: &str = "identity.provider.token";
        let text = |name: &str| asked.form.get(name).unwrap_or_default();
        let client = text("client_id").to_owned();
        let refuse = |status, error: &str, why: &str| {
            let page = Page::problem(status, error, why, asked.attempt);
            Visit::refused(asked, NAME, error, &client, page)
        };
        match text("grant_type") {
            "authorization_code" => {}
            "" => return Ok(refuse(400, "invalid_request", "grant_type is missing")),
            _ => return Ok(refuse(400, "unsupported_grant_type", "grant_type is invalid")),
        }
        for name in ["code", "redirect_uri"] {
            if text(name).is_empty() {
                return Ok(refuse(400, "invalid_request", &format!("{name} is missing")));
            }
        }
        let Some(at) = Place::of(text("code")) else { return Ok(refuse(400, "invalid_grant", "code is invalid")) };
        let mut redeem = Redeem {
            place: place_bytes(&at),
            redirect: text("redirect_uri").into(),
            challenge: challenge(text("code_verifier")),
            ..Default::default()
        };
        if !text("client_assertion").is_empty() {
            let audiences = [&*self.provider_token_url(), &*self.issuer()];
            let seen = assertion::check(&asked.form, assertion::Shown::Provider, &audiences, asked.site)?;
            if seen.refusal.is_some() || seen.jti.is_empty() || !client.is_empty() && client != seen.client {
                return Ok(refuse(401, "invalid_client", "client_assertion is invalid"));
            }
            redeem.client = seen.client.clone();
            let claim = Claim {
                client: seen.client,
                jti: seen.jti.clone(),
                expires: seen.expires.map_or(0, |exp| exp.saturating_add(1)),
                key: seen.key,
                interaction: NAME.into(),
                ..Default::default()
            };
            let then = Doing::Claiming(Box::new(IdentityCommand::Redeem(redeem)), at, text("code").to_owned());
            return Ok(Visit::new(asked, then, call(seen.jti, IdentityCommand::Claim(claim))));
        }
        if !secret_is(asked.site, &client, text("client_secret"))? {
            return Ok(refuse(401, "invalid_client", "client_id or client_secret is invalid"));
        }
        redeem.client = client.clone();
        let doing = Doing::Redeeming { client, code: text("code").into() };
        Ok(Visit::new(asked, doing, call(at.hash, IdentityCommand::Redeem(redeem))))
    }

    pub(super) fn provider_user_info(&self, asked: &Asked<'_>) -> (Visit, Step) {
        let token = asked.headers.get(http::header::AUTHORIZATION).and_then(|v| v.to_str().ok());
        let token = token.and_then(|v| v.split_once(' ')).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        let Some(at) = token.and_then(|(_, token)| Place::of(token.trim())) else {
            let page = Page::problem(401, "invalid_token", "the access token is missing or invalid", asked.attempt);
            return Visit::refused(asked, "identity.provider.userinfo", "token", "", page);
        };
        let show = Show { place: place_bytes(&at), ..Default::default() };
        Visit::new(asked, Doing::Showing, call(at.hash, IdentityCommand::Show(show)))
    }

    /// Whether one of the site's keys signed it, as this issuer.
    pub(super) fn signed(&self, site: &dyn Reader, jwt: &Jwt) -> Result<bool, Fault> {
        Ok(jwt.claim("iss") == Some(&self.issuer()) && self.has_our_signature(site, jwt)?)
    }

    /// Whether one of the site's keys signed it, whatever it says.
    pub(super) fn has_our_signature(&self, site: &dyn Reader, jwt: &Jwt) -> Result<bool, Fault> {
        let key = jwt.header("kid").map(|kid| signing::key(site, kid)).transpose()?.flatten();
        Ok(key.is_some_and(|key| jwt.verify_rs256(&RsaKey { modulus: &key.modulus, exponent: &key.exponent })))
    }
}

/// What cannot be a user ID or password, whoever has which.
fn mistakes(uid: &str, password: &str) -> Vec<Mistake> {
    let mut all = vec![];
    match uid {
        "" => all.push(Mistake::new("user", "Enter your user ID")),
        uid if !users::is_id(uid) => all.push(Mistake::new("user", "Your user ID must be 12 digits")),
        _ => {}
    }
    if password.is_empty() {
        all.push(Mistake::new("password", "Enter your password"));
    }
    all
}

/// The same for a one-time code, where the log-in asks for one.
fn mistaken_code(code: &str) -> Option<Mistake> {
    let digits = code.chars().filter(|c| !c.is_whitespace());
    match digits.clone().count() {
        0 => Some(Mistake::new("code", "Enter your one-time code")),
        6 if digits.clone().all(|c| c.is_ascii_digit()) => None,
        _ => Some(Mistake::new("code", "Your one-time code must be 6 digits")),
    }
}

/// What is wrong with an authorization request, that its client may be told.
fn flaw(asked: &Asked<'_>, request: &LoginRequest) -> Option<(&'static str, String)> {
    let text = |name: &str| asked.query.get(name).unwrap_or_default();
    let wrong = |why: &str| Some(("invalid_request", why.to_owned()));
    match text("response_type") {
        "code" => {}
        "" => return wrong("response_type is missing"),
        _ => return Some(("unsupported_response_type", "response_type is invalid".into())),
    }
    let mut scopes = request.scope.split(' ').filter(|s| !s.is_empty());
    if !scopes.clone().any(|s| s == "openid") || !scopes.all(|s| SCOPES.contains(&s)) {
        return Some(("invalid_scope", "scope is invalid".into()));
    }
    let texts = [&request.state, &request.nonce, &request.acr, &request.challenge];
    if texts.iter().any(|t| t.len() > MAX_TEXT || t.contains(char::is_control)) {
        return wrong("a parameter is too long");
    }
    // RFC 7636 §4.2: 32 bytes in base64url. `plain` would show the verifier.
    if !request.challenge.is_empty() && (text("code_challenge_method") != "S256" || request.challenge.len() != 43)
        || request.challenge.is_empty() && !text("code_challenge_method").is_empty()
    {
        return wrong("code_challenge_method is invalid");
    }
    let prompts: Vec<&str> = text("prompt").split(' ').filter(|p| !p.is_empty()).collect();
    if prompts.contains(&"none") && prompts.len() > 1
        || prompts.iter().any(|p| !["none", "login", "consent", "select_account"].contains(p))
        || !text("max_age").is_empty() && request.max_age == 0
    {
        return wrong("prompt or max_age is invalid");
    }
    None
}

/// S256 of a verifier (RFC 7636 §4.6); empty of nothing.
pub(super) fn challenge(verifier: &str) -> String {
    if verifier.is_empty() { String::new() } else { to_base64url(&sha256(verifier.as_bytes())) }
}

/// Whether an approved application has this secret. Compared without telling where it differs.
pub(super) fn secret_is(site: &dyn Reader, client: &str, secret: &str) -> Result<bool, Fault> {
    let Some(row) = applications::application(site, client)?.filter(Application::is_approved) else { return Ok(false) };
    let hash = sha256(&[&row.secret_salt[..], secret.as_bytes()].concat());
    let same = aws_lc_rs::constant_time::verify_slices_are_equal(&hash, &row.secret_hash).is_ok();
    Ok(!row.secret_salt.is_empty() && same)
}

/// A ticket for a page. `session`: that which may choose a role with it; none for a log-in, so that the form of the one page is not
/// answered with the other's.
fn open_ticket(request: &LoginRequest, session: Bytes, browser: Bytes, key: Bytes) -> Step {
    let request = Some(request.clone());
    let grant = Grant { kind: Kind::Ticket as u8, request, session, browser, ..Default::default() };
    let interaction = "identity.provider.authorize".into();
    call(key, IdentityCommand::Open(Open { grant, life: TICKET_MS, interaction, ..Default::default() }))
}

/// The page was left too long, or is another browser's.
pub(super) fn over() -> Page {
    Page::wrong(400, "This log-in has ended. Go back to the application and begin again.")
}

pub(super) fn shown(reply: &LoginReply) -> Page {
    let Some(grant) = &reply.grant else {
        let body = serde_json::json!({"error": "invalid_token", "error_description": "the access token is invalid"});
        return Page::json(401, body);
    };
    let scope = grant.request.as_ref().map(|r| r.scope.clone()).unwrap_or_default();
    let body = Content::UserInfo { uid: grant.user.clone(), scope, now: reply.now };
    Page { status: 200, body, ..Default::default() }
}

/// Which role a log-in is for: none was asked for, the only one, or one to choose.
fn role_of(request: &LoginRequest, roles: &[String]) -> Option<String> {
    if !request.scope.split(' ').any(|s| s == "selectedrole") {
        return Some(String::new());
    }
    match roles {
        [] => Some(String::new()),
        [only] => Some(only.clone()),
        _ => None,
    }
}

impl Visit {
    /// There was a session's cookie.
    pub(super) fn looked(&mut self, reply: LoginReply, request: LoginRequest, browser: Bytes, silent: bool) -> Step {
        let key = Bytes::copy_from_slice(&self.attempt.to_be_bytes());
        if reply.refusal.is_empty() {
            if let Some(role) = role_of(&request, &reply.roles) {
                return self.code(request, reply.session, role, None);
            }
            if !silent {
                let uid = reply.grant.map(|g| g.user).unwrap_or_default();
                let step = open_ticket(&request, reply.session, browser, key);
                self.doing = Doing::Opening { request, chosen: Some((uid, reply.roles)), cookie: None };
                return step;
            }
        }
        if silent {
            let error = if reply.refusal.is_empty() { "interaction_required" } else { "login_required" };
            let to = [("error", error), ("error_description", "somebody must be asked"), ("state", &request.state)];
            return Step::Done(Page::found(with(&request.redirect, &to)));
        }
        let step = open_ticket(&request, Bytes::new(), browser, key);
        self.doing = Doing::Opening { request, chosen: None, cookie: None };
        step
    }

    /// The ticket is there: its page.
    pub(super) fn opened(
        &mut self,
        identity: &Identity,
        reply: LoginReply,
        request: &LoginRequest,
        chosen: Option<(String, Vec<String>)>,
        cookie: Option<String>,
    ) -> Step {
        let at = |path: &str| format!("{}{path}", identity.issuer_path());
        let ticket = reply.secret.0;
        let body = match chosen {
            Some((uid, roles)) => Content::Roles { ticket, action: at(paths::ROLE), uid, roles },
            None => identity.log_in_page(request, &ticket, self.card, Again::default()),
        };
        let mut page = Page { status: 200, body, ..Default::default() };
        if let Some(cookie) = cookie {
            page = page.with_cookie(SESSION, &cookie, rows::SESSION_MS / 1_000);
        }
        Step::Done(match reply.other.0.as_str() {
            "" => page,
            browser => page.with_cookie(BROWSER, browser, 24 * 3_600),
        })
    }

    /// The form's ticket is good, or not. What cannot be right is told before anything is looked at.
    pub(super) fn ticket_taken(&mut self, identity: &Identity, reply: LoginReply, taking: Doing) -> Step {
        let Doing::TicketTaking { uid, hash, code, ticket, work, typed, mut mistakes } = taking else {
            return Step::Done(self.broken());
        };
        let Some(grant) = reply.grant else { return Step::Done(over()) };
        let (browser, Some(request)) = (grant.browser, grant.request) else { return Step::Done(over()) };
        if Wanted::of(&request.acr).password_level() > 1 {
            mistakes.extend(mistaken_code(&code));
        }
        if !mistakes.is_empty() {
            let again = Again { typed: &typed, about: "", mistakes: &mistakes };
            let body = identity.log_in_page(&request, &ticket, self.card, again);
            return Step::Done(Page { status: 400, body, ..Default::default() });
        }
        self.doing = Doing::Checking { uid, hash, code, ticket, request, browser, typed };
        Step::Think(work)
    }

    /// The password was looked at: whether it was right, and what it was compared with. `page`: ticket, browser and what was typed.
    pub(super) fn checked(
        &mut self,
        seen: SignIn,
        code: String,
        request: LoginRequest,
        page: (String, Bytes, String),
    ) -> Step {
        let level = Wanted::of(&request.acr).password_level();
        let (client, code) = (request.client.clone(), Secret(code.chars().take(16).collect()));
        // Nobody's attempt is noted anywhere.
        let key = if seen.uid.is_empty() { self.attempt.to_be_bytes().to_vec() } else { seen.uid.clone().into_bytes() };
        let (ticket, browser, typed) = page;
        self.doing = Doing::SigningIn { request, ticket, browser, typed };
        call(key, IdentityCommand::SignIn(SignIn { code, level, client, ..seen }))
    }

    pub(super) fn signed_in(
        &mut self,
        identity: &Identity,
        reply: LoginReply,
        request: LoginRequest,
        (ticket, browser, typed): (String, Bytes, String),
    ) -> Step {
        if !reply.refusal.is_empty() {
            // Which of them was wrong is not told.
            let mistakes = [Mistake::new("user", "Check your user ID, your password and the one-time code")];
            let about = "You could not be logged in. Each code works once; after several failures you have to wait.";
            let again = Again { typed: &typed, about, mistakes: &mistakes };
            let body = identity.log_in_page(&request, &ticket, self.card, again);
            return Step::Done(Page { status: 401, body, ..Default::default() });
        }
        self.entered(reply, request, browser)
    }

    /// There is a session, by whatever authenticator: on to a role or to the code.
    pub(super) fn entered(&mut self, reply: LoginReply, request: LoginRequest, browser: Bytes) -> Step {
        let cookie = reply.secret.0;
        match role_of(&request, &reply.roles) {
            Some(role) => self.code(request, reply.session, role, Some(cookie)),
            None => {
                let uid = reply.grant.map(|g| g.user).unwrap_or_default();
                let key = Bytes::copy_from_slice(&self.attempt.to_be_bytes());
                let step = open_ticket(&request, reply.session, browser, key);
                let (chosen, cookie) = (Some((uid, reply.roles)), Some(cookie));
                self.doing = Doing::Opening { request, chosen, cookie };
                step
            }
        }
    }

    /// A role was chosen: is the session of whoever chose still good for what was asked?
    pub(super) fn taken(&mut self, reply: LoginReply, session: Option<Place>, role: String) -> Step {
        let (Some(grant), Some(at)) = (reply.grant, session) else { return Step::Done(over()) };
        let Some(request) = grant.request else { return Step::Done(over()) };
        // A ticket of a log-in page knows no session yet: it wants a password.
        if grant.session != place_bytes(&at) {
            return Step::Done(over());
        }
        let (acr, max_age) = (request.acr.clone(), request.max_age);
        // Whoever filled the pages in took a while: the age of the log-in is as it was when they began.
        let max_age = if max_age == 0 { 0 } else { max_age.saturating_add(TICKET_MS / 1_000) };
        self.doing = Doing::Choosing { request, role };
        use_session(&at, acr, max_age)
    }

    pub(super) fn chosen(&mut self, reply: &LoginReply, request: LoginRequest, role: String) -> Step {
        if !reply.refusal.is_empty() || !reply.roles.contains(&role) {
            return Step::Done(over());
        }
        self.code(request, reply.session.clone(), role, None)
    }

    /// The code is there: back to the client.
    pub(super) fn coded(&mut self, reply: &LoginReply, request: &LoginRequest, cookie: Option<String>) -> Step {
        let to = match reply.refusal.as_str() {
            "" => with(&request.redirect, &[("code", &reply.secret.0), ("state", &request.state)]),
            _ => {
                let why = "the session has ended, or the role is not open";
                let to = [("error", "access_denied"), ("error_description", why), ("state", &request.state)];
                with(&request.redirect, &to)
            }
        };
        let page = Page::to(to);
        Step::Done(match cookie {
            Some(cookie) => page.with_cookie(SESSION, &cookie, rows::SESSION_MS / 1_000),
            None => page,
        })
    }

    /// The client's signed JWT was good, or not.
    pub(super) fn provider_claimed(&mut self, refusal: u8, then: IdentityCommand, at: Place, code: String) -> Step {
        if Refusal::of(refusal).is_some() {
            let why = "client_assertion is invalid";
            return Step::Done(Page::problem(401, "invalid_client", why, self.attempt));
        }
        let client = match &then {
            IdentityCommand::Redeem(redeem) => redeem.client.clone(),
            _ => String::new(),
        };
        self.doing = Doing::Redeeming { client, code };
        call(at.hash, then)
    }

    pub(super) fn redeemed(&mut self, identity: &Identity, reply: &LoginReply, client: &str, code: &str) -> Step {
        if !reply.refusal.is_empty() {
            return Step::Done(Page::problem(400, "invalid_grant", "code is invalid", self.attempt));
        }
        let scope = reply.grant.as_ref().and_then(|g| g.request.as_ref()).map(|r| r.scope.clone()).unwrap_or_default();
        let uid = reply.grant.as_ref().map(|g| g.user.clone()).unwrap_or_default();
        let body = serde_json::json!({
            "access_token": reply.secret.0, "token_type": "Bearer", "expires_in": (reply.life / 1_000).saturating_sub(1),
            "scope": scope,
        });
        let id_token = identity.id_token(reply, client, code, self.attempt);
        let body = Content::Signed { body, id_token, uid };
        Step::Done(Page { status: 200, body, ..Default::default() })
    }
}
