//! Alerts to privacy officers (spec/identity.md §9.3): a queue for each organisation; new → acknowledged → closed with a note.

use super::{
    change::MAX_TEXT,
    command::{ChangeAlert, FindAlerts, Raise, act},
    decide::{Done, No, doer, fresh_id},
    kinds,
    refusal::Problem,
    rows::{self, Alert, progress},
};
use crate::{
    access::caller::Caller,
    engine::draft::{AuditNote, Draft, Fault, Stamp},
    store::{
        Reader,
        tables::{Parts, after_prefix},
    },
    wire::record::Record,
};
use serde_json::{Value, json};

/// Alerts of a page, and rows looked at for it: those of other activities are hidden.
const PAGE: usize = 50;
const MOST_LOOKED_AT: usize = 500;

/// Puts an alert into its organisation's queue. Comes in the entry of what it tells of, or once through the outbox.
pub fn raise(draft: &mut Draft<'_>, stamp: &Stamp, c: &Raise) {
    let id = fresh_id(stamp);
    let alert = Alert {
        kind: c.kind,
        subject: c.subject.clone(),
        reason: c.reason.clone(),
        by: c.by.clone(),
        relationship: c.relationship.clone(),
        state: progress::NEW,
        ..Default::default()
    };
    draft.insert(rows::alert_key(&c.ods, &id), alert.encode());
    draft.insert(rows::open_alert_key(&c.ods, &id), Default::default());
    let name = kinds::alert_by_number(c.kind).map_or("unknown", |kind| kind.name);
    draft.audit(AuditNote {
        interaction: "alerts.raise".into(),
        outcome: "ok".into(),
        object: id,
        other: c.ods.clone(),
        subject: c.subject.clone(),
        purpose: name.into(),
        action: "C".into(),
        ..Default::default()
    });
}

/// Whether the caller receives alerts of this kind for this organisation.
fn receives(caller: &Caller, ods: &str, alert: &Alert) -> bool {
    let activity = kinds::alert_by_number(alert.kind).map(|kind| kind.activity);
    caller.ods == ods && activity.is_some_and(|activity| caller.activities.iter().any(|a| a == activity))
}

pub fn list(draft: &mut Draft<'_>, caller: &Caller, c: &FindAlerts) -> Result<Done, No> {
    let mut range = rows::alerts_of(&c.ods, c.all).prefix();
    if !c.after.is_empty() {
        range.start = after_prefix(&rows::alerts_of(&c.ods, c.all).text(&c.after).build());
    }
    let found = draft.scan(range, false, MOST_LOOKED_AT)?;
    let whole = found.len() < MOST_LOOKED_AT;
    let (mut items, mut subjects, mut next) = (vec![], vec![], Value::Null);
    for (n, (key, _)) in found.iter().enumerate() {
        let id = id_of(key);
        if let Some(alert) = rows::alert(draft, &c.ods, &id)?.filter(|alert| receives(caller, &c.ods, alert)) {
            items.push(alert.shown(&c.ods, &id));
            subjects.push(alert.subject);
        }
        let last = n + 1 == found.len();
        if (items.len() == PAGE && !last) || (last && !whole) {
            next = json!(id);
            break;
        }
    }
    subjects.sort_unstable();
    subjects.dedup();
    let mut body = json!({"organisation": c.ods, "items": items});
    if !next.is_null() {
        body["next"] = next;
    }
    Ok(Done { shown: subjects, note: AuditNote { object: c.ods.clone(), ..Default::default() }, ..Done::ok(body) })
}

fn id_of(key: &[u8]) -> String {
    let mut parts = Parts::of(key);
    parts.text();
    parts.text().unwrap_or_default()
}

pub fn change(draft: &mut Draft<'_>, stamp: &Stamp, caller: &Caller, c: &ChangeAlert) -> Result<Done, No> {
    let alert = rows::alert(draft, &c.ods, &c.id)?.filter(|alert| receives(caller, &c.ods, alert));
    let mut alert = alert.ok_or_else(|| Problem::not_found("there is no such alert for you"))?;
    let note = c.note.trim();
    if note.chars().count() > MAX_TEXT {
        return Err(Problem::invalid(format!("a note has at most {MAX_TEXT} characters")).into());
    }
    match (c.what, alert.state) {
        (act::READ, _) => {}
        (act::ACKNOWLEDGE, progress::NEW) => {
            alert.state = progress::ACKNOWLEDGED;
            alert.acknowledged = Some(doer(caller, stamp));
        }
        (act::ACKNOWLEDGE, _) => return Err(Problem::conflict("it is acknowledged already").into()),
        (act::CLOSE, progress::NEW) => return Err(Problem::conflict("acknowledge it first").into()),
        (act::CLOSE, progress::CLOSED) => return Err(Problem::conflict("it is closed already").into()),
        (act::CLOSE, _) if note.is_empty() => return Err(Problem::missing("a note must be given").into()),
        (act::CLOSE, _) => {
            alert.state = progress::CLOSED;
            alert.closed = Some(doer(caller, stamp));
            note.clone_into(&mut alert.note);
            draft.delete(rows::open_alert_key(&c.ods, &c.id));
        }
        _ => return Err(No::Fault(Fault::Other("an alert's change that is none".into()))),
    }
    if c.what != act::READ {
        draft.put(rows::alert_key(&c.ods, &c.id), alert.encode());
    }
    let said = AuditNote {
        object: c.id.clone(),
        other: c.ods.clone(),
        subject: alert.subject.clone(),
        detail: note.to_owned(),
        action: if c.what == act::READ { "R".into() } else { "U".into() },
        ..Default::default()
    };
    Ok(Done { note: said, ..Done::ok(alert.shown(&c.ods, &c.id)) })
}
