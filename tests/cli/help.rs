//! Help: every verb has one line, two examples, and fits 80 columns; usage errors are four lines and exit 2.

use crate::support::spine;

/// Every command with no verbs below it, with its path.
fn leaves(command: &clap::Command, path: &str, found: &mut Vec<(String, clap::Command)>) {
    for sub in command.get_subcommands() {
        let path = format!("{path} {}", sub.get_name());
        if sub.has_subcommands() {
            leaves(sub, &path, found);
        }
        found.push((path, sub.clone()));
    }
}

#[test]
fn every_verb_says_what_it_does_with_two_examples_in_80_columns() {
    let mut found = vec![];
    let mut tree = spine::cli::tree();
    tree.build();
    leaves(&tree, "spine", &mut found);
    assert!(found.len() > 50, "{}", found.len());
    let mut wide = vec![];
    for (path, mut command) in found {
        assert!(command.get_about().is_some(), "{path} has no line of help");
        let help = command.render_help().to_string();
        wide.extend(help.lines().filter(|l| l.chars().count() > 80).map(|l| format!("{path}: {l}")));
        let examples = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let examples: Vec<&str> = examples.lines().filter(|l| l.contains("spine")).collect();
        assert!(examples.len() >= 2, "{path} has {} examples", examples.len());
    }
    assert!(wide.is_empty(), "{}", wide.join("\n"));
}

#[test]
fn what_is_not_understood_exits_2_with_four_lines() {
    let dir = tempfile::tempdir().unwrap();
    let [what, why, fix, code] = spine(dir.path(), &["mailbox", "destroy", "X"]).failed(2);
    assert_eq!(what, "the command was not understood");
    assert!(why.contains("destroy"), "{why}");
    assert!(fix.contains("spine mailbox"), "{fix}");
    assert_eq!(code, "SPN-2004   (spine explain SPN-2004)");
    let [_, why, ..] = spine(dir.path(), &["explian", "SPN-1001"]).failed(2);
    assert!(why.contains("explain"), "the word meant is named: {why}");
    assert_eq!(spine(dir.path(), &["--version"]).ok().out.trim(), format!("spine {}", env!("CARGO_PKG_VERSION")));
}

#[test]
fn codes_are_explained() {
    let dir = tempfile::tempdir().unwrap();
    let told = spine(dir.path(), &["explain", "spn-2107", "--output", "json"]).ok().json();
    assert_eq!(told["apiVersion"], "spine/v1");
    assert_eq!(told["code"], "SPN-2107");
    let [what, ..] = spine(dir.path(), &["explain", "SPN-9999"]).failed(6);
    assert_eq!(what, "there is no such code");
}

#[test]
fn completions_and_manual_come_out_of_the_same_tree() {
    let dir = tempfile::tempdir().unwrap();
    assert!(spine(dir.path(), &["completions", "bash"]).ok().out.contains("hand-over"));
    assert!(spine(dir.path(), &["man", "cert"]).ok().out.contains("spine\\-cert"));
    spine(dir.path(), &["generate", "all", "out"]).ok();
    for file in ["spine.toml", "man/spine.1", "man/spine-demo.1", "man/spine.toml.5", "completions/spine.fish"] {
        assert!(dir.path().join("out").join(file).exists(), "{file}");
    }
}
