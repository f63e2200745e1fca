//! SignedInfo of an order, and what `$prepare` answers (spec/eps.md §6.1, §6.2).

use super::{Algorithm, base64, c14n::Writer, digits::Digits, fragments::fragments};
use crate::model::{EpochMillis, time};
use aws_lc_rs::digest;
use serde_json::{Value, json};

/// The namespace of XML signatures.
pub(super) const DSIG: &str = "http://www.w3.org/2000/09/xmldsig#";
const EXCLUSIVE: &str = "http://www.w3.org/2001/10/xml-exc-c14n#";

/// The answer: what is to be signed (the canonical SignedInfo itself, not a hash of it), the moment that is part of it, and how.
/// Checks of the order come before (§7.1).
pub fn prepare(bundle: &Value, digits: &Digits, at: EpochMillis, algorithm: Algorithm) -> Value {
    let info = signed_info(bundle, digits, at, algorithm);
    json!({
        "resourceType": "Parameters",
        "parameter": [
            {"name": "digest", "valueString": base64::encode(info.as_bytes())},
            {"name": "timestamp", "valueString": timestamp(at)},
            {"name": "algorithm", "valueString": algorithm.name()},
        ]
    })
}

/// A moment as `timestamp` and `Provenance.signature.when` have it: `2022-10-21T13:47:00+00:00`.
pub fn timestamp(at: EpochMillis) -> String {
    let iso = time::iso(at);
    format!("{}+00:00", iso.get(..19).unwrap_or(&iso))
}

/// The canonical SignedInfo of an order signed at `at`.
pub fn signed_info(bundle: &Value, digits: &Digits, at: EpochMillis, algorithm: Algorithm) -> String {
    signed_info_of(&fragments(bundle, digits, at), algorithm)
}

/// The same of a text that is hashed.
pub(super) fn signed_info_of(fragments: &str, algorithm: Algorithm) -> String {
    let hash = match algorithm {
        Algorithm::Rs256 => &digest::SHA256,
        Algorithm::Rs1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
    };
    let value = base64::encode(digest::digest(hash, fragments.as_bytes()).as_ref());
    let mut writer = Writer::new();
    writer.element("SignedInfo", &[("xmlns", DSIG)], |w| {
        w.empty("CanonicalizationMethod", &[("Algorithm", EXCLUSIVE)]);
        w.empty("SignatureMethod", &[("Algorithm", algorithm.signature_method())]);
        w.element("Reference", &[], |w| {
            w.element("Transforms", &[], |w| w.empty("Transform", &[("Algorithm", EXCLUSIVE)]));
            w.empty("DigestMethod", &[("Algorithm", algorithm.digest_method())]);
            w.leaf("DigestValue", &value);
        });
    });
    writer.finish()
}
