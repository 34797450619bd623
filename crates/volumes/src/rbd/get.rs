//! One volume, as the orchestrator asks for it.

use std::borrow::Cow;

use cuttle_journal::{LocateError, locate};
use cuttle_model::{Class, ClusterTable, Code, ComposedHandle, Explain};

use crate::existing::{GetVolume, Volume};
use crate::rbd::controller::RbdController;
use crate::rbd::header::read_header;
use crate::reach::{NamedBy, ReachError};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum GetError {
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
        handle: ComposedHandle,
    },
}

impl Explain for GetError {
    fn code(&self) -> Code {
        match self {
            Self::Reach(error) => error.code(),
            Self::Locate(error) => error.code(),
            Self::Absent { .. } => Code::new(1451),
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
    /// The volume of a handle. Changes nothing.
    ///
    /// A record whose image is gone is a volume in trouble, not an absent one.
    ///
    /// # Errors
    /// [`GetError`].
    ///
    /// # Blocking
    /// Two or three round trips.
    pub fn get(&self, table: &ClusterTable, request: &GetVolume) -> Result<Volume, GetError> {
        let handle = &request.handle;
        let credentials = &request.credentials;
        let (settings, cluster) =
            self.connect(table, &handle.cluster, NamedBy::Handle, credentials)?;
        let found = match locate(&cluster, &settings, handle) {
            Ok(found) => found,
            Err(error) => {
                return Err(match ReachError::located(credentials, &settings, error) {
                    Ok(reach) => reach.into(),
                    Err(error) => error.into(),
                });
            }
        };
        let Some(record) = found.record else {
            let handle = handle.clone();
            return Err(GetError::Absent { handle });
        };
        let image = &found.image;
        let header = match &found.image_id {
            Some(id) => read_header(&found.io, id, &[]).map_err(|error| {
                ReachError::refused(credentials, &found.io, None, "look at images", error)
            })?,
            None => None,
        };
        let trouble = match (&found.image_id, &header) {
            (None, _) => Some(format!("image {image} does not exist")),
            (Some(id), None) => Some(format!("image {image} (id {id}) has no header")),
            (Some(_), Some(_)) => None,
        };
        Ok(Volume {
            handle: handle.clone(),
            name: record.co_name,
            size: header.map(|header| header.size),
            trouble,
        })
    }
}
