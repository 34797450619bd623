//! What is asked about snapshots, and answered: the same for every kind of volume.

use std::fmt;
use std::time::SystemTime;

use cuttle_model::{ByteSize, ComposedHandle, Credentials};

use crate::existing::ListVolumes;

/// What data is taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceKind {
    /// A volume as it is now.
    Volume,
    /// A snapshot.
    Snapshot,
}

impl fmt::Display for SourceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Volume => "volume",
            Self::Snapshot => "snapshot",
        })
    }
}

/// What a new volume's data comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentSource {
    /// A snapshot or a volume.
    pub kind: SourceKind,
    /// Its handle.
    pub handle: ComposedHandle,
}

/// A snapshot that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MadeSnapshot {
    /// Its handle.
    pub handle: ComposedHandle,
    /// The volume it is of.
    pub source: ComposedHandle,
    /// The least size of a volume restored from it.
    pub size: ByteSize,
    /// When it was taken.
    pub taken: SystemTime,
}

/// A request for a page of snapshots.
#[derive(Debug, Clone, Default)]
pub struct ListSnapshots {
    /// Which page.
    pub page: ListVolumes,
    /// Only those of this volume.
    pub of: Option<ComposedHandle>,
}

/// A question about one snapshot.
#[derive(Debug, Clone)]
pub struct GetSnapshot {
    /// The snapshot.
    pub handle: ComposedHandle,
    /// The Ceph user.
    pub credentials: Credentials,
}

/// A snapshot, as its record and its image tell it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownSnapshot {
    /// Its handle.
    pub handle: ComposedHandle,
    /// The volume it is of; `None` when the name of the volume's image leads to no handle.
    pub source: Option<ComposedHandle>,
    /// The least size of a volume restored from it.
    pub size: ByteSize,
    /// When it was taken.
    pub taken: SystemTime,
}

/// Some of the snapshots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotPage {
    /// The snapshots: finished ones only.
    pub snapshots: Vec<KnownSnapshot>,
    /// The token of the next page, unless this is the last. A page may be empty and not the last.
    pub next: Option<String>,
}

/// A request to remove a snapshot.
#[derive(Debug, Clone)]
pub struct DeleteSnapshot {
    /// The snapshot.
    pub handle: ComposedHandle,
    /// The Ceph user.
    pub credentials: Credentials,
}
