//! EPS, the Electronic Prescription Service (spec/eps.md).
//!
//! | file | duty |
//! |---|---|
//! | `message`, `refused` | what a message says to the store; why the store says no |
//! | `read` | a FHIR message → `message`, or every check that failed |
//! | `sign` | what is signed, `$prepare`, and whether a signature holds |
//! | `record`, `states`, `steps`, `clock` | the stored prescription, its published states, one step each, what time does |
//! | `show` | records and documents → FHIR answers |
//! | `status` | what pharmacies tell of an item's way to the patient (§15), kept beside the prescription |

pub mod clock;
pub mod ids;
pub mod message;
pub mod read;
pub mod record;
pub mod refused;
pub mod show;
pub mod states;
pub mod status;
pub mod steps;
