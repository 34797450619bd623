//! Why a call to the host failed.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use cuttle_door::FromErrno;
use cuttle_model::{Class, Code, Explain, Left};

use crate::errno::Errno;
use crate::mount_options::OptionRefused;
use crate::mount_table::MountTableMalformed;
use crate::paths::PathRefused;
use crate::process::Exit;

/// A failed call to the host. Each variant names the call and what it acted on.
#[derive(Debug, thiserror::Error)]
#[expect(
    clippy::error_impl_error,
    reason = "the one error of this crate, used as host::Error"
)]
pub enum Error {
    /// The system refused.
    #[error("{call} {target}: {step} failed with {errno}{}", Said(said))]
    Call {
        /// The call as the door counts it, for example `host.mount`.
        call: &'static str,
        /// What it acted on, a path as a rule.
        target: String,
        /// The system call that failed, for example `fsconfig`.
        step: &'static str,
        /// What the system answered.
        errno: Errno,
        /// What the kernel said beside the number; empty if nothing.
        said: String,
    },
    /// The call did not come back in time and was given up on.
    #[error("{call} {target}: no answer within {} s, given up", waited.as_secs_f32())]
    Hung {
        /// The call.
        call: &'static str,
        /// What it acted on.
        target: String,
        /// How long it was waited for; zero when an earlier such call is still stuck.
        waited: Duration,
    },
    /// The child that made the call died without an answer.
    #[error("{call} {target}: the child process making the call died without an answer")]
    ChildLost {
        /// The call.
        call: &'static str,
        /// What it acted on.
        target: String,
    },
    /// A program is not installed.
    #[error("program {program} is not installed (looked in {looked_in})")]
    ProgramMissing {
        /// Its name.
        program: String,
        /// The directories searched.
        looked_in: &'static str,
    },
    /// A program ended with a failure.
    #[error("{program} {exit}{}", Said(stderr))]
    ProgramFailed {
        /// Its name.
        program: String,
        /// How it ended.
        exit: Exit,
        /// The last of what it wrote to standard error.
        stderr: String,
    },
    /// A program did not end in time and was killed.
    #[error("{program} did not end within {} s and was killed{}", waited.as_secs_f32(), Said(stderr))]
    ProgramLate {
        /// Its name.
        program: String,
        /// How long it was waited for.
        waited: Duration,
        /// The last of what it wrote to standard error.
        stderr: String,
    },
    /// A program that should stay said it cannot, or ended before it said it was ready.
    #[error("{program} did not get ready: {exit}{}", Said(said))]
    ProgramUnready {
        /// Its name.
        program: String,
        /// How it ended.
        exit: Exit,
        /// What it had said by then.
        said: String,
    },
    /// A path cannot be used.
    #[error(transparent)]
    Path(#[from] PathRefused),
    /// A mount option cannot be used.
    #[error(transparent)]
    Option(#[from] OptionRefused),
    /// The mount table could not be understood.
    #[error(transparent)]
    MountTable(#[from] MountTableMalformed),
    /// Something is not a block device.
    #[error("{path} is {found}, not a block device")]
    NotABlockDevice {
        /// The path.
        path: String,
        /// What it is.
        found: &'static str,
    },
    /// A path is something else than was asked for.
    #[error("{path} is {found}, not {expected}")]
    WrongKind {
        /// The path.
        path: String,
        /// What it is.
        found: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// A file is longer than it may be.
    #[error("{path} is longer than {limit} bytes")]
    TooLong {
        /// The path.
        path: String,
        /// The most that is read.
        limit: usize,
    },
    /// A kernel file has an unexpected form.
    #[error("{path} holds {found:?}, expected {expected}")]
    Unreadable {
        /// The path.
        path: String,
        /// What was found, shortened.
        found: String,
        /// What was expected.
        expected: &'static str,
    },
    /// A device to be formatted is not positively empty.
    #[error("{device} is not empty ({found}), so it is not formatted")]
    NotEmpty {
        /// The device.
        device: String,
        /// What was found on it.
        found: String,
    },
    /// A file system of a kind that cannot be made, checked or grown here.
    #[error("file system {kind:?} cannot be {what} here")]
    FilesystemUnsupported {
        /// The kind asked for.
        kind: String,
        /// What was to be done.
        what: &'static str,
    },
    /// A file system has errors that are not repaired without an operator.
    #[error(
        "the {kind} file system on {device} has errors that e2fsck -p does not repair ({exit}){}",
        Said(said)
    )]
    FilesystemDamaged {
        /// The device.
        device: String,
        /// The kind of file system.
        kind: &'static str,
        /// How the check ended.
        exit: Exit,
        /// What the check said.
        said: String,
    },
    /// The process lacks a capability that the kernel demands.
    #[error("{what} {target} needs {capability}, which this process lacks")]
    NeedsCapability {
        /// What was to be done.
        what: &'static str,
        /// What it acts on.
        target: String,
        /// The capability's name.
        capability: &'static str,
    },
    /// More mounts are stacked on a path than are taken down in one go.
    #[error("{target} is still mounted after {taken} unmounts")]
    StillMounted {
        /// The path.
        target: String,
        /// How many mounts were taken down.
        taken: usize,
    },
    /// Processes cannot leave the cgroup they were started in.
    #[error("processes could not be taken out of their cgroup: {why}")]
    NotApart {
        /// What was tried, and how it failed.
        why: String,
    },
    /// Another mount is seen at a path than a moment ago, or none any more.
    #[error("what is mounted on {path} has changed in between")]
    MountChanged {
        /// The path.
        path: String,
    },
    /// A loop device cannot be let go.
    #[error("{device} is still in use ({by})")]
    LoopBusy {
        /// The device.
        device: String,
        /// Who holds it, as far as known.
        by: String,
    },
}

/// Text appended to a message, in brackets, when there is any.
struct Said<'a>(&'a str);

impl fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.trim();
        if text.is_empty() {
            Ok(())
        } else {
            write!(f, " ({text})")
        }
    }
}

impl Error {
    /// The error of a failed system call.
    pub(crate) fn call(
        call: &'static str,
        target: impl fmt::Display,
        step: &'static str,
        errno: impl Into<Errno>,
    ) -> Self {
        Self::Call {
            call,
            target: target.to_string(),
            step,
            errno: errno.into(),
            said: String::new(),
        }
    }

    /// The error of a failed standard library call; an error without a number counts as EIO.
    pub(crate) fn io(
        call: &'static str,
        target: impl fmt::Display,
        step: &'static str,
        error: &std::io::Error,
    ) -> Self {
        Self::call(
            call,
            target,
            step,
            Errno::new(error.raw_os_error().unwrap_or(libc::EIO)),
        )
    }

    fn is(&self, number: i32) -> bool {
        matches!(self, Self::Call { errno, .. } if errno.number() == number)
    }

    /// Whether something named in the call does not exist (ENOENT).
    #[must_use]
    pub fn is_absent(&self) -> bool {
        self.is(libc::ENOENT)
    }

    /// Whether the device behind a file is gone, or just going (ENODEV).
    #[must_use]
    pub fn is_no_device(&self) -> bool {
        self.is(libc::ENODEV)
    }

    /// Whether something is in use (EBUSY, or a loop device that is held).
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.is(libc::EBUSY) || matches!(self, Self::LoopBusy { .. })
    }

    /// Whether the call was given up on, because it hung or a deadline passed.
    #[must_use]
    pub fn is_late(&self) -> bool {
        self.is(libc::ETIMEDOUT) || matches!(self, Self::Hung { .. } | Self::ProgramLate { .. })
    }

    /// Whether the kernel says that the server behind the mount it touched is gone for good: the
    /// connection of a FUSE file system was cut (ENOTCONN, ECONNABORTED).
    #[must_use]
    pub fn is_disconnected(&self) -> bool {
        self.is(libc::ENOTCONN) || self.is(libc::ECONNABORTED)
    }

    /// Whether the kernel says that the mount it touched does not work: the server behind it is
    /// gone or has turned this node away, its storage failed, or it was shut down. That a call did
    /// not come back ([`Error::is_late`]) says no such thing.
    #[must_use]
    pub fn is_dead_mount(&self) -> bool {
        const DEAD: [i32; 5] = [
            libc::ESTALE,
            libc::EIO,
            libc::EACCES,
            libc::EHOSTDOWN,
            libc::ESHUTDOWN,
        ];
        self.is_disconnected() || DEAD.iter().any(|number| self.is(*number))
    }
}

impl FromErrno for Error {
    fn from_errno(call: &'static str, target: String, errno: i32) -> Self {
        Self::call(call, target, "the door", Errno::new(errno))
    }

    fn errno(&self) -> Option<i32> {
        match self {
            Self::Call { errno, .. } => Some(errno.number()),
            Self::Hung { .. } | Self::ProgramLate { .. } => Some(libc::ETIMEDOUT),
            Self::LoopBusy { .. } | Self::StillMounted { .. } => Some(libc::EBUSY),
            Self::MountChanged { .. } => Some(libc::ESTALE),
            Self::NeedsCapability { .. } => Some(libc::EPERM),
            Self::ProgramMissing { .. } => Some(libc::ENOENT),
            Self::NotABlockDevice { .. } => Some(libc::ENOTBLK),
            Self::ChildLost { .. }
            | Self::ProgramFailed { .. }
            | Self::ProgramUnready { .. }
            | Self::Path(_)
            | Self::Option(_)
            | Self::MountTable(_)
            | Self::WrongKind { .. }
            | Self::TooLong { .. }
            | Self::Unreadable { .. }
            | Self::NotEmpty { .. }
            | Self::FilesystemUnsupported { .. }
            | Self::FilesystemDamaged { .. }
            | Self::NotApart { .. } => None,
        }
    }
}

impl Explain for Error {
    fn code(&self) -> Code {
        Code::new(match self {
            Self::Call { .. } => 1601,
            Self::Hung { .. } => 1602,
            Self::ChildLost { .. } => 1603,
            Self::ProgramMissing { .. } => 1604,
            Self::ProgramFailed { .. } => 1605,
            Self::ProgramLate { .. } => 1606,
            Self::ProgramUnready { .. } => 1607,
            Self::Path(_) => 1608,
            Self::Option(_) => 1609,
            Self::MountTable(_) => 1610,
            Self::NotABlockDevice { .. } => 1611,
            Self::WrongKind { .. } => 1612,
            Self::TooLong { .. } => 1613,
            Self::Unreadable { .. } => 1614,
            Self::NotEmpty { .. } => 1615,
            Self::FilesystemUnsupported { .. } => 1616,
            Self::FilesystemDamaged { .. } => 1617,
            Self::NeedsCapability { .. } => 1618,
            Self::StillMounted { .. } => 1619,
            Self::LoopBusy { .. } => 1620,
            Self::NotApart { .. } => 1621,
            Self::MountChanged { .. } => 1622,
        })
    }

    fn class(&self) -> Class {
        match self {
            Self::Call { errno, .. } => class_of(*errno),
            Self::Hung { .. } | Self::ProgramLate { .. } => Class::Down,
            Self::Path(_) | Self::Option(_) => Class::Invalid,
            Self::NotEmpty { .. }
            | Self::FilesystemDamaged { .. }
            | Self::StillMounted { .. }
            | Self::WrongKind { .. }
            | Self::NotABlockDevice { .. }
            | Self::ProgramMissing { .. }
            | Self::NeedsCapability { .. }
            | Self::MountChanged { .. }
            | Self::LoopBusy { .. }
            | Self::NotApart { .. } => Class::Unmet,
            Self::FilesystemUnsupported { .. } => Class::Unsupported,
            Self::ChildLost { .. }
            | Self::ProgramFailed { .. }
            | Self::ProgramUnready { .. }
            | Self::MountTable(_)
            | Self::TooLong { .. }
            | Self::Unreadable { .. } => Class::Bug,
        }
    }

    fn left(&self) -> Left {
        match self {
            Self::Hung { .. } | Self::ProgramLate { .. } | Self::ChildLost { .. } => {
                Left::MaybeRunning
            }
            Self::Call { .. }
            | Self::ProgramMissing { .. }
            | Self::ProgramFailed { .. }
            | Self::ProgramUnready { .. }
            | Self::Path(_)
            | Self::Option(_)
            | Self::MountTable(_)
            | Self::NotABlockDevice { .. }
            | Self::WrongKind { .. }
            | Self::TooLong { .. }
            | Self::Unreadable { .. }
            | Self::NotEmpty { .. }
            | Self::FilesystemUnsupported { .. }
            | Self::FilesystemDamaged { .. }
            | Self::NeedsCapability { .. }
            | Self::StillMounted { .. }
            | Self::MountChanged { .. }
            | Self::LoopBusy { .. }
            | Self::NotApart { .. } => Left::Nothing,
        }
    }

    fn remedy(&self) -> Option<Cow<'static, str>> {
        let text = match self {
            Self::Call { errno, .. } => remedy_of(*errno)?,
            Self::Hung { .. } => {
                "the storage behind the path does not answer; check the cluster and the export \
                 process, the call can be repeated safely"
            }
            Self::ProgramMissing { .. } => {
                "install the program in the node plugin's image (e2fsprogs, xfsprogs, util-linux)"
            }
            Self::ProgramLate { .. } => {
                "the device may not answer; check the cluster, then repeat the request"
            }
            Self::NotEmpty { .. } => {
                "only an empty device is formatted; if its content is worthless, delete the volume \
                 or discard the whole image, otherwise find out what it is (blkid, wipefs -n)"
            }
            Self::FilesystemDamaged { .. } => {
                "unmount the volume everywhere, take a snapshot, and repair it by hand with e2fsck"
            }
            Self::NeedsCapability { .. } => {
                "run the node plugin privileged, or add the capability to its container"
            }
            Self::StillMounted { .. } => {
                "see what keeps mounting there (findmnt), then repeat the request"
            }
            Self::NotApart { .. } => {
                "mount the host's /sys into the plugin's container, or /run/systemd/private for \
                 scopes of systemd"
            }
            Self::MountChanged { .. } => {
                "find out who mounts there (findmnt), then repeat the request"
            }
            Self::LoopBusy { .. } => "end the processes and mounts that use the device",
            Self::FilesystemUnsupported { .. } => "use ext4 or xfs",
            Self::ChildLost { .. } => {
                "repeat the request; look for the OOM killer in the kernel log"
            }
            Self::Path(_) | Self::Option(_) => "correct the value in the request",
            Self::ProgramFailed { .. }
            | Self::ProgramUnready { .. }
            | Self::MountTable(_)
            | Self::NotABlockDevice { .. }
            | Self::WrongKind { .. }
            | Self::TooLong { .. }
            | Self::Unreadable { .. } => return None,
        };
        Some(Cow::Borrowed(text))
    }
}

/// The class of a failed system call.
fn class_of(errno: Errno) -> Class {
    match errno.number() {
        libc::ENOENT | libc::ENXIO | libc::ENODEV => Class::Unmet,
        libc::EBUSY
        | libc::EROFS
        | libc::ENOTEMPTY
        | libc::ENOTDIR
        | libc::EISDIR
        | libc::ELOOP => Class::Unmet,
        libc::EPERM | libc::EACCES => Class::Denied,
        libc::ENOSPC | libc::EDQUOT => Class::Full,
        libc::ETIMEDOUT
        | libc::EIO
        | libc::ENOTCONN
        | libc::ESHUTDOWN
        | libc::EHOSTDOWN
        | libc::ESTALE => Class::Down,
        libc::EOPNOTSUPP | libc::ENOSYS => Class::Unsupported,
        libc::ENAMETOOLONG => Class::Invalid,
        _ => Class::Bug,
    }
}

/// What to do about a failed system call.
fn remedy_of(errno: Errno) -> Option<&'static str> {
    Some(match errno.number() {
        libc::EBUSY => "something still uses it; see `findmnt` and `fuser -vm`",
        libc::EPERM | libc::EACCES => "the node plugin must run privileged, as root",
        libc::ENODEV => "the kernel lacks the file system or device; load its module",
        libc::EUCLEAN => "the file system is damaged; repair it by hand after a snapshot",
        libc::ENOSPC => "free room on the node's disk or in the pool",
        libc::EIO | libc::ENOTCONN | libc::ESHUTDOWN => {
            "the storage behind it failed or fenced this node; see the kernel log and the cluster"
        }
        _ => return None,
    })
}
