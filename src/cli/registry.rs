//! What the registers have in common: list, show, add, set, disable, import. Each noun's file says its fields.

use super::{
    args::{Globals, Write},
    client,
    failure::{Done, Failure, exit},
    output,
};
use crate::ops::{admin_client::AdminClient, codes};
use serde_json::{Map, Value, json};
use std::path::Path;

/// Rows asked for at once; the node bounds it too.
const PAGE: usize = 1_000;

/// One register.
pub struct Register {
    /// Singular, for messages and the CLI.
    pub noun: &'static str,
    /// `/v1/…`
    pub path: &'static str,
    /// Kind in JSON documents.
    pub kind: &'static str,
    /// Field that is the id.
    pub id: &'static str,
    /// (heading, field) of the table.
    pub columns: &'static [(&'static str, &'static str)],
}

impl Register {
    /// Shows every row whose id starts with `prefix`.
    pub async fn list(&self, globals: &Globals, prefix: &str) -> Done {
        let client = client(globals)?;
        let mut items: Vec<Value> = vec![];
        let mut after = String::new();
        loop {
            let (prefix, from) = (encoded(prefix), encoded(&after));
            let path = format!("{}?limit={PAGE}&prefix={prefix}&after={from}", self.path);
            let page = client.get(&path).await?;
            items.extend(page["items"].as_array().cloned().unwrap_or_default());
            match page["next"].as_str() {
                Some(next) if next != after => after = next.into(),
                _ => break,
            }
        }
        globals.out().list(&format!("{}List", self.kind), &items, self.columns, self.id);
        if items.is_empty() {
            globals.out().next(&format!("add the first with `spine {} add --help`", self.noun));
        }
        Ok(())
    }

    pub async fn show(&self, globals: &Globals, id: &str) -> Done {
        let row = client(globals)?.get(&format!("{}/{}", self.path, encoded(id))).await?;
        globals.out().one(self.kind, &row, self.id, || {
            let fields = row.as_object().cloned().unwrap_or_default();
            let pairs: Vec<(String, String)> =
                fields.keys().map(|k| (k.replace('_', " "), output::text(&row, k))).collect();
            output::facts(&pairs.iter().map(|(k, v)| (k.as_str(), v.clone())).collect::<Vec<_>>())
        });
        Ok(())
    }

    /// Adds or changes one row. Only the fields in `fields` are touched.
    pub async fn write(&self, globals: &Globals, id: &str, mode: Mode, fields: Fields, write: &Write) -> Done {
        let answer = self.put(&client(globals)?, id, mode, &Value::Object(fields.0), write.dry_run).await?;
        let outcome = answer["outcome"].as_str().unwrap_or("?").to_owned();
        if outcome == "same" && write.strict {
            let what = format!("{} {id} is already so", self.noun);
            return Err(Failure::of(&codes::CLI_ALREADY, what, "nothing would change").with_exit(exit::ALREADY));
        }
        let mut told = answer.get(self.noun).cloned().unwrap_or_default();
        if let Some(told) = told.as_object_mut() {
            told.insert("outcome".into(), json!(outcome));
            told.insert("dry_run".into(), json!(write.dry_run));
        }
        globals.out().one(self.kind, &told, self.id, || {
            let would = if write.dry_run { "would be " } else { "" };
            format!("{} {id} {would}{}", self.noun, words(&outcome))
        });
        if write.dry_run {
            globals.out().next("repeat without --dry-run");
        }
        Ok(())
    }

    /// One PUT, as `write` and the import do it.
    pub async fn put(
        &self,
        client: &AdminClient,
        id: &str,
        mode: Mode,
        fields: &Value,
        dry_run: bool,
    ) -> Result<Value, Failure> {
        let path = format!("{}/{}?mode={}&dry_run={dry_run}", self.path, encoded(id), mode.word());
        client.call(http::Method::PUT, &path, fields).await
    }

    /// Reads a CSV file with a header line and puts every row; stops at the first that is refused.
    pub async fn import(&self, globals: &Globals, file: &Path, dry_run: bool, row: fn(&Row) -> Fields) -> Done {
        let text = super::import::read(file)?;
        self.import_text(globals, file, &text, dry_run, row).await
    }

    /// The same for a file that was read.
    pub async fn import_text(
        &self,
        globals: &Globals,
        file: &Path,
        text: &str,
        dry_run: bool,
        row: fn(&Row) -> Fields,
    ) -> Done {
        let rows = super::csv::rows(text).map_err(|why| super::import::malformed(file, &why))?;
        super::import::run(globals, self, file, &rows, dry_run, row).await
    }
}

/// A row of an imported file, by column name.
pub type Row = std::collections::BTreeMap<String, String>;

/// What a write is allowed to meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Must be new, or the same already.
    Add,
    /// Must exist.
    Set,
    /// Either.
    Put,
}

impl Mode {
    fn word(self) -> &'static str {
        match self {
            Mode::Add => "add",
            Mode::Set => "set",
            Mode::Put => "put",
        }
    }
}

fn words(outcome: &str) -> &str {
    match outcome {
        "same" => "unchanged: it is already so",
        other => other,
    }
}

/// Fields to write; what was not given stays out, and so stays as it is.
#[derive(Default)]
pub struct Fields(pub Map<String, Value>);

impl Fields {
    pub fn text(mut self, name: &str, value: Option<&str>) -> Self {
        if let Some(value) = value {
            self.0.insert(name.into(), json!(value));
        }
        self
    }
    pub fn flag(mut self, name: &str, value: Option<bool>) -> Self {
        if let Some(value) = value {
            self.0.insert(name.into(), json!(value));
        }
        self
    }
    /// An empty list is left out: `set` without a list keeps what is there.
    pub fn list(mut self, name: &str, values: &[String]) -> Self {
        if !values.is_empty() {
            self.0.insert(name.into(), json!(values));
        }
        self
    }
}

/// One path segment or query value, percent-encoded.
pub fn encoded(part: &str) -> String {
    let mut out = String::new();
    for b in part.bytes() {
        match b {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(b as char),
            _ => out.push_str(&format!("%{b:02X}")),
        }
    }
    out
}
