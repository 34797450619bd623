//! Replies of the Controller service.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use cuttle_csi::v1::controller_service_capability::{Rpc, Type, rpc};
use cuttle_csi::v1::volume_health::VolumeHealthEntry;
use cuttle_csi::{Timestamp, v1};
use cuttle_model::{ByteSize, ComposedHandle};
use cuttle_volumes::{
    ContentSource, KnownSnapshot, ListedVolume, MadeSnapshot, SourceKind, Volume,
};

/// What the service offers; calls without secrets only where a cluster has credentials for them.
pub(super) fn capabilities(can_list: bool) -> v1::ControllerGetCapabilitiesResponse {
    let always = [
        rpc::Type::CreateDeleteVolume,
        rpc::Type::CreateDeleteSnapshot,
        rpc::Type::CloneVolume,
        rpc::Type::ExpandVolume,
        rpc::Type::SingleNodeMultiWriter,
    ];
    let listing = [
        rpc::Type::ListVolumes,
        rpc::Type::ListSnapshots,
        rpc::Type::GetSnapshot,
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

/// These capabilities.
pub(super) fn offered(
    kinds: impl Iterator<Item = rpc::Type>,
) -> v1::ControllerGetCapabilitiesResponse {
    let capabilities = kinds
        .map(|kind| v1::ControllerServiceCapability {
            r#type: Some(Type::Rpc(Rpc {
                r#type: kind.into(),
            })),
        })
        .collect();
    v1::ControllerGetCapabilitiesResponse { capabilities }
}

/// A volume. RBD is reachable from every node, so no topology is told.
pub(super) fn volume(
    handle: String,
    size: ByteSize,
    context: BTreeMap<String, String>,
) -> v1::Volume {
    v1::Volume {
        capacity_bytes: size.wire_bytes(),
        volume_id: handle,
        volume_context: context,
        content_source: None,
        accessible_topology: Vec::new(),
    }
}

/// A new volume's content source, as it was requested.
pub(super) fn content_source(source: &ContentSource) -> v1::VolumeContentSource {
    use v1::volume_content_source::{SnapshotSource, Type, VolumeSource};
    let handle = source.handle.encode();
    let kind = match source.kind {
        SourceKind::Snapshot => Type::Snapshot(SnapshotSource {
            snapshot_id: handle,
        }),
        SourceKind::Volume => Type::Volume(VolumeSource { volume_id: handle }),
    };
    v1::VolumeContentSource { r#type: Some(kind) }
}

/// A snapshot. One that exists can be restored at once.
pub(super) fn snapshot(made: &MadeSnapshot) -> v1::Snapshot {
    v1::Snapshot {
        size_bytes: made.size.wire_bytes(),
        snapshot_id: made.handle.encode(),
        source_volume_id: made.source.encode(),
        creation_time: Some(timestamp(made.taken)),
        ready_to_use: true,
        group_snapshot_id: String::new(),
    }
}

/// A snapshot of a listing.
pub(super) fn known_snapshot(known: &KnownSnapshot) -> v1::Snapshot {
    let source = known.source.as_ref();
    v1::Snapshot {
        size_bytes: known.size.wire_bytes(),
        snapshot_id: known.handle.encode(),
        source_volume_id: source.map(ComposedHandle::encode).unwrap_or_default(),
        creation_time: Some(timestamp(known.taken)),
        ready_to_use: true,
        group_snapshot_id: String::new(),
    }
}

fn timestamp(time: SystemTime) -> Timestamp {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp {
        seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(since.subsec_nanos()).unwrap_or(0),
    }
}

/// What is said of that which volumes of one kind are made of.
pub(super) struct Words {
    /// That all is well with it.
    pub(super) exists: &'static str,
    /// That it is not there.
    pub(super) gone: &'static str,
    /// The same, for machines.
    pub(super) reason: &'static str,
}

/// RBD's.
pub(super) const IMAGE: Words = Words {
    exists: "the image exists",
    gone: "its image does not exist",
    reason: "ImageNotFound",
};

impl Words {
    /// A volume of a listing.
    pub(super) fn listed(&self, listed: &ListedVolume) -> v1::list_volumes_response::Entry {
        let gone = listed.size.is_none().then_some(self.gone);
        v1::list_volumes_response::Entry {
            volume: Some(volume(
                listed.handle.encode(),
                listed.size.unwrap_or_default(),
                BTreeMap::new(),
            )),
            status: Some(v1::list_volumes_response::VolumeStatus {
                published_node_ids: Vec::new(),
                volume_condition: Some(self.condition(gone)),
            }),
        }
    }

    /// The answer to ControllerGetVolume.
    pub(super) fn described(
        &self,
        volume_id: String,
        found: &Volume,
    ) -> v1::ControllerGetVolumeResponse {
        let size = found.size.unwrap_or_default();
        v1::ControllerGetVolumeResponse {
            volume: Some(volume(volume_id, size, BTreeMap::new())),
            status: Some(v1::controller_get_volume_response::VolumeStatus {
                published_node_ids: Vec::new(),
                volume_condition: Some(self.condition(found.trouble.as_deref())),
            }),
        }
    }

    /// CSI 1.12's form of a volume's health: what is wrong, if anything.
    fn condition(&self, wrong: Option<&str>) -> v1::VolumeCondition {
        v1::VolumeCondition {
            abnormal: wrong.is_some(),
            message: wrong.unwrap_or(self.exists).to_owned(),
        }
    }

    /// CSI 1.13's form: nothing is listed when nothing is known to be wrong. What is wrong with a
    /// volume whose record is found is that what it is made of is not.
    pub(super) fn health(
        &self,
        volume_id: String,
        wrong: Option<&str>,
    ) -> v1::ControllerGetVolumeHealthResponse {
        let entry = wrong.map(|message| VolumeHealthEntry {
            status: v1::VolumeHealthErrorType::Inaccessible.into(),
            reason: self.reason.to_owned(),
            message: message.to_owned(),
        });
        v1::ControllerGetVolumeHealthResponse {
            volume_health: Some(v1::VolumeHealth {
                volume_id,
                health_statuses: entry.into_iter().collect(),
            }),
        }
    }
}
