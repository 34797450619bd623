//! The controller itself: its way to a cluster and a file system.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use ceph::{Clusters, FsRef};
use cuttle_model::{
    ClusterId, ClusterTable, ComposedHandle, Credentials, FsId, FsName, VolumeHandle,
};

use super::error::FsError;
use super::place::Place;
use super::whereabouts;
use crate::asked::AskedNames;
use crate::identity::Way;
use crate::reach::{NamedBy, ReachError};
use crate::settings::ControllerSettings;

/// Makes, changes and removes CephFS volumes. Cheap to clone, used by any number of threads.
#[derive(Debug, Clone)]
pub struct CephfsController {
    pub(crate) way: Way,
    pub(super) settings: Arc<ControllerSettings>,
    pub(super) asked: Arc<AskedNames>,
    /// What was already told to be left out, so that it is told once.
    left_out: Arc<Mutex<BTreeSet<(ClusterId, &'static str)>>>,
}

/// What a handle leads to.
pub(super) enum Reached {
    /// The file system of its volume.
    Place(Box<Place>, ComposedHandle),
    /// Nothing: the cluster has no file system of that number, and no pool of a former one has the
    /// volume's record.
    Gone,
}

impl CephfsController {
    /// A controller that connects through `clusters`.
    #[must_use]
    pub fn new(clusters: Clusters, settings: ControllerSettings) -> Self {
        Self {
            way: Way::new(clusters),
            settings: Arc::new(settings),
            asked: Arc::default(),
            left_out: Arc::default(),
        }
    }

    /// The file system of that name.
    pub(super) fn by_name(
        &self,
        table: &ClusterTable,
        id: &ClusterId,
        fs: &FsName,
        credentials: &Credentials,
    ) -> Result<Place, FsError> {
        let named_by = NamedBy::Parameter;
        let (settings, cluster) = self.way.connect(table, id, named_by, credentials)?;
        let found = cluster.file_system(FsRef::Name(fs));
        let found =
            found.map_err(|source| FsError::asking_for_file_systems(credentials, source))?;
        match found {
            Some(found) => Place::open(
                settings,
                cluster,
                found,
                &self.settings.instance,
                credentials,
            ),
            None => Err(ReachError::FsMissing {
                cluster: id.clone(),
                fs: fs.clone(),
            }
            .into()),
        }
    }

    /// The file system that a handle leads to.
    pub(super) fn by_handle(
        &self,
        table: &ClusterTable,
        handle: &VolumeHandle,
        credentials: &Credentials,
    ) -> Result<Reached, FsError> {
        let VolumeHandle::Composed(composed) = handle else {
            return Err(FsError::NotCephfs {
                handle: Box::new(handle.clone()),
            });
        };
        let named_by = NamedBy::Handle;
        let (settings, cluster) =
            self.way
                .connect(table, &composed.cluster, named_by, credentials)?;
        let number = FsId::new(composed.location);
        let found = cluster.file_system(FsRef::Id(number));
        let found =
            found.map_err(|source| FsError::asking_for_file_systems(credentials, source))?;
        let Some(found) = found else {
            whereabouts::prove_gone(&cluster, &settings, number, &composed.uuid, credentials)?;
            self.way.believe_absence(&settings, &cluster, None)?;
            return Ok(Reached::Gone);
        };
        let instance = &self.settings.instance;
        let place = Place::open(settings, cluster, found, instance, credentials)?;
        Ok(Reached::Place(Box::new(place), composed.clone()))
    }

    /// Says, once for each cluster, that a feature is left out because the cluster lacks a command.
    pub(super) fn leave_out(&self, cluster: &ClusterId, what: &'static str, command: &'static str) {
        let mut told = self.left_out.lock().unwrap_or_else(PoisonError::into_inner);
        if told.insert((cluster.clone(), what)) {
            tracing::warn!(%cluster, command, "{what} are left out: the cluster's manager lacks the command");
        }
    }
}
