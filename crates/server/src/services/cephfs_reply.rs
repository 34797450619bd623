//! Replies of the Controller service about CephFS volumes.

use cuttle_csi::v1;
use cuttle_csi::v1::controller_service_capability::{Rpc, Type, rpc};
use cuttle_csi::v1::volume_health::VolumeHealthEntry;
use cuttle_volumes::{ListedVolume, Volume};

use super::controller_reply::volume;

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
    let capabilities = always
        .into_iter()
        .chain(listing.into_iter().filter(|_| can_list))
        .map(|kind| v1::ControllerServiceCapability {
            r#type: Some(Type::Rpc(Rpc {
                r#type: kind.into(),
            })),
        })
        .collect();
    v1::ControllerGetCapabilitiesResponse { capabilities }
}

/// A volume of a listing.
pub(super) fn listed(listed: &ListedVolume) -> v1::list_volumes_response::Entry {
    let gone = listed
        .size
        .is_none()
        .then_some("its subvolume does not exist");
    v1::list_volumes_response::Entry {
        volume: Some(volume(
            listed.handle.encode(),
            listed.size.unwrap_or_default(),
            std::collections::BTreeMap::new(),
        )),
        status: Some(v1::list_volumes_response::VolumeStatus {
            published_node_ids: Vec::new(),
            volume_condition: Some(condition(gone)),
        }),
    }
}

/// The answer to ControllerGetVolume.
pub(super) fn described(volume_id: String, found: &Volume) -> v1::ControllerGetVolumeResponse {
    let context = std::collections::BTreeMap::new();
    v1::ControllerGetVolumeResponse {
        volume: Some(volume(volume_id, found.size.unwrap_or_default(), context)),
        status: Some(v1::controller_get_volume_response::VolumeStatus {
            published_node_ids: Vec::new(),
            volume_condition: Some(condition(found.trouble.as_deref())),
        }),
    }
}

/// CSI 1.12's form of a volume's health: what is wrong, if anything.
fn condition(wrong: Option<&str>) -> v1::VolumeCondition {
    v1::VolumeCondition {
        abnormal: wrong.is_some(),
        message: wrong.unwrap_or("the subvolume exists").to_owned(),
    }
}

/// CSI 1.13's form: nothing is listed when nothing is known to be wrong.
pub(super) fn health(
    volume_id: String,
    wrong: Option<&str>,
) -> v1::ControllerGetVolumeHealthResponse {
    let entry = wrong.map(|message| VolumeHealthEntry {
        status: v1::VolumeHealthErrorType::Inaccessible.into(),
        reason: "SubvolumeNotFound".to_owned(),
        message: message.to_owned(),
    });
    v1::ControllerGetVolumeHealthResponse {
        volume_health: Some(v1::VolumeHealth {
            volume_id,
            health_statuses: entry.into_iter().collect(),
        }),
    }
}
