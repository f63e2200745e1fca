//! Every status of an issue against every message and job: what happens is what the published table says.
use super::*;
