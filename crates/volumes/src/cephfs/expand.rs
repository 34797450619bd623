//! Growing a volume, also while it is in use.

use std::borrow::Cow;

use ceph::{StartedInfo, SubvolumeInfo};
use cuttle_model::{
    ByteSize, Class, ClusterTable, Code, Explain, Left, SizeError, SubvolumeName, SubvolumePrefix,
    VolumeHandle, round_for_subvolume,
};

use super::controller::{CephfsController, Reached};
use super::error::FsError;
use super::place::Place;
use super::whereabouts::Whereabouts;
use crate::existing::{ExpandVolume, Expanded};

/// Why a volume was not expanded.
#[derive(Debug, thiserror::Error)]
pub enum ExpandError {
    /// A step in the file system was not carried out.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// No size fits the request.
    #[error(transparent)]
    Size(#[from] SizeError),
    /// There is no such volume, by the cluster's own word.
    #[error("there is no volume {handle}")]
    Absent {
        /// The handle.
        handle: VolumeHandle,
    },
    /// The volume shows a snapshot, whose size is what it is.
    #[error("volume {handle} shows a snapshot, which does not grow")]
    Shallow {
        /// The handle.
        handle: VolumeHandle,
    },
    /// The volume is larger than the limit, and volumes do not shrink.
    #[error("the volume has {size} already, more than capacity_range.limit_bytes ({limit})")]
    PastLimit {
        /// Its size.
        size: ByteSize,
        /// The limit.
        limit: ByteSize,
    },
    /// The cluster reports another quota than was set.
    #[error("subvolume {subvolume} has quota {found} although {wanted} was set")]
    QuotaNotKept {
        /// The subvolume.
        subvolume: SubvolumeName,
        /// What the cluster reports.
        found: String,
        /// What was set.
        wanted: ByteSize,
    },
}

impl Explain for ExpandError {
    fn code(&self) -> Code {
        match self {
            Self::Fs(error) => error.code(),
            Self::Size(error) => error.code(),
            Self::Absent { .. } => Code::new(1431),
            Self::PastLimit { .. } => Code::new(1432),
            Self::QuotaNotKept { .. } => Code::new(1485),
            Self::Shallow { .. } => Code::new(1475),
        }
    }

    fn class(&self) -> Class {
        match self {
            Self::Fs(error) => error.class(),
            Self::Size(error) => error.class(),
            Self::Absent { .. } => Class::Absent,
            Self::PastLimit { .. } => Class::OutOfRange,
            Self::QuotaNotKept { .. } | Self::Shallow { .. } => Class::Unmet,
        }
    }

    fn left(&self) -> Left {
        match self {
            Self::Fs(error) => error.left(),
            Self::QuotaNotKept { .. } => Left::MaybeRunning,
            Self::Size(_) | Self::Absent { .. } | Self::Shallow { .. } | Self::PastLimit { .. } => {
                Left::Nothing
            }
        }
    }

    fn remedy(&self) -> Option<Cow<'static, str>> {
        match self {
            Self::Fs(error) => error.remedy(),
            Self::Size(error) => error.remedy(),
            Self::Absent { .. } => Some(Cow::Borrowed(
                "the volume was deleted behind the orchestrator's back; remove its PersistentVolume",
            )),
            Self::Shallow { .. } => Some(Cow::Borrowed(
                "restore the snapshot to a volume of its own with ReadWriteMany and expand that",
            )),
            Self::PastLimit { size, .. } => {
                Some(Cow::Owned(format!("raise the limit to at least {size}")))
            }
            Self::QuotaNotKept { .. } => Some(Cow::Borrowed(
                "see the subvolume's bytes_quota with `ceph fs subvolume info`; somebody else may \
                 be changing it",
            )),
        }
    }
}

impl CephfsController {
    /// Grows the volume to the requested size, if it is smaller. Never shrinks it. Clients that
    /// have it mounted see the new quota; nothing is left for nodes to do.
    ///
    /// # Errors
    /// [`ExpandError`].
    ///
    /// # Blocking
    /// Three commands to the manager; each bounded by the connection's time-outs.
    ///
    /// # Idempotency
    /// Idempotent.
    pub fn expand(
        &self,
        table: &ClusterTable,
        request: &ExpandVolume,
    ) -> Result<Expanded, ExpandError> {
        let absent = || ExpandError::Absent {
            handle: request.handle.clone(),
        };
        let reached = self.by_handle(table, &request.handle, &request.credentials)?;
        let Reached::Place(place, handle) = reached else {
            return Err(absent());
        };
        // Most subvolumes are named by the default prefix; the record tells whether this one is.
        let likely = SubvolumePrefix::default().subvolume_name(&handle.uuid);
        let asked = place.subvolumes.try_start_info(&likely);
        let record = place.journal.load(&handle.uuid);
        let record = record.map_err(|error| place.journal(error))?;
        // A volume that is still being made has not been handed out.
        let Some(record) = record.filter(|record| record.maker.is_none()) else {
            return Err(absent());
        };
        if record.backing_snapshot.is_some() {
            let handle = request.handle.clone();
            return Err(ExpandError::Shallow { handle });
        }
        // A wrong guess gives its place back before another is waited for.
        let whereabouts = match asked.filter(|_| record.subvolume == likely) {
            Some(asked) => place.located(&likely, asked.wait())?,
            None => place.look_for(&record.subvolume)?,
        };
        let quota = match whereabouts {
            Whereabouts::Here(info) if info.is_complete() => info.quota,
            Whereabouts::Here(info) => {
                return Err(FsError::NotReady {
                    subvolume: record.subvolume,
                    state: info.state,
                }
                .into());
            }
            Whereabouts::Elsewhere(found) => {
                return Err(FsError::Elsewhere {
                    subvolume: record.subvolume,
                    found,
                    configured: place.subvolumes.group().clone(),
                }
                .into());
            }
            Whereabouts::Nowhere => return Err(absent()),
        };
        let size = grow(request, &place, &record.subvolume, quota)?;
        Ok(Expanded {
            size,
            node_expansion_required: false,
        })
    }
}

fn grow(
    request: &ExpandVolume,
    place: &Place,
    subvolume: &SubvolumeName,
    quota: Option<ByteSize>,
) -> Result<ByteSize, ExpandError> {
    let range = request.range;
    if let (Some(size), Some(limit)) = (quota, range.limit)
        && size > limit
    {
        return Err(ExpandError::PastLimit { size, limit });
    }
    let wanted = range.required.unwrap_or(ByteSize::ZERO);
    if let Some(quota) = quota.filter(|quota| *quota >= wanted) {
        return Ok(quota);
    }
    let size = round_for_subvolume(range.required, range.limit)?;
    let doing = format!("set the quota of {subvolume} to {size}");
    let (resized, early) = match place.subvolumes.start_resize(subvolume, size) {
        Ok(started) => {
            let asked = place.subvolumes.try_start_info(subvolume);
            (started.wait(), asked.map(StartedInfo::wait))
        }
        Err(error) => (Err(error), None),
    };
    resized.map_err(|error| place.explain(&doing, error))?;
    let grown = |info: &SubvolumeInfo| info.quota.is_some_and(|quota| quota >= size);
    let info = match early {
        // Answered before the quota was set: the two were carried out the other way round.
        Some(Ok(info)) if !grown(&info) => place.subvolumes.info(subvolume),
        Some(answer) => answer,
        None => place.subvolumes.info(subvolume),
    };
    let info = info.map_err(|error| place.explain("read the quota back", error))?;
    match info.quota {
        // Another may have made it larger still.
        Some(found) if found >= size => Ok(found),
        found => Err(ExpandError::QuotaNotKept {
            subvolume: subvolume.clone(),
            found: found.map_or_else(|| "none".to_owned(), |found| found.to_string()),
            wanted: size,
        }),
    }
}
