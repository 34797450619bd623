//! Controller operations against a real cluster (`CUTTLE_TEST_CLUSTER`), with Ceph's own programs
//! as witness.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "the helpers of tests fail the test"
)]

mod another_cluster;
mod calls;
mod encrypted;
mod faults;
mod fit;
mod growth;
mod in_between;
mod in_use;
mod life;
mod limits;
mod listing;
mod races;
mod refusals;
mod setup;
mod snapshot_faults;
mod snapshots;
mod taken;
mod torn;
