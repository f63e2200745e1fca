//! `spine support-bundle`: one file with what somebody else needs to help: versions, configuration, metrics, status, log, doctor, machine.
//!
//! Patient data cannot enter by construction (P10): of a node it takes the metrics page, whose labels come from closed sets, the status and
//! cluster documents, which hold numbers and nodes' names, and lines of the operating log, in which there are none by rule and which are
//! fenced once more here (`log`); of files it takes names and sizes. It reads no row, no body, no trail, and asks for none. What cannot be
//! had is named in `INDEX` and stops nothing.

mod host;
mod log;
mod tar;

use self::tar::Tar;
use super::{
    args::Globals,
    doctor,
    failure::{Done, Failure, exit, failure, file},
    output,
};
use crate::{
    config::{Running, Settings},
    ops::{admin_client::AdminClient, codes},
};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  spine support-bundle\n  spine support-bundle --output-file /tmp/for-support.tar.gz\n\n\
                  It holds no patient data and no secrets. Where the node is down it holds what\n\
                  the machine tells, and the command exits with 3."
)]
pub struct Args {
    /// Where to write (else spine-support-NAME-TIME.tar.gz here)
    #[arg(long, value_name = "FILE")]
    output_file: Option<PathBuf>,
}

/// One file of the bundle, or why it could not be had.
struct Part {
    name: &'static str,
    what: &'static str,
    content: Result<Vec<u8>, String>,
    /// What else is to be said of it.
    note: String,
}

impl Part {
    fn new(name: &'static str, what: &'static str, text: String) -> Part {
        Part { name, what, content: Ok(host::redacted(&text).into_bytes()), note: String::new() }
    }
    fn missing(name: &'static str, what: &'static str, why: String) -> Part {
        Part { name, what, content: Err(why), note: String::new() }
    }
    fn of(name: &'static str, what: &'static str, told: Result<Value, Failure>) -> Part {
        match told {
            Ok(value) => Part::new(name, what, serde_json::to_string_pretty(&value).unwrap_or_default() + "\n"),
            Err(e) => Part::missing(name, what, e.why),
        }
    }

    fn told(&self) -> Value {
        let (bytes, why) = match &self.content {
            Ok(content) => (json!(content.len()), ""),
            Err(why) => (Value::Null, why.as_str()),
        };
        let note = if why.is_empty() { self.note.clone() } else { format!("not had: {why}") };
        json!({"file": self.name, "bytes": bytes, "what": self.what, "note": note})
    }
}

pub async fn run(globals: &Globals, args: Args) -> Done {
    let running = globals.running().await;
    let settings = match &running {
        Ok(running) => running.settings().ok(),
        Err(_) => globals.settings().ok(),
    };
    let socket = globals.socket.clone().or_else(|| settings.as_ref().map(|settings| settings.admin_socket.clone()));
    let client = socket.map(|path| AdminClient::new(&path));
    let (of_node, down) = match &client {
        Some(client) => node(client).await,
        None => {
            (vec![], Some("the configuration cannot be read, so that nobody knows where the node listens".to_owned()))
        }
    };
    let pid = match &client {
        Some(client) if down.is_none() => client.pid().await,
        _ => None,
    };
    let mut parts = vec![configuration(globals, &running)];
    parts.extend(host::parts(settings.as_ref(), pid));
    parts.push(log::part(pid));
    let findings = doctor::examine(globals).await;
    let findings = findings.map(|all| json!(all.iter().map(doctor::Finding::told).collect::<Vec<_>>()));
    parts.push(Part::of("doctor.json", "what spine doctor finds", findings));
    parts.extend(of_node);
    let at = jiff::Timestamp::now();
    let folder = format!("spine-support-{}-{}", name(settings.as_ref()), at.strftime("%Y%m%dT%H%M%SZ"));
    let path = args.output_file.unwrap_or_else(|| format!("{folder}.tar.gz").into());
    write(&path, &folder, at, &parts)?;
    tell(globals, &path, &parts);
    let Some(why) = down else { return Ok(()) };
    let fix = "send it as it is; `systemctl status spine` says why the node does not run";
    let failed = failure(&codes::CLI_DEGRADED, "the bundle holds nothing of the node, only of the machine", why, fix);
    Err(failed.with_exit(exit::DEGRADED).after_a_report())
}

/// The node's name, as far as a file's name can hold it.
fn name(settings: Option<&Settings>) -> String {
    let name = settings.map(|settings| settings.node.name.as_str()).unwrap_or_default();
    let plain: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(40).collect();
    if plain.is_empty() { "node".into() } else { plain }
}

/// What the node itself tells, and why it tells nothing.
async fn node(client: &AdminClient) -> (Vec<Part>, Option<String>) {
    let version = client.text("/version").await;
    let down = version.as_ref().err().map(|e| e.why.clone());
    let text = |name, what, told: Result<(bool, String), Failure>| match told {
        Ok((_, text)) => Part::new(name, what, text),
        Err(e) => Part::missing(name, what, e.why),
    };
    let parts = vec![
        text("node-version.json", "version and build of the running program", version),
        text("readyz.txt", "the probe that says whether it takes traffic", client.text("/readyz?verbose").await),
        text("metrics.txt", "the metrics page", client.text("/metrics").await),
        Part::of("status.json", "spine status", client.get("/v1/status").await.map(without_messages)),
        Part::of("cluster.json", "spine cluster status", client.get("/v1/cluster").await),
    ];
    (parts, down)
}

/// Lost bodies are told with the messages and mailboxes that they are of: here their number is enough.
fn without_messages(mut status: Value) -> Value {
    let lost = status["damage"]["lost"].as_array().map_or(0, Vec::len);
    if let Some(damage) = status.get_mut("damage") {
        damage["lost"] = json!(lost);
    }
    if let Some(troubles) = status.get_mut("troubles").and_then(Value::as_array_mut) {
        troubles.retain(|line| !line.as_str().is_some_and(|line| line.contains(codes::BODIES_LOST.code)));
    }
    status
}

fn configuration(globals: &Globals, running: &Result<Running, Failure>) -> Part {
    let (name, what) = ("config.txt", "the configuration, with where each value comes from; no secrets");
    let told = match running {
        Ok(running) => Ok(running.clone()),
        Err(_) => globals.sources().read().map(|layers| Running::of(&layers)),
    };
    match told {
        Err(e) => Part::missing(name, what, format!("{}: {}", e.place, e.problem)),
        Ok(told) => {
            let whose = if running.is_ok() { "the node runs with" } else { "a node would start with" };
            let mut part = Part::new(name, what, host::config(&told.values));
            part.note = format!("what {whose}, from {}", told.file.display());
            part
        }
    }
}

fn write(path: &Path, folder: &str, at: jiff::Timestamp, parts: &[Part]) -> Done {
    let trouble = |e: std::io::Error| file("the bundle cannot be written", path, &e);
    let exists = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::AlreadyExists => {
            let why = format!("{} is there, and nothing is overwritten", path.display());
            let fix = "name another file with --output-file, or move that one away";
            failure(&codes::CLI_FILE, "the bundle is not written", why, fix).with_exit(exit::REFUSED)
        }
        _ => trouble(e),
    };
    let mut tar = Tar::create(path, u64::try_from(at.as_second()).unwrap_or(0)).map_err(exists)?;
    let mut fill = || -> std::io::Result<()> {
        tar.add(&format!("{folder}/INDEX"), index(at, parts).as_bytes())?;
        for part in parts {
            if let Ok(content) = &part.content {
                tar.add(&format!("{folder}/{}", part.name), content)?;
            }
        }
        Ok(())
    };
    fill().and_then(|()| tar.finish()).map_err(trouble)
}

fn index(at: jiff::Timestamp, parts: &[Part]) -> String {
    let mut lines = vec![
        format!("Support bundle of spine, made at {at:.0}."),
        "It holds no patient data and no secrets: no row, body or trail is read for it.".into(),
        String::new(),
    ];
    lines.extend(parts.iter().map(|part| {
        let told = part.told();
        format!("{:<18} {:>10}  {}", part.name, output::text(&told, "bytes"), said(&told))
    }));
    lines.join("\n") + "\n"
}

/// What a part is, with what else is to be said of it.
fn said(told: &Value) -> String {
    match output::text(told, "note").as_str() {
        "-" => output::text(told, "what"),
        note => format!("{} ({note})", output::text(told, "what")),
    }
}

fn tell(globals: &Globals, path: &Path, parts: &[Part]) {
    let items: Vec<Value> = parts.iter().map(Part::told).collect();
    let value = json!({"file": path, "parts": items});
    globals.out().one("SupportBundle", &value, "file", || {
        let mut table = output::table(["file", "bytes", "what"].into_iter());
        for item in &items {
            table.add_row([output::text(item, "file"), output::text(item, "bytes"), said(item)]);
        }
        format!("{}\n\n{}", output::render(&table), path.display())
    });
    globals.out().next(&format!("look it through, then send it: tar -xzOf {} | less", path.display()));
}
