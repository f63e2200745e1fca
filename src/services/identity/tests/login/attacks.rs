//! What somebody would try who has some of what it takes: a password but no code, a session that is old or was stolen, a form that was
//! meant for another page. Each is tried at the wall and opens nothing.

use super::*;
use crate::services::identity::login::rows::Kind as Secrets;

fn authorize(scope: &str, more: &str) -> String {
    format!(
        "{ISSUER_PATH}/authorize?client_id={CLIENT}&redirect_uri={}&response_type=code&scope={}&state=s-2{more}",
        encode(BACK),
        encode(scope)
    )
}

fn wrong(site: &Site) -> String {
    let right: u32 = code_at(site).parse().unwrap();
    format!("{:06}", (right + 1) % 1_000_000)
}

#[test]
fn whoever_knows_the_password_does_not_get_to_guess_codes_for_ever() {
    for partitions in [1, 3] {
        let mut site = a_site(partitions);
        let mut browser = Browser::default();
        let locked = |site: &Site| site.notes.last().unwrap().outcome == "locked";
        let mut guessed = 0;
        for _ in 0..5 {
            for _ in 0..4 {
                let (page, guess) = (to_the_page(&mut site, &mut browser), wrong(&site));
                assert_eq!(fill_in(&mut site, &mut browser, &page, PASSWORD, &guess).status, 401);
                guessed += usize::from(!locked(&site));
            }
            // The password alone is good for level 1, and must not buy new guesses.
            let page = browser.get(&mut site, &authorize("openid", "&acr_values=AAL1_USERPASS&prompt=login"));
            assert_eq!(fill_in(&mut site, &mut browser, &page, PASSWORD, "").status, 303);
        }
        assert_eq!(guessed, 5, "guesses were looked at without a wait");
        // Nor does a right one open anything before the wait is over; then it does, and clears the count.
        let page = to_the_page(&mut site, &mut browser);
        let code = code_at(&site);
        assert_eq!(fill_in(&mut site, &mut browser, &page, PASSWORD, &code).status, 401);
        site.pass(60_001);
        let code = code_at(&site);
        assert_eq!(fill_in(&mut site, &mut browser, &page, PASSWORD, &code).status, 303);
        let mut browser = Browser::default();
        let (page, guess) = (to_the_page(&mut site, &mut browser), wrong(&site));
        fill_in(&mut site, &mut browser, &page, PASSWORD, &guess);
        assert_eq!(site.notes.last().unwrap().outcome, "wrong_code");
        // An operator clears it with a new secret: what was guessed at is no longer there.
        for _ in 0..5 {
            fill_in(&mut site, &mut browser, &page, PASSWORD, &guess);
        }
        assert!(locked(&site));
        let new = Authenticator { kind: 2, secret: Secret(TOTP.into()), issued: site.now + 1, ..Default::default() };
        site.registry.0.insert(users::authenticator_key(UID, Kind::OneTimeCode.serial()).build(), new.encode());
        site.pass(30_000);
        let code = code_at(&site);
        assert_eq!(fill_in(&mut site, &mut browser, &page, PASSWORD, &code).status, 303);
    }
}

fn lapsed(standing: Standing) -> (Denied, crate::access::caller::Caller) {
    match standing {
        Standing::Lapsed(why, proven) => (why, proven.caller),
        other => panic!("{other:?}"),
    }
}

#[test]
fn staff_act_in_one_open_role_or_not_at_all() {
    for partitions in [1, 3] {
        let mut site = a_site(partitions);
        role(&mut site, OTHER_URP);
        let code = api_code(&mut site, &mut Browser::default());
        let token = text(&redeem(&mut site, &code), "access_token");
        let (why, caller) = lapsed(site.standing(&token));
        assert_eq!(why, Denied::RolesSeveral);
        assert_eq!((caller.user.as_str(), caller.ods.as_str()), (UID, ""), "not the application's organisation");
        assert_eq!(lapsed(site.standing_in(&token, "000000000000")).0, Denied::RoleForeign);
        assert_eq!(proven(site.standing_in(&token, URP)).caller.role_profile, URP);
        for urp in [URP, OTHER_URP] {
            site.registry.0.remove(&users::role_of_user_key(UID, urp).build());
        }
        assert_eq!(lapsed(site.standing(&token)).0, Denied::RolesNone);
        assert_eq!(lapsed(site.standing_in(&token, URP)).0, Denied::RolesNone, "no header helps");
    }
}

#[test]
fn a_role_that_was_chosen_at_log_in_and_has_ended_is_told_as_such() {
    let mut site = a_site(1);
    role(&mut site, OTHER_URP);
    let scope = "openid nationalrbacaccess selectedrole";
    let subject = text(&id_token(&mut site, &mut Browser::default(), scope), "id_token");
    let token = text(&exchange(&mut site, &subject), "access_token");
    assert_eq!(proven(site.standing(&token)).caller.role_profile, OTHER_URP);
    site.registry.0.remove(&users::role_of_user_key(UID, OTHER_URP).build());
    assert_eq!(lapsed(site.standing(&token)).0, Denied::RoleGone);
}

#[test]
fn a_form_without_a_page_costs_nobody_a_password_check() {
    let mut site = a_site(3);
    let mut browser = Browser::default();
    to_the_page(&mut site, &mut browser);
    THOUGHTS.with(|count| count.set(0));
    let fields = [("ticket", &*"A".repeat(43)), ("user", UID), ("password", "x"), ("code", "")];
    assert_eq!(browser.post(&mut site, &format!("{ISSUER_PATH}/authorize/log-in"), &fields).status, 400);
    assert_eq!(THOUGHTS.with(std::cell::Cell::get), 0);
}

#[test]
fn strangers_leave_nothing_in_the_trail_and_little_in_the_rows() {
    let mut site = a_site(3);
    site.notes.clear();
    let told = site.form(Route::Token, &[]);
    refused(&told, Refusal::GrantMissing);
    let mut claims = site.claims();
    (claims["iss"], claims["sub"]) = (json!("nobody-1"), json!("nobody-1"));
    let told = site.token(&jwt::tests::sign(&KEY.0, &header(), &claims));
    refused(&told, Refusal::ClientUnknown);
    let mut browser = Browser::default();
    for stray in [
        format!("{ISSUER_PATH}/authorize?client_id=x"),
        "/oauth2/authorize?client_id=x".into(),
        "/oauth2/authorize".into(),
        format!("/oauth2/callback?code=x&state={}", "A".repeat(43)),
        format!("{ISSUER_PATH}/userinfo"),
        format!("{ISSUER_PATH}/connect/endSession"),
    ] {
        let told = browser.get(&mut site, &stray);
        assert!((400..500).contains(&told.status), "{stray}: {told:?}");
    }
    browser.post(&mut site, &format!("{ISSUER_PATH}/authorize/role"), &[("ticket", &*"A".repeat(43)), ("role", URP)]);
    assert!(site.notes.is_empty(), "{:?}", site.notes);
    // Who names a client that there is leaves one.
    browser.get(&mut site, &format!("/oauth2/authorize?client_id={CLIENT}"));
    assert_eq!(site.notes.len(), 1);
}

#[test]
fn what_is_given_back_is_bounded_for_applications_too() {
    let mut site = a_site(1);
    let mut browser = Browser::default();
    let base = format!("/oauth2/authorize?client_id={CLIENT}&redirect_uri={}&response_type=code", encode(BACK));
    for more in [
        format!("&state={}", "s".repeat(2_049)),
        format!("&state=s&acr_values={}", "A".repeat(2_049)),
        "&state=a%0Ab".into(),
    ] {
        let told = browser.get(&mut site, &format!("{base}{more}"));
        assert_eq!(told.parameter("error"), "invalid_request");
    }
    let rows = site.partitions.values().map(|p| p.0.len()).sum::<usize>();
    assert_eq!(rows, 0, "nothing is kept of it");
    let told = browser.get(&mut site, &format!("{base}&state={}", "s".repeat(2_048)));
    assert!(told.location.contains("/authorize?"), "{told:?}");
}

#[test]
fn a_page_that_asks_for_the_password_is_not_answered_with_a_role() {
    for partitions in [1, 3] {
        let mut site = a_site(partitions);
        role(&mut site, OTHER_URP);
        let mut browser = Browser::default();
        let scope = "openid nationalrbacaccess selectedrole";
        id_token(&mut site, &mut browser, scope);
        site.pass(600_000);
        for more in ["&acr_values=AAL2_ANY&prompt=login", "&acr_values=AAL2_ANY&max_age=60"] {
            let page = browser.get(&mut site, &authorize(scope, more));
            assert!(page.text.contains("Password"), "{page:?}");
            let ticket = page.hidden("ticket");
            let fields = [("ticket", ticket.as_str()), ("role", OTHER_URP)];
            let told = browser.post(&mut site, &format!("{ISSUER_PATH}/authorize/role"), &fields);
            assert_eq!((told.status, told.location.as_str()), (400, ""), "{more}");
        }
        // A page of roles is answered by whoever was asked.
        let page = browser.get(&mut site, &authorize(scope, "&acr_values=AAL2_ANY"));
        assert!(page.text.contains("Choose your role"), "{page:?}");
        let ticket = page.hidden("ticket");
        let fields = [("ticket", ticket.as_str()), ("role", OTHER_URP)];
        let mut other = Browser(browser.0.clone());
        other.0.insert("__Host-spine-session".into(), "A".repeat(43));
        let told = other.post(&mut site, &format!("{ISSUER_PATH}/authorize/role"), &fields);
        assert_eq!(told.status, 400);
        let page = browser.get(&mut site, &authorize(scope, "&acr_values=AAL2_ANY"));
        let ticket = page.hidden("ticket");
        let fields = [("ticket", ticket.as_str()), ("role", OTHER_URP)];
        let told = browser.post(&mut site, &format!("{ISSUER_PATH}/authorize/role"), &fields);
        assert!(!told.parameter("code").is_empty(), "{told:?}");
    }
}

#[test]
fn an_application_gets_no_code_for_a_log_in_older_than_it_asked_for() {
    for partitions in [1, 3] {
        let mut site = a_site(partitions);
        let mut browser = Browser::default();
        api_code(&mut site, &mut browser);
        site.pass(290_000);
        let go = |site: &mut Site, browser: &mut Browser| {
            let sent = browser.get(site, &begin(""));
            // Whoever holds the browser leaves the greatest age out of what the provider is asked.
            let bent = sent.location.replace("max_age=300", "x=1");
            let sent = browser.get(site, &bent);
            assert_eq!(sent.status, 303, "{sent:?}");
            browser.get(site, &sent.location)
        };
        assert!(!go(&mut site, &mut browser).parameter("code").is_empty());
        site.pass(20_000);
        let back = go(&mut site, &mut browser);
        assert_eq!((back.parameter("error").as_str(), back.parameter("code").as_str()), ("access_denied", ""));
    }
}

#[test]
fn an_application_gets_no_code_for_less_than_it_asked_for() {
    for (asked, bent) in [("&acr_values=AAL3_FIDO2", "AAL2_ANY"), ("", "AAL1_USERPASS")] {
        let mut site = a_site(3);
        let mut browser = Browser::default();
        let sent = browser.get(&mut site, &begin(asked));
        let (before, after) = sent.location.split_once("acr_values=").expect("what is asked for");
        let rest = after.split_once('&').map(|(_, rest)| format!("&{rest}")).unwrap_or_default();
        let page = browser.get(&mut site, &format!("{before}acr_values={bent}{rest}"));
        let code = if bent == "AAL1_USERPASS" { String::new() } else { code_at(&site) };
        let sent = fill_in(&mut site, &mut browser, &page, PASSWORD, &code);
        assert_eq!(sent.status, 303, "{sent:?}");
        let back = browser.get(&mut site, &sent.location);
        assert_eq!((back.parameter("error").as_str(), back.parameter("code").as_str()), ("access_denied", ""));
    }
}

#[test]
fn a_session_does_not_outlive_a_suspension_or_a_new_password() {
    for partitions in [1, 3] {
        for stolen in ["suspended", "password", "code"] {
            let mut site = a_site(partitions);
            let mut thief = Browser::default();
            let code = api_code(&mut site, &mut thief);
            let told = redeem(&mut site, &code);
            let (token, again) = (text(&told, "access_token"), text(&told, "refresh_token"));
            proven(site.standing(&token));
            site.pass(60_000);
            match stolen {
                "suspended" => {
                    stand(&mut site, users::State::Suspended);
                    site.pass(1_000);
                    stand(&mut site, users::State::Active);
                }
                "password" => {
                    let new = Authenticator { issued: site.now, ..PASSWORD_ROW.clone() };
                    let key = users::authenticator_key(UID, Kind::Password.serial());
                    site.registry.0.insert(key.build(), new.encode());
                }
                _ => {
                    let key = users::authenticator_key(UID, Kind::OneTimeCode.serial());
                    site.registry.0.remove(&key.build());
                }
            }
            assert_eq!(site.standing(&token), Standing::Refused(Denied::TokenUnknown), "{stolen}");
            refresh(&mut site, &again).refused(401, "invalid_grant", "refresh_token is invalid");
            let sent = thief.get(&mut site, &begin(""));
            let page = thief.get(&mut site, &sent.location);
            assert!(page.text.contains("Password"), "{stolen}: {page:?}");
            if stolen != "code" {
                // Whoever logs in anew is in.
                let code = api_code(&mut site, &mut Browser::default());
                let told = redeem(&mut site, &code);
                proven(site.standing(&text(&told, "access_token")));
            }
        }
    }
}

#[test]
fn introspection_tells_of_a_token_what_the_gate_would() {
    for partitions in [1, 3] {
        let mut site = a_site(partitions);
        let mut browser = Browser::default();
        let subject = text(&id_token(&mut site, &mut browser, "openid nationalrbacaccess"), "id_token");
        let token = text(&exchange(&mut site, &subject), "access_token");
        let told = |site: &mut Site, token: &str| {
            let jwt = site.good();
            site.with_jwt(Route::Introspect, &jwt, &[("token", token)]).body
        };
        let good = told(&mut site, &token);
        assert_eq!((&good["active"], &good["auth_type"]), (&json!(true), &json!("user")));
        let of_the_application = site.a_token();
        assert_eq!(told(&mut site, &of_the_application)["auth_type"], "app");
        // A product that was withdrawn since is withdrawn here too.
        let mut row = crate::services::directory::applications::application(&site.registry, CLIENT).unwrap().unwrap();
        let scopes = std::mem::replace(&mut row.products[0].scopes, vec![SCOPE.into()]);
        site.register(CLIENT, row.clone());
        assert_eq!(told(&mut site, &token)["scope"], "");
        row.products[0].scopes = scopes;
        site.register(CLIENT, row);
        stand(&mut site, users::State::Suspended);
        assert_eq!(told(&mut site, &token), json!({"active": false}));
        stand(&mut site, users::State::Active);
        browser.get(&mut site, &format!("{ISSUER_PATH}/connect/endSession?id_token_hint={subject}"));
        assert_eq!(told(&mut site, &token), json!({"active": false}));
    }
}

#[test]
fn a_proof_that_is_refused_revokes_nothing() {
    for partitions in [1, 3] {
        let mut site = a_site(partitions);
        let (token, jwt) = (site.a_token(), site.good());
        assert_eq!(site.with_jwt(Route::Introspect, &jwt, &[("token", &token)]).status, 200);
        refused(&site.with_jwt(Route::Revoke, &jwt, &[("token", &token)]), Refusal::JtiSeen);
        proven(site.standing(&token));
    }
}

#[test]
fn the_greatest_age_that_a_client_may_ask_for_is_no_trap() {
    for partitions in [1, 3] {
        let mut site = a_site(partitions);
        role(&mut site, OTHER_URP);
        let mut browser = Browser::default();
        let scope = "openid nationalrbacaccess selectedrole";
        id_token(&mut site, &mut browser, scope);
        let more = format!("&acr_values=AAL2_ANY&max_age={}", u64::MAX - 2);
        let page = browser.get(&mut site, &authorize(scope, &more));
        let ticket = page.hidden("ticket");
        let fields = [("ticket", ticket.as_str()), ("role", OTHER_URP)];
        let told = browser.post(&mut site, &format!("{ISSUER_PATH}/authorize/role"), &fields);
        assert!(!told.parameter("code").is_empty(), "{told:?}");
    }
}

#[test]
fn of_several_levels_one_that_can_be_met_is_enough_and_the_token_says_which() {
    let mut site = a_site(1);
    for (asked, met) in [
        ("AAL3_ANY%20AAL2_ANY", "AAL2_ANY"),
        ("AAL2_OR_AAL3_ANY%20AAL2_TOTP", "AAL2_OR_AAL3_ANY"),
        ("AAL3_FIDO2%20AAL1_USERPASS", "AAL1_USERPASS"),
        ("nonsense%20AAL2_TOTP", "AAL2_TOTP"),
    ] {
        site.pass(60_000);
        let mut browser = Browser::default();
        let page = browser.get(&mut site, &authorize("openid", &format!("&acr_values={asked}")));
        let code = if met == "AAL1_USERPASS" { String::new() } else { code_at(&site) };
        let sent = fill_in(&mut site, &mut browser, &page, PASSWORD, &code);
        let code = sent.parameter("code");
        let assertion = site.provider_assertion();
        let fields = [
            ("grant_type", "authorization_code"),
            ("redirect_uri", BACK),
            ("code", code.as_str()),
            ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
            ("client_assertion", assertion.as_str()),
        ];
        let told = Browser::default().post(&mut site, &format!("{ISSUER_PATH}/access_token"), &fields);
        let jwt = jwt::Jwt::parse(&text(&told, "id_token")).unwrap();
        assert_eq!(jwt.claim("acr"), Some(met), "{asked}");
        let half = jwt::to_base64url(&tokens::sha256(code.as_bytes())[..16]);
        assert_eq!(jwt.claim("c_hash"), Some(half.as_str()), "whoever proves itself by a JWT gets it too");
    }
}

#[test]
fn a_request_for_tokens_that_lacks_something_is_told_apart_from_a_bad_code() {
    let mut site = a_site(1);
    let mut ask = |more: &[(&str, &str)]| {
        let (id, secret) = (("client_id", CLIENT), ("client_secret", CLIENT_SECRET));
        let fields = [&[("grant_type", "authorization_code"), id, secret], more].concat();
        Browser::default().post(&mut site, &format!("{ISSUER_PATH}/access_token"), &fields)
    };
    ask(&[("redirect_uri", BACK)]).refused(400, "invalid_request", "code is missing");
    ask(&[("code", "x")]).refused(400, "invalid_request", "redirect_uri is missing");
    ask(&[("code", "x"), ("redirect_uri", BACK)]).refused(400, "invalid_grant", "code is invalid");
}

#[test]
fn a_ticket_knows_nobody_before_somebody_has_logged_in() {
    let mut site = a_site(1);
    to_the_page(&mut site, &mut Browser::default());
    let rows = site.partitions[&1].0.iter().filter(|(key, value)| key[0] == Table::Grants as u8 && value.len() > 1);
    let grants = rows.map(|(_, value)| crate::services::identity::login::rows::Grant::decode(value).unwrap());
    let tickets: Vec<_> = grants.filter(|grant| grant.kind == Secrets::Ticket as u8).collect();
    assert!(!tickets.is_empty() && tickets.iter().all(|ticket| ticket.session.is_empty()));
}
