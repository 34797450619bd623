//! librados: clusters, pools, objects, commands (`rados/librados.h`).

use libc::{c_char, c_int, c_uchar, c_uint, c_void, size_t, time_t};

/// A cluster handle. Made by [`rados_create2`], freed by [`rados_shutdown`].
pub type rados_t = *mut c_void;
/// A pool (and RADOS namespace) to do I/O in. Freed by [`rados_ioctx_destroy`].
pub type rados_ioctx_t = *mut c_void;
/// An asynchronous operation's outcome. Freed by [`rados_aio_release`].
pub type rados_completion_t = *mut c_void;
/// A compound write under construction. Freed by [`rados_release_write_op`].
pub type rados_write_op_t = *mut c_void;
/// A compound read under construction. Freed by [`rados_release_read_op`].
pub type rados_read_op_t = *mut c_void;
/// The answer to an omap read. Freed by [`rados_omap_get_end`].
pub type rados_omap_iter_t = *mut c_void;
/// A listing of a pool's objects. Freed by [`rados_nobjects_list_close`].
pub type rados_list_ctx_t = *mut c_void;
/// Called on a librados thread when an asynchronous operation ends.
pub type rados_callback_t = Option<unsafe extern "C" fn(cb: rados_completion_t, arg: *mut c_void)>;

/// Omap and xattr comparison: the stored value equals the given one.
pub const LIBRADOS_CMPXATTR_OP_EQ: c_int = 1;
/// Object creation fails with EEXIST when the object exists.
pub const LIBRADOS_CREATE_EXCLUSIVE: c_int = 1;
/// Object creation succeeds when the object exists.
pub const LIBRADOS_CREATE_IDEMPOTENT: c_int = 0;
/// No flag for an operation.
pub const LIBRADOS_OPERATION_NOFLAG: c_int = 0;
/// Sends the operation to a full pool too: it is done or answered ENOSPC/EDQUOT, never parked.
pub const LIBRADOS_OPERATION_FULL_TRY: c_int = 64;

#[link(name = "rados")]
unsafe extern "C" {
    /// Writes the library's version.
    pub fn rados_version(major: *mut c_int, minor: *mut c_int, extra: *mut c_int);
    /// Makes an unconnected handle for the user `name` (with its `client.` prefix).
    pub fn rados_create2(
        pcluster: *mut rados_t,
        clustername: *const c_char,
        name: *const c_char,
        flags: u64,
    ) -> c_int;
    /// Reads a configuration file; before [`rados_connect`] only.
    pub fn rados_conf_read_file(cluster: rados_t, path: *const c_char) -> c_int;
    /// Sets one option; ENOENT when the library does not know it.
    pub fn rados_conf_set(cluster: rados_t, option: *const c_char, value: *const c_char) -> c_int;
    /// Writes one option's value as a string; ENAMETOOLONG when `len` is too small.
    pub fn rados_conf_get(
        cluster: rados_t,
        option: *const c_char,
        buf: *mut c_char,
        len: size_t,
    ) -> c_int;
    /// Connects; blocks for up to `client_mount_timeout`.
    pub fn rados_connect(cluster: rados_t) -> c_int;
    /// Disconnects and frees the handle; may block. No call may be under way on the handle, and
    /// every I/O context must have been destroyed.
    pub fn rados_shutdown(cluster: rados_t);
    /// Writes the cluster's fsid (36 characters) and a NUL; returns its length.
    pub fn rados_cluster_fsid(cluster: rados_t, buf: *mut c_char, len: size_t) -> c_int;
    /// The client's number in the cluster, as shown in watchers and locks.
    pub fn rados_get_instance_id(cluster: rados_t) -> u64;
    /// Writes the client's own addresses into a string freed by [`rados_buffer_free`].
    pub fn rados_getaddrs(cluster: rados_t, addrs: *mut *mut c_char) -> c_int;
    /// Waits until the client's map is as new as the monitors'.
    pub fn rados_wait_for_latest_osdmap(cluster: rados_t) -> c_int;
    /// The number of the pool of that name in the client's map, or a negative errno.
    pub fn rados_pool_lookup(cluster: rados_t, pool_name: *const c_char) -> i64;
    /// Writes the name of pool `id` and a NUL; returns its length; ERANGE when it does not fit.
    pub fn rados_pool_reverse_lookup(
        cluster: rados_t,
        id: i64,
        buf: *mut c_char,
        maxlen: size_t,
    ) -> c_int;

    /// Makes an I/O context for the pool with that number; ENOENT when the map has none.
    pub fn rados_ioctx_create2(cluster: rados_t, pool_id: i64, ioctx: *mut rados_ioctx_t) -> c_int;
    /// Frees an I/O context; operations under way keep what they need.
    pub fn rados_ioctx_destroy(io: rados_ioctx_t);
    /// Chooses the RADOS namespace. Not while other threads use the context.
    pub fn rados_ioctx_set_namespace(io: rados_ioctx_t, nspace: *const c_char);
    /// Lets all operations try on a full pool instead of waiting for room. Not while other
    /// threads use the context.
    pub fn rados_set_pool_full_try(io: rados_ioctx_t);
    /// Writes the names of the applications enabled on the pool, each with a NUL, from the
    /// client's map; ERANGE and the length needed when they do not fit.
    pub fn rados_application_list(
        io: rados_ioctx_t,
        values: *mut c_char,
        values_len: *mut size_t,
    ) -> c_int;

    /// Begins a listing of the objects in the context's namespace.
    pub fn rados_nobjects_list_open(io: rados_ioctx_t, ctx: *mut rados_list_ctx_t) -> c_int;
    /// The next object; the strings live until the next call on the listing; ENOENT at the end.
    /// One thread at a time.
    pub fn rados_nobjects_list_next2(
        ctx: rados_list_ctx_t,
        entry: *mut *const c_char,
        key: *mut *const c_char,
        nspace: *mut *const c_char,
        entry_size: *mut size_t,
        key_size: *mut size_t,
        nspace_size: *mut size_t,
    ) -> c_int;
    /// Ends a listing.
    pub fn rados_nobjects_list_close(ctx: rados_list_ctx_t);

    /// Notifies an object's watchers and waits for their answers; `reply_buffer` is the encoded
    /// answers, freed by [`rados_buffer_free`], also written for ETIMEDOUT.
    pub fn rados_notify2(
        io: rados_ioctx_t,
        o: *const c_char,
        buf: *const c_char,
        buf_len: c_int,
        timeout_ms: u64,
        reply_buffer: *mut *mut c_char,
        reply_buffer_len: *mut size_t,
    ) -> c_int;

    /// Makes a completion; the callback may be absent.
    pub fn rados_aio_create_completion2(
        cb_arg: *mut c_void,
        cb_complete: rados_callback_t,
        pc: *mut rados_completion_t,
    ) -> c_int;
    /// Blocks until the operation has ended.
    pub fn rados_aio_wait_for_complete(c: rados_completion_t) -> c_int;
    /// The ended operation's result.
    pub fn rados_aio_get_return_value(c: rados_completion_t) -> c_int;
    /// Gives up the caller's hold on the completion.
    pub fn rados_aio_release(c: rados_completion_t);

    /// Begins a compound write. One thread at a time, as all `rados_write_op_*`.
    pub fn rados_create_write_op() -> rados_write_op_t;
    /// Frees a compound write.
    pub fn rados_release_write_op(write_op: rados_write_op_t);
    /// Fails the whole operation with ENOENT unless the object exists.
    pub fn rados_write_op_assert_exists(write_op: rados_write_op_t);
    /// Fails the whole operation with ECANCELED unless the omap value compares as asked; a
    /// missing key compares as an empty value. `prval` must outlive the operation or be null.
    pub fn rados_write_op_omap_cmp2(
        write_op: rados_write_op_t,
        key: *const c_char,
        comparison_operator: u8,
        val: *const c_char,
        key_len: size_t,
        val_len: size_t,
        prval: *mut c_int,
    );
    /// Fails the whole operation with `-4095 - position` unless the object's data from `off` on
    /// is the given; data beyond the object's end compares as zeros. The bytes are copied;
    /// `prval` must outlive the operation or be null.
    pub fn rados_write_op_cmpext(
        write_op: rados_write_op_t,
        cmp_buf: *const c_char,
        cmp_len: size_t,
        off: u64,
        prval: *mut c_int,
    );
    /// Creates the object; `category` is unused and may be null.
    pub fn rados_write_op_create(
        write_op: rados_write_op_t,
        exclusive: c_int,
        category: *const c_char,
    );
    /// Replaces the object's data.
    pub fn rados_write_op_write_full(
        write_op: rados_write_op_t,
        buffer: *const c_char,
        len: size_t,
    );
    /// Removes the object; ENOENT when it does not exist.
    pub fn rados_write_op_remove(write_op: rados_write_op_t);
    /// Calls a method of an object class. `prval` must outlive the operation or be null.
    pub fn rados_write_op_exec(
        write_op: rados_write_op_t,
        cls: *const c_char,
        method: *const c_char,
        in_buf: *const c_char,
        in_len: size_t,
        prval: *mut c_int,
    );
    /// Sets omap values; all is copied.
    pub fn rados_write_op_omap_set2(
        write_op: rados_write_op_t,
        keys: *const *const c_char,
        vals: *const *const c_char,
        key_lens: *const size_t,
        val_lens: *const size_t,
        num: size_t,
    );
    /// Removes omap keys, present or not; all is copied.
    pub fn rados_write_op_omap_rm_keys2(
        write_op: rados_write_op_t,
        keys: *const *const c_char,
        key_lens: *const size_t,
        keys_len: size_t,
    );
    /// Sends a compound write and waits; `mtime` may be null.
    pub fn rados_write_op_operate(
        write_op: rados_write_op_t,
        io: rados_ioctx_t,
        oid: *const c_char,
        mtime: *mut time_t,
        flags: c_int,
    ) -> c_int;
    /// Sends a compound write; `mtime` may be null.
    pub fn rados_aio_write_op_operate(
        write_op: rados_write_op_t,
        io: rados_ioctx_t,
        completion: rados_completion_t,
        oid: *const c_char,
        mtime: *mut time_t,
        flags: c_int,
    ) -> c_int;

    /// Begins a compound read. One thread at a time, as all `rados_read_op_*`. Where an answer is
    /// written (`iter`, `prval`, buffers) must outlive the operation.
    pub fn rados_create_read_op() -> rados_read_op_t;
    /// Frees a compound read.
    pub fn rados_release_read_op(read_op: rados_read_op_t);
    /// Reads data into `buffer`.
    pub fn rados_read_op_read(
        read_op: rados_read_op_t,
        offset: u64,
        len: size_t,
        buffer: *mut c_char,
        bytes_read: *mut size_t,
        prval: *mut c_int,
    );
    /// Calls a reading method of an object class; the answer is freed by [`rados_buffer_free`].
    pub fn rados_read_op_exec(
        read_op: rados_read_op_t,
        cls: *const c_char,
        method: *const c_char,
        in_buf: *const c_char,
        in_len: size_t,
        out_buf: *mut *mut c_char,
        out_len: *mut size_t,
        prval: *mut c_int,
    );
    /// Reads omap entries in key order after `start_after` whose key begins with `filter_prefix`.
    pub fn rados_read_op_omap_get_vals2(
        read_op: rados_read_op_t,
        start_after: *const c_char,
        filter_prefix: *const c_char,
        max_return: u64,
        iter: *mut rados_omap_iter_t,
        pmore: *mut c_uchar,
        prval: *mut c_int,
    );
    /// Reads the omap values of the keys named; missing keys are left out. The keys are copied.
    pub fn rados_read_op_omap_get_vals_by_keys2(
        read_op: rados_read_op_t,
        keys: *const *const c_char,
        num_keys: size_t,
        key_lens: *const size_t,
        iter: *mut rados_omap_iter_t,
        prval: *mut c_int,
    );
    /// Sends a compound read and waits.
    pub fn rados_read_op_operate(
        read_op: rados_read_op_t,
        io: rados_ioctx_t,
        oid: *const c_char,
        flags: c_int,
    ) -> c_int;
    /// Sends a compound read.
    pub fn rados_aio_read_op_operate(
        read_op: rados_read_op_t,
        io: rados_ioctx_t,
        completion: rados_completion_t,
        oid: *const c_char,
        flags: c_int,
    ) -> c_int;
    /// How many entries an omap answer has left.
    pub fn rados_omap_iter_size(iter: rados_omap_iter_t) -> c_uint;
    /// The next entry, null key at the end; it lives until [`rados_omap_get_end`]. One thread at
    /// a time.
    pub fn rados_omap_get_next2(
        iter: rados_omap_iter_t,
        key: *mut *mut c_char,
        val: *mut *mut c_char,
        key_len: *mut size_t,
        val_len: *mut size_t,
    ) -> c_int;
    /// Frees an omap answer.
    pub fn rados_omap_get_end(iter: rados_omap_iter_t);

    /// Sends a command to a monitor and waits; both answers are freed by [`rados_buffer_free`].
    pub fn rados_mon_command(
        cluster: rados_t,
        cmd: *mut *const c_char,
        cmdlen: size_t,
        inbuf: *const c_char,
        inbuflen: size_t,
        outbuf: *mut *mut c_char,
        outbuflen: *mut size_t,
        outs: *mut *mut c_char,
        outslen: *mut size_t,
    ) -> c_int;
    /// Sends a command to the active manager and waits; as [`rados_mon_command`].
    pub fn rados_mgr_command(
        cluster: rados_t,
        cmd: *mut *const c_char,
        cmdlen: size_t,
        inbuf: *const c_char,
        inbuflen: size_t,
        outbuf: *mut *mut c_char,
        outbuflen: *mut size_t,
        outs: *mut *mut c_char,
        outslen: *mut size_t,
    ) -> c_int;
    /// Asks the monitors for a number for a snapshot in the context's pool; `snapid` must outlive
    /// the completion.
    pub fn rados_aio_ioctx_selfmanaged_snap_create(
        io: rados_ioctx_t,
        snapid: *mut u64,
        completion: rados_completion_t,
    );
    /// Frees an answer the library allocated; null is allowed.
    pub fn rados_buffer_free(buf: *mut c_char);
}
