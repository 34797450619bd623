//! NodeUnpublishVolume: take down what a publish has made.

use std::borrow::Cow;

use cuttle_host::EntryKind;
use tracing::info;

use super::node::CephfsNode;
use super::request::UnpublishVolume;
use super::seen::{SeenError, described, is_cephfs, is_fuse};
use crate::host_failure::HostFailure;
use crate::place::PlaceError;
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
    /// What is mounted could not be found out.
    #[error("could not find out what is mounted")]
    Seen(#[from] SeenError),
    /// A call to the host failed.
    #[error(transparent)]
    Host(#[from] HostFailure),
}

impl UnpublishError {
    fn verdict(&self) -> Verdict<'_> {
        match self {
            Self::Place(source) => Verdict::Of(source),
            Self::Unmount(source) => Verdict::Of(source),
            Self::Seen(source) => Verdict::Of(source),
            Self::Host(failure) => failure.verdict(),
        }
    }

    fn own_remedy(&self) -> Option<Cow<'static, str>> {
        None
    }
}

explain_by_verdict!(UnpublishError);

impl CephfsNode {
    /// Unpublishes a volume: unmounts the target, dead or alive, and removes the empty directory
    /// below. What is in a directory is never removed. No cluster has to answer.
    ///
    /// # Idempotency
    /// A target that does not exist is a success.
    ///
    /// # Errors
    /// [`UnpublishError`].
    pub fn unpublish(&self, request: &UnpublishVolume) -> Result<(), UnpublishError> {
        let target = self.real_path(&request.target_path);
        let Some(target) = target.map_err(UnpublishError::Place)? else {
            return Ok(());
        };
        let table = self.table()?;
        let taken = |found| {
            let path = target.clone();
            UnpublishError::Place(PlaceError::Taken { path, found })
        };
        let mut held = None;
        if let Some(mount) = table.at(&target) {
            if !is_cephfs(mount) {
                return Err(taken(described(mount)));
            }
            if is_fuse(mount)
                && let Some(keeping) = self.keeping(&table, mount, &request.id)?
            {
                if keeping.status.volume != request.id.as_str() {
                    return Err(taken(format!("volume {}", keeping.status.volume)));
                }
                if keeping.status.mountpoint == target.to_string() {
                    return Err(UnpublishError::Place(PlaceError::WrongKind {
                        path: target,
                        found: "where the volume is staged",
                        expected: "where it is published",
                    }));
                }
                // A mount that is being healed would come back.
                held = self.hold(&keeping.post);
            }
        }
        let unmounted = unmount(&self.host, &table, &target);
        drop(held);
        let unmounted = unmounted.map_err(UnpublishError::Unmount)?;
        let entry = self.host.entry(&target);
        let entry = entry.map_err(HostFailure::at("look at", &target))?;
        match entry.map(|entry| entry.kind) {
            None => return Ok(()),
            Some(EntryKind::Directory) => {}
            Some(other) => {
                return Err(UnpublishError::Place(PlaceError::WrongKind {
                    path: target,
                    found: other.words(),
                    expected: "a directory",
                }));
            }
        }
        let removed = self.host.remove_directory(&target);
        removed.map_err(HostFailure::at("remove", &target))?;
        info!(volume = %request.id, %target, taken = unmounted.taken, "unpublished");
        Ok(())
    }
}
