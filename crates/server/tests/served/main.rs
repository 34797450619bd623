//! The server as its callers see it: over a unix socket, with generated clients.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "the helpers of tests fail the test"
)]

mod bad_requests;
mod hanging;
mod requests;
mod secrecy;
mod serving;
mod snapshots;
mod volumes;
