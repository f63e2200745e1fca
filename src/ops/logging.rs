//! The operating log: one JSON object a line on stdout, which systemd carries to the journal (`operations.md` §8).
//!
//! Rooms write `tracing::info!(event = "dotted.name", field = value, "words")`. Fields come out flat. Private words
//! go here and nowhere else; still no patient data, tokens, passwords or bodies (P10).

use serde_json::{Map, Value, json};
use std::{fmt, io::Write, sync::OnceLock};
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    EnvFilter, Layer,
    layer::{Context, SubscriberExt},
    registry::LookupSpan,
    util::SubscriberInitExt,
};

/// How lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Json,
    /// `12:00:00.123 info event words key=value`, for a person at a terminal.
    Text,
}

/// Longest value of one field, in characters: a log line is bounded (P6).
const MAX_VALUE: usize = 2_000;

/// Starts the log. `filter` is an `EnvFilter` text such as `info` or `info,spine::edge=debug`. `node` goes on every
/// line. Safe to call again; later calls change nothing. An error names the part of the filter that is wrong.
pub fn install(filter: &str, format: Format, node: &str) -> Result<(), String> {
    static DONE: OnceLock<()> = OnceLock::new();
    let filter = EnvFilter::builder().parse(filter).map_err(|e| e.to_string())?;
    DONE.get_or_init(|| {
        let layer = Lines { format, node: node.to_owned() };
        let _ = tracing_subscriber::registry().with(layer.with_filter(filter)).try_init();
    });
    Ok(())
}

struct Lines {
    format: Format,
    node: String,
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let line = match self.format {
            Format::Json => fields.json(*event.metadata().level(), event.metadata().target(), &self.node),
            Format::Text => fields.text(*event.metadata().level(), event.metadata().target()),
        };
        // A closed stdout must not stop a node.
        let _ = std::io::stdout().lock().write_all(line.as_bytes());
    }
}

#[derive(Default)]
struct Fields(Map<String, Value>);

impl Fields {
    fn set(&mut self, field: &Field, value: Value) {
        let name = match field.name() {
            "message" => "msg",
            other => other,
        };
        self.0.insert(name.to_owned(), value);
    }
    fn json(mut self, level: Level, target: &str, node: &str) -> String {
        let event = self.event(target);
        let words = self.0.remove("msg").unwrap_or_default();
        // The agreed fields come first, in their order: people read these lines too.
        let mut line = format!(r#"{{"ts":"{}","level":"{}","event":{event},"msg":{words}"#, now(), level_word(level));
        if !node.is_empty() {
            line.push_str(&format!(r#","node":{}"#, json!(node)));
        }
        for (name, value) in self.0.iter().filter(|(name, _)| !name.starts_with("log.")) {
            line.push_str(&format!(",{}:{value}", json!(name)));
        }
        line.push_str("}\n");
        line
    }
    /// A library's line has no event of its own: its module names it. One that came by way of `log`, as sled's do, has that
    /// among its fields.
    fn event(&mut self, target: &str) -> Value {
        let module = self.0.remove("log.target").and_then(|target| Some(target.as_str()?.replace("::", ".")));
        self.0.remove("event").unwrap_or_else(|| json!(module.unwrap_or_else(|| target.replace("::", "."))))
    }
    fn text(mut self, level: Level, target: &str) -> String {
        let event = self.event(target);
        self.0.insert("event".into(), event);
        let mut text = |name| match self.0.remove(name) {
            Some(Value::String(s)) => s,
            Some(other) => other.to_string(),
            None => String::new(),
        };
        let mut line = format!("{} {:5} {} {}", &now()[11..23], level_word(level), text("event"), text("msg"));
        for (name, value) in self.0.iter().filter(|(name, _)| !name.starts_with("log.")) {
            match value {
                Value::String(s) => line.push_str(&format!(" {name}={s}")),
                other => line.push_str(&format!(" {name}={other}")),
            }
        }
        // One event is one line, whatever a value holds.
        line = line.replace(['\n', '\r'], " ");
        line.push('\n');
        line
    }
}

fn level_word(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

/// RFC 3339 in UTC with milliseconds.
fn now() -> String {
    format!("{:.3}", jiff::Timestamp::now())
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field, Value::String(cut(value)));
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field, json!(value));
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field, json!(value));
    }
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field, json!(value));
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field, json!(value));
    }
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.set(field, Value::String(cut(&format!("{value:?}"))));
    }
}

fn cut(value: &str) -> String {
    match value.char_indices().nth(MAX_VALUE) {
        Some((at, _)) => format!("{}…", &value[..at]),
        None => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_the_agreed_fields_first() {
        let mut fields = Fields::default();
        fields.0.insert("event".into(), json!("tls.client.refused"));
        fields.0.insert("msg".into(), json!("no certificate"));
        fields.0.insert("code".into(), json!("SPN-1002"));
        let line = fields.json(Level::WARN, "spine::edge", "lab-1");
        let value: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["event"], "tls.client.refused");
        assert_eq!(value["level"], "warn");
        assert_eq!(value["node"], "lab-1");
        assert!(value["ts"].as_str().unwrap().ends_with('Z') && value["ts"].as_str().unwrap().len() == 24, "{line}");
        assert_eq!(value["code"], "SPN-1002");
        assert!(line.starts_with("{\"ts\":") && line.ends_with("}\n") && line.matches('\n').count() == 1);
    }

    /// sled's own thread ends on an error with such a line and nothing else.
    #[test]
    fn what_a_library_says_by_way_of_log_is_named_by_its_module() {
        let fields = || {
            let mut fields = Fields::default();
            fields.0.insert("msg".into(), json!("failed to clean file from periodic flush thread"));
            fields.0.insert("log.target".into(), json!("sled::flusher"));
            fields.0.insert("log.line".into(), json!(112));
            fields
        };
        let line = fields().json(Level::ERROR, "log", "");
        assert!(line.contains(r#""event":"sled.flusher","msg":"failed"#) && !line.contains("log."), "{line}");
        assert!(fields().text(Level::ERROR, "log").contains("error sled.flusher failed to clean"));
    }

    #[test]
    fn a_text_line_is_one_line() {
        let mut fields = Fields::default();
        fields.0.insert("event".into(), json!("a.b"));
        fields.0.insert("error".into(), json!("first\nsecond"));
        assert_eq!(fields.text(Level::INFO, "spine::edge").matches('\n').count(), 1);
    }
}
