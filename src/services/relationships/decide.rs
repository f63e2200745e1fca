//! One command to rows, notes and a reply: the order that holds for all.

use super::{
    Relationships, alerts, change,
    command::{Noted, RelationshipCommand, Reply, act, find},
    look,
    refusal::Problem,
    rows::Doer,
};
use crate::{
    access::caller::Caller,
    engine::{
        Command, ServiceId,
        draft::{AuditNote, Decide, Draft, Fault, Stamp, Timer},
        services,
    },
    model::NhsNumber,
    wire::record::Record,
};
use bytes::Bytes;
use serde_json::Value;

/// Why a command is not carried out: in the caller's words, or our fault.
pub enum No {
    Refused(Problem),
    Fault(Fault),
}

impl From<Problem> for No {
    fn from(problem: Problem) -> Self {
        No::Refused(problem)
    }
}
impl From<Fault> for No {
    fn from(fault: Fault) -> Self {
        No::Fault(fault)
    }
}
impl From<crate::store::StoreError> for No {
    fn from(error: crate::store::StoreError) -> Self {
        No::Fault(error.into())
    }
}

/// What was done: the answer, and what its note says beyond what the command does.
pub struct Done {
    pub status: u16,
    pub body: Value,
    pub note: AuditNote,
    /// People whose data the answer shows, where they are not the note's subject.
    pub shown: Vec<String>,
}

impl Done {
    pub fn ok(body: Value) -> Done {
        Done { status: 200, body, note: AuditNote::default(), shown: vec![] }
    }
}

impl Decide for Relationships {
    fn service(&self) -> ServiceId {
        services::RELATIONSHIPS
    }

    fn decide(&self, draft: &mut Draft<'_>, stamp: &Stamp, command: &Command) -> Result<Bytes, Fault> {
        let caller = &command.caller;
        match RelationshipCommand::decode(&command.payload)? {
            RelationshipCommand::Create(c) => {
                let about = About::patient("relationships.create", c.nhs);
                done(draft, about, |draft| change::create(draft, stamp, caller, &c))
            }
            RelationshipCommand::Find(c) => {
                let interaction = match c.what {
                    find::SHOW => "relationships.read",
                    find::CHECK => "relationships.check",
                    _ => "relationships.list",
                };
                let about = About::patient(interaction, c.nhs);
                done(draft, about, |draft| look::find(draft, stamp, caller, &c))
            }
            RelationshipCommand::Change(c) => {
                let freezes = c.what == act::FREEZE;
                let interaction = if freezes { "relationships.freeze" } else { "relationships.close" };
                let about = About::patient(interaction, c.nhs);
                done(draft, about, |draft| change::change(draft, stamp, caller, &c))
            }
            RelationshipCommand::Raise(c) => {
                alerts::raise(draft, stamp, &c);
                Ok(Bytes::new())
            }
            RelationshipCommand::FindAlerts(c) => {
                let about = About { interaction: "alerts.list", subject: String::new() };
                done(draft, about, |draft| alerts::list(draft, caller, &c))
            }
            RelationshipCommand::ChangeAlert(c) => {
                let interaction = match c.what {
                    act::ACKNOWLEDGE => "alerts.acknowledge",
                    act::CLOSE => "alerts.close",
                    _ => "alerts.read",
                };
                let about = About { interaction, subject: String::new() };
                done(draft, about, |draft| alerts::change(draft, stamp, caller, &c))
            }
            RelationshipCommand::Noted(c) => Ok(noted(draft, c)),
        }
    }

    fn may_when_full(&self, command: &Command) -> bool {
        let read = RelationshipCommand::decode(&command.payload);
        matches!(
            read,
            Ok(RelationshipCommand::Find(_) | RelationshipCommand::FindAlerts(_) | RelationshipCommand::Noted(_))
        )
    }

    fn timer(&self, draft: &mut Draft<'_>, stamp: &Stamp, timer: &Timer) -> Result<(), Fault> {
        change::due(draft, stamp, timer)
    }
}

/// What a command is about, for its note.
struct About {
    interaction: &'static str,
    subject: String,
}

impl About {
    fn patient(interaction: &'static str, nhs: u64) -> About {
        About { interaction, subject: NhsNumber::of(nhs).map(NhsNumber::digits).unwrap_or_default() }
    }
}

/// Decides, and leaves the note: of what was done with all whose data are shown, of a refusal with its code and without rows.
fn done(
    draft: &mut Draft<'_>,
    about: About,
    decide: impl FnOnce(&mut Draft<'_>) -> Result<Done, No>,
) -> Result<Bytes, Fault> {
    let About { interaction, subject } = about;
    let (status, body) = match decide(draft) {
        Ok(done) => {
            let subject = if done.note.subject.is_empty() { subject } else { done.note.subject.clone() };
            let note = AuditNote { interaction: interaction.into(), outcome: "ok".into(), subject, ..done.note };
            for shown in &done.shown {
                draft.audit(AuditNote { subject: shown.clone(), ..note.clone() });
            }
            if done.shown.is_empty() {
                draft.audit(note);
            }
            (done.status, done.body)
        }
        Err(No::Refused(problem)) => {
            draft.abort();
            let outcome = problem.code.into();
            draft.audit(AuditNote { interaction: interaction.into(), outcome, subject, ..Default::default() });
            (problem.status, problem.body())
        }
        Err(No::Fault(fault)) => return Err(fault),
    };
    Ok(Reply { status, body: body.to_string().into(), ..Default::default() }.encode())
}

fn noted(draft: &mut Draft<'_>, c: Noted) -> Bytes {
    draft.audit(AuditNote { interaction: c.interaction, outcome: c.outcome, subject: c.subject, ..Default::default() });
    Reply::default().encode()
}

pub fn number(value: u64) -> Result<NhsNumber, Problem> {
    NhsNumber::of(value).ok_or_else(|| Problem::invalid("the patient's number is no NHS number"))
}

/// A member of staff with a user id.
pub fn is_staff(caller: &Caller) -> bool {
    !caller.user.is_empty() && caller.level.starts_with("aal")
}
/// An application that signed for itself.
pub fn is_system(caller: &Caller) -> bool {
    caller.user.is_empty() && caller.level == "level3"
}
pub fn is_operator(caller: &Caller) -> bool {
    !caller.operator.is_empty()
}
pub fn has_any(caller: &Caller, activities: &[&str]) -> bool {
    caller.activities.iter().any(|a| activities.contains(&a.as_str()))
}

pub fn doer(caller: &Caller, stamp: &Stamp) -> Doer {
    Doer {
        user: caller.user.clone(),
        role_profile: caller.role_profile.clone(),
        application: caller.application.clone(),
        ods: caller.ods.clone(),
        operator: caller.operator.clone(),
        at: stamp.now,
        ..Default::default()
    }
}

/// A fresh id that sorts by time (UUID version 7).
pub fn fresh_id(stamp: &Stamp) -> String {
    let mut random = [0; 10];
    random.copy_from_slice(&stamp.entropy[..10]);
    for (byte, n) in random.iter_mut().rev().zip(stamp.sequence.to_le_bytes()) {
        *byte ^= n;
    }
    uuid::Builder::from_unix_timestamp_millis(stamp.now, &random).into_uuid().to_string()
}
