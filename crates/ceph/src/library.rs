//! The installed Ceph libraries: their versions, and what the older ones lack.

use std::fmt;

use ceph_sys::{late, rados, rbd};
use libc::c_int;

use crate::error::{Errno, Error};

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

/// A function younger than Ceph 16, which the installed library may lack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LateSymbol {
    /// `rbd_clone4`: cloning from a snapshot by its number.
    Clone4,
    /// `rbd_diff_iterate3`: differences since a snapshot by its number.
    DiffIterate3,
    /// `rbd_group_snap_get_info`: what one group snapshot consists of.
    GroupSnapGetInfo,
}

impl LateSymbol {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Clone4, Self::DiffIterate3, Self::GroupSnapGetInfo];

    /// The C name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Clone4 => late::RBD_CLONE4.name(),
            Self::DiffIterate3 => late::RBD_DIFF_ITERATE3.name(),
            Self::GroupSnapGetInfo => late::RBD_GROUP_SNAP_GET_INFO.name(),
        }
    }

    /// Whether the installed library has it. Looked up once.
    #[must_use]
    pub fn is_present(self) -> bool {
        match self {
            Self::Clone4 => late::RBD_CLONE4.get().is_some(),
            Self::DiffIterate3 => late::RBD_DIFF_ITERATE3.get().is_some(),
            Self::GroupSnapGetInfo => late::RBD_GROUP_SNAP_GET_INFO.get().is_some(),
        }
    }

    /// Checks that the installed library has it.
    ///
    /// # Errors
    /// `is_unsupported`, naming the function and the libraries' versions.
    pub fn require(self) -> Result<(), Error> {
        required(self.name(), self.is_present())
    }
}

fn required(name: &'static str, is_present: bool) -> Result<(), Error> {
    if is_present {
        return Ok(());
    }
    let error = Error::new(name, versions(), Errno::new(libc::ENOSYS));
    Err(error.with_detail("the installed library is too old to have it"))
}

#[cfg(test)]
mod tests {
    use cuttle_model::{Class, Explain};

    use super::*;

    #[test]
    fn what_the_library_lacks_is_unsupported_by_name_and_version() {
        let error = required("rbd_clone4", false).unwrap_err();
        assert_eq!(error.class(), Class::Unsupported);
        let text = error.to_string();
        assert!(
            text.contains("rbd_clone4") && text.contains(&versions().to_string()),
            "{text}"
        );
        for symbol in LateSymbol::ALL {
            assert_eq!(symbol.require().is_ok(), symbol.is_present(), "{symbol:?}");
        }
    }

    #[test]
    fn the_installed_libraries_are_at_least_those_of_ceph_16() {
        let found = versions();
        assert!(
            found.rados >= (3, 0, 0) && found.rbd >= (1, 16, 0),
            "{found}"
        );
    }
}
