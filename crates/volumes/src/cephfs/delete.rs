//! Removing a volume.
//!
//! ```text
//!  handle ▶ record ▶ subvolume to the module's trash ▶ name ▶ record
//! ```
//!
//! The record goes last: as long as it is there, a repeated delete finds everything else by it. The
//! module empties its trash by itself; nobody waits for that.

use std::borrow::Cow;

use cuttle_journal::SubvolumeRecord;
use cuttle_model::{
    Class, ClusterTable, Code, ComposedHandle, Explain, Left, ObjectUuid, SubvolumeName,
};
use tracing::info;

use super::controller::{CephfsController, Reached};
use super::error::FsError;
use super::place::Place;
use crate::existing::{DeleteVolume, Deleted};

/// Why a volume was not removed.
#[derive(Debug, thiserror::Error)]
pub enum DeleteError {
    /// A step in the file system was not carried out.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// The subvolume has snapshots.
    #[error("subvolume {subvolume} has snapshots: {}", .snapshots.join(", "))]
    Snapshots {
        /// The subvolume.
        subvolume: SubvolumeName,
        /// Their names.
        snapshots: Vec<String>,
    },
    /// The volume's encryption key lies in a key store, which deleting would orphan.
    #[error("volume is encrypted with a key in key store \"{store}\", which is not supported yet")]
    Encrypted {
        /// The store's identifier.
        store: String,
    },
    /// The volume shows a snapshot, which counts those who do.
    #[error("volume shows snapshot {snapshot}, which is not supported yet")]
    Shallow {
        /// The snapshot's handle.
        snapshot: String,
    },
    /// Removing was interrupted halfway.
    #[error("subvolume {subvolume} is removed, but the journal still knows it")]
    Half {
        /// The subvolume.
        subvolume: SubvolumeName,
        /// What failed.
        #[source]
        cause: Box<FsError>,
    },
}

impl Explain for DeleteError {
    fn code(&self) -> Code {
        match self {
            Self::Fs(error) => error.code(),
            Self::Half { cause, .. } => cause.code(),
            Self::Snapshots { .. } => Code::new(1490),
            Self::Encrypted { .. } => Code::new(1424),
            Self::Shallow { .. } => Code::new(1478),
        }
    }

    fn class(&self) -> Class {
        match self {
            Self::Fs(error) => error.class(),
            Self::Half { cause, .. } => cause.class(),
            Self::Snapshots { .. } | Self::Encrypted { .. } | Self::Shallow { .. } => Class::Unmet,
        }
    }

    fn left(&self) -> Left {
        match self {
            Self::Fs(error) => error.left(),
            Self::Half { .. } => Left::MaybeRunning,
            Self::Snapshots { .. } | Self::Encrypted { .. } | Self::Shallow { .. } => Left::Nothing,
        }
    }

    fn remedy(&self) -> Option<Cow<'static, str>> {
        match self {
            Self::Fs(error) => error.remedy(),
            Self::Half { cause, .. } => cause.remedy(),
            Self::Snapshots { .. } => Some(Cow::Borrowed(
                "delete the VolumeSnapshots first; snapshots that Kubernetes does not know are \
                 removed with `ceph fs subvolume snapshot rm`",
            )),
            Self::Encrypted { .. } => Some(Cow::Borrowed(
                "delete it with ceph-csi, which removes the key as well; the record stays as it is",
            )),
            Self::Shallow { .. } => Some(Cow::Borrowed(
                "delete it with ceph-csi; the record stays as it is",
            )),
        }
    }
}

impl CephfsController {
    /// Removes the volume: subvolume, journal entries and all.
    ///
    /// A volume whose file system is gone counts as removed. One in a cluster that does not answer,
    /// or is not configured, does not.
    ///
    /// # Errors
    /// [`DeleteError`].
    ///
    /// # Blocking
    /// One command to the manager and some round trips; each bounded by the connection's time-outs.
    ///
    /// # Idempotency
    /// Idempotent, also after a crash at any point.
    pub fn delete(
        &self,
        table: &ClusterTable,
        request: &DeleteVolume,
    ) -> Result<Deleted, DeleteError> {
        match self.by_handle(table, &request.handle, &request.credentials)? {
            Reached::Place(place, handle) => {
                let deleted = delete(&place, &handle)?;
                if deleted == Deleted::NothingThere {
                    let believed = self
                        .way
                        .believe_absence(&place.settings, &place.cluster, None);
                    believed.map_err(FsError::from)?;
                }
                Ok(deleted)
            }
            Reached::Gone => {
                info!(volume.handle = %request.handle,
                    "the volume's file system is gone, and the volume with it");
                Ok(Deleted::NothingThere)
            }
        }
    }
}

fn delete(place: &Place, handle: &ComposedHandle) -> Result<Deleted, DeleteError> {
    let uuid = &handle.uuid;
    let record = place.journal.load(uuid);
    match record.map_err(|error| place.journal(error))? {
        Some(record) => {
            delete_recorded(place, uuid, &record)?;
            Ok(Deleted::Removed)
        }
        None => delete_unrecorded(place, uuid),
    }
}

/// Without a record no subvolume is the driver's: a creation writes the record first.
fn delete_unrecorded(place: &Place, uuid: &ObjectUuid) -> Result<Deleted, DeleteError> {
    let name = place.journal.search(uuid);
    let Some(name) = name.map_err(|error| place.journal(error))? else {
        return Ok(Deleted::NothingThere);
    };
    let freed = place.journal.forget_name(&name, uuid);
    freed.map_err(|error| place.journal(error))?;
    Ok(Deleted::Removed)
}

fn delete_recorded(
    place: &Place,
    uuid: &ObjectUuid,
    record: &SubvolumeRecord,
) -> Result<(), DeleteError> {
    // The store that is called `default` keeps nothing: its key is in the secret.
    if let Some(store) = record.kms_id.as_ref().filter(|store| *store != "default") {
        let store = store.clone();
        return Err(DeleteError::Encrypted { store });
    }
    if let Some(snapshot) = &record.backing_snapshot {
        let snapshot = snapshot.clone();
        return Err(DeleteError::Shallow { snapshot });
    }
    remove_subvolume(place, &record.subvolume)?;
    forget(place, uuid, record).map_err(|cause| DeleteError::Half {
        subvolume: record.subvolume.clone(),
        cause: Box::new(cause),
    })
}

fn forget(place: &Place, uuid: &ObjectUuid, record: &SubvolumeRecord) -> Result<(), FsError> {
    let journal = &place.journal;
    let failed = |error| place.journal(error);
    let name = match &record.co_name {
        Some(name) => Some(name.clone()),
        None => journal.search(uuid).map_err(failed)?,
    };
    if let Some(name) = name {
        journal.forget_name(&name, uuid).map_err(failed)?;
    }
    journal.forget_record(uuid).map_err(failed)
}

fn remove_subvolume(place: &Place, subvolume: &SubvolumeName) -> Result<(), DeleteError> {
    match place.subvolumes.remove(subvolume, false) {
        Ok(()) => Ok(()),
        Err(absent) if absent.is_absent() => match place.group_of(subvolume) {
            Ok(None) => Ok(()),
            Ok(Some(found)) => Err(FsError::Elsewhere {
                subvolume: subvolume.clone(),
                found,
                configured: place.subvolumes.group().clone(),
            }
            .into()),
            // No group at all: so no subvolume either.
            Err(FsError::GroupMissing { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        },
        Err(held) if held.is_not_empty() => {
            let snapshots = place.subvolumes.snapshots(subvolume);
            let snapshots = snapshots.map_err(|error| {
                place.explain(&format!("list the snapshots of {subvolume}"), error)
            })?;
            Err(DeleteError::Snapshots {
                subvolume: subvolume.clone(),
                snapshots,
            })
        }
        Err(error) => Err(place
            .explain(&format!("remove subvolume {subvolume}"), error)
            .into()),
    }
}
