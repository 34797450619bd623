//! The Controller service's requests about CephFS volumes, where they differ from RBD's.

use std::collections::BTreeMap;
use std::sync::Arc;

use cuttle_csi::v1;
use cuttle_model::{
    ByteSize, CapacityRange, CephfsParameters, ClusterSettings, ClusterTable, CoName, FsName,
    PoolName, VolumeCapability, round_for_subvolume,
};
use cuttle_volumes::cephfs::CreateVolume;

use super::controller::Kind;
use super::mistakes::{Check, Mistake, Mistakes};
use super::secrets::{SecretsOf, admin_credentials};
use super::{capability, cluster};

/// CephFS's volumes.
pub(crate) const CEPHFS: Kind = Kind {
    credentials: admin_credentials,
    grown_range: range,
    usable,
    parameters: |check, parameters| {
        check.take("parameters", CephfsParameters::parse(parameters));
    },
};

/// Checks CreateVolume.
///
/// # Errors
/// All mistakes of the request.
pub(crate) fn create(
    wire: v1::CreateVolumeRequest,
    table: &ClusterTable,
) -> Result<CreateVolume, Mistakes> {
    let mut check = Check::default();
    let name = check.take("name", CoName::new(wire.name));
    refuse_unsupported(
        &mut check,
        wire.volume_content_source.as_ref(),
        &wire.mutable_parameters,
    );
    let capabilities = capability::list(&mut check, wire.volume_capabilities);
    for (index, capability) in capabilities.iter().flatten().enumerate() {
        let field = format!("volume_capabilities[{index}]");
        usable_when_new(&mut check, &field, capability);
    }
    let parsed = check.take("parameters", CephfsParameters::parse(&wire.parameters));
    if let Some(parsed) = &parsed {
        let id = &parsed.parameters.cluster;
        cluster(&mut check, "parameters.clusterID", id, table);
    }
    let range = match wire.capacity_range {
        None => Some(None),
        Some(wire) => range(&mut check, wire).map(Some),
    };
    let credentials = admin_credentials(&mut check, &wire.secrets, SecretsOf::Provisioner);
    let whole = (|| {
        Some(CreateVolume {
            name: name?,
            range: range?,
            capabilities: capabilities?,
            parsed: parsed?,
            credentials: credentials?,
        })
    })();
    check.finish_with(whole)
}

fn refuse_unsupported(
    check: &mut Check,
    source: Option<&v1::VolumeContentSource>,
    mutable_parameters: &BTreeMap<String, String>,
) {
    if source.is_some() {
        check.add(Mistake::unsupported(
            "volume_content_source",
            "restoring and cloning CephFS volumes is not supported yet",
            "create an empty volume, without dataSource in the claim",
        ));
    }
    if !mutable_parameters.is_empty() {
        check.add(Mistake::unsupported(
            "mutable_parameters",
            "volume attributes classes are not supported yet",
            "remove volumeAttributesClassName from the claim",
        ));
    }
}

/// An empty volume cannot be for readers only; otherwise as [`usable`].
fn usable_when_new(check: &mut Check, field: &str, capability: &VolumeCapability) {
    if capability.is_read_only() {
        check.add(Mistake::invalid(
            format!("{field}.access_mode.mode"),
            format!("{} does not go with a new, empty volume", capability.mode),
            "create the volume with ReadWriteMany, fill it and mount it read-only",
        ));
    } else {
        usable(check, field, capability);
    }
}

/// A CephFS volume is a directory.
fn usable(check: &mut Check, field: &str, capability: &VolumeCapability) {
    if capability.is_block() {
        check.add(Mistake::invalid(
            format!("{field}.block"),
            "does not go with CephFS, whose volumes are directories",
            "use volumeMode Filesystem, or an RBD StorageClass",
        ));
    }
}

/// The requested range, in which a possible quota lies.
fn range(check: &mut Check, wire: v1::CapacityRange) -> Option<CapacityRange> {
    let range = CapacityRange::from_wire(wire.required_bytes, wire.limit_bytes);
    let range = check.take("capacity_range", range)?;
    let rounded = round_for_subvolume(range.required, range.limit);
    check.take("capacity_range", rounded).map(|_| range)
}

/// A checked GetCapacity.
#[derive(Debug, Clone)]
pub(crate) struct Capacity {
    pub(crate) cluster: Arc<ClusterSettings>,
    pub(crate) fs: FsName,
    pub(crate) pool: Option<PoolName>,
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
    let parsed = check.take("parameters", CephfsParameters::parse(&wire.parameters));
    let whole = parsed.and_then(|parsed| {
        let parameters = parsed.parameters;
        let id = &parameters.cluster;
        let cluster = cluster(&mut check, "parameters.clusterID", id, table)?;
        Some(Capacity {
            cluster,
            fs: parameters.fs,
            pool: parameters.attach.pool,
            largest: ByteSize::LARGEST_IMAGE,
        })
    });
    check.finish_with(whole)
}
