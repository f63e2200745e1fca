//! The decider: one task per partition that turns queued commands into entries while this node leads.
//!
//! Holds P2: it decides only within a reign (which consensus opens when everything committed before is applied),
//! on top of what it has itself proposed, and drops all of that with the reign. Batches are natural: whatever waits
//! when an entry may go out goes out together.

use super::clocks::Clocks;
use super::decide::{Base, Batch, Desk, Moment, Rules};
use super::draft::{Draft, Fault};
use super::entry::{Entry, Packer};
use super::flights::{Flight, Setback, Waiting};
use super::ports::Agreement;
use super::queue::Queued;
use super::rows::{self, Mark};
use super::space::Space;
use super::view::Fences;
use super::{ServiceId, Unavailable};
use crate::audit;
use crate::consensus::Leadership;
use crate::engine::apply::Slot;
use crate::ops::metrics as names;
use crate::seam::World;
use crate::seam::trouble::{Planted, planted};
use crate::store::Reader;
use crate::store::tables::Table;
use crate::wire::record::Record as _;
use std::{collections::VecDeque, sync::Arc, time::Duration};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout_at};

/// Commands and rows' bytes that one entry takes at most: what a disk syncs in a few milliseconds.
const MAX_COMMANDS: usize = 512;
const MAX_BYTES: usize = 1 << 20;
/// Entries under way at most: enough to keep disks and wires busy, few enough to lose little with a reign.
const MAX_FLIGHTS: usize = 8;
/// With this many under way a further entry goes out only when it is worth its overhead…
const EAGER_FLIGHTS: usize = 2;
/// …which this many commands are.
const WORTH_AN_ENTRY: usize = 64;
/// How long callers of a lost reign wait for certainty before they hear `Unknown`.
const SETTLE: Duration = Duration::from_millis(2_500);
/// How long a new leader waits for the newest registry.
const KNOW_THE_SITE: Duration = Duration::from_secs(2);
/// Pause before a leader whose rows cannot be read looks again.
const UNFIT_PAUSE: Duration = Duration::from_millis(500);
/// How often timers, old requests and the audit head are looked at.
const TICK: Duration = Duration::from_millis(200);
const FORGET_EVERY: u32 = 25;
/// A signed head at least every so many audit records, or after this long when there are any new ones (P4).
const HEAD_RECORDS: u64 = 1_024;
const HEAD_MILLIS: u64 = 60_000;

/// A partition's decider.
pub(super) struct Decider {
    pub slot: Arc<Slot>,
    pub site: Arc<Slot>,
    /// Fences of the site partition; none for that partition itself.
    pub site_fences: Option<Fences>,
    pub group: Arc<dyn Agreement>,
    pub rules: Rules,
    pub queue: mpsc::Receiver<Queued>,
    pub world: World,
    pub signer: Option<Arc<dyn audit::Signer>>,
    pub space: Arc<Space>,
    pub clocks: Arc<Clocks>,
    /// What a simulation plants: the desk of an earlier reign.
    pub planted: Option<Desk>,
}

/// What one stretch of leadership has going.
struct Reign {
    number: u64,
    term: u64,
    /// Random, so that an entry of an earlier life of this node is never taken for this reign's.
    name: u64,
    batches: u64,
    desk: Desk,
    inbox: VecDeque<Queued>,
    packer: Packer,
    next_timer: u64,
    head: (u64, u64),
    /// Where the audit trail begins, and whether more of it may have had its time.
    trail: (audit::Begin, bool),
    ticks: u32,
}

/// The reign is over, or cannot be gone on with.
struct Over;

impl Decider {
    pub async fn run(mut self) {
        let mut leadership = self.group.leadership();
        let mut last_reign = None;
        let mut settle: Option<Instant> = None;
        loop {
            let now = *leadership.borrow_and_update();
            if now.leading && last_reign != Some(now.reign) {
                last_reign = Some(now.reign);
                if !self.reign(now, &mut leadership).await {
                    // It decided nothing, so it may try again in the same reign.
                    last_reign = None;
                    tokio::time::sleep(UNFIT_PAUSE).await;
                }
                settle = Some(Instant::now() + SETTLE);
                continue;
            }
            tokio::select! {
                biased;
                changed = leadership.changed() => if changed.is_err() {
                    return self.slot.flights.unknown();
                },
                queued = self.queue.recv() => match queued {
                    Some(queued) => queued.refuse(Setback::NotLeader),
                    None => return self.slot.flights.unknown(),
                },
                _ = sleep_until(settle), if settle.is_some() => {
                    self.slot.flights.unknown();
                    settle = None;
                }
            }
        }
    }

    /// `false` when the reign could not be begun.
    async fn reign(&mut self, now: Leadership, leadership: &mut watch::Receiver<Leadership>) -> bool {
        // Consensus opens a reign when everything proposed before is applied or dropped: what has not landed is lost.
        self.slot.flights.none_done();
        self.slot.flights.take_landed();
        let (known, ()) = tokio::join!(self.know_the_site(now, leadership), self.clocks.fresh());
        if known.is_err() {
            return true;
        }
        if !self.clocks.fit() {
            // The watch over clocks gives leadership to a node whose clock is right.
            self.clocks.wake();
            return false;
        }
        let mut reign = match self.ascend(now) {
            Ok(reign) if self.fit() => reign,
            unfit => {
                self.unfit(unfit.err().map(|e| e.to_string()), []).await;
                return false;
            }
        };
        let ahead = self.clocks.ahead(reign.desk.mark.time);
        if ahead > 0 {
            let partition = self.slot.id.0;
            tracing::error!(event = "engine.stamps.ahead", partition, millis = ahead, "a clock was wrong in the past");
        }
        tracing::info!(
            event = "engine.reign.begins",
            partition = self.slot.id.0,
            term = reign.term,
            sequence = reign.desk.mark.sequence
        );
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while self.step(&mut reign, leadership, &mut tick).await.is_ok() {}
        self.planted = planted(Planted::KeepOverlay).then(|| std::mem::take(&mut reign.desk));
        reign.inbox.into_iter().for_each(|queued| queued.refuse(Setback::NotLeader));
        tracing::info!(
            event = "engine.reign.ends",
            partition = self.slot.id.0,
            term = reign.term,
            entries = reign.batches
        );
        true
    }

    /// Whether rows can be read: a damaged store must not lead.
    fn fit(&self) -> bool {
        self.slot.rows.servable() && self.site.rows.servable()
    }

    /// Gives leadership to a node that can read its rows. Who waits is told that this one does not lead.
    async fn unfit(&self, error: Option<String>, waiting: impl IntoIterator<Item = Queued>) {
        tracing::error!(event = "engine.reign.unfit", partition = self.slot.id.0, error);
        waiting.into_iter().for_each(|queued| queued.refuse(Setback::NotLeader));
        let _ = self.group.hand_over(None).await;
    }

    /// Says what a command ran into, in the log; its caller hears that there was a fault.
    fn faulted(&self, command: &super::Command, fault: &Fault) -> Unavailable {
        let (partition, service, correlation_id) = (self.slot.id.0, command.service, &command.correlation_id);
        tracing::error!(event = "engine.command.fault", partition, service, correlation_id, %fault);
        Unavailable::Fault(fault.to_string())
    }

    /// Waits until this node has the registry as it was when the reign began: a node that has just started would
    /// refuse mailboxes that it has not yet heard of. Goes on with what it has when nobody leads the site.
    async fn know_the_site(&self, now: Leadership, leadership: &mut watch::Receiver<Leadership>) -> Result<(), Over> {
        let Some(fences) = &self.site_fences else { return Ok(()) };
        let deadline = Instant::now() + KNOW_THE_SITE;
        let known = async {
            if let Ok(index) = fences.ask(deadline).await {
                let _ = timeout_at(deadline, self.site.readers.reach(index)).await;
            }
        };
        tokio::select! {
            biased;
            _ = known => Ok(()),
            _ = leadership.wait_for(|l| !l.leading || l.reign != now.reign) => Err(Over),
        }
    }

    /// Starts from what is applied: the mark, the first timer, the newest signed head.
    fn ascend(&mut self, now: Leadership) -> Result<Reign, rows::RowError> {
        let planted = self.planted.take();
        let rows = self.slot.rows.as_ref();
        let mark = Mark::load(rows)?;
        let first = rows.scan(rows::due(u64::MAX - 1), false, 1)?;
        let heads = rows.scan(Table::AuditHeads.key().prefix(), true, 1)?;
        let head = heads.first().and_then(|(_, value)| audit::Head::decode(value).ok());
        let begin = audit::Begin::load(rows)?;
        let mut name = [0; 8];
        self.world.rng.fill(&mut name);
        Ok(Reign {
            number: now.reign,
            term: now.term,
            name: u64::from_le_bytes(name),
            batches: 0,
            desk: planted.unwrap_or(Desk { mark, ..Desk::default() }),
            inbox: VecDeque::new(),
            packer: Packer::default(),
            next_timer: first.first().map_or(u64::MAX, |(key, _)| rows::due_of(key)),
            head: head.map_or((0, 0), |head| (head.sequence, head.at)),
            trail: (begin, false),
            ticks: 0,
        })
    }

    async fn step(
        &mut self,
        reign: &mut Reign,
        leadership: &mut watch::Receiver<Leadership>,
        tick: &mut tokio::time::Interval,
    ) -> Result<(), Over> {
        for (batch, ops) in self.slot.flights.take_landed() {
            reign.desk.overlay.applied(batch, &ops);
        }
        let flying = self.slot.flights.len();
        let waiting = reign.inbox.len() + self.queue.len();
        let go = flying < EAGER_FLIGHTS || (flying < MAX_FLIGHTS && waiting >= WORTH_AN_ENTRY);
        if go && !reign.inbox.is_empty() {
            self.fill(reign);
            self.still(reign, leadership)?;
            return self.decide(reign).await;
        }
        let mut taken = Vec::new();
        tokio::select! {
            biased;
            changed = leadership.changed() => {
                changed.map_err(|_| Over)?;
                self.still(reign, leadership)
            }
            _ = self.slot.flights.landed.notified() => Ok(()),
            _ = tick.tick() => self.chores(reign).await,
            n = self.queue.recv_many(&mut taken, MAX_COMMANDS), if go => {
                reign.inbox.extend(taken);
                if n == 0 { return Err(Over) }
                self.decide(reign).await
            }
        }
    }

    /// Takes more of what waits, up to one entry's worth.
    fn fill(&mut self, reign: &mut Reign) {
        while reign.inbox.len() < MAX_COMMANDS {
            match self.queue.try_recv() {
                Ok(queued) => reign.inbox.push_back(queued),
                Err(_) => return,
            }
        }
    }

    fn still(&self, reign: &Reign, leadership: &mut watch::Receiver<Leadership>) -> Result<(), Over> {
        let now = *leadership.borrow_and_update();
        if now.leading && now.reign == reign.number { Ok(()) } else { Err(Over) }
    }

    /// The time to stamp with: never before what was stamped, whatever the clocks of past leaders said. `None` while
    /// this node's clock is not to be trusted.
    fn now(&self, reign: &Reign) -> Option<u64> {
        self.clocks.stamp().map(|now| now.max(reign.desk.mark.time))
    }

    /// Decides what is in the inbox, one entry's worth, and proposes it.
    async fn decide(&mut self, reign: &mut Reign) -> Result<(), Over> {
        self.slot.rows.room().await;
        if !self.fit() {
            self.unfit(None, reign.inbox.drain(..)).await;
            return Ok(());
        }
        let Some(now) = self.now(reign) else {
            reign.inbox.drain(..).for_each(|queued| queued.refuse(Setback::NotLeader));
            return Ok(());
        };
        let count = reign.inbox.len().min(MAX_COMMANDS);
        let mut entropy = vec![0u8; 16 * count];
        self.world.rng.fill(&mut entropy);
        reign.batches += 1;
        let mut batch = Batch::new(reign.batches, &reign.desk);
        let mut waiting = Vec::with_capacity(count);
        let mut unreadable = None;
        let started = Instant::now();
        for entropy in entropy.chunks_exact(16) {
            let Some(queued) = reign.inbox.pop_front() else { break };
            if queued.ticket.is_closed() {
                continue;
            }
            if !self.space.takes(|| self.rules.may_when_full(&queued.command)) {
                queued.refuse(Setback::Unavailable(Unavailable::NoSpace));
                continue;
            }
            let mut moment = Moment { base: self.base(), now, entropy: [0; 16] };
            moment.entropy.copy_from_slice(entropy);
            match self.rules.command(&mut reign.desk, &mut batch, &moment, &queued.command) {
                Err(Fault::Store(e)) => {
                    queued.refuse(Setback::NotLeader);
                    unreadable = Some(e);
                    break;
                }
                Err(fault) => {
                    let answer = Err(self.faulted(&queued.command, &fault));
                    waiting.push(Waiting { ticket: queued.ticket, answer });
                }
                Ok(d) => waiting.push(Waiting { ticket: queued.ticket, answer: Ok((d.reply, d.sent)) }),
            }
            if batch.bytes >= MAX_BYTES {
                break;
            }
        }
        // An errand that failed midway has left decisions in the batch, though nobody waits for it.
        let proposed = match batch.ops.is_empty() && waiting.is_empty() {
            true => Ok(()),
            false => {
                metrics::histogram!(names::ENGINE_BATCH_COMMANDS).record(waiting.len() as f64);
                metrics::counter!(names::ENGINE_COMMANDS).increment(waiting.len() as u64);
                metrics::histogram!(names::ENGINE_DECIDE_DURATION).record(started.elapsed());
                self.propose(reign, batch, waiting).await
            }
        };
        if let Some(e) = unreadable {
            self.unfit(Some(e.to_string()), reign.inbox.drain(..)).await;
        }
        proposed
    }

    fn base(&self) -> Base<'_> {
        Base { rows: self.slot.rows.as_ref(), site: self.site.rows.as_ref() }
    }

    /// Sends a batch on its way.
    async fn propose(&mut self, reign: &mut Reign, mut batch: Batch, waiting: Vec<Waiting>) -> Result<(), Over> {
        batch.seal(&mut reign.desk);
        reign.next_timer = reign.next_timer.min(batch.earliest_timer.unwrap_or(u64::MAX));
        metrics::counter!(names::AUDIT_RECORDS).increment(batch.audit_records);
        let mut entry = Entry {
            term: reign.term,
            reign: reign.name,
            batch: batch.number,
            first: batch.first,
            decisions: batch.decisions,
            ..Default::default()
        };
        reign.packer.pack(&batch.ops, &mut entry);
        let flight = Flight { term: reign.term, reign: reign.name, batch: batch.number, ops: batch.ops, waiting };
        self.slot.flights.depart(flight);
        if self.group.propose(reign.number, entry.encode()).await.is_err() {
            self.slot.flights.turned_back(reign.name, batch.number);
            return Err(Over);
        }
        Ok(())
    }

    /// Fires due timers, forgets old requests, signs the audit chain: whatever is due, in one entry.
    async fn chores(&mut self, reign: &mut Reign) -> Result<(), Over> {
        reign.ticks = reign.ticks.wrapping_add(1);
        let Some(now) = self.now(reign) else { return Ok(()) };
        // What is on its way may renew a request that the store still shows as expired.
        let forget = reign.ticks % FORGET_EVERY == 1 && self.slot.flights.len() == 0;
        let head_due = self.head_due(reign, now);
        let piece = self.expired(reign, now);
        if (reign.next_timer > now && !forget && !head_due && piece.is_none()) || self.slot.flights.len() >= MAX_FLIGHTS
        {
            return Ok(());
        }
        self.slot.rows.room().await;
        let batch = self.do_chores(reign, now, forget, head_due, piece);
        if batch.ops.is_empty() {
            return Ok(());
        }
        self.propose(reign, batch, vec![]).await
    }

    fn do_chores(
        &self,
        reign: &mut Reign,
        now: u64,
        forget: bool,
        head_due: bool,
        piece: Option<audit::Piece>,
    ) -> Batch {
        reign.batches += 1;
        let mut batch = Batch::new(reign.batches, &reign.desk);
        let mut moment = Moment { base: self.base(), now, entropy: [0; 16] };
        self.world.rng.fill(&mut moment.entropy);
        if reign.next_timer <= now && self.space.takes(|| true) {
            self.fire(reign, &mut batch, &moment);
        }
        if forget && let Err(fault) = self.rules.forget(&mut reign.desk, &mut batch, &moment) {
            tracing::error!(event = "engine.forget.fault", partition = self.slot.id.0, %fault);
        }
        if let Some(piece) = piece {
            metrics::counter!(names::AUDIT_EXPIRED).increment(audit::PIECE);
            reign.trail = (piece.begin.clone(), true);
            self.rules.expire(&mut reign.desk, &mut batch, piece, now);
        }
        if head_due {
            self.sign(reign, &mut batch, now);
        }
        batch
    }

    fn fire(&self, reign: &mut Reign, batch: &mut Batch, moment: &Moment<'_>) {
        if let Err(fault) = self.rules.timers(&mut reign.desk, batch, moment) {
            tracing::error!(event = "engine.timers.fault", partition = self.slot.id.0, %fault);
            return;
        }
        let draft = Draft::new(moment.base.rows, &reign.desk.overlay, moment.base.site);
        let next = draft.scan(rows::due(u64::MAX - 1), false, 1);
        reign.next_timer =
            next.ok().and_then(|rows| rows.first().map(|(key, _)| rows::due_of(key))).unwrap_or(u64::MAX);
    }

    /// A piece of the audit trail that has had its time. What is that old is applied, but for what this reign has taken away
    /// itself, which `reign.trail` knows of. Looked for with every tick while there is one, else now and then.
    fn expired(&self, reign: &mut Reign, now: u64) -> Option<audit::Piece> {
        let retention = self.rules.retention?;
        if !reign.trail.1 && reign.ticks % FORGET_EVERY != 2 {
            return None;
        }
        reign.trail.1 = false;
        match audit::piece(self.slot.rows.as_ref(), &reign.trail.0, now.saturating_sub(retention)) {
            Ok(piece) => piece,
            Err(why) => {
                tracing::error!(event = "audit.expire.kept", partition = self.slot.id.0, %why);
                None
            }
        }
    }

    fn head_due(&self, reign: &Reign, now: u64) -> bool {
        let new = reign.desk.mark.audit_sequence.saturating_sub(reign.head.0);
        self.signer.is_some() && (new >= HEAD_RECORDS || (new > 0 && now.saturating_sub(reign.head.1) >= HEAD_MILLIS))
    }

    fn sign(&self, reign: &mut Reign, batch: &mut Batch, now: u64) {
        let Some(signer) = &self.signer else { return };
        let chain = reign.desk.mark.chain();
        match audit::Head::sign(&chain, now, self.rules.node, self.slot.id.0, signer.as_ref()) {
            Ok(head) => {
                reign.head = (chain.sequence, now);
                self.rules.head(&mut reign.desk, batch, &head);
            }
            Err(e) => tracing::error!(event = "audit.head.unsigned", partition = self.slot.id.0, error = e),
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

impl Rules {
    /// Whether the command's service wants it done even when the disk is nearly full.
    fn may_when_full(&self, command: &super::Command) -> bool {
        let service = self.services.iter().find(|s| s.service() == ServiceId(command.service));
        service.is_none_or(|service| service.may_when_full(command))
    }
}
