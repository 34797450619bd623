//! How much room there is for volumes.

use std::borrow::Cow;

use cuttle_model::{
    ByteSize, Class, ClusterId, ClusterTable, Code, Credentials, Explain, PoolName,
};

use crate::controller::RbdController;
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
}

impl Explain for CapacityError {
    fn code(&self) -> Code {
        match self {
            Self::Reach(error) => error.code(),
        }
    }

    fn class(&self) -> Class {
        match self {
            Self::Reach(error) => error.class(),
        }
    }

    fn remedy(&self) -> Option<Cow<'static, str>> {
        match self {
            Self::Reach(error) => error.remedy(),
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
        let usage = usage.ok_or_else(|| ReachError::PoolMissing {
            cluster: settings.id.clone(),
            pool: pool.clone(),
        })?;
        let left_of_quota = usage
            .quota
            .map(|quota| quota.checked_sub(usage.stored).unwrap_or(ByteSize::ZERO));
        Ok(left_of_quota.map_or(usage.max_avail, |left| left.min(usage.max_avail)))
    }
}
