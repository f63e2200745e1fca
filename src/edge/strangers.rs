//! Refusals of callers whom nobody knows, told in the audit trail without filling it (P4, P6). The LDAP listener, where no share bounds
//! what one system asks, tells of all its refusals so, those of known systems under their names.
//!
//! The first of a kind (whence, what was asked, why it was refused) has a record of its own before its answer leaves. What
//! follows of the kind is counted, and told in one record after at most [`super::options::Options::gather`] and when the
//! listener drains: how often, and when first and last. There are at most [`MOST`] kinds at once; what goes beyond is
//! counted together, as [`OTHERS`]. So a flood leaves a bounded number of records, and a process that dies loses a minute's counts.

use super::Edge;
use super::backend::Backend;
use super::flow::Ids;
use super::peer::{network, share_of};
use super::tenant::CertificateHash;
use crate::access::caller::Caller;
use crate::engine::{Command, Unavailable, services};
use crate::model::NhsNumber;
use crate::services::trail::command::{Refused, TrailCommand};
use bytes::Bytes;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Kinds that are told apart at once.
pub const MOST: usize = 256;
/// Interaction and outcome of the record on all that were not.
pub const OTHERS: (&str, &str) = ("edge.strangers", "several");
/// Longest reason that is kept, in characters.
const LONGEST: usize = 64;
/// How long a drain tries to write what is left.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// What is alike in refusals that are told together. None: those that are not told apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Kind {
    /// The certificate, or the network that an address lies in.
    share: CertificateHash,
    interaction: &'static str,
    reason: String,
    known: bool,
}

/// What has come of a kind since its last record.
#[derive(Clone, Debug)]
struct Gathered {
    caller: Caller,
    correlation: String,
    times: u64,
    /// Milliseconds since the epoch.
    first: u64,
    last: u64,
    begun: Instant,
}

impl Gathered {
    fn new(caller: Caller) -> Gathered {
        Gathered { caller, correlation: String::new(), times: 0, first: 0, last: 0, begun: Instant::now() }
    }

    fn add(&mut self, times: u64, (first, last): (u64, u64), correlation: &str) {
        self.first = if self.times == 0 { first } else { self.first.min(first) };
        self.times = self.times.saturating_add(times);
        self.last = self.last.max(last);
        self.correlation = correlation.to_owned();
    }
}

/// One record that is to be written.
type Due = (Option<Kind>, Gathered);

pub struct Strangers {
    window: Duration,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    kinds: HashMap<Kind, Gathered>,
    others: Option<Gathered>,
}

impl Seen {
    /// Counts into its kind, or into the rest; true where the kind is new.
    fn add(&mut self, kind: Option<&Kind>, caller: &Caller, times: u64, span: (u64, u64), correlation: &str) -> bool {
        let room = self.kinds.len() < MOST;
        if let Some(kind) = kind {
            if let Some(gathered) = self.kinds.get_mut(kind) {
                gathered.add(times, span, correlation);
                return false;
            }
            if room {
                let mut gathered = Gathered::new(whence(caller));
                gathered.add(times, span, correlation);
                self.kinds.insert(kind.clone(), gathered);
                return true;
            }
        }
        self.others.get_or_insert_with(|| Gathered::new(Caller::default())).add(times, span, correlation);
        false
    }
}

/// The caller as a record on many requests names it: an address of IPv6 as the network that its sender may choose from.
fn whence(caller: &Caller) -> Caller {
    let mut caller = caller.clone();
    if let Ok(IpAddr::V6(long)) = caller.address.parse() {
        caller.address = format!("{}/64", network(IpAddr::V6(long)));
    }
    caller
}

impl Strangers {
    pub fn new(window: Duration) -> Strangers {
        Strangers { window, seen: Mutex::default() }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Counts one refusal. True: it is the first of its kind, is not counted, and wants a record of its own.
    fn first(&self, kind: &Kind, caller: &Caller, now: u64, correlation: &str) -> bool {
        let mut seen = self.seen();
        let first = seen.add(Some(kind), caller, 1, (now, now), correlation);
        if let (true, Some(gathered)) = (first, seen.kinds.get_mut(kind)) {
            gathered.times = 0;
        }
        first
    }

    /// What could not be written is counted on.
    fn again(&self, (kind, gathered): Due) {
        let span = (gathered.first, gathered.last);
        self.seen().add(kind.as_ref(), &gathered.caller, gathered.times, span, &gathered.correlation);
    }

    /// What is to be told now, or at the end. A kind of which nothing came for a whole window is forgotten.
    fn due(&self, end: bool) -> Vec<Due> {
        let ripe = |gathered: &Gathered| end || gathered.begun.elapsed() >= self.window;
        let (mut seen, mut due) = (self.seen(), vec![]);
        seen.kinds.retain(|kind, gathered| {
            if !ripe(gathered) {
                return true;
            }
            let told = gathered.times > 0;
            if told {
                due.push((Some(kind.clone()), gathered.clone()));
                *gathered = Gathered::new(gathered.caller.clone());
            }
            told && !end
        });
        if seen.others.as_ref().is_some_and(ripe) {
            due.extend(seen.others.take().map(|gathered| (None, gathered)));
        }
        due
    }
}

/// A refusal of somebody whom nobody knows.
pub struct Stranger<'a> {
    /// What the connection proves: an address, and a certificate where one was shown.
    pub caller: &'a Caller,
    pub interaction: &'static str,
    /// Code of the catalogue, or the service's word.
    pub reason: &'a str,
    pub subject: Option<NhsNumber>,
    /// The caller is no stranger: the record names them.
    pub known: bool,
}

/// A listener, for its refusals.
pub trait Refusing: Send + Sync + 'static {
    fn strangers(&self) -> &Strangers;
    fn backend(&self) -> &dyn Backend;
}

impl Refusing for Edge {
    fn strangers(&self) -> &Strangers {
        &self.strangers
    }
    fn backend(&self) -> &dyn Backend {
        self.backend.as_ref()
    }
}

/// Sees to it that the trail tells of a refusal: now, of the first of its kind, else with what follows. A site that cannot write it
/// now does not keep anybody from being refused; it is counted on.
pub async fn turned_away(edge: &Edge, stranger: Stranger<'_>, ids: &Ids) {
    edge.meter.anonymous.increment(1);
    told(edge, edge.clock.now().0, stranger, (&ids.correlation, ids.asked_as())).await;
}

/// The same of any listener; `ids`: the correlation id, and the caller's own.
pub async fn told(listener: &dyn Refusing, now: u64, stranger: Stranger<'_>, ids: (&str, String)) {
    let Stranger { caller, interaction, reason, subject, known } = stranger;
    let kind = Kind { share: share(caller), interaction, reason: reason.chars().take(LONGEST).collect(), known };
    let (correlation, asked_as) = ids;
    if !listener.strangers().first(&kind, caller, now, correlation) {
        return;
    }
    let mut gathered = Gathered::new(caller.clone());
    gathered.add(1, (now, now), correlation);
    let due = (Some(kind), gathered);
    let command = Command { asked_as, ..record(&due, subject) };
    // Without a turn: so few are written, and the request may hold one.
    if listener.backend().submit(command).await.is_err() {
        listener.strangers().again(due);
    }
}

/// Under what a sender is counted: its certificate, or its network.
fn share(caller: &Caller) -> CertificateHash {
    match caller.certificate.is_empty() {
        false => share_of("certificate", &caller.certificate),
        true => share_of("address", &caller.address.parse().map(|a| network(a).to_string()).unwrap_or_default()),
    }
}

/// The command whose audit record tells of what was gathered.
fn record((kind, gathered): &Due, subject: Option<NhsNumber>) -> Command {
    let subject = subject.map(NhsNumber::digits).unwrap_or_default();
    let (interaction, code) = match kind {
        Some(kind) => (kind.interaction, kind.reason.as_str()),
        None => OTHERS,
    };
    // Where the person's other records are, so that who asks for them finds this one with them.
    let key = match (subject.is_empty(), kind) {
        (false, _) => Bytes::copy_from_slice(subject.as_bytes()),
        (true, Some(kind)) => Bytes::copy_from_slice(&kind.share),
        (true, None) => Bytes::from_static(OTHERS.0.as_bytes()),
    };
    let Gathered { times, first, last, .. } = *gathered;
    let (interaction, code) = (interaction.into(), code.into());
    let known = kind.as_ref().is_some_and(|kind| kind.known);
    let refused = Refused { interaction, code, subject, times, first, last, known, ..Default::default() };
    Command {
        service: services::TRAIL.0,
        key,
        payload: TrailCommand::from(refused).encode(),
        caller: gathered.caller.clone(),
        correlation_id: gathered.correlation.clone(),
        ..Default::default()
    }
}

/// Tells of what is due. The first that cannot be written ends the round: the rest would wait as long.
async fn tell(listener: &dyn Refusing, end: bool) -> Result<(), Unavailable> {
    let strangers = listener.strangers();
    let mut due = strangers.due(end).into_iter();
    while let Some(one) = due.next() {
        if let Err(why) = listener.backend().submit(record(&one, None)).await {
            strangers.again(one);
            due.for_each(|rest| strangers.again(rest));
            return Err(why);
        }
    }
    Ok(())
}

/// Tells of what is due, again and again, until the listener stops.
pub async fn tend(listener: Arc<dyn Refusing>, mut stop: watch::Receiver<bool>) {
    let pause = (listener.strangers().window / 8).max(Duration::from_millis(10));
    loop {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = stop.wait_for(|s| *s) => return,
        }
        if let Err(why) = tell(listener.as_ref(), false).await {
            tracing::info!(event = "edge.strangers.later", error = %why, "refusals of strangers are told later");
        }
    }
}

/// Tells of all that is left, when the listener ends.
pub async fn end(listener: &dyn Refusing) {
    if !matches!(tokio::time::timeout(LAST_WORDS, tell(listener, true)).await, Ok(Ok(()))) {
        tracing::warn!(event = "edge.strangers.lost", "some counts of refused strangers are not in the audit trail");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(n: usize) -> Kind {
        let share = share_of("address", &n.to_string());
        Kind { share, interaction: "pds.retrieve", reason: "SPN-1023".into(), known: false }
    }
    fn caller(address: &str) -> Caller {
        Caller { address: address.into(), ..Default::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_is_one_record_at_once_and_one_a_window() {
        let strangers = Strangers::new(Duration::from_secs(60));
        let from = caller("192.0.2.7");
        assert!(strangers.first(&kind(1), &from, 5, "c0"), "the first is told at once");
        for n in 0..10_000 {
            assert!(!strangers.first(&kind(1), &from, 100 + n, "c"));
        }
        assert!(strangers.due(false).is_empty());
        tokio::time::advance(Duration::from_secs(60)).await;
        let due = strangers.due(false);
        let [(Some(told), gathered)] = due.as_slice() else { panic!("one record: {due:?}") };
        let span = (gathered.times, gathered.first, gathered.last);
        assert_eq!((told, span), (&kind(1), (10_000, 100, 10_099)));
        assert_eq!(gathered.caller.address, "192.0.2.7");
        // What goes on is told with the next, what has ended is forgotten.
        assert!(!strangers.first(&kind(1), &from, 20_000, "c"));
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(strangers.due(false).len(), 1);
        tokio::time::advance(Duration::from_secs(60)).await;
        assert!(strangers.due(false).is_empty() && strangers.seen().kinds.is_empty());
        assert!(strangers.first(&kind(1), &from, 30_000, "c"));
    }

    #[tokio::test(start_paused = true)]
    async fn more_kinds_than_are_told_apart_are_counted_together() {
        let strangers = Strangers::new(Duration::from_secs(60));
        let firsts = (0..10_000).filter(|n| strangers.first(&kind(*n), &caller("192.0.2.7"), 7, "c")).count();
        assert_eq!((firsts, strangers.seen().kinds.len()), (MOST, MOST));
        let due = strangers.due(true);
        let [(None, others)] = due.as_slice() else { panic!("the others only: {due:?}") };
        assert_eq!((others.times, others.caller.address.as_str()), (10_000 - MOST as u64, ""));
        assert!(strangers.due(true).is_empty() && strangers.seen().kinds.is_empty(), "all is told at the end");
    }

    #[tokio::test(start_paused = true)]
    async fn what_could_not_be_written_is_not_forgotten() {
        let strangers = Strangers::new(Duration::from_secs(60));
        let from = caller("2001:db8:1:2::9");
        assert!(strangers.first(&kind(1), &from, 5, "c0"));
        strangers.first(&kind(1), &from, 9, "c1");
        let due = strangers.due(true);
        due.into_iter().for_each(|one| strangers.again(one));
        strangers.first(&kind(1), &from, 3, "c2");
        let due = strangers.due(true);
        let [(Some(_), gathered)] = due.as_slice() else { panic!("one record: {due:?}") };
        assert_eq!((gathered.times, gathered.first, gathered.last), (2, 3, 9));
        assert_eq!(gathered.caller.address, "2001:db8:1:2::/64", "of many requests, the network");
    }
}
