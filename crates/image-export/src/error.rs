//! What can go wrong with an export, as its process and its starter see it.

use std::borrow::Cow;
use std::io;
use std::time::Duration;

use cuttle_door::FromErrno;
use cuttle_model::{Class, Code, Explain, Left};

use crate::answer::class_of;
use crate::mount::MountError;
use crate::request::RequestError;

/// Why an export did not start, or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The request line was not accepted.
    #[error("the export request was not accepted")]
    Request(#[source] RequestError),
    /// The export process could not set itself up.
    #[error("could not {what}")]
    Setup {
        /// What it was doing.
        what: &'static str,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// Ceph did not let the image be opened.
    #[error("could not open image {image}")]
    Open {
        /// The image's specification.
        image: String,
        /// Ceph's answer.
        #[source]
        source: ceph::Error,
    },
    /// Another client holds the image's exclusive lock and does not give it up.
    #[error("another client holds the exclusive lock of image {image}")]
    Locked {
        /// The image's specification.
        image: String,
    },
    /// Connecting and opening took too long.
    #[error("image {image} could not be opened within {within:?}")]
    OpenTimedOut {
        /// The image's specification.
        image: String,
        /// The time that was given.
        within: Duration,
    },
    /// The file system could not be mounted.
    #[error("could not mount the export of {image}")]
    Mount {
        /// The image's specification.
        image: String,
        /// The kernel's answer.
        #[source]
        source: MountError,
    },
    /// The kernel stopped asking before the file was unmounted.
    #[error("the connection to the kernel broke")]
    Session(#[source] io::Error),
    /// Writes may be lost: the last flush failed.
    #[error("could not flush {image} at the end")]
    Flush {
        /// The image's specification.
        image: String,
        /// Ceph's answer.
        #[source]
        source: ceph::Error,
    },
    /// Writes may be lost: the last flush did not end.
    #[error("flushing {image} at the end took longer than {within:?}")]
    FlushTimedOut {
        /// The image's specification.
        image: String,
        /// The time that was given.
        within: Duration,
    },
    /// The image did not close cleanly; all writes had been flushed.
    #[error("could not close {image}")]
    Close {
        /// The image's specification.
        image: String,
        /// Ceph's answer.
        #[source]
        source: ceph::Error,
    },
    /// The image did not close in time; all writes had been flushed.
    #[error("closing {image} took longer than {within:?}")]
    CloseTimedOut {
        /// The image's specification.
        image: String,
        /// The time that was given.
        within: Duration,
    },
}

impl ExportError {
    /// The errno that stands for this error in the answer line.
    #[must_use]
    pub fn errno(&self) -> i32 {
        let errno = match self {
            Self::Request(_) => Some(libc::EINVAL),
            Self::Setup { source, .. } | Self::Session(source) => source.raw_os_error(),
            Self::Open { source, .. } | Self::Flush { source, .. } | Self::Close { source, .. } => {
                Some(source.errno().get())
            }
            Self::OpenTimedOut { .. } | Self::FlushTimedOut { .. } | Self::CloseTimedOut { .. } => {
                Some(libc::ETIMEDOUT)
            }
            Self::Locked { .. } => Some(libc::EROFS),
            Self::Mount { source, .. } => source.errno(),
        };
        errno.filter(|errno| *errno > 0).unwrap_or(libc::EIO)
    }
}

impl Explain for ExportError {
    fn code(&self) -> Code {
        Code::new(match self {
            Self::Request(_) => 1801,
            Self::Setup { .. } => 1802,
            Self::Open { .. } => 1803,
            Self::OpenTimedOut { .. } => 1804,
            Self::Mount { .. } => 1805,
            Self::Session(_) => 1806,
            Self::Flush { .. } | Self::FlushTimedOut { .. } => 1807,
            Self::Close { .. } | Self::CloseTimedOut { .. } => 1808,
            Self::Locked { .. } => 1809,
        })
    }

    fn class(&self) -> Class {
        match self {
            Self::Request(_) => Class::Bug,
            Self::Locked { .. } => Class::Unmet,
            Self::Open { source, .. } | Self::Flush { source, .. } | Self::Close { source, .. } => {
                source.class()
            }
            Self::OpenTimedOut { .. } | Self::FlushTimedOut { .. } | Self::CloseTimedOut { .. } => {
                Class::Down
            }
            Self::Mount { source, .. } => class_of(source.errno().unwrap_or(libc::EIO)),
            Self::Setup { source, .. } | Self::Session(source) => {
                class_of(source.raw_os_error().unwrap_or(libc::EIO))
            }
        }
    }

    fn left(&self) -> Left {
        match self {
            Self::Request(_)
            | Self::Setup { .. }
            | Self::Open { .. }
            | Self::Locked { .. }
            | Self::OpenTimedOut { .. }
            | Self::Mount { .. } => Left::Nothing,
            Self::Session(_)
            | Self::Flush { .. }
            | Self::FlushTimedOut { .. }
            | Self::Close { .. }
            | Self::CloseTimedOut { .. } => Left::MaybeRunning,
        }
    }

    fn remedy(&self) -> Option<Cow<'static, str>> {
        let remedy = match self {
            Self::Request(_) => return None,
            Self::Setup { .. } => "check the node's limits on threads and open files",
            Self::Open { source, .. } => return source.remedy(),
            Self::Locked { .. } => {
                "stop what uses the image there (`rbd lock ls`, `rbd status`); the lock of a client \
                 that died is taken over by itself, half a minute later"
            }
            Self::OpenTimedOut { .. } | Self::Close { .. } | Self::CloseTimedOut { .. } => {
                "check that the node reaches the cluster's monitors and OSDs"
            }
            Self::Mount { .. } => {
                "check that /dev/fuse exists in the node plugin's container and that it runs \
                 privileged"
            }
            Self::Session(_) => "unstage and stage the volume again",
            Self::Flush { .. } | Self::FlushTimedOut { .. } => {
                "check the volume's data: writes since the last successful fsync may be lost"
            }
        };
        Some(Cow::Borrowed(remedy))
    }
}
