//! What a driver left on the host: mounts, loop devices, processes and files that hold a key.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::daemon;

/// The largest file that is searched for keys; the images' data files are not key files.
const LARGEST_KEY_FILE: u64 = 16 << 20;

/// One mount of this process's mount namespace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mount {
    /// Where it is mounted.
    pub target: PathBuf,
    /// What is mounted.
    pub source: String,
    /// The kernel's name of its file system.
    pub file_system: String,
}

/// One running process.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process {
    /// Its id.
    pub pid: i32,
    /// Its arguments.
    pub words: Vec<String>,
}

/// What is left on the host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Residue {
    /// Mounts at or below the directories.
    pub mounts: Vec<Mount>,
    /// Loop devices over files at or below them, or over deleted files once there.
    pub loop_devices: Vec<PathBuf>,
    /// Processes whose program lies below them; [`crate::Driver`] puts its program there.
    pub processes: Vec<Process>,
    /// Files below them that contain one of the secrets.
    pub key_files: Vec<PathBuf>,
}

/// Looks for everything that belongs to the given directories.
///
/// `secrets` are searched for in every file of up to 16 MiB, without following links or crossing
/// into other mounts. Reads the whole of the directories: give a driver's own, not `/`.
#[must_use]
pub fn host_residue(dirs: &[&Path], secrets: &[&str]) -> Residue {
    let mut residue = Residue {
        mounts: mounts_below(dirs),
        loop_devices: loop_devices_below(dirs),
        processes: processes_below(dirs),
        key_files: Vec::new(),
    };
    for dir in dirs {
        if let Ok(top) = std::fs::symlink_metadata(dir) {
            search(dir, device_of(&top), secrets, &mut residue.key_files);
        }
    }
    residue.key_files.sort();
    residue
}

impl Residue {
    /// Whether nothing is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Residue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for mount in &self.mounts {
            let Mount {
                target,
                source,
                file_system,
            } = mount;
            writeln!(f, "mount {} ({source}, {file_system})", target.display())?;
        }
        for device in &self.loop_devices {
            writeln!(f, "loop device {}", device.display())?;
        }
        for process in &self.processes {
            writeln!(f, "process {}: {}", process.pid, process.words.join(" "))?;
        }
        for file in &self.key_files {
            writeln!(f, "file with a key {}", file.display())?;
        }
        Ok(())
    }
}

/// The mounts at or below these directories.
pub(crate) fn mounts_below(dirs: &[&Path]) -> Vec<Mount> {
    let table = std::fs::read("/proc/self/mountinfo").unwrap_or_default();
    let mut mounts: Vec<Mount> = table
        .split(|byte| *byte == b'\n')
        .filter_map(parse_mount)
        .filter(|mount| dirs.iter().any(|dir| mount.target.starts_with(dir)))
        .collect();
    mounts.sort();
    mounts
}

/// One line of mountinfo: the fifth field is the target, after the lone dash come type and source.
fn parse_mount(line: &[u8]) -> Option<Mount> {
    let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let target = unescape(fields.get(4)?);
    let dash = fields.iter().position(|field| *field == b"-")?;
    Some(Mount {
        target: PathBuf::from(OsStr::from_bytes(&target)),
        file_system: String::from_utf8_lossy(fields.get(dash + 1)?).into_owned(),
        source: String::from_utf8_lossy(&unescape(fields.get(dash + 2)?)).into_owned(),
    })
}

/// Undoes the kernel's octal escapes (`\040` for a space).
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, tail)) = rest.split_first() {
        let octal = tail.get(..3).filter(|_| *first == b'\\');
        let value = octal
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        if let Some(value) = value {
            plain.push(value);
            rest = tail.get(3..).unwrap_or_default();
        } else {
            plain.push(*first);
            rest = tail;
        }
    }
    plain
}

fn loop_devices_below(dirs: &[&Path]) -> Vec<PathBuf> {
    let mut devices: Vec<PathBuf> = entries(Path::new("/sys/block"))
        .filter_map(|entry| {
            let backing = std::fs::read(entry.join("loop/backing_file")).ok()?;
            let backing = Path::new(OsStr::from_bytes(backing.trim_ascii_end())).to_owned();
            let below = dirs.iter().any(|dir| backing.starts_with(dir));
            below.then(|| Path::new("/dev").join(entry.file_name().unwrap_or_default()))
        })
        .collect();
    devices.sort();
    devices
}

fn processes_below(dirs: &[&Path]) -> Vec<Process> {
    let mut processes: Vec<Process> = entries(Path::new("/proc"))
        .filter_map(|entry| {
            let pid = entry.file_name()?.to_str()?.parse().ok()?;
            let program = std::fs::read_link(entry.join("exe")).ok()?;
            let below = dirs.iter().any(|dir| program.starts_with(dir));
            below
                .then(|| daemon::command_line(pid))
                .flatten()
                .map(|words| Process { pid, words })
        })
        .collect();
    processes.sort();
    processes
}

fn entries(dir: &Path) -> impl Iterator<Item = PathBuf> {
    std::fs::read_dir(dir)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
}

fn device_of(metadata: &std::fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::dev(metadata)
}

/// Collects the files below `dir`, on the same device, that contain one of the secrets.
fn search(dir: &Path, device: u64, secrets: &[&str], found: &mut Vec<PathBuf>) {
    for path in entries(dir) {
        let Ok(metadata) = std::fs::symlink_metadata(&path) else {
            continue;
        };
        if device_of(&metadata) != device {
            continue;
        }
        if metadata.is_dir() {
            search(&path, device, secrets, found);
        } else if metadata.is_file() && metadata.len() <= LARGEST_KEY_FILE {
            let bytes = std::fs::read(&path).unwrap_or_default();
            let holds = |secret: &&str| {
                !secret.is_empty()
                    && bytes
                        .windows(secret.len())
                        .any(|part| part == secret.as_bytes())
            };
            if secrets.iter().any(holds) {
                found.push(path);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_line_with_escapes_and_optional_fields_is_read() {
        let line = br"36 35 98:0 /mnt1 /mnt\0402 rw,noatime shared:7 master:1 - ext3 /dev/root rw";
        let mount = parse_mount(line).expect("a mount");
        assert_eq!(mount.target, Path::new("/mnt 2"));
        assert_eq!(
            (mount.source.as_str(), mount.file_system.as_str()),
            ("/dev/root", "ext3")
        );
        assert_eq!(parse_mount(b"garbage"), None);
    }

    #[test]
    fn a_file_with_a_secret_is_found_and_others_are_not() {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(dir.path().join("deep")).expect("a directory");
        let guilty = dir.path().join("deep/keyring");
        std::fs::write(&guilty, "key = AQmarker==\n").expect("a file");
        std::fs::write(dir.path().join("innocent"), "nothing here").expect("a file");
        let residue = host_residue(&[dir.path()], &["AQmarker==", ""]);
        assert_eq!(residue.key_files, [guilty]);
        assert!(!residue.is_empty());
        assert!(host_residue(&[dir.path()], &["AQother=="]).is_empty());
    }

    #[test]
    fn a_process_is_found_by_where_its_program_lies() {
        let dir = tempfile::tempdir().expect("a directory");
        let program = dir.path().join("napper");
        std::fs::copy("/bin/sleep", &program).expect("a copy");
        let log = dir.path().join("log");
        let mut command = daemon::command(daemon::Life::Owned, &program);
        command.arg("60");
        let mut child = daemon::spawn(command, "napper", &log).expect("a child");
        let pid = i32::try_from(child.id()).expect("a process id");
        let seen = crate::until(
            "the process shows",
            std::time::Duration::from_secs(5),
            || {
                host_residue(&[dir.path()], &[])
                    .processes
                    .into_iter()
                    .next()
                    .ok_or_else(String::new)
            },
        );
        child.kill().expect("a signal");
        child.wait().expect("an end");
        assert_eq!(seen.expect("the process").pid, pid);
        assert!(host_residue(&[dir.path()], &[]).processes.is_empty());
    }
}
