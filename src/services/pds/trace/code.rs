//! The codes of files and of rows (spec/pds.md §16.5), and the two generations of the format (§16.1).

/// A code of §16.5.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Code(pub u8);

impl Code {
    pub const SUCCESS: Code = Code(0);
    pub const NOT_PARSED: Code = Code(1);
    pub const BAD_REFERENCE: Code = Code(2);
    pub const BAD_WORKFLOW: Code = Code(3);
    pub const COUNT_DIFFERS: Code = Code(4);
    pub const TOO_MANY_RECORDS: Code = Code(6);
    pub const NAME_DIFFERS: Code = Code(7);
    pub const BAD_UNIQUE_REFERENCE: Code = Code(8);
    pub const BAD_TIMESTAMP: Code = Code(9);
    pub const MISSING: Code = Code(10);
    pub const TOO_LONG: Code = Code(11);
    pub const BAD_GENDER: Code = Code(12);
    pub const BAD_FORMAT: Code = Code(13);
    /// The file's bodies are lost.
    pub const DATA_STORE: Code = Code(14);
    pub const NO_TRACE: Code = Code(15);
    pub const TOO_FEW_FIELDS: Code = Code(16);
    pub const TOO_MANY_FIELDS: Code = Code(17);
    pub const SUPERSEDED: Code = Code(90);
    pub const INVALIDATED: Code = Code(91);
    pub const SENSITIVE: Code = Code(92);
    pub const NOT_ENOUGH: Code = Code(96);
    pub const SEVERAL: Code = Code(97);
    pub const NOT_FOUND: Code = Code(98);

    /// Whether a person is shown.
    pub fn is_match(self) -> bool {
        matches!(self, Code::SUCCESS | Code::SUPERSEDED | Code::SENSITIVE)
    }
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:02}", self.0)
    }
}

impl From<crate::wire::csv::Malformed> for Code {
    fn from(_: crate::wire::csv::Malformed) -> Code {
        Code::NOT_PARSED
    }
}

/// Which of the two formats a file has: its MESH workflow says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generation {
    /// Master Patient Trace: a header row of its own, no column names.
    Mpt,
    /// PDS MESH: column names first.
    Mesh,
}

/// The workflow that stands in the header row of an MPT file, and brings it.
pub const MPT_REQUEST: &str = "SPINE_MPTPHASE4_TRACE";
pub const MPT_RESPONSE: &str = "SPINE_MPT_RESPONSE";
pub const PDS_MESH: &str = "SPINE_PDS_MESH_V1";

impl Generation {
    pub fn of_workflow(workflow: &[u8]) -> Option<Generation> {
        match workflow {
            w if w == MPT_REQUEST.as_bytes() => Some(Generation::Mpt),
            w if w == PDS_MESH.as_bytes() => Some(Generation::Mesh),
            _ => None,
        }
    }

    /// The workflow of the answer.
    pub fn response(self) -> &'static str {
        match self {
            Generation::Mpt => MPT_RESPONSE,
            Generation::Mesh => PDS_MESH,
        }
    }
}
