//! Metrics, health, log output, systemd, the admin socket.
//!
//! `metrics` holds names only and may be used from any room that is not pure. The rest answers operators: nothing
//! here may carry a patient's data, a token, a password or a message body (P10).

pub mod admin;
pub mod admin_client;
pub mod codes;
pub mod health;
pub mod http;
pub mod logging;
pub mod metrics;
pub mod process;
pub mod recorder;
pub mod systemd;
