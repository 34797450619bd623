//! The record of a volume or snapshot: what the omap of its `csi.volume.<uuid>` or
//! `csi.snap.<uuid>` object says.

use std::collections::BTreeMap;

use cuttle_model::{CoName, ImageId, ImageName, ObjectUuid, PoolId};

use crate::entry::{parse_pool, pool_text};
use crate::layout::{Kind, key};

/// What is recorded about a volume or snapshot.
///
/// Values are the raw bytes of UTF-8 text, without length or quotes. Keys that this version does
/// not know are left alone: records are changed key by key, never rewritten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Which of the two it is of.
    pub kind: Kind,
    /// The name the orchestrator gave. `None` in a record that a crash left empty.
    pub co_name: Option<CoName>,
    /// The image; the default name of the UUID when the record does not say.
    pub image_name: ImageName,
    /// librbd's id of the image; `None` until the image is known to be complete.
    pub image_id: Option<ImageId>,
    /// The image that a snapshot was taken of; always there in a snapshot's record, never in a
    /// volume's.
    pub source: Option<ImageName>,
    /// The directory's pool, when it is not the image's.
    pub journal_pool: Option<PoolId>,
    /// The namespace of the claim.
    pub owner: Option<String>,
    /// The id of the key management service, of an encrypted volume.
    pub kms_id: Option<String>,
    /// `block` or `file`, of an encrypted volume.
    pub encryption_type: Option<String>,
    /// The handle of the volume's group.
    pub group_id: Option<String>,
    /// Who is making the image, until it is committed: only the maker may touch the image.
    pub maker: Option<String>,
    /// The handle of the volume that is being cloned, until the clone is committed.
    pub clone_of: Option<String>,
}

/// A value of a record that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("key {key} {why}")]
pub struct RecordError {
    /// The key of the value.
    pub key: &'static str,
    /// What is wrong with it.
    pub why: String,
}

impl Record {
    /// Every key a record of that kind may have.
    #[must_use]
    pub fn keys(kind: Kind) -> [&'static str; 11] {
        [
            kind.name_key(),
            key::IMAGE_NAME,
            key::IMAGE_ID,
            key::JOURNAL_POOL,
            key::OWNER,
            key::KMS_ID,
            key::ENCRYPTION_TYPE,
            key::GROUP_ID,
            key::MAKER,
            key::SOURCE,
            key::CLONE_OF,
        ]
    }

    /// The record of something that `maker` is about to make in the directory's own pool.
    #[must_use]
    pub fn new(
        kind: Kind,
        co_name: CoName,
        image_name: ImageName,
        owner: Option<String>,
        maker: String,
    ) -> Self {
        Self {
            kind,
            co_name: Some(co_name),
            image_name,
            image_id: None,
            source: None,
            journal_pool: None,
            owner,
            kms_id: None,
            encryption_type: None,
            group_id: None,
            maker: Some(maker),
            clone_of: None,
        }
    }

    /// Whether the image was complete when the record was last written.
    #[must_use]
    pub fn is_committed(&self) -> bool {
        self.image_id.is_some()
    }

    /// The keys and values to write.
    #[must_use]
    pub fn encode(&self) -> Vec<(&'static str, Vec<u8>)> {
        let texts = [
            (
                self.kind.name_key(),
                self.co_name.as_ref().map(CoName::to_string),
            ),
            (key::IMAGE_NAME, Some(self.image_name.to_string())),
            (
                key::IMAGE_ID,
                self.image_id.as_ref().map(ImageId::to_string),
            ),
            (key::JOURNAL_POOL, self.journal_pool.map(pool_text)),
            (key::OWNER, self.owner.clone()),
            (key::KMS_ID, self.kms_id.clone()),
            (key::ENCRYPTION_TYPE, self.encryption_type.clone()),
            (key::GROUP_ID, self.group_id.clone()),
            (key::MAKER, self.maker.clone()),
            (key::SOURCE, self.source.as_ref().map(ImageName::to_string)),
            (key::CLONE_OF, self.clone_of.clone()),
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
        kind: Kind,
        uuid: &ObjectUuid,
        omap: &BTreeMap<String, Vec<u8>>,
    ) -> Result<Self, RecordError> {
        let text = |key: &'static str| text_of(omap, key);
        let co_name = text(kind.name_key())?.map(CoName::from_record);
        let image_name = match text(key::IMAGE_NAME)? {
            Some(name) => ImageName::new(name),
            None => Ok(kind.default_image_name(uuid)),
        };
        let image_id = text(key::IMAGE_ID)?.map(ImageId::new);
        let journal_pool = match text(key::JOURNAL_POOL)? {
            None => None,
            Some(hex) => Some(parse_pool(&hex).ok_or_else(|| RecordError {
                key: key::JOURNAL_POOL,
                why: "is not 16 hex digits".to_owned(),
            })?),
        };
        let named = |key: &'static str| {
            move |error: cuttle_model::NameError| RecordError {
                key,
                why: error.rule().to_owned(),
            }
        };
        let source = text(key::SOURCE)?.map(ImageName::new);
        Ok(Self {
            kind,
            co_name: co_name.transpose().map_err(named(kind.name_key()))?,
            image_name: image_name.map_err(named(key::IMAGE_NAME))?,
            image_id: image_id.transpose().map_err(named(key::IMAGE_ID))?,
            source: source.transpose().map_err(named(key::SOURCE))?,
            journal_pool,
            owner: text(key::OWNER)?,
            kms_id: text(key::KMS_ID)?,
            encryption_type: text(key::ENCRYPTION_TYPE)?,
            group_id: text(key::GROUP_ID)?,
            maker: text(key::MAKER)?,
            clone_of: text(key::CLONE_OF)?,
        })
    }
}

/// The text of a key; an empty value counts as absent, as it does for ceph-csi.
pub(crate) fn text_of(
    omap: &BTreeMap<String, Vec<u8>>,
    key: &'static str,
) -> Result<Option<String>, RecordError> {
    match omap.get(key) {
        None => Ok(None),
        Some(value) if value.is_empty() => Ok(None),
        Some(value) => match str::from_utf8(value) {
            Ok(text) => Ok(Some(text.to_owned())),
            Err(error) => Err(RecordError {
                key,
                why: format!("is no text from byte {}", error.valid_up_to()),
            }),
        },
    }
}
