//! Whatever comes in: no text makes the signature's code fail.

use super::{example, json};
use crate::services::eps::sign::{
    Algorithm, Checked, Digits, Mode, Signature, Signing, Trust, base64, check, fragments::fragments, prepare, sign,
    verify,
};
use proptest::prelude::*;
use serde_json::Value;

/// A published order, and a place in it that gets another value.
fn leaves(value: &Value, path: &str, out: &mut Vec<String>) {
    out.push(path.to_owned());
    match value {
        Value::Object(members) => members.iter().for_each(|(name, v)| leaves(v, &format!("{path}/{name}"), out)),
        Value::Array(items) => items.iter().enumerate().for_each(|(n, v)| leaves(v, &format!("{path}/{n}"), out)),
        _ => {}
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map("[a-z]{1,8}", inner, 0..4).prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

/// Everything that takes a Bundle, on that Bundle.
fn all_of_it(bundle: &Value) {
    let text = bundle.to_string();
    let digits = Digits::of(&text);
    let _ = prepare(bundle, &digits, u64::MAX, Algorithm::Rs1);
    let _ = fragments(bundle, &digits, 0);
    for mode in [Mode::Verify, Mode::Sample] {
        let checked = check(text.as_bytes(), mode, &Trust::default());
        if let Ok(Some(signature)) = Signature::of(bundle) {
            assert_eq!(checked, Checked::Signed(verify(bundle, &digits, &signature, mode, &Trust::default())));
            let _ = signature.data();
        }
    }
    let with = Signing { at: 0, algorithm: Algorithm::Rs256, certificate: b"x", provenance: "p" };
    if sign(&mut bundle.clone(), &digits, &with, |bytes| Some(bytes.to_vec())).is_ok() {
        assert!(bundle["entry"].is_array());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        check(&bytes, Mode::Verify, &Trust::default());
        let _ = base64::decode(&String::from_utf8_lossy(&bytes));
        let _ = Trust::parse(&[&bytes], &[&bytes]);
        let mut der = vec![0x30];
        der.extend(&bytes);
        prop_assert!(Trust::parse(&[&der], &[]).is_err() && Trust::parse(&[], &[&der]).is_err());
    }

    #[test]
    fn other_values_anywhere_in_an_order(at in any::<prop::sample::Index>(), other in any_json()) {
        let mut order = json(example!("04-order-erd/order-with-medication-list-request.json"));
        let mut places = vec![];
        leaves(&order, "", &mut places);
        let place = at.get(&places).clone();
        *order.pointer_mut(&place).unwrap() = other;
        all_of_it(&order);
    }

    #[test]
    fn other_bytes_anywhere_in_a_signature(at in any::<prop::sample::Index>(), other in ".{0,3}") {
        let mut order = json(example!("02-order-acute-no-nomination/order-request.json"));
        let entries = order["entry"].as_array_mut().unwrap();
        let found = entries.iter_mut().find(|e| e["resource"]["resourceType"] == "Provenance").unwrap();
        let data = &mut found["resource"]["signature"][0]["data"];
        let mut text = String::from_utf8(base64::decode(data.as_str().unwrap()).unwrap()).unwrap();
        let at = at.index(text.len());
        text.replace_range(at..at + 1, &other);
        *data = Value::from(base64::encode(text.as_bytes()));
        all_of_it(&order);
    }
}
