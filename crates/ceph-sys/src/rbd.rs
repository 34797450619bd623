//! librbd: images, their I/O and the trash (`rbd/librbd.h`, `rbd/features.h`).

use libc::{c_char, c_int, c_void, size_t, ssize_t, time_t, timespec};

use crate::rados::rados_ioctx_t;

/// An open image. Freed by [`rbd_close`].
pub type rbd_image_t = *mut c_void;
/// The options of a new image. Freed by [`rbd_image_options_destroy`].
pub type rbd_image_options_t = *mut c_void;
/// An asynchronous operation's outcome. Freed by [`rbd_aio_release`].
pub type rbd_completion_t = *mut c_void;
/// Called on a librbd thread when an asynchronous operation ends.
pub type rbd_callback_t = Option<unsafe extern "C" fn(cb: rbd_completion_t, arg: *mut c_void)>;
/// Called on a librbd thread as a long operation goes on; a non-zero result cancels it.
pub type librbd_progress_fn_t =
    Option<unsafe extern "C" fn(offset: u64, total: u64, ptr: *mut c_void) -> c_int>;
/// Called on a librbd thread when an image's header has changed.
pub type rbd_update_callback_t = Option<unsafe extern "C" fn(arg: *mut c_void)>;
/// How an image is locked.
pub type rbd_lock_mode_t = libc::c_uint;
/// How an image came into the trash.
pub type rbd_trash_image_source_t = libc::c_uint;

/// Length of an image's deprecated name fields.
pub const RBD_MAX_IMAGE_NAME_SIZE: usize = 96;
/// Length of an image's object prefix field.
pub const RBD_MAX_BLOCK_NAME_SIZE: usize = 24;
/// Image option: 1 or 2.
pub const RBD_IMAGE_OPTION_FORMAT: c_int = 0;
/// Image option: the exact feature bits.
pub const RBD_IMAGE_OPTION_FEATURES: c_int = 1;
/// Image option: the object size as a power of two.
pub const RBD_IMAGE_OPTION_ORDER: c_int = 2;
/// Image option: bytes per stripe unit.
pub const RBD_IMAGE_OPTION_STRIPE_UNIT: c_int = 3;
/// Image option: objects per stripe.
pub const RBD_IMAGE_OPTION_STRIPE_COUNT: c_int = 4;
/// Image option: the name of the pool for the data.
pub const RBD_IMAGE_OPTION_DATA_POOL: c_int = 10;
/// Image option: which form of clone, 1 or 2.
pub const RBD_IMAGE_OPTION_CLONE_FORMAT: c_int = 12;
/// Lock: for one client, which does not pass it on.
pub const RBD_LOCK_MODE_EXCLUSIVE: rbd_lock_mode_t = 0;
/// Trash source: moved by a user.
pub const RBD_TRASH_IMAGE_SOURCE_USER: rbd_trash_image_source_t = 0;

/// Feature: clones.
pub const RBD_FEATURE_LAYERING: u64 = 1 << 0;
/// Feature: striping other than one object at a time.
pub const RBD_FEATURE_STRIPINGV2: u64 = 1 << 1;
/// Feature: one writer at a time.
pub const RBD_FEATURE_EXCLUSIVE_LOCK: u64 = 1 << 2;
/// Feature: a map of existing objects.
pub const RBD_FEATURE_OBJECT_MAP: u64 = 1 << 3;
/// Feature: quick differences between snapshots.
pub const RBD_FEATURE_FAST_DIFF: u64 = 1 << 4;
/// Feature: flattening releases the parent's snapshots too.
pub const RBD_FEATURE_DEEP_FLATTEN: u64 = 1 << 5;
/// Feature: a journal of writes.
pub const RBD_FEATURE_JOURNALING: u64 = 1 << 6;
/// Feature: data in another pool than the header.
pub const RBD_FEATURE_DATA_POOL: u64 = 1 << 7;

/// What [`rbd_stat`] answers.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct rbd_image_info_t {
    /// Bytes.
    pub size: u64,
    /// Bytes per object.
    pub obj_size: u64,
    /// Objects when full.
    pub num_objs: u64,
    /// The object size as a power of two.
    pub order: c_int,
    /// Prefix of the data objects' names (deprecated).
    pub block_name_prefix: [c_char; RBD_MAX_BLOCK_NAME_SIZE],
    /// The parent's pool (deprecated).
    pub parent_pool: i64,
    /// The parent's name (deprecated).
    pub parent_name: [c_char; RBD_MAX_IMAGE_NAME_SIZE],
}

/// An image's identifier and name, as listed.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct rbd_image_spec_t {
    /// The identifier.
    pub id: *mut c_char,
    /// The name.
    pub name: *mut c_char,
}

/// One image in the trash.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct rbd_trash_image_info_t {
    /// The identifier.
    pub id: *mut c_char,
    /// The name it had.
    pub name: *mut c_char,
    /// Who moved it.
    pub source: rbd_trash_image_source_t,
    /// When it was moved, in seconds since 1970.
    pub deletion_time: time_t,
    /// Until when it may not be removed, in seconds since 1970.
    pub deferment_end_time: time_t,
}

/// One client that has an image open for writing or mapped.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct rbd_image_watcher_t {
    /// The client's address.
    pub addr: *mut c_char,
    /// The client's number.
    pub id: i64,
    /// The watch's number.
    pub cookie: u64,
}

/// One snapshot of an image.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct rbd_snap_info_t {
    /// The snapshot's number.
    pub id: u64,
    /// Bytes of the image when it was taken.
    pub size: u64,
    /// The snapshot's name.
    pub name: *const c_char,
}

#[link(name = "rbd")]
unsafe extern "C" {
    /// Writes the library's version.
    pub fn rbd_version(major: *mut c_int, minor: *mut c_int, extra: *mut c_int);

    /// Begins a set of options. One thread at a time, as all `rbd_image_options_*`.
    pub fn rbd_image_options_create(opts: *mut rbd_image_options_t);
    /// Frees a set of options.
    pub fn rbd_image_options_destroy(opts: rbd_image_options_t);
    /// Sets a number.
    pub fn rbd_image_options_set_uint64(
        opts: rbd_image_options_t,
        optname: c_int,
        optval: u64,
    ) -> c_int;
    /// Sets a text.
    pub fn rbd_image_options_set_string(
        opts: rbd_image_options_t,
        optname: c_int,
        optval: *const c_char,
    ) -> c_int;
    /// Makes an image; EEXIST when the name is taken.
    pub fn rbd_create4(
        io: rados_ioctx_t,
        name: *const c_char,
        size: u64,
        opts: rbd_image_options_t,
    ) -> c_int;
    /// Makes an image that shows a snapshot's data; EEXIST when the name is taken.
    pub fn rbd_clone3(
        p_ioctx: rados_ioctx_t,
        p_name: *const c_char,
        p_snapname: *const c_char,
        c_ioctx: rados_ioctx_t,
        c_name: *const c_char,
        c_opts: rbd_image_options_t,
    ) -> c_int;
    /// Removes an image with its data; EBUSY when watched, ENOTEMPTY when it has snapshots.
    pub fn rbd_remove(io: rados_ioctx_t, name: *const c_char) -> c_int;
    /// Lists images by name; `max_images` is the array's length in and the number of images out;
    /// ERANGE when they do not fit. Entries are freed by [`rbd_image_spec_list_cleanup`].
    pub fn rbd_list2(
        io: rados_ioctx_t,
        images: *mut rbd_image_spec_t,
        max_images: *mut size_t,
    ) -> c_int;
    /// Frees the entries (not the array) of [`rbd_list2`].
    pub fn rbd_image_spec_list_cleanup(images: *mut rbd_image_spec_t, num_images: size_t);

    /// Moves an image to the trash; `delay` in seconds; EBUSY when watched.
    pub fn rbd_trash_move(io: rados_ioctx_t, name: *const c_char, delay: u64) -> c_int;
    /// Describes an image in the trash; freed by [`rbd_trash_get_cleanup`].
    pub fn rbd_trash_get(
        io: rados_ioctx_t,
        id: *const c_char,
        info: *mut rbd_trash_image_info_t,
    ) -> c_int;
    /// Frees what [`rbd_trash_get`] wrote.
    pub fn rbd_trash_get_cleanup(info: *mut rbd_trash_image_info_t);
    /// Lists the trash; sizes as in [`rbd_list2`]; freed by [`rbd_trash_list_cleanup`].
    pub fn rbd_trash_list(
        io: rados_ioctx_t,
        trash_entries: *mut rbd_trash_image_info_t,
        num_entries: *mut size_t,
    ) -> c_int;
    /// Frees the entries (not the array) of [`rbd_trash_list`].
    pub fn rbd_trash_list_cleanup(trash_entries: *mut rbd_trash_image_info_t, num_entries: size_t);
    /// Removes an image in the trash with its data; EPERM before its time unless forced.
    pub fn rbd_trash_remove(io: rados_ioctx_t, id: *const c_char, force: bool) -> c_int;
    /// Brings an image back from the trash under a name.
    pub fn rbd_trash_restore(io: rados_ioctx_t, id: *const c_char, name: *const c_char) -> c_int;

    /// Opens an image for writing, watching it; `snap_name` may be null.
    pub fn rbd_open(
        io: rados_ioctx_t,
        name: *const c_char,
        image: *mut rbd_image_t,
        snap_name: *const c_char,
    ) -> c_int;
    /// Opens an image for reading, without a watch; `snap_name` may be null.
    pub fn rbd_open_read_only(
        io: rados_ioctx_t,
        name: *const c_char,
        image: *mut rbd_image_t,
        snap_name: *const c_char,
    ) -> c_int;
    /// Closes an image: flushes, unwatches, frees. Not from a librbd callback, and with no other
    /// call under way on it.
    pub fn rbd_close(image: rbd_image_t) -> c_int;
    /// Changes an image's size; EINVAL when it would shrink and may not. `cb` may be absent.
    pub fn rbd_resize2(
        image: rbd_image_t,
        size: u64,
        allow_shrink: bool,
        cb: librbd_progress_fn_t,
        cbdata: *mut c_void,
    ) -> c_int;
    /// Describes an image; `infosize` is the size of the struct.
    pub fn rbd_stat(image: rbd_image_t, info: *mut rbd_image_info_t, infosize: size_t) -> c_int;
    /// Writes an image's size in bytes.
    pub fn rbd_get_size(image: rbd_image_t, size: *mut u64) -> c_int;
    /// Writes an image's feature bits.
    pub fn rbd_get_features(image: rbd_image_t, features: *mut u64) -> c_int;
    /// Writes the bytes per stripe unit.
    pub fn rbd_get_stripe_unit(image: rbd_image_t, stripe_unit: *mut u64) -> c_int;
    /// Writes the objects per stripe.
    pub fn rbd_get_stripe_count(image: rbd_image_t, stripe_count: *mut u64) -> c_int;
    /// Writes when an image was made.
    pub fn rbd_get_create_timestamp(image: rbd_image_t, timestamp: *mut timespec) -> c_int;
    /// The number of the pool that holds the data, or a negative errno.
    pub fn rbd_get_data_pool_id(image: rbd_image_t) -> i64;
    /// Writes an image's identifier and a NUL; ERANGE when it does not fit.
    pub fn rbd_get_id(image: rbd_image_t, id: *mut c_char, id_len: size_t) -> c_int;
    /// Lists snapshots; `max_snaps` is the array's length in and the number needed out; ERANGE
    /// when they do not fit; returns the count. Freed by [`rbd_snap_list_end`].
    pub fn rbd_snap_list(
        image: rbd_image_t,
        snaps: *mut rbd_snap_info_t,
        max_snaps: *mut c_int,
    ) -> c_int;
    /// Frees the entries (not the array) of [`rbd_snap_list`], up to one without a name.
    pub fn rbd_snap_list_end(snaps: *mut rbd_snap_info_t);

    /// Takes a snapshot; EEXIST when there is one of that name.
    pub fn rbd_snap_create(image: rbd_image_t, snapname: *const c_char) -> c_int;
    /// Removes a snapshot, or moves it to the snapshots' trash while it has clones (format 2);
    /// ENOENT when there is none of that name.
    pub fn rbd_snap_remove(image: rbd_image_t, snapname: *const c_char) -> c_int;
    /// Writes the number of the snapshot of that name.
    pub fn rbd_snap_get_id(image: rbd_image_t, snapname: *const c_char, snap_id: *mut u64)
    -> c_int;
    /// Shows the image as it was at a snapshot, in any namespace; `CEPH_NOSNAP` shows its present.
    pub fn rbd_snap_set_by_id(image: rbd_image_t, snap_id: u64) -> c_int;
    /// Copies all that an image still takes from its parent, and lets go of it. EINVAL when it has
    /// no parent.
    pub fn rbd_flatten_with_progress(
        image: rbd_image_t,
        cb: librbd_progress_fn_t,
        cbdata: *mut c_void,
    ) -> c_int;
    /// Tells the extents that differ between a snapshot (null: the beginning) and what the image
    /// shows; the callback's third argument is whether the extent exists, and a negative result of
    /// it ends the walk with that errno.
    pub fn rbd_diff_iterate2(
        image: rbd_image_t,
        fromsnapname: *const c_char,
        ofs: u64,
        len: u64,
        include_parent: u8,
        whole_object: u8,
        cb: Option<unsafe extern "C" fn(u64, size_t, c_int, *mut c_void) -> c_int>,
        arg: *mut c_void,
    ) -> c_int;

    /// Writes a metadata value; `val_len` is the buffer's length in and the value's out; ERANGE
    /// when it does not fit.
    pub fn rbd_metadata_get(
        image: rbd_image_t,
        key: *const c_char,
        value: *mut c_char,
        val_len: *mut size_t,
    ) -> c_int;
    /// Sets a metadata value and tells the image's watchers.
    pub fn rbd_metadata_set(image: rbd_image_t, key: *const c_char, value: *const c_char) -> c_int;
    /// Removes a metadata value; ENOENT when there is none.
    pub fn rbd_metadata_remove(image: rbd_image_t, key: *const c_char) -> c_int;
    /// Lists metadata after the key `start` (`max` 0: all) into two buffers of NUL-terminated
    /// texts; lengths in and out; ERANGE when they do not fit.
    pub fn rbd_metadata_list(
        image: rbd_image_t,
        start: *const c_char,
        max: u64,
        keys: *mut c_char,
        key_len: *mut size_t,
        values: *mut c_char,
        vals_len: *mut size_t,
    ) -> c_int;

    /// Lists who watches an image; `max_watchers` as in [`rbd_list2`]; freed by
    /// [`rbd_watchers_list_cleanup`].
    pub fn rbd_watchers_list(
        image: rbd_image_t,
        watchers: *mut rbd_image_watcher_t,
        max_watchers: *mut size_t,
    ) -> c_int;
    /// Frees the entries (not the array) of [`rbd_watchers_list`].
    pub fn rbd_watchers_list_cleanup(watchers: *mut rbd_image_watcher_t, num_watchers: size_t);
    /// Asks to be told of changes of the header; `arg` must live until [`rbd_update_unwatch`].
    pub fn rbd_update_watch(
        image: rbd_image_t,
        handle: *mut u64,
        watch_cb: rbd_update_callback_t,
        arg: *mut c_void,
    ) -> c_int;
    /// Ends an update watch; no callback runs after it. Not from a librbd callback.
    pub fn rbd_update_unwatch(image: rbd_image_t, handle: u64) -> c_int;

    /// Takes the exclusive lock and keeps it until the image is closed: EROFS when another client
    /// keeps it so, EINVAL when the image has no such feature. The lock of a client that does not
    /// watch the image any more is broken, and that client blocklisted.
    pub fn rbd_lock_acquire(image: rbd_image_t, lock_mode: rbd_lock_mode_t) -> c_int;
    /// Tells whether this client holds the exclusive lock (1) or not (0).
    pub fn rbd_is_exclusive_lock_owner(image: rbd_image_t, is_owner: *mut c_int) -> c_int;

    /// Makes a completion. The callback may free it.
    pub fn rbd_aio_create_completion(
        cb_arg: *mut c_void,
        complete_cb: rbd_callback_t,
        c: *mut rbd_completion_t,
    ) -> c_int;
    /// The ended operation's result: bytes read, or 0, or a negative errno.
    pub fn rbd_aio_get_return_value(c: rbd_completion_t) -> ssize_t;
    /// Gives up the caller's hold on the completion.
    pub fn rbd_aio_release(c: rbd_completion_t);
    /// Begins a read. When it answers an errno, the completion does not fire.
    pub fn rbd_aio_read2(
        image: rbd_image_t,
        off: u64,
        len: size_t,
        buf: *mut c_char,
        c: rbd_completion_t,
        op_flags: c_int,
    ) -> c_int;
    /// Begins a write. As [`rbd_aio_read2`].
    pub fn rbd_aio_write2(
        image: rbd_image_t,
        off: u64,
        len: size_t,
        buf: *const c_char,
        c: rbd_completion_t,
        op_flags: c_int,
    ) -> c_int;
    /// Begins a discard: the range need not read as zero afterwards. As [`rbd_aio_read2`].
    pub fn rbd_aio_discard(image: rbd_image_t, off: u64, len: u64, c: rbd_completion_t) -> c_int;
    /// Begins to zero a range, freeing what can be freed. As [`rbd_aio_read2`].
    pub fn rbd_aio_write_zeroes(
        image: rbd_image_t,
        off: u64,
        len: size_t,
        c: rbd_completion_t,
        zero_flags: c_int,
        op_flags: c_int,
    ) -> c_int;
    /// Begins a flush of what has been written. As [`rbd_aio_read2`].
    pub fn rbd_aio_flush(image: rbd_image_t, c: rbd_completion_t) -> c_int;
    /// Flushes what has been written.
    pub fn rbd_flush(image: rbd_image_t) -> c_int;

    /// Makes a RADOS namespace of RBD's in the context's pool; EEXIST when it is there.
    pub fn rbd_namespace_create(io: rados_ioctx_t, namespace_name: *const c_char) -> c_int;
    /// Writes whether a RADOS namespace of RBD's exists in the context's pool.
    pub fn rbd_namespace_exists(
        io: rados_ioctx_t,
        namespace_name: *const c_char,
        exists: *mut bool,
    ) -> c_int;
}
