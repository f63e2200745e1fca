//! What the simulation found in the product, each with its story and the test that holds it now. A seed says what it said
//! only until a draw is added to the schedule, so each was made a small test of its own.
//!
//! - **The last segment taken for a spare** (P1). One read of the last log segment's header failed at a start: it read as
//!   zeroes, which is what a spare has, and everything in that segment, acknowledged long ago, was gone without a word; the
//!   node went on under its old id. `log/tests/damage.rs`: `the_last_segment_is_never_taken_for_a_spare`.
//! - **A log that cannot be looked at taken for an empty one** (P1). An error at listing the log's folder made a node forget
//!   its past and come back as its next incarnation; with another node away that cost the majority. `node/settle.rs`.
//! - **An incarnation given twice** (P1). A node that was taken out and added again got the id it had had. A group that had
//!   not heard of the taking out yet believed that the empty node held what the old one had acknowledged. `node/door.rs`
//!   gives ids above all before; the simulated operator does the same.
//! - **A call that was lost held a start up for five minutes** (P9). A node with a damaged log asked for a snapshot while it was
//!   cut off, and waited as long as sealing one may take. It asks again each minute now; `consensus/refill.rs`. No small test: in
//!   real networks the connection ends with the peer's silence, so that only the simulation loses a call without a word.
