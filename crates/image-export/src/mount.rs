//! Mounting a FUSE file system whose root is a regular file.
//!
//! The kernel lets a file system be mounted over a regular file when its root is one too; so one
//! image appears as one path. The call is made here, not by `fuser`, which would fall back to the
//! `fusermount` program.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use cuttle_door::{Door, FromErrno};
use rustix::fs::{FileType, Mode, OFlags, fstat, open};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use rustix::process::{getgid, getuid};

use crate::MAX_REQUEST_BYTES;

/// The type of the file system in the mount table.
pub const FILE_SYSTEM_TYPE: &str = "fuse.cuttle";

/// What stands before the image's specification in the mount table's source.
pub const SOURCE_PREFIX: &str = "cuttle:";

/// A system call of the mounting that failed.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// A call failed.
    #[error("{call} {target}: {}", errno_text(*.errno))]
    Call {
        /// The call.
        call: &'static str,
        /// What it acted on.
        target: String,
        /// The positive errno.
        errno: i32,
    },
    /// The mount point is something else than a regular file.
    #[error("{path} is not a regular file")]
    NotAFile {
        /// The mount point.
        path: String,
    },
}

fn errno_text(errno: i32) -> String {
    match cuttle_door::errno_name(errno) {
        Some(name) => name.to_owned(),
        None => format!("errno {errno}"),
    }
}

impl FromErrno for MountError {
    fn from_errno(call: &'static str, target: String, errno: i32) -> Self {
        Self::Call {
            call,
            target,
            errno,
        }
    }
    fn errno(&self) -> Option<i32> {
        match self {
            Self::Call { errno, .. } => Some(*errno),
            Self::NotAFile { .. } => Some(libc::EINVAL),
        }
    }
}

/// Mounts an export at `path` and answers the descriptor on which the kernel asks.
///
/// # Errors
/// When the path is not an existing regular file, `/dev/fuse` is missing, or the kernel refuses.
pub(crate) fn mount_over_file(
    host: &Door,
    path: &Path,
    image_spec: &str,
    read_only: bool,
) -> Result<OwnedFd, MountError> {
    let place = open_place(host, path)?;
    let device = host_call(host, "open", Path::new("/dev/fuse"), || {
        open("/dev/fuse", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
    })?;
    let options = format!(
        "fd={},rootmode=100600,user_id={},group_id={},default_permissions,max_read={MAX_REQUEST_BYTES}",
        device.as_raw_fd(),
        getuid().as_raw(),
        getgid().as_raw(),
    );
    let mut flags =
        MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC | MountFlags::NOATIME;
    if read_only {
        flags |= MountFlags::RDONLY;
    }
    host_call(host, "mount", path, || {
        let options = CString::new(options).map_err(|_nul| Errno::INVAL)?;
        mount(
            format!("{SOURCE_PREFIX}{image_spec}"),
            // The very file that was checked, whatever the path leads to by now.
            format!("/proc/self/fd/{}", place.as_raw_fd()),
            FILE_SYSTEM_TYPE,
            flags,
            options.as_c_str(),
        )
    })?;
    Ok(device)
}

/// Takes an export's mount away again, also when it is in use: it never came to be ready.
///
/// # Errors
/// When the kernel refuses.
pub(crate) fn take_away(host: &Door, path: &Path) -> Result<(), MountError> {
    host_call(host, "umount", path, || unmount(path, UnmountFlags::DETACH))
}

/// Opens the mount point without following a symbolic link in its last part.
fn open_place(host: &Door, path: &Path) -> Result<OwnedFd, MountError> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let place = host_call(host, "open", path, || open(path, flags, Mode::empty()))?;
    let stat = host_call(host, "fstat", path, || fstat(place.as_fd()))?;
    if FileType::from_raw_mode(stat.st_mode).is_file() {
        Ok(place)
    } else {
        let path = path.display().to_string();
        Err(MountError::NotAFile { path })
    }
}

fn host_call<T>(
    host: &Door,
    call: &'static str,
    path: &Path,
    run: impl FnOnce() -> rustix::io::Result<T>,
) -> Result<T, MountError> {
    host.call(call, path.display(), || {
        run().map_err(|errno| {
            let target = path.display().to_string();
            MountError::from_errno(call, target, errno.raw_os_error())
        })
    })
}
