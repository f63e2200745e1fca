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
        ("act", json!({"sub": "x"})),
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
