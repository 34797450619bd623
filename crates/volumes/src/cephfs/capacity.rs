//! How much room there is for volumes.

use std::borrow::Cow;

use cuttle_model::{
    ByteSize, Class, ClusterId, ClusterTable, Code, Credentials, Explain, FsName, PoolName,
};

use super::controller::CephfsController;
use super::error::FsError;
use super::place::Place;
use crate::reach::ReachError;

/// The place whose room is asked for.
#[derive(Debug, Clone)]
pub struct CapacityOf {
    /// The cluster.
    pub cluster: ClusterId,
    /// The file system.
    pub fs: FsName,
    /// The pool of the data; the file system's first when not given.
    pub pool: Option<PoolName>,
    /// The Ceph user.
    pub credentials: Credentials,
}

/// Why the room is not known.
#[derive(Debug, thiserror::Error)]
pub enum CapacityError {
    /// A step in the file system was not carried out.
    #[error(transparent)]
    Fs(#[from] FsError),
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
            Self::Fs(error) => error.code(),
            Self::NotReported { .. } => Code::new(1471),
        }
    }

    fn class(&self) -> Class {
        match self {
            Self::Fs(error) => error.class(),
            Self::NotReported { .. } => Class::Down,
        }
    }

    fn remedy(&self) -> Option<Cow<'static, str>> {
        match self {
            Self::Fs(error) => error.remedy(),
            Self::NotReported { .. } => Some(Cow::Borrowed(
                "a new pool is reported within seconds; if it stays like this, see whether a \
                 manager is active with `ceph mgr stat`",
            )),
        }
    }
}

impl CephfsController {
    /// What can still be written to the data pool, after replication: `max_avail` of `ceph df`, or
    /// what the quota of the pool or of the subvolume group leaves if that is less.
    ///
    /// # Errors
    /// [`CapacityError`].
    ///
    /// # Blocking
    /// One command each to the monitors and the manager.
    pub fn capacity(
        &self,
        table: &ClusterTable,
        of: &CapacityOf,
    ) -> Result<ByteSize, CapacityError> {
        let place = self.by_name(table, &of.cluster, &of.fs, &of.credentials)?;
        let pool = match &of.pool {
            Some(pool) => pool.clone(),
            None => first_pool(&place)?,
        };
        let doing = format!("ask how full pool {pool} is");
        let usage = place.cluster.pool_usage(&pool);
        let usage = usage.map_err(|source| FsError::from(ReachError::Ceph { doing, source }))?;
        let Some(usage) = usage else {
            return Err(not_listed(&place, pool));
        };
        let left = |quota: Option<ByteSize>, used: ByteSize| {
            quota.map(|quota| quota.checked_sub(used).unwrap_or(ByteSize::ZERO))
        };
        let (quota, used) = group_quota(&place)?;
        let limits = [left(usage.quota, usage.stored), left(quota, used)];
        let least = limits.into_iter().flatten().min();
        Ok(least.map_or(usage.max_avail, |left| left.min(usage.max_avail)))
    }
}

/// The quota of the subvolume group and what it holds, on clusters that have such quotas.
fn group_quota(place: &Place) -> Result<(Option<ByteSize>, ByteSize), FsError> {
    const DOING: &str = "ask for the quota of the subvolume group";
    let none = (None, ByteSize::ZERO);
    let offered = place.cluster.mgr_offers(ceph::Subvolumes::GROUP_INFO);
    if !offered.map_err(|error| place.explain(DOING, error))? {
        return Ok(none);
    }
    match place.subvolumes.group_usage() {
        Ok(usage) => Ok(usage),
        // It is made with the first volume, or told about then.
        Err(absent) if absent.is_absent() => Ok(none),
        Err(error) => Err(place.explain(DOING, error)),
    }
}

fn first_pool(place: &Place) -> Result<PoolName, FsError> {
    let first = place.data_pools()?.into_iter().next();
    first.ok_or_else(|| {
        FsError::from(ReachError::FsMissing {
            cluster: place.settings.id.clone(),
            fs: place.fs.name.clone(),
        })
    })
}

/// The error for a pool without figures: only the map says whether it exists.
fn not_listed(place: &Place, pool: PoolName) -> CapacityError {
    match place.cluster.pool_id(&pool) {
        Ok(Some(_)) => CapacityError::NotReported { pool },
        Ok(None) => {
            let cluster = place.settings.id.clone();
            FsError::from(ReachError::PoolMissing { cluster, pool }).into()
        }
        Err(source) => {
            let doing = format!("look for pool {pool}");
            FsError::from(ReachError::Ceph { doing, source }).into()
        }
    }
}
