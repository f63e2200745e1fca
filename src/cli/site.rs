//! `spine site`: two sites of which one serves; which one, how the other follows, moving the service, and going on where the
//! serving site is lost.

use super::{
    args::Globals,
    client,
    failure::{Done, exit, failure},
    node::Consent,
    output,
};
use crate::ops::{admin_client::AdminClient, codes};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// How long the nodes may take to move the vote.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(200);

#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  spine site\n  spine site cutover york --dry-run")]
pub struct Args {
    #[command(subcommand)]
    pub verb: Option<Verb>,
}

#[derive(clap::Subcommand, Debug)]
pub enum Verb {
    /// Which site serves, and how the nodes of each stand
    #[command(after_help = "Examples:\n  spine site status\n  spine site status --output json")]
    Status,
    /// Move the service to another site: no write that was answered is lost
    #[command(after_help = "Examples:\n  spine site cutover york --dry-run\n  spine site cutover york --yes")]
    Cutover {
        /// The site's label (node.site of its nodes)
        site: String,
        #[command(flatten)]
        consent: Consent,
    },
    /// Let a site go on by itself: the one that served is lost for good
    ///
    /// Says up to which moment everything is there that was acknowledged; what came later may be missing. Asked on a machine of
    /// the site that is to go on. Never where a node of the lost site still answers, or half of the site's own are silent.
    #[command(after_help = "Examples:\n  spine site promote york --dry-run\n  spine site promote york --without 6")]
    Promote {
        /// The site's label (node.site of its nodes)
        site: String,
        /// A silent node of the site that is given up, too; may be repeated
        #[arg(long, value_name = "NODE")]
        without: Vec<u16>,
        /// Show what could be missing; change nothing
        #[arg(long)]
        dry_run: bool,
        /// Do it; without this you are asked
        #[arg(long)]
        yes: bool,
    },
}

pub async fn run(globals: &Globals, verb: Option<Verb>) -> Done {
    let client = client(globals)?;
    match verb.unwrap_or(Verb::Status) {
        Verb::Status => {
            let told = client.get("/v1/sites").await?;
            globals.out().one("SiteStatus", &told, "serving", || page(&told));
            Ok(())
        }
        Verb::Cutover { site, consent } => cutover(globals, &client, &site, &consent).await,
        Verb::Promote { site, without, dry_run, yes } => {
            let wish = Wish { site: &site, without: &without, dry_run, yes };
            promote(globals, &client, &wish).await
        }
    }
}

/// Serving site and nodes, for people.
fn page(told: &Value) -> String {
    let fields = ["site", "serving", "node", "ready", "votes", "leads", "lag", "bodies"];
    let mut table = output::table(fields.into_iter());
    for site in told["sites"].as_array().into_iter().flatten() {
        for node in site["nodes"].as_array().into_iter().flatten() {
            let of = |key: &str| output::text(node, key);
            let bodies = if node["bodies"] == true { "all".to_owned() } else { "not sure yet".into() };
            let ready = if node["seen"] == true { of("ready") } else { "silent".into() };
            let line = [
                output::text(site, "site"),
                output::text(site, "serving"),
                of("number"),
                ready,
                of("votes"),
                of("leads"),
                of("lag"),
                bodies,
            ];
            table.add_row(line);
        }
    }
    let serving = match told["serving"].as_str() {
        None | Some("") => "no site is named: every node votes".to_owned(),
        Some(site) => format!("site {site} serves since {}", output::text(told, "since")),
    };
    format!("{serving}; {} partitions\n{}", output::text(told, "partitions"), output::render(&table))
}

async fn cutover(globals: &Globals, client: &AdminClient, site: &str, consent: &Consent) -> Done {
    let ask = |dry_run: bool| json!({"site": site, "force": consent.force, "dry_run": dry_run});
    if consent.dry_run || !consent.yes {
        let told = client.post("/v1/sites/cutover", &ask(true)).await?;
        globals.out().one("Cutover", &told, "site", || steps(&told));
        globals.out().next(&format!("spine site cutover {site} --yes"));
        return Ok(());
    }
    let begun = Instant::now();
    let told = client.post("/v1/sites/cutover", &ask(false)).await?;
    if told["changed"] == true {
        settled(client, site, begun).await?;
    }
    let mut value = told.clone();
    value["seconds"] = json!((begun.elapsed().as_secs_f64() * 1000.0).round() / 1000.0);
    globals.out().one("Cutover", &value, "site", || match told["changed"] == true {
        true => format!(
            "site {site} serves; its nodes vote alone and lead every partition, after {} s",
            output::text(&value, "seconds")
        ),
        false => format!("site {site} serves already"),
    });
    if told["changed"] == true {
        globals.out().next("`spine site` tells when its nodes hold every body; until then leave the other site on");
    }
    Ok(())
}

/// Waits until the site's nodes alone vote, and lead.
async fn settled(client: &AdminClient, site: &str, begun: Instant) -> Done {
    loop {
        let told = client.get("/v1/sites").await;
        let done = |told: &Value| {
            let sites = told["sites"].as_array().cloned().unwrap_or_default();
            sites.iter().any(|s| s["site"] == site && s["votes_alone"] == true && s["leads_all"] == true)
        };
        if told.as_ref().is_ok_and(done) {
            return Ok(());
        }
        if begun.elapsed() > PATIENCE {
            let why = "the nodes have not moved every vote in a minute; they go on by themselves";
            let fix = "watch `spine site`; `spine cluster status` shows voters and leaders of each partition";
            return Err(failure(&codes::SITE_NOT_FIT, "the service is moving yet", why, fix).with_exit(exit::DEGRADED));
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn steps(told: &Value) -> String {
    let steps: Vec<String> =
        told["steps"].as_array().into_iter().flatten().filter_map(|s| s.as_str().map(str::to_owned)).collect();
    if steps.is_empty() { format!("site {} serves already", output::text(told, "site")) } else { steps.join("\n") }
}

/// What an operator wants of a promotion.
struct Wish<'a> {
    site: &'a str,
    without: &'a [u16],
    dry_run: bool,
    yes: bool,
}

impl Wish<'_> {
    /// The command that does it.
    fn command(&self) -> String {
        let without: String = self.without.iter().map(|node| format!(" --without {node}")).collect();
        format!("spine site promote {}{without} --yes", self.site)
    }
}

async fn promote(globals: &Globals, client: &AdminClient, wish: &Wish<'_>) -> Done {
    let Wish { site, without, .. } = wish;
    let ask = |dry_run: bool| json!({"site": site, "without": without, "dry_run": dry_run});
    let plan = client.post("/v1/sites/promote", &ask(true)).await?;
    if wish.dry_run || (!wish.yes && !asked(globals, wish, &plan)?) {
        globals.out().one("Promotion", &plan, "site", || losses(&plan));
        globals.out().next(&wish.command());
        return Ok(());
    }
    // No more may be missing than was shown.
    let mut decided = ask(false);
    decided["agreed"] = plan["until"].clone();
    let told = client.post("/v1/sites/promote", &decided).await?;
    globals.out().one("Promotion", &told, "site", || {
        format!("site {site} serves, after {} s\n{}", output::text(&told, "seconds"), losses(&told))
    });
    globals
        .out()
        .next("`spine site` shows its nodes; leave the lost site's machines off, for ever or until they are wiped");
    Ok(())
}

/// Shows what may be missing and has the site's name typed, where somebody sits at a terminal.
fn asked(globals: &Globals, wish: &Wish<'_>, plan: &Value) -> Result<bool, super::failure::Failure> {
    use std::io::{BufRead as _, IsTerminal as _, Write as _};
    let site = wish.site;
    if !std::io::stdin().is_terminal() || !globals.out().human() {
        return Ok(false);
    }
    eprint!("{}\nType the name of the site that goes on, {site}, to let it: ", losses(plan));
    let _ = std::io::stderr().flush();
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line);
    if read.is_ok() && line.trim() == site {
        return Ok(true);
    }
    let why = "the site's name was not typed";
    let fix = format!("`{}` does not ask", wish.command());
    Err(failure(&codes::SITE_NOT_LOST, format!("site {site} is not promoted"), why, &fix).with_exit(exit::REFUSED))
}

/// What could be missing, for people.
fn losses(told: &Value) -> String {
    let texts = |key: &str| -> Vec<String> {
        told[key].as_array().into_iter().flatten().filter_map(|s| s.as_str().map(str::to_owned)).collect()
    };
    let mut lines = vec![output::text(told, "missing")];
    let mut table = output::table(["partition", "goes on from", "entry", "last entry at"].into_iter());
    for part in told["partitions"].as_array().into_iter().flatten() {
        let of = |key: &str| output::text(part, key);
        let from = match part["taken_over"] == true {
            true => "taken over".to_owned(),
            false => format!("node {}", of("node")),
        };
        table.add_row([of("partition"), from, of("index"), of("until")]);
    }
    lines.push(output::render(&table));
    lines.extend(texts("misfits"));
    for body in told["bodies"].as_array().into_iter().flatten() {
        let line = match output::text(body, "until") {
            until if until.is_empty() => {
                format!("node {} has not made sure since it started which bodies it lacks", output::text(body, "node"))
            }
            until => format!(
                "node {} last looked at {until} for bodies that it lacks, and then had all of its rows'",
                output::text(body, "node")
            ),
        };
        lines.push(line);
    }
    lines.extend(texts("warnings").into_iter().map(|line| format!("warning: {line}")));
    lines.join("\n")
}
