//! CephFS operations against a real cluster (`CUTTLE_TEST_CLUSTER`), with Ceph's own programs as
//! witness.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "the helpers of tests fail the test"
)]

mod calls;
mod faults;
mod life;
mod races;
mod refusals;
mod setup;
mod torn;
