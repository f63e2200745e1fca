//! Every row of the specification's table (spec/identity.md §3), and which of two is told.

use super::*;

#[test]
fn every_row_of_the_table_answers_as_written_and_leaves_a_note() {
    for partitions in [1, 3] {
        let mut site = Site::new(partitions);
        forms(&mut site);
        headers(&mut site);
        claims(&mut site);
        clients(&mut site);
        // A note for each that names a client, the refused ones too; strangers are counted by the edge.
        let noted: std::collections::BTreeSet<_> = site.notes.iter().map(|n| n.outcome.as_str()).collect();
        // Those for persons' tokens are in `login`.
        let of_persons = |r: &&Refusal| matches!(**r as u8, 1..=9 | 11 | 31..=39 | 41..=49 | 241..=249 | 251..);
        for refusal in Refusal::ALL.iter().filter(|r| !of_persons(r)) {
            let elsewhere = matches!(refusal, Refusal::JtiSeen | Refusal::TokenMissing);
            let of_a_client = *refusal >= Refusal::JtiMissing && *refusal != Refusal::ClientUnknown;
            let here = !elsewhere && (of_a_client || *refusal == Refusal::Expired);
            assert_eq!(noted.contains(refusal.word()), here, "{refusal:?}");
        }
    }
}

fn forms(site: &mut Site) {
    let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
    let told = site.post(Route::Token, "application/json", "{}");
    refused(&told, Refusal::ContentType);
    let told = site.form(Route::Token, &[]);
    refused(&told, Refusal::GrantMissing);
    for unknown in ["password", "nonsense"] {
        let told = site.form(Route::Token, &[("grant_type", unknown)]);
        refused(&told, Refusal::GrantUnknown);
    }
    let grant = ("grant_type", "client_credentials");
    let told = site.form(Route::Token, &[grant]);
    refused(&told, Refusal::AssertionType);
    let told = site.form(Route::Token, &[grant, ("client_assertion_type", "other")]);
    refused(&told, Refusal::AssertionType);
    let told = site.form(Route::Token, &[grant, ("client_assertion_type", kind)]);
    refused(&told, Refusal::AssertionMissing);
    let told = site.token("no.jwt");
    refused(&told, Refusal::Malformed);
}

fn headers(site: &mut Site) {
    let with_header = |site: &mut Site, name: &str, value: Value| {
        let (mut header, claims) = (header(), site.claims());
        match value {
            Value::Null => drop(header.as_object_mut().unwrap().remove(name)),
            value => header[name] = value,
        }
        let jwt = jwt::tests::sign(&KEY.0, &header, &claims);
        site.token(&jwt)
    };
    for alg in ["RS256", "none", "HS512", "PS512"] {
        refused(&with_header(site, "alg", json!(alg)), Refusal::Algorithm);
    }
    refused(&with_header(site, "kid", Value::Null), Refusal::KidMissing);
    refused(&with_header(site, "typ", json!("JWS")), Refusal::Type);
    refused(&with_header(site, "kid", json!("test-2")), Refusal::KidUnknown);
}

fn claims(site: &mut Site) {
    let with_claim = |site: &mut Site, name: &str, value: Value| {
        let mut claims = site.claims();
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
            value => claims[name] = value,
        }
        let jwt = jwt::tests::sign(&KEY.0, &header(), &claims);
        site.token(&jwt)
    };
    let now = NOW / 1_000;
    refused(&with_claim(site, "exp", json!(now)), Refusal::Expired);
    refused(&with_claim(site, "exp", Value::Null), Refusal::ExpMissing);
    refused(&with_claim(site, "exp", json!("soon")), Refusal::ExpType);
    refused(&with_claim(site, "exp", json!(1.5)), Refusal::ExpType);
    refused(&with_claim(site, "exp", json!(now + 311)), Refusal::ExpFar);
    refused(&with_claim(site, "exp", json!(u64::MAX)), Refusal::ExpFar);
    refused(&with_claim(site, "iss", Value::Null), Refusal::Issuer);
    refused(&with_claim(site, "sub", json!("someone-else")), Refusal::Issuer);
    refused(&with_claim(site, "jti", Value::Null), Refusal::JtiMissing);
    refused(&with_claim(site, "jti", json!(7)), Refusal::JtiType);
    refused(&with_claim(site, "aud", Value::Null), Refusal::Audience);
    refused(&with_claim(site, "aud", json!("https://elsewhere.test/oauth2/token")), Refusal::Audience);
    refused(&with_claim(site, "aud", json!([AUD, "https://elsewhere.test"])), Refusal::Audience);
    assert_eq!(with_claim(site, "aud", json!([AUD])).status, 200);
    assert_eq!(with_claim(site, "exp", json!(now + 310)).status, 200);
}

fn clients(site: &mut Site) {
    let mut as_client = |client: &str, row: Option<Application>| {
        if let Some(row) = row {
            site.register(client, row);
        }
        let mut claims = site.claims();
        (claims["iss"], claims["sub"]) = (json!(client), json!(client));
        let jwt = jwt::tests::sign(&KEY.0, &header(), &claims);
        site.token(&jwt)
    };
    refused(&as_client("client-none", None), Refusal::ClientUnknown);
    let pending = Application { state: State::Pending as u8, ..an_application() };
    refused(&as_client("client-pend", Some(pending)), Refusal::NotApproved);
    refused(&as_client("client-keys", Some(Application { keys: vec![], ..an_application() })), Refusal::NoKey);
    let own = Application { keys: vec![], jwks_uri: "https://keys.test/".into(), ..an_application() };
    refused(&as_client("client-jwks", Some(own)), Refusal::KeySetUnreachable);
    let none = Application { products: vec![], ..an_application() };
    refused(&as_client("client-prod", Some(none)), Refusal::NoScope);
    let foreign = jwt::tests::sign(&OTHER.0, &header(), &site.claims());
    refused(&site.token(&foreign), Refusal::Signature);
}

#[test]
fn of_two_things_wrong_the_first_of_the_table_is_told() {
    let mut site = Site::new(3);
    let mut claims = site.claims();
    // Expired is told before a missing kid, a wrong type and an unknown client.
    (claims["exp"], claims["iss"]) = (json!(1), json!("nobody"));
    let jwt = jwt::tests::sign(&KEY.0, &json!({"alg": "RS512"}), &claims);
    refused(&site.token(&jwt), Refusal::Expired);
    // A seen jti is told before an `exp` too far ahead, a wrong key and a wrong audience.
    let mut claims = site.claims();
    let jwt = jwt::tests::sign(&KEY.0, &header(), &claims);
    assert_eq!(site.token(&jwt).status, 200);
    (claims["exp"], claims["aud"]) = (json!(NOW / 1_000 + 9_000), json!("x"));
    let again = jwt::tests::sign(&OTHER.0, &header(), &claims);
    refused(&site.token(&again), Refusal::JtiSeen);
}
