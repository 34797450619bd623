//! A controller on the shared cluster, with a subvolume group and a RADOS namespace of the test's
//! own.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ceph::{Cluster, Clusters, ConnectOptions, Io};
use cuttle_door::{Doors, FaultPlan};
use cuttle_model::{
    Access, AccessMode, ByteSize, CapacityRange, CephfsParameters, ClusterId, ClusterSettings,
    ClusterTable, CoName, ComposedHandle, Credentials, Monitors, PoolName, RadosNamespace, Secret,
    SubvolumeGroup, UserId, VolumeCapability, VolumeHandle,
};
use cuttle_testbed::{Contents, Subvolume};
use cuttle_volumes::cephfs::{CephfsController, CreateError, CreateVolume, DeleteError};
use cuttle_volumes::{ControllerSettings, Created, DeleteVolume, Deleted};

/// Long enough that a living creator always moves, short enough for tests.
pub(crate) const TAKE_OVER_AFTER: Duration = Duration::from_millis(300);

/// What a test works with.
pub(crate) struct Setup {
    pub(crate) witness: cuttle_testbed::Cluster,
    pub(crate) controller: CephfsController,
    pub(crate) settings: ClusterSettings,
    pub(crate) group: String,
    pub(crate) namespace: String,
}

pub(crate) fn random_name(prefix: &str) -> String {
    format!("{prefix}-{}", uuid::Uuid::new_v4().simple())
}

/// A setup in a fresh group and namespace of the file system `cephfs`.
pub(crate) fn setup() -> Setup {
    let setup = Setup::new(cuttle_testbed::shared_cluster());
    setup.witness.subvolume_group(&setup.group).unwrap();
    setup
}

impl Setup {
    /// The same, without making the group.
    pub(crate) fn new(witness: cuttle_testbed::Cluster) -> Self {
        let (group, namespace) = (random_name("g"), random_name("n"));
        let monitors = Monitors::new(vec![witness.monitors()]).unwrap();
        let mut settings = ClusterSettings::new(ClusterId::new("east").unwrap(), monitors);
        settings.cephfs.subvolume_group = SubvolumeGroup::new(group.as_str()).unwrap();
        settings.cephfs.namespace = RadosNamespace::new(namespace.as_str()).unwrap();
        let (_, controller) = controller("");
        Self {
            witness,
            controller,
            settings,
            group,
            namespace,
        }
    }

    pub(crate) fn table(&self) -> ClusterTable {
        ClusterTable::new([self.settings.clone()])
    }

    pub(crate) fn admin(&self) -> Credentials {
        credentials("admin", &self.witness.admin_key())
    }

    /// Our own connection to the journal's namespace, for building and looking at states.
    pub(crate) fn io(&self) -> Io {
        let clusters = Clusters::new(
            Doors::new(FaultPlan::none()).ceph,
            ConnectOptions::default(),
        );
        let cluster: Cluster = clusters
            .connect(&self.settings.monitors, &self.admin())
            .unwrap();
        let pool = PoolName::new("cephfs.meta").unwrap();
        cluster.io(&pool, &self.settings.cephfs.namespace).unwrap()
    }

    /// A request for 16 MiB, with these parameters besides.
    pub(crate) fn request(&self, name: &str, more: &[(&str, &str)]) -> CreateVolume {
        let mut parameters: BTreeMap<String, String> = [
            ("clusterID", "east"),
            ("fsName", "cephfs"),
            ("csi.storage.k8s.io/pvc/name", "data"),
            ("csi.storage.k8s.io/pvc/namespace", "shop"),
            ("csi.storage.k8s.io/pv/name", name),
        ]
        .into_iter()
        .chain(more.iter().copied())
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
        parameters.retain(|_, value| !value.is_empty());
        CreateVolume {
            name: CoName::new(name).unwrap(),
            range: Some(range(16, None)),
            capabilities: vec![capability()],
            parsed: CephfsParameters::parse(&parameters).unwrap(),
            credentials: self.admin(),
        }
    }

    pub(crate) fn create(&self, request: &CreateVolume) -> Result<Created, CreateError> {
        self.controller.create(&self.table(), request)
    }

    pub(crate) fn delete(&self, handle: &ComposedHandle) -> Result<Deleted, DeleteError> {
        self.controller
            .delete(&self.table(), &self.deletion(handle))
    }

    pub(crate) fn deletion(&self, handle: &ComposedHandle) -> DeleteVolume {
        DeleteVolume {
            handle: VolumeHandle::Composed(handle.clone()),
            credentials: self.admin(),
        }
    }

    /// The handle of a record of this file system.
    pub(crate) fn handle(&self, uuid: &str) -> ComposedHandle {
        ComposedHandle {
            cluster: self.settings.id.clone(),
            location: self.fscid(),
            uuid: cuttle_model::ObjectUuid::parse(uuid).unwrap(),
        }
    }

    pub(crate) fn fscid(&self) -> i64 {
        let dump = self.witness.json(&["fs", "dump"]).unwrap();
        let systems = dump["filesystems"].as_array().unwrap();
        let ours = systems
            .iter()
            .find(|system| system["mdsmap"]["fs_name"] == "cephfs");
        ours.unwrap()["id"].as_i64().unwrap()
    }

    /// The journal, as Ceph's own programs see it.
    pub(crate) fn journal(&self) -> Contents {
        self.witness
            .rbd_namespace_contents("cephfs.meta", &self.namespace)
            .unwrap()
    }

    pub(crate) fn subvolumes(&self) -> BTreeSet<String> {
        self.witness.subvolume_names(&self.group).unwrap()
    }

    pub(crate) fn subvolume(&self, created: &Created) -> Subvolume {
        let name = &created.context["subvolumeName"];
        self.witness.subvolume(&self.group, name).unwrap()
    }

    /// Nothing may be left.
    #[track_caller]
    pub(crate) fn assert_nothing_left(&self, when: &str) {
        assert_eq!(self.journal().leftovers(), [], "{when}");
        assert_eq!(self.subvolumes(), BTreeSet::new(), "{when}");
    }

    /// Exactly these volumes may be there: one subvolume, record and name each, whole and
    /// committed, the record to the byte as ceph-csi writes it.
    #[track_caller]
    pub(crate) fn assert_exactly(&self, when: &str, volumes: &[(&str, &Created)]) {
        let journal = self.journal();
        let io = self.io();
        let mut objects = BTreeSet::new();
        let mut names = BTreeSet::new();
        let mut subvolumes = BTreeSet::new();
        for (name, created) in volumes {
            let (uuid, subvolume) = (&created.handle.uuid, &created.context["subvolumeName"]);
            let object = format!("csi.volume.{uuid}");
            let record = io.omap_page(&object, "", "", 100).unwrap();
            let record = record.map(|page| page.entries).unwrap_or_default();
            let expected: BTreeMap<String, Vec<u8>> = [
                ("csi.volname", *name),
                ("csi.imagename", subvolume.as_str()),
                ("csi.volume.owner", "shop"),
            ]
            .map(|(key, value)| (key.to_owned(), value.as_bytes().to_vec()))
            .into();
            assert_eq!(record, expected, "{when}: the record of {name}");
            let seen = self.subvolume(created);
            let quota = (created.size != ByteSize::ZERO).then(|| created.size.bytes());
            assert_eq!(seen.quota, quota, "{when}: the quota of {name}");
            assert_eq!(seen.state, "complete", "{when}: {name}");
            assert_eq!(
                seen.path, created.context["subvolumePath"],
                "{when}: {name}"
            );
            objects.insert(object);
            names.insert(format!("csi.volume.{name}"));
            subvolumes.insert(subvolume.clone());
        }
        assert_eq!(self.subvolumes(), subvolumes, "{when}");
        let mut others = journal.objects.clone();
        others.retain(|object| !object.starts_with("csi.volumes."));
        assert_eq!(others, objects, "{when}");
        let directory = journal.omap_keys.get("csi.volumes.default");
        assert_eq!(directory.cloned().unwrap_or_default(), names, "{when}");
    }

    /// Runs `rados` in the journal's namespace.
    pub(crate) fn rados(&self, words: &[&str]) -> String {
        let mut all = vec!["-p", "cephfs.meta", "-N", self.namespace.as_str()];
        all.extend(words);
        self.witness.rados(&all).unwrap()
    }

    /// Sets omap values by Ceph's own program.
    pub(crate) fn set_omap(&self, object: &str, key: &str, value: &str) {
        self.rados(&["setomapval", object, key, value]);
    }

    /// Runs `ceph fs subvolume <verb> cephfs <name> … <group>`.
    pub(crate) fn fs_subvolume(&self, verb: &[&str], name: &str, more: &[&str]) {
        let mut words = vec!["fs", "subvolume"];
        words.extend(verb);
        words.extend(["cephfs", name]);
        words.extend(more);
        self.witness.json(&words).unwrap();
    }
}

impl Drop for Setup {
    /// Groups of finished tests would be searched by all others.
    fn drop(&mut self) {
        let words = ["fs", "subvolumegroup", "rm", "cephfs", self.group.as_str()];
        // One that is not empty, for its test failed, stays.
        let _removed = self.witness.json(&words);
    }
}

/// A controller with faults waiting at its door, and a connection of its own.
pub(crate) fn controller(faults: &str) -> (Doors, CephfsController) {
    controller_that_waits(faults, TAKE_OVER_AFTER)
}

/// The same, taking over from others after another time.
pub(crate) fn controller_that_waits(
    faults: &str,
    take_over_after: Duration,
) -> (Doors, CephfsController) {
    let settings = ControllerSettings {
        take_over_after,
        ..ControllerSettings::default()
    };
    controller_with(faults, settings)
}

pub(crate) fn controller_with(
    faults: &str,
    settings: ControllerSettings,
) -> (Doors, CephfsController) {
    controller_connecting(faults, settings, ConnectOptions::default())
}

pub(crate) fn controller_connecting(
    faults: &str,
    settings: ControllerSettings,
    options: ConnectOptions,
) -> (Doors, CephfsController) {
    let doors = Doors::new(FaultPlan::parse(faults).unwrap());
    let clusters = Clusters::new(doors.ceph.clone(), options);
    (doors, CephfsController::new(clusters, settings))
}

pub(crate) fn credentials(user: &str, key: &str) -> Credentials {
    Credentials {
        user: UserId::new(user).unwrap(),
        key: Secret::new(key.to_owned()),
    }
}

pub(crate) fn mib(count: u64) -> ByteSize {
    ByteSize::from_mib(count).unwrap()
}

/// From so many MiB on, up to so many.
pub(crate) fn range(required: u64, limit: Option<u64>) -> CapacityRange {
    CapacityRange {
        required: ByteSize::from_mib(required),
        limit: limit.map(mib),
    }
}

pub(crate) fn capability() -> VolumeCapability {
    VolumeCapability {
        access: Access::Filesystem {
            fs_type: None,
            mount_flags: Vec::new(),
        },
        mode: AccessMode::MultiNodeMultiWriter,
    }
}
