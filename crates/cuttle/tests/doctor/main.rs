//! `cuttle doctor` on real clusters: each thing is broken, seen named, mended as the remedy says,
//! and seen in order again.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "the helpers of tests fail the test"
)]

mod capabilities;
mod cluster;
mod node;
mod patient;
