//! A connection and a RADOS namespace of the test's own.

use ceph::{Cluster, Clusters, ConnectOptions, Io};
use cuttle_door::{Doors, FaultPlan};
use cuttle_journal::{Journal, Kind};
use cuttle_model::{
    ClusterId, ClusterSettings, CoName, Credentials, InstanceId, Monitors, ObjectUuid, PoolName,
    RadosNamespace, Secret, UserId,
};

use crate::fixture::Omaps;

pub(crate) struct Setup {
    pub(crate) witness: cuttle_testbed::Cluster,
    pub(crate) settings: ClusterSettings,
    pub(crate) cluster: Cluster,
    pub(crate) io: Io,
    pub(crate) journal: Journal,
}

pub(crate) fn setup() -> Setup {
    let witness = cuttle_testbed::shared_cluster();
    let namespace = format!("j-{}", uuid::Uuid::new_v4().simple());
    witness.namespace("rbd", &namespace).unwrap();
    let monitors = Monitors::new(vec![witness.monitors()]).unwrap();
    let mut settings = ClusterSettings::new(ClusterId::new("east").unwrap(), monitors);
    settings.rbd.namespace = RadosNamespace::new(namespace).unwrap();
    let doors = Doors::new(FaultPlan::none());
    let clusters = Clusters::new(doors.ceph, ConnectOptions::default());
    let credentials = Credentials {
        user: UserId::new("admin").unwrap(),
        key: Secret::new(witness.admin_key()),
    };
    let cluster = clusters.connect(&settings.monitors, &credentials).unwrap();
    let pool = PoolName::new("rbd").unwrap();
    let io = cluster.io(&pool, &settings.rbd.namespace).unwrap();
    let journal = Journal::new(Kind::Volume, io.clone(), &InstanceId::default());
    Setup {
        witness,
        settings,
        cluster,
        io,
        journal,
    }
}

impl Setup {
    /// The omaps of these objects, as the cluster has them; absent objects are left out.
    pub(crate) fn omaps(&self, io: &Io, objects: &[&str]) -> Omaps {
        let read = |object: &&str| {
            let page = io.omap_page(object, "", "", 1000).unwrap()?;
            Some(((*object).to_owned(), page.entries))
        };
        objects.iter().filter_map(read).collect()
    }

    /// Writes a recorded layout.
    pub(crate) fn write(&self, io: &Io, omaps: &Omaps) {
        for (object, omap) in omaps {
            let entries: Vec<(&str, &[u8])> = omap
                .iter()
                .map(|(key, value)| (key.as_str(), value.as_slice()))
                .collect();
            io.write(object, ceph::WriteOp::new().create().set_omap(&entries))
                .unwrap();
        }
    }
}

pub(crate) fn name(text: &str) -> CoName {
    CoName::new(text).unwrap()
}

pub(crate) fn uuid(text: &str) -> ObjectUuid {
    ObjectUuid::parse(text).unwrap()
}
