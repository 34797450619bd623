//! An open image: size, metadata, watchers, snapshots; its data I/O is in [`data`].
//!
//! ```text
//!  open_image ──▶ open ──(close: waits for I/O under way, flushes, answers)──▶ closed
//!                  └──(drop: the same on a thread of its own, unheard)───────▶ closed
//! ```

pub(crate) mod data;
mod metadata;
mod snapshots;
mod users;

use std::ffi::{CStr, c_void};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ceph_sys::rbd;
use cuttle_model::{ByteSize, ImageId, ImageName};
use libc::c_int;
use tracing::{error, warn};

use crate::closing;
use crate::connection::text;
use crate::error::{Errno, Error};
use crate::io::Io;

pub use users::{Snapshot, Watcher};

/// What an image is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenMode {
    /// Reading; no watch is made, so the image can be removed meanwhile.
    ReadOnly,
    /// Reading and writing; the client watches the image, which keeps it from being removed.
    ReadWrite,
}

/// An image's form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageStat {
    /// The size.
    pub size: ByteSize,
    /// The size of one object.
    pub object_size: ByteSize,
    /// How many objects the image has when full.
    pub objects: u64,
    /// The object size as a power of two.
    pub order: u8,
    /// The feature bits.
    pub features: u64,
    /// Bytes per stripe unit.
    pub stripe_unit: u64,
    /// Objects per stripe.
    pub stripe_count: u64,
    /// The number of the pool that holds the data.
    pub data_pool: i64,
    /// When the image was made.
    pub created: SystemTime,
}

/// An open image.
pub struct Image {
    open: Option<Arc<Open>>,
    io: Io,
    target: Box<str>,
}

/// The function to call when an image's header has changed.
type OnUpdate = Box<dyn Fn() + Send + Sync>;

/// An `rbd_image_t` and what librbd's threads use of it.
struct Open {
    handle: rbd::rbd_image_t,
    /// How many asynchronous operations are under way.
    under_way: Mutex<usize>,
    idle: Condvar,
    /// The update watch: its number, and the function librbd's thread calls.
    watch: Mutex<Option<(u64, Box<OnUpdate>)>>,
    /// Keeps pool and connection open.
    _io: Io,
}

// SAFETY: librbd's functions may be called from any thread, several at once on one image; closing
// is done by the one that ends up with the handle alone.
unsafe impl Send for Open {}
// SAFETY: as above.
unsafe impl Sync for Open {}

impl fmt::Debug for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Image({})", self.target)
    }
}

impl Io {
    /// Opens an image.
    ///
    /// # Errors
    /// `is_absent` when the cluster says there is none (a torn image counts as none).
    ///
    /// # Blocking
    /// Some ten round trips.
    pub fn open_image(&self, name: &ImageName, mode: OpenMode) -> Result<Image, Error> {
        let open = self.call("rbd.open", name.as_str(), || {
            let image = text(name.as_str())?;
            let open = match mode {
                OpenMode::ReadOnly => rbd::rbd_open_read_only,
                OpenMode::ReadWrite => rbd::rbd_open,
            };
            let mut handle = ptr::null_mut();
            // SAFETY: the context is live; the name is NUL-terminated and copied; the handle is
            // written on success; no snapshot is named.
            let result =
                unsafe { open(self.handle(), image.as_ptr(), &raw mut handle, ptr::null()) };
            Errno::check(result)?;
            Ok(Open {
                handle,
                under_way: Mutex::new(0),
                idle: Condvar::new(),
                watch: Mutex::new(None),
                _io: self.clone(),
            })
        })?;
        let target = self.name(name.as_str()).into();
        Ok(Image {
            open: Some(Arc::new(open)),
            io: self.clone(),
            target,
        })
    }
}

impl Open {
    /// Waits until no asynchronous operation is under way, ends the watch, and closes.
    fn close(&self) -> Result<(), Errno> {
        let under_way = self
            .under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let none = self.idle.wait_while(under_way, |count| *count > 0);
        drop(none.unwrap_or_else(PoisonError::into_inner));
        let watch = self
            .watch
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some((number, function)) = watch {
            // SAFETY: the image is open and the watch was made on it.
            let result = unsafe { rbd::rbd_update_unwatch(self.handle, number) };
            if let Err(errno) = Errno::check(result) {
                warn!(%errno, "ending an image's update watch failed");
            }
            // No callback runs any more.
            drop(function);
        }
        // SAFETY: nothing is under way on the image, and its only owner closes it once.
        Errno::check(unsafe { rbd::rbd_close(self.handle) }).map(drop)
    }
}

impl Image {
    /// Closes the image: waits for the I/O under way, flushes, ends the watch.
    ///
    /// # Errors
    /// A failed flush, among others; the image is closed all the same.
    ///
    /// # Blocking
    /// As long as the I/O under way, and some round trips.
    pub fn close(mut self) -> Result<(), Error> {
        let Some(open) = self.open.take() else {
            return Ok(());
        };
        let (io, target) = (self.io.clone(), self.target.clone());
        let mut ran = false;
        let outcome = io.cluster.inner.door.call("rbd.close", &target, || {
            ran = true;
            open.close()
                .map_err(|errno| io.error("rbd.close", &target, errno))
        });
        if !ran {
            // The door refused; the image must not stay open for that.
            self.open = Some(open);
        }
        outcome
    }

    /// The size now, also after another client has changed it.
    ///
    /// # Errors
    /// Any failure of the read.
    ///
    /// # Blocking
    /// Not, unless the header has changed since.
    pub fn size(&self) -> Result<ByteSize, Error> {
        self.call("rbd.get_size", |image| {
            Ok(ByteSize::from_bytes(size(image)?))
        })
    }

    /// The image's form.
    ///
    /// # Errors
    /// Any failure of the read.
    pub fn stat(&self) -> Result<ImageStat, Error> {
        self.call("rbd.stat", stat)
    }

    /// The feature bits.
    ///
    /// # Errors
    /// Any failure of the read.
    pub fn features(&self) -> Result<u64, Error> {
        self.call("rbd.get_features", |image| {
            number(|value| {
                // SAFETY: the image is open; the value is written.
                unsafe { rbd::rbd_get_features(image, value) }
            })
        })
    }

    /// The identifier.
    ///
    /// # Errors
    /// EBADMSG when it has a form of no identifier.
    pub fn id(&self) -> Result<ImageId, Error> {
        self.call("rbd.get_id", |image| {
            let mut id = vec![0_u8; 256];
            let (start, length) = (id.as_mut_ptr().cast(), id.len());
            // SAFETY: the image is open; `start` is valid for writing `length` bytes.
            Errno::check(unsafe { rbd::rbd_get_id(image, start, length) })?;
            let malformed = || Errno::new(libc::EBADMSG);
            let id = CStr::from_bytes_until_nul(&id).map_err(|_no_nul| malformed())?;
            let id = id.to_str().map_err(|_not_text| malformed())?;
            ImageId::new(id).map_err(|_name| malformed())
        })
    }

    /// Changes the size.
    ///
    /// # Errors
    /// EINVAL when the image would shrink and `allow_shrink` is false; EROFS when it was opened
    /// read-only.
    ///
    /// # Blocking
    /// Some round trips to grow; in proportion to what is cut off to shrink. When another client
    /// holds the image's exclusive lock, it is asked to do the work (up to 30 s).
    ///
    /// # Idempotency
    /// Idempotent.
    pub fn resize(&self, size: ByteSize, allow_shrink: bool) -> Result<(), Error> {
        self.call("rbd.resize", |image| {
            // SAFETY: the image is open; the progress function needs no data. (It must be there:
            // librbd calls it without a check when an image shrinks.)
            let result = unsafe {
                rbd::rbd_resize2(
                    image,
                    size.bytes(),
                    allow_shrink,
                    Some(go_on),
                    ptr::null_mut(),
                )
            };
            Errno::check(result).map(drop)
        })
    }

    /// Calls `changed` whenever the image's header has changed, such as its size, until the image
    /// is closed. Replaces the function given before.
    ///
    /// `changed` runs on a thread of librbd: it must not block and must not close an image. A
    /// panic in it is logged and goes no further.
    ///
    /// # Errors
    /// Any failure to begin the watch.
    pub fn on_update(&self, changed: impl Fn() + Send + Sync + 'static) -> Result<(), Error> {
        let Some(open) = &self.open else {
            return Err(self.closed("rbd.update_watch"));
        };
        let function: Box<OnUpdate> = Box::new(Box::new(changed));
        self.call("rbd.update_watch", |image| {
            let mut watch = open.watch.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((old, _function)) = watch.take() {
                // SAFETY: the image is open and the watch was made on it.
                Errno::check(unsafe { rbd::rbd_update_unwatch(image, old) })?;
            }
            let mut handle = 0;
            let argument = ptr::from_ref::<OnUpdate>(&function).cast_mut().cast();
            // SAFETY: the image is open; the function is boxed, and is freed only after
            // `rbd_update_unwatch` (here and in `Open::close`).
            let result =
                unsafe { rbd::rbd_update_watch(image, &raw mut handle, Some(updated), argument) };
            Errno::check(result)?;
            *watch = Some((handle, function));
            Ok(())
        })
    }

    /// Writes out what librbd holds back.
    ///
    /// # Errors
    /// The failure of a write since the last flush, among others.
    ///
    /// # Blocking
    /// Until the OSDs have answered.
    pub fn flush(&self) -> Result<(), Error> {
        self.call("rbd.flush", |image| {
            // SAFETY: the image is open.
            Errno::check(unsafe { rbd::rbd_flush(image) }).map(drop)
        })
    }

    /// Makes one blocking call on the open image through the door.
    fn call<T>(
        &self,
        call: &'static str,
        f: impl FnOnce(rbd::rbd_image_t) -> Result<T, Errno>,
    ) -> Result<T, Error> {
        let Some(open) = &self.open else {
            return Err(self.closed(call));
        };
        self.io.cluster.inner.door.call(call, &self.target, || {
            f(open.handle).map_err(|errno| self.io.error(call, &self.target, errno))
        })
    }

    /// Only `close` takes the handle, and it takes the image with it.
    fn closed(&self, call: &'static str) -> Error {
        Error::new(call, &self.target, Errno::new(libc::EBADF))
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let Some(open) = self.open.take() else { return };
        let target = self.target.clone();
        // Closing blocks, and the last user may be a thread of librbd's, which must not close.
        let close = move || {
            if let Err(errno) = open.close() {
                warn!(%errno, image = %target, "closing an image failed");
            }
        };
        closing::image(close);
    }
}

/// Called by librbd when a watched image's header has changed.
unsafe extern "C" fn updated(argument: *mut c_void) {
    // SAFETY: the argument is the boxed function given to `rbd_update_watch`, alive until the
    // watch has ended.
    let function = unsafe { &*argument.cast::<OnUpdate>() };
    if catch_unwind(AssertUnwindSafe(function)).is_err() {
        error!("a panic in the function told of an image's changes was stopped");
    }
}

/// Told of a resize's progress; lets it go on.
extern "C" fn go_on(_offset: u64, _total: u64, _argument: *mut c_void) -> c_int {
    0
}

/// Asks for one number.
fn number(ask: impl FnOnce(*mut u64) -> c_int) -> Result<u64, Errno> {
    let mut value = 0;
    Errno::check(ask(&raw mut value))?;
    Ok(value)
}

fn size(image: rbd::rbd_image_t) -> Result<u64, Errno> {
    number(|value| {
        // SAFETY: the image is open; the value is written.
        unsafe { rbd::rbd_get_size(image, value) }
    })
}

fn stat(image: rbd::rbd_image_t) -> Result<ImageStat, Errno> {
    let mut raw = rbd::rbd_image_info_t {
        size: 0,
        obj_size: 0,
        num_objs: 0,
        order: 0,
        block_name_prefix: [0; rbd::RBD_MAX_BLOCK_NAME_SIZE],
        parent_pool: 0,
        parent_name: [0; rbd::RBD_MAX_IMAGE_NAME_SIZE],
    };
    let length = size_of::<rbd::rbd_image_info_t>();
    // SAFETY: the image is open; the struct of that length is written.
    Errno::check(unsafe { rbd::rbd_stat(image, &raw mut raw, length) })?;
    let features = number(|value| {
        // SAFETY: the image is open; the value is written.
        unsafe { rbd::rbd_get_features(image, value) }
    })?;
    let stripe_unit = number(|value| {
        // SAFETY: the image is open; the value is written.
        unsafe { rbd::rbd_get_stripe_unit(image, value) }
    })?;
    let stripe_count = number(|value| {
        // SAFETY: the image is open; the value is written.
        unsafe { rbd::rbd_get_stripe_count(image, value) }
    })?;
    // SAFETY: the image is open.
    let data_pool = unsafe { rbd::rbd_get_data_pool_id(image) };
    let mut created = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the image is open; the time is written.
    Errno::check(unsafe { rbd::rbd_get_create_timestamp(image, &raw mut created) })?;
    let created = Duration::from_secs(u64::try_from(created.tv_sec).unwrap_or(0));
    Ok(ImageStat {
        size: ByteSize::from_bytes(raw.size),
        object_size: ByteSize::from_bytes(raw.obj_size),
        objects: raw.num_objs,
        order: u8::try_from(raw.order).map_err(|_odd| Errno::new(libc::EBADMSG))?,
        features,
        stripe_unit,
        stripe_count,
        data_pool,
        created: UNIX_EPOCH.checked_add(created).unwrap_or(UNIX_EPOCH),
    })
}
