//! One command to rows, audit notes and a reply: the order that holds for all.

use super::{
    Eps, clock,
    command::{Advance, EpsCommand, Noted, Pick, Reply, Show, Updates},
    message::{Cancel, Release},
    record::{Event, Id, Prescription, key},
    refused::Refused,
    rows,
    show::refusals::{self, Vocabulary},
    states::Trigger,
    steps::{self, Moment, Nominate, Outcome},
};
use crate::{
    engine::{
        Command, ServiceId,
        draft::{AuditNote, Decide, Draft, Fault, Stamp, Timer},
        services,
    },
    model::NhsNumber,
    store::Reader,
    wire::{person_changed::PersonChanged, record::Record},
};
use bytes::Bytes;

/// Prescriptions of one person that a partition looks at when the person changes; the newest, of which none open is left out:
/// what is over is deleted within months.
const MOST_OF_ONE: usize = 1_000;
/// Dispense notifications that a tracker shows of an issue.
const NOTIFICATIONS: usize = 16;
/// Prescriptions whose due work one decision does; more of one day follow in the next.
const SWEEP: usize = 100;
/// Between two pieces of a day's work.
const SWEEP_AGAIN_MS: u64 = 20;
const DAY_MS: u64 = 86_400_000;
/// Work of a day begins so long after midnight (§18.2), by UTC: in summer an hour later by the clock of the United Kingdom.
const BEGIN_MS: u64 = 5 * 60_000;

/// What a command is about, for its note.
struct About<'a> {
    interaction: &'static str,
    /// Short id.
    id: &'a str,
    nhs: u64,
    message: &'a str,
    /// Whose words a refusal is told in.
    vocabulary: Vocabulary,
}

impl<'a> About<'a> {
    fn of(interaction: &'static str, id: &'a str, nhs: u64, message: &'a str) -> Self {
        About { interaction, id, nhs, message, vocabulary: Vocabulary::Prescribing }
    }
}

impl Decide for Eps {
    fn service(&self) -> ServiceId {
        services::EPS
    }

    fn decide(&self, draft: &mut Draft<'_>, stamp: &Stamp, command: &Command) -> Result<Bytes, Fault> {
        let at = self.moment(draft, stamp)?;
        let by_operator = !command.caller.operator.is_empty();
        let mut work = Work { draft, stamp, at };
        let reply = match EpsCommand::decode(&command.payload)? {
            EpsCommand::Noted(c) => work.noted(c),
            EpsCommand::Order(c) => {
                let about = About::of("eps.order", &c.id, c.nhs, &c.message);
                work.step(about, &c.document, |old, at| steps::order(old, &c, at), |_, ()| done())?
            }
            EpsCommand::Cancel(c) => work.cancel(&c)?,
            EpsCommand::Release(c) => work.release(&c)?,
            EpsCommand::Dispense(c) => {
                let about = About::of("eps.dispense", &c.id, c.nhs, &c.message);
                work.step(about, &c.document, |old, at| steps::dispense(old, &c, at), |_, ()| done())?
            }
            EpsCommand::Return(c) => {
                let about = About::of("eps.return", &c.id, c.nhs, &c.message);
                work.step(about, &c.document, |old, at| steps::give_back(old, &c, at), |_, ()| done())?
            }
            EpsCommand::Withdraw(c) => {
                let about = About::of("eps.withdraw", &c.id, c.nhs, &c.message);
                work.step(about, &c.document, |old, at| steps::withdraw(old, &c, at), |_, ()| done())?
            }
            EpsCommand::Claim(c) => {
                let about = About::of("eps.claim", &c.id, c.nhs, &c.message);
                work.step(about, &c.document, |old, at| steps::claim(old, &c, at), |_, ()| done())?
            }
            EpsCommand::Pick(c) => work.pick(c),
            EpsCommand::Show(c) => work.show(&c)?,
            EpsCommand::Updates(c) => work.updates(&c)?,
            EpsCommand::PersonChanged(c) => work.person(&c)?,
            EpsCommand::Sweep(c) => Reply { more: work.sweep_of(c.ahead)?, ..Default::default() },
            EpsCommand::Advance(c) if by_operator && !self.options.live => work.advance(&c)?,
            EpsCommand::Advance(_) => return Err(Fault::Other("a live site's calendar is not moved".into())),
        };
        Ok(Reply { at: at.now, ..reply }.encode())
    }

    fn may_when_full(&self, command: &Command) -> bool {
        matches!(EpsCommand::decode(&command.payload), Ok(EpsCommand::Noted(_) | EpsCommand::Show(_)))
    }

    fn timer(&self, draft: &mut Draft<'_>, stamp: &Stamp, timer: &Timer) -> Result<(), Fault> {
        let day = timer.payload.as_ref().try_into().map(u32::from_be_bytes);
        let day = day.map_err(|_| Fault::Other("an eps timer names no day".into()))?;
        let at = self.moment(draft, stamp)?;
        let mut work = Work { draft, stamp, at };
        if work.sweep()? {
            work.draft.timer(stamp.now + SWEEP_AGAIN_MS, services::EPS, timer.payload.clone());
        } else {
            work.draft.delete(rows::day_key(day));
        }
        Ok(())
    }
}

impl Eps {
    /// Now, by the calendar of the site: a test site's may be ahead.
    fn moment(&self, draft: &Draft<'_>, stamp: &Stamp) -> Result<Moment, Fault> {
        let ahead = u64::from(rows::days_ahead(draft.site())?);
        Ok(Moment { rules: self.options.rules, ..Moment::of(stamp.now + ahead * DAY_MS) })
    }
}

pub(super) struct Work<'d, 'a> {
    pub(super) draft: &'d mut Draft<'a>,
    stamp: &'d Stamp,
    pub(super) at: Moment,
}

impl Work<'_, '_> {
    /// A step on the stored prescription: its rows, its document, what follows, and its note. `told` fills the reply, and
    /// gives the outcome for the trail.
    fn step<T>(
        &mut self,
        about: About<'_>,
        document: &Bytes,
        step: impl FnOnce(Option<&Prescription>, &Moment) -> Outcome<T>,
        told: impl FnOnce(&mut Reply, T) -> String,
    ) -> Result<Reply, Fault> {
        let key = key(about.id);
        let old = rows::prescription(self.draft, key)?;
        let Outcome { record, then, result } = step(old.as_ref(), &self.at);
        if let Some(new) = &record {
            self.write(old.as_ref(), new)?;
            let message = Id::or_none(about.message);
            if !document.is_empty() && new.documents().any(|id| id == message) {
                self.draft.put(rows::document_key(key, message), document.clone());
            }
        }
        let now = record.or(old);
        for follows in then {
            self.follow(key, now.as_ref(), follows)?;
        }
        let (reply, outcome) = match result {
            Ok(done) => {
                let mut reply = Reply::default();
                let outcome = told(&mut reply, done);
                (reply, outcome)
            }
            Err(refused) => {
                let code = refusals::row_of(&refused, about.vocabulary).code;
                (Reply::refused_by(self.at.now, &refused), code.to_owned())
            }
        };
        let nhs = if about.nhs != 0 { about.nhs } else { now.as_ref().map_or(0, |p| p.nhs) };
        // A nominated release and a person's change know the key only.
        let id = now.as_ref().map_or_else(|| about.id.to_owned(), |p| p.id.clone());
        self.note(&About { id: &id, ..about }, nhs, &outcome);
        let prescription = now.map(|p| p.encode()).unwrap_or_default();
        Ok(Reply { prescription, ..reply })
    }

    fn note(&mut self, about: &About<'_>, nhs: u64, outcome: &str) {
        self.draft.audit(AuditNote {
            interaction: about.interaction.into(),
            outcome: outcome.into(),
            object: about.id.into(),
            other: about.message.into(),
            subject: digits(nhs),
            ..Default::default()
        });
    }

    /// Writes a record, and sees to it that somebody looks at it on the day of its next activity.
    fn write(&mut self, old: Option<&Prescription>, new: &Prescription) -> Result<(), Fault> {
        let Some(day) = rows::put(self.draft, old, new) else { return Ok(()) };
        if self.draft.get(&rows::day_key(day).build())?.is_some() {
            return Ok(());
        }
        self.draft.put(rows::day_key(day), Bytes::from_static(b"\x01"));
        let ahead = self.at.now - self.stamp.now;
        let due = (clock::midnight(day) + BEGIN_MS).saturating_sub(ahead).max(self.stamp.now + 1);
        self.draft.timer(due, services::EPS, Bytes::copy_from_slice(&day.to_be_bytes()));
        Ok(())
    }
}

impl Work<'_, '_> {
    /// Answers that show the order carry its document.
    fn with_order(&self, id: &str, mut reply: Reply) -> Result<Reply, Fault> {
        if reply.prescription.is_empty() {
            return Ok(reply);
        }
        let p = Prescription::decode(&reply.prescription).map_err(|e| Fault::Other(format!("prescription: {e}")))?;
        reply.order = rows::document(self.draft, key(id), p.order)?.unwrap_or_default();
        Ok(reply)
    }

    fn cancel(&mut self, c: &Cancel) -> Result<Reply, Fault> {
        let about = About::of("eps.cancel", &c.id, c.nhs, &c.message);
        let reply = self.step(
            about,
            &c.document,
            |old, at| steps::cancel(old, c, at),
            |reply, done| {
                reply.code = done.code as u16;
                reply.reason = done.why.into();
                reply.decided = done.at;
                if let Some(dispenser) = done.dispenser {
                    (reply.owner, reply.agent) = (dispenser.owner, dispenser.agent);
                }
                if done.code == steps::Code::R0001 { self::done() } else { done.code.word() }
            },
        )?;
        self.with_order(&c.id, reply)
    }

    fn release(&mut self, c: &Release) -> Result<Reply, Fault> {
        let about = About { vocabulary: Vocabulary::Dispensing, ..About::of("eps.release", &c.id, 0, &c.request) };
        let reply = self.step(
            about,
            &Bytes::new(),
            |old, at| steps::release(old, c, at),
            |reply, released| {
                reply.issue = released.issue;
                reply.response = released.response.to_string();
                reply.items_before =
                    released.items_before.iter().map(|status| *status as u8).collect::<Vec<_>>().into();
                reply.last_dispensed = released.last_dispensed;
                reply.taken_back = released.taken_back;
                self::done()
            },
        )?;
        if reply.refused != 0 {
            return Ok(reply);
        }
        let reply = self.with_order(&c.id, reply)?;
        // A repeat that comes after eighteen months: the record is there yet, its messages are not (§16).
        let gone = reply.order.is_empty();
        Ok(if gone { Reply::refused_by(self.at.now, &Refused::ResourceNotFound) } else { reply })
    }

    /// Which prescriptions a nominated release takes: the reply is remembered, so that a repeat takes the same.
    fn pick(&mut self, c: Pick) -> Reply {
        self.draft.audit(AuditNote {
            interaction: "eps.release".into(),
            outcome: "ok".into(),
            object: c.ods,
            detail: format!("{} found", c.keys.len()),
            ..Default::default()
        });
        Reply { keys: c.keys, attempt: c.attempt, ..Default::default() }
    }

    fn show(&mut self, c: &Show) -> Result<Reply, Fault> {
        let found = rows::prescription(self.draft, key(&c.id))?;
        let outcome = if found.is_some() { "ok" } else { "not_found" };
        self.draft.audit(AuditNote {
            interaction: c.interaction.clone(),
            outcome: outcome.into(),
            object: c.id.clone(),
            subject: digits(found.as_ref().map_or(0, |p| p.nhs)),
            ..Default::default()
        });
        let Some(p) = found else { return Ok(Reply::default()) };
        let updates = rows::updates(self.draft, p.key())?;
        let mut reply = Reply { prescription: p.encode(), updates, ..Default::default() };
        if c.notifications {
            self.notifications(&p, c.issue, &mut reply)?;
        }
        self.with_order(&c.id, reply)
    }

    /// The newest dispense notifications of an issue, oldest first.
    fn notifications(&self, p: &Prescription, issue: u32, reply: &mut Reply) -> Result<(), Fault> {
        let issue = if issue == 0 { p.current } else { issue };
        let told = |e: &&Event| e.issue == issue && matches!(e.trigger(), Some(Trigger::Dispense | Trigger::Amend));
        let mut ids: Vec<Id> = p.log.iter().rev().filter(told).map(|e| e.message).take(NOTIFICATIONS).collect();
        ids.reverse();
        for id in ids {
            if let Some(document) = rows::document(self.draft, p.key(), id)? {
                reply.notifications.push(id.to_string());
                reply.documents.push(document);
            }
        }
        Ok(())
    }

    /// One note for each person shown; one without a person where nobody was.
    fn noted(&mut self, c: Noted) -> Reply {
        let note = AuditNote {
            interaction: c.interaction,
            outcome: c.outcome,
            object: c.object,
            detail: c.detail,
            ..Default::default()
        };
        for subject in &c.subjects {
            self.draft.audit(AuditNote { subject: digits(*subject), ..note.clone() });
        }
        if c.subjects.is_empty() {
            self.draft.audit(note);
        }
        Reply::default()
    }

    /// Status updates of one prescription, whether it is known here or not (§15); those that are there already stay as they are.
    fn updates(&mut self, c: &Updates) -> Result<Reply, Fault> {
        let key = key(&c.id);
        let there = rows::updates(self.draft, key)?.len();
        let mut reply = Reply::default();
        let mut subject = 0;
        for update in &c.updates {
            let row = rows::update_key(key, &update.task);
            subject = update.nhs;
            if self.draft.get(&row.clone().build())?.is_some() {
                reply.known.push(update.task.clone());
            } else if there + c.updates.len() <= rows::MOST_UPDATES {
                self.draft.put(row, update.encode());
            } else {
                reply = Reply::refused_by(self.at.now, &Refused::Failure("too many status updates".into()));
            }
        }
        self.note(&About::of("eps.status_update", &c.id, subject, ""), subject, "ok");
        Ok(reply)
    }

    /// Prescriptions of a person who died are cancelled; those that nobody has taken follow a new nomination.
    fn person(&mut self, c: &PersonChanged) -> Result<Reply, Fault> {
        for key in rows::of_person(self.draft, c.nhs, MOST_OF_ONE)? {
            let nothing = Bytes::new();
            if c.died {
                let about = About::of("eps.death", &key, c.nhs, "");
                self.step(about, &nothing, steps::died, |_, ()| done())?;
            }
            for now in &c.nominations {
                let to = Nominate { kind: now.kind.clone(), to: now.ods.clone(), ..Default::default() };
                let about = About::of("eps.nomination", &key, c.nhs, "");
                self.step(about, &nothing, |old, at| steps::nominate(old, &to, at), |_, ()| done())?;
            }
        }
        Ok(Reply::default())
    }

    fn advance(&mut self, c: &Advance) -> Result<Reply, Fault> {
        let ahead = rows::days_ahead(self.draft)?.max(c.days);
        rows::set_days_ahead(self.draft, ahead);
        self.draft.audit(AuditNote {
            interaction: "eps.testdata.clock".into(),
            outcome: "ok".into(),
            detail: format!("{ahead} days ahead"),
            ..Default::default()
        });
        Ok(Reply::default())
    }

    /// When the calendar was moved. The site's rows reach a partition's leader a moment after they are written: until they have,
    /// nothing is done, and there is more to do, or a day's work would wait for a day that does not come.
    fn sweep_of(&mut self, ahead: u32) -> Result<bool, Fault> {
        if rows::days_ahead(self.draft.site())? < ahead { Ok(true) } else { self.sweep() }
    }

    /// Carries out what is due today or before; true where more is.
    fn sweep(&mut self) -> Result<bool, Fault> {
        let found = rows::due(self.draft, self.at.today, SWEEP + 1)?;
        let more = found.len() > SWEEP;
        for (row, key) in found.into_iter().take(SWEEP) {
            let Some(old) = rows::prescription(self.draft, &key)? else {
                self.draft.delete_raw(row);
                continue;
            };
            match clock::due(&old, &self.at) {
                Some(due) => self.done(&old, due)?,
                // A row that says what the record does not: nothing is due, and nobody looks again for it.
                None => self.draft.delete_raw(row),
            }
        }
        Ok(more)
    }

    fn done(&mut self, old: &Prescription, due: Outcome<()>) -> Result<(), Fault> {
        self.note(&About::of("eps.clock", &old.id, old.nhs, ""), old.nhs, "ok");
        match &due.record {
            None => rows::remove(self.draft, old)?,
            Some(new) => self.write(Some(old), new)?,
        }
        let now = due.record.as_ref().unwrap_or(old);
        for follows in due.then {
            self.follow(old.key(), Some(now), follows)?;
        }
        Ok(())
    }
}

/// The outcome of what was done.
fn done() -> String {
    "ok".into()
}

fn digits(number: u64) -> String {
    NhsNumber::of(number).filter(|_| number != 0).map(NhsNumber::digits).unwrap_or_default()
}

#[cfg(test)]
mod tests;
