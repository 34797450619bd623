//! Keepers of real mounts on the shared cluster: their life, and what they do when ceph-fuse dies.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "the helpers of tests fail the test"
)]

mod bed;
mod death;
mod life;
