//! File systems on block devices: finding out what is there, making, checking, growing, measuring.
//!
//! # Never destroying data
//! Only a device that is *positively* empty is formatted: `blkid` recognises nothing on it, and
//! our own reading, past the kernel's cache, finds nothing but zeros at its start, its end, where
//! known file systems keep copies of their superblocks, and at the start of the objects of an
//! image (of 4096 of them, spread evenly, where there are more). Anything else that is not recognised is [`Probe::Unknown`] or [`Probe::Remains`].
//!
//! A mkfs that is cut off leaves remains, and whoever else writes may leave what looks the same.
//! Nothing on the device can tell the two apart for certain, so the caller must know it
//! ([`History::MkfsBegun`]) from a note that is made before a mkfs, belongs to this very device,
//! and is taken back after it. Even then only [`Probe::Remains`] are formatted over: a file system,
//! or anything at the very start of the device, is not.

mod check;
mod ext;
mod grow;
mod make;
mod probe;
mod survey;
mod usage;

pub use check::Check;
pub use grow::Growth;
pub use make::{Clearance, MakeFilesystem};
pub use probe::Probe;
pub use usage::Usage;

/// What is known of a device beside what is on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum History {
    /// Nothing.
    Unknown,
    /// It was positively empty, then a mkfs began on it, which is not known to have finished; and
    /// nobody has been given the device since.
    MkfsBegun,
}

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
