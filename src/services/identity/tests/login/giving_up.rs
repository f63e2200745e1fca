//! Giving tokens up, on values (RFC 7009, RFC 7662): a refresh token ends with all that came of its line, its owner alone ends it, and
//! a client proves itself as it does at the token endpoint.

use super::*;
use crate::services::directory::applications;

const OTHER_CLIENT: &str = "client-0002";

fn by_secret(site: &mut Site, route: Route, token: &str) -> Response {
    let fields = [("client_id", CLIENT), ("client_secret", CLIENT_SECRET), ("token", token)];
    site.form(route, &fields)
}

fn by_jwt(site: &mut Site, route: Route, client: &str, token: &str, hint: &str) -> Response {
    let mut claims = site.claims();
    (claims["iss"], claims["sub"]) = (json!(client), json!(client));
    let jwt = jwt::tests::sign(&KEY.0, &header(), &claims);
    site.with_jwt(route, &jwt, &[("token", token), ("token_type_hint", hint)])
}

fn given(site: &mut Site) -> Told {
    // Codes are good once.
    site.pass(60_000);
    let code = api_code(site, &mut Browser::default());
    redeem(site, &code)
}

#[test]
fn a_refresh_token_that_is_given_up_ends_with_all_of_its_line_and_no_other() {
    for partitions in [1, 3] {
        let mut site = a_site(partitions);
        let first = given(&mut site);
        let (other, untouched) = (given(&mut site), given(&mut site));
        let second = refresh(&mut site, &text(&first, "refresh_token"));
        let third = refresh(&mut site, &text(&second, "refresh_token"));
        let line = [&first, &second, &third].map(|told| text(told, "access_token"));
        line.iter().for_each(|token| drop(proven(site.standing(token))));
        // Whatever the hint says.
        for (told, hint) in [(&third, "access_token"), (&other, "refresh_token")] {
            let again = text(told, "refresh_token");
            assert_eq!(by_jwt(&mut site, Route::Introspect, CLIENT, &again, hint).body["active"], true);
            let done = by_jwt(&mut site, Route::Revoke, CLIENT, &again, hint);
            assert_eq!((done.status, done.body), (200, json!({})));
            let note = site.notes.last().unwrap();
            assert_eq!((note.interaction.as_str(), note.outcome.as_str()), ("identity.revoke", "ok"));
            assert_eq!((note.object.as_str(), note.other.as_str()), (CLIENT, UID));
            assert_eq!(by_jwt(&mut site, Route::Introspect, CLIENT, &again, hint).body, json!({"active": false}));
            refresh(&mut site, &again).refused(401, "invalid_grant", "refresh_token is invalid");
        }
        for token in line.iter().chain([&text(&other, "access_token")]) {
            assert_eq!(site.standing(token), Standing::Refused(Denied::TokenUnknown));
            assert_eq!(by_secret(&mut site, Route::Introspect, token).body, json!({"active": false}));
        }
        drop(proven(site.standing(&text(&untouched, "access_token"))));
        assert_eq!(refresh(&mut site, &text(&untouched, "refresh_token")).status, 200);
        site.pass(16 * HOUR_MS);
        let left: Vec<u8> = site.partitions.values().flat_map(|p| p.0.keys().map(|k| k[0])).collect();
        assert!(!left.contains(&(Table::Grants as u8)), "{left:?}");
    }
}

#[test]
fn another_client_neither_ends_nor_sees_a_refresh_token() {
    let mut site = a_site(3);
    let gateway = Attribute { name: "introspect-all".into(), value: "true".into(), ..Default::default() };
    site.register(OTHER_CLIENT, Application { attributes: vec![gateway], ..an_application() });
    let told = given(&mut site);
    let again = text(&told, "refresh_token");
    assert_eq!(by_jwt(&mut site, Route::Revoke, OTHER_CLIENT, &again, "refresh_token").status, 200);
    assert_eq!(site.notes.last().unwrap().outcome, "not_own");
    // Not a gateway either: an API would take it for an access token.
    let seen = by_jwt(&mut site, Route::Introspect, OTHER_CLIENT, &again, "refresh_token");
    assert_eq!(seen.body, json!({"active": false}));
    let seen = by_jwt(&mut site, Route::Introspect, CLIENT, &again, "refresh_token").body;
    assert_eq!(
        (&seen["active"], &seen["scope"], &seen["auth_level"]),
        (&json!(true), &json!(USER_SCOPE), &json!("aal2"))
    );
    assert_eq!(seen["exp"], json!((site.now + 12 * HOUR_MS) / 1_000));
    assert!(seen.get("token_type").is_none() && seen.get("iat").is_none(), "no API takes it: {seen}");
    // It tells what would come of it.
    stand(&mut site, users::State::Suspended);
    let seen = by_jwt(&mut site, Route::Introspect, CLIENT, &again, "refresh_token");
    assert_eq!(seen.body, json!({"active": false}));
    stand(&mut site, users::State::Active);
}

#[test]
fn a_client_of_the_combined_flow_proves_itself_by_its_secret() {
    for partitions in [1, 3] {
        let mut site = a_site(partitions);
        let told = given(&mut site);
        let (token, again) = (text(&told, "access_token"), text(&told, "refresh_token"));
        assert_eq!(by_secret(&mut site, Route::Introspect, &token).body["active"], true);
        for (fields, refusal, noted) in [
            (vec![("client_id", CLIENT)], Refusal::SecretMissing, true),
            (vec![("client_id", CLIENT), ("client_secret", "x")], Refusal::SecretWrong, true),
            (vec![("client_id", "nobody"), ("client_secret", CLIENT_SECRET)], Refusal::SecretWrong, false),
            (vec![("client_secret", CLIENT_SECRET)], Refusal::ClientMissing, false),
        ] {
            for route in [Route::Revoke, Route::Introspect] {
                let before = site.notes.len();
                let fields = [&fields[..], &[("token", token.as_str())]].concat();
                refused(&site.form(route, &fields), refusal);
                // As at the token endpoint: strangers do not fill the trail.
                assert_eq!(site.notes.len() - before, usize::from(noted), "{refusal:?}");
            }
        }
        let fields = [("client_id", CLIENT), ("client_secret", CLIENT_SECRET)];
        refused(&site.form(Route::Revoke, &fields), Refusal::TokenMissing);
        drop(proven(site.standing(&token)));
        assert_eq!(by_secret(&mut site, Route::Revoke, "nonsense").status, 200);
        assert_eq!(by_secret(&mut site, Route::Revoke, &token).status, 200);
        assert_eq!(site.standing(&token), Standing::Refused(Denied::TokenUnknown));
        assert_eq!(by_secret(&mut site, Route::Revoke, &again).status, 200);
        refresh(&mut site, &again).refused(401, "invalid_grant", "refresh_token is invalid");
        // As of now: who is not approved any more does nothing, whatever the asking node knew.
        let mut row = applications::application(&site.registry, CLIENT).unwrap().unwrap();
        row.state = State::Revoked as u8;
        site.register(CLIENT, row);
        refused(&by_secret(&mut site, Route::Revoke, &token), Refusal::NotApproved);
    }
}
