//! Completions, manual pages and the sample configuration: all out of the same definitions.

use super::{
    failure::{Done, Failure, failure, file},
    output, tree,
};
use crate::{
    config::sample,
    ops::{codes, metrics},
};
use std::path::{Path, PathBuf};

#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  spine completions bash > /etc/bash_completion.d/spine\n  spine completions zsh")]
pub struct Completions {
    pub shell: clap_complete::Shell,
}

#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  spine man | man -l -\n  spine man cert | man -l -")]
pub struct Man {
    /// A command group; without one, the page of spine itself
    pub page: Vec<String>,
}

#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  spine generate people --count 1000 --seed 7\n  spine generate completions bash\n  spine generate all target/package"
)]
pub struct Args {
    /// What to write: people, completions, or a page (config, configuration, errors, metrics, eps-states) to stdout; man or all into a folder
    #[arg(value_parser = ["people", "config", "configuration", "errors", "metrics", "eps-states", "completions", "man", "all"])]
    what: String,
    /// Folder for `man` and `all`; bash, zsh or fish for `completions`
    #[arg(value_name = "DIR|SHELL")]
    place: Option<PathBuf>,
    /// How many people
    #[arg(long, default_value_t = 1_000)]
    count: u64,
    /// The same seed makes the same people
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Take every NHS number that begins with 9, not only those kept for tests: more than 900,000 people
    #[arg(long)]
    all_nines: bool,
}

/// The text of a page or file that is made from what the program knows.
fn text(what: &str) -> Option<String> {
    match what {
        "config" => Some(sample::sample()),
        "configuration" => Some(sample::page()),
        "errors" => Some(codes::document()),
        "metrics" => Some(metrics::document()),
        "eps-states" => Some(crate::services::eps::states::markdown()),
        _ => None,
    }
}

pub fn run(args: Args) -> Done {
    if let Some(text) = text(&args.what) {
        output::line(text.trim_end());
        return Ok(());
    }
    match (args.what.as_str(), args.place) {
        ("people", _) => super::people::run(args.count, args.seed, args.all_nines),
        ("completions", Some(shell)) => match shell.to_str().and_then(|name| name.parse().ok()) {
            Some(shell) => completions(shell),
            None => {
                Err(wrong(&format!("{} is no shell known here", shell.display()), "spine generate completions bash"))
            }
        },
        ("completions", None) => Err(wrong("`generate completions` needs a shell", "spine generate completions bash")),
        ("man", Some(dir)) => pages(&dir),
        (_, Some(dir)) => all(&dir),
        (what, None) => Err(wrong(&format!("`generate {what}` needs a folder"), &format!("spine generate {what} DIR"))),
    }
}

fn wrong(why: &str, fix: &str) -> Failure {
    failure(&codes::CLI_USAGE, "the command was not understood", why, fix)
}

pub fn completions(shell: clap_complete::Shell) -> Done {
    let mut out = vec![];
    clap_complete::generate(shell, &mut tree(), "spine", &mut out);
    output::line(String::from_utf8_lossy(&out).trim_end());
    Ok(())
}

pub fn man(page: &[String]) -> Done {
    let mut command = whole_tree();
    for part in page {
        let Some(found) = command.get_subcommands().find(|c| c.get_name() == part).cloned() else {
            let why = format!("{part} is no command of {}", command.get_name());
            return Err(failure(&codes::CLI_NOT_FOUND, "there is no such page", why, "see `spine --help`"));
        };
        command =
            found.display_name(format!("{}-{part}", command.get_name())).name(format!("{}-{part}", command.get_name()));
    }
    output::line(String::from_utf8_lossy(&rendered(command)?).trim_end());
    Ok(())
}

/// With what all commands take in each of them, as a parse would have it.
fn whole_tree() -> clap::Command {
    let mut tree = tree();
    tree.build();
    tree
}

/// The page of a command, with its verbs in it: each with how it is called, what it does and what it takes.
fn rendered(command: clap::Command) -> Result<Vec<u8>, Failure> {
    let failed = |e: std::io::Error| file("the page cannot be made", Path::new("(memory)"), &e);
    let verbs: Vec<clap::Command> = command.get_subcommands().filter(|verb| shown(verb)).cloned().collect();
    let (name, top) = (command.get_name().to_owned(), command.get_name() == "spine");
    let page = of(command);
    let mut out = vec![];
    page.render_title(&mut out).map_err(failed)?;
    page.render_name_section(&mut out).map_err(failed)?;
    page.render_synopsis_section(&mut out).map_err(failed)?;
    page.render_description_section(&mut out).map_err(failed)?;
    page.render_options_section(&mut out).map_err(failed)?;
    if top && !verbs.is_empty() {
        page.render_subcommands_section(&mut out).map_err(failed)?;
    } else if !verbs.is_empty() {
        out.extend_from_slice(b".SH COMMANDS\n");
        for verb in verbs {
            out.extend(section(&name, verb).map_err(failed)?);
        }
    }
    page.render_extra_section(&mut out).map_err(failed)?;
    let others = if top { "spine.toml(5)" } else { "spine(1), spine.toml(5)" };
    out.extend_from_slice(format!(".SH SEE ALSO\n{others}\n").as_bytes());
    Ok(out)
}

fn shown(command: &clap::Command) -> bool {
    !command.is_hide_set() && command.get_name() != "help"
}

fn of(command: clap::Command) -> clap_mangen::Man {
    let title = command.get_name().to_uppercase();
    clap_mangen::Man::new(command).title(title).source(concat!("spine ", env!("CARGO_PKG_VERSION"))).manual("Spine")
}

/// A verb within its group's page. What every command takes stands there already.
fn section(group: &str, verb: clap::Command) -> std::io::Result<Vec<u8>> {
    let called = format!("{} {}", group.replace('-', " "), verb.get_name());
    let verb = verb.mut_args(|arg| {
        if arg.is_global_set() || arg.get_id() == "help" || arg.get_id() == "version" { arg.hide(true) } else { arg }
    });
    let page = of(verb.display_name(called.clone()).name(called.clone()));
    let mut out = format!(".SS {}\n", called.replace('-', "\\-")).into_bytes();
    let mut part = vec![];
    page.render_synopsis_section(&mut part)?;
    page.render_description_section(&mut part)?;
    page.render_options_section(&mut part)?;
    page.render_extra_section(&mut part)?;
    // Headings of a page of its own are paragraphs here.
    for line in String::from_utf8_lossy(&part).lines() {
        match line {
            ".SH SYNOPSIS" => {}
            line if line.starts_with(".SH") => out.extend_from_slice(b".PP\n"),
            line => out.extend_from_slice(format!("{line}\n").as_bytes()),
        }
    }
    Ok(out)
}

fn write(path: &Path, bytes: &[u8]) -> Done {
    let parent = path.parent().unwrap_or(Path::new(""));
    std::fs::create_dir_all(parent).map_err(|e| file("the folder cannot be made", parent, &e))?;
    std::fs::write(path, bytes).map_err(|e| file("the file cannot be written", path, &e))
}

/// `spine.1`, `spine-<group>.1` and `spine.toml.5`.
fn pages(dir: &Path) -> Done {
    let tree = whole_tree();
    for group in tree.get_subcommands().filter(|group| shown(group)) {
        let name = format!("spine-{}", group.get_name());
        write(&dir.join(format!("{name}.1")), &rendered(group.clone().display_name(name.clone()).name(name))?)?;
    }
    write(&dir.join("spine.1"), &rendered(tree)?)?;
    write(&dir.join("spine.toml.5"), sample::manual().as_bytes())
}

/// Writes `man/`, `completions/` and `spine.toml` into `dir`.
fn all(dir: &Path) -> Done {
    write(&dir.join("spine.toml"), sample::sample().as_bytes())?;
    for shell in [clap_complete::Shell::Bash, clap_complete::Shell::Zsh, clap_complete::Shell::Fish] {
        let mut out = vec![];
        clap_complete::generate(shell, &mut tree(), "spine", &mut out);
        write(&dir.join(format!("completions/spine.{shell}")), &out)?;
    }
    pages(&dir.join("man"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_group_has_a_page_that_tells_what_each_verb_takes() {
        let dir = tempfile::tempdir().unwrap();
        pages(dir.path()).unwrap();
        let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
        let cert = read("spine-cert.1");
        for told in [".SS spine cert issue", "\\-\\-san", ".SS spine cert check", ".SH SEE ALSO"] {
            assert!(cert.contains(told), "{told} is missing:\n{cert}");
        }
        assert!(!cert.contains("spine\\-cert\\-issue(1)"), "a page that is not there is not named");
        for group in tree().get_subcommands().filter(|group| shown(group)) {
            let page = read(&format!("spine-{}.1", group.get_name()));
            for verb in group.get_subcommands().filter(|verb| shown(verb)) {
                let heading = format!(".SS spine {} {}\n", group.get_name(), verb.get_name()).replace('-', "\\-");
                assert!(page.contains(&heading), "{heading}");
            }
        }
        let toml = read("spine.toml.5");
        for key in crate::config::keys::KEYS {
            let name = key.name.replace('-', "\\-");
            let at = toml.find(&format!(".B {name}\n")).unwrap_or_else(|| panic!("{name} is missing"));
            let entry = toml[at + 3..].split(".TP").next().unwrap();
            assert!(entry.contains(&format!("Marked {}.", sample::takes(key))), "{entry}");
        }
    }
}
