//! Controller operations: create, delete, expand, list and validate volumes.
//!
//! One folder for each kind of volume; beside them what they share.
//!
//! Straight-line blocking code over the Ceph door. Requests are checked values of `model`; errors
//! say what failed, what is left behind and what to do. Every operation may be repeated after any
//! crash and converges: the states in between are those of `docs/formats.md`.
//!
//! Claims, deadlines and concurrency are the dispatcher's; nothing here knows the wire.

mod asked;
pub mod cephfs;
mod existing;
mod identity;
pub mod rbd;
mod reach;
mod settings;
pub mod share;
mod snapshots;

pub use existing::{
    Created, DeleteVolume, Deleted, ExpandVolume, Expanded, GetVolume, ListVolumes, ListedVolume,
    ValidateVolume, Validation, Volume, VolumePage,
};
pub use identity::NotTheSame;
pub use reach::ReachError;
pub use settings::{CloneLimits, ControllerSettings};
pub use snapshots::{
    ContentSource, DeleteSnapshot, GetSnapshot, KnownSnapshot, ListSnapshots, MadeSnapshot,
    SnapshotPage, SourceKind,
};
