//! Commands on people, their roles and authenticators (tags 30–39 and 50 of the directory's commands).

use super::{Authenticator, Coded};
use crate::{record, services::directory::applications::Attribute};
use bytes::Bytes;

record! {
    /// Makes or changes a person. Empty texts and lists keep what is stored. A new person has applied, no more.
    pub struct SetUser v1 {
        1 => uid: String,
        2 => title: String,
        3 => given: String,
        4 => middle: String,
        5 => family: String,
        6 => display: String,
        7 => email: String,
        /// `YYYYMMDD`.
        8 => born: u32,
        /// One more than the identity level; 0 keeps what is stored.
        9 => identity_level: u8,
        10 => professional: Vec<Attribute>,
        /// The id was drawn for a new person: refused where somebody has it.
        11 => fresh: bool,
    }
}

record! {
    /// Moves a person to another state.
    pub struct StandUser v1 {
        1 => uid: String,
        /// A [`State`](super::State).
        2 => state: u8,
    }
}

record! {
    /// Opens a role profile, or writes what an open one holds, whole.
    pub struct SetRole v1 {
        1 => urp: String,
        2 => uid: String,
        3 => ods: String,
        /// Of the person in the organisation, where there is none yet.
        4 => person_org: String,
        5 => role_code: String,
        6 => role_name: String,
        7 => activities: Vec<Coded>,
        8 => areas: Vec<Coded>,
        9 => workgroups: Vec<Coded>,
        /// Milliseconds since the epoch; 0 is now, or what is stored.
        10 => opened: u64,
        /// Milliseconds since the epoch; 0 leaves it open.
        11 => closes: u64,
        /// As in `SetUser`.
        12 => fresh: bool,
    }
}

record! {
    /// Ends a role profile.
    pub struct EndRole v1 {
        1 => urp: String,
        /// Milliseconds since the epoch; 0 is now.
        2 => at: u64,
    }
}

record! {
    /// Issues an authenticator, in the place of the one of its kind.
    pub struct SetAuthenticator v1 {
        1 => uid: String,
        2 => authenticator: Authenticator,
    }
}

record! {
    /// Takes an authenticator away.
    pub struct DropAuthenticator v1 {
        1 => uid: String,
        2 => serial: String,
    }
}

record! {
    /// Lets a person enrol a passkey with a one-time code, of which this is the hash. An older code is good no more.
    pub struct InvitePasskey v1 {
        1 => uid: String,
        /// SHA-256 of the code.
        2 => code: Bytes,
        /// Milliseconds.
        3 => life: u64,
    }
}
