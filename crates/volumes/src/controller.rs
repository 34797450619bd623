//! The controller itself: its settings and its way to a cluster.

use std::sync::Arc;
use std::time::Duration;

use ceph::{Cluster, Clusters, Io};
use cuttle_model::{ClusterId, ClusterSettings, ClusterTable, Credentials, InstanceId, PoolName};

use crate::reach::{NamedBy, ReachError};

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

/// Makes, changes and removes RBD volumes. Cheap to clone, used by any number of threads.
#[derive(Debug, Clone)]
pub struct RbdController {
    clusters: Clusters,
    pub(crate) settings: Arc<ControllerSettings>,
}

impl RbdController {
    /// A controller that connects through `clusters`.
    #[must_use]
    pub fn new(clusters: Clusters, settings: ControllerSettings) -> Self {
        Self {
            clusters,
            settings: Arc::new(settings),
        }
    }

    /// The settings of a cluster and a connection to it.
    pub(crate) fn connect(
        &self,
        table: &ClusterTable,
        id: &ClusterId,
        named_by: NamedBy,
        credentials: &Credentials,
    ) -> Result<(Arc<ClusterSettings>, Cluster), ReachError> {
        let settings = table.find(id).ok_or_else(|| ReachError::UnknownCluster {
            cluster: id.clone(),
            known: table.iter().map(|known| known.id.clone()).collect(),
            named_by,
        })?;
        let cluster = self
            .clusters
            .connect(&settings.monitors, credentials)
            .map_err(|source| ReachError::Connect {
                cluster: id.clone(),
                user: credentials.user.clone(),
                source,
            })?;
        Ok((settings, cluster))
    }
}

/// The pool of that name, in the cluster's RADOS namespace.
pub(crate) fn open_pool(
    settings: &ClusterSettings,
    cluster: &Cluster,
    pool: &PoolName,
) -> Result<Io, ReachError> {
    cluster.io(pool, &settings.rbd.namespace).map_err(|source| {
        if source.is_absent() {
            ReachError::PoolMissing {
                cluster: settings.id.clone(),
                pool: pool.clone(),
            }
        } else {
            ReachError::Ceph {
                doing: format!("open pool {pool}"),
                source,
            }
        }
    })
}
