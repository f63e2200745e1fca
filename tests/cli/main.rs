//! The command line as a user meets it: exit codes, the four lines, JSON, help, and one node run by hand.
//!
//! Every test runs the real binary. None needs a network beyond loopback.

mod docs;
mod doctor;
mod help;
mod local;
mod mistakes;
mod node;
mod registration;
mod reload;
mod site;
mod support;
mod trail;
mod upgrade;
mod watched;
