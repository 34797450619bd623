//! Making record and image, and committing them.

use std::time::{Duration, Instant};

use ceph::{ImageOptions, ImagePlan, WriteOp, header_object, write_many};
use cuttle_journal::{Journal, Kind, Record};
use cuttle_model::{
    ByteSize, ComposedHandle, ImageFeatures, ImageId, ImageName, ObjectSize, ObjectUuid, Striping,
};
use tracing::warn;

use super::{Attempt, CreateError, Created, Creation};
use crate::rbd::context::volume_context;
use crate::rbd::maker::Making;
use crate::rbd::remains;
use crate::reach::ReachError;

/// A making that took longer looks whether its name is still its own.
const LONG: Duration = Duration::from_secs(1);

/// Why record and image are not both made.
enum NotMade {
    /// One of them is there already.
    Taken,
    /// One of them failed.
    Failed(CreateError),
}

/// The outcome of several writes that belong together: a failure that may still happen, else any
/// failure.
fn worst(outcomes: impl Iterator<Item = Result<(), ceph::Error>>) -> Result<(), ceph::Error> {
    let mut worst: Result<(), ceph::Error> = Ok(());
    for outcome in outcomes {
        let is_worse = match (&worst, &outcome) {
            (_, Ok(())) => false,
            (Ok(()), Err(_)) => true,
            (Err(known), Err(error)) => error.is_timeout() && !known.is_timeout(),
        };
        if is_worse {
            worst = outcome;
        }
    }
    worst
}

/// How far a failed commit got.
enum HalfDone {
    /// The record does not name the image.
    Uncommitted(CreateError),
    /// The record names the image, which lacks its metadata.
    Unlabelled(ceph::Error),
}

use HalfDone::{Uncommitted, Unlabelled};

impl Creation<'_> {
    /// Makes record and image of a name just reserved.
    pub(super) fn make_new(&self, uuid: &ObjectUuid) -> Result<Attempt, CreateError> {
        if let Some(source) = self.origin.source() {
            return self.make_new_clone(source, uuid);
        }
        let image = self.image_name(uuid);
        let (id, metadata) = (ImageId::of(uuid), self.metadata_pairs());
        let plan = self
            .io
            .plan_image_as(&id, &image, self.size, &self.options(), &metadata);
        let (plan, outcome) = match plan {
            Ok(Some(plan)) => {
                let outcome = self.make_planned(uuid, &image, &plan);
                (Some(plan), outcome)
            }
            Ok(None) => (None, self.make_other(uuid, &image)),
            Err(error) => (None, Err(self.refused("read the pool's settings", error))),
        };
        let Err(failure) = outcome else {
            return outcome;
        };
        let attempt = self.undo(failure, uuid, &image)?;
        if let Some(plan) = &plan {
            self.drop_late(uuid, &image, plan.id())?;
        }
        Ok(attempt)
    }

    /// The everyday image: record and names at once, then the header, then the commit.
    fn make_planned(
        &self,
        uuid: &ObjectUuid,
        image: &ImageName,
        plan: &ImagePlan,
    ) -> Result<Attempt, CreateError> {
        let begun = Instant::now();
        let record = Kind::Volume.record_object(uuid);
        let write = Journal::record_write(&self.record(image));
        let mut writes = vec![(record.as_str(), &write)];
        writes.extend(
            plan.names()
                .iter()
                .map(|(object, write)| (object.as_str(), write)),
        );
        let mut outcomes = self.write_all(&writes).into_iter();
        let recorded = outcomes.next().unwrap_or(Ok(()));
        let named = worst(outcomes);
        match self.both(uuid, image, recorded, named) {
            Ok(()) => {}
            Err(NotMade::Taken) => return Ok(Attempt::Again),
            Err(NotMade::Failed(error)) => return Err(error),
        }
        let header: Vec<_> = plan
            .header()
            .iter()
            .map(|(object, write)| (object.as_str(), write))
            .collect();
        worst(self.write_all(&header).into_iter())
            .map_err(|error| self.image_failed(image, error))?;
        let (record, commit) = self.commit_write(uuid, plan.id(), &self.maker);
        let committed = self.io.write(&record, &commit);
        committed.map_err(|error| self.commit_failed(uuid, error))?;
        if begun.elapsed() > LONG && !self.is_wanted(uuid, image, plan.id())? {
            return Ok(Attempt::Again);
        }
        Ok(Attempt::Done(self.created(uuid, image, self.size)))
    }

    /// Whether the name still leads to a volume that took long to make. If not, another has taken
    /// up the name before the record was there, made the volume, and deleted it: nobody knows of
    /// this image, which has held no data, so image and record are removed.
    fn is_wanted(
        &self,
        uuid: &ObjectUuid,
        image: &ImageName,
        id: &ImageId,
    ) -> Result<bool, CreateError> {
        let entry = self.journal.find(&self.request.name);
        let entry = entry.map_err(|error| {
            self.journal_failed(error)
                .left_to_repeat(&self.request.name)
        })?;
        if entry.is_some_and(|entry| entry.uuid == *uuid) {
            return Ok(true);
        }
        warn!(volume.name = %self.request.name, image = %image,
            "the name was freed while the volume was being made; removing it");
        let failed = |error| {
            self.image_failed(image, error)
                .left_to_repeat(&self.request.name)
        };
        if self.io.image_id(image).map_err(failed)?.as_ref() == Some(id) {
            self.io.trash_move(image).map_err(failed)?;
            remains::remove_from_trash(&self.io, id).map_err(failed)?;
        }
        let removed = self.journal.forget_record(uuid);
        removed.map_err(|error| {
            self.journal_failed(error)
                .left_to_repeat(&self.request.name)
        })?;
        Ok(false)
    }

    /// Any other image: librbd makes it, once the record is there. So no image of ours is ever
    /// whole without a record.
    fn make_other(&self, uuid: &ObjectUuid, image: &ImageName) -> Result<Attempt, CreateError> {
        let object = Kind::Volume.record_object(uuid);
        let write = Journal::record_write(&self.record(image));
        match self.io.write(&object, &write) {
            Ok(()) => {}
            // Another process has taken the reservation up: so do we.
            Err(taken) if taken.is_present() => return Ok(Attempt::Again),
            Err(error) => return Err(self.record_failed(uuid, error)),
        }
        match self.make_with_librbd(image) {
            Ok(()) => self.finish(uuid, image, None, Making::Ours),
            Err(taken) if taken.is_present() => Ok(Attempt::Again),
            Err(error) => Err(self.image_failed(image, error)),
        }
    }

    /// What follows from the outcomes of writing the record and making the image. What may still
    /// happen counts for more than what certainly failed.
    fn both(
        &self,
        uuid: &ObjectUuid,
        image: &ImageName,
        record: Result<(), ceph::Error>,
        made: Result<(), ceph::Error>,
    ) -> Result<(), NotMade> {
        match (record, made) {
            (Ok(()), Ok(())) => Ok(()),
            // Another process has taken the reservation up: so do we.
            (Err(taken), _) if taken.is_present() => Err(NotMade::Taken),
            (Ok(()), Err(taken)) if taken.is_present() => Err(NotMade::Taken),
            (Err(record), Err(made)) if record.is_timeout() && !made.is_timeout() => {
                Err(NotMade::Failed(self.record_failed(uuid, record)))
            }
            (_, Err(made)) => Err(NotMade::Failed(self.image_failed(image, made))),
            (Err(record), Ok(())) => Err(NotMade::Failed(self.record_failed(uuid, record))),
        }
    }

    fn write_all(&self, writes: &[(&str, &WriteOp)]) -> Vec<Result<(), ceph::Error>> {
        let writes: Vec<_> = writes
            .iter()
            .map(|(object, write)| (&self.io, *object, *write))
            .collect();
        write_many(&writes)
    }

    pub(super) fn make_with_librbd(&self, image: &ImageName) -> Result<(), ceph::Error> {
        self.io.create_image(image, self.size, &self.options())
    }

    pub(super) fn options(&self) -> ImageOptions {
        let parameters = &self.request.parsed.parameters;
        ImageOptions {
            features: parameters.features.map(ImageFeatures::bits),
            data_pool: parameters.data_pool.clone(),
            stripe_unit: parameters
                .striping
                .map(|Striping { unit, .. }| unit.bytes()),
            stripe_count: parameters.striping.map(|Striping { count, .. }| count),
            order: parameters.object_size.map(ObjectSize::order),
        }
    }

    /// Commits a whole image, and gives it its metadata. `known` is its id and size, if it was
    /// looked at before.
    pub(super) fn finish(
        &self,
        uuid: &ObjectUuid,
        image: &ImageName,
        known: Option<(ImageId, ByteSize)>,
        making: Making,
    ) -> Result<Attempt, CreateError> {
        let (id, size) = match known {
            Some(known) => known,
            None => match self.io.image_id(image) {
                Ok(Some(id)) => (id, self.size),
                // Removed since it was made: a delete of the same volume is under way.
                Ok(None) => return Ok(Attempt::Again),
                Err(error) => {
                    let error = self.image_failed(image, error);
                    return self.given_up(error, uuid, image, making);
                }
            },
        };
        match self.commit(uuid, &id, &self.maker_of(making)) {
            Ok(()) => Ok(Attempt::Done(self.created(uuid, image, size))),
            Err(Uncommitted(error)) => self.given_up(error, uuid, image, making),
            // Committed is made, and perhaps handed out by another process already: the repeated
            // request sets what is missing.
            Err(Unlabelled(source)) => Err(CreateError::Unlabelled {
                name: self.request.name.clone(),
                image: image.clone(),
                source,
            }),
        }
    }

    /// Writes the image's id into the record and the metadata into the image, at the same time.
    fn commit(&self, uuid: &ObjectUuid, id: &ImageId, maker: &str) -> Result<(), HalfDone> {
        let (record, commit) = self.commit_write(uuid, id, maker);
        let header = header_object(id);
        let label = WriteOp::new()
            .assert_exists()
            .set_image_metadata(&self.metadata_pairs());
        let mut writes = vec![(&self.io, record.as_str(), &commit)];
        if !self.metadata.is_empty() {
            writes.push((&self.io, header.as_str(), &label));
        }
        let mut outcomes = write_many(&writes).into_iter();
        let committed = outcomes.next().unwrap_or(Ok(()));
        committed.map_err(|error| Uncommitted(self.commit_failed(uuid, error)))?;
        outcomes.next().unwrap_or(Ok(())).map_err(Unlabelled)
    }

    pub(super) fn metadata_pairs(&self) -> Vec<(&str, &str)> {
        let pairs = self.metadata.iter();
        pairs
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .collect()
    }

    /// The answer to the request.
    pub(super) fn created(&self, uuid: &ObjectUuid, image: &ImageName, size: ByteSize) -> Created {
        Created {
            handle: ComposedHandle {
                cluster: self.settings.id.clone(),
                location: self.io.pool_id().get(),
                uuid: uuid.clone(),
            },
            size,
            context: volume_context(&self.io, image, &self.request.parsed),
        }
    }

    /// The name the image of a UUID gets.
    pub(super) fn image_name(&self, uuid: &ObjectUuid) -> ImageName {
        self.request.parsed.parameters.prefix.image_name(uuid)
    }

    /// The record of a volume with this image.
    pub(super) fn record(&self, image: &ImageName) -> Record {
        let mut record = Record::new(
            Kind::Volume,
            self.request.name.clone(),
            image.clone(),
            self.request.parsed.metadata.pvc_namespace.clone(),
            self.maker.clone(),
        );
        record.clone_of = self.clone_of();
        record
    }

    fn commit_write(&self, uuid: &ObjectUuid, id: &ImageId, maker: &str) -> (String, WriteOp) {
        self.journal
            .commit_write(&self.request.name, uuid, id, maker)
    }

    fn commit_failed(&self, uuid: &ObjectUuid, error: ceph::Error) -> CreateError {
        self.denied_or(error, |error| Journal::commit_error(uuid, error).into())
    }

    fn record_failed(&self, uuid: &ObjectUuid, error: ceph::Error) -> CreateError {
        self.denied_or(error, |source| {
            let doing = format!("write the record {uuid}");
            cuttle_journal::JournalError::Ceph { doing, source }.into()
        })
    }

    pub(super) fn image_failed(&self, image: &ImageName, error: ceph::Error) -> CreateError {
        // Of the image's own objects none can be missing yet: it is the namespace.
        if error.is_absent() && !self.io.namespace().is_default() {
            return ReachError::NamespaceMissing {
                pool: self.io.pool_name().to_owned(),
                namespace: self.io.namespace().clone(),
            }
            .into();
        }
        self.denied_or(error, |source| CreateError::Image {
            image: image.clone(),
            size: self.size,
            source,
        })
    }

    /// The error of a journal operation.
    pub(super) fn journal_failed(&self, error: cuttle_journal::JournalError) -> CreateError {
        let data_pool = self.request.parsed.parameters.data_pool.as_ref();
        let credentials = &self.request.credentials;
        match ReachError::journal(credentials, &self.io, data_pool, error) {
            Ok(reach) => reach.into(),
            Err(error) => error.into(),
        }
    }

    /// The error of a call that was refused or failed while `doing`.
    pub(super) fn refused(&self, doing: &str, source: ceph::Error) -> CreateError {
        let data_pool = self.request.parsed.parameters.data_pool.as_ref();
        let credentials = &self.request.credentials;
        ReachError::refused(credentials, &self.io, data_pool, doing, source).into()
    }

    fn denied_or(
        &self,
        error: ceph::Error,
        other: impl FnOnce(ceph::Error) -> CreateError,
    ) -> CreateError {
        if error.is_denied() {
            self.refused("make volumes", error)
        } else {
            other(error)
        }
    }
}
