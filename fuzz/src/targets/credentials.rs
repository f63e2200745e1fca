//! What proves who somebody is, or what happened: signed JWTs, key sets, CBOR and passkeys, forms, steps of a log-in, and a
//! file of the trail. The first byte chooses.
//!
//! One text for one value: what was read and is written is the same. Nothing is believed that its key did not sign, and what
//! is believed says what the specification asks for.

use super::{MIB, Take, Target, deciding::NOW};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA512};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use serde_json::{Value, json};
use spine::audit::Ca;
use spine::engine::draft::MapStore;
use spine::fuzz::{export, webauthn};
use spine::services::directory::applications::{Application, Product, PublicKey, State, application_key};
use spine::services::identity::command::IdentityCommand;
use spine::services::identity::login::visit::{Asked, Step, Visit};
use spine::services::identity::{Ask, Body, Identity, IdentityOptions, Route, tokens::Place};
use spine::wire::form::{Form, encode};
use spine::wire::jwt::{Jwt, RsaKey, from_base64url, key_set, to_base64url};
use spine::wire::{cbor, record::Record};
use std::path::Path;
use std::sync::LazyLock;

/// A tree of JSON costs some dozens of bytes for each of a document's; a form is looked at several times.
pub const TARGET: Target = Target { name: "credentials", run, seeds, longest: 4 << 10, base: 2 * MIB, factor: 600 };

const URL: &str = "https://api.spine.test";
const CLIENT: &str = "client-0001";
const KID: &str = "test-1";
const CHALLENGE: [u8; 16] = [7; 16];
const HOST: &str = "api.spine.test";

/// Keys of this run: none is kept.
static RSA: LazyLock<KeyPair> = LazyLock::new(|| KeyPair::generate(KeySize::Rsa2048).expect("a key can be made"));
static EC: LazyLock<EcdsaKeyPair> =
    LazyLock::new(|| EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).expect("a key can be made"));
static IDENTITY: LazyLock<Identity> = LazyLock::new(|| {
    let issuer_path = "/openam/oauth2/realms/root/realms/oidc".into();
    Identity::new(IdentityOptions { url: URL.into(), version: "1".into(), issuer_path, site: "fuzz".into() })
});
static SITE: LazyLock<MapStore> = LazyLock::new(|| {
    let public = RSA.public_key();
    let key = PublicKey {
        kid: KID.into(),
        modulus: Bytes::copy_from_slice(public.modulus().big_endian_without_leading_zero()),
        exponent: Bytes::copy_from_slice(public.exponent().big_endian_without_leading_zero()),
        ..Default::default()
    };
    let scopes = vec!["urn:nhsd:apim:app:level3:personal-demographics-service".into()];
    let application = Application {
        name: "Tests".into(),
        ods: "X26".into(),
        products: vec![Product { name: "pds".into(), scopes, ..Default::default() }],
        keys: vec![key],
        redirect_uris: vec!["https://client.test/back".into()],
        state: State::Approved as u8,
        ..Default::default()
    };
    let mut site = MapStore::default();
    site.0.insert(application_key(CLIENT).build(), application.encode());
    site
});

fn run(input: &[u8]) {
    let mut take = Take(input);
    match take.byte() % 10 {
        0 => token(take.0),
        1 => signed(&mut take),
        2 => keys(take.0),
        3 => canonical(take.0),
        4 => registered(&mut take),
        5 => asserted(&mut take),
        6 => form(take.0),
        7 => exported(take.0),
        8 => visited(&mut take),
        _ => submitted(&mut take),
    }
}

fn token(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Some(bytes) = from_base64url(text) {
        assert_eq!(to_base64url(&bytes), text);
    }
    if let Some(place) = Place::of(text) {
        assert!(text.len() < 100 && Place::of(text) == Some(place));
    }
    let Ok(jwt) = Jwt::parse(text) else { return };
    assert!(!jwt.header.contains_key("crit"));
    for part in text.split('.') {
        let bytes = from_base64url(part).expect("each part was read");
        assert_eq!(to_base64url(&bytes), part, "one text for one value");
    }
    let public = RSA.public_key();
    let modulus = public.modulus().big_endian_without_leading_zero();
    let key = RsaKey { modulus, exponent: &[1, 0, 1] };
    assert!(!jwt.verify(&key) && !jwt.verify_rs256(&key), "this key signed nothing");
}

/// A header and claims of the input's, signed here; an odd first byte spoils the signature.
fn signed(take: &mut Take<'_>) {
    let spoilt = take.byte() & 1 == 1;
    let at = take.0.iter().position(|b| *b == b'\n').unwrap_or(take.0.len());
    let (header, claims) = (&take.0[..at], take.0.get(at + 1..).unwrap_or_default());
    let text = format!("{}.{}", to_base64url(header), to_base64url(claims));
    let mut signature = vec![0; RSA.public_modulus_len()];
    RSA.sign(&RSA_PKCS1_SHA512, &SystemRandom::new(), text.as_bytes(), &mut signature).expect("it signs");
    signature[9] ^= u8::from(spoilt);
    let assertion = format!("{text}.{}", to_base64url(&signature));
    let kind = encode("urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
    let form = format!("grant_type=client_credentials&client_assertion_type={kind}&client_assertion={assertion}");
    let Some(claim) = claim(Route::Token, form.as_bytes()) else { panic!("a token is asked for by a claim") };
    if claim.refusal != 0 {
        return;
    }
    assert!(!spoilt, "nothing unsigned is believed");
    let said: Value = serde_json::from_slice(claims).expect("what is believed can be read");
    let head: Value = serde_json::from_slice(header).expect("what is believed can be read");
    assert!(head["alg"] == "RS512" && head["kid"] == KID, "{head}");
    assert!(said["iss"] == CLIENT && said["sub"] == CLIENT && claim.client == CLIENT, "{said}");
    let audience = json!(format!("{URL}/oauth2/token"));
    assert!(said["aud"] == audience || said["aud"] == json!([audience]), "{said}");
    assert!(said["exp"].is_i64() || said["exp"].is_u64(), "{said}");
    assert!(claim.jti.len() == 32 && claim.key.len() == 32, "it can be used once only");
}

fn claim(route: Route, form: &[u8]) -> Option<spine::services::identity::command::Claim> {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("application/x-www-form-urlencoded"));
    let body = Body::Inline(Bytes::copy_from_slice(form));
    let ask = IDENTITY.ask(route, &headers, body, &*SITE, 1).unwrap_or_else(|fault| panic!("{fault}"));
    let Ask::Submit(first, _) = ask else { return None };
    match IdentityCommand::decode(&first.payload).unwrap_or_else(|fault| panic!("{fault}")) {
        IdentityCommand::Claim(claim) => Some(claim),
        _ => None,
    }
}

/// Any form at the token service: it has no key of ours, so that nothing of it is believed.
fn submitted(take: &mut Take<'_>) {
    let route = [Route::Token, Route::Revoke, Route::Introspect][usize::from(take.byte()) % 3];
    let claim = claim(route, take.0).expect("it is refused by a record");
    assert_ne!(claim.refusal, 0, "nothing unsigned is believed");
}

fn keys(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    match key_set(text) {
        Err(why) => assert!(!why.to_string().is_empty()),
        Ok(keys) => {
            assert!(keys.iter().all(|key| key.check().is_ok()), "weak keys are not taken");
            let part = |bytes: &[u8]| to_base64url(bytes);
            let one = |key: &spine::wire::jwt::Jwk| json!({"kty": "RSA", "kid": key.kid, "n": part(&key.modulus), "e": part(&key.exponent)});
            let again = json!({"keys": keys.iter().map(one).collect::<Vec<_>>()}).to_string();
            assert_eq!(key_set(&again), Ok(keys));
        }
    }
}

fn canonical(input: &[u8]) {
    let Ok((value, rest)) = cbor::read(input) else { return };
    assert!(input.ends_with(rest));
    let mut out = vec![];
    written(&value, &mut out);
    assert!(out.len() <= input.len() - rest.len(), "nobody writes shorter");
    assert_eq!(cbor::read(&out), Ok((value, &b""[..])));
}

fn head(major: u8, number: u64, out: &mut Vec<u8>) {
    let major = major << 5;
    match number {
        0..=23 => out.push(major | number as u8),
        24..=0xff => out.extend([major | 24, number as u8]),
        0x100..=0xffff => out.extend([&[major | 25][..], &(number as u16).to_be_bytes()].concat()),
        0x1_0000..=0xffff_ffff => out.extend([&[major | 26][..], &(number as u32).to_be_bytes()].concat()),
        _ => out.extend([&[major | 27][..], &number.to_be_bytes()].concat()),
    }
}

fn written(value: &cbor::Value, out: &mut Vec<u8>) {
    match value {
        cbor::Value::Int(n) if *n >= 0 => head(0, *n as u64, out),
        cbor::Value::Int(n) => head(1, (-1 - n) as u64, out),
        cbor::Value::Bytes(bytes) => {
            head(2, bytes.len() as u64, out);
            out.extend_from_slice(bytes);
        }
        cbor::Value::Text(text) => {
            head(3, text.len() as u64, out);
            out.extend_from_slice(text.as_bytes());
        }
        cbor::Value::Array(items) => {
            head(4, items.len() as u64, out);
            items.iter().for_each(|item| written(item, out));
        }
        cbor::Value::Map(pairs) => {
            head(5, pairs.len() as u64, out);
            for (key, value) in pairs {
                written(key, out);
                written(value, out);
            }
        }
        cbor::Value::Bool(yes) => out.push(if *yes { 0xf5 } else { 0xf4 }),
        cbor::Value::Null => out.push(0xf6),
    }
}

const EXPECTED: webauthn::Expected<'static> = webauthn::Expected { challenge: &CHALLENGE, origin: URL, rp_id: HOST };

/// Client data of the length that two bytes say, and the rest.
fn client_data<'a>(take: &mut Take<'a>) -> &'a [u8] {
    let length = usize::from(take.byte()) << 8 | usize::from(take.byte());
    take.bytes(length)
}

/// What client data must say to be taken.
fn says(client: &[u8], kind: &str) {
    let said: Value = serde_json::from_slice(client).expect("what is believed can be read");
    assert!(said["type"] == kind && said["origin"] == URL && said["challenge"] == to_base64url(&CHALLENGE), "{said}");
}

fn registered(take: &mut Take<'_>) {
    let client = client_data(take);
    let Ok(made) = webauthn::registration(&EXPECTED, client, take.0) else { return };
    says(client, "webauthn.create");
    assert!((1..=webauthn::MAX_CREDENTIAL).contains(&made.credential.len()));
    assert!(cbor::read(&made.key).is_ok_and(|(_, rest)| rest.is_empty()), "the key is one value");
    // A key that nobody here holds signs nothing.
    let known = webauthn::Known { key: &made.key, counter: made.counter, copied: made.copied };
    let mut get = client.to_vec();
    if let Some(at) = client.windows(15).position(|w| w == b"webauthn.create") {
        get.splice(at..at + 15, *b"webauthn.get");
    }
    let data = [digest(&SHA256, HOST.as_bytes()).as_ref(), &[5, 0xff, 0xff, 0xff, 0xff]].concat();
    assert!(webauthn::assertion(&EXPECTED, &known, &get, &data, &[0x30; 8]).is_err());
}

/// Flags and counters as known, then client data and authenticator data, signed here; the first bit spoils it.
fn asserted(take: &mut Take<'_>) {
    let (how, seen) = (take.byte(), take.u32());
    let client = client_data(take);
    let data = take.0;
    let point = EC.public_key().as_ref();
    let key = [b"\xa5\x01\x02\x03\x26\x20\x01\x21\x58\x20", &point[1..33], b"\x22\x58\x20", &point[33..]].concat();
    let signed = [data, digest(&SHA256, client).as_ref()].concat();
    let signature = EC.sign(&SystemRandom::new(), &signed).expect("it signs");
    let mut signature = signature.as_ref().to_vec();
    let spoilt = how & 1 == 1;
    signature[8] ^= u8::from(spoilt);
    let known = webauthn::Known { key: &key, counter: seen, copied: how & 2 == 2 };
    let Ok(counter) = webauthn::assertion(&EXPECTED, &known, client, data, &signature) else { return };
    assert!(!spoilt, "nothing unsigned is believed");
    says(client, "webauthn.get");
    assert!(data[..32] == *digest(&SHA256, HOST.as_bytes()).as_ref() && data[32] & 5 == 5, "here, and verified");
    assert!(counter > seen || (counter == 0 && seen == 0), "it counts up");
}

fn form(input: &[u8]) {
    let Ok(form) = Form::parse(input) else { return };
    let fields: Vec<(String, String)> = form.fields().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
    let pairs: Vec<String> = fields.iter().map(|(n, v)| format!("{}={}", encode(n), encode(v))).collect();
    let again = Form::parse(pairs.join("&").as_bytes()).unwrap_or_else(|e| panic!("{e}"));
    assert!(again.fields().eq(form.fields()));
    for (name, value) in fields.iter().filter(|(_, value)| !value.is_empty()) {
        let one = form.get(name);
        assert!(one.is_none_or(|one| one == value || one == "\0twice") && one != Some(""));
    }
}

/// With an authority that signed nothing no trail that has anything in it is whole.
fn exported(input: &[u8]) {
    let Ok(verdicts) = export::read(Path::new("trail.ndjson"), input, &Ca::new(vec![]), &[]) else { return };
    for (partition, verdict) in verdicts {
        assert!(verdict.heads == 0 && verdict.findings.len() <= 100);
        assert!(!verdict.is_whole(), "partition {partition}: {verdict:?}");
    }
}

/// The first step of a log-in: `METHOD path?query`, cookies, the form.
fn visited(take: &mut Take<'_>) {
    let certificate = if take.byte() & 1 == 0 { "" } else { "aa11bb22" };
    let text = String::from_utf8_lossy(take.0);
    let mut lines = text.splitn(3, '\n');
    let (method, target) = lines.next().unwrap_or_default().split_once(' ').unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let route = IDENTITY.route(method, path);
    let mut headers = HeaderMap::new();
    if let Ok(cookie) = HeaderValue::from_str(lines.next().unwrap_or_default()) {
        headers.insert("cookie", cookie);
    }
    let read = |text: &str| Form::parse(text.as_bytes()).unwrap_or_default();
    let (query, form) = (read(query), read(lines.next().unwrap_or_default()));
    let (headers, site) = (&headers, &*SITE);
    let asked = Asked { headers, query, form, site, attempt: 1, certificate, proven_ago: 3 };
    let begun = match route {
        Route::Login(route) => Some(Visit::begin(&IDENTITY, route, &asked)),
        Route::Token => IDENTITY.exchange(&asked).transpose().or_else(|| IDENTITY.trade(&asked).transpose()),
        _ => None,
    };
    let Some(begun) = begun else { return };
    let (_, step) = begun.unwrap_or_else(|fault| panic!("{fault}"));
    if let Step::Done(page) = step {
        let finished = IDENTITY.finish(page, site, &mut |_| Ok("a.b.c".into()));
        let page = finished.unwrap_or_else(|fault| panic!("{fault}"));
        assert!((200..500).contains(&page.status), "{}", page.status);
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let part = |text: &str| to_base64url(text.as_bytes());
    let with = |head: &[u8], rest: &[u8]| [head, rest].concat();
    let claims = json!({"iss": CLIENT, "sub": CLIENT, "aud": format!("{URL}/oauth2/token"), "exp": NOW / 1_000 + 60, "jti": "j"}).to_string();
    let header = json!({"alg": "RS512", "typ": "JWT", "kid": KID}).to_string();
    let mut seeds = vec![
        with(&[0], format!("{}.{}.{}", part(&header), part(&claims), part("s")).as_bytes()),
        with(&[0], format!("{}.{}.{}", part(r#"{"alg":"none","crit":["x"]}"#), part("{}"), "").as_bytes()),
        with(&[1, 0], format!("{header}\n{claims}").as_bytes()),
        with(&[1, 1], format!("{header}\n{claims}").as_bytes()),
        with(
            &[1, 0],
            br#"{"alg":"none"}
{"aud":["a","b"],"exp":1e9,"jti":7}"#,
        ),
    ];
    let modulus = to_base64url(&[&[0x81][..], &[7; 255]].concat());
    let key = json!({"kty": "RSA", "kid": KID, "alg": "RS512", "use": "sig", "n": modulus, "e": "AQAB"});
    seeds.push(with(&[2], json!({"keys": [key]}).to_string().as_bytes()));
    let map = b"\xa6\x01\x02\x03\x26\x20\x01\x21\x42\x01\x02\x63fmt\x64none\x63x5c\x83\x40\xf5\xf6\x39\x01\x00";
    seeds.extend([with(&[3], map), with(&[3], &[0x81; 9]), with(&[3], b"\xa2\x01\x00\x01\x00")]);
    seeds.extend(passkeys());
    for text in ["a=1+2%263&b=&c=x&c=y&d", "a=%f", "grant_type=client_credentials&client_assertion_type=x"] {
        seeds.extend([with(&[6], text.as_bytes()), with(&[9, 0], text.as_bytes())]);
    }
    let head = r#"{"format":"spine-audit-export","version":1,"site":"s","node":1,"made":"2026-11-29T00:00:00Z"}"#;
    let lines = [
        r#"{"partition":1,"sequence":1,"record":"CAE"}"#,
        r#"{"partition":1,"head":"CAE"}"#,
        r#"{"partition":1,"end":1,"head":"CAE"}"#,
    ];
    seeds.push(with(&[7], format!("{head}\n{}\n", lines.join("\n")).as_bytes()));
    let last = lines[0].replace("\"sequence\":1", &format!("\"sequence\":{}", u64::MAX));
    seeds.push(with(&[7], format!("{head}\n{last}\n{last}\n").as_bytes()));
    let issuer = "/openam/oauth2/realms/root/realms/oidc";
    let code = format!(
        "response_type=code&client_id={CLIENT}&redirect_uri={}&scope=openid&state=s&nonce=n",
        encode("https://client.test/back")
    );
    for text in [
        format!("GET {issuer}/authorize?{code}&acr_values=AAL3_ANY&prompt=login&max_age=60\nspine_browser=abc\n"),
        format!("GET /oauth2/authorize?{code}\n\n"),
        format!("POST {issuer}/authorize/log-in\na=b\nticket=x&user=555254240100&password=p&code=123456"),
        format!("POST {issuer}/authorize/passkey\n\nticket=x&credential=AQ&client_data=e30&authenticator_data=AQ&signature=AQ"),
        format!("POST {issuer}/access_token\n\ngrant_type=authorization_code&code=c&redirect_uri=r&client_id={CLIENT}&client_secret=s"),
        "POST /oauth2/token\n\ngrant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange&subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aid_token&subject_token=e30.e30.AQ".into(),
        "POST /oauth2/token\n\ngrant_type=refresh_token&refresh_token=r&client_id=client-0001&client_secret=s".into(),
    ] {
        seeds.push(with(&[8, 0], text.as_bytes()));
    }
    seeds
}

/// What an authenticator sends: registered, and asked.
fn passkeys() -> [Vec<u8>; 2] {
    let client = |kind: &str| {
        let challenge = to_base64url(&CHALLENGE);
        json!({"type": kind, "challenge": challenge, "origin": URL, "crossOrigin": false}).to_string().into_bytes()
    };
    let sized = |bytes: &[u8]| [&(bytes.len() as u16).to_be_bytes(), bytes].concat();
    let site = digest(&SHA256, HOST.as_bytes()).as_ref().to_vec();
    let key = [b"\xa5\x01\x02\x03\x26\x20\x01\x21\x58\x20", &[3; 32][..], b"\x22\x58\x20", &[4; 32]].concat();
    let data = [site.as_slice(), &[0x45, 0, 0, 0, 1], &[0; 16], &[0, 3, 1, 2, 3], &key].concat();
    let object = [b"\xa3\x63fmt\x64none\x67attStmt\xa0\x68authData\x58", &[data.len() as u8][..], &data].concat();
    let asked = [site.as_slice(), &[0x05, 0, 0, 0, 9]].concat();
    [
        [&[4][..], &sized(&client("webauthn.create")), &object].concat(),
        [&[5, 0, 8, 0, 0, 0][..], &sized(&client("webauthn.get")), &asked].concat(),
    ]
}
