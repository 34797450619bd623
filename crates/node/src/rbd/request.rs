//! What callers ask of a node: requests whose fields have been checked one by one.
//!
//! The server's boundary makes them from wire messages; nothing here knows the wire.

use std::path::PathBuf;
use std::sync::Arc;

use cuttle_model::{
    AttachParameters, ByteSize, ClusterSettings, ComposedHandle, Credentials, StaticImage,
    VolumeCapability,
};

use crate::layout::VolumeId;

pub use crate::figures::{Amount, Condition, Stats, Usage};

/// Which image a volume is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Volume {
    /// Made by CreateVolume: the journal knows its pool and image.
    Provisioned(ComposedHandle),
    /// An image that an administrator named in a PersistentVolume, or one of the migrated in-tree
    /// plugin. It has no journal; its RADOS namespace is the one of the cluster's settings.
    Static(StaticImage),
}

/// NodeStageVolume: attach the image and mount it in the staging directory.
#[derive(Debug, Clone)]
pub struct StageVolume {
    /// The volume's identifier as the request gave it.
    pub id: VolumeId,
    /// The image behind it.
    pub volume: Volume,
    /// The image's cluster.
    pub cluster: Arc<ClusterSettings>,
    /// The Ceph user that attaches it.
    pub credentials: Credentials,
    /// The staging directory; the caller has made it.
    pub staging_path: PathBuf,
    /// How the volume is going to be used.
    pub capability: VolumeCapability,
    /// How to attach and format it, from the volume's context.
    pub parameters: AttachParameters,
}

/// NodeUnstageVolume: take down everything a stage has made.
#[derive(Debug, Clone)]
pub struct UnstageVolume {
    /// The volume's identifier as the request gave it.
    pub id: VolumeId,
    /// The staging directory.
    pub staging_path: PathBuf,
}

/// NodePublishVolume: make a staged volume visible where a container expects it.
#[derive(Debug, Clone)]
pub struct PublishVolume {
    /// The volume's identifier as the request gave it.
    pub id: VolumeId,
    /// The staging directory.
    pub staging_path: PathBuf,
    /// Where the volume is to appear. Its parent exists; it may itself exist.
    pub target_path: PathBuf,
    /// How the volume is going to be used.
    pub capability: VolumeCapability,
    /// Whether this use is for reading only.
    pub read_only: bool,
}

/// NodeUnpublishVolume: take down what a publish has made.
#[derive(Debug, Clone)]
pub struct UnpublishVolume {
    /// The volume's identifier as the request gave it.
    pub id: VolumeId,
    /// Where the volume was made visible.
    pub target_path: PathBuf,
}

/// NodeExpandVolume: let device and filesystem take up the image's new size.
#[derive(Debug, Clone)]
pub struct ExpandVolume {
    /// The volume's identifier as the request gave it.
    pub id: VolumeId,
    /// Where the volume is published or staged.
    pub volume_path: PathBuf,
    /// The staging directory, where the request tells it.
    pub staging_path: Option<PathBuf>,
    /// The size the device must have at least; the image was resized to it before.
    pub required: Option<ByteSize>,
}

/// NodeGetVolumeStats: how full a volume is and whether it works.
#[derive(Debug, Clone)]
pub struct VolumeStats {
    /// The volume's identifier as the request gave it.
    pub id: VolumeId,
    /// Where the volume is published or staged.
    pub volume_path: PathBuf,
}

/// What an expansion came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expanded {
    /// The device's size now.
    pub size: ByteSize,
}
