//! Making, signing and revoking.

use super::{Signer, read, trouble};
use crate::{
    cli::{
        args::{Globals, Write},
        failure::{Done, Failure, exit, failure, file},
    },
    node::pki::{self, Authority, PkiError, Wanted},
    ops::codes,
};
use serde_json::json;
use std::path::{Path, PathBuf};

pub fn authority(globals: &Globals, name: &str, days: u64, out: &Path, write: &Write) -> Done {
    let (cert, key) = pair(out);
    refuse_existing(&[&cert, &key])?;
    if !write.dry_run {
        let ca = Authority::create(name, days).map_err(|e| trouble("the authority cannot be made", out, &e))?;
        write_private(&key, ca.key())?;
        write_public(&cert, ca.cert())?;
    }
    tell(globals, write, &cert, Some(&key))?;
    globals
        .out()
        .next(&format!("spine cert issue --ca {} --for server --name NAME --san ADDRESS --out PATH", cert.display()));
    Ok(())
}

pub fn issue(globals: &Globals, signer: &Signer, wanted: &Wanted, out: &Path, write: &Write) -> Done {
    let ca = load(signer)?;
    let (cert, key) = pair(out);
    refuse_existing(&[&cert, &key])?;
    let issued = ca.issue(wanted).map_err(|e| trouble("the certificate cannot be made", out, &e))?;
    if !write.dry_run {
        write_private(&key, &issued.key)?;
        write_public(&cert, &issued.cert)?;
    }
    tell(globals, write, &cert, Some(&key))
}

pub fn sign(globals: &Globals, signer: &Signer, request: &Path, wanted: &Wanted, out: &Path, write: &Write) -> Done {
    let ca = load(signer)?;
    refuse_existing(&[out])?;
    let cert = ca.sign(&read(request)?, wanted).map_err(|e| trouble("the request cannot be signed", request, &e))?;
    if !write.dry_run {
        write_public(out, &cert)?;
    }
    tell(globals, write, out, None)
}

/// A node's certificate for five more years; its private key stays where it is.
pub fn renew_node(globals: &Globals, signer: &Signer, cert: &Path, out: &Path, write: &Write) -> Done {
    let ca = load(signer)?;
    refuse_existing(&[out])?;
    let new = ca.renew_node(&read(cert)?).map_err(|e| trouble("the certificate cannot be made anew", cert, &e))?;
    if !write.dry_run {
        write_public(out, &new.cert)?;
    }
    let days = pki::describe(&new.cert).ok().and_then(|all| all.first().map(pki::Described::days_left));
    let value = json!({
        "cert": out, "node": new.node, "cluster": new.site, "days_left": days, "dry_run": write.dry_run,
    });
    globals.out().one("Certificate", &value, "cert", || {
        let verb = if write.dry_run { "would write" } else { "wrote" };
        format!("{verb} {}: node {} for {} days more", out.display(), new.node, days.unwrap_or_default())
    });
    globals.out().next(&format!("on node {}: put it in the place of peer.cert, then `spine node restart`", new.node));
    Ok(())
}

pub fn revoke(globals: &Globals, signer: &Signer, what: &str, crl: &Path, write: &Write) -> Done {
    let ca = load(signer)?;
    let serial = serial_of(what)?;
    let old = if crl.exists() { read(crl)? } else { String::new() };
    let listed = if old.is_empty() { vec![] } else { pki::revoked(&old).map_err(|e| list_trouble(crl, &e))? };
    let hex = pki::hex(&serial);
    let already = listed.contains(&hex);
    if already && write.strict {
        let why = format!("{} holds {hex}", crl.display());
        return Err(
            Failure::of(&codes::CLI_ALREADY, "the certificate is revoked already", why).with_exit(exit::ALREADY)
        );
    }
    if !write.dry_run {
        // Repeating renews the list: its next-update date moves on.
        let list = ca.revoke(&old, &[serial]).map_err(|e| list_trouble(crl, &e))?;
        write_public(crl, &list)?;
    }
    let value = json!({"serial": hex, "crl": crl, "already": already, "dry_run": write.dry_run});
    globals.out().one("Revocation", &value, "serial", || {
        let verb = if write.dry_run { "would be" } else { "is" };
        format!("{hex} {verb} revoked in {}", crl.display())
    });
    globals.out().next("copy the list to every node's supplier.crl; nodes take it up within ten seconds");
    Ok(())
}

fn list_trouble(crl: &Path, error: &PkiError) -> Failure {
    trouble("the revocation list cannot be used", crl, error)
}

/// A certificate's serial number, from its file or as given in hex.
fn serial_of(what: &str) -> Result<Vec<u8>, Failure> {
    let path = Path::new(what);
    if path.exists() {
        let told = pki::describe(&read(path)?).map_err(|e| trouble("the certificate cannot be read", path, &e))?;
        if let Some(first) = told.first() {
            return Ok(pki::unhex(&first.serial).unwrap_or_default());
        }
    }
    pki::unhex(what).filter(|s| !s.is_empty()).ok_or_else(|| {
        let why = format!("{what} is neither a certificate file nor a serial number in hex");
        failure(
            &codes::CLI_CERTIFICATE,
            "nothing to revoke",
            why,
            "name a PEM file, or a serial from `spine cert list`",
        )
    })
}

fn load(signer: &Signer) -> Result<Authority, Failure> {
    let key = signer.ca_key.clone().unwrap_or_else(|| key_beside(&signer.ca));
    Authority::load(&read(&signer.ca)?, &read(&key)?)
        .map_err(|e| trouble("the authority cannot be used", &signer.ca, &e))
}

/// `ca.pem` → `ca-key.pem`.
fn key_beside(cert: &Path) -> PathBuf {
    cert.with_file_name(format!("{}-key.pem", cert.file_stem().unwrap_or_default().to_string_lossy()))
}

fn pair(out: &Path) -> (PathBuf, PathBuf) {
    let name = out.file_name().unwrap_or_default().to_string_lossy();
    (out.with_file_name(format!("{name}.pem")), out.with_file_name(format!("{name}-key.pem")))
}

fn refuse_existing(paths: &[&Path]) -> Result<(), Failure> {
    match paths.iter().find(|p| p.exists()) {
        None => Ok(()),
        Some(path) => Err(failure(
            &codes::CLI_ALREADY,
            "the file exists already",
            format!("{} would be overwritten, and with it perhaps a key", path.display()),
            "choose another --out, or move the file away",
        )),
    }
}

/// Writes a file that only its owner and group may read.
pub fn write_private(path: &Path, text: &str) -> Result<(), Failure> {
    write_with_mode(path, text, 0o640)
}

/// Writes a file that everybody may read.
pub fn write_public(path: &Path, text: &str) -> Result<(), Failure> {
    write_with_mode(path, text, 0o644)
}

/// Into a temporary file first, so that a reader never sees half a file.
fn write_with_mode(path: &Path, text: &str, mode: u32) -> Result<(), Failure> {
    use std::{
        io::Write,
        os::unix::fs::{OpenOptionsExt, PermissionsExt},
    };
    let failed = |e: std::io::Error| file("the file cannot be written", path, &e);
    if let Some(parent) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
        std::fs::create_dir_all(parent).map_err(failed)?;
    }
    let temporary = path.with_extension("tmp");
    let mut options = std::fs::OpenOptions::new();
    let mut out = options.write(true).create(true).truncate(true).mode(mode).open(&temporary).map_err(failed)?;
    // Whatever the umask of whoever runs this: the daemon reads by its group.
    out.set_permissions(std::fs::Permissions::from_mode(mode)).map_err(failed)?;
    out.write_all(text.as_bytes()).and_then(|()| out.sync_all()).map_err(failed)?;
    std::fs::rename(&temporary, path).map_err(failed)
}

fn tell(globals: &Globals, write: &Write, cert: &Path, key: Option<&Path>) -> Done {
    let value = json!({"cert": cert, "key": key, "dry_run": write.dry_run});
    globals.out().one("Certificate", &value, "cert", || {
        let verb = if write.dry_run { "would write" } else { "wrote" };
        let key = key.map(|k| format!(" and {}", k.display())).unwrap_or_default();
        format!("{verb} {}{key}", cert.display())
    });
    Ok(())
}
