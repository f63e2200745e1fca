//! Log-in on values, at one and at three partitions: a browser goes through the pages, an application gets tokens for the person, and
//! each way in ends when it must.

mod attacks;
mod citizens;
mod citizens_log_in;
mod giving_up;
mod logout;

mod passkey;

use super::*;
use crate::{
    services::{
        directory::{
            rows::{NOTHING, Organisation, Secret, organisation_key},
            signing::{SigningKey, thumbprint},
            users::{self, Authenticator, Coded, Kind, RoleProfile, User, secrets},
        },
        identity::login::{
            page::{Content, Page},
            visit::{Asked, Step, Visit},
        },
    },
    store::tables::Table,
    wire::form::{Form, encode},
};
use aws_lc_rs::{signature, test::rand::FixedByteRandom};

pub const ISSUER_PATH: &str = "/openam/oauth2/realms/root/realms/oidc";
const UID: &str = "656005750109";
const URP: &str = "656014452109";
const OTHER_URP: &str = "656014452110";
const PASSWORD: &str = "correct horse battery";
const TOTP: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
const CLIENT_SECRET: &str = "a client's secret";
const BACK: &str = "https://app.test/back";
const USER_SCOPE: &str = "urn:nhsd:apim:user-nhs-cis2:aal2:personal-demographics-service";

static PASSWORD_ROW: LazyLock<Authenticator> = LazyLock::new(|| secrets::hash(PASSWORD, [9; 16]));

/// A site with a nurse, her organisation, a signing key, and an application with a secret.
fn a_site(partitions: u16) -> Site {
    let mut site = Site::new(partitions);
    let hash = tokens::sha256(&[&[7; 16][..], CLIENT_SECRET.as_bytes()].concat());
    let mut application = an_application();
    application.products[0].scopes.push(USER_SCOPE.into());
    application.redirect_uris = vec![BACK.into()];
    application.secret_salt = Bytes::from_static(&[7; 16]);
    application.secret_hash = Bytes::copy_from_slice(&hash);
    site.register(CLIENT, application);
    let mut put = |key: crate::store::tables::Key, value: Bytes| site.registry.0.insert(key.build(), value);
    put(organisation_key("X26"), Organisation { name: "A hospital".into(), ..Default::default() }.encode());
    put(
        users::authenticator_key(UID, Kind::Password.serial()),
        Authenticator { issued: 1, ..PASSWORD_ROW.clone() }.encode(),
    );
    let codes = Authenticator { kind: 2, secret: Secret(TOTP.into()), ..Default::default() };
    put(users::authenticator_key(UID, Kind::OneTimeCode.serial()), codes.encode());
    let public = public_key(&KEY.1);
    let key = SigningKey { modulus: public.modulus.clone(), exponent: public.exponent.clone(), ..Default::default() };
    put(Table::SigningKeys.key().text(thumbprint(&public.modulus, &public.exponent)), key.encode());
    stand(&mut site, users::State::Active);
    role(&mut site, URP);
    site
}

fn stand(site: &mut Site, state: users::State) {
    let row = User {
        given: "Nina".into(),
        family: "Nurse".into(),
        identity_level: 3,
        state: state as u8,
        since: site.now,
        ..Default::default()
    };
    site.registry.0.insert(users::user_key(UID).build(), row.encode());
}

fn role(site: &mut Site, urp: &str) {
    let row = RoleProfile {
        uid: UID.into(),
        person_org: "656008045105".into(),
        ods: "X26".into(),
        role_code: "S8000:G8000:R8001".into(),
        role_name: "\"Clinical\":\"Clinical Provision\":\"Nurse Access Role\"".into(),
        activities: vec![Coded { code: "B0825".into(), ..Default::default() }],
        ..Default::default()
    };
    site.registry.0.insert(users::role_key(urp).build(), row.encode());
    site.registry.0.insert(users::role_of_user_key(UID, urp).build(), NOTHING);
}

fn code_at(site: &Site) -> String {
    secrets::code(&secrets::totp_key(TOTP).unwrap(), site.now / secrets::STEP_MS)
}

/// What came back.
#[derive(Debug, Default)]
struct Told {
    status: u16,
    location: String,
    text: String,
    body: Value,
}

impl Told {
    fn parameter(&self, name: &str) -> String {
        let query = self.location.split_once('?').map_or("", |(_, query)| query);
        Form::parse(query.as_bytes()).unwrap().get(name).unwrap_or_default().to_owned()
    }
    fn hidden(&self, name: &str) -> String {
        let from = format!("name=\"{name}\" value=\"");
        let at = self.text.find(&from).unwrap_or_else(|| panic!("no {name} in {self:?}")) + from.len();
        self.text[at..].split('"').next().unwrap().to_owned()
    }
    #[track_caller]
    fn refused(&self, status: u16, error: &str, text: &str) {
        let told = (self.status, self.body["error"].as_str(), self.body["error_description"].as_str());
        assert_eq!(told, (status, Some(error), Some(text)));
    }
}

#[derive(Default)]
struct Browser(BTreeMap<String, String>);

impl Browser {
    fn get(&mut self, site: &mut Site, url: &str) -> Told {
        self.go(site, "GET", url, &[], None)
    }
    fn post(&mut self, site: &mut Site, url: &str, fields: &[(&str, &str)]) -> Told {
        self.go(site, "POST", url, fields, None)
    }

    fn go(&mut self, site: &mut Site, method: &str, url: &str, fields: &[(&str, &str)], bearer: Option<&str>) -> Told {
        site.count += 1;
        let url = url.strip_prefix(URL).unwrap_or(url);
        let (path, query) = url.split_once('?').unwrap_or((url, ""));
        let mut headers = HeaderMap::new();
        let cookies: Vec<String> = self.0.iter().map(|(n, v)| format!("{n}={v}")).collect();
        headers.insert("cookie", cookies.join("; ").parse().unwrap());
        if let Some(token) = bearer {
            headers.insert("authorization", format!("Bearer {token}").parse().unwrap());
        }
        let form: Vec<String> = fields.iter().map(|(n, v)| format!("{n}={}", encode(v))).collect();
        let form = Form::parse(form.join("&").as_bytes()).unwrap();
        let registry = MapStore(site.registry.0.clone());
        let query = Form::parse(query.as_bytes()).unwrap();
        let (attempt, certificate) = (site.count, site.certificate.clone());
        let (certificate, proven_ago) = (certificate.as_str(), site.proven_ago);
        let asked = Asked { headers: &headers, query, form, site: &registry, attempt, certificate, proven_ago };
        let begun = match site.identity.route(method, path) {
            Route::Login(route) => Visit::begin(&site.identity, route, &asked).unwrap(),
            Route::Token => match site.identity.exchange(&asked).unwrap() {
                Some(begun) => begun,
                None => site.identity.trade(&asked).unwrap().expect("a grant of a person"),
            },
            Route::UserInfo => site.identity.api_user_info(&asked),
            other => panic!("{other:?}"),
        };
        let page = carry(site, begun);
        self.told(site, page)
    }

    fn told(&mut self, site: &Site, page: Page) -> Told {
        let page = site.identity.finish(page, &site.registry, &mut |claims| Ok(signed(claims))).unwrap();
        for cookie in &page.cookies {
            assert!(cookie.contains("; Secure; HttpOnly; SameSite=Lax"), "{cookie}");
            let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
            self.0.insert(name.into(), value.into());
        }
        let mut told = Told { status: page.status, location: page.location, ..Default::default() };
        match page.body {
            Content::Html(sheet) => told.text = sheet.html(site.identity.site_name()),
            Content::Json(body) => told.body = body,
            _ => {}
        }
        told
    }
}

std::thread_local! {
    /// How often a password was looked at.
    static THOUGHTS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

fn carry(site: &mut Site, (mut visit, mut step): (Visit, Step)) -> Page {
    for _ in 0..8 {
        step = match step {
            Step::Done(page) => return page,
            Step::Think(work) => {
                THOUGHTS.with(|count| count.set(count.get() + 1));
                visit.thought(work())
            }
            Step::Ask(question) => {
                let form = Form::parse(question.form("signed").as_bytes()).unwrap();
                let provider = site.provider.as_ref().expect("nobody asks outside");
                let heard = provider(&form);
                site.asked.push(form);
                visit.heard(heard)
            }
            Step::Submit(calls) => {
                let replies: Vec<Bytes> = calls
                    .into_iter()
                    .map(|call| {
                        let command = Command { payload: call.payload, ..Default::default() };
                        if call.key.is_empty() {
                            return site.decide_site(|i, draft, stamp| i.decide(draft, stamp, &command).unwrap());
                        }
                        let partition = site.map().of(&call.key).0;
                        site.decide(partition, |i, draft, stamp| i.decide(draft, stamp, &command).unwrap())
                    })
                    .collect();
                visit.replied(&site.identity, &replies).unwrap()
            }
        };
    }
    panic!("it goes on and on");
}

/// RS256 with the site's key.
fn signed(claims: &Value) -> String {
    let public = public_key(&KEY.1);
    let kid = thumbprint(&public.modulus, &public.exponent);
    signed_as(&json!({"alg": "RS256", "typ": "JWT", "kid": kid}), claims)
}

fn signed_as(header: &Value, claims: &Value) -> String {
    let part = |v: &Value| jwt::to_base64url(v.to_string().as_bytes());
    let text = format!("{}.{}", part(header), part(claims));
    let mut signature = vec![0; KEY.0.public_modulus_len()];
    let none = FixedByteRandom { byte: 0 };
    KEY.0.sign(&signature::RSA_PKCS1_SHA256, &none, text.as_bytes(), &mut signature).unwrap();
    format!("{text}.{}", jwt::to_base64url(&signature))
}

fn begin(more: &str) -> String {
    format!("/oauth2/authorize?client_id={CLIENT}&redirect_uri={}&response_type=code&state=s-1{more}", encode(BACK))
}

/// From the application's link to the provider's page.
fn to_the_page(site: &mut Site, browser: &mut Browser) -> Told {
    let sent = browser.get(site, &begin(""));
    assert_eq!(sent.status, 302);
    let page = browser.get(site, &sent.location);
    assert_eq!(page.status, 200, "{page:?}");
    page
}

fn fill_in(site: &mut Site, browser: &mut Browser, page: &Told, password: &str, code: &str) -> Told {
    let ticket = page.hidden("ticket");
    let fields = [("ticket", ticket.as_str()), ("user", UID), ("password", password), ("code", code)];
    browser.post(site, &format!("{ISSUER_PATH}/authorize/log-in"), &fields)
}

/// The whole way: the code that comes back to the application.
fn api_code(site: &mut Site, browser: &mut Browser) -> String {
    let page = to_the_page(site, browser);
    let code = code_at(site);
    let sent = fill_in(site, browser, &page, PASSWORD, &code);
    assert_eq!(sent.status, 303, "{sent:?}");
    let back = browser.get(site, &sent.location);
    assert!(back.location.starts_with(BACK), "{back:?}");
    assert_eq!(back.parameter("state"), "s-1");
    back.parameter("code")
}

fn redeem(site: &mut Site, code: &str) -> Told {
    let fields = [
        ("grant_type", "authorization_code"),
        ("client_id", CLIENT),
        ("client_secret", CLIENT_SECRET),
        ("redirect_uri", BACK),
        ("code", code),
    ];
    Browser::default().post(site, "/oauth2/token", &fields)
}

fn refresh(site: &mut Site, token: &str) -> Told {
    let fields = [
        ("grant_type", "refresh_token"),
        ("client_id", CLIENT),
        ("client_secret", CLIENT_SECRET),
        ("refresh_token", token),
    ];
    Browser::default().post(site, "/oauth2/token", &fields)
}

fn text(told: &Told, name: &str) -> String {
    told.body[name].as_str().unwrap_or_else(|| panic!("no {name} in {told:?}")).to_owned()
}

#[test]
fn a_clinician_gets_a_token_that_says_who_and_in_which_role() {
    for partitions in [1, 3] {
        let mut site = a_site(partitions);
        let mut browser = Browser::default();
        let code = api_code(&mut site, &mut browser);
        let told = redeem(&mut site, &code);
        assert_eq!((text(&told, "expires_in"), text(&told, "refresh_count")), ("599".into(), "0".into()));
        assert_eq!(text(&told, "refresh_token_expires_in"), "43199");
        let token = text(&told, "access_token");
        let caller = proven(site.standing(&token)).caller;
        assert_eq!((caller.user.as_str(), caller.role_profile.as_str(), caller.level.as_str()), (UID, URP, "aal2"));
        assert_eq!((caller.job_role.as_str(), caller.activities), ("S8000:G8000:R8001", vec!["B0825".to_owned()]));
        assert_eq!(caller.scopes, [USER_SCOPE]);
        let info = browser.go(&mut site, "GET", "/oauth2/userinfo", &[], Some(&token));
        assert_eq!(info.body["nhsid_nrbac_roles"][0]["person_roleid"], URP);
        // The code was good once.
        redeem(&mut site, &code).refused(400, "invalid_grant", "authorization_code is invalid");
        // No secret is in rows or notes.
        let rows = site.partitions.values().flat_map(|p| p.0.iter());
        assert!(rows.flat_map(|(k, v)| [k, v]).all(|b| !b.windows(43).any(|w| w == token.as_bytes())));
        let notes = format!("{:?}", site.notes);
        assert!(!notes.contains(&token) && !notes.contains(PASSWORD) && !notes.contains(&code));
    }
}

#[test]
fn a_suspended_user_and_an_ended_session_are_refused_at_once() {
    for partitions in [1, 3] {
        let mut site = a_site(partitions);
        let mut browser = Browser::default();
        let code = api_code(&mut site, &mut browser);
        let told = redeem(&mut site, &code);
        let (token, again) = (text(&told, "access_token"), text(&told, "refresh_token"));
        stand(&mut site, users::State::Suspended);
        assert_eq!(site.standing(&token), Standing::Refused(Denied::TokenUnknown));
        refresh(&mut site, &again).refused(401, "invalid_grant", "refresh_token is invalid");
        let page = to_the_page(&mut site, &mut Browser::default());
        assert!(page.text.contains("Log in"));
        stand(&mut site, users::State::Active);
        // A refresh token that was shown is used up, even by a refused request.
        refresh(&mut site, &again).refused(401, "invalid_grant", "refresh_token is invalid");
        proven(site.standing(&token));
        site.registry.0.remove(&users::role_of_user_key(UID, URP).build());
        assert!(matches!(site.standing(&token), Standing::Lapsed(Denied::RolesNone, _)));
    }
}

#[test]
fn a_refresh_token_is_good_once_and_not_past_the_log_in() {
    for partitions in [1, 3] {
        let mut site = a_site(partitions);
        let code = api_code(&mut site, &mut Browser::default());
        let first = redeem(&mut site, &code);
        site.pass(HOUR_MS);
        let second = refresh(&mut site, &text(&first, "refresh_token"));
        assert_eq!(text(&second, "refresh_count"), "1");
        assert_eq!(text(&second, "refresh_token_expires_in"), (43_199 - 3_600).to_string());
        proven(site.standing(&text(&second, "access_token")));
        refresh(&mut site, &text(&first, "refresh_token")).refused(401, "invalid_grant", "refresh_token is invalid");
        site.pass(11 * HOUR_MS + 1);
        let over = refresh(&mut site, &text(&second, "refresh_token"));
        over.refused(401, "invalid_grant", "refresh token refresh period has expired");
        // Nothing is left once all is over.
        site.pass(4 * HOUR_MS);
        let left: Vec<u8> = site.partitions.values().flat_map(|p| p.0.keys().map(|k| k[0])).collect();
        assert!(left.iter().all(|table| *table == Table::SignInAttempts as u8), "{left:?}");
    }
}

#[test]
fn failures_lock_out_for_a_while_and_a_code_is_good_once() {
    for partitions in [1, 3] {
        let mut site = a_site(partitions);
        let mut browser = Browser::default();
        let page = to_the_page(&mut site, &mut browser);
        let code = code_at(&site);
        for _ in 0..5 {
            assert_eq!(fill_in(&mut site, &mut browser, &page, "wrong password", &code).status, 401);
        }
        // Now the right one opens nothing either.
        assert_eq!(fill_in(&mut site, &mut browser, &page, PASSWORD, &code).status, 401);
        assert_eq!(site.notes.last().unwrap().outcome, "locked");
        site.pass(60_001);
        let code = code_at(&site);
        assert_eq!(fill_in(&mut site, &mut browser, &page, PASSWORD, &code).status, 303);
        // The same code at another browser.
        let mut other = Browser::default();
        let page = to_the_page(&mut site, &mut other);
        assert_eq!(fill_in(&mut site, &mut other, &page, PASSWORD, &code).status, 401);
        assert_eq!(site.notes.last().unwrap().outcome, "wrong_code");
        // A form that another browser was given.
        let stolen = fill_in(
            &mut site,
            &mut Browser(BTreeMap::from([("__Host-spine-browser".into(), "x".into())])),
            &page,
            PASSWORD,
            &code,
        );
        assert_eq!(stolen.status, 400);
    }
}

#[test]
fn what_cannot_be_right_is_told_beside_its_field_and_is_no_attempt() {
    let mut site = a_site(3);
    let mut browser = Browser::default();
    let page = to_the_page(&mut site, &mut browser);
    let ticket = page.hidden("ticket");
    let mut post = |site: &mut Site, user: &str, password: &str, code: &str| {
        let fields = [("ticket", ticket.as_str()), ("user", user), ("password", password), ("code", code)];
        browser.post(site, &format!("{ISSUER_PATH}/authorize/log-in"), &fields)
    };
    for (user, password, code, told) in [
        ("", PASSWORD, "123456", vec![("user", "Enter your user ID")]),
        ("6560<b>", PASSWORD, "123456", vec![("user", "Your user ID must be 12 digits")]),
        (UID, "", "", vec![("password", "Enter your password"), ("code", "Enter your one-time code")]),
        (UID, PASSWORD, "12345", vec![("code", "Your one-time code must be 6 digits")]),
    ] {
        let page = post(&mut site, user, password, code);
        assert_eq!(page.status, 400, "{page:?}");
        assert!(site.notes.iter().all(|note| note.interaction != "identity.sign_in"), "it is no attempt");
        assert!(page.text.contains("<title>Error: Log in - "), "{page:?}");
        for (field, words) in told {
            assert!(page.text.contains(&format!("<a href=\"#{field}\">{words}</a>")), "{field}: {page:?}");
            let beside = format!("id=\"{field}-error\"><span class=\"nhsuk-u-visually-hidden\">Error: </span>{words}");
            assert!(page.text.contains(&beside), "{field}: {page:?}");
        }
        if !user.is_empty() {
            let kept = user.replace('<', "&lt;").replace('>', "&gt;");
            assert!(page.text.contains(&format!("name=\"user\" type=\"text\" value=\"{kept}\"")), "{page:?}");
        }
        assert!(!page.text.contains(PASSWORD), "and what is secret is not");
    }
    let code = code_at(&site);
    assert_eq!(post(&mut site, UID, "wrong password", &code).status, 401);
    // As people copy them: in groups.
    let spaced = format!("{} {} {}", &UID[..4], &UID[4..8], &UID[8..]);
    let code = format!("{} {}", &code[..3], &code[3..]);
    assert_eq!(post(&mut site, &spaced, PASSWORD, &code).status, 303);
}

#[test]
fn authorization_refuses_in_the_words_of_the_table() {
    let mut site = a_site(1);
    let mut browser = Browser::default();
    let mut get = |site: &mut Site, query: &str| browser.get(site, &format!("/oauth2/authorize?{query}"));
    let back = encode(BACK);
    get(&mut site, "").refused(401, "invalid_request", "client_id is missing");
    get(&mut site, "client_id=nobody-1").refused(401, "invalid_request", "client_id is invalid");
    let client = format!("client_id={CLIENT}");
    get(&mut site, &client).refused(400, "invalid_request", "redirect_uri is missing");
    let query = format!("{client}&redirect_uri=https%3A%2F%2Fevil.test");
    get(&mut site, &query).refused(400, "invalid_request", "redirect_uri is invalid");
    let base = format!("{client}&redirect_uri={back}");
    for (more, error, why) in [
        ("", "invalid_request", "state is missing"),
        ("&state=s", "invalid_request", "response_type is missing"),
        ("&state=s&response_type=token", "unsupported_response_type", "response_type is invalid"),
    ] {
        let told = get(&mut site, &format!("{base}{more}"));
        assert!(told.location.starts_with(BACK), "{told:?}");
        assert_eq!((told.parameter("error").as_str(), told.parameter("error_description").as_str()), (error, why));
    }
    // Whoever comes back without having gone.
    let stray = browser.get(&mut site, "/oauth2/callback?code=x&state=y");
    stray.refused(400, "invalid_request", "Invalid state parameter.");
    // At the provider nobody is sent to a strange address.
    let url = format!("{ISSUER_PATH}/authorize?client_id={CLIENT}&redirect_uri=https%3A%2F%2Fevil.test&scope=openid");
    let told = browser.get(&mut site, &url);
    assert_eq!((told.status, told.location.as_str()), (400, ""));
}

#[test]
fn codes_and_refresh_tokens_are_refused_in_the_words_of_the_table() {
    let mut site = a_site(3);
    let mut ask = |fields: &[(&str, &str)]| {
        let fields = [&[("grant_type", "authorization_code")], fields].concat();
        Browser::default().post(&mut site, "/oauth2/token", &fields)
    };
    let (id, secret, redirect) = (("client_id", CLIENT), ("client_secret", CLIENT_SECRET), ("redirect_uri", BACK));
    ask(&[]).refused(401, "invalid_request", "client_id is missing");
    ask(&[id]).refused(401, "invalid_request", "client_secret is missing");
    ask(&[id, ("client_secret", "x")]).refused(401, "invalid_client", "client_id or client_secret is invalid");
    ask(&[("client_id", "nobody-1"), secret]).refused(401, "invalid_client", "client_id or client_secret is invalid");
    ask(&[id, secret]).refused(400, "invalid_request", "redirect_uri is missing");
    let wrong = ("redirect_uri", "https://app.test/other");
    ask(&[id, secret, wrong]).refused(400, "invalid_request", "redirect_uri is invalid");
    ask(&[id, secret, redirect]).refused(400, "invalid_request", "authorization_code is missing");
    let none = ask(&[id, secret, redirect, ("code", "x")]);
    none.refused(400, "invalid_grant", "authorization_code is invalid");
    let fields = [("grant_type", "refresh_token"), id, secret];
    Browser::default().post(&mut site, "/oauth2/token", &fields).refused(
        400,
        "invalid_request",
        "refresh_token is missing",
    );
    refresh(&mut site, "x").refused(401, "invalid_grant", "refresh_token is invalid");
}

/// The provider's own flow: PKCE, ID token, exchange.
fn id_token(site: &mut Site, browser: &mut Browser, scope: &str) -> Told {
    let verifier = "a-verifier-of-enough-characters-for-the-standard";
    let challenge = jwt::to_base64url(&tokens::sha256(verifier.as_bytes()));
    let url = format!(
        "{ISSUER_PATH}/authorize?client_id={CLIENT}&redirect_uri={}&response_type=code&scope={}&state=s-2&nonce=n-1\
         &acr_values=AAL2_ANY&code_challenge={challenge}&code_challenge_method=S256",
        encode(BACK),
        encode(scope)
    );
    let page = browser.get(site, &url);
    let code = code_at(site);
    let mut sent = fill_in(site, browser, &page, PASSWORD, &code);
    if sent.status == 200 {
        let ticket = sent.hidden("ticket");
        let fields = [("ticket", ticket.as_str()), ("role", OTHER_URP)];
        sent = browser.post(site, &format!("{ISSUER_PATH}/authorize/role"), &fields);
    }
    assert_eq!(sent.status, 303, "{sent:?}");
    let code = sent.parameter("code");
    let fields = [
        ("grant_type", "authorization_code"),
        ("client_id", CLIENT),
        ("client_secret", CLIENT_SECRET),
        ("redirect_uri", BACK),
        ("code", &code),
        ("code_verifier", verifier),
    ];
    Browser::default().post(site, &format!("{ISSUER_PATH}/access_token"), &fields)
}

fn exchange(site: &mut Site, subject: &str) -> Told {
    let assertion = site.good();
    let fields = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:id_token"),
        ("subject_token", subject),
        ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
        ("client_assertion", &assertion),
    ];
    Browser::default().post(site, "/oauth2/token", &fields)
}

#[test]
fn an_id_token_says_who_and_is_exchanged_until_the_session_ends() {
    for partitions in [1, 3] {
        let mut site = a_site(partitions);
        role(&mut site, OTHER_URP);
        let mut browser = Browser::default();
        let told = id_token(&mut site, &mut browser, "openid profile nationalrbacaccess selectedrole");
        let text_of = text(&told, "id_token");
        let jwt = jwt::Jwt::parse(&text_of).unwrap();
        for (claim, wanted) in [
            ("sub", UID),
            ("aud", CLIENT),
            ("nonce", "n-1"),
            ("acr", "AAL2_ANY"),
            ("authentication_assurance_level", "2"),
            ("id_assurance_level", "3"),
            ("selected_roleid", OTHER_URP),
            ("tokenName", "id_token"),
        ] {
            assert_eq!(jwt.claim(claim), Some(wanted), "{claim}");
        }
        let token = text(&told, "access_token");
        let info = browser.go(&mut site, "GET", &format!("{ISSUER_PATH}/userinfo"), &[], Some(&token));
        assert_eq!((&info.body["sub"], &info.body["family_name"]), (&json!(UID), &json!("Nurse")));
        // The provider's token is good for that only.
        assert_eq!(site.standing(&token), Standing::Refused(Denied::TokenUnknown));
        let given = exchange(&mut site, &text_of);
        assert_eq!(text(&given, "issued_token_type"), "urn:ietf:params:oauth:token-type:access_token");
        let token = text(&given, "access_token");
        assert_eq!(proven(site.standing(&token)).caller.role_profile, OTHER_URP);
        let out = browser.get(&mut site, &format!("{ISSUER_PATH}/connect/endSession?id_token_hint={text_of}"));
        assert_eq!(out.status, 200);
        assert_eq!(site.standing(&token), Standing::Refused(Denied::TokenUnknown));
        exchange(&mut site, &text_of).refused(400, "invalid_grant", "The session of the subject_token has ended");
    }
}

#[test]
fn subject_tokens_are_refused_in_the_words_of_the_table() {
    let mut site = a_site(3);
    let issuer = format!("{URL}{ISSUER_PATH}");
    let claims = json!({"iss": issuer, "aud": CLIENT, "sub": UID, "exp": NOW / 1_000 + 60, "tokenName": "id_token"});
    let with = |name: &str, value: Value| {
        let mut claims = claims.clone();
        claims[name] = value;
        signed(&claims)
    };
    let expired = with("exp", json!(NOW / 1_000 - 1));
    exchange(&mut site, &expired).refused(
        400,
        "invalid_request",
        "Invalid 'exp' claim in subject_token JWT - JWT has expired",
    );
    let text = "Invalid 'exp' claim in subject_token JWT - must be an integer";
    exchange(&mut site, &with("exp", json!("soon"))).refused(400, "invalid_request", text);
    exchange(&mut site, &with("exp", json!(null))).refused(
        400,
        "invalid_request",
        "Missing 'exp' claim in subject_token JWT",
    );
    exchange(&mut site, &with("iss", json!(null))).refused(
        400,
        "invalid_request",
        "Missing 'iss' claim in subject_token JWT",
    );
    let text = "Missing or non-matching 'iss' claim in subject_token JWT";
    exchange(&mut site, &with("iss", json!("https://evil.test"))).refused(400, "invalid_request", text);
    exchange(&mut site, &with("aud", json!(null))).refused(
        401,
        "invalid_request",
        "Missing 'aud' claim in subject_token JWT",
    );
    exchange(&mut site, "x").refused(400, "invalid_request", "Malformed JWT in subject_token");
    exchange(&mut site, "").refused(400, "invalid_request", "Missing subject_token");
    let forged = jwt::tests::sign(&OTHER.0, &json!({"alg": "RS256", "typ": "JWT", "kid": "none"}), &claims);
    let text = "Invalid 'kid' header in subject_token JWT - no matching public key";
    exchange(&mut site, &forged).refused(401, "invalid_request", text);
    let kid = thumbprint(&public_key(&KEY.1).modulus, &public_key(&KEY.1).exponent);
    let forged = jwt::tests::sign(&OTHER.0, &json!({"alg": "RS256", "typ": "JWT", "kid": kid}), &claims);
    exchange(&mut site, &forged).refused(401, "invalid_request", "JWT signature verification failed");
    let fields =
        [("grant_type", "client_credentials"), ("subject_token_type", "urn:ietf:params:oauth:token-type:id_token")];
    Browser::default().post(&mut site, "/oauth2/token", &fields).refused(
        400,
        "invalid_request",
        "grant_type is invalid",
    );
    // A list of several is an audience too: what it lacks is the rest.
    let several = exchange(&mut site, &with("aud", json!(["a", "b"])));
    several.refused(400, "invalid_grant", "The session of the subject_token has ended");
    for none in [json!([]), json!([""]), json!(7)] {
        let text = "Missing 'aud' claim in subject_token JWT";
        exchange(&mut site, &with("aud", none)).refused(401, "invalid_request", text);
    }
}
