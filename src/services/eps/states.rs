//! The published states (spec/eps.md §17): statuses, the one table of transitions that every step asks, the items' transitions.
//!
//! `markdown` renders it as docs/eps-states.md. A status that is no row of [`TRANSITIONS`] cannot be reached: `steps::Draft::go` refuses.

mod check;
mod page;

pub use check::consistent;
pub use page::markdown;

/// Status of an issue (§17.1).
pub mod issue {
    pub const AWAITING_RELEASE: u16 = 0;
    pub const TO_BE_DISPENSED: u16 = 1;
    pub const WITH: u16 = 2;
    pub const ACTIVE: u16 = 3;
    pub const EXPIRED: u16 = 4;
    pub const CANCELLED: u16 = 5;
    pub const DISPENSED: u16 = 6;
    pub const NOT_DISPENSED: u16 = 7;
    pub const CLAIMED: u16 = 8;
    pub const NO_CLAIMED: u16 = 9;
    /// A later issue of an eRD prescription.
    pub const FUTURE_REPEAT: u16 = 9000;
    /// A post-dated prescription.
    pub const FUTURE: u16 = 9001;
    /// Cancelled before it was ordered.
    pub const PLACEHOLDER: u16 = 9005;

    pub const CANCELLABLE: &[u16] = &[AWAITING_RELEASE, TO_BE_DISPENSED, FUTURE_REPEAT, FUTURE];
    pub const WITH_DISPENSER: &[u16] = &[WITH, ACTIVE];
    pub const COMPLETED: &[u16] = &[EXPIRED, CANCELLED, DISPENSED, NOT_DISPENSED, CLAIMED, NO_CLAIMED];
    pub const ALL: &[u16] = &[
        AWAITING_RELEASE,
        TO_BE_DISPENSED,
        WITH,
        ACTIVE,
        EXPIRED,
        CANCELLED,
        DISPENSED,
        NOT_DISPENSED,
        CLAIMED,
        NO_CLAIMED,
        FUTURE_REPEAT,
        FUTURE,
        PLACEHOLDER,
    ];
}

/// Status of an item (§17.2).
pub mod item {
    pub const DISPENSED: u16 = 1;
    pub const NOT_DISPENSED: u16 = 2;
    pub const PARTIAL: u16 = 3;
    pub const OWING: u16 = 4;
    pub const CANCELLED: u16 = 5;
    pub const EXPIRED: u16 = 6;
    pub const TO_BE_DISPENSED: u16 = 7;
    pub const WITH: u16 = 8;

    pub const ACTIVE: &[u16] = &[PARTIAL, OWING, TO_BE_DISPENSED, WITH];
    pub const ALL: &[u16] = &[DISPENSED, NOT_DISPENSED, PARTIAL, OWING, CANCELLED, EXPIRED, TO_BE_DISPENSED, WITH];
}

/// What an issue's status is called (§17.1); empty for a status that is none.
pub fn issue_display(status: u16) -> &'static str {
    match status {
        issue::AWAITING_RELEASE => "Awaiting Release Ready",
        issue::TO_BE_DISPENSED => "To Be Dispensed",
        issue::WITH => "With Dispenser",
        issue::ACTIVE => "With Dispenser - Active",
        issue::EXPIRED => "Expired",
        issue::CANCELLED => "Cancelled",
        issue::DISPENSED => "Dispensed",
        issue::NOT_DISPENSED => "Not Dispensed",
        issue::CLAIMED => "Claimed",
        issue::NO_CLAIMED => "No-Claimed",
        issue::FUTURE_REPEAT => "Repeat Dispense future instance",
        issue::FUTURE => "Prescription future instance",
        issue::PLACEHOLDER => "Cancelled future instance",
        _ => "",
    }
}

/// What an item's status is called (§17.2); empty for a status that is none.
pub fn item_display(status: u16) -> &'static str {
    match status {
        item::DISPENSED => "Item fully dispensed",
        item::NOT_DISPENSED => "Item not dispensed",
        item::PARTIAL => "Item dispensed - partial",
        item::OWING => "Item not dispensed owing",
        item::CANCELLED => "Item Cancelled",
        item::EXPIRED => "Expired",
        item::TO_BE_DISPENSED => "To Be Dispensed",
        item::WITH => "Item with dispenser",
        _ => "",
    }
}

/// A status as the standards write it: four digits.
pub fn code(status: u16) -> String {
    format!("{status:04}")
}

macro_rules! triggers {
    ($($name:ident $number:literal $words:literal),* $(,)?) => {
        /// What moves a prescription, or is written in its change log. Numbers are stored: for ever.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Trigger { $($name = $number),* }
        impl Trigger {
            pub const ALL: &'static [Trigger] = &[$(Trigger::$name),*];
            pub fn of(number: u8) -> Option<Trigger> {
                match number { $($number => Some(Trigger::$name),)* _ => None }
            }
            pub fn words(self) -> &'static str {
                match self { $(Trigger::$name => $words),* }
            }
        }
    };
}

triggers! {
    Order 1 "order",
    Cancel 2 "cancel",
    Release 3 "release by id",
    ReleaseNominated 4 "nominated release",
    Dispense 5 "dispense notification",
    Amend 6 "amended notification",
    Return 7 "return",
    Withdraw 8 "withdraw",
    Claim 9 "claim",
    AmendClaim 10 "amended claim",
    Next 11 "previous issue completed",
    Ready 12 "ready job",
    Expire 13 "expiry",
    NoClaim 14 "no-claim job",
    Delete 15 "delete job",
    Death 16 "death",
    Nominate 17 "nomination changed",
}

impl Trigger {
    pub fn is_release(self) -> bool {
        matches!(self, Trigger::Release | Trigger::ReleaseNominated)
    }

    /// The HL7 v3 interaction of the change log (§20.3); empty for what is no message.
    pub fn interaction(self) -> &'static str {
        match self {
            Trigger::Order => "PORX_IN020101SM31",
            Trigger::Cancel => "PORX_IN030101SM32",
            Trigger::Release => "PORX_IN132004SM30",
            Trigger::ReleaseNominated => "PORX_IN060102SM30",
            Trigger::Dispense | Trigger::Amend => "PORX_IN080101SM31",
            Trigger::Return => "PORX_IN100101SM31",
            Trigger::Withdraw => "PORX_IN510101SM31",
            Trigger::Claim | Trigger::AmendClaim => "PORX_IN090101SM31",
            _ => "",
        }
    }

    /// Triggers that are one kind of message, so that one id may not be both a claim and a return.
    pub fn kind(self) -> Trigger {
        match self {
            Trigger::Amend => Trigger::Dispense,
            Trigger::AmendClaim => Trigger::Claim,
            Trigger::ReleaseNominated => Trigger::Release,
            other => other,
        }
    }
}

/// A row of the table of transitions; `from` empty: no such issue yet.
#[derive(Debug)]
pub struct Row {
    pub from: &'static [u16],
    pub to: &'static [u16],
    pub trigger: Trigger,
    pub by: &'static str,
    pub rule: &'static str,
}

/// A list of rows, each `from → to, trigger, by, rule`.
macro_rules! rows {
    ($($from:expr => $to:expr, $trigger:ident, $by:literal, $rule:literal;)*) => {
        &[$(Row { from: $from, to: $to, trigger: Trigger::$trigger, by: $by, rule: $rule }),*]
    };
}

/// The table (§17.5). Anything else is refused.
pub const TRANSITIONS: &[Row] = rows! {
    &[] => &[1], Order, "prescriber", "a new prescription (§7.4)";
    &[] => &[9001], Order, "prescriber", "dated later than tomorrow";
    &[] => &[9000], Order, "prescriber", "eRD, issues 2 to the last";
    &[] => &[9005], Cancel, "prescriber", "cancelled before it was ordered: a placeholder (§8.2)";
    &[9005] => &[1, 9001], Order, "prescriber", "order of a placeholder; its cancellations are applied at once";
    &[9001] => &[1], Ready, "Spine", "on the later of window start and prescription date";
    &[9000] => &[0, 1], Next, "dispenser, Spine", "previous issue became 0006, 0007 or 0009 (§17.6)";
    &[0] => &[1], Ready, "Spine", "on its download date";
    &[0, 1] => &[2], Release, "dispenser", "whatever the nomination (§9.2)";
    &[1] => &[2], ReleaseNominated, "nominated dispenser", "oldest first (§9.2)";
    &[0, 1, 9000, 9001] => &[5], Cancel, "prescriber", "the last active item; current and later issues (§8.2)";
    &[0, 1, 9000, 9001] => &[5], Death, "PDS", "current and later issues; no later-cancellation message (§8.3)";
    &[2] => &[1], Return, "holder; Spine on a bad signature", "nomination cleared (§11)";
    &[2] => &[5], Return, "holder", "a pending cancellation takes the last active item (§8.3)";
    &[2] => &[4], Return, "holder", "after expiry";
    &[9000] => &[5], Return, "holder", "later issues, with the pending cancellation";
    &[9000] => &[4], Return, "holder", "later issues, after expiry";
    &[2, 3] => &[3, 6, 7], Dispense, "holder", "not complete, complete, nothing supplied (§10.2); then the next issue";
    &[2, 3] => &[5], Dispense, "holder", "nothing supplied, and a cancellation is pending (§8.3)";
    &[3, 6, 7] => &[3, 6, 7], Amend, "holder", "replaces the last notification (§10.2)";
    &[3] => &[5], Amend, "holder", "nothing supplied, and a cancellation is pending (§8.3)";
    &[9000] => &[5], Dispense, "holder", "later issues, with the pending cancellation (§8.3)";
    &[9000] => &[5], Amend, "holder", "later issues, with the pending cancellation (§8.3)";
    &[3, 6, 7] => &[2, 3], Withdraw, "holder", "as before the last notification; eRD never below 0003 (§12)";
    &[6, 7] => &[8], Claim, "holder", "§13";
    &[8] => &[8], AmendClaim, "holder", "until the 5th of the month after (§13)";
    &[0, 1, 2, 9000, 9001] => &[4], Expire, "Spine", "that issue and all later ones; items 0007 and 0008 → 0006";
    &[3] => &[6], Expire, "Spine", "items 0003 → 0001, 0004 → 0002, 0008 → 0006";
    &[3, 6] => &[9], NoClaim, "Spine", "180 days after the last notification, or after completion; then the next issue";
};

/// Is there a row? `from` `None`: no such issue yet.
pub fn allowed(from: Option<u16>, to: u16, trigger: Trigger) -> bool {
    TRANSITIONS.iter().any(|row| {
        let starts = from.map_or(row.from.is_empty(), |from| row.from.contains(&from));
        row.trigger == trigger && starts && row.to.contains(&to)
    })
}

/// Item transitions in a dispense notification (§17.4; §21 no. 1: the table is not published, this one fits all published sequences).
pub const ITEM_TRANSITIONS: &[(u16, &[u16])] =
    &[(8, &[1, 2, 3, 4]), (3, &[1, 3]), (4, &[1, 2, 3, 4]), (1, &[1]), (2, &[2]), (5, &[5]), (6, &[6])];

pub fn item_allowed(from: u16, to: u16) -> bool {
    ITEM_TRANSITIONS.iter().any(|(start, ends)| *start == from && ends.contains(&to))
}

/// Item statuses that may stand under an issue's status (§17.3).
pub const ITEMS_UNDER: &[(&[u16], &[u16])] = &[
    (&[0, 1, 9000, 9001], &[5, 6, 7]),
    (&[2], &[5, 6, 8]),
    (&[3], &[1, 2, 3, 4, 5, 6, 8]),
    (&[4, 5], &[5, 6]),
    (&[6, 8, 9], &[1, 2, 5, 6]),
    (&[7], &[2, 5, 6]),
    (&[9005], &[]),
];
