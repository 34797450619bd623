//! NodeUnstageVolume: take the mount at the staging path down, and see ceph-fuse to its end.

use std::borrow::Cow;
use std::path::PathBuf;
use std::time::Duration;

use cuttle_host::{AbsolutePath, DeviceNumber, Mount, MountTable};
use cuttle_keeper::{ContactError, Question};
use cuttle_model::{Class, chain};
use tracing::{info, warn};

use super::node::CephfsNode;
use super::request::{FsVolumeId, UnstageVolume};
use super::seen::{Held, described, is_cephfs};
use crate::host_failure::HostFailure;
use crate::place::PlaceError;
use crate::unmounting::{UnmountError, unmount};
use crate::verdict::{Verdict, explain_by_verdict};

/// Why a volume could not be unstaged.
#[derive(Debug, thiserror::Error)]
pub enum UnstageError {
    /// The staging path cannot be used.
    #[error("the staging path cannot be used")]
    Place(#[source] PlaceError),
    /// The volume is still published.
    #[error("the volume is still in use: it is mounted on {places}")]
    StillPublished {
        /// Where.
        places: String,
    },
    /// The mount could not be taken down.
    #[error("could not unmount the volume")]
    Unmount(#[source] UnmountError),
    /// ceph-fuse is still there.
    #[error("{path} is unmounted, but ceph-fuse has not ended yet: it hands back what it holds")]
    ClientStays {
        /// The staging path.
        path: AbsolutePath,
    },
    /// A call to the host failed.
    #[error(transparent)]
    Host(#[from] HostFailure),
}

impl UnstageError {
    fn verdict(&self) -> Verdict<'_> {
        match self {
            Self::Place(source) => Verdict::Of(source),
            Self::StillPublished { .. } => Verdict::Own(1556, Class::Unmet),
            Self::Unmount(source) => Verdict::Of(source),
            Self::ClientStays { .. } => Verdict::Running(1557),
            Self::Host(failure) => failure.verdict(),
        }
    }

    fn own_remedy(&self) -> Option<Cow<'static, str>> {
        Some(match self {
            Self::StillPublished { .. } => {
                "unpublish the volume there (or unmount it by hand), then repeat the request".into()
            }
            Self::ClientStays { .. } => {
                "repeat the request; if it stays so, see `ceph fs status`: the MDS or the OSDs may \
                 not answer"
                    .into()
            }
            Self::Place(_) | Self::Unmount(_) | Self::Host(_) => return None,
        })
    }
}

explain_by_verdict!(UnstageError);

impl CephfsNode {
    /// Unstages a volume, using neither Ceph nor secrets, and removes the record with secrets that
    /// ceph-csi may have left of it.
    ///
    /// # Idempotency
    /// Succeeds when nothing is there. After a failure or crash at any point a repeat goes on.
    ///
    /// # Errors
    /// [`UnstageError`]. While MDS or OSDs do not answer, ceph-fuse cannot end: the request is
    /// given up on, and a repeat finishes it.
    pub fn unstage(&self, request: &UnstageVolume) -> Result<(), UnstageError> {
        let staging = self.real_path(&request.staging_path);
        let Some(staging) = staging.map_err(UnstageError::Place)? else {
            return self.forget_record(&request.id);
        };
        let post = self.post(&request.id, &staging)?;
        let told = self.told(&post)?;
        let held = self.hold(&post);
        let table = self.table()?;
        if let Some(mount) = table.at(&staging)
            && !is_cephfs(mount)
        {
            return Err(UnstageError::Place(PlaceError::Taken {
                path: staging,
                found: described(mount),
            }));
        }
        let dead = held.as_ref().map_or(&[][..], |held| &held.status.dead);
        check_unused(&table, &staging, dead)?;
        unmount(&self.host, &table, &staging).map_err(UnstageError::Unmount)?;
        let limit = Self::within(self.settings.patience.end);
        let stays = || UnstageError::ClientStays {
            path: staging.clone(),
        };
        match (held, told) {
            (Some(held), _) => match end(held, limit) {
                Ok(true) => {}
                Ok(false) => return Err(stays()),
                Err(error) => {
                    warn!(error = chain(&error), "could not wait for the keeper's end");
                    return Err(stays());
                }
            },
            (None, Some(told)) => {
                // Its keeper has died before it.
                if let Some(client) = told.client {
                    let failed = |doing| HostFailure::at(doing, client.pid);
                    let runs = self.host.is_running(client.into());
                    if runs.map_err(failed("look for process"))? {
                        let gone = self.host.wait_process_gone(client.pid, limit);
                        if !gone.map_err(failed("wait for process"))? {
                            return Err(stays());
                        }
                    }
                }
                self.clear(&post);
            }
            (None, None) => {}
        }
        self.forget_record(&request.id)?;
        info!(volume = %request.id, %staging, "unstaged");
        Ok(())
    }

    /// Removes ceph-csi's record of a staged volume: it has the cluster's secrets in clear.
    fn forget_record(&self, id: &FsVolumeId) -> Result<(), UnstageError> {
        let Ok(path) = self.settings.directory.join(record_name(id)) else {
            // Nothing can be named so.
            return Ok(());
        };
        let removed = self.host.remove_file(&path);
        removed.map_err(HostFailure::at("remove", &path))?;
        Ok(())
    }
}

/// Sees a keeper to its end. One whose mount is dead would try to bring it back.
fn end(held: Held, limit: Duration) -> Result<bool, ContactError> {
    let mut contact = held.contact;
    match contact.ask(Question::Retire) {
        Ok(_status) => contact.wait_end(limit),
        Err(ContactError::Ended) => Ok(true),
        Err(error) => Err(error),
    }
}

/// The name of ceph-csi's record in its directory.
fn record_name(id: &FsVolumeId) -> String {
    format!("nodestage-{id}.json")
}

/// Refuses to take down what is published still: the file system at the staging path, or one that
/// died there.
fn check_unused(
    table: &MountTable,
    staging: &AbsolutePath,
    dead: &[DeviceNumber],
) -> Result<(), UnstageError> {
    let here = table.at(staging).map(|mount| mount.device);
    let devices: Vec<DeviceNumber> = here.into_iter().chain(dead.iter().copied()).collect();
    // One that is covered by another serves nobody.
    let is_top = |mount: &Mount| {
        let top = table.at(&mount.mount_point);
        top.is_some_and(|top| top.id == mount.id)
    };
    let others: Vec<PathBuf> = table
        .mounts()
        .iter()
        .filter(|mount| devices.contains(&mount.device) && is_top(mount))
        .map(|mount| mount.mount_point.clone())
        .filter(|path| path != staging.as_path())
        .collect();
    if others.is_empty() {
        return Ok(());
    }
    let places: Vec<String> = others
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    Err(UnstageError::StillPublished {
        places: places.join(", "),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_is_in_use_where_it_is_seen_besides_its_staging_path() {
        let dead = [DeviceNumber {
            major: 0,
            minor: 39,
        }];
        let check = |text: &str| {
            let table = MountTable::parse(text.as_bytes()).unwrap();
            check_unused(&table, &AbsolutePath::new("/staging").unwrap(), &dead)
        };
        let staged = "30 1 0:40 / /staging rw - fuse.ceph-fuse ceph-fuse rw\n";
        check(staged).unwrap();
        check(&format!(
            "{staged}31 1 0:41 / /pod rw - fuse.ceph-fuse ceph-fuse rw\n"
        ))
        .unwrap();
        let used = format!("{staged}31 1 0:40 / /pod rw - fuse.ceph-fuse ceph-fuse rw\n");
        let error = check(&used).unwrap_err();
        assert!(error.to_string().contains("/pod"), "{error}");
        let died = used.replace("31 1 0:40", "31 1 0:39");
        check(&died).unwrap_err();
    }
}
