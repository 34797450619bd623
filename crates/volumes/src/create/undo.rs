//! Undoing a creation that certainly failed.

use cuttle_journal::JournalError;
use cuttle_model::{ImageId, ImageName, ObjectUuid, chain};
use tracing::{debug, info};

use super::{Attempt, CreateError, Creation};
use crate::remains;

impl Creation<'_> {
    /// Ends with `error`, after removing what was begun: first the image, then the record, then
    /// the name, so that a crash in between is taken up by whoever asks for the name next.
    ///
    /// The record is marked first: no other process commits it from then on. Looks again when one
    /// has done so before, or when a delete has taken the record away. Leaves a volume alone whose
    /// failed step may still take effect.
    pub(super) fn undo(
        &self,
        error: CreateError,
        uuid: &ObjectUuid,
        image: &ImageName,
    ) -> Result<Attempt, CreateError> {
        if let CreateError::Journal(JournalError::RecordVanished { .. }) = error {
            return self.abandon(uuid, image);
        }
        if error.may_still_happen() {
            return Err(error);
        }
        match self.journal.begin_undo(uuid) {
            Ok(false) => return Ok(Attempt::Again),
            Ok(true) => {}
            // A full pool takes no mark, but removals.
            Err(failed) => debug!(error = %chain(&failed), "undoing without a mark"),
        }
        let name = self.request.name.clone();
        match self.remove_all(uuid, image) {
            Ok(()) => {
                info!(volume.name = %name, image = %image, "creation undone");
                let cause = Box::new(error);
                Err(CreateError::Undone { name, cause })
            }
            Err(undoing) => Err(CreateError::NotUndone {
                name,
                cause: Box::new(error),
                undoing: Box::new(undoing),
            }),
        }
    }

    /// Gives up a record that another process has taken away, with the image, unless the name
    /// still leads to it: then it is taken up again.
    fn abandon(&self, uuid: &ObjectUuid, image: &ImageName) -> Result<Attempt, CreateError> {
        let entry = self.journal.find(&self.request.name);
        let entry = entry.map_err(|error| self.journal_failed(error))?;
        if entry.is_none_or(|entry| entry.uuid != *uuid) {
            self.remove_image(image)?;
        }
        Ok(Attempt::Again)
    }

    /// Removes image, record and name of a creation that is being undone. Idempotent.
    pub(super) fn remove_all(
        &self,
        uuid: &ObjectUuid,
        image: &ImageName,
    ) -> Result<(), CreateError> {
        self.remove_image(image)?;
        let removed = self.journal.forget_record(uuid);
        removed.map_err(|error| self.journal_failed(error))?;
        let freed = self.journal.forget_name(&self.request.name, uuid);
        freed.map_err(|error| self.journal_failed(error))
    }

    /// Removes an image that never was a volume, wherever a crash has left it.
    fn remove_image(&self, image: &ImageName) -> Result<(), CreateError> {
        let failed = |error| self.image_failed(image, error);
        let present = self.io.image_id(image).map_err(failed)?;
        let trashed = remains::move_to_trash(&self.io, image, present.as_ref(), None);
        self.empty_trash(image, trashed.map_err(failed)?)
    }

    /// Removes what an interrupted undoing has left in the trash.
    pub(super) fn remove_trashed(&self, image: &ImageName) -> Result<(), CreateError> {
        let trashed = self.io.trash_find_all_by_name(image);
        let trashed = trashed.map_err(|error| self.image_failed(image, error))?;
        self.empty_trash(image, trashed.into_iter().map(|entry| entry.id).collect())
    }

    fn empty_trash(&self, image: &ImageName, ids: Vec<ImageId>) -> Result<(), CreateError> {
        for id in ids {
            let removed = remains::remove_from_trash(&self.io, &id);
            removed.map_err(|error| self.image_failed(image, error))?;
        }
        Ok(())
    }
}
