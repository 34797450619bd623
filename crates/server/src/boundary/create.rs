//! CreateVolume's request.

use cuttle_csi::v1;
use cuttle_model::{
    CapacityRange, ClusterTable, CoName, Parsed, RbdParameters, SizeError, VolumeCapability,
    round_for_image,
};
use cuttle_volumes::rbd::CreateVolume;

use super::mistakes::{Check, Mistake, Mistakes};
use super::secrets::{SecretsOf, credentials};
use super::snapshots::content_source;
use super::{capability, cluster};

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
    if !wire.mutable_parameters.is_empty() {
        check.add(Mistake::unsupported(
            "mutable_parameters",
            "volume attributes classes are not supported yet",
            "remove volumeAttributesClassName from the claim",
        ));
    }
    let is_empty = wire.volume_content_source.is_none();
    let source = content_source(&mut check, wire.volume_content_source, table);
    let capabilities = capability::list(&mut check, wire.volume_capabilities);
    for (index, capability) in capabilities.iter().flatten().enumerate() {
        let field = format!("volume_capabilities[{index}]");
        if is_empty {
            usable_when_new(&mut check, &field, capability);
        } else {
            usable(&mut check, &field, capability);
        }
    }
    let parsed = check.take("parameters", RbdParameters::parse(&wire.parameters));
    if let Some(parsed) = &parsed {
        let id = &parsed.parameters.cluster;
        cluster(&mut check, "parameters.clusterID", id, table);
    }
    let range = range(&mut check, wire.capacity_range, parsed.as_ref());
    let credentials = credentials(&mut check, &wire.secrets, SecretsOf::Provisioner);
    let whole = (|| {
        Some(CreateVolume {
            name: name?,
            range: range?,
            capabilities: capabilities?,
            source: source?,
            parsed: parsed?,
            credentials: credentials?,
        })
    })();
    check.finish_with(whole)
}

/// An empty volume cannot be for readers only; otherwise as [`usable`].
fn usable_when_new(check: &mut Check, field: &str, capability: &VolumeCapability) {
    if capability.is_read_only() {
        check.add(Mistake::invalid(
            format!("{field}.access_mode.mode"),
            format!("{} does not go with a new, empty volume", capability.mode),
            "create the volume with ReadWriteOnce, fill it and mount it read-only",
        ));
    } else {
        usable(check, field, capability);
    }
}

/// A file system on a block device is torn apart when several nodes write to it.
pub(super) fn usable(check: &mut Check, field: &str, capability: &VolumeCapability) {
    if !capability.is_block() && capability.is_multi_node_writer() {
        check.add(Mistake::invalid(
            format!("{field}.access_mode.mode"),
            format!(
                "{} does not go with a file system, which only one node may write to",
                capability.mode
            ),
            "use ReadWriteOnce or volumeMode Block, or a CephFS StorageClass",
        ));
    }
}

/// The requested range, in which a possible image size lies. Without one any size will do; one
/// that says nothing asks for an empty volume and is refused.
fn range(
    check: &mut Check,
    wire: Option<v1::CapacityRange>,
    parsed: Option<&Parsed>,
) -> Option<CapacityRange> {
    let range = match wire {
        None => CapacityRange::default(),
        Some(wire) => {
            let range = CapacityRange::from_wire(wire.required_bytes, wire.limit_bytes);
            check.take("capacity_range", range)?
        }
    };
    let rounded = round_for_image(range.required, range.limit);
    let size = check.take("capacity_range", rounded)?;
    if let Some(parsed) = parsed {
        let largest = parsed.parameters.largest_image();
        if size > largest {
            let error = SizeError::TooLarge {
                required: size,
                largest,
            };
            check.add(Mistake::refused("capacity_range", &error));
            return None;
        }
    }
    Some(range)
}
