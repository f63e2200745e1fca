//! A running node, wired together: open, start, stop in reverse.

pub mod identity;
pub mod pki;
pub mod token;
