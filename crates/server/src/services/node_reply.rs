//! Replies of the Node service.

use cuttle_csi::v1;
use cuttle_csi::v1::node_service_capability::{Rpc, Type, rpc};
use cuttle_csi::v1::volume_health::VolumeHealthEntry;
use cuttle_csi::v1::volume_usage::Unit;
use cuttle_model::{Class, chain};
use cuttle_node::rbd::{Amount, Condition, Stats, Usage};

use crate::rim::Failed;

/// What the service offers for every kind of volumes.
const OFFERED: [rpc::Type; 5] = [
    rpc::Type::StageUnstageVolume,
    rpc::Type::GetVolumeStats,
    rpc::Type::VolumeCondition,
    rpc::Type::SingleNodeMultiWriter,
    rpc::Type::GetVolumeHealth,
];

/// What the service offers for RBD volumes.
pub(super) fn capabilities() -> v1::NodeGetCapabilitiesResponse {
    offering(OFFERED.into_iter().chain([rpc::Type::ExpandVolume]))
}

/// What the service offers for CephFS volumes, which grow without it.
pub(super) fn cephfs_capabilities() -> v1::NodeGetCapabilitiesResponse {
    offering(OFFERED.into_iter())
}

fn offering(kinds: impl Iterator<Item = rpc::Type>) -> v1::NodeGetCapabilitiesResponse {
    let capability = |kind: rpc::Type| v1::NodeServiceCapability {
        r#type: Some(Type::Rpc(Rpc {
            r#type: kind.into(),
        })),
    };
    v1::NodeGetCapabilitiesResponse {
        capabilities: kinds.map(capability).collect(),
    }
}

/// How full a volume is, and CSI 1.12's condition.
pub(super) fn stats(stats: &Stats) -> v1::NodeGetVolumeStatsResponse {
    let usage = match &stats.usage {
        None => Vec::new(),
        Some(Usage::Filesystem { bytes, inodes }) => {
            vec![amount(bytes, Unit::Bytes), amount(inodes, Unit::Inodes)]
        }
        Some(Usage::Share { bytes }) => vec![amount(bytes, Unit::Bytes)],
        Some(Usage::Block { total }) => vec![v1::VolumeUsage {
            total: total.wire_bytes(),
            unit: Unit::Bytes.into(),
            ..v1::VolumeUsage::default()
        }],
    };
    v1::NodeGetVolumeStatsResponse {
        usage,
        volume_condition: Some(v1::VolumeCondition {
            abnormal: stats.condition.abnormal,
            message: stats.condition.message.clone(),
        }),
    }
}

fn amount(amount: &Amount, unit: Unit) -> v1::VolumeUsage {
    let wire = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    v1::VolumeUsage {
        available: wire(amount.available),
        total: wire(amount.total),
        used: wire(amount.used),
        unit: unit.into(),
    }
}

/// CSI 1.13's form of a condition; nothing is listed when nothing is known to be wrong.
pub(super) fn health(
    volume_id: String,
    condition: Option<&Condition>,
) -> v1::NodeGetVolumeHealthResponse {
    let wrong = condition.filter(|condition| condition.abnormal);
    let entry = wrong.map(|condition| inaccessible("NotAnswering", condition.message.clone()));
    reply(volume_id, entry)
}

/// A volume that is not where it should be is inaccessible from this node; every other failure is
/// the call's own, and says nothing about the volume.
pub(super) fn unhealthy(
    volume_id: String,
    failed: Failed,
) -> Result<v1::NodeGetVolumeHealthResponse, Failed> {
    if matches!(failed.error.class(), Class::Absent | Class::Unmet) {
        let told = chain(failed.error.as_ref());
        Ok(reply(volume_id, Some(inaccessible("NotMounted", told))))
    } else {
        Err(failed)
    }
}

fn inaccessible(reason: &str, message: String) -> VolumeHealthEntry {
    VolumeHealthEntry {
        status: v1::VolumeHealthErrorType::Inaccessible.into(),
        reason: reason.to_owned(),
        message,
    }
}

fn reply(volume_id: String, entry: Option<VolumeHealthEntry>) -> v1::NodeGetVolumeHealthResponse {
    v1::NodeGetVolumeHealthResponse {
        volume_health: Some(v1::VolumeHealth {
            volume_id,
            health_statuses: entry.into_iter().collect(),
        }),
    }
}
