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
    /// Only the maker undoes; when another has taken over, the volume is its. Leaves a volume alone
    /// whose failed step may still take effect.
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
        if !self.is_ours_to_undo(uuid, image) {
            return Ok(Attempt::Again);
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

    /// Makes sure that nobody else makes this volume while it is undone: with a new maker's text
    /// in the record, those who watch it wait anew. A pool that takes no writes, as a full one,
    /// takes none from others either.
    fn is_ours_to_undo(&self, uuid: &ObjectUuid, image: &ImageName) -> bool {
        let undoer = ObjectUuid::random().to_string();
        match self.journal.take_over(uuid, Some(&self.maker), &undoer) {
            Ok(true) => true,
            // Not our record, or none: it was not written, and must not be now by another.
            Ok(false) => {
                let written = self.journal.write_record(uuid, &self.record(image));
                written.unwrap_or(true)
            }
            Err(failed) => {
                debug!(error = %chain(&failed), "undoing without telling others");
                true
            }
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
    pub(super) fn remove_image(&self, image: &ImageName) -> Result<(), CreateError> {
        let trashed = remains::clear_name(&self.io, image, None);
        self.empty_trash(
            image,
            trashed.map_err(|error| self.image_failed(image, error))?,
        )
    }

    /// Removes what is under an image's name, but nothing from the trash.
    pub(super) fn clear_name(&self, image: &ImageName) -> Result<(), CreateError> {
        let cleared = remains::clear_present(&self.io, image);
        cleared.map_err(|error| self.image_failed(image, error))
    }

    fn empty_trash(&self, image: &ImageName, ids: Vec<ImageId>) -> Result<(), CreateError> {
        for id in ids {
            let removed = remains::remove_from_trash(&self.io, &id);
            removed.map_err(|error| self.image_failed(image, error))?;
        }
        Ok(())
    }
}
