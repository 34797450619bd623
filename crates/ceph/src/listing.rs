//! Listing the objects of a pool and namespace: for tests and diagnosis, never on a request's path.

use std::ffi::CStr;
use std::fmt;
use std::ptr;

use ceph_sys::rados;

use crate::error::{Errno, Error};
use crate::io::Io;

/// The names of the objects in one namespace, fetched page by page while iterating.
pub struct Objects {
    io: Io,
    cursor: rados::rados_list_ctx_t,
    ended: bool,
}

// SAFETY: a listing may be used from any thread, by one at a time, which `&mut self` ensures.
unsafe impl Send for Objects {}

impl fmt::Debug for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Objects({})", self.io.name("*"))
    }
}

impl Io {
    /// Lists the objects of this pool and namespace, in no order.
    ///
    /// # Errors
    /// When the listing cannot begin; later failures come from the iterator, which then ends.
    ///
    /// # Blocking
    /// Each page is one round trip to one placement group's OSD.
    pub fn list_objects(&self) -> Result<Objects, Error> {
        self.call("rados.list_objects", "*", || {
            let mut cursor = ptr::null_mut();
            // SAFETY: the context is live; the cursor is written on success.
            let result = unsafe { rados::rados_nobjects_list_open(self.handle(), &raw mut cursor) };
            Errno::check(result)?;
            Ok(Objects {
                io: self.clone(),
                cursor,
                ended: false,
            })
        })
    }
}

impl Iterator for Objects {
    type Item = Result<String, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let mut name = ptr::null();
        // SAFETY: the listing is live and this thread has it alone; the name is written on
        // success; what is not asked for may be null.
        let result = unsafe {
            rados::rados_nobjects_list_next2(
                self.cursor,
                &raw mut name,
                ptr::null_mut(),
                ptr::null_mut(),
                ptr::null_mut(),
                ptr::null_mut(),
                ptr::null_mut(),
            )
        };
        match Errno::check(result) {
            Ok(_) => {
                // SAFETY: the name is NUL-terminated and lives until the next call on the listing.
                let name = unsafe { CStr::from_ptr(name) };
                Some(Ok(name.to_string_lossy().into_owned()))
            }
            Err(errno) => {
                self.ended = true;
                let failed = || {
                    self.io
                        .error("rados.list_objects", &self.io.name("*"), errno)
                };
                (errno.get() != libc::ENOENT).then(|| Err(failed()))
            }
        }
    }
}

impl Drop for Objects {
    fn drop(&mut self) {
        // SAFETY: the listing is live and ended once.
        unsafe { rados::rados_nobjects_list_close(self.cursor) };
    }
}
