//! `spine pds`: people in from a file, a line each, streaming; what is refused goes to a file of its own with the reason.

use super::{
    args::Globals,
    client,
    failure::{Done, Failure, file},
    output,
};
use crate::ops::admin_client::AdminClient;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
};

/// Lines and bytes sent at once, and how many of such batches are under way.
const BATCH_LINES: usize = 2_000;
const BATCH_BYTES: usize = 2 << 20;
const AT_ONCE: usize = 4;

#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  spine pds import people.ndjson\n  spine generate people --count 1000 | spine pds import -"
)]
pub struct Args {
    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(clap::Subcommand, Debug)]
pub enum Verb {
    /// Load people from a file, a JSON object a line; safe to repeat
    #[command(after_help = "Examples:\n  spine pds import people.ndjson --dry-run\n  \
                      spine pds import people.ndjson --rejects bad.ndjson\n  spine pds import people.ndjson --skip 200000")]
    Import {
        /// File, or - for stdin
        file: PathBuf,
        /// Where refused lines go, each with the reason
        #[arg(long, value_name = "FILE")]
        rejects: Option<PathBuf>,
        /// Leave out the first lines: goes on where an earlier run told that it had come to
        #[arg(long, value_name = "LINES", default_value_t = 0)]
        skip: u64,
        /// Check all lines; change nothing
        #[arg(long)]
        dry_run: bool,
    },
}

pub async fn run(globals: &Globals, verb: Verb) -> Done {
    let Verb::Import { file, rejects, skip, dry_run } = verb;
    import(globals, &file, rejects.as_deref(), skip, dry_run).await
}

/// A batch of lines, with the number of its first in the file (from 1).
struct Batch {
    first: u64,
    lines: Vec<String>,
}

/// Reads batch by batch: memory does not grow with the file.
struct Batches<R> {
    reader: R,
    next: u64,
    failed: Option<std::io::Error>,
}

impl<R: BufRead> Iterator for Batches<R> {
    type Item = Batch;
    fn next(&mut self) -> Option<Batch> {
        let (mut lines, mut bytes, first) = (vec![], 0, self.next);
        while lines.len() < BATCH_LINES && bytes < BATCH_BYTES {
            let mut line = String::new();
            match self.reader.read_line(&mut line) {
                Ok(0) => break,
                Ok(n) => bytes += n,
                Err(e) => {
                    self.failed = Some(e);
                    break;
                }
            }
            self.next += 1;
            lines.push(line.trim_end().to_owned());
        }
        (!lines.is_empty()).then_some(Batch { first, lines })
    }
}

#[derive(Default)]
struct Total {
    lines: u64,
    good: u64,
    written: u64,
    same: u64,
    rejected: u64,
}

async fn import(globals: &Globals, path: &Path, rejects: Option<&Path>, skip: u64, dry_run: bool) -> Done {
    let source: Box<dyn BufRead> = match path.as_os_str() == "-" {
        true => Box::new(BufReader::new(std::io::stdin())),
        false => Box::new(BufReader::with_capacity(
            1 << 20,
            std::fs::File::open(path).map_err(|e| file("the file cannot be read", path, &e))?,
        )),
    };
    let mut refused = match rejects {
        Some(path) => Some(std::fs::File::create(path).map_err(|e| file("the file cannot be written", path, &e))?),
        None => None,
    };
    let client = client(globals)?;
    let mut batches = Batches { reader: source, next: 1, failed: None };
    while batches.next <= skip {
        let mut line = String::new();
        if batches.reader.read_line(&mut line).map_err(|e| file("the file cannot be read", path, &e))? == 0 {
            break;
        }
        batches.next += 1;
    }
    let mut total = Total::default();
    let mut first_refused: Option<(u64, String)> = None;
    {
        let calls = batches.by_ref().map(|batch| send(&client, path, batch, dry_run));
        // In order, so that what was told as done is done up to there.
        let mut answers = stream::iter(calls).buffered(AT_ONCE);
        while let Some(answer) = answers.next().await {
            let (batch, told) = answer.map_err(|mut e| {
                e.fix = format!(
                    "repeat with --skip {}, or from the start: what is there already is left alone",
                    skip + total.lines
                );
                e
            })?;
            for one in told["rejected"].as_array().into_iter().flatten() {
                let at = one["line"].as_u64().unwrap_or(0);
                let why = one["why"].as_str().unwrap_or("?");
                if let (Some(out), Some(text)) = (&mut refused, batch.lines.get(at as usize)) {
                    let line = json!({"line": batch.first + at, "why": why, "text": text});
                    writeln!(out, "{line}")
                        .map_err(|e| file("the file cannot be written", rejects.unwrap_or(path), &e))?;
                }
                first_refused.get_or_insert((batch.first + at, why.to_owned()));
                total.rejected += 1;
            }
            add(&mut total, &batch, &told);
            if globals.out().human() && total.lines.is_multiple_of(20_000) {
                output::progress(&format!(
                    "{} lines, {} written, {} rejected",
                    skip + total.lines,
                    total.written,
                    total.rejected
                ));
            }
        }
    }
    if let Some(e) = batches.failed {
        return Err(file("the file cannot be read", path, &e));
    }
    tell(globals, path, &total, first_refused, dry_run);
    Ok(())
}

async fn send(client: &AdminClient, path: &Path, batch: Batch, dry_run: bool) -> Result<(Batch, Value), Failure> {
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let source = format!("{name} from line {}", batch.first);
    let body = json!({"lines": batch.lines, "source": source});
    let told = client.post(&format!("/v1/people?dry_run={dry_run}"), &body).await?;
    Ok((batch, told))
}

fn add(total: &mut Total, batch: &Batch, told: &Value) {
    let number = |name: &str| told[name].as_u64().unwrap_or(0);
    total.lines += batch.lines.len() as u64;
    total.good += number("good");
    total.written += number("written");
    total.same += number("same");
}

fn tell(globals: &Globals, path: &Path, total: &Total, first: Option<(u64, String)>, dry_run: bool) {
    let value = json!({
        "file": path, "lines": total.lines, "good": total.good, "written": total.written, "same": total.same,
        "rejected": total.rejected, "dry_run": dry_run,
    });
    globals.out().one("Import", &value, "lines", || {
        let would = if dry_run { "dry run: " } else { "" };
        let refused = match &first {
            Some((line, why)) => format!("; the first rejected is line {line}: {why}"),
            None => String::new(),
        };
        format!(
            "{would}{} lines: {} good, {} written, {} there already, {} rejected{refused}",
            total.lines, total.good, total.written, total.same, total.rejected
        )
    });
}
