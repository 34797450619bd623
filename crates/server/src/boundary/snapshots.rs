//! Requests about snapshots, and what a new volume's data comes from.

use std::collections::BTreeMap;
use std::sync::Arc;

use cuttle_csi::v1;
use cuttle_csi::v1::volume_content_source::Type;
use cuttle_model::{
    ClusterSettings, ClusterTable, CoName, ComposedHandle, Credentials, SnapshotParameters,
    VolumeHandle,
};
use cuttle_volumes::rbd::CreateSnapshot;
use cuttle_volumes::{ContentSource, DeleteSnapshot, ListVolumes, SourceKind};

use super::cluster;
use super::controller::page;
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

/// A question about a snapshot, or about the snapshots of a volume.
#[derive(Debug, Clone)]
pub(crate) struct About {
    pub(crate) handle: ComposedHandle,
    pub(crate) cluster: Arc<ClusterSettings>,
    /// The request's; `None` leaves them to the configuration.
    pub(crate) credentials: Option<Credentials>,
}

/// What ListSnapshots is to list.
#[derive(Debug, Clone)]
pub(crate) enum Listing {
    /// All there are.
    All,
    /// Those of a volume.
    Of(About),
    /// One, if it is of this volume.
    One(About, Option<ComposedHandle>),
    /// Nothing: no snapshot has a handle like that.
    Nothing,
}

/// A checked ListSnapshots.
#[derive(Debug, Clone)]
pub(crate) struct List {
    pub(crate) listing: Listing,
    pub(crate) page: ListVolumes,
}

/// Checks ListSnapshots. A handle that is none of ours is nobody's: the answer is an empty page.
///
/// # Errors
/// All mistakes of the request.
pub(crate) fn list(wire: v1::ListSnapshotsRequest, table: &ClusterTable) -> Result<List, Mistakes> {
    let mut check = Check::default();
    let page = page(&mut check, wire.max_entries, wire.starting_token);
    let credentials = given(&mut check, &wire.secrets);
    let mut nothing = false;
    let mut filter = |check: &mut Check, field, text: &str| {
        if text.is_empty() {
            return Some(None);
        }
        let Ok(VolumeHandle::Composed(handle)) = VolumeHandle::parse(text) else {
            nothing = true;
            return Some(None);
        };
        let cluster = cluster(check, field, &handle.cluster, table)?;
        Some(Some((handle, cluster)))
    };
    let of = filter(&mut check, "source_volume_id", &wire.source_volume_id);
    let one = filter(&mut check, "snapshot_id", &wire.snapshot_id);
    let whole = (|| {
        let (page, credentials, of, one) = (page?, credentials?, of?, one?);
        let about = |(handle, cluster)| About {
            handle,
            cluster,
            credentials,
        };
        let listing = match (one, of) {
            _ if nothing => Listing::Nothing,
            (Some(one), of) => Listing::One(about(one), of.map(|(handle, _cluster)| handle)),
            (None, Some(of)) => Listing::Of(about(of)),
            (None, None) => Listing::All,
        };
        Some(List { listing, page })
    })();
    check.finish_with(whole)
}

/// Checks GetSnapshot.
///
/// # Errors
/// All mistakes of the request.
pub(crate) fn get(wire: &v1::GetSnapshotRequest, table: &ClusterTable) -> Result<About, Mistakes> {
    let mut check = Check::default();
    let handle = handle(&mut check, "snapshot_id", &wire.snapshot_id, table);
    let credentials = given(&mut check, &wire.secrets);
    let whole = handle.zip(credentials).and_then(|(handle, credentials)| {
        let cluster = table.find(&handle.cluster)?;
        Some(About {
            handle,
            cluster,
            credentials,
        })
    });
    check.finish_with(whole)
}

/// The request's credentials, which it need not have. The outer `None` stands for a mistake.
fn given(check: &mut Check, secrets: &BTreeMap<String, String>) -> Option<Option<Credentials>> {
    if secrets.is_empty() {
        return Some(None);
    }
    credentials(check, secrets, SecretsOf::Snapshotter).map(Some)
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
