//! From a volume to its directory: the file system's name and the path in it.
//!
//! The journal is asked even where the volume context tells the path: it alone says that the
//! volume is encrypted, or a snapshot, which must not be mounted as plain directories. The name of
//! the file system comes from its number, so that a renamed one is found.

use std::borrow::Cow;
use std::path::Path;

use ceph::{Cluster, FsRef, SubvolumeInfo};
use cuttle_journal::{JournalError, SubvolumeJournal, SubvolumeRecord};
use cuttle_model::{
    Class, ComposedHandle, FsId, FsName, FsPath, InstanceId, SubvolumeName, ToldSubvolume,
};

use super::node::CephfsNode;
use super::request::{FsVolume, StageVolume};
use crate::verdict::{Verdict, explain_by_verdict};

/// Why a volume's directory cannot be mounted, as Ceph tells it.
#[derive(Debug, thiserror::Error)]
pub enum WhereaboutsError {
    /// The cluster cannot be connected to.
    #[error("could not connect to the cluster")]
    Connect(#[source] ceph::Error),
    /// Ceph did not answer as it should.
    #[error("could not {doing}")]
    Ceph {
        /// What was being done.
        doing: String,
        /// Ceph's answer.
        source: ceph::Error,
    },
    /// The cluster has no file system of the number in the handle.
    #[error("the cluster has no file system number {number}, or the user may not know of it")]
    FsMissing {
        /// The number.
        number: FsId,
    },
    /// The journal could not be read.
    #[error("could not read the volume's journal")]
    Journal(#[source] JournalError),
    /// The journal has no such volume: the cluster itself says so.
    #[error("the journal of file system {fs} has no such volume")]
    Absent {
        /// The file system.
        fs: FsName,
    },
    /// The subvolume cannot be mounted.
    #[error("subvolume {name} of file system {fs} {why}")]
    Unusable {
        /// The file system.
        fs: FsName,
        /// The subvolume.
        name: SubvolumeName,
        /// What is wrong with it.
        why: String,
    },
    /// The volume is encrypted.
    #[error("the volume is encrypted by ceph-csi, which is not supported yet")]
    Encrypted,
    /// The volume is a snapshot.
    #[error("the volume shows a snapshot (`backingSnapshot`), which is not supported yet")]
    Snapshot,
}

impl WhereaboutsError {
    fn verdict(&self) -> Verdict<'_> {
        match self {
            Self::Connect(source) | Self::Ceph { source, .. } => Verdict::Of(source),
            Self::Journal(source) => Verdict::Of(source),
            Self::FsMissing { .. } => Verdict::Own(1535, Class::Unmet),
            Self::Absent { .. } => Verdict::Own(1536, Class::Absent),
            Self::Unusable { .. } => Verdict::Own(1537, Class::Unmet),
            Self::Encrypted => Verdict::Own(1538, Class::Unmet),
            Self::Snapshot => Verdict::Own(1539, Class::Unmet),
        }
    }

    fn own_remedy(&self) -> Option<Cow<'static, str>> {
        Some(match self {
            Self::Connect(_) | Self::Ceph { .. } | Self::Journal(_) => return None,
            Self::FsMissing { .. } => {
                "compare `ceph fs dump` with the volume's handle and the cluster's entry in \
                 config.json; the user needs mon 'allow r'"
                    .into()
            }
            Self::Absent { .. } => {
                "compare cephFS.radosNamespace of the cluster's entry in config.json with the one \
                 of ceph-csi; a volume that was deleted can only be removed from Kubernetes"
                    .into()
            }
            Self::Unusable { .. } => {
                "see `ceph fs subvolume info`, and cephFS.subvolumeGroup of the cluster's entry in \
                 config.json"
                    .into()
            }
            Self::Encrypted | Self::Snapshot => "stage it with ceph-csi".into(),
        })
    }
}

explain_by_verdict!(WhereaboutsError);

/// What to mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Source {
    /// The file system; the cluster's default one when not given.
    pub(super) fs: Option<FsName>,
    /// The path.
    pub(super) root: FsPath,
}

/// What to mount, and where its quota can be asked for.
pub(super) struct Found {
    pub(super) source: Source,
    pub(super) subvolume: Option<Subvolume>,
}

/// A subvolume that the manager can be asked about.
pub(super) struct Subvolume {
    cluster: Cluster,
    fs: FsName,
    group: cuttle_model::SubvolumeGroup,
    name: SubvolumeName,
}

impl Subvolume {
    /// What the manager says.
    pub(super) fn info(&self) -> Result<SubvolumeInfo, WhereaboutsError> {
        let info = self
            .cluster
            .subvolumes(&self.fs, &self.group)
            .info(&self.name);
        info.map_err(|source| {
            if source.is_absent() {
                return self.unusable(format!("is not in group {}", self.group));
            }
            let doing = format!("look at subvolume {}", self.name);
            WhereaboutsError::Ceph { doing, source }
        })
    }

    fn unusable(&self, why: String) -> WhereaboutsError {
        WhereaboutsError::Unusable {
            fs: self.fs.clone(),
            name: self.name.clone(),
            why,
        }
    }

    fn path(&self) -> Result<FsPath, WhereaboutsError> {
        let info = self.info()?;
        let state = info.state.clone();
        let path = info.path.filter(|_| state == SubvolumeInfo::COMPLETE);
        path.ok_or_else(|| self.unusable(format!("is in state {state}")))
    }
}

impl CephfsNode {
    /// Finds out what to mount. A few round trips; one more, to the manager, where the volume
    /// context does not tell the path.
    pub(super) fn find(&self, request: &StageVolume) -> Result<Found, WhereaboutsError> {
        if request.is_snapshot {
            return Err(WhereaboutsError::Snapshot);
        }
        match &request.volume {
            FsVolume::Path { fs, root } => Ok(Found {
                source: Source {
                    fs: fs.clone(),
                    root: root.clone(),
                },
                subvolume: None,
            }),
            FsVolume::Provisioned { handle, told } => {
                self.find_provisioned(request, handle, told.as_ref())
            }
        }
    }

    fn find_provisioned(
        &self,
        request: &StageVolume,
        handle: &ComposedHandle,
        told: Option<&ToldSubvolume>,
    ) -> Result<Found, WhereaboutsError> {
        let settings = &request.cluster;
        let cluster = self
            .clusters
            .connect(&settings.monitors, &request.credentials);
        let cluster = cluster.map_err(WhereaboutsError::Connect)?;
        let number = FsId::new(handle.location);
        let failed = |doing: String| move |source| WhereaboutsError::Ceph { doing, source };
        let fs = cluster.file_system(FsRef::Id(number));
        let fs = fs.map_err(failed("ask for the file systems".to_owned()))?;
        let fs = fs.ok_or(WhereaboutsError::FsMissing { number })?;
        let io = cluster.io(fs.metadata_pool, &settings.cephfs.namespace);
        let doing = format!("open the metadata pool of file system {}", fs.name);
        // Records have the same names whichever instance made them.
        let journal = SubvolumeJournal::new(io.map_err(failed(doing))?, &InstanceId::default());
        let record = journal.load(&handle.uuid);
        let record = record.map_err(WhereaboutsError::Journal)?;
        let record = record.ok_or_else(|| WhereaboutsError::Absent {
            fs: fs.name.clone(),
        })?;
        refuse_special(&record)?;
        let subvolume = Subvolume {
            cluster,
            fs: fs.name.clone(),
            group: settings.cephfs.subvolume_group.clone(),
            name: record.subvolume,
        };
        let root = match told.filter(|told| agrees(told, &subvolume.name)) {
            Some(told) => told.path.clone(),
            None => subvolume.path()?,
        };
        Ok(Found {
            source: Source {
                fs: Some(fs.name),
                root,
            },
            subvolume: Some(subvolume),
        })
    }
}

fn refuse_special(record: &SubvolumeRecord) -> Result<(), WhereaboutsError> {
    if record.backing_snapshot.is_some() {
        return Err(WhereaboutsError::Snapshot);
    }
    if record.kms_id.is_some() || record.encryption_type.is_some() {
        return Err(WhereaboutsError::Encrypted);
    }
    Ok(())
}

/// Whether what the context tells is about this subvolume: its directory is below the one of its
/// name.
fn agrees(told: &ToldSubvolume, name: &SubvolumeName) -> bool {
    let is_below = Path::new(told.path.as_str())
        .components()
        .any(|part| part.as_os_str() == name.as_str());
    told.name == *name && is_below
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_told_path_counts_only_for_its_own_subvolume() {
        let name = |text: &str| SubvolumeName::new(text).unwrap();
        let told = |text: &str, path: &str| ToldSubvolume {
            name: name(text),
            path: FsPath::new(path).unwrap(),
        };
        assert!(agrees(&told("a", "/volumes/csi/a/uuid"), &name("a")));
        assert!(!agrees(&told("a", "/volumes/csi/a/uuid"), &name("b")));
        assert!(!agrees(&told("a", "/volumes/csi/ab/uuid"), &name("a")));
        assert!(!agrees(&told("a", "/"), &name("a")));
    }
}
