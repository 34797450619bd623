//! Taking up a name that is taken: a whole volume, or what a crash or another process has left.

use std::thread;
use std::time::{Duration, Instant};

use ceph::Io;
use cuttle_journal::{DirectoryEntry, JournalError, Located, VolumeRecord, follow};
use cuttle_model::{ByteSize, ImageFeatures, ImageId, ImageName, ObjectUuid};
use tracing::warn;

use super::{Attempt, CreateError, Creation};
use crate::header::{Header, read_header};
use crate::torn;

/// How often an image that looks half made is looked at again.
const LOOK_PAUSE: Duration = Duration::from_millis(20);

/// How many image names one page of a search holds.
const SEARCH_PAGE: u64 = 1000;

/// The features that a StorageClass can ask for; librbd adds others by itself.
const REQUESTABLE: ImageFeatures = ImageFeatures::from_bits(0b111_1101);

impl Creation<'_> {
    /// Goes on from where whoever took the name has got to.
    pub(super) fn take_up(&self, entry: &DirectoryEntry) -> Result<Attempt, CreateError> {
        if let Some(pool) = entry.image_pool
            && pool != self.io.pool_id()
        {
            return self.in_other_pool(entry, pool);
        }
        let uuid = &entry.uuid;
        let found = follow(self.io.clone(), uuid, &self.image_name(uuid))?;
        let Some(record) = &found.record else {
            return self.without_record(uuid);
        };
        if record.is_undoing && !record.is_committed() {
            self.remove_all(uuid, &found.image)?;
            return Ok(Attempt::Again);
        }
        match &record.co_name {
            None => {
                // A crash of ceph-csi between the name and the record's keys.
                let filled = self
                    .journal
                    .complete_record(uuid, &self.record(&self.image_name(uuid)));
                filled.map_err(|error| self.journal_failed(error))?;
                return Ok(Attempt::Again);
            }
            Some(recorded) if *recorded != self.request.name => {
                return Err(JournalError::ForeignRecord {
                    name: self.request.name.clone(),
                    uuid: uuid.clone(),
                    recorded: recorded.clone(),
                }
                .into());
            }
            Some(_) => {}
        }
        match &record.image_id {
            Some(committed) => self.committed(&found, record, committed),
            None => self.uncommitted(&found),
        }
    }

    /// A name without a record: a crash right after the reservation. Its image may have been made,
    /// even under another prefix, if the StorageClass has changed since.
    fn without_record(&self, uuid: &ObjectUuid) -> Result<Attempt, CreateError> {
        let image = match find_by_uuid(&self.io, uuid) {
            Ok(found) => found.unwrap_or_else(|| self.image_name(uuid)),
            Err(error) => return Err(self.refused("list the images", error)),
        };
        let written = self.journal.write_record(uuid, &self.record(&image));
        written.map_err(|error| self.journal_failed(error))?;
        Ok(Attempt::Again)
    }

    /// A finished volume.
    fn committed(
        &self,
        found: &Located,
        record: &VolumeRecord,
        committed: &ImageId,
    ) -> Result<Attempt, CreateError> {
        let (uuid, image, name) = (&found.uuid, &record.image_name, &self.request.name);
        // Record and image were looked up at the same time, so the image may have been made and
        // recorded in between. Looked up now, it is there or gone.
        let id = match &found.image_id {
            Some(id) => Some(id.clone()),
            None => {
                let id = self.io.image_id(image);
                id.map_err(|error| self.refused("look up the image", error))?
            }
        };
        let Some(id) = &id else {
            // A delete that was interrupted, or an operator: there is no volume any more. What is
            // in the trash stays there, for it may hold data that is wanted back.
            warn!(volume.name = %name, image = %image, image.id = %committed,
                "the volume's image is gone; freeing its name");
            let freed = self.journal.forget_name(name, uuid);
            freed.map_err(|error| self.journal_failed(error))?;
            let removed = self.journal.forget_record(uuid);
            removed.map_err(|error| self.journal_failed(error))?;
            return Ok(Attempt::Again);
        };
        let Some(header) = self.look_at(id)? else {
            return Err(CreateError::HeaderMissing {
                name: name.clone(),
                image: image.clone(),
                id: id.clone(),
            });
        };
        self.check_fit(&header)?;
        let labels = self.metadata_pairs();
        if labels
            .iter()
            .any(|(key, value)| header.metadata.get(*key).is_none_or(|v| v != value))
        {
            let labelled = self.io.set_image_metadata_by_id(id, &labels);
            labelled.map_err(|error| self.refused("set the image's metadata", error))?;
        }
        Ok(Attempt::Done(self.created(uuid, image, header.size)))
    }

    /// A volume whose image is missing, half made, or made but not committed.
    fn uncommitted(&self, found: &Located) -> Result<Attempt, CreateError> {
        let (uuid, image) = (&found.uuid, &found.image);
        let Some(id) = &found.image_id else {
            self.remove_trashed(image)?;
            return self.make_missing(uuid, image);
        };
        match self.wait_for_whole(id)? {
            Some(header) => {
                self.check_fit(&header)?;
                self.finish(uuid, image, Some((id.clone(), header.size)))
            }
            None => {
                warn!(image = %image, image.id = %id, "removing an image that was never completed");
                torn::remove(&self.io, image).map_err(|error| self.image_failed(image, error))?;
                self.make_missing(uuid, image)
            }
        }
    }

    /// Looks at an image until it is whole; `None` when it stays torn for so long that nobody can
    /// be at work on it.
    fn wait_for_whole(&self, id: &ImageId) -> Result<Option<Header>, CreateError> {
        let begun = Instant::now();
        loop {
            if let Some(header) = self.look_at(id)?
                && self.is_whole(&header, id)?
            {
                return Ok(Some(header));
            }
            if begun.elapsed() >= self.controller.settings.torn_after {
                return Ok(None);
            }
            thread::sleep(LOOK_PAUSE);
        }
    }

    /// Waits for the image whose name is taken while no id belongs to it: it is being made, or was
    /// left so by librbd when it could not take all steps back.
    pub(super) fn await_image(&self, image: &ImageName) -> Result<Attempt, CreateError> {
        let begun = Instant::now();
        while begun.elapsed() < self.controller.settings.torn_after {
            let id = self.io.image_id(image);
            if id
                .map_err(|error| self.refused("look up the image", error))?
                .is_some()
            {
                return Ok(Attempt::Again);
            }
            thread::sleep(LOOK_PAUSE);
        }
        warn!(image = %image, "removing an image that was never completed");
        torn::remove(&self.io, image).map_err(|error| self.image_failed(image, error))?;
        Ok(Attempt::Again)
    }

    fn is_whole(&self, header: &Header, id: &ImageId) -> Result<bool, CreateError> {
        if header.lacks_striping() {
            return Ok(false);
        }
        if !header.features.contains(ImageFeatures::OBJECT_MAP) {
            return Ok(true);
        }
        let mapped = torn::has_object_map(&self.io, id);
        mapped.map_err(|error| self.refused("look at the image", error))
    }

    fn look_at(&self, id: &ImageId) -> Result<Option<Header>, CreateError> {
        let labels: Vec<&str> = self.metadata.iter().map(|(key, _)| key.as_str()).collect();
        read_header(&self.io, id, &labels).map_err(|error| self.refused("look at the image", error))
    }

    /// Whether an existing volume is what the request asks for.
    fn check_fit(&self, header: &Header) -> Result<(), CreateError> {
        let incompatible = |property, existing: String, requested: String| {
            Err(CreateError::Incompatible {
                name: self.request.name.clone(),
                property,
                existing,
                requested,
            })
        };
        let range = self.request.range;
        let wanted = range.required.unwrap_or(ByteSize::ZERO);
        if header.size < wanted {
            return incompatible(
                "size",
                header.size.to_string(),
                format!("at least {wanted}"),
            );
        }
        if let Some(limit) = range.limit.filter(|limit| header.size > *limit) {
            return incompatible("size", header.size.to_string(), format!("at most {limit}"));
        }
        let parameters = &self.request.parsed.parameters;
        if let Some(wanted) = parameters.features {
            let has = ImageFeatures::from_bits(header.features.bits() & REQUESTABLE.bits());
            if has != wanted {
                return incompatible("features", has.to_string(), wanted.to_string());
            }
        }
        if let (Some(wanted), Some(order)) = (parameters.object_size, header.order)
            && wanted.order() != order
        {
            return incompatible(
                "object size order",
                order.to_string(),
                wanted.order().to_string(),
            );
        }
        if let Some(wanted) = &parameters.data_pool {
            let id = self.cluster.pool_id(wanted);
            let id = id.map_err(|error| self.refused("look for the data pool", error))?;
            if id.map(|id| id.get()) != header.data_pool {
                let existing = header
                    .data_pool
                    .map_or_else(|| "none".to_owned(), |id| id.to_string());
                return incompatible("data pool number", existing, wanted.to_string());
            }
        }
        Ok(())
    }

    /// A volume in another pool than its name: only older releases made such, for topologies.
    fn in_other_pool(
        &self,
        entry: &DirectoryEntry,
        pool: cuttle_model::PoolId,
    ) -> Result<Attempt, CreateError> {
        let name = self.cluster.pool_name(pool);
        match name.map_err(|error| self.refused("look for the volume's pool", error))? {
            Some(other) => Err(CreateError::Incompatible {
                name: self.request.name.clone(),
                property: "pool",
                existing: other.to_string(),
                requested: self.io.pool_name().to_owned(),
            }),
            None => {
                warn!(volume.name = %self.request.name, pool = %pool,
                    "the volume's pool is gone; freeing its name");
                let freed = self.journal.forget_name(&self.request.name, &entry.uuid);
                freed.map_err(|error| self.journal_failed(error))?;
                Ok(Attempt::Again)
            }
        }
    }
}

/// The image whose name ends with a UUID. Lists the names of all images, for rare paths.
pub(crate) fn find_by_uuid(io: &Io, uuid: &ObjectUuid) -> Result<Option<ImageName>, ceph::Error> {
    let mut after = None;
    loop {
        let page = io.image_names(after.as_ref(), SEARCH_PAGE)?;
        let last = page.images.last().map(|(name, _)| name.clone());
        let mut names = page.images.into_iter().map(|(name, _)| name);
        if let Some(found) = names.find(|name| name.as_str().ends_with(uuid.as_str())) {
            return Ok(Some(found));
        }
        match last {
            Some(last) if page.more => after = Some(last),
            _ => return Ok(None),
        }
    }
}
