//! Undoing a creation that certainly failed.

use cuttle_journal::JournalError;
use cuttle_model::{ImageId, ImageName, ObjectUuid, chain};
use tracing::{debug, info, warn};

use super::{Attempt, CreateError, Creation};
use crate::rbd::remains;

/// By what right an image is removed.
#[derive(Debug)]
pub(super) enum Role {
    /// As the maker, under this text, as long as the record has it.
    Maker(String),
    /// As the only one who can write: in a full pool nobody can take over. Not when the record has
    /// another maker or is committed.
    Alone,
}

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
        let role = match self.role_of_undoer(uuid, image) {
            Ok(Some(role)) => role,
            Ok(None) => return Ok(Attempt::Again),
            Err(failed) => {
                warn!(volume.name = %self.request.name, error = %chain(&failed),
                    "not undoing: whether another makes this volume is not known");
                return Err(error.left_to_repeat(&self.request.name));
            }
        };
        let name = self.request.name.clone();
        match self.remove_all(uuid, image, &role) {
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

    /// Makes sure that nobody else makes this volume while it is undone: with a new maker's text
    /// in the record, those who watch it wait anew. `None` when another makes it already.
    fn role_of_undoer(
        &self,
        uuid: &ObjectUuid,
        image: &ImageName,
    ) -> Result<Option<Role>, JournalError> {
        let undoer = ObjectUuid::random().to_string();
        match self.journal.take_over(uuid, Some(&self.maker), &undoer) {
            Ok(true) => Ok(Some(Role::Maker(undoer))),
            // Not our record, or none: it was not written, and must not be now by another.
            Ok(false) => match self.journal.write_record(uuid, &self.record(image)) {
                Ok(true) => Ok(Some(Role::Maker(self.maker.clone()))),
                Ok(false) => Ok(None),
                Err(failed) => alone(failed).map(Some),
            },
            Err(failed) => alone(failed).map(Some),
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

    /// Removes image, record and name of a creation that is being undone: `false` when another has
    /// taken it over meanwhile. Idempotent.
    fn remove_all(
        &self,
        uuid: &ObjectUuid,
        image: &ImageName,
        role: &Role,
    ) -> Result<bool, CreateError> {
        if !self.remove_image(uuid, image, role)? {
            return Ok(false);
        }
        let maker = match role {
            Role::Maker(maker) => maker,
            Role::Alone => &self.maker,
        };
        let removed = self.journal.forget_unfinished(uuid, maker);
        if !removed.map_err(|error| self.journal_failed(error))? {
            return Ok(false);
        }
        let freed = self.journal.forget_name(&self.request.name, uuid);
        freed.map_err(|error| self.journal_failed(error))?;
        Ok(true)
    }

    /// Removes an image that never was a volume, wherever a crash has left it: `false` when the
    /// role is lost.
    ///
    /// A process that was paused for so long that another has taken over and finished must not
    /// destroy the finished volume. So the role is looked at before, and once more while the image
    /// can still be brought back from the trash.
    pub(super) fn remove_image(
        &self,
        uuid: &ObjectUuid,
        image: &ImageName,
        role: &Role,
    ) -> Result<bool, CreateError> {
        let failed = |error| self.image_failed(image, error);
        if !self.still_has(uuid, role)? {
            return Ok(false);
        }
        remains::clear_present(&self.io, image).map_err(failed)?;
        let trashed = self.io.trash_find_all_by_name(image).map_err(failed)?;
        if trashed.is_empty() {
            return Ok(true);
        }
        if !self.still_has(uuid, role)? {
            warn!(image = %image, "bringing back an image that another process has finished");
            for entry in trashed {
                match self.io.trash_restore(&entry.id, image) {
                    Ok(()) => break,
                    Err(error) if error.is_absent() || error.is_present() => {}
                    Err(error) => return Err(failed(error)),
                }
            }
            return Ok(false);
        }
        for entry in trashed {
            remains::remove_from_trash(&self.io, &entry.id).map_err(failed)?;
        }
        Ok(true)
    }

    fn still_has(&self, uuid: &ObjectUuid, role: &Role) -> Result<bool, CreateError> {
        let record = self.journal.load(uuid);
        let record = record.map_err(|error| self.journal_failed(error))?;
        let (maker, without) = match role {
            Role::Maker(maker) => (maker, false),
            Role::Alone => (&self.maker, true),
        };
        Ok(record.map_or(without, |record| {
            !record.is_committed() && record.maker.as_ref() == Some(maker)
        }))
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

/// The role of one whose record could not be written: a pool that is full takes no writes from
/// others either. Any other failure says nothing about the others.
fn alone(failed: JournalError) -> Result<Role, JournalError> {
    if failed.as_ceph().is_some_and(ceph::Error::is_full) {
        debug!(error = %chain(&failed), "undoing without telling others");
        Ok(Role::Alone)
    } else {
        Err(failed)
    }
}
