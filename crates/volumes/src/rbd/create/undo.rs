//! Undoing a creation that certainly failed.

use cuttle_journal::JournalError;
use cuttle_model::{ImageId, ImageName, ObjectUuid, chain};
use tracing::{info, warn};

use super::{Attempt, CreateError, Creation};
use crate::rbd::remains;
use crate::rbd::unfinished::{Role, Trouble, Unfinished};

impl Creation<'_> {
    /// Ends with `error`, after removing what was begun: first the image, then the record, then
    /// the name, so that a crash in between is taken up by whoever asks for the name next.
    ///
    /// Only the maker undoes; when another has taken over, the volume is its. Leaves a volume alone
    /// while Ceph does not answer: the step that failed may still take effect.
    pub(super) fn undo(
        &self,
        error: CreateError,
        uuid: &ObjectUuid,
        image: &ImageName,
    ) -> Result<Attempt, CreateError> {
        if let CreateError::Journal(JournalError::RecordVanished { .. }) = error {
            return self.abandon(uuid, image);
        }
        if error.as_ceph().is_some_and(ceph::Error::is_timeout) {
            return Err(error.left_to_repeat(&self.request.name));
        }
        let unfinished = self.unfinished(uuid, image);
        let role = match unfinished.role_of_undoer(&self.record(image)) {
            Ok(Some(role)) => role,
            Ok(None) => return Ok(Attempt::Again),
            Err(failed) => {
                warn!(volume.name = %self.request.name, error = %chain(&failed),
                    "not undoing: whether another makes this volume is not known");
                return Err(error.left_to_repeat(&self.request.name));
            }
        };
        let name = self.request.name.clone();
        let removed = unfinished.remove_all(&role, || self.remove_temporary(image));
        match removed.map_err(|trouble| self.trouble(image, trouble)) {
            Ok(false) => Ok(Attempt::Again),
            Ok(true) => {
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
            let record = self.journal.load(uuid);
            let record = record.map_err(|error| self.journal_failed(error))?;
            // Without name and record nobody else can come to this image.
            if record.is_none() {
                self.remove_image(uuid, image, &Role::Alone)?;
            }
        }
        Ok(Attempt::Again)
    }

    /// Removes an image that never was a volume, wherever a crash has left it: `false` when the
    /// role is lost.
    pub(super) fn remove_image(
        &self,
        uuid: &ObjectUuid,
        image: &ImageName,
        role: &Role,
    ) -> Result<bool, CreateError> {
        let removed = self.unfinished(uuid, image).remove_image(role);
        removed.map_err(|trouble| self.trouble(image, trouble))
    }

    /// What this creation has begun.
    pub(super) fn unfinished<'u>(
        &'u self,
        uuid: &'u ObjectUuid,
        image: &'u ImageName,
    ) -> Unfinished<'u> {
        Unfinished {
            io: &self.io,
            journal: &self.journal,
            name: &self.request.name,
            uuid,
            image,
            maker: &self.maker,
        }
    }

    pub(super) fn trouble(&self, image: &ImageName, trouble: Trouble) -> CreateError {
        match trouble {
            Trouble::Journal(error) => self.journal_failed(error),
            Trouble::Image(error) => self.image_failed(image, error),
            Trouble::Source(error) => error.into(),
        }
    }

    /// Removes header and object map that a creation has written after its volume had been taken
    /// from it, unless something still leads to them.
    pub(super) fn drop_late(
        &self,
        uuid: &ObjectUuid,
        image: &ImageName,
        id: &ImageId,
    ) -> Result<(), CreateError> {
        let failed = |error| self.image_failed(image, error);
        let record = self.journal.load(uuid);
        let record = record.map_err(|error| self.journal_failed(error))?;
        let named = self.io.image_id(image).map_err(failed)?.as_ref() == Some(id);
        let recorded = record.as_ref().and_then(|record| record.image_id.as_ref());
        if recorded == Some(id) || self.io.trash_get(id).map_err(failed)?.is_some() {
            return Ok(());
        }
        if named {
            // Half its names went before it was whole, so librbd cannot move it to the trash.
            let entry = self.journal.find(&self.request.name);
            let entry = entry.map_err(|error| self.journal_failed(error))?;
            if record.is_some() || entry.is_some_and(|entry| entry.uuid == *uuid) {
                return Ok(());
            }
        }
        remains::remove_header(&self.io, id).map_err(failed)?;
        if named {
            self.io.remove_torn_image(image).map_err(failed)?;
        }
        Ok(())
    }

    /// Removes what is under an image's name, but nothing from the trash.
    pub(super) fn clear_name(&self, image: &ImageName) -> Result<(), CreateError> {
        let cleared = remains::clear_present(&self.io, image);
        cleared.map_err(|error| self.image_failed(image, error))
    }
}
