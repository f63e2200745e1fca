//! `POST /v1/sites/promote`: the site that served is lost for good, and the followers of another go on without it.
//!
//! Everything is asked of every node of that site first: what could be missing is known before anything is changed, and told. Then,
//! in an order that may stop anywhere and be begun again: each partition's followers promise its longest log's node a term; all
//! of them turn the lost nodes away, and from then on there is no way but forward; the partitions are taken over, the site's own
//! first; and when all of them are led, the registry says who serves. What was taken over before is left alone.

mod seen;

use super::{Told, fault, rooms};
use crate::{
    consensus::{RaftId, succeeding},
    engine::{PartitionId, SITE},
    node::{
        Node, door, report,
        rooms::Rooms,
        succession::{self, GIVE_UP, LISTEN, SEARCH, SUCCEED, SuccessionAnswer, SuccessionCall, TELL, YIELD},
    },
    ops::{
        admin::{AdminError, AdminRequest},
        codes,
    },
    seam::net::NodeNumber,
    services::directory::{
        rows,
        sites::{self, LEAST, Promote, Serving},
    },
};
use futures_util::future::join_all;
use seen::{Asked, Found, NONE, Part, Seen, no, shown};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tokio::time::Instant;

/// The end of a log may have to be read.
const TELLING: Duration = Duration::from_secs(10);
/// A promise is one sync of a log.
const PROMISING: Duration = Duration::from_secs(5);
/// A heir may have to read its whole log for items that another partition lost.
const TAKING: Duration = Duration::from_secs(60);
/// The last leader's lease runs out within a second; then promises are given at once.
const FREEZE: Duration = Duration::from_secs(15);
/// An election, and what was logged and not applied yet.
const LEAD: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(300);

#[derive(Deserialize)]
struct Ask {
    site: String,
    #[serde(default)]
    without: Vec<u16>,
    /// The moment that the plan named, to which the operator agreed; empty where it named none.
    #[serde(default)]
    agreed: Option<String>,
    dry_run: bool,
}

pub async fn promote(node: Arc<Node>, r: AdminRequest) -> Told {
    let rooms = rooms(&node)?;
    let ask: Ask = r.input()?;
    let begun = Instant::now();
    let serving = sites::serving(rooms.engine.local(SITE).as_ref()).map_err(fault)?.unwrap_or_default();
    let ours = ours(&node, rooms, &ask, &serving)?;
    let site = Site { node: &node, rooms, ask: &ask, serving: &serving.site, ours };
    let plan = match ask.dry_run {
        true => site.plan(site.look().await?).await?,
        false => {
            let agreed = agreed(&ask)?;
            let plan = site.carry_out(agreed, &r.caller.operator).await?;
            let command = Promote {
                site: ask.site.clone(),
                instead_of: serving.site.clone(),
                least: plan.seen.told.len().min(LEAST.into()) as u16,
                missing: plan.missing.clone(),
                without: plan.seen.without.iter().copied().map(u64::from).collect(),
                ..Default::default()
            };
            register(rooms, &r, command).await?;
            site.part_with(&plan).await?;
            plan
        }
    };
    let mut told = plan.told(&ask, &serving.site);
    if !ask.dry_run {
        told["changed"] = json!(true);
        told["seconds"] = json!((begun.elapsed().as_secs_f64() * 1000.0).round() / 1000.0);
    }
    Ok(told)
}

/// The moment to which the operator agreed.
fn agreed(ask: &Ask) -> Result<u64, AdminError> {
    let unread = |why: String| AdminError::bad_input(format!("`agreed`, the moment that the plan named: {why}"));
    match ask.agreed.as_deref() {
        None => Err(unread("it is missing".into())),
        Some("") => Ok(NONE),
        Some(text) => {
            let at: jiff::Timestamp = text.parse().map_err(|e: jiff::Error| unread(e.to_string()))?;
            u64::try_from(at.as_millisecond()).map_err(|_| unread("it is before 1970".into()))
        }
    }
}

/// What would be done, and what could be missing then.
struct Plan {
    seen: Seen,
    parts: Vec<Part>,
    found: Found,
    until: u64,
    missing: String,
}

impl Plan {
    fn told(&self, ask: &Ask, before: &str) -> Value {
        json!({
            "site": ask.site, "before": before, "until": shown(self.until), "missing": self.missing,
            "dry_run": ask.dry_run, "changed": false, "without": self.seen.without,
            "partitions": self.parts.iter().map(Part::told).collect::<Vec<_>>(),
            "misfits": self.found.misfits.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "bodies": self.seen.bodies(), "warnings": self.seen.warnings,
        })
    }
}

/// The nodes of the site that is to go on, this one among them.
fn ours(node: &Node, rooms: &Rooms, ask: &Ask, serving: &Serving) -> Result<BTreeSet<u16>, AdminError> {
    let members = rows::members(rooms.engine.local(SITE).as_ref()).map_err(fault)?;
    let there = members.iter().filter(|(_, m)| !m.removed && m.site == ask.site).map(|(number, _)| *number);
    let there: BTreeSet<u16> = there.collect();
    if there.is_empty() {
        let what = format!("site {} is not promoted", ask.site);
        let fix = "`spine site` shows the sites and their nodes";
        return Err(AdminError::of(&codes::CLI_NOT_FOUND, what, "no node stands there").with_fix(fix));
    }
    if serving.site == ask.site {
        let why = "it serves already";
        let fix = "`spine site` shows it; if it lacks nodes of its own, see docs/runbooks.md, \"Most nodes are down\"";
        return Err(no(&ask.site, why).with_fix(fix));
    }
    if serving.site.is_empty() {
        return Err(no(&ask.site, "no site serves yet: every node votes, wherever it stands"));
    }
    if node.settings.node.site != ask.site {
        let why = format!("node {} stands in site {}", node.settings.node.number, node.settings.node.site);
        let fix = format!("repeat the command on a machine of site {}", ask.site);
        return Err(no(&ask.site, why).with_fix(fix));
    }
    Ok(there)
}

/// The site that goes on, seen from one of its nodes.
struct Site<'a> {
    node: &'a Node,
    rooms: &'a Rooms,
    ask: &'a Ask,
    serving: &'a str,
    ours: BTreeSet<u16>,
}

impl Site<'_> {
    fn call(&self, what: u8) -> SuccessionCall {
        SuccessionCall { what, site: self.ask.site.clone(), ..Default::default() }
    }

    async fn ask(&self, to: u16, call: &SuccessionCall, patience: Duration) -> Option<SuccessionAnswer> {
        succession::ask(self.node, self.rooms, to, call, patience).await
    }

    /// Where it failed, and may not when it is repeated.
    fn again(&self, why: impl Into<String>) -> AdminError {
        let fix = "see that the nodes of the site run, and repeat the command: what was taken over stays so";
        let what = format!("site {} is not promoted yet", self.ask.site);
        AdminError::of(&codes::CLI_UNAVAILABLE, what, why).with_fix(fix)
    }

    /// What every node of the site says; an error where something stands against going on, each time anew.
    async fn look(&self) -> Result<Seen, AdminError> {
        let call = &self.call(TELL);
        let asked = self.ours.iter().map(|number| async move { (*number, self.ask(*number, call, TELLING).await) });
        let answers = join_all(asked).await.into_iter().collect();
        let here = self.node.settings.node.number;
        let asked = Asked { site: &self.ask.site, serving: self.serving, without: &self.ask.without, here };
        Seen::of(answers, &asked)
    }

    /// What comes of it, told by the nodes that would take each partition over.
    async fn plan(&self, seen: Seen) -> Result<Plan, AdminError> {
        let parts = seen.parts(self.rooms.groups.len(), &self.ask.site)?;
        let mut found = Found::of(&parts);
        let searches = parts.iter().filter(|part| !part.taken_over).map(|part| {
            let call = self.take(part, &parts, &self.call(SEARCH), succeeding(part.promised));
            async move { (part.number, self.one(part.heir, &call, TAKING).await) }
        });
        for (number, told) in join_all(searches).await {
            found.note(number, &told.map_err(|why| self.again(format!("partition {number}: {why}")))?);
        }
        let until = seen.until(&parts);
        let missing = seen.missing(until, &parts, &found);
        Ok(Plan { seen, parts, found, until, missing })
    }

    /// The call to a partition's heir.
    fn take(&self, part: &Part, all: &[Part], of: &SuccessionCall, term: u64) -> SuccessionCall {
        let source = PartitionId(part.number);
        SuccessionCall {
            group: part.number,
            term,
            heir: part.heir,
            end_term: part.end.term,
            end_index: part.end.index,
            voters: part.voters.clone(),
            taken: all.iter().map(|target| target.standing.taken(source)).collect(),
            ..of.clone()
        }
    }

    /// Asks one node, which does it or is told why not.
    async fn one(&self, to: u16, call: &SuccessionCall, patience: Duration) -> Result<SuccessionAnswer, String> {
        match self.ask(to, call, patience).await {
            None => Err(format!("node {to} does not answer any more")),
            Some(told) if !told.refusal.is_empty() => Err(format!("node {to}: {}", told.refusal)),
            Some(told) => Ok(told),
        }
    }

    /// Asks all of these the same; the first that does not do it is told.
    async fn all(&self, of: &[u16], call: &SuccessionCall, patience: Duration) -> Result<(), String> {
        let asked = of.iter().map(|number| async move { self.one(*number, call, patience).await.map(|_| ()) });
        join_all(asked).await.into_iter().collect()
    }

    /// Takes every partition over that is not; when this returns, nodes of this site lead them all.
    async fn carry_out(&self, agreed: u64, operator: &str) -> Result<Plan, AdminError> {
        let (plan, terms) = self.freeze().await?;
        if plan.until < agreed {
            let (is, was) = (shown(plan.until), shown(agreed));
            let is = if is.is_empty() { "no moment".into() } else { is };
            let why = format!("what could be missing has changed: {is} is named now, and {was} was agreed to");
            let fix = format!("see `spine site promote {} --dry-run`, and decide again", self.ask.site);
            return Err(no(&self.ask.site, why).with_fix(fix));
        }
        let plan = Plan { until: agreed, missing: plan.seen.missing(agreed, &plan.parts, &plan.found), ..plan };
        let decided = self.give_up(&plan, operator).await?;
        let (first, rest): (Vec<&Part>, Vec<&Part>) =
            plan.parts.iter().filter(|part| !part.taken_over).partition(|part| part.number == SITE.0);
        for some in [first, rest] {
            let (terms, decided, parts) = (&terms, &decided, &plan.parts);
            let taken = some.iter().map(|part| async move {
                let term = terms.get(&part.number).copied().ok_or("no term was promised")?;
                self.one(part.heir, &self.take(part, parts, decided, term), TAKING).await.map(|_| ())
            });
            for (part, outcome) in some.iter().zip(join_all(taken).await) {
                outcome.map_err(|why| self.again(format!("partition {}: {why}", part.number)))?;
            }
            // The other partitions' members follow the site's own.
            self.led(&some).await?;
        }
        let all: Vec<&Part> = plan.parts.iter().collect();
        self.led(&all).await?;
        Ok(plan)
    }

    /// From here on there is no way back: the lost nodes are turned away, for one that led again would take back what is taken over.
    /// They are asked once more before, and for a while.
    async fn give_up(&self, plan: &Plan, operator: &str) -> Result<SuccessionCall, AdminError> {
        let members = rows::members(self.rooms.engine.local(SITE).as_ref()).map_err(fault)?;
        let out = |number: u16| plan.seen.out.contains(&u64::from(number));
        let known = members.into_iter().filter(|(number, m)| out(*number) && !m.certificate.is_empty());
        let certificates = known.map(|(_, m)| m.certificate).chain(plan.seen.certificates.iter().cloned());
        let call = SuccessionCall {
            operator: operator.to_owned(),
            at: self.node.world.clock.now().0,
            missing: plan.missing.clone(),
            out: plan.seen.out.iter().copied().collect(),
            certificates: certificates.collect(),
            since: plan.seen.since,
            until: plan.until,
            ..self.call(LISTEN)
        };
        let numbers = plan.seen.numbers();
        self.all(&numbers, &call, TELLING).await.map_err(|why| no(&self.ask.site, why))?;
        let call = SuccessionCall { what: GIVE_UP, ..call };
        self.all(&numbers, &call, PROMISING).await.map_err(|why| {
            let fix = "some nodes turn the lost ones away by now, and there is no way but forward: repeat the command when the lost nodes are off";
            self.again(why).with_fix(fix)
        })?;
        Ok(SuccessionCall { what: SUCCEED, ..call })
    }

    /// Has a term promised to each partition's heir by every node, and looks again: from then on no log moves.
    async fn freeze(&self) -> Result<(Plan, BTreeMap<u16, u64>), AdminError> {
        let deadline = Instant::now() + FREEZE;
        loop {
            match self.try_to_freeze().await {
                Ok(frozen) => return Ok(frozen),
                // What stands against it is said at once; what only has to come to rest is waited for.
                Err(e) if e.code == codes::SITE_NOT_LOST.code || Instant::now() >= deadline => return Err(e),
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    async fn try_to_freeze(&self) -> Result<(Plan, BTreeMap<u16, u64>), AdminError> {
        let before = self.look().await?.parts(self.rooms.groups.len(), &self.ask.site)?;
        let mut terms = BTreeMap::new();
        for part in before.iter().filter(|part| !part.taken_over) {
            let term = succeeding(part.promised);
            let call = self.take(part, &[], &self.call(YIELD), term);
            let of: Vec<u16> = part.voters.iter().map(|id| RaftId(*id).node().0).collect();
            let promised = self.all(&of, &call, PROMISING).await;
            promised.map_err(|why| self.again(format!("partition {}: {why}", part.number)))?;
            terms.insert(part.number, term);
        }
        let mut plan = self.plan(self.look().await?).await?;
        for (part, before) in plan.parts.iter_mut().zip(&before).filter(|(_, before)| !before.taken_over) {
            if (part.end, &part.voters) != (before.end, &before.voters) {
                return Err(self.again(format!("the log of partition {} has moved meanwhile", part.number)));
            }
            part.heir = before.heir;
        }
        Ok((plan, terms))
    }

    /// An earlier attempt may have taken a partition over with a node that is gone on without by now.
    async fn part_with(&self, plan: &Plan) -> Result<(), AdminError> {
        let member = |number: &u16| {
            let of = |part: &Part| part.taken_over && part.members.iter().any(|id| RaftId(*id).node().0 == *number);
            plan.parts.iter().any(of)
        };
        for number in plan.seen.without.iter().copied().filter(member) {
            let gone = door::expel(self.rooms, NodeNumber(number)).await;
            gone.map_err(|why| {
                let fix = format!("site {} serves; `spine node remove {number}`", self.ask.site);
                self.again(format!("node {number} is a member yet: {why}")).with_fix(fix)
            })?;
        }
        Ok(())
    }

    /// Waits until nodes of this site lead these partitions.
    async fn led(&self, parts: &[&Part]) -> Result<(), AdminError> {
        let deadline = Instant::now() + LEAD;
        let call = &self.call(TELL);
        loop {
            let asked = self.ours.iter().map(|number| self.ask(*number, call, TELLING));
            let seen: Vec<SuccessionAnswer> = join_all(asked).await.into_iter().flatten().collect();
            let leads = |number: u16| {
                seen.iter().flat_map(|told| &told.places).any(|place| place.group == number && place.leading)
            };
            let Some(part) = parts.iter().find(|part| !leads(part.number)) else { return Ok(()) };
            if Instant::now() >= deadline {
                return Err(self.again(format!("nobody leads partition {} yet", part.number)));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Writes it into the registry, whose leader has only just begun.
async fn register(rooms: &Rooms, r: &AdminRequest, command: Promote) -> Result<(), AdminError> {
    let deadline = Instant::now() + LEAD;
    loop {
        let reply = report::submit(rooms, r.caller.operator.clone(), command.clone().into()).await;
        match reply {
            Ok(reply) if reply.is_done() => return Ok(()),
            Ok(reply) => return Err(AdminError::of(&codes::CLI_MEMBERSHIP, "the registry refused", reply.text)),
            Err(why) if Instant::now() >= deadline => {
                let error = AdminError::of(&codes::CLI_UNAVAILABLE, codes::CLI_UNAVAILABLE.words, why);
                return Err(error.with_fix("repeat the command: what was taken over stays so"));
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}
