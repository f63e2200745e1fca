//! What the nodes of a site that is to go on tell of themselves, looked at before each step: whether they may, from which logs, and what
//! of it could be missing (P1). Nothing is asked and nothing is changed here.

use super::super::{fault, moment};
use crate::{
    consensus::{End, RaftId},
    engine::{
        cut::{Misfit, Standing},
        succession::misfits,
    },
    node::succession::{PlaceRecord, SuccessionAnswer},
    ops::{admin::AdminError, codes},
    services::directory::sites::LEAST,
};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Stamps never fall, and clocks that may decide differ by so much at most: what was acknowledged under one clock before a moment may bear a
/// stamp so much later or earlier, milliseconds.
const APART: u64 = 2 * 5_000;
/// The moment that is named where none can be: nothing was acknowledged before it.
pub const NONE: u64 = 1;

/// Who is asked, and what an operator said of it.
pub struct Asked<'a> {
    pub site: &'a str,
    /// The site that serves.
    pub serving: &'a str,
    /// Nodes of the site itself that are to be gone on without.
    pub without: &'a [u16],
    /// The node that asks.
    pub here: u16,
}

/// The nodes that go on, and what each says.
pub struct Seen {
    pub told: BTreeMap<u16, SuccessionAnswer>,
    /// Nodes of the site by the registry, of which more than half have to answer.
    registered: BTreeSet<u16>,
    /// Nodes of the site itself that are given up like those of the lost one.
    pub without: BTreeSet<u16>,
    /// Who is given up: those, and who stands elsewhere by the registry of any.
    pub out: BTreeSet<u64>,
    pub certificates: BTreeSet<String>,
    pub since: u64,
    /// The moment that an attempt before this one named; 0: there was none.
    until: u64,
    pub warnings: Vec<String>,
}

pub fn no(site: &str, why: impl Into<String>) -> AdminError {
    AdminError::of(&codes::SITE_NOT_LOST, format!("site {site} is not promoted"), why)
}

impl Seen {
    /// Of what was answered, `None` where a node is silent; an error where something stands against it.
    pub fn of(answers: BTreeMap<u16, Option<SuccessionAnswer>>, asked: &Asked<'_>) -> Result<Seen, AdminError> {
        let registered: BTreeSet<u16> = answers.keys().copied().collect();
        let kept = answers.values().flatten().flat_map(|told| &told.given_up);
        let before: BTreeSet<u16> =
            kept.filter_map(|n| u16::try_from(*n).ok()).filter(|n| registered.contains(n)).collect();
        nobody_lives(&answers, &before, asked)?;
        let without: BTreeSet<u16> = before.iter().chain(asked.without).copied().collect();
        let wanted: Vec<(u16, Option<SuccessionAnswer>)> =
            answers.into_iter().filter(|(number, _)| !without.contains(number)).collect();
        let silent: Vec<String> =
            wanted.iter().filter(|(_, told)| told.is_none()).map(|(n, _)| n.to_string()).collect();
        if !silent.is_empty() {
            let why = format!("node {} does not answer, and may have the longest log", silent.join(", node "));
            let named: String = silent.iter().map(|n| format!(" --without {n}")).collect();
            let fix = format!(
                "bring it up; where it is lost, too, `spine site promote {}{named}` goes on without it, and what it alone has is missing",
                asked.site
            );
            return Err(no(asked.site, why).with_fix(fix));
        }
        let told: BTreeMap<u16, SuccessionAnswer> =
            wanted.into_iter().filter_map(|(number, told)| Some((number, told?))).collect();
        enough(told.len(), registered.len(), asked.site)?;
        let mut warnings = vec![];
        if told.len() < usize::from(LEAST) {
            warnings.push(format!("{} nodes go on: they cannot bear the loss of one", told.len()));
        }
        let away = told.values().flat_map(|told| &told.away).copied();
        let ours: BTreeSet<u64> = told.keys().copied().map(u64::from).collect();
        let out = away.chain(without.iter().copied().map(u64::from)).filter(|number| !ours.contains(number)).collect();
        let until = told.values().map(|told| told.until).filter(|until| *until > 0).min().unwrap_or(0);
        let since = told.values().map(|told| told.since).max().unwrap_or(0);
        let certificates = told.values().flat_map(|told| told.certificates.clone()).collect();
        Ok(Seen { told, registered, without, out, certificates, since, until, warnings })
    }

    pub fn numbers(&self) -> Vec<u16> {
        self.told.keys().copied().collect()
    }

    /// Every partition, by the longest log that a node told of.
    pub fn parts(&self, partitions: usize, site: &str) -> Result<Vec<Part>, AdminError> {
        (0..partitions as u16).map(|number| self.part(number, site)).collect()
    }

    fn part(&self, number: u16, site: &str) -> Result<Part, AdminError> {
        let place = |told: &SuccessionAnswer| told.places.iter().find(|p| p.group == number).cloned();
        let all: Vec<(u16, PlaceRecord)> = self.told.iter().filter_map(|(n, told)| Some((*n, place(told)?))).collect();
        let end = all.iter().map(|(_, place)| place.end()).max();
        let known = |place: &PlaceRecord, id: u64| place.voters.contains(&id) || place.learners.contains(&id);
        // Of several with the same log each gets its share of the partitions.
        let longest = all.iter().filter(|(_, place)| Some(place.end()) == end && known(place, place.own));
        let longest: Vec<&(u16, PlaceRecord)> = longest.collect();
        let Some((heir, place)) = longest.get(usize::from(number) % longest.len().max(1)).copied() else {
            return Err(fault(format!("no node whose log is the longest is a member of partition {number}")));
        };
        // A node that lost its data and has not been let in again has nothing of before: its old incarnation is not it.
        let voters: Vec<u64> = all.iter().map(|(_, told)| told.own).filter(|id| known(place, *id)).collect();
        enough(voters.len(), self.registered.len(), site)
            .map_err(|e| no(site, format!("partition {number}: {}", e.why)))?;
        let leader = all.iter().find(|(_, place)| place.leading).map_or(place, |(_, place)| place);
        let ours = |id: &u64| self.registered.contains(&RaftId(*id).node().0);
        Ok(Part {
            number,
            taken_over: !place.voters.is_empty() && place.voters.iter().all(ours),
            heir: *heir,
            end: place.end(),
            promised: all.iter().map(|(_, place)| place.promised).max().unwrap_or(0),
            standing: leader.standing(),
            members: place.voters.iter().chain(&place.learners).copied().collect(),
            voters,
        })
    }

    /// The moment before which everything that was acknowledged is there; [`NONE`] where it cannot be said.
    pub fn until(&self, parts: &[Part]) -> u64 {
        // What was taken over goes on: its stamps tell nothing of before. The attempt that did it named a moment.
        let counts = |part: &&Part| part.standing.time() > 0 && !(part.taken_over && self.until > 0);
        let times: Vec<u64> = parts.iter().filter(counts).map(|part| part.standing.time()).collect();
        let clock = self.told.values().map(|told| told.now).min().unwrap_or(0);
        let now = match times.iter().min() {
            _ if times.iter().any(|time| *time >= clock) => NONE,
            Some(least) => least.saturating_sub(APART).max(NONE),
            None => clock,
        };
        if self.until > 0 { now.min(self.until) } else { now }
    }

    /// Bodies that lie beside the rows: when each node last made sure that it has all of them.
    pub fn bodies(&self) -> Vec<Value> {
        let whole =
            |(number, told): (&u16, &SuccessionAnswer)| json!({"node": number, "until": shown(told.bodies_whole)});
        self.told.iter().map(whole).collect()
    }

    /// In a sentence, for the operator and the trail.
    pub fn missing(&self, until: u64, parts: &[Part], found: &Found) -> String {
        let mut said = vec![match shown(until) {
            none if none.is_empty() => {
                "no moment can be named before which all is there: stamps are ahead of a clock of these nodes".into()
            }
            until => format!(
                "all that was acknowledged before {until} is there, and what was acknowledged later may be missing"
            ),
        }];
        match self.told.values().map(|told| told.bodies_whole).max().unwrap_or(0) {
            0 => said.push("no node has made sure since it started that it has every body".into()),
            whole if whole < until => said.push(format!("bodies that came after {} may be missing", shown(whole))),
            _ => {}
        }
        let misfits = found.misfits.len();
        if misfits > 0 {
            said.push(format!("between partitions {misfits} deliveries end at different places"));
        }
        said.extend(found.said.iter().cloned());
        // A source that goes on already is not put right a second time.
        let late = |misfit: &&Misfit| match misfit {
            Misfit::NotSent { source_partition, .. } | Misfit::NotTaken { source_partition, .. } => {
                parts.iter().any(|part| part.taken_over && part.number == *source_partition)
            }
        };
        said.extend(found.misfits.iter().filter(late).map(|misfit| format!("not put right any more: {misfit}")));
        said.join("; ")
    }
}

/// More than half of the site's nodes: two parts of it must not each go on (P2). Nothing overrides it.
fn enough(of: usize, registered: usize, site: &str) -> Result<(), AdminError> {
    if 2 * of > registered {
        return Ok(());
    }
    let why = format!("{of} of its {registered} nodes answer and have their part; more than half have to");
    Err(no(site, why).with_fix("bring more of them up; `spine site` shows them"))
}

/// The lost nodes are silent, those that are named as lost too, and nobody who is asked refuses.
fn nobody_lives(
    answers: &BTreeMap<u16, Option<SuccessionAnswer>>,
    before: &BTreeSet<u16>,
    asked: &Asked<'_>,
) -> Result<(), AdminError> {
    let Asked { site, serving, .. } = asked;
    if before.contains(&asked.here) || asked.without.contains(&asked.here) {
        return Err(no(site, format!("node {} itself is to be gone on without", asked.here)));
    }
    for number in asked.without.iter().filter(|number| !before.contains(*number)) {
        match answers.get(number) {
            None => return Err(no(site, format!("node {number} does not stand in it"))),
            Some(None) => {}
            Some(Some(_)) => {
                let why = format!("node {number} answers: it goes on with the others");
                return Err(no(site, why).with_fix(format!("leave `--without {number}` out")));
            }
        }
    }
    for (number, answer) in answers.iter().filter(|(number, _)| !before.contains(*number)) {
        let Some(answer) = answer else { continue };
        if let Some(heard) = answer.hears.first() {
            let why = format!(
                "node {heard}, which is none of its nodes, still answers node {number}: what site {serving} acknowledges would be lost"
            );
            let fix = "where it lives, move the service: `spine site cutover`; where it cannot, switch its machines off first, all of them";
            return Err(no(site, why).with_fix(fix));
        }
        if !answer.refusal.is_empty() {
            return Err(no(site, format!("node {number}: {}", answer.refusal)));
        }
    }
    Ok(())
}

/// One partition, by the longest of the logs that are left.
pub struct Part {
    pub number: u16,
    /// Only nodes of the site that goes on vote in it, by that log.
    pub taken_over: bool,
    pub heir: u16,
    pub end: End,
    /// No node has promised a later term.
    pub promised: u64,
    pub standing: Standing,
    pub members: BTreeSet<u64>,
    /// Who votes from then on.
    pub voters: Vec<u64>,
}

impl Part {
    pub fn told(&self) -> Value {
        json!({
            "partition": self.number, "taken_over": self.taken_over, "node": self.heir, "term": self.end.term,
            "index": self.end.index, "until": shown(self.standing.time()),
        })
    }
}

/// What partitions are at odds about, and what comes of it.
pub struct Found {
    pub misfits: Vec<Misfit>,
    pub said: Vec<String>,
}

impl Found {
    pub fn of(parts: &[Part]) -> Found {
        let standings: Vec<Standing> = parts.iter().map(|part| part.standing.clone()).collect();
        Found { misfits: misfits(&standings), said: vec![] }
    }

    /// What a partition's heir found in its log.
    pub fn note(&mut self, number: u16, told: &SuccessionAnswer) {
        if told.again > 0 {
            let again = told.again;
            self.said.push(format!("partition {number} delivers {again} commands once more, which others had lost"));
        }
        self.said.extend(told.lost.iter().map(|target| {
            format!("of partition {number} some commands for partition {target} are nowhere any more: its log does not reach back")
        }));
    }
}

/// A moment as it is told; empty where there is none.
pub fn shown(at: u64) -> String {
    if at > NONE { moment(at) } else { String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seam::net::NodeNumber;

    const NOON: u64 = 1_800_000_000_000;

    fn id(node: u16, incarnation: u16) -> u64 {
        RaftId::new(NodeNumber(node), incarnation).0
    }

    /// What a node of York says, whose one partition's newest entry was stamped at noon; its clock is a minute on.
    fn answer(node: u16) -> SuccessionAnswer {
        let place = PlaceRecord {
            own: id(node, 1),
            end_index: 9,
            time: NOON,
            voters: (1..=3).map(|n| id(n, 1)).collect(),
            learners: (4..=6).map(|n| id(n, 1)).collect(),
            ..Default::default()
        };
        SuccessionAnswer { places: vec![place], now: NOON + 60_000, away: vec![1, 2, 3], ..Default::default() }
    }

    fn seen(answers: [Option<SuccessionAnswer>; 3], without: &[u16]) -> Result<Seen, AdminError> {
        let asked = Asked { site: "york", serving: "leeds", without, here: 4 };
        Seen::of((4..).zip(answers).collect(), &asked)
    }

    fn all() -> [Option<SuccessionAnswer>; 3] {
        [4, 5, 6].map(|node| Some(answer(node)))
    }

    fn refused(of: Result<Seen, AdminError>) -> String {
        of.err().expect("a refusal").why
    }

    #[test]
    fn who_is_silent_is_gone_on_without_by_name_only_and_is_no_member_then() {
        let silent = || [Some(answer(4)), Some(answer(5)), None];
        assert!(refused(seen(silent(), &[])).contains("longest log"));
        let seen = seen(silent(), &[6]).unwrap();
        assert_eq!(seen.out.iter().copied().collect::<Vec<_>>(), [1, 2, 3, 6]);
        assert_eq!(seen.parts(1, "york").unwrap()[0].voters, [id(4, 1), id(5, 1)]);
        assert!(refused(self::seen(all(), &[6])).contains("node 6 answers"));
        assert!(refused(self::seen([Some(answer(4)), None, None], &[5, 6])).contains("more than half"));
    }

    #[test]
    fn whoever_hears_the_lost_site_stands_against_it_at_every_look() {
        let mut answers = all();
        answers[2] = Some(SuccessionAnswer { hears: vec![1], ..answer(6) });
        assert!(refused(seen(answers, &[])).contains("still answers node 6"));
    }

    #[test]
    fn a_node_whose_old_incarnation_alone_is_known_gets_no_vote() {
        let mut answers = all();
        if let Some(told) = &mut answers[2] {
            told.places[0].own = id(6, 2);
        }
        let parts = seen(answers, &[]).unwrap().parts(1, "york").unwrap();
        assert_eq!(parts[0].voters, [id(4, 1), id(5, 1)]);
    }

    #[test]
    fn the_moment_allows_for_clocks_and_is_never_later_than_the_one_that_was_named_first() {
        let until = |answers| {
            let seen = seen(answers, &[]).unwrap();
            seen.until(&seen.parts(1, "york").unwrap())
        };
        assert_eq!(until(all()), NOON - 10_000);
        let mut ahead = all();
        ahead[1] = Some(SuccessionAnswer { now: NOON - 1, ..answer(5) });
        assert_eq!(until(ahead), NONE, "its clock is behind the stamp: what was acknowledged when?");
        let mut again = all();
        again[1] = Some(SuccessionAnswer { until: NOON - 50_000, given_up: vec![1, 2, 3], ..answer(5) });
        assert_eq!(until(again), NOON - 50_000);
    }
}
