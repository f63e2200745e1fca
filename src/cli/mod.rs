//! The operator's command line, one file per command group; [`args`] is the tree of nouns and verbs.
//!
//! Keeps the three rules of operations.md: the next step is on the screen, nothing surprises, and what a person can
//! do a script can do (`--output json`, exit codes, no questions).

pub mod app;
pub mod args;
pub mod arrival;
pub mod audit;
pub mod backup;
pub mod bench;
pub mod bulk;
pub mod bundle;
pub mod cert;
pub mod cluster;
pub mod config;
pub mod csv;
pub mod demo;
pub mod doctor;
pub mod explain;
pub mod export_people;
pub mod failure;
pub mod generate;
pub mod identity;
pub mod import;
pub mod import_people;
pub mod init;
pub mod join;
pub mod mailbox;
pub mod node;
pub mod outbox;
pub mod output;
pub mod party;
pub mod pds;
pub mod people;
pub mod prescriptions;
pub mod registration;
pub mod registry;
pub mod relationship;
pub mod role;
pub mod serve;
pub mod site;
pub mod status;
pub mod testdata;
pub mod top;
pub mod trace;
pub mod upgrade;
pub mod user;
pub mod workflow;

use crate::ops::codes;
use args::{Cli, Command};
use clap::{CommandFactory, Parser};
use failure::{Failure, failure};
use output::Format;
use std::process::ExitCode;

/// Parses the arguments and runs the command they name.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let format = cli.globals.output;
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if format != Format::Table && !failure.told {
                let document = serde_json::json!({
                    "apiVersion": output::API_VERSION, "kind": "Error", "error": failure,
                });
                output::line(&document.to_string());
            }
            output::progress(&failure::lines(&failure));
            ExitCode::from(failure.exit.max(1))
        }
    }
}

fn run(cli: Cli) -> failure::Done {
    let Cli { globals, command } = cli;
    match command {
        Command::Serve(args) => serve::run(&globals, args),
        Command::Bench(args) => bench_run(&globals, args),
        Command::Explain(args) => explain::run(&globals, &args),
        Command::Generate(args) => generate::run(args),
        Command::Completions(args) => generate::completions(args.shell),
        Command::Man(args) => generate::man(&args.page),
        other => client_side(globals, other),
    }
}

/// The load generator has a runtime and a report of its own.
fn bench_run(globals: &args::Globals, args: bench::BenchArgs) -> failure::Done {
    let output = match globals.output {
        Format::Table => bench::Output::Table,
        Format::Json | Format::Jsonl => bench::Output::Json,
    };
    match bench::run(args, output) {
        Ok(code) if code == ExitCode::SUCCESS => Ok(()),
        Ok(_) => Err(failure(
            &codes::CLI_DEGRADED,
            "the load found nothing that works",
            "not one operation succeeded",
            "see the report above, and `spine status`",
        )
        .after_a_report()),
        Err(e) => {
            Err(failure(&codes::CLI_USAGE, "the load cannot be run", format!("{e:#}"), "see `spine bench --help`")
                .with_exit(failure::exit::FAILED))
        }
    }
}

/// Commands that wait for something: one thread is plenty, and keeps the demo's children with the thread that started
/// them.
fn client_side(globals: args::Globals, command: Command) -> failure::Done {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| {
        failure(&codes::CLI_FILE, "the program cannot start", e.to_string(), "check the machine's memory and limits")
    })?;
    runtime.block_on(async move {
        match command {
            Command::Demo(args) => demo::run(&globals, args).await,
            Command::Status(_) => status::run(&globals).await,
            Command::Top(args) => top::run(&globals, args).await,
            Command::Init(args) => init::run(&globals, args).await,
            Command::Join(args) => join::run(&globals, args).await,
            Command::Cluster(args) => cluster::run(&globals, args.verb).await,
            Command::Node(args) => node::run(&globals, args.verb).await,
            Command::Site(args) => site::run(&globals, args.verb).await,
            Command::Upgrade(args) => upgrade::run(&globals, args.verb).await,
            Command::Cert(args) => cert::run(&globals, args.verb).await,
            Command::Party(args) => party::run(&globals, args.verb).await,
            Command::Pds(args) => pds::run(&globals, args.verb).await,
            Command::Import(args) => import_people::run(&globals, args.what).await,
            Command::Export(args) => export_people::run(&globals, args.what).await,
            Command::Mailbox(args) => mailbox::run(&globals, args.verb).await,
            Command::App(args) => app::run(&globals, args.verb).await,
            Command::User(args) => user::run(&globals, args.verb).await,
            Command::Role(args) => role::run(&globals, args).await,
            Command::Identity(args) => identity::run(&globals, args.verb).await,
            Command::Workflow(args) => workflow::run(&globals, args.verb).await,
            Command::Arrival(args) => arrival::run(&globals, args.verb).await,
            Command::Outbox(args) => outbox::run(&globals, args.verb).await,
            Command::Audit(args) => audit::run(&globals, args.verb).await,
            Command::Backup(args) => backup::run(&globals, args.verb).await,
            Command::Registration(args) => registration::run(&globals, args.verb).await,
            Command::Relationship(args) => relationship::run(&globals, args.verb).await,
            Command::Trace(args) => trace::run(&globals, args).await,
            Command::Testdata(args) => testdata::run(&globals, args.verb).await,
            Command::Config(args) => config::run(&globals, args.verb).await,
            Command::Doctor(args) => doctor::run(&globals, args).await,
            Command::SupportBundle(args) => bundle::run(&globals, args).await,
            _ => Ok(()),
        }
    })
}

/// What clap says, in our four lines. Help and version go to stdout and are no failure.
fn usage(error: &clap::Error) -> ExitCode {
    use clap::error::ErrorKind;
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            output::line(error.to_string().trim_end());
            return ExitCode::SUCCESS;
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            output::progress(error.to_string().trim_end());
            return ExitCode::from(failure::exit::USAGE);
        }
        _ => {}
    }
    let text = error.to_string();
    let mut lines = text.lines().map(str::trim).filter(|l| !l.is_empty());
    let why = lines.next().unwrap_or("the arguments were not understood").trim_start_matches("error: ").to_owned();
    let (usage, rest): (Vec<&str>, Vec<&str>) =
        lines.filter(|l| !l.starts_with("For more information")).partition(|l| l.starts_with("Usage:"));
    let why = std::iter::once(why.as_str()).chain(rest).collect::<Vec<_>>().join("; ");
    let fix = match usage.first() {
        Some(usage) => format!("{}; more with --help", usage.trim_start_matches("Usage: ").trim()),
        None => "see `spine --help`".into(),
    };
    let failure = failure(&codes::CLI_USAGE, "the command was not understood", why, fix);
    output::progress(&failure::lines(&failure));
    ExitCode::from(failure::exit::USAGE)
}

/// The tree, for completions, manual and tests.
pub fn tree() -> clap::Command {
    Cli::command()
}

/// Runs an operator's call on the node that `--socket`, else the configuration, names.
pub fn client(globals: &args::Globals) -> Result<crate::ops::admin_client::AdminClient, Failure> {
    Ok(crate::ops::admin_client::AdminClient::new(&globals.socket_path()?))
}
