//! Requests as the sidecars and kubelet send them.

use std::collections::BTreeMap;

use cuttle_csi::v1;
use cuttle_csi::v1::volume_capability::access_mode::Mode;
use cuttle_csi::v1::volume_capability::{AccessMode, AccessType, MountVolume};

/// A well-formed handle in cluster `c1`.
pub(crate) const HANDLE: &str =
    "0001-0002-c1-0000000000000002-50d53503-9da1-11ed-847e-bacf8f2f1297";

pub(crate) fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect()
}

/// A key of the right form that is nobody's.
pub(crate) const NOBODYS_KEY: &str = "AQAAAAAAAAAAABAAAAAAAAAAAAAAAAAAAAAAAA==";

pub(crate) fn secrets() -> BTreeMap<String, String> {
    map(&[("userID", "csi"), ("userKey", NOBODYS_KEY)])
}

pub(crate) fn capability(access: AccessType, mode: Mode) -> v1::VolumeCapability {
    v1::VolumeCapability {
        access_type: Some(access),
        access_mode: Some(AccessMode { mode: mode.into() }),
    }
}

pub(crate) fn mount() -> AccessType {
    AccessType::Mount(MountVolume {
        fs_type: "ext4".to_owned(),
        ..MountVolume::default()
    })
}

/// A claim of 1 GiB.
pub(crate) fn create_request(name: &str, parameters: &[(&str, &str)]) -> v1::CreateVolumeRequest {
    v1::CreateVolumeRequest {
        name: name.to_owned(),
        capacity_range: Some(v1::CapacityRange {
            required_bytes: 1 << 30,
            limit_bytes: 0,
        }),
        volume_capabilities: vec![capability(mount(), Mode::SingleNodeWriter)],
        parameters: map(parameters),
        secrets: secrets(),
        ..v1::CreateVolumeRequest::default()
    }
}
