//! A prescriber's system after `$prepare`: puts the signature into the order (spec/eps.md §6.4). For demo, bench and tests. The key stays
//! with the caller, who signs a text of bytes: with a key in memory, or a smartcard.

use super::{
    Algorithm, base64,
    digits::Digits,
    order::Order,
    prepare::{DSIG, signed_info, timestamp},
};
use crate::model::EpochMillis;
use serde_json::{Value, json};

/// What goes into a signature besides the order.
#[derive(Clone, Copy, Debug)]
pub struct Signing<'a> {
    /// The `timestamp` of `$prepare`.
    pub at: EpochMillis,
    pub algorithm: Algorithm,
    /// The prescriber's certificate, DER.
    pub certificate: &'a [u8],
    /// A UUID for the Provenance.
    pub provenance: &'a str,
}

/// Why an order was not signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CannotSign {
    #[error("the order names no requester, or has no entries")]
    NoOrder,
    #[error("the key did not sign")]
    Key,
}

/// Signs an order: `key` makes an RSASSA-PKCS1-v1_5 signature of the bytes with the hash of `with.algorithm`. Provenances that were there
/// are taken out. On an error the order is as it was.
pub fn sign(
    bundle: &mut Value,
    digits: &Digits,
    with: &Signing<'_>,
    key: impl FnOnce(&[u8]) -> Option<Vec<u8>>,
) -> Result<(), CannotSign> {
    let (requester, targets) = who_and_what(bundle).ok_or(CannotSign::NoOrder)?;
    let info = signed_info(bundle, digits, with.at, with.algorithm);
    let value = key(info.as_bytes()).ok_or(CannotSign::Key)?;
    let data = base64::encode(signature(&info, &value, with.certificate).as_bytes());
    let when = timestamp(with.at);
    let who = json!({"reference": requester});
    let provenance = json!({
        "fullUrl": format!("urn:uuid:{}", with.provenance),
        "resource": {
            "resourceType": "Provenance",
            "id": with.provenance,
            "target": targets,
            "recorded": when,
            "agent": [{"who": who}],
            "signature": [{
                "type": [{"system": "urn:iso-astm:E1762-95:2013", "code": "1.2.840.10065.1.12.1.1"}],
                "when": when,
                "who": who,
                "data": data,
            }],
        }
    });
    let entries = bundle.get_mut("entry").and_then(Value::as_array_mut).ok_or(CannotSign::NoOrder)?;
    entries.retain(|entry| entry["resource"]["resourceType"] != "Provenance");
    entries.push(provenance);
    Ok(())
}

/// The requester's reference, and references to the items.
fn who_and_what(bundle: &Value) -> Option<(String, Vec<Value>)> {
    let none = Digits::default();
    let order = Order::new(bundle, &none);
    let requester = order.first_item()["requester"]["reference"].as_str()?.to_owned();
    let urls = order.of_type("MedicationRequest").map(|(at, _)| &bundle["entry"][at]["fullUrl"]);
    Some((requester, urls.map(|url| json!({"reference": url})).collect()))
}

/// The `Signature` element: SignedInfo without a namespace of its own, which it has from the element around it.
fn signature(info: &str, value: &[u8], certificate: &[u8]) -> String {
    let info = info.replacen(&format!(" xmlns=\"{DSIG}\""), "", 1);
    let (value, certificate) = (base64::encode(value), base64::encode(certificate));
    format!(
        "<Signature xmlns=\"{DSIG}\">{info}<SignatureValue>{value}</SignatureValue><KeyInfo><X509Data>\
         <X509Certificate>{certificate}</X509Certificate></X509Data></KeyInfo></Signature>"
    )
}
