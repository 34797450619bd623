//! RBD volumes on a node: an image attached as a block device, mounted or handed on raw.

mod attach;
mod expand;
mod filesystem;
mod image;
mod image_spec;
mod mkfs_note;
mod node;
mod publish;
mod request;
mod stage;
mod staged;
mod stash;
mod stash_file;
mod stats;
mod take_down;
mod unpublish;
mod unstage;

pub use attach::{AttachError, MapEnd};
pub use expand::ExpandError;
pub use filesystem::FilesystemError;
pub use image::ImageError;
pub use image_spec::ImageSpec;
pub use node::RbdNode;
pub use publish::PublishError;
pub use request::{
    Amount, Condition, ExpandVolume, Expanded, PublishVolume, StageVolume, Stats, UnpublishVolume,
    UnstageVolume, Usage, Volume, VolumeStats,
};
pub use stage::{StageError, StageFailure};
pub use staged::StagedError;
pub use stash::{Exporter, Origin, Stash, StashMalformed};
pub use stash_file::StashError;
pub use stats::StatsError;
pub use take_down::TakeDownError;
pub use unpublish::UnpublishError;
pub use unstage::UnstageError;
