//! Removing a volume.
//!
//! ```text
//!  handle ▶ record ‖ image id ▶ watched? ▶ trash ▶ manager's task ‖ name ▶ record
//! ```
//!
//! The record goes last: as long as it is there, a repeated delete finds everything else by it. A
//! record that is missing while a name or an image still speaks of it is what an interrupted
//! create, or an interrupted delete of ceph-csi, leaves; both are finished here.

use std::borrow::Cow;

use ceph::{Cluster, Io};
use cuttle_journal::{Journal, JournalError, Kind, LocateError, Located, locate};
use cuttle_model::{
    Class, ClusterSettings, ClusterTable, CoName, Code, ComposedHandle, Credentials, Explain,
    ImageId, ImageName, Left, MigratedHandle, ObjectUuid, RadosNamespace, VolumeHandle,
};
use tracing::{info, warn};

use crate::existing::{DeleteVolume, Deleted};
use crate::rbd::controller::RbdController;
use crate::rbd::in_use::watchers;
use crate::rbd::remains::{self, Presence};
use crate::reach::{NamedBy, ReachError, class_of};

/// Why a volume was not removed.
#[derive(Debug, thiserror::Error)]
pub enum DeleteError {
    /// The cluster cannot be worked in.
    #[error(transparent)]
    Reach(#[from] ReachError),
    /// The record could not be looked up.
    #[error(transparent)]
    Locate(#[from] LocateError),
    /// The journal failed.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Clients have the image open.
    #[error("image {image} is in use by {}", .watchers.join(", "))]
    InUse {
        /// The image.
        image: ImageName,
        /// Their addresses.
        watchers: Vec<String>,
    },
    /// The volume's encryption key lies in a key store, which deleting would orphan.
    #[error("volume is encrypted with a key in key store \"{store}\", which is not supported yet")]
    Encrypted {
        /// The store's identifier.
        store: String,
    },
    /// The image holds what must go first, or is being migrated.
    #[error("image {image} cannot be moved to the trash")]
    Held {
        /// The image.
        image: ImageName,
        /// Ceph's answer.
        #[source]
        source: ceph::Error,
    },
    /// The image could not be removed.
    #[error("could not remove image {image}")]
    Image {
        /// The image.
        image: ImageName,
        /// Ceph's answer.
        #[source]
        source: ceph::Error,
    },
}

impl Explain for DeleteError {
    fn code(&self) -> Code {
        match self {
            Self::Reach(error) => error.code(),
            Self::Locate(error) => error.code(),
            Self::Journal(error) => error.code(),
            Self::InUse { .. } => Code::new(1421),
            Self::Held { .. } => Code::new(1422),
            Self::Image { .. } => Code::new(1423),
            Self::Encrypted { .. } => Code::new(1424),
        }
    }

    fn class(&self) -> Class {
        match self {
            Self::Reach(error) => error.class(),
            Self::Locate(error) => error.class(),
            Self::Journal(error) => error.class(),
            Self::InUse { .. } | Self::Held { .. } | Self::Encrypted { .. } => Class::Unmet,
            Self::Image { source, .. } => class_of(source),
        }
    }

    fn left(&self) -> Left {
        match self {
            Self::Reach(error) => error.left(),
            Self::Locate(error) => error.left(),
            // Whatever failed, the volume is still known by its handle and half of it may be gone.
            Self::Journal(_) | Self::Image { .. } => Left::MaybeRunning,
            Self::InUse { .. } | Self::Held { .. } | Self::Encrypted { .. } => Left::Nothing,
        }
    }

    fn remedy(&self) -> Option<Cow<'static, str>> {
        let text = match self {
            Self::Reach(error) => return error.remedy(),
            Self::Locate(error) => return error.remedy(),
            Self::Journal(error) => return error.remedy(),
            Self::InUse { .. } => {
                "unmount the volume on these nodes; a node that died without unmounting lets go \
                 after 30 s, or when its address is fenced with `ceph osd blocklist add ADDRESS`"
                    .to_owned()
            }
            Self::Held { image, .. } => format!(
                "look at `rbd status {image}` and `rbd info {image}`; a client that holds the \
                 exclusive lock, or a migration, must end first"
            ),
            Self::Image { source, .. } => return source.remedy(),
            Self::Encrypted { .. } => {
                "delete it with ceph-csi, which removes the key as well; the record stays as it is"
                    .to_owned()
            }
        };
        Some(Cow::Owned(text))
    }
}

/// One deletion under way.
struct Deletion<'r> {
    credentials: &'r Credentials,
    io: Io,
}

/// What a deletion has to remove.
struct Target {
    name: Option<CoName>,
    image: ImageName,
    /// The id of the image that has the name now.
    present: Option<ImageId>,
    /// The id that the record names.
    committed: Option<ImageId>,
    /// Whether the image is known to be the volume's, by a record or by the handle itself.
    recorded: bool,
}

impl RbdController {
    /// Removes the volume: image, journal entries and all.
    ///
    /// A volume whose pool is gone, by the cluster's newest map, counts as removed: there is
    /// nothing left that could be. One in a cluster that does not answer, or is not configured,
    /// does not.
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
                self.delete_composed(request, &settings, &cluster, handle)
            }
            VolumeHandle::Migrated(handle) => delete_migrated(request, &cluster, handle),
        }
    }

    fn delete_composed(
        &self,
        request: &DeleteVolume,
        settings: &ClusterSettings,
        cluster: &Cluster,
        handle: &ComposedHandle,
    ) -> Result<Deleted, DeleteError> {
        let found = match locate(cluster, settings, handle) {
            Ok(found) => found,
            Err(LocateError::PoolGone { pool, .. }) => {
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
                deletion.run(&target, &journal, &found.uuid)?;
                Ok(Deleted::Removed)
            }
            None => Ok(Deleted::NothingThere),
        }
    }
}

impl Deletion<'_> {
    /// What there is of the volume; `None` when there is nothing at all.
    fn target(&self, found: &Located, journal: &Journal) -> Result<Option<Target>, DeleteError> {
        let mut target = Target {
            name: None,
            image: found.image.clone(),
            present: found.image_id.clone(),
            committed: None,
            recorded: true,
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

    fn run(
        &self,
        target: &Target,
        journal: &Journal,
        uuid: &ObjectUuid,
    ) -> Result<(), DeleteError> {
        let trashed = if target.recorded {
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
        journal
            .forget_record(uuid)
            .map_err(|error| self.journal(error))
    }

    /// Moves the image to the trash, unless somebody uses it, and answers what is there now.
    fn move_to_trash(&self, target: &Target) -> Result<Vec<ImageId>, DeleteError> {
        let image = &target.image;
        let failed = |error| self.image(image, error);
        if let Some(present) = &target.present {
            let watchers = watchers(&self.io, image, present).map_err(failed)?;
            if !watchers.is_empty() {
                let image = image.clone();
                return Err(DeleteError::InUse { image, watchers });
            }
            // librbd moves an image without a header, too, but the manager stumbles over it.
            if target.committed.is_some() && remains::trash_move(&self.io, image).map_err(failed)? {
                return Ok(vec![present.clone()]);
            }
        }
        remains::clear_name(&self.io, image, target.committed.as_ref()).map_err(failed)
    }

    fn empty_trash(&self, image: &ImageName, ids: &[ImageId]) -> Result<(), DeleteError> {
        for id in ids {
            let removed = remains::remove_from_trash(&self.io, id);
            removed.map_err(|error| self.image(image, error))?;
        }
        Ok(())
    }

    fn image(&self, image: &ImageName, source: ceph::Error) -> DeleteError {
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
    let target = Target {
        name: None,
        present: present.map_err(|error| deletion.image(&image, error))?,
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

/// The error of looking up the volume.
fn locating(
    credentials: &Credentials,
    settings: &ClusterSettings,
    error: LocateError,
) -> DeleteError {
    match ReachError::located(credentials, settings, error) {
        Ok(reach) => reach.into(),
        Err(other) => other.into(),
    }
}
