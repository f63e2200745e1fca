//! What a rule asks for beyond scope and activity: organisation, relationship to the patient, purpose of use (spec/identity.md
//! §7). Words of the table for what is done elsewhere: the registry and the gate see to organisations of roles, services to the
//! rest, and each service's tests hold its rows to what it does. A row that says nothing (`-`) asks for nothing.

/// Whose organisation it must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Organisation {
    Any,
    /// Staff act in a role whose organisation is known and not switched off (`directory::users::open_roles`, the gate).
    Active,
    /// That, and the service shows and changes only what the caller's own organisation has.
    Own,
    /// The same, but who looks after privacy sees what other organisations have too, and everyone what is about themself.
    OwnOrPrivacy,
}

/// How the caller must stand to the patient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relationship {
    Any,
    /// A patient asks about themself; of staff and systems nothing is asked.
    Themself,
    /// Who grants one to a colleague has one (spec/identity.md §8); of other kinds nothing is asked.
    ToGrant,
}

/// What the caller must say it is for, or what the trail keeps of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    Any,
    /// A reason.
    Reason,
    /// A reason, for the kinds of relationship that are marked so: self-claimed, emergency, by law.
    ReasonByKind,
    /// Nothing is asked; the relationship that gives access, or that there is none, is kept as the reason of what follows.
    Recorded,
    /// A note of what was found.
    Note,
}

impl Organisation {
    /// As the printed table has it; `None` where nothing is asked.
    pub fn word(self) -> Option<&'static str> {
        match self {
            Organisation::Any => None,
            Organisation::Active => Some("role's, active"),
            Organisation::Own => Some("role's, active; own only"),
            Organisation::OwnOrPrivacy => Some("role's, active; own, or privacy officer"),
        }
    }
}

impl Relationship {
    pub fn word(self) -> Option<&'static str> {
        match self {
            Relationship::Any => None,
            Relationship::Themself => Some("patients: themself"),
            Relationship::ToGrant => Some("to grant one: one's own"),
        }
    }
}

impl Purpose {
    pub fn word(self) -> Option<&'static str> {
        match self {
            Purpose::Any => None,
            Purpose::Reason => Some("reason"),
            Purpose::ReasonByKind => Some("reason, by kind"),
            Purpose::Recorded => Some("recorded"),
            Purpose::Note => Some("note"),
        }
    }
}
