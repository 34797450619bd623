//! The requests that kubelet and the sidecars would send for one StorageClass.

use std::collections::BTreeMap;
use std::path::Path;

use cuttle_csi::v1;
use cuttle_csi::v1::volume_capability::access_mode::Mode;
use cuttle_csi::v1::volume_capability::{AccessMode, AccessType, MountVolume};

/// A Ceph user as a Kubernetes Secret holds it.
#[derive(Clone)]
pub(crate) struct Secrets {
    pub(crate) user: String,
    pub(crate) key: String,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secrets")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

impl Secrets {
    fn map(&self) -> BTreeMap<String, String> {
        // The names that RBD reads, and those that CephFS's controller reads.
        [
            ("userID", &self.user),
            ("userKey", &self.key),
            ("adminID", &self.user),
            ("adminKey", &self.key),
        ]
        .map(|(name, value)| (name.to_owned(), value.clone()))
        .into()
    }
}

/// A StorageClass with its secrets.
#[derive(Debug, Clone)]
pub(crate) struct Workload {
    pub(crate) parameters: BTreeMap<String, String>,
    pub(crate) provisioner: Secrets,
    pub(crate) node: Secrets,
    pub(crate) fs_type: String,
}

impl Workload {
    /// A class for images of one pool, mounted with our own export so that no kernel module is
    /// needed. It speaks of the same user for all calls.
    pub(crate) fn new(cluster: &str, pool: &str, secrets: Secrets) -> Self {
        let parameters = [
            ("clusterID", cluster),
            ("pool", pool),
            ("imageFeatures", "layering"),
            ("mounter", "fuse"),
        ];
        Self {
            parameters: parameters.map(|(n, v)| (n.to_owned(), v.to_owned())).into(),
            provisioner: secrets.clone(),
            node: secrets,
            fs_type: "xfs".to_owned(),
        }
    }

    /// Sets the parameter of `name=value`; an empty value removes it.
    pub(crate) fn set_parameter(&mut self, text: &str) {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        if value.is_empty() {
            self.parameters.remove(name);
        } else {
            self.parameters.insert(name.to_owned(), value.to_owned());
        }
    }

    /// One writer, a file system.
    pub(crate) fn capability(&self) -> v1::VolumeCapability {
        let mount = MountVolume {
            fs_type: self.fs_type.clone(),
            ..MountVolume::default()
        };
        v1::VolumeCapability {
            access_type: Some(AccessType::Mount(mount)),
            access_mode: Some(AccessMode {
                mode: Mode::SingleNodeWriter.into(),
            }),
        }
    }

    /// What external-provisioner sends for a claim.
    pub(crate) fn create(&self, name: &str, bytes: i64) -> v1::CreateVolumeRequest {
        let mut parameters = self.parameters.clone();
        for (key, value) in [
            ("csi.storage.k8s.io/pv/name", name),
            ("csi.storage.k8s.io/pvc/name", "demo"),
            ("csi.storage.k8s.io/pvc/namespace", "default"),
        ] {
            parameters.insert(key.to_owned(), value.to_owned());
        }
        v1::CreateVolumeRequest {
            name: name.to_owned(),
            capacity_range: Some(v1::CapacityRange {
                required_bytes: bytes,
                limit_bytes: 0,
            }),
            volume_capabilities: vec![self.capability()],
            parameters,
            secrets: self.provisioner.map(),
            ..v1::CreateVolumeRequest::default()
        }
    }

    /// What external-provisioner sends when the claim is gone.
    pub(crate) fn delete(&self, handle: &str) -> v1::DeleteVolumeRequest {
        v1::DeleteVolumeRequest {
            volume_id: handle.to_owned(),
            secrets: self.provisioner.map(),
        }
    }

    /// What external-resizer sends.
    pub(crate) fn expand(&self, handle: &str, bytes: i64) -> v1::ControllerExpandVolumeRequest {
        v1::ControllerExpandVolumeRequest {
            volume_id: handle.to_owned(),
            capacity_range: Some(v1::CapacityRange {
                required_bytes: bytes,
                limit_bytes: 0,
            }),
            secrets: self.provisioner.map(),
            volume_capability: Some(self.capability()),
        }
    }

    /// What kubelet sends before the first pod of a node.
    pub(crate) fn stage(&self, volume: &v1::Volume, staging: &Path) -> v1::NodeStageVolumeRequest {
        v1::NodeStageVolumeRequest {
            volume_id: volume.volume_id.clone(),
            staging_target_path: text(staging),
            volume_capability: Some(self.capability()),
            secrets: self.node.map(),
            volume_context: volume.volume_context.clone(),
            ..v1::NodeStageVolumeRequest::default()
        }
    }

    /// What kubelet sends for a pod.
    pub(crate) fn publish(
        &self,
        volume: &v1::Volume,
        staging: &Path,
        target: &Path,
    ) -> v1::NodePublishVolumeRequest {
        v1::NodePublishVolumeRequest {
            volume_id: volume.volume_id.clone(),
            staging_target_path: text(staging),
            target_path: text(target),
            volume_capability: Some(self.capability()),
            volume_context: volume.volume_context.clone(),
            ..v1::NodePublishVolumeRequest::default()
        }
    }

    /// What kubelet sends to let a mounted file system grow.
    pub(crate) fn node_expand(
        &self,
        handle: &str,
        staging: &Path,
        target: &Path,
        bytes: i64,
    ) -> v1::NodeExpandVolumeRequest {
        v1::NodeExpandVolumeRequest {
            volume_id: handle.to_owned(),
            volume_path: text(target),
            staging_target_path: text(staging),
            capacity_range: Some(v1::CapacityRange {
                required_bytes: bytes,
                limit_bytes: 0,
            }),
            volume_capability: Some(self.capability()),
            ..v1::NodeExpandVolumeRequest::default()
        }
    }

    /// What kubelet sends to measure a volume.
    pub(crate) fn stats(
        handle: &str,
        staging: &Path,
        target: &Path,
    ) -> v1::NodeGetVolumeStatsRequest {
        v1::NodeGetVolumeStatsRequest {
            volume_id: handle.to_owned(),
            volume_path: text(target),
            staging_target_path: text(staging),
        }
    }

    /// What kubelet sends when the pod is gone.
    pub(crate) fn unpublish(handle: &str, target: &Path) -> v1::NodeUnpublishVolumeRequest {
        v1::NodeUnpublishVolumeRequest {
            volume_id: handle.to_owned(),
            target_path: text(target),
        }
    }

    /// What kubelet sends after the last pod of a node.
    pub(crate) fn unstage(handle: &str, staging: &Path) -> v1::NodeUnstageVolumeRequest {
        v1::NodeUnstageVolumeRequest {
            volume_id: handle.to_owned(),
            staging_target_path: text(staging),
        }
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
