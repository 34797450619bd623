//! Putting a working mount over every place where a dead one is seen.
//!
//! A file system in user space that has died stays mounted, and answers ENOTCONN: at its staging
//! directory, at the targets of pods, and as copies inside the mount namespaces of their
//! containers, which nothing propagates into. Each of these places is a line of some process's
//! mount table with the number of the dead file system, which the kernel gives to no other as long
//! as one of them is left. So none is missed, and nothing else is hit.
//!
//! ```text
//!  /pods/a  ─ dead            new ─ /pods/a (as read-only as the one below)
//!                             dead
//! ```
//!
//! The new mount is stacked on the dead one: at no instant is the bare directory below seen. What
//! processes have open stays dead; what they open from then on works.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, UnmountFlags, move_mount, open_tree, unmount};

use crate::children::Failure;
use crate::paths::c_string;
use crate::syscalls::{MountAttr, enter_mounts, mount_setattr, numbered};
use crate::{AbsolutePath, DeviceNumber, Error, Host, Mount, MountOptions, MountTable};

/// How often the places are looked for: containers may start, with copies, in the meantime.
const ROUNDS: usize = 3;

/// `MS_PRIVATE`, as mount_setattr(2) takes it.
const PRIVATE: u64 = 1 << 18;

/// What became of the places of a dead mount.
#[derive(Debug, Default)]
pub struct Replaced {
    /// At how many places the new mount is seen now.
    pub places: usize,
    /// The places where it could not be put, and why. They stay dead.
    pub failed: Vec<(String, Error)>,
}

/// A mount namespace, and a process in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Namespace {
    /// `None`: that of this process.
    pid: Option<u32>,
}

impl Host {
    /// Puts a copy of the mount at `with` over every mount of the file system `dead` in this mount
    /// namespace. Each copy shows the same part of the file system, with the same attributes, as
    /// the mount it covers.
    ///
    /// # Guarantees
    /// Only mounts of `dead` that are on top at their place are covered. Whether a place is what
    /// the table said is checked again when it is entered.
    ///
    /// # Idempotency
    /// A second call finds nothing to do.
    ///
    /// # Blocking
    /// At most [`Limits::mount`](crate::Limits::mount) for each place.
    ///
    /// # Errors
    /// When this process's table cannot be read. A place that fails is told in the answer.
    pub fn replace_mounts(
        &self,
        dead: DeviceNumber,
        with: &AbsolutePath,
    ) -> Result<Replaced, Error> {
        let mut replaced = Replaced::default();
        self.replace_in(Namespace { pid: None }, dead, with, &mut replaced)?;
        Ok(replaced)
    }

    /// As [`Host::replace_mounts`], in all other mount namespaces that processes are in. Call it
    /// after that: what has propagated from here needs no covering there.
    ///
    /// # Blocking
    /// As [`Host::replace_mounts`]; and reading about processes may wait for one that is stuck in
    /// the kernel. Call it from a thread that may wait.
    ///
    /// # Errors
    /// When `/proc` cannot be read. A place that fails is told in the answer.
    pub fn replace_mounts_elsewhere(
        &self,
        dead: DeviceNumber,
        with: &AbsolutePath,
    ) -> Result<Replaced, Error> {
        let mut replaced = Replaced::default();
        for _ in 0..ROUNDS {
            replaced.failed.clear();
            let before = replaced.places;
            for namespace in self.other_namespaces()? {
                // A process that has ended in the meantime takes its namespace out of sight.
                if let Err(error) = self.replace_in(namespace, dead, with, &mut replaced)
                    && !error.is_absent()
                {
                    let place = format!("the mounts of process {:?}", namespace.pid);
                    replaced.failed.push((place, error));
                }
            }
            if replaced.places == before {
                break;
            }
        }
        Ok(replaced)
    }

    fn replace_in(
        &self,
        namespace: Namespace,
        dead: DeviceNumber,
        with: &AbsolutePath,
        replaced: &mut Replaced,
    ) -> Result<(), Error> {
        let table = match namespace.pid {
            None => self.mount_table()?,
            Some(pid) => self.mount_table_of(pid)?,
        };
        for mount in table.of_device(dead) {
            let is_seen = table
                .at(&mount.mount_point)
                .is_some_and(|top| top.id == mount.id);
            if !is_seen || mount.mount_point == with.as_path() {
                continue;
            }
            match self.cover(namespace, &table, mount, with) {
                Ok(()) => replaced.places += 1,
                Err(error) => {
                    let place = mount.mount_point.display().to_string();
                    let place = match namespace.pid {
                        None => place,
                        Some(pid) => format!("{place} as process {pid} sees it"),
                    };
                    replaced.failed.push((place, error));
                }
            }
        }
        Ok(())
    }

    fn cover(
        &self,
        namespace: Namespace,
        table: &MountTable,
        mount: &Mount,
        with: &AbsolutePath,
    ) -> Result<(), Error> {
        let plan = Cover::plan(namespace, table, mount, with)?;
        let target = mount.mount_point.display();
        let answer = self.aside("host.replace", target, self.limits.mount, |_| {
            plan.carry_out()
        });
        answer.map(|_empty| ())
    }

    /// One process of each mount namespace but this one's.
    fn other_namespaces(&self) -> Result<Vec<Namespace>, Error> {
        let call = "host.namespaces";
        self.door.call(call, "/proc", || {
            let failed = |error: &std::io::Error| Error::io(call, "/proc", "read", error);
            let own = std::fs::read_link("/proc/self/ns/mnt").map_err(|error| failed(&error))?;
            let mut found = BTreeMap::new();
            for entry in std::fs::read_dir("/proc").map_err(|error| failed(&error))? {
                let entry = entry.map_err(|error| failed(&error))?;
                let pid = entry
                    .file_name()
                    .to_str()
                    .and_then(|name| name.parse().ok());
                // Processes come and go while the directory is read.
                let name = std::fs::read_link(entry.path().join("ns/mnt"));
                if let (Some(pid), Ok(name)) = (pid, name)
                    && name != own
                {
                    found.entry(name).or_insert(Namespace { pid: Some(pid) });
                }
            }
            Ok(found.into_values().collect())
        })
    }
}

/// The prepared arguments for covering one mount.
struct Cover {
    /// What is shown: a path in this process's namespace.
    source: CString,
    /// The other namespace, and the root of a process in it.
    elsewhere: Option<(CString, CString)>,
    /// Where, seen from that root.
    target: CString,
    /// The mount that must be there.
    expected: u32,
    /// The dead mount below it, if there is one: then the upper one is taken away first, so that
    /// dead mounts do not pile up.
    below: Option<u32>,
    attributes: MountAttr,
}

impl Cover {
    fn plan(
        namespace: Namespace,
        table: &MountTable,
        mount: &Mount,
        with: &AbsolutePath,
    ) -> Result<Self, Error> {
        let shown = mount
            .root
            .strip_prefix("/")
            .unwrap_or_else(|_| Path::new(""));
        let source = AbsolutePath::new(with.as_path().join(shown))?;
        let options = MountOptions::parse([&mount.options])?;
        let mut attributes = options.for_setattr().unwrap_or_default();
        if namespace.pid.is_some() {
            attributes.propagation = PRIVATE;
        }
        let below = table
            .mounts()
            .iter()
            .find(|other| other.id == mount.parent && other.mount_point == mount.mount_point)
            .filter(|other| other.fs_type == mount.fs_type);
        Ok(Self {
            source: source.to_c(),
            elsewhere: namespace.pid.map(|pid| {
                let of = |what: &str| c_string(format!("/proc/{pid}/{what}").as_bytes());
                (of("ns/mnt"), of("root"))
            }),
            target: c_string(mount.mount_point.as_os_str().as_bytes()),
            expected: mount.id,
            below: below.map(|other| other.id),
            attributes,
        })
    }

    /// Runs in a forked child: raw system calls only.
    fn carry_out(&self) -> Result<(), Failure> {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
        let copy =
            open_tree(CWD, self.source.as_c_str(), flags).map_err(Failure::at("open_tree"))?;
        mount_setattr(copy.as_fd(), &self.attributes).map_err(Failure::at("mount_setattr"))?;
        // The /proc of the other namespace may know nothing of this process.
        let own = open_path(c"/proc/self/fdinfo")?;
        if let Some((namespace, root)) = &self.elsewhere {
            let root = open_path(root)?;
            enter_mounts(open_file(namespace)?, root).map_err(Failure::at("setns"))?;
        }
        let mut target = self.open_target()?;
        expect_mount(&own, &target, self.expected)?;
        if let Some(below) = self.below {
            drop(target);
            let flags = UnmountFlags::DETACH | UnmountFlags::NOFOLLOW;
            unmount(self.target.as_c_str(), flags).map_err(Failure::at("umount2"))?;
            target = self.open_target()?;
            expect_mount(&own, &target, below)?;
        }
        let flags =
            MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        move_mount(&copy, c"", &target, c"", flags).map_err(Failure::at("move_mount"))
    }

    fn open_target(&self) -> Result<OwnedFd, Failure> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = openat2(
            CWD,
            self.target.as_c_str(),
            flags,
            Mode::empty(),
            ResolveFlags::NO_SYMLINKS,
        );
        opened.map_err(Failure::at("open"))
    }
}

fn open_path(path: &CStr) -> Result<OwnedFd, Failure> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(CWD, path, flags, Mode::empty()).map_err(Failure::at("open"))
}

fn open_file(path: &CStr) -> Result<OwnedFd, Failure> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    openat(CWD, path, flags, Mode::empty()).map_err(Failure::at("open"))
}

/// Fails with ESTALE unless the descriptor was opened on this mount. Asks the kernel alone, not the
/// file system.
fn expect_mount(fdinfo: &OwnedFd, opened: &OwnedFd, mount: u32) -> Result<(), Failure> {
    let mut name = [0_u8; 16];
    let number = u32::try_from(opened.as_raw_fd()).unwrap_or(u32::MAX);
    let name = numbered(b"", number, &mut name);
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let info = openat(fdinfo, name, flags, Mode::empty()).map_err(Failure::at("open"))?;
    let mut text = [0_u8; 256];
    let count = rustix::io::read(&info, &mut text).map_err(Failure::at("read"))?;
    let found = text.get(..count).and_then(mount_id);
    if found == Some(mount) {
        Ok(())
    } else {
        Err(Failure::at("open")(Errno::STALE))
    }
}

/// The number behind `mnt_id:` in a descriptor's fdinfo.
fn mount_id(text: &[u8]) -> Option<u32> {
    let line = text
        .split(|byte| *byte == b'\n')
        .find_map(|line| line.strip_prefix(b"mnt_id:"))?;
    let digits = std::str::from_utf8(line.trim_ascii()).ok()?;
    digits.parse().ok()
}

impl Host {
    /// The mount table as another process sees it.
    ///
    /// # Errors
    /// ENOENT when the process has ended; as [`Host::mount_table`].
    fn mount_table_of(&self, pid: u32) -> Result<MountTable, Error> {
        let (call, path) = ("host.mount_table", format!("/proc/{pid}/mountinfo"));
        self.door.call(call, &path, || {
            let text = std::fs::read(OsStr::new(&path));
            let text = text.map_err(|error| match error.raw_os_error() {
                // The process is about to end and is in no namespace any more.
                Some(libc::EINVAL | libc::ESRCH) => Error::call(call, &path, "read", Errno::NOENT),
                _ => Error::io(call, &path, "read", &error),
            })?;
            Ok(MountTable::parse(&text)?)
        })
    }
}

#[cfg(test)]
mod tests;
