//! File systems on block devices: finding out what is there, making, checking, growing, measuring.
//!
//! # Never destroying data
//! Only a device that is *positively* empty is formatted: `blkid` recognises nothing on it, and
//! our own reading finds nothing but zeros at its start, its end, and where known file systems
//! keep copies of their superblocks. Anything else that is not recognised is [`Probe::Unknown`].
//!
//! A crash in the middle of mkfs would leave such an unknown device, which could never be used
//! again. So [`Host::make_filesystem`] first writes a mark onto the empty device, close to its
//! end, where mkfs writes nothing, and erases it when mkfs has succeeded:
//!
//! ```text
//!  Empty ──mark──► marked ──mkfs──► half made ──mkfs──► made, marked ──erase──► Filesystem
//!                    └───────── Unfinished ──┘            └─ Filesystem; check() erases the mark
//! ```
//!
//! A marked device without a recognised file system is [`Probe::Unfinished`] and may be formatted
//! again: nothing was ever mounted from it. The mark lies on the device rather than in a note of
//! the node, because the next attempt may be made by another node, and because a note that
//! outlives its truth would one day be a licence to destroy data. A device with a recognised file
//! system is never formatted, marked or not.

mod check;
mod ext;
mod grow;
mod make;
mod probe;
mod survey;
mod usage;

pub use check::Check;
pub use grow::Growth;
pub use make::MakeFilesystem;
pub use probe::Probe;
pub use usage::Usage;

/// A kind of file system that the driver makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FilesystemKind {
    /// ext3, which Linux mounts by its ext4 driver.
    Ext3,
    /// ext4, the default.
    Ext4,
    /// XFS.
    Xfs,
}

impl FilesystemKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Ext3, Self::Ext4, Self::Xfs];

    /// The name by which the kernel and `blkid` know it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ext3 => "ext3",
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
        }
    }

    /// The kind of this name; `None` for a file system the driver does not make.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// Whether a name is of the family that e2fsprogs works on.
fn is_ext(kind: &str) -> bool {
    matches!(kind, "ext2" | "ext3" | "ext4")
}

#[cfg(test)]
mod tests;
