//! Taking up the name of a snapshot that is taken: a finished one, or what a crash or another
//! process has left.

use ceph::SnapshotOf;
use cuttle_journal::{DirectoryEntry, JournalError, Kind, Located, Record, follow};
use cuttle_model::{ImageId, ImageName, ObjectUuid, chain};
use tracing::{debug, warn};

use super::{Attempt, CreateSnapshotError, Creation};
use crate::rbd::maker::{Making, stands_still};
use crate::rbd::remains::{self, Presence};
use crate::rbd::source::look;
use crate::rbd::unfinished::Role;

impl Creation<'_> {
    /// Goes on from where whoever took the name has got to.
    pub(super) fn take_up(&self, entry: &DirectoryEntry) -> Result<Attempt, CreateSnapshotError> {
        let io = &self.source.io;
        if entry.image_pool.is_some_and(|pool| pool != io.pool_id()) {
            return Err(self.exists("a volume in another pool"));
        }
        let uuid = &entry.uuid;
        let found = follow(Kind::Snapshot, io.clone(), uuid, &self.image_name(uuid))?;
        let Some(record) = &found.record else {
            return self.without_record(uuid);
        };
        let name = &self.request.name;
        match &record.co_name {
            Some(recorded) if recorded != name => {
                return Err(JournalError::ForeignRecord {
                    name: name.clone(),
                    uuid: uuid.clone(),
                    recorded: recorded.clone(),
                }
                .into());
            }
            Some(_) => {}
            None => return self.without_keys(uuid),
        }
        if let Some(other) = &record.source
            && *other != self.source.image
        {
            return Err(self.exists(&format!("image {other}")));
        }
        match &record.image_id {
            Some(committed) => self.committed(&found, record, committed),
            None => self.uncommitted(uuid, record),
        }
    }

    /// The error for a name that belongs to a snapshot of something else.
    fn exists(&self, of: &str) -> CreateSnapshotError {
        CreateSnapshotError::Exists {
            name: self.request.name.clone(),
            of: of.to_owned(),
            requested: self.source.image.clone(),
        }
    }

    /// A name without a record: a crash right after the reservation, or a creation that has got no
    /// further yet. Whoever writes the record is the maker.
    fn without_record(&self, uuid: &ObjectUuid) -> Result<Attempt, CreateSnapshotError> {
        let image = self.image_name(uuid);
        let presence = remains::presence(&self.source.io, &image);
        let presence = presence.map_err(|error| self.refused("look for the image", error))?;
        if presence == Presence::Whole {
            return self.avoid(uuid, &image);
        }
        if !self.write_record(uuid, &image)? {
            return Ok(Attempt::Again);
        }
        self.make_anew(uuid, &image, Making::Ours)
    }

    /// Leaves a UUID to an image that is whole though no record was: a creation writes the record
    /// first, so it is somebody else's. The name gets another UUID.
    fn avoid(&self, uuid: &ObjectUuid, image: &ImageName) -> Result<Attempt, CreateSnapshotError> {
        let record = self.journal.load(uuid);
        let record = record.map_err(|error| self.journal_failed(error))?;
        if record.is_none() {
            warn!(snapshot.name = %self.request.name, image = %image,
                "an image without a record has the name of the snapshot's; leaving it alone");
            let freed = self.journal.forget_name(&self.request.name, uuid);
            freed.map_err(|error| self.journal_failed(error))?;
        }
        Ok(Attempt::Again)
    }

    /// A crash of ceph-csi between the name and the record's keys.
    fn without_keys(&self, uuid: &ObjectUuid) -> Result<Attempt, CreateSnapshotError> {
        let mut record = self.record(&self.image_name(uuid));
        record.maker = Some(Making::Foreign.text(&self.maker));
        let filled = self.journal.complete_record(uuid, &record);
        if filled.map_err(|error| self.journal_failed(error))? {
            self.adopt(uuid, &record.image_name)
        } else {
            Ok(Attempt::Again)
        }
    }

    /// A finished snapshot.
    fn committed(
        &self,
        found: &Located,
        record: &Record,
        committed: &ImageId,
    ) -> Result<Attempt, CreateSnapshotError> {
        let (uuid, image) = (&found.uuid, &record.image_name);
        // Record and image were looked up at the same time, so the image may have been made and
        // recorded in between. Looked up now, it is there or gone.
        let present = match &found.image_id {
            Some(id) => Some(id.clone()),
            None => {
                let id = self.source.io.image_id(image);
                id.map_err(|error| self.refused("look up the image", error))?
            }
        };
        let Some(present) = present else {
            // A delete that was interrupted, or an operator. What is in the trash stays there with
            // its record, for the delete that is repeated by its handle.
            warn!(snapshot.name = %self.request.name, image = %image, image.id = %committed,
                "the snapshot's image is gone; freeing its name");
            let trashed = self.source.io.trash_get(committed);
            let trashed = trashed.map_err(|error| self.refused("look into the trash", error))?;
            let failed = |error| self.journal_failed(error);
            let freed = self.journal.forget_name(&self.request.name, uuid);
            freed.map_err(failed)?;
            if trashed.is_none() {
                self.journal.forget_record(uuid).map_err(failed)?;
            }
            return Ok(Attempt::Again);
        };
        if present != *committed {
            return Err(CreateSnapshotError::Replaced {
                name: self.request.name.clone(),
                image: image.clone(),
                present,
                recorded: committed.clone(),
            });
        }
        self.ensure_own_snapshot(&present, image)?;
        self.ensure_labels(&present, image)?;
        self.made(uuid, image, &present).map(Attempt::Done)
    }

    /// A snapshot that another creation is taking, or was when it died: waits for its commit, and
    /// takes over when its maker has been the same for too long.
    fn uncommitted(
        &self,
        uuid: &ObjectUuid,
        record: &Record,
    ) -> Result<Attempt, CreateSnapshotError> {
        let maker = record.maker.as_deref();
        let patience = self.controller.settings.take_over_after;
        let failed = |error| self.journal_failed(error);
        if !stands_still(&self.journal, uuid, maker, patience).map_err(failed)? {
            return Ok(Attempt::Again);
        }
        let making = Making::of(maker);
        let taken = self
            .journal
            .take_over(uuid, maker, &making.text(&self.maker));
        if !taken.map_err(failed)? {
            return Ok(Attempt::Again);
        }
        debug!(snapshot.name = %self.request.name, "taking over an unfinished snapshot");
        match making {
            Making::Ours => self.make_anew(uuid, &record.image_name, making),
            Making::Foreign => self.adopt(uuid, &record.image_name),
        }
    }

    /// As the maker: removes what an earlier attempt of this driver has left, and makes the image.
    /// It gets an identifier of its own, because the one before may still be in the trash.
    fn make_anew(
        &self,
        uuid: &ObjectUuid,
        image: &ImageName,
        making: Making,
    ) -> Result<Attempt, CreateSnapshotError> {
        let made = (|| {
            if making == Making::Ours {
                let role = Role::Maker(self.maker.clone());
                let removed = self.begun(uuid, image).remove_image(&role);
                if !removed.map_err(|trouble| self.trouble(image, trouble))? {
                    return Ok(Attempt::Again);
                }
            }
            let random = ImageId::of(&ObjectUuid::random());
            self.make_and_commit(uuid, image, making, &random)
        })();
        made.or_else(|failure| self.given_up(failure, uuid, image, making))
    }

    /// As the maker, of what ceph-csi began: finishes an image that shows the source, and makes it
    /// when there is none. Nothing of it is removed but the names of half an image.
    fn adopt(&self, uuid: &ObjectUuid, image: &ImageName) -> Result<Attempt, CreateSnapshotError> {
        let adopted = self.adopt_as(uuid, image);
        if let Err(error) = &adopted
            && !error.as_ceph().is_some_and(ceph::Error::is_timeout)
        {
            // Whoever comes next finds it as it was.
            let maker = Making::Foreign.text(&self.maker);
            if let Err(error) = self.journal.disclaim(uuid, &maker) {
                warn!(snapshot.name = %self.request.name, error = %chain(&error),
                    "could not take the maker out of the record");
            }
        }
        adopted
    }

    fn adopt_as(
        &self,
        uuid: &ObjectUuid,
        image: &ImageName,
    ) -> Result<Attempt, CreateSnapshotError> {
        let io = &self.source.io;
        let failed = |error| self.image_failed(image, error);
        if let Some(id) = io.image_id(image).map_err(failed)? {
            let (header, _metadata) = look(io, &id).map_err(failed)?;
            let parent = io.parent_by_id(&id, None).map_err(failed)?;
            let snapshots = io.snapshots_by_id(&id).map_err(failed)?.unwrap_or_default();
            // With neither parent nor snapshot it was cut off before it showed anything.
            if header.is_some() && (parent.is_some() || !snapshots.is_empty()) {
                if let Some(parent) = &parent {
                    self.ensure_known_to(parent, &id, image)?;
                }
                self.ensure_own_snapshot(&id, image)?;
                self.ensure_labels(&id, image)?;
                self.trash_temporary(image)?;
                let finished = self
                    .commit(uuid, &id, Making::Foreign)
                    .and_then(|()| self.made(uuid, image, &id));
                return finished
                    .map(Attempt::Done)
                    .or_else(|error| self.given_up(error, uuid, image, Making::Foreign));
            }
        }
        remains::clear_present(io, image).map_err(failed)?;
        self.make_anew(uuid, image, Making::Foreign)
    }

    /// Makes sure that the parent knows its clone: librbd tells it last.
    fn ensure_known_to(
        &self,
        parent: &ceph::Parent,
        id: &ImageId,
        image: &ImageName,
    ) -> Result<(), CreateSnapshotError> {
        let failed = |error| self.image_failed(image, error);
        let io = &self.source.io;
        if parent.image != self.source.id {
            return Err(self.exists(&format!("image id {}", parent.image)));
        }
        let children = io.children_by_id(&parent.image, parent.snapshot);
        let children = children.map_err(failed)?;
        if children.iter().any(|child| child.image == *id) {
            return Ok(());
        }
        io.attach_child(&self.source.parent(parent.snapshot, parent.overlap), id)
            .map_err(failed)
    }

    /// Moves the source's snapshot that ceph-csi has left to where it belongs.
    fn trash_temporary(&self, image: &ImageName) -> Result<(), CreateSnapshotError> {
        let failed = |error| self.image_failed(image, error);
        let source = &self.source;
        let snapshots = source.io.snapshots_by_id(&source.id).map_err(failed)?;
        for left in snapshots.unwrap_or_default() {
            if left.of == SnapshotOf::Users && left.name == image.as_str() {
                let moved = source.io.trash_snapshot(&source.id, left.id);
                moved.map_err(failed)?;
            }
        }
        Ok(())
    }

    /// Gives the image the snapshot that volumes are restored from, if it lacks it.
    fn ensure_own_snapshot(
        &self,
        id: &ImageId,
        image: &ImageName,
    ) -> Result<(), CreateSnapshotError> {
        let failed = |error| self.image_failed(image, error);
        let io = &self.source.io;
        let snapshots = io.snapshots_by_id(id).map_err(failed)?.unwrap_or_default();
        let own = |known: &ceph::HeaderSnapshot| {
            known.of == SnapshotOf::Users && known.name == image.as_str()
        };
        if snapshots.iter().any(own) {
            return Ok(());
        }
        let number = io.start_snap_id().and_then(ceph::StartedSnapId::wait);
        let number = number.map_err(failed)?;
        let (object, write) = io
            .snapshot_write(id, image.as_str(), number)
            .map_err(failed)?;
        io.write(&object, &write).map_err(failed)
    }

    /// Sets the metadata that the image lacks.
    fn ensure_labels(&self, id: &ImageId, image: &ImageName) -> Result<(), CreateSnapshotError> {
        let failed = |error| self.image_failed(image, error);
        let io = &self.source.io;
        let (_header, present) = look(io, id).map_err(failed)?;
        let missing: Vec<(&str, &str)> = self
            .labels
            .iter()
            .filter(|(key, value)| present.get(key) != Some(value))
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        io.set_image_metadata_by_id(id, &missing).map_err(failed)
    }
}
