//! What the files and `--set` say: the value of each key and where it came from. Later layers win, whole values.

use super::{
    ConfigError,
    keys::{self, KEYS, Key},
    value::Value,
};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    Default,
    File { path: String, line: usize },
    Set,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File { path, line } => write!(f, "{path}:{line}"),
            Origin::Set => f.write_str("--set"),
        }
    }
}

/// Every key's value and origin. Holds no secrets: those stay in files that keys only name.
#[derive(Clone, Debug)]
pub struct Layers {
    values: BTreeMap<&'static str, (Value, Origin)>,
    /// The main file, and whether it was there.
    main: (PathBuf, bool),
    /// Every `KEY=VALUE` that was laid on top.
    set: Vec<String>,
}

impl Layers {
    /// The defaults alone.
    pub fn defaults() -> Self {
        // A default that its kind cannot read fails the test of `keys`.
        let default = |key: &Key| key.kind.from_text(key.default).unwrap_or(Value::Text(key.default.into()));
        let values = KEYS.iter().map(|key| (key.name, (default(key), Origin::Default))).collect();
        Layers { values, main: (PathBuf::new(), false), set: vec![] }
    }

    /// Lays a file's values on top. Stops at the first mistake and names its line.
    pub fn add_file(&mut self, path: &Path, text: &str) -> Result<(), ConfigError> {
        let file = File { path: path.display().to_string(), text };
        let table = DeTable::parse(text).map_err(|e| {
            let place = file.place(e.span().map_or(0, |span| span.start));
            ConfigError::new(place, format!("is not TOML: {}", e.message()), "correct the line")
        })?;
        self.add_table(&file, "", table.get_ref())
    }

    /// Lays one `KEY=VALUE` on top.
    pub fn add_assignment(&mut self, assignment: &str) -> Result<(), ConfigError> {
        let place = format!("--set {assignment}");
        let Some((name, text)) = assignment.split_once('=') else {
            return Err(ConfigError::new(place, "has no '='", "write it as --set KEY=VALUE"));
        };
        let key = keys::find(name.trim()).ok_or_else(|| unknown(place.clone(), name.trim()))?;
        let text = text.trim();
        let bare = text.strip_prefix('"').and_then(|t| t.strip_suffix('"')).unwrap_or(text);
        let value = key.kind.from_text(bare).map_err(|found| mistyped(place, key, &found))?;
        self.values.insert(key.name, (value, Origin::Set));
        self.set.push(assignment.to_owned());
        Ok(())
    }

    /// Notes which file is the main one, and whether it is there.
    pub fn name_main_file(&mut self, path: &Path, exists: bool) {
        self.main = (path.to_owned(), exists);
    }

    pub fn main_file(&self) -> (&Path, bool) {
        (&self.main.0, self.main.1)
    }

    /// Every `KEY=VALUE` that was laid on top, in order.
    pub fn assignments(&self) -> &[String] {
        &self.set
    }

    /// A key's value and origin. `None` only for a name that is no key.
    pub fn get(&self, name: &str) -> Option<(&Value, &Origin)> {
        self.values.get(name).map(|(value, origin)| (value, origin))
    }

    /// All keys in the order of the sample file.
    pub fn all(&self) -> impl Iterator<Item = (&'static Key, &Value, &Origin)> {
        KEYS.iter().filter_map(|key| self.get(key.name).map(|(value, origin)| (key, value, origin)))
    }

    fn add_table(&mut self, file: &File<'_>, section: &str, table: &DeTable<'_>) -> Result<(), ConfigError> {
        for (part, value) in table {
            let name =
                if section.is_empty() { part.get_ref().to_string() } else { format!("{section}.{}", part.get_ref()) };
            match (keys::find(&name), value.get_ref()) {
                (Some(key), _) => self.add_value(file, key, part.span().start, value)?,
                (None, DeValue::Table(inner)) if is_section(&name) => self.add_table(file, &name, inner)?,
                (None, _) => return Err(unknown(file.place(part.span().start), &name)),
            }
        }
        Ok(())
    }

    fn add_value(
        &mut self,
        file: &File<'_>,
        key: &'static Key,
        at: usize,
        value: &Spanned<DeValue<'_>>,
    ) -> Result<(), ConfigError> {
        let line = file.line(at);
        let read = key.kind.from_toml(value.get_ref());
        let value = read.map_err(|found| mistyped(file.place(value.span().start), key, &found))?;
        self.values.insert(key.name, (value, Origin::File { path: file.path.clone(), line }));
        Ok(())
    }
}

struct File<'a> {
    path: String,
    text: &'a str,
}

impl File<'_> {
    fn line(&self, at: usize) -> usize {
        let before = &self.text.as_bytes()[..at.min(self.text.len())];
        1 + before.iter().filter(|b| **b == b'\n').count()
    }
    fn place(&self, at: usize) -> String {
        format!("{}:{}", self.path, self.line(at))
    }
}

fn is_section(name: &str) -> bool {
    KEYS.iter().any(|key| key.name.strip_prefix(name).is_some_and(|rest| rest.starts_with('.')))
}

fn unknown(place: String, name: &str) -> ConfigError {
    let fix = match keys::nearest(name) {
        Some(near) => format!("did you mean {near}?"),
        None => "run `spine config show` to see every key".into(),
    };
    ConfigError::new(place, format!("unknown key {name}"), fix)
}

fn mistyped(place: String, key: &Key, found: &str) -> ConfigError {
    ConfigError::new(place, format!("{} cannot be {found}", key.name), format!("write {}", key.kind.describe()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Layers, ConfigError> {
        let mut layers = Layers::defaults();
        layers.add_file(Path::new("spine.toml"), text)?;
        Ok(layers)
    }

    #[test]
    fn later_layers_win_and_every_value_knows_where_it_came_from() {
        let mut layers = read("[node]\nnumber = 2\n\n[mesh]\ninbox_expiry = \"2d\"\n").unwrap();
        layers.add_file(Path::new("conf.d/50.toml"), "mesh.inbox_expiry = \"3d\"").unwrap();
        layers.add_assignment("mesh.test_endpoints=true").unwrap();
        let origin = |name: &str| layers.get(name).unwrap().1.to_string();
        assert_eq!(origin("node.number"), "spine.toml:2");
        assert_eq!(origin("mesh.inbox_expiry"), "conf.d/50.toml:1");
        assert_eq!(origin("mesh.test_endpoints"), "--set");
        assert_eq!(origin("site.name"), "default");
        assert_eq!(layers.get("mesh.inbox_expiry").unwrap().0.to_string(), "\"3d\"");
    }

    #[test]
    fn mistakes_are_named_with_file_line_and_remedy() {
        let wrong = |text: &str| read(text).unwrap_err();
        let unknown = wrong("[mesh]\n# a comment\ninbox_expiri = \"5d\"\n");
        assert_eq!(unknown.to_string(), "spine.toml:3: unknown key mesh.inbox_expiri");
        assert_eq!(unknown.fix, "did you mean mesh.inbox_expiry?");
        assert_eq!(wrong("[nodes]\nnumber = 1").to_string(), "spine.toml:1: unknown key nodes");
        let typed = wrong("[mesh]\ninbox_expiry = 5");
        assert_eq!(typed.to_string(), "spine.toml:2: mesh.inbox_expiry cannot be integer without quotes");
        assert_eq!(wrong("a = \n").place, "spine.toml:1");
        assert_eq!(wrong("node = 3").problem, "unknown key node");
    }
}
