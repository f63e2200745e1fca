//! Importing a register from a CSV file: every row is checked first, then written; a repeat changes nothing.

use super::{
    args::Globals,
    client,
    failure::{Done, Failure, failure, file},
    output,
    registry::{Fields, Mode, Register, Row},
};
use crate::ops::codes;
use serde_json::{Value, json};
use std::{collections::BTreeMap, io::Read, path::Path};

/// The file's text; `-` is stdin.
pub fn read(path: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let read = match path.as_os_str() == "-" {
        true => std::io::stdin().read_to_string(&mut text).map(|_| text),
        false => std::fs::read_to_string(path),
    };
    read.map_err(|e| file("the file cannot be read", path, &e))
}

pub fn malformed(path: &Path, why: &str) -> Failure {
    let why = format!("{}: {why}", path.display());
    failure(&codes::ADMIN_BAD_REQUEST, "the file cannot be imported", why, "correct the line; nothing was changed")
}

/// Two passes: a dry run over all rows, so that a mistake on the last line changes nothing, then the writes.
pub async fn run(
    globals: &Globals,
    register: &Register,
    path: &Path,
    rows: &[Row],
    dry_run: bool,
    fields: fn(&Row) -> Fields,
) -> Done {
    let mut ids = vec![];
    for row in rows {
        match row.get(register.id).filter(|id| !id.is_empty()) {
            Some(id) => ids.push(id.clone()),
            None => return Err(malformed(path, &format!("a row has no {}", register.id))),
        }
    }
    let counts = pass(globals, register, path, rows, &ids, true, fields).await?;
    let counts = if dry_run { counts } else { pass(globals, register, path, rows, &ids, false, fields).await? };
    let value = json!({"file": path, "rows": rows.len(), "outcomes": counts, "dry_run": dry_run});
    globals.out().one("Import", &value, "rows", || {
        let parts: Vec<String> = counts.iter().map(|(outcome, n)| format!("{n} {outcome}")).collect();
        let would = if dry_run { "dry run: " } else { "" };
        format!("{would}{} rows: {}", rows.len(), if parts.is_empty() { "nothing".into() } else { parts.join(", ") })
    });
    if dry_run {
        globals.out().next("repeat without --dry-run");
    }
    Ok(())
}

async fn pass(
    globals: &Globals,
    register: &Register,
    path: &Path,
    rows: &[Row],
    ids: &[String],
    dry_run: bool,
    fields: fn(&Row) -> Fields,
) -> Result<BTreeMap<String, usize>, Failure> {
    let client = client(globals)?;
    let mut counts = BTreeMap::new();
    for (n, (row, id)) in rows.iter().zip(ids).enumerate() {
        let body = Value::Object(fields(row).0);
        let answer = register.put(&client, id, Mode::Put, &body, dry_run).await.map_err(|mut e| {
            e.what = format!("{}: {} {id} was refused: {}", path.display(), register.noun, e.what);
            e
        })?;
        *counts.entry(answer["outcome"].as_str().unwrap_or("?").to_owned()).or_default() += 1;
        if !dry_run && globals.out().human() && n % 1_000 == 999 {
            output::progress(&format!("{} of {} rows", n + 1, rows.len()));
        }
    }
    Ok(counts)
}
