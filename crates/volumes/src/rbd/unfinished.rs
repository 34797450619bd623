//! Taking away what a creation has begun and not finished.
//!
//! Only the *maker* touches an uncommitted image: the one whose random text the record holds. A
//! process that was paused for so long that another has taken over and finished must not destroy
//! what is finished, so the role is looked at before each step, and once more while the image can
//! still be brought back from the trash.

use std::time::Duration;

use ceph::{Io, SnapshotOf, TrashEntry};
use cuttle_door::job;
use cuttle_journal::{Journal, JournalError, Record};
use cuttle_model::{CoName, ImageId, ImageName, ObjectUuid, chain};
use tracing::{debug, warn};

use crate::rbd::remains;
use crate::rbd::source::SourceError;

/// How long bringing back an image may take, even when the job's time is over.
const MAKE_GOOD: Duration = Duration::from_secs(60);

/// By what right an image is removed.
#[derive(Debug)]
pub(crate) enum Role {
    /// As the maker, under this text, as long as the record has it.
    Maker(String),
    /// As the only one who can write: in a full pool nobody can take over. Not when the record has
    /// another maker or is committed.
    Alone,
}

/// What failed while something unfinished was taken away.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// A step of the journal's.
    Journal(JournalError),
    /// A step on an image.
    Image(ceph::Error),
    /// A step on what its data was to come from.
    Source(SourceError),
}

/// Something that a creation has begun.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unfinished<'u> {
    pub(crate) io: &'u Io,
    pub(crate) journal: &'u Journal,
    pub(crate) name: &'u CoName,
    pub(crate) uuid: &'u ObjectUuid,
    pub(crate) image: &'u ImageName,
    /// The maker's text of the creation that takes it away.
    pub(crate) maker: &'u str,
}

impl Unfinished<'_> {
    /// Makes sure that nobody else makes this while it is undone: with a new maker's text in the
    /// record, those who watch it wait anew. `record` is what to write when there is none. `None`
    /// when another makes it already.
    pub(crate) fn role_of_undoer(&self, record: &Record) -> Result<Option<Role>, JournalError> {
        let undoer = ObjectUuid::random().to_string();
        let taken = self.journal.take_over(self.uuid, Some(self.maker), &undoer);
        match taken {
            Ok(true) => Ok(Some(Role::Maker(undoer))),
            // Not our record, or none: it was not written, and must not be now by another.
            Ok(false) => match self.journal.write_record(self.uuid, record) {
                Ok(true) => Ok(Some(Role::Maker(self.maker.to_owned()))),
                Ok(false) => Ok(None),
                Err(failed) => alone(failed).map(Some),
            },
            Err(failed) => alone(failed).map(Some),
        }
    }

    /// Removes the image, then what `between` removes, then record and name: `false` when another
    /// has taken over meanwhile. Idempotent.
    pub(crate) fn remove_all(
        &self,
        role: &Role,
        between: impl FnOnce() -> Result<(), Trouble>,
    ) -> Result<bool, Trouble> {
        if !self.remove_image(role)? {
            return Ok(false);
        }
        between()?;
        let maker = match role {
            Role::Maker(maker) => maker,
            Role::Alone => self.maker,
        };
        let removed = self.journal.forget_unfinished(self.uuid, maker);
        if !removed.map_err(Trouble::Journal)? {
            return Ok(false);
        }
        let freed = self.journal.forget_name(self.name, self.uuid);
        freed.map_err(Trouble::Journal)?;
        Ok(true)
    }

    /// Removes an image that never was finished, wherever a crash has left it: `false` when the
    /// role is lost.
    pub(crate) fn remove_image(&self, role: &Role) -> Result<bool, Trouble> {
        let (io, image) = (self.io, self.image);
        if !self.still_has(role)? {
            return Ok(false);
        }
        // The manager removes no image from the trash that has a snapshot in sight.
        let present = io.image_id(image).map_err(Trouble::Image)?;
        if let Some(id) = present {
            self.clear_own_snapshot(&id)?;
        }
        let cleared = remains::clear_present(io, image);
        // Also when it failed, part of it may have happened, and late.
        let overtime = job::overtime(MAKE_GOOD);
        let trashed = io.trash_find_all_by_name(image).map_err(Trouble::Image)?;
        if !trashed.is_empty() && !self.still_has(role)? {
            self.make_good(&trashed)?;
            return Ok(false);
        }
        drop(overtime);
        cleared.map_err(Trouble::Image)?;
        for entry in trashed {
            self.clear_own_snapshot(&entry.id)?;
            remains::remove_from_trash(io, &entry.id).map_err(Trouble::Image)?;
        }
        Ok(true)
    }

    /// Moves the snapshot that a creation makes of its image, under the image's name, to the
    /// snapshots' trash, from where it goes with the image. Idempotent.
    fn clear_own_snapshot(&self, id: &ImageId) -> Result<(), Trouble> {
        let snapshots = self.io.snapshots_by_id(id).map_err(Trouble::Image)?;
        for snapshot in snapshots.unwrap_or_default() {
            if snapshot.of == SnapshotOf::Users && snapshot.name == self.image.as_str() {
                let moved = self.io.trash_snapshot(id, snapshot.id);
                moved.map_err(Trouble::Image)?;
            }
        }
        Ok(())
    }

    /// What follows when another has become the maker while images were moved to the trash: the one
    /// that it has finished, or is about to, gets its name back. What nobody can lead to goes.
    fn make_good(&self, trashed: &[TrashEntry]) -> Result<(), Trouble> {
        let image = self.image;
        for entry in trashed {
            if self.may_be_wanted(&entry.id)? {
                warn!(image = %image, "bringing back an image that another process has finished");
                match self.io.trash_restore(&entry.id, image) {
                    Ok(()) => continue,
                    Err(error) if error.is_absent() => continue,
                    // The other has made one anew, unless it says that it was this one.
                    Err(error) if error.is_present() => {}
                    Err(error) => return Err(Trouble::Image(error)),
                }
                if self.is_committed_to(&entry.id)? {
                    continue;
                }
            }
            remains::remove_from_trash(self.io, &entry.id).map_err(Trouble::Image)?;
        }
        Ok(())
    }

    /// Whether the record leads to this image, or may come to: not when it is gone, which is what a
    /// delete leaves, and not when it names another image.
    fn may_be_wanted(&self, id: &ImageId) -> Result<bool, Trouble> {
        let record = self.journal.load(self.uuid).map_err(Trouble::Journal)?;
        Ok(record.is_some_and(|record| record.image_id.is_none_or(|recorded| recorded == *id)))
    }

    fn is_committed_to(&self, id: &ImageId) -> Result<bool, Trouble> {
        let record = self.journal.load(self.uuid).map_err(Trouble::Journal)?;
        Ok(record.is_some_and(|record| record.image_id.as_ref() == Some(id)))
    }

    fn still_has(&self, role: &Role) -> Result<bool, Trouble> {
        let record = self.journal.load(self.uuid).map_err(Trouble::Journal)?;
        let (maker, without) = match role {
            Role::Maker(maker) => (maker.as_str(), false),
            Role::Alone => (self.maker, true),
        };
        Ok(record.map_or(without, |record| {
            !record.is_committed() && record.maker.as_deref() == Some(maker)
        }))
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
