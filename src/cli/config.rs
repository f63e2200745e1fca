//! `spine config`: check files, and show effective values with their origins.

use super::{
    args::Globals,
    failure::{self, Done, failure},
    output,
};
use crate::{
    config::{Settings, Sources, sample},
    ops::codes,
};
use serde_json::json;
use std::path::PathBuf;

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

/// Things that are legal and probably not meant.
fn warnings(settings: &Settings) -> Vec<String> {
    use std::os::unix::fs::PermissionsExt;
    let secrets = [&settings.supplier.key, &settings.peer.key, &settings.peer.ca_key, &settings.mesh.shared_key_file];
    let mut out = vec![];
    for path in secrets {
        let Ok(meta) = std::fs::metadata(path) else { continue };
        if meta.permissions().mode() & 0o004 != 0 {
            out.push(format!("{} can be read by everyone; chmod 0640 it", path.display()));
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
