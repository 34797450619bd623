//! The snapshots of an image that is being removed, and the image that ceph-csi puts between a
//! volume and its clone.

use ceph::{HeaderSnapshot, ReadOp, SnapshotOf, id_object, read_many, snapshot_ids_read};
use cuttle_model::{ImageId, ImageName};

use super::{DeleteError, Deletion, Target};
use crate::rbd::remains;
use crate::rbd::temporary::temporary_name;

/// Bytes enough for any `rbd_id.` object.
const ID_OBJECT_BYTES: usize = 4096;

/// What there is beside an image.
#[derive(Debug, Default)]
pub(in crate::rbd) struct Beside {
    /// Whether the image has snapshots, in sight or not.
    pub(super) has_snapshots: bool,
    /// The image that ceph-csi has put between the volume it cloned and this one.
    between: Option<ImageId>,
}

/// The name of the image that ceph-csi puts between a volume and its clone.
fn between(clone: &ImageName) -> Option<ImageName> {
    ImageName::new(temporary_name(clone)).ok()
}

impl Deletion<'_> {
    /// Finds out what there is beside an image, in one wait.
    pub(super) fn beside(
        &self,
        image: &ImageName,
        present: Option<&ImageId>,
    ) -> Result<Beside, DeleteError> {
        let failed = |error| self.image(image, error);
        let Some(between) = between(image) else {
            return Ok(Beside::default());
        };
        let object = id_object(&between);
        let mut reads = vec![(&self.io, ReadOp::data(&object, ID_OBJECT_BYTES))];
        reads.extend(present.map(|id| (&self.io, snapshot_ids_read(id))));
        let mut replies = read_many(&reads).into_iter();
        let id = replies.next().transpose().map_err(failed)?.flatten();
        let snapshots = replies.next().transpose().map_err(failed)?.flatten();
        let id = id.filter(|reply| !reply.bytes.is_empty());
        let id = id.map(|reply| self.io.parse_id(&object, &reply.bytes));
        let has_snapshots = match (present, snapshots) {
            (Some(id), Some(reply)) => {
                let ids = self.io.parse_snapshot_ids(id, &reply.bytes);
                !ids.map_err(failed)?.is_empty()
            }
            _ => false,
        };
        Ok(Beside {
            has_snapshots,
            between: id.transpose().map_err(failed)?,
        })
    }

    /// Refuses the deletion, before anything is touched, when the image between cannot go with its
    /// clone: somebody uses it, or it has snapshots that are not the clone's.
    pub(super) fn check_between(&self, target: &Target) -> Result<(), DeleteError> {
        let (Some(image), Some(id)) = (between(&target.image), &target.beside.between) else {
            return Ok(());
        };
        self.refuse_in_use(&image, id)?;
        self.own_snapshots(&image, id, &target.image)?;
        Ok(())
    }

    /// Refuses the deletion of an image that somebody has flattened without its snapshots (it lacks
    /// deep-flatten), while these have clones and still show the image's former parent.
    ///
    /// librbd (Ceph 16) cannot remove it, because of the clones, but before it finds that out it
    /// tells the parent that nothing shows it any more: the parent could be removed then, and the
    /// clones would lose what they show.
    pub(super) fn refuse_half_flattened(
        &self,
        image: &ImageName,
        id: &ImageId,
    ) -> Result<(), DeleteError> {
        let failed = |error| self.image(image, error);
        if self.io.parent_by_id(id, None).map_err(failed)?.is_some() {
            return Ok(());
        }
        let snapshots = self.io.snapshots_by_id(id).map_err(failed)?;
        for snapshot in snapshots.unwrap_or_default() {
            let parent = self.io.parent_by_id(id, Some(snapshot.id));
            if snapshot.clones > 0 && parent.map_err(failed)?.is_some() {
                let image = image.clone();
                return Err(DeleteError::HalfFlattened { image });
            }
        }
        Ok(())
    }

    /// Removes the image that ceph-csi puts between a volume and its clone, and which goes with the
    /// clone.
    pub(super) fn remove_between(&self, target: &Target) -> Result<(), DeleteError> {
        // An image without a record is left alone, and so is what it may have been cloned from.
        let Some(between) = between(&target.image).filter(|_| target.recorded) else {
            return Ok(());
        };
        let failed = |error| self.image(&between, error);
        let trashed = match &target.beside.between {
            Some(id) => {
                self.clear_snapshots(&between, id, &target.image)?;
                remains::trash_move(&self.io, &between).map_err(failed)?;
                vec![id.clone()]
            }
            // An attempt before this one may have got as far as the trash.
            None if target.present.is_none() => {
                let found = self.io.trash_find_all_by_name(&between).map_err(failed)?;
                found.into_iter().map(|entry| entry.id).collect()
            }
            None => Vec::new(),
        };
        self.empty_trash(&between, &trashed)
    }

    /// Moves the snapshot of that name, which belongs to the image, to the snapshots' trash, from
    /// where it goes with its last clone; refuses to remove an image with other snapshots in sight.
    pub(super) fn clear_snapshots(
        &self,
        image: &ImageName,
        id: &ImageId,
        own: &ImageName,
    ) -> Result<(), DeleteError> {
        for snapshot in self.own_snapshots(image, id, own)? {
            let trashed = self.io.trash_snapshot(id, snapshot.id);
            trashed.map_err(|error| self.image(image, error))?;
        }
        Ok(())
    }

    /// The snapshots of that name; an error when there are others in sight.
    fn own_snapshots(
        &self,
        image: &ImageName,
        id: &ImageId,
        own: &ImageName,
    ) -> Result<Vec<HeaderSnapshot>, DeleteError> {
        let snapshots = self.io.snapshots_by_id(id);
        let snapshots = snapshots.map_err(|error| self.image(image, error))?;
        let (own, others): (Vec<_>, Vec<_>) = snapshots
            .unwrap_or_default()
            .into_iter()
            .filter(|snapshot| snapshot.of == SnapshotOf::Users)
            .partition(|snapshot| snapshot.name == own.as_str());
        if others.is_empty() {
            return Ok(own);
        }
        Err(DeleteError::HasSnapshots {
            image: image.clone(),
            snapshots: others.into_iter().map(|snapshot| snapshot.name).collect(),
        })
    }
}
