//! Controller calls that change something.

use std::sync::Arc;

use cuttle_csi::v1;

use super::CephfsControllerParts;
use crate::boundary::cephfs::{self as boundary, CEPHFS};
use crate::boundary::controller;
use crate::dispatch::{Hold, Key};
use crate::rim::{Failed, Plan, Shared, Visit};
use crate::services::controller_reply as reply;
use crate::services::plan::{doing, fingerprint, subvolumes_lane};

/// CreateVolume: holds the name, so that of two requests one makes the volume.
pub(super) async fn create(
    shared: &Shared,
    visit: Visit,
    parts: Arc<CephfsControllerParts>,
    wire: v1::CreateVolumeRequest,
) -> Result<v1::CreateVolumeResponse, Failed> {
    let doing = doing("create", &wire.name);
    let fingerprint = fingerprint(&wire);
    let table = parts.clusters.snapshot();
    let request =
        boundary::create(wire, &table).map_err(|mistakes| Failed::new(doing.clone(), mistakes))?;
    let plan = Plan {
        doing,
        keys: vec![(Key::Name(request.name.to_string()), Hold::Alone)],
        lane: subvolumes_lane(&request.parsed.parameters.cluster),
        fingerprint,
    };
    let work = move || parts.controller.create(&table, &request);
    let created = shared.run(&visit, plan, work).await?;
    let volume = reply::volume(
        created.handle.encode(),
        created.size,
        created.context.clone(),
    );
    Ok(v1::CreateVolumeResponse {
        volume: Some(volume),
    })
}

/// DeleteVolume: holds the volume.
pub(super) async fn delete(
    shared: &Shared,
    visit: Visit,
    parts: Arc<CephfsControllerParts>,
    wire: v1::DeleteVolumeRequest,
) -> Result<v1::DeleteVolumeResponse, Failed> {
    let doing = doing("delete", &wire.volume_id);
    let fingerprint = fingerprint(&wire);
    let table = parts.clusters.snapshot();
    let request = controller::delete(CEPHFS, &wire, &table)
        .map_err(|mistakes| Failed::new(doing.clone(), mistakes))?;
    let plan = Plan {
        doing,
        keys: vec![(Key::Volume(request.handle.encode()), Hold::Alone)],
        lane: subvolumes_lane(request.handle.cluster()),
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
    parts: Arc<CephfsControllerParts>,
    wire: v1::ControllerExpandVolumeRequest,
) -> Result<v1::ControllerExpandVolumeResponse, Failed> {
    let doing = doing("expand", &wire.volume_id);
    let fingerprint = fingerprint(&wire);
    let table = parts.clusters.snapshot();
    let request = controller::expand(CEPHFS, wire, &table)
        .map_err(|mistakes| Failed::new(doing.clone(), mistakes))?;
    let plan = Plan {
        doing,
        keys: vec![(Key::Volume(request.handle.encode()), Hold::Alone)],
        lane: subvolumes_lane(request.handle.cluster()),
        fingerprint,
    };
    let work = move || parts.controller.expand(&table, &request);
    let expanded = shared.run(&visit, plan, work).await?;
    Ok(v1::ControllerExpandVolumeResponse {
        capacity_bytes: expanded.size.wire_bytes(),
        node_expansion_required: expanded.node_expansion_required,
    })
}
