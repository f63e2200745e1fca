//! Documents that prove an identity (spec/identity.md §6.2, step 2): at least three, with and without a photo, or an accepted
//! proof at a distance. Kinds and dates are kept, never copies or numbers.

use crate::record;

record! {
    /// A document that was seen.
    pub struct Evidence v1 {
        /// One of [`KINDS`].
        1 => kind: String,
        /// Day of its issue, `YYYYMMDD`.
        2 => on: u32,
    }
}

/// Kinds, and whether they have a photo. (D) The government standard's usual ones.
pub const KINDS: &[(&str, bool)] = &[
    ("passport", true),
    ("driving-licence", true),
    ("biometric-residence-permit", true),
    ("national-identity-card", true),
    ("armed-forces-card", true),
    ("birth-certificate", false),
    ("adoption-certificate", false),
    ("marriage-certificate", false),
    ("bank-statement", false),
    ("council-tax-bill", false),
    ("utility-bill", false),
    ("tenancy-agreement", false),
    ("mortgage-statement", false),
    ("tax-statement", false),
    ("payslip", false),
    ("benefit-letter", false),
    (REMOTE, false),
];
/// Proof at a distance to the high level, by an accepted provider: stands for all documents.
pub const REMOTE: &str = "remote-proof-high";
/// Fewest and most documents.
const FEWEST: usize = 3;
const MOST: usize = 12;

/// What is missing, in words for the person at the desk; `None` where the evidence is enough.
pub fn lacking(evidence: &[Evidence], today: u32) -> Option<String> {
    let photo = |e: &Evidence| KINDS.iter().find(|(kind, _)| *kind == e.kind).map(|(_, photo)| *photo);
    if let Some(unknown) = evidence.iter().find(|e| photo(e).is_none()) {
        let kind: String = unknown.kind.chars().take(40).collect();
        return Some(format!("{kind} is no kind of document that is taken"));
    }
    if evidence.iter().any(|e| e.on == 0 || e.on > today) {
        return Some("each document needs the day of its issue, which is past".into());
    }
    let twice = |(at, e): (usize, &Evidence)| evidence[..at].iter().any(|other| other.kind == e.kind);
    if evidence.iter().enumerate().any(twice) || evidence.len() > MOST {
        return Some(format!("at most {MOST} documents, each of another kind"));
    }
    if evidence.iter().any(|e| e.kind == REMOTE) {
        return None;
    }
    let photos = evidence.iter().filter(|e| photo(e) == Some(true)).count();
    if evidence.len() < FEWEST || photos == 0 || photos == evidence.len() {
        return Some(format!("at least {FEWEST} documents are needed, with and without a photo"));
    }
    None
}
