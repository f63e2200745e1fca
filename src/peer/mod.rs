//! Node to node: mutual TLS, frames, lanes, the version handshake.
