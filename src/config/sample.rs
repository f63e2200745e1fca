//! The sample file and the manual's section on configuration, made from the list of keys.

use super::keys::{KEYS, Key, Takes};

/// `packaging/spine.toml`: every key commented out at its default, with its sentence.
pub fn sample() -> String {
    let mut out = String::from(
        "# Spine's configuration. Every key stands here, commented out, at its default.\n\
         # Leave this file alone and put your values into conf.d/NAME.toml beside it: those are\n\
         # read after it, in name order. Check with `spine config check`.\n\
         # Durations are written \"500ms\", \"30s\", \"15m\", \"2h\", \"5d\"; sizes \"64KiB\", \"32MiB\", \"1GiB\".\n",
    );
    let mut section = "";
    for key in KEYS {
        let (of, name) = parts(key);
        if of != section {
            out.push_str(&format!("\n[{of}]\n"));
            section = of;
        }
        out.push('\n');
        for line in wrapped(&format!("{} ({})", key.says, takes(key)), 96) {
            out.push_str(&format!("# {line}\n"));
        }
        out.push_str(&format!("#{name} = {}\n", default(key)));
    }
    out
}

/// `spine.toml(5)`.
pub fn manual() -> String {
    let mut out = format!(
        ".TH SPINE.TOML 5 \"\" \"spine {}\" \"Spine\"\n.SH NAME\nspine.toml \\- configuration of spine(1)\n.SH DESCRIPTION\n\
         .I /etc/spine/spine.toml\nis read first, then every\n.I /etc/spine/conf.d/*.toml\nin name order; later values win. \
         Unknown keys, wrong types and contradictions are errors: nothing in a file is ignored.\n.PP\n\
         A key marked live is taken by\n.B spine config reload\n(which is what\n.B systemctl reload spine\nruns); \
         one marked restart when the node starts again. Durations are written \\(dq500ms\\(dq, \\(dq30s\\(dq, \
         \\(dq2h\\(dq, \\(dq5d\\(dq; sizes \\(dq64KiB\\(dq, \\(dq1GiB\\(dq.\n.SH KEYS\n",
        env!("CARGO_PKG_VERSION")
    );
    let mut section = "";
    for key in KEYS {
        let (of, _) = parts(key);
        if of != section {
            out.push_str(&format!(".SS [{of}]\n"));
            section = of;
        }
        let text = format!("{} Default: {}. Marked {}.", key.says, default(key), takes(key));
        let text = text.replace('\\', "\\e").replace('-', "\\-").replace('"', "\\(dq");
        out.push_str(&format!(".TP\n.B {}\n{text}\n", key.name.replace('-', "\\-")));
    }
    out.push_str(".SH SEE ALSO\n.BR spine (1),\n.BR spine\\-config (1)\n");
    out
}

/// The text of `docs/configuration.md`.
pub fn page() -> String {
    let mut out = String::from(
        "# Configuration\n\nMade by `spine generate configuration` (a test compares). `/etc/spine/spine.toml` is read first, then every\n\
         `/etc/spine/conf.d/*.toml` in name order; later values win. Unknown keys, wrong types and contradictions are errors: nothing in\n\
         a file is ignored. Check with `spine config check`; `spine config show` tells what each key is and which file says so.\n\n\
         A key marked *live* is taken by `spine config reload` (which is what `systemctl reload spine` runs), one marked *restart* when\n\
         the node starts again (`spine node restart`). `--set KEY=VALUE` overrides one for a command.\n",
    );
    let mut section = "";
    for key in KEYS {
        let (of, name) = parts(key);
        if of != section {
            out.push_str(&format!("\n## [{of}]\n\n| key | default | takes effect | what it is |\n|---|---|---|---|\n"));
            section = of;
        }
        let takes = takes(key);
        let says = format!("{} It is {}.", key.says, key.kind.describe()).replace('|', "\\|");
        out.push_str(&format!("| `{name}` | `{}` | {takes} | {says} |\n", default(key)));
    }
    out
}

/// A key's default as it stands in a file.
pub fn default(key: &Key) -> String {
    key.kind.from_text(key.default).map_or_else(|_| key.default.into(), |value| value.to_string())
}

/// `live` or `restart`.
pub fn takes(key: &Key) -> &'static str {
    match key.takes {
        Takes::Live => "live",
        Takes::Restart => "restart",
    }
}

fn parts(key: &Key) -> (&'static str, &'static str) {
    key.name.split_once('.').unwrap_or(("", key.name))
}

fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.len() + 1 + word.len() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.into()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Layers;
    use std::path::Path;

    #[test]
    fn the_packaged_sample_is_what_the_keys_say() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/spine.toml");
        let packaged = std::fs::read_to_string(path).unwrap();
        assert!(packaged == sample(), "run: cargo run -- generate config > packaging/spine.toml");
    }

    #[test]
    fn the_page_is_what_the_keys_say() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
        if std::env::var_os("SPINE_WRITE_DOCS").is_some() {
            std::fs::write(&path, page()).unwrap();
        }
        let stored = std::fs::read_to_string(path).unwrap_or_default();
        let old = "docs/configuration.md is old: run `SPINE_WRITE_DOCS=1 cargo test --lib config::sample`";
        assert!(stored == page(), "{old}");
    }

    #[test]
    fn the_sample_with_every_comment_sign_taken_away_is_the_defaults() {
        let bare: Vec<String> = sample()
            .lines()
            .filter(|line| !line.starts_with("# "))
            .map(|line| line.trim_start_matches('#').to_owned())
            .collect();
        let mut layers = Layers::defaults();
        layers.add_file(Path::new("sample"), &bare.join("\n")).unwrap();
        for (key, value, origin) in layers.all() {
            assert_eq!(value.to_string(), default(key));
            assert!(origin.to_string().starts_with("sample:"), "{}", key.name);
        }
    }
}
