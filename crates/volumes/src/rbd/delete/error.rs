//! What can go wrong with removing a volume or snapshot.

use std::borrow::Cow;

use cuttle_journal::{JournalError, LocateError};
use cuttle_model::{Class, Code, Explain, ImageId, ImageName, Left};

use crate::rbd::source::SourceError;
use crate::reach::{ReachError, class_of};

/// Why a volume was not removed.
#[derive(Debug, thiserror::Error)]
pub enum DeleteError {
    /// The cluster cannot be worked in.
    #[error(transparent)]
    Reach(#[from] ReachError),
    /// The record could not be looked up.
    #[error(transparent)]
    Locate(#[from] LocateError),
    /// The volume that an unfinished clone was to be made of could not be looked at.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The journal failed.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Clients have the image open.
    #[error("image {image} is in use by {}", .watchers.join(", "))]
    InUse {
        /// The image.
        image: ImageName,
        /// Their addresses.
        watchers: Vec<String>,
    },
    /// The volume's encryption key lies in a key store, which deleting would orphan.
    #[error("volume is encrypted with a key in key store \"{store}\", which is not supported yet")]
    Encrypted {
        /// The store's identifier.
        store: String,
    },
    /// The image has snapshots that nobody but their makers may remove.
    #[error("image {image} has the snapshots {}", .snapshots.join(", "))]
    HasSnapshots {
        /// The image.
        image: ImageName,
        /// Their names.
        snapshots: Vec<String>,
    },
    /// The image was flattened, its snapshots were not, and they have clones.
    #[error("image {image} was flattened without its snapshots, which have clones")]
    HalfFlattened {
        /// The image.
        image: ImageName,
    },
    /// Another image has the name of the one to be removed.
    #[error(
        "image {image} is another than the record's: its id is {present}, the record's {recorded}"
    )]
    Replaced {
        /// The image.
        image: ImageName,
        /// The id of the image that has the name.
        present: ImageId,
        /// The id that the record names.
        recorded: ImageId,
    },
    /// The image holds what must go first, or is being migrated.
    #[error("image {image} cannot be moved to the trash")]
    Held {
        /// The image.
        image: ImageName,
        /// Ceph's answer.
        #[source]
        source: ceph::Error,
    },
    /// The image could not be removed.
    #[error("could not remove image {image}")]
    Image {
        /// The image.
        image: ImageName,
        /// Ceph's answer.
        #[source]
        source: ceph::Error,
    },
}

impl Explain for DeleteError {
    fn code(&self) -> Code {
        match self {
            Self::Reach(error) => error.code(),
            Self::Locate(error) => error.code(),
            Self::Source(error) => error.code(),
            Self::Journal(error) => error.code(),
            Self::InUse { .. } => Code::new(1421),
            Self::Held { .. } => Code::new(1422),
            Self::Image { .. } => Code::new(1423),
            Self::Encrypted { .. } => Code::new(1424),
            Self::HasSnapshots { .. } => Code::new(1425),
            Self::HalfFlattened { .. } => Code::new(1426),
            Self::Replaced { .. } => Code::new(1444),
        }
    }

    fn class(&self) -> Class {
        match self {
            Self::Reach(error) => error.class(),
            Self::Locate(error) => error.class(),
            Self::Source(error) => error.class(),
            Self::Journal(error) => error.class(),
            Self::InUse { .. }
            | Self::HasSnapshots { .. }
            | Self::HalfFlattened { .. }
            | Self::Replaced { .. }
            | Self::Held { .. }
            | Self::Encrypted { .. } => Class::Unmet,
            Self::Image { source, .. } => class_of(source),
        }
    }

    fn left(&self) -> Left {
        match self {
            Self::Reach(error) => error.left(),
            Self::Locate(error) => error.left(),
            // Whatever failed, the volume is still known by its handle and half of it may be gone.
            Self::Journal(_) | Self::Source(_) | Self::Image { .. } => Left::MaybeRunning,
            Self::InUse { .. }
            | Self::HasSnapshots { .. }
            | Self::HalfFlattened { .. }
            | Self::Replaced { .. }
            | Self::Held { .. }
            | Self::Encrypted { .. } => Left::Nothing,
        }
    }

    fn remedy(&self) -> Option<Cow<'static, str>> {
        let text = match self {
            Self::Reach(error) => return error.remedy(),
            Self::Locate(error) => return error.remedy(),
            Self::Source(error) => return error.remedy(),
            Self::Journal(error) => return error.remedy(),
            Self::InUse { .. } => {
                "unmount the volume on these nodes; a node that died without unmounting lets go \
                 after 30 s, or when its address is fenced with `ceph osd blocklist add ADDRESS`"
                    .to_owned()
            }
            Self::HasSnapshots { image, .. } => format!(
                "they were taken by hand or by a schedule, or are being taken now: remove those \
                 that nobody needs with `rbd snap rm {image}@SNAPSHOT`, then repeat"
            ),
            Self::HalfFlattened { image } => format!(
                "removing it would take from the clones what they show: flatten these, which \
                 `rbd children --all {image}` lists, with `rbd flatten`, then repeat"
            ),
            Self::Replaced { image, .. } => format!(
                "find out with `rbd info {image}` which of the two is wanted; nothing was touched"
            ),
            Self::Held { image, .. } => format!(
                "look at `rbd status {image}` and `rbd info {image}`; a client that holds the \
                 exclusive lock, or a migration, must end first"
            ),
            Self::Image { source, .. } => return source.remedy(),
            Self::Encrypted { .. } => {
                "delete it with ceph-csi, which removes the key as well; the record stays as it is"
                    .to_owned()
            }
        };
        Some(Cow::Owned(text))
    }
}
