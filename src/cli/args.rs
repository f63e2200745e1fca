//! The tree of commands. Each group's verbs stand in the group's own file; what all commands take stands here.

use super::{
    app, arrival, audit, backup, bench, bundle, cert, cluster, config, demo, doctor, explain, export_people,
    failure::{self, Failure},
    generate, identity, import_people, init, join, mailbox, node, outbox,
    output::{Format, Output},
    party, pds, registration, relationship, role, serve, site, testdata, top, trace, upgrade, user, workflow,
};
use crate::config::{Running, Settings, Sources};
use crate::ops::{admin_client::AdminClient, codes};
use std::path::PathBuf;

/// Spine: the backbone a nation's health service runs on, as one daemon.
#[derive(clap::Parser, Debug)]
#[command(
    name = "spine",
    version,
    max_term_width = 80,
    propagate_version = true,
    disable_help_subcommand = true,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "Examples:\n  spine demo\n  spine status --output json"
)]
pub struct Cli {
    #[command(flatten)]
    pub globals: Globals,
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Globals {
    /// Configuration file (else SPINE_CONFIG, else /etc/spine/spine.toml)
    #[arg(long, global = true, value_name = "FILE", help_heading = "Everywhere")]
    pub config: Option<PathBuf>,
    /// Override one configuration key; may be repeated
    #[arg(long, global = true, value_name = "KEY=VALUE", help_heading = "Everywhere")]
    pub set: Vec<String>,
    /// Admin socket of the node to talk to (else admin.socket)
    #[arg(long, global = true, value_name = "PATH", help_heading = "Everywhere")]
    pub socket: Option<PathBuf>,
    /// How to print results
    #[arg(long, global = true, value_enum, default_value_t, help_heading = "Everywhere")]
    pub output: Format,
    /// Print ids only
    #[arg(long, short, global = true, help_heading = "Everywhere")]
    pub quiet: bool,
}

impl Globals {
    pub fn out(&self) -> Output {
        Output { format: self.output, quiet: self.quiet }
    }
    pub fn sources(&self) -> Sources {
        Sources { file: self.config.clone(), set: self.set.clone(), optional: false }
    }
    /// What the node runs with that answers on the socket.
    pub async fn running(&self) -> Result<Running, Failure> {
        let told = AdminClient::new(&self.socket_path()?).get("/v1/config").await?;
        serde_json::from_value(told)
            .map_err(|e| Failure::of(&codes::ADMIN_NO_ROUTE, "the node's answer", e.to_string()))
    }
    /// The files to check: those of the node that `--socket` names, unless `--config` names others.
    pub async fn checked_sources(&self) -> Result<Sources, Failure> {
        if self.socket.is_none() || self.config.is_some() {
            return Ok(self.sources());
        }
        let mut sources = self.running().await?.sources();
        sources.set.extend(self.set.iter().cloned());
        Ok(sources)
    }
    /// The checked configuration out of those files.
    pub async fn checked_settings(&self) -> Result<Settings, Failure> {
        self.checked_sources().await?.load().map_err(failure::config)
    }
    /// The checked configuration.
    pub fn settings(&self) -> Result<Settings, Failure> {
        self.sources().load().map_err(failure::config)
    }
    /// Where the node's admin socket is.
    pub fn socket_path(&self) -> Result<PathBuf, Failure> {
        match &self.socket {
            Some(path) => Ok(path.clone()),
            None => Ok(self.settings()?.admin_socket),
        }
    }
}

/// What every verb that writes takes.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Write {
    /// Check and show what would change; change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Fail (exit 7) where it is already so
    #[arg(long)]
    pub strict: bool,
}

#[derive(clap::Subcommand, Debug)]
#[allow(clippy::large_enum_variant, reason = "one is parsed, and taken apart at once")]
pub enum Command {
    /// Run a node in the foreground (what the unit starts)
    Serve(serve::Args),
    /// Run a whole site on this machine to try things on
    Demo(demo::Args),
    /// Show node, site, services and certificates on one screen
    Status(Bare),
    /// Watch what a node does: rates, latencies, leaders, noisiest parties
    Top(top::Args),
    /// Make this machine the first node of a new site
    Init(init::Args),
    /// Make this machine a node of an existing site
    Join(join::Args),
    /// Check the configuration, and show where values come from
    Config(config::Args),
    /// Show members and leaders; invite; hand leadership over
    Cluster(cluster::Args),
    /// Drain, add, remove or replace a node
    Node(node::Args),
    /// Two sites: which one serves; move the service
    Site(site::Args),
    /// May this node restart with a new release; end an upgrade
    Upgrade(upgrade::Args),
    /// Make, renew, list, revoke and check certificates
    Cert(cert::Args),
    /// Register organisations and their systems
    Party(party::Args),
    /// Register applications that use the HTTP APIs
    App(app::Args),
    /// Register people who work here, their roles and passwords
    User(user::Args),
    /// Show which callers each interaction admits
    Role(role::Args),
    /// Rotate the key of ID tokens; trust providers of citizens' log-ins
    Identity(identity::Args),
    /// Show a person's record as it was, and who changed it
    Pds(pds::Args),
    /// Load people from a file
    Import(import_people::Args),
    /// Write people to a file
    Export(export_people::Args),
    /// Register MESH mailboxes
    Mailbox(mailbox::Args),
    /// Register MESH workflows, their senders and receivers
    Workflow(workflow::Args),
    /// Move in organisation by organisation: who is answered here, who by the
    /// system being replaced, and how both sides do
    Arrival(arrival::Args),
    /// See what could not be delivered within the site; retry or drop it
    Outbox(outbox::Args),
    /// Verify and search the audit trail
    Audit(audit::Args),
    /// Back the site up while it serves; verify and restore backups
    Backup(backup::Args),
    /// Register people who work here, step by step, with two people where two are asked for
    Registration(registration::Args),
    /// See and end legitimate relationships with a patient
    Relationship(relationship::Args),
    /// Follow a message or request by its id
    Trace(trace::Args),
    /// Move the calendar of a test site's prescriptions
    Testdata(testdata::Args),
    /// Measure a running site
    #[command(
        after_help = "Examples:\n  spine bench mesh --demo target/demo\n  spine bench mesh --demo d --phase send --rate 2000"
    )]
    Bench(bench::BenchArgs),
    /// Check this machine and its node; say what to mend
    Doctor(doctor::Args),
    /// Write one file with what support needs; no patient data, no secrets
    SupportBundle(bundle::Args),
    /// Explain an error code
    Explain(explain::Args),
    /// Print shell completions
    Completions(generate::Completions),
    /// Print a manual page
    Man(generate::Man),
    /// Write what packages ship: completions, manual, sample file
    #[command(hide = true)]
    Generate(generate::Args),
}

#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  spine status\n  spine status --output json --socket /tmp/demo/node-1/admin.sock")]
pub struct Bare {}
