//! libcephfs: a file system's directories (`cephfs/libcephfs.h`), loaded only when it is asked for.
//!
//! Few commands need it, so it is neither linked nor loaded at start: the driver stays small, and
//! a host without the library can do everything else.

use std::ffi::CStr;
use std::mem::transmute_copy;
use std::sync::OnceLock;

use libc::{c_char, c_int, c_uint, c_void, gid_t, mode_t, size_t, uid_t};

use crate::rados::rados_t;

/// A mount of a file system. Made by `ceph_create_from_rados`, freed by `ceph_release`.
#[derive(Debug)]
#[repr(C)]
pub struct ceph_mount_info {
    _opaque: [u8; 0],
}

/// An open directory. Made by `ceph_opendir`, freed by `ceph_closedir`.
#[derive(Debug)]
#[repr(C)]
pub struct ceph_dir_result {
    _opaque: [u8; 0],
}

/// Whom calls are made as. Made by `ceph_userperm_new`, freed by `ceph_userperm_destroy`.
#[derive(Debug)]
#[repr(C)]
pub struct UserPerm {
    _opaque: [u8; 0],
}

/// Makes an unmounted handle that shares the configuration, key included, of a cluster handle.
pub type CephCreateFromRados =
    unsafe extern "C" fn(cmount: *mut *mut ceph_mount_info, cluster: rados_t) -> c_int;
/// Makes the credentials of a user; `gidlist` is borrowed for their life. Null without memory.
pub type CephUserpermNew = unsafe extern "C" fn(
    uid: uid_t,
    gid: gid_t,
    ngids: c_int,
    gidlist: *mut gid_t,
) -> *mut UserPerm;
/// Frees credentials.
pub type CephUserpermDestroy = unsafe extern "C" fn(perm: *mut UserPerm);
/// Sets whom calls are made as; the credentials are copied. Before `ceph_mount` only.
pub type CephMountPermsSet =
    unsafe extern "C" fn(cmount: *mut ceph_mount_info, perm: *mut UserPerm) -> c_int;
/// Chooses the file system to mount, the cluster's default when not called. Before `ceph_mount` only.
pub type CephSelectFilesystem =
    unsafe extern "C" fn(cmount: *mut ceph_mount_info, fs_name: *const c_char) -> c_int;
/// Mounts a directory of the file system; blocks for up to `client_mount_timeout`.
pub type CephMount =
    unsafe extern "C" fn(cmount: *mut ceph_mount_info, root: *const c_char) -> c_int;
/// Writes back and ends the session; may block. No call may be under way.
pub type CephUnmount = unsafe extern "C" fn(cmount: *mut ceph_mount_info) -> c_int;
/// Frees an unmounted handle.
pub type CephRelease = unsafe extern "C" fn(cmount: *mut ceph_mount_info) -> c_int;
/// Makes a directory and those above it; EEXIST when it is there.
pub type CephMkdirs =
    unsafe extern "C" fn(cmount: *mut ceph_mount_info, path: *const c_char, mode: mode_t) -> c_int;
/// Removes an empty directory.
pub type CephRmdir =
    unsafe extern "C" fn(cmount: *mut ceph_mount_info, path: *const c_char) -> c_int;
/// Removes a file or a symbolic link.
pub type CephUnlink =
    unsafe extern "C" fn(cmount: *mut ceph_mount_info, path: *const c_char) -> c_int;
/// Renames a file or directory.
pub type CephRename = unsafe extern "C" fn(
    cmount: *mut ceph_mount_info,
    from: *const c_char,
    to: *const c_char,
) -> c_int;
/// Sets an extended attribute.
pub type CephSetxattr = unsafe extern "C" fn(
    cmount: *mut ceph_mount_info,
    path: *const c_char,
    name: *const c_char,
    value: *const c_void,
    size: size_t,
    flags: c_int,
) -> c_int;
/// Reads an extended attribute; returns its length, ERANGE when `size` is too small.
pub type CephGetxattr = unsafe extern "C" fn(
    cmount: *mut ceph_mount_info,
    path: *const c_char,
    name: *const c_char,
    value: *mut c_void,
    size: size_t,
) -> c_int;
/// Opens a directory.
pub type CephOpendir = unsafe extern "C" fn(
    cmount: *mut ceph_mount_info,
    name: *const c_char,
    dirpp: *mut *mut ceph_dir_result,
) -> c_int;
/// Writes the next entry to `de`; 1 when there was one, 0 at the end.
pub type CephReaddirR = unsafe extern "C" fn(
    cmount: *mut ceph_mount_info,
    dirp: *mut ceph_dir_result,
    de: *mut libc::dirent,
) -> c_int;
/// Closes a directory.
pub type CephClosedir =
    unsafe extern "C" fn(cmount: *mut ceph_mount_info, dirp: *mut ceph_dir_result) -> c_int;
/// Opens a file, or makes it; returns its descriptor.
pub type CephOpen = unsafe extern "C" fn(
    cmount: *mut ceph_mount_info,
    path: *const c_char,
    flags: c_int,
    mode: mode_t,
) -> c_int;
/// Closes a file.
pub type CephClose = unsafe extern "C" fn(cmount: *mut ceph_mount_info, fd: c_int) -> c_int;
/// Takes over, or with `CEPH_RECLAIM_RESET` ends, the session of a client whose metadata has this
/// `uuid`; blocks until the MDSs have answered. On an unmounted handle.
pub type CephStartReclaim =
    unsafe extern "C" fn(cmount: *mut ceph_mount_info, uuid: *const c_char, flags: c_uint) -> c_int;
/// Finishes what `ceph_start_reclaim` began.
pub type CephFinishReclaim = unsafe extern "C" fn(cmount: *mut ceph_mount_info);

/// `CEPH_RECLAIM_RESET`: the other session is ended.
pub const CEPH_RECLAIM_RESET: c_uint = 1;

macro_rules! library {
    ($($field:ident: $type:ty = $name:literal,)*) => {
        /// The functions of the loaded library.
        #[derive(Debug, Clone, Copy)]
        #[expect(missing_docs, reason = "each is told at its type")]
        pub struct Library {
            $(pub $field: $type,)*
        }

        impl Library {
            fn load() -> Option<Self> {
                // SAFETY: the name is NUL-terminated; loading runs the library's constructors,
                // which are Ceph's own.
                let library = unsafe { libc::dlopen(SONAME.as_ptr(), libc::RTLD_NOW) };
                if library.is_null() {
                    return None;
                }
                // The library is never closed: its threads may outlive every mount.
                Some(Self { $($field: find::<$type>(library, $name)?,)* })
            }
        }
    };
}

library! {
    create_from_rados: CephCreateFromRados = c"ceph_create_from_rados",
    userperm_new: CephUserpermNew = c"ceph_userperm_new",
    userperm_destroy: CephUserpermDestroy = c"ceph_userperm_destroy",
    mount_perms_set: CephMountPermsSet = c"ceph_mount_perms_set",
    select_filesystem: CephSelectFilesystem = c"ceph_select_filesystem",
    mount: CephMount = c"ceph_mount",
    unmount: CephUnmount = c"ceph_unmount",
    release: CephRelease = c"ceph_release",
    mkdirs: CephMkdirs = c"ceph_mkdirs",
    rmdir: CephRmdir = c"ceph_rmdir",
    unlink: CephUnlink = c"ceph_unlink",
    rename: CephRename = c"ceph_rename",
    setxattr: CephSetxattr = c"ceph_setxattr",
    getxattr: CephGetxattr = c"ceph_getxattr",
    opendir: CephOpendir = c"ceph_opendir",
    readdir_r: CephReaddirR = c"ceph_readdir_r",
    closedir: CephClosedir = c"ceph_closedir",
    open: CephOpen = c"ceph_open",
    close: CephClose = c"ceph_close",
    start_reclaim: CephStartReclaim = c"ceph_start_reclaim",
    finish_reclaim: CephFinishReclaim = c"ceph_finish_reclaim",
}

/// The library's name; its major version is 2 from Ceph 11 to 20.
const SONAME: &CStr = c"libcephfs.so.2";

fn find<F: Copy>(library: *mut c_void, name: &CStr) -> Option<F> {
    const { assert!(size_of::<F>() == size_of::<*mut c_void>()) };
    // SAFETY: the library is loaded and never closed; the name is NUL-terminated.
    let address = unsafe { libc::dlsym(library, name.as_ptr()) };
    if address.is_null() {
        return None;
    }
    // SAFETY: `F` is as wide as a pointer (asserted above), and `library!` pairs each symbol's
    // name with the type of its C signature.
    Some(unsafe { transmute_copy::<*mut c_void, F>(&address) })
}

/// The library, or `None` when it is not installed. The first call loads it.
pub fn library() -> Option<&'static Library> {
    static LOADED: OnceLock<Option<Library>> = OnceLock::new();
    LOADED.get_or_init(Library::load).as_ref()
}
