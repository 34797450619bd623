//! The names of the journal's objects and keys, exactly as ceph-csi spells them.
//!
//! Changing anything here changes the format on disk: `docs/formats.md` and the fixtures under
//! `tests/fixtures` have to follow, and the old form has to stay readable.

use cuttle_model::{CoName, ImageName, ImagePrefix, InstanceId, ObjectUuid};

/// What a journal keeps book of: each kind has a directory and records of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Volumes.
    Volume,
    /// Snapshots of volumes.
    Snapshot,
}

/// The keys of a record.
pub mod key {
    /// The name of the image. Absent in very old records.
    pub const IMAGE_NAME: &str = "csi.imagename";
    /// librbd's id of the image. Its presence says that the image is complete.
    pub const IMAGE_ID: &str = "csi.imageid";
    /// The name of the image that a snapshot was taken of. Snapshots only.
    pub const SOURCE: &str = "csi.source";
    /// The pool of the directory, when it is not the image's pool.
    pub const JOURNAL_POOL: &str = "csi.journalpool";
    /// The namespace of the claim.
    pub const OWNER: &str = "csi.volume.owner";
    /// The id of the key management service of an encrypted volume.
    pub const KMS_ID: &str = "csi.volume.encryptKMS";
    /// `block` or `file`, for an encrypted volume.
    pub const ENCRYPTION_TYPE: &str = "csi.volume.encryptionType";
    /// The handle of the volume group the volume belongs to.
    pub const GROUP_ID: &str = "csi.groupid";
    /// The handle of the snapshot that a CephFS volume without a subvolume shows.
    pub const BACKING_SNAPSHOT: &str = "csi.volume.backingsnapshotid";
    /// The NFS cluster that exports a CephFS volume.
    pub const NFS_CLUSTER: &str = "csi.nfs.cluster";
    /// Who is making the image: random text of one creation. Ours alone, and only while
    /// [`IMAGE_ID`] is missing: committing removes it. ceph-csi ignores it. CephFS volumes have no
    /// id: with them, one without a maker is committed.
    pub const MAKER: &str = "cuttle.maker";
    /// The handle of the volume that is being cloned, which has a snapshot for it meanwhile. Ours
    /// alone; removed by committing, as [`MAKER`] is.
    pub const CLONE_OF: &str = "cuttle.clone-of";
}

impl Kind {
    /// What every directory key begins with; the name given by the orchestrator follows.
    #[must_use]
    pub fn directory_prefix(self) -> &'static str {
        self.record_prefix()
    }

    /// The object whose omap maps orchestrator names to UUIDs: `csi.volumes.<instance>`.
    #[must_use]
    pub fn directory_object(self, instance: &InstanceId) -> String {
        match self {
            Self::Volume => format!("csi.volumes.{instance}"),
            Self::Snapshot => format!("csi.snaps.{instance}"),
        }
    }

    /// The key of a name in the directory: `csi.volume.<name>`.
    #[must_use]
    pub fn directory_key(self, name: &CoName) -> String {
        format!("{}{name}", self.directory_prefix())
    }

    /// The object whose omap is the record: `csi.volume.<uuid>`.
    #[must_use]
    pub fn record_object(self, uuid: &ObjectUuid) -> String {
        format!("{}{uuid}", self.record_prefix())
    }

    /// The key of the name the orchestrator gave.
    #[must_use]
    pub const fn name_key(self) -> &'static str {
        match self {
            Self::Volume => "csi.volname",
            Self::Snapshot => "csi.snapname",
        }
    }

    /// The name of the image when neither a class nor a record gives another.
    #[must_use]
    pub fn default_image_name(self, uuid: &ObjectUuid) -> ImageName {
        match self {
            Self::Volume => ImagePrefix::default().image_name(uuid),
            Self::Snapshot => ImagePrefix::of_snapshots().image_name(uuid),
        }
    }

    fn record_prefix(self) -> &'static str {
        match self {
            Self::Volume => "csi.volume.",
            Self::Snapshot => "csi.snap.",
        }
    }
}
