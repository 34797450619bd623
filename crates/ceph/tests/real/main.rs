//! The client against a real cluster (`CUTTLE_TEST_CLUSTER`), with Ceph's own programs as witness.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "the helpers of tests fail the test"
)]

mod clones;
mod commands;
mod connections;
mod data;
mod faults;
mod file_systems;
mod idle;
mod image_plans;
mod images;
mod locks;
mod objects;
mod setup;
mod subvolumes;
mod trash;
mod users;
