//! The Controller service's requests about existing volumes.

use std::collections::BTreeMap;
use std::sync::Arc;

use cuttle_csi::v1;
use cuttle_model::{
    ByteSize, CapacityRange, ClusterSettings, ClusterTable, Credentials, PoolName, RbdParameters,
    VolumeCapability, VolumeHandle, round_for_image,
};
use cuttle_volumes::{DeleteVolume, ExpandVolume, ListVolumes};

use super::create::usable;
use super::mistakes::{Check, Mistake, Mistakes};
use super::secrets::{SecretsOf, credentials};
use super::{capability, cluster, volume};

/// Checks DeleteVolume.
///
/// # Errors
/// All mistakes of the request.
pub(crate) fn delete(
    wire: &v1::DeleteVolumeRequest,
    table: &ClusterTable,
) -> Result<DeleteVolume, Mistakes> {
    let mut check = Check::default();
    let found = volume(&mut check, &wire.volume_id, table);
    let credentials = credentials(&mut check, &wire.secrets, SecretsOf::Provisioner);
    let whole = found
        .zip(credentials)
        .map(|((handle, _), credentials)| DeleteVolume {
            handle,
            credentials,
        });
    check.finish_with(whole)
}

/// Checks ControllerExpandVolume.
///
/// # Errors
/// All mistakes of the request.
pub(crate) fn expand(
    wire: v1::ControllerExpandVolumeRequest,
    table: &ClusterTable,
) -> Result<ExpandVolume, Mistakes> {
    let mut check = Check::default();
    let found = volume(&mut check, &wire.volume_id, table);
    let credentials = credentials(&mut check, &wire.secrets, SecretsOf::Resizer);
    let range = grown_range(&mut check, wire.capacity_range);
    let capability = match wire.volume_capability {
        None => Some(None),
        Some(wire) => capability::one(&mut check, "volume_capability", Some(wire)).map(Some),
    };
    let whole = (|| {
        let (handle, _) = found?;
        Some(ExpandVolume {
            handle,
            range: range?,
            capability: capability?,
            credentials: credentials?,
        })
    })();
    check.finish_with(whole)
}

fn grown_range(check: &mut Check, wire: Option<v1::CapacityRange>) -> Option<CapacityRange> {
    let Some(wire) = wire else {
        check.add(Mistake::invalid(
            "capacity_range",
            "is missing",
            "say how large the volume is to become",
        ));
        return None;
    };
    let range = CapacityRange::from_wire(wire.required_bytes, wire.limit_bytes);
    let range = check.take("capacity_range", range)?;
    if range.required.is_none() {
        check.add(Mistake::invalid(
            "capacity_range.required_bytes",
            "must be greater than 0",
            "say how large the volume is to become",
        ));
        return None;
    }
    let rounded = round_for_image(range.required, range.limit);
    check.take("capacity_range", rounded).map(|_| range)
}

/// A question about an existing volume.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    pub(crate) handle: VolumeHandle,
    pub(crate) cluster: Arc<ClusterSettings>,
    /// Absent when the request brings none.
    pub(crate) credentials: Option<Credentials>,
}

/// A checked ValidateVolumeCapabilities.
#[derive(Debug, Clone)]
pub(crate) struct Validate {
    pub(crate) volume: Question,
    pub(crate) capabilities: Vec<VolumeCapability>,
    /// Why no volume can be used as asked for; `None` when one can.
    pub(crate) objection: Option<String>,
}

/// Checks ValidateVolumeCapabilities. What is well formed and impossible is no mistake but an
/// objection.
///
/// # Errors
/// All mistakes of the request.
pub(crate) fn validate(
    wire: v1::ValidateVolumeCapabilitiesRequest,
    table: &ClusterTable,
) -> Result<Validate, Mistakes> {
    let mut check = Check::default();
    let volume = question(&mut check, &wire.volume_id, &wire.secrets, table);
    let capabilities = capability::list(&mut check, wire.volume_capabilities);
    let objection = objection(
        capabilities.as_deref().unwrap_or_default(),
        &wire.parameters,
    );
    let whole = volume
        .zip(capabilities)
        .map(|(volume, capabilities)| Validate {
            volume,
            capabilities,
            objection,
        });
    check.finish_with(whole)
}

fn objection(
    capabilities: &[VolumeCapability],
    parameters: &BTreeMap<String, String>,
) -> Option<String> {
    let mut check = Check::default();
    for (index, capability) in capabilities.iter().enumerate() {
        usable(
            &mut check,
            &format!("volume_capabilities[{index}]"),
            capability,
        );
    }
    if !parameters.is_empty() {
        check.take("parameters", RbdParameters::parse(parameters));
    }
    check.finish().err().map(|mistakes| mistakes.to_string())
}

/// Checks ControllerGetVolume and ControllerGetVolumeHealth.
///
/// # Errors
/// All mistakes of the request.
pub(crate) fn get(
    volume_id: &str,
    secrets: &BTreeMap<String, String>,
    table: &ClusterTable,
) -> Result<Question, Mistakes> {
    let mut check = Check::default();
    let whole = question(&mut check, volume_id, secrets, table);
    check.finish_with(whole)
}

fn question(
    check: &mut Check,
    volume_id: &str,
    secrets: &BTreeMap<String, String>,
    table: &ClusterTable,
) -> Option<Question> {
    let credentials = if secrets.is_empty() {
        Some(None)
    } else {
        credentials(check, secrets, SecretsOf::Provisioner).map(Some)
    };
    question_as(check, volume_id, credentials, table)
}

/// The question about a volume with these credentials; no credentials are a mistake noted already.
pub(super) fn question_as(
    check: &mut Check,
    volume_id: &str,
    credentials: Option<Option<Credentials>>,
    table: &ClusterTable,
) -> Option<Question> {
    let found = volume(check, volume_id, table);
    found
        .zip(credentials)
        .map(|((handle, cluster), credentials)| Question {
            handle,
            cluster,
            credentials,
        })
}

/// A checked GetCapacity.
#[derive(Debug, Clone)]
pub(crate) struct Capacity {
    pub(crate) cluster: Arc<ClusterSettings>,
    pub(crate) pool: PoolName,
    pub(crate) data_pool: Option<PoolName>,
    /// The largest single volume.
    pub(crate) largest: ByteSize,
}

/// Checks GetCapacity.
///
/// # Errors
/// All mistakes of the request.
pub(crate) fn capacity(
    wire: &v1::GetCapacityRequest,
    table: &ClusterTable,
) -> Result<Capacity, Mistakes> {
    let mut check = Check::default();
    let parsed = check.take("parameters", RbdParameters::parse(&wire.parameters));
    let whole = parsed.and_then(|parsed| {
        let parameters = parsed.parameters;
        let id = &parameters.cluster;
        let cluster = cluster(&mut check, "parameters.clusterID", id, table)?;
        Some(Capacity {
            cluster,
            largest: parameters.largest_image(),
            pool: parameters.pool,
            data_pool: parameters.data_pool,
        })
    });
    check.finish_with(whole)
}

/// Checks ListVolumes.
///
/// # Errors
/// All mistakes of the request.
pub(crate) fn list(wire: v1::ListVolumesRequest) -> Result<ListVolumes, Mistakes> {
    let mut check = Check::default();
    let most = u32::try_from(wire.max_entries).ok();
    if most.is_none() {
        check.add(Mistake::invalid(
            "max_entries",
            format!("must not be negative, is {}", wire.max_entries),
            "use 0 for the driver's own page size",
        ));
    }
    let whole = most.map(|most| ListVolumes {
        token: Some(wire.starting_token).filter(|token| !token.is_empty()),
        most: Some(most).filter(|&most| most > 0),
    });
    check.finish_with(whole)
}
