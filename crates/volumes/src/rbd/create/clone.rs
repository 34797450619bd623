//! Making a volume of a snapshot or of another volume.
//!
//! ```text
//!  snapshot:  its image's own snapshot ──▶ clone
//!  volume:    temporary snapshot <image>-temp ──▶ clone ──▶ temporary snapshot to the trash
//! ```
//!
//! The record of a clone under way names the volume that has the temporary snapshot
//! (`cuttle.clone-of`), so that whoever takes up or deletes the half-made clone finds it. The commit
//! removes that key with the maker's text.

use ceph::CloneParent;
use cuttle_journal::Record;
use cuttle_model::{
    ByteSize, CapacityRange, ComposedHandle, ImageFeatures, ImageId, ImageName, ObjectUuid,
    round_for_image,
};
use tracing::info;

use super::{Attempt, CreateError, Creation};
use crate::rbd::clone::Clone;
use crate::rbd::header::Header;
use crate::rbd::labels::inherited;
use crate::rbd::maker::Making;
use crate::rbd::source::{Source, SourceError};
use crate::rbd::temporary::{self, NotTaken, temporary_name};
use crate::rbd::unfinished::{Role, Trouble};
use crate::snapshots::SourceKind;

/// librbd's feature for images that are clones, or have them, among others.
const OPERATIONS: ImageFeatures = ImageFeatures::from_bits(1 << 8);

/// What a new volume shows.
#[derive(Debug)]
pub(super) enum Origin {
    /// Nothing.
    Empty,
    /// The data of this.
    Of(Box<Source>),
    /// The data of something that does not exist (any more): a volume that was made of it before
    /// is found, half of one is removed, and none is made.
    Gone {
        /// What it was.
        kind: SourceKind,
        /// Its handle.
        handle: ComposedHandle,
    },
}

impl Origin {
    /// That there is nothing to take data from.
    pub(super) fn error(&self) -> Option<CreateError> {
        match self {
            Self::Gone { kind, handle } => Some(
                SourceError::Absent {
                    kind: *kind,
                    handle: handle.clone(),
                }
                .into(),
            ),
            Self::Empty | Self::Of(_) => None,
        }
    }

    pub(super) fn is_gone(&self) -> bool {
        matches!(self, Self::Gone { .. })
    }

    pub(super) fn source(&self) -> Option<&Source> {
        match self {
            Self::Of(source) => Some(source),
            Self::Empty | Self::Gone { .. } => None,
        }
    }
}

/// The size of a volume that shows a source of this size: what is requested, but no less than the
/// source has.
pub(super) fn size_of_clone(
    range: CapacityRange,
    source: ByteSize,
) -> Result<ByteSize, CreateError> {
    if let Some(limit) = range.limit.filter(|limit| *limit < source) {
        return Err(CreateError::SourceTooLarge {
            size: source,
            limit,
        });
    }
    let required = range.required.unwrap_or(ByteSize::ZERO).max(source);
    match round_for_image(Some(required), range.limit) {
        Ok(size) => Ok(size),
        // The limit is below the next whole size; the source's own fits.
        Err(_) if required == source => Ok(source),
        Err(error) => Err(error.into()),
    }
}

impl Creation<'_> {
    /// The handle of the volume that gets a temporary snapshot, for the record.
    pub(super) fn clone_of(&self) -> Option<String> {
        let source = self.origin.source()?;
        (source.kind == SourceKind::Volume).then(|| source.handle.encode())
    }

    /// Makes record and image of a name just reserved.
    pub(super) fn make_new_clone(
        &self,
        source: &Source,
        uuid: &ObjectUuid,
    ) -> Result<Attempt, CreateError> {
        let image = self.image_name(uuid);
        let written = self.journal.write_record(uuid, &self.record(&image));
        let made = match written.map_err(|error| self.journal_failed(error)) {
            Ok(true) => {
                self.clone_and_commit(source, uuid, &image, Making::Ours, &ImageId::of(uuid))
            }
            // Another process has taken the reservation up: so do we.
            Ok(false) => return Ok(Attempt::Again),
            Err(error) => Err(error),
        };
        made.or_else(|failure| self.undo(failure, uuid, &image))
    }

    /// As the maker, with nothing under the image's name.
    fn clone_and_commit(
        &self,
        source: &Source,
        uuid: &ObjectUuid,
        image: &ImageName,
        making: Making,
        planned: &ImageId,
    ) -> Result<Attempt, CreateError> {
        let snapshot = temporary_name(image);
        let (parent, parent_snapshot) = self.parent_of(source, &snapshot)?;
        let size = size_of_clone(self.request.range, parent.size)?.max(self.size);
        let mut metadata = inherited(&source.metadata);
        metadata.extend(self.metadata.iter().cloned());
        let clone = Clone {
            io: &self.io,
            id: planned,
            image,
            size,
            options: &self.options(),
            metadata: &metadata,
            parent: &parent,
            parent_name: (&source.image, parent_snapshot),
        };
        let id = match clone.make() {
            Ok(id) => id,
            // Another creation, which has lost the record to us, has just begun the image.
            Err(error) if error.is_present() => return Ok(Attempt::Again),
            // The snapshot has been deleted meanwhile.
            Err(error) if error.is_absent() => {
                return Err(CreateError::SourceChanged {
                    image: source.image.clone(),
                });
            }
            Err(error) => return Err(self.image_failed(image, error)),
        };
        if source.kind == SourceKind::Volume {
            let moved = source.io.trash_snapshot(&source.id, parent.snapshot);
            moved.map_err(|error| self.image_failed(image, error))?;
        }
        let maker = self.maker_of(making);
        let committed = self.journal.commit(&self.request.name, uuid, &id, &maker);
        committed.map_err(|error| self.journal_failed(error))?;
        Ok(Attempt::Done(self.created(uuid, image, size)))
    }

    /// The snapshot to clone, and its name.
    fn parent_of<'s>(
        &self,
        source: &'s Source,
        temporary: &'s str,
    ) -> Result<(CloneParent, &'s str), CreateError> {
        match source.kind {
            SourceKind::Volume => {
                let taken = temporary::take(source, temporary, None);
                let taken = taken.map_err(|error| self.not_taken(source, error))?;
                Ok((taken.parent, temporary))
            }
            SourceKind::Snapshot => {
                let own = source.own_snapshot();
                let own = own.map_err(|error| self.refused("look at the snapshot", error))?;
                let own = own.ok_or_else(|| SourceError::Damaged {
                    kind: source.kind,
                    handle: source.handle.clone(),
                    image: source.image.clone(),
                    part: "snapshot of its own",
                })?;
                Ok((own, source.image.as_str()))
            }
        }
    }

    fn not_taken(&self, source: &Source, error: NotTaken) -> CreateError {
        match error {
            NotTaken::Replaced => CreateError::SourceChanged {
                image: source.image.clone(),
            },
            NotTaken::Ceph(error) if error.is_denied() => self.refused("take snapshots", error),
            NotTaken::Ceph(error) => CreateError::Take {
                image: source.image.clone(),
                source: error,
            },
        }
    }

    /// As the maker of a clone that was begun before. Ours holds no data and is made anew, with an
    /// identifier of its own, because the one before may still be in the trash; ceph-csi's is
    /// finished if it shows the source.
    pub(super) fn adopt_clone(
        &self,
        source: &Source,
        uuid: &ObjectUuid,
        image: &ImageName,
        making: Making,
    ) -> Result<Attempt, CreateError> {
        let random = ImageId::of(&ObjectUuid::random());
        let made = match making {
            Making::Ours => {
                let role = Role::Maker(self.maker.clone());
                if !self.remove_image(uuid, image, &role)? {
                    return Ok(Attempt::Again);
                }
                self.clone_and_commit(source, uuid, image, making, &random)
            }
            Making::Foreign => {
                if let Some((id, size)) = self.foreign_clone(source, image)? {
                    return self.finish(uuid, image, Some((id, size)), making);
                }
                // Half an image is moved to the trash, and stays there.
                self.clear_name(image)?;
                self.clone_and_commit(source, uuid, image, making, &random)
            }
        };
        made.or_else(|failure| self.given_up(failure, uuid, image, making))
    }

    /// A clone of the source that ceph-csi has made, grown to its size if need be.
    fn foreign_clone(
        &self,
        source: &Source,
        image: &ImageName,
    ) -> Result<Option<(ImageId, ByteSize)>, CreateError> {
        let Some(id) = self.id_of(image)? else {
            return Ok(None);
        };
        let Some(header) = self.look_at(&id)? else {
            return Ok(None);
        };
        let parent = self.io.parent_by_id(&id, None);
        let parent = parent.map_err(|error| self.refused("look at the image", error))?;
        let Some(parent) = parent else {
            return Ok(None);
        };
        self.check_origin(&header, image, &id)?;
        let failed = |error| self.image_failed(image, error);
        // librbd makes the parent known last.
        let shown = CloneParent {
            io: self
                .cluster
                .io(parent.pool, &parent.namespace)
                .map_err(failed)?,
            image: parent.image.clone(),
            features: source.features.bits(),
            order: source.order,
            snapshot: parent.snapshot,
            size: parent.overlap,
        };
        match self.io.attach_child(&shown, &id) {
            Ok(()) => {}
            // In the snapshots' trash, where it would not be without a clone.
            Err(error) if error.is_absent() => {}
            Err(error) => return Err(failed(error)),
        }
        let size = self.size.max(header.size);
        if header.size < size {
            let opened = self.io.open_image(image, ceph::OpenMode::ReadWrite);
            let opened = opened.map_err(failed)?;
            opened.resize(size, false).map_err(failed)?;
            opened.close().map_err(failed)?;
        }
        Ok(Some((id, size)))
    }

    /// Whether an existing image shows what is requested. One that has been flattened since tells
    /// no origin any more, and counts as fitting.
    pub(super) fn check_origin(
        &self,
        header: &Header,
        image: &ImageName,
        id: &ImageId,
    ) -> Result<(), CreateError> {
        if let Origin::Gone { .. } = &self.origin {
            return Ok(());
        }
        let failed = |error| self.refused("look at the image", error);
        let Some(parent) = self.parent_shown(header, id)? else {
            return Ok(());
        };
        let Some(source) = self.origin.source() else {
            return self.other_origin(&parent.image);
        };
        let same_pool = parent.pool == source.io.pool_id();
        if same_pool && parent.image == source.id {
            return Ok(());
        }
        // ceph-csi puts an image of its own between a volume and its clone.
        let between = ImageName::new(temporary_name(image)).ok();
        let between = match between.filter(|_| source.kind == SourceKind::Volume) {
            Some(name) => self.io.image_id(&name).map_err(failed)?,
            None => None,
        };
        if between.as_ref() != Some(&parent.image) {
            return self.other_origin(&parent.image);
        }
        let grand = self
            .io
            .parent_by_id(&parent.image, Some(parent.snapshot))
            .map_err(failed)?;
        match grand {
            Some(grand) if grand.image != source.id => self.other_origin(&grand.image),
            Some(_) | None => Ok(()),
        }
    }

    /// Whether an image shows the data of another.
    pub(super) fn is_clone(&self, header: &Header, id: &ImageId) -> Result<bool, CreateError> {
        Ok(self.parent_shown(header, id)?.is_some())
    }

    fn parent_shown(
        &self,
        header: &Header,
        id: &ImageId,
    ) -> Result<Option<ceph::Parent>, CreateError> {
        if !header.features.contains(OPERATIONS) {
            return Ok(None);
        }
        let parent = self.io.parent_by_id(id, None);
        parent.map_err(|error| self.refused("look at the image", error))
    }

    fn other_origin(&self, parent: &ImageId) -> Result<(), CreateError> {
        let requested = match self.origin.source() {
            Some(source) => format!("{} {}", source.kind, source.handle),
            None => "none".to_owned(),
        };
        Err(CreateError::Incompatible {
            name: self.request.name.clone(),
            property: "content source",
            existing: format!("image id {parent}"),
            requested,
        })
    }

    /// Removes the temporary snapshot of the volume that this creation clones.
    pub(super) fn remove_temporary(&self, image: &ImageName) -> Result<(), Trouble> {
        match self.origin.source() {
            Some(source) if source.kind == SourceKind::Volume => {
                temporary::remove(&source.io, &source.image, &temporary_name(image))
                    .map_err(Trouble::Image)
            }
            Some(_) | None => Ok(()),
        }
    }

    /// As the maker of a name whose source is gone. What ceph-csi has begun is left as it is.
    pub(super) fn drop_reserved(
        &self,
        uuid: &ObjectUuid,
        image: &ImageName,
        making: Making,
    ) -> Result<Attempt, CreateError> {
        match making {
            Making::Ours => self.begin_anew(uuid, &self.record(image)),
            Making::Foreign => self.origin.error().map_or(Ok(Attempt::Again), Err),
        }
    }

    /// As the maker of a creation that was begun with another origin, or whose source is gone:
    /// removes it all, so that the name is free.
    pub(super) fn begin_anew(
        &self,
        uuid: &ObjectUuid,
        record: &Record,
    ) -> Result<Attempt, CreateError> {
        let image = &record.image_name;
        info!(volume.name = %self.request.name, image = %image,
            "removing an unfinished volume that was to have another content");
        let role = Role::Maker(self.maker.clone());
        let removed = self.unfinished(uuid, image).remove_all(&role, || {
            let credentials = &self.request.credentials;
            self.controller
                .remove_temporary_of(self.table, record, credentials)
                .map_err(Trouble::Source)
        });
        removed.map_err(|trouble| self.trouble(image, trouble))?;
        Ok(Attempt::Again)
    }
}
