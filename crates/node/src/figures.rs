//! What is told of a volume on a node: how full it is, and whether it works.

use cuttle_model::ByteSize;

/// The figures of a volume and its condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stats {
    /// How full it is; absent when the volume does not answer.
    pub usage: Option<Usage>,
    /// Whether it works.
    pub condition: Condition,
}

/// How full a volume is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    /// A filesystem's figures.
    Filesystem {
        /// Bytes.
        bytes: Amount,
        /// Inodes.
        inodes: Amount,
    },
    /// A share of a file system: inodes are not counted.
    Share {
        /// Bytes.
        bytes: Amount,
    },
    /// A raw block device: only its size means anything.
    Block {
        /// The device's size.
        total: ByteSize,
    },
}

/// A total and what of it is used and free to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Amount {
    /// All there is.
    pub total: u64,
    /// In use.
    pub used: u64,
    /// Free for everybody; root may have a little more.
    pub available: u64,
}

/// Whether a volume works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// True when it does not.
    pub abnormal: bool,
    /// What is the matter, or that nothing is.
    pub message: String,
}
