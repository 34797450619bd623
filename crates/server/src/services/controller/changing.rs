//! Controller calls that change something.

use std::sync::Arc;

use cuttle_csi::v1;

use super::RbdControllerParts;
use crate::boundary::controller::{self as boundary, RBD};
use crate::boundary::create as create_boundary;
use crate::dispatch::{Hold, Key};
use crate::rim::{Failed, Plan, Shared, Visit};
use crate::services::controller_reply as reply;
use crate::services::plan::{cluster_lane, doing, fingerprint};
use cuttle_volumes::SourceKind;

/// CreateVolume: holds the name, so that of two requests one makes the volume, and shares what its
/// data comes from.
pub(super) async fn create(
    shared: &Shared,
    visit: Visit,
    parts: Arc<RbdControllerParts>,
    wire: v1::CreateVolumeRequest,
) -> Result<v1::CreateVolumeResponse, Failed> {
    let doing = doing("create", &wire.name);
    let fingerprint = fingerprint(&wire);
    let table = parts.clusters.snapshot();
    let request = create_boundary::create(wire, &table)
        .map_err(|mistakes| Failed::new(doing.clone(), mistakes))?;
    let mut keys = vec![(Key::Name(request.name.to_string()), Hold::Alone)];
    keys.extend(request.source.as_ref().map(|source| {
        let handle = source.handle.encode();
        let key = match source.kind {
            SourceKind::Snapshot => Key::Snapshot(handle),
            SourceKind::Volume => Key::Volume(handle),
        };
        (key, Hold::Shared)
    }));
    let content_source = request.source.as_ref().map(reply::content_source);
    let plan = Plan {
        doing,
        keys,
        lane: cluster_lane(&request.parsed.parameters.cluster),
        fingerprint,
    };
    let work = move || parts.controller.create(&table, &request);
    let created = shared.run(&visit, plan, work).await?;
    let mut volume = reply::volume(
        created.handle.encode(),
        created.size,
        created.context.clone(),
    );
    volume.content_source = content_source;
    Ok(v1::CreateVolumeResponse {
        volume: Some(volume),
    })
}

/// DeleteVolume: holds the volume.
pub(super) async fn delete(
    shared: &Shared,
    visit: Visit,
    parts: Arc<RbdControllerParts>,
    wire: v1::DeleteVolumeRequest,
) -> Result<v1::DeleteVolumeResponse, Failed> {
    let doing = doing("delete", &wire.volume_id);
    let fingerprint = fingerprint(&wire);
    let table = parts.clusters.snapshot();
    let request = boundary::delete(RBD, &wire, &table)
        .map_err(|mistakes| Failed::new(doing.clone(), mistakes))?;
    let plan = Plan {
        doing,
        keys: vec![(Key::Volume(request.handle.encode()), Hold::Alone)],
        lane: cluster_lane(request.handle.cluster()),
        fingerprint,
    };
    let work = move || parts.controller.delete(&table, &request);
    shared.run(&visit, plan, work).await?;
    Ok(v1::DeleteVolumeResponse {})
}

/// ControllerExpandVolume: holds the volume.
pub(super) async fn expand(
    shared: &Shared,
    visit: Visit,
    parts: Arc<RbdControllerParts>,
    wire: v1::ControllerExpandVolumeRequest,
) -> Result<v1::ControllerExpandVolumeResponse, Failed> {
    let doing = doing("expand", &wire.volume_id);
    let fingerprint = fingerprint(&wire);
    let table = parts.clusters.snapshot();
    let request = boundary::expand(RBD, wire, &table)
        .map_err(|mistakes| Failed::new(doing.clone(), mistakes))?;
    let plan = Plan {
        doing,
        keys: vec![(Key::Volume(request.handle.encode()), Hold::Alone)],
        lane: cluster_lane(request.handle.cluster()),
        fingerprint,
    };
    let work = move || parts.controller.expand(&table, &request);
    let expanded = shared.run(&visit, plan, work).await?;
    Ok(v1::ControllerExpandVolumeResponse {
        capacity_bytes: expanded.size.wire_bytes(),
        node_expansion_required: expanded.node_expansion_required,
    })
}
