//! The Node service's requests.

use std::sync::Arc;

use cuttle_csi::v1;
use cuttle_model::{
    ByteSize, CapacityRange, ClusterSettings, ClusterTable, RbdContext, StaticImage,
    VolumeCapability, VolumeHandle,
};
use cuttle_node::VolumeId;
use cuttle_node::rbd::{
    ExpandVolume, PublishVolume, StageVolume, UnpublishVolume, UnstageVolume, Volume, VolumeStats,
};

use super::create::usable;
use super::mistakes::{Check, Mistakes};
use super::secrets::{SecretsOf, credentials};
use super::{capability, cluster, paths};

/// Checks NodeStageVolume.
///
/// # Errors
/// All mistakes of the request.
pub(crate) fn stage(
    wire: v1::NodeStageVolumeRequest,
    table: &ClusterTable,
) -> Result<StageVolume, Mistakes> {
    let mut check = Check::default();
    let id = check.take("volume_id", VolumeId::new(wire.volume_id.as_str()));
    let context = check.take(
        "volume_context",
        RbdContext::parse(&wire.volume_id, &wire.volume_context),
    );
    // Without an id or a context there is no telling where the image is.
    let place = match (&id, &context) {
        (Some(id), Some(context)) => place(&mut check, id, context.image.clone(), table),
        _ => None,
    };
    let staging_path =
        paths::absolute(&mut check, "staging_target_path", &wire.staging_target_path);
    let capability = mountable(&mut check, wire.volume_capability);
    let credentials = credentials(&mut check, &wire.secrets, SecretsOf::NodeStage);
    let whole = (|| {
        let (volume, cluster) = place?;
        Some(StageVolume {
            id: id?,
            volume,
            cluster,
            credentials: credentials?,
            staging_path: staging_path?,
            capability: capability?,
            parameters: context?.attach,
        })
    })();
    check.finish_with(whole)
}

fn place(
    check: &mut Check,
    id: &VolumeId,
    image: Option<StaticImage>,
    table: &ClusterTable,
) -> Option<(Volume, Arc<ClusterSettings>)> {
    if let Some(image) = image {
        let cluster = cluster(check, "volume_context.clusterID", &image.cluster, table)?;
        return Some((Volume::Static(image), cluster));
    }
    let handle = check.take("volume_id", VolumeHandle::parse(id.as_str()))?;
    let cluster = cluster(check, "volume_id", handle.cluster(), table)?;
    let volume = match handle {
        VolumeHandle::Composed(handle) => Volume::Provisioned(handle),
        VolumeHandle::Migrated(handle) => Volume::Static(StaticImage {
            cluster: handle.cluster().clone(),
            pool: handle.pool().clone(),
            image: handle.image().clone(),
        }),
    };
    Some((volume, cluster))
}

/// A capability that an existing volume can be mounted or mapped with.
fn mountable(check: &mut Check, wire: Option<v1::VolumeCapability>) -> Option<VolumeCapability> {
    let capability = capability::one(check, "volume_capability", wire)?;
    if !capability.is_read_only() {
        usable(check, "volume_capability", &capability);
    }
    Some(capability)
}

/// Checks NodeUnstageVolume.
///
/// # Errors
/// All mistakes of the request.
pub(crate) fn unstage(wire: &v1::NodeUnstageVolumeRequest) -> Result<UnstageVolume, Mistakes> {
    let mut check = Check::default();
    let id = check.take("volume_id", VolumeId::new(wire.volume_id.as_str()));
    let staging_path =
        paths::absolute(&mut check, "staging_target_path", &wire.staging_target_path);
    let whole = id
        .zip(staging_path)
        .map(|(id, staging_path)| UnstageVolume { id, staging_path });
    check.finish_with(whole)
}

/// Checks NodePublishVolume.
///
/// # Errors
/// All mistakes of the request.
pub(crate) fn publish(wire: v1::NodePublishVolumeRequest) -> Result<PublishVolume, Mistakes> {
    let mut check = Check::default();
    let id = check.take("volume_id", VolumeId::new(wire.volume_id));
    let staging_path =
        paths::absolute(&mut check, "staging_target_path", &wire.staging_target_path);
    let target_path = paths::absolute(&mut check, "target_path", &wire.target_path);
    let capability = mountable(&mut check, wire.volume_capability);
    let whole = (|| {
        let capability = capability?;
        Some(PublishVolume {
            id: id?,
            staging_path: staging_path?,
            target_path: target_path?,
            read_only: wire.readonly || capability.is_read_only(),
            capability,
        })
    })();
    check.finish_with(whole)
}

/// Checks NodeUnpublishVolume.
///
/// # Errors
/// All mistakes of the request.
pub(crate) fn unpublish(
    wire: &v1::NodeUnpublishVolumeRequest,
) -> Result<UnpublishVolume, Mistakes> {
    let mut check = Check::default();
    let id = check.take("volume_id", VolumeId::new(wire.volume_id.as_str()));
    let target_path = paths::absolute(&mut check, "target_path", &wire.target_path);
    let whole = id
        .zip(target_path)
        .map(|(id, target_path)| UnpublishVolume { id, target_path });
    check.finish_with(whole)
}

/// Checks NodeExpandVolume.
///
/// # Errors
/// All mistakes of the request.
pub(crate) fn expand(wire: v1::NodeExpandVolumeRequest) -> Result<ExpandVolume, Mistakes> {
    let mut check = Check::default();
    let id = check.take("volume_id", VolumeId::new(wire.volume_id));
    let volume_path = paths::absolute(&mut check, "volume_path", &wire.volume_path);
    let staging_path =
        paths::optional(&mut check, "staging_target_path", &wire.staging_target_path);
    let required = required(&mut check, wire.capacity_range);
    if wire.volume_capability.is_some() {
        mountable(&mut check, wire.volume_capability);
    }
    let whole = id.zip(volume_path).map(|(id, volume_path)| ExpandVolume {
        id,
        volume_path,
        staging_path,
        required,
    });
    check.finish_with(whole)
}

fn required(check: &mut Check, wire: Option<v1::CapacityRange>) -> Option<ByteSize> {
    let wire = wire.filter(|range| *range != v1::CapacityRange::default())?;
    let range = CapacityRange::from_wire(wire.required_bytes, wire.limit_bytes);
    check.take("capacity_range", range)?.required
}

/// Checks NodeGetVolumeStats.
///
/// # Errors
/// All mistakes of the request.
pub(crate) fn stats(wire: &v1::NodeGetVolumeStatsRequest) -> Result<VolumeStats, Mistakes> {
    let mut check = Check::default();
    let id = check.take("volume_id", VolumeId::new(wire.volume_id.as_str()));
    let volume_path = paths::absolute(&mut check, "volume_path", &wire.volume_path);
    let whole = id
        .zip(volume_path)
        .map(|(id, volume_path)| VolumeStats { id, volume_path });
    check.finish_with(whole)
}

/// Checks NodeGetVolumeHealth. Both paths are optional: without any there is nothing to look at
/// on this node, and nothing known to be wrong.
///
/// # Errors
/// All mistakes of the request.
pub(crate) fn health(
    wire: &v1::NodeGetVolumeHealthRequest,
) -> Result<Option<VolumeStats>, Mistakes> {
    let mut check = Check::default();
    let id = check.take("volume_id", VolumeId::new(wire.volume_id.as_str()));
    let published = paths::optional(&mut check, "volume_publish_path", &wire.volume_publish_path);
    let staged = paths::optional(&mut check, "staging_target_path", &wire.staging_target_path);
    let whole = id.map(|id| {
        let path = published.or(staged);
        path.map(|volume_path| VolumeStats { id, volume_path })
    });
    check.finish_with(whole)
}
