//! The registers: organisations with their systems, mailboxes, workflows. Wishes become the registry's own commands,
//! which are rehearsed on a copy first: a dry run is the real decision, thrown away.

use super::{Told, fault, rooms, unavailable};
use crate::{
    engine::{
        Command, Fence, SITE,
        draft::{Decide, Draft, Overlay, Stamp},
        services,
    },
    node::{Node, report},
    ops::{
        admin::{AdminError, AdminRequest},
        codes::{self, Code},
    },
    services::directory::{
        Directory,
        command::{
            DirectoryCommand, DirectoryReply, Disable, Kind, SERVED, SetMailbox, SetOrganisation, SetSystem,
            SetWorkflow,
        },
        rows::{self, Mailbox, Organisation, Secret, System, Workflow},
    },
    store::{
        Reader,
        tables::{Parts, Table, after_prefix},
    },
    wire::record::Record,
};
use bytes::Bytes;
use serde_json::{Map, Value, json};
use std::{collections::BTreeMap, sync::Arc};

/// Rows of one page at most.
const MAX_PAGE: usize = 5_000;
/// Most members of a workflow that are shown; the registry's own bound.
const MAX_MEMBERS: usize = 20_000;
/// Systems looked through for those of an organisation: England has 28,000.
const MAX_SYSTEMS: usize = 200_000;

pub(super) type Site = dyn Reader + Send + Sync;

pub async fn list_parties(node: Arc<Node>, r: AdminRequest) -> Told {
    let site = fresh(&node).await?;
    let mut systems: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (asid, system) in rows::list::<System>(&site, Table::Systems, "", MAX_SYSTEMS).map_err(fault)? {
        systems.entry(system.ods).or_default().push(asid);
    }
    page(
        &site,
        &r,
        Table::Organisations,
        |id, row: Organisation| json!({"ods": id, "name": row.name, "active": !row.disabled, "asids": systems.get(id)}),
    )
}

pub async fn list_mailboxes(node: Arc<Node>, r: AdminRequest) -> Told {
    let site = fresh(&node).await?;
    page(&site, &r, Table::Mailboxes, mailbox_json)
}

pub async fn list_workflows(node: Arc<Node>, r: AdminRequest) -> Told {
    let site = fresh(&node).await?;
    page(&site, &r, Table::Workflows, |id, row| workflow_json(&site, id, &row))
}

pub async fn show_party(node: Arc<Node>, r: AdminRequest) -> Told {
    let site = fresh(&node).await?;
    found("party", r.path("id"), party_json(&site, &upper(&r))?)
}

pub async fn show_mailbox(node: Arc<Node>, r: AdminRequest) -> Told {
    let (site, id) = (fresh(&node).await?, upper(&r));
    let row = rows::mailbox(&site, &id).map_err(fault)?;
    found("mailbox", &id, row.map(|row| mailbox_json(&id, row)))
}

pub async fn show_workflow(node: Arc<Node>, r: AdminRequest) -> Told {
    let (site, id) = (fresh(&node).await?, r.path("id").to_owned());
    let row = rows::workflow(&site, id.as_bytes()).map_err(fault)?;
    found("workflow", &id, row.map(|row| workflow_json(&site, &id, &row)))
}

pub async fn put_party(node: Arc<Node>, r: AdminRequest) -> Told {
    let (site, ods) = (fresh(&node).await?, upper(&r));
    let wish = Wish::of(&r)?;
    let old = rows::organisation(&site, &ods).map_err(fault)?;
    let mut plan = Plan { existed: old.is_some(), commands: vec![] };
    if wish.has("name") || (old.is_none() && !wish.has("asid")) {
        let name = wish.text("name");
        plan.commands.push(SetOrganisation { ods: ods.clone(), name, ..Default::default() }.into());
    }
    if wish.has("asid") {
        let asid = wish.text("asid");
        plan.existed &= rows::system(&site, &asid).map_err(fault)?.is_some() || wish.mode == Mode::Set;
        let certificates: Vec<String> = Some(wish.text("certificate")).filter(|c| !c.is_empty()).into_iter().collect();
        if !wish.has("system_active") {
            plan.commands.push(DirectoryCommand::SetSystem(SetSystem {
                asid: asid.clone(),
                ods: ods.clone(),
                party_key: wish.text("party_key"),
                name: wish.text("common_name"),
                add: true,
                certificates,
                emergency: wish.on_off("emergency"),
                ..Default::default()
            }));
        }
        plan.switch(&wish, "system_active", Kind::System, &asid);
    }
    plan.switch(&wish, "active", Kind::Organisation, &ods);
    carry_out(&node, &r, &site, "party", &ods, wish, plan, &|site| party_json(site, &ods)).await
}

pub async fn put_mailbox(node: Arc<Node>, r: AdminRequest) -> Told {
    let (site, id) = (fresh(&node).await?, upper(&r));
    let wish = Wish::of(&r)?;
    let old = rows::mailbox(&site, &id).map_err(fault)?;
    let mut plan = Plan { existed: old.is_some(), commands: vec![] };
    if !wish.fields.keys().all(|k| k == "active") || old.is_none() {
        plan.commands.push(DirectoryCommand::SetMailbox(SetMailbox {
            mailbox: id.clone(),
            name: wish.text("name"),
            ods: wish.text("ods"),
            org_code: wish.text("org_code"),
            org_name: wish.text("org_name"),
            billing: wish.text("billing_entity"),
            password: Secret(wish.text("password")),
            service: wish.text("service"),
            ..Default::default()
        }));
    }
    plan.switch(&wish, "active", Kind::Mailbox, &id);
    let show =
        |site: &dyn Reader| rows::mailbox(site, &id).map_err(fault).map(|row| row.map(|row| mailbox_json(&id, row)));
    carry_out(&node, &r, &site, "mailbox", &id, wish, plan, &show).await
}

pub async fn put_workflow(node: Arc<Node>, r: AdminRequest) -> Told {
    let (site, id) = (fresh(&node).await?, r.path("id").to_owned());
    let wish = Wish::of(&r)?;
    let old = rows::workflow(&site, id.as_bytes()).map_err(fault)?;
    let mut plan = Plan { existed: old.is_some(), commands: vec![] };
    if wish.has("senders") || wish.has("receivers") || old.is_none() {
        let kept = |name: &str, now: Result<Vec<String>, _>| if wish.has(name) { Ok(wish.list(name)) } else { now };
        let senders = kept("senders", rows::senders(&site, id.as_bytes(), MAX_MEMBERS)).map_err(fault)?;
        let receivers = kept("receivers", rows::receivers(&site, id.as_bytes(), MAX_MEMBERS)).map_err(fault)?;
        plan.commands.push(DirectoryCommand::SetWorkflow(SetWorkflow {
            workflow: id.clone(),
            senders,
            receivers,
            open: old.is_some_and(|row| row.open),
            ..Default::default()
        }));
    }
    plan.switch(&wish, "active", Kind::Workflow, &id);
    let show = |site: &dyn Reader| {
        let row = rows::workflow(site, id.as_bytes()).map_err(fault)?;
        Ok(row.map(|row| workflow_json(site, &id, &row)))
    };
    carry_out(&node, &r, &site, "workflow", &id, wish, plan, &show).await
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Add,
    Set,
    Put,
}

/// What an operator wants of one row.
pub(super) struct Wish {
    mode: Mode,
    dry_run: bool,
    pub(super) fields: Map<String, Value>,
}

impl Wish {
    pub(super) fn of(r: &AdminRequest) -> Result<Wish, AdminError> {
        let mode = match r.query("mode") {
            Some("add") => Mode::Add,
            Some("set") => Mode::Set,
            None | Some("put") => Mode::Put,
            Some(other) => return Err(AdminError::bad_input(format!("mode {other} is not add, set or put"))),
        };
        let fields = r.body.as_object().cloned().ok_or_else(|| AdminError::bad_input("the body is not an object"))?;
        Ok(Wish { mode, dry_run: r.flag("dry_run"), fields })
    }
    /// A part of another wish.
    pub(super) fn with(fields: Map<String, Value>) -> Wish {
        Wish { mode: Mode::Put, dry_run: false, fields }
    }
    fn has(&self, name: &str) -> bool {
        self.fields.contains_key(name)
    }
    pub(super) fn text(&self, name: &str) -> String {
        self.fields.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
    }
    /// As commands have a switch: 0 keeps what is stored, 1 is on, 2 is off.
    pub(super) fn on_off(&self, name: &str) -> u8 {
        self.fields.get(name).and_then(Value::as_bool).map_or(0, |on| if on { 1 } else { 2 })
    }
    pub(super) fn list(&self, name: &str) -> Vec<String> {
        let items = self.fields.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
        items.iter().filter_map(|i| i.as_str().map(str::to_owned)).collect()
    }
}

pub(super) struct Plan {
    pub(super) existed: bool,
    pub(super) commands: Vec<DirectoryCommand>,
}

impl Plan {
    pub(super) fn switch(&mut self, wish: &Wish, field: &str, kind: Kind, id: &str) {
        if let Some(on) = wish.fields.get(field).and_then(Value::as_bool) {
            let disable = Disable { kind: kind as u8, id: id.into(), enable: on, ..Default::default() };
            self.commands.push(disable.into());
        }
    }
}

pub(super) type Show<'a> = &'a (dyn Fn(&dyn Reader) -> Result<Option<Value>, AdminError> + Sync);

#[allow(clippy::too_many_arguments, reason = "four callers, each with its own noun and rows")]
pub(super) async fn carry_out(
    node: &Node,
    r: &AdminRequest,
    site: &Site,
    noun: &'static str,
    id: &str,
    wish: Wish,
    plan: Plan,
    show: Show<'_>,
) -> Told {
    if wish.mode == Mode::Set && !plan.existed {
        return Err(missing(noun, id));
    }
    let (changed, rehearsed) = rehearse(node, r, site, noun, id, &plan, show)?;
    if wish.mode == Mode::Add && plan.existed && changed {
        let what = format!("{noun} {id} exists and is different");
        let fix = format!("look at it with `spine {noun} show {id}`, change it with `spine {noun} set {id}`");
        return Err(AdminError::of(&codes::CLI_ALREADY, what, "add does not overwrite").with_fix(fix));
    }
    let outcome = match (plan.existed, changed) {
        (false, _) => "added",
        (true, true) => "changed",
        (true, false) => "same",
    };
    if wish.dry_run || !changed {
        return Ok(json!({"outcome": outcome, noun: rehearsed}));
    }
    let rooms = rooms(node)?;
    for command in plan.commands {
        let reply = report::submit(rooms, r.caller.operator.clone(), command).await;
        let reply = reply.map_err(|why| AdminError::of(&codes::CLI_UNAVAILABLE, codes::CLI_UNAVAILABLE.words, why))?;
        refusal(noun, id, &reply)?;
    }
    let row = show(rooms.engine.local(SITE).as_ref())?;
    Ok(json!({"outcome": outcome, noun: row}))
}

/// Decides the commands on a draft that is thrown away: whether anything would change, and the row as it would be.
pub(super) fn rehearse(
    node: &Node,
    r: &AdminRequest,
    site: &Site,
    noun: &'static str,
    id: &str,
    plan: &Plan,
    show: Show<'_>,
) -> Result<(bool, Option<Value>), AdminError> {
    let overlay = Overlay::default();
    let mut draft = Draft::new(site, &overlay, site);
    let stamp = Stamp {
        now: node.world.clock.now().0,
        partition: SITE,
        partitions: 0,
        sequence: 0,
        entropy: Default::default(),
    };
    let mut changed = false;
    for wanted in &plan.commands {
        let command = Command {
            service: services::DIRECTORY.0,
            payload: wanted.encode(),
            caller: r.caller.clone(),
            ..Default::default()
        };
        let reply = Directory.decide(&mut draft, &stamp, &command).map_err(fault)?;
        let reply = DirectoryReply::of(&reply).map_err(fault)?;
        refusal(noun, id, &reply)?;
        changed |= reply.changed;
    }
    Ok((changed, show(&draft)?))
}

/// The registry's refusal in an operator's words.
pub(super) fn refusal(noun: &str, id: &str, reply: &DirectoryReply) -> Result<(), AdminError> {
    let code: &Code = match reply.refusal.as_str() {
        "" => return Ok(()),
        "not-found" => &codes::CLI_NOT_FOUND,
        "conflict" => &codes::CLI_ALREADY,
        "forbidden" => &codes::NO_PERMIT,
        _ => &codes::ADMIN_BAD_REQUEST,
    };
    Err(AdminError::of(code, format!("{noun} {id} was refused"), reply.text.clone()))
}

fn missing(noun: &str, id: &str) -> AdminError {
    let error =
        AdminError::of(&codes::CLI_NOT_FOUND, format!("there is no {noun} {id}"), "the register does not hold it");
    error.with_fix(format!("list what there is with `spine {noun} list`; make it with `spine {noun} add`"))
}

pub(super) fn found(noun: &str, id: &str, row: Option<Value>) -> Told {
    row.ok_or_else(|| missing(noun, id))
}

/// The registry as of now, on any node.
pub(super) async fn fresh(node: &Node) -> Result<crate::engine::View, AdminError> {
    rooms(node)?.engine.view(SITE, Fence::Linearizable).await.map_err(unavailable)
}

fn upper(r: &AdminRequest) -> String {
    r.path("id").trim().to_ascii_uppercase()
}

/// A page of rows whose id starts with `?prefix=`, behind `?after=`, at most `?limit=`.
pub(super) fn page<R: Record>(site: &Site, r: &AdminRequest, table: Table, show: impl Fn(&str, R) -> Value) -> Told {
    let limit = r.query("limit").and_then(|l| l.parse().ok()).unwrap_or(MAX_PAGE).clamp(1, MAX_PAGE);
    let mut first = vec![table as u8];
    first.extend_from_slice(r.query("prefix").unwrap_or_default().as_bytes());
    let to = after_prefix(&first);
    let from = match r.query("after") {
        None | Some("") => Bytes::from(first),
        Some(after) => table.key().text(after).prefix().end,
    };
    let rows = site.scan(from..to, false, limit).map_err(fault)?;
    let full = rows.len() == limit;
    let mut items = vec![];
    let mut last = None;
    for (key, value) in rows {
        let id = Parts::of(&key).text().unwrap_or_default();
        let row = R::decode(&value).map_err(fault)?;
        items.push(show(&id, row));
        last = Some(id);
    }
    Ok(json!({"items": items, "next": last.filter(|_| full)}))
}

fn party_json(site: &dyn Reader, ods: &str) -> Result<Option<Value>, AdminError> {
    let Some(row) = rows::organisation(site, ods).map_err(fault)? else { return Ok(None) };
    let all = rows::list::<System>(site, Table::Systems, "", MAX_SYSTEMS).map_err(fault)?;
    let systems: Vec<Value> = all
        .into_iter()
        .filter(|(_, system)| system.ods == ods)
        .map(|(asid, s)| {
            json!({
                "asid": asid, "party_key": s.party_key, "name": s.name, "certificates": s.certificates,
                "active": !s.disabled, "emergency": s.emergency,
            })
        })
        .collect();
    let asids: Vec<&Value> = systems.iter().map(|s| &s["asid"]).collect();
    Ok(Some(json!({"ods": ods, "name": row.name, "active": !row.disabled, "asids": asids, "systems": systems})))
}

/// The password never leaves the registry.
fn mailbox_json(id: &str, row: Mailbox) -> Value {
    json!({
        "id": id, "name": row.name, "ods": row.ods, "active": !row.inactive, "org_code": row.org_code,
        "org_name": row.org_name, "billing_entity": row.billing, "internal": row.internal,
        "service": served(row.service),
    })
}

/// The word for the service of the site that a mailbox belongs to; empty for none.
fn served(service: u8) -> &'static str {
    SERVED.iter().find(|(_, id)| id.0 == service).map_or("", |(word, _)| word)
}

fn workflow_json(site: &dyn Reader, id: &str, row: &Workflow) -> Value {
    let senders = rows::senders(site, id.as_bytes(), MAX_MEMBERS).unwrap_or_default();
    let receivers = rows::receivers(site, id.as_bytes(), MAX_MEMBERS).unwrap_or_default();
    json!({"id": id, "senders": senders, "receivers": receivers, "active": !row.disabled, "open": row.open})
}
