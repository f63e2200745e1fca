//! Keys of encrypted backups: `spine backup key` makes a pair, whose private half belongs to nobody's node; files of keys are read.

use super::trouble;
use crate::{
    cli::{
        args::Globals,
        failure::{Done, Failure, failure},
        output,
    },
    ops::codes,
    seam::rng::{Rng as _, SystemRng},
    wire::age::{Identity, Recipient},
};
use serde_json::json;
use std::{
    fs::OpenOptions,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// Makes a pair: the private half in a file that only its owner reads, the public half beside it. Files that are there stay.
pub fn make(globals: &Globals, out: &Path) -> Done {
    let identity = Identity::new(&mut |bytes| SystemRng.fill(bytes));
    let public = identity.public().to_string();
    let beside = PathBuf::from(format!("{}.pub", out.display()));
    write(&beside, &format!("{public}\n"), 0o644)?;
    let written = write(out, &format!("# public key: {public}\n{}\n", identity.secret_text()), 0o600);
    if written.is_err() {
        // Half a pair would be taken for one.
        let _ = std::fs::remove_file(&beside);
    }
    written?;
    let value = json!({"recipient": public, "identity": out, "recipient_file": beside});
    globals.out().one("BackupKey", &value, "recipient", || {
        format!("public key: {public}\nin {}; the private key is in {}", beside.display(), out.display())
    });
    globals.out().next(&format!(
        "keep {} away from the nodes, twice; on them set backup.recipient to a copy of {}",
        out.display(),
        beside.display()
    ));
    Ok(())
}

fn write(path: &Path, text: &str, mode: u32) -> Result<(), Failure> {
    let made = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    let written = made.and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()));
    written.map_err(|e| trouble("the key cannot be written", path, &e))
}

fn refused(path: &Path, why: String) -> Failure {
    let fix = "name a file that `spine backup key` or `age-keygen` wrote";
    failure(&codes::BACKUP_KEY, "the keys cannot be used", format!("{}: {why}", path.display()), fix)
}

/// The text of a file of public keys, after a look at it.
pub fn recipients(path: &Path) -> Result<String, Failure> {
    let text = std::fs::read_to_string(path).map_err(|e| trouble("the keys cannot be read", path, &e))?;
    Recipient::all(&text).map(|_| ()).map_err(|why| refused(path, why))?;
    Ok(text)
}

/// The private keys of a file; none where no file is named.
pub fn identities(path: Option<&Path>) -> Result<Vec<Identity>, Failure> {
    let Some(path) = path else { return Ok(vec![]) };
    let text = std::fs::read_to_string(path).map_err(|e| trouble("the keys cannot be read", path, &e))?;
    Identity::all(&text).map_err(|why| refused(path, why))
}

/// Whom a backup is encrypted for, in a few words.
pub fn told(recipients: &[String]) -> String {
    match recipients {
        [] => "plain".into(),
        [one] => format!("for {one}"),
        several => format!("for {} keys", several.len()),
    }
}

/// What a verification says that had no key.
pub fn unread(recipients: &[String]) -> String {
    format!("what the files hold was not replayed: they are encrypted for {}", recipients.join(", "))
}

/// Rows of an encrypted backup are plain where they are replayed: where that may be is a person's to say.
pub fn no_place() -> Failure {
    let why = "it is encrypted, and is replayed in plain: nobody said where its records may lie so";
    let fix =
        "name a folder on a disk for patients' records with --scratch; what is written there is removed at the end";
    failure(&codes::CLI_USAGE, "the backup was not replayed", why, fix)
}

/// Tells how far a backup is, unless nobody is to be told.
pub fn progress(globals: &Globals, text: &str) {
    if !globals.quiet {
        output::progress(text);
    }
}
