//! Whether a volume exists and can be used in certain ways.

use std::borrow::Cow;

use cuttle_model::{Class, ClusterTable, Code, Explain, VolumeHandle};

use super::capability::{Refusal, refusal};
use super::controller::{CephfsController, Reached};
use super::error::FsError;
use super::whereabouts::Whereabouts;
use crate::existing::{ValidateVolume, Validation};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ValidateError {
    /// A step in the file system was not carried out.
    #[error(transparent)]
    Fs(#[from] FsError),
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
            Self::Fs(error) => error.code(),
            Self::Absent { .. } => Code::new(1441),
        }
    }

    fn class(&self) -> Class {
        match self {
            Self::Fs(error) => error.class(),
            Self::Absent { .. } => Class::Absent,
        }
    }

    fn remedy(&self) -> Option<Cow<'static, str>> {
        match self {
            Self::Fs(error) => error.remedy(),
            Self::Absent { .. } => Some(Cow::Borrowed("check the volume's handle")),
        }
    }
}

impl CephfsController {
    /// Whether the volume exists and all capabilities can be offered. Changes nothing.
    ///
    /// # Errors
    /// [`ValidateError`]; that a capability cannot be offered is an answer.
    ///
    /// # Blocking
    /// One round trip and one command to the manager.
    pub fn validate(
        &self,
        table: &ClusterTable,
        request: &ValidateVolume,
    ) -> Result<Validation<Refusal>, ValidateError> {
        if !self.exists(table, request)? {
            return Err(ValidateError::Absent {
                handle: request.handle.clone(),
            });
        }
        let refused = request.capabilities.iter().find_map(refusal);
        Ok(refused.map_or(Validation::Confirmed, Validation::Refused))
    }

    fn exists(&self, table: &ClusterTable, request: &ValidateVolume) -> Result<bool, FsError> {
        let reached = self.by_handle(table, &request.handle, &request.credentials)?;
        let Reached::Place(place, handle) = reached else {
            return Ok(false);
        };
        let record = place.journal.load(&handle.uuid);
        let Some(record) = record.map_err(|error| place.journal(error))? else {
            return Ok(false);
        };
        // One that shows a snapshot has no subvolume.
        if record.maker.is_some() || record.backing_snapshot.is_some() {
            return Ok(record.maker.is_none());
        }
        match place.look_for(&record.subvolume)? {
            Whereabouts::Here(info) => Ok(info.is_complete()),
            Whereabouts::Nowhere => Ok(false),
            Whereabouts::Elsewhere(found) => Err(FsError::Elsewhere {
                subvolume: record.subvolume,
                found,
                configured: place.subvolumes.group().clone(),
            }),
        }
    }
}
