//! Functions younger than Ceph 16, looked up once at run time.
//!
//! One binary runs on Ceph 16 and on much newer libraries: what the oldest lacks is not linked
//! but found with `dlsym`, and absent is an answer, not a start-up failure.

use std::ffi::CStr;
use std::mem::transmute_copy;
use std::sync::OnceLock;

use libc::{c_char, c_int, c_void, size_t};

use crate::rados::rados_ioctx_t;
use crate::rbd::{rbd_image_options_t, rbd_image_t};

/// `rbd_clone4`: clones from a snapshot by its number.
pub type RbdClone4 = unsafe extern "C" fn(
    p_ioctx: rados_ioctx_t,
    p_name: *const c_char,
    p_snap_id: u64,
    c_ioctx: rados_ioctx_t,
    c_name: *const c_char,
    c_opts: rbd_image_options_t,
) -> c_int;

/// `rbd_diff_iterate3`: walks the extents that differ since a snapshot given by its number.
pub type RbdDiffIterate3 = unsafe extern "C" fn(
    image: rbd_image_t,
    from_snap_id: u64,
    ofs: u64,
    len: u64,
    flags: u32,
    cb: Option<unsafe extern "C" fn(u64, size_t, c_int, *mut c_void) -> c_int>,
    arg: *mut c_void,
) -> c_int;

/// `rbd_group_snap_get_info`: describes one snapshot of a group. The last argument points to a
/// struct that the library fills and `rbd_group_snap_get_info_cleanup` frees.
pub type RbdGroupSnapGetInfo = unsafe extern "C" fn(
    group_p: rados_ioctx_t,
    group_name: *const c_char,
    snap_name: *const c_char,
    group_snap: *mut c_void,
) -> c_int;

/// A function that may be missing from the installed library.
#[derive(Debug)]
pub struct Late<F> {
    name: &'static CStr,
    found: OnceLock<Option<F>>,
}

impl<F: Copy> Late<F> {
    const fn new(name: &'static CStr) -> Self {
        Self {
            name,
            found: OnceLock::new(),
        }
    }

    /// The C name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name.to_str().unwrap_or("?")
    }

    /// The function, or `None` when the installed library lacks it. The first call looks it up.
    pub fn get(&self) -> Option<F> {
        const { assert!(size_of::<F>() == size_of::<*mut c_void>()) };
        *self.found.get_or_init(|| {
            // SAFETY: the name is NUL-terminated, and RTLD_DEFAULT searches the loaded libraries.
            let address = unsafe { libc::dlsym(libc::RTLD_DEFAULT, self.name.as_ptr()) };
            if address.is_null() {
                return None;
            }
            // SAFETY: `F` is as wide as a pointer (asserted above), and each static below pairs
            // the symbol's name with the type of its C signature.
            Some(unsafe { transmute_copy::<*mut c_void, F>(&address) })
        })
    }
}

/// Not in Ceph 16.
pub static RBD_CLONE4: Late<RbdClone4> = Late::new(c"rbd_clone4");
/// Not in Ceph 16.
pub static RBD_DIFF_ITERATE3: Late<RbdDiffIterate3> = Late::new(c"rbd_diff_iterate3");
/// Not in Ceph 16.
pub static RBD_GROUP_SNAP_GET_INFO: Late<RbdGroupSnapGetInfo> =
    Late::new(c"rbd_group_snap_get_info");

#[cfg(test)]
mod tests {
    use super::*;

    type Version = unsafe extern "C" fn(*mut c_int, *mut c_int, *mut c_int);

    #[test]
    fn a_present_symbol_is_found_and_works() {
        static RBD_VERSION: Late<Version> = Late::new(c"rbd_version");
        // The linked function keeps the library loaded, and is the witness.
        let version = |function: Version| {
            let mut parts: [c_int; 3] = [-1; 3];
            let [major, minor, extra] = &mut parts;
            // SAFETY: the three pointers are valid for writing during the call.
            unsafe { function(major, minor, extra) };
            parts
        };
        let found = RBD_VERSION.get().expect("rbd_version is in every librbd");
        assert_eq!(version(found), version(crate::rbd::rbd_version));
    }

    #[test]
    fn an_absent_symbol_is_an_answer() {
        static NOTHING: Late<Version> = Late::new(c"rbd_no_such_function");
        assert!(NOTHING.get().is_none());
        assert_eq!(NOTHING.name(), "rbd_no_such_function");
    }
}
