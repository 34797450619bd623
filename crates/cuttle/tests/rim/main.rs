//! What kubelet and monitoring see of the program, without a Ceph cluster: registration, metrics,
//! health and liveness.
#![expect(clippy::unwrap_used, reason = "the helpers of tests fail the test")]

mod http;
mod kubelet;
mod manifests;
mod program;
mod registration;
