//! The national services, one folder each. Pure: they decide and query, others carry.

pub mod carried;
pub mod directory;
pub mod eps;
pub mod identity;
pub mod mesh;
pub mod pds;
pub mod relationships;
pub mod trail;
