//! The CSI protocol and kubelet's registration of plugins: our .proto files, the code made from them
//! and a `Debug` that hides secrets.
//!
//! The definitions in `proto/` are our own text with the names and numbers of CSI 1.12 and of the
//! volume-health calls of CSI 1.13. They are compiled at build time without `protoc`.
//!
//! Wire types stop at the server's boundary: nothing below `cuttle-server` depends on this crate.

pub mod pluginregistration;
mod redacted;
pub mod v1;

pub use prost_types::Timestamp;

#[cfg(test)]
mod tests;
