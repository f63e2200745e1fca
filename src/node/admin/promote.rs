//! `POST /v1/sites/promote`: the site that served is lost for good, and the followers of another go on without it.
//!
//! Everything is asked of every node of that site first: what could be missing is known before anything is changed, and told. Then,
//! in an order that may stop anywhere and be begun again: each partition's followers promise its longest log's node a term; all
//! of them turn the lost nodes away from then on; the partitions are taken over, the site's own first; and when all of them are led,
//! the registry says who serves. What was taken over before is left alone.

use super::{Told, fault, moment, rooms};
use crate::{
    consensus::{End, RaftId},
    engine::{
        SITE,
        cut::{Misfit, Standing},
        succession::misfits,
    },
    node::{
        Node, report,
        rooms::Rooms,
        succession::{self, GIVE_UP, PlaceRecord, SUCCEED, SuccessionAnswer, SuccessionCall, TELL, YIELD},
    },
    ops::{
        admin::{AdminError, AdminRequest},
        codes,
    },
    services::directory::{
        rows,
        sites::{self, LEAST, Promote, Serving},
    },
};
use futures_util::future::join_all;
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
    force: bool,
    dry_run: bool,
}

/// The nodes that go on, by number, and what each says; `None` where it is silent.
type Seen = BTreeMap<u16, Option<SuccessionAnswer>>;

/// One partition, by the longest of the logs that are left.
struct Part {
    number: u16,
    /// Only nodes of the site that goes on vote in it, by that log.
    taken_over: bool,
    heir: u16,
    end: End,
    /// No node has promised a later term.
    promised: u64,
    standing: Standing,
    voters: Vec<u64>,
    learners: Vec<u64>,
}

pub async fn promote(node: Arc<Node>, r: AdminRequest) -> Told {
    let rooms = rooms(&node)?;
    let ask: Ask = r.input()?;
    let begun = Instant::now();
    let serving = sites::serving(rooms.engine.local(SITE).as_ref()).map_err(fault)?.unwrap_or_default();
    let ours = ours(&node, rooms, &ask, &serving)?;
    let site = Site { node: &node, rooms, label: &ask.site };
    let seen = site.look(&ours).await;
    let mut warnings = objections(&seen, &ask, &serving)?;
    let parts = parts(rooms, &seen)?;
    let until = parts.iter().map(|part| part.standing.time()).min().unwrap_or(0);
    let found = misfits_of(&parts);
    let missing = missing(until, &found);
    let mut told = json!({
        "site": ask.site, "before": serving.site, "until": moment(until), "missing": missing, "dry_run": ask.dry_run, "changed": false,
        "partitions": parts.iter().map(told).collect::<Vec<_>>(),
        "misfits": found.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "bodies": bodies(&seen),
    });
    if !ask.dry_run {
        let decided = Decided { operator: &r.caller.operator, at: node.world.clock.now().0, missing: &missing };
        let outcome = site.carry_out(&ours, &decided).await?;
        warnings.extend(outcome);
        let least = seen.values().flatten().count().min(LEAST.into()) as u16;
        let (site, instead_of) = (ask.site.clone(), serving.site.clone());
        let command = Promote { site, instead_of, least, missing, ..Default::default() };
        register(rooms, &r, command).await?;
        told["changed"] = json!(true);
        told["seconds"] = json!((begun.elapsed().as_secs_f64() * 1000.0).round() / 1000.0);
    }
    told["warnings"] = json!(warnings);
    Ok(told)
}

fn no(site: &str, why: impl Into<String>) -> AdminError {
    AdminError::of(&codes::SITE_NOT_LOST, format!("site {site} is not promoted"), why)
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
        let fix = "`spine site` shows it; if it lacks nodes of its own, see docs/runbooks.md, \"The majority is lost\"";
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

/// What stands against it. Some of it an operator may override: that comes back as warnings.
fn objections(seen: &Seen, ask: &Ask, serving: &Serving) -> Result<Vec<String>, AdminError> {
    for (number, answer) in seen {
        let Some(answer) = answer else { continue };
        if let Some(heard) = answer.hears.first() {
            let why = format!(
                "node {heard}, which is none of its nodes, still answers node {number}: what site {} acknowledges would be lost",
                serving.site
            );
            let fix = "where it lives, move the service: `spine site cutover`; where it cannot, switch its machines off first, all of them";
            return Err(no(&ask.site, why).with_fix(fix));
        }
        if !answer.refusal.is_empty() {
            return Err(no(&ask.site, format!("node {number}: {}", answer.refusal)));
        }
    }
    let mut against: Vec<String> = vec![];
    if seen.len() < usize::from(LEAST) {
        against.push(format!("{} nodes stand there: they cannot bear the loss of one", seen.len()));
    }
    let silent = seen.iter().filter(|(_, answer)| answer.is_none());
    against.extend(silent.map(|(number, _)| format!("node {number} does not answer, and may have the longest log")));
    match against.is_empty() || ask.force {
        true => Ok(against.into_iter().map(|why| format!("forced: {why}")).collect()),
        false => Err(no(&ask.site, against.join("; "))),
    }
}

/// Every partition by the longest log that a node told of.
fn parts(rooms: &Rooms, seen: &Seen) -> Result<Vec<Part>, AdminError> {
    (0..rooms.groups.len() as u16).map(|number| part(number, seen)).collect()
}

fn part(number: u16, seen: &Seen) -> Result<Part, AdminError> {
    let place = |told: &'_ SuccessionAnswer| told.places.iter().find(|p| p.group == number).cloned();
    let places: Vec<(u16, PlaceRecord)> =
        seen.iter().filter_map(|(node, told)| Some((*node, place(told.as_ref()?)?))).collect();
    let end = places.iter().map(|(_, place)| place.end()).max();
    // Of several with the same log each gets its share of the partitions.
    let longest: Vec<&(u16, PlaceRecord)> = places.iter().filter(|(_, place)| Some(place.end()) == end).collect();
    let Some((heir, place)) = longest.get(usize::from(number) % longest.len().max(1)).copied() else {
        return Err(fault(format!("no node tells of partition {number}")));
    };
    let leader = places.iter().find(|(_, place)| place.leading).map_or(place, |(_, place)| place);
    let ours = |id: &&u64| seen.contains_key(&RaftId(**id).node().0);
    let answers = |id: &&u64| seen.get(&RaftId(**id).node().0).is_some_and(Option::is_some);
    // A node's latest incarnation alone is that node.
    let mut newest: BTreeMap<u16, u64> = BTreeMap::new();
    for id in place.voters.iter().chain(&place.learners).filter(ours) {
        let known = newest.entry(RaftId(*id).node().0).or_insert(*id);
        *known = (*known).max(*id);
    }
    Ok(Part {
        number,
        taken_over: !place.voters.is_empty() && place.voters.iter().all(|id| ours(&id)),
        heir: *heir,
        end: place.end(),
        promised: places.iter().map(|(_, place)| place.promised).max().unwrap_or(0),
        standing: leader.standing(),
        voters: newest.values().filter(answers).copied().collect(),
        learners: newest.values().filter(|id| !answers(id)).copied().collect(),
    })
}

fn misfits_of(parts: &[Part]) -> Vec<Misfit> {
    let standings: Vec<Standing> = parts.iter().map(|part| part.standing.clone()).collect();
    misfits(&standings)
}

/// In a sentence, for the operator and the trail.
fn missing(until: u64, misfits: &[Misfit]) -> String {
    let until = if until > 0 { moment(until) } else { "the first entry".into() };
    let later =
        format!("all that was acknowledged up to {until} is there, and what was acknowledged later may be missing");
    match misfits.len() {
        0 => later,
        n => format!("{later}; between partitions {n} deliveries end at different places"),
    }
}

fn told(part: &Part) -> Value {
    json!({
        "partition": part.number, "taken_over": part.taken_over, "node": part.heir, "term": part.end.term, "index": part.end.index,
        "until": moment(part.standing.time()),
    })
}

/// Bodies that lie beside the rows: up to when each node is known to have all of them.
fn bodies(seen: &Seen) -> Vec<Value> {
    let whole = |(number, told): (&u16, &Option<SuccessionAnswer>)| {
        let at = told.as_ref()?.bodies_whole;
        Some(json!({"node": number, "until": if at > 0 { moment(at) } else { String::new() }}))
    };
    seen.iter().filter_map(whole).collect()
}

/// What every partition's trail is told.
struct Decided<'a> {
    operator: &'a str,
    at: u64,
    missing: &'a str,
}

/// The site that goes on, seen from one of its nodes.
struct Site<'a> {
    node: &'a Node,
    rooms: &'a Rooms,
    label: &'a str,
}

impl Site<'_> {
    fn call(&self, what: u8) -> SuccessionCall {
        SuccessionCall { what, site: self.label.to_owned(), ..Default::default() }
    }

    async fn ask(&self, to: u16, call: &SuccessionCall, patience: Duration) -> Option<SuccessionAnswer> {
        succession::ask(self.node, self.rooms, to, call, patience).await
    }

    async fn look(&self, ours: &BTreeSet<u16>) -> Seen {
        let call = &self.call(TELL);
        let asked = ours.iter().map(|number| async move { (*number, self.ask(*number, call, TELLING).await) });
        join_all(asked).await.into_iter().collect()
    }

    /// Asks all of these the same; the first that does not do it is told.
    async fn all(&self, of: &[u16], call: &SuccessionCall) -> Result<(), String> {
        let asked = of.iter().map(|number| async move {
            match self.ask(*number, call, PROMISING).await {
                None => Err(format!("node {number} does not answer any more")),
                Some(told) if !told.refusal.is_empty() => Err(format!("node {number}: {}", told.refusal)),
                Some(_) => Ok(()),
            }
        });
        join_all(asked).await.into_iter().collect()
    }

    /// Takes every partition over that is not; when this returns, nodes of this site lead them all. Gives what has to be said of it.
    async fn carry_out(&self, ours: &BTreeSet<u16>, decided: &Decided<'_>) -> Result<Vec<String>, AdminError> {
        let again = |why: String| {
            let fix = "see that the nodes of the site run, and repeat the command: what was taken over stays so";
            AdminError::of(&codes::CLI_UNAVAILABLE, format!("site {} is not promoted yet", self.label), why)
                .with_fix(fix)
        };
        let (seen, parts, terms) = self.freeze(ours).await.map_err(again)?;
        let answering: Vec<u16> = seen.iter().filter(|(_, told)| told.is_some()).map(|(number, _)| *number).collect();
        // From here on the lost nodes are turned away: one that led again would take back what is taken over.
        let give_up = SuccessionCall {
            operator: decided.operator.to_owned(),
            at: decided.at,
            missing: decided.missing.to_owned(),
            ..self.call(GIVE_UP)
        };
        self.all(&answering, &give_up).await.map_err(again)?;
        let mut said = vec![];
        let (first, rest): (Vec<&Part>, Vec<&Part>) =
            parts.iter().filter(|part| !part.taken_over).partition(|part| part.number == SITE.0);
        for some in [first, rest] {
            let taken = some.iter().map(|part| self.take_over(part, &parts, &terms, &give_up));
            for outcome in join_all(taken).await {
                said.extend(outcome.map_err(again)?);
            }
            // The other partitions' members follow the site's own.
            self.led(ours, &some).await.map_err(again)?;
        }
        let all: Vec<&Part> = parts.iter().collect();
        self.led(ours, &all).await.map_err(again)?;
        Ok(said)
    }

    /// Has a term promised to each partition's heir by every node that answers, and looks again: from then on no log moves.
    async fn freeze(&self, ours: &BTreeSet<u16>) -> Result<(Seen, Vec<Part>, BTreeMap<u16, u64>), String> {
        let deadline = Instant::now() + FREEZE;
        loop {
            let why = match self.try_to_freeze(ours).await {
                Ok(frozen) => return Ok(frozen),
                Err(why) => why,
            };
            if Instant::now() >= deadline {
                return Err(why);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn try_to_freeze(&self, ours: &BTreeSet<u16>) -> Result<(Seen, Vec<Part>, BTreeMap<u16, u64>), String> {
        let before = parts(self.rooms, &self.look(ours).await).map_err(|e| e.why)?;
        let mut terms = BTreeMap::new();
        for part in before.iter().filter(|part| !part.taken_over) {
            let term = part.promised + 1;
            let call = SuccessionCall {
                group: part.number,
                term,
                heir: part.heir,
                end_term: part.end.term,
                end_index: part.end.index,
                ..self.call(YIELD)
            };
            let of: Vec<u16> = part.voters.iter().map(|id| RaftId(*id).node().0).collect();
            self.all(&of, &call).await.map_err(|why| format!("partition {}: {why}", part.number))?;
            terms.insert(part.number, term);
        }
        let seen = self.look(ours).await;
        let mut now = parts(self.rooms, &seen).map_err(|e| e.why)?;
        for (part, before) in now.iter_mut().zip(&before).filter(|(_, before)| !before.taken_over) {
            if (part.end, &part.voters) != (before.end, &before.voters) {
                return Err(format!("the log of partition {} has moved meanwhile", part.number));
            }
            part.heir = before.heir;
        }
        Ok((seen, now, terms))
    }

    async fn take_over(
        &self,
        part: &Part,
        all: &[Part],
        terms: &BTreeMap<u16, u64>,
        decided: &SuccessionCall,
    ) -> Result<Vec<String>, String> {
        let source = crate::engine::PartitionId(part.number);
        let call = SuccessionCall {
            what: SUCCEED,
            group: part.number,
            term: terms.get(&part.number).copied().ok_or("no term was promised")?,
            heir: part.heir,
            end_term: part.end.term,
            end_index: part.end.index,
            voters: part.voters.clone(),
            learners: part.learners.clone(),
            taken: all.iter().map(|target| target.standing.taken(source)).collect(),
            ..decided.clone()
        };
        let number = part.number;
        let told = self.ask(part.heir, &call, TAKING).await;
        let told = told.ok_or_else(|| format!("partition {number}: node {} does not answer any more", part.heir))?;
        if !told.refusal.is_empty() {
            return Err(format!("partition {number}: node {}: {}", part.heir, told.refusal));
        }
        let mut said = vec![];
        if told.again > 0 {
            said.push(format!("partition {number} delivers {} commands once more, which others had lost", told.again));
        }
        let lost = told.lost.iter().map(|target| {
            format!("of partition {number} some commands for partition {target} are nowhere any more: its log does not reach back")
        });
        said.extend(lost);
        Ok(said)
    }

    /// Waits until nodes of this site lead these partitions.
    async fn led(&self, ours: &BTreeSet<u16>, parts: &[&Part]) -> Result<(), String> {
        let deadline = Instant::now() + LEAD;
        loop {
            let seen = self.look(ours).await;
            let leads = |number: u16| {
                let places = seen.values().flatten().flat_map(|told| &told.places);
                places.filter(|place| place.group == number).any(|place| place.leading)
            };
            let Some(part) = parts.iter().find(|part| !leads(part.number)) else { return Ok(()) };
            if Instant::now() >= deadline {
                return Err(format!("nobody leads partition {} yet", part.number));
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
