//! Node operations: stage, publish, expand, measure and take down volumes.
//!
//! [`RbdNode`] is what the server calls. Its operations are straight-line blocking code over the
//! two doors: the host (mounts, devices, programs) and Ceph (looking at the image before it is
//! attached). Every operation is idempotent; what there is, is found from the stash, the mount
//! table and sysfs. `docs/node.md` tells what a crash leaves at each step and what repeats do.
//!
//! Not here: CSI's wire types, claims and lanes, formats of the journal, and system calls.

mod attach;
mod expand;
mod filesystem;
mod host_failure;
mod image;
mod image_spec;
mod layout;
mod mount_plan;
mod node;
mod place;
mod publish;
mod request;
mod settings;
mod stage;
mod staged;
mod stash;
mod stash_file;
mod stats;
mod take_down;
mod unpublish;
mod unstage;
mod uses;
mod verdict;

pub use attach::AttachError;
pub use expand::ExpandError;
pub use filesystem::FilesystemError;
pub use host_failure::HostFailure;
pub use image::ImageError;
pub use image_spec::ImageSpec;
pub use layout::{Layout, VolumeId, VolumeIdError};
pub use node::RbdNode;
pub use place::PlaceError;
pub use publish::PublishError;
pub use request::{
    Amount, Condition, ExpandVolume, Expanded, PublishVolume, StageVolume, Stats, UnpublishVolume,
    UnstageVolume, Usage, Volume, VolumeStats,
};
pub use settings::{ExportProgram, NodeSettings, Patience};
pub use stage::{StageError, StageFailure};
pub use staged::StagedError;
pub use stash::{Exporter, Stash, StashMalformed};
pub use stash_file::StashError;
pub use stats::StatsError;
pub use take_down::TakeDownError;
pub use unpublish::UnpublishError;
pub use unstage::UnstageError;
