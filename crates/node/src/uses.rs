//! Where a block device is in use, as far as the mount table tells.

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};

use cuttle_host::{AbsolutePath, DeviceNumber, Mount, MountTable};

/// The places where a device's filesystem is mounted or its node is bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Uses(Vec<PathBuf>);

impl Uses {
    /// All uses of the device in this mount namespace.
    pub(crate) fn of(table: &MountTable, device: &AbsolutePath, number: DeviceNumber) -> Self {
        let name = device.file_name();
        let uses = table
            .mounts()
            .iter()
            .filter(|mount| mount.device == number || is_bound_node(mount, name))
            .map(|mount| mount.mount_point.clone());
        Self(uses.collect())
    }

    /// The same without the uses at `path`.
    pub(crate) fn besides(mut self, path: &AbsolutePath) -> Self {
        self.0.retain(|used| used != path.as_path());
        self
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Path> {
        self.0.iter().map(PathBuf::as_path)
    }
}

impl fmt::Display for Uses {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for path in self.iter() {
            write!(out, "{separator}{}", path.display())?;
            separator = ", ";
        }
        Ok(())
    }
}

/// Whether a mount shows the node of the device of this name: a raw block volume. `/dev` is a
/// devtmpfs on the node and a tmpfs in many containers.
fn is_bound_node(mount: &Mount, name: Option<&OsStr>) -> bool {
    let is_dev = mount.fs_type == "devtmpfs" || mount.fs_type == "tmpfs";
    let is_node = mount.root.parent() == Some(Path::new("/")) && mount.root.file_name() == name;
    is_dev && name.is_some() && is_node
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[u8] = b"\
20 1 0:5 / /dev rw - devtmpfs devtmpfs rw
30 1 7:3 / /staging/one/h rw - ext4 /dev/loop3 rw
31 1 7:3 / /pods/a rw - ext4 /dev/loop3 rw
32 1 0:5 /loop4 /staging/two/h rw - devtmpfs devtmpfs rw
33 1 0:5 /loop40 /staging/three/h rw - devtmpfs devtmpfs rw
34 1 0:44 /loop4 /pods/b rw - ext4 /dev/sda rw
";

    fn uses(device: &str, minor: u32) -> Uses {
        let table = MountTable::parse(TABLE).unwrap();
        let number = DeviceNumber { major: 7, minor };
        Uses::of(&table, &AbsolutePath::new(device).unwrap(), number)
    }

    #[test]
    fn mounts_and_bound_nodes_are_uses() {
        assert_eq!(uses("/dev/loop3", 3).to_string(), "/staging/one/h, /pods/a");
        assert_eq!(uses("/dev/loop4", 4).to_string(), "/staging/two/h");
        assert!(uses("/dev/loop5", 5).is_empty());
        let staging = AbsolutePath::new("/staging/one/h").unwrap();
        assert_eq!(
            uses("/dev/loop3", 3).besides(&staging).to_string(),
            "/pods/a"
        );
    }
}
