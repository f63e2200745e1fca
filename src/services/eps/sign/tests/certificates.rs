//! Signatures by certificates that are made here: what holds, and each way in which one does not.

use super::{example, json};
use crate::model::{EpochMillis, time::parse_iso};
use crate::services::eps::sign::{
    Algorithm, BadSignature, BadTrust, Checked, Digits, Failure, Mode, Signature, Signing, Trust, base64, check,
    outdated, sign, verify,
};
use aws_lc_rs::{digest, rsa, signature, test::rand::FixedByteRandom};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, IsCa, Issuer, KeyIdMethod, KeyPair,
    RevocationReason, RevokedCertParams, SerialNumber, date_time_ymd,
};
use serde_json::{Value, json as value};
use std::sync::LazyLock;

const LEAF: u64 = 0x00c0_ffee;
const SUB: u64 = 7;

/// A prescriber's RSA key; made once, because that takes a while.
static KEY: LazyLock<KeyPair> =
    LazyLock::new(|| KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap());

/// A root, a sub-authority below it.
struct Authorities {
    root: Issuer<'static, KeyPair>,
    root_der: Vec<u8>,
    sub: Issuer<'static, KeyPair>,
    sub_der: Vec<u8>,
}

fn named(name: &str, serial: u64) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.serial_number = Some(SerialNumber::from(serial));
    params
}

fn authorities() -> Authorities {
    let authority = |name, serial| {
        let mut params = named(name, serial);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
    };
    let root_key = KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
    let root = authority("root", 1);
    let root_der = root.self_signed(&root_key).unwrap().der().to_vec();
    let root = Issuer::new(root, root_key);
    let (sub, sub_key) = (authority("sub", SUB), KeyPair::generate().unwrap());
    let sub_der = sub.signed_by(&sub_key, &root).unwrap().der().to_vec();
    Authorities { root, root_der, sub: Issuer::new(sub, sub_key), sub_der }
}

impl Authorities {
    fn certificate(&self) -> Vec<u8> {
        self.certificate_of(&KEY)
    }
    /// Valid through 2026.
    fn certificate_of(&self, key: &KeyPair) -> Vec<u8> {
        let mut params = named("prescriber", LEAF);
        (params.not_before, params.not_after) = (date_time_ymd(2026, 1, 1), date_time_ymd(2027, 1, 1));
        params.signed_by(key, &self.sub).unwrap().der().to_vec()
    }
    fn trust(&self, lists: &[&[u8]]) -> Trust {
        Trust::parse(&[&self.sub_der], lists).unwrap()
    }
}

/// A revocation list with one certificate, revoked on the first of a month of 2026.
fn list(by: &Issuer<'static, KeyPair>, serial: u64, month: u8, reason: Option<RevocationReason>) -> Vec<u8> {
    let revoked = RevokedCertParams {
        serial_number: SerialNumber::from(serial),
        revocation_time: date_time_ymd(2026, month, 1),
        reason_code: reason,
        invalidity_date: None,
    };
    let params = CertificateRevocationListParams {
        this_update: date_time_ymd(2026, 1, 1),
        next_update: date_time_ymd(2026, 2, 1),
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: vec![revoked],
        key_identifier_method: KeyIdMethod::Sha256,
    };
    params.signed_by(by).unwrap().der().to_vec()
}

fn at(text: &str) -> EpochMillis {
    parse_iso(text).unwrap()
}

fn june() -> EpochMillis {
    at("2026-06-01T12:00:00Z")
}

fn rsa(algorithm: Algorithm) -> fn(&[u8]) -> Option<Vec<u8>> {
    match algorithm {
        Algorithm::Rs256 => sha256,
        Algorithm::Rs1 => sha1,
    }
}

fn sha256(bytes: &[u8]) -> Option<Vec<u8>> {
    let pair = rsa::KeyPair::from_pkcs8(&KEY.serialize_der()).ok()?;
    let mut made = vec![0; pair.public_modulus_len()];
    // Signatures of PKCS#1 v1.5 need no randomness.
    pair.sign(&signature::RSA_PKCS1_SHA256, &FixedByteRandom { byte: 0 }, bytes, &mut made).ok()?;
    Some(made)
}

/// By hand (RFC 8017 §8.2.1): the library verifies SHA-1 and does not make it any more.
fn sha1(bytes: &[u8]) -> Option<Vec<u8>> {
    use x509_parser::{der_parser::parse_der, num_bigint::BigUint};
    let outer = KEY.serialize_der();
    let (_, outer) = parse_der(&outer).ok()?;
    let (_, key) = parse_der(outer.as_sequence().ok()?[2].as_slice().ok()?).ok()?;
    let part = |n: usize| Some(BigUint::from_bytes_be(key.as_sequence().ok()?[n].as_slice().ok()?));
    let (modulus, private) = (part(1)?, part(3)?);
    let head = [0x30, 0x21, 0x30, 0x09, 0x06, 0x05, 0x2b, 0x0e, 0x03, 0x02, 0x1a, 0x05, 0x00, 0x04, 0x14];
    let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, bytes);
    let tail = [&head[..], hash.as_ref()].concat();
    let padded = [&[0, 1][..], &vec![0xff; 256 - 3 - tail.len()], &[0], &tail].concat();
    let made = BigUint::from_bytes_be(&padded).modpow(&private, &modulus).to_bytes_be();
    Some([vec![0; 256 - made.len()], made].concat())
}

fn order() -> Value {
    json(example!("02-order-acute-no-nomination/prepare-request.json"))
}

fn signed(certificate: &[u8], at: EpochMillis, algorithm: Algorithm) -> Value {
    let mut order = order();
    let with = Signing { at, algorithm, certificate, provenance: "28828c55-8fa7-42d7-916f-fcf076e0c10e" };
    sign(&mut order, &Digits::default(), &with, rsa(algorithm)).unwrap();
    order
}

/// An order signed in June 2026, and whom to trust: with a list that is good to the first of February, and believed for so many days
/// more.
pub(in crate::services::eps) fn under_a_list(days: u64) -> (Value, Trust) {
    let made = authorities();
    let mut trust = Trust::with_grace(std::time::Duration::from_secs(days * 86_400));
    trust.add_authorities(&made.sub_der).unwrap();
    trust.add_lists(&list(&made.sub, 9, 1, None)).unwrap();
    (signed(&made.certificate(), june(), Algorithm::Rs256), trust)
}

fn provenance(order: &mut Value) -> &mut Value {
    let entries = order["entry"].as_array_mut().unwrap();
    &mut entries.iter_mut().find(|e| e["resource"]["resourceType"] == "Provenance").unwrap()["resource"]
}

/// With another text of the signature.
fn with_xml(mut order: Value, change: impl FnOnce(String) -> String) -> Value {
    let data = &mut provenance(&mut order)["signature"][0]["data"];
    let text = String::from_utf8(base64::decode(data.as_str().unwrap()).unwrap()).unwrap();
    let changed = change(text.clone());
    assert_ne!(changed, text);
    *data = base64::encode(changed.as_bytes()).into();
    order
}

fn failures(order: &Value, trust: &Trust) -> Vec<Failure> {
    let signature = Signature::of(order).unwrap().unwrap();
    let found = verify(order, &Digits::default(), &signature, Mode::Verify, trust);
    assert_eq!(check(order.to_string().as_bytes(), Mode::Verify, trust), Checked::Signed(found.clone()));
    found
}

#[test]
fn what_was_prepared_and_signed_holds() {
    let made = authorities();
    for algorithm in [Algorithm::Rs256, Algorithm::Rs1] {
        let order = signed(&made.certificate(), june(), algorithm);
        assert_eq!(failures(&order, &made.trust(&[])), []);
        let laid_out = with_xml(order.clone(), |xml| format!("\r\n{}\n", xml.replace("><", ">\r\n   <")));
        assert_eq!(failures(&laid_out, &made.trust(&[])), []);
        let (one, other) = (Signature::of(&order).unwrap().unwrap(), Signature::of(&laid_out).unwrap().unwrap());
        assert_eq!(one.data(), provenance(&mut order.clone())["signature"][0]["data"].as_str().unwrap());
        assert_eq!(one.data(), other.data());
        assert_eq!((one.at, one.when.as_str()), (june(), "2026-06-01T12:00:00+00:00"));
    }
}

#[test]
fn who_is_not_trusted_is_told() {
    let (made, other) = (authorities(), authorities());
    let order = signed(&made.certificate(), june(), Algorithm::Rs256);
    for trust in [Trust::default(), other.trust(&[])] {
        assert_eq!(failures(&order, &trust), [Failure::NotTrusted]);
    }
    // The right key under another name.
    let key = KeyPair::from_pem(&made.sub.key().serialize_pem()).unwrap();
    let mut renamed = named("renamed", SUB);
    renamed.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let renamed = renamed.self_signed(&key).unwrap().der().to_vec();
    assert_eq!(failures(&order, &Trust::parse(&[&renamed], &[]).unwrap()), [Failure::NotTrusted]);
}

#[test]
fn a_certificate_holds_between_its_dates() {
    let made = authorities();
    for (when, expected) in [
        ("2025-12-31T23:59:59Z", vec![Failure::Expired]),
        ("2026-01-01T00:00:00Z", vec![]),
        ("2027-01-01T00:00:00Z", vec![]),
        ("2027-01-01T00:00:01Z", vec![Failure::Expired]),
    ] {
        let order = signed(&made.certificate(), at(when), Algorithm::Rs256);
        assert_eq!(failures(&order, &made.trust(&[])), expected, "{when}");
    }
}

#[test]
fn what_was_revoked_counts_by_reason_and_time() {
    let made = authorities();
    let order = signed(&made.certificate(), june(), Algorithm::Rs256);
    for (serial, month, reason, revoked) in [
        (LEAF, 5, None, true),
        (LEAF, 5, Some(RevocationReason::Superseded), true),
        (LEAF, 7, None, false),
        (LEAF, 7, Some(RevocationReason::CessationOfOperation), false),
        (LEAF, 7, Some(RevocationReason::KeyCompromise), true),
        (LEAF, 7, Some(RevocationReason::CaCompromise), true),
        (LEAF, 7, Some(RevocationReason::AaCompromise), true),
        (LEAF + 1, 5, None, false),
    ] {
        let trust = made.trust(&[&list(&made.sub, serial, month, reason)]);
        let expected = if revoked { vec![Failure::Revoked] } else { vec![] };
        assert_eq!(failures(&order, &trust), expected, "{serial} {month} {reason:?}");
        assert_eq!((trust.counts(), trust.next_update()), ((1, 1), Some(at("2026-02-01T00:00:00Z"))));
    }
}

#[test]
fn a_revoked_authority_takes_its_certificates_with_it() {
    let made = authorities();
    let order = signed(&made.certificate(), june(), Algorithm::Rs256);
    let list = list(&made.root, SUB, 5, None);
    // With the root's certificate at hand its list is checked; without, it is taken as the operator gives it.
    for trust in [made.trust(&[&list]), Trust::parse(&[&made.sub_der, &made.root_der], &[&list]).unwrap()] {
        assert_eq!(failures(&order, &trust), [Failure::AuthorityRevoked]);
    }
}

#[test]
fn an_altered_prescription_does_not_match() {
    let made = authorities();
    let trust = made.trust(&[]);
    let good = signed(&made.certificate(), june(), Algorithm::Rs256);
    let mut order = good.clone();
    order["entry"][1]["resource"]["dispenseRequest"]["quantity"]["value"] = value!(1000);
    assert_eq!(failures(&order, &trust), [Failure::Mismatch]);
    let mut order = good.clone();
    provenance(&mut order)["signature"][0]["when"] = value!("2026-06-01T12:00:01+00:00");
    assert_eq!(failures(&order, &trust), [Failure::Mismatch]);
}

#[test]
fn an_order_is_not_judged_by_a_list_that_is_out_of_date() {
    let made = authorities();
    let order = signed(&made.certificate(), june(), Algorithm::Rs256);
    let stale = |grace_days: u64, lists: &[&[u8]], at: &str| {
        let mut trust = Trust::with_grace(std::time::Duration::from_secs(grace_days * 86_400));
        trust.add_authorities(&made.sub_der).unwrap();
        lists.iter().for_each(|list| trust.add_lists(list).unwrap());
        outdated(&order, Mode::Verify, &trust, parse_iso(at).unwrap())
    };
    // Both lists are good to the first of February.
    let (of_sub, of_root) = (list(&made.sub, 9, 1, None), list(&made.root, 9, 1, None));
    for of in [&of_sub, &of_root] {
        assert!(!stale(7, &[of], "2026-02-08T00:00:00Z"), "believed through its grace");
        assert!(stale(7, &[of], "2026-02-08T00:00:01Z"));
        assert!(stale(0, &[of], "2026-02-01T00:00:01Z"));
    }
    assert!(!stale(0, &[], "2027-01-01T00:00:00Z"), "an authority without a list is taken at its word");
    let mut trust = Trust::with_grace(Default::default());
    trust.add_authorities(&made.sub_der).unwrap();
    trust.add_lists(&of_sub).unwrap();
    assert!(!outdated(&order, Mode::Sample, &trust, u64::MAX), "samples are judged by no list");
}

#[test]
fn a_quantity_holds_with_the_digits_that_were_signed() {
    let made = authorities();
    let (trust, certificate) = (made.trust(&[]), made.certificate());
    let mut order = order();
    order["entry"][1]["resource"]["dispenseRequest"]["quantity"]["value"] = value!(1.5);
    let text = order.to_string().replace("\"value\":1.5", "\"value\":1.50");
    let with = Signing { at: june(), algorithm: Algorithm::Rs256, certificate: &certificate, provenance: "p" };
    sign(&mut order, &Digits::of(&text), &with, sha256).unwrap();
    for (digits, expected) in [("1.5", vec![Failure::Mismatch]), ("1.50", vec![]), ("1.500", vec![Failure::Mismatch])] {
        let text = order.to_string().replace("\"value\":1.5", &format!("\"value\":{digits}"));
        assert_eq!(check(text.as_bytes(), Mode::Verify, &trust), Checked::Signed(expected), "{digits}");
    }
}

#[test]
fn another_method_than_was_signed_with_does_not_hold() {
    let made = authorities();
    let trust = made.trust(&[]);
    let methods = [Algorithm::Rs256.signature_method(), Algorithm::Rs1.signature_method()];
    let order = signed(&made.certificate(), june(), Algorithm::Rs256);
    let changed = with_xml(order, |xml| xml.replace(methods[0], methods[1]));
    assert_eq!(failures(&changed, &trust), [Failure::Invalid, Failure::Mismatch]);
    // A method that is not known counts as SHA-1; what was signed is then another text than ours.
    let order = signed(&made.certificate(), june(), Algorithm::Rs1);
    let changed = with_xml(order, |xml| xml.replace(methods[1], "urn:none"));
    assert_eq!(failures(&changed, &trust), [Failure::Invalid, Failure::Mismatch]);
    let curve = made.certificate_of(&KeyPair::generate().unwrap());
    assert_eq!(failures(&signed(&curve, june(), Algorithm::Rs256), &trust), [Failure::Invalid]);
}

#[test]
fn the_first_three_checks_stand_alone() {
    let made = authorities();
    let der = made.certificate();
    let certificate = base64::encode(&der);
    let order = signed(&der, june(), Algorithm::Rs256);
    let told = |change: &dyn Fn(String) -> String| failures(&with_xml(order.clone(), change), &Trust::default());
    let several = format!("{certificate}</X509Certificate><X509Certificate>{certificate}");
    let marked = format!("{certificate}\n-----END CERTIFICATE-----\n-----BEGIN CERTIFICATE-----\n{certificate}");
    for (other, failure) in [
        ("", Failure::Format),
        (several.as_str(), Failure::SeveralCertificates),
        (marked.as_str(), Failure::SeveralCertificates),
        ("****", Failure::Certificate),
        ("AAAA", Failure::Certificate),
        (&base64::encode(&[&der[..], &[0]].concat()), Failure::Certificate),
    ] {
        assert_eq!(told(&|xml| xml.replace(&certificate, other)), [failure], "{other}");
    }
    for (from, to) in [
        ("xmldsig#\"><S", "xmldsig\"><S"),
        ("SignedInfo>", "SignedInf>"),
        ("SignatureValue>", "SignatureVal>"),
        ("X509Data>", "X509Dat>"),
    ] {
        assert_eq!(told(&|xml| xml.replace(from, to)), [Failure::Format], "{from}");
    }
    let other = |xml: String| xml.replace("<Signature xmlns", "<Other xmlns").replace("</Signature>", "</Other>");
    assert_eq!(told(&other), [Failure::Format]);
}

#[test]
fn all_that_applies_is_told_in_order() {
    let made = authorities();
    let order = signed(&made.certificate(), at("2028-01-01T00:00:00Z"), Algorithm::Rs256);
    let mut order = with_xml(order, |xml| xml.replace("<DigestValue>", "<DigestValue>A"));
    order["entry"][1]["resource"]["dosageInstruction"] = value!([]);
    let trust = made.trust(&[&list(&made.sub, LEAF, 5, None), &list(&made.root, SUB, 5, None)]);
    let told: Vec<String> = failures(&order, &trust).iter().map(Failure::to_string).collect();
    assert_eq!(
        told,
        [
            "Signature is invalid",
            "Signature doesn't match prescription",
            "Certificate is revoked",
            "CA certificate is revoked",
            "Certificate expired when signed",
        ]
    );
    let first = [Failure::Format, Failure::SeveralCertificates, Failure::Certificate, Failure::NotTrusted];
    let texts = [
        "Invalid signature format",
        "Multiple certificates detected",
        "Invalid certificate",
        "Certificate not trusted",
    ];
    assert_eq!(first.map(|one| one.to_string()), texts);
}

#[test]
fn only_the_requesters_signature_counts_and_it_must_be_readable() {
    let made = authorities();
    let good = signed(&made.certificate(), june(), Algorithm::Rs256);
    let with = |change: &dyn Fn(&mut Value)| {
        let mut order = good.clone();
        change(&mut provenance(&mut order)["signature"]);
        Signature::of(&order)
    };
    assert_eq!(Signature::of(&order()), Ok(None));
    assert_eq!(with(&|all| all[0]["who"]["reference"] = value!("urn:uuid:other")), Ok(None));
    assert_eq!(with(&|all| all[0]["data"] = value!("a*")), Err(BadSignature::Format));
    assert_eq!(with(&|all| all[0]["data"] = value!(base64::encode(b"no xml"))), Err(BadSignature::Format));
    assert_eq!(with(&|all| all[0]["data"] = Value::Null), Err(BadSignature::Format));
    assert_eq!(with(&|all| all[0]["when"] = value!("today")), Err(BadSignature::When));
    let twice = with(&|all| *all = value!([all[0], all[0]])).unwrap_err();
    assert_eq!((twice.code(), twice.expression()), ("TOO_MANY_VALUES_SUBMITTED", "Provenance.signature"));
    assert_eq!(
        twice.to_string(),
        "Too many values submitted. Expected at most 1 element where who.reference == \
         'urn:uuid:56166769-c1c4-4d07-afa8-132b5dfca666'."
    );
    let bad = BadSignature::Format;
    assert_eq!((bad.code(), bad.expression()), ("INVALID_VALUE", "Provenance.signature.data"));
    assert_eq!(bad.to_string(), "Invalid signature format.");
    assert_eq!(check(order().to_string().as_bytes(), Mode::Sample, &Trust::default()), Checked::Missing);
    assert_eq!(check(b"{", Mode::Sample, &Trust::default()), Checked::NotJson);
}

#[test]
fn published_orders_pass_in_sample_mode_alone() {
    for text in [
        example!("01-order-acute-nominated/order-request.json"),
        example!("01-order-acute-nominated/order-multiple-dosage-request.json"),
        example!("02-order-acute-no-nomination/order-request.json"),
        example!("03-order-repeat-prescribing/order-request.json"),
        example!("04-order-erd/order-request.json"),
        example!("04-order-erd/order-with-medication-list-request.json"),
        example!("05-order-secondary-care-four-items/order-request.json"),
        example!("06-order-controlled-drug/order-request.json"),
    ] {
        assert_eq!(check(text.as_bytes(), Mode::Sample, &Trust::default()), Checked::Signed(vec![]));
        let Checked::Signed(told) = check(text.as_bytes(), Mode::Verify, &Trust::default()) else { panic!() };
        assert!(told == [Failure::Format] || told.ends_with(&[Failure::NotTrusted]), "{told:?}");
        for part in ["SignedInfo", "DigestValue", "SignatureValue", "X509Certificate"] {
            let change =
                |xml: String| xml.replace(&format!("{part}>"), "Other>").replace(&format!("{part} "), "Other ");
            let without = with_xml(json(text), change);
            let told = check(without.to_string().as_bytes(), Mode::Sample, &Trust::default());
            assert_eq!(told, Checked::Signed(vec![Failure::Format]), "{part}");
        }
    }
}

#[test]
fn files_that_cannot_be_used_say_why() {
    let (made, other) = (authorities(), authorities());
    let pem = |kind: &str, der: &[u8]| {
        format!("-----BEGIN {kind}-----\n{}\n-----END {kind}-----\n", base64::encode(der)).into_bytes()
    };
    let list = |by: &Authorities| list(&by.sub, LEAF, 5, None);
    let both = [pem("CERTIFICATE", &made.sub_der), pem("CERTIFICATE", &made.root_der)].concat();
    let trust = Trust::parse(&[&both], &[&pem("X509 CRL", &list(&made))]).unwrap();
    assert_eq!(trust.counts(), (2, 1));
    for (certificates, lists, why) in [
        (b"".to_vec(), vec![], BadTrust::NoCertificate),
        (pem("X509 CRL", &list(&made)), vec![], BadTrust::NoCertificate),
        (b"0none".to_vec(), vec![], BadTrust::Certificate(1)),
        (b"-----BEGIN CERTIFICATE-----\n*\n-----END CERTIFICATE-----\n".to_vec(), vec![], BadTrust::Certificate(1)),
        (made.certificate(), vec![], BadTrust::NotAuthority(1)),
        (both.repeat(33), vec![], BadTrust::TooManyAuthorities),
        (both.clone(), b"none".to_vec(), BadTrust::NoList),
        (both.clone(), b"0none".to_vec(), BadTrust::List(1)),
        (both, list(&other), BadTrust::ListNotSigned(1)),
        (other.root_der.clone(), list(&made), BadTrust::UnknownAuthority(1)),
    ] {
        let given: &[&[u8]] = if lists.is_empty() { &[] } else { &[&lists] };
        assert_eq!(Trust::parse(&[&certificates], given).unwrap_err(), why);
    }
}

#[test]
fn signing_again_replaces_and_what_cannot_be_signed_stays() {
    let with = Signing { at: june(), algorithm: Algorithm::Rs256, certificate: b"", provenance: "p" };
    let mut twice = signed(b"x", june(), Algorithm::Rs256);
    let count = |order: &Value| order["entry"].as_array().unwrap().len();
    let entries = count(&twice);
    sign(&mut twice, &Digits::default(), &with, sha256).unwrap();
    assert_eq!(count(&twice), entries, "the new signature stands in place of the old");
    let mut order = order();
    let before = order.clone();
    assert!(sign(&mut order, &Digits::default(), &with, |_| None).is_err());
    assert_eq!(order, before);
    for mut other in [value!({}), value!([]), value!({"entry": [{"resource": {"resourceType": "MedicationRequest"}}]})]
    {
        assert!(sign(&mut other, &Digits::default(), &with, |b| Some(b.to_vec())).is_err());
    }
}
