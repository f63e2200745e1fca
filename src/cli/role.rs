//! `spine role`: who may do what, as the gate has it.

use super::{args::Globals, client, failure::Done, registry::encoded};
use crate::access::{
    gate::{Admits, Rule},
    policy::FUNCTIONS,
    rules,
};
use http::Method;
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
    /// Print which activities open which function
    #[command(after_help = "Examples:\n  spine role functions\n  spine role functions --output json")]
    Functions,
    /// List the activities that job roles have by themselves
    #[command(after_help = "Examples:\n  spine role baselines\n  spine role baselines --output json")]
    Baselines,
    /// Set the activities that a job role has by itself, or what is published
    #[command(
        override_usage = "spine role baseline [OPTIONS] <JOB>",
        after_help = "Examples:\n  spine role baseline R8003 --area Pharmacy --activity B0572\n  \
                      spine role baseline R8003 --area Pharmacy --reset"
    )]
    Baseline {
        /// Job role, such as R8003
        job: String,
        /// Area of work: its code or one part of its name; without, any area
        #[arg(long, default_value = "")]
        area: String,
        /// An activity; may be repeated, the whole list
        #[arg(long = "activity", value_name = "CODE", conflicts_with = "reset")]
        activities: Vec<String>,
        /// Take it away, so that what is published holds again
        #[arg(long)]
        reset: bool,
    },
}

pub async fn run(globals: &Globals, args: Args) -> Done {
    match args.verb {
        Verb::Matrix { prefix } => matrix(globals, prefix),
        Verb::Functions => functions(globals),
        Verb::Baselines => {
            baselines(globals, &client(globals)?.get("/v1/baselines").await?);
            Ok(())
        }
        Verb::Baseline { job, area, activities, reset } => {
            let body = json!({"area": area, "activities": activities, "reset": reset});
            let path = format!("/v1/baselines/{}", encoded(&job));
            baselines(globals, &client(globals)?.call(Method::PUT, &path, &body).await?);
            Ok(())
        }
    }
}

fn functions(globals: &Globals) -> Done {
    let row = |f: &crate::access::policy::Function| {
        json!({
            "function": f.name, "any_of": f.any_of, "with": f.with, "status": f.status, "held_by": f.held_by,
        })
    };
    let rows: Vec<Value> = FUNCTIONS.iter().map(row).collect();
    let columns = [
        ("function", "function"),
        ("any of", "any_of"),
        ("with any of", "with"),
        ("source", "status"),
        ("held by", "held_by"),
    ];
    globals.out().list("FunctionList", &rows, &columns, "function");
    Ok(())
}

fn baselines(globals: &Globals, told: &Value) {
    let columns = [("job role", "job"), ("area of work", "area"), ("activities", "activities"), ("from", "from")];
    let rows = told["items"].as_array().cloned().unwrap_or_default();
    globals.out().list("BaselineList", &rows, &columns, "job");
}

fn matrix(globals: &Globals, prefix: Option<String>) -> Done {
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
        ("activities", "activities"),
        ("organisation", "organisation"),
        ("relationship", "relationship"),
        ("purpose", "purpose"),
        ("specified in", "spec"),
        // Last: it is wider than any screen.
        ("scopes", "scopes"),
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
        "activities": activities, "organisation": rule.organisation.word(), "relationship": rule.relationship.word(),
        "purpose": rule.purpose.word(), "spec": rule.spec,
    })
}
