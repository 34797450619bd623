//! The installed Ceph libraries: their versions.

use std::fmt;

use ceph_sys::{rados, rbd};
use libc::c_int;

/// The versions of the installed libraries' interfaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Versions {
    /// librados: major, minor, extra.
    pub rados: (i32, i32, i32),
    /// librbd: major, minor, extra.
    pub rbd: (i32, i32, i32),
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ((a, b, c), (x, y, z)) = (self.rados, self.rbd);
        write!(f, "librados {a}.{b}.{c}, librbd {x}.{y}.{z}")
    }
}

/// Asks the installed libraries for their versions. Makes no connection.
#[must_use]
pub fn versions() -> Versions {
    Versions {
        rados: ask(rados::rados_version),
        rbd: ask(rbd::rbd_version),
    }
}

type Version = unsafe extern "C" fn(*mut c_int, *mut c_int, *mut c_int);

fn ask(version: Version) -> (i32, i32, i32) {
    let (mut major, mut minor, mut extra) = (0, 0, 0);
    // SAFETY: the pointers are valid for writing during the call; the function keeps none.
    unsafe { version(&raw mut major, &raw mut minor, &raw mut extra) };
    (major, minor, extra)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_installed_libraries_are_at_least_those_of_ceph_16() {
        let found = versions();
        assert!(
            found.rados >= (3, 0, 0) && found.rbd >= (1, 16, 0),
            "{found}"
        );
    }
}
