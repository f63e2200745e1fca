//! Formats, pure: bytes in, values out, and back. No I/O, clock or randomness (held by `tests/tidy.rs`).

pub mod age;
pub mod capability;
pub mod cbor;
pub mod csv;
pub mod form;
pub mod jwt;
pub mod ldap;
pub mod ldif;
pub mod mesh;
pub mod packed;
mod packed_words;
pub mod person_changed;
pub mod post;
pub mod record;
pub mod tree;
pub mod xml;
