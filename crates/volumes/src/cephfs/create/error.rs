//! What can go wrong with making a volume.

use std::borrow::Cow;

use cuttle_model::{
    Class, CoName, Code, Explain, FsName, Left, PoolName, SizeError, SubvolumeGroup, SubvolumeName,
    chain,
};

use crate::cephfs::capability::Refusal;
use crate::cephfs::error::FsError;

/// Why a volume was not made.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// A step in the file system was not carried out.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// No size fits the request.
    #[error(transparent)]
    Size(#[from] SizeError),
    /// The volume could not be used as requested.
    #[error("{refusal}")]
    Capability {
        /// Why not.
        refusal: Refusal,
    },
    /// The StorageClass names another group than the one where volumes are looked for.
    #[error(
        "the StorageClass names the subvolume group \"{group}\", config.json names \"{configured}\""
    )]
    OtherGroup {
        /// That of the StorageClass.
        group: SubvolumeGroup,
        /// That of the cluster's entry.
        configured: SubvolumeGroup,
    },
    /// The pool of the StorageClass is none of the file system's.
    #[error("pool \"{pool}\" is no data pool of file system \"{fs}\"")]
    ForeignPool {
        /// The pool.
        pool: PoolName,
        /// The file system.
        fs: FsName,
        /// Its data pools.
        known: Vec<PoolName>,
    },
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
    /// The volume is made, and nobody can say with which quota.
    #[error("volume \"{name}\" is made, but could not be read back")]
    NotReadBack {
        /// The name.
        name: CoName,
        /// What failed.
        #[source]
        cause: Box<FsError>,
    },
    /// The volume is made, and the cluster reports another quota than was set, twice.
    #[error("volume \"{name}\" has quota {found} although {wanted} was set")]
    QuotaNotKept {
        /// The name.
        name: CoName,
        /// What the cluster reports.
        found: String,
        /// What was set.
        wanted: String,
    },
    /// The subvolume could not be labelled.
    #[error("could not set the metadata of subvolume {subvolume} of volume \"{name}\"")]
    Unlabelled {
        /// The volume.
        name: CoName,
        /// The subvolume.
        subvolume: SubvolumeName,
        /// What failed.
        #[source]
        cause: Box<FsError>,
    },
    /// Others kept making and deleting the same volume.
    #[error("volume \"{name}\" is being made and deleted by others at the same time")]
    Contended {
        /// The name.
        name: CoName,
    },
    /// Making failed, and what has been begun is left for the repeated request.
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
            Self::Fs(error) => error.as_ceph(),
            Self::NotReadBack { cause, .. } | Self::Unlabelled { cause, .. } => cause.as_ceph(),
            Self::Unfinished { cause, .. }
            | Self::Undone { cause, .. }
            | Self::NotUndone { cause, .. } => cause.as_ceph(),
            Self::Size(_)
            | Self::Capability { .. }
            | Self::OtherGroup { .. }
            | Self::ForeignPool { .. }
            | Self::Incompatible { .. }
            | Self::QuotaNotKept { .. }
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
            Self::Fs(error) => error.code(),
            Self::Size(error) => error.code(),
            Self::Unfinished { cause, .. }
            | Self::Undone { cause, .. }
            | Self::NotUndone { cause, .. } => cause.code(),
            Self::Capability { .. } => Code::new(1412),
            Self::Incompatible { .. } => Code::new(1413),
            Self::Contended { .. } => Code::new(1416),
            Self::Unlabelled { .. } => Code::new(1417),
            Self::QuotaNotKept { .. } | Self::NotReadBack { .. } => Code::new(1485),
            Self::ForeignPool { .. } => Code::new(1486),
            Self::OtherGroup { .. } => Code::new(1477),
        }
    }

    fn class(&self) -> Class {
        match self {
            Self::Fs(error) => error.class(),
            Self::Size(error) => error.class(),
            Self::Unfinished { cause, .. }
            | Self::Undone { cause, .. }
            | Self::NotUndone { cause, .. } => cause.class(),
            Self::NotReadBack { cause, .. } | Self::Unlabelled { cause, .. } => cause.class(),
            Self::Capability { .. } | Self::OtherGroup { .. } | Self::ForeignPool { .. } => {
                Class::Invalid
            }
            Self::Incompatible { .. } => Class::Exists,
            Self::QuotaNotKept { .. } => Class::Unmet,
            Self::Contended { .. } => Class::Busy,
        }
    }

    fn left(&self) -> Left {
        match self {
            Self::Fs(error) => error.left(),
            Self::Undone { .. } => Left::Undone,
            Self::NotReadBack { .. }
            | Self::QuotaNotKept { .. }
            | Self::Unlabelled { .. }
            | Self::Contended { .. }
            | Self::Unfinished { .. }
            | Self::NotUndone { .. } => Left::MaybeRunning,
            Self::Size(_)
            | Self::Capability { .. }
            | Self::OtherGroup { .. }
            | Self::ForeignPool { .. }
            | Self::Incompatible { .. } => Left::Nothing,
        }
    }

    fn remedy(&self) -> Option<Cow<'static, str>> {
        let text = match self {
            Self::Fs(error) => return error.remedy(),
            Self::Size(error) => return error.remedy(),
            Self::Unfinished { cause, .. }
            | Self::Undone { cause, .. }
            | Self::NotUndone { cause, .. } => return cause.remedy(),
            Self::NotReadBack { cause, .. } | Self::Unlabelled { cause, .. } => {
                return cause.remedy();
            }
            Self::Capability { .. } => {
                "use volumeMode Filesystem with ReadWriteOnce or ReadWriteMany".to_owned()
            }
            Self::OtherGroup { group, .. } => format!(
                "remove subvolumeGroup from the StorageClass, or set cephFS.subvolumeGroup of the \
                 cluster in config.json to \"{group}\": volumes are found again by the latter alone"
            ),
            Self::ForeignPool { pool, fs, known } => {
                let known: Vec<&str> = known.iter().map(PoolName::as_str).collect();
                format!(
                    "use one of {}, or run `ceph fs add_data_pool {fs} {pool}`",
                    known.join(", ")
                )
            }
            Self::Incompatible { .. } => {
                "delete the existing volume, or request the new one under another name".to_owned()
            }
            Self::QuotaNotKept { .. } => {
                "see the subvolume's bytes_quota with `ceph fs subvolume info`; somebody else may \
                 be changing it"
                    .to_owned()
            }
            Self::Contended { .. } => "the repeated request settles it".to_owned(),
        };
        Some(Cow::Owned(text))
    }
}
