//! The screen of `spine top`: text of at most 80 columns, and the terminal that it is drawn on with plain ANSI sequences.

use crate::cli::output::text;
use serde_json::{Value, json};
use std::{
    io::Write,
    process::{Command, Stdio},
};

/// Lines of a terminal whose size is not known.
pub const ROWS: usize = 40;
const COLUMNS: usize = 80;
/// Lines that are no row of a table: four heads, four blanks, four of the top.
const FRAME: usize = 12;

/// The whole screen, in so many lines. Colour is never the only signal.
pub fn screen(told: &Value, rows: usize, colour: bool) -> String {
    let number = |path: &str| told[path].as_f64().unwrap_or_default();
    let mut lines = vec![
        format!(
            "node {} ({}) of {}, {} members, {}   {}",
            text(told, "node"),
            text(told, "name"),
            text(told, "site"),
            text(told, "members"),
            text(told, "version"),
            text(told, "at")
        ),
        format!(
            "requests/s: {:.1}, of them refused {:.1}; in flight {:.0}, waiting for a turn {:.0}",
            number("requests_per_second"),
            number("refused_per_second"),
            number("in_flight"),
            number("waiting")
        ),
        format!(
            "messages/s: {:.1} sent, {:.1} collected",
            number("messages_sent_per_second"),
            number("messages_collected_per_second")
        ),
        troubles(told),
    ];
    let most = (rows.saturating_sub(FRAME) / 4).max(2);
    let latency = number("latency_seconds");
    let mut table = |head: String, all: Vec<String>| {
        lines.push(String::new());
        lines.push(if colour { format!("\x1b[1m{}\x1b[0m", cut(&head, COLUMNS)) } else { head });
        let more = all.len().saturating_sub(most);
        lines.extend(all.into_iter().take(if more > 0 { most - 1 } else { most }));
        if more > 0 {
            lines.push(format!("  … and {} more", more + 1));
        }
    };
    table(work_head("SERVICE", latency), each(told, "services", work));
    table(
        partition(&["PARTITION", "LEADER", "TERM", "ENTRIES/S", "LAG", "BEHIND"]),
        each(told, "partitions", of_partition),
    );
    table(work_head("SLOWEST INTERACTION", latency), each(told, "slowest", work));
    table(
        format!(
            "{:<9} {:<36} {:<8} {:>8} {:>7} {:>7}",
            "PARTY", "SYSTEM, LAST MINUTE", "LISTENER", "REQ/S", "REFUSED", "AT ONCE"
        ),
        each(told, "parties", of_party),
    );
    let cut: Vec<String> =
        lines.iter().map(|line| if line.contains('\x1b') { line.clone() } else { cut(line, COLUMNS) }).collect();
    cut.join("\n") + "\n"
}

fn troubles(told: &Value) -> String {
    let all: Vec<&str> = told["troubles"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    match all.as_slice() {
        [] => "no troubles".into(),
        [only] => format!("TROUBLE: {only}"),
        [first, rest @ ..] => format!("TROUBLE: {first}; {} more: spine status", rest.len()),
    }
}

fn each(told: &Value, list: &str, line: fn(&Value) -> String) -> Vec<String> {
    told[list].as_array().into_iter().flatten().map(line).collect()
}

fn work_head(of: &str, latency: f64) -> String {
    let (p50, p99) = (format!("P50 MS/{latency:.0}S"), format!("P99 MS/{latency:.0}S"));
    format!("{of:<32} {:>10} {:>10} {p50:>12} {p99:>12}", "REQ/S", "REFUSED/S")
}

fn work(told: &Value) -> String {
    let millis = |path: &str| told[path].as_f64().map_or("-".to_owned(), |millis| format!("{millis:.1}"));
    let rate = |path: &str| told[path].as_f64().unwrap_or_default();
    let name = cut(&text(told, "name"), 32);
    let (answered, refused) = (rate("per_second"), rate("refused_per_second"));
    format!("{name:<32} {answered:>10.1} {refused:>10.1} {:>12} {:>12}", millis("p50_ms"), millis("p99_ms"))
}

fn partition(columns: &[&str; 6]) -> String {
    let [name, leader, term, entries, lag, behind] = columns;
    format!("{name:<10} {leader:<8} {term:>8} {entries:>10} {lag:>8}  {behind}").trim_end().to_owned()
}

fn of_partition(told: &Value) -> String {
    let leader = match told["leader"].as_u64() {
        Some(number) => format!("node {number}"),
        None => "NONE".into(),
    };
    let entries = format!("{:.1}", told["entries_per_second"].as_f64().unwrap_or_default());
    let lags = told["lags"].as_object().into_iter().flatten().filter(|(_, lag)| lag.as_u64() > Some(0));
    let behind: Vec<String> = lags.map(|(node, lag)| format!("node {node}: {lag}")).collect();
    let (name, term, lag) = (text(told, "partition"), text(told, "term"), text(told, "lag"));
    partition(&[&name, &leader, &term, &entries, &lag, &behind.join(", ")])
}

fn of_party(told: &Value) -> String {
    let told = party(told);
    let rate = |path: &str| told[path].as_f64().unwrap_or_default();
    let (ods, system) = (cut(&text(&told, "ods"), 9), cut(&text(&told, "system"), 36));
    let (listener, refused) = (text(&told, "listener"), text(&told, "refused"));
    format!("{ods:<9} {system:<36} {listener:<8} {:>8.1} {refused:>7} {:>7.2}", rate("per_second"), rate("at_once"))
}

/// A party as people read it: those whom nobody knows have words in place of a name.
pub fn party(told: &Value) -> Value {
    let mut told = told.clone();
    if told["known"] == false {
        told["system"] = json!("(nobody that is known)");
    }
    for path in ["per_second", "at_once"] {
        told[path] = json!((told[path].as_f64().unwrap_or_default() * 100.0).round() / 100.0);
    }
    told
}

/// So many characters at most, and none that a terminal would obey.
fn cut(line: &str, columns: usize) -> String {
    let plain = line.chars().map(|c| if c.is_control() { '?' } else { c });
    match line.chars().count() > columns {
        true => plain.take(columns - 1).chain(['…']).collect(),
        false => plain.collect(),
    }
}

/// The terminal while the screen is drawn on it: an alternate page without cursor, given back at the end.
pub struct Terminal {
    colour: bool,
}

impl Terminal {
    pub fn open() -> Terminal {
        say("\x1b[?1049h\x1b[?25l");
        Terminal { colour: std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) }
    }

    pub fn colour(&self) -> bool {
        self.colour
    }

    /// From the upper left; what is left of lines and page is wiped, so that nothing flickers.
    pub fn draw(&self, screen: &str) {
        let lines: String = screen.lines().map(|line| format!("{line}\x1b[K\r\n")).collect();
        say(&format!("\x1b[H{}\x1b[J", lines.trim_end_matches("\r\n")));
    }

    /// As `stty` says; one that says nothing has 24 lines.
    pub fn rows(&self) -> usize {
        let asked = Command::new("stty").arg("size").stdin(Stdio::inherit()).stderr(Stdio::null()).output();
        let told = asked.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        told.split(' ').next().and_then(|rows| rows.parse().ok()).filter(|rows| *rows > 0).unwrap_or(24)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        say("\x1b[?25h\x1b[?1049l");
    }
}

/// A terminal that is gone is no failure.
fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(parties: usize) -> Value {
        let party = |n: usize| {
            json!({
                "listener": "supplier", "ods": "X26", "system": format!("2000000{n:05}\u{1b}[31m"), "known": true,
                "requests": 60, "refused": 1, "per_second": 1.0, "at_once": 0.126,
            })
        };
        let work =
            json!({"name": "mesh.send", "per_second": 12.0, "refused_per_second": 0.5, "p50_ms": 1.25, "p99_ms": null});
        json!({
            "node": 1, "name": "lab-1", "site": "x".repeat(90), "version": "0.1.0", "requests_per_second": 12.5,
            "services": [work], "slowest": [work], "latency_seconds": 10.0,
            "partitions": [{"partition": 1, "leader": null, "term": 3, "lag": 7, "lags": {"1": 0, "2": 7}}],
            "parties": (0..parties).map(party).collect::<Vec<_>>(), "troubles": ["node 2 does not answer", "b"],
        })
    }

    #[test]
    fn the_screen_fits_and_obeys_nobody() {
        for (rows, parties) in [(24, 64), (40, 3), (60, 64), (5, 9)] {
            let shown = screen(&told(parties), rows, false);
            assert!(shown.lines().all(|line| line.chars().count() <= COLUMNS), "{shown}");
            assert!(!shown.contains('\u{1b}'), "{shown}");
            assert!(shown.lines().count() <= rows.max(20), "{rows}: {shown}");
            assert!(shown.contains("TROUBLE: node 2 does not answer; 1 more") && shown.contains("NONE"), "{shown}");
            assert!(shown.contains("node 2: 7") && shown.contains("requests/s: 12.5"), "{shown}");
        }
        assert!(screen(&told(64), 24, false).contains("… and 62 more"));
        assert!(screen(&told(1), 24, true).contains("\x1b[1mSERVICE"));
    }
}
