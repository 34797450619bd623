//! NodeUnpublishVolume: take down what a publish has made.

use std::borrow::Cow;
use std::path::Path;

use cuttle_host::{AbsolutePath, EntryKind, Mount};
use tracing::info;

use crate::host_failure::HostFailure;
use crate::node::RbdNode;
use crate::place::PlaceError;
use crate::request::UnpublishVolume;
use crate::take_down::described;
use crate::verdict::{Verdict, explain_by_verdict};

/// Why a volume could not be unpublished.
#[derive(Debug, thiserror::Error)]
pub enum UnpublishError {
    /// The target cannot be used.
    #[error("the target cannot be used")]
    Place(#[source] PlaceError),
    /// A call to the host failed.
    #[error(transparent)]
    Host(#[from] HostFailure),
}

impl UnpublishError {
    fn verdict(&self) -> Verdict<'_> {
        match self {
            Self::Place(source) => Verdict::Of(source),
            Self::Host(failure) => failure.verdict(),
        }
    }

    fn own_remedy(&self) -> Option<Cow<'static, str>> {
        match self {
            Self::Host(failure) if failure.cause().is_busy() => Some(
                "end the processes that use the volume (`fuser -m`), then repeat the request"
                    .into(),
            ),
            Self::Host(_) | Self::Place(_) => None,
        }
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
        if let Some(mount) = table.at(&target).filter(|mount| !may_be_a_volume(mount)) {
            return Err(UnpublishError::Place(PlaceError::Taken {
                path: target,
                found: described(mount),
            }));
        }
        let unmounted = self.host.unmount(&target);
        let unmounted = unmounted.map_err(HostFailure::at("unmount", &target))?;
        let entry = self
            .host
            .entry(&target)
            .map_err(HostFailure::at("look at", &target))?;
        let Some(entry) = entry else {
            return Ok(());
        };
        let removed = match entry.kind {
            EntryKind::Directory => self.host.remove_directory(&target),
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
}

/// Whether a mount can be what a publish has made: a filesystem on a device of `/dev`, or a node
/// of `/dev` bound over a file. The volume may be unstaged by force already, so it cannot be
/// compared; but a request that names `/proc` or `/run` is refused.
fn may_be_a_volume(mount: &Mount) -> bool {
    let is_on_device = Path::new(&mount.source).starts_with("/dev");
    let is_dev = mount.fs_type == "devtmpfs" || mount.fs_type == "tmpfs";
    is_on_device || (is_dev && mount.root != Path::new("/"))
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
        assert!(!is_volume("32 1 0:4 / /proc rw - proc proc rw"));
        assert!(!is_volume("33 1 0:5 / /dev rw - devtmpfs devtmpfs rw"));
        assert!(!is_volume("34 1 0:7 / /run rw - tmpfs tmpfs rw"));
    }
}
