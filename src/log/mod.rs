//! The replicated log's bytes at rest: segments, group commit, repair (P1, P7).
