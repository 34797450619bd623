//! NodeGetVolumeStats: how full a volume is and whether it works.
//!
//! A volume that does not answer is no error: its condition says so. Nothing here waits longer
//! than the host's limit for looking, even on a dead mount.

use std::borrow::Cow;

use cuttle_host::{AbsolutePath, EntryKind, Error as HostError, Mount, MountTable, PathEntry};
use cuttle_model::{Class, chain};

use crate::host_failure::HostFailure;
use crate::place::PlaceError;
use crate::rbd::attach::{Found, Place, by_mounter};
use crate::rbd::node::RbdNode;
use crate::rbd::request::{Amount, Condition, Stats, Usage, VolumeStats};
use crate::rbd::staged::StagedError;
use crate::rbd::stash_file::StashFile;
use crate::rbd::unpublish::may_be_a_volume;
use crate::verdict::{Verdict, explain_by_verdict};

/// Why a volume could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum StatsError {
    /// Nothing is at the path.
    #[error("there is no volume at {path}: {why}")]
    Absent {
        /// The path.
        path: String,
        /// What is there instead.
        why: &'static str,
    },
    /// The path cannot be used.
    #[error("the path cannot be used")]
    Place(#[source] PlaceError),
    /// The staging directory could not be looked at.
    #[error("could not find where the volume is staged")]
    Staged(#[source] StagedError),
    /// A call to the host failed.
    #[error(transparent)]
    Host(#[from] HostFailure),
}

impl StatsError {
    fn verdict(&self) -> Verdict<'_> {
        match self {
            Self::Absent { .. } => Verdict::Own(1595, Class::Absent),
            Self::Place(source) => Verdict::Of(source),
            Self::Staged(source) => Verdict::Of(source),
            Self::Host(failure) => failure.verdict(),
        }
    }

    fn own_remedy(&self) -> Option<Cow<'static, str>> {
        match self {
            Self::Absent { .. } => Some(
                "publish the volume there; a pod that has ended may be asked for once more".into(),
            ),
            Self::Place(_) | Self::Staged(_) | Self::Host(_) => None,
        }
    }
}

explain_by_verdict!(StatsError);

impl RbdNode {
    /// Measures a volume and judges its condition.
    ///
    /// # Errors
    /// [`StatsError`]; a dead volume is none of them.
    pub fn stats(&self, request: &VolumeStats) -> Result<Stats, StatsError> {
        let given = request.volume_path.display().to_string();
        let absent = |why| StatsError::Absent {
            path: given.clone(),
            why,
        };
        let path = AbsolutePath::try_from(request.volume_path.as_path());
        let path = path.map_err(|error| StatsError::Place(PlaceError::Path(error)))?;
        let real = self.real_path(&path).map_err(StatsError::Place)?;
        let path = real.ok_or_else(|| absent("the path does not exist"))?;
        let table = self.host.mount_table();
        let table = table.map_err(HostFailure::at("read", "the mount table"))?;
        let path = match self.staged_below(&table, &path, request)? {
            Some(staged) => staged,
            None => path,
        };
        let entry = match self.host.entry(&path) {
            Ok(entry) => entry.ok_or_else(|| absent("the path does not exist"))?,
            Err(error) => return dead("could not be looked at", error, &path),
        };
        let mount = table.at(&path);
        let mount = mount.ok_or_else(|| absent("nothing is mounted there"))?;
        if !may_be_a_volume(mount) {
            return Err(absent("what is mounted there is no volume"));
        }
        let usage = match entry.kind {
            EntryKind::Directory => self.filesystem_usage(&path),
            EntryKind::BlockDevice(_) => self
                .host
                .block_device(&path)
                .map(|block| Usage::Block { total: block.size }),
            EntryKind::File | EntryKind::Link | EntryKind::Other => {
                return Err(absent("it is neither a directory nor a block device"));
            }
        };
        let usage = match usage {
            Ok(usage) => usage,
            Err(error) => return dead("could not be measured", error, &path),
        };
        let trouble = self.trouble(&table, mount, &path, entry, request);
        Ok(Stats {
            usage: Some(usage),
            condition: Condition {
                abnormal: trouble.is_some(),
                message: trouble.unwrap_or_else(|| "the volume answers".to_owned()),
            },
        })
    }

    /// Where the volume is mounted, if the path is its staging directory.
    fn staged_below(
        &self,
        table: &MountTable,
        path: &AbsolutePath,
        request: &VolumeStats,
    ) -> Result<Option<AbsolutePath>, StatsError> {
        if table.is_mount_point(path) {
            return Ok(None);
        }
        let layout = self.staging_at(path.as_path(), &request.id);
        let layout = layout.map_err(StatsError::Staged)?;
        Ok(layout.map(|layout| layout.mount_point))
    }

    fn filesystem_usage(&self, path: &AbsolutePath) -> Result<Usage, HostError> {
        let usage = self.host.usage(path)?;
        Ok(Usage::Filesystem {
            bytes: Amount {
                total: usage.total.bytes(),
                used: usage.used.bytes(),
                available: usage.available.bytes(),
            },
            inodes: Amount {
                total: usage.inodes,
                used: usage.inodes_used,
                available: usage.inodes_free,
            },
        })
    }

    /// What is wrong with a volume that answers all the same.
    fn trouble(
        &self,
        table: &MountTable,
        mount: &Mount,
        path: &AbsolutePath,
        entry: PathEntry,
        request: &VolumeStats,
    ) -> Option<String> {
        if mount.went_read_only() {
            return Some(format!(
                "the {} filesystem has errors and was made read-only by the kernel",
                mount.fs_type
            ));
        }
        // A mounted filesystem answers out of memory though its device is dead.
        let layout = self
            .staging_behind(table, path, entry, &request.id)
            .ok()??;
        let stash = StashFile::of(&self.host, &layout).read().ok()??;
        let place = Place {
            layout: &layout,
            stash: &stash,
        };
        let attach = by_mounter(stash.mounter, &self.host, &self.settings).ok()?;
        match attach.find(place) {
            Ok(Found::Dead(_)) => {
                Some("the process that exports the image has ended: every access fails".to_owned())
            }
            Ok(Found::Nothing | Found::Begun | Found::Whole(_)) | Err(_) => None,
        }
    }
}

/// A volume that does not answer: abnormal if that is what the error says. One that does not answer
/// in time is of no use now, but may be tomorrow.
fn dead(what: &'static str, error: HostError, path: &AbsolutePath) -> Result<Stats, StatsError> {
    if error.is_late() {
        return Ok(Stats {
            usage: None,
            condition: Condition {
                abnormal: true,
                message: format!(
                    "the volume {what} (so far); whether it has failed is not known: {}",
                    chain(&error)
                ),
            },
        });
    }
    if !error.is_dead_mount() {
        return Err(HostFailure::at("look at", path)(error).into());
    }
    Ok(Stats {
        usage: None,
        condition: Condition {
            abnormal: true,
            message: format!("the volume {what}: {}", chain(&error)),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filesystem_made_read_only_by_the_kernel_is_told_apart() {
        let mount = |options: &str, super_options: &str| {
            let line = format!("30 1 7:3 / /a {options} - ext4 /dev/loop3 {super_options}\n");
            MountTable::parse(line.as_bytes()).unwrap().mounts()[0].clone()
        };
        assert!(mount("rw,relatime", "ro,errors=remount-ro").went_read_only());
        assert!(!mount("ro,relatime", "ro").went_read_only());
        assert!(!mount("ro", "rw").went_read_only());
    }
}
