//! Completions of librados's asynchronous operations.

use std::cell::Cell;
use std::ptr;

use ceph_sys::rados;

use crate::error::Errno;

/// A `rados_completion_t`. Dropped while its operation is under way, it waits for the end, so
/// that what the operation writes to may be freed afterwards.
pub(crate) struct Completion {
    handle: rados::rados_completion_t,
    under_way: Cell<bool>,
}

impl Completion {
    pub(crate) fn new() -> Result<Self, Errno> {
        let mut handle = ptr::null_mut();
        // SAFETY: there is no callback and so no argument; the handle is written on success.
        let result =
            unsafe { rados::rados_aio_create_completion2(ptr::null_mut(), None, &raw mut handle) };
        Errno::check(result)?;
        Ok(Self {
            handle,
            under_way: Cell::new(false),
        })
    }

    pub(crate) fn handle(&self) -> rados::rados_completion_t {
        self.handle
    }

    /// The operation has been sent.
    pub(crate) fn began(&self) {
        self.under_way.set(true);
    }

    /// Waits for the operation's end and answers its result.
    pub(crate) fn wait(&self) -> Result<(), Errno> {
        // SAFETY: the completion is live and its operation has been sent.
        Errno::check(unsafe { rados::rados_aio_wait_for_complete(self.handle) })?;
        self.under_way.set(false);
        // SAFETY: the completion is live and its operation has ended.
        Errno::check(unsafe { rados::rados_aio_get_return_value(self.handle) }).map(drop)
    }
}

impl Drop for Completion {
    fn drop(&mut self) {
        if self.under_way.get() {
            // SAFETY: the completion is live and its operation has been sent.
            unsafe { rados::rados_aio_wait_for_complete(self.handle) };
        }
        // SAFETY: the completion is live and given up once.
        unsafe { rados::rados_aio_release(self.handle) };
    }
}
