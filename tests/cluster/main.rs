//! Real processes, really killed, really out of space, on disks that really rot, under load; a history checker judges
//! (design: docs/architecture.md, Tests).
//!
//! Held here: P1 and P2 (nothing accepted is lost, lists tell one history), P3 (nothing twice), P7 and P9 (nodes come back
//! by themselves, also with their disks empty or damaged), and what clients see meanwhile: 503 with Retry-After or a
//! closed connection. Run with `make cluster`; `SPINE_BIN` names another program than the one cargo built.
//!
//! | file | |
//! |---|---|
//! | `kill` `members` `disk` `full` | the scenarios, by family |
//! | `scene` | the shape that all of them have |
//! | `demo` `ballast` `rot` | the site, and the hands that break it |
//! | `load` `history` | clients, and the judge of what they saw |

mod ballast;
mod demo;
mod disk;
mod full;
mod history;
mod kill;
mod load;
mod members;
mod rot;
mod scene;
