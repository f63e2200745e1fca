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
    model::{Environment, day},
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
            rules::{Rules, SetRules},
        },
        users::{self, command::SetRole},
    },
    store::{Reader, tables::Table},
};
use serde_json::{Map, Value, json};
use std::sync::Arc;

const NOUN: &str = "registration";
/// Longest time for which the register of a live site is opened at once, in milliseconds: nobody forgets to close it.
const LONGEST_OPEN_MS: u64 = 24 * 3_600_000;
/// The same for a site that is not live, where it may stay open.
const LONGEST_OPEN_ELSEWHERE_MS: u64 = 100 * 366 * 24 * 3_600_000;

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

pub async fn show_rules(node: Arc<Node>, _: AdminRequest) -> Told {
    let site = fresh(&node).await?;
    rules_json(&node, &site)
}

/// `{"sponsors": ["B9001"], "checkers": ["B9002"], "one_operator": false, "open_for": 3600, "close": false, "reason": "…"}`; what is not
/// there stays as it is.
pub async fn put_rules(node: Arc<Node>, r: AdminRequest) -> Told {
    let wish = Wish::of(&r)?;
    let now = node.world.clock.now().0;
    let span = wish.fields.get("open_for").map(|seconds| {
        let span = seconds.as_u64().and_then(|s| s.checked_mul(1_000)).filter(|span| *span > 0);
        span.ok_or_else(|| AdminError::bad_input("open_for is a number of seconds"))
    });
    let live = node.settings.environment == Environment::Live;
    let most = if live { LONGEST_OPEN_MS } else { LONGEST_OPEN_ELSEWHERE_MS };
    let (open, until) = match (span.transpose()?, wish.on_off("close")) {
        (Some(_), 1) => return Err(AdminError::bad_input("the register is opened or closed, not both")),
        (Some(span), _) if span > most => {
            let hours = most / 3_600_000;
            return Err(AdminError::bad_input(format!(
                "the register of this site is opened for at most {hours} hours"
            )));
        }
        (Some(span), _) => (1, now + span),
        (None, 1) => (2, 0),
        (None, _) => (0, 0),
    };
    let command = SetRules {
        sponsors: wish.list("sponsors"),
        checkers: wish.list("checkers"),
        one_operator: wish.on_off("one_operator"),
        open,
        until,
        reason: wish.text("reason"),
        ..Default::default()
    };
    let rooms = rooms(&node)?;
    let reply = report::submit(rooms, r.caller.operator.clone(), command.into()).await;
    let reply = reply.map_err(|why| AdminError::of(&codes::CLI_UNAVAILABLE, codes::CLI_UNAVAILABLE.words, why))?;
    refusal("registration", "rules", &reply)?;
    rules_json(&node, rooms.engine.local(SITE).as_ref())
}

fn rules_json(node: &Node, site: &dyn Reader) -> Told {
    let rules = Rules::of(site).map_err(fault)?;
    let open = rules.is_open(node.world.clock.now().0);
    Ok(json!({
        "sponsors": rules.sponsors(), "checkers": rules.checkers(), "one_operator": rules.one_operator, "open": open,
        "open_until": if open { json!(super::moment(rules.open_until)) } else { json!(null) },
    }))
}

/// A new person, under a drawn id. `verify`, `sponsor` and `grant` in the body are the steps that follow at once, each an
/// object as its own request has it: what an import says of a line. A line that names a person by `uid` and says nothing else of them
/// has steps alone: the grants, for which another operator account is needed.
pub async fn apply(node: Arc<Node>, r: AdminRequest) -> Told {
    let mut wish = Wish::of(&r)?;
    let given = wish.text("uid");
    let known = !given.is_empty() && !["given", "family", "born"].iter().any(|name| wish.fields.contains_key(*name));
    let uid = if given.is_empty() { drawn(&node) } else { given };
    wish.fields.remove("uid");
    let mut commands: Vec<DirectoryCommand> = vec![];
    if !known {
        commands.push(application(&uid, &wish)?.into());
    }
    for step in ["verify", "sponsor", "grant"] {
        if let Some(Value::Object(fields)) = wish.fields.get(step) {
            let (command, _) = command(&node, &uid, step, &Wish::with(fields.clone())).await?;
            commands.push(command);
        }
    }
    if commands.is_empty() {
        return Err(AdminError::bad_input("a line has a person who applies, or a step of one who did"));
    }
    carry_out(&node, &r, &uid, commands, Map::new()).await
}

fn application(uid: &str, wish: &Wish) -> Result<Apply, AdminError> {
    Ok(Apply {
        person: person(uid, wish, true)?,
        ni: wish.text("ni"),
        by: wish.text("by"),
        others: wish.list("others"),
        ..Default::default()
    })
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
            "remark": step.remark, "operator": step.operator, "one_operator": step.alone,
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
        "sponsored": wanted, "roles": roles, "taken_over": row.taken_over,
    })))
}
