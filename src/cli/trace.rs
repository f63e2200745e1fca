//! `spine trace ID`: a message or request through every hop that left a record.

use super::{
    args::Globals,
    client,
    failure::{Done, failure},
    output,
    registry::encoded,
};
use crate::ops::codes;

#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  spine trace 20261124120000123456_A1B2C3\n  spine trace ID --output json")]
pub struct Args {
    /// Message id, correlation id or request id
    pub id: String,
}

pub async fn run(globals: &Globals, args: Args) -> Done {
    let told = client(globals)?.get(&format!("/v1/trace/{}", encoded(&args.id))).await?;
    let hops = told["hops"].as_array().cloned().unwrap_or_default();
    if hops.is_empty() {
        let why = format!("no record and no message of this site carries {}", args.id);
        let fix = "check the id; records of refused requests are in each node's log under the correlation id";
        return Err(failure(&codes::CLI_NOT_FOUND, "there is no trace", why, fix));
    }
    globals.out().one("Trace", &told, "id", || {
        let mut table = output::table(["time", "interaction", "outcome", "who", "object", "detail"].into_iter());
        for hop in &hops {
            table.add_row(["time", "interaction", "outcome", "who", "object", "detail"].map(|f| output::text(hop, f)));
        }
        let message = told.get("message").filter(|m| m.is_object());
        let head = message.map(|m| format!("status {}\n\n", output::text(m, "status"))).unwrap_or_default();
        head + &output::render(&table)
    });
    Ok(())
}
