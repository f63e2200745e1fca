//! The site's registry: organisations, systems, mailboxes, workflows, members, invitations. One truth in the site
//! partition, copied to every node, changed by commands.
//!
//! | file | duty |
//! |---|---|
//! | `arrival` | where an organisation's requests are answered while a site is moved into |
//! | `applications` | clients of the HTTP APIs: rows, commands, deciding |
//! | `rows` | what is stored and its keys; what any service may read |
//! | `command` | the commands and their reply |
//! | `notice` | what other services are told through the outbox |
//! | `decide` | one command → rows, audit note, reply |
//! | `organisation` | the parts of an organisation |
//! | `organisations`, `systems` | writing organisations; systems and endpoints |
//! | `index` | look-up rows of organisations |
//! | `find` | finding organisations |
//! | `routes` | which face and interaction a path belongs to |
//! | `http` | what the HTTP faces take and give |
//! | `ods` | the organisation faces: FHIR R4, STU3, ORD |
//! | `ldap` | the LDAP face |
//! | `workers` | healthcare workers: Practitioner and PractitionerRole |
//! | `sds` | the systems' face: Device and Endpoint |
//! | `code_lists` | roles, relationships, record classes |
//! | `published` | a line of the reference data's published CSV → a line of our own shape |
//! | `records` | members of import files → organisations, systems, endpoints |
//! | `signing` | keys that sign ID tokens |
//! | `issuers` | trusted providers of citizens' log-ins |
//! | `users` | people who work here, their roles and authenticators |
//! | `registration` | how they come to be registered: steps, each by somebody who may |
//! | `level` | what all members' releases can read |
//! | `lines` | JSON lines of the provisioning format (mesh.md §15) → commands |
//!
//! Invariants:
//! - Only an operator's command changes the registry; using an invitation needs the invitation itself.
//! - Commands say what shall be, not what to change: one given twice is one given once.
//! - A certificate belongs to one system. Indexes change with the rows they point to, in one decision.

pub mod applications;
pub mod arrival;
pub mod code_lists;
pub mod command;
mod decide;
pub mod find;
pub mod http;
mod index;
pub mod issuers;
pub mod ldap;
pub mod level;
pub mod lines;
pub mod notice;
pub mod ods;
pub mod organisation;
mod organisations;
pub mod published;
mod records;
pub mod registration;
pub mod routes;
pub mod rows;
pub mod sds;
pub mod signing;
pub mod sites;
pub mod systems;
#[cfg(test)]
mod tests;
pub mod users;
pub mod workers;

/// The service. It has no options: everything is in the commands.
#[derive(Debug, Default)]
pub struct Directory;
