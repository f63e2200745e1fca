//! Commands of the service: one tag byte, then a record; and the reply.

use crate::{commands, engine::draft::Fault, record, wire::record::Record};
use bytes::Bytes;

commands! {
    /// A command, told apart by its first byte.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum TrailCommand("trail") {
        /// The gate turned someone away whom it knows, or strangers.
        1 Refused(Refused),
        /// Whose trail is about to be shown, or was not.
        2 Shown(Shown),
        /// An AuditEvent of another system.
        3 File(File),
        /// Members of staff whose entries of the directory are about to be shown.
        4 Staff(Staff),
        /// A request was handed to the system that is being replaced.
        5 Relayed(Relayed),
    }
}

record! {
    pub struct Refused v1 {
        1 => interaction: String,
        /// Of the catalogue (`docs/errors.md`).
        2 => code: String,
        /// NHS number that the request's path named; empty for none.
        3 => subject: String,
        /// Of those that are told of together: how many refusals; 0 of one that is told alone.
        4 => times: u64,
        /// The first and the last of them, milliseconds since the epoch.
        5 => first: u64,
        6 => last: u64,
        /// They are of one system that is known, and told of together for their number.
        7 => known: bool,
    }
}

/// The outcome in the trail of a request that was handed on.
pub const RELAYED: &str = "relayed";

record! {
    /// A request of somebody whom the site knows, or whom the other system has let in.
    pub struct Relayed v1 {
        1 => interaction: String,
        /// NHS number that the request's path named; empty for none.
        2 => subject: String,
        /// ODS code of the organisation whose row said so, or `*`.
        3 => party: String,
        /// The other system's status, where the record comes after its answer; 0 where it comes before.
        4 => status: u16,
    }
}

record! {
    pub struct Shown v1 {
        1 => interaction: String,
        /// `ok`, or the refusal's code.
        2 => outcome: String,
        /// NHS numbers of the people whose records are shown.
        3 => subjects: Vec<String>,
        /// The user whose doings were asked for.
        4 => agent: String,
        /// Id of the event that was read.
        5 => event: String,
    }
}

record! {
    /// A look at the staff directory.
    pub struct Staff v1 {
        1 => interaction: String,
        /// `ok`, or a word for the refusal.
        2 => outcome: String,
        /// What was asked for: a path, or the base of a search.
        3 => object: String,
        /// User ids of those who are shown.
        4 => people: Vec<String>,
        5 => detail: String,
    }
}

record! {
    pub struct File v1 {
        /// NHS number.
        1 => subject: String,
        /// The event, checked, as JSON without its id.
        2 => event: Bytes,
        /// C, R, U, D or E.
        3 => action: String,
    }
}

record! {
    /// What became of a command.
    pub struct Reply v1 {
        /// When it was decided, milliseconds since the epoch.
        1 => at: u64,
        /// Id of the event that was filed.
        2 => id: String,
    }
}

impl Reply {
    pub fn of(bytes: &Bytes) -> Result<Self, Fault> {
        Reply::decode(bytes).map_err(|e| Fault::Other(format!("trail reply: {e}")))
    }
}
