//! The calls that the driver can be asked for, by name.

use std::fmt;

macro_rules! rpcs {
    ($($name:ident),+ $(,)?) => {
        /// A call of one of the CSI services.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Rpc {
            $(
                #[doc = concat!("The call `", stringify!($name), "`.")]
                $name,
            )+
        }

        impl Rpc {
            /// Every call, in declaration order.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The call's name as in the protocol.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name)),+
                }
            }
        }
    };
}

rpcs!(
    GetPluginInfo,
    GetPluginCapabilities,
    Probe,
    CreateVolume,
    DeleteVolume,
    ControllerPublishVolume,
    ControllerUnpublishVolume,
    ValidateVolumeCapabilities,
    ListVolumes,
    GetCapacity,
    ControllerGetCapabilities,
    CreateSnapshot,
    DeleteSnapshot,
    ListSnapshots,
    GetSnapshot,
    ControllerExpandVolume,
    ControllerGetVolume,
    ControllerModifyVolume,
    ControllerListVolumeHealth,
    ControllerGetVolumeHealth,
    NodeStageVolume,
    NodeUnstageVolume,
    NodePublishVolume,
    NodeUnpublishVolume,
    NodeGetVolumeStats,
    NodeExpandVolume,
    NodeGetCapabilities,
    NodeGetInfo,
    NodeGetVolumeHealth,
    NodeGetStorageHealth,
);

impl Rpc {
    /// Whether the call changes something; such calls get a line in the log each.
    #[must_use]
    pub const fn is_mutating(self) -> bool {
        matches!(
            self,
            Self::CreateVolume
                | Self::DeleteVolume
                | Self::ControllerExpandVolume
                | Self::ControllerModifyVolume
                | Self::CreateSnapshot
                | Self::DeleteSnapshot
                | Self::NodeStageVolume
                | Self::NodeUnstageVolume
                | Self::NodePublishVolume
                | Self::NodeUnpublishVolume
                | Self::NodeExpandVolume
        )
    }
}

impl fmt::Display for Rpc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
