//! Why a share could not be made, removed or listed.

use std::borrow::Cow;
use std::path::PathBuf;

use cuttle_model::{ByteSize, Class, Code, Explain, Left, UserId};

/// Why a share could not be made, removed or listed.
#[derive(Debug, thiserror::Error)]
pub enum ShareError {
    /// Ceph did not carry out a call.
    #[error("could not {doing}")]
    Ceph {
        /// What was being done.
        doing: &'static str,
        /// Ceph's answer.
        #[source]
        source: ceph::Error,
    },
    /// The cluster has no file system.
    #[error("the cluster has no file system")]
    NoFileSystem,
    /// No directory on the way to the root says where the data of its files is.
    #[error("neither {} nor a directory above it has a layout", path.display())]
    NoLayout {
        /// The directory.
        path: PathBuf,
    },
    /// The user has capabilities that no share gives, so it belongs to something else.
    #[error("client.{user} has \"{grant}\" for {daemon}, which no share gives")]
    ForeignUser {
        /// The user.
        user: UserId,
        /// The daemon that honours the capability.
        daemon: String,
        /// The capability.
        grant: String,
    },
    /// The user's capabilities are changed by others all the time.
    #[error("the capabilities of client.{user} are being changed by others")]
    Contended {
        /// The user.
        user: UserId,
    },
    /// The file system did not take the quota over as it was set.
    #[error("{} has a quota of {found} bytes after {wanted} were set", path.display())]
    QuotaNotKept {
        /// The share.
        path: PathBuf,
        /// What was set.
        wanted: ByteSize,
        /// What was read back.
        found: ByteSize,
    },
    /// Nothing says that the directory is a share.
    #[error("{} is not empty, and nothing says that it is a share", path.display())]
    NotAShare {
        /// The directory.
        path: PathBuf,
    },
    /// The directory, or one below it, has snapshots.
    #[error("{} has snapshots", path.display())]
    HasSnapshots {
        /// The directory.
        path: PathBuf,
    },
}

impl ShareError {
    pub(super) fn ceph(doing: &'static str, source: ceph::Error) -> Self {
        Self::Ceph { doing, source }
    }
}

impl Explain for ShareError {
    fn code(&self) -> Code {
        Code::new(match self {
            Self::Ceph { .. } => 1491,
            Self::NoFileSystem => 1492,
            Self::NoLayout { .. } => 1493,
            Self::ForeignUser { .. } => 1494,
            Self::Contended { .. } => 1495,
            Self::QuotaNotKept { .. } => 1496,
            Self::NotAShare { .. } => 1497,
            Self::HasSnapshots { .. } => 1498,
        })
    }

    fn class(&self) -> Class {
        match self {
            Self::Ceph { source, .. } => source.class(),
            Self::NoFileSystem
            | Self::ForeignUser { .. }
            | Self::NotAShare { .. }
            | Self::HasSnapshots { .. } => Class::Unmet,
            Self::Contended { .. } => Class::Busy,
            Self::NoLayout { .. } | Self::QuotaNotKept { .. } => Class::Bug,
        }
    }

    fn left(&self) -> Left {
        match self {
            // These are found before anything is changed.
            Self::NoFileSystem | Self::ForeignUser { .. } | Self::NotAShare { .. } => Left::Nothing,
            Self::Ceph { .. }
            | Self::NoLayout { .. }
            | Self::Contended { .. }
            | Self::QuotaNotKept { .. }
            | Self::HasSnapshots { .. } => Left::MaybeRunning,
        }
    }

    fn remedy(&self) -> Option<Cow<'static, str>> {
        let text = match self {
            Self::Ceph { source, .. } => return source.remedy(),
            Self::NoFileSystem => "create one with `ceph fs volume create NAME`".into(),
            Self::NoLayout { .. } => "report it with the cluster's version".into(),
            Self::ForeignUser { user, .. } => format!(
                "give the share a user of its own; `ceph auth get client.{user}` shows what this \
                 one may do"
            ),
            Self::Contended { .. } => "repeat the command".into(),
            Self::QuotaNotKept { .. } => {
                "check that client and cluster support quotas (Ceph 13 and later)".into()
            }
            Self::NotAShare { path } => format!(
                "check CEPH_VOLUME_ROOT, CEPH_VOLUME_GROUP and the names; if {} is to go, remove it \
                 by hand",
                path.display()
            ),
            Self::HasSnapshots { path } => format!(
                "mount the file system, remove the directories in {}/.snap and repeat",
                path.display()
            ),
        };
        Some(Cow::Owned(text))
    }
}
