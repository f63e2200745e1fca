//! The organisation faces (directory.md §C): FHIR R4, the older look-up in FHIR STU3, and the reference data interface ORD.
//! All read the same rows; nothing here writes.
//!
//! | file | duty |
//! |---|---|
//! | `fhir` | FHIR R4: requests, errors, bundles |
//! | `search` | parameters of the R4 searches → clauses |
//! | `affiliation` | OrganizationAffiliation |
//! | `resource` | a row as an R4 Organization, a relationship as an OrganizationAffiliation |
//! | `stu3` | the STU3 look-up |
//! | `ord` | ORD 2-0-0 |

mod affiliation;
pub mod fhir;
pub mod ord;
pub mod resource;
pub mod search;
pub mod stu3;
