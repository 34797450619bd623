//! NodeUnpublishVolume: take down what a publish has made.

use std::borrow::Cow;
use std::path::Path;

use cuttle_host::{AbsolutePath, EntryKind, Mount, MountTable};
use tracing::info;

use crate::host_failure::HostFailure;
use crate::layout::{STASH, VolumeId};
use crate::place::PlaceError;
use crate::rbd::node::RbdNode;
use crate::rbd::request::UnpublishVolume;
use crate::rbd::take_down::described;
use crate::unmounting::{UnmountError, unmount};
use crate::verdict::{Verdict, explain_by_verdict};

/// Why a volume could not be unpublished.
#[derive(Debug, thiserror::Error)]
pub enum UnpublishError {
    /// The target cannot be used.
    #[error("the target cannot be used")]
    Place(#[source] PlaceError),
    /// The target could not be unmounted.
    #[error("could not unmount the target")]
    Unmount(#[source] UnmountError),
    /// A call to the host failed.
    #[error(transparent)]
    Host(#[from] HostFailure),
}

impl UnpublishError {
    fn verdict(&self) -> Verdict<'_> {
        match self {
            Self::Place(source) => Verdict::Of(source),
            Self::Unmount(source) => Verdict::Of(source),
            Self::Host(failure) => failure.verdict(),
        }
    }

    fn own_remedy(&self) -> Option<Cow<'static, str>> {
        None
    }
}

explain_by_verdict!(UnpublishError);

impl RbdNode {
    /// Unpublishes a volume: unmounts the target and removes the empty directory or file below.
    /// What is in a directory is never removed.
    ///
    /// # Idempotency
    /// A target that does not exist is a success.
    ///
    /// # Errors
    /// [`UnpublishError`].
    pub fn unpublish(&self, request: &UnpublishVolume) -> Result<(), UnpublishError> {
        let path = AbsolutePath::try_from(request.target_path.as_path());
        let path = path.map_err(|error| UnpublishError::Place(PlaceError::Path(error)))?;
        let Some(target) = self.real_path(&path).map_err(UnpublishError::Place)? else {
            return Ok(());
        };
        let table = self.host.mount_table();
        let table = table.map_err(HostFailure::at("read", "the mount table"))?;
        self.check_no_staging(&target)?;
        if let Some(mount) = table.at(&target) {
            let other = match may_be_a_volume(mount) {
                true => self.other_volume(&table, mount, &request.id)?,
                false => Some(described(mount)),
            };
            if let Some(found) = other {
                let path = target;
                return Err(UnpublishError::Place(PlaceError::Taken { path, found }));
            }
        }
        let unmounted = unmount(&self.host, &table, &target);
        let unmounted = unmounted.map_err(UnpublishError::Unmount)?;
        let entry = self
            .host
            .entry(&target)
            .map_err(HostFailure::at("look at", &target))?;
        let Some(entry) = entry else {
            return Ok(());
        };
        let removed = match entry.kind {
            EntryKind::Directory => self.host.remove_directory(&target),
            EntryKind::File if entry.size > 0 => {
                return Err(UnpublishError::Place(PlaceError::WrongKind {
                    path: target,
                    found: "a file with content",
                    expected: "an empty file",
                }));
            }
            EntryKind::File => self.host.remove_file(&target),
            EntryKind::Link | EntryKind::BlockDevice(_) | EntryKind::Other => {
                return Err(UnpublishError::Place(PlaceError::WrongKind {
                    path: target,
                    found: entry.kind.words(),
                    expected: "a directory or a regular file",
                }));
            }
        };
        removed.map_err(HostFailure::at("remove", &target))?;
        info!(volume = %request.id, %target, taken = unmounted.taken, "unpublished");
        Ok(())
    }

    /// Which other volume a mount shows, if it is staged on this node. One that is not staged any
    /// more cannot be told.
    fn other_volume(
        &self,
        table: &MountTable,
        shown: &Mount,
        volume: &VolumeId,
    ) -> Result<Option<String>, UnpublishError> {
        let mut other = None;
        for mount in table.mounts() {
            // A bound node has the number of /dev's filesystem and the node as its root.
            let is_same = mount.device == shown.device && mount.root == shown.root;
            let (directory, name) = (mount.mount_point.parent(), mount.mount_point.file_name());
            let (true, Some(directory), Some(name)) = (is_same, directory, name) else {
                continue;
            };
            let stash = AbsolutePath::try_from(directory.join(STASH).as_path());
            let stash = stash.map_err(|error| UnpublishError::Place(PlaceError::Path(error)))?;
            let entry = self.host.entry(&stash);
            if entry.map_err(HostFailure::at("look at", &stash))?.is_none() {
                continue;
            }
            if name == volume.as_str() {
                return Ok(None);
            }
            other = Some(format!("volume {}", name.display()));
        }
        Ok(other)
    }

    /// Refuses the place where a volume is staged: unmounting that is for an unstage.
    fn check_no_staging(&self, target: &AbsolutePath) -> Result<(), UnpublishError> {
        let Some(parent) = target.parent() else {
            return Ok(());
        };
        let stash = parent.join(STASH);
        let stash = stash.map_err(|error| UnpublishError::Place(PlaceError::Path(error)))?;
        let entry = self.host.entry(&stash);
        if entry.map_err(HostFailure::at("look at", &stash))?.is_none() {
            return Ok(());
        }
        Err(UnpublishError::Place(PlaceError::WrongKind {
            path: target.clone(),
            found: "in a staging directory",
            expected: "where a volume is published",
        }))
    }
}

/// Whether a mount can be what a publish has made: the filesystem on, or the bound node of, a
/// device that images are attached as. The volume may be unstaged by force already, so it cannot be
/// compared; but a request that names `/`, `/boot`, `/proc` or `/run` is refused.
pub(crate) fn may_be_a_volume(mount: &Mount) -> bool {
    if mount.fs_type == "devtmpfs" || mount.fs_type == "tmpfs" {
        return mount.root.strip_prefix("/").is_ok_and(is_of_an_image);
    }
    // The name is whatever was told to mount(2); a filesystem without a device has no major number
    // (as btrfs, which a peer may have staged).
    let is_on_device = mount.device.major != 0 || mount.fs_type == "btrfs";
    is_on_device
        && Path::new(&mount.source)
            .strip_prefix("/dev")
            .is_ok_and(is_of_an_image)
}

/// Whether an image may be attached as the device of this name below `/dev`: by the kernel's
/// client, an export, rbd-nbd, or with LUKS on one of them.
fn is_of_an_image(device: &Path) -> bool {
    if device.starts_with("mapper") {
        return device.components().count() == 2;
    }
    let is_numbered = |name: &str, kind: &str| {
        let number = name.strip_prefix(kind);
        number.is_some_and(|number| number.parse::<u32>().is_ok())
    };
    let kinds = ["rbd", "loop", "nbd", "dm-"];
    device
        .to_str()
        .is_some_and(|name| kinds.iter().any(|kind| is_numbered(name, kind)))
}

#[cfg(test)]
mod tests {
    use cuttle_host::MountTable;

    use super::*;

    #[test]
    fn only_devices_and_their_nodes_are_unpublished() {
        let is_volume = |line: &str| {
            let table = MountTable::parse(line.as_bytes()).unwrap();
            may_be_a_volume(&table.mounts()[0])
        };
        assert!(is_volume("30 1 7:3 / /pod rw - ext4 /dev/loop3 rw"));
        assert!(is_volume("31 1 0:5 /rbd0 /pod rw - devtmpfs devtmpfs rw"));
        assert!(is_volume("31 1 0:99 /rbd0 /pod rw - tmpfs tmpfs rw"));
        assert!(is_volume(
            "30 1 253:0 / /pod rw - ext4 /dev/mapper/luks-rbd-h rw"
        ));
        assert!(is_volume("30 1 0:40 / /pod rw - btrfs /dev/rbd0 rw"));
        assert!(!is_volume("30 1 8:1 / / rw - ext4 /dev/sda1 rw"));
        assert!(!is_volume("30 1 259:1 / /boot rw - ext4 /dev/nvme0n1p1 rw"));
        assert!(!is_volume("31 1 0:5 /sda /pod rw - devtmpfs devtmpfs rw"));
        assert!(!is_volume(
            "31 1 0:20 /mapper /pod rw - devtmpfs devtmpfs rw"
        ));
        assert!(!is_volume("31 1 0:44 /sub /pod rw - nfs /dev/rbd0 rw"));
        assert!(!is_volume("32 1 0:4 / /proc rw - proc proc rw"));
        assert!(!is_volume("33 1 0:5 / /dev rw - devtmpfs devtmpfs rw"));
        assert!(!is_volume("34 1 0:7 / /run rw - tmpfs tmpfs rw"));
    }
}
