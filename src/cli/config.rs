//! `spine config`: check files, show effective values with their origins, and have the running node take them.

use super::{
    args::Globals,
    failure::{self, Done, failure},
    output,
};
use crate::{
    config::{Settings, Sources, sample},
    ops::{admin_client::AdminClient, codes},
};
use serde_json::json;
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  spine config\n  spine config check --file /tmp/50-new.toml")]
pub struct Args {
    #[command(subcommand)]
    pub verb: Option<Verb>,
}

#[derive(clap::Subcommand, Debug)]
pub enum Verb {
    /// Read every file and say whether a node could run with them
    #[command(after_help = "Examples:\n  spine config check\n  spine config check --file conf.d/50-ansible.toml")]
    Check {
        /// Check this file as a drop-in on top of the others
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Show where the files say otherwise than the node runs with
    #[command(after_help = "Examples:\n  spine config diff\n  spine config diff --output json")]
    Diff,
    /// Have the running node take the files, all or nothing
    ///
    /// Certificates and revocation lists are read again, too. Files that cannot be used leave the old ones in force.
    #[command(after_help = "Examples:\n  spine config reload\n  spine config reload --wait")]
    Reload {
        /// Wait for a node that is still starting
        #[arg(long)]
        wait: bool,
    },
    /// Show every key's value and where it came from
    #[command(after_help = "Examples:\n  spine config show\n  spine config show mesh --output json")]
    Show {
        /// Only keys that start with this
        prefix: Option<String>,
        /// Only keys that differ from their defaults
        #[arg(long)]
        changed: bool,
    },
}

/// Secrets need no hiding here: they live in files, and keys only name the files.
pub async fn run(globals: &Globals, verb: Option<Verb>) -> Done {
    match verb.unwrap_or(Verb::Show { prefix: None, changed: false }) {
        Verb::Check { file } => check(globals, file).await,
        Verb::Diff => diff(globals).await,
        Verb::Reload { wait } => reload(globals, wait).await,
        Verb::Show { prefix, changed } => show(globals, prefix.as_deref().unwrap_or(""), changed).await,
    }
}

async fn check(globals: &Globals, file: Option<PathBuf>) -> Done {
    let sources = globals.checked_sources().await?;
    let mut layers = sources.read().map_err(failure::config)?;
    if let Some(file) = &file {
        let text = std::fs::read_to_string(file).map_err(|e| failure::file("the file cannot be read", file, &e))?;
        layers.add_file(file, &text).map_err(failure::config)?;
    }
    let settings = Settings::from_layers(&layers).map_err(failure::config)?;
    for warning in warnings(&settings) {
        output::progress(&format!("warning: {warning}"));
    }
    let changed = layers.all().filter(|(.., origin)| origin.to_string() != "default").count();
    let value = json!({"ok": true, "file": main_file(&sources), "keys_set": changed});
    if !globals.quiet {
        globals.out().one("ConfigCheck", &value, "ok", || format!("configuration ok: {changed} keys set"));
    }
    Ok(())
}

/// Key by key, what the node runs with and what it would read now.
async fn diff(globals: &Globals) -> Done {
    let running = globals.running().await?;
    let layers = running.sources().read().map_err(failure::config)?;
    let differing = running.differing(&layers);
    let mut items = vec![];
    for (key, value, origin) in layers.all().filter(|(key, ..)| differing.iter().any(|name| name == key.name)) {
        let now = running.values.iter().find(|told| told.key == key.name);
        items.push(json!({
            "key": key.name, "running": now.map(|told| told.value.as_str()), "files": value.to_string(),
            "origin": origin.to_string(), "takes": sample::takes(key),
        }));
    }
    let columns = [("key", "key"), ("running", "running"), ("files", "files"), ("from", "origin"), ("takes", "takes")];
    globals.out().list("ConfigDiff", &items, &columns, "key");
    match items.iter().any(|item| item["takes"] == "restart") {
        _ if items.is_empty() => globals.out().next("nothing: the node runs with what the files say"),
        true => globals.out().next("`spine config reload` for live keys, `spine node restart` for the rest"),
        false => globals.out().next("`spine config reload`"),
    }
    Ok(())
}

/// The package's, which is the key's default.
const ADMIN_SOCKET: &str = "/run/spine/admin.sock";
/// How long `--wait` waits for a node that is still starting, and how often it looks.
const STARTING: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(250);

async fn reload(globals: &Globals, wait: bool) -> Done {
    let client = super::client(globals).or_else(|unusable| {
        // Files that cannot be used are the node's business, too: its log and metrics have to say that they were refused.
        let usual = Path::new(ADMIN_SOCKET);
        if usual.exists() { Ok(AdminClient::new(usual)) } else { Err(unusable) }
    })?;
    let deadline = tokio::time::Instant::now() + STARTING;
    let told = loop {
        match client.post("/v1/config/reload", &json!({})).await {
            Err(e) if wait && e.exit == failure::exit::UNREACHABLE && tokio::time::Instant::now() < deadline => {
                tokio::time::sleep(LOOK).await;
            }
            told => break told?,
        }
    };
    let keys = |name: &str| {
        let all = told[name].as_array().into_iter().flatten().filter_map(serde_json::Value::as_str);
        all.collect::<Vec<_>>().join(", ")
    };
    let (taken, waiting) = (keys("taken"), keys("waiting"));
    globals.out().one("ConfigReload", &told, "taken", || {
        let mut lines = vec!["certificates and revocation lists were read again".to_owned()];
        lines.push(if taken.is_empty() { "no live key has changed".into() } else { format!("in force: {taken}") });
        if !waiting.is_empty() {
            lines.push(format!("wait for a restart: {waiting}"));
        }
        lines.join("\n")
    });
    if !waiting.is_empty() {
        globals.out().next("`spine node restart` when it suits the site");
    }
    Ok(())
}

/// Users that packages make for daemons, as Debian numbers them.
const SYSTEM_USERS: std::ops::Range<u32> = 1..1_000;

/// Things that are legal and probably not meant.
fn warnings(settings: &Settings) -> Vec<String> {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let daemon = std::fs::metadata(&settings.node.data).map_or(0, |meta| meta.uid());
    let secrets = [&settings.supplier.key, &settings.peer.key, &settings.peer.ca_key, &settings.mesh.shared_key_file];
    let mut out = vec![];
    for path in secrets {
        let Ok(meta) = std::fs::metadata(path) else { continue };
        if meta.permissions().mode() & 0o004 != 0 {
            out.push(format!("{} can be read by everyone; chmod 0640 it", path.display()));
        }
        // The daemon may read its keys, not write them. Where a person or root runs it, there is nobody to part from.
        if SYSTEM_USERS.contains(&daemon) && meta.uid() == daemon {
            out.push(format!("{} belongs to the daemon, which could change it; chown root it", path.display()));
        }
    }
    out
}

fn main_file(sources: &Sources) -> String {
    sources.main_file().0.display().to_string()
}

async fn show(globals: &Globals, prefix: &str, changed: bool) -> Done {
    let layers = globals.checked_sources().await?.read().map_err(failure::config)?;
    let mut items = vec![];
    for (key, value, origin) in layers.all() {
        let origin = origin.to_string();
        if key.name.starts_with(prefix) && !(changed && origin == "default") {
            items.push(json!({
                "key": key.name, "value": value.to_string(), "origin": origin,
                "takes": sample::takes(key), "default": sample::default(key), "says": key.says,
            }));
        }
    }
    if items.is_empty() && !prefix.is_empty() && !changed {
        let why = format!("no key starts with {prefix}");
        return Err(failure(
            &codes::CLI_NOT_FOUND,
            "there is no such key",
            why,
            "run `spine config show` for all keys",
        ));
    }
    globals.out().list("ConfigList", &items, &[("key", "key"), ("value", "value"), ("from", "origin")], "key");
    Ok(())
}
