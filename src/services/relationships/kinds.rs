//! Kinds of relationships (spec/identity.md §8): who creates one, how long it lasts, what must be said, whom it alerts.

/// One row of the table.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    /// As it is stored; for ever.
    pub number: u8,
    /// As it is written in requests and answers.
    pub name: &'static str,
    /// Days until it expires; 0 for none. The specification has no public values, these are its (D).
    pub days: u64,
    /// Days that it goes on after its cause has ended (deregistration, discharge). (D)
    pub grace: u64,
    /// Systems without a user may create it.
    pub systems: bool,
    /// A member of staff needs one of these activities; with none listed, none.
    pub activities: &'static [&'static str],
    /// Who may hold it.
    pub holder: Holder,
    /// A reason must be given.
    pub reason: bool,
    /// The alert that goes to the organisation's privacy officers.
    pub alert: Option<&'static AlertKind>,
}

/// Who may hold a relationship of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// A workgroup or a person.
    Either,
    /// The caller, and nobody else.
    Oneself,
    /// A person who is not the caller.
    Colleague,
    Workgroup,
}

/// What an alert is about (§9.3).
#[derive(Debug, PartialEq, Eq)]
pub struct AlertKind {
    pub number: u8,
    pub name: &'static str,
    /// Activity that receives it.
    pub activity: &'static str,
}

pub const EMERGENCY_VIEW: AlertKind = AlertKind { number: 1, name: "emergency-view", activity: "B0015" };
pub const LEGAL_OVERRIDE: AlertKind = AlertKind { number: 2, name: "legal-override", activity: "B0015" };
pub const SELF_CLAIMED: AlertKind = AlertKind { number: 3, name: "self-claimed", activity: "B0016" };
pub const SUBJECT_ACCESS_REFUSED: AlertKind =
    AlertKind { number: 4, name: "subject-access-refused", activity: "B0017" };
pub const SEALING_OPENED: AlertKind = AlertKind { number: 5, name: "sealing-opened", activity: "B0018" };

pub const ALERTS: [&AlertKind; 5] =
    [&EMERGENCY_VIEW, &LEGAL_OVERRIDE, &SELF_CLAIMED, &SUBJECT_ACCESS_REFUSED, &SEALING_OPENED];

const PLAIN: Kind = Kind {
    number: 0,
    name: "",
    days: 0,
    grace: 0,
    systems: false,
    activities: &[],
    holder: Holder::Either,
    reason: false,
    alert: None,
};

pub const KINDS: [Kind; 10] = [
    // GP registration: "Register Patients" where a person does it.
    Kind { number: 1, name: "registration", grace: 30, systems: true, activities: &["B0340"], ..PLAIN },
    // "Manage Outbound Referrals".
    Kind { number: 2, name: "referral", days: 90, grace: 30, systems: true, activities: &["B1101"], ..PLAIN },
    // "Record a Patient's Self Referral".
    Kind { number: 3, name: "self-referral", days: 30, systems: true, activities: &["B0030"], ..PLAIN },
    Kind { number: 4, name: "colleague-granted", days: 7, holder: Holder::Colleague, ..PLAIN },
    Kind {
        number: 5,
        name: "self-claimed",
        days: 1,
        holder: Holder::Oneself,
        reason: true,
        alert: Some(&SELF_CLAIMED),
        ..PLAIN
    },
    // "Legal Override of Consent".
    Kind {
        number: 6,
        name: "court-order",
        days: 90,
        activities: &["B0082"],
        reason: true,
        alert: Some(&LEGAL_OVERRIDE),
        ..PLAIN
    },
    // "Record consent preference".
    Kind { number: 7, name: "expressed-consent", days: 30, activities: &["B0020"], ..PLAIN },
    // Complaint, enquiry, subject access: those who look after privacy.
    Kind {
        number: 8,
        name: "complaint",
        days: 90,
        activities: &["B0015", "B0016", "B0017", "B0018"],
        reason: true,
        ..PLAIN
    },
    Kind {
        number: 9,
        name: "workgroup-change",
        systems: true,
        holder: Holder::Workgroup,
        activities: &["B0062"],
        ..PLAIN
    },
    // Emergency override: not a kind of §8, but its "emergency view" of §9.3 is an access that somebody takes.
    Kind {
        number: 10,
        name: "emergency",
        days: 1,
        activities: &["B0168"],
        holder: Holder::Oneself,
        reason: true,
        alert: Some(&EMERGENCY_VIEW),
        ..PLAIN
    },
];

pub fn by_name(name: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.name == name)
}
pub fn by_number(number: u8) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.number == number)
}
pub fn alert_by_number(number: u8) -> Option<&'static AlertKind> {
    ALERTS.into_iter().find(|kind| kind.number == number)
}
