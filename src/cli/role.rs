//! `spine role`: who may do what, as the gate has it.

use super::{args::Globals, failure::Done};
use crate::access::{
    gate::{Admits, Rule},
    rules,
};
use serde_json::{Value, json};

#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  spine role matrix\n  spine role matrix identity --output json")]
pub struct Args {
    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(clap::Subcommand, Debug)]
pub enum Verb {
    /// Print the rule of every interaction
    #[command(after_help = "Examples:\n  spine role matrix\n  spine role matrix mesh.send --output json")]
    Matrix {
        /// Only interactions that start with this
        prefix: Option<String>,
    },
}

pub fn run(globals: &Globals, args: Args) -> Done {
    let Verb::Matrix { prefix } = args.verb;
    let prefix = prefix.unwrap_or_default();
    let all = rules::ALL.iter().flat_map(|(listener, rules)| rules.iter().map(move |rule| (*listener, rule)));
    let rows: Vec<Value> = all
        .filter(|(_, rule)| rule.interaction.starts_with(&prefix))
        .map(|(listener, rule)| row(listener, rule))
        .collect();
    let columns = [
        ("interaction", "interaction"),
        ("listener", "listener"),
        ("admits", "admits"),
        ("scopes", "scopes"),
        ("activities", "activities"),
        ("specified in", "spec"),
    ];
    globals.out().list("RuleList", &rows, &columns, "interaction");
    Ok(())
}

fn row(listener: &str, rule: &Rule) -> Value {
    let (admits, scopes, activities): (_, &[&str], &[&str]) = match rule.admits {
        Admits::AnyCertificate => ("any certificate", &[], &[]),
        Admits::ApprovedSystem => ("registered system", &[], &[]),
        Admits::Anyone => ("anyone", &[], &[]),
        Admits::Holders { scopes: [], activities } => ("any access token", &[], activities),
        Admits::Holders { scopes, activities } => ("holders of a scope", scopes, activities),
    };
    json!({
        "interaction": rule.interaction, "listener": listener, "admits": admits, "scopes": scopes,
        "activities": activities, "spec": rule.spec,
    })
}
