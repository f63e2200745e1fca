//! `spine import people`: a nation in from a file, a person a line, in bounded memory. What is refused goes to a file of its own with the
//! reason; an import that was broken off goes on where it was; where the site has no time it waits. Live traffic goes first:
//! people come in small commands, few at a time, and what is full or has no leader is asked again later.

mod lines;

use super::{
    args::Globals,
    client,
    failure::{Done, Failure, exit, failure, file},
    output,
};
use crate::ops::{admin_client::AdminClient, codes};
use futures_util::{StreamExt, stream};
use lines::{BATCH_LINES, Batch, Batches, Place};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{
    fs::{File, OpenOptions},
    io::{BufReader, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// Batches of lines under way.
const AT_ONCE: usize = 4;
/// A node that cannot be reached or has no time is asked again after so long, for so long.
const PAUSE: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(300);
/// Between two words on how far it is.
const TELL: Duration = Duration::from_secs(2);
/// Refused lines told one by one.
const SHOWN: u64 = 20;

#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  spine import people people.ndjson\n  spine import people nation.ndjson --progress nation.state"
)]
pub struct Args {
    #[command(subcommand)]
    pub what: What,
}

#[derive(clap::Subcommand, Debug)]
pub enum What {
    /// Load people from a file, a JSON object a line; safe to repeat
    People(People),
}

#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  spine import people people.ndjson --dry-run\n  \
    spine generate people --count 1000 | spine import people -\n  \
    spine import people nation.ndjson --progress n.state --rejects bad")]
pub struct People {
    /// File, or - for stdin
    pub file: PathBuf,
    /// Where refused lines go, each with the reason (else FILE.rejects)
    #[arg(long, value_name = "FILE")]
    pub rejects: Option<PathBuf>,
    /// Keeps how far it is there, and goes on where that says
    #[arg(long, value_name = "FILE")]
    pub progress: Option<PathBuf>,
    /// Leave out the first lines
    #[arg(long, value_name = "LINES", default_value_t = 0, conflicts_with = "progress")]
    pub skip: u64,
    /// At most so many people a second
    #[arg(long, value_name = "PEOPLE", value_parser = clap::value_parser!(u32).range(1..))]
    pub rate: Option<u32>,
    /// Check all lines; change nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// How far an import is: what `--progress` keeps. All before `place` is in or was refused.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Reached {
    file: PathBuf,
    #[serde(flatten)]
    place: Place,
    good: u64,
    written: u64,
    same: u64,
    kept: u64,
    rejected: u64,
}

pub async fn run(globals: &Globals, what: What) -> Done {
    let What::People(args) = what;
    people(globals, &args).await
}

/// Loads a file of people, and tells on stdout what became of it.
pub async fn people(globals: &Globals, args: &People) -> Done {
    let client = client(globals)?;
    let reached = load(&client, args, |reached| {
        if globals.out().human() {
            let Reached { place, written, rejected, .. } = reached;
            let lines = place.behind();
            output::progress(&format!("{lines} lines, {written} written, {rejected} rejected"));
        }
    })
    .await?;
    tell(globals, args, &reached);
    if reached.rejected > 0 {
        let what = format!("{} of {} lines were rejected", reached.rejected, reached.place.behind());
        let fix = "correct them and import them: what is in already stays as it is";
        let why = match rejects_path(args) {
            Some(path) if !args.dry_run => format!("{} says why, line by line", path.display()),
            _ => "see the lines above".into(),
        };
        return Err(failure(&codes::ADMIN_BAD_REQUEST, what, why, fix).with_exit(exit::REFUSED).after_a_report());
    }
    Ok(())
}

fn rejects_path(args: &People) -> Option<PathBuf> {
    match &args.rejects {
        Some(path) => Some(path.clone()),
        None if args.file.as_os_str() == "-" => None,
        None => Some(args.file.with_added_extension("rejects")),
    }
}

fn unread(path: &Path) -> impl Fn(std::io::Error) -> Failure {
    move |e| file("the file cannot be read", path, &e)
}

/// The lines behind what an earlier run has done, and how far that is.
fn open(args: &People) -> Result<(Batches, Reached), Failure> {
    let path = &args.file;
    let mut reached = Reached { file: path.clone(), ..Default::default() };
    if let Some(state) = args.progress.as_ref().filter(|state| state.exists()) {
        let text = std::fs::read(state).map_err(unread(state))?;
        reached = serde_json::from_slice(&text).map_err(|e| unread(state)(e.into()))?;
        if reached.file != *path {
            let why = format!("{} is about {}", state.display(), reached.file.display());
            let fix = "name the file that it is about, or another --progress";
            return Err(failure(&codes::CLI_USAGE, "the progress is that of another file", why, fix));
        }
    }
    let stdin = || Box::new(BufReader::new(std::io::stdin()));
    let opened = || File::open(path).and_then(|file| Ok((file.metadata()?.is_file(), file)));
    let batches = match path.as_os_str() == "-" {
        true => Batches::stream(stdin(), reached.place),
        false => opened().and_then(|(regular, file)| match regular {
            true => Batches::file(file, reached.place),
            false => Batches::stream(Box::new(BufReader::new(file)), reached.place),
        }),
    };
    let mut batches = batches.map_err(unread(path))?;
    reached.place = batches.leave_out(args.skip).map_err(unread(path))?;
    Ok((batches, reached))
}

/// Sends everything, in order: what was told as done is done up to there.
async fn load(client: &AdminClient, args: &People, tell: impl Fn(&Reached)) -> Result<Reached, Failure> {
    let (mut batches, mut reached) = open(args)?;
    let mut rejects = Rejects {
        path: rejects_path(args).filter(|_| !args.dry_run),
        file: None,
        again: reached.place != Place::default(),
    };
    let (begun, before) = (Instant::now(), reached.place.behind());
    let mut told = Instant::now();
    {
        let calls = batches.by_ref().map(|batch| send(client, args, batch));
        let mut answers = stream::iter(calls).buffered(AT_ONCE);
        while let Some(answer) = answers.next().await {
            let (batch, answer) = answer.map_err(|e| go_on(e, args, &reached))?;
            rejects.note(&batch, &answer, reached.rejected)?;
            add(&mut reached, &batch, &answer);
            if let Some(state) = args.progress.as_ref().filter(|_| !args.dry_run) {
                keep(state, &reached)?;
            }
            if told.elapsed() >= TELL {
                told = Instant::now();
                tell(&reached);
            }
            if let Some(rate) = args.rate {
                let due = Duration::from_secs_f64((reached.place.behind() - before) as f64 / f64::from(rate));
                tokio::time::sleep(due.saturating_sub(begun.elapsed())).await;
            }
        }
    }
    if let Some(e) = batches.failed {
        return Err(go_on(unread(&args.file)(e), args, &reached));
    }
    if let Some(state) = args.progress.as_ref().filter(|state| state.exists()) {
        std::fs::remove_file(state).map_err(|e| file("the file cannot be removed", state, &e))?;
    }
    Ok(reached)
}

/// Says how to go on.
fn go_on(mut e: Failure, args: &People, reached: &Reached) -> Failure {
    e.fix = match &args.progress {
        Some(_) => "repeat the command: it goes on where it was".into(),
        None => format!("repeat with --skip {}: what is there already is left alone", reached.place.lines),
    };
    e
}

/// A reader sees the old progress or the new one, never a part; what it says is in was acknowledged before.
fn keep(state: &Path, reached: &Reached) -> Done {
    let part = state.with_added_extension("part");
    let text = serde_json::to_vec(reached).unwrap_or_default();
    let kept = std::fs::write(&part, text).and_then(|()| std::fs::rename(&part, state));
    kept.map_err(|e| file("the file cannot be written", state, &e))
}

async fn send(client: &AdminClient, args: &People, batch: Batch) -> Result<(Batch, Value), Failure> {
    let name = args.file.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let first = batch.lines.first().map_or(0, |(line, _)| *line);
    let source = format!("{name}, {} lines from line {first} on", batch.lines.len());
    let lines: Vec<&String> = batch.lines.iter().map(|(_, text)| text).collect();
    let body = json!({"lines": lines, "source": source, "request": uuid::Uuid::new_v4().to_string()});
    let answer = patiently(client, &format!("/v1/people?dry_run={}", args.dry_run), &body).await?;
    Ok((batch, answer))
}

/// A call that may be carried out twice. While the node has no time or cannot be reached, it is asked again.
pub async fn patiently(client: &AdminClient, path: &str, body: &Value) -> Result<Value, Failure> {
    let begun = Instant::now();
    loop {
        match client.post(path, body).await {
            Err(e) if e.exit == exit::UNREACHABLE && begun.elapsed() < PATIENCE => tokio::time::sleep(PAUSE).await,
            told => return told,
        }
    }
}

fn add(reached: &mut Reached, batch: &Batch, told: &Value) {
    let number = |name: &str| told[name].as_u64().unwrap_or(0);
    reached.place = batch.until;
    reached.good += number("good");
    reached.written += number("written");
    reached.same += number("same");
    reached.kept += number("kept");
    reached.rejected += told["rejected"].as_array().map_or(0, |list| list.len() as u64);
}

/// Where refused lines go: made with the first of them, readable by its owner alone, since whole people stand in it.
struct Rejects {
    path: Option<PathBuf>,
    file: Option<File>,
    /// Goes on with the file of an earlier run.
    again: bool,
}

impl Rejects {
    fn note(&mut self, batch: &Batch, told: &Value, mut before: u64) -> Done {
        for one in told["rejected"].as_array().into_iter().flatten() {
            let at = one["line"].as_u64().unwrap_or(0);
            let why = one["why"].as_str().unwrap_or("?");
            before += 1;
            let Some((line, text)) = batch.lines.get(at as usize) else { continue };
            if before <= SHOWN {
                output::progress(&format!("line {line}: {why}"));
            }
            self.write(&json!({"line": line, "why": why, "text": text}))?;
        }
        // Not refused, and yet not written: whoever migrates wants to see which.
        for one in told["left"].as_array().into_iter().flatten() {
            let Some((line, text)) = batch.lines.get(one["line"].as_u64().unwrap_or(0) as usize) else { continue };
            self.write(&json!({"line": line, "why": one["why"], "text": text}))?;
        }
        Ok(())
    }

    fn write(&mut self, line: &Value) -> Done {
        let Some(path) = &self.path else { return Ok(()) };
        let unwritten = |e: std::io::Error| file("the file cannot be written", path, &e);
        let out = match &mut self.file {
            Some(out) => out,
            none => {
                let mut options = OpenOptions::new();
                options.create(true).mode(0o600);
                let options = if self.again { options.append(true) } else { options.write(true).truncate(true) };
                none.insert(options.open(path).map_err(unwritten)?)
            }
        };
        writeln!(out, "{line}").map_err(unwritten)
    }
}

fn tell(globals: &Globals, args: &People, reached: &Reached) {
    let Reached { place, good, written, same, kept, rejected, .. } = reached;
    let lines = place.behind();
    let value = json!({
        "file": args.file, "lines": lines, "good": good, "written": written, "same": same, "kept": kept,
        "rejected": rejected, "dry_run": args.dry_run,
    });
    globals.out().one("Import", &value, "lines", || {
        let would = if args.dry_run { "dry run: " } else { "" };
        let mut text =
            format!("{would}{lines} lines: {good} good, {written} written, {same} there already, {rejected} rejected");
        if *kept > 0 {
            text.push_str(&format!(
                "; {kept} were left alone, because they are others here, at that version or a later one"
            ));
        }
        text
    });
}

/// Loads what is at hand, for the demo: people written, or there already.
pub async fn load_text(client: &AdminClient, source: &str, lines: Vec<String>) -> Result<(), Failure> {
    for (n, batch) in lines.chunks(BATCH_LINES).enumerate() {
        let body = json!({"lines": batch, "source": format!("{source} from line {}", n * BATCH_LINES + 1)});
        let told = patiently(client, "/v1/people", &body).await?;
        if let Some(first) = told["rejected"].as_array().and_then(|list| list.first()) {
            let why = first["why"].as_str().unwrap_or("?").to_owned();
            return Err(failure(&codes::CLI_DEMO, format!("{source} cannot be loaded"), why, "report this"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn people(file: &Path, progress: Option<PathBuf>) -> People {
        People { file: file.to_owned(), rejects: None, progress, skip: 0, rate: None, dry_run: false }
    }

    #[test]
    fn an_import_goes_on_behind_what_is_in() {
        let dir = tempfile::tempdir().unwrap();
        let (file, state) = (dir.path().join("people"), dir.path().join("state"));
        std::fs::write(&file, "{\"one\":1}\n\n{\"zwei\":\"ü\"}\r\n{\"three\":3}").unwrap();
        let (mut batches, reached) = open(&people(&file, Some(state.clone()))).unwrap();
        let batch = batches.next().unwrap();
        assert_eq!((batch.lines.len(), batch.until), (4, Place { lines: 4, offset: 37, ..Default::default() }));
        assert_eq!(batch.lines[2], (3, "{\"zwei\":\"ü\"}".to_owned()));
        keep(&state, &Reached { place: Place { ahead: 2, ..reached.place }, ..reached }).unwrap();
        assert!(open(&people(&file, Some(state.clone()))).is_err(), "the state of other lines");
        let earlier = json!({"file": file, "lines": 2, "offset": 11, "good": 2, "written": 2, "same": 0, "kept": 0, "rejected": 0});
        std::fs::write(&state, earlier.to_string()).unwrap();
        let (mut batches, _) = open(&people(&file, Some(state.clone()))).unwrap();
        assert_eq!(batches.next().unwrap().lines[0].0, 3, "what a release before kept");
        assert!(open(&people(&dir.path().join("other"), Some(state))).is_err(), "the state of another file");
        let (mut batches, _) = open(&People { skip: 3, ..people(&file, None) }).unwrap();
        assert_eq!(batches.next().unwrap().lines, [(4, "{\"three\":3}".to_owned())]);
    }

    #[test]
    fn refused_lines_are_kept_for_their_owner_only() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("people.rejects");
        let mut rejects = Rejects { path: Some(path.clone()), file: None, again: false };
        let batch = Batch { lines: vec![(14, "a".into()), (12, "b".into())], ..Default::default() };
        rejects.note(&batch, &json!({"rejected": [{"line": 1, "why": "no JSON"}]}), 100).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let line: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(line, json!({"line": 12, "why": "no JSON", "text": "b"}));
    }
}
