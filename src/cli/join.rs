//! `spine join TOKEN`: makes this machine a node of an existing site.

use super::{
    args::Globals,
    cert::{write_private, write_public},
    failure::{Done, Failure, failure},
};
use crate::{
    config::Settings,
    node::{
        identity::{self, FORMAT, Identity},
        pki,
        token::{JoinAnswer, JoinAsk, Token},
    },
    ops::codes,
    peer,
    wire::record::Record,
};
use serde_json::json;
use std::{path::PathBuf, time::Duration};

/// One node asked; it commits the use of the token on a majority before it answers.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  spine join spine1-0100ab…\n  spine join spine1-0100ab… --set peer.listen=10.0.0.4:8441"
)]
pub struct Args {
    /// What `spine cluster invite` printed; - reads it from stdin
    token: String,
}

pub async fn run(globals: &Globals, args: Args) -> Done {
    let settings = globals.settings()?;
    if let Ok(cluster) = identity::cluster_of(&settings) {
        let why = format!("{} is of site {cluster}", settings.peer.cert.display());
        return Err(Failure::of(&codes::CLI_INITIALISED, "this node already belongs to a site", why));
    }
    let text = match args.token.as_str() {
        "-" => super::mailbox::secret(&PathBuf::from("-"))?,
        text => text.to_owned(),
    };
    let Some(token) = Token::parse(&text) else {
        return Err(Failure::of(&codes::CLI_TOKEN, "the token was not understood", "it is cut off, or no join token"));
    };
    let (answer, key) = ask(&settings, &token).await?;
    if answer.number != settings.node.number {
        let fix = format!("set node.number to {} and ask for a new token", answer.number);
        let why = format!("it is for node {}, the configuration says node {}", answer.number, settings.node.number);
        return Err(failure(&codes::CLI_TOKEN, "the token is for another node", why, fix));
    }
    let identity = Identity {
        format: FORMAT,
        cluster: answer.cluster.clone(),
        node: answer.number,
        incarnation: answer.incarnation,
        partitions: answer.partitions,
        founder: false,
        settled: false,
    };
    let wrote = identity.write(&settings.node.data);
    wrote.map_err(|e| Failure::of(&codes::CLI_FILE, "the node's identity cannot be written", e.to_string()))?;
    write_private(&settings.peer.ca, &answer.ca)?;
    if !answer.trail_ca.is_empty() {
        write_private(&identity::trail_authorities(&settings), &answer.trail_ca)?;
    }
    write_private(&settings.peer.key, &key)?;
    write_private(&settings.peer.cert, &answer.cert)?;
    let drop_in = note_peers(globals, &settings, &answer)?;
    let value = json!({
        "cluster": answer.cluster, "node": answer.number, "nodes": answer.nodes, "config": drop_in,
    });
    globals
        .out()
        .one("Membership", &value, "node", || format!("node {} may join site {}", answer.number, answer.cluster));
    globals.out().next("start it with `spine serve` (or `systemctl start spine`)");
    Ok(())
}

/// Asks each address of the token in turn. The private key never leaves this machine.
async fn ask(settings: &Settings, token: &Token) -> Result<(JoinAnswer, String), Failure> {
    let trouble = |e: pki::PkiError| Failure::of(&codes::CLI_CERTIFICATE, "the request cannot be made", e.to_string());
    let request = pki::request("spine-join", &[]).map_err(trouble)?;
    let payload = JoinAsk {
        secret: token.secret.clone(),
        request: request.cert,
        address: settings.peer.advertise.to_string(),
        name: settings.node.name.clone(),
        site: settings.node.site.clone(),
        level: identity::LEVEL,
        ..Default::default()
    };
    let payload = payload.encode();
    let mut last = String::from("the token names no address");
    for address in token.addresses() {
        let answer = peer::join_call(address, token.fingerprint(), payload.clone(), PATIENCE).await;
        match answer.map_err(|e| e.to_string()).and_then(|b| JoinAnswer::decode(&b).map_err(|e| e.to_string())) {
            Ok(answer) if answer.refusal.is_empty() => return Ok((answer, request.key)),
            Ok(answer) => return Err(Failure::of(&codes::CLI_TOKEN, "the site refused the token", answer.refusal)),
            Err(e) => last = format!("{address}: {e}"),
        }
    }
    let fix = "check that the node that invited runs, and that its peer port can be reached from here";
    Err(failure(&codes::ADMIN_UNREACHABLE, "no node of the site could be asked", last, fix))
}

/// The addresses of the others must outlive the data folder, so they go beside the configuration.
fn note_peers(globals: &Globals, settings: &Settings, answer: &JoinAnswer) -> Result<Option<PathBuf>, Failure> {
    let known: Vec<String> = settings.peer.nodes.iter().map(|(n, a)| format!("{n}={a}")).collect();
    if answer.nodes.iter().all(|n| known.contains(n)) {
        return Ok(None);
    }
    let (file, _) = globals.sources().main_file();
    let path = file.with_file_name("conf.d").join("20-join.toml");
    let nodes: Vec<String> = answer.nodes.iter().map(|n| format!("\"{n}\"")).collect();
    let text = format!("# Written by `spine join`.\n[peer]\nnodes = [{}]\n", nodes.join(", "));
    write_public(&path, &text)?;
    Ok(Some(path))
}
