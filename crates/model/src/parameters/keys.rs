//! The parameters that StorageClasses may have, and what becomes of others.

use std::collections::BTreeMap;

use super::SIDECAR_PREFIX;
use crate::mistakes::{Mistakes, nearest};

/// What a known parameter does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Read by the driver; suggested when a similar key is unknown.
    Acted,
    /// Belongs to a feature that is still to come; refused where it would change the volume.
    Later,
    /// Accepted without effect: read by others, or left over from older drivers.
    Idle,
}

/// Every known parameter of RBD outside `csi.storage.k8s.io/`.
pub(super) const KEYS: [(&str, Role); 46] = [
    ("clusterID", Role::Acted),
    ("pool", Role::Acted),
    ("dataPool", Role::Acted),
    ("volumeNamePrefix", Role::Acted),
    ("imageFeatures", Role::Acted),
    ("mounter", Role::Acted),
    ("tryOtherMounters", Role::Acted),
    ("mapOptions", Role::Acted),
    ("unmapOptions", Role::Acted),
    ("mkfsOptions", Role::Acted),
    ("cephLogDir", Role::Acted),
    ("cephLogStrategy", Role::Acted),
    ("stripeUnit", Role::Acted),
    ("stripeCount", Role::Acted),
    ("objectSize", Role::Acted),
    ("encrypted", Role::Acted),
    ("encryptionType", Role::Later),
    ("encryptionKMSID", Role::Later),
    ("topologyConstrainedPools", Role::Later),
    ("thickProvision", Role::Later),
    // The namespace is that of config.json; ceph-csi reads this one and ignores it.
    ("radosNamespace", Role::Idle),
    ("journalPool", Role::Idle),
    ("migration", Role::Idle),
    // Belongs to a VolumeSnapshotClass; ceph-csi does not mind it here.
    ("snapshotNamePrefix", Role::Idle),
    // The external-provisioner's old spellings, which it passes on.
    ("fstype", Role::Idle),
    ("fsType", Role::Idle),
    ("csiProvisionerSecretName", Role::Idle),
    ("csiProvisionerSecretNamespace", Role::Idle),
    ("csiControllerPublishSecretName", Role::Idle),
    ("csiControllerPublishSecretNamespace", Role::Idle),
    ("csiNodeStageSecretName", Role::Idle),
    ("csiNodeStageSecretNamespace", Role::Idle),
    ("csiNodePublishSecretName", Role::Idle),
    ("csiNodePublishSecretNamespace", Role::Idle),
    // What the translation of an in-tree RBD StorageClass leaves.
    ("monitors", Role::Idle),
    ("imageFormat", Role::Idle),
    ("imageformat", Role::Idle),
    ("adminId", Role::Idle),
    ("adminid", Role::Idle),
    ("adminSecretName", Role::Idle),
    ("adminSecretNamespace", Role::Idle),
    ("userId", Role::Idle),
    ("userid", Role::Idle),
    ("userSecretName", Role::Idle),
    ("userSecretNamespace", Role::Idle),
    ("multiNodeWritable", Role::Idle),
];

/// Every known parameter of CephFS outside `csi.storage.k8s.io/`.
pub(super) const CEPHFS_KEYS: [(&str, Role); 28] = [
    ("clusterID", Role::Acted),
    ("fsName", Role::Acted),
    ("pool", Role::Acted),
    ("mounter", Role::Acted),
    ("kernelMountOptions", Role::Acted),
    ("fuseMountOptions", Role::Acted),
    ("volumeNamePrefix", Role::Acted),
    ("subvolumeGroup", Role::Acted),
    ("encrypted", Role::Acted),
    ("backingSnapshot", Role::Later),
    ("encryptionType", Role::Later),
    ("encryptionKMSID", Role::Later),
    ("topologyConstrainedPools", Role::Later),
    ("snapshotNamePrefix", Role::Later),
    // Read by older releases of ceph-csi, or by the NFS driver that stands on this one.
    ("provisionVolume", Role::Idle),
    ("rootPath", Role::Idle),
    ("monitors", Role::Idle),
    ("radosNamespace", Role::Idle),
    // The external-provisioner's old spellings, which it passes on.
    ("fstype", Role::Idle),
    ("fsType", Role::Idle),
    ("csiProvisionerSecretName", Role::Idle),
    ("csiProvisionerSecretNamespace", Role::Idle),
    ("csiControllerPublishSecretName", Role::Idle),
    ("csiControllerPublishSecretNamespace", Role::Idle),
    ("csiNodeStageSecretName", Role::Idle),
    ("csiNodeStageSecretNamespace", Role::Idle),
    ("csiNodePublishSecretName", Role::Idle),
    ("csiNodePublishSecretNamespace", Role::Idle),
];

/// Every known parameter of a VolumeSnapshotClass outside `csi.storage.k8s.io/`.
pub(super) const SNAPSHOT_KEYS: [(&str, Role); 8] = [
    ("clusterID", Role::Acted),
    ("snapshotNamePrefix", Role::Acted),
    ("pool", Role::Acted),
    // Read by ceph-csi's examples and older releases only.
    ("fsName", Role::Idle),
    ("monitors", Role::Idle),
    ("radosNamespace", Role::Idle),
    // The external-snapshotter's old spellings, which it passes on.
    ("csiSnapshotterSecretName", Role::Idle),
    ("csiSnapshotterSecretNamespace", Role::Idle),
];

/// Notes every key that is not among the known ones, nor read by Kubernetes' own components.
pub(super) fn check_keys(
    given: &BTreeMap<String, String>,
    known: &[(&str, Role)],
    mistakes: &mut Mistakes,
) {
    for key in given.keys() {
        if key.starts_with(SIDECAR_PREFIX) || known.iter().any(|(name, _)| name == key) {
            continue;
        }
        let candidates = known
            .iter()
            .filter(|(_, role)| *role == Role::Acted)
            .map(|(name, _)| *name);
        let remedy = match nearest(key, candidates) {
            Some(word) => format!("did you mean {word}? otherwise remove it"),
            None => "remove it".to_owned(),
        };
        mistakes.add(key, "is not a known parameter", remedy);
    }
}
