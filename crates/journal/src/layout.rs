//! The names of the journal's objects and keys, exactly as ceph-csi spells them.
//!
//! Changing anything here changes the format on disk: `docs/formats.md` and the fixtures under
//! `tests/fixtures` have to follow, and the old form has to stay readable.

use cuttle_model::{CoName, ImageName, ImagePrefix, InstanceId, ObjectUuid};

/// What every directory key of a volume begins with; the name given by the orchestrator follows.
pub const DIRECTORY_KEY_PREFIX: &str = "csi.volume.";

/// The keys of a volume's record.
pub mod key {
    /// The name the orchestrator gave the volume.
    pub const CO_NAME: &str = "csi.volname";
    /// The name of the image. Absent in very old records.
    pub const IMAGE_NAME: &str = "csi.imagename";
    /// librbd's id of the image. Its presence says that the image is complete.
    pub const IMAGE_ID: &str = "csi.imageid";
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
    /// Who is making the volume's image: random text of one creation. Ours alone, and only while
    /// [`IMAGE_ID`] is missing: committing removes it. ceph-csi ignores it.
    pub const MAKER: &str = "cuttle.maker";
}

/// The object whose omap maps orchestrator names to UUIDs: `csi.volumes.<instance>`.
#[must_use]
pub fn directory_object(instance: &InstanceId) -> String {
    format!("csi.volumes.{instance}")
}

/// The key of a name in the directory: `csi.volume.<name>`.
#[must_use]
pub fn directory_key(name: &CoName) -> String {
    format!("{DIRECTORY_KEY_PREFIX}{name}")
}

/// The object whose omap is the record of a volume: `csi.volume.<uuid>`.
#[must_use]
pub fn record_object(uuid: &ObjectUuid) -> String {
    format!("csi.volume.{uuid}")
}

/// The name of a volume's image when neither a StorageClass nor a record gives another.
#[must_use]
pub fn default_image_name(uuid: &ObjectUuid) -> ImageName {
    ImagePrefix::default().image_name(uuid)
}
