//! Absolute paths, and the few things the driver does to files and directories.

use std::ffi::{CString, OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags};

use crate::children::{Failure, Reply};
use crate::mount_table::DeviceNumber;
use crate::{Error, Host};

/// The longest path the kernel takes, without its closing NUL.
const LONGEST: usize = 4095;

/// A path that names one place whatever the working directory: absolute, without `..`, without
/// NUL, not longer than the kernel takes. Repeated slashes and `.` are taken out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AbsolutePath(PathBuf);

/// Why a path was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("path {path:?} {rule}")]
pub struct PathRefused {
    /// The path, shortened.
    pub path: String,
    /// The rule it breaks.
    pub rule: &'static str,
}

impl AbsolutePath {
    /// Checks a path.
    ///
    /// # Errors
    /// [`PathRefused`] names the rule that is broken.
    pub fn new(path: impl Into<OsString>) -> Result<Self, PathRefused> {
        let path = PathBuf::from(path.into());
        let refused = |rule| {
            let path: String = path.to_string_lossy().chars().take(200).collect();
            Err(PathRefused { path, rule })
        };
        let bytes = path.as_os_str().as_bytes();
        if bytes.contains(&0) {
            return refused("contains a NUL byte");
        }
        if bytes.len() > LONGEST {
            return refused("is longer than 4095 bytes");
        }
        if !path.is_absolute() {
            return refused("is not absolute");
        }
        let mut clean = PathBuf::from("/");
        for component in path.components() {
            match component {
                Component::Normal(name) => clean.push(name),
                Component::ParentDir => return refused("contains '..'"),
                Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
            }
        }
        Ok(Self(clean))
    }

    /// The path.
    #[must_use]
    pub fn as_path(&self) -> &Path {
        &self.0
    }

    /// The entry of this name below the path.
    ///
    /// # Errors
    /// [`PathRefused`] when `name` is not one plain name, or the whole grows too long.
    pub fn join(&self, name: impl AsRef<OsStr>) -> Result<Self, PathRefused> {
        let name = name.as_ref();
        let mut components = Path::new(name).components();
        let plain = matches!(components.next(), Some(Component::Normal(only)) if only == name)
            && components.next().is_none();
        if !plain {
            let path = name.to_string_lossy().chars().take(200).collect();
            let rule = "is not a plain name of one component";
            return Err(PathRefused { path, rule });
        }
        Self::new(self.0.join(name))
    }

    /// The directory that holds the path; `None` for the root.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        self.0.parent().map(|parent| Self(parent.to_owned()))
    }

    /// The last name of the path; `None` for the root.
    #[must_use]
    pub fn file_name(&self) -> Option<&OsStr> {
        self.0.file_name()
    }

    /// The path for a system call. Checked paths hold no NUL, so nothing is lost.
    pub(crate) fn to_c(&self) -> CString {
        c_string(self.0.as_os_str().as_bytes())
    }

    /// A path made by the kernel, which is trusted to be absolute.
    pub(crate) fn from_kernel(bytes: Vec<u8>) -> Result<Self, PathRefused> {
        Self::new(OsString::from_vec(bytes))
    }
}

/// A C string of these bytes up to the first NUL.
pub(crate) fn c_string(bytes: &[u8]) -> CString {
    let end = bytes
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(bytes.len());
    CString::new(bytes.get(..end).unwrap_or_default()).unwrap_or_default()
}

impl fmt::Display for AbsolutePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}

impl AsRef<Path> for AbsolutePath {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

impl TryFrom<&str> for AbsolutePath {
    type Error = PathRefused;

    fn try_from(path: &str) -> Result<Self, PathRefused> {
        Self::new(path)
    }
}

impl TryFrom<&Path> for AbsolutePath {
    type Error = PathRefused;

    fn try_from(path: &Path) -> Result<Self, PathRefused> {
        Self::new(path)
    }
}

/// What stands at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// A symbolic link.
    Link,
    /// A block device with this number.
    BlockDevice(DeviceNumber),
    /// Anything else: socket, pipe, character device.
    Other,
}

impl EntryKind {
    /// The kind in words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Directory => "a directory",
            Self::File => "a regular file",
            Self::Link => "a symbolic link",
            Self::BlockDevice(_) => "a block device",
            Self::Other => "neither file, directory nor block device",
        }
    }
}

/// An entry as lstat sees it; links are not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PathEntry {
    /// What it is.
    pub kind: EntryKind,
    /// Permission bits.
    pub mode: u32,
    /// The size in bytes (of a file).
    pub size: u64,
    /// The device of the file system it stands on.
    pub device: DeviceNumber,
    /// Its inode number there.
    pub inode: u64,
}

impl PathEntry {
    /// Reads what the child of [`Host::entry`] wrote: five native 64-bit numbers.
    fn from_reply(bytes: &[u8]) -> Option<Self> {
        let word = |index: usize| -> Option<u64> {
            let bytes = bytes.get(index * 8..index * 8 + 8)?;
            Some(u64::from_ne_bytes(bytes.try_into().ok()?))
        };
        let mode = u32::try_from(word(0)?).ok()?;
        let kind = match mode & libc::S_IFMT {
            libc::S_IFDIR => EntryKind::Directory,
            libc::S_IFREG => EntryKind::File,
            libc::S_IFLNK => EntryKind::Link,
            libc::S_IFBLK => EntryKind::BlockDevice(DeviceNumber::from_raw(word(2)?)),
            _ => EntryKind::Other,
        };
        Some(Self {
            kind,
            mode: mode & 0o7777,
            size: word(1)?,
            device: DeviceNumber::from_raw(word(3)?),
            inode: word(4)?,
        })
    }
}

/// Writes a stat into the reply, for [`PathEntry::from_reply`].
pub(crate) fn reply_stat(reply: &mut Reply, stat: &rustix::fs::Stat) {
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    for word in [
        u64::from(stat.st_mode),
        size,
        stat.st_rdev,
        stat.st_dev,
        stat.st_ino,
    ] {
        reply.push(&word.to_ne_bytes());
    }
}

impl Host {
    /// What stands at `path`, links not followed; `None` when nothing does.
    ///
    /// # Blocking
    /// At most [`Limits::look`](crate::Limits::look), even on a dead mount.
    ///
    /// # Errors
    /// [`Error::Hung`], or the errno of lstat.
    pub fn entry(&self, path: &AbsolutePath) -> Result<Option<PathEntry>, Error> {
        let (call, name) = ("host.stat", path.to_c());
        let answer = self.aside(call, path, self.limits.look, |reply| {
            let stat = rustix::fs::lstat(name.as_c_str()).map_err(Failure::at("lstat"))?;
            reply_stat(reply, &stat);
            Ok(())
        });
        match answer {
            Ok(bytes) => match PathEntry::from_reply(&bytes) {
                Some(entry) => Ok(Some(entry)),
                None => Err(Error::ChildLost {
                    call,
                    target: path.to_string(),
                }),
            },
            Err(error) if error.is_absent() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Where `path` really is, when the directories above it are reached through links: the real
    /// path of its directory, with its last name unchanged. The entry itself is not touched, so a
    /// dead mount there does no harm.
    ///
    /// # Errors
    /// As [`Host::entry`]; ENOENT when the directory does not exist.
    pub fn real_path(&self, path: &AbsolutePath) -> Result<AbsolutePath, Error> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Ok(path.clone());
        };
        let c_parent = parent.to_c();
        let real = self.aside("host.real_path", path, self.limits.look, |reply| {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let fd = rustix::fs::open(c_parent.as_c_str(), flags, Mode::empty())
                .map_err(Failure::at("open"))?;
            crate::syscalls::reply_path_of(&fd, reply)
        })?;
        Ok(AbsolutePath::from_kernel(real)?.join(name)?)
    }

    /// Makes sure that `path` is a directory; answers whether it was made now.
    ///
    /// `mode` is subject to the process's umask. The directory above must exist.
    ///
    /// # Errors
    /// [`Error::WrongKind`] when something else stands there, or the errno of mkdir.
    pub fn ensure_directory(&self, path: &AbsolutePath, mode: u32) -> Result<bool, Error> {
        let made = self.door.call("host.mkdir", path, || {
            match rustix::fs::mkdir(path.as_path(), Mode::from_raw_mode(mode)) {
                Ok(()) => Ok(true),
                Err(rustix::io::Errno::EXIST) => Ok(false),
                Err(errno) => Err(Error::call("host.mkdir", path, "mkdir", errno)),
            }
        })?;
        if !made {
            self.expect_kind(path, "a directory", |kind| kind == EntryKind::Directory)?;
        }
        Ok(made)
    }

    /// Makes sure that `path` is a regular file (or, where a device was bound over it, that
    /// device); answers whether an empty file was made now.
    ///
    /// # Errors
    /// [`Error::WrongKind`] when something else stands there, or the errno of open.
    pub fn ensure_file(&self, path: &AbsolutePath, mode: u32) -> Result<bool, Error> {
        let call = "host.create";
        let made = self.door.call(call, path, || {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
            match rustix::fs::open(path.as_path(), flags, Mode::from_raw_mode(mode)) {
                Ok(_made) => Ok(true),
                Err(rustix::io::Errno::EXIST) => Ok(false),
                Err(errno) => Err(Error::call(call, path, "open", errno)),
            }
        })?;
        if !made {
            self.expect_kind(path, "a regular file", |kind| {
                matches!(kind, EntryKind::File | EntryKind::BlockDevice(_))
            })?;
        }
        Ok(made)
    }

    fn expect_kind(
        &self,
        path: &AbsolutePath,
        expected: &'static str,
        fits: impl Fn(EntryKind) -> bool,
    ) -> Result<(), Error> {
        let Some(entry) = self.entry(path)? else {
            let errno = rustix::io::Errno::NOENT;
            return Err(Error::call("host.stat", path, "lstat", errno));
        };
        if fits(entry.kind) {
            return Ok(());
        }
        Err(Error::WrongKind {
            path: path.to_string(),
            found: entry.kind.words(),
            expected,
        })
    }

    /// Removes an empty directory; answers whether there was one. Never removes content.
    ///
    /// # Errors
    /// The errno of rmdir: ENOTEMPTY when it has content, EBUSY when something is mounted there.
    pub fn remove_directory(&self, path: &AbsolutePath) -> Result<bool, Error> {
        self.remove("host.rmdir", path, AtFlags::REMOVEDIR)
    }

    /// Removes a file; answers whether there was one. A half-written copy that
    /// [`Host::write_file`] may have left beside it when the machine stopped goes too.
    ///
    /// # Errors
    /// The errno of unlink: EBUSY when something is mounted there.
    pub fn remove_file(&self, path: &AbsolutePath) -> Result<bool, Error> {
        if let Some(draft) = draft_of(path)? {
            let (call, errno) = ("host.unlink", rustix::fs::unlink(draft.as_path()));
            match errno {
                Ok(()) | Err(rustix::io::Errno::NOENT | rustix::io::Errno::NAMETOOLONG) => {}
                Err(errno) => return Err(Error::call(call, draft, "unlink", errno)),
            }
        }
        self.remove("host.unlink", path, AtFlags::empty())
    }

    fn remove(
        &self,
        call: &'static str,
        path: &AbsolutePath,
        flags: AtFlags,
    ) -> Result<bool, Error> {
        self.door.call(call, path, || {
            match rustix::fs::unlinkat(rustix::fs::CWD, path.as_path(), flags) {
                Ok(()) => Ok(true),
                Err(rustix::io::Errno::NOENT) => Ok(false),
                Err(errno) => Err(Error::call(call, path, "unlinkat", errno)),
            }
        })
    }

    /// Reads a small file of the node's own disk, links not followed; `None` when absent.
    ///
    /// # Blocking
    /// Not for files on volumes: this call is not guarded against a dead mount.
    ///
    /// # Errors
    /// [`Error::TooLong`] past `limit` bytes, or the errno.
    pub fn read_file(&self, path: &AbsolutePath, limit: usize) -> Result<Option<Vec<u8>>, Error> {
        let call = "host.read";
        self.door.call(call, path, || {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let file = match rustix::fs::open(path.as_path(), flags, Mode::empty()) {
                Ok(fd) => File::from(fd),
                Err(rustix::io::Errno::NOENT) => return Ok(None),
                Err(errno) => return Err(Error::call(call, path, "open", errno)),
            };
            read_to_limit(call, path, file, limit).map(Some)
        })
    }

    /// Replaces or makes a small file of the node's own disk in one step: after a crash at any
    /// instant it holds either the old content or the new, on disk. Mode 0600.
    ///
    /// # Errors
    /// The errno of the step that failed; the old content is then untouched.
    pub fn write_file(&self, path: &AbsolutePath, content: &[u8]) -> Result<(), Error> {
        let call = "host.write";
        let (Some(parent), Some(name), Some(draft)) =
            (path.parent(), path.file_name(), draft_of(path)?)
        else {
            return Err(Error::call(call, path, "open", rustix::io::Errno::ISDIR));
        };
        let draft = draft.file_name().unwrap_or_default().to_owned();
        let failed = |step| move |errno: rustix::io::Errno| Error::call(call, path, step, errno);
        self.door.call(call, path, || {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let directory: OwnedFd =
                rustix::fs::open(parent.as_path(), flags, Mode::empty()).map_err(failed("open"))?;
            // A draft that a crash left behind may have any owner, mode or kind.
            match rustix::fs::unlinkat(&directory, &draft, AtFlags::empty()) {
                Ok(()) | Err(rustix::io::Errno::NOENT) => {}
                Err(errno) => return Err(failed("unlinkat")(errno)),
            }
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
            let mode = Mode::from_raw_mode(0o600);
            let file =
                rustix::fs::openat(&directory, &draft, flags, mode).map_err(failed("openat"))?;
            let mut file = File::from(file);
            file.write_all(content)
                .map_err(|error| Error::io(call, path, "write", &error))?;
            file.sync_all()
                .map_err(|error| Error::io(call, path, "fsync", &error))?;
            rustix::fs::renameat(&directory, &draft, &directory, name)
                .map_err(failed("renameat"))?;
            // An O_PATH descriptor cannot be synced; open the directory for reading.
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let directory = rustix::fs::openat(&directory, ".", flags, Mode::empty())
                .map_err(failed("openat"))?;
            rustix::fs::fsync(&directory).map_err(failed("fsync"))
        })
    }

    /// The names in a directory of the node's own disk, sorted, without `.` and `..`; empty when
    /// the directory does not exist.
    ///
    /// # Errors
    /// The errno of opening or reading the directory.
    pub fn names_in(&self, path: &AbsolutePath) -> Result<Vec<OsString>, Error> {
        let call = "host.list";
        self.door.call(call, path, || {
            let entries = match std::fs::read_dir(path.as_path()) {
                Ok(entries) => entries,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
                Err(error) => return Err(Error::io(call, path, "open", &error)),
            };
            let mut names = Vec::new();
            for entry in entries {
                let entry = entry.map_err(|error| Error::io(call, path, "getdents", &error))?;
                names.push(entry.file_name());
            }
            names.sort();
            Ok(names)
        })
    }
}

/// The copy that [`Host::write_file`] writes before it takes the file's place.
fn draft_of(path: &AbsolutePath) -> Result<Option<AbsolutePath>, PathRefused> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Ok(None);
    };
    let mut draft = OsString::from(".");
    draft.push(name);
    draft.push(".new");
    parent.join(draft).map(Some)
}

/// Reads a file to its end, refusing more than `limit` bytes.
pub(crate) fn read_to_limit(
    call: &'static str,
    path: &AbsolutePath,
    file: File,
    limit: usize,
) -> Result<Vec<u8>, Error> {
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    let mut content = Vec::new();
    let read = file.take(most).read_to_end(&mut content);
    read.map_err(|error| Error::io(call, path, "read", &error))?;
    if content.len() > limit {
        let path = path.to_string();
        return Err(Error::TooLong { path, limit });
    }
    Ok(content)
}

#[cfg(test)]
mod tests;
