//! How much room there is for volumes.

use std::borrow::Cow;

use ceph::Cluster;
use cuttle_model::{
    ByteSize, Class, ClusterId, ClusterSettings, ClusterTable, Code, Credentials, Explain, PoolName,
};

use crate::rbd::controller::RbdController;
use crate::reach::{NamedBy, ReachError};

/// The place whose room is asked for.
#[derive(Debug, Clone)]
pub struct CapacityOf {
    /// The cluster.
    pub cluster: ClusterId,
    /// The pool of the images.
    pub pool: PoolName,
    /// The pool of their data, if it is another one.
    pub data_pool: Option<PoolName>,
    /// The Ceph user.
    pub credentials: Credentials,
}

/// Why the room is not known.
#[derive(Debug, thiserror::Error)]
pub enum CapacityError {
    /// The cluster or pool cannot be worked in.
    #[error(transparent)]
    Reach(#[from] ReachError),
    /// The pool exists, but its figures have not reached the monitors yet.
    #[error("the manager has not reported the room in pool {pool} yet")]
    NotReported {
        /// The pool.
        pool: PoolName,
    },
}

impl Explain for CapacityError {
    fn code(&self) -> Code {
        match self {
            Self::Reach(error) => error.code(),
            Self::NotReported { .. } => Code::new(1471),
        }
    }

    fn class(&self) -> Class {
        match self {
            Self::Reach(error) => error.class(),
            Self::NotReported { .. } => Class::Down,
        }
    }

    fn remedy(&self) -> Option<Cow<'static, str>> {
        match self {
            Self::Reach(error) => error.remedy(),
            Self::NotReported { .. } => Some(Cow::Borrowed(
                "a new pool is reported within seconds; if it stays like this, see whether a \
                 manager is active with `ceph mgr stat`",
            )),
        }
    }
}

impl RbdController {
    /// What can still be written to the pool that holds the data, after replication: `max_avail`
    /// of `ceph df`, or what its quota leaves if that is less.
    ///
    /// # Errors
    /// [`CapacityError`].
    ///
    /// # Blocking
    /// One command to the monitors.
    pub fn capacity(
        &self,
        table: &ClusterTable,
        of: &CapacityOf,
    ) -> Result<ByteSize, CapacityError> {
        let (settings, cluster) =
            self.connect(table, &of.cluster, NamedBy::Parameter, &of.credentials)?;
        let pool = of.data_pool.as_ref().unwrap_or(&of.pool);
        let usage = cluster
            .pool_usage(pool)
            .map_err(|source| ReachError::Ceph {
                doing: format!("ask how full pool {pool} is"),
                source,
            })?;
        let Some(usage) = usage else {
            return Err(not_listed(&settings, &cluster, pool));
        };
        let left_of_quota = usage
            .quota
            .map(|quota| quota.checked_sub(usage.stored).unwrap_or(ByteSize::ZERO));
        Ok(left_of_quota.map_or(usage.max_avail, |left| left.min(usage.max_avail)))
    }
}

/// The error for a pool without figures: only the map says whether it exists.
fn not_listed(settings: &ClusterSettings, cluster: &Cluster, pool: &PoolName) -> CapacityError {
    let pool = pool.clone();
    match cluster.pool_id(&pool) {
        Ok(Some(_)) => CapacityError::NotReported { pool },
        Ok(None) => {
            let cluster = settings.id.clone();
            ReachError::PoolMissing { cluster, pool }.into()
        }
        Err(source) => {
            let doing = format!("look for pool {pool}");
            ReachError::Ceph { doing, source }.into()
        }
    }
}
