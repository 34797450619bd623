//! Mapping and unmapping images through the kernel's own interface, `/sys/bus/rbd`.
//!
//! The write that maps an image waits for the cluster, so it is made in a forked child that can be
//! given up on. The key goes into the child's own keyring, where the kernel looks for it by the
//! name that the line gives; the keyring goes with the child. See the kernel's
//! Documentation/ABI/testing/sysfs-bus-rbd and include/keys/ceph-type.h.

use std::ffi::CStr;
use std::fmt::Display;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::children::Failure;
use crate::syscalls::{add_ceph_key, join_network};
use crate::{Error, Host};

/// With one major number for all devices, as the module is loaded by default; else the plain ones.
const ADD: [&CStr; 2] = [c"/sys/bus/rbd/add_single_major", c"/sys/bus/rbd/add"];
const REMOVE: [&CStr; 2] = [c"/sys/bus/rbd/remove_single_major", c"/sys/bus/rbd/remove"];

/// An image to be mapped.
pub struct RbdMap<'a> {
    /// What the kernel is told: monitors, options, pool, image, snapshot.
    pub line: &'a str,
    /// The name under which the line's option `key` refers to the key.
    pub key_name: &'a CStr,
    /// The key, in the binary form that Ceph gives it.
    pub key: &'a [u8],
    /// A network namespace to reach the cluster from.
    pub network_namespace: Option<&'a Path>,
    /// How long it may take.
    pub limit: Duration,
}

impl std::fmt::Debug for RbdMap<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RbdMap")
            .field("line", &self.line)
            .finish_non_exhaustive()
    }
}

impl Host {
    /// Has the kernel map an image. Which device it became is told by `/sys/bus/rbd/devices`.
    ///
    /// # Errors
    /// [`Error::Call`] with the kernel's errno; its reason is in the kernel's log. [`Error::Hung`]
    /// when it took too long: the child is killed, which makes the kernel give up, but a mapping
    /// may have been made all the same.
    pub fn rbd_add(&self, image: impl Display, map: &RbdMap<'_>) -> Result<(), Error> {
        let call = "host.rbd_add";
        let namespace = open_namespace(call, map.network_namespace)?;
        self.aside(call, image, map.limit, |_reply| {
            if let Some(namespace) = &namespace {
                let namespace =
                    rustix::fs::open(namespace.as_c_str(), OFlags::RDONLY, Mode::empty());
                join_network(&namespace.map_err(Failure::at("open"))?)
                    .map_err(Failure::at("setns"))?;
            }
            add_ceph_key(map.key_name, map.key).map_err(Failure::at("add_key"))?;
            write_to(&ADD, map.line.as_bytes())
        })?;
        Ok(())
    }

    /// Has the kernel unmap a device; by `force` also one that is open, whose writes then fail.
    ///
    /// # Errors
    /// [`Error::Call`] with the kernel's errno (EBUSY while it is open, ENOENT when it is not
    /// mapped), [`Error::Hung`].
    pub fn rbd_remove(&self, number: u32, force: bool, limit: Duration) -> Result<(), Error> {
        let line = format!("{number}{}", if force { " force" } else { "" });
        let device = format!("/dev/rbd{number}");
        self.aside("host.rbd_remove", device, limit, |_reply| {
            write_to(&REMOVE, line.as_bytes())
        })?;
        Ok(())
    }
}

/// The namespace's path as the child needs it.
pub(crate) fn open_namespace(
    call: &'static str,
    path: Option<&Path>,
) -> Result<Option<std::ffi::CString>, Error> {
    use std::os::unix::ffi::OsStrExt;
    path.map(|path| {
        std::ffi::CString::new(path.as_os_str().as_bytes())
            .map_err(|_nul| Error::call(call, path.display(), "open", Errno::INVAL))
    })
    .transpose()
}

/// Writes a line to the first of these files that there is. Fit for a child.
fn write_to(files: &[&CStr], line: &[u8]) -> Result<(), Failure> {
    let mut opened: Result<OwnedFd, Errno> = Err(Errno::NOENT);
    for file in files {
        opened = rustix::fs::open(*file, OFlags::WRONLY, Mode::empty());
        if !matches!(opened, Err(Errno::NOENT)) {
            break;
        }
    }
    let file = opened.map_err(Failure::at("open"))?;
    rustix::io::write(&file, line).map_err(Failure::at("write"))?;
    Ok(())
}
