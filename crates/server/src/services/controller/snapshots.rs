//! Controller calls about snapshots.

use std::sync::Arc;

use cuttle_csi::v1;

use super::RbdControllerParts;
use crate::boundary::snapshots as boundary;
use crate::dispatch::{Hold, Key};
use crate::rim::{Failed, Plan, Shared, Visit};
use crate::services::controller_reply as reply;
use crate::services::plan::{cluster_lane, doing_with_snapshot, fingerprint};

/// CreateSnapshot: holds the name, and shares the volume with other snapshots and clones of it.
pub(super) async fn create(
    shared: &Shared,
    visit: Visit,
    parts: Arc<RbdControllerParts>,
    wire: v1::CreateSnapshotRequest,
) -> Result<v1::CreateSnapshotResponse, Failed> {
    let doing = doing_with_snapshot("take", &wire.name);
    let fingerprint = fingerprint(&wire);
    let table = parts.clusters.snapshot();
    let request =
        boundary::create(wire, &table).map_err(|mistakes| Failed::new(doing.clone(), mistakes))?;
    let plan = Plan {
        doing,
        keys: vec![
            (Key::SnapshotName(request.name.to_string()), Hold::Alone),
            (Key::Volume(request.source.encode()), Hold::Shared),
        ],
        lane: cluster_lane(&request.source.cluster),
        fingerprint,
    };
    let work = move || parts.controller.create_snapshot(&table, &request);
    let made = shared.run(&visit, plan, work).await?;
    Ok(v1::CreateSnapshotResponse {
        snapshot: Some(reply::snapshot(&made)),
    })
}

/// DeleteSnapshot: holds the snapshot.
pub(super) async fn delete(
    shared: &Shared,
    visit: Visit,
    parts: Arc<RbdControllerParts>,
    wire: v1::DeleteSnapshotRequest,
) -> Result<v1::DeleteSnapshotResponse, Failed> {
    let doing = doing_with_snapshot("delete", &wire.snapshot_id);
    let fingerprint = fingerprint(&wire);
    let table = parts.clusters.snapshot();
    let request =
        boundary::delete(&wire, &table).map_err(|mistakes| Failed::new(doing.clone(), mistakes))?;
    let plan = Plan {
        doing,
        keys: vec![(Key::Snapshot(request.handle.encode()), Hold::Alone)],
        lane: cluster_lane(&request.handle.cluster),
        fingerprint,
    };
    let work = move || parts.controller.delete_snapshot(&table, &request);
    shared.run(&visit, plan, work).await?;
    Ok(v1::DeleteSnapshotResponse {})
}
