//! Where clients arrive: listener, TLS, HTTP, routes, the gate, and refusals turned into each protocol's words.
