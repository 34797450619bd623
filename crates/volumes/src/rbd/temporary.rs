//! The temporary snapshot of a source image, from which a clone is made.
//!
//! ```text
//!  take ─────▶ clone attached ─────▶ moved to the snapshots' trash, gone with the last clone
//!    └ undone: removed
//! ```
//!
//! Taking one costs a round of the monitors, the only one on a caller's path: the number of the
//! clone's own snapshot is asked for at the same time.

use ceph::{CloneParent, Io, OpenMode, SnapId, SnapshotOf};
use cuttle_journal::{LocateError, Record, locate};
use cuttle_model::{ClusterTable, Credentials, ImageName, VolumeHandle};

use crate::rbd::controller::RbdController;
use crate::rbd::source::{Source, SourceError};
use crate::reach::{NamedBy, ReachError};

/// The name of the temporary snapshot that a volume is cloned from, as ceph-csi's.
pub(crate) fn temporary_name(clone: &ImageName) -> String {
    format!("{clone}-temp")
}

/// A temporary snapshot.
#[derive(Debug)]
pub(crate) struct Taken {
    /// The snapshot, as a clone's parent.
    pub(crate) parent: CloneParent,
    /// The number that was asked for beside it.
    pub(crate) number: Option<SnapId>,
}

/// Why there is no snapshot.
#[derive(Debug)]
pub(crate) enum NotTaken {
    /// The image is another than it was when it was looked up, or gone.
    Replaced,
    /// Ceph did not do it.
    Ceph(ceph::Error),
}

impl From<ceph::Error> for NotTaken {
    fn from(error: ceph::Error) -> Self {
        Self::Ceph(error)
    }
}

/// Takes a snapshot of a source; `beside` is the place of another snapshot to get a number for.
///
/// One of that name is removed before: an earlier attempt of the same making has left it.
pub(crate) fn take(source: &Source, name: &str, beside: Option<&Io>) -> Result<Taken, NotTaken> {
    let opened = match source.io.open_image(&source.image, OpenMode::ReadWrite) {
        Ok(opened) => opened,
        Err(error) if error.is_absent() => return Err(NotTaken::Replaced),
        Err(error) => return Err(error.into()),
    };
    if opened.id()? != source.id {
        opened.close()?;
        return Err(NotTaken::Replaced);
    }
    let number = beside.map(Io::start_snap_id).transpose()?;
    let snapshot = match opened.create_snapshot(name) {
        Err(error) if error.is_present() => {
            opened.remove_snapshot(name)?;
            opened.create_snapshot(name)?
        }
        taken => taken?,
    };
    let number = number.map(ceph::StartedSnapId::wait).transpose()?;
    opened.close()?;
    let taken = source.io.snapshot_by_id(&source.id, snapshot)?;
    let taken = taken.ok_or(NotTaken::Replaced)?;
    Ok(Taken {
        parent: source.parent(snapshot, taken.size),
        number,
    })
}

/// Removes a temporary snapshot that its making has left behind. Idempotent.
pub(crate) fn remove(io: &Io, image: &ImageName, name: &str) -> Result<(), ceph::Error> {
    let Some(id) = io.image_id(image)? else {
        return Ok(());
    };
    let snapshots = io.snapshots_by_id(&id)?.unwrap_or_default();
    let is_left =
        |known: &ceph::HeaderSnapshot| known.of == SnapshotOf::Users && known.name == name;
    if !snapshots.iter().any(is_left) {
        return Ok(());
    }
    let opened = match io.open_image(image, OpenMode::ReadWrite) {
        Ok(opened) => opened,
        Err(error) if error.is_absent() => return Ok(()),
        Err(error) => return Err(error),
    };
    opened.remove_snapshot(name)?;
    opened.close()
}

impl RbdController {
    /// Removes the temporary snapshot that an unfinished clone has left on the volume its record
    /// names. Idempotent; a volume that is gone has none.
    pub(crate) fn remove_temporary_of(
        &self,
        table: &ClusterTable,
        record: &Record,
        credentials: &Credentials,
    ) -> Result<(), SourceError> {
        let cloned = record.clone_of.as_deref().map(VolumeHandle::parse);
        let Some(Ok(VolumeHandle::Composed(handle))) = cloned else {
            return Ok(());
        };
        let (settings, cluster) =
            self.connect(table, &handle.cluster, NamedBy::Handle, credentials)?;
        let found = match locate(&cluster, &settings, &handle) {
            Ok(found) => found,
            Err(LocateError::PoolGone { .. }) => return Ok(()),
            Err(error) => {
                return Err(match ReachError::located(credentials, &settings, error) {
                    Ok(reach) => reach.into(),
                    Err(error) => error.into(),
                });
            }
        };
        let name = temporary_name(&record.image_name);
        remove(&found.io, &found.image, &name).map_err(|source| {
            let doing = "remove snapshots";
            ReachError::refused(credentials, &found.io, None, doing, source).into()
        })
    }
}
