//! CephFS volumes on a node: a directory of a file system, mounted by ceph-fuse.
//!
//! ```text
//!  stage ── where is it? (journal) ── ceph-fuse, kept alive by a keeper
//!  publish ── a bind of the staging path at the target
//! ```
//!
//! What is staged is found from the mount table and the keepers' posts, never from memory. The
//! record in a post has no secrets.

mod keeping;
mod node;
mod options;
mod plan;
mod publish;
mod request;
mod seen;
mod settings;
mod stage;
mod start;
mod stats;
mod stock;
mod unpublish;
mod unstage;
mod whereabouts;

pub use keeping::KeepError;
pub use node::CephfsNode;
pub use options::MountOptionError;
pub use publish::PublishError;
pub use request::{
    FsCluster, FsVolume, FsVolumeId, FsVolumeIdError, PublishVolume, StageVolume, UnpublishVolume,
    UnstageVolume, VolumeStats,
};
pub use seen::SeenError;
pub use settings::{CephfsNodeSettings, FsPatience, OwnProgram};
pub use stage::StageError;
pub use start::StartError;
pub use stats::StatsError;
pub use unpublish::UnpublishError;
pub use unstage::UnstageError;
pub use whereabouts::WhereaboutsError;
