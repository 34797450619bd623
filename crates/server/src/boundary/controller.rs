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

/// What differs between the requests about one kind of volumes and another.
#[derive(Clone, Copy)]
pub(crate) struct Kind {
    /// Whose credentials they carry, and under which names.
    pub(super) credentials: CredentialsOf,
    /// The range of a size, in which one lies that a volume can have.
    pub(super) grown_range: fn(&mut Check, v1::CapacityRange) -> Option<CapacityRange>,
    /// Notes why no volume can be used so.
    pub(super) usable: fn(&mut Check, &str, &VolumeCapability),
    /// Notes what is wrong with a StorageClass's parameters.
    pub(super) parameters: fn(&mut Check, &BTreeMap<String, String>),
}

/// The credentials among a request's secrets.
type CredentialsOf = fn(&mut Check, &BTreeMap<String, String>, SecretsOf) -> Option<Credentials>;

/// RBD's volumes.
pub(crate) const RBD: Kind = Kind {
    credentials,
    grown_range: image_range,
    usable,
    parameters: |check, parameters| {
        check.take("parameters", RbdParameters::parse(parameters));
    },
};

fn image_range(check: &mut Check, wire: v1::CapacityRange) -> Option<CapacityRange> {
    let range = CapacityRange::from_wire(wire.required_bytes, wire.limit_bytes);
    let range = check.take("capacity_range", range)?;
    let rounded = round_for_image(range.required, range.limit);
    check.take("capacity_range", rounded).map(|_| range)
}

/// Checks DeleteVolume.
///
/// # Errors
/// All mistakes of the request.
pub(crate) fn delete(
    kind: Kind,
    wire: &v1::DeleteVolumeRequest,
    table: &ClusterTable,
) -> Result<DeleteVolume, Mistakes> {
    let mut check = Check::default();
    let found = volume(&mut check, &wire.volume_id, table);
    let credentials = (kind.credentials)(&mut check, &wire.secrets, SecretsOf::Provisioner);
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
    kind: Kind,
    wire: v1::ControllerExpandVolumeRequest,
    table: &ClusterTable,
) -> Result<ExpandVolume, Mistakes> {
    let mut check = Check::default();
    let found = volume(&mut check, &wire.volume_id, table);
    let credentials = (kind.credentials)(&mut check, &wire.secrets, SecretsOf::Resizer);
    let range = grown_range(&mut check, kind, wire.capacity_range);
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

fn grown_range(
    check: &mut Check,
    kind: Kind,
    wire: Option<v1::CapacityRange>,
) -> Option<CapacityRange> {
    const FIX: &str = "say how large the volume is to become";
    match wire {
        None => check.add(Mistake::invalid("capacity_range", "is missing", FIX)),
        Some(wire) if wire.required_bytes == 0 => {
            let field = "capacity_range.required_bytes";
            check.add(Mistake::invalid(field, "must be greater than 0", FIX));
        }
        Some(wire) => return (kind.grown_range)(check, wire),
    }
    None
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
    kind: Kind,
    wire: v1::ValidateVolumeCapabilitiesRequest,
    table: &ClusterTable,
) -> Result<Validate, Mistakes> {
    let mut check = Check::default();
    let volume = question(&mut check, kind, &wire.volume_id, &wire.secrets, table);
    let capabilities = capability::list(&mut check, wire.volume_capabilities);
    let objection = objection(
        kind,
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
    kind: Kind,
    capabilities: &[VolumeCapability],
    parameters: &BTreeMap<String, String>,
) -> Option<String> {
    let mut check = Check::default();
    for (index, capability) in capabilities.iter().enumerate() {
        let field = format!("volume_capabilities[{index}]");
        (kind.usable)(&mut check, &field, capability);
    }
    if !parameters.is_empty() {
        (kind.parameters)(&mut check, parameters);
    }
    check.finish().err().map(|mistakes| mistakes.to_string())
}

/// Checks ControllerGetVolume and ControllerGetVolumeHealth.
///
/// # Errors
/// All mistakes of the request.
pub(crate) fn get(
    kind: Kind,
    volume_id: &str,
    secrets: &BTreeMap<String, String>,
    table: &ClusterTable,
) -> Result<Question, Mistakes> {
    let mut check = Check::default();
    let whole = question(&mut check, kind, volume_id, secrets, table);
    check.finish_with(whole)
}

fn question(
    check: &mut Check,
    kind: Kind,
    volume_id: &str,
    secrets: &BTreeMap<String, String>,
    table: &ClusterTable,
) -> Option<Question> {
    let credentials = if secrets.is_empty() {
        Some(None)
    } else {
        (kind.credentials)(check, secrets, SecretsOf::Provisioner).map(Some)
    };
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
    let whole = page(&mut check, wire.max_entries, wire.starting_token);
    check.finish_with(whole)
}

/// Which page of a listing.
pub(super) fn page(check: &mut Check, most: i32, token: String) -> Option<ListVolumes> {
    let Ok(wanted) = u32::try_from(most) else {
        check.add(Mistake::invalid(
            "max_entries",
            format!("must not be negative, is {most}"),
            "use 0 for the driver's own page size",
        ));
        return None;
    };
    Some(ListVolumes {
        token: Some(token).filter(|token| !token.is_empty()),
        most: Some(wanted).filter(|&most| most > 0),
    })
}
