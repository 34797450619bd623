//! The node: what its operations on CephFS volumes share.

use std::path::Path;
use std::sync::Arc;

use ceph::Clusters;
use cuttle_host::{AbsolutePath, Host, MountTable};
use cuttle_keeper::Post;

use super::request::FsVolumeId;
use super::settings::CephfsNodeSettings;
use crate::host_failure::HostFailure;
use crate::place::PlaceError;

/// The node operations for CephFS volumes.
///
/// # Guarantees
/// Every operation is idempotent and keeps nothing in memory: what there is, is found from the
/// mount table and the keepers. So a restarted plugin goes on where this process ended.
///
/// # Blocking
/// All operations block. Calls that can hang on a dead mount are given up on by the deadline of
/// the calling thread's job (`cuttle_door::job`).
///
/// # Concurrency
/// The caller keeps two operations on one volume apart, except publishing at and unpublishing from
/// different targets; those on different volumes may run at the same time.
#[derive(Debug, Clone)]
pub struct CephfsNode {
    pub(super) host: Host,
    pub(super) clusters: Clusters,
    pub(super) settings: Arc<CephfsNodeSettings>,
}

impl CephfsNode {
    /// A node that does its work through this host and these connections.
    #[must_use]
    pub fn new(host: Host, clusters: Clusters, settings: CephfsNodeSettings) -> Self {
        Self {
            host,
            clusters,
            settings: Arc::new(settings),
        }
    }

    /// Where a path really is; `None` when the directory it should be in does not exist. The mount
    /// at the path itself is not touched.
    pub(super) fn real_path(&self, path: &Path) -> Result<Option<AbsolutePath>, PlaceError> {
        let path = AbsolutePath::try_from(path).map_err(PlaceError::Path)?;
        match self.host.real_path(&path) {
            Ok(real) => Ok(Some(real)),
            Err(error) if error.is_absent() => Ok(None),
            Err(source) => Err(HostFailure::at("find", &path)(source).into()),
        }
    }

    pub(super) fn table(&self) -> Result<MountTable, HostFailure> {
        let failed = HostFailure::at("read", "the mount table");
        self.host.mount_table().map_err(failed)
    }

    /// Where the keeper of a volume that is staged at a place is found.
    pub(super) fn post(
        &self,
        id: &FsVolumeId,
        staging: &AbsolutePath,
    ) -> Result<Post, HostFailure> {
        let directory = &self.settings.directory;
        Post::of(directory, id.as_str(), staging)
            .map_err(|error| HostFailure::at("name a file in", directory)(error.into()))
    }
}
