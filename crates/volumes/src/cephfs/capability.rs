//! Which ways of using a volume CephFS can offer.

use std::fmt;

use cuttle_model::{AccessMode, VolumeCapability};

/// Why a capability cannot be offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// A subvolume is no device.
    Block,
    /// A new volume is empty: nobody could ever read anything from it.
    EmptyReadOnly(AccessMode),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Block => f.write_str(
                "volumeMode Block needs an RBD StorageClass: a CephFS volume is a directory",
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
    capability.is_block().then_some(Refusal::Block)
}

/// Why a new and empty volume cannot be used this way, if it cannot.
pub(crate) fn refusal_of_empty(capability: &VolumeCapability) -> Option<Refusal> {
    refusal(capability).or_else(|| {
        let read_only = capability.is_read_only();
        read_only.then_some(Refusal::EmptyReadOnly(capability.mode))
    })
}

#[cfg(test)]
mod tests {
    use cuttle_model::Access;

    use super::*;

    #[test]
    fn files_are_for_everyone_and_devices_for_nobody() {
        for mode in AccessMode::ALL {
            let files = Access::Filesystem {
                fs_type: None,
                mount_flags: Vec::new(),
            };
            let files = VolumeCapability {
                access: files,
                mode,
            };
            assert_eq!(refusal(&files), None);
            assert_eq!(refusal_of_empty(&files).is_some(), mode.is_read_only());
            let block = VolumeCapability {
                access: Access::Block,
                mode,
            };
            assert_eq!(refusal_of_empty(&block), Some(Refusal::Block));
        }
    }
}
