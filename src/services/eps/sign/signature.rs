//! The requester's signature in an order (spec/eps.md §6.4) and its parts. What stands here was read, not believed: that is `verify`.

use super::{
    Algorithm, base64,
    c14n::canonical,
    digits::Digits,
    order::{Order, list, text},
    prepare::DSIG,
};
use crate::{
    model::{EpochMillis, time},
    wire::xml::{self, Element},
};
use serde_json::Value;

/// A signature as it stands in a Provenance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// `signature.when` as it came.
    pub when: String,
    /// The same as a moment: the signing time.
    pub at: EpochMillis,
    root: Element,
}

/// Why an order cannot be converted (fatal/invalid, §3.5).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSignature {
    /// Several signatures of the requester, whose reference this is.
    #[error("Too many values submitted. Expected at most 1 element where who.reference == '{0}'.")]
    TooMany(String),
    /// Not base64, not XML.
    #[error("Invalid signature format.")]
    Format,
    /// `when` is no time.
    #[error("Incorrect format for date or date time string.")]
    When,
}

impl BadSignature {
    /// Code of `details.coding`; its `display` is the text of the error.
    pub fn code(&self) -> &'static str {
        match self {
            BadSignature::TooMany(_) => "TOO_MANY_VALUES_SUBMITTED",
            BadSignature::Format | BadSignature::When => "INVALID_VALUE",
        }
    }
    pub fn expression(&self) -> &'static str {
        match self {
            BadSignature::TooMany(_) => "Provenance.signature",
            BadSignature::Format => "Provenance.signature.data",
            BadSignature::When => "Provenance.signature.when",
        }
    }
}

impl Signature {
    /// The signature whose `who` is the requester of the order; `None` where there is none: the store refuses such an order with
    /// `MISSING_DIGITAL_SIGNATURE`.
    pub fn of(bundle: &Value) -> Result<Option<Signature>, BadSignature> {
        let none = Digits::default();
        let order = Order::new(bundle, &none);
        let Some(requester) = order.first_item()["requester"]["reference"].as_str() else { return Ok(None) };
        let provenances = order.of_type("Provenance");
        let all = provenances.flat_map(|(_, provenance)| list(&provenance["signature"]));
        let mut own = all.filter(|one| one["who"]["reference"].as_str() == Some(requester));
        match (own.next(), own.next()) {
            (None, _) => Ok(None),
            (Some(one), None) => Signature::read(one).map(Some),
            (Some(_), Some(_)) => Err(BadSignature::TooMany(requester.to_owned())),
        }
    }

    fn read(value: &Value) -> Result<Signature, BadSignature> {
        let when = text(&value["when"]).to_owned();
        let at = time::parse_iso(&when).ok_or(BadSignature::When)?;
        let data = base64::decode(text(&value["data"])).ok_or(BadSignature::Format)?;
        Signature::of_xml(&String::from_utf8(data).map_err(|_| BadSignature::Format)?, when, at)
    }

    /// From the text of a `Signature` element.
    pub(super) fn of_xml(text: &str, when: String, at: EpochMillis) -> Result<Signature, BadSignature> {
        let root = xml::parse(text).map_err(|_| BadSignature::Format)?;
        Ok(Signature { when, at, root })
    }

    /// Canonical, in base64: `data` of a released prescription (§9.4).
    pub fn data(&self) -> String {
        base64::encode(canonical(&self.root).as_bytes())
    }

    /// SignedInfo as it was signed: canonical, with the namespace of Signature on it.
    pub(super) fn signed_info(&self) -> Option<String> {
        self.part(&["SignedInfo"]).map(canonical)
    }

    pub(super) fn algorithm(&self) -> Algorithm {
        let method = self.part(&["SignedInfo", "SignatureMethod"]);
        Algorithm::of_method(method.map_or("", |method| method.attribute("Algorithm")))
    }

    /// SignatureValue, base64; empty where there is none.
    pub(super) fn value(&self) -> &str {
        self.part(&["SignatureValue"]).map_or("", Element::trimmed)
    }

    /// X509Certificate, base64; empty where there is none.
    pub(super) fn certificate(&self) -> &str {
        self.part(&["KeyInfo", "X509Data", "X509Certificate"]).map_or("", Element::trimmed)
    }

    /// More than one certificate: several elements, or markers of PEM within the text, which hold several one after another.
    pub(super) fn several_certificates(&self) -> bool {
        let infos = self.root.children.iter().filter(|child| child.name == "KeyInfo");
        let data = infos.flat_map(|info| &info.children).filter(|child| child.name == "X509Data");
        let found = data.flat_map(|data| &data.children).filter(|child| child.name == "X509Certificate");
        found.count() > 1 || self.certificate().contains("-----")
    }

    /// Whether it has the shape of a signature: all elements of §6.4 in their places, and a DigestValue with text in it; SignatureValue
    /// and X509Certificate may be empty, as in the published samples.
    pub(super) fn has_shape(&self) -> bool {
        let there = |path: &[&str]| self.part(path).is_some();
        self.part(&["SignedInfo", "Reference", "DigestValue"]).is_some_and(|value| !value.trimmed().is_empty())
            && there(&["SignedInfo", "SignatureMethod"])
            && there(&["SignatureValue"])
            && there(&["KeyInfo", "X509Data", "X509Certificate"])
    }

    fn part(&self, path: &[&str]) -> Option<&Element> {
        let root = Some(&self.root).filter(|root| root.name == "Signature" && root.namespace == DSIG)?;
        path.iter().try_fold(root, |within, name| within.of(DSIG, name))
    }
}
