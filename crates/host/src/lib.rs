//! The host door: mounts, block devices, file systems and child processes.
//!
//! Everything the driver asks of Linux goes through a [`Host`], and every question passes the
//! instrumented door of `cuttle-door`: it is counted, timed, named as the job's present step, and
//! open to injected faults.
//!
//! # What may block, and for how long
//! A call that touches a mount, a device behind one, or a file on one can hang for ever when the
//! storage behind it is gone. Such calls run in a forked child that makes raw system calls only
//! (module `children`); the caller waits no longer than its [`Limits`] and its job's deadline
//! allow, kills the child and answers [`Error::Hung`]. A child that cannot even be killed (it
//! sleeps in the kernel) is left behind and reaped by a later call; as long as it lives, the same
//! call to the same target is refused at once, so that stuck children never pile up.
//!
//! # What is not here
//! No knowledge of Ceph, volumes or CSI, no retries, and no decision to format, repair or force
//! anything that was not positively asked for.

mod attributes;
mod block_device;
mod capability;
mod cgroup;
mod children;
mod errno;
mod error;
mod filesystem;
#[cfg(test)]
mod fixture;
mod holders;
mod kernel;
mod kernel_log;
mod listeners;
mod loop_device;
mod loop_ioctl;
mod memory;
mod mount_options;
mod mount_table;
mod mount_watch;
mod mounts;
mod paths;
mod privacy;
mod process;
mod rbd_bus;
mod replace;
mod syscalls;
mod systemd;

use std::sync::Arc;
use std::time::Duration;

use cuttle_door::{Door, job};

pub use block_device::BlockDevice;
pub use capability::Capability;
pub use cgroup::Apart;
pub use errno::Errno;
pub use error::Error;
pub use filesystem::{
    Check, Clearance, FilesystemKind, Growth, History, MakeFilesystem, Probe, Usage,
};
pub use holders::{Held, Holder};
pub use kernel::KernelRelease;
pub use kernel_log::KernelLog;
pub use listeners::Answer;
pub use loop_device::{AttachLoop, Detached, LoopDevice};
pub use memory::{limit_arenas, trim_heap};
pub use mount_options::{MountOptions, OptionRefused};
pub use mount_table::{DeviceNumber, Mount, MountTable, MountTableMalformed, NoDeviceNumber};
pub use mount_watch::MountWatch;
pub use mounts::{BindMount, DeviceMount, Unmounted};
pub use paths::{AbsolutePath, EntryKind, PathEntry, PathRefused};
pub use privacy::keep_memory_private;
pub use process::{
    AttendedProgram, Captured, DetachedProgram, Exit, Finished, ProcessIdentity, Program,
    RunningProgram, STDIN_PATH, StartedProgram,
};
pub use rbd_bus::RbdMap;
pub use replace::Replaced;

use children::Children;

/// How long calls may take before they are given up on.
///
/// The deadline of the job that makes the call cuts each of these shorter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Looking at something: stat, statfs, reading a superblock, sizes.
    pub look: Duration,
    /// Mounting, which may replay a journal.
    pub mount: Duration,
    /// Unmounting, which writes back what is dirty.
    pub unmount: Duration,
    /// Attaching, resizing and detaching loop devices, flushing a device.
    pub device: Duration,
    /// Making, checking and growing file systems.
    pub filesystem: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            look: Duration::from_secs(10),
            mount: Duration::from_secs(120),
            unmount: Duration::from_secs(120),
            device: Duration::from_secs(60),
            filesystem: Duration::from_secs(900),
        }
    }
}

/// The one way to the machine the driver runs on. Clones share the door and the children.
#[derive(Debug, Clone)]
pub struct Host {
    door: Door,
    limits: Limits,
    children: Arc<Children>,
}

impl Host {
    /// The host behind this door, with the default limits.
    #[must_use]
    pub fn new(door: Door) -> Self {
        Self::with_limits(door, Limits::default())
    }

    /// The host behind this door, with these limits.
    #[must_use]
    pub fn with_limits(door: Door, limits: Limits) -> Self {
        Self {
            door,
            limits,
            children: Arc::new(Children::default()),
        }
    }

    /// The same host with other limits: the same door, the same children.
    #[must_use]
    pub fn limited(&self, limits: Limits) -> Self {
        Self {
            limits,
            ..self.clone()
        }
    }

    /// The limits of this host's calls.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Collects children that ended since; answers how many are still running or stuck.
    ///
    /// Every call that starts a child does this too; a process that stays idle for long may call
    /// it now and then, so that no zombie is seen.
    #[must_use = "tells how many children are left"]
    pub fn reap(&self) -> usize {
        self.children.reap()
    }

    /// `limit`, or what is left to the job if that is less.
    fn within(limit: Duration) -> Duration {
        job::remaining().map_or(limit, |left| left.min(limit))
    }
}
