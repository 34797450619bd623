//! What can go wrong with making a volume.

use std::borrow::Cow;

use cuttle_journal::{JournalError, LocateError};
use cuttle_model::{
    ByteSize, Class, CoName, Code, Explain, ImageId, ImageName, Left, SizeError, chain,
};

use crate::rbd::capability::Refusal;
use crate::rbd::source::SourceError;
use crate::reach::{ReachError, class_of};

/// Why a volume was not made.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// The cluster or pool cannot be worked in.
    #[error(transparent)]
    Reach(#[from] ReachError),
    /// No size fits the request.
    #[error(transparent)]
    Size(#[from] SizeError),
    /// Nothing can be taken from the source.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The source does not fit the limit.
    #[error("the source has {size}, the volume may have at most {limit}")]
    SourceTooLarge {
        /// The size of the source.
        size: ByteSize,
        /// The limit.
        limit: ByteSize,
    },
    /// The source was removed or exchanged meanwhile.
    #[error("the source image {image} was removed or replaced while a volume was made of it")]
    SourceChanged {
        /// The image.
        image: ImageName,
    },
    /// Ceph did not take the snapshot that the volume was to be made of.
    #[error("could not take a snapshot of image {image}")]
    Take {
        /// The image.
        image: ImageName,
        /// Ceph's answer.
        #[source]
        source: ceph::Error,
    },
    /// The size is beyond what the features and object size of the StorageClass allow.
    #[error("an image of {size} is beyond the largest its object map can describe ({largest})")]
    TooLarge {
        /// The size.
        size: ByteSize,
        /// The largest.
        largest: ByteSize,
    },
    /// The volume could not be used as requested.
    #[error("{refusal}")]
    Capability {
        /// Why not.
        refusal: Refusal,
    },
    /// The journal failed.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The existing volume could not be looked at.
    #[error(transparent)]
    Locate(#[from] LocateError),
    /// A volume of this name exists, and differs from the one requested.
    #[error("volume \"{name}\" exists with {property} {existing}, requested is {requested}")]
    Incompatible {
        /// The name.
        name: CoName,
        /// What differs.
        property: &'static str,
        /// What the volume has.
        existing: String,
        /// What the request wants.
        requested: String,
    },
    /// librbd did not make the image.
    #[error("could not make image {image} of {size}")]
    Image {
        /// The image.
        image: ImageName,
        /// Its size.
        size: ByteSize,
        /// Ceph's answer.
        #[source]
        source: ceph::Error,
    },
    /// The image of an existing volume has lost its header.
    #[error("image {image} (id {id}) of the existing volume \"{name}\" has no header")]
    HeaderMissing {
        /// The volume.
        name: CoName,
        /// The image.
        image: ImageName,
        /// Its id.
        id: ImageId,
    },
    /// The volume is made, but could not be labelled.
    #[error("could not set the metadata of image {image} of volume \"{name}\"")]
    Unlabelled {
        /// The volume.
        name: CoName,
        /// The image.
        image: ImageName,
        /// Ceph's answer.
        #[source]
        source: ceph::Error,
    },
    /// Others kept making and deleting the same volume.
    #[error("volume \"{name}\" is being made and deleted by others at the same time")]
    Contended {
        /// The name.
        name: CoName,
    },
    /// Making failed, and what has been begun is left for the repeated request: Ceph does not
    /// answer, it was another creation that began, or nobody can say that it still is ours.
    #[error("volume \"{name}\" is not finished")]
    Unfinished {
        /// The name.
        name: CoName,
        /// What failed.
        #[source]
        cause: Box<Self>,
    },
    /// Making failed, and what had been begun is gone again.
    #[error("volume \"{name}\" was not made, and nothing of it is left")]
    Undone {
        /// The name.
        name: CoName,
        /// What failed.
        #[source]
        cause: Box<Self>,
    },
    /// Making failed, and so did undoing it.
    #[error("volume \"{name}\" was not made, and undoing it failed as well ({})", chain(.undoing.as_ref()))]
    NotUndone {
        /// The name.
        name: CoName,
        /// What failed first.
        #[source]
        cause: Box<Self>,
        /// What failed while it was undone.
        undoing: Box<Self>,
    },
}

impl CreateError {
    /// Ceph's answer, if that is what failed.
    pub(super) fn as_ceph(&self) -> Option<&ceph::Error> {
        match self {
            Self::Reach(error) => error.as_ceph(),
            Self::Journal(error) => error.as_ceph(),
            Self::Locate(error) => error.as_ceph(),
            Self::Source(error) => error.as_ceph(),
            Self::Image { source, .. }
            | Self::Take { source, .. }
            | Self::Unlabelled { source, .. } => Some(source),
            Self::Unfinished { cause, .. }
            | Self::Undone { cause, .. }
            | Self::NotUndone { cause, .. } => cause.as_ceph(),
            Self::Size(_)
            | Self::SourceTooLarge { .. }
            | Self::SourceChanged { .. }
            | Self::TooLarge { .. }
            | Self::Capability { .. }
            | Self::Incompatible { .. }
            | Self::HeaderMissing { .. }
            | Self::Contended { .. } => None,
        }
    }

    /// The error of a creation that is left to the repeated request, as it is.
    pub(super) fn left_to_repeat(self, name: &CoName) -> Self {
        if self.left() == Left::MaybeRunning {
            self
        } else {
            Self::Unfinished {
                name: name.clone(),
                cause: Box::new(self),
            }
        }
    }

    /// The error of a volume that was begun before, if it says nothing about that already.
    pub(super) fn unfinished(self, name: &CoName) -> Self {
        if self.left() == Left::Nothing && self.as_ceph().is_some() {
            Self::Unfinished {
                name: name.clone(),
                cause: Box::new(self),
            }
        } else {
            self
        }
    }
}

impl Explain for CreateError {
    fn code(&self) -> Code {
        match self {
            Self::Reach(error) => error.code(),
            Self::Size(error) => error.code(),
            Self::Journal(error) => error.code(),
            Self::Locate(error) => error.code(),
            Self::Unfinished { cause, .. }
            | Self::Undone { cause, .. }
            | Self::NotUndone { cause, .. } => cause.code(),
            Self::Source(error) => error.code(),
            Self::SourceTooLarge { .. } => Code::new(1449),
            Self::SourceChanged { .. } => Code::new(1453),
            Self::Take { .. } => Code::new(1454),
            Self::TooLarge { .. } => Code::new(1411),
            Self::Capability { .. } => Code::new(1412),
            Self::Incompatible { .. } => Code::new(1413),
            Self::Image { .. } => Code::new(1414),
            Self::HeaderMissing { .. } => Code::new(1415),
            Self::Contended { .. } => Code::new(1416),
            Self::Unlabelled { .. } => Code::new(1417),
        }
    }

    fn class(&self) -> Class {
        match self {
            Self::Reach(error) => error.class(),
            Self::Size(error) => error.class(),
            Self::Journal(error) => error.class(),
            Self::Locate(error) => error.class(),
            Self::Unfinished { cause, .. }
            | Self::Undone { cause, .. }
            | Self::NotUndone { cause, .. } => cause.class(),
            Self::Source(error) => error.class(),
            Self::SourceTooLarge { .. } | Self::TooLarge { .. } => Class::OutOfRange,
            Self::Capability { .. } => Class::Invalid,
            Self::Incompatible { .. } => Class::Exists,
            // librbd refuses features, striping and object size with EINVAL: the StorageClass's.
            Self::Image { source, .. } if source.class() == Class::Invalid => Class::Invalid,
            Self::Image { source, .. }
            | Self::Take { source, .. }
            | Self::Unlabelled { source, .. } => class_of(source),
            Self::HeaderMissing { .. } => Class::Unmet,
            Self::SourceChanged { .. } | Self::Contended { .. } => Class::Busy,
        }
    }

    fn left(&self) -> Left {
        match self {
            Self::Reach(error) => error.left(),
            Self::Journal(error) => error.left(),
            Self::Locate(error) => error.left(),
            Self::Source(error) => error.left(),
            Self::Image { source, .. } | Self::Take { source, .. } => source.left(),
            Self::Contended { .. }
            | Self::NotUndone { .. }
            | Self::Unlabelled { .. }
            | Self::Unfinished { .. } => Left::MaybeRunning,
            Self::Undone { .. } => Left::Undone,
            Self::Size(_)
            | Self::SourceTooLarge { .. }
            | Self::SourceChanged { .. }
            | Self::TooLarge { .. }
            | Self::Capability { .. }
            | Self::Incompatible { .. }
            | Self::HeaderMissing { .. } => Left::Nothing,
        }
    }

    fn remedy(&self) -> Option<Cow<'static, str>> {
        let text = match self {
            Self::Reach(error) => return error.remedy(),
            Self::Size(error) => return error.remedy(),
            Self::Journal(error) => return error.remedy(),
            Self::Locate(error) => return error.remedy(),
            Self::Unfinished { cause, .. }
            | Self::Undone { cause, .. }
            | Self::NotUndone { cause, .. } => return cause.remedy(),
            Self::Source(error) => return error.remedy(),
            Self::SourceTooLarge { size, .. } => format!("request a limit of at least {size}"),
            Self::TooLarge { largest, .. } => format!(
                "request at most {largest}, or set a larger objectSize or imageFeatures without \
                 object-map in the StorageClass"
            ),
            Self::Capability { .. } => "change accessModes or volumeMode of the claim".to_owned(),
            Self::Incompatible { name, .. } => {
                format!("use another name, or delete the volume \"{name}\" first")
            }
            Self::Image { source, .. } if source.class() == Class::Invalid => {
                "check imageFeatures, stripeUnit, stripeCount and objectSize of the StorageClass"
                    .to_owned()
            }
            Self::Image { source, .. }
            | Self::Take { source, .. }
            | Self::Unlabelled { source, .. } => return source.remedy(),
            Self::HeaderMissing { image, id, .. } => format!(
                "data may be recoverable, so nothing was touched: look at `rbd info {image}` and \
                 the object rbd_header.{id}"
            ),
            Self::SourceChanged { .. } | Self::Contended { .. } => {
                "the repeated request settles it".to_owned()
            }
        };
        Some(Cow::Owned(text))
    }
}
