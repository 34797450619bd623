//! What a Ceph call failed with.

use std::borrow::Cow;
use std::fmt;

use cuttle_door::{FromErrno, errno_name};
use cuttle_model::{Class, Code, Explain, Left};
use libc::c_int;

/// A positive Linux error number.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Errno(i32);

impl Errno {
    /// The error of that positive number.
    #[must_use]
    pub const fn new(number: i32) -> Self {
        Self(number)
    }

    /// The positive number.
    #[must_use]
    pub const fn get(self) -> i32 {
        self.0
    }

    /// The name, such as `ENOENT`.
    #[must_use]
    pub fn name(self) -> &'static str {
        errno_name(self.0).unwrap_or("unknown errno")
    }

    /// What a C function's result means: a negative one is an errno.
    pub(crate) fn check(result: c_int) -> Result<c_int, Self> {
        if result < 0 {
            Err(Self(result.saturating_neg()))
        } else {
            Ok(result)
        }
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match errno_name(self.0) {
            // Ceph's name for it says what happened: this client was fenced off.
            Some("ESHUTDOWN") => f.write_str("ESHUTDOWN (client is blocklisted)"),
            Some(name) => f.write_str(name),
            None => write!(f, "errno {}", self.0),
        }
    }
}

/// A failed call to Ceph: which call, on what, with which errno, and what Ceph said besides.
#[expect(clippy::error_impl_error, reason = "named by its crate: `ceph::Error`")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    call: &'static str,
    target: Box<str>,
    errno: Errno,
    detail: Option<Box<str>>,
}

impl Error {
    pub(crate) fn new(call: &'static str, target: impl fmt::Display, errno: Errno) -> Self {
        Self {
            call,
            target: target.to_string().into(),
            errno,
            detail: None,
        }
    }

    pub(crate) fn with_detail(mut self, detail: &str) -> Self {
        let detail = detail.trim();
        self.detail = (!detail.is_empty()).then(|| detail.into());
        self
    }

    /// The call's name at the door, such as `rbd.create`.
    #[must_use]
    pub fn call(&self) -> &'static str {
        self.call
    }

    /// What the call acted on: an object, image, pool or cluster.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.target
    }

    /// The errno.
    #[must_use]
    pub fn errno(&self) -> Errno {
        self.errno
    }

    /// The cluster's answer: there is no such pool, object, image or key (ENOENT).
    #[must_use]
    pub fn is_absent(&self) -> bool {
        self.errno.get() == libc::ENOENT
    }

    /// It exists already (EEXIST).
    #[must_use]
    pub fn is_present(&self) -> bool {
        self.errno.get() == libc::EEXIST
    }

    /// It is in use, for an image: watched by a client (EBUSY).
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.errno.get() == libc::EBUSY
    }

    /// It still holds something, for an image: snapshots (ENOTEMPTY).
    #[must_use]
    pub fn is_not_empty(&self) -> bool {
        self.errno.get() == libc::ENOTEMPTY
    }

    /// Nothing answered in time (ETIMEDOUT); the operation may still be carried out.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        self.errno.get() == libc::ETIMEDOUT
    }

    /// A guard of a compound write did not hold (ECANCELED).
    #[must_use]
    pub fn is_guard_failed(&self) -> bool {
        self.errno.get() == libc::ECANCELED
    }

    /// The user may not do this, or the key is wrong (EACCES, EPERM) or no key (EKEYREJECTED).
    #[must_use]
    pub fn is_denied(&self) -> bool {
        matches!(
            self.errno.get(),
            libc::EACCES | libc::EPERM | libc::EKEYREJECTED
        )
    }

    /// This client has been fenced off by the cluster (EBLOCKLISTED, which is ESHUTDOWN).
    #[must_use]
    pub fn is_fenced(&self) -> bool {
        self.errno.get() == libc::ESHUTDOWN
    }

    /// The pool or cluster is full, or a quota is reached (ENOSPC, EDQUOT).
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self.errno.get(), libc::ENOSPC | libc::EDQUOT)
    }

    /// Another client keeps the image's exclusive lock, or it was opened read-only (EROFS).
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.errno.get() == libc::EROFS
    }

    /// The installed library or the cluster cannot do this (ENOSYS, EOPNOTSUPP).
    #[must_use]
    pub fn is_unsupported(&self) -> bool {
        matches!(self.errno.get(), libc::ENOSYS | libc::EOPNOTSUPP)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} of {} failed with {}",
            self.call, self.target, self.errno
        )?;
        match &self.detail {
            Some(detail) => write!(f, " ({detail})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

impl FromErrno for Error {
    fn from_errno(call: &'static str, target: String, errno: i32) -> Self {
        Self::new(call, target, Errno::new(errno))
    }

    fn errno(&self) -> Option<i32> {
        Some(self.errno.get())
    }
}

/// The calls that change nothing, so that giving one up leaves nothing running.
const READING: &[&str] = &[
    "rados.connect",
    "rados.pool_lookup",
    "rados.latest_map",
    "rados.applications",
    "rados.read",
    "rados.omap_get",
    "rados.exec_read",
    "rados.list_objects",
    "rados.notify",
    "rbd.open",
    "rbd.stat",
    "rbd.get_size",
    "rbd.get_features",
    "rbd.get_id",
    "rbd.watchers",
    "rbd.snapshots",
    "rbd.metadata_list",
    "rbd.trash_get",
    "rbd.trash_list",
    "rbd.namespace_exists",
    "cephfs.mount",
    "cephfs.getxattr",
    "cephfs.list",
    "mon.query",
    "mgr.query",
];

/// One line of the table below: code, class and remedy of a kind of errno.
type Meaning = (Code, Class, Option<&'static str>);

/// What an errno from Ceph means for the caller.
fn meaning(errno: Errno) -> Meaning {
    match errno.get() {
        libc::ETIMEDOUT => (
            Code::new(1201),
            Class::Down,
            Some("check that the cluster's monitors and OSDs are up and reachable from here"),
        ),
        libc::EACCES | libc::EPERM | libc::EKEYREJECTED => (
            Code::new(1202),
            Class::Denied,
            Some("check the user, its key and its capabilities with `ceph auth get client.NAME`"),
        ),
        libc::ESHUTDOWN => (
            Code::new(1203),
            Class::Down,
            Some("this client was fenced; see `ceph osd blocklist ls`. A new connection is made"),
        ),
        libc::ENOSPC | libc::EDQUOT => (
            Code::new(1204),
            Class::Full,
            Some("make room or raise the quota; see `ceph df` and `ceph osd pool get-quota POOL`"),
        ),
        libc::ENOENT => (Code::new(1205), Class::Absent, None),
        libc::EEXIST => (Code::new(1206), Class::Exists, None),
        libc::EBUSY | libc::ENOTEMPTY => (Code::new(1207), Class::Unmet, None),
        libc::ENOSYS | libc::EOPNOTSUPP => (
            Code::new(1208),
            Class::Unsupported,
            Some("the installed Ceph libraries or the cluster are too old for this"),
        ),
        libc::ENOTCONN
        | libc::ECONNREFUSED
        | libc::EHOSTUNREACH
        | libc::ENETUNREACH
        | libc::EADDRNOTAVAIL => (
            Code::new(1209),
            Class::Down,
            Some("check the monitors' addresses in config.json and the network"),
        ),
        libc::EBADMSG => (
            Code::new(1210),
            Class::Bug,
            Some("Ceph's answer has an unknown form; please report it with both versions"),
        ),
        libc::ECANCELED | libc::EAGAIN => (Code::new(1211), Class::Busy, None),
        libc::EINVAL | libc::ERANGE | libc::ENAMETOOLONG | libc::EDOM => {
            (Code::new(1212), Class::Invalid, None)
        }
        libc::EROFS => (
            Code::new(1213),
            Class::Unmet,
            Some("the image was opened read-only"),
        ),
        _ => (Code::new(1219), Class::Bug, None),
    }
}

impl Explain for Error {
    fn code(&self) -> Code {
        meaning(self.errno).0
    }

    fn class(&self) -> Class {
        meaning(self.errno).1
    }

    fn left(&self) -> Left {
        if self.is_timeout() && !READING.contains(&self.call) {
            Left::MaybeRunning
        } else {
            Left::Nothing
        }
    }

    fn remedy(&self) -> Option<Cow<'static, str>> {
        meaning(self.errno).2.map(Cow::Borrowed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(errno: i32) -> Error {
        Error::new("rbd.create", "pool/image", Errno::new(errno))
    }

    #[test]
    fn the_message_names_call_target_and_errno() {
        assert_eq!(
            error(libc::EEXIST).to_string(),
            "rbd.create of pool/image failed with EEXIST"
        );
        assert_eq!(
            error(libc::ESHUTDOWN)
                .with_detail("osd.1 said no\n")
                .to_string(),
            "rbd.create of pool/image failed with ESHUTDOWN (client is blocklisted) \
             (osd.1 said no)"
        );
        assert_eq!(
            error(4095).to_string(),
            "rbd.create of pool/image failed with errno 4095"
        );
    }

    #[test]
    fn a_time_out_may_still_be_carried_out_and_nothing_else_may() {
        let left = |errno| error(errno).left();
        assert_eq!(left(libc::ETIMEDOUT), Left::MaybeRunning);
        let reading = Error::new("rados.read", "pool/object", Errno::new(libc::ETIMEDOUT));
        assert_eq!(reading.left(), Left::Nothing);
        for errno in [libc::EACCES, libc::ENOENT, libc::ENOSPC, libc::ESHUTDOWN] {
            assert_eq!(left(errno), Left::Nothing);
        }
    }

    #[test]
    fn a_cluster_that_does_not_answer_is_down_not_absent() {
        for errno in [
            libc::ETIMEDOUT,
            libc::ENOTCONN,
            libc::EHOSTUNREACH,
            libc::ESHUTDOWN,
        ] {
            assert_eq!(error(errno).class(), Class::Down);
            assert!(!error(errno).is_absent());
        }
        assert_eq!(error(libc::ENOENT).class(), Class::Absent);
    }
}
