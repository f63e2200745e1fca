//! The three published signed prescriptions, which are HL7 v3: the signature's own checks on them, and the comparison with what is hashed
//! of that form.

use super::{example, find, vectors::fragments_of_hl7, xml};
use crate::services::eps::sign::{
    Failure, Signature, Trust,
    c14n::canonical,
    prepare::signed_info_of,
    verify::all_nine,
};

fn failures(document: &str) -> Vec<Failure> {
    let root = xml(document);
    let (text, at) = fragments_of_hl7(document);
    let signature = Signature::of_xml(&canonical(find(&root, "Signature").unwrap()), String::new(), at).unwrap();
    let algorithm = signature.algorithm();
    all_nine(&signature, || signed_info_of(&text, algorithm), &Trust::default())
}

#[test]
fn valid_ones_fail_for_trust_alone_and_the_other_for_its_content() {
    // Nobody is trusted here: the authority's certificate is not published.
    assert_eq!(failures(example!("14-signature/hl7v3-ValidSignature.xml")), [Failure::NotTrusted]);
    assert_eq!(failures(example!("14-signature/hl7v3-SignatureAlgorithmSha256.xml")), [Failure::NotTrusted]);
    let mismatch = failures(example!("14-signature/hl7v3-SignatureDoesNotMatchPrescription.xml"));
    assert!(mismatch.contains(&Failure::Mismatch), "{mismatch:?}");
}

#[test]
fn a_changed_signed_info_is_no_longer_what_was_signed() {
    let changed = example!("14-signature/hl7v3-ValidSignature.xml").replace("m/VBo4VL", "n/VBo4VL");
    assert_eq!(failures(&changed), [Failure::Invalid, Failure::Mismatch, Failure::NotTrusted]);
    let other = example!("14-signature/hl7v3-ValidSignature.xml").replace("value=\"100\"", "value=\"200\"");
    assert_eq!(failures(&other), [Failure::Mismatch, Failure::NotTrusted]);
}
