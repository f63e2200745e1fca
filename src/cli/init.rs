//! `spine init`: makes this machine the first node of a new site. Works on files; `spine serve` does the rest.

use super::{
    args::{Globals, Write},
    cert::write_private,
    failure::{Done, Failure, exit, failure},
};
use crate::{
    config::Settings,
    node::{
        identity::{self, FORMAT, Identity, IdentityError},
        pki::{self, Authority},
    },
    ops::codes,
};
use serde_json::json;

#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  spine init\n  spine init --partitions 8 --dry-run")]
pub struct Args {
    /// Partitions of the services' data; fixed for ever
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    partitions: u16,
    #[command(flatten)]
    write: Write,
}

pub async fn run(globals: &Globals, args: Args) -> Done {
    let settings = globals.settings()?;
    let (cluster, made) = match identity::cluster_of(&settings) {
        Ok(cluster) => (already(&settings, cluster, args.write.strict)?, false),
        Err(IdentityError::NoCertificate(_)) => (make(&settings, &args)?, true),
        Err(e) => {
            return Err(Failure::of(&codes::CLI_INITIALISED, "the node's certificate cannot be used", e.to_string()));
        }
    };
    let value = json!({
        "cluster": cluster, "node": settings.node.number, "partitions": args.partitions, "made": made,
        "dry_run": args.write.dry_run,
    });
    globals.out().one("Site", &value, "cluster", || match (made, args.write.dry_run) {
        (false, _) => format!("nothing to do: node {} belongs to site {cluster}", settings.node.number),
        (true, true) => format!("would make a site with node {} as its first", settings.node.number),
        (true, false) => format!("made site {cluster}; this is node {}", settings.node.number),
    });
    globals.out().next("start it with `spine serve` (or `systemctl start spine`), then `spine cluster invite`");
    Ok(())
}

/// Repeating `init` is no error while data and certificate agree.
fn already(settings: &Settings, cluster: String, strict: bool) -> Result<String, Failure> {
    let read = Identity::read(&settings.node.data);
    let read = read.map_err(|e| Failure::of(&codes::CLI_FILE, "the node's identity cannot be read", e.to_string()))?;
    match read {
        Some(identity) if identity.cluster != cluster => {
            let why = format!("data is of site {}, the certificate of site {cluster}", identity.cluster);
            Err(Failure::of(&codes::CLI_INITIALISED, "the node belongs to two sites", why))
        }
        None => {
            let why = format!("it has a certificate of site {cluster}, and no data");
            let fix = "start it with `spine serve`: it gets its data from its peers";
            Err(failure(&codes::CLI_INITIALISED, "this node already belongs to a site", why, fix))
        }
        Some(_) if strict => {
            let what = "this node already belongs to a site";
            Err(Failure::of(&codes::CLI_ALREADY, what, format!("site {cluster}")).with_exit(exit::ALREADY))
        }
        Some(_) => Ok(cluster),
    }
}

/// Refuses a configuration in which other nodes could not find this one.
pub fn addressed(settings: &Settings) -> Result<(), Failure> {
    if !settings.peer.advertise.ip().is_unspecified() {
        return Ok(());
    }
    let why = format!("other nodes would be told to connect to {}", settings.peer.advertise);
    let fix = "set peer.advertise to this node's own IP address and port";
    Err(failure(&codes::CLI_CONFIG, "the node has no address for its peers", why, fix).with_exit(exit::FAILED))
}

/// A new site's authority, and this node's certificate from it.
pub fn authority(settings: &Settings, cluster: &str) -> Result<(Authority, pki::Issued), Failure> {
    let trouble =
        |e: pki::PkiError| Failure::of(&codes::CLI_CERTIFICATE, "a certificate cannot be made", e.to_string());
    let ca = Authority::create(&format!("Spine site {cluster}"), pki::AUTHORITY_DAYS).map_err(trouble)?;
    let node = ca.issue(&pki::node_wanted(settings.node.number, cluster)).map_err(trouble)?;
    Ok((ca, node))
}

fn make(settings: &Settings, args: &Args) -> Result<String, Failure> {
    let old = Identity::read(&settings.node.data);
    let old = old.map_err(|e| Failure::of(&codes::CLI_FILE, "the node's identity cannot be read", e.to_string()))?;
    if let Some(old) = old {
        let why = format!("{} holds data of site {}", settings.node.data.display(), old.cluster);
        return Err(Failure::of(&codes::CLI_INITIALISED, "this machine already belongs to a site", why));
    }
    if settings.node.data.join("store").exists() {
        let why = format!("{} holds a store, and no identity.json that says whose", settings.node.data.display());
        let fix =
            "a restore was interrupted (empty the folder and repeat it), or identity.json was lost (bring it back)";
        return Err(failure(&codes::CLI_INITIALISED, "the data folder holds data already", why, fix));
    }
    addressed(settings)?;
    let cluster = uuid::Uuid::new_v4().to_string();
    if args.write.dry_run {
        return Ok(cluster);
    }
    let (ca, node) = authority(settings, &cluster)?;
    write_private(&settings.peer.ca_key, ca.key())?;
    write_private(&settings.peer.ca, ca.cert())?;
    first_node(settings, &cluster, &node, (args.partitions, true))?;
    Ok(cluster)
}

/// Makes this machine the first node of a site: of one whose groups it founds, or whose groups are in its data already.
pub fn first_node(
    settings: &Settings,
    cluster: &str,
    node: &pki::Issued,
    (partitions, founder): (u16, bool),
) -> Result<(), Failure> {
    let identity = Identity {
        format: FORMAT,
        cluster: cluster.to_owned(),
        node: settings.node.number,
        incarnation: 1,
        partitions,
        founder,
        settled: false,
    };
    let wrote = identity.write(&settings.node.data);
    wrote.map_err(|e| Failure::of(&codes::CLI_FILE, "the node's identity cannot be written", e.to_string()))?;
    // The certificate comes last: without it nothing of the above counts, and the command may be run again.
    write_private(&settings.peer.key, &node.key)?;
    write_private(&settings.peer.cert, &node.cert)
}
