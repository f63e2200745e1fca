//! The seal of an export: one node's signature over where every chain in it ends (P4). Each closing head proves its own chain;
//! only the seal says that these heads, all of them and no earlier ones, are the ends of this export.

use super::head::{Ca, Head, HeadError, Signer, proves};
use crate::{record, wire::record::Record};
use bytes::Bytes;

record! {
    /// One seal.
    pub struct Seal v1 {
        /// Milliseconds since the epoch.
        1 => at: u64,
        2 => node: u16,
        /// The closing heads, encoded, in the order of their partitions.
        3 => heads: Vec<Bytes>,
        /// Signer's certificate, DER.
        4 => certificate: Bytes,
        /// ECDSA P-256 over SHA-256, ASN.1.
        5 => signature: Bytes,
    }
}

impl Seal {
    pub fn sign(heads: Vec<Bytes>, at: u64, node: u16, signer: &dyn Signer) -> Result<Seal, String> {
        let mut seal = Seal { at, node, heads, ..Default::default() };
        seal.signature = signer.sign(&seal.signed_bytes())?.into();
        seal.certificate = signer.certificate();
        Ok(seal)
    }

    /// What the signature covers: a fixed word against mix-ups, then every field but the certificate.
    fn signed_bytes(&self) -> Vec<u8> {
        let mut out = b"spine audit export v1\0".to_vec();
        out.extend_from_slice(&self.at.to_be_bytes());
        out.extend_from_slice(&self.node.to_be_bytes());
        for head in &self.heads {
            out.extend_from_slice(&(head.len() as u64).to_be_bytes());
            out.extend_from_slice(head);
        }
        out
    }

    /// Checks signature, signer and time.
    pub fn check(&self, ca: &Ca) -> Result<(), HeadError> {
        proves((&self.certificate, &self.signature), self.at, self.node, &self.signed_bytes(), ca)
    }

    /// The closing head of each partition, as it is stored in the export.
    pub fn ends(&self) -> impl Iterator<Item = (u16, &Bytes)> {
        self.heads.iter().filter_map(|bytes| Some((Head::decode(bytes).ok()?.partition, bytes)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Chain, head::tests::signer};
    use super::*;

    #[test]
    fn a_seal_convinces_only_with_all_its_heads_and_its_time() {
        let (ca, signer) = signer();
        let at = 1_790_000_000_000;
        let head =
            |partition| Head::sign(&Chain { sequence: 7, hash: [3; 32] }, at, 1, partition, &signer).unwrap().encode();
        let seal = Seal::sign(vec![head(1), head(2)], at, 1, &signer).unwrap();
        assert_eq!(seal.check(&ca), Ok(()));
        assert_eq!(seal.ends().map(|(partition, _)| partition).collect::<Vec<_>>(), [1, 2]);
        let fewer = Seal { heads: vec![head(1)], ..seal.clone() };
        assert_eq!(fewer.check(&ca), Err(HeadError::Signature));
        assert_eq!(Seal { at: at + 1, ..seal.clone() }.check(&ca), Err(HeadError::Signature));
        assert_eq!(seal.check(&super::super::head::tests::signer().0), Err(HeadError::Issuer));
    }
}
