//! Taking up a name that is taken: a finished volume, or what a crash or another process has left.

use cuttle_journal::{DirectoryEntry, JournalError, Kind, Located, Record, follow_along};
use cuttle_model::{ImageFeatures, ImageId, ImageName, ObjectUuid, PoolId, chain};
use tracing::{debug, warn};

use super::clone::Origin;
use super::{Attempt, CreateError, Creation};
use crate::rbd::header::{Header, header_read, read_header};
use crate::rbd::maker::{Making, stands_still};
use crate::rbd::remains::{self, Presence};
use crate::rbd::unfinished::Role;

/// How often the maker clears an image's name of what others had begun under it.
const MAKE_ATTEMPTS: u32 = 8;

impl Creation<'_> {
    /// Goes on from where whoever took the name has got to.
    pub(super) fn take_up(&self, entry: &DirectoryEntry) -> Result<Attempt, CreateError> {
        if let Some(pool) = entry.image_pool
            && pool != self.io.pool_id()
        {
            return self.in_other_pool(entry, pool);
        }
        let uuid = &entry.uuid;
        // An image made by plan has its header where its UUID says.
        let planned = ImageId::of(uuid);
        let (found, header) = follow_along(
            Kind::Volume,
            self.io.clone(),
            uuid,
            &self.image_name(uuid),
            Some(header_read(&planned, &self.labels())),
        )?;
        let Some(record) = &found.record else {
            return self.without_record(uuid);
        };
        match (&record.co_name, &record.image_id) {
            (Some(recorded), _) if *recorded != self.request.name => {
                Err(JournalError::ForeignRecord {
                    name: self.request.name.clone(),
                    uuid: uuid.clone(),
                    recorded: recorded.clone(),
                }
                .into())
            }
            (Some(_), Some(committed)) => {
                let header = header.and_then(|reply| Header::decode(&reply.omap));
                let header = header.filter(|_| found.image_id.as_ref() == Some(&planned));
                self.committed(&found, record, committed, header)
            }
            (Some(_), None) => self.uncommitted(uuid, record),
            (None, _) => {
                // A crash of ceph-csi between the name and the record's keys.
                let mut record = self.record(&self.image_name(uuid));
                record.maker = Some(self.maker_of(Making::Foreign));
                let filled = self.journal.complete_record(uuid, &record);
                if filled.map_err(|error| self.journal_failed(error))? {
                    self.adopt(uuid, &record.image_name, Making::Foreign)
                } else {
                    Ok(Attempt::Again)
                }
            }
        }
    }

    /// A name without a record: a crash right after the reservation, or a creation that has got no
    /// further yet. Whoever writes the record is the maker.
    fn without_record(&self, uuid: &ObjectUuid) -> Result<Attempt, CreateError> {
        let image = self.image_name(uuid);
        let presence = remains::presence(&self.io, &image);
        let presence = presence.map_err(|error| self.refused("look for the image", error))?;
        if presence == Presence::Whole {
            return self.avoid(uuid, &image);
        }
        let written = self.journal.write_record(uuid, &self.record(&image));
        if !written.map_err(|error| self.journal_failed(error))? {
            return Ok(Attempt::Again);
        }
        // The name may have been freed since it was read, by a creation that is being undone.
        let entry = self.journal.find(&self.request.name);
        let entry = entry.map_err(|error| self.journal_failed(error))?;
        if entry.is_none_or(|entry| entry.uuid != *uuid) {
            let removed = self.journal.forget_unfinished(uuid, &self.maker);
            removed.map_err(|error| self.journal_failed(error))?;
            return Ok(Attempt::Again);
        }
        self.adopt(uuid, &image, Making::Ours)
    }

    /// Leaves a UUID to an image that is whole though no record was: a creation of this driver
    /// writes the record first, so it is somebody else's, and its data with it. The name gets
    /// another UUID.
    fn avoid(&self, uuid: &ObjectUuid, image: &ImageName) -> Result<Attempt, CreateError> {
        let record = self.journal.load(uuid);
        let record = record.map_err(|error| self.journal_failed(error))?;
        if record.is_none() {
            warn!(volume.name = %self.request.name, image = %image,
                "an image without a record has the name of the volume's; leaving it alone");
            let freed = self.journal.forget_name(&self.request.name, uuid);
            freed.map_err(|error| self.journal_failed(error))?;
        }
        Ok(Attempt::Again)
    }

    /// A finished volume, with its image's header if that has been read.
    fn committed(
        &self,
        found: &Located,
        record: &Record,
        committed: &ImageId,
        header: Option<Header>,
    ) -> Result<Attempt, CreateError> {
        let (uuid, image, name) = (&found.uuid, &record.image_name, &self.request.name);
        if let Some(store) = &record.kms_id {
            return Err(CreateError::Incompatible {
                name: name.clone(),
                property: "encryption",
                existing: format!("key store {store}"),
                requested: "none".to_owned(),
            });
        }
        // Record and image were looked up at the same time, so the image may have been made and
        // recorded in between. Looked up now, it is there or gone.
        let id = match &found.image_id {
            Some(id) => Some(id.clone()),
            None => self.id_of(image)?,
        };
        let Some(id) = &id else {
            // A delete that was interrupted, or an operator: there is no volume any more. What is
            // in the trash stays there, for it may hold data that is wanted back; its record stays
            // with it, so that the delete, repeated by its handle, still finds both.
            warn!(volume.name = %name, image = %image, image.id = %committed,
                "the volume's image is gone; freeing its name");
            let trashed = self.io.trash_get(committed);
            let trashed = trashed.map_err(|error| self.refused("look into the trash", error))?;
            let freed = self.journal.forget_name(name, uuid);
            freed.map_err(|error| self.journal_failed(error))?;
            if trashed.is_none() {
                let removed = self.journal.forget_record(uuid);
                removed.map_err(|error| self.journal_failed(error))?;
            }
            return Ok(Attempt::Again);
        };
        let header = match header {
            Some(header) => Some(header),
            None => self.look_at(id)?,
        };
        let Some(header) = header else {
            return Err(CreateError::HeaderMissing {
                name: name.clone(),
                image: image.clone(),
                id: id.clone(),
            });
        };
        self.check_fit(&header)?;
        self.check_origin(&header, image, id)?;
        let labels = self.metadata_pairs();
        let missing = |(key, value): &(&str, &str)| {
            header.metadata.get(*key).map(String::as_str) != Some(*value)
        };
        if labels.iter().any(missing) {
            let labelled = self.io.set_image_metadata_by_id(id, &labels);
            labelled.map_err(|source| CreateError::Unlabelled {
                name: name.clone(),
                image: image.clone(),
                source,
            })?;
        }
        Ok(Attempt::Done(self.created(uuid, image, header.size)))
    }

    /// A volume that another creation is making, or was when it died: waits for its commit, and
    /// takes over when its maker has been the same for too long.
    fn uncommitted(&self, uuid: &ObjectUuid, record: &Record) -> Result<Attempt, CreateError> {
        let maker = record.maker.as_deref();
        let patience = self.controller.settings.take_over_after;
        let still = stands_still(&self.journal, uuid, maker, patience);
        if !still.map_err(|error| self.journal_failed(error))? {
            return Ok(Attempt::Again);
        }
        let making = Making::of(maker);
        let taken = self.journal.take_over(uuid, maker, &self.maker_of(making));
        if !taken.map_err(|error| self.journal_failed(error))? {
            return Ok(Attempt::Again);
        }
        debug!(volume.name = %self.request.name, "taking over an unfinished creation");
        if making == Making::Ours && (record.clone_of != self.clone_of() || self.origin.is_gone()) {
            return self.begin_anew(uuid, record);
        }
        self.adopt(uuid, &record.image_name, making)
    }

    /// As the maker: commits the image that is there if it is whole, makes it anew if not.
    fn adopt(
        &self,
        uuid: &ObjectUuid,
        image: &ImageName,
        making: Making,
    ) -> Result<Attempt, CreateError> {
        let outcome = match &self.origin {
            Origin::Empty => self.adopt_as(uuid, image, making),
            Origin::Of(source) => self.adopt_clone(source, uuid, image, making),
            Origin::Gone { .. } => self.drop_reserved(uuid, image, making),
        };
        if making == Making::Foreign
            && let Err(error) = &outcome
            && !error.as_ceph().is_some_and(ceph::Error::is_timeout)
        {
            // Whoever comes next finds it as it was; should this fail, too, the maker's text still
            // tells whose it is.
            let given_back = self.journal.disclaim(uuid, &self.maker_of(making));
            if let Err(error) = given_back {
                warn!(volume.name = %self.request.name, error = %chain(&error),
                    "could not take the maker out of the record");
            }
        }
        outcome
    }

    fn adopt_as(
        &self,
        uuid: &ObjectUuid,
        image: &ImageName,
        making: Making,
    ) -> Result<Attempt, CreateError> {
        if let Some(id) = self.id_of(image)?
            && let Some(header) = self.look_at(&id)?
            && self.is_whole(&header, &id, making)?
            && !(making == Making::Ours && self.is_clone(&header, &id)?)
        {
            self.check_fit(&header)?;
            self.check_origin(&header, image, &id)?;
            return self.finish(uuid, image, Some((id, header.size)), making);
        }
        for _attempt in 0..MAKE_ATTEMPTS {
            match making {
                // Whatever bears the name, also in the trash, is no volume: only a maker could
                // have finished it, and none has.
                Making::Ours => {
                    let role = Role::Maker(self.maker.clone());
                    if !self.remove_image(uuid, image, &role)? {
                        return Ok(Attempt::Again);
                    }
                }
                // Half an image is moved to the trash, and stays there.
                Making::Foreign => self.clear_name(image)?,
            }
            match self.make_with_librbd(image) {
                Ok(()) => return self.finish(uuid, image, None, making),
                // Another creation, which has lost the record to us, has just begun the image.
                Err(error) if error.is_present() => {}
                Err(error) => {
                    let error = self.image_failed(image, error);
                    return self.given_up(error, uuid, image, making);
                }
            }
        }
        Ok(Attempt::Again)
    }

    /// What follows when a volume that was taken up cannot be finished: ours is undone, ceph-csi's
    /// is left as it is.
    pub(super) fn given_up(
        &self,
        error: CreateError,
        uuid: &ObjectUuid,
        image: &ImageName,
        making: Making,
    ) -> Result<Attempt, CreateError> {
        match making {
            Making::Ours => self.undo(error, uuid, image),
            Making::Foreign => {
                if let CreateError::Journal(JournalError::RecordVanished { .. }) = error {
                    return Ok(Attempt::Again);
                }
                Err(error.left_to_repeat(&self.request.name))
            }
        }
    }

    /// The maker's text of this creation.
    pub(super) fn maker_of(&self, making: Making) -> String {
        making.text(&self.maker)
    }

    fn is_whole(&self, header: &Header, id: &ImageId, making: Making) -> Result<bool, CreateError> {
        if header.lacks_striping() {
            return Ok(false);
        }
        if making == Making::Foreign || !header.features.contains(ImageFeatures::OBJECT_MAP) {
            return Ok(true);
        }
        let mapped = remains::has_object_map(&self.io, id);
        mapped.map_err(|error| self.refused("look at the image", error))
    }

    pub(super) fn id_of(&self, image: &ImageName) -> Result<Option<ImageId>, CreateError> {
        let id = self.io.image_id(image);
        id.map_err(|error| self.refused("look up the image", error))
    }

    /// The keys of the metadata that the image is to have.
    fn labels(&self) -> Vec<&str> {
        self.metadata.iter().map(|(key, _)| key.as_str()).collect()
    }

    pub(super) fn look_at(&self, id: &ImageId) -> Result<Option<Header>, CreateError> {
        read_header(&self.io, id, &self.labels())
            .map_err(|error| self.refused("look at the image", error))
    }

    /// A volume in another pool than its name: only older releases made such, for topologies.
    fn in_other_pool(&self, entry: &DirectoryEntry, pool: PoolId) -> Result<Attempt, CreateError> {
        let name = self.cluster.pool_name(pool);
        match name.map_err(|error| self.refused("look for the volume's pool", error))? {
            Some(other) => Err(CreateError::Incompatible {
                name: self.request.name.clone(),
                property: "pool",
                existing: other.to_string(),
                requested: self.io.pool_name().to_owned(),
            }),
            None => {
                warn!(volume.name = %self.request.name, %pool,
                    "the volume's pool is gone; freeing its name");
                let freed = self.journal.forget_name(&self.request.name, &entry.uuid);
                freed.map_err(|error| self.journal_failed(error))?;
                Ok(Attempt::Again)
            }
        }
    }
}
