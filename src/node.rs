//! Wiring only: opens a node's rooms, starts them, and stops them in reverse.
