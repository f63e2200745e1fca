//! What asks without a message to a prescription: trackers and status updates (spec/eps.md §14, §15).

use super::{
    BodyIn, Call, Response, Step,
    access::{self, Duty, Who},
    answer::decoded,
    ask::{Asked, Goal, Refusal, body_text, call, header},
    clock,
    command::{Show, Updates},
    packed,
    record::{Id, Prescription, key},
    refuse,
    routes::Route,
    rows,
    show::{
        document::Document,
        exact, task,
        task_query::{self, TaskQuery},
        tracker,
        tracker_query::{self, Detail, Search, Whose},
    },
    status::{self, StatusUpdate},
};
use crate::{access::caller::Caller, engine::draft::Fault, store::Reader, wire::form::Form};
use http::HeaderMap;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Prescriptions of one person that a search looks at, newest first.
const MOST_SEEN: usize = 500;

/// What is asked for.
pub enum Read {
    /// Status updates, and their answer once it is known whether they may be stored.
    Updates(Box<status::Updates>, Option<Response>),
    /// `GET /Task`, and what was found of a person.
    Tasks(TaskQuery, Vec<Prescription>),
    /// A search of `RequestGroup`, and what was found of a person, with the orders.
    Groups(Search, Vec<(Prescription, Option<Document>)>),
    Group(Detail),
}

impl Asked {
    pub(super) fn read(&mut self, caller: &Caller, headers: &HeaderMap) -> Result<Step, Refusal> {
        match self.route.clone() {
            Route::Tasks(query) => {
                self.request = super::ask::request_id(headers)?;
                let scope = access::scope(caller, Duty::Tracker, Who::UserOrApplication)
                    .map_err(|words| Refusal::of(refuse::forbidden(&words), "forbidden"))?;
                self.granted = access::granted(caller, scope, None);
                self.tasks(&query)
            }
            Route::Groups(query) => {
                self.tracker_headers(headers)?;
                let wanted = tracker_query::search(&pairs(&query), clock::uk_day(self.now));
                let search = wanted.map_err(|problems| self.bad_query(&problems))?;
                self.groups(search)
            }
            Route::Group(id, query) => {
                self.tracker_headers(headers)?;
                let detail =
                    tracker_query::detail(&id, &pairs(&query)).map_err(|problems| self.bad_query(&problems))?;
                let show = Show {
                    id: detail.prescription.clone(),
                    interaction: self.route.name().into(),
                    notifications: true,
                    issue: detail.issue.unwrap_or_default(),
                    ..Default::default()
                };
                self.goal = Goal::Read(Read::Group(detail));
                Ok(Step::Submit(vec![call(key(&show.id.clone()), show.into(), String::new())]))
            }
            _ => Err(super::ask::nothing("")),
        }
    }

    fn tracker_headers(&mut self, headers: &HeaderMap) -> Result<(), Refusal> {
        self.request = header(headers, "x-request-id").to_ascii_lowercase();
        let missing = tracker_query::missing_headers(|name| !header(headers, name).is_empty());
        if missing.is_empty() { Ok(()) } else { Err(self.bad_query(&missing)) }
    }

    fn bad_query(&self, problems: &[tracker_query::Problem]) -> Refusal {
        Refusal::of(refuse::respond(400, &tracker_query::refusal(400, problems, self.now)), "invalid")
    }

    fn tasks(&mut self, query: &str) -> Result<Step, Refusal> {
        let query = task_query::read(&pairs(query)).map_err(|problems| {
            Refusal::of(refuse::respond(400, &task_query::refusal(&problems, self.now)), "invalid")
        })?;
        let one = query.one().map(str::to_owned);
        self.goal = Goal::Read(Read::Tasks(query, vec![]));
        Ok(one.map_or(Step::Look, |id| self.showing(id)))
    }

    fn groups(&mut self, search: Search) -> Result<Step, Refusal> {
        let one = match &search.whose {
            Whose::Prescription(id) => Some(id.clone()),
            Whose::Patient(_) => None,
        };
        self.goal = Goal::Read(Read::Groups(search, vec![]));
        Ok(one.map_or(Step::Look, |id| self.showing(id)))
    }

    /// One prescription, and the note that it was shown.
    fn showing(&self, id: String) -> Step {
        let show = Show { id: id.clone(), interaction: self.route.name().into(), ..Default::default() };
        Step::Submit(vec![call(key(&id), show.into(), String::new())])
    }

    /// Either every update is stored or none: those that are there already are looked for in all partitions first.
    pub(super) fn status_updates(&mut self, body: BodyIn) -> Result<Step, Refusal> {
        let text = body_text(body)?;
        match status::read(&text, Some(self.request.as_str()), self.now) {
            Err((status, body)) => Err(Refusal::of(refuse::respond(status, &body), "invalid")),
            Ok(updates) => {
                self.goal = Goal::Read(Read::Updates(Box::new(updates), None));
                Ok(Step::Look)
            }
        }
    }

    pub(super) fn looked_at(&mut self, views: &[&dyn Reader]) -> Result<Step, Fault> {
        let mut goal = std::mem::replace(&mut self.goal, Goal::Done);
        let calls = match &mut goal {
            Goal::Read(Read::Updates(updates, answer)) => self.conflicts(views, updates, answer)?,
            Goal::Read(Read::Tasks(query, found)) => {
                let nhs = query.patient.unwrap_or_default();
                *found = of_person(views, nhs)?.into_iter().map(|(p, _)| p).collect();
                vec![self.noted("ok", vec![nhs], "")]
            }
            Goal::Read(Read::Groups(search, found)) => {
                let nhs = match search.whose {
                    Whose::Patient(nhs) => nhs,
                    Whose::Prescription(_) => 0,
                };
                *found = of_person(views, nhs)?;
                vec![self.noted("ok", vec![nhs], "")]
            }
            _ => return Err(Fault::Other("a request looked for nothing".into())),
        };
        self.goal = goal;
        Ok(Step::Submit(calls))
    }

    fn conflicts(
        &self,
        views: &[&dyn Reader],
        updates: &status::Updates,
        answer: &mut Option<Response>,
    ) -> Result<Vec<Call>, Fault> {
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
        Ok(if store { storing(updates) } else { vec![self.noted("conflict", vec![], "")] })
    }

    pub(super) fn shown(&mut self, read: Read) -> Result<Response, Fault> {
        let reply = self.replies.first().cloned().unwrap_or_default();
        let one = match reply.prescription.is_empty() {
            true => None,
            false => Some(decoded(&reply.prescription)?),
        };
        let order = || packed::unpack(&reply.order).and_then(|text| Document::read(&text));
        let body = match read {
            Read::Updates(_, answer) => {
                return answer.ok_or_else(|| Fault::Other("updates without an answer".into()));
            }
            Read::Tasks(query, mut found) => {
                found.extend(one);
                task::answer(&query, &found, self.now, &mut self.ids("tasks"))
            }
            Read::Groups(search, mut found) => {
                found.extend(one.map(|p| (p, order())));
                let found: Vec<_> = found.iter().map(|(p, order)| (p, order.as_ref())).collect();
                tracker::search(&search, &found, &mut self.ids("groups"))
            }
            Read::Group(detail) => {
                let ids = reply.notifications.iter().map(|id| Id::or_none(id));
                let documents = reply.documents.iter().filter_map(|bytes| Document::read(&packed::unpack(bytes)?));
                let notifications: Vec<(Id, Document)> = ids.zip(documents).collect();
                match self.detail(one.as_ref(), order().as_ref(), (&notifications, &reply.updates), detail.issue) {
                    Some(body) => body,
                    None => return Ok(refuse::respond(404, &tracker_query::not_found(self.now))),
                }
            }
        };
        Ok(refuse::written(200, exact::write(&body)))
    }

    fn detail(
        &self,
        record: Option<&Prescription>,
        order: Option<&Document>,
        (notifications, updates): (&[(Id, Document)], &[StatusUpdate]),
        issue: Option<u32>,
    ) -> Option<Value> {
        let record = record.filter(|p| !p.is_placeholder())?;
        let of = tracker::Detailed { record, order, notifications, updates, now: self.now };
        tracker::detail(&of, issue, &mut self.ids("group"))
    }
}

/// The prescriptions of a person in all partitions, newest first, with their orders.
fn of_person(views: &[&dyn Reader], nhs: u64) -> Result<Vec<(Prescription, Option<Document>)>, Fault> {
    let mut found = vec![];
    for view in views {
        for key in rows::of_person(*view, nhs, MOST_SEEN)? {
            let Some(p) = rows::prescription(*view, &key)? else { continue };
            let order = rows::document(*view, &key, p.order)?;
            let order = order.and_then(|bytes| Document::read(&packed::unpack(&bytes)?));
            found.push((p, order));
        }
    }
    found.sort_by_key(|(p, _)| std::cmp::Reverse(p.prescribed_at.max(p.arrived_at)));
    found.truncate(MOST_SEEN);
    Ok(found)
}

/// A query's pairs; of one that is no query none, and so what must be there is missing.
fn pairs(query: &str) -> Vec<(String, String)> {
    let form = Form::parse(query.as_bytes()).unwrap_or_default();
    form.fields().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plus_sign_that_was_not_escaped_is_still_the_ids() {
        let id = "4243A0-A99968-4E149+";
        for written in [id, "4243A0-A99968-4E149%2B", "4243a0-a99968-4e149+"] {
            let system = "https://fhir.nhs.uk/Id/prescription-order-number|";
            for query in [format!("focus:identifier={written}"), format!("identifier={system}{written}")] {
                assert_eq!(task_query::read(&pairs(&query)).unwrap().one(), Some(id), "{query}");
            }
            let search = tracker_query::search(&pairs(&format!("prescriptionId={written}")), 20261129).unwrap();
            assert_eq!(search.whose, Whose::Prescription(id.into()));
        }
    }
}
