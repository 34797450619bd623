//! One `ceph_mount_info`: made from a connection, ended when its last user is gone.

use std::ffi::{CStr, CString};
use std::ptr;
use std::sync::Arc;

use ceph_sys::cephfs::{self, Library, ceph_dir_result, ceph_mount_info};
use tracing::warn;

use super::MAKE;
use crate::bounded::Bound;
use crate::closing;
use crate::connection::Connection;
use crate::error::Errno;

/// A mounted file system. Dropping the last hold unmounts it in the background.
#[derive(Debug)]
pub(super) struct Mount {
    library: &'static Library,
    handle: *mut ceph_mount_info,
    is_mounted: bool,
    /// Whose configuration the mount shares; closed after it.
    connection: Option<Arc<Connection>>,
    bound: Bound,
}

// SAFETY: libcephfs's functions may be called from any thread, several at once on one handle.
unsafe impl Send for Mount {}
// SAFETY: as above.
unsafe impl Sync for Mount {}

/// The installed library.
pub(super) fn loaded() -> Result<&'static Library, Errno> {
    cephfs::library().ok_or(Errno::new(libc::ENOSYS))
}

impl Mount {
    /// Mounts the root of the named file system, as root. May hang; bound it.
    pub(super) fn make(
        library: &'static Library,
        connection: Arc<Connection>,
        name: &CStr,
    ) -> Result<Self, Errno> {
        let mut mount = Self::prepare(library, connection, Some(name))?;
        mount.become_root()?;
        // SAFETY: the handle is live and unmounted; the path is NUL-terminated.
        Errno::check(unsafe { (library.mount)(mount.handle, c"/".as_ptr()) })?;
        mount.is_mounted = true;
        Ok(mount)
    }

    /// An unmounted handle for the named file system, or the cluster's default one.
    pub(super) fn prepare(
        library: &'static Library,
        connection: Arc<Connection>,
        name: Option<&CStr>,
    ) -> Result<Self, Errno> {
        let mut handle = ptr::null_mut();
        // SAFETY: the handle is written on success; the connection is live.
        let result = unsafe { (library.create_from_rados)(&raw mut handle, connection.handle()) };
        Errno::check(result)?;
        let mount = Self {
            library,
            handle,
            is_mounted: false,
            bound: connection.bound.clone(),
            connection: Some(connection),
        };
        if let Some(name) = name {
            // SAFETY: the handle is live and unmounted; the name is NUL-terminated and copied.
            Errno::check(unsafe { (library.select_filesystem)(handle, name.as_ptr()) })?;
        }
        Ok(mount)
    }

    /// Ends the session of the client that calls itself by this `uuid`. May hang; bound it.
    pub(super) fn end_session(&self, uuid: &CStr) -> Result<(), Errno> {
        let flags = cephfs::CEPH_RECLAIM_RESET;
        // SAFETY: the handle is live and unmounted; the text is NUL-terminated.
        let result = unsafe { (self.library.start_reclaim)(self.handle, uuid.as_ptr(), flags) };
        // SAFETY: the handle is live; without a reclaim under way the call does nothing.
        unsafe { (self.library.finish_reclaim)(self.handle) };
        Errno::check(result).map(drop)
    }

    /// Calls count as made by the file system's root, whoever runs the process: the key decides
    /// what may be done, not the host's user.
    fn become_root(&self) -> Result<(), Errno> {
        // SAFETY: there are no further groups, so nothing is borrowed.
        let root = unsafe { (self.library.userperm_new)(0, 0, 0, ptr::null_mut()) };
        if root.is_null() {
            return Err(Errno::new(libc::ENOMEM));
        }
        // SAFETY: both are live; the mount copies the credentials.
        let result = unsafe { (self.library.mount_perms_set)(self.handle, root) };
        // SAFETY: the credentials are ours and freed once.
        unsafe { (self.library.userperm_destroy)(root) };
        Errno::check(result).map(drop)
    }

    pub(super) fn bound(&self) -> &Bound {
        &self.bound
    }

    pub(super) fn mkdirs(&self, path: &CStr, mode: libc::mode_t) -> Result<(), Errno> {
        // SAFETY: the handle is live and mounted; the path is NUL-terminated. So below.
        let result = unsafe { (self.library.mkdirs)(self.handle, path.as_ptr(), mode) };
        Errno::check(result).map(drop)
    }

    pub(super) fn rmdir(&self, path: &CStr) -> Result<(), Errno> {
        // SAFETY: as for `mkdirs`.
        Errno::check(unsafe { (self.library.rmdir)(self.handle, path.as_ptr()) }).map(drop)
    }

    pub(super) fn unlink(&self, path: &CStr) -> Result<(), Errno> {
        // SAFETY: as for `mkdirs`.
        Errno::check(unsafe { (self.library.unlink)(self.handle, path.as_ptr()) }).map(drop)
    }

    pub(super) fn rename(&self, from: &CStr, to: &CStr) -> Result<(), Errno> {
        // SAFETY: as for `mkdirs`, for both paths.
        let result = unsafe { (self.library.rename)(self.handle, from.as_ptr(), to.as_ptr()) };
        Errno::check(result).map(drop)
    }

    pub(super) fn touch(&self, path: &CStr, mode: libc::mode_t) -> Result<(), Errno> {
        // SAFETY: as for `mkdirs`.
        let opened = unsafe { (self.library.open)(self.handle, path.as_ptr(), MAKE, mode) };
        let file = Errno::check(opened)?;
        // SAFETY: the descriptor is open, ours, and closed once.
        Errno::check(unsafe { (self.library.close)(self.handle, file) }).map(drop)
    }

    pub(super) fn setxattr(&self, path: &CStr, name: &CStr, value: &[u8]) -> Result<(), Errno> {
        // SAFETY: as for `mkdirs`; the value is valid for reading its length during the call.
        let result = unsafe {
            (self.library.setxattr)(
                self.handle,
                path.as_ptr(),
                name.as_ptr(),
                value.as_ptr().cast(),
                value.len(),
                0,
            )
        };
        Errno::check(result).map(drop)
    }

    pub(super) fn getxattr(
        &self,
        path: &CStr,
        name: &CStr,
        longest: usize,
    ) -> Result<Vec<u8>, Errno> {
        let mut value = vec![0_u8; longest];
        // SAFETY: as for `mkdirs`; the buffer is valid for writing its length during the call.
        let result = unsafe {
            (self.library.getxattr)(
                self.handle,
                path.as_ptr(),
                name.as_ptr(),
                value.as_mut_ptr().cast(),
                value.len(),
            )
        };
        let length = usize::try_from(Errno::check(result)?).unwrap_or(0);
        value.truncate(length);
        Ok(value)
    }
}

/// The handle on its way to the thread that ends it.
struct Ending {
    library: &'static Library,
    handle: *mut ceph_mount_info,
    is_mounted: bool,
}

// SAFETY: libcephfs's handles may be used from any thread, and this one has no other user left.
unsafe impl Send for Ending {}

impl Ending {
    fn end(self) {
        if self.is_mounted {
            // SAFETY: the last user is gone, so no call is under way on the live, mounted handle.
            let result = unsafe { (self.library.unmount)(self.handle) };
            if let Err(errno) = Errno::check(result) {
                warn!(%errno, "a file system could not be unmounted");
                return;
            }
        }
        // SAFETY: the handle is live and not mounted (any more).
        if let Err(errno) = Errno::check(unsafe { (self.library.release)(self.handle) }) {
            warn!(%errno, "a file system's handle could not be freed");
        }
    }
}

impl Drop for Mount {
    /// Ends in the background: without an MDS, unmounting waits.
    fn drop(&mut self) {
        let ending = Ending {
            library: self.library,
            handle: self.handle,
            is_mounted: self.is_mounted,
        };
        let connection = self.connection.take();
        closing::mount(move || {
            ending.end();
            drop(connection);
        });
    }
}

/// A directory being listed. Its mount lives as long.
#[derive(Debug)]
pub(super) struct Listing {
    mount: Arc<Mount>,
    cursor: *mut ceph_dir_result,
}

impl Listing {
    pub(super) fn open(mount: &Arc<Mount>, path: &CStr) -> Result<Self, Errno> {
        let mut cursor = ptr::null_mut();
        // SAFETY: the handle is live and mounted; the path is NUL-terminated; the cursor is
        // written on success.
        let result =
            unsafe { (mount.library.opendir)(mount.handle, path.as_ptr(), &raw mut cursor) };
        Errno::check(result)?;
        Ok(Self {
            mount: Arc::clone(mount),
            cursor,
        })
    }

    /// The next entry's name and type (`DT_DIR` and its like); `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<(CString, u8)>, Errno> {
        let mut entry = std::mem::MaybeUninit::<libc::dirent>::zeroed();
        // SAFETY: the cursor is open and used by this thread alone; the entry is valid for writing.
        let result = unsafe {
            (self.mount.library.readdir_r)(self.mount.handle, self.cursor, entry.as_mut_ptr())
        };
        if Errno::check(result)? == 0 {
            return Ok(None);
        }
        // SAFETY: all bytes were zero before the call, which is a valid value of every field.
        let entry = unsafe { entry.assume_init_ref() };
        // SAFETY: the library ends the name with NUL within the array.
        let name = unsafe { CStr::from_ptr(entry.d_name.as_ptr()) };
        Ok(Some((name.to_owned(), entry.d_type)))
    }
}

impl Drop for Listing {
    fn drop(&mut self) {
        // SAFETY: the cursor is open, ours, and closed once.
        let result = unsafe { (self.mount.library.closedir)(self.mount.handle, self.cursor) };
        if let Err(errno) = Errno::check(result) {
            warn!(%errno, "a listing could not be closed");
        }
    }
}
