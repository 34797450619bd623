//! Taking and removing snapshots of an open image.

use ceph_sys::rbd;

use super::Image;
use crate::connection::text;
use crate::error::{Errno, Error};
use crate::snap_id::SnapId;

impl Image {
    /// Takes a snapshot, in agreement with whoever writes to the image: what they had written and
    /// flushed before is in it, what they write afterwards is not.
    ///
    /// # Errors
    /// `is_present` when there is one of that name.
    ///
    /// # Blocking
    /// A round of the monitors (up to 1 s by default), and until a client that holds the
    /// exclusive lock has given it up.
    ///
    /// # Idempotency
    /// Not idempotent. After a time-out it may still be taken.
    pub fn create_snapshot(&self, name: &str) -> Result<SnapId, Error> {
        self.call("rbd.snap_create", |image| {
            let name = text(name)?;
            // SAFETY: the image is open; the name is NUL-terminated and copied.
            Errno::check(unsafe { rbd::rbd_snap_create(image, name.as_ptr()) })?;
            let mut number = 0;
            // SAFETY: as above; the number is written.
            let result = unsafe { rbd::rbd_snap_get_id(image, name.as_ptr(), &raw mut number) };
            Errno::check(result)?;
            Ok(SnapId::new(number))
        })
    }

    /// Removes a snapshot; while it has clones it is moved to the snapshots' trash instead, and
    /// goes with the last of them. Answers whether there was one.
    ///
    /// # Errors
    /// `is_busy` when it is protected.
    ///
    /// # Blocking
    /// A round of the monitors if it has no clones.
    ///
    /// # Idempotency
    /// Idempotent.
    pub fn remove_snapshot(&self, name: &str) -> Result<bool, Error> {
        let removed = self.call("rbd.snap_remove", |image| {
            let name = text(name)?;
            // SAFETY: the image is open; the name is NUL-terminated and copied.
            Errno::check(unsafe { rbd::rbd_snap_remove(image, name.as_ptr()) }).map(drop)
        });
        match removed {
            Ok(()) => Ok(true),
            Err(error) if error.is_absent() => Ok(false),
            Err(error) => Err(error),
        }
    }
}
