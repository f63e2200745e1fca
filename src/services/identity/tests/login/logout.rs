//! The end of a session on values: who is told of it and how often, and the token service that is told by the provider.

use super::*;
use crate::services::{
    directory::applications,
    identity::{
        command::IdentityCommand,
        login::{
            notices::{self, Due, EVENT, GIVE_UP_MS, NoticeSent},
            rows::place_of,
        },
    },
};

const HEARS_AT: &str = "https://app.test/signed-out";

fn told_at(site: &mut Site, uri: &str) {
    let mut application = applications::application(&site.registry, CLIENT).unwrap().unwrap();
    application.backchannel_logout_uri = uri.into();
    site.register(CLIENT, application);
}

/// Everything that is owed, wherever it lies.
fn owed(site: &Site) -> Vec<Due> {
    site.partitions.values().flat_map(|rows| notices::due(rows, u64::MAX - 1, 10).unwrap()).collect()
}

fn came_of_it(site: &mut Site, due: &Due, outcome: &str) {
    let place = place_of(&due.notice.session).unwrap();
    let partition = site.map().of(&place.hash).0;
    let sent = NoticeSent { due: due.due, id: due.id.clone(), outcome: outcome.into(), ..Default::default() };
    let command = Command { payload: IdentityCommand::NoticeSent(sent).encode(), ..Default::default() };
    site.decide(partition, |i, draft, stamp| i.decide(draft, stamp, &command).unwrap());
}

fn log_out(site: &mut Site, browser: &mut Browser, id_token: &str) {
    let out = browser.get(site, &format!("{ISSUER_PATH}/connect/endSession?id_token_hint={id_token}"));
    assert_eq!(out.status, 200);
}

#[test]
fn whoever_got_an_id_token_is_told_until_it_has_heard() {
    for partitions in [1, 3] {
        let mut site = a_site(partitions);
        told_at(&mut site, HEARS_AT);
        let mut browser = Browser::default();
        let id_token = text(&id_token(&mut site, &mut browser, "openid"), "id_token");
        assert!(owed(&site).is_empty());
        log_out(&mut site, &mut browser, &id_token);
        let [first] = &owed(&site)[..] else { panic!("one is owed") };
        let claims = site.identity.logout_token(first, site.now);
        let sid = jwt::Jwt::parse(&id_token).unwrap().claim("sid").unwrap().to_owned();
        assert_eq!((&claims["aud"], &claims["sid"], &claims["sub"]), (&json!([CLIENT]), &json!(sid), &json!(UID)));
        assert_eq!(claims["iss"], format!("{URL}{ISSUER_PATH}"));
        assert_eq!(claims["events"], json!({EVENT: {}}));
        assert!(claims["iat"].is_u64() && claims["jti"].is_string() && claims.get("nonce").is_none());
        came_of_it(&mut site, first, "unreachable");
        let [again] = &owed(&site)[..] else { panic!("it is owed still") };
        assert!(again.due > site.now && again.notice.tries == 1 && again.id == first.id);
        let rows = &site.partitions[&site.map().of(&place_of(&again.notice.session).unwrap().hash).0];
        assert!(notices::due(rows, site.now, 10).unwrap().is_empty(), "not at once");
        // Another node was quicker, or the answer got lost: nothing is left, and nothing comes back.
        came_of_it(&mut site, again, "ok");
        came_of_it(&mut site, again, "unreachable");
        assert!(owed(&site).is_empty());
        let outcomes: Vec<&str> = site.notes.iter().rev().take(2).map(|n| n.outcome.as_str()).collect();
        assert_eq!(outcomes, ["ok", "unreachable"], "what came of nothing is not told");
    }
}

#[test]
fn who_does_not_listen_is_given_up_after_a_day() {
    let mut site = a_site(3);
    told_at(&mut site, HEARS_AT);
    let mut browser = Browser::default();
    let id_token = text(&id_token(&mut site, &mut browser, "openid"), "id_token");
    log_out(&mut site, &mut browser, &id_token);
    let (began, mut tries) = (site.now, 0);
    while let Some(due) = owed(&site).first().cloned() {
        site.now = site.now.max(due.due);
        came_of_it(&mut site, &due, "refused");
        tries += 1;
    }
    assert_eq!(site.notes.last().unwrap().outcome, "given_up");
    assert!(site.now - began >= GIVE_UP_MS && (90..200).contains(&tries), "{tries} in {}", site.now - began);
}

#[test]
fn nobody_is_told_who_has_no_address_or_no_id_token_of_it() {
    let mut site = a_site(3);
    let mut browser = Browser::default();
    let without = text(&id_token(&mut site, &mut browser, "openid"), "id_token");
    log_out(&mut site, &mut browser, &without);
    assert!(owed(&site).is_empty());
    // The combined flow gives no ID token: its tokens end with the session, and there is nothing else to end.
    told_at(&mut site, HEARS_AT);
    site.pass(60_000);
    api_code(&mut site, &mut Browser::default());
    site.pass(16 * HOUR_MS);
    assert!(owed(&site).is_empty());
}

#[test]
fn a_session_that_runs_out_is_told_too() {
    let mut site = a_site(3);
    told_at(&mut site, HEARS_AT);
    id_token(&mut site, &mut Browser::default(), "openid");
    site.pass(15 * HOUR_MS);
    assert_eq!(owed(&site).len(), 1);
    let left: Vec<u8> = site.partitions.values().flat_map(|p| p.0.keys().map(|k| k[0])).collect();
    assert!(!left.contains(&(Table::Grants as u8)), "{left:?}");
}

fn backchannel(site: &mut Site, token: &str) -> Told {
    Browser::default().post(site, "/oauth2/backchannel_logout", &[("logout_token", token)])
}

#[test]
fn the_token_service_ends_all_tokens_of_the_session_it_is_told_of() {
    for partitions in [1, 3] {
        let mut site = a_site(partitions);
        let mut browser = Browser::default();
        let subject = text(&id_token(&mut site, &mut browser, "openid"), "id_token");
        let sid = jwt::Jwt::parse(&subject).unwrap().claim("sid").unwrap().to_owned();
        let given = exchange(&mut site, &subject);
        let second = refresh(&mut site, &text(&given, "refresh_token"));
        let tokens = [text(&given, "access_token"), text(&second, "access_token")];
        tokens.iter().for_each(|token| drop(proven(site.standing(token))));
        let claims = json!({
            "iss": format!("{URL}{ISSUER_PATH}"), "sub": UID, "aud": [site.identity.own_client()],
            "iat": site.now / 1_000, "jti": "1", "sid": sid, "events": {EVENT: {}},
        });
        let with = |name: &str, value: Value| {
            let mut claims = claims.clone();
            claims[name] = value;
            signed(&claims)
        };
        let without = |name: &str| {
            let mut claims = claims.clone();
            claims.as_object_mut().unwrap().remove(name);
            signed(&claims)
        };
        let unverified = "Unable to verify JWT";
        for token in ["", "x", &subject[..subject.len() - 8]] {
            backchannel(&mut site, token).refused(400, "bad_request", unverified);
        }
        let kid = thumbprint(&public_key(&KEY.1).modulus, &public_key(&KEY.1).exponent);
        let forged = jwt::tests::sign(&OTHER.0, &json!({"alg": "RS256", "typ": "JWT", "kid": kid}), &claims);
        backchannel(&mut site, &forged).refused(400, "bad_request", unverified);
        let old = with("exp", json!(site.now / 1_000));
        backchannel(&mut site, &old).refused(400, "bad_request", unverified);
        for (token, why) in [
            (without("aud"), "Missing/invalid aud claim in JWT"),
            (with("aud", json!([CLIENT])), "Missing/invalid aud claim in JWT"),
            (without("iss"), "Missing/invalid iss claim in JWT"),
            (with("iss", json!("https://evil.test")), "Missing/invalid iss claim in JWT"),
            (without("sid"), "Missing sid claim in JWT"),
            (without("events"), "Missing/invalid events claim in JWT"),
            (with("events", json!({"http://other": {}})), "Missing/invalid events claim in JWT"),
            (with("nonce", json!("n")), "Prohibited nonce claim in JWT"),
        ] {
            backchannel(&mut site, &token).refused(400, "invalid_request", why);
        }
        backchannel(&mut site, &with("sid", json!("x"))).refused(501, "not_implemented", "SID not found");
        tokens.iter().for_each(|token| drop(proven(site.standing(token))));
        let done = backchannel(&mut site, &signed(&claims));
        assert_eq!((done.status, &done.body), (200, &json!({"success": true})));
        for token in &tokens {
            assert_eq!(site.standing(token), Standing::Refused(Denied::TokenUnknown));
        }
        refresh(&mut site, &text(&second, "refresh_token")).refused(401, "invalid_grant", "refresh_token is invalid");
        backchannel(&mut site, &signed(&claims)).refused(501, "not_implemented", "SID not found");
    }
}

#[test]
fn the_provider_takes_both_algorithms_and_the_token_service_one() {
    let mut site = a_site(3);
    let ask = |site: &mut Site, path: &str, grant: &str, header: Value, aud: &str| {
        let claims = json!({
            "iss": CLIENT, "sub": CLIENT, "aud": aud, "jti": format!("{path}{header}{}", site.count),
            "exp": site.now / 1_000 + 60,
        });
        let sha256 = header["alg"] == "RS256";
        let assertion = match sha256 {
            true => signed_as(&header, &claims),
            false => jwt::tests::sign(&KEY.0, &header, &claims),
        };
        let fields = [
            ("grant_type", grant),
            ("client_id", CLIENT),
            ("redirect_uri", BACK),
            ("code", &tokens::draw(&[1; 16], 1, site.now).0.clone()),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:id_token"),
            ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
            ("client_assertion", &assertion),
        ];
        Browser::default().post(site, path, &fields)
    };
    let kid = an_application().keys[0].kid.clone();
    let (path, issuer) = (format!("{ISSUER_PATH}/access_token"), format!("{URL}{ISSUER_PATH}"));
    let code = "authorization_code";
    for header in [json!({"alg": "RS256", "kid": kid}), json!({"alg": "RS512", "kid": kid, "typ": "JWT"})] {
        // The client is believed: it is the code that is not.
        ask(&mut site, &path, code, header, &issuer).refused(400, "invalid_grant", "code is invalid");
    }
    let strange = json!({"alg": "RS256", "kid": kid, "typ": "other"});
    ask(&mut site, &path, code, strange, &issuer).refused(401, "invalid_client", "client_assertion is invalid");
    let exchange = "urn:ietf:params:oauth:grant-type:token-exchange";
    let url = format!("{URL}/oauth2/token");
    let text = "Invalid 'alg' header in client_assertion JWT - unsupported JWT algorithm - must be 'RS512'";
    let header = json!({"alg": "RS256", "kid": kid, "typ": "JWT"});
    ask(&mut site, "/oauth2/token", exchange, header, &url).refused(400, "invalid_request", text);
    let text = "Invalid 'typ' header in client_assertion JWT - must be 'JWT'";
    let header = json!({"alg": "RS512", "kid": kid});
    ask(&mut site, "/oauth2/token", exchange, header, &url).refused(400, "invalid_request", text);
}

fn end_session(more: &str) -> String {
    format!("{ISSUER_PATH}/connect/endSession{more}")
}

#[test]
fn without_a_hint_the_person_is_asked_and_logged_out_by_the_form() {
    for partitions in [1, 3] {
        let mut site = a_site(partitions);
        let mut browser = Browser::default();
        let code = api_code(&mut site, &mut browser);
        let token = text(&redeem(&mut site, &code), "access_token");
        let page = browser.get(&mut site, &end_session(""));
        assert_eq!((page.status, page.location.as_str()), (200, ""));
        assert!(page.text.contains("Do you want to log out?") && !page.text.contains("<script"));
        drop(proven(site.standing(&token)));
        // Another browser has not seen the page, nor is its ticket one of a page on which a role is chosen.
        let ticket = page.hidden("ticket");
        let fields = [("ticket", ticket.as_str()), ("role", URP)];
        let out = end_session("/log-out");
        assert_eq!(Browser::default().post(&mut site, &out, &fields).status, 400);
        assert_eq!(browser.post(&mut site, &format!("{ISSUER_PATH}/authorize/role"), &fields).status, 400);
        drop(proven(site.standing(&token)));
        let done = browser.post(&mut site, &out, &fields);
        assert_eq!(done.status, 200);
        assert!(done.text.contains("You are logged out."));
        assert_eq!(browser.0["__Host-spine-session"], "");
        assert_eq!(site.standing(&token), Standing::Refused(Denied::TokenUnknown));
        let note = site.notes.last().unwrap();
        let told = (note.interaction.as_str(), note.outcome.as_str(), note.object.as_str());
        assert_eq!(told, ("identity.provider.log_out", "ok", UID));
        // The form is good once, and nobody is asked who has no session.
        assert_eq!(browser.post(&mut site, &out, &fields).status, 400);
        assert_eq!(browser.get(&mut site, &end_session("")).status, 400);
    }
}

#[test]
fn after_the_question_the_browser_goes_to_a_registered_address_alone() {
    let mut site = a_site(3);
    for (client, uri, to) in [
        (CLIENT, BACK, "https://app.test/back?state=s-9"),
        (CLIENT, "https://evil.test/", ""),
        ("client-none", BACK, ""),
        ("", BACK, ""),
    ] {
        site.pass(60_000);
        let mut browser = Browser::default();
        api_code(&mut site, &mut browser);
        let query = format!("?client_id={client}&post_logout_redirect_uri={}&state=s-9", encode(uri));
        let page = browser.get(&mut site, &end_session(&query));
        assert_eq!((page.status, page.location.as_str()), (200, ""), "nobody is sent on unasked");
        let ticket = page.hidden("ticket");
        let done = browser.post(&mut site, &end_session("/log-out"), &[("ticket", &ticket)]);
        assert_eq!(done.location, to, "{client} {uri}");
    }
}

#[test]
fn a_question_is_about_the_session_it_was_asked_for() {
    let mut site = a_site(3);
    let mut browser = Browser::default();
    api_code(&mut site, &mut browser);
    let page = browser.get(&mut site, &end_session(""));
    let first = browser.0.remove("__Host-spine-session").unwrap();
    site.pass(60_000);
    api_code(&mut site, &mut browser);
    let ticket = page.hidden("ticket");
    assert_eq!(browser.post(&mut site, &end_session("/log-out"), &[("ticket", &ticket)]).status, 400);
    // One that was left alone for long may still be ended; one that is made up may not.
    browser.0.insert("__Host-spine-session".into(), first);
    site.pass(2 * HOUR_MS);
    assert_eq!(browser.get(&mut site, &end_session("")).status, 200);
    let made_up = tokens::draw(&[9; 16], 1, site.now).0;
    browser.0.insert("__Host-spine-session".into(), made_up);
    assert_eq!(browser.get(&mut site, &end_session("")).status, 400);
    assert_eq!(browser.get(&mut site, &end_session("?id_token_hint=x")).status, 400);
}

#[test]
fn a_hint_is_of_the_client_that_shows_it() {
    let mut site = a_site(3);
    let mut browser = Browser::default();
    let hint = text(&id_token(&mut site, &mut browser, "openid"), "id_token");
    let ask = |client: &str| end_session(&format!("?id_token_hint={hint}&client_id={client}"));
    assert_eq!(browser.get(&mut site, &ask("client-0002")).status, 400);
    assert_eq!(browser.get(&mut site, &ask(CLIENT)).status, 200);
}
