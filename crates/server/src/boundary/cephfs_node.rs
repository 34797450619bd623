//! The Node service's requests about CephFS volumes.

use std::collections::BTreeMap;

use cuttle_csi::v1;
use cuttle_model::{
    CephFsSettings, CephfsContext, CephfsPlace, ClusterTable, Monitors, VolumeCapability,
};
use cuttle_node::cephfs::{
    FsCluster, FsVolume, FsVolumeId, PublishVolume, StageVolume, UnpublishVolume, UnstageVolume,
    VolumeStats,
};

use super::mistakes::{Check, Mistake, Mistakes};
use super::secrets::mounting_credentials;
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
    let id = check.take("volume_id", FsVolumeId::new(wire.volume_id.as_str()));
    let context = check.take(
        "volume_context",
        CephfsContext::parse(&wire.volume_id, &wire.volume_context),
    );
    let mut is_provisioned = true;
    let place = context.as_ref().and_then(|context| {
        is_provisioned = match &context.place {
            CephfsPlace::Handle(_) => true,
            CephfsPlace::Static { .. } => false,
            CephfsPlace::Monitors { provisioned, .. } => *provisioned,
        };
        place(&mut check, context, &wire.secrets, table)
    });
    let staging_path =
        paths::absolute(&mut check, "staging_target_path", &wire.staging_target_path);
    let capability = mountable(&mut check, wire.volume_capability);
    let credentials = mounting_credentials(&mut check, &wire.secrets, is_provisioned);
    let whole = (|| {
        let (volume, cluster) = place?;
        let context = context?;
        Some(StageVolume {
            id: id?,
            volume,
            cluster,
            credentials: credentials?,
            staging_path: staging_path?,
            capability: capability?,
            is_snapshot: context.backing_snapshot.is_some(),
            parameters: context.attach,
        })
    })();
    check.finish_with(whole)
}

/// Which directory of which cluster.
fn place(
    check: &mut Check,
    context: &CephfsContext,
    secrets: &BTreeMap<String, String>,
    table: &ClusterTable,
) -> Option<(FsVolume, FsCluster)> {
    let mut configured = |field: &'static str, id| {
        let settings = cluster(check, field, id, table)?;
        Some(FsCluster {
            id: Some(settings.id.clone()),
            monitors: settings.monitors.clone(),
            cephfs: settings.cephfs.clone(),
        })
    };
    match &context.place {
        CephfsPlace::Handle(handle) => {
            let cluster = configured("volume_id", &handle.cluster)?;
            let volume = FsVolume::Provisioned {
                handle: handle.clone(),
                told: context.subvolume.clone(),
            };
            Some((volume, cluster))
        }
        CephfsPlace::Static { cluster, fs, root } => {
            let cluster = configured("volume_context.clusterID", cluster)?;
            let (fs, root) = (fs.clone(), root.clone());
            Some((FsVolume::Path { fs, root }, cluster))
        }
        CephfsPlace::Monitors {
            monitors: told,
            fs,
            root,
            ..
        } => {
            let cluster = FsCluster {
                id: None,
                monitors: monitors(check, told.as_ref(), secrets)?,
                cephfs: CephFsSettings::default(),
            };
            let (fs, root) = (fs.clone(), root.clone());
            Some((FsVolume::Path { fs, root }, cluster))
        }
    }
}

/// The monitors of a volume that names them itself: those of the Secret come first, for they may
/// have changed since the volume was made.
fn monitors(
    check: &mut Check,
    told: Option<&Monitors>,
    secrets: &BTreeMap<String, String>,
) -> Option<Monitors> {
    let text = secrets.get("monitors").map(|text| text.trim());
    if let Some(text) = text.filter(|text| !text.is_empty()) {
        let list = text.split(',').map(|part| part.trim().to_owned()).collect();
        return check.take("secrets.monitors", Monitors::new(list));
    }
    if told.is_none() {
        check.add(Mistake::invalid(
            "volume_context.monitors",
            "is missing",
            "list the monitors' addresses in the PersistentVolume, or under `monitors` in the \
             Secret for nodes",
        ));
    }
    told.cloned()
}

/// A capability that a directory can be mounted with.
fn mountable(check: &mut Check, wire: Option<v1::VolumeCapability>) -> Option<VolumeCapability> {
    let capability = capability::one(check, "volume_capability", wire)?;
    if capability.is_block() {
        check.add(Mistake::invalid(
            "volume_capability.access_type",
            "must be mount: a directory of a file system is no block device",
            "use volumeMode: Filesystem, or an RBD volume",
        ));
        return None;
    }
    Some(capability)
}

/// Checks NodeUnstageVolume.
///
/// # Errors
/// All mistakes of the request.
pub(crate) fn unstage(wire: &v1::NodeUnstageVolumeRequest) -> Result<UnstageVolume, Mistakes> {
    let mut check = Check::default();
    let id = check.take("volume_id", FsVolumeId::new(wire.volume_id.as_str()));
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
    let id = check.take("volume_id", FsVolumeId::new(wire.volume_id));
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
    let id = check.take("volume_id", FsVolumeId::new(wire.volume_id.as_str()));
    let target_path = paths::absolute(&mut check, "target_path", &wire.target_path);
    let whole = id
        .zip(target_path)
        .map(|(id, target_path)| UnpublishVolume { id, target_path });
    check.finish_with(whole)
}

/// Checks NodeGetVolumeStats.
///
/// # Errors
/// All mistakes of the request.
pub(crate) fn stats(wire: &v1::NodeGetVolumeStatsRequest) -> Result<VolumeStats, Mistakes> {
    let mut check = Check::default();
    let id = check.take("volume_id", FsVolumeId::new(wire.volume_id.as_str()));
    let volume_path = paths::absolute(&mut check, "volume_path", &wire.volume_path);
    let whole = id
        .zip(volume_path)
        .map(|(id, volume_path)| VolumeStats { id, volume_path });
    check.finish_with(whole)
}

/// Checks NodeGetVolumeHealth; without a path there is nothing to look at on this node.
///
/// # Errors
/// All mistakes of the request.
pub(crate) fn health(
    wire: &v1::NodeGetVolumeHealthRequest,
) -> Result<Option<VolumeStats>, Mistakes> {
    let mut check = Check::default();
    let id = check.take("volume_id", FsVolumeId::new(wire.volume_id.as_str()));
    let published = paths::optional(&mut check, "volume_publish_path", &wire.volume_publish_path);
    let staged = paths::optional(&mut check, "staging_target_path", &wire.staging_target_path);
    let whole = id.map(|id| {
        let path = published.or(staged);
        path.map(|volume_path| VolumeStats { id, volume_path })
    });
    check.finish_with(whole)
}
