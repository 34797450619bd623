//! Requests about snapshots, and what a new volume's data comes from.

use cuttle_csi::v1;
use cuttle_csi::v1::volume_content_source::Type;
use cuttle_model::{ClusterTable, CoName, ComposedHandle, SnapshotParameters, VolumeHandle};
use cuttle_volumes::rbd::CreateSnapshot;
use cuttle_volumes::{ContentSource, DeleteSnapshot, SourceKind};

use super::cluster;
use super::mistakes::{Check, Mistake, Mistakes};
use super::secrets::{SecretsOf, credentials};

/// Checks CreateSnapshot.
///
/// # Errors
/// All mistakes of the request.
pub(crate) fn create(
    wire: v1::CreateSnapshotRequest,
    table: &ClusterTable,
) -> Result<CreateSnapshot, Mistakes> {
    let mut check = Check::default();
    let name = check.take("name", CoName::new(wire.name));
    let field = "source_volume_id";
    let source = handle(&mut check, field, &wire.source_volume_id, table);
    let parameters = check.take("parameters", SnapshotParameters::parse(&wire.parameters));
    if let Some(parameters) = &parameters {
        let id = &parameters.cluster;
        cluster(&mut check, "parameters.clusterID", id, table);
    }
    let credentials = credentials(&mut check, &wire.secrets, SecretsOf::Snapshotter);
    let whole = (|| {
        Some(CreateSnapshot {
            name: name?,
            source: source?,
            parameters: parameters?,
            credentials: credentials?,
        })
    })();
    check.finish_with(whole)
}

/// Checks DeleteSnapshot.
///
/// # Errors
/// All mistakes of the request.
pub(crate) fn delete(
    wire: &v1::DeleteSnapshotRequest,
    table: &ClusterTable,
) -> Result<DeleteSnapshot, Mistakes> {
    let mut check = Check::default();
    let handle = handle(&mut check, "snapshot_id", &wire.snapshot_id, table);
    let credentials = credentials(&mut check, &wire.secrets, SecretsOf::Snapshotter);
    let whole = handle
        .zip(credentials)
        .map(|(handle, credentials)| DeleteSnapshot {
            handle,
            credentials,
        });
    check.finish_with(whole)
}

/// What the data of a new volume comes from. The outer `None` stands for a mistake.
pub(super) fn content_source(
    check: &mut Check,
    wire: Option<v1::VolumeContentSource>,
    table: &ClusterTable,
) -> Option<Option<ContentSource>> {
    let Some(wire) = wire else {
        return Some(None);
    };
    let (kind, field, id) = match wire.r#type {
        Some(Type::Snapshot(source)) => (
            SourceKind::Snapshot,
            "volume_content_source.snapshot.snapshot_id",
            source.snapshot_id,
        ),
        Some(Type::Volume(source)) => (
            SourceKind::Volume,
            "volume_content_source.volume.volume_id",
            source.volume_id,
        ),
        None => {
            check.add(Mistake::invalid(
                "volume_content_source",
                "names neither a snapshot nor a volume",
                "name one of them, or leave it out for an empty volume",
            ));
            return None;
        }
    };
    let handle = handle(check, field, &id, table)?;
    Some(Some(ContentSource { kind, handle }))
}

/// The handle of a volume with a record, or of a snapshot, in a configured cluster.
pub(super) fn handle(
    check: &mut Check,
    field: &'static str,
    text: &str,
    table: &ClusterTable,
) -> Option<ComposedHandle> {
    if text.is_empty() {
        check.add(Mistake::invalid(
            field,
            "must not be empty",
            "give the handle that the driver returned",
        ));
        return None;
    }
    match check.take(field, VolumeHandle::parse(text))? {
        VolumeHandle::Composed(handle) => {
            cluster(check, field, &handle.cluster, table)?;
            Some(handle)
        }
        VolumeHandle::Migrated(_) => {
            check.add(Mistake::unsupported(
                field,
                "is a volume of the in-tree plugin, which has no record to find its snapshots by",
                "copy it to a volume of this driver",
            ));
            None
        }
    }
}
