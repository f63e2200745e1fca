//! What a running node tells of its configuration, so that a command on the same machine checks what the node runs with
//! and not what the machine's usual folder happens to hold.
//!
//! Values travel as they would stand in a file; paths are absolute, because the asking command stands elsewhere.

use super::{ConfigError, DEFAULT_FILE, Layers, Settings, Sources, keys, value::Value};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The configuration of a running node: where it came from, and every value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// The main file, absolute; drop-ins stand in `conf.d` beside it.
    pub file: PathBuf,
    /// Whether the main file was there.
    pub read: bool,
    /// `--set` of the command that started the node.
    pub set: Vec<String>,
    pub values: Vec<KeyValue>,
}

/// One key with its value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyValue {
    pub key: String,
    /// As TOML.
    pub value: String,
    /// `default`, `--set`, or file and line.
    pub origin: String,
}

impl Running {
    /// Of the layers that a node starts with.
    pub fn of(layers: &Layers) -> Running {
        let (file, read) = layers.main_file();
        Running {
            file: absolute(file),
            read,
            set: layers.assignments().iter().map(|set| rooted(set)).collect(),
            values: stated(layers),
        }
    }

    /// What the node would read if it started now.
    pub fn sources(&self) -> Sources {
        Sources { file: Some(self.file.clone()), set: self.set.clone(), optional: self.file == Path::new(DEFAULT_FILE) }
    }

    /// What the node runs with. A key that only another release knows is passed over.
    pub fn settings(&self) -> Result<Settings, ConfigError> {
        let mut layers = Layers::defaults();
        for told in self.values.iter().filter(|told| keys::find(&told.key).is_some()) {
            layers.add_file(Path::new(&told.origin), &format!("{} = {}\n", told.key, told.value))?;
        }
        Settings::from_layers(&layers)
    }

    /// Keys whose values in `layers` are others than the node runs with.
    pub fn differing(&self, layers: &Layers) -> Vec<String> {
        let other = |now: &KeyValue| self.values.iter().any(|told| told.key == now.key && told.value != now.value);
        stated(layers).into_iter().filter(other).map(|now| now.key).collect()
    }
}

fn stated(layers: &Layers) -> Vec<KeyValue> {
    let one = |(key, value, origin): (&'static keys::Key, &Value, &super::Origin)| {
        let value = match value {
            Value::Path(path) if !path.as_os_str().is_empty() => Value::Path(absolute(path)),
            other => other.clone(),
        };
        KeyValue { key: key.name.into(), value: value.to_string(), origin: origin.to_string() }
    };
    layers.all().map(one).collect()
}

/// An assignment whose path, if it holds one, means the same from any folder.
fn rooted(assignment: &str) -> String {
    let path = assignment.split_once('=').filter(|(name, path)| {
        keys::find(name.trim()).is_some_and(|key| key.kind == super::value::Kind::Path) && !path.trim().is_empty()
    });
    match path {
        Some((name, path)) => format!("{name}={}", absolute(Path::new(path.trim().trim_matches('"'))).display()),
        None => assignment.to_owned(),
    }
}

/// A path that cannot be made absolute (the working folder is gone) stays as it is.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_node_tells_makes_the_same_settings_elsewhere() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("spine.toml");
        std::fs::write(&file, "[node]\nnumber = 3\n[peer]\nadvertise = \"10.0.0.3:1\"\nnodes = [\"1=10.0.0.1:1\"]\n")
            .unwrap();
        let set = vec!["node.data=here".to_owned(), "mesh.inbox_expiry=2d".into()];
        let sources = Sources { file: Some(file.clone()), set, optional: false };
        let told = Running::of(&sources.read().unwrap());
        let told: Running = serde_json::from_str(&serde_json::to_string(&told).unwrap()).unwrap();
        assert_eq!((told.file.as_path(), told.read), (file.as_path(), true));
        let settings = told.settings().unwrap();
        assert_eq!(settings.node.number, 3);
        assert_eq!(settings.node.data, std::env::current_dir().unwrap().join("here"));
        assert_eq!(settings.peer.nodes.len(), 1);
        assert_eq!(settings.supplier.crl, None);
        let now = told.sources().read().unwrap();
        assert_eq!(told.differing(&now), Vec::<String>::new());
        std::fs::write(&file, "[node]\nnumber = 4\n[peer]\nadvertise = \"10.0.0.3:1\"\nnodes = [\"1=10.0.0.1:1\"]\n")
            .unwrap();
        assert_eq!(told.differing(&told.sources().read().unwrap()), ["node.number"]);
    }
}
