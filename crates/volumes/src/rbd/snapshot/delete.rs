//! Removing a snapshot.
//!
//! ```text
//!  handle ▶ record ‖ image id ▶ watched? ▶ its own snapshot to the snapshots' trash ▶ image to the
//!  trash ▶ manager's task ‖ name ▶ record
//! ```
//!
//! As the removal of a volume; no round of the monitors. What is in the snapshots' trash goes with
//! the image, or with the last volume that was restored from it.

use cuttle_journal::{Journal, Kind, LocateError, Located, Record, locate_snapshot};
use cuttle_model::ClusterTable;
use tracing::info;

use crate::existing::Deleted;
use crate::rbd::controller::RbdController;
use crate::rbd::delete::{DeleteError, Deletion, locating};
use crate::rbd::temporary;
use crate::reach::NamedBy;
use crate::snapshots::DeleteSnapshot;

impl RbdController {
    /// Removes the snapshot: image, journal entries and all. Volumes restored from it stay.
    ///
    /// One whose pool is gone, by the cluster's newest map, counts as removed.
    ///
    /// # Errors
    /// [`DeleteError`].
    ///
    /// # Blocking
    /// As the removal of a volume.
    ///
    /// # Idempotency
    /// Idempotent, also after a crash at any point.
    pub fn delete_snapshot(
        &self,
        table: &ClusterTable,
        request: &DeleteSnapshot,
    ) -> Result<Deleted, DeleteError> {
        let (handle, credentials) = (&request.handle, &request.credentials);
        let (settings, cluster) =
            self.connect(table, &handle.cluster, NamedBy::Handle, credentials)?;
        let found = match locate_snapshot(&cluster, &settings, handle) {
            Ok(found) => found,
            Err(LocateError::PoolGone { pool, .. }) => {
                self.way.believe_absence(&settings, &cluster, Some(pool))?;
                info!(snapshot.handle = %handle, %pool, "the snapshot's pool is gone, and the snapshot with it");
                return Ok(Deleted::NothingThere);
            }
            Err(error) => return Err(locating(credentials, &settings, error)),
        };
        let instance = &self.settings.instance;
        let journal = match found.journal(&settings, instance) {
            Ok(journal) => journal,
            // The directory went with its pool; the record is still here.
            Err(LocateError::PoolGone { .. }) => {
                Journal::new(Kind::Snapshot, found.io.clone(), instance)
            }
            Err(error) => return Err(locating(credentials, &settings, error)),
        };
        let deletion = Deletion {
            credentials,
            io: found.io.clone(),
        };
        if let Some(record) = &found.record {
            check_image(&found, record)?;
        }
        let Some(target) = deletion.target(&found, &journal)? else {
            self.way.believe_absence(&settings, &cluster, None)?;
            return Ok(Deleted::NothingThere);
        };
        deletion.run(&target, &journal, &found.uuid, || {
            deletion.remove_temporary(&found)
        })?;
        Ok(Deleted::Removed)
    }
}

/// An image of the same name and another id is not the snapshot's.
fn check_image(found: &Located, record: &Record) -> Result<(), DeleteError> {
    match (&record.image_id, &found.image_id) {
        (Some(recorded), Some(present)) if recorded != present => Err(DeleteError::Replaced {
            image: found.image.clone(),
            present: present.clone(),
            recorded: recorded.clone(),
        }),
        _ => Ok(()),
    }
}

impl Deletion<'_> {
    /// Removes the snapshot of the volume's image that an unfinished creation has left.
    fn remove_temporary(&self, found: &Located) -> Result<(), DeleteError> {
        let record = found
            .record
            .as_ref()
            .filter(|record| !record.is_committed());
        let Some(source) = record.and_then(|record| record.source.as_ref()) else {
            return Ok(());
        };
        let removed = temporary::remove(&found.io, source, found.image.as_str());
        removed.map_err(|error| self.image(source, error))
    }
}
