//! What of a prescription is signed, how `$prepare` answers, and whether a signature holds (spec/eps.md §6). Pure.
//!
//! | file | duty |
//! |---|---|
//! | `c14n` | exclusive canonical XML, written and re-written |
//! | `digits`, `order` | quantities with the digits that they came with; the order's resources and references |
//! | `fragments`, `people`, `items` | the order → the text that is hashed (§6.3) |
//! | `prepare` | SignedInfo and the answer to `$prepare` (§6.1, §6.2) |
//! | `signature` | the requester's signature in an order, and its parts (§6.4) |
//! | `trust`, `x509` | whom the operator trusts, what was revoked; certificates and keys |
//! | `verify` | the nine checks (§6.5), and the two modes |
//! | `make` | what a prescriber's system does after `$prepare`: for demo, bench and tests |
//!
//! Invariant: nothing here fails on a Bundle of whatever shape. What an order lacks is left out of the text that is hashed;
//! whether it may lack it was decided by `read`.

pub mod base64;
pub mod c14n;
pub mod digits;
pub mod fragments;
mod items;
pub mod make;
mod order;
mod people;
pub mod prepare;
pub mod signature;
#[cfg(test)]
pub(super) mod tests;
pub mod trust;
pub mod verify;
mod x509;

pub use digits::Digits;
pub use make::{CannotSign, Signing, sign};
pub use prepare::prepare;
pub use signature::{BadSignature, Signature};
pub use trust::{BadTrust, Trust};
pub use verify::{Checked, Failure, Mode, ON_RELEASE, check, outdated, verify};

/// How a prescription is hashed and signed (§6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// SHA-256: what `$prepare` gives unless the application is on the list for the other.
    Rs256,
    /// SHA-1.
    Rs1,
}

impl Algorithm {
    /// As `$prepare` names it.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Rs256 => "RS256",
            Algorithm::Rs1 => "RS1",
        }
    }
    pub fn signature_method(self) -> &'static str {
        match self {
            Algorithm::Rs256 => "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256",
            Algorithm::Rs1 => "http://www.w3.org/2000/09/xmldsig#rsa-sha1",
        }
    }
    pub fn digest_method(self) -> &'static str {
        match self {
            Algorithm::Rs256 => "http://www.w3.org/2001/04/xmlenc#sha256",
            Algorithm::Rs1 => "http://www.w3.org/2000/09/xmldsig#sha1",
        }
    }
    /// By its SignatureMethod; one that is not known counts as SHA-1 (§6.5 no. 4).
    pub fn of_method(method: &str) -> Algorithm {
        if method == Algorithm::Rs256.signature_method() { Algorithm::Rs256 } else { Algorithm::Rs1 }
    }
}
