//! Snapshots of RBD volumes: one image each.
//!
//! ```text
//!  volume's image ──@ temporary snapshot ◀── image csi-snap-<uuid> ──@ its own snapshot ◀── restored volumes
//! ```
//!
//! As ceph-csi lays them out. The image shows the volume's data as it was, and takes no room of its
//! own; its own snapshot, of the same name, is what volumes are restored from. The temporary one is
//! in the snapshots' trash, from where it goes with its last clone. So volume, snapshot and
//! restored volumes may be deleted in any order.

mod create;
mod delete;
mod get;
mod list;

pub use create::{CreateSnapshot, CreateSnapshotError};
pub use get::GetSnapshotError;
