//! Node operations: stage, publish, expand, measure and take down volumes.
//!
//! One folder for each kind of volume; beside them what they share. The server calls
//! [`rbd::RbdNode`] and [`cephfs::CephfsNode`]. Operations are straight-line blocking code over the two doors: the host
//! (mounts, devices, programs) and Ceph. Every operation is idempotent; what there is, is found
//! from the stash, the mount table and sysfs. `docs/node.md` tells what a crash leaves at each step
//! and what repeats do.
//!
//! Not here: CSI's wire types, claims and lanes, formats of the journal, and system calls.

pub mod cephfs;
mod figures;
mod host_failure;
mod layout;
mod mount_plan;
mod place;
pub mod rbd;
mod settings;
mod target;
mod unmounting;
mod uses;
mod verdict;

pub use host_failure::HostFailure;
pub use layout::{Layout, VolumeId, VolumeIdError};
pub use place::PlaceError;
pub use settings::{ExportProgram, NodeSettings, Patience};
pub use unmounting::UnmountError;
