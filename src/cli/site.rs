//! `spine site`: two sites of which one serves; which one, how the other follows, and moving the service.

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
