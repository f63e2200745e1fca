//! Citizens on values: the ID token of a trusted provider is exchanged for tokens that say whose record is whose.

use super::*;
use crate::services::directory::{applications, issuers::CitizenIssuer};

const PROVIDER: &str = "https://auth.login.test";
const NHS: &str = "9990000018";
const P9: &str = "urn:nhsd:apim:user-nhs-login:P9:personal-demographics-service";

fn a_site_for_citizens(partitions: u16) -> Site {
    let mut site = a_site(partitions);
    let mut application = applications::application(&site.registry, CLIENT).unwrap().unwrap();
    application.products[0].scopes.push(P9.into());
    site.register(CLIENT, application);
    let issuer = CitizenIssuer { keys: vec![public_key(&OTHER.1)], ..Default::default() };
    site.registry.0.insert(Table::CitizenIssuers.key().text(PROVIDER).build(), issuer.encode());
    site
}

fn claims(site: &Site) -> Value {
    json!({
        "iss": PROVIDER, "sub": "8dc9fc1d", "aud": "an-app-at-the-provider", "exp": site.now / 1_000 + 300,
        "nhs_number": NHS, "identity_proofing_level": "P9", "vot": "P9.Cp.Cd", "family_name": "MILLAR",
    })
}

/// RS512, as the provider signs.
fn subject(claims: &Value) -> String {
    let kid = public_key(&OTHER.1).kid;
    jwt::tests::sign(&OTHER.0, &json!({"alg": "RS512", "typ": "JWT", "kid": kid}), claims)
}

#[test]
fn a_citizens_token_names_them_and_ends_after_an_hour() {
    for partitions in [1, 3] {
        let mut site = a_site_for_citizens(partitions);
        let token = subject(&claims(&site));
        let told = exchange(&mut site, &token);
        assert_eq!(text(&told, "refresh_token_expires_in"), "3599");
        let caller = proven(site.standing(&text(&told, "access_token"))).caller;
        assert_eq!((caller.level.as_str(), caller.nhs_number.as_str()), ("P9", NHS));
        assert_eq!((caller.user.as_str(), caller.vector_of_trust.as_str()), ("8dc9fc1d", "P9.Cp.Cd"));
        assert_eq!((caller.scopes, caller.role_profile, caller.activities), (vec![P9.into()], String::new(), vec![]));
        site.pass(30 * 60_000);
        let second = refresh(&mut site, &text(&told, "refresh_token"));
        assert_eq!(text(&second, "refresh_token_expires_in"), "1799");
        let caller = proven(site.standing(&text(&second, "access_token"))).caller;
        assert_eq!(
            (caller.nhs_number.as_str(), caller.ods.as_str()),
            (NHS, ""),
            "nobody acts for the application's owner"
        );
        site.pass(30 * 60_000);
        let over = refresh(&mut site, &text(&second, "refresh_token"));
        over.refused(401, "invalid_grant", "refresh token refresh period has expired");
        site.pass(4 * HOUR_MS);
        assert!(site.partitions.values().all(|p| p.0.is_empty()), "nothing is left");
    }
}

#[test]
fn what_does_not_say_who_it_is_is_refused() {
    let mut site = a_site_for_citizens(3);
    let good = claims(&site);
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        subject(&claims)
    };
    let why = "Missing or invalid claims in subject_token JWT";
    for (name, value) in [
        ("identity_proofing_level", json!("P7")),
        ("identity_proofing_level", json!(null)),
        ("nhs_number", json!("9990000019")),
        ("nhs_number", json!(null)),
        ("sub", json!("")),
    ] {
        exchange(&mut site, &with(name, value)).refused(400, "invalid_request", why);
    }
    // A level for which the application has no product.
    let text = "you have tried to request authorization but your application is not configured to use this authorization \
                grant type";
    exchange(&mut site, &with("identity_proofing_level", json!("P5"))).refused(401, "unauthorized_client", text);
    let text = "Missing or non-matching 'iss' claim in subject_token JWT";
    exchange(&mut site, &with("iss", json!("https://other.test"))).refused(400, "invalid_request", text);
    // A key of ours under the provider's name, and the provider's under ours.
    let kid = public_key(&OTHER.1).kid;
    let forged = jwt::tests::sign(&KEY.0, &json!({"alg": "RS512", "typ": "JWT", "kid": kid}), &good);
    exchange(&mut site, &forged).refused(401, "invalid_request", "JWT signature verification failed");
    let ours = with("iss", json!(format!("{URL}{ISSUER_PATH}")));
    let text = "Invalid 'kid' header in subject_token JWT - no matching public key";
    exchange(&mut site, &ours).refused(401, "invalid_request", text);
    site.registry.0.remove(&Table::CitizenIssuers.key().text(PROVIDER).build());
    let text = "Missing or non-matching 'iss' claim in subject_token JWT";
    exchange(&mut site, &subject(&good)).refused(400, "invalid_request", text);
}

#[test]
fn a_citizens_tokens_end_with_the_trust_in_their_provider() {
    for partitions in [1, 3] {
        let mut site = a_site_for_citizens(partitions);
        let token = subject(&claims(&site));
        let told = exchange(&mut site, &token);
        site.registry.0.remove(&Table::CitizenIssuers.key().text(PROVIDER).build());
        assert_eq!(site.standing(&text(&told, "access_token")), Standing::Refused(Denied::TokenUnknown));
        assert_eq!(refresh(&mut site, &text(&told, "refresh_token")).status, 401);
    }
}

const WARD: &str = "9990000026";

/// A JWT of the one who is acted for, as the provider signs it.
fn acted(site: &Site) -> (Value, Value) {
    let kid = public_key(&OTHER.1).kid;
    let claims =
        json!({"iss": PROVIDER, "aud": "an-app-at-the-provider", "exp": site.now / 1_000 + 300, "nhs_number": WARD});
    (json!({"alg": "RS512", "typ": "JWT", "kid": kid}), claims)
}

#[test]
fn who_acts_for_another_opens_the_others_record_alone_under_their_own_name() {
    for partitions in [1, 3] {
        let mut site = a_site_for_citizens(partitions);
        let (header, acted) = acted(&site);
        let mut claims = claims(&site);
        claims["act"] = json!({"sub": jwt::tests::sign(&OTHER.0, &header, &acted)});
        let told = exchange(&mut site, &subject(&claims));
        let note = site.notes.last().unwrap();
        assert_eq!((note.outcome.as_str(), note.other.as_str(), note.subject.as_str()), ("ok", "8dc9fc1d", WARD));
        let second = refresh(&mut site, &text(&told, "refresh_token"));
        for told in [&told, &second] {
            let caller = proven(site.standing(&text(told, "access_token"))).caller;
            assert_eq!((caller.user.as_str(), caller.nhs_number.as_str()), ("8dc9fc1d", NHS));
            assert_eq!((caller.acts_for.as_str(), caller.own_record(), caller.level.as_str()), (WARD, WARD, "P9"));
        }
    }
}

#[test]
fn each_part_of_a_delegation_that_is_missing_or_wrong_has_its_own_words() {
    let mut site = a_site_for_citizens(3);
    let good = claims(&site);
    let (header, claims) = acted(&site);
    let in_act = |act: Value| {
        let mut claims = good.clone();
        claims["act"] = act;
        subject(&claims)
    };
    let with = |name: &str, value: Value| {
        let (mut header, mut claims) = (header.clone(), claims.clone());
        let part = if ["kid", "typ", "alg"].contains(&name) { &mut header } else { &mut claims };
        match value {
            Value::Null => drop(part.as_object_mut().unwrap().remove(name)),
            value => part[name] = value,
        }
        in_act(json!({"sub": jwt::tests::sign(&OTHER.0, &header, &claims)}))
    };
    for (name, value, status, text) in [
        ("kid", json!(null), 400, "Missing 'kid' header in act.sub JWT"),
        ("typ", json!(null), 400, "Missing 'typ' header in act.sub JWT"),
        ("typ", json!("JWS"), 400, "Invalid 'typ' header in act.sub JWT - must be 'JWT'"),
        ("alg", json!(null), 400, "Missing 'alg' header in act.sub JWT"),
        ("exp", json!(null), 400, "Missing 'exp' claim in act.sub JWT"),
        ("exp", json!("soon"), 400, "Invalid 'exp' claim in act.sub JWT - must be an integer"),
        ("exp", json!(site.now / 1_000), 400, "Invalid 'exp' claim in act.sub JWT - JWT has expired"),
        ("iss", json!(null), 400, "Missing 'iss' claim in act.sub JWT"),
        ("iss", json!("https://other.test"), 400, "Missing or non-matching 'iss' claim in act.sub JWT"),
        ("aud", json!(null), 400, "Missing 'aud' claim in act.sub JWT"),
        ("nhs_number", json!(null), 400, "Missing 'nhs_number' claim in act.sub JWT"),
        ("nhs_number", json!("9990000027"), 400, "Invalid 'nhs_number' claim in act.sub JWT"),
        ("nhs_number", json!(9_990_000_026u64), 400, "Invalid 'nhs_number' claim in act.sub JWT"),
        ("kid", json!("other"), 401, "Invalid 'kid' header in act.sub JWT - no matching public key"),
        ("alg", json!("none"), 401, "JWT signature verification failed"),
    ] {
        exchange(&mut site, &with(name, value)).refused(status, "invalid_request", text);
    }
    // Not of the provider's making.
    let forged = in_act(json!({"sub": jwt::tests::sign(&KEY.0, &header, &claims)}));
    exchange(&mut site, &forged).refused(401, "invalid_request", "JWT signature verification failed");
    let malformed = "Malformed JWT in act.sub";
    for act in [json!({"sub": "x"}), json!({"sub": 7})] {
        exchange(&mut site, &in_act(act)).refused(400, "invalid_request", malformed);
    }
    for act in [json!({}), json!("x"), json!(null)] {
        let text = "Missing 'sub' claim in act claim of subject_token JWT";
        exchange(&mut site, &in_act(act)).refused(400, "invalid_request", text);
    }
    // What is wrong with the subject token is told first, its age too.
    let mut old = good.clone();
    (old["exp"], old["act"]) = (json!(1), json!({"sub": "x"}));
    let text = "Invalid 'exp' claim in subject_token JWT - JWT has expired";
    exchange(&mut site, &subject(&old)).refused(400, "invalid_request", text);
}
