//! Importing large files into the registry: published CSV, JSON lines, a JSON array, LDIF. Streaming, in batches; a refused
//! line is named with its reason, and the others go in. A repeat changes nothing.

use super::{
    args::Globals,
    client, csv,
    failure::{Done, Failure, exit, failure, file},
    output,
};
use crate::{ops::codes, services::directory::published, wire::ldif};
use serde_json::{Map, Value, json};
use std::{
    io::{BufRead, BufReader, Read},
    path::Path,
};

/// Lines sent at once.
const BATCH: usize = 2_000;
/// Longest record of a file, in bytes: an organisation with all its relationships is far below.
const MAX_RECORD: usize = 1 << 20;
/// Refused lines that are shown one by one.
const SHOWN: usize = 100;
/// Most of a JSON array, which is read whole.
const MAX_ARRAY: u64 = 64 << 20;

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Shape {
    /// CSV with a heading: ods,name,asid,party_key,certificate
    Csv,
    /// The reference data's published CSV: 27 columns, no heading
    Ods,
    /// One JSON object a line
    Jsonl,
    /// One JSON array of objects
    Json,
    /// Directory entries
    Ldif,
}

/// The shape by the file's ending and its first line.
pub fn shape(path: &Path, first: &str) -> Shape {
    let ending = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
    let first = first.trim_start_matches('\u{feff}').trim_start();
    match ending.as_str() {
        "ldif" => Shape::Ldif,
        "jsonl" | "ndjson" => Shape::Jsonl,
        _ if first.starts_with('[') => Shape::Json,
        _ if first.starts_with('{') => Shape::Jsonl,
        _ if first.to_ascii_lowercase().split(',').any(|cell| cell.trim().trim_matches('"') == "ods") => Shape::Csv,
        _ => Shape::Ods,
    }
}

/// What an import is asked to do.
pub struct Job<'a> {
    pub path: &'a Path,
    pub shape: Option<Shape>,
    /// Primary role of a published file's organisations, where its name does not tell.
    pub role: Option<&'a str>,
    pub dry_run: bool,
}

/// The input as records, with the line that each begins on.
struct Source {
    lines: Box<dyn BufRead>,
    shape: Shape,
    role: String,
    line: usize,
    /// Elements of a JSON array that are left.
    array: std::vec::IntoIter<Value>,
}

/// What was opened.
enum Opened {
    Source(Source),
    /// The text of a CSV file with a heading, which the register's own import reads.
    Headed(String),
}

fn open(job: &Job<'_>) -> Result<Opened, Failure> {
    let unread = |e: std::io::Error| file("the file cannot be read", job.path, &e);
    let raw: Box<dyn Read> = match job.path.as_os_str() == "-" {
        true => Box::new(std::io::stdin()),
        false => Box::new(std::fs::File::open(job.path).map_err(unread)?),
    };
    let mut lines: Box<dyn BufRead> = Box::new(BufReader::with_capacity(1 << 16, raw));
    let head = lines.fill_buf().map_err(unread)?;
    let head = String::from_utf8_lossy(&head[..head.len().min(4_096)]).into_owned();
    let shape = job.shape.unwrap_or_else(|| shape(job.path, head.lines().next().unwrap_or_default()));
    let stem = job.path.file_stem().and_then(|s| s.to_str()).unwrap_or_default();
    let role = match (shape, job.role.or_else(|| published::role_of_file(stem))) {
        (Shape::Csv, _) => {
            let mut text = String::new();
            lines.read_to_string(&mut text).map_err(unread)?;
            return Ok(Opened::Headed(text));
        }
        (Shape::Ods, None) => {
            let why = format!("{stem} is not the name of a published file whose organisations have one primary role");
            let fix = "name the role with --role, such as --role RO177";
            return Err(failure(&codes::ADMIN_BAD_REQUEST, "the file cannot be imported", why, fix));
        }
        (_, role) => role.unwrap_or_default().to_owned(),
    };
    let mut array = vec![];
    if shape == Shape::Json {
        let mut text = String::new();
        lines.by_ref().take(MAX_ARRAY).read_to_string(&mut text).map_err(unread)?;
        array = serde_json::from_str(&text).map_err(|e| super::import::malformed(job.path, &e.to_string()))?;
    }
    Ok(Opened::Source(Source { lines, shape, role, line: 0, array: array.into_iter() }))
}

/// The next record as a line of the provisioning format, or why it is none.
type Next = Option<(usize, Result<String, String>)>;

impl Source {
    fn next(&mut self) -> std::io::Result<Next> {
        match self.shape {
            Shape::Json => {
                self.line += 1;
                Ok(self.array.next().map(|value| (self.line, Ok(value.to_string()))))
            }
            Shape::Ldif => self.next_entry(),
            Shape::Ods => self.next_row(),
            Shape::Jsonl | Shape::Csv => {
                let mut text = String::new();
                Ok(self.read_line(&mut text)?.then_some((self.line, Ok(text))))
            }
        }
    }

    /// Appends a line; `false` at the end of the file.
    fn read_line(&mut self, to: &mut String) -> std::io::Result<bool> {
        let mut bytes = vec![];
        let most = MAX_RECORD.saturating_sub(to.len()) as u64;
        if self.lines.by_ref().take(most).read_until(b'\n', &mut bytes)? == 0 {
            return match most {
                0 => Err(std::io::Error::other(format!("a record behind line {} has no end", self.line))),
                _ => Ok(false),
            };
        }
        self.line += 1;
        // Older published files are in Latin-1.
        match String::from_utf8(bytes) {
            Ok(text) => to.push_str(&text),
            Err(e) => to.extend(e.into_bytes().into_iter().map(char::from)),
        }
        Ok(true)
    }

    fn next_entry(&mut self) -> std::io::Result<Next> {
        loop {
            let (mut text, start) = (String::new(), self.line + 1);
            let mut more = true;
            while more {
                let before = text.len();
                more = self.read_line(&mut text)?;
                if more && text[before..].trim().is_empty() {
                    break;
                }
            }
            match ldif::entry(&text) {
                Ok(None) if !more => return Ok(None),
                Ok(None) => {}
                Ok(Some(entry)) => return Ok(Some((start, Ok(attributes(entry))))),
                Err(why) => return Ok(Some((start, Err(why.to_string())))),
            }
        }
    }

    fn next_row(&mut self) -> std::io::Result<Next> {
        let (mut text, start) = (String::new(), self.line + 1);
        loop {
            if !self.read_line(&mut text)? {
                break;
            }
            // An odd number of quotes: a line break stands inside a value.
            if text.bytes().filter(|b| *b == b'"').count() % 2 == 0 && !text.trim().is_empty() {
                break;
            }
        }
        if text.trim().is_empty() {
            return Ok(None);
        }
        let row = csv::record(&text).and_then(|cells| published::object(&cells, &self.role));
        Ok(Some((start, row.map(|object| Value::Object(object).to_string()))))
    }
}

fn attributes(entry: ldif::Entry) -> String {
    let mut object = Map::new();
    for (name, value) in entry.attributes {
        let values = object.entry(name).or_insert_with(|| json!([]));
        if let Some(values) = values.as_array_mut() {
            values.push(json!(value));
        }
    }
    Value::Object(object).to_string()
}

#[derive(Default)]
struct Tally {
    read: usize,
    changed: u64,
    same: u64,
    refused: Vec<Value>,
    refused_count: usize,
}

impl Tally {
    fn refuse(&mut self, line: usize, why: &str) {
        self.refused_count += 1;
        if self.refused.len() < SHOWN {
            self.refused.push(json!({"line": line, "why": why}));
        }
    }
}

/// Runs an import. A CSV file with a heading comes back as its text, and nothing was done.
pub async fn run(globals: &Globals, job: Job<'_>) -> Result<Option<String>, Failure> {
    let mut source = match open(&job)? {
        Opened::Source(source) => source,
        Opened::Headed(text) => return Ok(Some(text)),
    };
    let mut tally = Tally::default();
    let mut batch: Vec<(usize, String)> = vec![];
    loop {
        let next = source.next().map_err(|e| file("the file cannot be read", job.path, &e))?;
        let ended = next.is_none();
        match next {
            Some((line, Ok(text))) => {
                tally.read += 1;
                batch.push((line, text));
            }
            Some((line, Err(why))) => {
                tally.read += 1;
                tally.refuse(line, &why);
            }
            None => {}
        }
        if batch.len() == BATCH || ended {
            send(globals, &job, std::mem::take(&mut batch), &mut tally).await?;
            if globals.out().human() && !ended {
                output::progress(&format!("{} records", tally.read));
            }
        }
        if ended {
            break;
        }
    }
    tell(globals, &job, &tally)?;
    Ok(None)
}

async fn send(globals: &Globals, job: &Job<'_>, batch: Vec<(usize, String)>, tally: &mut Tally) -> Done {
    if batch.is_empty() {
        return Ok(());
    }
    let lines: Vec<&str> = batch.iter().map(|(_, text)| text.as_str()).collect();
    let path = format!("/v1/registry/import?dry_run={}", job.dry_run);
    let answer = client(globals)?.post(&path, &json!({"lines": lines})).await?;
    tally.changed += answer["changed"].as_u64().unwrap_or(0);
    tally.same += answer["same"].as_u64().unwrap_or(0);
    for refused in answer["refused"].as_array().into_iter().flatten() {
        let at = refused["line"].as_u64().and_then(|n| batch.get(n as usize)).map_or(0, |(line, _)| *line);
        tally.refuse(at, refused["why"].as_str().unwrap_or("?"));
    }
    Ok(())
}

fn tell(globals: &Globals, job: &Job<'_>, tally: &Tally) -> Done {
    let value = json!({
        "file": job.path, "rows": tally.read, "dry_run": job.dry_run, "refused": tally.refused,
        "outcomes": {"changed": tally.changed, "same": tally.same, "refused": tally.refused_count},
    });
    globals.out().one("Import", &value, "rows", || {
        let would = if job.dry_run { "dry run: " } else { "" };
        let (changed, same) = (tally.changed, tally.same);
        let mut text = format!("{would}{} records: {changed} changed, {same} same", tally.read);
        text.push_str(&format!(", {} refused", tally.refused_count));
        for refused in &tally.refused {
            text.push_str(&format!("\n  line {}: {}", refused["line"], refused["why"].as_str().unwrap_or("?")));
        }
        if tally.refused_count > tally.refused.len() {
            text.push_str(&format!("\n  and {} more", tally.refused_count - tally.refused.len()));
        }
        text
    });
    if tally.refused_count > 0 {
        let what = format!("{} of {} records were refused", tally.refused_count, tally.read);
        let fix = "correct them and import the file again: what is in already stays as it is";
        return Err(failure(&codes::ADMIN_BAD_REQUEST, what, "see the lines above", fix).with_exit(exit::REFUSED));
    }
    if job.dry_run {
        globals.out().next("repeat without --dry-run");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shape_shows_in_the_ending_or_the_first_line() {
        for (name, first, wanted) in [
            ("epraccur.csv", "\"A81001\",\"THE DENSHAM SURGERY\",\"Y63\"", Shape::Ods),
            ("parties.csv", "ods,name", Shape::Csv),
            ("x.ldif", "# c", Shape::Ldif),
            ("x.json", "[{", Shape::Json),
            ("-", "{\"ods_code\":\"X26\"}", Shape::Jsonl),
        ] {
            assert_eq!(shape(Path::new(name), first), wanted, "{name}");
        }
    }
}
