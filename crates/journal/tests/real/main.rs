//! The journal against a real cluster (`CUTTLE_TEST_CLUSTER`) and against recorded layouts of
//! ceph-csi's.
#![expect(clippy::unwrap_used, reason = "the helpers of tests fail the test")]

mod cephfs;
mod fixture;
mod layouts;
mod reservations;
mod setup;
mod snapshots;
