//! What the operator has set for all controllers of a process.

use std::time::Duration;

use cuttle_model::InstanceId;

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
