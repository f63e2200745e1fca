//! Real processes, really killed, really out of space, on disks that really rot, under load; a history checker judges
//! (design: docs/architecture.md, Tests).
//!
//! Held here: P1 and P2 (nothing accepted is lost, lists tell one history), P3 (nothing twice), P7 and P9 (nodes come back
//! by themselves, also with their disks empty or damaged), and what clients see meanwhile: 503 with Retry-After or a
//! closed connection. Run with `make cluster`; `SPINE_BIN` names another program than the one cargo built.
//!
//! | file | |
//! |---|---|
//! | `kill` `freeze` `network` `members` `mixed` `disk` `decay` `lost` `full` `slow` `trace` `tracing` `importing` `creating` `patching` `prescriptions` `backing_up` `locking` `points` `operators` `renewing` `sites` `promoting` | the scenarios, by family |
//! | `scene` | the shape that all of them have |
//! | `demo` `ballast` `rot` `wires` `packets` `throttle` | the site, and the hands that break it |
//! | `load` `clerk` `staff` `pharmacies` `script` | clients of mailboxes, operators of the registry, staff at the HTTP APIs, pharmacies and what they say |
//! | `history` `keys` `linear` | the judges of what they saw: as a whole, and key by key |

mod backing_up;
mod ballast;
mod clerk;
mod creating;
mod decay;
mod demo;
mod disk;
mod freeze;
mod full;
mod history;
mod importing;
mod keys;
mod kill;
#[path = "../shared/linear.rs"]
mod linear;
mod load;
mod locking;
mod lost;
mod members;
mod mixed;
mod network;
mod operators;
mod packets;
mod patching;
mod pharmacies;
mod points;
mod prescriptions;
mod promoting;
mod renewing;
mod rot;
mod scene;
mod script;
mod sites;
mod slow;
mod staff;
mod throttle;
mod trace;
mod tracing;
mod wires;
