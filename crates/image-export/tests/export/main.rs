//! Exports of real images: each test runs the export process against the shared cluster and looks
//! at the result with Ceph's and the kernel's own programs.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking; clippy's exception covers test functions only, not what \
              they share"
)]

mod bed;
mod concurrency;
mod data;
mod failures;
mod features;
mod file_systems;
mod lifetime;
mod locks;
mod outage;
mod sizes;
mod space;
