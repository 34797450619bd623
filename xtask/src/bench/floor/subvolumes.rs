//! CephFS: a subvolume with a quota, and nothing beside it.
//!
//! | Operation | Calls |
//! |---|---|
//! | create | `fs subvolume create` |
//! | delete | `fs subvolume rm` |
//! | expand | `fs subvolume resize` |

use std::path::Path;

use ceph::{FileSystem, Subvolumes};
use cuttle_model::{ByteSize, FsName, SubvolumeGroup, SubvolumeName};
use cuttle_testbed::Cluster;

use super::{Floor, connect, size_of, wrong};
use crate::Failure;
use crate::bench::contender::BYTES;
use crate::workload::Secrets;

/// Where the manager's module moves removed subvolumes before it purges them.
const TRASH: &str = "/volumes/_deleting";

/// The group in which drivers make their volumes by default.
#[derive(Debug)]
pub(crate) struct SubvolumesOfGroup {
    subvolumes: Subvolumes,
    root: FileSystem,
}

impl SubvolumesOfGroup {
    /// Connects as the administrator, whose key also sees the module's trash.
    pub(crate) fn connect(testbed: &Cluster, fs: &str) -> Result<Self, Failure> {
        let admin = Secrets {
            user: "admin".to_owned(),
            key: testbed.admin_key(),
        };
        let cluster = connect(testbed, &admin)?;
        let root = cluster.mount_file_system(fs);
        let root = root.map_err(|error| wrong(&error))?;
        let fs = FsName::new(fs).map_err(|error| wrong(&error))?;
        let group = SubvolumeGroup::new("csi").map_err(|error| wrong(&error))?;
        let made = cluster.create_subvolume_group(&fs, &group);
        made.map_err(|error| wrong(&error))?;
        Ok(Self {
            subvolumes: cluster.subvolumes(&fs, &group),
            root,
        })
    }
}

impl Floor for SubvolumesOfGroup {
    type Made = SubvolumeName;

    fn create_one(&self, name: &str) -> Result<SubvolumeName, Failure> {
        let name = SubvolumeName::new(format!("floor-{name}")).map_err(|error| wrong(&error))?;
        let size = Some(size_of(BYTES));
        let made = self.subvolumes.start_create(&name, size, None);
        let made = made.and_then(ceph::StartedCommand::wait);
        made.map_err(|error| wrong(&error))?;
        Ok(name)
    }

    fn delete_one(&self, name: &SubvolumeName) -> Result<(), Failure> {
        let removed = self.subvolumes.remove(name, false);
        removed.map_err(|error| wrong(&error))
    }

    fn expand_one(&self, name: &SubvolumeName, size: ByteSize) -> Result<(), Failure> {
        let grown = self.subvolumes.resize(name, size);
        grown.map_err(|error| wrong(&error))
    }

    fn quiet(&self, _cluster: &Cluster) -> Result<(), String> {
        let left = self.root.find_entries(Path::new(TRASH), 1);
        match left.map_err(|error| error.to_string())? {
            Some(entries) if !entries.is_empty() => Err("subvolumes are being purged".to_owned()),
            _ => Ok(()),
        }
    }
}
