//! What is mounted where, as `/proc/self/mountinfo` tells it.
//!
//! Questions are answered from the table alone; the mount points themselves are never touched, so
//! a dead mount cannot hang the asker. Paths are compared as the kernel writes them, that is with
//! all links resolved: resolve a path's directory first ([`Host::real_path`]).

use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use crate::{AbsolutePath, Error, Host};

const TABLE: &str = "/proc/self/mountinfo";

/// How often the table is read until two readings in a row agree.
const READINGS: usize = 5;

/// The number of a device: of a block device, or of the file system on it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceNumber {
    /// The major number: the driver.
    pub major: u32,
    /// The minor number: the device.
    pub minor: u32,
}

impl DeviceNumber {
    /// The number as `stat` gives it.
    pub(crate) fn from_raw(device: u64) -> Self {
        Self {
            major: rustix::fs::major(device),
            minor: rustix::fs::minor(device),
        }
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let (major, minor) = split_once(text, b':')?;
        Some(Self {
            major: number(major)?,
            minor: number(minor)?,
        })
    }
}

/// Text that is no device number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a device number is two numbers with a colon between them")]
pub struct NoDeviceNumber;

impl std::str::FromStr for DeviceNumber {
    type Err = NoDeviceNumber;

    fn from_str(text: &str) -> Result<Self, NoDeviceNumber> {
        Self::parse(text.as_bytes()).ok_or(NoDeviceNumber)
    }
}

impl fmt::Display for DeviceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}

impl fmt::Debug for DeviceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One mount: a line of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// The mount's id, unique while it exists.
    pub id: u32,
    /// The id of the mount it stands on.
    pub parent: u32,
    /// The device of the file system.
    pub device: DeviceNumber,
    /// The part of the file system that is seen here, a path inside it.
    pub root: PathBuf,
    /// Where it is mounted.
    pub mount_point: PathBuf,
    /// The options of this mount, such as `ro,noatime`.
    pub options: String,
    /// The propagation fields, such as `shared:12`.
    pub propagation: Vec<String>,
    /// The kind of file system.
    pub fs_type: String,
    /// What was mounted, as the file system names it.
    pub source: OsString,
    /// The options of the file system itself, such as `rw,errors=remount-ro`.
    pub super_options: String,
}

impl Mount {
    /// Whether nothing can be written through this mount.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        has_ro(&self.options) || has_ro(&self.super_options)
    }

    /// Whether this mount itself is read-only. Its file system may be so, too: from the beginning,
    /// or made so by the kernel after errors.
    #[must_use]
    pub fn was_mounted_read_only(&self) -> bool {
        has_ro(&self.options)
    }

    /// Whether the kernel has made the file system read-only that was mounted writable.
    #[must_use]
    pub fn went_read_only(&self) -> bool {
        has_ro(&self.super_options) && !has_ro(&self.options)
    }
}

fn has_ro(options: &str) -> bool {
    options.split(',').any(|option| option == "ro")
}

/// Why a table could not be understood. Then nothing is concluded from it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{TABLE} line {line} cannot be understood: {what}")]
pub struct MountTableMalformed {
    /// The number of the line, from 1.
    pub line: usize,
    /// What is wrong.
    pub what: &'static str,
}

/// All mounts of the process's mount namespace, in the order of the table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MountTable {
    mounts: Vec<Mount>,
}

impl MountTable {
    /// Reads a table's text.
    ///
    /// # Errors
    /// [`MountTableMalformed`] for the first line that is not in the form proc(5) gives.
    pub fn parse(text: &[u8]) -> Result<Self, MountTableMalformed> {
        let lines = text.split(|byte| *byte == b'\n').enumerate();
        let lines = lines.filter(|(_, line)| !line.is_empty());
        let mounts = lines
            .map(|(index, line)| {
                let line_number = index + 1;
                parse_line(line).map_err(|what| MountTableMalformed {
                    line: line_number,
                    what,
                })
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { mounts })
    }

    /// Every mount, in the order of the table.
    #[must_use]
    pub fn mounts(&self) -> &[Mount] {
        &self.mounts
    }

    /// The mount that is seen at `path`: the last of those stacked exactly there.
    #[must_use]
    pub fn at(&self, path: impl AsRef<Path>) -> Option<&Mount> {
        let here: Vec<&Mount> = self.stacked_at(path.as_ref()).collect();
        // The topmost of a stack is the one no other mount of the stack stands on.
        let topmost = here
            .iter()
            .rev()
            .find(|mount| !here.iter().any(|other| other.parent == mount.id));
        topmost.or_else(|| here.last()).copied()
    }

    /// Whether something is mounted exactly at `path`.
    #[must_use]
    pub fn is_mount_point(&self, path: impl AsRef<Path>) -> bool {
        self.stacked_at(path.as_ref()).next().is_some()
    }

    /// How many mounts are stacked exactly at `path`.
    #[must_use]
    pub fn count_at(&self, path: impl AsRef<Path>) -> usize {
        self.stacked_at(path.as_ref()).count()
    }

    fn stacked_at<'a>(&'a self, path: &Path) -> impl DoubleEndedIterator<Item = &'a Mount> {
        self.mounts
            .iter()
            .filter(move |mount| mount.mount_point == path)
    }

    /// The mount through which `path` is reached, by the text of both: the topmost of those at the
    /// deepest mount point that is `path` itself or a directory above it.
    #[must_use]
    pub fn holding(&self, path: &Path) -> Option<&Mount> {
        let above = self.mounts.iter().map(|mount| &mount.mount_point);
        let above = above.filter(|point| path.starts_with(point));
        let deepest = above.max_by_key(|point| point.components().count())?;
        self.at(deepest)
    }

    /// The mounts of the file system on this device.
    pub fn of_device(&self, device: DeviceNumber) -> impl Iterator<Item = &Mount> {
        self.mounts
            .iter()
            .filter(move |mount| mount.device == device)
    }

    /// The mounts below `path`, itself not counted.
    pub fn below<'a>(&'a self, path: &'a Path) -> impl Iterator<Item = &'a Mount> {
        self.mounts
            .iter()
            .filter(move |mount| mount.mount_point != path && mount.mount_point.starts_with(path))
    }
}

/// Reads one line: `id parent major:minor root point options [propagation…] - type source super`.
fn parse_line(line: &[u8]) -> Result<Mount, &'static str> {
    let mut fields = line.split(|byte| *byte == b' ');
    let mut next = |missing| fields.next().ok_or(missing);
    let id = number(next("no mount id")?).ok_or("the mount id is not a number")?;
    let parent = number(next("no parent id")?).ok_or("the parent id is not a number")?;
    let device = DeviceNumber::parse(next("no device")?).ok_or("the device is not major:minor")?;
    let root = path(next("no root")?);
    let mount_point = path(next("no mount point")?);
    let options = text(next("no mount options")?);
    let mut propagation = Vec::new();
    loop {
        match next("no separator after the propagation fields")? {
            b"-" => break,
            field => propagation.push(text(field)),
        }
    }
    let fs_type = text(next("no file system type")?);
    // A file system may give an empty source; then two spaces follow each other.
    let source = OsString::from_vec(unescape(next("no source")?));
    let super_options = text(next("no file system options")?);
    Ok(Mount {
        id,
        parent,
        device,
        root,
        mount_point,
        options,
        propagation,
        fs_type,
        source,
        super_options,
    })
}

fn number(digits: &[u8]) -> Option<u32> {
    let plain = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let digits = std::str::from_utf8(digits).ok().filter(|_| plain)?;
    digits.parse().ok()
}

fn path(field: &[u8]) -> PathBuf {
    PathBuf::from(OsString::from_vec(unescape(field)))
}

fn text(field: &[u8]) -> String {
    String::from_utf8_lossy(&unescape(field)).into_owned()
}

fn split_once(bytes: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    let at = bytes.iter().position(|byte| *byte == separator)?;
    Some((bytes.get(..at)?, bytes.get(at + 1..)?))
}

/// Undoes the kernel's escapes: `\` and three octal digits stand for one byte.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((byte, after)) = rest.split_first() {
        let escaped = (*byte == b'\\')
            .then(|| after.get(..3).and_then(octal))
            .flatten();
        if let Some(value) = escaped {
            plain.push(value);
            rest = after.get(3..).unwrap_or_default();
        } else {
            plain.push(*byte);
            rest = after;
        }
    }
    plain
}

fn octal(digits: &[u8]) -> Option<u8> {
    let value = digits.iter().try_fold(0_u16, |value, digit| {
        (b'0'..=b'7')
            .contains(digit)
            .then(|| value * 8 + u16::from(digit - b'0'))
    })?;
    u8::try_from(value).ok()
}

impl MountTable {
    /// One reading of this process's table, past the door: for the doorkeeping itself.
    pub(crate) fn of_this_process() -> Result<Self, Error> {
        let text = std::fs::read(TABLE);
        let text = text.map_err(|error| Error::io("host.mount_table", TABLE, "read", &error))?;
        Ok(Self::parse(&text)?)
    }
}

impl Host {
    /// Reads the mount table of this process's mount namespace.
    ///
    /// The kernel hands the table out in pieces, and older kernels may skip a line when mounts
    /// change in between; it is read until two readings in a row agree, at most five times.
    ///
    /// # Errors
    /// [`Error::MountTable`] when a line cannot be understood, or the errno of reading.
    pub fn mount_table(&self) -> Result<MountTable, Error> {
        let call = "host.mount_table";
        self.door.call(call, TABLE, || {
            let read =
                || std::fs::read(TABLE).map_err(|error| Error::io(call, TABLE, "read", &error));
            let mut last = read()?;
            for _ in 1..READINGS {
                let again = read()?;
                if again == last {
                    break;
                }
                last = again;
            }
            Ok(MountTable::parse(&last)?)
        })
    }

    /// The mount seen at `path`, whose directory is resolved first; `None` when `path` is not a
    /// mount point or its directory does not exist. The path itself is not touched.
    ///
    /// # Errors
    /// As [`Host::real_path`] and [`Host::mount_table`].
    pub fn mount_at(&self, path: &AbsolutePath) -> Result<Option<Mount>, Error> {
        let real = match self.real_path(path) {
            Ok(real) => real,
            Err(error) if error.is_absent() => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(self.mount_table()?.at(&real).cloned())
    }

    /// Whether something is mounted at `path`; as [`Host::mount_at`].
    ///
    /// # Errors
    /// As [`Host::mount_at`].
    pub fn is_mount_point(&self, path: &AbsolutePath) -> Result<bool, Error> {
        Ok(self.mount_at(path)?.is_some())
    }
}

#[cfg(test)]
mod tests;
