//! The directories of a file system: making, marking, listing and removing them.
//!
//! For administration, not for data: no file is read or written here. Calls are made as the
//! file system's root user, whoever runs the process.

mod mount;
mod session;

use std::ffi::{CStr, CString, OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cuttle_door::Door;
use libc::c_int;
use serde::Deserialize;

use crate::clusters::Cluster;
use crate::connection::text;
use crate::error::{Errno, Error};
use mount::{Listing, Mount, loaded};

/// The longest value of an attribute that is read.
const LONGEST_VALUE: usize = 4096;

/// A mounted file system. Clones share the mount, which ends with the last of them.
#[derive(Clone)]
pub struct FileSystem {
    mount: Arc<Mount>,
    door: Door,
    limit: Duration,
}

/// One entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryEntry {
    /// The name, which need not be text.
    pub name: OsString,
    /// Whether it is a directory; a symbolic link to one is not.
    pub is_directory: bool,
}

impl fmt::Debug for FileSystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileSystem").finish_non_exhaustive()
    }
}

impl Cluster {
    /// The name of the file system that clients get when they ask for none; `None` when the
    /// cluster has no file system.
    ///
    /// # Errors
    /// As [`Cluster::mon_command`].
    ///
    /// # Blocking
    /// One round trip to the monitors.
    pub fn default_file_system(&self) -> Result<Option<String>, Error> {
        let dump = self.mon_command(&serde_json::json!({"prefix": "fs dump"}))?;
        let map = FsMap::deserialize(&dump.json).map_err(|error| {
            let errno = Errno::new(libc::EBADMSG);
            Error::new("mon.command", "fs dump", errno).with_detail(&error.to_string())
        })?;
        let mut systems = map.filesystems.into_iter();
        let found = systems.find(|system| system.id == map.default_fscid);
        Ok(found.map(|system| system.mdsmap.fs_name))
    }

    /// Mounts the root of a file system in this process.
    ///
    /// # Errors
    /// `is_unsupported` when libcephfs is not installed; `is_absent` when there is no file system
    /// of that name; `is_denied` when the user may not enter its root; `is_timeout` when no MDS
    /// answers.
    ///
    /// # Blocking
    /// Up to the connect time-out.
    pub fn mount_file_system(&self, name: &str) -> Result<FileSystem, Error> {
        const CALL: &str = "cephfs.mount";
        let inner = &self.inner;
        let limit = inner.options.connect_timeout;
        inner.door.call(CALL, name, || {
            let failed = |errno| Error::new(CALL, name, errno);
            let library = loaded().map_err(|errno| {
                failed(errno).with_detail("the library libcephfs2 is not installed")
            })?;
            let wanted = text(name).map_err(failed)?;
            let connection = Arc::clone(&inner.connection);
            let bound = &inner.connection.bound;
            let mount = bound.run(limit, move || Mount::make(library, connection, &wanted));
            Ok(FileSystem {
                mount: Arc::new(mount.map_err(failed)?),
                door: inner.door.clone(),
                limit: inner.options.operation_timeout,
            })
        })
    }
}

#[derive(Debug, Deserialize)]
struct FsMap {
    default_fscid: i64,
    filesystems: Vec<FsEntry>,
}

#[derive(Debug, Deserialize)]
struct FsEntry {
    id: i64,
    mdsmap: MdsMap,
}

#[derive(Debug, Deserialize)]
struct MdsMap {
    fs_name: String,
}

impl FileSystem {
    /// Makes a directory and those above it, with mode 0755. One that is there is left as it is.
    ///
    /// # Errors
    /// Any failure of the MDS; ENOTDIR when something on the way is a file.
    ///
    /// # Blocking
    /// A round trip per directory, up to the operation time-out; so do all calls below.
    pub fn ensure_directory(&self, path: &Path) -> Result<(), Error> {
        let made = self.call("cephfs.mkdirs", path, |mount, path| {
            mount.mkdirs(path, 0o755)
        });
        match made {
            Err(error) if error.is_present() => Ok(()),
            other => other,
        }
    }

    /// Makes an empty file with mode 0755, or leaves the one that is there.
    ///
    /// # Errors
    /// Any failure of the MDS.
    pub fn ensure_file(&self, path: &Path) -> Result<(), Error> {
        self.call("cephfs.touch", path, |mount, path| mount.touch(path, 0o755))
    }

    /// Removes a file or symbolic link; answers whether there was one.
    ///
    /// # Errors
    /// Any other failure, EISDIR for a directory.
    pub fn remove_file(&self, path: &Path) -> Result<bool, Error> {
        let removed = self.call("cephfs.unlink", path, |mount, path| mount.unlink(path));
        unless_absent(removed)
    }

    /// Removes an empty directory; answers whether there was one.
    ///
    /// # Errors
    /// `is_not_empty` also when nothing but snapshots is in it; any other failure.
    pub fn remove_directory(&self, path: &Path) -> Result<bool, Error> {
        let removed = self.call("cephfs.rmdir", path, |mount, path| mount.rmdir(path));
        unless_absent(removed)
    }

    /// Moves a directory; answers whether there was one.
    ///
    /// # Errors
    /// `is_not_empty` when a directory with content is at the other path; ENOTDIR for a file; any
    /// other failure.
    pub fn move_directory(&self, from: &Path, to: &Path) -> Result<bool, Error> {
        const CALL: &str = "cephfs.rename";
        let target = cstring(to, CALL)?;
        let moved = self.call(CALL, from, move |mount, from| {
            // Looked at first: after a rename of something absent libcephfs (Ceph 16.2) counts
            // the target as being renamed for ever, and every later call on it hangs.
            drop(Listing::open(mount, from)?);
            mount.rename(from, &target)
        });
        unless_absent(moved)
    }

    /// Sets an extended attribute, such as a quota or a part of the layout.
    ///
    /// # Errors
    /// Any failure of the MDS; EINVAL for a value that it does not take.
    pub fn set_attribute(&self, path: &Path, name: &CStr, value: &str) -> Result<(), Error> {
        let (name, value) = (name.to_owned(), value.to_owned());
        self.call("cephfs.setxattr", path, move |mount, path| {
            mount.setxattr(path, &name, value.as_bytes())
        })
    }

    /// An extended attribute; `None` when the file or directory does not have it.
    ///
    /// # Errors
    /// `is_absent` when there is no such file or directory; EBADMSG when the value is no text.
    pub fn find_attribute(&self, path: &Path, name: &CStr) -> Result<Option<String>, Error> {
        let name = name.to_owned();
        let read = self.call("cephfs.getxattr", path, move |mount, path| {
            mount.getxattr(path, &name, LONGEST_VALUE)
        });
        match read {
            Err(error) if error.errno().get() == libc::ENODATA => Ok(None),
            Err(error) => Err(error),
            Ok(value) => String::from_utf8(value).map(Some).map_err(|_not_text| {
                Error::new("cephfs.getxattr", path.display(), Errno::new(libc::EBADMSG))
            }),
        }
    }

    /// The first entries of a directory, in no order, without `.` and `..`; `None` when there is
    /// no such directory.
    ///
    /// # Errors
    /// ENOTDIR for a file; any other failure.
    pub fn find_entries(
        &self,
        path: &Path,
        most: usize,
    ) -> Result<Option<Vec<DirectoryEntry>>, Error> {
        let listed = self.call("cephfs.list", path, move |mount, path| {
            let mut listing = Listing::open(mount, path)?;
            let mut entries = Vec::new();
            while entries.len() < most {
                let Some((name, kind)) = listing.next()? else {
                    break;
                };
                if !matches!(name.to_bytes(), b"." | b"..") {
                    entries.push(DirectoryEntry {
                        name: OsString::from_vec(name.into_bytes()),
                        is_directory: kind == libc::DT_DIR,
                    });
                }
            }
            Ok(entries)
        });
        match listed {
            Ok(entries) => Ok(Some(entries)),
            Err(error) if error.is_absent() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// One call through the door and on a thread that can be given up.
    fn call<T: Send + 'static>(
        &self,
        call: &'static str,
        path: &Path,
        work: impl FnOnce(&Arc<Mount>, &CStr) -> Result<T, Errno> + Send + 'static,
    ) -> Result<T, Error> {
        self.door.call(call, path.display(), || {
            let c_path = cstring(path, call)?;
            let mount = Arc::clone(&self.mount);
            let done = self
                .mount
                .bound()
                .run(self.limit, move || work(&mount, &c_path));
            done.map_err(|errno| Error::new(call, path.display(), errno))
        })
    }
}

fn cstring(path: &Path, call: &'static str) -> Result<CString, Error> {
    let bytes: &OsStr = path.as_os_str();
    CString::new(bytes.as_bytes())
        .map_err(|_nul| Error::new(call, path.display(), Errno::new(libc::EINVAL)))
}

fn unless_absent(outcome: Result<(), Error>) -> Result<bool, Error> {
    match outcome {
        Ok(()) => Ok(true),
        Err(error) if error.is_absent() => Ok(false),
        Err(error) => Err(error),
    }
}

/// Opening flags of a file that is made if it is absent.
const MAKE: c_int = libc::O_CREAT | libc::O_WRONLY;
