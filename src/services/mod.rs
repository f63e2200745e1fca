//! The national services, one folder each. Pure: they decide and query, others carry.

pub mod directory;
pub mod mesh;
pub mod pds;
