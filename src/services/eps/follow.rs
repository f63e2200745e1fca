//! What follows elsewhere from a step on a prescription: messages over MESH, warnings in the trail, documents that go.

use super::{
    decide::Work,
    packed,
    record::{Id, Prescription},
    rows,
    show::{cancel, document::Document, exact},
    steps::{Reimbursement, Then},
};
use crate::{
    engine::{
        draft::{AuditNote, Fault},
        services,
    },
    services::directory::rows as registry,
    wire::post::{self, Body, Dispatch},
};
use bytes::Bytes;
use serde_json::json;

/// The mailbox that EPS sends from. It needs no registration: nothing is sent to it.
const MAILBOX: &str = "X2601EPS1";
/// Of messages to prescribers that a cancellation has taken effect (§8.5).
const LATER: &[u8] = b"HL7FHIR_R4_PRESCRIPTION_ORDER_RESPONSE";
/// Of claims to the reimbursement agency: how it gets them is not published; here by MESH, to the mailbox of its ODS code that
/// receives this workflow.
const CLAIM: &[u8] = b"EPS_CLAIM";
/// Mailboxes of an organisation that are looked through.
const MAILBOXES: usize = 100;

impl Work<'_, '_> {
    pub(super) fn follow(&mut self, key: &str, now: Option<&Prescription>, then: Then) -> Result<(), Fault> {
        match then {
            Then::LaterCancellation { cancellation, to, .. } => {
                let Some(p) = now else { return Ok(()) };
                let Some(request) = self.document(key, cancellation.message)? else { return Ok(()) };
                let order = self.document(key, p.order)?;
                let id = super::ids::made_of(&format!("later {}", cancellation.message));
                let mut count = 0;
                let mut ids = || {
                    count += 1;
                    super::ids::made_of(&format!("{id} {count}"))
                };
                let base = "https://spine/fhir-prescribing/FHIR/R4";
                let told = cancel::later(&request, order.as_ref(), self.at.now, base, &mut ids);
                self.post(&to.ods, LATER, &id, exact::write(&told).into())
            }
            Then::Reimburse(due) => self.reimburse(key, now, &due),
            Then::NotHolder { holder, sender, issue } => {
                self.draft.audit(AuditNote {
                    interaction: "eps.not_holder".into(),
                    outcome: "warning".into(),
                    object: now.map(|p| p.id.clone()).unwrap_or_default(),
                    other: format!("{holder} {sender}"),
                    detail: format!("issue {issue}"),
                    ..Default::default()
                });
                Ok(())
            }
            Then::DeleteDocuments(ids) => {
                ids.into_iter().for_each(|id| self.draft.delete(rows::document_key(key, id)));
                Ok(())
            }
            Then::Remove => Ok(()),
        }
    }

    fn document(&self, key: &str, message: Id) -> Result<Option<Document>, Fault> {
        Ok(self.text(key, message)?.and_then(|text| Document::read(&text)))
    }

    /// A stored message. One that is there and cannot be unpacked is a fault, which comes again: taken for none, word of it would
    /// never be sent.
    fn text(&self, key: &str, message: Id) -> Result<Option<Vec<u8>>, Fault> {
        let Some(bytes) = rows::document(self.draft, key, message)? else { return Ok(None) };
        let text = packed::unpack(&bytes);
        text.map(Some).ok_or_else(|| Fault::Other("a stored message that cannot be unpacked".into()))
    }

    /// A claim as it came, or word of a prescription that nobody claimed for, to the agency that pays.
    fn reimburse(&mut self, key: &str, now: Option<&Prescription>, due: &Reimbursement) -> Result<(), Fault> {
        let document = match due.claim.is_some() {
            true => self.text(key, due.claim)?,
            false => now.map(|p| {
                let told =
                    json!({"prescription": p.id, "issue": due.issue, "dispenser": due.dispenser, "noClaim": true});
                told.to_string().into_bytes()
            }),
        };
        let Some(document) = document else { return Ok(()) };
        let id = match due.claim.is_some() {
            true => due.claim.to_string(),
            false => super::ids::made_of(&format!("no claim {key} {}", due.issue)),
        };
        self.post(&due.payer, CLAIM, &id, document.into())
    }

    /// By MESH to the organisation's mailbox that receives the workflow. One that has none hears by the tracker alone.
    fn post(&mut self, ods: &str, workflow: &'static [u8], id: &str, body: Bytes) -> Result<(), Fault> {
        let site = self.draft.site();
        let mut to = None;
        for mailbox in registry::mailboxes_of(site, ods, MAILBOXES)? {
            if registry::may_receive(site, workflow, &mailbox)? {
                to = Some(mailbox);
                break;
            }
        }
        let Some(to) = to else { return Ok(()) };
        let len = body.len() as u64;
        let dispatch = Dispatch {
            mailbox: MAILBOX.into(),
            to,
            workflow: Bytes::from_static(workflow),
            subject: id.to_owned().into(),
            local_id: id.to_owned().into(),
            file_name: format!("{id}.json").into(),
            content_type: Bytes::from_static(b"application/fhir+json"),
            parts: vec![Body { inline: body, len, ..Default::default() }],
            ..Default::default()
        };
        let payload = post::tagged(post::MESH_DISPATCH, &dispatch);
        self.draft.send(Bytes::from_static(MAILBOX.as_bytes()), services::MESH, payload);
        Ok(())
    }
}
