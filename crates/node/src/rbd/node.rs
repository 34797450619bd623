//! The node: what its operations share.

use std::path::Path;

use ceph::Clusters;
use cuttle_host::{AbsolutePath, EntryKind, Error as HostError, Host};
use cuttle_model::ClusterId;

use crate::host_failure::HostFailure;
use crate::layout::{Layout, VolumeId};
use crate::place::PlaceError;
use crate::rbd::stash_file::StashFile;
use crate::settings::NodeSettings;

/// The node operations for RBD volumes.
///
/// # Guarantees
/// Every operation is idempotent and keeps nothing in memory: what there is, is found from the
/// stash in the staging directory, the mount table and sysfs. So a restarted plugin, or ceph-csi in
/// its place, goes on where this process ended.
///
/// # Blocking
/// All operations block. Calls that can hang on a dead mount are given up on by the deadline of
/// the calling thread's job (`cuttle_door::job`).
///
/// # Concurrency
/// The caller keeps two operations on one volume apart; those on different volumes may run at the
/// same time.
#[derive(Debug, Clone)]
pub struct RbdNode {
    pub(crate) host: Host,
    pub(crate) clusters: Clusters,
    pub(crate) settings: NodeSettings,
}

impl RbdNode {
    /// A node that does its work through this host and these connections.
    #[must_use]
    pub fn new(host: Host, clusters: Clusters, settings: NodeSettings) -> Self {
        Self {
            host,
            clusters,
            settings,
        }
    }

    /// The cluster that a staged volume is of, by the name in the configuration at that time; `None`
    /// when the staging directory does not tell. Reads the record there and asks nothing else.
    #[must_use]
    pub fn staged_from(&self, volume: &VolumeId, staging_path: &Path) -> Option<ClusterId> {
        let layout = self.layout(staging_path, volume).ok()??;
        let stash = StashFile::of(&self.host, &layout).read().ok()??;
        ClusterId::new(stash.origin?.cluster).ok()
    }

    /// The layout of a volume in a staging directory; `None` when there is no such directory.
    pub(crate) fn layout(
        &self,
        staging_path: &Path,
        volume: &VolumeId,
    ) -> Result<Option<Layout>, PlaceError> {
        let path = AbsolutePath::try_from(staging_path).map_err(PlaceError::Path)?;
        let Some(real) = self.real_path(&path)? else {
            return Ok(None);
        };
        let entry = self
            .host
            .entry(&real)
            .map_err(HostFailure::at("look at", &real))?;
        match entry.map(|entry| entry.kind) {
            None => Ok(None),
            Some(EntryKind::Directory) => {
                let layout = Layout::new(real, volume.clone()).map_err(PlaceError::Path)?;
                Ok(Some(layout))
            }
            Some(other) => Err(PlaceError::WrongKind {
                path: real,
                found: other.words(),
                expected: "a directory",
            }),
        }
    }

    /// Where a path really is; `None` when the directory it should be in does not exist.
    pub(crate) fn real_path(
        &self,
        path: &AbsolutePath,
    ) -> Result<Option<AbsolutePath>, PlaceError> {
        match self.host.real_path(path) {
            Ok(real) => Ok(Some(real)),
            Err(error) if is_nowhere(&error) => Ok(None),
            Err(source) => Err(HostFailure::at("find", path)(source).into()),
        }
    }
}

/// Whether an error says that a path's directory does not exist.
fn is_nowhere(error: &HostError) -> bool {
    error.is_absent()
}
