//! Who and what holds on to an image: watchers and snapshots.

use std::ffi::CStr;
use std::ptr;

use ceph_sys::rbd;
use cuttle_model::ByteSize;
use libc::{c_char, c_int, size_t};

use super::Image;
use crate::error::{Errno, Error};

/// A client that has an image open for writing or mapped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watcher {
    /// The client's address, as `10.0.0.7:0/3028120452`.
    pub address: String,
    /// The client's number; [`Cluster::instance_id`](crate::Cluster::instance_id) for ourselves.
    pub id: i64,
    /// The watch's number.
    pub cookie: u64,
}

/// A snapshot of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Its number.
    pub id: u64,
    /// The image's size when it was taken.
    pub size: ByteSize,
    /// Its name.
    pub name: String,
}

impl Image {
    /// Who watches the image: clients that have it open for writing, or mapped. This client is
    /// among them if it opened the image for writing.
    ///
    /// # Errors
    /// Any failure of the read.
    ///
    /// # Blocking
    /// One round trip.
    pub fn watchers(&self) -> Result<Vec<Watcher>, Error> {
        self.call("rbd.watchers", watchers)
    }

    /// Takes the image's exclusive lock and keeps it until the image is closed: no other client
    /// writes meanwhile. What others ask of the image's owner (to resize it, to take a snapshot) is
    /// done by this client for them.
    ///
    /// The lock of a client that does not watch the image any more is broken, and that client is
    /// blocklisted first, so that it cannot write when it comes back.
    ///
    /// # Errors
    /// `is_locked` when another client keeps the lock; EINVAL when the image lacks the feature
    /// `exclusive-lock`; EROFS, too, when it was opened read-only.
    ///
    /// # Blocking
    /// A few round trips; while another client that watches the image does not answer, until its
    /// watch ends (half a minute).
    ///
    /// # Idempotency
    /// Idempotent.
    pub fn lock_exclusively(&self) -> Result<(), Error> {
        self.call("rbd.lock_acquire", |image| {
            // SAFETY: the image is open.
            let result = unsafe { rbd::rbd_lock_acquire(image, rbd::RBD_LOCK_MODE_EXCLUSIVE) };
            Errno::check(result).map(drop)
        })
    }

    /// Whether this client holds the image's exclusive lock.
    ///
    /// # Errors
    /// Any failure of the question.
    pub fn is_lock_owner(&self) -> Result<bool, Error> {
        self.call("rbd.is_lock_owner", |image| {
            let mut is_owner = 0;
            // SAFETY: the image is open; the number is written.
            let result = unsafe { rbd::rbd_is_exclusive_lock_owner(image, &raw mut is_owner) };
            Errno::check(result)?;
            Ok(is_owner != 0)
        })
    }

    /// The image's snapshots by users.
    ///
    /// # Errors
    /// Any failure of the read.
    pub fn snapshots(&self) -> Result<Vec<Snapshot>, Error> {
        self.call("rbd.snapshots", snapshots)
    }
}

fn watchers(image: rbd::rbd_image_t) -> Result<Vec<Watcher>, Errno> {
    let empty = rbd::rbd_image_watcher_t {
        addr: ptr::null_mut(),
        id: 0,
        cookie: 0,
    };
    let mut raw = vec![empty; 16];
    loop {
        let mut count: size_t = raw.len();
        // SAFETY: the image is open; the array is valid for writing `count` entries.
        let result = unsafe { rbd::rbd_watchers_list(image, raw.as_mut_ptr(), &raw mut count) };
        match Errno::check(result) {
            Ok(_) => {
                raw.truncate(count);
                break;
            }
            Err(errno) if errno.get() == libc::ERANGE => {
                raw.resize(count.max(raw.len().saturating_mul(2)), empty);
            }
            Err(errno) => return Err(errno),
        }
    }
    let watchers = raw.iter().map(|raw| Watcher {
        address: copy(raw.addr),
        id: raw.id,
        cookie: raw.cookie,
    });
    let watchers = watchers.collect();
    // SAFETY: the entries were written by the call above and are freed once.
    unsafe { rbd::rbd_watchers_list_cleanup(raw.as_mut_ptr(), raw.len()) };
    Ok(watchers)
}

fn snapshots(image: rbd::rbd_image_t) -> Result<Vec<Snapshot>, Errno> {
    let empty = rbd::rbd_snap_info_t {
        id: 0,
        size: 0,
        name: ptr::null(),
    };
    let mut room: c_int = 16;
    loop {
        // One more than told, so that the end mark of `rbd_snap_list_end` is always there.
        let length = usize::try_from(room).unwrap_or(0).saturating_add(1);
        let mut raw = vec![empty; length];
        // SAFETY: the image is open; the array is valid for writing `room` entries.
        let result = unsafe { rbd::rbd_snap_list(image, raw.as_mut_ptr(), &raw mut room) };
        let count = match Errno::check(result) {
            Ok(count) => usize::try_from(count).unwrap_or(0),
            Err(errno) if errno.get() == libc::ERANGE && room > 0 => continue,
            Err(errno) => return Err(errno),
        };
        let list = raw.iter().take(count).map(|raw| Snapshot {
            id: raw.id,
            size: ByteSize::from_bytes(raw.size),
            name: copy(raw.name),
        });
        let list = list.collect();
        // SAFETY: the entries were written by the call above, are freed once, and the entry after
        // them has no name.
        unsafe { rbd::rbd_snap_list_end(raw.as_mut_ptr()) };
        return Ok(list);
    }
}

/// A copy of one of librbd's strings; empty for null.
fn copy(start: *const c_char) -> String {
    if start.is_null() {
        return String::new();
    }
    // SAFETY: librbd's strings are NUL-terminated, and live until their list is freed, which the
    // callers do after copying.
    unsafe { CStr::from_ptr(start) }
        .to_string_lossy()
        .into_owned()
}
