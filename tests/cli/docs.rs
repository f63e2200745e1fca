//! Every `spine …` command in the documents is one that the program understands: its words, verbs and flags. What the commands
//! do is tried by tests/docs on machines.

use clap::error::ErrorKind;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// A command in a document.
struct Written {
    place: String,
    words: Vec<String>,
    /// In a block of code, where it has to be whole; else a mention within a sentence.
    whole: bool,
}

fn pages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut all: Vec<PathBuf> = fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path()).collect();
    all.extend(fs::read_dir(root.join("docs/decisions")).unwrap().map(|entry| entry.unwrap().path()));
    all.extend(["README.md", "packaging/debian/README.Debian", "ansible/README.md"].map(|name| root.join(name)));
    // Its words are what signatures begin with, not commands.
    all.retain(|path| !path.ends_with("formats.md"));
    all.retain(|path| path.is_file() && path.extension().is_none_or(|kind| kind == "md" || kind == "Debian"));
    all
}

fn written(path: &Path) -> Vec<Written> {
    let text = fs::read_to_string(path).unwrap().replace("\\\n", " ");
    let (mut found, mut code) = (vec![], false);
    for (at, line) in text.lines().enumerate() {
        let place = format!("{}:{}: {line}", path.file_name().unwrap().to_string_lossy(), at + 1);
        if line.trim_start().starts_with("```") {
            code = !code;
        } else if code {
            let line = line.replace(['…', '['], "#");
            found.extend(commands(&line).into_iter().map(|words| Written { place: place.clone(), words, whole: true }));
        } else {
            let spans = line.split('`').skip(1).step_by(2).filter(|span| span.starts_with("spine "));
            let spans = spans.flat_map(|span| commands(&span.replace(['…', '['], "#")));
            found.extend(spans.map(|words| Written { place: place.clone(), words, whole: false }));
        }
    }
    found
}

/// The commands of `spine` in a line of shell: each up to what ends a command there.
fn commands(line: &str) -> Vec<Vec<String>> {
    let (mut all, mut words, mut word, mut quote): (Vec<Vec<String>>, Vec<String>, String, Option<char>) =
        Default::default();
    for c in line.chars().chain(['\n']) {
        match (c, quote) {
            (c, Some(q)) if c == q => quote = None,
            (_, Some(_)) => word.push(c),
            ('"' | '\'', None) => quote = Some(c),
            ('#', None) if word.is_empty() => break,
            (c, None) if c.is_whitespace() || "|;&<>()".contains(c) => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                if !c.is_whitespace() {
                    all.push(std::mem::take(&mut words));
                }
            }
            _ => word.push(c),
        }
    }
    words.extend((!word.is_empty()).then_some(word));
    all.push(words);
    all.retain_mut(|words| {
        // Before it there may be variables, or who runs it.
        let begins = words.iter().position(|word| word == "spine");
        begins
            .is_some_and(|at| words.drain(..at).all(|word| word.contains('=') || word.contains('$') || word == "sudo"))
    });
    all
}

/// A word that stands for what the reader has: `NUMBER`, `SITE-TIME`.
fn stands_for_something(word: &str) -> bool {
    word.starts_with('$') || word.chars().all(|c| c.is_ascii_uppercase() || c == '-' || c == '_')
}

#[test]
fn every_command_in_the_documents_is_understood() {
    let (mut looked_at, mut wrong) = (0, vec![]);
    for command in pages().iter().flat_map(|path| written(path)) {
        looked_at += 1;
        let Err(e) = spine::cli::tree().try_get_matches_from(&command.words) else { continue };
        let fine = match e.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => true,
            ErrorKind::MissingRequiredArgument | ErrorKind::MissingSubcommand => !command.whole,
            ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => !command.whole,
            ErrorKind::ValueValidation | ErrorKind::InvalidValue if command.whole => {
                command.words.iter().any(|word| stands_for_something(word))
            }
            // A flag may be named without its value.
            ErrorKind::ValueValidation | ErrorKind::InvalidValue => true,
            _ => false,
        };
        if !fine {
            wrong.push(format!("{}\n    {}", command.place, e.to_string().lines().next().unwrap_or_default()));
        }
    }
    assert!(looked_at > 150, "only {looked_at} commands were found");
    assert!(wrong.is_empty(), "{} of {looked_at}:\n{}", wrong.len(), wrong.join("\n"));
}
