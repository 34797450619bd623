//! One snapshot, as the orchestrator asks for it.

use std::borrow::Cow;
use std::time::SystemTime;

use cuttle_journal::{LocateError, locate_snapshot};
use cuttle_model::{
    Class, ClusterId, ClusterTable, Code, ComposedHandle, Explain, ImageName, ObjectUuid, PoolId,
};

use crate::rbd::controller::RbdController;
use crate::rbd::header::{Header, read_header};
use crate::reach::{NamedBy, ReachError};
use crate::snapshots::{GetSnapshot, KnownSnapshot};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum GetSnapshotError {
    /// The cluster cannot be worked in.
    #[error(transparent)]
    Reach(#[from] ReachError),
    /// The record could not be looked up.
    #[error(transparent)]
    Locate(#[from] LocateError),
    /// There is no such snapshot, by the cluster's own word.
    #[error("there is no snapshot {handle}")]
    Absent {
        /// The handle.
        handle: ComposedHandle,
    },
    /// It is still being taken.
    #[error("snapshot {handle} is still being taken")]
    Unfinished {
        /// The handle.
        handle: ComposedHandle,
    },
    /// Its record is there, its image is not.
    #[error("image {image} of snapshot {handle} does not exist, or has no header")]
    Damaged {
        /// The handle.
        handle: ComposedHandle,
        /// The image.
        image: ImageName,
    },
}

impl Explain for GetSnapshotError {
    fn code(&self) -> Code {
        match self {
            Self::Reach(error) => error.code(),
            Self::Locate(error) => error.code(),
            Self::Absent { .. } => Code::new(1442),
            Self::Unfinished { .. } => Code::new(1443),
            Self::Damaged { .. } => Code::new(1445),
        }
    }

    fn class(&self) -> Class {
        match self {
            Self::Reach(error) => error.class(),
            Self::Locate(error) => error.class(),
            Self::Absent { .. } => Class::Absent,
            Self::Unfinished { .. } => Class::Busy,
            Self::Damaged { .. } => Class::Unmet,
        }
    }

    fn remedy(&self) -> Option<Cow<'static, str>> {
        match self {
            Self::Reach(error) => error.remedy(),
            Self::Locate(error) => error.remedy(),
            Self::Absent { .. } => Some(Cow::Borrowed("check the snapshot's handle")),
            Self::Unfinished { .. } => Some(Cow::Borrowed("ask again when it is taken")),
            Self::Damaged { image, .. } => {
                Some(Cow::Owned(format!("look at it with `rbd info {image}`")))
            }
        }
    }
}

impl RbdController {
    /// The snapshot of a handle. Changes nothing.
    ///
    /// # Errors
    /// [`GetSnapshotError`]; one whose pool is gone is absent.
    ///
    /// # Blocking
    /// Two or three round trips.
    pub fn get_snapshot(
        &self,
        table: &ClusterTable,
        request: &GetSnapshot,
    ) -> Result<KnownSnapshot, GetSnapshotError> {
        let GetSnapshot {
            handle,
            credentials,
        } = request;
        let absent = || GetSnapshotError::Absent {
            handle: handle.clone(),
        };
        let (settings, cluster) =
            self.connect(table, &handle.cluster, NamedBy::Handle, credentials)?;
        let found = match locate_snapshot(&cluster, &settings, handle) {
            Ok(found) => found,
            Err(LocateError::PoolGone { .. }) => return Err(absent()),
            Err(error) => {
                return Err(match ReachError::located(credentials, &settings, error) {
                    Ok(reach) => reach.into(),
                    Err(error) => error.into(),
                });
            }
        };
        let Some(record) = found.record else {
            return Err(absent());
        };
        if record.image_id.is_none() {
            let handle = handle.clone();
            return Err(GetSnapshotError::Unfinished { handle });
        }
        let header = match &found.image_id {
            Some(id) => read_header(&found.io, id, &[]).map_err(|error| {
                ReachError::refused(credentials, &found.io, None, "look at images", error)
            })?,
            None => None,
        };
        let Some(header) = header else {
            return Err(GetSnapshotError::Damaged {
                handle: handle.clone(),
                image: found.image,
            });
        };
        let pool = found.io.pool_id();
        let source = record.source.as_ref();
        Ok(KnownSnapshot {
            handle: handle.clone(),
            source: source.and_then(|image| volume_of(&handle.cluster, pool, image)),
            size: header.size,
            taken: taken(&header),
        })
    }
}

/// When the image of a snapshot was made.
pub(super) fn taken(header: &Header) -> SystemTime {
    header.created.unwrap_or(SystemTime::UNIX_EPOCH)
}

/// The handle of the volume with that image: the name of an image ends with the volume's UUID.
pub(super) fn volume_of(
    cluster: &ClusterId,
    pool: PoolId,
    image: &ImageName,
) -> Option<ComposedHandle> {
    let start = image.as_str().len().checked_sub(ObjectUuid::LEN)?;
    let uuid = ObjectUuid::parse(image.as_str().get(start..)?).ok()?;
    Some(ComposedHandle {
        cluster: cluster.clone(),
        location: pool.get(),
        uuid,
    })
}
