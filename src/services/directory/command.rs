//! Commands that change the registry: one tag byte, then a record. All go to the site partition (empty key).

use super::applications::SetApplication;
use super::arrival::SetArrival;
use super::issuers::SetIssuer;
use super::level::RaiseLevel;
use super::registration::{
    command::{Apply, End, Grant, Issue, Pause, Sponsor, Verify},
    rules::SetRules,
};
use super::rows::{Endpoint, Invitation, Member, Organisation, Secret, System};
use super::signing::AddSigningKey;
use super::sites::{Promote, SetServing};
use super::users::baseline::SetBaseline;
use super::users::command::{DropAuthenticator, EndRole, InvitePasskey, SetAuthenticator, SetRole, SetUser, StandUser};
use crate::{
    commands,
    engine::{ServiceId, draft::Fault, services},
    record,
    wire::record::Record,
};
use bytes::Bytes;

commands! {
    /// A command, told apart by its first byte.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum DirectoryCommand("directory") {
        1 SetOrganisation(SetOrganisation),
        2 SetSystem(SetSystem),
        3 SetMailbox(SetMailbox),
        4 SetWorkflow(SetWorkflow),
        /// Switches a thing off or on again; nothing is ever deleted that an audit record may name.
        5 Disable(Disable),
        6 SetNode(SetNode),
        7 RemoveNode(RemoveNode),
        8 SetInvitation(SetInvitation),
        9 UseInvitation(UseInvitation),
        10 SetApplication(SetApplication),
        /// Writes an organisation as the reference data has it, whole.
        20 PutOrganisation(PutOrganisation),
        /// Writes what the directory says of a system; its certificates stay.
        21 PutSystem(PutSystem),
        22 PutEndpoint(PutEndpoint),
        /// Several commands of an import, each decided for itself.
        23 Batch(Batch),
        30 SetUser(SetUser),
        31 StandUser(StandUser),
        32 SetRole(SetRole),
        33 EndRole(EndRole),
        34 SetAuthenticator(SetAuthenticator),
        35 DropAuthenticator(DropAuthenticator),
        36 AddSigningKey(AddSigningKey),
        40 Apply(Apply),
        41 Verify(Verify),
        42 Sponsor(Sponsor),
        43 Grant(Grant),
        44 Issue(Issue),
        45 Pause(Pause),
        46 End(End),
        47 SetRules(SetRules),
        50 InvitePasskey(InvitePasskey),
        56 SetBaseline(SetBaseline),
        57 SetIssuer(SetIssuer),
        58 SetArrival(SetArrival),
        60 SetServing(SetServing),
        61 Promote(Promote),
        70 RaiseLevel(RaiseLevel),
    }
}

record! {
    pub struct SetOrganisation v1 {
        1 => ods: String,
        2 => name: String,
    }
}

record! {
    /// Makes or changes a system. Empty texts keep what is stored.
    pub struct SetSystem v1 {
        1 => asid: String,
        2 => ods: String,
        3 => party_key: String,
        4 => name: String,
        /// SHA-256 of certificates (DER), hex; the whole list, unless `add`.
        5 => certificates: Vec<String>,
        /// The certificates are added to those that are there.
        6 => add: bool,
        /// 0 keeps what is stored, 1 emergency care, 2 not.
        7 => emergency: u8,
    }
}

record! {
    /// Makes or changes a mailbox. Empty texts keep what is stored; a new one needs a password and an organisation.
    pub struct SetMailbox v1 {
        1 => mailbox: String,
        2 => name: String,
        3 => ods: String,
        4 => org_code: String,
        5 => org_name: String,
        6 => billing: String,
        7 => password: Secret,
        /// 0 keeps what is stored (active for a new one), 1 active, 2 inactive.
        8 => active: u8,
        9 => internal: bool,
        /// A word of [`SERVED`] or `none`; empty keeps what is stored.
        10 => service: String,
    }
}

/// The site's own services that take messages, by the words of operators.
pub const SERVED: &[(&str, ServiceId)] = &[("pds-trace", services::PDS)];

record! {
    /// Makes or changes a workflow.
    pub struct SetWorkflow v1 {
        1 => workflow: String,
        2 => senders: Vec<String>,
        3 => receivers: Vec<String>,
        /// The lists are added to those that are there; otherwise they replace them.
        4 => add: bool,
        /// Anyone may use it where enforcement is `restricted`.
        5 => open: bool,
    }
}

record! {
    pub struct Disable v1 {
        /// A [`Kind`].
        1 => kind: u8,
        2 => id: String,
        /// Switches on again.
        3 => enable: bool,
    }
}

/// What [`Disable`] switches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    Organisation = 1,
    System = 2,
    Mailbox = 3,
    Workflow = 4,
    /// Off: revoked. On: approved.
    Application = 5,
    Endpoint = 6,
}

record! {
    /// Writes a member's row.
    pub struct SetNode v1 {
        /// 0 takes the next free number; the reply names it.
        1 => node: u16,
        2 => member: Member,
    }
}

record! {
    pub struct RemoveNode v1 {
        1 => node: u16,
    }
}

record! {
    pub struct SetInvitation v1 {
        /// SHA-256 of the token, hex; the token itself is never stored.
        1 => token_hash: String,
        2 => invitation: Invitation,
    }
}

record! {
    /// A new node shows its token. Its member row is written, under the number that the reply names.
    pub struct UseInvitation v1 {
        1 => token_hash: String,
        2 => member: Member,
    }
}

record! {
    /// The operator's switch, look-up generation and missing ids are not taken from the row.
    pub struct PutOrganisation v1 {
        1 => ods: String,
        2 => organisation: Organisation,
    }
}

record! {
    /// Certificates and the operator's switch are not taken from the row.
    pub struct PutSystem v1 {
        1 => asid: String,
        2 => system: System,
    }
}

record! {
    /// The operator's switch is not taken from the row.
    pub struct PutEndpoint v1 {
        /// The record's id (`uniqueIdentifier`).
        1 => id: String,
        2 => endpoint: Endpoint,
    }
}

record! {
    /// A refused command leaves the others as they are. At most [`MAX_BATCH`].
    pub struct Batch v1 {
        /// Each encoded as a [`DirectoryCommand`]; no batch in a batch.
        1 => commands: Vec<Bytes>,
    }
}

/// Most commands of a batch: their rows fit an entry with room to spare.
pub const MAX_BATCH: usize = 200;

record! {
    /// What became of a command.
    pub struct DirectoryReply v1 {
        /// Empty where it was done; else a stable word: `forbidden`, `invalid`, `not-found`, `conflict`, `expired`.
        1 => refusal: String,
        /// Public words on the refusal.
        2 => text: String,
        /// Whether anything is different now.
        3 => changed: bool,
        /// The node's number, where one was given.
        4 => node: u16,
        /// For a batch: what became of each of its commands.
        5 => each: Vec<DirectoryReply>,
    }
}

impl DirectoryReply {
    pub fn of(bytes: &Bytes) -> Result<Self, Fault> {
        DirectoryReply::decode(bytes).map_err(|e| Fault::Other(format!("directory reply: {e}")))
    }
    pub fn is_done(&self) -> bool {
        self.refusal.is_empty()
    }
}
