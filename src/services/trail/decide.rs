//! Commands to audit notes: the service stores nothing but what the trail itself keeps.

use super::{
    Trail,
    command::{File, Refused, Reply, Shown, TrailCommand},
};
use crate::{
    engine::{
        Command, ServiceId,
        draft::{AuditNote, Decide, Draft, Fault, Stamp, Timer},
        services,
    },
    wire::record::Record,
};
use bytes::Bytes;

impl Decide for Trail {
    fn service(&self) -> ServiceId {
        services::TRAIL
    }

    fn decide(&self, draft: &mut Draft<'_>, stamp: &Stamp, command: &Command) -> Result<Bytes, Fault> {
        let id = match TrailCommand::decode(&command.payload)? {
            TrailCommand::Refused(c) => refused(draft, c),
            TrailCommand::Shown(c) => shown(draft, c),
            TrailCommand::File(c) => file(draft, stamp, c),
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

fn refused(draft: &mut Draft<'_>, c: Refused) -> String {
    draft.audit(AuditNote {
        interaction: c.interaction,
        outcome: c.code,
        subject: c.subject,
        detail: "refused by the gate".into(),
        ..Default::default()
    });
    String::new()
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
