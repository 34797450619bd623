//! Whether the cluster that answers is the one that a clusterID means.
//!
//! `config.json` may be changed to lead a clusterID to another cluster, by mistake or in the middle
//! of a move. There every volume of the first one looks as if it were gone. Handles and records have
//! no room for a cluster's own identifier, the fsid; so this is what tells, the strongest first:
//!
//! | Source | A contradiction |
//! |---|---|
//! | `fsid` of the entry in `config.json` | refuses every controller request |
//! | a clusterID that is an fsid | absence is not believed |
//! | the fsid that this process first met behind the clusterID | absence is not believed |
//! | a pool number that the cluster never gave out | absence is not believed |
//!
//! What is found is believed in any case: the UUID of a record or image is nobody else's.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use ceph::{Cluster, Clusters};
use cuttle_model::{ClusterId, ClusterSettings, ClusterTable, Credentials, Fsid, PoolId};

use crate::reach::{NamedBy, ReachError};

/// Why the cluster that answers is not the one that is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotTheSame {
    /// Another fsid is configured.
    Configured(Fsid),
    /// The clusterID is another fsid.
    Named(Fsid),
    /// Another fsid answered before.
    Remembered(Fsid),
    /// The handle's pool has a number that the cluster has not given out yet.
    NoSuchPoolYet {
        /// The pool.
        pool: PoolId,
        /// The highest number the cluster has ever given to a pool.
        highest: PoolId,
    },
}

impl fmt::Display for NotTheSame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configured(fsid) => write!(f, "it names the fsid {fsid}"),
            Self::Named(fsid) => write!(f, "the clusterID is the fsid {fsid}"),
            Self::Remembered(fsid) => write!(f, "it has led to {fsid} before"),
            Self::NoSuchPoolYet { pool, highest } => write!(
                f,
                "the handle names pool number {pool}, and that cluster's pools have numbers up to \
                 {highest}"
            ),
        }
    }
}

impl NotTheSame {
    pub(crate) fn remedy(self, found: Fsid) -> String {
        match self {
            Self::Configured(_) => "correct monitors or fsid of the cluster's entry in config.json",
            Self::Named(_) | Self::Remembered(_) => {
                return format!(
                    "correct monitors of the cluster's entry in config.json; if it is to lead \
                     there, say so by \"fsid\": \"{found}\" in the entry"
                );
            }
            Self::NoSuchPoolYet { .. } => {
                "correct monitors of the cluster's entry in config.json; if the volume's cluster \
                 is no more, remove its PersistentVolume"
            }
        }
        .to_owned()
    }
}

/// The way to the clusters of a table, and what was met behind their names. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Way {
    clusters: Clusters,
    /// The fsid first met behind each clusterID; of configured ones only.
    met: Arc<Mutex<BTreeMap<ClusterId, Fsid>>>,
}

impl Way {
    pub(crate) fn new(clusters: Clusters) -> Self {
        Self {
            clusters,
            met: Arc::default(),
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
        let found = fsid_of(&cluster)?;
        if let Some(fsid) = settings.fsid.filter(|fsid| *fsid != found) {
            return Err(other(&settings, found, NotTheSame::Configured(fsid)));
        }
        self.note(table, id, found);
        Ok((settings, cluster))
    }

    /// Remembers whom a name led to, the first time.
    fn note(&self, table: &ClusterTable, id: &ClusterId, found: Fsid) {
        let mut met = self.met.lock().unwrap_or_else(PoisonError::into_inner);
        if !met.contains_key(id) {
            met.retain(|known, _fsid| table.find(known).is_some());
            met.insert(id.clone(), found);
        }
    }

    /// To be asked before a volume counts as gone because the cluster knows nothing of it; `pool`
    /// is the one that is gone, if that is why.
    ///
    /// # Errors
    /// [`ReachError::OtherCluster`] when there is a sign that this is not the volume's cluster.
    ///
    /// # Blocking
    /// With a pool, for an exchange with the monitors.
    pub(crate) fn believe_absence(
        &self,
        settings: &ClusterSettings,
        cluster: &Cluster,
        pool: Option<PoolId>,
    ) -> Result<(), ReachError> {
        let found = fsid_of(cluster)?;
        let refuse = |because| Err(other(settings, found, because));
        if settings.fsid == Some(found) {
            return Ok(());
        }
        match Fsid::told_by(&settings.id) {
            Some(fsid) if fsid == found => return Ok(()),
            Some(fsid) => return refuse(NotTheSame::Named(fsid)),
            None => {}
        }
        let met = self.met.lock().unwrap_or_else(PoisonError::into_inner);
        let before = met.get(&settings.id).copied();
        drop(met);
        if let Some(fsid) = before.filter(|fsid| *fsid != found) {
            return refuse(NotTheSame::Remembered(fsid));
        }
        let Some(pool) = pool else { return Ok(()) };
        match cluster.highest_pool_id() {
            Ok(highest) if pool > highest => refuse(NotTheSame::NoSuchPoolYet { pool, highest }),
            Ok(_) => Ok(()),
            Err(source) => {
                let doing = "ask which pools there ever were".to_owned();
                Err(ReachError::Ceph { doing, source })
            }
        }
    }
}

fn fsid_of(cluster: &Cluster) -> Result<Fsid, ReachError> {
    cluster.fsid().map_err(|source| {
        let doing = "tell the cluster's fsid".to_owned();
        ReachError::Ceph { doing, source }
    })
}

fn other(settings: &ClusterSettings, found: Fsid, because: NotTheSame) -> ReachError {
    ReachError::OtherCluster {
        cluster: settings.id.clone(),
        found,
        because,
    }
}
