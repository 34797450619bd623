//! Why a volume could not be staged.

use std::borrow::Cow;
use std::fmt;

use cuttle_host::AbsolutePath;
use cuttle_model::{AccessMode, Class, Code, Explain, Left, chain};

use crate::host_failure::HostFailure;
use crate::place::PlaceError;
use crate::rbd::attach::AttachError;
use crate::rbd::filesystem::FilesystemError;
use crate::rbd::image::ImageError;
use crate::rbd::stash_file::StashError;
use crate::rbd::take_down::TakeDownError;
use crate::verdict::{Verdict, explain_by_verdict};

/// Why a volume could not be staged.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// The staging directory cannot be used.
    #[error("the staging directory cannot be used")]
    Place(#[source] PlaceError),
    /// The stash could not be read or written.
    #[error("the staging directory's record is unusable")]
    Stash(#[source] StashError),
    /// The volume's image cannot be used.
    #[error("the volume's image cannot be staged")]
    Image(#[source] ImageError),
    /// The image could not be attached.
    #[error("could not attach the image")]
    Attach(#[source] AttachError),
    /// The filesystem could not be used.
    #[error("could not mount the volume")]
    Filesystem(#[source] FilesystemError),
    /// What an attempt before had left could not be taken down.
    #[error("could not take down what an earlier attempt has left")]
    TakeDown(#[source] TakeDownError),
    /// A call to the host failed.
    #[error(transparent)]
    Host(#[from] HostFailure),
    /// A filesystem of one machine is asked for by several writers.
    #[error("access mode {mode} is refused for a filesystem on an RBD image")]
    SharedFilesystem {
        /// The mode.
        mode: AccessMode,
    },
    /// The staging directory belongs to another image.
    #[error("{path} holds image {found}, not {wanted}")]
    OtherImage {
        /// The staging directory.
        path: AbsolutePath,
        /// The image staged there.
        found: String,
        /// The image asked for.
        wanted: String,
    },
    /// The volume is staged in another form.
    #[error("{path} shows the volume as {found}, but {wanted} is asked for")]
    StagedOtherwise {
        /// Where it is staged.
        path: AbsolutePath,
        /// Its form.
        found: String,
        /// The form asked for.
        wanted: String,
    },
    /// The device that an attempt before has attached is claimed, though nothing here shows it.
    #[error("{device} of image {image} is in use, but not mounted here: {by}")]
    Claimed {
        /// The image.
        image: String,
        /// The device.
        device: AbsolutePath,
        /// Who claims it, as far as can be told.
        by: String,
    },
    /// The image is attached and in use on this node for something else.
    #[error("image {image} is in use on this node as {device}, mounted on {places}")]
    UsedHere {
        /// The image.
        image: String,
        /// The device.
        device: AbsolutePath,
        /// Where it is mounted.
        places: String,
    },
}

impl StageError {
    fn verdict(&self) -> Verdict<'_> {
        match self {
            Self::Place(source) => source.verdict(),
            Self::Stash(source) => Verdict::Of(source),
            Self::Image(source) => source.verdict(),
            Self::Attach(source) => Verdict::Of(source),
            Self::Filesystem(source) => Verdict::Of(source),
            Self::TakeDown(source) => Verdict::Of(source),
            Self::Host(failure) => failure.verdict(),
            Self::SharedFilesystem { .. } => Verdict::Own(1570, Class::Invalid),
            Self::OtherImage { .. } => Verdict::Own(1571, Class::Unmet),
            Self::StagedOtherwise { .. } => Verdict::Own(1572, Class::Unmet),
            Self::UsedHere { .. } => Verdict::Own(1573, Class::Unmet),
            Self::Claimed { .. } => Verdict::Running(1574),
        }
    }

    fn own_remedy(&self) -> Option<Cow<'static, str>> {
        Some(match self {
            Self::Place(source) => return source.remedy(),
            Self::Image(source) => return source.remedy(),
            Self::Stash(_)
            | Self::Attach(_)
            | Self::Filesystem(_)
            | Self::TakeDown(_)
            | Self::Host(_) => return None,
            Self::SharedFilesystem { .. } => {
                "several nodes writing to one ext4 or xfs destroy it; use CephFS for \
                 ReadWriteMany, or a raw block volume (volumeMode: Block) with an application \
                 that coordinates its writers"
                    .into()
            }
            Self::OtherImage { .. } | Self::StagedOtherwise { .. } => {
                "unstage the volume (end the pods that use it on this node), then repeat the \
                 request"
                    .into()
            }
            Self::Claimed { .. } => {
                "wait until it has ended, or end the process that the message names; the request \
                 can be repeated safely"
                    .into()
            }
            Self::UsedHere { .. } => {
                "end what uses it there; on one node an image can be staged writable only once"
                    .into()
            }
        })
    }

    /// Whether work may still be going on, so that taking it down now would fight it.
    pub(crate) fn is_late(&self) -> bool {
        self.class() == Class::Late || self.left() == Left::MaybeRunning
    }
}

explain_by_verdict!(StageError);

impl From<ImageError> for StageError {
    fn from(error: ImageError) -> Self {
        Self::Image(error)
    }
}

/// A failed stage: why, and how taking down what it had made went. The undo's failure never hides
/// the first cause.
#[derive(Debug)]
pub struct StageFailure {
    error: Box<StageError>,
    left: Left,
    undo: Option<Box<TakeDownError>>,
}

impl StageFailure {
    /// A failure after which work may still be going on, so that nothing was undone.
    pub(crate) fn unfinished(error: StageError) -> Self {
        Self {
            left: Left::MaybeRunning,
            error: Box::new(error),
            undo: None,
        }
    }

    /// A failure after which everything was taken down, or could not be.
    pub(crate) fn undone(error: StageError, undo: Option<TakeDownError>) -> Self {
        let left = match undo {
            // Everything is down; an image that nothing was mounted from has no writes to lose.
            None | Some(TakeDownError::Lost { .. }) => Left::Undone,
            Some(_) => Left::MaybeRunning,
        };
        Self {
            error: Box::new(error),
            left,
            undo: undo.map(Box::new),
        }
    }

    /// Why the stage failed.
    #[must_use]
    pub fn error(&self) -> &StageError {
        &self.error
    }

    /// Why what it had made could not be taken down, if so.
    #[must_use]
    pub fn undo_error(&self) -> Option<&TakeDownError> {
        self.undo.as_deref()
    }
}

/// A failure before anything was changed.
impl From<StageError> for StageFailure {
    fn from(error: StageError) -> Self {
        Self {
            left: error.left(),
            error: Box::new(error),
            undo: None,
        }
    }
}

impl fmt::Display for StageFailure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(undo) = &self.undo {
            write!(
                out,
                "(then undoing it failed, too: {}) ",
                chain(undo.as_ref())
            )?;
        }
        self.error.fmt(out)
    }
}

impl std::error::Error for StageFailure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.source()
    }
}

impl Explain for StageFailure {
    fn code(&self) -> Code {
        self.error.code()
    }
    fn class(&self) -> Class {
        self.error.class()
    }
    fn left(&self) -> Left {
        self.left
    }
    fn remedy(&self) -> Option<Cow<'static, str>> {
        self.error.remedy()
    }
}
