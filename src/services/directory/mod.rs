//! The site's registry: organisations, systems, mailboxes, workflows, members, invitations. One truth in the site
//! partition, copied to every node, changed by commands.
//!
//! | file | duty |
//! |---|---|
//! | `applications` | clients of the HTTP APIs: rows, commands, deciding |
//! | `rows` | what is stored and its keys; what any service may read |
//! | `command` | the commands and their reply |
//! | `notice` | what other services are told through the outbox |
//! | `decide` | one command → rows, audit note, reply |
//! | `lines` | JSON lines of the provisioning format (mesh.md §15) → commands |
//!
//! Invariants:
//! - Only an operator's command changes the registry; using an invitation needs the invitation itself.
//! - Commands say what shall be, not what to change: one given twice is one given once.
//! - A certificate belongs to one system. Indexes change with the rows they point to, in one decision.

pub mod applications;
pub mod command;
mod decide;
pub mod lines;
pub mod notice;
pub mod rows;
#[cfg(test)]
mod tests;

/// The service. It has no options: everything is in the commands.
#[derive(Debug, Default)]
pub struct Directory;
