//! The driver as its users meet it: the real binary on its socket, a real Ceph cluster behind it.
//!
//! One test binary, so that it is linked once; each test has its own RADOS namespace, its own
//! Ceph user and its own directories, so that all of them can run side by side on one cluster and
//! count exactly what is theirs.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "the helpers of tests fail the test"
)]

mod bad_existing;
mod bad_input;
mod bad_node_input;
mod calls;
mod cephfs;
mod cephfs_node;
mod crash_controller;
mod crash_node;
mod family;
mod figures;
mod hang;
mod kernel;
mod lanes;
mod life;
mod privacy;
mod process;
mod round_trips;
mod secrets;
mod shares;
mod storm;
mod world;
