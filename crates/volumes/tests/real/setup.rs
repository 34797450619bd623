//! A controller on the shared cluster and a RADOS namespace of the test's own.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ceph::{Cluster, Clusters, ConnectOptions, Io};
use cuttle_door::{Doors, FaultPlan};
use cuttle_model::parameters::RbdParameters;
use cuttle_model::{
    Access, AccessMode, ByteSize, CapacityRange, ClusterId, ClusterSettings, ClusterTable, CoName,
    ComposedHandle, Credentials, Monitors, PoolName, RadosNamespace, Secret, UserId,
    VolumeCapability, VolumeHandle,
};
use cuttle_testbed::Contents;
use cuttle_volumes::Created;
use cuttle_volumes::rbd::{CreateError, CreateVolume, DeleteError, RbdController};
use cuttle_volumes::{CloneLimits, ControllerSettings};
use cuttle_volumes::{DeleteVolume, Deleted};

/// Long enough that a living creator always moves, short enough for tests.
pub(crate) const TAKE_OVER_AFTER: Duration = Duration::from_millis(300);

/// What a test works with.
pub(crate) struct Setup {
    pub(crate) witness: cuttle_testbed::Cluster,
    pub(crate) doors: Doors,
    pub(crate) controller: RbdController,
    pub(crate) table: ClusterTable,
    pub(crate) namespace: RadosNamespace,
    pub(crate) pool: String,
}

pub(crate) fn random_name(prefix: &str) -> String {
    format!("{prefix}-{}", uuid::Uuid::new_v4().simple())
}

pub(crate) fn co_name(name: &str) -> CoName {
    CoName::new(name).unwrap()
}

/// A setup in a fresh namespace of the pool `rbd`.
pub(crate) fn setup() -> Setup {
    let witness = cuttle_testbed::shared_cluster();
    let namespace = random_name("v");
    witness.namespace("rbd", &namespace).unwrap();
    Setup::new(witness, "rbd", &namespace)
}

impl Setup {
    pub(crate) fn new(witness: cuttle_testbed::Cluster, pool: &str, namespace: &str) -> Self {
        let namespace = RadosNamespace::new(namespace).unwrap();
        let monitors = Monitors::new(vec![witness.monitors()]).unwrap();
        let mut settings = ClusterSettings::new(ClusterId::new("east").unwrap(), monitors);
        settings.rbd.namespace = namespace.clone();
        let (doors, controller) = controller("");
        Self {
            witness,
            doors,
            controller,
            table: ClusterTable::new([settings]),
            namespace,
            pool: pool.to_owned(),
        }
    }

    pub(crate) fn admin(&self) -> Credentials {
        credentials("admin", &self.witness.admin_key())
    }

    /// Our own connection, for building states.
    pub(crate) fn io(&self) -> Io {
        let clusters = Clusters::new(self.doors.ceph.clone(), ConnectOptions::default());
        let settings = self.table.iter().next().unwrap().clone();
        let cluster: Cluster = clusters.connect(&settings.monitors, &self.admin()).unwrap();
        let pool = PoolName::new(self.pool.clone()).unwrap();
        cluster.io(&pool, &self.namespace).unwrap()
    }

    /// A request for 16 MiB, with the everyday features and these parameters besides.
    pub(crate) fn request(&self, name: &str, more: &[(&str, &str)]) -> CreateVolume {
        let mut parameters = BTreeMap::from([
            ("clusterID".to_owned(), "east".to_owned()),
            ("pool".to_owned(), self.pool.clone()),
            (
                "imageFeatures".to_owned(),
                "layering,exclusive-lock,object-map,fast-diff".to_owned(),
            ),
            ("csi.storage.k8s.io/pvc/name".to_owned(), "data".to_owned()),
            (
                "csi.storage.k8s.io/pvc/namespace".to_owned(),
                "shop".to_owned(),
            ),
            ("csi.storage.k8s.io/pv/name".to_owned(), name.to_owned()),
        ]);
        for (key, value) in more {
            if value.is_empty() {
                parameters.remove(*key);
            } else {
                parameters.insert((*key).to_owned(), (*value).to_owned());
            }
        }
        CreateVolume {
            name: co_name(name),
            range: range(16, None),
            capabilities: vec![capability()],
            source: None,
            parsed: RbdParameters::parse(&parameters).unwrap(),
            credentials: self.admin(),
        }
    }

    pub(crate) fn create(&self, request: &CreateVolume) -> Result<Created, CreateError> {
        self.controller.create(&self.table, request)
    }

    /// Deletes a volume that nobody uses but Ceph's manager, which opens a parent for as long as it
    /// removes a clone of it.
    pub(crate) fn delete(&self, handle: &ComposedHandle) -> Result<Deleted, DeleteError> {
        let request = self.deletion(handle);
        when_free(|| self.controller.delete(&self.table, &request))
    }

    pub(crate) fn deletion(&self, handle: &ComposedHandle) -> DeleteVolume {
        DeleteVolume {
            handle: VolumeHandle::Composed(handle.clone()),
            credentials: self.admin(),
        }
    }

    /// The handle of a record of this pool.
    pub(crate) fn handle(&self, uuid: &str) -> ComposedHandle {
        ComposedHandle {
            cluster: ClusterId::new("east").unwrap(),
            location: self.io().pool_id().get(),
            uuid: cuttle_model::ObjectUuid::parse(uuid).unwrap(),
        }
    }

    /// What Ceph's own programs see.
    pub(crate) fn contents(&self) -> Contents {
        self.witness
            .rbd_namespace_contents(&self.pool, self.namespace.as_str())
            .unwrap()
    }

    /// Nothing may be left, once the manager has emptied the trash.
    #[track_caller]
    pub(crate) fn assert_nothing_left(&self, when: &str) {
        let look = || {
            let left = self.contents().leftovers();
            if left.is_empty() {
                Ok(())
            } else {
                Err(format!("{left:?}"))
            }
        };
        if let Err(error) = cuttle_testbed::until("nothing left", Duration::from_secs(60), look) {
            panic!("{when}: {error}");
        }
    }

    /// Exactly these volumes may be there: one image, record and name each, whole and committed.
    #[track_caller]
    pub(crate) fn assert_exactly(&self, when: &str, volumes: &[(&str, &Created)]) {
        let look = || self.compare(volumes);
        if let Err(error) = cuttle_testbed::until("the volumes", Duration::from_secs(60), look) {
            panic!("{when}: {error}");
        }
    }

    fn compare(&self, volumes: &[(&str, &Created)]) -> Result<(), String> {
        let contents = self.contents();
        let io = self.io();
        let mut objects = BTreeSet::new();
        let mut images = BTreeSet::new();
        let mut names = BTreeSet::new();
        for (name, created) in volumes {
            let uuid = created.handle.uuid.as_str();
            let image = &created.context["imageName"];
            let record = io
                .omap_page(&format!("csi.volume.{uuid}"), "", "", 100)
                .unwrap();
            let record = record
                .ok_or_else(|| format!("{name} has no record"))?
                .entries;
            let text = |key: &str| {
                record
                    .get(key)
                    .map(|value| String::from_utf8_lossy(value).into_owned())
            };
            let id = text("csi.imageid").ok_or_else(|| format!("{name} is not committed"))?;
            let expected: BTreeSet<&str> = [
                "csi.imageid",
                "csi.imagename",
                "csi.volname",
                "csi.volume.owner",
            ]
            .into();
            let keys: BTreeSet<&str> = record.keys().map(String::as_str).collect();
            if keys != expected {
                return Err(format!("the record of {name} has {keys:?}"));
            }
            if text("csi.volname").as_deref() != Some(*name)
                || text("csi.imagename").as_deref() != Some(image)
            {
                return Err(format!("the record of {name} is {record:?}"));
            }
            images.insert(image.clone());
            names.insert(format!("csi.volume.{name}"));
            objects.insert(format!("csi.volume.{uuid}"));
            for prefix in ["rbd_header", "rbd_object_map"] {
                objects.insert(format!("{prefix}.{id}"));
            }
            objects.insert(format!("rbd_id.{image}"));
        }
        if contents.images != images || !contents.trash.is_empty() {
            return Err(format!(
                "images {:?}, trash {:?}",
                contents.images, contents.trash
            ));
        }
        let lasting = ["rbd_", "csi.volumes."];
        let mut others: BTreeSet<String> = contents.objects.clone();
        others.retain(|object| {
            !lasting.iter().any(|prefix| object.starts_with(prefix)) || object.contains('.')
        });
        others.retain(|object| !object.starts_with("csi.volumes."));
        if others != objects {
            return Err(format!("objects {others:?} instead of {objects:?}"));
        }
        let directory = contents.omap_keys.get("csi.volumes.default");
        if directory.cloned().unwrap_or_default() != names {
            return Err(format!("directory {directory:?} instead of {names:?}"));
        }
        Ok(())
    }

    /// Sets omap values by Ceph's own program.
    pub(crate) fn set_omap(&self, object: &str, key: &str, value: &str) {
        self.rados(&["setomapval", object, key, value]);
    }

    /// Runs `rados` in the namespace.
    pub(crate) fn rados(&self, words: &[&str]) -> String {
        let mut all = vec!["-p", self.pool.as_str(), "-N", self.namespace.as_str()];
        all.extend(words);
        self.witness.rados(&all).unwrap()
    }

    /// An image or the namespace as `rbd` wants it.
    pub(crate) fn spec(&self, image: &str) -> String {
        let place = format!("{}/{}/{image}", self.pool, self.namespace);
        place.trim_end_matches('/').to_owned()
    }
}

/// Asks for a deletion until the image is free, for a minute at most.
pub(crate) fn when_free(
    mut delete: impl FnMut() -> Result<Deleted, DeleteError>,
) -> Result<Deleted, DeleteError> {
    cuttle_testbed::until(
        "the image is free",
        Duration::from_secs(60),
        || match delete() {
            Err(error @ DeleteError::InUse { .. }) => Err(error.to_string()),
            outcome => Ok(outcome),
        },
    )
    .unwrap()
}

/// A controller with faults waiting at its door, and a connection of its own.
pub(crate) fn controller(faults: &str) -> (Doors, RbdController) {
    controller_that_waits(faults, TAKE_OVER_AFTER)
}

/// The same, taking over from others after another time.
pub(crate) fn controller_that_waits(
    faults: &str,
    take_over_after: Duration,
) -> (Doors, RbdController) {
    controller_with(faults, take_over_after, CloneLimits::default())
}

/// The same, with other limits for clones.
pub(crate) fn controller_with(
    faults: &str,
    take_over_after: Duration,
    clone_limits: CloneLimits,
) -> (Doors, RbdController) {
    let doors = Doors::new(FaultPlan::parse(faults).unwrap());
    let clusters = Clusters::new(doors.ceph.clone(), ConnectOptions::default());
    let settings = ControllerSettings {
        set_metadata: true,
        cluster_name: Some("k8s-east".to_owned()),
        take_over_after,
        clone_limits,
        ..ControllerSettings::default()
    };
    (doors, RbdController::new(clusters, settings))
}

pub(crate) fn credentials(user: &str, key: &str) -> Credentials {
    Credentials {
        user: UserId::new(user).unwrap(),
        key: Secret::new(key.to_owned()),
    }
}

/// From so many MiB on, up to so many.
pub(crate) fn range(required: u64, limit: Option<u64>) -> CapacityRange {
    CapacityRange {
        required: ByteSize::from_mib(required),
        limit: limit.map(|limit| ByteSize::from_mib(limit).unwrap()),
    }
}

pub(crate) fn capability() -> VolumeCapability {
    VolumeCapability {
        access: Access::Filesystem {
            fs_type: None,
            mount_flags: Vec::new(),
        },
        mode: AccessMode::SingleNodeWriter,
    }
}
