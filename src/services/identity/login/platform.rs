//! Log-in for applications of the HTTP APIs, the combined flow (spec/identity.md §4): authorization, callback, codes and refresh tokens
//! → tokens. The provider of staff is asked within the site: its code is redeemed by a command, not over HTTP. That of citizens is
//! outside (`citizens`).

use super::{
    citizens::Provider,
    command::{LoginReply, Open, Redeem, Show, Take, Trade},
    page::{BROWSER, Content, Page},
    provider::{MAX_TEXT, challenge, secret_is, with},
    routes as paths,
    rows::{Grant, Kind, LoginRequest, SESSION_MS, place_bytes},
    visit::{Asked, Doing, Step, Visit, call},
};
use crate::{
    engine::draft::Fault,
    services::{
        directory::applications::{self, Application},
        identity::{
            Identity,
            command::IdentityCommand,
            decide::TOKEN_LIFE_MS,
            refusal::Refusal,
            routes,
            rows::{Citizen, NHS_LOGIN},
            tokens::Place,
        },
    },
    store::Reader,
    wire::form::Form,
};
use serde_json::json;

/// How long somebody may take to log in, in milliseconds.
const ERRAND_MS: u64 = 900_000;
/// Greatest age of a log-in that an application is given (spec/identity.md §4.1), in seconds.
pub(super) const MAX_AGE_S: &str = "300";
pub(super) const MAX_AGE_MS: u64 = 300_000;
/// What this service asks the provider for, where the application does not say.
const ACR: &str = "AAL2_OR_AAL3_ANY";
const SCOPE: &str = "openid nationalrbacaccess";
/// What names, in the scopes of products, who logs in; staff under both names of their provider.
const OF_STAFF: &[&str] = &[":user-nhs-id:", ":user-nhs-cis2:"];
const OF_CITIZENS: &[&str] = &[":user-nhs-login:"];
/// What an application that has no product at any level of those who would log in is told begins so (spec/identity.md §4.1, row 5).
const NO_PRODUCT: &str = "API Key supplied does not have access to this resource. Please check the API Key you are using \
                          belongs to an app which has sufficient access to access this resource.";

impl Identity {
    /// How this service is called at the provider.
    pub fn own_client(&self) -> &'static str {
        applications::OWN_CLIENT
    }

    pub(super) fn callback_url(&self) -> String {
        format!("{}{}", self.url(), routes::CALLBACK)
    }

    pub(super) fn provider_token_url(&self) -> String {
        format!("{}{}", self.issuer(), paths::TOKEN)
    }

    pub(super) fn api_authorize(&self, asked: &Asked<'_>) -> Result<(Visit, Step), Fault> {
        const NAME: &str = "identity.authorize";
        let text = |name: &str| asked.query.get(name).unwrap_or_default();
        let (client, redirect, state) = (text("client_id"), text("redirect_uri"), text("state"));
        let refuse = |status, error: &str, why: &str| {
            let page = Page::problem(status, error, why, asked.attempt);
            Ok(Visit::refused(asked, NAME, why.get(..60).unwrap_or(why), client, page))
        };
        if client.is_empty() {
            return refuse(401, "invalid_request", "client_id is missing");
        }
        let Some(application) = applications::application(asked.site, client)? else {
            return refuse(401, "invalid_request", "client_id is invalid");
        };
        if redirect.is_empty() {
            return refuse(400, "invalid_request", "redirect_uri is missing");
        }
        if !application.redirect_uris.iter().any(|uri| uri == redirect) {
            return refuse(400, "invalid_request", "redirect_uri is invalid");
        }
        if !application.is_approved() {
            let (status, error, why) = Refusal::NotApproved.told();
            return refuse(status, error, why);
        }
        let citizens = text("scope") == NHS_LOGIN;
        let levels = if citizens { OF_CITIZENS } else { OF_STAFF };
        if levels.iter().all(|provider| application.scopes(provider).is_empty()) {
            return refuse(401, "access_denied", NO_PRODUCT);
        }
        let back = |error: &str, why: &str| {
            let to = with(redirect, &[("error", error), ("error_description", why), ("state", state)]);
            Ok(Visit::refused(asked, NAME, error, client, Page::found(to)))
        };
        if state.is_empty() {
            return back("invalid_request", "state is missing");
        }
        // They are kept while somebody logs in, or go on to the provider, which has the same bound.
        if [state, text("acr_values")].iter().any(|t| t.len() > MAX_TEXT || t.contains(char::is_control)) {
            return back("invalid_request", "a parameter is too long");
        }
        match text("response_type") {
            "code" => {}
            "" => return back("invalid_request", "response_type is missing"),
            _ => return back("unsupported_response_type", "response_type is invalid"),
        }
        let provider = if citizens { Provider::of(asked.site)? } else { None };
        if citizens != provider.is_some() || !["", "nhs-cis2", NHS_LOGIN].contains(&text("scope")) {
            return back("invalid_scope", "scope is invalid");
        }
        let code_challenge = text("code_challenge");
        if !code_challenge.is_empty() && (text("code_challenge_method") != "S256" || code_challenge.len() != 43) {
            return back("invalid_request", "code_challenge_method is invalid");
        }
        let request = LoginRequest {
            client: client.into(),
            redirect: redirect.into(),
            acr: text("acr_values").into(),
            state: state.into(),
            challenge: code_challenge.into(),
            ..Default::default()
        };
        Ok(errand(asked, NAME, request, provider))
    }

    pub(super) fn callback(&self, asked: &Asked<'_>) -> Result<(Visit, Step), Fault> {
        let (state, browser) = (asked.query.get("state").unwrap_or_default(), asked.browser());
        let (Some(at), false) = (Place::of(state), browser.is_empty()) else {
            let page = Page::problem(400, "invalid_request", "Invalid state parameter.", asked.attempt);
            return Ok(Visit::refused(asked, "identity.callback", "state", "", page));
        };
        let kind = Kind::Errand as u8;
        let interaction = "identity.callback".into();
        let take = Take { place: place_bytes(&at), kind, browser, interaction, ..Default::default() };
        let doing =
            Doing::ErrandTaking { query: asked.query.clone(), citizens: Provider::of(asked.site)?.map(Box::new) };
        Ok(Visit::new(asked, doing, call(at.hash, IdentityCommand::Take(take))))
    }

    /// A code or refresh token is shown at the token endpoint; `None` where the form asks for something else.
    pub fn trade(&self, asked: &Asked<'_>) -> Result<Option<(Visit, Step)>, Fault> {
        let text = |name: &str| asked.form.get(name).unwrap_or_default();
        let kind = match text("grant_type") {
            "authorization_code" => Kind::ApiCode,
            "refresh_token" => Kind::Refresh,
            _ => return Ok(None),
        };
        let client = text("client_id");
        let shown = if kind == Kind::ApiCode { text("code") } else { text("refresh_token") };
        if let Some(refusal) = trade_flaw(asked.site, &asked.form, kind, shown)? {
            let (status, error, why) = refusal.told();
            let page = Page::problem(status, error, why, asked.attempt);
            return Ok(Some(Visit::refused(asked, "identity.token", refusal.word(), client, page)));
        }
        // What cannot be one of ours is nobody's: it is refused where nothing is.
        let at = Place::of(shown).unwrap_or(Place { hour: 0, hash: [0; 32] });
        let trade = Trade {
            place: place_bytes(&at),
            kind: kind as u8,
            client: client.into(),
            redirect: text("redirect_uri").into(),
            challenge: challenge(text("code_verifier")),
            life: life(&asked.form),
            refresh_life: refresh_life(&asked.form),
            ..Default::default()
        };
        let doing = Doing::Trading { exchange: false };
        Ok(Some(Visit::new(asked, doing, call(at.hash, IdentityCommand::Trade(trade)))))
    }

    /// User-info for an application's token (spec/identity.md §4.4).
    pub fn api_user_info(&self, asked: &Asked<'_>) -> (Visit, Step) {
        let token = asked.headers.get(http::header::AUTHORIZATION).and_then(|v| v.to_str().ok());
        let token = token.and_then(|v| v.split_once(' ')).map(|(_, token)| token.trim()).unwrap_or_default();
        let at = Place::of(token).unwrap_or(Place { hour: 0, hash: [0; 32] });
        let show = Show { place: place_bytes(&at), api: true, ..Default::default() };
        Visit::new(asked, Doing::ShowingApi, call(at.hash, IdentityCommand::Show(show)))
    }
}

/// Begins a log-in at the provider of staff, or at that of citizens.
fn errand(asked: &Asked<'_>, name: &str, request: LoginRequest, citizens: Option<Provider>) -> (Visit, Step) {
    let (kind, browser, acr) = (Kind::Errand as u8, asked.browser(), request.acr.clone());
    let mut grant = Grant { kind, request: Some(request), browser, ..Default::default() };
    let challenge = citizens.is_some();
    let doing = match citizens {
        Some(provider) => {
            grant.citizen = Some(Citizen { issuer: provider.name().to_owned(), ..Default::default() });
            Doing::CitizenSending { provider: Box::new(provider), acr }
        }
        None => {
            let acr = if acr.is_empty() { ACR.to_owned() } else { acr };
            if let Some(request) = &mut grant.request {
                request.acr.clone_from(&acr);
            }
            Doing::ErrandOpening { acr }
        }
    };
    let open = Open { grant, life: ERRAND_MS, interaction: name.into(), challenge, ..Default::default() };
    Visit::new(asked, doing, call(asked.anywhere(), IdentityCommand::Open(open)))
}

/// The first thing wrong with how an application proves itself by its secret (spec/identity.md §4.2); the application where nothing is.
pub(in crate::services::identity) fn secret_flaw(
    site: &dyn Reader,
    form: &Form,
) -> Result<Result<Application, Refusal>, Fault> {
    let text = |name: &str| form.get(name).unwrap_or_default();
    let client = text("client_id");
    if client.is_empty() {
        return Ok(Err(Refusal::ClientMissing));
    }
    let Some(application) = applications::application(site, client)? else { return Ok(Err(Refusal::SecretWrong)) };
    if text("client_secret").is_empty() {
        return Ok(Err(Refusal::SecretMissing));
    }
    if !application.is_approved() {
        return Ok(Err(Refusal::NotApproved));
    }
    let right = secret_is(site, client, text("client_secret"))?;
    Ok(if right { Ok(application) } else { Err(Refusal::SecretWrong) })
}

/// The first thing wrong with a form that shows a code or refresh token (spec/identity.md §4.2, §4.3).
fn trade_flaw(site: &dyn Reader, form: &Form, kind: Kind, shown: &str) -> Result<Option<Refusal>, Fault> {
    let text = |name: &str| form.get(name).unwrap_or_default();
    let application = match secret_flaw(site, form)? {
        Ok(application) => application,
        Err(refusal) => return Ok(Some(refusal)),
    };
    if kind == Kind::Refresh {
        return Ok(shown.is_empty().then_some(Refusal::RefreshMissing));
    }
    if text("redirect_uri").is_empty() {
        return Ok(Some(Refusal::RedirectMissing));
    }
    if !application.redirect_uris.iter().any(|uri| uri == text("redirect_uri")) {
        return Ok(Some(Refusal::RedirectWrong));
    }
    Ok(shown.is_empty().then_some(Refusal::CodeMissing))
}

fn shortened(form: &Form, names: &[&str], most: u64) -> u64 {
    let wishes = names.iter().filter_map(|name| form.get(name)?.parse::<u64>().ok()).filter(|ms| *ms > 0);
    wishes.min().unwrap_or(most).min(most)
}

/// Of the access token; may only be shortened.
pub(super) fn life(form: &Form) -> u64 {
    shortened(form, &["_access_token_expiry_ms"], TOKEN_LIFE_MS)
}

/// Of the refresh tokens; may only be shortened.
pub(super) fn refresh_life(form: &Form) -> u64 {
    shortened(form, &["_refresh_token_expiry_ms", "_refresh_tokens_validity_ms"], SESSION_MS)
}

impl Visit {
    pub(super) fn errand_opened(&mut self, identity: &Identity, reply: &LoginReply, acr: &str) -> Step {
        let to = with(
            &format!("{}{}", identity.issuer(), paths::AUTHORIZE),
            &[
                ("client_id", identity.own_client()),
                ("redirect_uri", &identity.callback_url()),
                ("response_type", "code"),
                ("scope", SCOPE),
                ("state", &reply.secret.0),
                ("max_age", MAX_AGE_S),
                ("acr_values", acr),
            ],
        );
        let page = Page::found(to);
        Step::Done(match reply.other.0.as_str() {
            "" => page,
            browser => page.with_cookie(BROWSER, browser, 24 * 3_600),
        })
    }

    /// Whoever was sent to the provider is back.
    pub(super) fn errand_taken(
        &mut self,
        identity: &Identity,
        reply: LoginReply,
        query: &Form,
        citizens: Option<Provider>,
    ) -> Step {
        let grant = reply.grant.unwrap_or_default();
        let begun = grant.expires.saturating_sub(ERRAND_MS);
        let Some(request) = grant.request.clone() else {
            let why = "Invalid state parameter.";
            return Step::Done(Page::problem(400, "invalid_request", why, self.attempt));
        };
        let text = |name: &str| query.get(name).unwrap_or_default();
        if grant.citizen.is_some() && !text("code").is_empty() && text("error").is_empty() {
            let back = (text("code"), text("iss"));
            return self.citizen_back(identity, (grant, begun, reply.now), citizens, back);
        }
        let Some(at) = Place::of(text("code")).filter(|_| grant.citizen.is_none()) else {
            let error = if text("error").is_empty() { "server_error" } else { text("error") };
            let to =
                [("error", error), ("error_description", text("error_description")), ("state", request.state.as_str())];
            return Step::Done(Page::found(with(&request.redirect, &to)));
        };
        self.doing = Doing::Passing { redirect: request.redirect.clone(), state: request.state.clone() };
        let redeem = Redeem {
            place: place_bytes(&at),
            client: identity.own_client().into(),
            redirect: identity.callback_url(),
            onward: Some(request),
            // What the provider was asked for went through the browser, which may have changed it.
            least_auth_time: begun.saturating_sub(MAX_AGE_MS),
            ..Default::default()
        };
        call(at.hash, IdentityCommand::Redeem(redeem))
    }

    pub(super) fn passed(&mut self, reply: &LoginReply, redirect: &str, state: &str) -> Step {
        let to = match reply.refusal.as_str() {
            "" => with(redirect, &[("code", &reply.secret.0), ("state", state)]),
            _ => with(redirect, &[("error", "access_denied"), ("state", state)]),
        };
        Step::Done(Page::found(to))
    }

    /// Tokens, or why not. Numbers are texts here, told a second short.
    pub(super) fn traded(&self, reply: &LoginReply, exchange: bool) -> Page {
        if let Some(refusal) = Refusal::of(reply.refused) {
            return self.refusal(refusal);
        }
        let seconds = |ms: u64| (ms / 1_000).saturating_sub(1).to_string();
        let count = reply.grant.as_ref().map_or(0, |grant| grant.count);
        let mut body = json!({
            "access_token": reply.secret.0, "expires_in": seconds(reply.life), "token_type": "Bearer",
            "refresh_token": reply.other.0, "refresh_token_expires_in": seconds(reply.other_life),
            "refresh_count": count.to_string(),
        });
        if exchange {
            body["issued_token_type"] = json!("urn:ietf:params:oauth:token-type:access_token");
        }
        Page::json(200, body)
    }

    pub(super) fn api_shown(&self, reply: &LoginReply) -> Page {
        let Some(grant) = &reply.grant else {
            return Page::from(crate::services::identity::answer::Response::no_user_info(self.attempt));
        };
        let body = Content::UserInfo { uid: grant.user.clone(), scope: ALL.into(), now: reply.now };
        Page { status: 200, body, ..Default::default() }
    }
}

/// What the provider's document holds for an application.
const ALL: &str = "openid profile email nhsperson associatedorgs nationalrbacaccess organisationalmemberships \
                   professionalmemberships";

impl From<crate::services::identity::answer::Response> for Page {
    fn from(response: crate::services::identity::answer::Response) -> Page {
        Page::json(response.status, response.body)
    }
}
