//! Shares: what the provisioner `ceph.com/cephfs` made, a directory with a quota and a user for it.
//!
//! ```text
//!  <root>/<group>/<share>          the share; ceph.quota.max_bytes, ceph.dir.layout.pool_namespace
//!  <root>/_<group>:<share>.meta    an empty file that says so
//!  <root>/_deleting/<share>        a share being removed
//!  client.<user>                   may use that directory and that RADOS namespace, nothing else
//! ```
//!
//! No journal: the directory is the record. Every step may be repeated; a create or delete that
//! was cut off is finished by its repetition, and a delete takes away half a share as well.

mod create;
mod delete;
mod error;
mod grants;
mod layout;
mod list;

use ceph::{Cluster, FileSystem};

pub use create::CreatedShare;
pub use error::ShareError;
pub use layout::SharePlace;
pub use list::{ListedShare, ShareState};

use layout::{NAMESPACE, POOL};

/// The shares of a cluster's default file system.
#[derive(Debug)]
pub struct Shares {
    cluster: Cluster,
    system: FileSystem,
    system_name: String,
    place: SharePlace,
}

impl Shares {
    /// Mounts the file system that holds the shares.
    ///
    /// # Errors
    /// [`ShareError::NoFileSystem`] when the cluster has none; otherwise Ceph's answer.
    ///
    /// # Blocking
    /// Up to the connect time-out.
    pub fn open(cluster: Cluster, place: SharePlace) -> Result<Self, ShareError> {
        let doing = |what: &'static str| move |source| ShareError::ceph(what, source);
        let system_name = cluster
            .default_file_system()
            .map_err(doing("find the file system"))?
            .ok_or(ShareError::NoFileSystem)?;
        let system = cluster
            .mount_file_system(&system_name)
            .map_err(doing("mount the file system"))?;
        Ok(Self {
            cluster,
            system,
            system_name,
            place,
        })
    }

    /// The pool and RADOS namespace that files below a directory get; `None` when there is no
    /// such directory.
    fn find_data_place(&self, path: &std::path::Path) -> Result<Option<DataPlace>, ShareError> {
        let read = |path, name| self.system.find_attribute(path, name);
        let failed = |source| ShareError::ceph("read the layout of a directory", source);
        let namespace = match read(path, NAMESPACE) {
            Ok(found) => found.filter(|namespace| !namespace.is_empty()),
            Err(error) if error.is_absent() => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        // A directory without a layout of its own has that of the nearest one above.
        for directory in path.ancestors() {
            if let Some(pool) = read(directory, POOL).map_err(failed)? {
                return Ok(Some(DataPlace { pool, namespace }));
            }
        }
        Err(ShareError::NoLayout {
            path: path.to_owned(),
        })
    }
}

/// Where the data of a directory's files is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct DataPlace {
    pool: String,
    namespace: Option<String>,
}
