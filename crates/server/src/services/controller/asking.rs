//! Controller calls that change nothing.
//!
//! They run on their cluster's lane, too, and hold only the question itself, so that repeating one
//! joins it.

use std::sync::Arc;

use cuttle_csi::v1;
use cuttle_csi::v1::validate_volume_capabilities_response::Confirmed;
use cuttle_model::{
    Class, ClusterSettings, Code, ComposedHandle, Credentials, Explain, Left, VolumeHandle,
};
use cuttle_volumes::Validation;
use cuttle_volumes::rbd::{CapacityOf, GetError};
use cuttle_volumes::{GetVolume, ValidateVolume, Volume};

use super::RbdControllerParts;
use crate::boundary::controller::{self as boundary, RBD};
use crate::dispatch::{Fingerprint, Hold, Key, LaneName};
use crate::listing::{self, ListingError};
use crate::rim::{Failed, Plan, Shared, Visit};
use crate::services::controller_reply::IMAGE;
use crate::services::plan::{cluster_lane, doing, fingerprint};
use crate::status::Doing;

/// Why a question has no answer: no credentials, or what the operation says.
#[derive(Debug, thiserror::Error)]
pub(in crate::services) enum AskError<E> {
    #[error(transparent)]
    Listing(ListingError),
    #[error(transparent)]
    Operation(E),
}

impl<E: Explain> Explain for AskError<E> {
    fn code(&self) -> Code {
        match self {
            Self::Listing(error) => error.code(),
            Self::Operation(error) => error.code(),
        }
    }

    fn class(&self) -> Class {
        match self {
            Self::Listing(error) => error.class(),
            Self::Operation(error) => error.class(),
        }
    }

    fn left(&self) -> Left {
        match self {
            Self::Listing(error) => error.left(),
            Self::Operation(error) => error.left(),
        }
    }

    fn remedy(&self) -> Option<std::borrow::Cow<'static, str>> {
        match self {
            Self::Listing(error) => error.remedy(),
            Self::Operation(error) => error.remedy(),
        }
    }
}

/// The request's credentials, or those configured for listing.
pub(super) fn credentials<E>(
    given: Option<Credentials>,
    cluster: &ClusterSettings,
) -> Result<Credentials, AskError<E>> {
    match given {
        Some(given) => Ok(given),
        None => listing::credentials(cluster).map_err(AskError::Listing),
    }
}

pub(in crate::services) fn question(
    doing: Doing,
    lane: LaneName,
    fingerprint: Fingerprint,
) -> Plan {
    // The fingerprint stands for the request, so only an equal question finds the key taken.
    let key = Key::Question(format!("{doing} {fingerprint:?}"));
    Plan {
        doing,
        keys: vec![(key, Hold::Alone)],
        lane,
        fingerprint,
    }
}

/// ValidateVolumeCapabilities.
pub(super) async fn validate(
    shared: &Shared,
    visit: Visit,
    parts: Arc<RbdControllerParts>,
    wire: v1::ValidateVolumeCapabilitiesRequest,
) -> Result<v1::ValidateVolumeCapabilitiesResponse, Failed> {
    let doing = doing("validate", &wire.volume_id);
    let fingerprint = fingerprint(&wire);
    let table = parts.clusters.snapshot();
    let confirmed = Confirmed {
        volume_context: wire.volume_context.clone(),
        volume_capabilities: wire.volume_capabilities.clone(),
        parameters: wire.parameters.clone(),
        mutable_parameters: wire.mutable_parameters.clone(),
    };
    let boundary::Validate {
        volume,
        capabilities,
        objection,
    } = boundary::validate(RBD, wire, &table)
        .map_err(|mistakes| Failed::new(doing.clone(), mistakes))?;
    let plan = question(doing, cluster_lane(&volume.cluster.id), fingerprint);
    // The volume is looked for even when there is an objection: that it is gone goes before.
    let work = move || {
        let request = ValidateVolume {
            handle: volume.handle,
            capabilities,
            credentials: credentials(volume.credentials, &volume.cluster)?,
        };
        parts
            .controller
            .validate(&table, &request)
            .map_err(AskError::Operation)
    };
    let verdict = shared.run(&visit, plan, work).await?;
    let refused = match (&*verdict, objection) {
        (_, Some(objection)) => Some(objection),
        (Validation::Refused(refusal), None) => Some(refusal.to_string()),
        (Validation::Confirmed, None) => None,
    };
    Ok(v1::ValidateVolumeCapabilitiesResponse {
        confirmed: refused.is_none().then_some(confirmed),
        message: refused.unwrap_or_default(),
    })
}

/// GetCapacity.
pub(super) async fn capacity(
    shared: &Shared,
    visit: Visit,
    parts: Arc<RbdControllerParts>,
    wire: v1::GetCapacityRequest,
) -> Result<v1::GetCapacityResponse, Failed> {
    let doing = Doing::new("ask for free capacity");
    let fingerprint = fingerprint(&wire);
    let table = parts.clusters.snapshot();
    offered(&doing, &table)?;
    let capacity = boundary::capacity(&wire, &table)
        .map_err(|mistakes| Failed::new(doing.clone(), mistakes))?;
    let largest = capacity.largest;
    let plan = question(doing, cluster_lane(&capacity.cluster.id), fingerprint);
    let work = move || {
        let of = CapacityOf {
            credentials: credentials(None, &capacity.cluster)?,
            cluster: capacity.cluster.id.clone(),
            pool: capacity.pool,
            data_pool: capacity.data_pool,
        };
        parts
            .controller
            .capacity(&table, &of)
            .map_err(AskError::Operation)
    };
    let free = shared.run(&visit, plan, work).await?;
    Ok(v1::GetCapacityResponse {
        available_capacity: free.wire_bytes(),
        maximum_volume_size: Some(largest.wire_bytes()),
        minimum_volume_size: None,
    })
}

/// Listing calls are refused as a whole where no cluster is configured for them.
pub(super) fn offered(doing: &Doing, table: &cuttle_model::ClusterTable) -> Result<(), Failed> {
    if listing::is_offered(table) {
        Ok(())
    } else {
        Err(Failed::new(doing.clone(), ListingError::NowhereConfigured))
    }
}

/// ListVolumes.
pub(super) async fn list(
    shared: &Shared,
    visit: Visit,
    parts: Arc<RbdControllerParts>,
    wire: v1::ListVolumesRequest,
) -> Result<v1::ListVolumesResponse, Failed> {
    let doing = Doing::new("list volumes");
    let fingerprint = fingerprint(&wire);
    let table = parts.clusters.snapshot();
    offered(&doing, &table)?;
    let request = boundary::list(wire).map_err(|mistakes| Failed::new(doing.clone(), mistakes))?;
    let plan = question(doing, LaneName::Listing, fingerprint);
    let work = move || {
        let sources = listing::sources(&table).map_err(AskError::Listing)?;
        parts
            .controller
            .list(&table, &sources, &request)
            .map_err(AskError::Operation)
    };
    let page = shared.run(&visit, plan, work).await?;
    let entries = page.volumes.iter().map(|one| IMAGE.listed(one)).collect();
    Ok(v1::ListVolumesResponse {
        entries,
        next_token: page.next.clone().unwrap_or_default(),
    })
}

/// ControllerGetVolume.
pub(super) async fn get(
    shared: &Shared,
    visit: Visit,
    parts: Arc<RbdControllerParts>,
    wire: v1::ControllerGetVolumeRequest,
) -> Result<v1::ControllerGetVolumeResponse, Failed> {
    let doing = doing("describe", &wire.volume_id);
    let fingerprint = fingerprint(&wire);
    let table = parts.clusters.snapshot();
    offered(&doing, &table)?;
    let asked = boundary::get(
        RBD,
        &wire.volume_id,
        &std::collections::BTreeMap::new(),
        &table,
    )
    .map_err(|mistakes| Failed::new(doing.clone(), mistakes))?;
    let volume = look(shared, visit, parts, asked, (doing, fingerprint)).await?;
    Ok(IMAGE.described(wire.volume_id, &volume))
}

/// ControllerGetVolumeHealth: with the request's secrets, or those for listing.
pub(super) async fn health(
    shared: &Shared,
    visit: Visit,
    parts: Arc<RbdControllerParts>,
    wire: v1::ControllerGetVolumeHealthRequest,
) -> Result<v1::ControllerGetVolumeHealthResponse, Failed> {
    let doing = doing("look at the health of", &wire.volume_id);
    let fingerprint = fingerprint(&wire);
    let table = parts.clusters.snapshot();
    let asked = boundary::get(RBD, &wire.volume_id, &wire.secrets, &table)
        .map_err(|mistakes| Failed::new(doing.clone(), mistakes))?;
    let volume = look(shared, visit, parts, asked, (doing, fingerprint)).await?;
    Ok(IMAGE.health(wire.volume_id, volume.trouble.as_deref()))
}

async fn look(
    shared: &Shared,
    visit: Visit,
    parts: Arc<RbdControllerParts>,
    asked: boundary::Question,
    (doing, fingerprint): (Doing, Fingerprint),
) -> Result<Arc<Volume>, Failed> {
    let handle = composed(&doing, asked.handle)?;
    let plan = question(doing, cluster_lane(&asked.cluster.id), fingerprint);
    let table = parts.clusters.snapshot();
    let work = move || -> Result<Volume, AskError<GetError>> {
        let request = GetVolume {
            handle,
            credentials: credentials(asked.credentials, &asked.cluster)?,
        };
        parts
            .controller
            .get(&table, &request)
            .map_err(AskError::Operation)
    };
    shared.run(&visit, plan, work).await
}

/// A migrated volume has no record to look at.
pub(in crate::services) fn composed(
    doing: &Doing,
    handle: VolumeHandle,
) -> Result<ComposedHandle, Failed> {
    match handle {
        VolumeHandle::Composed(handle) => Ok(handle),
        VolumeHandle::Migrated(_) => Err(Failed::new(doing.clone(), Migrated)),
    }
}

/// The volume comes from the in-tree plugin.
#[derive(Debug, thiserror::Error)]
#[error("a volume migrated from the in-tree plugin has no record to describe it by")]
struct Migrated;

impl Explain for Migrated {
    fn code(&self) -> Code {
        Code::new(1044)
    }

    fn class(&self) -> Class {
        Class::Unsupported
    }

    fn remedy(&self) -> Option<std::borrow::Cow<'static, str>> {
        Some("look at its image with `rbd info`".into())
    }
}
