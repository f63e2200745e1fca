//! Configuration files and `--set`: read, made into settings, written back and read again to the same values.

use super::{KIB, MIB, Target};
use spine::config::layers::Layers;
use spine::config::settings::Settings;
use std::path::Path;

/// The tree of a file costs some hundred bytes for each table or key in it.
pub const TARGET: Target = Target { name: "config", run, seeds, longest: 8 * KIB, base: MIB, factor: 600 };

fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let mut layers = Layers::defaults();
    let read = layers.add_file(Path::new("spine.toml"), text);
    if let Err(e) = &read {
        assert!(
            !e.fix.is_empty() && e.to_string().starts_with("spine.toml:"),
            "a mistake has a place and a remedy: {e}"
        );
    }
    for line in text.lines().take(50) {
        let _ = layers.add_assignment(line);
    }
    let written: String = layers.all().map(|(key, value, _)| format!("{} = {value}\n", key.name)).collect();
    let mut again = Layers::defaults();
    again.add_file(Path::new("again.toml"), &written).unwrap_or_else(|e| panic!("{e}: {written}"));
    for (key, value, _) in layers.all() {
        assert_eq!(again.get(key.name).map(|(v, _)| v), Some(value), "{}", key.name);
    }
    let _ = Settings::from_layers(&layers);
}

fn seeds() -> Vec<Vec<u8>> {
    let sample = include_str!("../../../packaging/spine.toml");
    let uncommented: String =
        sample.lines().map(|line| line.strip_prefix("# ").unwrap_or(line).to_owned() + "\n").collect();
    let sections: Vec<&str> = uncommented.split("\n[").collect();
    let mut seeds: Vec<Vec<u8>> = sections.iter().skip(1).map(|s| format!("[{s}").into_bytes()).collect();
    let texts = [
        "node.number = 65_535\npeer.nodes = [\"1=10.0.0.1:8441\", \"2=[::1]:8441\"]\nnode.name = '''a\nb'''\n",
        "node.number=0x10\n[mesh]\ninbox_expiry = \"5 d\"\n",
        "log.segment=18446744073709551615B\nraft.heartbeat=99999999999999999d\n",
        "[mesh\ninbox_expiri = 5",
        "a.b.c.d.e.f = {g = [[[[[[[[1]]]]]]]]}",
        "node.name=\"\\u0000\\\"\\\\\"",
    ];
    seeds.extend(texts.iter().map(|t| t.as_bytes().to_vec()));
    seeds
}
