//! Who holds a device or a mount beside this mount namespace, as far as `/proc` tells: for messages.
//!
//! A container that starts while a volume is mounted gets a copy of the mount. When the volume is
//! unmounted here, the copy keeps its device busy, and this mount table shows nothing of it.
//!
//! Only processes that this process sees are looked at: all of the machine's where the plugin runs
//! in the host's PID namespace.

use std::collections::HashSet;
use std::fmt;
use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, StatxFlags, statx};

use crate::{DeviceNumber, Error, Host, Mount, MountTable};

/// The most holders that are named.
const MOST_NAMED: usize = 8;

/// The most that is read of a mount table.
const LONGEST_TABLE: u64 = 16 << 20;

/// A process that holds something, or lives in a mount namespace that does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its id.
    pub pid: u32,
    /// Its name.
    pub program: String,
    /// What it holds.
    pub holds: Held,
}

/// What a process holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Held {
    /// Its mount namespace shows the mount here.
    Mount(PathBuf),
    /// It has the device, or a file on it, open.
    File(PathBuf),
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (pid, program) = (self.pid, &self.program);
        match &self.holds {
            Held::Mount(path) => write!(
                f,
                "mounted on {} in the mount namespace of process {pid} ({program})",
                path.display()
            ),
            Held::File(path) => write!(
                f,
                "{} is held open by process {pid} ({program})",
                path.display()
            ),
        }
    }
}

impl Host {
    /// Who holds a block device: mounts in other mount namespaces (one process of each is named),
    /// and processes that have it, or a file of the file system on it, open. At most eight.
    ///
    /// What cannot be read (a process that ends meanwhile) is passed over.
    ///
    /// # Blocking
    /// As long as reading `/proc` takes. Files are not touched, so none on a dead mount hangs this.
    ///
    /// # Errors
    /// The errno of reading `/proc` itself.
    pub fn holders_of_device(&self, device: DeviceNumber) -> Result<Vec<Holder>, Error> {
        let target = device.to_string();
        self.door.call("host.holders", target, || {
            let mut holders = elsewhere(|mount| mount.device == device)?;
            holders.extend(openers(device)?);
            holders.truncate(MOST_NAMED);
            Ok(holders)
        })
    }

    /// The mounts in other mount namespaces of which `is_meant`; as [`Host::holders_of_device`].
    ///
    /// # Errors
    /// As [`Host::holders_of_device`].
    pub fn mounts_elsewhere(
        &self,
        is_meant: impl Fn(&Mount) -> bool,
    ) -> Result<Vec<Holder>, Error> {
        self.door.call("host.holders", "/proc", || {
            let mut holders = elsewhere(&is_meant)?;
            holders.truncate(MOST_NAMED);
            Ok(holders)
        })
    }
}

/// The processes, by number.
fn processes() -> Result<Vec<u32>, Error> {
    let failed = |error: std::io::Error| Error::io("host.holders", "/proc", "getdents", &error);
    let mut pids = Vec::new();
    for entry in fs::read_dir("/proc").map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        pids.extend(name.to_str().and_then(|name| name.parse::<u32>().ok()));
    }
    pids.sort_unstable();
    Ok(pids)
}

fn elsewhere(is_meant: impl Fn(&Mount) -> bool) -> Result<Vec<Holder>, Error> {
    let namespace_of = |process: &str| {
        let namespace = fs::metadata(format!("/proc/{process}/ns/mnt"));
        namespace.ok().map(|namespace| namespace.ino())
    };
    let mut seen: HashSet<u64> = namespace_of("self").into_iter().collect();
    let mut holders = Vec::new();
    for pid in processes()? {
        let is_new = namespace_of(&pid.to_string()).is_some_and(|namespace| seen.insert(namespace));
        if !is_new {
            continue;
        }
        let table = read_table(pid).and_then(|text| MountTable::parse(&text).ok());
        let table = table.unwrap_or_default();
        let mut mounts = table.mounts().iter();
        if let Some(mount) = mounts.find(|mount| is_meant(mount)) {
            holders.push(Holder {
                pid,
                program: program_of(pid),
                holds: Held::Mount(mount.mount_point.clone()),
            });
        }
    }
    Ok(holders)
}

fn read_table(pid: u32) -> Option<Vec<u8>> {
    let file = fs::File::open(format!("/proc/{pid}/mountinfo")).ok()?;
    let mut text = Vec::new();
    file.take(LONGEST_TABLE).read_to_end(&mut text).ok()?;
    Some(text)
}

/// The processes that have the device, or a file on it, open: one line for each.
fn openers(device: DeviceNumber) -> Result<Vec<Holder>, Error> {
    let own = std::process::id();
    let mut holders = Vec::new();
    for pid in processes()? {
        if pid == own || holders.len() >= MOST_NAMED {
            continue;
        }
        let of_process = PathBuf::from(format!("/proc/{pid}"));
        let places = ["cwd", "root"].map(|name| of_process.join(name));
        let descriptors = fs::read_dir(of_process.join("fd")).into_iter().flatten();
        let descriptors = descriptors.flatten().map(|entry| entry.path());
        let mut held = places.into_iter().chain(descriptors);
        if let Some(link) = held.find(|link| is_on(link, device)) {
            let path = fs::read_link(&link).unwrap_or(link);
            holders.push(Holder {
                pid,
                program: program_of(pid),
                holds: Held::File(path),
            });
        }
    }
    Ok(holders)
}

/// Whether what the link of `/proc` stands for is the device or on it. The server of a network or
/// FUSE file system is not asked.
fn is_on(link: &Path, device: DeviceNumber) -> bool {
    let flags = AtFlags::STATX_DONT_SYNC;
    let Ok(found) = statx(CWD, link, flags, StatxFlags::TYPE) else {
        return false;
    };
    let is = |major, minor| DeviceNumber { major, minor } == device;
    let kind = FileType::from_raw_mode(found.stx_mode.into());
    is(found.stx_dev_major, found.stx_dev_minor)
        || (kind == FileType::BlockDevice && is(found.stx_rdev_major, found.stx_rdev_minor))
}

fn program_of(pid: u32) -> String {
    let name = fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
    let name = String::from_utf8_lossy(&name);
    name.trim().replace(char::is_control, "?")
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use super::*;
    use crate::fixture::{Disk, MIB, eventually, host};
    use crate::{Error, FilesystemKind};

    /// A stranger's process, killed when dropped.
    struct Stranger(Child);

    impl Stranger {
        #[expect(clippy::disallowed_methods, reason = "it is not the driver's")]
        fn start(words: &[&str]) -> Self {
            let child = Command::new(words[0]).args(&words[1..]).spawn();
            Self(child.unwrap())
        }
    }

    impl Drop for Stranger {
        fn drop(&mut self) {
            self.0.kill().unwrap();
            self.0.wait().unwrap();
        }
    }

    #[test]
    fn a_copy_of_a_mount_in_another_namespace_is_found_and_named() {
        let (host, disk) = (host(), Disk::formatted(FilesystemKind::Ext4, 16 * MIB));
        let target = disk.mount("m", "ext4", &[]);
        let number = disk.device.number;
        let words = [
            "unshare",
            "--mount",
            "--propagation",
            "private",
            "sleep",
            "600",
        ];
        let stranger = Stranger::start(&words);
        eventually("the stranger has its copy", || {
            !host.holders_of_device(number).unwrap().is_empty()
        });
        host.unmount(&target).unwrap();
        let expected = Holder {
            pid: stranger.0.id(),
            program: "sleep".to_owned(),
            holds: Held::Mount(target.as_path().to_owned()),
        };
        eventually("it is the stranger", || {
            host.holders_of_device(number).unwrap() == [expected.clone()]
        });
        let by_device = |mount: &Mount| mount.device == number;
        let found = host.mounts_elsewhere(by_device).unwrap();
        assert_eq!(found, std::slice::from_ref(&expected));
        let error = host.detach_loop(&disk.device).unwrap_err();
        assert!(matches!(error, Error::LoopBusy { .. }), "{error}");
        assert!(error.to_string().contains(&expected.to_string()), "{error}");
        drop(stranger);
        host.detach_loop(&disk.device).unwrap();
    }

    #[test]
    fn whoever_has_a_device_or_a_file_on_it_open_is_named() {
        let (host, disk) = (host(), Disk::formatted(FilesystemKind::Ext4, 16 * MIB));
        let number = disk.device.number;
        assert_eq!(host.holders_of_device(number).unwrap(), []);
        let holds = |script: &str, path: &str| {
            let stranger = Stranger::start(&["sh", "-c", script]);
            eventually("the stranger is found", || {
                let holders = host.holders_of_device(number).unwrap();
                let wanted = format!("{path} is held open by process {}", stranger.0.id());
                holders
                    .iter()
                    .any(|holder| holder.to_string().contains(&wanted))
            });
        };
        let device = &disk.device.path;
        holds(
            &format!("exec 9<{device}; exec sleep 600"),
            &device.to_string(),
        );
        let target = disk.mount("m", "ext4", &[]);
        let file = format!("{target}/file");
        holds(&format!("exec 9>{file}; exec sleep 600"), &file);
        holds(&format!("cd {target}; exec sleep 600"), &target.to_string());
    }
}
