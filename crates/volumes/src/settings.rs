//! What the operator has set for all controllers of a process.

use std::time::Duration;

use cuttle_model::{InstanceId, VolumeMetadata};

/// What the command line says about controllers.
#[derive(Debug, Clone)]
pub struct ControllerSettings {
    /// The instance whose journal is used (`--instanceid`).
    pub instance: InstanceId,
    /// Whether images carry the names of claim and volume (`--setmetadata`).
    pub set_metadata: bool,
    /// The name of the Kubernetes cluster, for the images' metadata (`--clustername`).
    pub cluster_name: Option<String>,
    /// For how long a volume that another process is making is watched before that process counts
    /// as dead and the volume is taken over.
    pub take_over_after: Duration,
}

impl Default for ControllerSettings {
    /// The default instance, no metadata, 5 seconds.
    fn default() -> Self {
        Self {
            instance: InstanceId::default(),
            set_metadata: false,
            cluster_name: None,
            take_over_after: Duration::from_secs(5),
        }
    }
}

/// The metadata key for the name of the Kubernetes cluster.
pub(crate) const CLUSTER_NAME_KEY: &str = "csi.ceph.com/cluster/name";

impl ControllerSettings {
    /// The metadata for a new volume; none unless `--setmetadata` is given.
    pub(crate) fn metadata_of(&self, facts: &VolumeMetadata) -> Vec<(String, String)> {
        self.labels(facts.entries())
    }

    /// The metadata of something that is for what these facts name; none unless `--setmetadata` is
    /// given.
    pub(crate) fn labels<'f>(
        &self,
        facts: impl Iterator<Item = (&'static str, &'f str)>,
    ) -> Vec<(String, String)> {
        if !self.set_metadata {
            return Vec::new();
        }
        let mut metadata: Vec<(String, String)> = facts
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        if let Some(name) = &self.cluster_name {
            metadata.push((CLUSTER_NAME_KEY.to_owned(), name.clone()));
        }
        metadata
    }
}
