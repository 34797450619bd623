//! Controller calls about snapshots. Those that change nothing hold only the question itself.

use std::sync::Arc;

use cuttle_csi::v1;

use super::RbdControllerParts;
use super::asking::{AskError, credentials, offered, question};
use crate::boundary::snapshots as boundary;
use crate::dispatch::{Hold, Key, LaneName};
use crate::listing;
use crate::rim::{Failed, Plan, Shared, Visit};
use crate::services::controller_reply as reply;
use crate::services::plan::{cluster_lane, doing_with_snapshot, fingerprint};
use crate::status::Doing;
use cuttle_volumes::rbd::{GetSnapshotError, ListError};
use cuttle_volumes::{GetSnapshot, KnownSnapshot, ListSnapshots};

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

/// GetSnapshot: with the request's secrets, or those for listing.
pub(super) async fn get(
    shared: &Shared,
    visit: Visit,
    parts: Arc<RbdControllerParts>,
    wire: v1::GetSnapshotRequest,
) -> Result<v1::GetSnapshotResponse, Failed> {
    let doing = doing_with_snapshot("describe", &wire.snapshot_id);
    let fingerprint = fingerprint(&wire);
    let table = parts.clusters.snapshot();
    let asked =
        boundary::get(&wire, &table).map_err(|mistakes| Failed::new(doing.clone(), mistakes))?;
    let plan = question(doing, cluster_lane(&asked.cluster.id), fingerprint);
    let work = move || look(&parts, asked);
    let found = shared.run(&visit, plan, work).await?;
    Ok(v1::GetSnapshotResponse {
        snapshot: Some(reply::known_snapshot(&found)),
    })
}

fn look(
    parts: &RbdControllerParts,
    asked: boundary::About,
) -> Result<KnownSnapshot, AskError<GetSnapshotError>> {
    let request = GetSnapshot {
        handle: asked.handle,
        credentials: credentials(asked.credentials, &asked.cluster)?,
    };
    let table = parts.clusters.snapshot();
    let found = parts.controller.get_snapshot(&table, &request);
    found.map_err(AskError::Operation)
}

/// ListSnapshots: all as configured for listing; those of a volume, or one, also with the request's
/// secrets.
pub(super) async fn list(
    shared: &Shared,
    visit: Visit,
    parts: Arc<RbdControllerParts>,
    wire: v1::ListSnapshotsRequest,
) -> Result<v1::ListSnapshotsResponse, Failed> {
    let doing = Doing::new("list snapshots");
    let fingerprint = fingerprint(&wire);
    let table = parts.clusters.snapshot();
    let boundary::List { listing, page } =
        boundary::list(wire, &table).map_err(|mistakes| Failed::new(doing.clone(), mistakes))?;
    match listing {
        boundary::Listing::Nothing => Ok(v1::ListSnapshotsResponse::default()),
        boundary::Listing::One(asked, of) => {
            let plan = question(doing, cluster_lane(&asked.cluster.id), fingerprint);
            let work = move || match look(&parts, asked) {
                Ok(found) => Ok(Some(found)),
                Err(AskError::Operation(
                    GetSnapshotError::Absent { .. } | GetSnapshotError::Unfinished { .. },
                )) => Ok(None),
                Err(error) => Err(error),
            };
            let found = shared.run(&visit, plan, work).await?;
            let is_of = |known: &&KnownSnapshot| match (&of, &known.source) {
                (Some(of), Some(source)) => {
                    source.uuid == of.uuid && source.location == of.location
                }
                (Some(_), None) => false,
                (None, _) => true,
            };
            Ok(listed(found.iter().filter(is_of), None))
        }
        boundary::Listing::Of(asked) => {
            let plan = question(doing, cluster_lane(&asked.cluster.id), fingerprint);
            let request = ListSnapshots {
                page,
                of: Some(asked.handle.clone()),
            };
            let work = move || -> Result<_, AskError<ListError>> {
                let credentials = credentials(asked.credentials, &asked.cluster)?;
                let controller = &parts.controller;
                controller
                    .snapshots_of(&table, &asked.handle, &credentials)
                    .and_then(|sources| controller.list_snapshots(&table, &sources, &request))
                    .map_err(AskError::Operation)
            };
            let page = shared.run(&visit, plan, work).await?;
            Ok(listed(page.snapshots.iter(), page.next.clone()))
        }
        boundary::Listing::All => {
            offered(&doing, &table)?;
            let plan = question(doing, LaneName::Listing, fingerprint);
            let request = ListSnapshots { page, of: None };
            let work = move || {
                let sources = listing::sources(&table).map_err(AskError::Listing)?;
                let page = parts.controller.list_snapshots(&table, &sources, &request);
                page.map_err(AskError::Operation)
            };
            let page = shared.run(&visit, plan, work).await?;
            Ok(listed(page.snapshots.iter(), page.next.clone()))
        }
    }
}

fn listed<'k>(
    known: impl Iterator<Item = &'k KnownSnapshot>,
    next: Option<String>,
) -> v1::ListSnapshotsResponse {
    let entry = |known| v1::list_snapshots_response::Entry {
        snapshot: Some(reply::known_snapshot(known)),
    };
    v1::ListSnapshotsResponse {
        entries: known.map(entry).collect(),
        next_token: next.unwrap_or_default(),
    }
}
