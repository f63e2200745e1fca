//! The token service on values, at one and at three partitions: tokens over their whole life, and what an attacker would
//! try; every row of the specification's table in `table`.

mod login;
mod table;

use super::{
    Ask, Body, Identity, IdentityOptions, Response, Route,
    command::IdentityReply,
    decide::TOKEN_LIFE_MS,
    login::citizens::Heard,
    refusal::Refusal,
    rows::HOUR_MS,
    tokens::{self, Place},
};
use crate::{
    access::gate::{Denied, Standing},
    engine::{
        Command, PartitionId, PartitionMap,
        draft::{AuditNote, Decide, Draft, MapStore, Overlay, Stamp, Timer},
    },
    services::directory::applications::{Application, Attribute, Product, PublicKey, State, application_key},
    wire::{form::Form, jwt, record::Record},
};
use aws_lc_rs::rsa::KeyPair;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::LazyLock};

/// 2026-11-22T00:59:33.579Z.
const NOW: u64 = 1_795_309_173_579;
const URL: &str = "https://api.spine.test";
const AUD: &str = "https://api.spine.test/oauth2/token";
const SCOPE: &str = "urn:nhsd:apim:app:level3:personal-demographics-service";
const CLIENT: &str = "client-0001";

/// One key for all tests: making one takes longer than all else.
static KEY: LazyLock<(KeyPair, Value)> = LazyLock::new(|| jwt::tests::key("test-1"));
static OTHER: LazyLock<(KeyPair, Value)> = LazyLock::new(|| jwt::tests::key("test-1"));

/// What a citizens' provider answers to a form.
type Provider = Box<dyn Fn(&Form) -> Heard>;

struct Site {
    identity: Identity,
    registry: MapStore,
    partitions: BTreeMap<u16, MapStore>,
    timers: Vec<(u16, u64, Bytes)>,
    notes: Vec<AuditNote>,
    now: u64,
    count: u64,
    /// Of the client certificate that connections bring.
    certificate: String,
    /// How long ago they proved it, in milliseconds.
    proven_ago: u64,
    /// What the citizens' provider answers to a question; and the questions it was asked, as forms.
    provider: Option<Provider>,
    asked: Vec<Form>,
}

fn public_key(jwk: &Value) -> PublicKey {
    jwt::key_set(&json!({"keys": [jwk]}).to_string()).unwrap().remove(0).into()
}

fn an_application() -> Application {
    let scopes = vec![SCOPE.into(), "urn:nhsd:apim:app:level0:personal-demographics-service".into()];
    Application {
        name: "Tests".into(),
        ods: "X26".into(),
        products: vec![Product { name: "pds".into(), scopes, ..Default::default() }],
        keys: vec![public_key(&KEY.1)],
        state: State::Approved as u8,
        quota: 5,
        ..Default::default()
    }
}

impl Site {
    fn new(partitions: u16) -> Site {
        let options = IdentityOptions {
            url: URL.into(),
            version: "1.2.3".into(),
            issuer_path: login::ISSUER_PATH.into(),
            ..Default::default()
        };
        let mut site = Site {
            identity: Identity::new(options),
            registry: MapStore::default(),
            partitions: (1..=partitions).map(|p| (p, MapStore::default())).collect(),
            timers: vec![],
            notes: vec![],
            now: NOW,
            count: 0,
            certificate: String::new(),
            proven_ago: 0,
            provider: None,
            asked: vec![],
        };
        site.register(CLIENT, an_application());
        site
    }

    fn register(&mut self, client: &str, row: Application) {
        self.registry.0.insert(application_key(client).build(), row.encode());
    }

    fn map(&self) -> PartitionMap {
        PartitionMap { partitions: self.partitions.len() as u16 }
    }

    /// What is for the site partition: the registry.
    fn decide_site(&mut self, run: impl FnOnce(&Identity, &mut Draft<'_>, &Stamp) -> Bytes) -> Bytes {
        let stamp = Stamp { now: self.now, partition: PartitionId(0), partitions: 0, sequence: 0, entropy: [0; 16] };
        let overlay = Overlay::default();
        let mut draft = Draft::new(&self.registry, &overlay, &self.registry);
        let reply = run(&self.identity, &mut draft, &stamp);
        let decided = draft.finish();
        self.notes.extend(decided.audit);
        self.registry.apply(decided.rows);
        reply
    }

    fn decide(&mut self, partition: u16, run: impl FnOnce(&Identity, &mut Draft<'_>, &Stamp) -> Bytes) -> Bytes {
        self.count += 1;
        let mut entropy = [0; 16];
        entropy[..8].copy_from_slice(&self.count.to_be_bytes());
        let stamp = Stamp {
            now: self.now,
            partition: PartitionId(partition),
            partitions: self.partitions.len() as u16,
            sequence: self.count,
            entropy,
        };
        let overlay = Overlay::default();
        let mut draft = Draft::new(&self.partitions[&partition], &overlay, &self.registry);
        let reply = run(&self.identity, &mut draft, &stamp);
        let decided = draft.finish();
        assert!(decided.outbox.is_empty(), "all is decided in one partition");
        self.notes.extend(decided.audit);
        self.timers.extend(decided.timers.into_iter().map(|(due, _, payload)| (partition, due, payload)));
        self.partitions.get_mut(&partition).unwrap().apply(decided.rows);
        reply
    }

    fn post(&mut self, route: Route, kind: &str, body: &str) -> Response {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_str(kind).unwrap());
        self.count += 1;
        let body = Body::Inline(Bytes::copy_from_slice(body.as_bytes()));
        let (first, then) = match self.identity.ask(route, &headers, body, &self.registry, self.count).unwrap() {
            Ask::Answer(response) => return response,
            Ask::Submit(first, then) => (first, then),
        };
        let mut replies: Vec<IdentityReply> = vec![];
        for call in [Some(first), then].into_iter().flatten() {
            if replies.iter().all(Ask::goes_on) {
                let partition = self.map().of(&call.key).0;
                let command = Command { payload: call.payload, ..Default::default() };
                let reply = self.decide(partition, |i, draft, stamp| i.decide(draft, stamp, &command).unwrap());
                replies.push(IdentityReply::of(&reply).unwrap());
            }
        }
        self.identity.answer(route, &replies, self.count)
    }

    fn form(&mut self, route: Route, fields: &[(&str, &str)]) -> Response {
        let body: Vec<String> = fields.iter().map(|(n, v)| format!("{n}={}", v.replace('+', "%2B"))).collect();
        self.post(route, "application/x-www-form-urlencoded; charset=utf-8", &body.join("&"))
    }

    fn with_jwt(&mut self, route: Route, jwt: &str, more: &[(&str, &str)]) -> Response {
        let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
        let mut fields = vec![("client_assertion_type", kind), ("client_assertion", jwt)];
        fields.extend(more);
        self.form(route, &fields)
    }

    fn token(&mut self, jwt: &str) -> Response {
        self.with_jwt(Route::Token, jwt, &[("grant_type", "client_credentials")])
    }

    fn a_token(&mut self) -> String {
        let jwt = self.good();
        let told = self.token(&jwt);
        assert_eq!(told.status, 200, "{}", told.body);
        told.body["access_token"].as_str().unwrap().to_owned()
    }

    fn claims(&mut self) -> Value {
        self.count += 1;
        let jti = format!("jti-{}", self.count);
        json!({"iss": CLIENT, "sub": CLIENT, "aud": AUD, "jti": jti, "exp": self.now / 1_000 + 290})
    }

    /// For the token endpoint of the provider of staff.
    fn provider_assertion(&mut self) -> String {
        let mut claims = self.claims();
        claims["aud"] = json!(format!("{URL}{}/access_token", login::ISSUER_PATH));
        jwt::tests::sign(&KEY.0, &header(), &claims)
    }

    fn good(&mut self) -> String {
        let claims = self.claims();
        jwt::tests::sign(&KEY.0, &header(), &claims)
    }

    fn standing(&self, token: &str) -> Standing {
        self.standing_in(token, "")
    }

    /// With the role profile that the request names.
    fn standing_in(&self, token: &str, role: &str) -> Standing {
        let Some(place) = Place::of(token) else { return Standing::Refused(Denied::TokenUnknown) };
        let partition = self.map().of(&place.hash).0;
        tokens::standing(&self.partitions[&partition], &self.registry, &place, role, self.now).unwrap()
    }

    /// Lets time pass and due timers fire.
    fn pass(&mut self, ms: u64) {
        let end = self.now + ms;
        loop {
            self.timers.sort_by_key(|(_, due, _)| *due);
            if self.timers.first().is_none_or(|(_, due, _)| *due > end) {
                break;
            }
            let (partition, due, payload) = self.timers.remove(0);
            self.now = self.now.max(due);
            let timer = Timer { due, payload, ..Default::default() };
            self.decide(partition, |i, draft, stamp| {
                i.timer(draft, stamp, &timer).unwrap();
                Bytes::new()
            });
        }
        self.now = end;
    }
}

fn header() -> Value {
    json!({"alg": "RS512", "typ": "JWT", "kid": "test-1"})
}

fn refused(response: &Response, refusal: Refusal) {
    let (status, error, text) = refusal.told();
    assert_eq!(
        (response.status, response.body["error"].as_str(), response.body["error_description"].as_str()),
        (status, Some(error), Some(text)),
    );
    assert_eq!(response.body["message_id"].as_str().map(str::len), Some(16));
}

fn proven(standing: Standing) -> crate::access::gate::Proven {
    match standing {
        Standing::Proven(proven) => *proven,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_signed_jwt_gives_a_token_that_says_whose_it_is() {
    for partitions in [1, 3] {
        let mut site = Site::new(partitions);
        let jwt = site.good();
        let told = site.token(&jwt);
        assert_eq!(told.status, 200, "{}", told.body);
        assert_eq!((&told.body["expires_in"], &told.body["token_type"]), (&json!("599"), &json!("Bearer")));
        assert_eq!(told.body["issued_at"], json!(NOW.to_string()));
        let token = told.body["access_token"].as_str().unwrap();
        assert_eq!(token.len(), 43);
        let proven = proven(site.standing(token));
        assert_eq!((proven.caller.application.as_str(), proven.caller.level.as_str()), (CLIENT, "level3"));
        assert_eq!((proven.caller.scopes, proven.quota), (vec![SCOPE.to_owned()], 5));
        // The text of the token is nowhere.
        let rows = site.partitions.values().flat_map(|p| p.0.iter());
        assert!(rows.flat_map(|(k, v)| [k, v]).all(|b| !b.windows(43).any(|w| w == token.as_bytes())));
        let note = site.notes.last().unwrap();
        assert_eq!(
            (note.interaction.as_str(), note.outcome.as_str(), note.object.as_str()),
            ("identity.token", "ok", CLIENT)
        );
        assert!(!format!("{:?}", site.notes).contains(token));
    }
}

#[test]
fn a_jwt_gives_one_token_and_a_forged_one_uses_up_nobodys_jti() {
    for partitions in [1, 3] {
        let mut site = Site::new(partitions);
        let claims = site.claims();
        let forged = jwt::tests::sign(&OTHER.0, &header(), &claims);
        refused(&site.token(&forged), Refusal::Signature);
        let jwt = jwt::tests::sign(&KEY.0, &header(), &claims);
        assert_eq!(site.token(&jwt).status, 200);
        refused(&site.token(&jwt), Refusal::JtiSeen);
        // Nor at another endpoint, nor after the hour has turned.
        refused(&site.with_jwt(Route::Introspect, &jwt, &[("token", "x")]), Refusal::JtiSeen);
        let mut renewed = claims.clone();
        site.pass(HOUR_MS - 1);
        renewed["exp"] = json!(site.now / 1_000 + 60);
        let jwt = jwt::tests::sign(&KEY.0, &header(), &renewed);
        refused(&site.token(&jwt), Refusal::JtiSeen);
    }
}

#[test]
fn the_life_of_a_token_may_be_shortened_and_never_lengthened() {
    let mut site = Site::new(1);
    for (wish, told) in [("100000", "99"), ("700000", "599"), ("nonsense", "599"), ("0", "599")] {
        let jwt = site.good();
        let grant = [("grant_type", "client_credentials"), ("_access_token_expiry_ms", wish), ("scope", "ignored")];
        let answer = site.with_jwt(Route::Token, &jwt, &grant);
        assert_eq!(answer.body["expires_in"], json!(told), "{wish}");
    }
    let token = site.a_token();
    site.pass(TOKEN_LIFE_MS - 1);
    proven(site.standing(&token));
    site.pass(1);
    assert_eq!(site.standing(&token), Standing::Refused(Denied::TokenExpired));
    // After the last retention no row is left.
    site.pass(3 * HOUR_MS);
    assert_eq!(site.standing(&token), Standing::Refused(Denied::TokenUnknown));
    assert!(site.partitions.values().all(|p| p.0.is_empty()), "rows were left behind");
    assert!(site.timers.is_empty());
}

#[test]
fn a_great_many_rows_are_swept_in_pieces() {
    let mut site = Site::new(1);
    let jwt = site.good();
    assert_eq!(site.token(&jwt).status, 200);
    let hour = NOW / HOUR_MS;
    for n in 0..2_000u64 {
        let key = super::rows::assertion_key(hour, &tokens::sha256(&n.to_be_bytes()));
        site.partitions.get_mut(&1).unwrap().0.insert(key.build(), Bytes::from_static(&[1]));
    }
    site.pass(4 * HOUR_MS);
    assert!(site.partitions[&1].0.is_empty());
}

#[test]
fn a_revoked_token_is_unknown_from_then_on_and_only_its_owner_revokes_it() {
    for partitions in [1, 3] {
        let mut site = Site::new(partitions);
        site.register("client-0002", an_application());
        let token = site.a_token();
        let by_other = |site: &mut Site| {
            let mut claims = site.claims();
            (claims["iss"], claims["sub"]) = (json!("client-0002"), json!("client-0002"));
            jwt::tests::sign(&KEY.0, &header(), &claims)
        };
        let other = by_other(&mut site);
        let told = site.with_jwt(Route::Revoke, &other, &[("token", &token)]);
        assert_eq!(told.status, 200, "nothing is told of another's token");
        proven(site.standing(&token));
        // A refused proof revokes nothing.
        let forged = jwt::tests::sign(&OTHER.0, &header(), &site.claims());
        refused(&site.with_jwt(Route::Revoke, &forged, &[("token", &token)]), Refusal::Signature);
        proven(site.standing(&token));
        let jwt = site.good();
        refused(&site.with_jwt(Route::Revoke, &jwt, &[]), Refusal::TokenMissing);
        let jwt = site.good();
        let told = site.with_jwt(Route::Revoke, &jwt, &[("token", &token), ("token_type_hint", "access_token")]);
        assert_eq!((told.status, told.body), (200, json!({})));
        assert_eq!(site.standing(&token), Standing::Refused(Denied::TokenUnknown));
        let note = site.notes.last().unwrap();
        assert_eq!((note.interaction.as_str(), note.outcome.as_str()), ("identity.revoke", "ok"));
        for nonsense in [token.as_str(), "nonsense", "A"] {
            let jwt = site.good();
            assert_eq!(site.with_jwt(Route::Revoke, &jwt, &[("token", nonsense)]).status, 200);
        }
    }
}

#[test]
fn introspection_tells_the_owner_and_whoever_was_made_a_gateway() {
    let mut site = Site::new(3);
    site.register("client-0002", an_application());
    let gateway = Attribute { name: "introspect-all".into(), value: "true".into(), ..Default::default() };
    site.register("client-0003", Application { attributes: vec![gateway], ..an_application() });
    let token = site.a_token();
    let mut asked_by = |client: &str, token: &str| {
        let mut claims = site.claims();
        (claims["iss"], claims["sub"]) = (json!(client), json!(client));
        let jwt = jwt::tests::sign(&KEY.0, &header(), &claims);
        site.with_jwt(Route::Introspect, &jwt, &[("token", token)]).body
    };
    let told = asked_by(CLIENT, &token);
    assert_eq!((&told["active"], &told["client_id"], &told["scope"]), (&json!(true), &json!(CLIENT), &json!(SCOPE)));
    assert_eq!(told["exp"], json!((NOW + TOKEN_LIFE_MS) / 1_000));
    assert_eq!(asked_by("client-0002", &token), json!({"active": false}));
    assert_eq!(asked_by("client-0003", &token)["active"], json!(true));
    assert_eq!(asked_by(CLIENT, "nonsense"), json!({"active": false}));
}

#[test]
fn what_the_registry_takes_back_the_token_loses() {
    let mut site = Site::new(1);
    let token = site.a_token();
    site.register(CLIENT, Application { products: vec![], ..an_application() });
    assert!(proven(site.standing(&token)).caller.scopes.is_empty());
    site.register(CLIENT, Application { state: State::Revoked as u8, ..an_application() });
    assert_eq!(site.standing(&token), Standing::Refused(Denied::TokenUnknown));
    // The leader looks again: a key that was changed since the asking node looked is no longer good.
    let jwt = site.good();
    refused(&site.token(&jwt), Refusal::NotApproved);
    let key = |row: Application| {
        let mut registry = MapStore::default();
        registry.0.insert(application_key(CLIENT).build(), row.encode());
        tokens::standing_of_key(&registry, CLIENT).unwrap()
    };
    let scopes = proven(key(an_application())).caller.scopes;
    assert_eq!(scopes, ["urn:nhsd:apim:app:level0:personal-demographics-service"]);
    assert_eq!(key(Application { key_off: true, ..an_application() }), Standing::Refused(Denied::KeyUnknown));
    let revoked = Application { state: State::Revoked as u8, ..an_application() };
    assert_eq!(key(revoked), Standing::Refused(Denied::ApplicationRevoked));
}

#[test]
fn emergency_care_is_what_the_registry_says_now_and_no_application_that_was_revoked() {
    let mut site = Site::new(1);
    let token = site.a_token();
    assert!(!proven(site.standing(&token)).emergency);
    site.register(CLIENT, Application { emergency: true, ..an_application() });
    assert!(proven(site.standing(&token)).emergency, "tokens of before too");
    assert!(proven(tokens::standing_of_key(&site.registry, CLIENT).unwrap()).emergency);
    site.register(CLIENT, Application { emergency: true, state: State::Revoked as u8, ..an_application() });
    let place = Place::of(&token).unwrap();
    let holder = tokens::holder(&site.partitions[&1], &site.registry, &place).unwrap().unwrap();
    assert!(!holder.emergency && holder.caller.application == CLIENT);
}

#[test]
fn a_token_that_was_made_up_or_bent_is_unknown() {
    let mut site = Site::new(3);
    let token = site.a_token();
    let mut bent = token.clone().into_bytes();
    bent[20] = if bent[20] == b'A' { b'B' } else { b'A' };
    for text in ["", "x", &"A".repeat(43), &"A".repeat(44), std::str::from_utf8(&bent).unwrap()] {
        assert_eq!(site.standing(text), Standing::Refused(Denied::TokenUnknown), "{text}");
    }
}

#[test]
fn other_paths_and_methods_answer_as_specified() {
    use super::route;
    assert_eq!(route("GET", "/oauth2/token"), Route::WrongMethod("POST"));
    assert_eq!(route("POST", "/oauth2/userinfo"), Route::WrongMethod("GET"));
    assert_eq!(route("GET", "/oauth2/nothing"), Route::NotFound);
    assert!(super::routes::takes("/oauth2/x") && !super::routes::takes("/oauth2x"));
    assert_eq!(Response::not_found().body, json!({"error": "invalid_request", "error_description": "Not Found"}));
    let site = Site::new(1);
    let ask = |route, key: Option<&'static str>| {
        let mut headers = HeaderMap::new();
        key.map(|key| headers.insert("apikey", HeaderValue::from_static(key)));
        match site.identity.ask(route, &headers, Body::None, &site.registry, 1).unwrap() {
            Ask::Answer(response) => response,
            Ask::Submit(..) => panic!("it needs no command"),
        }
    };
    assert_eq!(ask(Route::Ping, None).body["version"], json!("1.2.3"));
    let told = ask(Route::Status, None);
    let text = "Invalid api key for _status monitoring endpoint";
    assert_eq!((told.status, told.body), (401, json!({"error": "Access Denied", "error_description": text})));
    assert_eq!(ask(Route::Status, Some(CLIENT)).body["status"], json!("pass"));
}
