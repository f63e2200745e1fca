//! Certificates, a server and clients for the tests of the edge.

pub mod client;
pub mod people;
pub mod pki;
pub mod server;
pub mod site;
pub mod trial;

pub use client::Client;
pub use pki::Pki;
pub use server::Server;
