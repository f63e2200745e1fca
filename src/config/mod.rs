//! What the configuration files say ([`Layers`]), and what the program uses ([`Settings`]): two types, so that every
//! complaint about a file is made, with file and line, before anything is opened.
//!
//! [`keys`] is the one list of keys: sample file, checks, `spine config show` and the manual come out of it.
//! Keeps rule 2 of operations.md: a bad configuration never replaces a good one, and nothing in a file is ignored.

pub mod backup;
pub mod eps;
pub mod keys;
pub mod layers;
pub mod pds;
pub mod running;
pub mod sample;
pub mod settings;
pub mod units;
pub mod upstream;
pub mod value;

pub use layers::{Layers, Origin};
pub use running::{KeyValue, Running};
pub use settings::Settings;

use std::path::{Path, PathBuf};

/// Where the package puts the configuration.
pub const DEFAULT_FILE: &str = "/etc/spine/spine.toml";

/// Why a configuration cannot be used. `place` is `file:line`, or what else the value came from.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct ConfigError {
    pub place: String,
    pub problem: String,
    /// What to do about it, one sentence.
    pub fix: String,
}

impl ConfigError {
    pub fn new(place: impl Into<String>, problem: impl Into<String>, fix: impl Into<String>) -> Self {
        ConfigError { place: place.into(), problem: problem.into(), fix: fix.into() }
    }
}

/// Which files and overrides make the configuration.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The main file. `None`: `SPINE_CONFIG`, else the package's, which may be missing.
    pub file: Option<PathBuf>,
    /// `KEY=VALUE`, strongest.
    pub set: Vec<String>,
    /// Whether the main file may be missing although it is named.
    pub optional: bool,
}

impl Sources {
    /// The main file, and whether its absence is an error.
    pub fn main_file(&self) -> (PathBuf, bool) {
        if let Some(file) = &self.file {
            return (file.clone(), !self.optional);
        }
        match std::env::var_os("SPINE_CONFIG") {
            Some(file) if !file.is_empty() => (file.into(), true),
            _ => (DEFAULT_FILE.into(), false),
        }
    }

    /// Reads and merges every layer: defaults, main file, `conf.d/*.toml` beside it in name order, `--set`.
    pub fn read(&self) -> Result<Layers, ConfigError> {
        let (file, must_exist) = self.main_file();
        let mut layers = Layers::defaults();
        layers.name_main_file(&file, file.exists());
        match std::fs::read_to_string(&file) {
            Ok(text) => layers.add_file(&file, &text)?,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && !must_exist => {}
            Err(e) => return Err(unreadable(&file, &e)),
        }
        for drop_in in drop_ins(&file)? {
            let text = std::fs::read_to_string(&drop_in).map_err(|e| unreadable(&drop_in, &e))?;
            layers.add_file(&drop_in, &text)?;
        }
        for assignment in &self.set {
            layers.add_assignment(assignment)?;
        }
        Ok(layers)
    }

    /// Reads, merges and checks: the settings a node would run with.
    pub fn load(&self) -> Result<Settings, ConfigError> {
        Settings::from_layers(&self.read()?)
    }
}

/// `conf.d/*.toml` beside the main file, in name order. A missing folder is no error.
fn drop_ins(file: &Path) -> Result<Vec<PathBuf>, ConfigError> {
    let folder = file.parent().unwrap_or(Path::new("")).join("conf.d");
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(vec![]),
        Err(e) => return Err(unreadable(&folder, &e)),
    };
    let mut files = vec![];
    for entry in entries {
        let path = entry.map_err(|e| unreadable(&folder, &e))?.path();
        if path.extension().is_some_and(|x| x == "toml") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn unreadable(path: &Path, error: &std::io::Error) -> ConfigError {
    ConfigError::new(
        path.display().to_string(),
        format!("cannot be read: {error}"),
        "give --config FILE, or make the file readable for the user that runs spine",
    )
}
