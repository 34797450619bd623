//! The trash: images that are out of sight and wait for their removal.

use std::ffi::CStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ceph_sys::rbd;
use cuttle_model::{ImageId, ImageName};
use libc::{c_char, size_t, time_t};

use crate::connection::text;
use crate::error::{Errno, Error};
use crate::io::Io;

/// An image in the trash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrashEntry {
    /// The identifier, by which it is found from now on.
    pub id: ImageId,
    /// The name it had.
    pub name: ImageName,
    /// When it was moved.
    pub deleted: SystemTime,
    /// Until when it may not be removed unless forced.
    pub deferred_until: SystemTime,
    /// Whether a user (or driver) moved it; otherwise mirroring, a migration, or a removal that
    /// is under way.
    pub by_user: bool,
}

impl TrashEntry {
    /// # Safety
    /// The strings of `raw` must be live.
    unsafe fn read(raw: &rbd::rbd_trash_image_info_t) -> Result<Self, Errno> {
        let malformed = || Errno::new(libc::EBADMSG);
        let string = |start: *const c_char| {
            // SAFETY: librbd's strings are NUL-terminated, and live as the caller promises.
            let text = unsafe { CStr::from_ptr(start) };
            text.to_str()
                .map(str::to_owned)
                .map_err(|_not_text| malformed())
        };
        Ok(Self {
            id: ImageId::new(string(raw.id)?).map_err(|_name| malformed())?,
            name: ImageName::new(string(raw.name)?).map_err(|_name| malformed())?,
            deleted: instant(raw.deletion_time),
            deferred_until: instant(raw.deferment_end_time),
            by_user: raw.source == rbd::RBD_TRASH_IMAGE_SOURCE_USER,
        })
    }
}

fn instant(seconds: time_t) -> SystemTime {
    let seconds = u64::try_from(seconds).unwrap_or(0);
    UNIX_EPOCH
        .checked_add(Duration::from_secs(seconds))
        .unwrap_or(UNIX_EPOCH)
}

impl Io {
    /// Moves an image to the trash, to be removed at any time; answers whether there was one. Its
    /// identifier stays.
    ///
    /// # Errors
    /// `is_busy` when another client holds its exclusive lock and does not give it up. That an
    /// image is merely watched does not hinder the move: see [`Io::image_is_watched`].
    ///
    /// # Blocking
    /// librbd opens the image, locks it if it has that feature: 18 to 28 round trips.
    ///
    /// # Idempotency
    /// Idempotent. A crash in the middle leaves the image in the trash and perhaps under its
    /// name, too; a second call finishes.
    pub fn trash_move(&self, name: &ImageName) -> Result<bool, Error> {
        let moved = self.call("rbd.trash_move", name.as_str(), || {
            let image = text(name.as_str())?;
            // SAFETY: the context is live; the name is NUL-terminated and copied.
            Errno::check(unsafe { rbd::rbd_trash_move(self.handle(), image.as_ptr(), 0) }).map(drop)
        });
        present(moved)
    }

    /// The image of that identifier in the trash, if there is one.
    ///
    /// # Errors
    /// Any failure of the read but absence.
    ///
    /// # Blocking
    /// One round trip.
    pub fn trash_get(&self, id: &ImageId) -> Result<Option<TrashEntry>, Error> {
        let found = self.call("rbd.trash_get", id.as_str(), || {
            let id = text(id.as_str())?;
            let mut raw = empty();
            // SAFETY: the context is live; the identifier is NUL-terminated; `raw` is written on
            // success.
            let result = unsafe { rbd::rbd_trash_get(self.handle(), id.as_ptr(), &raw mut raw) };
            Errno::check(result)?;
            // SAFETY: `raw` was just written and is freed below.
            let entry = unsafe { TrashEntry::read(&raw) };
            // SAFETY: `raw` was written by the call above and is freed once.
            unsafe { rbd::rbd_trash_get_cleanup(&raw mut raw) };
            entry
        });
        match found {
            Ok(entry) => Ok(Some(entry)),
            Err(error) if error.is_absent() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All images in the trash.
    ///
    /// # Errors
    /// Any failure of the reads; EBADMSG when an entry has another form.
    ///
    /// # Blocking
    /// One round trip per thousand entries.
    pub fn trash_list(&self) -> Result<Vec<TrashEntry>, Error> {
        self.call("rbd.trash_list", "trash", || {
            let mut raw = vec![empty(); 256];
            loop {
                let mut count: size_t = raw.len();
                let start = raw.as_mut_ptr();
                // SAFETY: the context is live; `start` is valid for writing `count` entries.
                let result = unsafe { rbd::rbd_trash_list(self.handle(), start, &raw mut count) };
                match Errno::check(result) {
                    Ok(_) => {
                        raw.truncate(count);
                        break;
                    }
                    Err(errno) if errno.get() == libc::ERANGE => {
                        raw.resize(count.max(raw.len().saturating_mul(2)), empty());
                    }
                    Err(errno) => return Err(errno),
                }
            }
            // SAFETY: the entries were just written and are freed below.
            let entries = raw
                .iter()
                .map(|raw| unsafe { TrashEntry::read(raw) })
                .collect();
            // SAFETY: the entries were written by the call above and are freed once.
            unsafe { rbd::rbd_trash_list_cleanup(raw.as_mut_ptr(), raw.len()) };
            entries
        })
    }

    /// The images in the trash that had that name; several may have had it one after the other.
    ///
    /// # Errors
    /// As [`Io::trash_list`].
    ///
    /// # Blocking
    /// The whole trash is listed: for rare paths.
    pub fn trash_find_all_by_name(&self, name: &ImageName) -> Result<Vec<TrashEntry>, Error> {
        let mut entries = self.trash_list()?;
        entries.retain(|entry| entry.name == *name);
        Ok(entries)
    }

    /// An image in the trash that had that name; otherwise as [`Io::trash_find_all_by_name`].
    ///
    /// # Errors
    /// As [`Io::trash_list`].
    pub fn trash_find_by_name(&self, name: &ImageName) -> Result<Option<TrashEntry>, Error> {
        Ok(self.trash_find_all_by_name(name)?.pop())
    }

    /// Removes an image in the trash with its data; answers whether there was one.
    ///
    /// # Errors
    /// EPERM (`is_denied`) before its time, unless forced; `is_busy` when it is watched;
    /// `is_not_empty` when it has snapshots.
    ///
    /// # Blocking
    /// In proportion to the image's size.
    ///
    /// # Idempotency
    /// Idempotent; after a crash in the middle a second call removes the rest.
    pub fn trash_remove(&self, id: &ImageId, force: bool) -> Result<bool, Error> {
        let removed = self.call("rbd.trash_remove", id.as_str(), || {
            let id = text(id.as_str())?;
            // SAFETY: the context is live; the identifier is NUL-terminated and copied.
            Errno::check(unsafe { rbd::rbd_trash_remove(self.handle(), id.as_ptr(), force) })
                .map(drop)
        });
        present(removed)
    }

    /// Brings an image back from the trash under a name.
    ///
    /// # Errors
    /// `is_absent` when it is not in the trash; `is_present` when the name is taken.
    pub fn trash_restore(&self, id: &ImageId, name: &ImageName) -> Result<(), Error> {
        self.call("rbd.trash_restore", id.as_str(), || {
            let (id, name) = (text(id.as_str())?, text(name.as_str())?);
            // SAFETY: the context is live; both texts are NUL-terminated and copied.
            let result =
                unsafe { rbd::rbd_trash_restore(self.handle(), id.as_ptr(), name.as_ptr()) };
            Errno::check(result).map(drop)
        })
    }
}

fn empty() -> rbd::rbd_trash_image_info_t {
    rbd::rbd_trash_image_info_t {
        id: std::ptr::null_mut(),
        name: std::ptr::null_mut(),
        source: 0,
        deletion_time: 0,
        deferment_end_time: 0,
    }
}

/// Turns absence into an answer.
fn present(outcome: Result<(), Error>) -> Result<bool, Error> {
    match outcome {
        Ok(()) => Ok(true),
        Err(error) if error.is_absent() => Ok(false),
        Err(error) => Err(error),
    }
}
