//! The steps of a registration as commands (tags 40–49 of the directory's commands). `by` is the role profile (URP) of who
//! does the step.

use super::evidence::Evidence;
use crate::{
    record,
    services::directory::users::{
        Authenticator,
        command::{SetRole, SetUser},
    },
};

record! {
    /// A person applies, or is applied for.
    pub struct Apply v1 {
        1 => person: SetUser,
        /// National Insurance number.
        2 => ni: String,
        /// Empty where the applicant applies.
        3 => by: String,
        /// User ids of those who look the same and are not.
        4 => others: Vec<String>,
    }
}

record! {
    /// The identity was checked.
    pub struct Verify v1 {
        1 => uid: String,
        2 => by: String,
        3 => evidence: Vec<Evidence>,
    }
}

record! {
    /// The organisation needs the person in this position.
    pub struct Sponsor v1 {
        1 => uid: String,
        2 => by: String,
        /// Without ids.
        3 => position: SetRole,
    }
}

record! {
    /// The position that was sponsored becomes a role profile.
    pub struct Grant v1 {
        1 => uid: String,
        2 => by: String,
        /// Twelve digits, drawn.
        3 => urp: String,
        /// Of the person in the organisation, where there is none yet.
        4 => person_org: String,
    }
}

record! {
    /// What the person proves themself by is handed over; the first one lets the person in.
    pub struct Issue v1 {
        1 => uid: String,
        2 => by: String,
        /// Without a kind: the passkey or smartcard that the person holds already.
        3 => authenticator: Authenticator,
        /// The person has accepted the terms.
        4 => terms: bool,
    }
}

record! {
    /// Suspends a person, or lets a suspended one in again.
    pub struct Pause v1 {
        1 => uid: String,
        2 => by: String,
        3 => reason: String,
        4 => resume: bool,
    }
}

record! {
    /// Role profiles end; a person who leaves altogether keeps the user id and nothing else.
    pub struct End v1 {
        1 => uid: String,
        2 => by: String,
        3 => reason: String,
        /// Empty for all.
        4 => urp: String,
        /// Milliseconds since the epoch; 0 is now.
        5 => at: u64,
        6 => leaving: bool,
    }
}
