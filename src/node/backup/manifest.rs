//! What a backup says of itself: one signed record that names every file (P4, P7).

use super::BackupError;
use crate::{
    audit::{Ca, Signer, proves},
    record,
    seam::fs::{Fs, Open},
    wire::record::Record as _,
};
use bytes::Bytes;
use std::path::{Component, Path, PathBuf};

/// Name of the file in a backup's folder.
pub const NAME: &str = "manifest";
const MAGIC: &[u8; 8] = b"SPNBKUP1";
/// See [`Manifest::format`].
pub const FORMAT: u32 = 2;
/// What a backup says that is not encrypted: releases that know no other read it.
pub const PLAIN_FORMAT: u32 = 1;
/// Longest manifest that is believed (P6): some millions of bodies.
const LONGEST: u64 = 512 << 20;

record! {
    /// One file.
    pub struct BackupFile v1 {
        /// Path below the backup's folder.
        1 => name: String,
        2 => bytes: u64,
        3 => sha256: [u8; 32],
    }
}

record! {
    /// One partition at its place.
    pub struct BackupPart v1 {
        1 => partition: u16,
        /// The last entry of its log that is in it.
        2 => index: u64,
        3 => term: u64,
        /// The audit chain's end.
        4 => audit_sequence: u64,
        5 => audit_hash: [u8; 32],
        6 => rows: u64,
        /// SHA-256 over all rows, as `spine cluster hashes` makes it.
        7 => digest: [u8; 32],
        /// Its sealed files, oldest first.
        8 => files: Vec<BackupFile>,
    }
}

record! {
    /// A whole backup.
    pub struct Manifest v1 {
        /// A release that writes it in a form that releases before cannot read says a higher number.
        1 => format: u32,
        /// The site's id, and its name.
        2 => cluster: String,
        3 => site: String,
        /// Node that made it, and its release.
        4 => node: u16,
        5 => release: String,
        /// The moment of the cut, milliseconds since the epoch.
        6 => made: u64,
        7 => parts: Vec<BackupPart>,
        8 => bodies: Vec<BackupFile>,
        /// Certificates of the site's authority, PEM: what the audit trail's signatures are proven with.
        9 => ca: String,
        /// SHA-256 of bodies that rows name and no node had whole: they were lost before, or collected meanwhile.
        10 => absent: Vec<Bytes>,
        /// Public keys (`age1…`) that every other file is encrypted for; none: they are plain.
        11 => recipients: Vec<String>,
        /// The newest decision in it: no earlier moment can be had of it. 0: a release that did not say so made it.
        12 => decided: u64,
    }
}

record! {
    /// The manifest's file behind its magic.
    pub struct SealedManifest v1 {
        1 => manifest: Bytes,
        /// Signer's certificate, DER.
        2 => certificate: Bytes,
        /// ECDSA P-256 over SHA-256, ASN.1.
        3 => signature: Bytes,
    }
}

impl Manifest {
    pub fn files(&self) -> impl Iterator<Item = &BackupFile> {
        self.parts.iter().flat_map(|part| &part.files).chain(&self.bodies)
    }

    pub fn bytes(&self) -> u64 {
        self.files().map(|file| file.bytes).sum()
    }

    /// The authority's certificates.
    pub fn ca(&self) -> Result<Ca, BackupError> {
        authority(self.ca.as_bytes()).map_err(BackupError::Manifest)
    }

    /// The file's bytes.
    pub fn sealed(&self, signer: &dyn Signer) -> Result<Vec<u8>, BackupError> {
        let manifest = self.encode();
        let signature = signer.sign(&signed_bytes(&manifest)).map_err(BackupError::Unsigned)?.into();
        let sealed = SealedManifest { manifest, certificate: signer.certificate(), signature, ..Default::default() };
        Ok([&MAGIC[..], &sealed.encode()].concat())
    }

    /// Reads the manifest of a backup and believes it only if a node of a site under `ca` signed it; without, under the
    /// authority that it names itself, which proves that nobody changed it by chance and no more.
    pub fn read(fs: &dyn Fs, backup: &Path, ca: Option<&Ca>) -> Result<Manifest, BackupError> {
        let path = backup.join(NAME);
        if !fs.exists(&path) {
            return Err(BackupError::NoManifest(backup.to_owned()));
        }
        let read = || -> std::io::Result<Vec<u8>> {
            let file = fs.open(&path, Open::Read)?;
            let mut content = vec![0; file.len()?.min(LONGEST) as usize];
            file.read_at(0, &mut content)?;
            Ok(content)
        };
        Self::opened(&read().map_err(BackupError::io(&path))?, ca)
    }

    fn opened(content: &[u8], ca: Option<&Ca>) -> Result<Manifest, BackupError> {
        let damaged = |why: String| BackupError::Manifest(why);
        let sealed = content.strip_prefix(MAGIC).ok_or_else(|| damaged("it does not begin as one".into()))?;
        let sealed = SealedManifest::decode(&Bytes::copy_from_slice(sealed)).map_err(|e| damaged(e.to_string()))?;
        let manifest = Manifest::decode(&sealed.manifest).map_err(|e| damaged(e.to_string()))?;
        let own;
        let ca = match ca {
            Some(ca) => ca,
            None => {
                own = manifest.ca()?;
                &own
            }
        };
        let message = signed_bytes(&sealed.manifest);
        proves((&sealed.certificate, &sealed.signature), manifest.made, manifest.node, &message, ca)
            .map_err(BackupError::Signature)?;
        if manifest.format > FORMAT {
            return Err(BackupError::Newer(manifest.format));
        }
        // Signed or not: no name leads out of the folder.
        let outside = manifest.files().find(|file| !is_plain(&file.name)).map(|file| file.name.clone());
        match outside {
            Some(name) => Err(damaged(format!("{name} is no name of a file in it"))),
            None => Ok(manifest),
        }
    }
}

/// The certificates of a PEM file.
pub fn authority(pem: &[u8]) -> Result<Ca, String> {
    use rustls_pki_types::{CertificateDer, pem::PemObject};
    let all = CertificateDer::pem_slice_iter(pem).map(|der| der.map(|der| Bytes::copy_from_slice(&der)));
    match all.collect::<Result<Vec<_>, _>>() {
        Ok(all) if !all.is_empty() => Ok(Ca::new(all)),
        Ok(_) => Err("it holds no certificate of an authority".into()),
        Err(e) => Err(e.to_string()),
    }
}

fn signed_bytes(manifest: &[u8]) -> Vec<u8> {
    [b"spine backup v1\0", manifest].concat()
}

pub fn is_plain(name: &str) -> bool {
    let path = Path::new(name);
    !name.is_empty() && path.components().all(|part| matches!(part, Component::Normal(_)))
}

/// The folder of a partition's files.
pub fn part_folder(partition: u16) -> String {
    format!("p{partition}")
}

/// Where a part's files lie.
pub fn paths(backup: &Path, part: &BackupPart) -> Vec<PathBuf> {
    part.files.iter().map(|file| backup.join(&file.name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::HeadError;
    use crate::audit::test_signer as signer;

    fn manifest(ca: &str) -> Manifest {
        let file = BackupFile { name: "p0/a.snap".into(), bytes: 5, sha256: [7; 32], ..Default::default() };
        let part = BackupPart { index: 9, files: vec![file], ..Default::default() };
        let made = 1_790_000_000_000;
        Manifest { format: FORMAT, node: 1, made, parts: vec![part], ca: ca.into(), ..Default::default() }
    }

    #[test]
    fn no_bit_of_a_manifest_can_be_changed_and_no_byte_cut_off() {
        let (ca, signer) = signer();
        let good = manifest("").sealed(&signer).unwrap();
        assert_eq!(Manifest::opened(&good, Some(&ca)).unwrap(), manifest(""));
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let read = Manifest::opened(&bad, Some(&ca));
            assert!(read.as_ref().is_ok_and(|read| *read == manifest("")) || read.is_err(), "bit {bit}");
        }
        assert!((0..good.len()).all(|len| Manifest::opened(&good[..len], Some(&ca)).is_err()));
    }

    #[test]
    fn another_sites_node_proves_nothing_and_no_name_leads_out() {
        let (_, other) = signer();
        let (ca, signer) = signer();
        let forged = manifest("").sealed(&other).unwrap();
        assert!(matches!(Manifest::opened(&forged, Some(&ca)), Err(BackupError::Signature(HeadError::Issuer))));
        for name in ["../x", "/etc/passwd", "", "p0/../../x"] {
            let mut bad = manifest("");
            bad.parts[0].files[0].name = name.into();
            let bad = bad.sealed(&signer).unwrap();
            assert!(matches!(Manifest::opened(&bad, Some(&ca)), Err(BackupError::Manifest(_))), "{name}");
        }
        let newer = Manifest { format: FORMAT + 1, ..manifest("") }.sealed(&signer).unwrap();
        assert!(matches!(Manifest::opened(&newer, Some(&ca)), Err(BackupError::Newer(3))));
    }
}
