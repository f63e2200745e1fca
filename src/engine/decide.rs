//! Deciding: one command after the other becomes rows in a batch. No waiting and no I/O but reads of the store.
//!
//! Holds P3 (a remembered request is answered from its row), P4 (each note becomes a chained record in the same
//! batch) and the exactly-once half of the outbox (the inbound mark moves in the same batch as the effect).

use super::draft::{Decide, Draft, Fault, OutboxItem, Overlay, Stamp, Timer};
use super::errand::{self, Errand};
use super::rows::{self, DeadLetter, Mark, Remembered};
use super::{Command, PartitionId, PartitionMap, ServiceId, services};
use crate::access::caller::Caller;
use crate::audit;
use crate::engine::draft::AuditNote;
use crate::engine::entry::row_size;
use crate::model::EpochMillis;
use crate::seam::trouble::{Planted, planted};
use crate::store::tables::Table;
use crate::store::{Reader, RowOp};
use crate::wire::record::Record as _;
use bytes::Bytes;
use std::sync::Arc;

/// How deep a command may send commands within its own partition: more is a loop.
const MAX_DEPTH: u32 = 8;
/// Timers fired in one batch, so that a flood of due ones does not hold up callers.
const TIMERS_A_BATCH: usize = 128;
/// Remembered requests forgotten in one batch.
pub(super) const FORGET_A_BATCH: usize = 256;
/// A timer whose service faulted comes again after this long, in milliseconds.
const TIMER_RETRY: u64 = 60_000;

/// What never changes while a partition is open.
pub(super) struct Rules {
    pub partition: PartitionId,
    pub map: PartitionMap,
    pub node: u16,
    /// How long a request is remembered, in milliseconds.
    pub memory: u64,
    /// How long audit records are kept, in milliseconds; none: for ever.
    pub retention: Option<u64>,
    pub services: Vec<Arc<dyn Decide>>,
}

/// Rows to decide on: this partition's and the site partition's, as applied here.
#[derive(Clone, Copy)]
pub(super) struct Base<'a> {
    pub rows: &'a dyn Reader,
    pub site: &'a dyn Reader,
}

/// What a reign has piled up: counters and rows decided and not yet applied. Dropped with the reign.
#[derive(Default)]
pub(super) struct Desk {
    pub mark: Mark,
    pub overlay: Overlay,
}

/// Rows of one entry in the making.
pub(super) struct Batch {
    pub number: u64,
    pub ops: Vec<RowOp>,
    pub bytes: usize,
    pub first: u64,
    pub decisions: u32,
    pub audit_records: u64,
    /// When the earliest timer set in this batch is due.
    pub earliest_timer: Option<EpochMillis>,
}

/// A decided command's answer, to be given once its batch is applied.
pub(super) struct Decision {
    pub reply: Bytes,
    pub sent: Vec<(PartitionId, u64)>,
}

impl Batch {
    pub fn new(number: u64, desk: &Desk) -> Self {
        Batch {
            number,
            ops: vec![],
            bytes: 0,
            first: desk.mark.sequence + 1,
            decisions: 0,
            audit_records: 0,
            earliest_timer: None,
        }
    }

    /// Takes rows over, also for the decisions that follow.
    fn take(&mut self, desk: &mut Desk, from: usize) {
        let new = &self.ops[from..];
        self.bytes += new.iter().map(row_size).sum::<usize>();
        desk.overlay.take(self.number, new);
    }

    /// Closes the batch: its last row says where the counters stand.
    pub fn seal(&mut self, desk: &mut Desk) {
        let from = self.ops.len();
        self.ops.push(RowOp::Put { key: rows::mark_key(), value: desk.mark.encode(), fresh: false });
        self.take(desk, from);
    }
}

/// One decision's surroundings.
pub(super) struct Moment<'a> {
    pub base: Base<'a>,
    pub now: EpochMillis,
    pub entropy: [u8; 16],
}

impl Rules {
    fn service(&self, id: u8) -> Result<&dyn Decide, Fault> {
        let found = self.services.iter().find(|s| s.service() == ServiceId(id));
        found.map(Arc::as_ref).ok_or_else(|| Fault::Other(format!("no service has number {id}")))
    }

    /// Decides one command into the batch. On a fault nothing but an audit record of it is in the batch; where the
    /// rows could not be read ([`Fault::Store`]) nothing at all, so that a leader whose store is whole may decide it.
    pub fn command(
        &self,
        desk: &mut Desk,
        batch: &mut Batch,
        moment: &Moment<'_>,
        command: &Command,
    ) -> Result<Decision, Fault> {
        if command.service == services::ENGINE.0 {
            return self.errand(desk, batch, moment, command);
        }
        let mut work = Work::new(self, desk, moment);
        let decided = work.command(command);
        match decided {
            Ok((reply, remembered)) => {
                let done = work.done();
                Ok(self.enter(desk, batch, done, command, reply, remembered, moment.now))
            }
            Err(fault @ Fault::Store(_)) => Err(fault),
            Err(fault) => {
                let note = AuditNote {
                    interaction: "engine.fault".into(),
                    outcome: "fault".into(),
                    detail: format!("service {}", command.service),
                    ..Default::default()
                };
                let mut done = work.done().nothing();
                done.notes.push(Noted::of(command, note));
                self.enter_rows(desk, batch, done, &command.request_id, moment.now);
                Err(fault)
            }
        }
    }

    /// Fires timers that are due. Returns how many; as many as [`TIMERS_A_BATCH`] means that there may be more.
    pub fn timers(&self, desk: &mut Desk, batch: &mut Batch, moment: &Moment<'_>) -> Result<usize, Fault> {
        let due = Work::new(self, desk, moment).draft.scan(rows::due(moment.now), false, TIMERS_A_BATCH)?;
        for (key, value) in &due {
            self.timer(desk, batch, moment, key, value)?;
        }
        Ok(due.len())
    }

    /// Fires one timer. One that faults is put off, not lost; the row goes in the same entry either way. Where rows
    /// could not be read it stays as it is, for this leader or the next.
    fn timer(
        &self,
        desk: &mut Desk,
        batch: &mut Batch,
        moment: &Moment<'_>,
        key: &Bytes,
        value: &Bytes,
    ) -> Result<(), Fault> {
        let mut work = Work::new(self, desk, moment);
        let fired = match Timer::decode(value) {
            Ok(timer) => work.timer(&timer).map_err(|fault| (Some(timer), fault)),
            Err(e) => Err((None, Fault::Row(Table::Timers, e))),
        };
        if let Err((_, fault @ Fault::Store(_))) = fired {
            return Err(fault);
        }
        let mut done = work.done();
        if let Err((timer, fault)) = fired {
            let (partition, service) = (self.partition.0, timer.as_ref().map(|t| t.service));
            tracing::error!(event = "engine.timer.fault", partition, service, fault = %fault);
            done = done.nothing();
            done.timers.extend(timer.map(|t| (moment.now + TIMER_RETRY, ServiceId(t.service), t.payload)));
        }
        done.rows.push(RowOp::Delete { key: key.clone() });
        self.enter_rows(desk, batch, done, "", moment.now);
        Ok(())
    }

    /// Forgets requests whose time is over. Returns how many.
    pub fn forget(&self, desk: &mut Desk, batch: &mut Batch, moment: &Moment<'_>) -> Result<usize, Fault> {
        let range = rows::expired(moment.now);
        let old = moment.base.rows.scan(range, false, FORGET_A_BATCH)?;
        let from = batch.ops.len();
        for (key, _) in &old {
            if let Some(digest) = rows::digest_of_expiry(key) {
                batch.ops.push(RowOp::Delete { key: rows::request_key(&digest) });
            }
            batch.ops.push(RowOp::Delete { key: key.clone() });
        }
        batch.take(desk, from);
        Ok(old.len())
    }

    /// Writes a signed head of the audit chain as it stands on the desk.
    pub fn head(&self, desk: &mut Desk, batch: &mut Batch, head: &audit::Head) {
        let from = batch.ops.len();
        batch.ops.push(RowOp::Put { key: audit::head_key(head.sequence), value: head.encode(), fresh: false });
        batch.take(desk, from);
    }

    /// Takes a piece of the trail that has had its time away, and says so in the trail.
    pub fn expire(&self, desk: &mut Desk, batch: &mut Batch, piece: audit::Piece, now: EpochMillis) {
        let (object, detail) = piece.begin.told();
        let note = AuditNote {
            interaction: audit::EXPIRED.into(),
            outcome: "ok".into(),
            object,
            detail,
            ..Default::default()
        };
        let done = Done {
            rows: piece.rows,
            notes: vec![Noted::of(&Command::default(), note)],
            timers: vec![],
            outbox: vec![],
            sequence: desk.mark.sequence,
            decisions: 0,
        };
        self.enter_rows(desk, batch, done, "", now);
    }

    fn errand(
        &self,
        desk: &mut Desk,
        batch: &mut Batch,
        moment: &Moment<'_>,
        command: &Command,
    ) -> Result<Decision, Fault> {
        let errand = Errand::decode(&command.payload).map_err(|e| Fault::Other(format!("errand: {e}")))?;
        let reply = match errand.kind {
            errand::DELIVER => self.deliver(desk, batch, moment, &errand)?,
            errand::DELIVERED => self.delivered(desk, batch, moment, &errand)?,
            errand::RETRY | errand::DROP => self.dead_letter(desk, batch, moment, &errand, command)?,
            other => return Err(Fault::Other(format!("no errand has number {other}"))),
        };
        Ok(Decision { reply, sent: vec![] })
    }

    /// Decides delivered commands that were not decided before. Stops at one that faults, unless told to set it aside.
    /// Unreadable rows are not the item's fault: the errand fails as a whole and comes again.
    fn deliver(
        &self,
        desk: &mut Desk,
        batch: &mut Batch,
        moment: &Moment<'_>,
        errand: &Errand,
    ) -> Result<Bytes, Fault> {
        let source = PartitionId(errand.partition);
        let before = rows::inbound(&Work::new(self, desk, moment).draft, source)?;
        let mut report = errand::Report { upto: before, ..Default::default() };
        for item in &errand.items {
            if item.sequence <= report.upto && !planted(Planted::DeliverTwice) {
                continue;
            }
            let mut work = Work::new(self, desk, moment);
            let decided = work.nested(&item.command(), 0);
            let mut done = work.done();
            if let Err(fault @ Fault::Store(_)) = decided {
                return Err(fault);
            }
            if let Err(fault) = decided {
                let (correlation_id, sequence) = (&item.correlation_id, item.sequence);
                tracing::error!(event = "engine.delivery.fault", source = source.0, sequence, correlation_id, %fault);
                if errand.set_aside != item.sequence {
                    report.faulted = item.sequence;
                    break;
                }
                done = done.nothing();
                let (item, fault) = (Some(item.clone()), fault.to_string());
                let dead = DeadLetter { source: source.0, item, at: moment.now, fault, ..Default::default() };
                let key = rows::dead_key(source, sequence);
                done.rows.push(RowOp::Put { key, value: dead.encode(), fresh: false });
            }
            report.upto = item.sequence;
            let value = Bytes::copy_from_slice(&report.upto.to_be_bytes());
            done.rows.push(RowOp::Put { key: rows::inbound_key(source), value, fresh: false });
            self.enter_rows(desk, batch, done, "", moment.now);
        }
        Ok(report.encode())
    }

    /// Takes delivered items out of the outbox.
    fn delivered(
        &self,
        desk: &mut Desk,
        batch: &mut Batch,
        moment: &Moment<'_>,
        errand: &Errand,
    ) -> Result<Bytes, Fault> {
        let range = rows::outbox_range(PartitionId(errand.partition), 0, errand.upto);
        let work = Work::new(self, desk, moment);
        let gone = work.draft.scan(range, false, errand::DELETE_AT_ONCE)?;
        let told_at = rows::cleared_key(PartitionId(errand.partition));
        let told = work.draft.get(&told_at)?.and_then(|v| v.as_ref().try_into().ok()).map_or(0, u64::from_be_bytes);
        let mut done = work.done();
        done.rows.extend(gone.into_iter().map(|(key, _)| RowOp::Delete { key }));
        // A backup tells by it that what is gone here is in the target's half of it.
        // It never falls: an errand may come after a later one, from who led before.
        let upto = errand.upto.max(told);
        done.rows.push(RowOp::Put { key: told_at, value: Bytes::copy_from_slice(&upto.to_be_bytes()), fresh: false });
        self.enter_rows(desk, batch, done, "", moment.now);
        Ok(Bytes::new())
    }

    /// Decides a dead letter's command again, or drops it; the row goes in the same entry as the effect. One that faults
    /// again stays, with the new cause. A row that cannot be read can only be dropped.
    fn dead_letter(
        &self,
        desk: &mut Desk,
        batch: &mut Batch,
        moment: &Moment<'_>,
        errand: &Errand,
        command: &Command,
    ) -> Result<Bytes, Fault> {
        let retry = errand.kind == errand::RETRY;
        let key = rows::dead_key(PartitionId(errand.partition), errand.sequence);
        let mut work = Work::new(self, desk, moment);
        let Some(value) = work.draft.get(&key)? else { return Ok(errand::Report::default().encode()) };
        let letter = match DeadLetter::decode(&value) {
            Err(e) if retry => return Err(Fault::Row(Table::DeadLetters, e)),
            read => read.unwrap_or_default(),
        };
        let item = letter.item.clone().unwrap_or_default();
        let fault = match work.nested_again(retry.then_some(&item)) {
            Err(fault @ Fault::Store(_)) => return Err(fault),
            outcome => outcome.err().map(|fault| fault.to_string()),
        };
        let report = errand::Report { found: true, fault: fault.clone().unwrap_or_default(), ..Default::default() };
        let mut done = work.done();
        if errand.trial {
            return Ok(report.encode());
        }
        let outcome = if fault.is_some() { "fault" } else { "ok" };
        let row = match fault {
            None => RowOp::Delete { key },
            Some(fault) => {
                done = done.nothing();
                let letter = DeadLetter { at: moment.now, fault, ..letter };
                RowOp::Put { key, value: letter.encode(), fresh: false }
            }
        };
        done.rows.push(row);
        let note = AuditNote {
            interaction: if retry { "outbox.retry" } else { "outbox.drop" }.into(),
            outcome: outcome.into(),
            object: format!("{}.{}.{}", self.partition.0, errand.partition, errand.sequence),
            other: item.correlation_id,
            ..Default::default()
        };
        done.notes.push(Noted::of(command, note));
        self.enter_rows(desk, batch, done, "", moment.now);
        Ok(report.encode())
    }

    #[allow(clippy::too_many_arguments, reason = "one call, and a struct for it would only be taken apart again")]
    fn enter(
        &self,
        desk: &mut Desk,
        batch: &mut Batch,
        mut done: Done,
        command: &Command,
        reply: Bytes,
        remembered: Option<Remembered>,
        now: EpochMillis,
    ) -> Decision {
        if let Some(old) = remembered {
            self.enter_rows(desk, batch, done, &command.request_id, now);
            return Decision { reply: old.reply, sent: old.sent.into_iter().map(unpack_sent).collect() };
        }
        let sent = number_outbox(&mut desk.mark, &mut done, now);
        if !command.request_id.is_empty() {
            let digest = rows::request_digest(command);
            let row = Remembered {
                at: now,
                reply: reply.clone(),
                sent: sent.iter().map(|(p, n)| u64::from(p.0) << 48 | n).collect(),
                service: command.service,
                ..Default::default()
            };
            done.rows.push(RowOp::Put { key: rows::request_key(&digest), value: row.encode(), fresh: true });
            let key = rows::expiry_key(now + self.memory, &digest);
            done.rows.push(RowOp::Put { key, value: Bytes::new(), fresh: true });
        }
        self.enter_rows(desk, batch, done, &command.request_id, now);
        Decision { reply, sent }
    }

    /// Turns what was done into rows of the batch: changes, outbox, timers, audit records, in this order.
    fn enter_rows(&self, desk: &mut Desk, batch: &mut Batch, mut done: Done, request_id: &str, now: EpochMillis) {
        let from = batch.ops.len();
        number_outbox(&mut desk.mark, &mut done, now);
        desk.mark.sequence = done.sequence;
        desk.mark.time = now;
        batch.decisions += done.decisions;
        batch.ops.append(&mut done.rows);
        for (due, service, payload) in done.timers {
            desk.mark.timer += 1;
            let timer = Timer { due, service: service.0, payload, sequence: desk.mark.timer, ..Default::default() };
            batch.earliest_timer = Some(batch.earliest_timer.map_or(due, |e| e.min(due)));
            batch.ops.push(RowOp::Put { key: rows::timer_key(&timer), value: timer.encode(), fresh: true });
        }
        let mut chain = desk.mark.chain();
        batch.audit_records += done.notes.len() as u64;
        for noted in done.notes {
            if planted(Planted::NoAudit) && desk.mark.sequence.is_multiple_of(16) {
                continue;
            }
            let record = self.audit_record(noted, request_id, now);
            chain.push(record, &mut batch.ops);
        }
        (desk.mark.audit_sequence, desk.mark.audit_hash) = (chain.sequence, chain.hash);
        batch.take(desk, from);
    }

    fn audit_record(&self, noted: Noted, request_id: &str, now: EpochMillis) -> audit::Record {
        let Noted { caller, correlation_id, asked_as, note } = noted;
        let action = if note.action.is_empty() { audit::action_of(&note.interaction).into() } else { note.action };
        audit::Record {
            at: now,
            node: self.node,
            interaction: note.interaction,
            outcome: note.outcome,
            object: note.object,
            other: note.other,
            subject: note.subject,
            purpose: note.purpose,
            detail: note.detail,
            correlation_id,
            request_id: if asked_as.is_empty() { request_id.to_owned() } else { asked_as },
            asid: caller.asid,
            ods: caller.ods,
            party_key: caller.party_key,
            certificate: caller.certificate,
            common_name: caller.common_name,
            principal: caller.principal,
            address: caller.address,
            operator: caller.operator,
            application: caller.application,
            level: caller.level,
            user: caller.user,
            role_profile: caller.role_profile,
            job_role: caller.job_role,
            session: caller.session,
            nhs_number: caller.nhs_number,
            acts_for: caller.acts_for,
            granted: caller.granted,
            action,
            workgroup: note.workgroup,
            filed: note.filed,
            ..Default::default()
        }
    }
}

/// Gives outbox items their numbers and time and turns them into rows; nothing is left for a second call.
fn number_outbox(mark: &mut Mark, done: &mut Done, now: EpochMillis) -> Vec<(PartitionId, u64)> {
    let items = std::mem::take(&mut done.outbox);
    let mut sent = Vec::with_capacity(items.len());
    for (target, mut item) in items {
        mark.outbox += 1;
        (item.sequence, item.at) = (mark.outbox, now);
        sent.push((target, item.sequence));
        done.rows.push(RowOp::Put { key: rows::outbox_key(target, item.sequence), value: item.encode(), fresh: true });
    }
    sent
}

pub(super) fn unpack_sent(packed: u64) -> (PartitionId, u64) {
    (PartitionId((packed >> 48) as u16), packed & 0xffff_ffff_ffff)
}

/// An audit note with whom it is about: the command's caller and names.
struct Noted {
    caller: Caller,
    correlation_id: String,
    asked_as: String,
    note: AuditNote,
}

impl Noted {
    fn of(command: &Command, note: AuditNote) -> Noted {
        Noted {
            caller: command.caller.clone(),
            correlation_id: command.correlation_id.clone(),
            asked_as: command.asked_as.clone(),
            note,
        }
    }
}

/// What came out of one draft.
struct Done {
    rows: Vec<RowOp>,
    notes: Vec<Noted>,
    timers: Vec<(EpochMillis, ServiceId, Bytes)>,
    outbox: Vec<(PartitionId, OutboxItem)>,
    sequence: u64,
    decisions: u32,
}

impl Done {
    /// What is left after a fault: the numbers that were used up.
    fn nothing(self) -> Done {
        Done { rows: vec![], notes: vec![], timers: vec![], outbox: vec![], ..self }
    }
}

/// One draft, through which a command and those it causes in this partition go.
struct Work<'a> {
    rules: &'a Rules,
    draft: Draft<'a>,
    now: EpochMillis,
    entropy: [u8; 16],
    sequence: u64,
    decisions: u32,
    notes: Vec<Noted>,
    outbox: Vec<(PartitionId, OutboxItem)>,
}

impl<'a> Work<'a> {
    fn new(rules: &'a Rules, desk: &'a Desk, moment: &Moment<'a>) -> Self {
        Work {
            rules,
            draft: Draft::new(moment.base.rows, &desk.overlay, moment.base.site),
            now: moment.now,
            entropy: moment.entropy,
            sequence: desk.mark.sequence,
            decisions: 0,
            notes: vec![],
            outbox: vec![],
        }
    }

    fn done(self) -> Done {
        let decided = self.draft.finish();
        Done {
            rows: decided.rows,
            notes: self.notes,
            timers: decided.timers,
            outbox: self.outbox,
            sequence: self.sequence,
            decisions: self.decisions,
        }
    }

    fn stamp(&mut self) -> Stamp {
        self.sequence += 1;
        self.decisions += 1;
        let mut entropy = self.entropy;
        // Commands in one draft share the draw; the sequence keeps them apart.
        for (byte, n) in entropy.iter_mut().zip(u64::from(self.decisions - 1).to_le_bytes()) {
            *byte ^= n;
        }
        Stamp {
            now: self.now,
            partition: self.rules.partition,
            partitions: self.rules.map.partitions,
            sequence: self.sequence,
            entropy,
        }
    }

    /// The command's reply, or what is remembered of it.
    fn command(&mut self, command: &Command) -> Result<(Bytes, Option<Remembered>), Fault> {
        if !command.request_id.is_empty() {
            let key = rows::request_key(&rows::request_digest(command));
            if let Some(value) = self.draft.get(&key)? {
                let old = Remembered::decode(&value).map_err(|e| Fault::Row(Table::Requests, e))?;
                self.draft.audit(AuditNote {
                    interaction: "request.repeat".into(),
                    outcome: "ok".into(),
                    object: [&command.asked_as, &command.request_id]
                        .into_iter()
                        .find(|id| !id.is_empty())
                        .cloned()
                        .unwrap_or_default(),
                    ..Default::default()
                });
                self.gather(command, 0)?;
                return Ok((Bytes::new(), Some(old)));
            }
        }
        Ok((self.nested(command, 0)?, None))
    }

    /// Decides a command and, in the same draft, those it sends within the partition.
    fn nested(&mut self, command: &Command, depth: u32) -> Result<Bytes, Fault> {
        if depth > MAX_DEPTH {
            return Err(Fault::Other("commands send commands in a loop".into()));
        }
        let stamp = self.stamp();
        let service = self.rules.service(command.service)?;
        let reply = service.decide(&mut self.draft, &stamp, command)?;
        self.gather(command, depth)?;
        Ok(reply)
    }

    /// Decides a delivered command once more, if there is one.
    fn nested_again(&mut self, item: Option<&OutboxItem>) -> Result<(), Fault> {
        item.map_or(Ok(()), |item| self.nested(&item.command(), 0).map(drop))
    }

    /// Takes notes and sent commands out of the draft, in the name of the command that left them there.
    fn gather(&mut self, command: &Command, depth: u32) -> Result<(), Fault> {
        for note in self.draft.take_audit() {
            self.notes.push(Noted::of(command, note));
        }
        for (key, service, payload) in self.draft.take_outbox() {
            let target = self.rules.map.of(&key);
            let sent = Command {
                service: service.0,
                key,
                payload,
                caller: command.caller.clone(),
                correlation_id: command.correlation_id.clone(),
                asked_as: command.asked_as.clone(),
                trace: command.trace.clone(),
                ..Default::default()
            };
            if target == self.rules.partition {
                self.draft.settle();
                self.nested(&sent, depth + 1)?;
            } else {
                let item = OutboxItem {
                    bodies: self.rules.service(sent.service)?.bodies(&sent.payload),
                    to_key: sent.key,
                    service: sent.service,
                    payload: sent.payload,
                    caller: sent.caller,
                    correlation_id: sent.correlation_id,
                    trace: sent.trace,
                    ..Default::default()
                };
                self.outbox.push((target, item));
            }
        }
        Ok(())
    }

    fn timer(&mut self, timer: &Timer) -> Result<(), Fault> {
        let stamp = self.stamp();
        self.rules.service(timer.service)?.timer(&mut self.draft, &stamp, timer)?;
        self.gather(&Command { service: timer.service, ..Default::default() }, 0)
    }
}

impl OutboxItem {
    /// The command that the item carries.
    fn command(&self) -> Command {
        Command {
            service: self.service,
            key: self.to_key.clone(),
            payload: self.payload.clone(),
            caller: self.caller.clone(),
            correlation_id: self.correlation_id.clone(),
            trace: self.trace.clone(),
            ..Default::default()
        }
    }
}
