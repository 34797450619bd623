//! Whether the parameters go with the file system, and whether a volume that exists is the one
//! that is requested.

use std::fmt::Display;

use ceph::SubvolumeInfo;
use cuttle_model::{ByteSize, FsName};

use super::{Attempt, CreateError, Creation};
use crate::cephfs::error::FsError;
use crate::reach::ReachError;

impl Creation<'_> {
    /// Whether subvolumes can be made as the StorageClass says. Costs nothing when they can.
    pub(super) fn check_parameters(&self) -> Result<(), CreateError> {
        let attach = &self.request.parsed.parameters.attach;
        let configured = self.place.subvolumes.group();
        if let Some(group) = &attach.group
            && group != configured
        {
            return Err(CreateError::OtherGroup {
                group: group.clone(),
                configured: configured.clone(),
            });
        }
        let Some(pool) = &attach.pool else {
            return Ok(());
        };
        let id = self.place.cluster.pool_id(pool);
        let id = id.map_err(|source| {
            FsError::from(ReachError::Ceph {
                doing: format!("look for pool {pool}"),
                source,
            })
        })?;
        if id.is_some_and(|id| self.place.fs.data_pools.contains(&id)) {
            return Ok(());
        }
        // The map may have been asked for before the pool was added.
        let now = self.place.cluster.file_systems_now();
        let now = now.map_err(|source| {
            FsError::asking_for_file_systems(&self.request.credentials, source)
        })?;
        let fs: &FsName = &self.place.fs.name;
        let pools = now.iter().find(|known| known.name == *fs);
        if pools.is_some_and(|fs| id.is_some_and(|id| fs.data_pools.contains(&id))) {
            return Ok(());
        }
        Err(CreateError::ForeignPool {
            pool: pool.clone(),
            fs: fs.clone(),
            known: self.place.data_pools()?,
        })
    }

    /// Compares what the request demands with what the subvolume is.
    ///
    /// The quota has to lie in the requested range: a volume that was expanded since still fits.
    pub(super) fn check_fit(&self, info: &SubvolumeInfo) -> Result<(), CreateError> {
        if let Some(range) = self.request.range {
            let least = range.required.unwrap_or(ByteSize::ZERO);
            let Some(quota) = info.quota else {
                let wanted = format!("at least {least}");
                return self.incompatible("quota", &"none", &wanted).map(drop);
            };
            if quota < least {
                let wanted = format!("at least {least}");
                return self.incompatible("quota", &quota, &wanted).map(drop);
            }
            if let Some(most) = range.limit.filter(|most| quota > *most) {
                let wanted = format!("at most {most}");
                return self.incompatible("quota", &quota, &wanted).map(drop);
            }
        }
        let wanted = self.request.parsed.parameters.attach.pool.as_ref();
        if let (Some(wanted), Some(found)) = (wanted, &info.data_pool)
            && wanted != found
        {
            return self.incompatible("data pool", found, wanted).map(drop);
        }
        Ok(())
    }

    pub(super) fn incompatible(
        &self,
        property: &'static str,
        existing: &dyn Display,
        requested: &dyn Display,
    ) -> Result<Attempt, CreateError> {
        Err(CreateError::Incompatible {
            name: self.request.name.clone(),
            property,
            existing: existing.to_string(),
            requested: requested.to_string(),
        })
    }
}
