//! The CSI services: tonic at the rim, a checking boundary, and a dispatcher that runs the work.
//!
//! ```text
//!  socket ─▶ rim ─▶ boundary ─▶ dispatch ─▶ cuttle-volumes, cuttle-node
//!            │        │           └ claim, join, lane, job          (docs/dispatch.md)
//!            │        └ wire message → checked request, all mistakes at once
//!            └ request id, span, deadline, line in the log, status
//! ```
//!
//! Wire types and `async` stop here: the layers below are blocking code over checked values. One
//! table ([`status`]) turns failures into gRPC codes; nothing else chooses one.

mod boundary;
mod cluster_directory;
pub mod dispatch;
pub mod figures;
mod http;
mod listing;
mod probe;
mod readiness;
mod registration;
mod rim;
pub mod rpc;
mod serve;
mod services;
pub mod status;

#[cfg(test)]
mod error_catalogue;

pub use cluster_directory::ClusterDirectory;
pub use figures::CallFigures;
pub use http::{Exposition, Pages, serve_pages};
pub use probe::{ProbeError, probe};
pub use readiness::{Hold, Readiness};
pub use registration::{Plugin, Standing, serve_registration};
pub use serve::{ControllerParts, DriverServices, NodeParts, ServeError, ServeOptions, serve};
pub use services::{CephfsControllerParts, CephfsNodeParts, RbdControllerParts, RbdNodeParts};
