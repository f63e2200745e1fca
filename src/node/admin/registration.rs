//! Registration of people who work here: wishes become the registry's steps. A step is submitted as it is asked for, without a
//! rehearsal, so that a refused one is in the audit trail too; a dry run is decided on a draft that is thrown away.

use super::{
    Told, fault,
    registers::{Plan, Wish, found, fresh, page, refusal, rehearse},
    rooms,
    users::{authenticators, coded, drawn, millis, person},
};
use crate::{
    engine::SITE,
    model::day,
    node::{Node, report},
    ops::{
        admin::{AdminError, AdminRequest},
        codes,
    },
    services::directory::{
        command::DirectoryCommand,
        registration::{
            Registration, Step, What,
            command::{Apply, End, Grant, Issue, Pause, Sponsor, Verify},
            evidence::Evidence,
            registration,
        },
        users::{self, command::SetRole},
    },
    store::{Reader, tables::Table},
};
use serde_json::{Map, Value, json};
use std::sync::Arc;

const NOUN: &str = "registration";

pub async fn list(node: Arc<Node>, r: AdminRequest) -> Told {
    let site = fresh(&node).await?;
    page(&site, &r, Table::Registrations, |uid, row: Registration| {
        let user = users::user(&site, uid).ok().flatten().unwrap_or_default();
        let last = row.steps.last().map_or("", |step| What::word(step.what));
        json!({
            "uid": uid, "name": user.shown(), "state": user.state().word(), "last_step": last,
            "complete": row.is_complete(),
        })
    })
}

pub async fn show_one(node: Arc<Node>, r: AdminRequest) -> Told {
    let uid = r.path("id").trim();
    found(NOUN, uid, show(&fresh(&node).await?, uid)?)
}

/// A new person, under a drawn id. `verify`, `sponsor` and `grant` in the body are the steps that follow at once, each an
/// object as its own request has it: what an import says of a line.
pub async fn apply(node: Arc<Node>, r: AdminRequest) -> Told {
    let mut wish = Wish::of(&r)?;
    let given = wish.text("uid");
    let uid = if given.is_empty() { drawn(&node) } else { given };
    wish.fields.remove("uid");
    let apply = Apply {
        person: person(&uid, &wish, true)?,
        ni: wish.text("ni"),
        by: wish.text("by"),
        others: wish.list("others"),
        ..Default::default()
    };
    let mut commands: Vec<DirectoryCommand> = vec![apply.into()];
    for step in ["verify", "sponsor", "grant"] {
        if let Some(Value::Object(fields)) = wish.fields.get(step) {
            let (command, _) = command(&node, &uid, step, &Wish::with(fields.clone())).await?;
            commands.push(command);
        }
    }
    carry_out(&node, &r, &uid, commands, Map::new()).await
}

pub async fn step(node: Arc<Node>, r: AdminRequest) -> Told {
    let (uid, step) = (r.path("id").trim().to_owned(), r.path("step").to_owned());
    let (command, told) = command(&node, &uid, &step, &Wish::of(&r)?).await?;
    carry_out(&node, &r, &uid, vec![command], told).await
}

/// The step of this name, and what the person must be told once it is done.
async fn command(
    node: &Node,
    uid: &str,
    step: &str,
    wish: &Wish,
) -> Result<(DirectoryCommand, Map<String, Value>), AdminError> {
    let (uid, by) = (uid.to_owned(), wish.text("by"));
    let mut told = Map::new();
    let command: DirectoryCommand = match step {
        "verify" => Verify { uid, by, evidence: evidence(wish)?, ..Default::default() }.into(),
        "sponsor" => Sponsor { uid, by, position: position(wish)?, ..Default::default() }.into(),
        "grant" => Grant { uid, by, urp: drawn(node), person_org: drawn(node), ..Default::default() }.into(),
        "issue" => {
            let mut new = authenticators(node, &uid, wish, &mut told).await?;
            let device = wish.fields.get("device").and_then(Value::as_bool) == Some(true);
            let authenticator = match (new.pop(), new.is_empty()) {
                (Some(one), true) if !device => one,
                // A passkey was made by the person, a smartcard bound before: no other is written.
                (None, true) if device => Default::default(),
                _ => {
                    return Err(AdminError::bad_input(
                        "one authenticator is issued at a time: password, totp or device",
                    ));
                }
            };
            let terms = wish.fields.get("terms").and_then(Value::as_bool) == Some(true);
            Issue { uid, by, authenticator, terms, ..Default::default() }.into()
        }
        "suspend" | "resume" => {
            Pause { uid, by, reason: wish.text("reason"), resume: step == "resume", ..Default::default() }.into()
        }
        "end" => End {
            uid,
            by,
            reason: wish.text("reason"),
            urp: wish.text("urp"),
            at: moment(wish, "on")?,
            leaving: wish.fields.get("leaving").and_then(Value::as_bool) == Some(true),
            ..Default::default()
        }
        .into(),
        other => return Err(AdminError::bad_input(format!("{other} is no step of a registration"))),
    };
    Ok((command, told))
}

fn moment(wish: &Wish, name: &str) -> Result<u64, AdminError> {
    match wish.text(name) {
        text if text.is_empty() => Ok(0),
        text => millis(&text).ok_or_else(|| AdminError::bad_input(format!("{name} is not a day, YYYY-MM-DD"))),
    }
}

/// `["passport=2021-03-04", …]`
fn evidence(wish: &Wish) -> Result<Vec<Evidence>, AdminError> {
    let one = |text: String| {
        let (kind, on) = text.split_once('=').unwrap_or((text.as_str(), ""));
        let on = day::parse(on.trim());
        let on = on.ok_or_else(|| AdminError::bad_input("evidence is KIND=YYYY-MM-DD, the day of its issue"))?;
        Ok(Evidence { kind: kind.trim().into(), on, ..Default::default() })
    };
    wish.list("evidence").into_iter().map(one).collect()
}

fn position(wish: &Wish) -> Result<SetRole, AdminError> {
    Ok(SetRole {
        ods: wish.text("ods"),
        role_code: wish.text("role_code"),
        role_name: wish.text("role_name"),
        activities: coded(wish, "activities"),
        areas: coded(wish, "areas"),
        workgroups: coded(wish, "workgroups"),
        closes: moment(wish, "closes")?,
        ..Default::default()
    })
}

async fn carry_out(
    node: &Node,
    r: &AdminRequest,
    uid: &str,
    commands: Vec<DirectoryCommand>,
    told: Map<String, Value>,
) -> Told {
    if r.flag("dry_run") {
        let (site, plan) = (fresh(node).await?, Plan { existed: true, commands });
        let (changed, row) = rehearse(node, r, &site, NOUN, uid, &plan, &|site| show(site, uid))?;
        return Ok(json!({"outcome": if changed { "done" } else { "same" }, NOUN: row}));
    }
    if commands.len() > 1 {
        // All of a line's steps or none: a line that is refused half-way could not be repeated.
        let (site, plan) = (fresh(node).await?, Plan { existed: true, commands: commands.clone() });
        rehearse(node, r, &site, NOUN, uid, &plan, &|site| show(site, uid))?;
    }
    let rooms = rooms(node)?;
    let mut changed = false;
    for command in commands {
        let reply = report::submit(rooms, r.caller.operator.clone(), command).await;
        let reply = reply.map_err(|why| AdminError::of(&codes::CLI_UNAVAILABLE, codes::CLI_UNAVAILABLE.words, why))?;
        refusal(NOUN, uid, &reply)?;
        changed |= reply.changed;
    }
    let row = show(rooms.engine.local(SITE).as_ref(), uid)?;
    let mut answer = json!({"outcome": if changed { "done" } else { "same" }, NOUN: row});
    if let Some(answer) = answer.as_object_mut() {
        answer.extend(told);
    }
    Ok(answer)
}

/// Who did what, when; of documents kinds and dates. The National Insurance number is not shown.
fn show(site: &dyn Reader, uid: &str) -> Result<Option<Value>, AdminError> {
    let Some(row) = registration(site, uid).map_err(fault)? else { return Ok(None) };
    let user = users::user(site, uid).map_err(fault)?.unwrap_or_default();
    let step = |step: &Step| {
        json!({
            "step": What::word(step.what), "by": step.by, "by_user": step.uid, "at": super::moment(step.at),
            "remark": step.remark,
        })
    };
    let evidence = |e: &Evidence| json!(format!("{}={}", e.kind, day::text(e.on)));
    let roles = users::roles_of(site, uid).map_err(fault)?;
    let roles: Vec<String> =
        roles.into_iter().map(|(urp, role)| format!("{urp} {} {}", role.role_code, role.ods)).collect();
    let wanted = row.wanted.as_ref().map(|w| format!("{} {}", w.role_code, w.ods));
    Ok(Some(json!({
        "uid": uid, "name": user.shown(), "state": user.state().word(), "complete": row.is_complete(),
        "steps": row.steps.iter().map(step).collect::<Vec<_>>(),
        "evidence": row.evidence.iter().map(evidence).collect::<Vec<_>>(),
        "sponsored": wanted, "roles": roles,
    })))
}
