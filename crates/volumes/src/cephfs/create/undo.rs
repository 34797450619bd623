//! Undoing a creation that certainly failed, and giving up one that was taken over.

use ceph::Subvolumes;
use cuttle_journal::JournalError;
use cuttle_model::{ObjectUuid, SubvolumeName, chain};
use tracing::{info, warn};

use super::{Attempt, CreateError, Creation};
use crate::cephfs::error::FsError;

impl Creation<'_> {
    /// Ends with `error`, after removing what was begun: subvolume, record, name.
    ///
    /// Others who have taken over may be removing the same; nobody makes anything of it. Leaves
    /// all alone while Ceph does not answer: the step that failed may still take effect.
    pub(super) fn undo(
        &self,
        error: CreateError,
        uuid: &ObjectUuid,
        subvolume: &SubvolumeName,
    ) -> Result<Attempt, CreateError> {
        if error.is_taken_over() {
            return self.abandon(uuid, subvolume);
        }
        if error.as_ceph().is_some_and(ceph::Error::is_timeout) {
            return Err(error.left_to_repeat(&self.request.name));
        }
        let name = self.request.name.clone();
        match self.remove_all(uuid, subvolume) {
            Ok(true) => {
                info!(volume.name = %name, %subvolume, "creation undone");
                let cause = Box::new(error);
                Err(CreateError::Undone { name, cause })
            }
            // Another has taken over, and removes what is left.
            Ok(false) => Ok(Attempt::Again),
            Err(undoing) => {
                warn!(volume.name = %name, error = %chain(&undoing), "undoing failed");
                Err(CreateError::NotUndone {
                    name,
                    cause: Box::new(error),
                    undoing: Box::new(undoing),
                })
            }
        }
    }

    /// Gives up a UUID that another process has taken away. What this creation has made of it may
    /// have come after the other removed it.
    pub(super) fn abandon(
        &self,
        uuid: &ObjectUuid,
        subvolume: &SubvolumeName,
    ) -> Result<Attempt, CreateError> {
        let failed = |error: CreateError| error.left_to_repeat(&self.request.name);
        let record = self.place.journal.load(uuid);
        let record = record.map_err(|error| failed(self.journal_failed(error)))?;
        let maker = match record {
            // A volume that somebody has finished.
            Some(record) if record.maker.is_none() => return Ok(Attempt::Again),
            Some(record) => record.maker,
            None => None,
        };
        let removed = self.remove_subvolume(subvolume);
        removed.map_err(|error| failed(error.into()))?;
        // The name was taken away before the record was there: nothing leads to it.
        if maker.as_deref() == Some(&self.maker) {
            let removed = self.place.journal.forget_unfinished(uuid, &self.maker);
            removed.map_err(|error| failed(self.journal_failed(error)))?;
        }
        Ok(Attempt::Again)
    }

    /// Removes subvolume, record and name: `false` when another has taken the record over.
    fn remove_all(
        &self,
        uuid: &ObjectUuid,
        subvolume: &SubvolumeName,
    ) -> Result<bool, CreateError> {
        self.remove_subvolume(subvolume)?;
        let removed = self.place.journal.forget_unfinished(uuid, &self.maker);
        if !removed.map_err(|error| self.journal_failed(error))? {
            return Ok(false);
        }
        let freed = self.place.journal.forget_name(&self.request.name, uuid);
        freed.map_err(|error| self.journal_failed(error))?;
        Ok(true)
    }

    /// Removes a subvolume that never was a volume, in whatever group it was begun. Idempotent.
    pub(super) fn remove_subvolume(&self, subvolume: &SubvolumeName) -> Result<(), FsError> {
        let doing = || format!("remove subvolume {subvolume}");
        let remove = |subvolumes: &Subvolumes| match subvolumes.remove(subvolume, false) {
            Ok(()) => Ok(true),
            Err(absent) if absent.is_absent() => Ok(false),
            Err(error) => Err(self.place.explain(&doing(), error)),
        };
        if remove(&self.place.subvolumes)? {
            return Ok(());
        }
        match self.place.group_of(subvolume) {
            Ok(Some(group)) => remove(&self.place.in_group(&group)).map(drop),
            Ok(None) | Err(FsError::GroupMissing { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

impl CreateError {
    /// Whether it says that another process has taken the volume over.
    fn is_taken_over(&self) -> bool {
        matches!(
            self,
            Self::Fs(FsError::Journal(JournalError::RecordVanished { .. }))
        )
    }
}
