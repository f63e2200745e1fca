//! Who may do what: the caller's proven identity, the rules as tables, and the gate that makes permits (P5). Pure.

pub mod caller;
pub mod conditions;
pub mod gate;
pub mod policy;
pub mod rules;
