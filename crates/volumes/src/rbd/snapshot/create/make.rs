//! Making a snapshot's record and image, and undoing them.

use std::time::SystemTime;

use ceph::ImageOptions;
use cuttle_journal::{JournalError, Kind, Record};
use cuttle_model::{ComposedHandle, ImageFeatures, ImageId, ImageName, ObjectUuid, chain};
use tracing::{info, warn};

use super::{Attempt, CreateSnapshotError, Creation};
use crate::rbd::clone::Clone;
use crate::rbd::header::read_header;
use crate::rbd::labels::inherited;
use crate::rbd::maker::Making;
use crate::rbd::temporary::{self, NotTaken};
use crate::rbd::unfinished::{Role, Trouble, Unfinished};
use crate::reach::ReachError;
use crate::snapshots::MadeSnapshot;

/// The features of every snapshot's image, as ceph-csi gives them.
const FEATURES: u64 = ImageFeatures::LAYERING.bits() | ImageFeatures::DEEP_FLATTEN.bits();

impl Creation<'_> {
    /// Makes record and image of a name just reserved.
    pub(super) fn make_new(&self, uuid: &ObjectUuid) -> Result<Attempt, CreateSnapshotError> {
        let image = self.image_name(uuid);
        let written = self.write_record(uuid, &image);
        let made = match written {
            Ok(true) => self.make_and_commit(uuid, &image, Making::Ours, &ImageId::of(uuid)),
            Ok(false) => return Ok(Attempt::Again),
            Err(error) => Err(error),
        };
        made.or_else(|failure| self.given_up(failure, uuid, &image, Making::Ours))
    }

    /// Writes the record, and with it becomes the maker: `false` when another is, or when the name
    /// was freed before the record was there, so that nothing would lead to it.
    pub(super) fn write_record(
        &self,
        uuid: &ObjectUuid,
        image: &ImageName,
    ) -> Result<bool, CreateSnapshotError> {
        let failed = |error| self.journal_failed(error);
        let written = self.journal.write_record(uuid, &self.record(image));
        if !written.map_err(failed)? {
            return Ok(false);
        }
        let entry = self.journal.find(&self.request.name).map_err(failed)?;
        if entry.is_some_and(|entry| entry.uuid == *uuid) {
            return Ok(true);
        }
        let removed = self.journal.forget_unfinished(uuid, &self.maker);
        removed.map_err(failed)?;
        Ok(false)
    }

    /// As the maker, with nothing under the image's name: takes the snapshot and makes the image.
    pub(super) fn make_and_commit(
        &self,
        uuid: &ObjectUuid,
        image: &ImageName,
        making: Making,
        planned: &ImageId,
    ) -> Result<Attempt, CreateSnapshotError> {
        let source = &self.source;
        let taken = temporary::take(source, image.as_str(), Some(&source.io));
        let taken = taken.map_err(|error| self.not_taken(error))?;
        let mut metadata = inherited(&source.metadata);
        metadata.extend(self.labels.iter().cloned());
        let options = ImageOptions {
            features: Some(FEATURES),
            ..ImageOptions::default()
        };
        let clone = Clone {
            io: &source.io,
            id: planned,
            image,
            size: taken.parent.size,
            options: &options,
            metadata: &metadata,
            parent: &taken.parent,
            parent_name: (&source.image, image.as_str()),
        };
        let failed = |error| self.image_failed(image, error);
        let id = match clone.make() {
            Ok(id) => id,
            // Another creation, which has lost the record to us, has just begun the image.
            Err(error) if error.is_present() => return Ok(Attempt::Again),
            Err(error) => return Err(failed(error)),
        };
        if let Some(number) = taken.number {
            let (object, write) = source
                .io
                .snapshot_write(&id, image.as_str(), number)
                .map_err(failed)?;
            source.io.write(&object, &write).map_err(failed)?;
        }
        source
            .io
            .trash_snapshot(&source.id, taken.parent.snapshot)
            .map_err(failed)?;
        self.commit(uuid, &id, making)?;
        self.made(uuid, image, &id).map(Attempt::Done)
    }

    pub(super) fn commit(
        &self,
        uuid: &ObjectUuid,
        id: &ImageId,
        making: Making,
    ) -> Result<(), CreateSnapshotError> {
        let maker = making.text(&self.maker);
        let committed = self.journal.commit(&self.request.name, uuid, id, &maker);
        committed.map_err(|error| self.journal_failed(error))
    }

    /// The answer to the request, with what the finished image's header says.
    pub(super) fn made(
        &self,
        uuid: &ObjectUuid,
        image: &ImageName,
        id: &ImageId,
    ) -> Result<MadeSnapshot, CreateSnapshotError> {
        let header = read_header(&self.source.io, id, &[]);
        let header = header.map_err(|error| self.refused("look at the image", error))?;
        let Some(header) = header else {
            return Err(CreateSnapshotError::HeaderMissing {
                name: self.request.name.clone(),
                image: image.clone(),
                id: id.clone(),
            });
        };
        Ok(MadeSnapshot {
            handle: ComposedHandle {
                cluster: self.cluster.clone(),
                location: self.source.io.pool_id().get(),
                uuid: uuid.clone(),
            },
            source: self.request.source.clone(),
            size: header.size,
            taken: header.created.unwrap_or(SystemTime::UNIX_EPOCH),
        })
    }

    /// The name the image of a UUID gets.
    pub(super) fn image_name(&self, uuid: &ObjectUuid) -> ImageName {
        self.request.parameters.prefix.image_name(uuid)
    }

    /// The record of a snapshot with this image.
    pub(super) fn record(&self, image: &ImageName) -> Record {
        let mut record = Record::new(
            Kind::Snapshot,
            self.request.name.clone(),
            image.clone(),
            self.source.record.owner.clone(),
            self.maker.clone(),
        );
        record.source = Some(self.source.image.clone());
        record.journal_pool = self.source.record.journal_pool;
        record
    }

    /// What follows when a snapshot cannot be finished: ours is undone, ceph-csi's is left as it
    /// is. What may still take effect (ETIMEDOUT) is left for the repeated request.
    pub(super) fn given_up(
        &self,
        error: CreateSnapshotError,
        uuid: &ObjectUuid,
        image: &ImageName,
        making: Making,
    ) -> Result<Attempt, CreateSnapshotError> {
        let name = &self.request.name;
        if let CreateSnapshotError::Journal(JournalError::RecordVanished { .. }) = error {
            if making == Making::Ours {
                self.abandon(uuid, image)?;
            }
            return Ok(Attempt::Again);
        }
        if making == Making::Foreign || error.as_ceph().is_some_and(ceph::Error::is_timeout) {
            return Err(error.left_to_repeat(name));
        }
        let unfinished = self.begun(uuid, image);
        let role = match unfinished.role_of_undoer(&self.record(image)) {
            Ok(Some(role)) => role,
            Ok(None) => return Ok(Attempt::Again),
            Err(failed) => {
                warn!(snapshot.name = %name, error = %chain(&failed),
                    "not undoing: whether another takes this snapshot is not known");
                return Err(error.left_to_repeat(name));
            }
        };
        let removed = unfinished.remove_all(&role, || self.remove_temporary(image));
        match removed.map_err(|trouble| self.trouble(image, trouble)) {
            Ok(false) => Ok(Attempt::Again),
            Ok(true) => {
                info!(snapshot.name = %name, image = %image, "snapshot undone");
                Err(CreateSnapshotError::Undone {
                    name: name.clone(),
                    cause: Box::new(error),
                })
            }
            Err(undoing) => Err(CreateSnapshotError::NotUndone {
                name: name.clone(),
                cause: Box::new(error),
                undoing: Box::new(undoing),
            }),
        }
    }

    /// Gives up what another process has taken away. When neither name nor record leads to the
    /// image any more, nobody else will remove it.
    fn abandon(&self, uuid: &ObjectUuid, image: &ImageName) -> Result<(), CreateSnapshotError> {
        let failed = |error| self.journal_failed(error);
        let entry = self.journal.find(&self.request.name).map_err(failed)?;
        if entry.is_some_and(|entry| entry.uuid == *uuid) {
            return Ok(());
        }
        if self.journal.load(uuid).map_err(failed)?.is_some() {
            return Ok(());
        }
        let unfinished = self.begun(uuid, image);
        let removed = unfinished.remove_image(&Role::Alone);
        removed.map_err(|trouble| self.trouble(image, trouble))?;
        self.remove_temporary(image)
            .map_err(|trouble| self.trouble(image, trouble))
    }

    /// Removes the snapshot of the source that the image was to show.
    pub(super) fn remove_temporary(&self, image: &ImageName) -> Result<(), Trouble> {
        let source = &self.source;
        temporary::remove(&source.io, &source.image, image.as_str()).map_err(Trouble::Image)
    }

    /// What this creation has begun.
    pub(super) fn begun<'u>(
        &'u self,
        uuid: &'u ObjectUuid,
        image: &'u ImageName,
    ) -> Unfinished<'u> {
        Unfinished {
            io: &self.source.io,
            journal: &self.journal,
            name: &self.request.name,
            uuid,
            image,
            maker: &self.maker,
        }
    }

    pub(super) fn trouble(&self, image: &ImageName, trouble: Trouble) -> CreateSnapshotError {
        match trouble {
            Trouble::Journal(error) => self.journal_failed(error),
            Trouble::Image(error) => self.image_failed(image, error),
            Trouble::Source(error) => error.into(),
        }
    }

    fn not_taken(&self, error: NotTaken) -> CreateSnapshotError {
        match error {
            NotTaken::Replaced => CreateSnapshotError::SourceChanged {
                image: self.source.image.clone(),
            },
            NotTaken::Ceph(error) if error.is_denied() => self.refused("take snapshots", error),
            NotTaken::Ceph(source) => CreateSnapshotError::Take {
                image: self.source.image.clone(),
                source,
            },
        }
    }

    pub(super) fn image_failed(
        &self,
        image: &ImageName,
        source: ceph::Error,
    ) -> CreateSnapshotError {
        if source.is_denied() {
            return self.refused("make snapshots", source);
        }
        CreateSnapshotError::Image {
            image: image.clone(),
            source,
        }
    }

    /// The error of a journal operation.
    pub(super) fn journal_failed(&self, error: JournalError) -> CreateSnapshotError {
        let credentials = &self.request.credentials;
        match ReachError::journal(credentials, &self.source.io, None, error) {
            Ok(reach) => reach.into(),
            Err(error) => error.into(),
        }
    }

    /// The error of a call that was refused or failed while `doing`.
    pub(super) fn refused(&self, doing: &str, source: ceph::Error) -> CreateSnapshotError {
        let credentials = &self.request.credentials;
        ReachError::refused(credentials, &self.source.io, None, doing, source).into()
    }
}
