//! NodePublishVolume: make a staged volume visible where a container expects it.

use std::borrow::Cow;

use cuttle_door::FromErrno;
use cuttle_host::{
    AbsolutePath, BindMount, DeviceNumber, EntryKind, Error as HostError, Mount, MountTable,
    OptionRefused,
};
use cuttle_model::{Access, Class};
use tracing::info;

use crate::host_failure::HostFailure;
use crate::layout::Layout;
use crate::mount_plan::publishing_options;
use crate::place::PlaceError;
use crate::rbd::attach::{AttachError, Found, Place, by_mounter};
use crate::rbd::node::RbdNode;
use crate::rbd::request::PublishVolume;
use crate::rbd::stash_file::{StashError, StashFile};
use crate::rbd::take_down::{TakeDownError, bound_device, described, shows};
use crate::verdict::{Verdict, explain_by_verdict};

/// Why a volume could not be published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The volume is not staged.
    #[error("volume is not staged in {path}: {why}")]
    NotStaged {
        /// The staging directory.
        path: String,
        /// What is missing or what is there instead.
        why: String,
    },
    /// The volume is staged, but what serves it has died.
    #[error("the volume staged in {path} is dead: what serves its device has ended")]
    Dead {
        /// The staging directory.
        path: String,
    },
    /// The volume is staged in the other form.
    #[error("the volume is staged as {found}, but {wanted} is asked for")]
    StagedOtherwise {
        /// Its form.
        found: &'static str,
        /// The form asked for.
        wanted: &'static str,
    },
    /// It is published there already, but not as asked.
    #[error("{path} shows the volume already, {found}, but {wanted} is asked for")]
    PublishedOtherwise {
        /// The target.
        path: AbsolutePath,
        /// How it is published.
        found: &'static str,
        /// How it should be.
        wanted: &'static str,
    },
    /// A writable block device is to be shown for reading only.
    #[error(
        "the volume is staged as a writable block device, which a read-only mount does not protect"
    )]
    WritableDevice,
    /// A path cannot be used.
    #[error("the path cannot be used")]
    Place(#[source] PlaceError),
    /// A mount flag cannot be used.
    #[error("mount flags cannot be used")]
    Flag(#[source] OptionRefused),
    /// The stash could not be read.
    #[error("the staging directory's record is unusable")]
    Stash(#[source] StashError),
    /// What is attached could not be found out.
    #[error("could not find out what is staged")]
    Attach(#[source] AttachError),
    /// What is mounted could not be found out.
    #[error("could not find out what is mounted")]
    Mounted(#[source] TakeDownError),
    /// A call to the host failed.
    #[error(transparent)]
    Host(#[from] HostFailure),
}

impl PublishError {
    fn verdict(&self) -> Verdict<'_> {
        match self {
            Self::NotStaged { .. } => Verdict::Own(1580, Class::Unmet),
            Self::Dead { .. } => Verdict::Own(1581, Class::Unmet),
            Self::StagedOtherwise { .. } => Verdict::Own(1582, Class::Unmet),
            Self::PublishedOtherwise { .. } => Verdict::Own(1583, Class::Unmet),
            Self::Flag(_) => Verdict::Own(1584, Class::Invalid),
            Self::WritableDevice => Verdict::Own(1585, Class::Unmet),
            Self::Place(source) => Verdict::Of(source),
            Self::Stash(source) => Verdict::Of(source),
            Self::Attach(source) => Verdict::Of(source),
            Self::Mounted(source) => Verdict::Of(source),
            Self::Host(failure) => failure.verdict(),
        }
    }

    fn own_remedy(&self) -> Option<Cow<'static, str>> {
        Some(match self {
            Self::NotStaged { .. } => "stage the volume first".into(),
            Self::Dead { .. } => {
                "end the pods that use the volume on this node, so that it is unstaged and staged \
                 again"
                    .into()
            }
            Self::StagedOtherwise { .. } | Self::PublishedOtherwise { .. } => {
                "unpublish (and unstage) the volume, then repeat the request".into()
            }
            Self::WritableDevice => {
                "use the access mode ReadOnlyMany, with which the device itself refuses writes, or \
                 take `readOnly` from the pod's volume"
                    .into()
            }
            Self::Flag(_) => "correct mountOptions in the StorageClass or PersistentVolume".into(),
            Self::Place(_)
            | Self::Stash(_)
            | Self::Attach(_)
            | Self::Mounted(_)
            | Self::Host(_) => return None,
        })
    }
}

explain_by_verdict!(PublishError);

/// A volume as it is staged.
struct Staged {
    /// The mount in the staging directory.
    mount: Mount,
    device: DeviceNumber,
    is_block: bool,
    /// Whether the device itself refuses writes.
    device_is_read_only: bool,
    /// Whether its mount or its device refuses writes.
    read_only: bool,
}

impl RbdNode {
    /// Publishes a staged volume.
    ///
    /// # Guarantees
    /// That the staging directory really shows this volume is checked. A filesystem's read-only
    /// use is never writable, not for an instant. A read-only mount of a device's node does not
    /// stop writes to the device, so a read-only use of a raw block volume is refused unless the
    /// device itself refuses writes.
    ///
    /// # Idempotency
    /// A target that shows the volume as asked is a success.
    ///
    /// # Errors
    /// [`PublishError`]; a directory or file made for the target is removed again.
    pub fn publish(&self, request: &PublishVolume) -> Result<(), PublishError> {
        let wants_block = request.capability.is_block();
        let flags: &[String] = match &request.capability.access {
            Access::Block => &[],
            Access::Filesystem { mount_flags, .. } => mount_flags,
        };
        let read_only = request.read_only || request.capability.is_read_only();
        let options = publishing_options(flags, read_only).map_err(PublishError::Flag)?;
        let not_staged = |why: &str| PublishError::NotStaged {
            path: request.staging_path.display().to_string(),
            why: why.to_owned(),
        };
        let layout = self
            .layout(&request.staging_path, &request.id)
            .map_err(PublishError::Place)?;
        let layout = layout.ok_or_else(|| not_staged("the directory does not exist"))?;
        let table = self.publish_table()?;
        let staged = self.staged(&layout, &table)?;
        if staged.is_block != wants_block {
            let words = |is_block| {
                if is_block {
                    "a block device"
                } else {
                    "a filesystem"
                }
            };
            let (found, wanted) = (words(staged.is_block), words(wants_block));
            return Err(PublishError::StagedOtherwise { found, wanted });
        }
        if staged.is_block && options.is_read_only() && !staged.device_is_read_only {
            return Err(PublishError::WritableDevice);
        }
        let mut parents = Vec::new();
        let target = match self.target(request, &mut parents) {
            Ok(target) => target,
            Err(error) => {
                self.remove_parents(&parents);
                return Err(error);
            }
        };
        if let Some(mount) = table.at(&target) {
            return self.check_published(mount, &target, &staged, options.is_read_only());
        }
        let made = match self.make_target(&target, wants_block) {
            Ok(made) => made,
            Err(error) => {
                self.remove_parents(&parents);
                return Err(error);
            }
        };
        let bind = BindMount {
            source: &layout.mount_point,
            seen: Some(&staged.mount),
            target: &target,
            options: &options,
        };
        let bound = self
            .host
            .bind(&bind)
            .map_err(HostFailure::at("bind the volume to", &target));
        match bound {
            Ok(()) => {
                info!(volume = %request.id, %target, "published");
                Ok(())
            }
            Err(error) => {
                let is_late = error.cause().is_late();
                if made && !is_late {
                    self.remove_made(&target, wants_block);
                    self.remove_parents(&parents);
                }
                if matches!(error.cause(), HostError::MountChanged { .. }) {
                    return Err(not_staged("it was just unmounted"));
                }
                Err(error.into())
            }
        }
    }

    fn publish_table(&self) -> Result<MountTable, PublishError> {
        let failed = HostFailure::at("read", "the mount table");
        Ok(self.host.mount_table().map_err(failed)?)
    }

    /// Finds out whether the staging directory really shows this volume, and how.
    fn staged(&self, layout: &Layout, table: &MountTable) -> Result<Staged, PublishError> {
        let not_staged = |why: String| PublishError::NotStaged {
            path: layout.root.to_string(),
            why,
        };
        let stash = StashFile::of(&self.host, layout)
            .read()
            .map_err(PublishError::Stash)?;
        let stash = stash.ok_or_else(|| not_staged("there is no record of it".to_owned()))?;
        let mount = table.at(&layout.mount_point);
        let mount = mount.ok_or_else(|| not_staged("nothing is mounted there".to_owned()))?;
        let attach = by_mounter(stash.mounter, &self.host, &self.settings);
        let place = Place {
            layout,
            stash: &stash,
        };
        let found = attach
            .and_then(|attach| attach.find(place))
            .map_err(PublishError::Attach)?;
        let attachment = match found {
            Found::Whole(attachment) => attachment,
            Found::Dead(_) => {
                let path = layout.root.to_string();
                return Err(PublishError::Dead { path });
            }
            Found::Nothing | Found::Begun => return Err(not_staged(described(mount))),
        };
        let shows = shows(&self.host, mount, &layout.mount_point, &attachment);
        if !shows.map_err(PublishError::Mounted)? {
            return Err(not_staged(described(mount)));
        }
        Ok(Staged {
            mount: mount.clone(),
            device: attachment.number,
            is_block: mount.device != attachment.number,
            device_is_read_only: attachment.read_only,
            read_only: attachment.read_only || mount.is_read_only(),
        })
    }

    /// The target's real path; the directories above it are made if they are missing.
    /// Those are added to `made`.
    fn target(
        &self,
        request: &PublishVolume,
        made: &mut Vec<AbsolutePath>,
    ) -> Result<AbsolutePath, PublishError> {
        let path = AbsolutePath::try_from(request.target_path.as_path());
        let path = path.map_err(|error| PublishError::Place(PlaceError::Path(error)))?;
        if let Some(parent) = path.parent() {
            self.make_parents(&parent, made)?;
        }
        let real = self.real_path(&path).map_err(PublishError::Place)?;
        let gone = || {
            let gone = HostError::from_errno("host.real_path", path.to_string(), libc::ENOENT);
            HostFailure::at("find the directory of", &path)(gone)
        };
        Ok(real.ok_or_else(gone)?)
    }

    fn make_parents(
        &self,
        directory: &AbsolutePath,
        made: &mut Vec<AbsolutePath>,
    ) -> Result<(), PublishError> {
        let mut missing = vec![directory.clone()];
        while let Some(path) = missing.last() {
            let there = self.real_path(path).map_err(PublishError::Place)?;
            match (there, path.parent()) {
                (None, Some(parent)) => missing.push(parent),
                (Some(_), _) | (None, None) => break,
            }
        }
        for path in missing.into_iter().rev() {
            let entry = self
                .host
                .entry(&path)
                .map_err(HostFailure::at("look at", &path))?;
            if entry.is_none() {
                let is_made = self.host.ensure_directory(&path, 0o750);
                if is_made.map_err(HostFailure::at("make", &path))? {
                    made.push(path);
                }
            }
        }
        Ok(())
    }

    /// Accepts a target that shows the volume as asked, refuses anything else.
    fn check_published(
        &self,
        mount: &Mount,
        target: &AbsolutePath,
        staged: &Staged,
        read_only: bool,
    ) -> Result<(), PublishError> {
        let is_this = if staged.is_block {
            bound_device(&self.host, target).map_err(PublishError::Mounted)? == Some(staged.device)
        } else {
            mount.device == staged.device && mount.root == std::path::Path::new("/")
        };
        if !is_this {
            return Err(PublishError::Place(PlaceError::Taken {
                path: target.clone(),
                found: described(mount),
            }));
        }
        let is_read_only = mount.is_read_only();
        if is_read_only == (read_only || staged.read_only) || (staged.is_block && !read_only) {
            return Ok(());
        }
        let words = |read_only| if read_only { "read-only" } else { "writable" };
        Err(PublishError::PublishedOtherwise {
            path: target.clone(),
            found: words(is_read_only),
            wanted: words(read_only),
        })
    }

    /// Makes the directory or file for the target; answers whether it was made now.
    fn make_target(&self, target: &AbsolutePath, is_block: bool) -> Result<bool, PublishError> {
        let entry = self
            .host
            .entry(target)
            .map_err(HostFailure::at("look at", target))?;
        let fits = entry.map(|entry| match entry.kind {
            EntryKind::Directory => !is_block,
            EntryKind::File => is_block,
            EntryKind::Link | EntryKind::BlockDevice(_) | EntryKind::Other => false,
        });
        match (fits, entry) {
            (Some(true), _) => Ok(false),
            (Some(false), Some(entry)) => Err(PublishError::Place(PlaceError::WrongKind {
                path: target.clone(),
                found: entry.kind.words(),
                expected: if is_block {
                    "a regular file"
                } else {
                    "a directory"
                },
            })),
            (None, _) | (Some(false), None) => {
                let made = if is_block {
                    self.host.ensure_file(target, 0o640)
                } else {
                    self.host.ensure_directory(target, 0o750)
                };
                Ok(made.map_err(HostFailure::at("make", target))?)
            }
        }
    }

    /// Removes directories that were made in vain, the deepest first, while they are empty.
    fn remove_parents(&self, made: &[AbsolutePath]) {
        for path in made.iter().rev() {
            if let Err(error) = self.host.remove_directory(path) {
                tracing::warn!(%path, %error, "could not remove a directory made in vain");
            }
        }
    }

    /// Removes a target that was made in vain. It is empty; if it stays, no harm is done.
    fn remove_made(&self, target: &AbsolutePath, is_block: bool) {
        let removed = if is_block {
            self.host.remove_file(target)
        } else {
            self.host.remove_directory(target)
        };
        if let Err(error) = removed {
            tracing::warn!(%target, %error, "could not remove the target made in vain");
        }
    }
}
