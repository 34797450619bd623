//! What the tests stand on: a host, directories, and loop devices that are cleaned up even when a
//! test fails.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use cuttle_door::{Doors, FaultPlan, Ledger};
use tempfile::TempDir;

use crate::{
    AbsolutePath, AttachLoop, DeviceMount, FilesystemKind, History, Host, Limits, LoopDevice,
};
use crate::{MakeFilesystem, MountOptions};

pub(crate) const MIB: u64 = 1 << 20;

/// A host without faults.
pub(crate) fn host() -> Host {
    Host::new(Doors::new(FaultPlan::none()).host)
}

/// A host with these faults, and its figures.
pub(crate) fn faulty(plan: &str) -> (Host, Ledger) {
    let doors = Doors::new(FaultPlan::parse(plan).unwrap());
    (Host::new(doors.host.clone()), doors.ledger())
}

/// A host whose calls are given up on soon.
pub(crate) fn impatient(limit: Duration) -> Host {
    let limits = Limits {
        look: limit,
        mount: limit,
        unmount: limit,
        device: limit,
        filesystem: limit,
    };
    Host::with_limits(Doors::new(FaultPlan::none()).host, limits)
}

pub(crate) fn path(path: impl AsRef<Path>) -> AbsolutePath {
    AbsolutePath::new(path.as_ref()).unwrap()
}

/// Waits until something holds, for ten seconds at most.
pub(crate) fn eventually(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::yield_now();
    }
}

/// A directory that is cleaned of mounts, then removed.
pub(crate) struct Place {
    directory: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self {
            directory: tempfile::Builder::new()
                .prefix("cuttle-host-")
                .tempdir()
                .unwrap(),
        }
    }

    pub(crate) fn path(&self) -> AbsolutePath {
        path(self.directory.path())
    }

    pub(crate) fn directory(&self, name: &str) -> AbsolutePath {
        let made = self.path().join(name).unwrap();
        std::fs::create_dir(&made).unwrap();
        made
    }

    pub(crate) fn file(&self, name: &str, content: &[u8]) -> AbsolutePath {
        let made = self.path().join(name).unwrap();
        std::fs::write(&made, content).unwrap();
        made
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let host = host();
        let table = host.mount_table().unwrap();
        let mut below: Vec<_> = table.below(self.directory.path()).collect();
        // Children come after their parents in the table.
        below.reverse();
        for mount in below {
            let _gone = host.unmount_lazily(&path(&mount.mount_point));
        }
    }
}

/// A loop device over a sparse file in a directory of its own, with room for mount points.
pub(crate) struct Disk {
    pub(crate) device: LoopDevice,
    pub(crate) file: AbsolutePath,
    // Dropped after the device is detached.
    pub(crate) place: Place,
}

impl Disk {
    pub(crate) fn new(size: u64) -> Self {
        Self::attach(size, false)
    }

    pub(crate) fn attach(size: u64, read_only: bool) -> Self {
        let place = Place::new();
        let file = place.path().join("disk").unwrap();
        File::create(&file).unwrap().set_len(size).unwrap();
        let wanted = AttachLoop {
            file: &file,
            direct_io: false,
            read_only,
        };
        let device = host().attach_loop(&wanted).unwrap();
        Self {
            device,
            file,
            place,
        }
    }

    /// A disk with a file system.
    pub(crate) fn formatted(kind: FilesystemKind, size: u64) -> Self {
        let disk = Self::new(size);
        let wanted = MakeFilesystem {
            device: &disk.device.path,
            kind,
            options: None,
        };
        let clearance = host().clear_for_mkfs(&disk.device.path, History::Unknown);
        host().make_filesystem(&wanted, clearance.unwrap()).unwrap();
        disk
    }

    /// Mounts the disk on a new directory of this name.
    pub(crate) fn mount(&self, name: &str, fs_type: &str, flags: &[&str]) -> AbsolutePath {
        let target = self.place.directory(name);
        let options = MountOptions::parse(flags).unwrap();
        let device = &self.device.path;
        let wanted = DeviceMount {
            device,
            target: &target,
            fs_type,
            options: &options,
        };
        host().mount_device(&wanted).unwrap();
        target
    }

    /// Makes the file behind the device larger, without telling the device.
    pub(crate) fn stretch(&self, size: u64) {
        File::options()
            .write(true)
            .open(&self.file)
            .unwrap()
            .set_len(size)
            .unwrap();
    }

    /// Writes into the file behind the device.
    pub(crate) fn scribble(&self, at: u64, bytes: &[u8]) {
        use std::os::unix::fs::FileExt as _;

        let device = File::options().write(true).open(&self.device.path).unwrap();
        device.write_all_at(bytes, at).unwrap();
        device.sync_all().unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let host = host();
        let table = host.mount_table().unwrap();
        for mount in table.of_device(self.device.number) {
            let _gone = host.unmount_lazily(&path(&mount.mount_point));
        }
        let _detached = host.detach_loop(&self.device);
    }
}
