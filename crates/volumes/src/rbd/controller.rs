//! The controller itself: its way to a cluster and a pool.

use std::sync::Arc;

use ceph::{Cluster, Clusters, Io};
use cuttle_model::{ClusterId, ClusterSettings, ClusterTable, Credentials, PoolName};

use crate::asked::AskedNames;
use crate::identity::Way;
use crate::reach::{NamedBy, ReachError};
use crate::settings::ControllerSettings;

/// Makes, changes and removes RBD volumes. Cheap to clone, used by any number of threads.
#[derive(Debug, Clone)]
pub struct RbdController {
    pub(crate) way: Way,
    pub(crate) settings: Arc<ControllerSettings>,
    pub(crate) asked: Arc<AskedNames>,
}

impl RbdController {
    /// A controller that connects through `clusters`.
    #[must_use]
    pub fn new(clusters: Clusters, settings: ControllerSettings) -> Self {
        Self {
            way: Way::new(clusters),
            settings: Arc::new(settings),
            asked: Arc::default(),
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
        self.way.connect(table, id, named_by, credentials)
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
