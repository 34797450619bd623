//! Making record and image, and committing them.

use ceph::{ImageOptions, WriteOp, header_object, write_many};
use cuttle_journal::{Journal, VolumeRecord, layout};
use cuttle_model::{
    ByteSize, ComposedHandle, ImageFeatures, ImageId, ImageName, ObjectSize, ObjectUuid, Striping,
};

use super::{Attempt, CreateError, Created, Creation};
use crate::context::volume_context;
use crate::reach::ReachError;

/// How far a failed commit got.
enum HalfDone {
    /// The record does not name the image.
    Uncommitted(CreateError),
    /// The record names the image, which lacks its metadata.
    Unlabelled(ceph::Error),
}

use HalfDone::{Uncommitted, Unlabelled};

impl Creation<'_> {
    /// Makes record and image of a name just reserved, at the same time.
    pub(super) fn make_new(&self, uuid: &ObjectUuid) -> Result<Attempt, CreateError> {
        let image = self.image_name(uuid);
        let object = layout::record_object(uuid);
        let write = Journal::record_write(&self.record(&image));
        let record = self.io.start_write(&object, &write);
        // Not sent, so certainly not written: the image need not be tried.
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                let error = self.record_failed(uuid, error);
                return self.undo(error, uuid, &image);
            }
        };
        let made = self.make_image(&image);
        let recorded = record.wait();
        let failure = match (recorded, made) {
            (Ok(()), Ok(())) => return self.finish(uuid, &image, None),
            // Another process has taken the reservation up: so do we.
            (Err(taken), _) if taken.is_present() => return Ok(Attempt::Again),
            (Ok(()), Err(taken)) if taken.is_present() => return Ok(Attempt::Again),
            // What may still happen decides, not what certainly failed.
            (Err(record), Err(made)) if record.is_timeout() && !made.is_timeout() => {
                self.record_failed(uuid, record)
            }
            (_, Err(made)) => self.image_failed(&image, made),
            (Err(record), Ok(())) => self.record_failed(uuid, record),
        };
        self.undo(failure, uuid, &image)
    }

    /// Makes the image of a volume whose record is written.
    pub(super) fn make_missing(
        &self,
        uuid: &ObjectUuid,
        image: &ImageName,
    ) -> Result<Attempt, CreateError> {
        match self.make_image(image) {
            Ok(()) => self.finish(uuid, image, None),
            Err(error) if error.is_present() => self.await_image(image),
            Err(error) => self.undo(self.image_failed(image, error), uuid, image),
        }
    }

    fn make_image(&self, image: &ImageName) -> Result<(), ceph::Error> {
        let parameters = &self.request.parsed.parameters;
        let options = ImageOptions {
            features: parameters.features.map(ImageFeatures::bits),
            data_pool: parameters.data_pool.clone(),
            stripe_unit: parameters
                .striping
                .map(|Striping { unit, .. }| unit.bytes()),
            stripe_count: parameters.striping.map(|Striping { count, .. }| count),
            order: parameters.object_size.map(ObjectSize::order),
        };
        self.io.create_image(image, self.size, &options)
    }

    /// Commits a whole image, and gives it its metadata. `known` is its id and size, if it was
    /// looked at before.
    pub(super) fn finish(
        &self,
        uuid: &ObjectUuid,
        image: &ImageName,
        known: Option<(ImageId, ByteSize)>,
    ) -> Result<Attempt, CreateError> {
        let (id, size) = match known {
            Some(known) => known,
            None => match self.io.image_id(image) {
                Ok(Some(id)) => (id, self.size),
                // Removed since it was made: a delete of the same volume is under way.
                Ok(None) => return Ok(Attempt::Again),
                Err(error) => {
                    return self.undo(self.image_failed(image, error), uuid, image);
                }
            },
        };
        match self.commit(uuid, &id) {
            Ok(()) => Ok(Attempt::Done(self.created(uuid, image, size))),
            Err(Uncommitted(error)) => self.undo(error, uuid, image),
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
    fn commit(&self, uuid: &ObjectUuid, id: &ImageId) -> Result<(), HalfDone> {
        let (record, commit) = Journal::commit_write(&self.request.name, uuid, id);
        let header = header_object(id);
        let label = WriteOp::new()
            .assert_exists()
            .set_image_metadata(&self.metadata_pairs());
        let mut writes = vec![(&self.io, record.as_str(), &commit)];
        if !self.metadata.is_empty() {
            writes.push((&self.io, header.as_str(), &label));
        }
        let mut outcomes = write_many(&writes).into_iter();
        outcomes.next().unwrap_or(Ok(())).map_err(|error| {
            Uncommitted(self.denied_or(error, |error| Journal::commit_error(uuid, error).into()))
        })?;
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
    pub(super) fn record(&self, image: &ImageName) -> VolumeRecord {
        VolumeRecord::new(
            self.request.name.clone(),
            image.clone(),
            self.request.parsed.metadata.pvc_namespace.clone(),
        )
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
        match error {
            cuttle_journal::JournalError::Ceph { doing, source } if source.is_denied() => {
                self.refused(&doing, source)
            }
            error => error.into(),
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
