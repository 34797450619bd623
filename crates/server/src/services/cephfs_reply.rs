//! Replies of the Controller service about CephFS volumes, where they differ from RBD's.

use cuttle_csi::v1;
use cuttle_csi::v1::controller_service_capability::rpc;

use super::controller_reply::{Words, offered};

/// CephFS's.
pub(super) const SUBVOLUME: Words = Words {
    exists: "the subvolume exists",
    gone: "its subvolume does not exist",
    reason: "SubvolumeNotFound",
};

/// What the service offers; calls without secrets only where a cluster has credentials for them.
pub(super) fn capabilities(can_list: bool) -> v1::ControllerGetCapabilitiesResponse {
    let always = [
        rpc::Type::CreateDeleteVolume,
        rpc::Type::ExpandVolume,
        rpc::Type::SingleNodeMultiWriter,
    ];
    let listing = [
        rpc::Type::ListVolumes,
        rpc::Type::GetCapacity,
        rpc::Type::GetVolume,
        rpc::Type::VolumeCondition,
        rpc::Type::GetVolumeHealth,
    ];
    offered(
        always
            .into_iter()
            .chain(listing.into_iter().filter(|_| can_list)),
    )
}
