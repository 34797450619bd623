//! One volume, as the orchestrator asks for it.

use std::borrow::Cow;

use cuttle_model::{Class, ClusterTable, Code, ComposedHandle, Explain, VolumeHandle};

use super::controller::{CephfsController, Reached};
use super::error::FsError;
use super::whereabouts::Whereabouts;
use crate::existing::{GetVolume, Volume};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum GetError {
    /// A step in the file system was not carried out.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// There is no such volume, by the cluster's own word.
    #[error("there is no volume {handle}")]
    Absent {
        /// The handle.
        handle: ComposedHandle,
    },
}

impl Explain for GetError {
    fn code(&self) -> Code {
        match self {
            Self::Fs(error) => error.code(),
            Self::Absent { .. } => Code::new(1451),
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
    /// What there is to say about a volume. Changes nothing.
    ///
    /// # Errors
    /// [`GetError`]; that the subvolume is gone is an answer.
    ///
    /// # Blocking
    /// One round trip and one command to the manager.
    pub fn get(&self, table: &ClusterTable, request: &GetVolume) -> Result<Volume, GetError> {
        let absent = || GetError::Absent {
            handle: request.handle.clone(),
        };
        let wanted = VolumeHandle::Composed(request.handle.clone());
        let reached = self.by_handle(table, &wanted, &request.credentials)?;
        let Reached::Place(place, handle) = reached else {
            return Err(absent());
        };
        let record = place.journal.load(&handle.uuid);
        let record = record.map_err(|error| place.journal(error))?;
        let record = record.ok_or_else(absent)?;
        let (size, trouble) = if record.backing_snapshot.is_some() {
            (None, None)
        } else {
            match place.look_for(&record.subvolume)? {
                Whereabouts::Here(info) if info.is_complete() => (info.quota, None),
                Whereabouts::Here(info) => {
                    let state = format!("its subvolume is in state {}", info.state);
                    (info.quota, Some(state))
                }
                Whereabouts::Elsewhere(group) => {
                    (None, Some(format!("its subvolume is in group {group}")))
                }
                Whereabouts::Nowhere => (None, Some("its subvolume does not exist".to_owned())),
            }
        };
        Ok(Volume {
            handle,
            name: record.co_name,
            size,
            trouble,
        })
    }
}
