//! Removing a volume.
//!
//! ```text
//!  handle ▶ record ‖ image id ▶ watched? ▶ trash ▶ manager's task ‖ name ▶ record
//! ```
//!
//! The record goes last: as long as it is there, a repeated delete finds everything else by it. A
//! record that is missing while a name or an image still speaks of it is what an interrupted
//! create, or an interrupted delete of ceph-csi, leaves; both are finished here.

use ceph::{Cluster, Io};
use cuttle_journal::{Journal, JournalError, Kind, LocateError, Located, locate};
use cuttle_model::{
    ClusterSettings, ClusterTable, CoName, ComposedHandle, Credentials, ImageId, ImageName,
    MigratedHandle, ObjectUuid, RadosNamespace, VolumeHandle,
};
use tracing::{info, warn};

mod error;
mod snapshots;

pub use error::DeleteError;
use snapshots::Beside;

use crate::existing::{DeleteVolume, Deleted};
use crate::rbd::controller::RbdController;
use crate::rbd::flatten;
use crate::rbd::in_use::watchers;
use crate::rbd::remains::{self, Presence};
use crate::reach::{NamedBy, ReachError};

/// One deletion under way.
pub(super) struct Deletion<'r> {
    pub(super) credentials: &'r Credentials,
    pub(super) io: Io,
}

/// What a deletion has to remove.
pub(super) struct Target {
    name: Option<CoName>,
    image: ImageName,
    /// The id of the image that has the name now.
    present: Option<ImageId>,
    /// The id that the record names.
    committed: Option<ImageId>,
    /// Whether the image is known to be the volume's, by a record or by the handle itself.
    recorded: bool,
    /// What there is beside the image.
    beside: Beside,
}

impl RbdController {
    /// Removes the volume: image, journal entries and all.
    ///
    /// A volume whose pool is gone, by the cluster's newest map, counts as removed: there is
    /// nothing left that could be. One in a cluster that does not answer, is not configured, or
    /// shows that it is not the volume's, does not.
    ///
    /// # Errors
    /// [`DeleteError`].
    ///
    /// # Blocking
    /// Some two dozen round trips, most of them librbd's; each bounded by the connection's
    /// time-outs.
    ///
    /// # Idempotency
    /// Idempotent, also after a crash at any point.
    pub fn delete(
        &self,
        table: &ClusterTable,
        request: &DeleteVolume,
    ) -> Result<Deleted, DeleteError> {
        let id = request.handle.cluster();
        let (settings, cluster) = self.connect(table, id, NamedBy::Handle, &request.credentials)?;
        match &request.handle {
            VolumeHandle::Composed(handle) => {
                self.delete_composed(table, request, &settings, &cluster, handle)
            }
            VolumeHandle::Migrated(handle) => {
                let deleted = delete_migrated(request, &cluster, handle)?;
                if deleted == Deleted::NothingThere {
                    self.way.believe_absence(&settings, &cluster, None)?;
                }
                Ok(deleted)
            }
        }
    }

    fn delete_composed(
        &self,
        table: &ClusterTable,
        request: &DeleteVolume,
        settings: &ClusterSettings,
        cluster: &Cluster,
        handle: &ComposedHandle,
    ) -> Result<Deleted, DeleteError> {
        let found = match locate(cluster, settings, handle) {
            Ok(found) => found,
            Err(LocateError::PoolGone { pool, .. }) => {
                self.way.believe_absence(settings, cluster, Some(pool))?;
                info!(volume.handle = %handle, %pool, "the volume's pool is gone, and the volume with it");
                return Ok(Deleted::NothingThere);
            }
            Err(error) => return Err(locating(&request.credentials, settings, error)),
        };
        let deletion = Deletion {
            credentials: &request.credentials,
            io: found.io.clone(),
        };
        let journal = match found.journal(settings, &self.settings.instance) {
            Ok(journal) => journal,
            // The directory went with its pool; the record is still here.
            Err(LocateError::PoolGone { .. }) => {
                Journal::new(Kind::Volume, found.io.clone(), &self.settings.instance)
            }
            Err(error) => return Err(locating(&request.credentials, settings, error)),
        };
        match deletion.target(&found, &journal)? {
            Some(target) => {
                deletion.run(&target, &journal, &found.uuid, || {
                    let unfinished = found.record.iter().filter(|it| !it.is_committed());
                    for record in unfinished {
                        self.remove_temporary_of(table, record, &request.credentials)?;
                    }
                    deletion.remove_between(&target)
                })?;
                Ok(Deleted::Removed)
            }
            None => {
                self.way.believe_absence(settings, cluster, None)?;
                Ok(Deleted::NothingThere)
            }
        }
    }
}

impl Deletion<'_> {
    /// What there is of the volume or snapshot; `None` when there is nothing at all.
    pub(super) fn target(
        &self,
        found: &Located,
        journal: &Journal,
    ) -> Result<Option<Target>, DeleteError> {
        let mut target = Target {
            name: None,
            image: found.image.clone(),
            present: found.image_id.clone(),
            committed: None,
            recorded: true,
            beside: self.beside(&found.image, found.image_id.as_ref())?,
        };
        if let Some(record) = &found.record {
            // The store that is called `default` keeps nothing: its key is in the secret.
            if let Some(store) = record.kms_id.as_ref().filter(|store| *store != "default") {
                let store = store.clone();
                return Err(DeleteError::Encrypted { store });
            }
            target.name.clone_from(&record.co_name);
            target.committed.clone_from(&record.image_id);
        }
        if target.name.is_none() {
            let name = journal.search(&found.uuid);
            target.name = name.map_err(|error| self.journal(error))?;
        }
        if found.record.is_some() {
            return Ok(Some(target));
        }
        // Without a record only half an image can be what an interrupted create has left; it has
        // the default name, or is found by the repeated create. A whole one is somebody's data.
        let failed = |error| self.image(&found.image, error);
        let cleared = remains::clear_torn(&self.io, &found.image).map_err(failed)?;
        target.present = None;
        target.recorded = false;
        if cleared == Presence::Whole {
            warn!(volume.uuid = %found.uuid, image = %found.image,
                "the image has no record; leaving it alone");
        }
        let something = target.name.is_some() || cleared == Presence::Torn;
        Ok(something.then_some(target))
    }

    /// Removes it. `beside` is done once the image is gone, or about to go, and before the record.
    pub(super) fn run(
        &self,
        target: &Target,
        journal: &Journal,
        uuid: &ObjectUuid,
        beside: impl FnOnce() -> Result<(), DeleteError>,
    ) -> Result<(), DeleteError> {
        let trashed = if target.recorded {
            self.check_between(target)?;
            self.move_to_trash(target)?
        } else {
            Vec::new()
        };
        // The name goes while the manager works: the record leads a repeated delete to both.
        let forgetting = match &target.name {
            Some(name) => {
                let begun = journal.start_forget_name(name, uuid);
                Some(begun.map_err(|error| self.journal(error))?)
            }
            None => None,
        };
        let emptied = self.empty_trash(&target.image, &trashed);
        if let Some(forgetting) = forgetting {
            forgetting.wait().map_err(|error| self.journal(error))?;
        }
        emptied?;
        beside()?;
        journal
            .forget_record(uuid)
            .map_err(|error| self.journal(error))
    }

    /// Moves the image to the trash, unless somebody uses it, and answers what is there now.
    fn move_to_trash(&self, target: &Target) -> Result<Vec<ImageId>, DeleteError> {
        let image = &target.image;
        let failed = |error| self.image(image, error);
        if let Some(present) = &target.present {
            self.refuse_in_use(image, present)?;
            if target.beside.has_snapshots {
                self.refuse_half_flattened(image, present)?;
                self.clear_snapshots(image, present, image)?;
            }
            // librbd moves an image without a header, too, but the manager stumbles over it.
            if target.committed.is_some() && remains::trash_move(&self.io, image).map_err(failed)? {
                return Ok(vec![present.clone()]);
            }
        }
        remains::clear_name(&self.io, image, target.committed.as_ref()).map_err(failed)
    }

    fn refuse_in_use(&self, image: &ImageName, id: &ImageId) -> Result<(), DeleteError> {
        let look = || watchers(&self.io, image, id).map_err(|error| self.image(image, error));
        let mut watchers = look()?;
        // The manager has it open to flatten it: what is deleted needs no data of its own.
        if !watchers.is_empty() && flatten::cancel(&self.io, id).unwrap_or(false) {
            watchers = look()?;
        }
        if watchers.is_empty() {
            return Ok(());
        }
        let image = image.clone();
        Err(DeleteError::InUse { image, watchers })
    }

    pub(super) fn empty_trash(
        &self,
        image: &ImageName,
        ids: &[ImageId],
    ) -> Result<(), DeleteError> {
        for id in ids {
            let removed = remains::remove_from_trash(&self.io, id);
            removed.map_err(|error| self.image(image, error))?;
        }
        Ok(())
    }

    pub(super) fn image(&self, image: &ImageName, source: ceph::Error) -> DeleteError {
        let image = image.clone();
        if source.is_denied() {
            ReachError::refused(self.credentials, &self.io, None, "remove images", source).into()
        } else if source.is_busy() || source.is_not_empty() {
            DeleteError::Held { image, source }
        } else {
            DeleteError::Image { image, source }
        }
    }

    fn journal(&self, error: JournalError) -> DeleteError {
        match ReachError::journal(self.credentials, &self.io, None, error) {
            Ok(reach) => reach.into(),
            Err(error) => error.into(),
        }
    }
}

/// Removes a volume of the in-tree plugin: an image without a journal, in the default namespace.
fn delete_migrated(
    request: &DeleteVolume,
    cluster: &Cluster,
    handle: &MigratedHandle,
) -> Result<Deleted, DeleteError> {
    let io = match cluster.io(handle.pool(), &RadosNamespace::default()) {
        Ok(io) => io,
        Err(source) if source.is_absent() => return Ok(Deleted::NothingThere),
        Err(source) => {
            let doing = format!("open pool {}", handle.pool());
            return Err(ReachError::Ceph { doing, source }.into());
        }
    };
    let deletion = Deletion {
        credentials: &request.credentials,
        io,
    };
    let image = handle.image().clone();
    let present = deletion.io.image_id(&image);
    let present = present.map_err(|error| deletion.image(&image, error))?;
    let target = Target {
        name: None,
        beside: deletion.beside(&image, present.as_ref())?,
        present,
        image,
        committed: None,
        recorded: true,
    };
    let trashed = deletion.move_to_trash(&target)?;
    deletion.empty_trash(&target.image, &trashed)?;
    if target.present.is_none() && trashed.is_empty() {
        Ok(Deleted::NothingThere)
    } else {
        Ok(Deleted::Removed)
    }
}

/// The error of looking up the volume or snapshot.
pub(super) fn locating(
    credentials: &Credentials,
    settings: &ClusterSettings,
    error: LocateError,
) -> DeleteError {
    match ReachError::located(credentials, settings, error) {
        Ok(reach) => reach.into(),
        Err(other) => other.into(),
    }
}
