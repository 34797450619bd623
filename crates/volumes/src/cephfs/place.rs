//! One file system to work in: its journal and the configured group of subvolumes.

use std::sync::Arc;

use ceph::{Cluster, FsInfo, Subvolumes};
use cuttle_journal::{JournalError, SubvolumeJournal};
use cuttle_model::{ClusterSettings, Credentials, InstanceId, PoolName};

use super::error::FsError;
use super::whereabouts;
use crate::reach::ReachError;

/// A file system, reached with the credentials of a request.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) settings: Arc<ClusterSettings>,
    pub(crate) cluster: Cluster,
    pub(crate) fs: FsInfo,
    pub(crate) journal: SubvolumeJournal,
    pub(crate) subvolumes: Subvolumes,
    pub(crate) credentials: Credentials,
}

impl Place {
    /// Opens the journal's namespace in the metadata pool.
    pub(super) fn open(
        settings: Arc<ClusterSettings>,
        cluster: Cluster,
        fs: FsInfo,
        instance: &InstanceId,
        credentials: &Credentials,
    ) -> Result<Self, FsError> {
        let io = cluster.io(fs.metadata_pool, &settings.cephfs.namespace);
        let io = io.map_err(|source| ReachError::Ceph {
            doing: format!("open the metadata pool of file system {}", fs.name),
            source,
        })?;
        Ok(Self {
            journal: SubvolumeJournal::new(io, instance),
            subvolumes: cluster.subvolumes(&fs.name, &settings.cephfs.subvolume_group),
            settings,
            cluster,
            fs,
            credentials: credentials.clone(),
        })
    }

    /// The error of a journal operation.
    pub(super) fn journal(&self, error: JournalError) -> FsError {
        let denied = error.as_ceph().is_some_and(ceph::Error::is_denied);
        if denied && let JournalError::Ceph { doing, source } = error {
            self.denied(&doing, source).into()
        } else {
            error.into()
        }
    }

    /// The error of a command that failed while `doing`. May ask the cluster what it means.
    pub(super) fn explain(&self, doing: &str, source: ceph::Error) -> FsError {
        if source.is_denied() {
            self.denied(doing, source).into()
        } else {
            whereabouts::explain(self, doing, source)
        }
    }

    fn denied(&self, doing: &str, source: ceph::Error) -> ReachError {
        let group = &self.settings.cephfs.subvolume_group;
        let user = &self.credentials.user;
        ReachError::Denied {
            user: user.clone(),
            doing: format!("{doing} in file system {}", self.fs.name).into(),
            command: caps_command(user.as_str(), self.fs.name.as_str(), group.as_str()).into(),
            source,
        }
    }

    /// The names of the file system's data pools, those of removed pools left out.
    pub(super) fn data_pools(&self) -> Result<Vec<PoolName>, FsError> {
        let mut names = Vec::with_capacity(self.fs.data_pools.len());
        for id in &self.fs.data_pools {
            let name = self.cluster.pool_name(*id);
            names.extend(name.map_err(|source| ReachError::Ceph {
                doing: format!("look for pool number {id}"),
                source,
            })?);
        }
        Ok(names)
    }
}

/// The command that gives a user what volumes in this group need.
pub(super) fn caps_command(user: &str, fs: &str, group: &str) -> String {
    format!(
        "ceph auth caps client.{user} mon 'allow r fsname={fs}' mgr 'allow rw' \
         osd 'allow rw tag cephfs metadata={fs}, allow rw tag cephfs data={fs}' \
         mds 'allow r fsname={fs} path=/volumes, allow rws fsname={fs} path=/volumes/{group}'"
    )
}
