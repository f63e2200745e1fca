//! Spine: the backbone a nation's health service runs on, as one daemon.
//!
//! Every folder is a room with one duty; arrows between rooms go down only (`tests/tidy.rs` holds the walls).
//! Start with `docs/architecture.md`: one write and one read, drawn from socket to disk.

pub mod access;
pub mod audit;
pub mod cli;
pub mod config;
pub mod consensus;
pub mod edge;
pub mod engine;
#[cfg(any(test, feature = "fuzz"))]
#[doc(hidden)]
pub mod fuzz;
pub mod log;
pub mod model;
pub mod node;
pub mod ops;
pub mod pages;
pub mod peer;
pub mod seam;
pub mod services;
pub mod store;
pub mod wire;
