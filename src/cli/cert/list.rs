//! Listing certificates with days left.

use super::{read, trouble};
use crate::{
    cli::{
        args::Globals,
        failure::{Done, Failure, file},
    },
    config::Settings,
    node::pki,
};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Below this many days a certificate is marked: a working month is left to replace it.
const SOON: i64 = 30;

pub async fn run(globals: &Globals, paths: &[PathBuf]) -> Done {
    let mut items = vec![];
    if paths.is_empty() {
        for (used_for, path) in configured(&globals.checked_settings().await?) {
            match path.exists() {
                true => items.extend(described(&path, used_for)?),
                false => items.push(json!({"file": path, "use": used_for, "state": "missing"})),
            }
        }
    }
    for path in paths {
        for file in pem_files(path)? {
            items.extend(described(&file, "")?);
        }
    }
    let columns = [
        ("name", "common_name"),
        ("days left", "days_left"),
        ("state", "state"),
        ("serial", "serial"),
        ("good for", "names"),
        ("file", "file"),
    ];
    globals.out().list("CertificateList", &items, &columns, "fingerprint");
    Ok(())
}

/// The certificates that a node uses, by purpose.
pub fn configured(settings: &Settings) -> [(&'static str, PathBuf); 4] {
    [
        ("supplier authority", settings.supplier.ca.clone()),
        ("supplier listener", settings.supplier.cert.clone()),
        ("peer authority", settings.peer.ca.clone()),
        ("peer", settings.peer.cert.clone()),
    ]
}

fn described(path: &Path, used_for: &str) -> Result<Vec<Value>, Failure> {
    let text = read(path)?;
    let told = pki::describe(&text).map_err(|e| trouble("the certificate cannot be read", path, &e))?;
    let item = |d: pki::Described| {
        let days = d.days_left();
        let state = match days {
            d if d < 0 => "expired",
            d if d < SOON => "expires soon",
            _ => "ok",
        };
        json!({
            "file": path, "use": used_for, "common_name": d.common_name, "subject": d.subject, "issuer": d.issuer,
            "serial": d.serial, "fingerprint": d.fingerprint, "names": d.names, "authority": d.authority,
            "days_left": days, "state": state, "not_after": d.not_after,
        })
    };
    Ok(told.into_iter().map(item).collect())
}

/// The file itself, or the `.pem` and `.crt` files of a folder in name order, keys left out.
fn pem_files(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    if !path.is_dir() {
        return Ok(vec![path.into()]);
    }
    let entries = std::fs::read_dir(path).map_err(|e| file("the folder cannot be read", path, &e))?;
    let certificate = |p: &PathBuf| {
        let name = p.file_name().unwrap_or_default().to_string_lossy().into_owned();
        (name.ends_with(".pem") || name.ends_with(".crt")) && !name.contains("key")
    };
    let mut files: Vec<PathBuf> = entries.flatten().map(|e| e.path()).filter(certificate).collect();
    files.sort();
    Ok(files)
}
