//! Commands to audit notes: the service stores nothing but what the trail itself keeps.

use super::{
    Trail,
    command::{File, RELAYED, Refused, Relayed, Reply, Shown, Staff, TrailCommand},
};
use crate::{
    access::caller::Caller,
    audit::OTHER_OBJECTS,
    engine::{
        Command, ServiceId,
        draft::{AuditNote, Decide, Draft, Fault, Stamp, Timer},
        services,
    },
    model::time,
    wire::record::Record,
};
use bytes::Bytes;

/// The object of records on callers whom nobody knows.
const STRANGERS: &str = "strangers";

impl Decide for Trail {
    fn service(&self) -> ServiceId {
        services::TRAIL
    }

    fn decide(&self, draft: &mut Draft<'_>, stamp: &Stamp, command: &Command) -> Result<Bytes, Fault> {
        let id = match TrailCommand::decode(&command.payload)? {
            TrailCommand::Refused(c) => refused(draft, c, &command.caller),
            TrailCommand::Shown(c) => shown(draft, c),
            TrailCommand::File(c) => file(draft, stamp, c),
            TrailCommand::Staff(c) => staff(draft, c),
            TrailCommand::Relayed(c) => relayed(draft, c),
        };
        Ok(Reply { at: stamp.now, id, ..Default::default() }.encode())
    }

    fn may_when_full(&self, command: &Command) -> bool {
        !matches!(TrailCommand::decode(&command.payload), Ok(TrailCommand::File(_)) | Err(_))
    }

    fn timer(&self, _: &mut Draft<'_>, _: &Stamp, _: &Timer) -> Result<(), Fault> {
        Ok(())
    }
}

/// Of strangers all are found by one word, and those of one address by that; those of a known system by its ASID or certificate.
fn refused(draft: &mut Draft<'_>, c: Refused, caller: &Caller) -> String {
    let (object, other) = match (c.times, c.known) {
        (0, _) => Default::default(),
        (_, false) => (STRANGERS.to_owned(), caller.address.clone()),
        (_, true) if caller.asid.is_empty() => (caller.certificate.clone(), caller.address.clone()),
        (_, true) => (caller.asid.clone(), caller.address.clone()),
    };
    let detail = match c.code == RELAYED {
        true => remark(c.times, c.known, c.first, c.last).replace("refusals", "requests that the other system refused"),
        false => remark(c.times, c.known, c.first, c.last),
    };
    draft.audit(AuditNote {
        interaction: c.interaction,
        outcome: c.code,
        subject: c.subject,
        object,
        other,
        detail,
        ..Default::default()
    });
    String::new()
}

fn relayed(draft: &mut Draft<'_>, c: Relayed) -> String {
    let detail = match c.status {
        0 => "handed to the system being replaced".into(),
        status => format!("the system being replaced answered {status}; its caller is not known here"),
    };
    draft.audit(AuditNote {
        interaction: c.interaction,
        outcome: RELAYED.into(),
        object: c.party,
        subject: c.subject,
        detail,
        ..Default::default()
    });
    String::new()
}

/// How often, and when first and last, where that is not told by the record itself.
fn remark(times: u64, known: bool, first: u64, last: u64) -> String {
    match (times, known) {
        (0, _) => "refused by the gate".into(),
        (1, false) => "a stranger; more of the kind are told together".into(),
        (1, true) => "more of the kind are told together".into(),
        (_, false) => format!("strangers: {times} refusals from {} to {}", time::iso(first), time::iso(last)),
        (_, true) => format!("{times} refusals from {} to {}", time::iso(first), time::iso(last)),
    }
}

/// One note for each person: "who has looked at this person" finds who looked at the trail too.
fn shown(draft: &mut Draft<'_>, c: Shown) -> String {
    let note = AuditNote {
        interaction: c.interaction,
        outcome: c.outcome,
        object: c.event,
        other: c.agent,
        action: "R".into(),
        ..Default::default()
    };
    if c.subjects.is_empty() {
        draft.audit(note.clone());
    }
    for subject in c.subjects {
        draft.audit(AuditNote { subject, ..note.clone() });
    }
    String::new()
}

/// As many people in one record as the index tells apart: each of them is found by their user id.
fn staff(draft: &mut Draft<'_>, c: Staff) -> String {
    let note = AuditNote {
        interaction: c.interaction,
        outcome: c.outcome,
        object: c.object,
        detail: c.detail,
        action: "R".into(),
        ..Default::default()
    };
    if c.people.is_empty() {
        draft.audit(note.clone());
    }
    for people in c.people.chunks(OTHER_OBJECTS) {
        draft.audit(AuditNote { other: people.join(" "), ..note.clone() });
    }
    String::new()
}

fn file(draft: &mut Draft<'_>, stamp: &Stamp, c: File) -> String {
    let mut bytes = stamp.entropy;
    for (byte, n) in bytes.iter_mut().zip(stamp.sequence.to_le_bytes()) {
        *byte ^= n;
    }
    let id = uuid::Builder::from_random_bytes(bytes).into_uuid().to_string();
    draft.audit(AuditNote {
        interaction: "audit.file".into(),
        outcome: "ok".into(),
        object: id.clone(),
        subject: c.subject,
        action: c.action,
        filed: c.event,
        ..Default::default()
    });
    id
}
