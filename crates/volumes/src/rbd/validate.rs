//! Whether a volume exists and can be used in certain ways.

use std::borrow::Cow;

use cuttle_journal::{LocateError, Located, locate};
use cuttle_model::{Class, ClusterTable, Code, Credentials, Explain, RadosNamespace, VolumeHandle};

use crate::existing::{ValidateVolume, Validation};
use crate::rbd::capability::{Refusal, refusal};
use crate::rbd::controller::RbdController;
use crate::reach::{NamedBy, ReachError};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ValidateError {
    /// The cluster cannot be worked in.
    #[error(transparent)]
    Reach(#[from] ReachError),
    /// The record could not be looked up, or the pool is gone.
    #[error(transparent)]
    Locate(#[from] LocateError),
    /// There is no such volume, by the cluster's own word.
    #[error("there is no volume {handle}")]
    Absent {
        /// The handle.
        handle: VolumeHandle,
    },
}

impl Explain for ValidateError {
    fn code(&self) -> Code {
        match self {
            Self::Reach(error) => error.code(),
            Self::Locate(error) => error.code(),
            Self::Absent { .. } => Code::new(1441),
        }
    }

    fn class(&self) -> Class {
        match self {
            Self::Reach(error) => error.class(),
            Self::Locate(error) => error.class(),
            Self::Absent { .. } => Class::Absent,
        }
    }

    fn remedy(&self) -> Option<Cow<'static, str>> {
        match self {
            Self::Reach(error) => error.remedy(),
            Self::Locate(error) => error.remedy(),
            Self::Absent { .. } => Some(Cow::Borrowed("check the volume's handle")),
        }
    }
}

impl RbdController {
    /// Whether the volume exists and all capabilities can be offered. Changes nothing.
    ///
    /// # Errors
    /// [`ValidateError`]; that a capability cannot be offered is an answer.
    ///
    /// # Blocking
    /// One or two round trips.
    pub fn validate(
        &self,
        table: &ClusterTable,
        request: &ValidateVolume,
    ) -> Result<Validation<Refusal>, ValidateError> {
        if !self.exists(table, &request.handle, &request.credentials)? {
            return Err(ValidateError::Absent {
                handle: request.handle.clone(),
            });
        }
        let refused = request.capabilities.iter().find_map(refusal);
        Ok(refused.map_or(Validation::Confirmed, Validation::Refused))
    }

    fn exists(
        &self,
        table: &ClusterTable,
        handle: &VolumeHandle,
        credentials: &Credentials,
    ) -> Result<bool, ValidateError> {
        let (settings, cluster) =
            self.connect(table, handle.cluster(), NamedBy::Handle, credentials)?;
        match handle {
            VolumeHandle::Composed(handle) => match locate(&cluster, &settings, handle) {
                Ok(Located {
                    record, image_id, ..
                }) => Ok(record.is_some() && image_id.is_some()),
                Err(LocateError::PoolGone { .. }) => Ok(false),
                Err(error) => Err(match ReachError::located(credentials, &settings, error) {
                    Ok(reach) => reach.into(),
                    Err(error) => error.into(),
                }),
            },
            VolumeHandle::Migrated(handle) => {
                let failed = |source| ReachError::Ceph {
                    doing: format!("look up image {}", handle.image()),
                    source,
                };
                match cluster.io(handle.pool(), &RadosNamespace::default()) {
                    Ok(io) => Ok(io.image_id(handle.image()).map_err(failed)?.is_some()),
                    Err(source) if source.is_absent() => Ok(false),
                    Err(source) => Err(failed(source).into()),
                }
            }
        }
    }
}
