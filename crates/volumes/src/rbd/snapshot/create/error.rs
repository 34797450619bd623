//! What can go wrong with taking a snapshot.

use std::borrow::Cow;

use cuttle_journal::{JournalError, LocateError};
use cuttle_model::{Class, CoName, Code, Explain, ImageId, ImageName, Left, chain};

use crate::rbd::source::SourceError;
use crate::reach::{ReachError, class_of};

/// Why a snapshot was not taken.
#[derive(Debug, thiserror::Error)]
pub enum CreateSnapshotError {
    /// Nothing can be taken from the volume.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The pool cannot be worked in.
    #[error(transparent)]
    Reach(#[from] ReachError),
    /// The journal failed.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The existing snapshot could not be looked at.
    #[error(transparent)]
    Locate(#[from] LocateError),
    /// A snapshot of this name exists, of another volume.
    #[error("snapshot \"{name}\" exists and is of {of}, requested is one of image {requested}")]
    Exists {
        /// The name.
        name: CoName,
        /// What it is of.
        of: String,
        /// The image it was to be of.
        requested: ImageName,
    },
    /// The volume's image was removed or exchanged meanwhile.
    #[error("image {image} was removed or replaced while a snapshot of it was taken")]
    SourceChanged {
        /// The image.
        image: ImageName,
    },
    /// Ceph did not take the snapshot of the volume.
    #[error("could not take a snapshot of image {image}")]
    Take {
        /// The image.
        image: ImageName,
        /// Ceph's answer.
        #[source]
        source: ceph::Error,
    },
    /// Ceph did not make the snapshot's image.
    #[error("could not make image {image} of the snapshot")]
    Image {
        /// The image.
        image: ImageName,
        /// Ceph's answer.
        #[source]
        source: ceph::Error,
    },
    /// The image of an existing snapshot has lost its header.
    #[error("image {image} (id {id}) of the existing snapshot \"{name}\" has no header")]
    HeaderMissing {
        /// The snapshot.
        name: CoName,
        /// The image.
        image: ImageName,
        /// Its id.
        id: ImageId,
    },
    /// Another image has the name of the existing snapshot's.
    #[error(
        "image {image} is not that of snapshot \"{name}\": its id is {present}, the record's {recorded}"
    )]
    Replaced {
        /// The snapshot.
        name: CoName,
        /// The image.
        image: ImageName,
        /// The id of the image that has the name.
        present: ImageId,
        /// The id that the record names.
        recorded: ImageId,
    },
    /// Others kept making and deleting the same snapshot.
    #[error("snapshot \"{name}\" is being taken and deleted by others at the same time")]
    Contended {
        /// The name.
        name: CoName,
    },
    /// It failed, and what has been begun is left for the repeated request.
    #[error("snapshot \"{name}\" is not finished")]
    Unfinished {
        /// The name.
        name: CoName,
        /// What failed.
        #[source]
        cause: Box<Self>,
    },
    /// It failed, and what had been begun is gone again.
    #[error("snapshot \"{name}\" was not taken, and nothing of it is left")]
    Undone {
        /// The name.
        name: CoName,
        /// What failed.
        #[source]
        cause: Box<Self>,
    },
    /// It failed, and so did undoing it.
    #[error("snapshot \"{name}\" was not taken, and undoing it failed as well ({})", chain(.undoing.as_ref()))]
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

impl CreateSnapshotError {
    /// Ceph's answer, if that is what failed.
    pub(super) fn as_ceph(&self) -> Option<&ceph::Error> {
        match self {
            Self::Source(error) => error.as_ceph(),
            Self::Reach(error) => error.as_ceph(),
            Self::Journal(error) => error.as_ceph(),
            Self::Locate(error) => error.as_ceph(),
            Self::Take { source, .. } | Self::Image { source, .. } => Some(source),
            Self::Unfinished { cause, .. }
            | Self::Undone { cause, .. }
            | Self::NotUndone { cause, .. } => cause.as_ceph(),
            Self::Exists { .. }
            | Self::SourceChanged { .. }
            | Self::HeaderMissing { .. }
            | Self::Replaced { .. }
            | Self::Contended { .. } => None,
        }
    }

    /// The error of a creation that is left to the repeated request, as it is.
    pub(super) fn left_to_repeat(self, name: &CoName) -> Self {
        if self.left() == Left::MaybeRunning {
            return self;
        }
        Self::Unfinished {
            name: name.clone(),
            cause: Box::new(self),
        }
    }

    /// The error of a snapshot that was begun before, if it says nothing about that already.
    pub(super) fn unfinished(self, name: &CoName) -> Self {
        if self.left() == Left::Nothing && self.as_ceph().is_some() {
            self.left_to_repeat(name)
        } else {
            self
        }
    }
}

impl Explain for CreateSnapshotError {
    fn code(&self) -> Code {
        match self {
            Self::Source(error) => error.code(),
            Self::Reach(error) => error.code(),
            Self::Journal(error) => error.code(),
            Self::Locate(error) => error.code(),
            Self::Unfinished { cause, .. }
            | Self::Undone { cause, .. }
            | Self::NotUndone { cause, .. } => cause.code(),
            Self::Exists { .. } => Code::new(1452),
            Self::SourceChanged { .. } => Code::new(1453),
            Self::Take { .. } => Code::new(1454),
            Self::Image { .. } => Code::new(1455),
            Self::HeaderMissing { .. } => Code::new(1456),
            Self::Replaced { .. } => Code::new(1444),
            Self::Contended { .. } => Code::new(1416),
        }
    }

    fn class(&self) -> Class {
        match self {
            Self::Source(error) => error.class(),
            Self::Reach(error) => error.class(),
            Self::Journal(error) => error.class(),
            Self::Locate(error) => error.class(),
            Self::Unfinished { cause, .. }
            | Self::Undone { cause, .. }
            | Self::NotUndone { cause, .. } => cause.class(),
            Self::Exists { .. } => Class::Exists,
            // librbd refuses to change the copy of a mirrored image.
            Self::Take { source, .. } if source.errno().get() == libc::EROFS => Class::Unmet,
            // The image's own limit (`rbd snap limit set`).
            Self::Take { source, .. } if source.errno().get() == libc::EDQUOT => Class::Full,
            Self::Take { source, .. } | Self::Image { source, .. } => class_of(source),
            Self::HeaderMissing { .. } | Self::Replaced { .. } => Class::Unmet,
            Self::SourceChanged { .. } | Self::Contended { .. } => Class::Busy,
        }
    }

    fn left(&self) -> Left {
        match self {
            Self::Source(error) => error.left(),
            Self::Reach(error) => error.left(),
            Self::Journal(error) => error.left(),
            Self::Locate(error) => error.left(),
            Self::Take { source, .. } | Self::Image { source, .. } => source.left(),
            Self::Contended { .. } | Self::NotUndone { .. } | Self::Unfinished { .. } => {
                Left::MaybeRunning
            }
            Self::Undone { .. } => Left::Undone,
            Self::Exists { .. }
            | Self::SourceChanged { .. }
            | Self::HeaderMissing { .. }
            | Self::Replaced { .. } => Left::Nothing,
        }
    }

    fn remedy(&self) -> Option<Cow<'static, str>> {
        let text = match self {
            Self::Source(error) => return error.remedy(),
            Self::Reach(error) => return error.remedy(),
            Self::Journal(error) => return error.remedy(),
            Self::Locate(error) => return error.remedy(),
            Self::Unfinished { cause, .. }
            | Self::Undone { cause, .. }
            | Self::NotUndone { cause, .. } => return cause.remedy(),
            Self::Exists { name, .. } => {
                format!("use another name, or delete the snapshot \"{name}\" first")
            }
            Self::Take { image, source } if source.errno().get() == libc::EROFS => {
                format!("image {image} is the copy of a mirrored image: promote it first")
            }
            Self::Take { image, source } if source.errno().get() == libc::EDQUOT => format!(
                "delete snapshots, or raise the image's own limit with `rbd snap limit set {image}`"
            ),
            Self::Take { source, .. } | Self::Image { source, .. } => return source.remedy(),
            Self::HeaderMissing { image, id, .. } => format!(
                "data may be recoverable, so nothing was touched: look at `rbd info {image}` and \
                 the object rbd_header.{id}"
            ),
            Self::Replaced { image, .. } => format!(
                "find out with `rbd info {image}` which of the two is wanted; nothing was touched"
            ),
            Self::SourceChanged { .. } | Self::Contended { .. } => {
                "the repeated request settles it".to_owned()
            }
        };
        Some(Cow::Owned(text))
    }
}
