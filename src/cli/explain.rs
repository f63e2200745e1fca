//! `spine explain CODE`: the long text of an error code, from the one catalogue.

use super::{
    args::Globals,
    failure::{Done, failure},
};
use crate::ops::codes;
use serde_json::json;

#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  spine explain SPN-1012\n  spine explain --output json")]
pub struct Args {
    /// The code, such as SPN-1012; without one, all codes are listed
    pub code: Option<String>,
}

pub fn run(globals: &Globals, args: &Args) -> Done {
    let item =
        |c: &codes::Code| json!({"code": c.code, "kind": c.kind.word(), "words": c.words, "why": c.why, "fix": c.fix});
    let Some(code) = &args.code else {
        let items: Vec<_> = codes::catalogue().iter().map(item).collect();
        globals.out().list("CodeList", &items, &[("code", "code"), ("kind", "kind"), ("words", "words")], "code");
        return Ok(());
    };
    let Some(found) = codes::find(code) else {
        let why = format!("{code} is in no catalogue of this release");
        return Err(failure(&codes::CLI_NOT_FOUND, "there is no such code", why, "`spine explain` lists all codes"));
    };
    globals.out().one("Code", &item(found), "code", || {
        format!(
            "{}: {} ({})\n\n{}\n{}\n\nTry: {}",
            found.code,
            found.words,
            found.kind.word(),
            found.why,
            found.kind.meaning(),
            found.fix
        )
    });
    Ok(())
}
