//! Taking down everything that staging has made, however far it came.
//!
//! This is the whole of an unstage and the undo of a failed stage. Each step finds out for itself
//! what is there, so it can be repeated after a crash or failure at any point:
//!
//! 1. unmount `<staging>/<volume id>`, but only if it shows this volume and nobody else uses it
//! 2. remove that directory or file (never what is in it)
//! 3. flush and detach the device, end the export process
//! 4. remove the stash: as long as it exists, everything else can be found
//!
//! Neither Ceph nor secrets are needed.

use std::borrow::Cow;

use cuttle_host::{
    AbsolutePath, DeviceNumber, EntryKind, Error as HostError, Host, Mount, MountTable,
};
use cuttle_model::{Class, Mounter};
use tracing::{info, warn};

use crate::host_failure::HostFailure;
use crate::layout::{Layout, STASH};
use crate::rbd::attach::{Attach, AttachError, Attachment, Found, Manner, Place, by_mounter};
use crate::rbd::stash::Stash;
use crate::rbd::stash_file::{StashError, StashFile};
use crate::settings::NodeSettings;
use crate::unmounting::{UnmountError, unmount};
use crate::uses::Uses;
use crate::verdict::{Verdict, explain_by_verdict};

/// Why a staged volume could not be taken down, or not without loss.
#[derive(Debug, thiserror::Error)]
pub enum TakeDownError {
    /// A call to the host failed.
    #[error(transparent)]
    Host(#[from] HostFailure),
    /// The volume could not be unmounted.
    #[error("could not unmount the volume")]
    Unmount(#[source] UnmountError),
    /// The stash could not be read or removed.
    #[error("the staging directory's record is unusable")]
    Stash(#[source] StashError),
    /// The image could not be detached.
    #[error("could not detach the image")]
    Attach(#[source] AttachError),
    /// The volume is still published.
    #[error("{device} is still in use: it is mounted on {places}")]
    StillPublished {
        /// The device.
        device: AbsolutePath,
        /// Where it is mounted.
        places: String,
    },
    /// What is mounted on the volume's place is not the volume.
    #[error("{path} shows {found}, which is not this volume")]
    NotOurs {
        /// The place.
        path: AbsolutePath,
        /// What is mounted there.
        found: String,
    },
    /// Everything is down, but the last flush failed.
    #[error("image {image} is detached, but its last flush failed: writes may be lost")]
    Lost {
        /// The image.
        image: String,
        /// The system's answer to the flush.
        source: Box<HostError>,
    },
}

impl TakeDownError {
    pub(crate) fn verdict(&self) -> Verdict<'_> {
        match self {
            Self::Host(failure) => failure.verdict(),
            Self::Unmount(source) => Verdict::Of(source),
            Self::Stash(source) => Verdict::Of(source),
            Self::Attach(source) => source.verdict(),
            Self::StillPublished { .. } => Verdict::Own(1540, Class::Unmet),
            Self::NotOurs { .. } => Verdict::Own(1541, Class::Unmet),
            Self::Lost { .. } => Verdict::Own(1542, Class::Bug),
        }
    }

    fn own_remedy(&self) -> Option<Cow<'static, str>> {
        Some(match self {
            Self::Host(_) | Self::Unmount(_) | Self::Stash(_) | Self::Attach(_) => return None,
            Self::StillPublished { .. } => {
                "unpublish the volume there (or unmount it by hand), then repeat the request".into()
            }
            Self::NotOurs { .. } => {
                "find out who mounted it (`findmnt`), unmount it by hand, then repeat the request"
                    .into()
            }
            Self::Lost { .. } => {
                "check the volume's data; whatever an application had synced before is safe. \
                 Repeating the request succeeds"
                    .into()
            }
        })
    }
}

explain_by_verdict!(TakeDownError);

/// What takes a staging directory down.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TakeDown<'a> {
    pub(crate) host: &'a Host,
    pub(crate) settings: &'a NodeSettings,
    pub(crate) layout: &'a Layout,
    pub(crate) manner: Manner,
}

impl TakeDown<'_> {
    /// Takes everything down. Succeeds when nothing is there.
    pub(crate) fn run(self) -> Result<(), TakeDownError> {
        let file = StashFile::of(self.host, self.layout);
        let table = self.table()?;
        let stash = match file.read() {
            Err(error) if error.is_torn() && self.is_bare(&table)? => {
                warn!(staging = %self.layout.root, "removing a record that was never finished");
                self.remove_mount_point(&table)?;
                self.host
                    .remove_file(&self.layout.export)
                    .map_err(HostFailure::at("remove", &self.layout.export))?;
                return file.remove().map_err(TakeDownError::Stash);
            }
            stash => stash.map_err(TakeDownError::Stash)?,
        };
        let mount = table.at(&self.layout.mount_point);
        let Some(stash) = stash else {
            return self.without_stash(&table, mount);
        };
        let attach = self.means(&stash)?;
        let place = Place {
            layout: self.layout,
            stash: &stash,
        };
        if let Some(attach) = &attach {
            let found = attach.find(place).map_err(TakeDownError::Attach)?;
            if let Some(mount) = mount {
                self.check_mount(mount, &found)?;
            }
            self.check_unused(&table, &found)?;
        }
        self.remove_mount_point(&table)?;
        let detached = match &attach {
            Some(attach) => attach
                .detach(place, self.manner)
                .map_err(TakeDownError::Attach)?,
            None => crate::rbd::attach::Detached::default(),
        };
        file.remove().map_err(TakeDownError::Stash)?;
        let image = stash.image.to_string();
        info!(image, staging = %self.layout.root, "taken down");
        match detached.lost {
            Some(source) => Err(TakeDownError::Lost {
                image,
                source: Box::new(source),
            }),
            None => Ok(()),
        }
    }

    /// Without a stash nothing of ours is attached: it is written first and removed last. An empty
    /// directory or file may have been left by another driver.
    fn without_stash(self, table: &MountTable, mount: Option<&Mount>) -> Result<(), TakeDownError> {
        match mount {
            Some(mount) => Err(self.not_ours(mount)),
            None => self.remove_mount_point(table),
        }
    }

    /// Whether nothing is mounted in the staging directory, nor attached from there.
    fn is_bare(self, table: &MountTable) -> Result<bool, TakeDownError> {
        let is_mounted =
            [&self.layout.mount_point, &self.layout.export].map(|path| table.at(path).is_some());
        let loops = self.host.find_loops(&self.layout.export);
        let failed = HostFailure::at("look for a loop device over", &self.layout.export);
        Ok(loops.map_err(failed)?.is_empty() && is_mounted == [false, false])
    }

    /// How the image was attached; `None` when that is ceph-csi's alone and nothing of it is left.
    fn means(&self, stash: &Stash) -> Result<Option<Box<dyn Attach + '_>>, TakeDownError> {
        let foreign = |device: String, means| {
            Err(TakeDownError::Attach(AttachError::Foreign {
                device,
                means,
            }))
        };
        if stash.encrypted {
            let mapper = format!("/dev/mapper/luks-rbd-{}", self.layout.volume);
            if self.exists(&mapper)? {
                return foreign(mapper, "LUKS");
            }
        }
        if stash.mounter == Mounter::Nbd {
            let device = stash.device.clone().unwrap_or_default();
            let name = device.rsplit('/').next().unwrap_or_default();
            if name.is_empty()
                && let Some(device) = self.some_nbd_of(stash)?
            {
                return foreign(device, "rbd-nbd");
            }
            // The number may belong to another image since.
            if !name.is_empty() && self.may_show(name, stash)? {
                return foreign(device, "rbd-nbd");
            }
            return Ok(None);
        }
        let attach = by_mounter(stash.mounter, self.host, self.settings);
        attach.map(Some).map_err(TakeDownError::Attach)
    }

    /// An nbd device that shows this image, or may show it. For records that were written before
    /// the device was known.
    fn some_nbd_of(&self, stash: &Stash) -> Result<Option<String>, TakeDownError> {
        let directory = absolute("/sys/block")?;
        let names = self.host.names_in(&directory);
        for name in names.map_err(HostFailure::at("read", &directory))? {
            let name = name.to_string_lossy();
            if name.starts_with("nbd") && self.may_show(&name, stash)? {
                return Ok(Some(format!("/dev/{name}")));
            }
        }
        Ok(None)
    }

    /// Whether an nbd device is served and shows this image, or may show it: older kernels do not
    /// tell. Newer ones tell the image, or the cookie, which ceph-csi makes the volume's identifier.
    fn may_show(&self, name: &str, stash: &Stash) -> Result<bool, TakeDownError> {
        if !self.exists(&format!("/sys/block/{name}/pid"))? {
            return Ok(false);
        }
        let backend = absolute(&format!("/sys/block/{name}/backend"))?;
        let told = self.host.read_file(&backend, 4096);
        let told = told.map_err(HostFailure::at("read", &backend))?;
        Ok(told.is_none_or(|told| {
            let told = String::from_utf8_lossy(&told);
            let told = told.trim();
            told.is_empty()
                || told == stash.image.to_string()
                || told == self.layout.volume.as_str()
        }))
    }

    fn exists(&self, path: &str) -> Result<bool, TakeDownError> {
        let entry = self.host.entry(&absolute(path)?);
        Ok(entry.map_err(HostFailure::at("look at", path))?.is_some())
    }

    fn table(self) -> Result<MountTable, TakeDownError> {
        let failed = HostFailure::at("read", "the mount table");
        Ok(self.host.mount_table().map_err(failed)?)
    }

    /// Refuses to unmount what is not this volume.
    fn check_mount(self, mount: &Mount, found: &Found) -> Result<(), TakeDownError> {
        match found.attachment() {
            Some(attachment) if shows(self.host, mount, &self.layout.mount_point, attachment)? => {
                Ok(())
            }
            Some(_) | None => Err(self.not_ours(mount)),
        }
    }

    /// Refuses to detach what is published still. Asked even when the staging place shows nothing:
    /// the bound node of a raw block volume keeps no device from being detached.
    fn check_unused(self, table: &MountTable, found: &Found) -> Result<(), TakeDownError> {
        let Some(attachment) = found.attachment() else {
            return Ok(());
        };
        let uses = Uses::of(table, &attachment.device, attachment.number);
        let others = uses.besides(&self.layout.mount_point);
        if others.is_empty() || self.is_shared(&others)? {
            return Ok(());
        }
        Err(TakeDownError::StillPublished {
            device: attachment.device.clone(),
            places: others.to_string(),
        })
    }

    /// Whether one of the other uses is another staging directory of the same image. Then the
    /// device stays for it, and where the volume is published from cannot be told.
    fn is_shared(self, others: &Uses) -> Result<bool, TakeDownError> {
        for place in others.iter() {
            if let Some(directory) = place.parent() {
                let stash = directory.join(STASH);
                if self.exists(&stash.to_string_lossy())? {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn not_ours(self, mount: &Mount) -> TakeDownError {
        TakeDownError::NotOurs {
            path: self.layout.mount_point.clone(),
            found: described(mount),
        }
    }

    /// Unmounts the volume and removes the empty directory or file below.
    fn remove_mount_point(self, table: &MountTable) -> Result<(), TakeDownError> {
        let path = &self.layout.mount_point;
        unmount(self.host, table, path).map_err(TakeDownError::Unmount)?;
        let entry = self
            .host
            .entry(path)
            .map_err(HostFailure::at("look at", path))?;
        let Some(entry) = entry else {
            return Ok(());
        };
        let removed = match entry.kind {
            EntryKind::Directory => self.host.remove_directory(path),
            EntryKind::File => self.host.remove_file(path),
            EntryKind::Link | EntryKind::BlockDevice(_) | EntryKind::Other => {
                return Err(TakeDownError::NotOurs {
                    path: path.clone(),
                    found: entry.kind.words().to_owned(),
                });
            }
        };
        removed.map_err(HostFailure::at("remove", path))?;
        Ok(())
    }
}

fn absolute(path: &str) -> Result<AbsolutePath, TakeDownError> {
    let failed = HostFailure::at("look at", path);
    Ok(AbsolutePath::new(path).map_err(|error| failed(error.into()))?)
}

/// Whether a mount shows the attached device: its filesystem, or its node.
pub(crate) fn shows(
    host: &Host,
    mount: &Mount,
    path: &AbsolutePath,
    attachment: &Attachment,
) -> Result<bool, TakeDownError> {
    if mount.device == attachment.number {
        return Ok(true);
    }
    Ok(bound_device(host, path)? == Some(attachment.number))
}

/// The device whose node is bound over `path`, if one is.
pub(crate) fn bound_device(
    host: &Host,
    path: &AbsolutePath,
) -> Result<Option<DeviceNumber>, TakeDownError> {
    let entry = host.entry(path).map_err(HostFailure::at("look at", path))?;
    Ok(entry.and_then(|entry| match entry.kind {
        EntryKind::BlockDevice(number) => Some(number),
        EntryKind::Directory | EntryKind::File | EntryKind::Link | EntryKind::Other => None,
    }))
}

/// A mount in words.
pub(crate) fn described(mount: &Mount) -> String {
    let source = mount.source.to_string_lossy();
    format!("a {} filesystem of {source}", mount.fs_type)
}
