//! `spine export people`: everybody out to a file, a person a line in the order of the NHS numbers, in the form that
//! `spine import people` reads. Streaming: memory does not grow with the nation; all as of one moment; audited person by person.

use super::{
    args::Globals,
    client,
    failure::{Done, Failure, file},
    import_people::patiently,
    output,
};
use crate::ops::admin_client::AdminClient;
use serde_json::{Value, json};
use std::{
    collections::VecDeque,
    fs::OpenOptions,
    io::{BufWriter, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use tokio::task::JoinHandle;

/// Between two words on how far it is.
const TELL: Duration = Duration::from_secs(2);

#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  spine export people people.ndjson\n  spine export people - | zstd > nation.ndjson.zst"
)]
pub struct Args {
    #[command(subcommand)]
    pub what: What,
}

#[derive(clap::Subcommand, Debug)]
pub enum What {
    /// Write everybody to a file, a JSON object a line
    #[command(after_help = "Examples:\n  spine export people people.ndjson\n  spine export people - --quiet | wc -l")]
    People {
        /// File, or - for stdout
        file: PathBuf,
    },
}

pub async fn run(globals: &Globals, what: What) -> Done {
    let What::People { file: path } = what;
    let client = client(globals)?;
    let human = globals.out().human();
    if path.as_os_str() == "-" {
        let told = |e: &std::io::Error| file("the people cannot be written", Path::new("stdout"), e);
        let mut out = BufWriter::with_capacity(1 << 20, std::io::stdout().lock());
        return match write(&client, &mut out, human).await {
            Ok(_) => out.flush().map_err(|e| told(&e)),
            Err(Broken::Output(e)) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
            Err(Broken::Output(e)) => Err(told(&e)),
            Err(Broken::Site(e)) => Err(e),
        };
    }
    let unwritten = |e: std::io::Error| file("the file cannot be written", &path, &e);
    // Under its name stands a whole export or none; only its owner reads it.
    let part = path.with_added_extension("part");
    let opened = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&part);
    let mut out = BufWriter::with_capacity(1 << 20, opened.map_err(unwritten)?);
    let people = write(&client, &mut out, human).await.map_err(|e| match e {
        Broken::Output(e) => unwritten(e),
        Broken::Site(e) => e,
    })?;
    let written = out.into_inner().map_err(|e| unwritten(e.into_error()))?;
    written.sync_all().and_then(|()| std::fs::rename(&part, &path)).map_err(unwritten)?;
    let value = json!({"file": path, "people": people});
    globals.out().one("Export", &value, "people", || format!("{people} people in {}", path.display()));
    Ok(())
}

/// What went wrong: the place that the lines go to, or the site.
enum Broken {
    Output(std::io::Error),
    Site(Failure),
}

/// One partition's people, a page ahead of what was written.
struct Side {
    client: AdminClient,
    partition: u64,
    at: u64,
    lines: VecDeque<(u64, String)>,
    ahead: Option<JoinHandle<Result<Value, Failure>>>,
}

impl Side {
    fn ask(&mut self, after: u64) {
        let (client, body) = (self.client.clone(), json!({"partition": self.partition, "at": self.at, "after": after}));
        self.ahead = Some(tokio::spawn(async move { patiently(&client, "/v1/people/export", &body).await }));
    }

    /// Sees to it that a line is there, if there is one.
    async fn fill(&mut self) -> Result<(), Failure> {
        while self.lines.is_empty()
            && let Some(ahead) = self.ahead.take()
        {
            let Ok(told) = ahead.await else { return Ok(()) };
            let mut told = told?;
            if let Some(next) = told["next"].as_u64() {
                self.ask(next);
            }
            if let Value::Array(lines) = told["lines"].take() {
                let line = |mut line: Value| Some((line[0].as_u64()?, line[1].take().as_str()?.to_owned()));
                self.lines.extend(lines.into_iter().filter_map(line));
            }
        }
        Ok(())
    }
}

/// Writes everybody, the partitions' orders merged into one; how many they are.
async fn write(client: &AdminClient, out: &mut impl Write, human: bool) -> Result<u64, Broken> {
    let begun = patiently(client, "/v1/people/export", &json!({"begin": true})).await.map_err(Broken::Site)?;
    let mut sides = vec![];
    for one in begun["partitions"].as_array().into_iter().flatten() {
        let (partition, at) = (one["partition"].as_u64().unwrap_or(0), one["at"].as_u64().unwrap_or(0));
        let mut side = Side { client: client.clone(), partition, at, lines: VecDeque::new(), ahead: None };
        side.ask(0);
        sides.push(side);
    }
    let (mut people, mut told) = (0, Instant::now());
    loop {
        for side in &mut sides {
            side.fill().await.map_err(Broken::Site)?;
        }
        let first = sides.iter_mut().filter(|side| !side.lines.is_empty()).min_by_key(|side| side.lines[0].0);
        let Some((_, line)) = first.and_then(|side| side.lines.pop_front()) else { return Ok(people) };
        writeln!(out, "{line}").map_err(Broken::Output)?;
        people += 1;
        if human && told.elapsed() >= TELL {
            told = Instant::now();
            output::progress(&format!("{people} people"));
        }
    }
}
