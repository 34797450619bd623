//! Mounting, binding and unmounting.
//!
//! The kernel's new mount interface is used: a mount is made detached, gets its attributes, and
//! only then is moved to its place. So a read-only mount is never writable for an instant, and a
//! failure leaves nothing behind. Where the kernel lacks a part of it (ENOSYS), mount(2) does the
//! work.
//!
//! New mounts take their propagation from the mount they stand on, so that mounts below a
//! directory kubelet shares reach the pods.
//!
//! The last component of a target is never followed when it is a link (ELOOP).

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, StatVfsMountFlags, StatxFlags, statx};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
    fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, mount, mount_bind,
    mount_remount, move_mount, open_tree, unmount,
};

use crate::children::{Failure, Reply};
use crate::syscalls::{MountAttr, mount_setattr};
use crate::{AbsolutePath, DeviceNumber, Error, Host, Mount, MountOptions};

/// How a child says that another mount is seen than was asked for.
const CHANGED: Errno = Errno::STALE;

/// The most mounts taken down from one path in one go.
const MOST_STACKED: usize = 64;

/// A device to be mounted.
#[derive(Debug, Clone, Copy)]
pub struct DeviceMount<'a> {
    /// The block device.
    pub device: &'a AbsolutePath,
    /// The directory it is mounted on.
    pub target: &'a AbsolutePath,
    /// The kind of file system, as the kernel names it.
    pub fs_type: &'a str,
    /// Options.
    pub options: &'a MountOptions,
}

/// A file or directory to be seen at a second place.
#[derive(Debug, Clone, Copy)]
pub struct BindMount<'a> {
    /// What is to be seen: a directory, a file, or a device node.
    pub source: &'a AbsolutePath,
    /// The mount that must be seen at the source, as the mount table has told it; `None` where it
    /// does not matter. Without this, a mount that has gone since would show what lies below it.
    pub seen: Option<&'a Mount>,
    /// Where: a directory for a directory, a file for anything else.
    pub target: &'a AbsolutePath,
    /// Attributes of the new mount. Parameters of a file system have no effect here.
    ///
    /// A read-only bind of a device node does not make the *device* read-only.
    pub options: &'a MountOptions,
}

/// How an unmount ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unmounted {
    /// How many mounts were taken down from the path: 0 when it was no mount point.
    pub taken: usize,
}

/// Which interface of the kernel is used first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Route {
    /// fsopen, open_tree and so on; mount(2) where they are missing.
    New,
    /// mount(2) at once, for options that only it can take (and to test it).
    Old,
}

impl Host {
    /// Mounts the file system of a device on a directory.
    ///
    /// # Guarantees
    /// Nothing is formatted or repaired, but the kernel replays the journal. A failure leaves no
    /// mount behind; after [`Error::Hung`] look into the mount table.
    ///
    /// # Idempotency
    /// None: a second call stacks a second mount. Look into the mount table before.
    ///
    /// # Errors
    /// The errno of the system call that failed, with what the kernel said beside it; ENODEV when
    /// the kernel does not know the file system; [`Error::Hung`].
    pub fn mount_device(&self, wanted: &DeviceMount<'_>) -> Result<(), Error> {
        self.mount_device_by(Route::New, wanted)
    }

    fn mount_device_by(&self, route: Route, wanted: &DeviceMount<'_>) -> Result<(), Error> {
        let plan = DevicePlan {
            source: wanted.device.to_c(),
            target: wanted.target.to_c(),
            fs_type: crate::paths::c_string(wanted.fs_type.as_bytes()),
            parameters: wanted
                .options
                .for_fsconfig()
                .filter(|_| route == Route::New),
            attributes: wanted.options.for_fsmount(),
            flags: wanted.options.for_mount(),
            data: wanted.options.for_mount_data(),
        };
        let what = format!("{} on {}", wanted.device, wanted.target);
        let answer = self.aside("host.mount", what, self.limits.mount, |reply| {
            plan.carry_out(reply)
        });
        answer.map(|_empty| ())
    }

    /// Shows a file or directory at a second place, with its own attributes (read-only and so on).
    ///
    /// # Guarantees
    /// The mount appears with its attributes or not at all, here and wherever it propagates to.
    /// (Kernels before 5.12 lack mount_setattr: there the attributes come an instant after the
    /// mount, and only here.)
    ///
    /// # Idempotency
    /// None: as [`Host::mount_device`].
    ///
    /// # Errors
    /// [`Error::MountChanged`] when something else is seen at the source by now; the errno of the
    /// system call that failed: ENOTDIR when a directory meets a file; or [`Error::Hung`].
    pub fn bind(&self, wanted: &BindMount<'_>) -> Result<(), Error> {
        self.bind_by(Route::New, wanted)
    }

    fn bind_by(&self, route: Route, wanted: &BindMount<'_>) -> Result<(), Error> {
        let plan = BindPlan {
            route,
            source: wanted.source.to_c(),
            target: wanted.target.to_c(),
            seen: wanted.seen.map(Seen::of),
            attributes: wanted.options.for_setattr(),
            flags: wanted.options.for_mount(),
        };
        let what = format!("{} on {}", wanted.source, wanted.target);
        let answer = self.aside("host.bind", what, self.limits.mount, |_| plan.carry_out());
        let changed = |error: &Error| matches!(error, Error::Call { step: "statx", errno, .. } if *errno == CHANGED.into());
        match answer {
            Err(error) if changed(&error) => {
                let path = wanted.source.to_string();
                Err(Error::MountChanged { path })
            }
            answer => answer.map(|_empty| ()),
        }
    }

    /// Takes down every mount stacked at `target`, the topmost first, until the mount table shows
    /// none. Never lazy, never forced.
    ///
    /// # Idempotency
    /// A path that is no mount point (or whose directory is gone) is a success: 0 taken.
    ///
    /// # Errors
    /// EBUSY while something uses the mount; [`Error::StillMounted`] when more mounts than is
    /// sane are stacked; [`Error::Hung`] (the mount may go later; repeat the call).
    pub fn unmount(&self, target: &AbsolutePath) -> Result<Unmounted, Error> {
        self.unmount_with("host.unmount", target, UnmountFlags::empty())
    }

    /// As [`Host::unmount`], but takes the mounts out of sight even while they are in use or dead
    /// (MNT_DETACH). The file system below lives on until its last user is gone, so this is only
    /// for mounts whose storage is known to be dead.
    ///
    /// # Errors
    /// As [`Host::unmount`], without EBUSY.
    pub fn unmount_lazily(&self, target: &AbsolutePath) -> Result<Unmounted, Error> {
        self.unmount_with("host.unmount_lazily", target, UnmountFlags::DETACH)
    }

    fn unmount_with(
        &self,
        call: &'static str,
        target: &AbsolutePath,
        flags: UnmountFlags,
    ) -> Result<Unmounted, Error> {
        let real = match self.real_path(target) {
            Ok(real) => real,
            Err(error) if error.is_absent() => return Ok(Unmounted { taken: 0 }),
            Err(error) => return Err(error),
        };
        let (name, flags) = (real.to_c(), flags | UnmountFlags::NOFOLLOW);
        let mut refused = None;
        for taken in 0..MOST_STACKED {
            if !self.mount_table()?.is_mount_point(&real) {
                return Ok(Unmounted { taken });
            }
            // "Not a mount point" counts only when the table agrees, which was just read.
            if let Some(error) = refused {
                return Err(error);
            }
            let answer = self.aside(call, &real, self.limits.unmount, |_| {
                unmount(name.as_c_str(), flags).map_err(Failure::at("umount2"))
            });
            match answer {
                Ok(_empty) => {}
                Err(Error::Call { errno, .. })
                    if [libc::EINVAL, libc::ENOENT].contains(&errno.number()) =>
                {
                    refused = Some(Error::call(call, &real, "umount2", errno));
                }
                Err(error) => return Err(error),
            }
        }
        let target = real.to_string();
        Err(Error::StillMounted {
            target,
            taken: MOST_STACKED,
        })
    }
}

/// The prepared arguments of a device mount.
struct DevicePlan {
    source: CString,
    target: CString,
    fs_type: CString,
    /// `None`: only mount(2) can take them.
    parameters: Option<Vec<(CString, Option<CString>)>>,
    attributes: rustix::mount::MountAttrFlags,
    flags: MountFlags,
    data: CString,
}

impl DevicePlan {
    /// Runs in a forked child: raw system calls only.
    fn carry_out(&self, reply: &mut Reply) -> Result<(), Failure> {
        let Place { fd: target, .. } = open_place(&self.target)?;
        let Some(parameters) = &self.parameters else {
            return self.by_mount();
        };
        let context = match fsopen(self.fs_type.as_c_str(), FsOpenFlags::FSOPEN_CLOEXEC) {
            Ok(context) => context,
            Err(Errno::NOSYS) => return self.by_mount(),
            Err(errno) => return Err(Failure::at("fsopen")(errno)),
        };
        let configured = self.configure(&context, parameters);
        if let Err(failure) = configured {
            reply_log(&context, reply);
            return Err(failure);
        }
        let mount = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, self.attributes);
        let mount = mount.map_err(|errno| {
            reply_log(&context, reply);
            Failure::at("fsmount")(errno)
        })?;
        attach(&mount, target.as_fd())
    }

    fn configure(
        &self,
        context: &OwnedFd,
        parameters: &[(CString, Option<CString>)],
    ) -> Result<(), Failure> {
        let failed = Failure::at("fsconfig");
        fsconfig_set_string(context, c"source", self.source.as_c_str()).map_err(&failed)?;
        for (key, value) in parameters {
            let set = match value {
                Some(value) => fsconfig_set_string(context, key.as_c_str(), value.as_c_str()),
                None => fsconfig_set_flag(context, key.as_c_str()),
            };
            set.map_err(&failed)?;
        }
        fsconfig_create(context).map_err(&failed)
    }

    fn by_mount(&self) -> Result<(), Failure> {
        let (source, target, fs_type) = (
            self.source.as_c_str(),
            self.target.as_c_str(),
            self.fs_type.as_c_str(),
        );
        mount(source, target, fs_type, self.flags, self.data.as_c_str())
            .map_err(Failure::at("mount"))
    }
}

/// The prepared arguments of a bind.
struct BindPlan {
    route: Route,
    source: CString,
    target: CString,
    seen: Option<Seen>,
    attributes: Option<MountAttr>,
    flags: MountFlags,
}

/// What tells a mount from others. The kernel gives the id of a mount that is gone to the next one,
/// so the device has to be the same, too.
#[derive(Debug, Clone, Copy)]
struct Seen {
    id: u64,
    /// `None` where files show another device than the mount table: btrfs numbers its subvolumes.
    device: Option<DeviceNumber>,
}

impl Seen {
    fn of(mount: &Mount) -> Self {
        Self {
            id: mount.id.into(),
            device: (mount.fs_type != "btrfs").then_some(mount.device),
        }
    }

    /// Compares the mount through which a descriptor was opened. Kernels before 5.8 do not tell
    /// the mount's id, only its device.
    fn check(self, place: &Place) -> Result<(), Failure> {
        let wanted = StatxFlags::MNT_ID | StatxFlags::TYPE;
        let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
        let found = statx(&place.fd, c"", flags, wanted).map_err(Failure::at("statx"))?;
        let device = DeviceNumber {
            major: found.stx_dev_major,
            minor: found.stx_dev_minor,
        };
        let told = StatxFlags::from_bits_retain(found.stx_mask);
        let tells_id = told.contains(StatxFlags::MNT_ID);
        let is_same_id = !tells_id || found.stx_mnt_id == self.id;
        let is_same_device = self.device.map_or(tells_id, |seen| seen == device);
        (is_same_id && is_same_device)
            .then_some(())
            .ok_or_else(|| Failure::at("statx")(CHANGED))
    }
}

impl BindPlan {
    /// Runs in a forked child: raw system calls only.
    fn carry_out(&self) -> Result<(), Failure> {
        let (source, target) = (open_place(&self.source)?, open_place(&self.target)?);
        if let Some(seen) = self.seen {
            seen.check(&source)?;
        }
        if source.is_directory != target.is_directory {
            // move_mount would say EINVAL, which means too much else.
            return Err(Failure::at("open")(Errno::NOTDIR));
        }
        if self.route == Route::Old {
            return self.by_mount();
        }
        let flags = OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_EMPTY_PATH;
        let copy = match open_tree(&source.fd, c"", flags) {
            Ok(copy) => copy,
            Err(Errno::NOSYS) => return self.by_mount(),
            Err(errno) => return Err(Failure::at("open_tree")(errno)),
        };
        if let Some(attributes) = &self.attributes {
            match mount_setattr(copy.as_fd(), attributes) {
                Ok(()) => {}
                Err(Errno::NOSYS) => {
                    drop(copy);
                    return self.by_mount();
                }
                Err(errno) => return Err(Failure::at("mount_setattr")(errno)),
            }
        }
        attach(&copy, target.fd.as_fd())
    }

    fn by_mount(&self) -> Result<(), Failure> {
        let target = self.target.as_c_str();
        mount_bind(self.source.as_c_str(), target).map_err(Failure::at("mount"))?;
        let Some(attributes) = &self.attributes else {
            return Ok(());
        };
        let changed = self.remount(target, attributes);
        if changed.is_err() {
            // Without its attributes the mount must not stay.
            let _gone = unmount(target, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW);
        }
        changed
    }

    /// Changes the attributes of the bind just made, keeping those it took from its source.
    fn remount(&self, target: &CStr, attributes: &MountAttr) -> Result<(), Failure> {
        let seen = rustix::fs::statvfs(target)
            .map_err(Failure::at("statfs"))?
            .f_flag;
        let mut flags = self.flags | MountFlags::BIND;
        for (inherited, attribute, flag) in [
            (StatVfsMountFlags::NOSUID, 0x2, MountFlags::NOSUID),
            (StatVfsMountFlags::NODEV, 0x4, MountFlags::NODEV),
            (StatVfsMountFlags::NOEXEC, 0x8, MountFlags::NOEXEC),
            (StatVfsMountFlags::NODIRATIME, 0x80, MountFlags::NODIRATIME),
            (StatVfsMountFlags::RDONLY, 0x1, MountFlags::RDONLY),
            (StatVfsMountFlags::NOATIME, 0x70, MountFlags::NOATIME),
            (StatVfsMountFlags::RELATIME, 0x70, MountFlags::RELATIME),
        ] {
            if seen.contains(inherited) && attributes.clear & attribute == 0 {
                flags |= flag;
            }
        }
        mount_remount(target, flags, c"").map_err(Failure::at("mount"))
    }
}

/// A place to mount from or on.
struct Place {
    fd: OwnedFd,
    is_directory: bool,
}

/// Opens a path without following a link at its end and without touching what it stands for.
fn open_place(path: &CStr) -> Result<Place, Failure> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = rustix::fs::open(path, flags, Mode::empty()).map_err(Failure::at("open"))?;
    let stat = rustix::fs::fstat(&fd).map_err(Failure::at("fstat"))?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    if kind == FileType::Symlink {
        return Err(Failure::at("open")(Errno::LOOP));
    }
    let is_directory = kind == FileType::Directory;
    Ok(Place { fd, is_directory })
}

/// Moves a detached mount to its place.
fn attach(mount: &OwnedFd, target: BorrowedFd<'_>) -> Result<(), Failure> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount, c"", target, c"", flags).map_err(Failure::at("move_mount"))
}

/// Pushes what the kernel wrote about a failed mount: one message per read, `e text`.
fn reply_log(context: &OwnedFd, reply: &mut Reply) {
    const MOST_MESSAGES: usize = 8;
    for _ in 0..MOST_MESSAGES {
        let Ok(count) = rustix::io::read(context, reply.room()) else {
            return;
        };
        reply.fill(count);
        reply.push(b"\n");
    }
}

#[cfg(test)]
mod tests;
