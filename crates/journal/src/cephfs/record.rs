//! The record of a CephFS volume: what the omap of its `csi.volume.<uuid>` object says.

use std::collections::BTreeMap;

use cuttle_model::{CoName, ObjectUuid, SubvolumeName, SubvolumePrefix};

use crate::layout::{Kind, key};
use crate::record::{RecordError, text_of};

/// What is recorded about a CephFS volume.
///
/// Values are the raw bytes of UTF-8 text. Keys that this version does not know are left alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubvolumeRecord {
    /// The name the orchestrator gave. `None` in a record that a crash left empty.
    pub co_name: Option<CoName>,
    /// The subvolume; the default name of the UUID when the record does not say.
    pub subvolume: SubvolumeName,
    /// The namespace of the claim.
    pub owner: Option<String>,
    /// The id of the key management service, of an encrypted volume.
    pub kms_id: Option<String>,
    /// `file`, of an encrypted volume.
    pub encryption_type: Option<String>,
    /// The handle of the snapshot that the volume shows; such a volume has no subvolume.
    pub backing_snapshot: Option<String>,
    /// The NFS cluster that exports the volume, when the NFS driver made it.
    pub nfs_cluster: Option<String>,
    /// Who is making the subvolume, until it is committed.
    pub maker: Option<String>,
}

impl SubvolumeRecord {
    /// Every key a record may have.
    pub const KEYS: [&'static str; 8] = [
        Kind::Volume.name_key(),
        key::IMAGE_NAME,
        key::OWNER,
        key::KMS_ID,
        key::ENCRYPTION_TYPE,
        key::BACKING_SNAPSHOT,
        key::NFS_CLUSTER,
        key::MAKER,
    ];

    /// The record of a volume that `maker` is about to make.
    #[must_use]
    pub fn new(
        co_name: CoName,
        subvolume: SubvolumeName,
        owner: Option<String>,
        maker: String,
    ) -> Self {
        Self {
            co_name: Some(co_name),
            subvolume,
            owner,
            kms_id: None,
            encryption_type: None,
            backing_snapshot: None,
            nfs_cluster: None,
            maker: Some(maker),
        }
    }

    /// The keys and values to write.
    #[must_use]
    pub fn encode(&self) -> Vec<(&'static str, Vec<u8>)> {
        let texts = [
            (
                Kind::Volume.name_key(),
                self.co_name.as_ref().map(CoName::to_string),
            ),
            (key::IMAGE_NAME, Some(self.subvolume.to_string())),
            (key::OWNER, self.owner.clone()),
            (key::KMS_ID, self.kms_id.clone()),
            (key::ENCRYPTION_TYPE, self.encryption_type.clone()),
            (key::BACKING_SNAPSHOT, self.backing_snapshot.clone()),
            (key::NFS_CLUSTER, self.nfs_cluster.clone()),
            (key::MAKER, self.maker.clone()),
        ];
        texts
            .into_iter()
            .filter_map(|(key, text)| Some((key, text?.into_bytes())))
            .collect()
    }

    /// Reads a record. Unknown keys are ignored.
    ///
    /// # Errors
    /// When a value is no text, or not the kind of text its key stands for.
    pub fn decode(
        uuid: &ObjectUuid,
        omap: &BTreeMap<String, Vec<u8>>,
    ) -> Result<Self, RecordError> {
        let text = |key: &'static str| text_of(omap, key);
        let broken = |key: &'static str| {
            move |error: cuttle_model::NameError| RecordError {
                key,
                why: error.rule().to_owned(),
            }
        };
        let name_key = Kind::Volume.name_key();
        let co_name = text(name_key)?.map(CoName::from_record);
        let subvolume = match text(key::IMAGE_NAME)? {
            Some(name) => SubvolumeName::new(name).map_err(broken(key::IMAGE_NAME))?,
            None => SubvolumePrefix::default().subvolume_name(uuid),
        };
        Ok(Self {
            co_name: co_name.transpose().map_err(broken(name_key))?,
            subvolume,
            owner: text(key::OWNER)?,
            kms_id: text(key::KMS_ID)?,
            encryption_type: text(key::ENCRYPTION_TYPE)?,
            backing_snapshot: text(key::BACKING_SNAPSHOT)?,
            nfs_cluster: text(key::NFS_CLUSTER)?,
            maker: text(key::MAKER)?,
        })
    }
}
