//! What is asked about snapshots, and answered: the same for every kind of volume.

use std::fmt;
use std::time::SystemTime;

use cuttle_model::{ByteSize, ComposedHandle, Credentials};

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

/// A request to remove a snapshot.
#[derive(Debug, Clone)]
pub struct DeleteSnapshot {
    /// The snapshot.
    pub handle: ComposedHandle,
    /// The Ceph user.
    pub credentials: Credentials,
}
