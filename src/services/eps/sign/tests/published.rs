//! The three published signed prescriptions, which are HL7 v3: the signature's own checks on them, and the comparison with what is hashed
//! of that form.

use super::{example, find, vectors::fragments_of_hl7, xml};
use crate::services::eps::sign::{
    Failure, Signature, Trust, c14n::canonical, prepare::signed_info_of, verify::all_nine,
};

fn failures(document: &str) -> Vec<Failure> {
    let root = xml(document);
    let (text, at) = fragments_of_hl7(document);
    let signature = Signature::of_xml(&canonical(find(&root, "Signature").unwrap()), String::new(), at).unwrap();
    let algorithm = signature.algorithm();
    all_nine(&signature, || signed_info_of(&text, algorithm), &Trust::default())
}

#[test]
fn the_published_signatures_hold_and_one_is_of_another_prescription() {
    // Nobody is trusted here: the authorities' certificates are not published.
    assert_eq!(failures(example!("14-signature/hl7v3-ValidSignature.xml")), [Failure::NotTrusted]);
    // The file's lines were wrapped after it was signed, in the text of its instructions too.
    let wrapped = example!("14-signature/hl7v3-SignatureAlgorithmSha256.xml");
    assert_eq!(failures(wrapped), [Failure::Mismatch, Failure::NotTrusted]);
    let indent = format!("\n{}", " ".repeat(24));
    let as_signed = ["sugar free", "the practice"]
        .into_iter()
        .fold(wrapped.to_owned(), |text, words| text.replace(&words.replace(' ', &indent), words));
    assert_eq!(failures(&as_signed), [Failure::NotTrusted]);
    let other = example!("14-signature/hl7v3-SignatureDoesNotMatchPrescription.xml");
    assert_eq!(failures(other), [Failure::Invalid, Failure::Mismatch, Failure::NotTrusted]);
}

#[test]
fn a_changed_signed_info_is_no_longer_what_was_signed() {
    let changed = example!("14-signature/hl7v3-ValidSignature.xml").replace("m/VBo4VL", "n/VBo4VL");
    assert_eq!(failures(&changed), [Failure::Invalid, Failure::Mismatch, Failure::NotTrusted]);
    let other = example!("14-signature/hl7v3-ValidSignature.xml").replace("value=\"100\"", "value=\"200\"");
    assert_eq!(failures(&other), [Failure::Mismatch, Failure::NotTrusted]);
}
