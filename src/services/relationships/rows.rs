//! What the service stores, and its keys.

use super::kinds;
use crate::{
    engine::draft::Fault,
    model::{EpochMillis, NhsNumber, time},
    record,
    services::directory::rows::read,
    store::{
        Reader,
        tables::{Key, Table},
    },
};
use serde_json::{Value, json};

/// How a relationship stands.
pub mod state {
    pub const ACTIVE: u8 = 1;
    /// No new access; history may be read.
    pub const FROZEN: u8 = 2;
    pub const EXPIRED: u8 = 3;
    pub const CLOSED: u8 = 4;
    pub fn name(state: u8) -> &'static str {
        ["none", "active", "frozen", "expired", "closed"].get(usize::from(state)).copied().unwrap_or("none")
    }
}

/// How an alert stands.
pub mod progress {
    pub const NEW: u8 = 1;
    pub const ACKNOWLEDGED: u8 = 2;
    pub const CLOSED: u8 = 3;
    pub fn name(state: u8) -> &'static str {
        ["none", "new", "acknowledged", "closed"].get(usize::from(state)).copied().unwrap_or("none")
    }
}

record! {
    /// Who did something: the parts of the caller that a reader asks for.
    pub struct Doer v1 {
        1 => user: String,
        2 => role_profile: String,
        3 => application: String,
        4 => ods: String,
        /// Local user of an operator.
        5 => operator: String,
        /// Milliseconds since the epoch.
        6 => at: u64,
    }
}

record! {
    /// A legitimate relationship, under the NHS number and its id.
    pub struct Relationship v1 {
        /// `kinds::Kind::number`.
        1 => kind: u8,
        /// The one of these that is not empty holds it.
        2 => workgroup: String,
        3 => user: String,
        /// Organisation of the holder.
        4 => ods: String,
        /// One of `state`.
        5 => state: u8,
        /// Milliseconds since the epoch; 0 for no end.
        6 => expires: u64,
        7 => reason: String,
        /// UBRN, order number, case number.
        8 => reference: String,
        9 => created: Option<Doer>,
        10 => frozen: Option<Doer>,
        11 => closed: Option<Doer>,
        12 => close_reason: String,
    }
}

record! {
    /// An alert to the privacy officers of an organisation, under its ODS code and the alert's id.
    pub struct Alert v1 {
        /// `kinds::AlertKind::number`.
        1 => kind: u8,
        /// NHS number.
        2 => subject: String,
        3 => reason: String,
        /// Whose doing it is about.
        4 => by: Option<Doer>,
        5 => relationship: String,
        /// One of `progress`.
        6 => state: u8,
        7 => acknowledged: Option<Doer>,
        8 => closed: Option<Doer>,
        9 => note: String,
    }
}

pub fn key(nhs: NhsNumber, id: &str) -> Key {
    Table::LegitimateRelationships.key().number(nhs.value()).text(id)
}
pub fn of_patient(nhs: NhsNumber) -> Key {
    Table::LegitimateRelationships.key().number(nhs.value())
}
/// `holder`: see [`Relationship::holder`].
pub fn open_key(nhs: NhsNumber, holder: &str, id: &str) -> Key {
    Table::OpenRelationships.key().number(nhs.value()).text(holder).text(id)
}
pub fn open_of(nhs: NhsNumber, holder: Option<&str>) -> Key {
    let key = Table::OpenRelationships.key().number(nhs.value());
    match holder {
        Some(holder) => key.text(holder),
        None => key,
    }
}
pub fn alert_key(ods: &str, id: &str) -> Key {
    Table::PrivacyAlerts.key().text(ods).text(id)
}
pub fn open_alert_key(ods: &str, id: &str) -> Key {
    Table::OpenPrivacyAlerts.key().text(ods).text(id)
}

/// All alerts of an organisation, or those that are not closed.
pub fn alerts_of(ods: &str, all: bool) -> Key {
    if all { Table::PrivacyAlerts.key().text(ods) } else { Table::OpenPrivacyAlerts.key().text(ods) }
}

pub fn relationship(reader: &dyn Reader, nhs: NhsNumber, id: &str) -> Result<Option<Relationship>, Fault> {
    read(reader, Table::LegitimateRelationships, key(nhs, id))
}
pub fn alert(reader: &dyn Reader, ods: &str, id: &str) -> Result<Option<Alert>, Fault> {
    read(reader, Table::PrivacyAlerts, alert_key(ods, id))
}

/// Where an organisation's alerts live.
pub fn alerts_partition_key(ods: &str) -> bytes::Bytes {
    format!("alerts/{ods}").into()
}

impl Doer {
    fn shown(&self) -> Value {
        let mut out = json!({"at": time::iso(self.at)});
        for (name, value) in [
            ("user", &self.user),
            ("roleProfile", &self.role_profile),
            ("application", &self.application),
            ("organisation", &self.ods),
            ("operator", &self.operator),
        ] {
            if !value.is_empty() {
                out[name] = json!(value);
            }
        }
        out
    }
}

fn add(out: &mut Value, name: &str, doer: &Option<Doer>) {
    if let Some(doer) = doer {
        out[name] = doer.shown();
    }
}

impl Relationship {
    /// Whether it gives access at a moment.
    pub fn gives_access(&self, now: EpochMillis) -> bool {
        self.state == state::ACTIVE && (self.expires == 0 || now < self.expires)
    }
    /// Whether it is not yet at its end.
    pub fn is_open(&self) -> bool {
        matches!(self.state, state::ACTIVE | state::FROZEN)
    }
    /// Kind and id of the holder as one word of keys.
    pub fn holder(&self) -> String {
        holder(&self.workgroup, &self.user)
    }
    pub fn shown(&self, nhs: NhsNumber, id: &str, now: EpochMillis) -> Value {
        let over = self.is_open() && self.expires != 0 && now >= self.expires;
        let state = if over { state::EXPIRED } else { self.state };
        let mut out = json!({
            "id": id, "patient": nhs.digits(), "state": state::name(state), "organisation": self.ods,
            "kind": kinds::by_number(self.kind).map_or("unknown", |kind| kind.name),
        });
        out["holder"] = match self.workgroup.is_empty() {
            true => json!({"user": self.user}),
            false => json!({"workgroup": self.workgroup}),
        };
        if self.expires != 0 {
            out["expires"] = json!(time::iso(self.expires));
        }
        for (name, value) in
            [("reason", &self.reason), ("reference", &self.reference), ("closeReason", &self.close_reason)]
        {
            if !value.is_empty() {
                out[name] = json!(value);
            }
        }
        add(&mut out, "created", &self.created);
        add(&mut out, "frozen", &self.frozen);
        add(&mut out, "closed", &self.closed);
        out
    }
}

pub fn holder(workgroup: &str, user: &str) -> String {
    if workgroup.is_empty() { format!("u{user}") } else { format!("w{workgroup}") }
}

impl Alert {
    pub fn shown(&self, ods: &str, id: &str) -> Value {
        let mut out = json!({
            "id": id, "organisation": ods, "patient": self.subject, "reason": self.reason,
            "state": progress::name(self.state), "relationship": self.relationship,
            "kind": kinds::alert_by_number(self.kind).map_or("unknown", |kind| kind.name),
        });
        if !self.note.is_empty() {
            out["note"] = json!(self.note);
        }
        add(&mut out, "by", &self.by);
        add(&mut out, "acknowledged", &self.acknowledged);
        add(&mut out, "closed", &self.closed);
        out
    }
}
