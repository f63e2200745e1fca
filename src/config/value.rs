//! One value of one key: the kinds there are, how each is read from TOML or from `--set`, and how it is shown.

use super::units;
use std::{net::SocketAddr, path::PathBuf, time::Duration};
use toml::de::DeValue;

/// What a key holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Text,
    Path,
    /// IP address and port; never a name, because the static binary resolves none.
    Address,
    /// As [`Kind::Address`], or empty.
    OptionalAddress,
    Duration,
    Size,
    Bool,
    /// A whole number within bounds, both included.
    Number(u64, u64),
    Choice(&'static [&'static str]),
    /// A list of `NUMBER=IP:PORT`.
    Nodes,
}

/// A checked value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Text(String),
    Path(PathBuf),
    Address(Option<SocketAddr>),
    Duration(Duration),
    Size(u64),
    Bool(bool),
    Number(u64),
    Nodes(Vec<(u16, SocketAddr)>),
}

impl Kind {
    /// How a value is written, for messages.
    pub fn describe(self) -> String {
        match self {
            Kind::Text => "text in quotes".into(),
            Kind::Path => "a path in quotes".into(),
            Kind::Address => "an IP address and port such as \"127.0.0.1:8440\"".into(),
            Kind::OptionalAddress => "an IP address and port such as \"10.0.0.1:8441\", or \"\"".into(),
            Kind::Duration => "a duration such as \"500ms\", \"30s\", \"15m\", \"2h\" or \"5d\"".into(),
            Kind::Size => "a size such as \"64KiB\", \"32MiB\" or \"1GiB\"".into(),
            Kind::Bool => "true or false".into(),
            Kind::Number(from, to) => format!("a whole number from {from} to {to}"),
            Kind::Choice(words) => format!("one of \"{}\"", words.join("\", \"")),
            Kind::Nodes => "a list such as [\"1=10.0.0.1:8441\", \"2=10.0.0.2:8441\"]".into(),
        }
    }

    /// Reads a value from a parsed file. The error says what was found.
    pub fn from_toml(self, value: &DeValue<'_>) -> Result<Value, String> {
        match (self, value) {
            (Kind::Bool, DeValue::Boolean(b)) => Ok(Value::Bool(*b)),
            (Kind::Number(..), DeValue::Integer(n)) => match n.radix() {
                10 => self.from_text(&n.as_str().replace('_', "")),
                _ => Err(format!("{n}")),
            },
            (Kind::Nodes, DeValue::Array(items)) => {
                let mut nodes = vec![];
                for item in items {
                    let text = item.get_ref().as_str().ok_or_else(|| item.get_ref().type_str().to_owned())?;
                    nodes.push(parse_node(text)?);
                }
                Ok(Value::Nodes(nodes))
            }
            (Kind::Bool | Kind::Number(..) | Kind::Nodes, other) => Err(other.type_str().into()),
            (_, DeValue::String(text)) => self.from_text(text),
            (_, other) => Err(format!("{} without quotes", other.type_str())),
        }
    }

    /// Reads a value from the command line. The error repeats what was found.
    pub fn from_text(self, text: &str) -> Result<Value, String> {
        let wrong = || format!("\"{text}\"");
        match self {
            Kind::Text => Ok(Value::Text(text.into())),
            Kind::Path => Ok(Value::Path(text.into())),
            Kind::OptionalAddress if text.is_empty() => Ok(Value::Address(None)),
            Kind::Address | Kind::OptionalAddress => text.parse().map(|a| Value::Address(Some(a))).map_err(|_| wrong()),
            Kind::Duration => units::parse_duration(text).map(Value::Duration).ok_or_else(wrong),
            Kind::Size => units::parse_size(text).map(Value::Size).ok_or_else(wrong),
            Kind::Bool => text.parse().map(Value::Bool).map_err(|_| wrong()),
            Kind::Number(from, to) => match text.parse::<u64>() {
                Ok(n) if (from..=to).contains(&n) => Ok(Value::Number(n)),
                _ => Err(text.into()),
            },
            Kind::Choice(words) => words.contains(&text).then(|| Value::Text(text.into())).ok_or_else(wrong),
            Kind::Nodes => {
                let inner = text.trim().trim_start_matches('[').trim_end_matches(']');
                let items = inner.split(',').map(|item| item.trim().trim_matches('"')).filter(|item| !item.is_empty());
                items.map(parse_node).collect::<Result<_, _>>().map(Value::Nodes)
            }
        }
    }
}

fn parse_node(text: &str) -> Result<(u16, SocketAddr), String> {
    let parsed = text.split_once('=').and_then(|(number, address)| {
        let number = number.trim().parse::<u16>().ok().filter(|n| *n > 0)?;
        Some((number, address.trim().parse::<SocketAddr>().ok()?))
    });
    parsed.ok_or_else(|| format!("\"{text}\""))
}

impl std::fmt::Display for Value {
    /// The value as it stands in a TOML file.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Value::Text(text) => write!(f, "{}", quoted(text)),
            Value::Path(path) => write!(f, "{}", quoted(&path.to_string_lossy())),
            Value::Address(None) => f.write_str("\"\""),
            Value::Address(Some(address)) => write!(f, "\"{address}\""),
            Value::Duration(d) => write!(f, "\"{}\"", units::show_duration(*d)),
            Value::Size(bytes) => write!(f, "\"{}\"", units::show_size(*bytes)),
            Value::Bool(b) => write!(f, "{b}"),
            Value::Number(n) => write!(f, "{n}"),
            Value::Nodes(nodes) => {
                let items: Vec<String> = nodes.iter().map(|(n, a)| format!("\"{n}={a}\"")).collect();
                write!(f, "[{}]", items.join(", "))
            }
        }
    }
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.into()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_read_from_text_and_print_as_toml() {
        assert_eq!(Kind::Duration.from_text("90s").map(|v| v.to_string()), Ok("\"90s\"".into()));
        assert_eq!(Kind::Number(1, 9).from_text("10"), Err("10".into()));
        assert_eq!(Kind::Address.from_text("localhost:1"), Err("\"localhost:1\"".into()));
        let nodes = Kind::Nodes.from_text("1=127.0.0.1:8441, 2=127.0.0.1:8451").unwrap();
        assert_eq!(nodes.to_string(), "[\"1=127.0.0.1:8441\", \"2=127.0.0.1:8451\"]");
        assert_eq!(Kind::Nodes.from_text(&nodes.to_string()), Ok(nodes));
        assert!(Kind::Nodes.from_text("0=127.0.0.1:1").is_err());
    }
}
