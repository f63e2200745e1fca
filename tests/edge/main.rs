//! The edge over real mutual TLS on loopback: who gets in, what bad and slow clients get, what a drain does (P5, P6).
//!
//! A small protocol and a backend in memory stand behind the edge here, so that each test says exactly what the site
//! does; the services' own routes are attacked in `mesh.rs`.

mod api;
mod bombs;
mod busiest;
mod certificates;
mod drain;
mod emergency;
mod hostile;
mod idle;
mod mesh;
mod people;
mod people_attacked;
mod refusals;
mod relationships;
mod relay;
mod requests;
mod revocations;
mod slow;
mod smuggling;
mod support;
