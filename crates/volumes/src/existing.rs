//! What is asked about volumes that exist, and answered: the same for every kind.

use std::collections::BTreeMap;

use cuttle_model::{
    ByteSize, CapacityRange, CoName, ComposedHandle, Credentials, VolumeCapability, VolumeHandle,
};

/// A volume that exists and fits the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    /// Its handle.
    pub handle: ComposedHandle,
    /// Its size.
    pub size: ByteSize,
    /// What the PersistentVolume is to remember.
    pub context: BTreeMap<String, String>,
}

/// A request to remove a volume.
#[derive(Debug, Clone)]
pub struct DeleteVolume {
    /// The volume.
    pub handle: VolumeHandle,
    /// The Ceph user.
    pub credentials: Credentials,
}

/// What there was to remove.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deleted {
    /// Something, and it is gone now; the manager may still be freeing its space.
    Removed,
    /// Nothing, by the cluster's own word.
    NothingThere,
}

/// A request to make a volume at least so large.
#[derive(Debug, Clone)]
pub struct ExpandVolume {
    /// The volume.
    pub handle: VolumeHandle,
    /// The allowed sizes.
    pub range: CapacityRange,
    /// How the volume is used, if the orchestrator says so.
    pub capability: Option<VolumeCapability>,
    /// The Ceph user.
    pub credentials: Credentials,
}

/// A volume that has the requested size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expanded {
    /// Its size now.
    pub size: ByteSize,
    /// Whether the node has to grow a file system.
    pub node_expansion_required: bool,
}

/// A question about the ways a volume can be used.
#[derive(Debug, Clone)]
pub struct ValidateVolume {
    /// The volume.
    pub handle: VolumeHandle,
    /// The ways.
    pub capabilities: Vec<VolumeCapability>,
    /// The Ceph user.
    pub credentials: Credentials,
}

/// The answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validation<R> {
    /// All ways are possible.
    Confirmed,
    /// One is not, for this reason.
    Refused(R),
}

/// A question about one volume.
#[derive(Debug, Clone)]
pub struct GetVolume {
    /// The volume.
    pub handle: ComposedHandle,
    /// The Ceph user.
    pub credentials: Credentials,
}

/// What there is to say about a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Its handle.
    pub handle: ComposedHandle,
    /// The name the orchestrator gave it.
    pub name: Option<CoName>,
    /// Its size; `None` when image or subvolume is gone.
    pub size: Option<ByteSize>,
    /// What is wrong with it, in a sentence; `None` when nothing is.
    pub trouble: Option<String>,
}

/// A request for a page of volumes.
#[derive(Debug, Clone, Default)]
pub struct ListVolumes {
    /// Where the page before ended; `None` for the first.
    pub token: Option<String>,
    /// The largest number of volumes wanted; `None` leaves it to us.
    pub most: Option<u32>,
}

/// One volume of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedVolume {
    /// Its handle.
    pub handle: ComposedHandle,
    /// The name the orchestrator gave it.
    pub name: CoName,
    /// Its size; `None` when image or subvolume is gone.
    pub size: Option<ByteSize>,
}

/// Some of the volumes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumePage {
    /// The volumes: finished ones only.
    pub volumes: Vec<ListedVolume>,
    /// The token of the next page, unless this is the last. A page may be empty and not the last.
    pub next: Option<String>,
}
