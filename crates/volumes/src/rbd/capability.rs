//! Which ways of using a volume RBD can offer.

use std::fmt;

use cuttle_model::{AccessMode, VolumeCapability};

/// Why a capability cannot be offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// A file system on a block device is torn apart when two nodes write to it.
    SharedFilesystem(AccessMode),
    /// A new volume is empty: nobody could ever read anything from it.
    EmptyReadOnly(AccessMode),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SharedFilesystem(mode) => write!(
                f,
                "access mode {mode} needs volumeMode Block: a file system on an RBD image can be \
                 written by one node only"
            ),
            Self::EmptyReadOnly(mode) => write!(
                f,
                "access mode {mode} needs a snapshot or volume to read from: a new volume is empty"
            ),
        }
    }
}

/// Why an existing volume cannot be used this way, if it cannot.
pub(crate) fn refusal(capability: &VolumeCapability) -> Option<Refusal> {
    if !capability.is_block() && capability.is_multi_node_writer() {
        return Some(Refusal::SharedFilesystem(capability.mode));
    }
    None
}

/// Why a new and empty volume cannot be used this way, if it cannot.
pub(crate) fn refusal_of_empty(capability: &VolumeCapability) -> Option<Refusal> {
    if capability.is_read_only() {
        return Some(Refusal::EmptyReadOnly(capability.mode));
    }
    refusal(capability)
}

#[cfg(test)]
mod tests {
    use cuttle_model::Access;

    use super::*;

    fn capability(block: bool, mode: AccessMode) -> VolumeCapability {
        let access = if block {
            Access::Block
        } else {
            Access::Filesystem {
                fs_type: None,
                mount_flags: Vec::new(),
            }
        };
        VolumeCapability { access, mode }
    }

    #[test]
    fn only_block_volumes_are_written_by_many_nodes() {
        for mode in AccessMode::ALL {
            assert_eq!(refusal(&capability(true, mode)), None);
            let refused = refusal(&capability(false, mode));
            assert_eq!(refused.is_some(), mode.is_multi_node_writer(), "{mode}");
        }
    }

    #[test]
    fn an_empty_volume_is_not_for_readers() {
        for mode in AccessMode::ALL {
            let refused = refusal_of_empty(&capability(true, mode));
            assert_eq!(refused.is_some(), mode.is_read_only(), "{mode}");
        }
    }
}
