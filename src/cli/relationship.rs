//! `spine relationship`: who has a legitimate relationship with a patient (spec/identity.md §8). Looking leaves a record.

use super::{args::Globals, client, failure::Done, output, registry::encoded};
use serde_json::{Value, json};

#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  spine relationship list --patient 9990000018\n  \
                  spine relationship show --patient 9990000018 ID")]
pub struct Args {
    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(clap::Subcommand, Debug)]
pub enum Verb {
    /// Show a patient's relationships, ended ones too
    #[command(after_help = "Examples:\n  spine relationship list --patient 9990000018\n  \
                      spine relationship list --patient 9990000018 --output jsonl")]
    List {
        /// NHS number
        #[arg(long, value_name = "NHS")]
        patient: String,
    },
    /// Show one
    #[command(after_help = "Examples:\n  spine relationship show --patient 9990000018 ID\n  \
                      spine relationship show --patient 9990000018 ID --output json")]
    Show {
        /// NHS number
        #[arg(long, value_name = "NHS")]
        patient: String,
        id: String,
    },
    /// End one
    #[command(after_help = "Examples:\n  spine relationship close --patient 9990000018 ID --reason left\n  \
                      spine relationship close --patient 9990000018 ID --reason error \\\n    --immediately")]
    Close {
        /// NHS number
        #[arg(long, value_name = "NHS")]
        patient: String,
        id: String,
        /// Why, for the trail
        #[arg(long, value_name = "WHY")]
        reason: String,
        /// Without the days of grace that registrations and referrals have
        #[arg(long)]
        immediately: bool,
    },
}

const KIND: &str = "Relationship";

pub async fn run(globals: &Globals, verb: Verb) -> Done {
    match verb {
        Verb::List { patient } => list(globals, &patient).await,
        Verb::Show { patient, id } => {
            show(globals, &client(globals)?.get(&path(&patient, &id)).await?);
            Ok(())
        }
        Verb::Close { patient, id, reason, immediately } => {
            let body = json!({"reason": reason, "immediately": immediately});
            show(globals, &client(globals)?.post(&format!("{}/close", path(&patient, &id)), &body).await?);
            Ok(())
        }
    }
}

fn path(patient: &str, id: &str) -> String {
    format!("/v1/relationships/{}/{}", encoded(patient), encoded(id))
}

async fn list(globals: &Globals, patient: &str) -> Done {
    let client = client(globals)?;
    let (mut items, mut after): (Vec<Value>, String) = (vec![], String::new());
    loop {
        let page = client.get(&format!("/v1/relationships/{}?after={after}", encoded(patient))).await?;
        items.extend(page["items"].as_array().cloned().unwrap_or_default());
        match page["next"].as_str() {
            Some(next) if next != after => after = next.to_owned(),
            _ => break,
        }
    }
    let columns = [
        ("id", "id"),
        ("kind", "kind"),
        ("state", "state"),
        ("workgroup", "holder.workgroup"),
        ("user", "holder.user"),
        ("organisation", "organisation"),
        ("expires", "expires"),
    ];
    globals.out().list("RelationshipList", &items, &columns, "id");
    Ok(())
}

fn show(globals: &Globals, row: &Value) {
    globals.out().one(KIND, row, "id", || {
        let names = [
            ("id", "id"),
            ("kind", "kind"),
            ("state", "state"),
            ("workgroup", "holder.workgroup"),
            ("user", "holder.user"),
            ("organisation", "organisation"),
            ("expires", "expires"),
            ("reason", "reason"),
            ("reference", "reference"),
            ("close reason", "closeReason"),
        ];
        let mut facts: Vec<(&str, String)> = names.map(|(name, path)| (name, output::text(row, path))).into();
        facts.retain(|(_, value)| value != "-");
        output::facts(&facts)
    });
}
