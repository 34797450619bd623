//! What can stand between an operation and its subvolume.

use std::borrow::Cow;

use cuttle_journal::JournalError;
use cuttle_model::{
    Class, Code, Credentials, Explain, FsId, FsName, Left, PoolName, SubvolumeGroup, SubvolumeName,
    UserId, VolumeHandle,
};

use super::place::caps_command;
use crate::reach::{ReachError, class_of};

/// Why a step in a file system was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum FsError {
    /// The cluster or file system cannot be worked in.
    #[error(transparent)]
    Reach(#[from] ReachError),
    /// The journal failed.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The handle is that of another kind of volume.
    #[error("volume {handle} is no CephFS volume")]
    NotCephfs {
        /// The handle.
        handle: Box<VolumeHandle>,
    },
    /// The user may not know of the volume's file system.
    #[error("file system number {number} is hidden from client.{user}, which sees its pool {pool}")]
    FsHidden {
        /// The file system.
        number: FsId,
        /// A pool that is its metadata pool, or another hidden file system's.
        pool: PoolName,
        /// The Ceph user.
        user: UserId,
    },
    /// The configured group of subvolumes does not exist.
    #[error("file system \"{fs}\" has no subvolume group \"{group}\"")]
    GroupMissing {
        /// The file system.
        fs: FsName,
        /// The group.
        group: SubvolumeGroup,
    },
    /// The subvolume is in another group than the configured one.
    #[error("subvolume {subvolume} is in group \"{found}\", configured is \"{configured}\"")]
    Elsewhere {
        /// The subvolume.
        subvolume: SubvolumeName,
        /// Its group.
        found: SubvolumeGroup,
        /// That of `config.json`.
        configured: SubvolumeGroup,
    },
    /// The subvolume exists and cannot be used.
    #[error("subvolume {subvolume} is in state \"{state}\"")]
    NotReady {
        /// The subvolume.
        subvolume: SubvolumeName,
        /// Its state, in the manager's word.
        state: String,
    },
    /// The manager did not answer.
    #[error("could not {doing}: the cluster's manager did not answer")]
    Silent {
        /// What was being done.
        doing: String,
        /// Ceph's answer.
        #[source]
        source: ceph::Error,
    },
    /// The manager takes no commands about subvolumes.
    #[error("could not {doing}: the manager's module \"volumes\" is not running")]
    ModuleDown {
        /// What was being done.
        doing: String,
        /// Ceph's answer.
        #[source]
        source: ceph::Error,
    },
    /// The cluster or its client cannot do this: quotas need both to be young enough.
    #[error("could not {doing}: not supported ({releases})")]
    Unsupported {
        /// What was being done.
        doing: String,
        /// The releases of the cluster's daemons and of this driver's libraries.
        releases: Box<str>,
        /// Ceph's answer.
        #[source]
        source: ceph::Error,
    },
    /// The manager refused.
    #[error("could not {doing}")]
    Failed {
        /// What was being done.
        doing: String,
        /// Ceph's answer.
        #[source]
        source: ceph::Error,
    },
}

impl FsError {
    /// The error of a failed question for the map of file systems.
    pub(super) fn asking_for_file_systems(credentials: &Credentials, source: ceph::Error) -> Self {
        let doing = "list file systems";
        if source.is_denied() {
            let user = credentials.user.clone();
            let command = caps_command(user.as_str(), "FS", "csi").into();
            return Self::Reach(ReachError::Denied {
                user,
                doing: doing.into(),
                command,
                source,
            });
        }
        Self::Reach(ReachError::Ceph {
            doing: doing.to_owned(),
            source,
        })
    }

    /// Ceph's answer, if that is what failed.
    #[must_use]
    pub fn as_ceph(&self) -> Option<&ceph::Error> {
        match self {
            Self::Reach(error) => error.as_ceph(),
            Self::Journal(error) => error.as_ceph(),
            Self::Silent { source, .. }
            | Self::ModuleDown { source, .. }
            | Self::Unsupported { source, .. }
            | Self::Failed { source, .. } => Some(source),
            Self::NotCephfs { .. }
            | Self::FsHidden { .. }
            | Self::GroupMissing { .. }
            | Self::Elsewhere { .. }
            | Self::NotReady { .. } => None,
        }
    }
}

impl Explain for FsError {
    fn code(&self) -> Code {
        match self {
            Self::Reach(error) => error.code(),
            Self::Journal(error) => error.code(),
            Self::GroupMissing { .. } => Code::new(1481),
            Self::Silent { .. } => Code::new(1482),
            Self::ModuleDown { .. } => Code::new(1483),
            Self::Unsupported { .. } => Code::new(1484),
            Self::Failed { .. } => Code::new(1487),
            Self::Elsewhere { .. } => Code::new(1488),
            Self::NotReady { .. } => Code::new(1489),
            Self::FsHidden { .. } => Code::new(1476),
            Self::NotCephfs { .. } => Code::new(1479),
        }
    }

    fn class(&self) -> Class {
        match self {
            Self::Reach(error) => error.class(),
            Self::Journal(error) => error.class(),
            Self::NotCephfs { .. } => Class::Invalid,
            Self::FsHidden { .. }
            | Self::GroupMissing { .. }
            | Self::Elsewhere { .. }
            | Self::NotReady { .. } => Class::Unmet,
            Self::Silent { .. } | Self::ModuleDown { .. } => Class::Down,
            Self::Unsupported { .. } => Class::Unsupported,
            Self::Failed { source, .. } => class_of(source),
        }
    }

    fn left(&self) -> Left {
        match self {
            Self::Reach(error) => error.left(),
            Self::Journal(error) => error.left(),
            Self::Silent { source, .. } | Self::Failed { source, .. } => source.left(),
            Self::NotCephfs { .. }
            | Self::FsHidden { .. }
            | Self::GroupMissing { .. }
            | Self::Elsewhere { .. }
            | Self::NotReady { .. }
            | Self::ModuleDown { .. }
            | Self::Unsupported { .. } => Left::Nothing,
        }
    }

    fn remedy(&self) -> Option<Cow<'static, str>> {
        let text = match self {
            Self::Reach(error) => return error.remedy(),
            Self::Journal(error) => return error.remedy(),
            Self::NotCephfs { .. } => {
                "use the driver that the PersistentVolume names in spec.csi.driver".to_owned()
            }
            Self::FsHidden { user, .. } => format!(
                "if the file system was removed, remove its pools as well; otherwise give the \
                 user its capabilities back (`ceph auth get client.{user}`)"
            ),
            Self::GroupMissing { fs, group } => format!(
                "run `ceph fs subvolumegroup create {fs} {group}`, or set \
                 cephFS.createSubvolumeGroup of the cluster in config.json to true"
            ),
            Self::Elsewhere { found, .. } => format!(
                "set cephFS.subvolumeGroup of the cluster in config.json to \"{found}\" until its \
                 volumes are gone"
            ),
            Self::NotReady { .. } => {
                "wait for the copying to end; see it with `ceph fs clone status`".to_owned()
            }
            Self::Silent { .. } => {
                "look whether a manager is active with `ceph mgr stat` and an MDS with `ceph fs \
                 status`; `ceph mgr fail` starts the module \"volumes\" anew"
                    .to_owned()
            }
            Self::ModuleDown { .. } => {
                "a manager that has just started loads it within seconds; if it stays like this, \
                 see `ceph health detail` and run `ceph mgr fail`"
                    .to_owned()
            }
            Self::Unsupported { .. } => {
                "quotas need a client and an MDS of Ceph 14 or younger on both sides, and no \
                 kernel client older than 4.17: finish the upgrade of the cluster"
                    .to_owned()
            }
            Self::Failed { source, .. } => return source.remedy(),
        };
        Some(Cow::Owned(text))
    }
}
