//! The CSI services: tonic at the rim, a checking boundary, and a dispatcher that runs the work.

#[allow(dead_code, reason = "wip")]
mod boundary;
pub mod dispatch;
#[allow(dead_code, reason = "wip")]
mod rim;
pub mod rpc;
pub mod status;
