//! Commands of the service: one tag byte, then a record; and the reply. All go to the partition of the person, but creates,
//! which go to the partition of the birth date, so that two for one person meet.

use super::refusal::{self, Problem};
use super::rows::Actor;
use super::trace::command::{TraceChecked, TraceEnd, TraceFold, TracePiece};
use crate::wire::post::Arrived;
use crate::{commands, engine::draft::Fault, record, wire::record::Record};
use bytes::Bytes;

commands! {
    /// A command, told apart by its first byte.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum PdsCommand("pds") {
        /// Leaves the record of what was refused, or of whom a search has shown.
        1 Noted(Noted),
        2 Retrieve(Retrieve),
        3 Update(Update),
        4 Create(Create),
        5 SetCard(SetCard),
        6 Import(Import),
        /// Marks a number as merged into another.
        7 Supersede(Supersede),
        /// A file for batch trace has come.
        64 Arrived(Arrived),
        65 TraceChecked(TraceChecked),
        66 TracePiece(TracePiece),
        67 TraceFold(TraceFold),
        68 TraceEnd(TraceEnd),
    }
}

record! {
    pub struct Noted v1 {
        1 => interaction: String,
        /// `ok`, or the refusal's code.
        2 => outcome: String,
        /// NHS numbers of the people concerned.
        3 => subjects: Vec<u64>,
        /// Mode, organisation and request id for the trail.
        4 => detail: String,
        5 => request: String,
    }
}

/// What [`Retrieve`] is for.
pub mod kind {
    pub const PATIENT: u8 = 1;
    pub const RELATED: u8 = 2;
    pub const COVERAGE: u8 = 3;
}

record! {
    pub struct Retrieve v1 {
        1 => nhs: u64,
        /// One of `kind`.
        2 => kind: u8,
        3 => detail: String,
        4 => request: String,
        /// The number that was asked for, where this one superseded it.
        5 => via: u64,
    }
}

record! {
    pub struct Update v1 {
        1 => nhs: u64,
        /// `access::Mode`.
        2 => mode: u8,
        /// If-Match.
        3 => version: u64,
        /// The body, packed.
        4 => body: Bytes,
        5 => detail: String,
        6 => by: Actor,
        /// Bits of `show::Flags`.
        7 => flags: u8,
        /// A back-office client.
        8 => back_office: bool,
    }
}

record! {
    /// A new person: by POST, or at birth.
    pub struct Create v1 {
        /// The members that are stored, checked and packed, without ids.
        1 => resource: Bytes,
        /// People elsewhere who are the same, as seen before this command.
        2 => matches: Vec<u64>,
        3 => detail: String,
        4 => by: Actor,
        /// At birth: the mother's number; 0 for none.
        5 => mother: u64,
        6 => interaction: String,
        /// Only an identical person is a match.
        7 => identical_only: bool,
    }
}

record! {
    pub struct SetCard v1 {
        1 => nhs: u64,
        /// If-Match.
        2 => version: u64,
        /// The Coverage, checked and packed.
        3 => resource: Bytes,
        4 => detail: String,
        5 => by: Actor,
    }
}

record! {
    /// People of one partition, from a file.
    pub struct Import v1 {
        /// Lines, packed as `import` makes them.
        1 => people: Vec<Bytes>,
        /// Words on where they come from, for the trail.
        2 => source: String,
    }
}

record! {
    pub struct Supersede v1 {
        1 => old: u64,
        2 => new: u64,
    }
}

record! {
    /// What became of a command.
    pub struct Reply v1 {
        /// 0: done; else the place in `refusal::ALL`, from 1.
        1 => problem: u8,
        2 => display: String,
        3 => diagnostics: String,
        /// When it was decided, milliseconds since the epoch.
        4 => at: u64,
        /// Whom it is about.
        5 => nhs: u64,
        /// The person's row, of a retrieve.
        6 => person: Bytes,
        /// Ask for this one instead.
        7 => superseded_by: u64,
        /// Related people (packed), or the card's row.
        8 => extra: Bytes,
        /// The version that was made.
        9 => version: u64,
        /// Of an import: people written, people that were there already.
        10 => written: u64,
        11 => same: u64,
        /// Of an import: people left alone whose values here are others.
        12 => kept: u64,
        /// Their NHS numbers.
        13 => left: Vec<u64>,
    }
}

impl Reply {
    pub fn of(bytes: &Bytes) -> Result<Self, Fault> {
        Reply::decode(bytes).map_err(|e| Fault::Other(format!("pds reply: {e}")))
    }
    pub fn refused(at: u64, problem: &Problem) -> Reply {
        let place = refusal::ALL.iter().position(|row| **row == *problem.row).unwrap_or(ERROR);
        Reply {
            problem: place as u8 + 1,
            display: problem.display.clone(),
            diagnostics: problem.diagnostics.clone(),
            at,
            ..Default::default()
        }
    }
    pub fn problem(&self) -> Option<Problem> {
        let place = usize::from(self.problem).checked_sub(1)?;
        let row = refusal::ALL.get(place).copied().unwrap_or(&refusal::UNKNOWN_ERROR);
        Some(Problem { row, display: self.display.clone(), diagnostics: self.diagnostics.clone() })
    }
}

/// Place of `UNKNOWN_ERROR`, for a row that is in no list.
const ERROR: usize = 30;
