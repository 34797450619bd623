//! How a volume is to be used: access mode, block or file system, mount flags.

use std::fmt;

use crate::error::{Class, Code, Explain};
use crate::names::shorten;

/// Who may use a volume, and for what; the modes of CSI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AccessMode {
    /// One node reads and writes.
    SingleNodeWriter,
    /// One node reads.
    SingleNodeReaderOnly,
    /// Many nodes read.
    MultiNodeReaderOnly,
    /// One node writes, many read.
    MultiNodeSingleWriter,
    /// Many nodes read and write.
    MultiNodeMultiWriter,
    /// One workload on one node reads and writes.
    SingleNodeSingleWriter,
    /// Many workloads on one node read and write.
    SingleNodeMultiWriter,
}

impl AccessMode {
    /// Every mode, in the order of CSI's numbers.
    pub const ALL: [Self; 7] = [
        Self::SingleNodeWriter,
        Self::SingleNodeReaderOnly,
        Self::MultiNodeReaderOnly,
        Self::MultiNodeSingleWriter,
        Self::MultiNodeMultiWriter,
        Self::SingleNodeSingleWriter,
        Self::SingleNodeMultiWriter,
    ];

    /// Whether nobody may write.
    #[must_use]
    pub const fn is_read_only(self) -> bool {
        matches!(self, Self::SingleNodeReaderOnly | Self::MultiNodeReaderOnly)
    }

    /// Whether a node may write while other nodes use the volume.
    #[must_use]
    pub const fn is_multi_node_writer(self) -> bool {
        matches!(
            self,
            Self::MultiNodeSingleWriter | Self::MultiNodeMultiWriter
        )
    }

    /// Whether more than one node may use the volume.
    #[must_use]
    pub const fn is_multi_node(self) -> bool {
        matches!(
            self,
            Self::MultiNodeReaderOnly | Self::MultiNodeSingleWriter | Self::MultiNodeMultiWriter
        )
    }

    /// The name CSI gives the mode, such as `SINGLE_NODE_WRITER`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::SingleNodeWriter => "SINGLE_NODE_WRITER",
            Self::SingleNodeReaderOnly => "SINGLE_NODE_READER_ONLY",
            Self::MultiNodeReaderOnly => "MULTI_NODE_READER_ONLY",
            Self::MultiNodeSingleWriter => "MULTI_NODE_SINGLE_WRITER",
            Self::MultiNodeMultiWriter => "MULTI_NODE_MULTI_WRITER",
            Self::SingleNodeSingleWriter => "SINGLE_NODE_SINGLE_WRITER",
            Self::SingleNodeMultiWriter => "SINGLE_NODE_MULTI_WRITER",
        }
    }
}

impl fmt::Display for AccessMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The type of a file system: the part after `mkfs.`, such as `ext4` or `xfs`.
///
/// It becomes part of a program's name and an argument of mount(2), hence the strict rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FsType(String);

/// Text that cannot be the type of a file system.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("file system type \"{shown}\" must be 1 to 32 lower-case letters, digits, '.' or '-'")]
pub struct FsTypeError {
    shown: String,
}

impl Explain for FsTypeError {
    fn code(&self) -> Code {
        Code::new(1006)
    }
    fn class(&self) -> Class {
        Class::Invalid
    }
    fn remedy(&self) -> Option<std::borrow::Cow<'static, str>> {
        Some("set csi.storage.k8s.io/fstype in the StorageClass to ext4 or xfs".into())
    }
}

impl FsType {
    /// Checks the text.
    ///
    /// # Errors
    /// When it is not 1 to 32 lower-case letters, digits, dots or hyphens starting with a letter.
    pub fn new(text: impl Into<String>) -> Result<Self, FsTypeError> {
        let text = text.into();
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'.' || b == b'-';
        let fits = text.len() <= 32
            && text.bytes().next().is_some_and(|b| b.is_ascii_lowercase())
            && text.bytes().all(plain);
        if fits {
            Ok(Self(text))
        } else {
            Err(FsTypeError {
                shown: shorten(&text),
            })
        }
    }

    /// The type as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FsType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The face a volume shows to a workload.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Access {
    /// A raw block device.
    Block,
    /// A mounted file system.
    Filesystem {
        /// Its type; the driver's default when absent.
        fs_type: Option<FsType>,
        /// Mount options from the StorageClass or PersistentVolume, in order.
        mount_flags: Vec<String>,
    },
}

/// One way a volume is to be used.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct VolumeCapability {
    /// Block or file system.
    pub access: Access,
    /// Who may use it.
    pub mode: AccessMode,
}

impl VolumeCapability {
    /// Whether this is a raw block device.
    #[must_use]
    pub const fn is_block(&self) -> bool {
        matches!(self.access, Access::Block)
    }

    /// Whether the mode forbids writing.
    #[must_use]
    pub const fn is_read_only(&self) -> bool {
        self.mode.is_read_only()
    }

    /// Whether a node may write while other nodes use the volume.
    #[must_use]
    pub const fn is_multi_node_writer(&self) -> bool {
        self.mode.is_multi_node_writer()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_know_who_writes() {
        let read_only: Vec<_> = AccessMode::ALL
            .into_iter()
            .filter(|m| m.is_read_only())
            .collect();
        assert_eq!(
            read_only,
            [
                AccessMode::SingleNodeReaderOnly,
                AccessMode::MultiNodeReaderOnly
            ]
        );
        let shared: Vec<_> = AccessMode::ALL
            .into_iter()
            .filter(|m| m.is_multi_node_writer())
            .collect();
        assert_eq!(
            shared,
            [
                AccessMode::MultiNodeSingleWriter,
                AccessMode::MultiNodeMultiWriter
            ]
        );
        for mode in AccessMode::ALL {
            assert_eq!(
                mode.is_multi_node(),
                mode.to_string().starts_with("MULTI_NODE"),
                "{mode}"
            );
        }
    }

    #[test]
    fn file_system_types_cannot_carry_options_or_paths() {
        for good in ["ext4", "xfs", "fuse.x", "btrfs"] {
            assert_eq!(FsType::new(good).unwrap().as_str(), good);
        }
        for bad in [
            "",
            "../sh",
            "ext4 -F",
            "-ext4",
            "EXT4",
            "4ext",
            &"x".repeat(33),
        ] {
            assert!(FsType::new(bad).is_err(), "{bad}");
        }
    }
}
