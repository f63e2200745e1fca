//! EPS, the Electronic Prescription Service (spec/eps.md).
//!
//! | file | duty |
//! |---|---|
//! | `message`, `refused` | what a message says to the store; why the store says no |
//! | `read` | a FHIR message → `message`, or every check that failed |
//! | `sign` | what is signed, `$prepare`, and whether a signature holds |
//! | `record`, `states`, `steps`, `clock` | the stored prescription, its published states, one step each, what time does |
//! | `show` | records and documents → FHIR answers |

pub mod ids;
pub mod message;
pub mod read;
pub mod refused;
