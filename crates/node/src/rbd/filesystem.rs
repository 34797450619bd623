//! Getting a filesystem volume's device mounted: look, format if empty, check, mount, grow.

use std::borrow::Cow;

use cuttle_door::FromErrno;
use cuttle_host::{
    AbsolutePath, Check, DeviceMount, Error as HostError, FilesystemKind, Growth, History, Host,
    MakeFilesystem, OptionRefused, Probe,
};
use cuttle_model::{Class, FsType};
use tracing::{info, warn};

use crate::host_failure::HostFailure;
use crate::mount_plan::staging_options;
use crate::rbd::attach::Attachment;
use crate::rbd::image::ImageError;
use crate::rbd::mkfs_note::{MkfsNote, Noted};
use crate::verdict::{Verdict, explain_by_verdict};

/// The filesystem made when nobody says which.
const DEFAULT: FilesystemKind = FilesystemKind::Ext4;

/// Why a device's filesystem could not be used.
#[derive(Debug, thiserror::Error)]
pub enum FilesystemError {
    /// A call to the host failed.
    #[error(transparent)]
    Host(#[from] HostFailure),
    /// What is noted about a mkfs of the image could not be read or changed.
    #[error("could not keep the note of a mkfs")]
    Note(#[source] ImageError),
    /// A mount flag cannot be used.
    #[error("mount flags cannot be used")]
    Flag(#[source] OptionRefused),
    /// The driver does not make filesystems of this type.
    #[error("filesystem type \"{0}\" is not supported")]
    TypeUnsupported(FsType),
    /// There is nothing to read on the device.
    #[error("device {device} is empty and may only be read, so it cannot be formatted")]
    EmptyReadOnly {
        /// The device.
        device: AbsolutePath,
    },
    /// The filesystem was in use when the image was copied, and its device may only be read.
    #[error("the {kind} filesystem on {device} must be put right first, but may only be read")]
    NeedsReplay {
        /// The device.
        device: AbsolutePath,
        /// The kind of filesystem.
        kind: String,
        /// The kernel's words.
        source: Box<HostError>,
    },
    /// There is something else than a filesystem on the device.
    #[error("device {device} carries {found}, not a filesystem")]
    NoFilesystem {
        /// The device.
        device: AbsolutePath,
        /// What is there.
        found: String,
    },
}

impl FilesystemError {
    pub(crate) fn verdict(&self) -> Verdict<'_> {
        match self {
            Self::Host(failure) => failure.verdict(),
            Self::Note(source) => Verdict::Of(source),
            Self::Flag(_) => Verdict::Own(1550, Class::Invalid),
            Self::TypeUnsupported(_) => Verdict::Own(1551, Class::Invalid),
            Self::EmptyReadOnly { .. } => Verdict::Own(1552, Class::Unmet),
            Self::NoFilesystem { .. } => Verdict::Own(1553, Class::Unmet),
            Self::NeedsReplay { .. } => Verdict::Own(1554, Class::Unmet),
        }
    }

    fn own_remedy(&self) -> Option<Cow<'static, str>> {
        Some(match self {
            Self::Host(_) | Self::Note(_) => return None,
            Self::Flag(_) => "correct mountOptions in the StorageClass or PersistentVolume".into(),
            Self::TypeUnsupported(_) => {
                "set csi.storage.k8s.io/fstype in the StorageClass to ext4 or xfs".into()
            }
            Self::EmptyReadOnly { .. } => {
                "mount it once for writing, so that it gets a filesystem".into()
            }
            Self::NeedsReplay { .. } => {
                "mount it once for writing (ReadWriteOnce), so that its journal is replayed; or add \
                 `noload` (ext4) or `norecovery` (xfs) to mountOptions, if the data as of the last \
                 checkpoint will do"
                    .into()
            }
            Self::NoFilesystem { .. } => {
                "use it as a raw block volume (volumeMode: Block), or find out what it is \
                 (`blkid -p`, `wipefs -n`); nothing is ever formatted that is not empty"
                    .into()
            }
        })
    }
}

explain_by_verdict!(FilesystemError);

/// A filesystem volume to be mounted at its staging place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StageFilesystem<'a> {
    pub(crate) attachment: &'a Attachment,
    pub(crate) note: MkfsNote<'a>,
    pub(crate) mount_point: &'a AbsolutePath,
    pub(crate) fs_type: Option<&'a FsType>,
    pub(crate) flags: &'a [String],
    pub(crate) mkfs_options: Option<&'a [String]>,
    pub(crate) read_only: bool,
}

impl StageFilesystem<'_> {
    /// The kind to make if the device is empty.
    ///
    /// # Errors
    /// [`FilesystemError::TypeUnsupported`].
    pub(crate) fn kind_wanted(fs_type: Option<&FsType>) -> Result<FilesystemKind, FilesystemError> {
        match fs_type {
            None => Ok(DEFAULT),
            Some(name) => FilesystemKind::from_name(name.as_str())
                .ok_or_else(|| FilesystemError::TypeUnsupported(name.clone())),
        }
    }

    /// Mounts the device; nothing may be mounted there yet.
    ///
    /// # Crash
    /// Between any two steps: the next attempt finds the device empty, half formatted or
    /// formatted, and goes on from there.
    pub(crate) fn mount(self, host: &Host) -> Result<(), FilesystemError> {
        let device = &self.attachment.device;
        let noted = self.note.find().map_err(FilesystemError::Note)?;
        let (kind, noted) = self.find_or_make(host, noted)?;
        let options = staging_options(&kind, self.flags, self.read_only);
        let options = options.map_err(FilesystemError::Flag)?;
        if !options.is_read_only() && !self.attachment.read_only {
            self.check(host, &kind, noted)?;
        }
        let mount = DeviceMount {
            device,
            target: self.mount_point,
            fs_type: &kind,
            options: &options,
        };
        host.mount_device(&mount)
            .map_err(|error| self.mount_failed(error, &kind))?;
        if options.is_read_only() {
            return Ok(());
        }
        self.grow(host, &kind)
    }

    /// Tells a journal that cannot be replayed from other failures: ext4 and xfs alike answer EROFS.
    fn mount_failed(self, error: HostError, kind: &str) -> FilesystemError {
        let device = &self.attachment.device;
        if self.attachment.read_only && error.errno() == Some(libc::EROFS) {
            return FilesystemError::NeedsReplay {
                device: device.clone(),
                kind: kind.to_owned(),
                source: Box::new(error),
            };
        }
        HostFailure::at("mount", device)(error).into()
    }

    /// The kind of filesystem on the device, made now if the device was empty, and what is noted
    /// then.
    fn find_or_make(self, host: &Host, noted: Noted) -> Result<(String, Noted), FilesystemError> {
        let device = &self.attachment.device;
        let wanted = Self::kind_wanted(self.fs_type)?;
        let found = host
            .probe(device)
            .map_err(HostFailure::at("look at", device))?;
        match (found, noted) {
            (Probe::Filesystem { kind, .. }, _) => {
                if self.fs_type.is_some_and(|fs_type| fs_type.as_str() != kind) {
                    // As with ceph-csi: a clone keeps its source's filesystem.
                    warn!(%device, kind, wanted = wanted.name(), "another filesystem is there");
                }
                Ok((kind, noted))
            }
            (Probe::Empty, _) | (Probe::Remains { .. }, Noted::This)
                if self.read_only || self.attachment.read_only =>
            {
                let device = device.clone();
                Err(FilesystemError::EmptyReadOnly { device })
            }
            (Probe::Empty, Noted::Nothing | Noted::Another) => {
                self.make(host, wanted, History::Unknown)
            }
            (Probe::Empty | Probe::Remains { .. }, Noted::This) => {
                warn!(%device, "a mkfs was cut off, making the filesystem anew");
                self.make(host, wanted, History::MkfsBegun)
            }
            (
                other @ (Probe::Remains { .. }
                | Probe::PartitionTable { .. }
                | Probe::Signature { .. }
                | Probe::Unknown { .. }),
                noted,
            ) => {
                let mut found = other.words();
                if noted == Noted::Another {
                    found.push_str(" (copied from an image on which a mkfs was cut off)");
                }
                let device = device.clone();
                Err(FilesystemError::NoFilesystem { device, found })
            }
        }
    }

    /// Makes the filesystem. The note stands from before the first write until after the last.
    fn make(
        self,
        host: &Host,
        kind: FilesystemKind,
        history: History,
    ) -> Result<(String, Noted), FilesystemError> {
        let device = &self.attachment.device;
        let failed = || HostFailure::at("make a filesystem on", device);
        let clearance = host.clear_for_mkfs(device, history).map_err(failed())?;
        let make = MakeFilesystem {
            device,
            kind,
            options: self.mkfs_options,
        };
        // Not before the device was cleared: the note would outweigh what is there the next time.
        self.note.make().map_err(FilesystemError::Note)?;
        host.make_filesystem(&make, clearance).map_err(failed())?;
        self.note.forget().map_err(FilesystemError::Note)?;
        info!(%device, kind = kind.name(), "formatted");
        Ok((kind.name().to_owned(), Noted::Nothing))
    }

    /// Checks the filesystem; wholly where a mkfs may have been cut off, here or on the image that
    /// this one is a copy of.
    fn check(self, host: &Host, kind: &str, noted: Noted) -> Result<(), FilesystemError> {
        let device = &self.attachment.device;
        let history = match noted {
            Noted::Nothing => History::Unknown,
            Noted::This | Noted::Another => History::MkfsBegun,
        };
        let checked = host.check_filesystem(device, kind, history);
        let checked = checked.map_err(HostFailure::at("check the filesystem of", device))?;
        if checked == Check::Repaired {
            warn!(%device, kind, "the filesystem had errors, which fsck has repaired");
        }
        if noted != Noted::Nothing {
            self.note.forget().map_err(FilesystemError::Note)?;
        }
        Ok(())
    }

    /// Lets the filesystem fill a device that has grown while it was not mounted.
    fn grow(self, host: &Host, kind: &str) -> Result<(), FilesystemError> {
        let device = &self.attachment.device;
        match host.grow_filesystem(device, self.mount_point, kind) {
            Ok(Growth::Unneeded { .. }) => Ok(()),
            Ok(Growth::Grown { from, to }) => {
                info!(%device, %from, %to, "the filesystem has grown");
                Ok(())
            }
            // A smaller filesystem is better than none. An expansion that is asked for tells.
            Err(
                error @ (HostError::NeedsCapability { .. }
                | HostError::FilesystemUnsupported { .. }),
            ) => {
                warn!(%device, %error, "the filesystem is smaller than its device");
                Ok(())
            }
            Err(source) => Err(HostFailure::at("grow the filesystem of", device)(source).into()),
        }
    }
}
