//! The combined flow for citizens on values: from an application's link over a provider elsewhere to tokens, and each way in which it
//! does not get there. Nothing but an ID token of the provider, for the site, for this very log-in, opens anything.

use super::*;
use crate::services::{
    directory::{
        applications,
        issuers::{CitizenIssuer, LogInAt},
    },
    identity::login::citizens::Heard,
};

const PROVIDER: &str = "https://auth.login.test";
const AT: &str = "https://auth.login.test/authorize";
const US: &str = "the-site-at-the-provider";
const NHS: &str = "9990000018";
const P9: &str = "urn:nhsd:apim:user-nhs-login:P9:personal-demographics-service";

fn a_site_that_sends_citizens(partitions: u16) -> Site {
    let mut site = a_site(partitions);
    let mut application = applications::application(&site.registry, CLIENT).unwrap().unwrap();
    application.products[0].scopes.push(P9.into());
    site.register(CLIENT, application);
    let log_in = LogInAt {
        authorize: AT.into(),
        token: "https://auth.login.test/token".into(),
        client: US.into(),
        private: Secret("a private key".into()),
        kid: "k".into(),
        ..Default::default()
    };
    let row = CitizenIssuer { keys: vec![public_key(&OTHER.1)], log_in: Some(log_in), ..Default::default() };
    site.registry.0.insert(Table::CitizenIssuers.key().text(PROVIDER).build(), row.encode());
    site
}

fn claims(site: &Site, nonce: &str) -> Value {
    let now = site.now / 1_000;
    json!({
        "iss": PROVIDER, "sub": "8dc9fc1d", "aud": US, "exp": now + 300, "auth_time": now, "nonce": nonce,
        "nhs_number": NHS, "identity_proofing_level": "P9", "vot": "P9.Cp.Cd",
    })
}

fn id_token(claims: &Value) -> String {
    let kid = public_key(&OTHER.1).kid;
    jwt::tests::sign(&OTHER.0, &json!({"alg": "RS512", "typ": "JWT", "kid": kid}), claims)
}

fn answer(body: &Value) -> Heard {
    Ok((200, body.to_string().into()))
}

/// To the provider, as the browser is sent.
fn sent(site: &mut Site, browser: &mut Browser) -> Told {
    let sent = browser.get(site, &begin("&scope=nhs-login"));
    assert_eq!(sent.status, 302, "{sent:?}");
    assert!(sent.location.starts_with(&format!("{AT}?")), "{sent:?}");
    sent
}

fn back(state: &str, more: &str) -> String {
    format!("/oauth2/callback?state={}{more}", encode(state))
}

/// Back from the provider, which says this of the nonce that it was sent.
fn back_with(site: &mut Site, make: impl Fn(Value) -> Heard + 'static) -> Told {
    let mut browser = Browser::default();
    let sent = sent(site, &mut browser);
    let good = claims(site, &sent.parameter("nonce"));
    site.provider = Some(Box::new(move |_| make(good.clone())));
    browser.get(site, &back(&sent.parameter("state"), "&code=of-the-provider"))
}

#[test]
fn a_citizen_comes_back_from_the_provider_and_the_application_gets_tokens() {
    for partitions in [1, 3] {
        let mut site = a_site_that_sends_citizens(partitions);
        let mut browser = Browser::default();
        let sent = sent(&mut site, &mut browser);
        for (name, value) in [
            ("client_id", US),
            ("redirect_uri", "https://api.spine.test/oauth2/callback"),
            ("response_type", "code"),
            ("scope", "openid profile"),
            ("code_challenge_method", "S256"),
            ("max_age", "300"),
        ] {
            assert_eq!(sent.parameter(name), value, "{name}");
        }
        let good = claims(&site, &sent.parameter("nonce"));
        site.provider = Some(Box::new(move |_| answer(&json!({"id_token": id_token(&good)}))));
        let state = sent.parameter("state");
        let there = browser.get(&mut site, &back(&state, "&code=of-the-provider"));
        assert!(there.location.starts_with(BACK), "{there:?}");
        assert_eq!((there.parameter("state"), there.parameter("error")), ("s-1".into(), String::new()));
        // The provider was asked once, with what proves that it is the one who sent the browser.
        let [form] = site.asked.as_slice() else { panic!("{:?}", site.asked.len()) };
        let text = |name: &str| form.get(name).unwrap_or_default().to_owned();
        assert_eq!((text("grant_type"), text("code")), ("authorization_code".into(), "of-the-provider".into()));
        assert_eq!((text("client_id"), text("client_assertion")), (US.into(), "signed".into()));
        let proof = jwt::to_base64url(&tokens::sha256(text("code_verifier").as_bytes()));
        assert_eq!(proof, sent.parameter("code_challenge"));
        assert!(![&sent.parameter("nonce"), &sent.parameter("code_challenge")].contains(&&text("code_verifier")));

        let code = there.parameter("code");
        let told = redeem(&mut site, &code);
        assert_eq!(text_of(&told, "refresh_token_expires_in"), "3599");
        let caller = proven(site.standing(&text_of(&told, "access_token"))).caller;
        assert_eq!((caller.level.as_str(), caller.nhs_number.as_str(), caller.scopes), ("P9", NHS, vec![P9.into()]));
        assert_eq!((caller.user.as_str(), caller.role_profile.as_str()), ("8dc9fc1d", ""));
        // User-info is the provider of staff's alone.
        let token = text_of(&told, "access_token");
        let info = browser.go(&mut site, "GET", "/oauth2/userinfo", &[], Some(&token));
        assert_eq!(info.status, 400, "{info:?}");
        // Code and state were good once.
        redeem(&mut site, &code).refused(400, "invalid_grant", "authorization_code is invalid");
        let again = browser.get(&mut site, &back(&state, "&code=of-the-provider"));
        again.refused(400, "invalid_request", "Invalid state parameter.");
        assert_eq!(site.asked.len(), 1, "nobody was asked again");
        // An hour from the log-in, whatever is refreshed.
        site.pass(30 * 60_000);
        let second = refresh(&mut site, &text_of(&told, "refresh_token"));
        assert_eq!(text_of(&second, "refresh_token_expires_in"), "1799");
        let notes = format!("{:?}", site.notes);
        for secret in ["of-the-provider", "a private key", &code, &token, &form_text(&site, "code_verifier")] {
            assert!(!notes.contains(secret), "{secret}");
        }
        site.pass(5 * HOUR_MS);
        assert!(site.partitions.values().all(|p| p.0.is_empty()), "nothing is left");
    }
}

fn form_text(site: &Site, name: &str) -> String {
    site.asked[0].get(name).unwrap().to_owned()
}

fn text_of(told: &Told, name: &str) -> String {
    text(told, name)
}

#[test]
fn an_id_token_that_is_not_for_this_log_in_opens_nothing() {
    let mut site = a_site_that_sends_citizens(3);
    let now = site.now / 1_000;
    let kid = public_key(&OTHER.1).kid;
    for (name, value, word) in [
        ("nonce", json!("of-another-browser"), "nonce"),
        ("nonce", json!(null), "nonce"),
        ("aud", json!("another-client"), "other_audience"),
        ("aud", json!([US, "another-client"]), "other_audience"),
        ("azp", json!("another-client"), "other_audience"),
        ("iss", json!("https://other.test"), "SubjectIss"),
        ("exp", json!(now), "SubjectExpired"),
        ("exp", json!(null), "SubjectExpMissing"),
        ("auth_time", json!(now - 361), "old_log_in"),
        ("auth_time", json!(null), "no_auth_time"),
        ("identity_proofing_level", json!("P7"), "SubjectClaims"),
        ("nhs_number", json!("9990000019"), "SubjectClaims"),
        ("act", json!({"sub": "x"}), "ActedMalformed"),
    ] {
        let told = back_with(&mut site, move |mut claims| {
            claims[name] = value.clone();
            answer(&json!({"id_token": id_token(&claims)}))
        });
        denied(&site, &told, "access_denied", word);
    }
    // The site's own key under the kid of the provider's.
    let told = back_with(&mut site, move |claims| {
        let header = json!({"alg": "RS512", "typ": "JWT", "kid": kid});
        answer(&json!({"id_token": jwt::tests::sign(&KEY.0, &header, &claims)}))
    });
    denied(&site, &told, "access_denied", "SubjectSignature");
    assert!(
        site.partitions.values().flat_map(|p| p.0.keys()).all(|key| Table::AccessTokens.key().build()[0] != key[0])
    );
}

/// Back at the application with an error, which the trail tells of.
#[track_caller]
fn denied(site: &Site, told: &Told, error: &str, word: &str) {
    assert!(told.location.starts_with(BACK), "{told:?}");
    let found = (told.parameter("error"), told.parameter("state"), told.parameter("code"));
    assert_eq!(found, (error.into(), "s-1".into(), String::new()), "{word}");
    let note = site.notes.last().unwrap();
    assert_eq!((note.outcome.as_str(), note.object.as_str()), (word, CLIENT), "{note:?}");
}

#[test]
fn a_provider_that_cannot_say_is_told_in_the_words_of_oauth() {
    let mut site = a_site_that_sends_citizens(3);
    let refused = |status: u16, error: &str| Ok((status, json!({"error": error}).to_string().into()));
    let cases: [(Heard, &str, &str); 8] = [
        (Err("unreachable"), "temporarily_unavailable", "unreachable"),
        (Err("too_late"), "temporarily_unavailable", "too_late"),
        (Err("busy"), "temporarily_unavailable", "busy"),
        (refused(503, ""), "temporarily_unavailable", "provider_failed"),
        (refused(400, "invalid_grant"), "access_denied", "provider_refused"),
        (refused(401, "invalid_client"), "server_error", "provider_refused_us"),
        (Ok((200, "<html>".into())), "access_denied", "no_id_token"),
        (answer(&json!({"access_token": "x"})), "access_denied", "no_id_token"),
    ];
    for (heard, error, word) in cases {
        let told = back_with(&mut site, move |_| heard.clone());
        denied(&site, &told, error, word);
    }
}

#[test]
fn who_did_not_begin_or_did_not_agree_gets_nothing() {
    let mut site = a_site_that_sends_citizens(3);
    let mut browser = Browser::default();
    let begun = sent(&mut site, &mut browser);
    let state = begun.parameter("state");
    // Another browser's, none's, and one that was never given out.
    for (mut other, state) in [
        (Browser::default(), state.clone()),
        (Browser(browser.0.clone()), "x".into()),
        (Browser::default(), String::new()),
    ] {
        let told = other.get(&mut site, &back(&state, "&code=c"));
        told.refused(400, "invalid_request", "Invalid state parameter.");
    }
    let mut second = Browser::default();
    let others = sent(&mut site, &mut second);
    let told = second.get(&mut site, &back(&state, "&code=c"));
    told.refused(400, "invalid_request", "Invalid state parameter.");
    // The citizen does not agree: the provider's words are passed through, and the state is used up.
    let told = browser.get(&mut site, &back(&state, "&error=access_denied&error_description=no"));
    let found = (told.parameter("error"), told.parameter("error_description"), told.parameter("state"));
    assert_eq!(found, ("access_denied".into(), "no".into(), "s-1".into()));
    browser.get(&mut site, &back(&state, "&code=c")).refused(400, "invalid_request", "Invalid state parameter.");
    // Another provider's answer is not taken to this one.
    let told = second.get(&mut site, &back(&others.parameter("state"), "&code=c&iss=https%3A%2F%2Fother.test"));
    denied(&site, &told, "access_denied", "other_issuer");
    // Trust that ends on the way.
    let mut third = Browser::default();
    let sent = sent(&mut site, &mut third);
    site.registry.0.remove(&Table::CitizenIssuers.key().text(PROVIDER).build());
    let told = third.get(&mut site, &back(&sent.parameter("state"), "&code=c"));
    denied(&site, &told, "temporarily_unavailable", "provider_gone");
    assert!(site.asked.is_empty());
    // And nobody is sent anywhere then.
    let told = third.get(&mut site, &begin("&scope=nhs-login"));
    assert_eq!(told.parameter("error"), "invalid_scope");
}

#[test]
fn staff_and_citizens_do_not_pass_for_one_another() {
    let mut site = a_site_that_sends_citizens(3);
    // An application without a product for citizens sends none.
    let mut application = applications::application(&site.registry, CLIENT).unwrap().unwrap();
    application.products[0].scopes.retain(|scope| scope != P9);
    site.register(CLIENT, application.clone());
    let told = Browser::default().get(&mut site, &begin("&scope=nhs-login"));
    assert_eq!((told.status, told.body["error"].as_str()), (401, Some("access_denied")));
    // One without a product for staff sends citizens.
    application.products[0].scopes = vec![P9.into()];
    site.register(CLIENT, application);
    sent(&mut site, &mut Browser::default());
    let told = Browser::default().get(&mut site, &begin(""));
    assert_eq!((told.status, told.body["error"].as_str()), (401, Some("access_denied")));
    // An ID token of the site's own provider of staff is no citizen's.
    let told = back_with(&mut site, |mut claims| {
        claims["iss"] = json!(format!("{URL}{ISSUER_PATH}"));
        answer(&json!({"id_token": signed(&claims)}))
    });
    denied(&site, &told, "access_denied", "SubjectIss");
}
