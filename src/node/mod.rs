//! A running node, wired together: open, start, stop in reverse.

pub mod pki;
