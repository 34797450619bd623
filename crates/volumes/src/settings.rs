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
    /// How deep clones may be stacked, and how many snapshots an image may have.
    pub clone_limits: CloneLimits,
}

/// How deep clones may be stacked, and how many snapshots an image may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CloneLimits {
    /// The depth that nothing new reaches (`--rbdhardmaxclonedepth`).
    pub hard_depth: usize,
    /// The depth at which flattening begins (`--rbdsoftmaxclonedepth`).
    pub soft_depth: usize,
    /// How many snapshots an image may have (`--maxsnapshotsonimage`).
    pub most_snapshots: usize,
    /// From how many on the clones of the oldest are flattened (`--minsnapshotsonimage`).
    pub least_snapshots: usize,
}

impl Default for CloneLimits {
    /// As ceph-csi's.
    fn default() -> Self {
        Self {
            hard_depth: 8,
            soft_depth: 4,
            most_snapshots: 450,
            least_snapshots: 250,
        }
    }
}

impl CloneLimits {
    /// The depth of a source of which no clone may be made.
    pub(crate) fn hard_depth_of_source(&self) -> usize {
        self.hard_depth.saturating_sub(1).max(1)
    }

    /// The depth of a source that is to be flattened when a clone of it is made.
    pub(crate) fn soft_depth_of_source(&self) -> usize {
        self.soft_depth.saturating_sub(1).max(1)
    }
}

impl Default for ControllerSettings {
    /// The default instance, no metadata, 5 seconds, ceph-csi's limits.
    fn default() -> Self {
        Self {
            instance: InstanceId::default(),
            set_metadata: false,
            cluster_name: None,
            take_over_after: Duration::from_secs(5),
            clone_limits: CloneLimits::default(),
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
