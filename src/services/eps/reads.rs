//! What asks without a message: trackers and status updates (spec/eps.md §14, §15).

use super::{
    BodyIn, Call, Response, Step,
    ask::{Asked, Goal, Refusal, call, header},
    command::Updates,
    record::key,
    refuse, rows,
    status::{self, StatusUpdate},
};
use crate::{access::caller::Caller, engine::draft::Fault, store::Reader};
use http::HeaderMap;
use std::collections::{BTreeMap, BTreeSet};

/// What is asked for.
pub enum Read {
    /// Status updates, and their answer once it is known whether they may be stored.
    Updates(Box<status::Updates>, Option<Response>),
}

impl Asked {
    pub(super) fn read(&mut self, _: &Caller, headers: &HeaderMap) -> Result<Step, Refusal> {
        let _ = header(headers, "x");
        Err(Refusal::of(refuse::incorrect(404, "not yet"), "not_found"))
    }

    /// Either every update is stored or none: those that are there already are looked for in all partitions first.
    pub(super) fn status_updates(&mut self, body: BodyIn) -> Result<Step, Refusal> {
        let text = super::ask::body_text(body)?;
        match status::read(&text, Some(self.request.as_str()), self.now) {
            Err((status, body)) => Err(Refusal::of(refuse::respond(status, &body), "invalid")),
            Ok(updates) => {
                self.goal = Goal::Read(Read::Updates(Box::new(updates), None));
                Ok(Step::Look)
            }
        }
    }

    pub(super) fn looked_at(&mut self, views: &[&dyn Reader]) -> Result<Step, Fault> {
        let Goal::Read(Read::Updates(updates, answer)) = &mut self.goal else {
            return Err(Fault::Other("a request looked for nothing".into()));
        };
        let mut known: BTreeSet<(String, String)> = BTreeSet::new();
        let keys: BTreeSet<&str> = updates.all().iter().map(|update| key(&update.prescription)).collect();
        for view in views {
            for key in &keys {
                for there in rows::updates(*view, key)? {
                    // A repeat of this very request is no conflict: its updates are stored, and it is answered as it was (§3.7).
                    if there.request != self.request {
                        known.insert((there.task.to_ascii_lowercase(), there.prescription));
                    }
                }
            }
        }
        let is_known = |u: &StatusUpdate| known.contains(&(u.task.to_ascii_lowercase(), u.prescription.clone()));
        let (status, body, store) = updates.answer(is_known, self.now);
        *answer = Some(refuse::respond(status, &body));
        let calls = if store { storing(updates) } else { vec![self.noted("conflict", vec![], "")] };
        Ok(Step::Submit(calls))
    }

    pub(super) fn shown(&mut self, read: Read) -> Result<Response, Fault> {
        match read {
            Read::Updates(_, answer) => answer.ok_or_else(|| Fault::Other("updates without an answer".into())),
        }
    }
}

/// One call for each prescription.
fn storing(updates: &status::Updates) -> Vec<Call> {
    let mut by: BTreeMap<&str, Vec<StatusUpdate>> = BTreeMap::new();
    for update in updates.all() {
        by.entry(&update.prescription).or_default().push(update.clone());
    }
    let one = |(id, updates): (&str, Vec<StatusUpdate>)| {
        call(key(id), Updates { id: id.to_owned(), updates, ..Default::default() }.into(), String::new())
    };
    by.into_iter().map(one).collect()
}
