//! Relationships come to be, freeze, close and expire.

use super::{
    command::{Change, Create, Due, Raise, RelationshipCommand, act},
    decide::{Done, No, doer, fresh_id, has_any, is_operator, is_staff, is_system, number},
    kinds::{self, Holder, Kind},
    look,
    refusal::Problem,
    rows::{self, Relationship, state},
};
use crate::{
    access::caller::Caller,
    engine::{
        draft::{AuditNote, Draft, Fault, Stamp, Timer},
        services,
    },
    model::NhsNumber,
    store::Reader,
    wire::record::Record,
};

const DAY: u64 = 86_400_000;
/// Open relationships of one patient: far more than anyone is cared for by at a time.
const MOST_OPEN: usize = 500;
/// Longest reason and reference, in characters.
pub const MAX_TEXT: usize = 500;
/// Workgroups and users have 12 digits; ours are not looked at closer, another directory's may differ.
const MAX_ID: usize = 64;

pub fn create(draft: &mut Draft<'_>, stamp: &Stamp, caller: &Caller, c: &Create) -> Result<Done, No> {
    let nhs = number(c.nhs)?;
    let kind = kinds::by_name(&c.kind).ok_or_else(|| Problem::invalid("kind is none that there is"))?;
    permitted(kind, caller)?;
    let (workgroup, user) = holder(kind, caller, c)?;
    let ods = organisation(caller, &c.ods)?;
    if kind.alert.is_some() && ods.is_empty() {
        return Err(Problem::denied("an organisation must be known, whose privacy officers are told").into());
    }
    if kind.reason && c.reason.trim().is_empty() {
        return Err(Problem::missing("reason must be given").into());
    }
    if c.reason.chars().count() > MAX_TEXT || c.reference.chars().count() > MAX_TEXT {
        return Err(Problem::invalid(format!("a text has at most {MAX_TEXT} characters")).into());
    }
    let held = rows::holder(&workgroup, &user);
    for (id, row) in look::open(draft, nhs, Some(&held), MOST_OPEN)? {
        let over = row.expires != 0 && stamp.now >= row.expires;
        if row.kind == kind.number && !over {
            return Err(Problem::conflict(format!("there is one already: {id}")).into());
        }
    }
    if draft.scan(rows::open_of(nhs, None).prefix(), false, MOST_OPEN)?.len() == MOST_OPEN {
        return Err(Problem::too_many_open("close some of the patient's relationships").into());
    }
    let mut latest = None;
    if kind.holder == Holder::Colleague {
        latest = look::lasts(draft, nhs, &caller.user, stamp.now)?;
        if latest.is_none() {
            return Err(Problem::denied("only who has a relationship of his own may grant one").into());
        }
    }
    let expires = end(kind, c.days, latest, stamp.now);
    let id = fresh_id(stamp);
    let row = Relationship {
        kind: kind.number,
        workgroup,
        user,
        ods: ods.clone(),
        state: state::ACTIVE,
        expires,
        reason: c.reason.trim().to_owned(),
        reference: c.reference.clone(),
        created: Some(doer(caller, stamp)),
        ..Default::default()
    };
    draft.insert(rows::key(nhs, &id), row.encode());
    draft.insert(rows::open_key(nhs, &held, &id), Default::default());
    set_timer(draft, nhs, &id, row.expires);
    if let Some(alert) = kind.alert {
        let raise = Raise {
            ods: ods.clone(),
            kind: alert.number,
            subject: nhs.digits(),
            reason: row.reason.clone(),
            relationship: id.clone(),
            by: row.created.clone(),
            ..Default::default()
        };
        let payload = RelationshipCommand::from(raise).encode();
        draft.send(rows::alerts_partition_key(&ods), services::RELATIONSHIPS, payload);
    }
    let note = note(&id, &row, kind);
    Ok(Done { status: 201, note, ..Done::ok(row.shown(nhs, &id, stamp.now)) })
}

/// When it ends, 0 for never: what is asked for within what the kind allows. What was granted ends with what it stands on, at the
/// latest.
fn end(kind: &Kind, asked: u64, latest: Option<u64>, now: u64) -> u64 {
    let days = if asked == 0 || kind.days == 0 { kind.days.max(asked) } else { asked.min(kind.days) };
    let end = if days == 0 { 0 } else { now.saturating_add(days.saturating_mul(DAY)) };
    match latest.filter(|latest| *latest != 0) {
        Some(latest) if end == 0 || latest < end => latest,
        _ => end,
    }
}

/// Whether the caller may create one of this kind.
fn permitted(kind: &Kind, caller: &Caller) -> Result<(), Problem> {
    if is_operator(caller) {
        return Ok(());
    }
    if is_system(caller) {
        return match kind.systems {
            true => Ok(()),
            false => Err(Problem::denied("a person must ask for this kind")),
        };
    }
    if !is_staff(caller) {
        return Err(Problem::denied("only staff and their systems"));
    }
    match kind.activities.is_empty() || has_any(caller, kind.activities) {
        true => Ok(()),
        false => Err(Problem::activity(format!("one of the activities {} is needed", kind.activities.join(", ")))),
    }
}

/// Workgroup and user who hold it; one of them is empty.
fn holder(kind: &Kind, caller: &Caller, c: &Create) -> Result<(String, String), Problem> {
    let good = |id: &str| id.len() <= MAX_ID && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if !good(&c.workgroup) || !good(&c.user) {
        return Err(Problem::invalid("holder is no workgroup or user"));
    }
    match (kind.holder, c.workgroup.as_str(), c.user.as_str()) {
        (Holder::Oneself, "", user) if !caller.user.is_empty() && (user.is_empty() || user == caller.user) => {
            Ok((String::new(), caller.user.clone()))
        }
        (Holder::Oneself, ..) => Err(Problem::denied("it can be had for oneself only")),
        (Holder::Colleague, "", user) if !user.is_empty() && user != caller.user && !caller.user.is_empty() => {
            Ok((String::new(), user.to_owned()))
        }
        (Holder::Colleague, ..) => Err(Problem::invalid("holder must be another user")),
        (Holder::Either, "", user) if !user.is_empty() => Ok((String::new(), user.to_owned())),
        (Holder::Either | Holder::Workgroup, workgroup, "") if !workgroup.is_empty() => {
            Ok((workgroup.to_owned(), String::new()))
        }
        _ => Err(Problem::invalid("holder must be one workgroup or one user")),
    }
}

/// The holder's organisation: the caller's; an operator names it.
fn organisation(caller: &Caller, asked: &str) -> Result<String, Problem> {
    match (caller.ods.is_empty(), asked.is_empty() || asked == caller.ods) {
        (false, true) => Ok(caller.ods.clone()),
        (false, false) => Err(Problem::denied("the organisation is another's")),
        (true, _) if asked.len() <= MAX_ID => Ok(asked.to_owned()),
        (true, _) => Err(Problem::invalid("the organisation is none")),
    }
}

/// What the trail says of a relationship: the access reason (spec/identity.md §9.1) with it.
fn note(id: &str, row: &Relationship, kind: &Kind) -> AuditNote {
    let purpose = if row.reason.is_empty() { kind.name.into() } else { format!("{}: {}", kind.name, row.reason) };
    AuditNote {
        object: id.to_owned(),
        other: if row.workgroup.is_empty() { row.user.clone() } else { row.workgroup.clone() },
        purpose,
        workgroup: row.workgroup.clone(),
        ..Default::default()
    }
}

fn set_timer(draft: &mut Draft<'_>, nhs: NhsNumber, id: &str, expires: u64) {
    if expires != 0 {
        let due = Due { nhs: nhs.value(), id: id.to_owned(), ..Default::default() };
        draft.timer(expires, services::RELATIONSHIPS, due.encode());
    }
}

pub fn change(draft: &mut Draft<'_>, stamp: &Stamp, caller: &Caller, c: &Change) -> Result<Done, No> {
    let nhs = number(c.nhs)?;
    let row = rows::relationship(draft, nhs, &c.id)?.filter(|row| look::visible(caller, row));
    let mut row = row.ok_or_else(|| Problem::not_found("the patient has no such relationship"))?;
    let mine = is_operator(caller) || (!caller.ods.is_empty() && caller.ods == row.ods);
    if !mine {
        return Err(Problem::denied("it is another organisation's").into());
    }
    if c.reason.trim().is_empty() || c.reason.chars().count() > MAX_TEXT {
        return Err(Problem::missing(format!("reason must be given, in at most {MAX_TEXT} characters")).into());
    }
    let over = row.expires != 0 && stamp.now >= row.expires;
    if !row.is_open() || over {
        return Err(Problem::conflict("it has ended already").into());
    }
    let kind = kinds::by_number(row.kind).ok_or_else(|| Fault::Other("a relationship of no kind".into()))?;
    row.close_reason = c.reason.trim().to_owned();
    match c.what {
        act::FREEZE if row.state == state::FROZEN => return Err(Problem::conflict("it is frozen already").into()),
        act::FREEZE => {
            row.state = state::FROZEN;
            row.frozen = Some(doer(caller, stamp));
        }
        _ if kind.grace > 0 && !c.now && row.closed.is_none() => {
            // Its cause has ended; it goes on for the days of grace (spec/identity.md §8), and ends by its timer.
            let end = stamp.now + kind.grace * DAY;
            row.expires = if row.expires == 0 { end } else { end.min(row.expires) };
            row.closed = Some(doer(caller, stamp));
            set_timer(draft, nhs, &c.id, row.expires);
        }
        _ => {
            row.state = state::CLOSED;
            row.closed = Some(doer(caller, stamp));
            draft.delete(rows::open_key(nhs, &row.holder(), &c.id));
        }
    }
    draft.put(rows::key(nhs, &c.id), row.encode());
    let note = AuditNote { detail: row.close_reason.clone(), ..note(&c.id, &row, kind) };
    Ok(Done { note, ..Done::ok(row.shown(nhs, &c.id, stamp.now)) })
}

/// A relationship may be at its end. A timer of an earlier end does nothing.
pub fn due(draft: &mut Draft<'_>, stamp: &Stamp, timer: &Timer) -> Result<(), Fault> {
    let due = Due::decode(&timer.payload).map_err(|e| Fault::Other(format!("a relationship's timer: {e}")))?;
    let Some(nhs) = NhsNumber::of(due.nhs) else { return Ok(()) };
    let Some(mut row) = rows::relationship(draft, nhs, &due.id)? else { return Ok(()) };
    if !row.is_open() || row.expires == 0 || row.expires > stamp.now {
        return Ok(());
    }
    row.state = if row.closed.is_some() { state::CLOSED } else { state::EXPIRED };
    draft.put(rows::key(nhs, &due.id), row.encode());
    draft.delete(rows::open_key(nhs, &row.holder(), &due.id));
    draft.audit(AuditNote {
        interaction: "relationships.expire".into(),
        outcome: "ok".into(),
        object: due.id,
        subject: nhs.digits(),
        workgroup: row.workgroup.clone(),
        ..Default::default()
    });
    Ok(())
}
