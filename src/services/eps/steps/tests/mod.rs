//! Steps against the spec.
