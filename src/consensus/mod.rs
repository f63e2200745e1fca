//! The Raft library's storage, network and driver. Bytes only.
