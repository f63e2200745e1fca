//! People who work here, as rows of the registry (spec/identity.md §6): who they are, in which roles they act, and by what
//! they prove it. Any service may read them; operators' commands change them.
//!
//! | file | duty |
//! |---|---|
//! | `command` | the commands |
//! | `decide` | one command → rows |
//! | `secrets` | passwords and one-time codes: made, checked |
//! | `baseline` | activities that a job role has by itself |
//! | `devices` | passkeys and smartcards: who holds which, and how a passkey comes to its person |
//! | `roles` | codes and names of job roles |
//! | `lookups` | finding people by name, professional id, organisation, workgroup |
//!
//! Invariants: a user id is given once and its row is never deleted; nobody becomes active without a verified identity, an
//! open role profile and an authenticator, so that no half-registered person can enter (P5); a closed user keeps no
//! authenticator; what is secret in an authenticator is in no `Debug`, note or answer.

pub mod baseline;
pub mod command;
pub(super) mod decide;
pub mod devices;
pub mod lookups;
pub mod roles;
pub mod secrets;
#[cfg(test)]
mod tests;

use super::{
    applications::Attribute,
    rows::{Secret, organisation, read},
};
use crate::{
    engine::draft::Fault,
    record,
    store::{
        Reader,
        tables::{Key, Parts, Table},
    },
    wire::record::{Malformed, Record},
};
use bytes::Bytes;

/// Most role profiles of a person, ended ones included.
pub const MAX_ROLES: usize = 64;
/// Most authenticators of a person.
pub const MAX_AUTHENTICATORS: usize = 16;
/// Password and one-time codes, which are set whatever else there is.
const WITHOUT_ROOM: usize = 2;
/// Most activities, areas of work or workgroups of a role profile.
pub const MAX_CODES: usize = 64;

/// How far a person has come (spec/identity.md §6.2). Only an active one may enter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    Applied = 0,
    IdentityVerified = 1,
    Active = 2,
    Suspended = 3,
    /// For ever.
    Closed = 4,
}

impl State {
    pub const ALL: [State; 5] =
        [State::Applied, State::IdentityVerified, State::Active, State::Suspended, State::Closed];
    pub fn word(self) -> &'static str {
        match self {
            State::Applied => "applied",
            State::IdentityVerified => "identity-verified",
            State::Active => "active",
            State::Suspended => "suspended",
            State::Closed => "closed",
        }
    }
    /// An unknown number is closed: a state of a newer release lets nobody in here.
    pub fn of(number: u8) -> State {
        State::ALL.into_iter().find(|s| *s as u8 == number).unwrap_or(State::Closed)
    }
    pub fn named(word: &str) -> Option<State> {
        State::ALL.into_iter().find(|s| s.word() == word)
    }
}

record! {
    /// A person, under the 12-digit user id (`uid`).
    pub struct User v1 {
        1 => title: String,
        2 => given: String,
        3 => middle: String,
        4 => family: String,
        /// As it is shown to others.
        5 => display: String,
        6 => email: String,
        /// Day of birth, `YYYYMMDD`; 0 where it is not known.
        7 => born: u32,
        /// How well the identity was checked, 0 to 3 (`idassurancelevel`).
        8 => identity_level: u8,
        /// A [`State`].
        9 => state: u8,
        /// `gmc_id`, `nmc_id`, `gphc_id`…
        10 => professional: Vec<Attribute>,
        /// When the state last changed, milliseconds since the epoch.
        11 => since: u64,
        /// Which look-up rows it has: 0 none.
        12 => generation: u8,
    }
}

record! {
    /// A person's belonging to an organisation (`nhsOrgPerson`), under (user id, ODS code).
    pub struct OrgPerson v1 {
        /// 12 digits.
        1 => id: String,
        /// Milliseconds since the epoch.
        2 => opened: u64,
    }
}

record! {
    /// A role profile (`nhsOrgPersonRole`), under its 12-digit id, the URP.
    pub struct RoleProfile v1 {
        /// The person.
        1 => uid: String,
        /// The person's belonging to the organisation, 12 digits.
        2 => person_org: String,
        3 => ods: String,
        /// `S8000:G8000:R8001`.
        4 => role_code: String,
        /// `"Clinical":"Clinical Provision":"Nurse Access Role"`, the quotes included.
        5 => role_name: String,
        /// Those added to the role; what the job role has by itself is not listed.
        6 => activities: Vec<Coded>,
        7 => areas: Vec<Coded>,
        8 => workgroups: Vec<Coded>,
        /// Milliseconds since the epoch.
        9 => opened: u64,
        /// From when on it is closed, milliseconds since the epoch; 0 leaves it open.
        10 => closes: u64,
        /// Which look-up rows it has: 0 none.
        11 => generation: u8,
    }
}

record! {
    /// A code with its name for people.
    pub struct Coded v1 {
        1 => code: String,
        2 => name: String,
    }
}

record! {
    /// What a person proves themself by, under (user id, serial).
    pub struct Authenticator v1 {
        /// A [`Kind`].
        1 => kind: u8,
        /// Password: salt, rounds and PBKDF2-HMAC-SHA512 of it.
        2 => salt: Bytes,
        3 => rounds: u32,
        4 => hash: Bytes,
        /// One-time codes: the shared secret, base32.
        5 => secret: Secret,
        /// When it was issued, milliseconds since the epoch.
        6 => issued: u64,
        /// From when on it is not taken, milliseconds since the epoch; 0 for never.
        7 => expires: u64,
        /// Passkey: the credential's id, and its public key (COSE_Key) as the authenticator wrote it.
        8 => credential: Bytes,
        9 => public_key: Bytes,
        /// Passkey: the signature counter when it was enrolled.
        10 => counter: u32,
        /// Passkey: the key may be copied to other devices, so that it is no proof of holding one.
        11 => copied: bool,
        /// Smartcard: SHA-256 of its certificate (DER), lower-case hex.
        12 => certificate: String,
        /// What it is called: the common name of a smartcard's certificate.
        13 => name: String,
    }
}

/// Kinds of authenticators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    Password = 1,
    OneTimeCode = 2,
    Smartcard = 3,
    Passkey = 4,
}

impl Kind {
    pub fn of(number: u8) -> Option<Kind> {
        let all = [Kind::Password, Kind::OneTimeCode, Kind::Smartcard, Kind::Passkey];
        all.into_iter().find(|k| *k as u8 == number)
    }
    /// A person has one password and one secret for codes, under this serial; serials of the others begin with it.
    pub fn serial(self) -> &'static str {
        match self {
            Kind::Password => "password",
            Kind::OneTimeCode => "totp",
            Kind::Smartcard => "smartcard",
            Kind::Passkey => "passkey",
        }
    }
}

impl User {
    pub fn state(&self) -> State {
        State::of(self.state)
    }
    pub fn is_active(&self) -> bool {
        self.state() == State::Active
    }
    /// Given and family name.
    pub fn name(&self) -> String {
        [&self.given, &self.family].into_iter().filter(|n| !n.is_empty()).cloned().collect::<Vec<_>>().join(" ")
    }
    pub fn shown(&self) -> String {
        if self.display.is_empty() { self.name() } else { self.display.clone() }
    }
}

impl RoleProfile {
    pub fn is_open(&self, now_ms: u64) -> bool {
        self.opened <= now_ms && (self.closes == 0 || now_ms < self.closes)
    }
}

impl Authenticator {
    pub fn is_good(&self, now_ms: u64) -> bool {
        self.expires == 0 || now_ms < self.expires
    }
}

/// A user, person-in-organisation or role-profile id: twelve digits.
pub fn is_id(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit())
}

/// Twelve digits out of eight random bytes, the first of them not 0. Whoever stores them sees to it that they are new.
pub fn draw_id(random: [u8; 8]) -> String {
    const FIRST: u64 = 100_000_000_000;
    (FIRST + u64::from_be_bytes(random) % (9 * FIRST)).to_string()
}

pub fn user_key(uid: &str) -> Key {
    Table::Users.key().text(uid)
}
pub fn org_person_key(uid: &str, ods: &str) -> Key {
    Table::OrgPersons.key().text(uid).text(ods)
}
pub fn role_key(urp: &str) -> Key {
    Table::RoleProfiles.key().text(urp)
}
pub fn role_of_user_key(uid: &str, urp: &str) -> Key {
    Table::RolesOfUsers.key().text(uid).text(urp)
}
pub fn authenticator_key(uid: &str, serial: &str) -> Key {
    Table::Authenticators.key().text(uid).text(serial)
}

pub fn user(site: &dyn Reader, uid: &str) -> Result<Option<User>, Fault> {
    read(site, Table::Users, user_key(uid))
}
pub fn org_person(site: &dyn Reader, uid: &str, ods: &str) -> Result<Option<OrgPerson>, Fault> {
    read(site, Table::OrgPersons, org_person_key(uid, ods))
}
pub fn role(site: &dyn Reader, urp: &str) -> Result<Option<RoleProfile>, Fault> {
    read(site, Table::RoleProfiles, role_key(urp))
}
pub fn authenticator(site: &dyn Reader, uid: &str, kind: Kind) -> Result<Option<Authenticator>, Fault> {
    read(site, Table::Authenticators, authenticator_key(uid, kind.serial()))
}

/// All role profiles of a person, in order of id, ended ones included.
pub fn roles_of(site: &dyn Reader, uid: &str) -> Result<Vec<(String, RoleProfile)>, Fault> {
    let rows = site.scan(Table::RolesOfUsers.key().text(uid).prefix(), false, MAX_ROLES)?;
    let mut all = vec![];
    for (key, _) in rows {
        let mut parts = Parts::of(&key);
        let urp = parts.bytes().and_then(|_| parts.text());
        let urp = urp.ok_or(Fault::Row(Table::RolesOfUsers, Malformed::Truncated))?;
        if let Some(row) = role(site, &urp)? {
            all.push((urp, row));
        }
    }
    Ok(all)
}

/// Role profiles that a person may act in now: open, of an organisation that is known and not switched off.
pub fn open_roles(site: &dyn Reader, uid: &str, now_ms: u64) -> Result<Vec<(String, RoleProfile)>, Fault> {
    let mut open = vec![];
    for (urp, row) in roles_of(site, uid)? {
        if row.is_open(now_ms) && organisation(site, &row.ods)?.is_some_and(|o| !o.disabled) {
            open.push((urp, row));
        }
    }
    Ok(open)
}

/// A person's authenticators by serial.
pub fn authenticators_of(site: &dyn Reader, uid: &str) -> Result<Vec<(String, Authenticator)>, Fault> {
    let rows = site.scan(Table::Authenticators.key().text(uid).prefix(), false, MAX_AUTHENTICATORS + WITHOUT_ROOM)?;
    let mut all = vec![];
    for (key, value) in rows {
        let mut parts = Parts::of(&key);
        let serial = parts.bytes().and_then(|_| parts.text());
        let serial = serial.ok_or(Fault::Row(Table::Authenticators, Malformed::Truncated))?;
        all.push((serial, Authenticator::decode(&value).map_err(|e| Fault::Row(Table::Authenticators, e))?));
    }
    Ok(all)
}
