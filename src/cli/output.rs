//! How results are shown: a table for people, one JSON document for scripts, ids alone with `--quiet`.

use comfy_table::{Table, presets::NOTHING};
use serde_json::{Value, json};
use std::io::{IsTerminal, Write};

/// The version of every JSON document printed; it changes only with a new major shape.
pub const API_VERSION: &str = "spine/v1";

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// One JSON document.
    Json,
    /// One JSON document a line, for lists.
    Jsonl,
}

/// Where and how a command prints.
#[derive(Clone, Copy, Debug, Default)]
pub struct Output {
    pub format: Format,
    pub quiet: bool,
}

impl Output {
    /// Shows a list: a table, `{apiVersion, kind, items}`, or the ids.
    pub fn list(&self, kind: &str, items: &[Value], columns: &[(&str, &str)], id: &str) {
        match self.format {
            _ if self.quiet => items.iter().for_each(|item| line(&text(item, id))),
            Format::Json => line(&pretty(&json!({"apiVersion": API_VERSION, "kind": kind, "items": items}))),
            Format::Jsonl => items.iter().for_each(|item| line(&item.to_string())),
            Format::Table => {
                let mut table = table(columns.iter().map(|(head, _)| *head));
                for item in items {
                    table.add_row(columns.iter().map(|(_, path)| text(item, path)));
                }
                line(&render(&table));
            }
        }
    }

    /// Shows one thing: lines of `name: value` built by `human`, or `{apiVersion, kind, …}`.
    pub fn one(&self, kind: &str, value: &Value, id: &str, human: impl FnOnce() -> String) {
        match self.format {
            _ if self.quiet => line(&text(value, id)),
            Format::Json => line(&pretty(&document(kind, value))),
            Format::Jsonl => line(&document(kind, value).to_string()),
            Format::Table => line(human().trim_end()),
        }
    }

    /// What to do next: on stderr, for people only.
    pub fn next(&self, hint: &str) {
        if self.format == Format::Table && !self.quiet {
            progress(&format!("next: {hint}"));
        }
    }

    /// Whether people read this.
    pub fn human(&self) -> bool {
        self.format == Format::Table && !self.quiet
    }
}

/// Progress and hints: stderr, so that stdout holds nothing but the result.
pub fn progress(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// One line on stdout. A closed pipe (`| head`) is no failure.
pub fn line(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// A plain table without lines, readable in black and white and by `awk`.
pub fn table<'a>(heads: impl Iterator<Item = &'a str>) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(heads.map(str::to_uppercase));
    table
}

/// A table as text, without the blanks that padding leaves at line ends.
pub fn render(table: &Table) -> String {
    let lines: Vec<String> = table.lines().map(|l| l.trim_end().to_owned()).collect();
    // The preset pads each cell on the left, too; the first column starts at the margin.
    let indent = lines.iter().map(|l| l.len() - l.trim_start().len()).min().unwrap_or(0);
    lines.iter().map(|l| l.get(indent..).unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// Lines of `name  value`, aligned.
pub fn facts(pairs: &[(&str, String)]) -> String {
    let width = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    pairs.iter().map(|(name, value)| format!("{name:width$}  {value}\n")).collect()
}

/// Whether escape sequences may be used on stderr: a terminal, and `NO_COLOR` not set.
pub fn colour() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
}

/// Text without what a terminal would obey: names and subjects are what others wrote.
fn plain(text: &str) -> String {
    // Marks that turn the direction of writing make one name read as another.
    let turns = |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().map(|c| if (c.is_control() && c != '\n') || turns(c) { '?' } else { c }).collect()
}

/// The value at a dotted path as a person reads it: `-` for nothing, items joined by commas.
pub fn text(value: &Value, path: &str) -> String {
    let found = path.split('.').try_fold(value, |v, part| v.get(part));
    match found {
        None | Some(Value::Null) => "-".into(),
        Some(Value::String(s)) if s.is_empty() => "-".into(),
        Some(Value::String(s)) => plain(s),
        Some(Value::Bool(b)) => if *b { "yes" } else { "no" }.into(),
        Some(Value::Array(items)) if items.is_empty() => "-".into(),
        Some(Value::Array(items)) => {
            items.iter().map(|i| i.as_str().map_or_else(|| i.to_string(), plain)).collect::<Vec<_>>().join(", ")
        }
        Some(other) => other.to_string(),
    }
}

fn document(kind: &str, value: &Value) -> Value {
    let mut document = json!({"apiVersion": API_VERSION, "kind": kind});
    if let (Some(into), Some(from)) = (document.as_object_mut(), value.as_object()) {
        into.extend(from.clone());
    }
    document
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_read_as_people_read_them() {
        let v = json!({"a": {"b": [1, "x"]}, "no": false, "empty": ""});
        assert_eq!(text(&v, "a.b"), "1, x");
        assert_eq!(text(&v, "no"), "no");
        assert_eq!(text(&v, "empty"), "-");
        assert_eq!(text(&v, "missing.way"), "-");
    }

    #[test]
    fn nothing_that_others_wrote_is_obeyed_by_a_terminal() {
        let value = json!({"name": "a\u{1b}[31m\u{9b}2J\rb\u{202e}c", "all": ["x\u{7}"], "lines": "é\nb"});
        assert_eq!((text(&value, "name").as_str(), text(&value, "all").as_str()), ("a?[31m?2J?b?c", "x?"));
        assert_eq!(text(&value, "lines"), "é\nb");
    }

    #[test]
    fn tables_start_at_the_margin() {
        let mut t = table(["id", "name"].into_iter());
        t.add_row(["X26", "A clinic"]);
        let shown = render(&t);
        assert!(shown.starts_with("ID"), "{shown:?}");
        assert!(shown.lines().all(|l| l == l.trim_end()));
    }
}
