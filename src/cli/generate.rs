//! Completions, manual pages and the sample configuration: all out of the same definitions.

use super::{
    failure::{Done, failure, file},
    output, tree,
};
use crate::{config::sample, ops::codes};
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
#[command(after_help = "Examples:\n  spine generate people --count 1000 --seed 7\n  spine generate all target/package")]
pub struct Args {
    /// What to write: people, config, errors or eps-states (to stdout), or all (into DIR)
    #[arg(value_parser = ["people", "config", "errors", "eps-states", "all"])]
    what: String,
    /// Folder for `all`
    dir: Option<PathBuf>,
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

pub fn run(args: Args) -> Done {
    match (args.what.as_str(), args.dir) {
        ("people", _) => super::people::run(args.count, args.seed, args.all_nines),
        ("config", _) => {
            output::line(sample::sample().trim_end());
            Ok(())
        }
        ("errors", _) => {
            output::line(codes::document().trim_end());
            Ok(())
        }
        ("eps-states", _) => {
            output::line(crate::services::eps::states::markdown().trim_end());
            Ok(())
        }
        (_, Some(dir)) => all(&dir),
        (_, None) => Err(failure(
            &codes::CLI_USAGE,
            "the command was not understood",
            "`generate all` needs a folder",
            "spine generate all DIR",
        )),
    }
}

pub fn completions(shell: clap_complete::Shell) -> Done {
    let mut out = vec![];
    clap_complete::generate(shell, &mut tree(), "spine", &mut out);
    output::line(String::from_utf8_lossy(&out).trim_end());
    Ok(())
}

pub fn man(page: &[String]) -> Done {
    let mut command = tree();
    for part in page {
        let Some(found) = command.get_subcommands().find(|c| c.get_name() == part).cloned() else {
            let why = format!("{part} is no command of {}", command.get_name());
            return Err(failure(&codes::CLI_NOT_FOUND, "there is no such page", why, "see `spine --help`"));
        };
        command = found.name(format!("{}-{part}", command.get_name()));
    }
    output::line(String::from_utf8_lossy(&rendered(command)?).trim_end());
    Ok(())
}

fn rendered(command: clap::Command) -> Result<Vec<u8>, super::failure::Failure> {
    let mut out = vec![];
    clap_mangen::Man::new(command)
        .render(&mut out)
        .map_err(|e| file("the page cannot be made", Path::new("(memory)"), &e))?;
    Ok(out)
}

/// Writes `man/`, `completions/` and `spine.toml` into `dir`.
fn all(dir: &Path) -> Done {
    let write = |path: &Path, bytes: &[u8]| -> Done {
        let parent = path.parent().unwrap_or(dir);
        std::fs::create_dir_all(parent).map_err(|e| file("the folder cannot be made", parent, &e))?;
        std::fs::write(path, bytes).map_err(|e| file("the file cannot be written", path, &e))
    };
    write(&dir.join("spine.toml"), sample::sample().as_bytes())?;
    for shell in [clap_complete::Shell::Bash, clap_complete::Shell::Zsh, clap_complete::Shell::Fish] {
        let mut out = vec![];
        clap_complete::generate(shell, &mut tree(), "spine", &mut out);
        write(&dir.join(format!("completions/spine.{shell}")), &out)?;
    }
    write(&dir.join("man/spine.1"), &rendered(tree())?)?;
    for group in tree().get_subcommands().filter(|c| !c.is_hide_set()) {
        let name = format!("spine-{}", group.get_name());
        write(&dir.join(format!("man/{name}.1")), &rendered(group.clone().name(name.clone()))?)?;
    }
    write(&dir.join("man/spine.toml.5"), sample::manual().as_bytes())
}
