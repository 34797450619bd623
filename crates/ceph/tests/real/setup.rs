//! A connection to the shared cluster and a RADOS namespace of the test's own.

use std::time::Duration;

use ceph::{Cluster, Clusters, ConnectOptions, ImageOptions, Io};
use cuttle_door::{Doors, FaultPlan};
use cuttle_model::{
    ByteSize, Credentials, ImageName, Monitors, PoolName, RadosNamespace, Secret, UserId,
};

/// Layering, exclusive lock, object map, fast diff, deep flatten.
pub(crate) const FEATURES: u64 = 0b11_1101;
/// Small enough that removing takes no time.
pub(crate) const SIZE: ByteSize = ByteSize::from_bytes(16 << 20);

/// What a test works with.
pub(crate) struct Setup {
    pub(crate) witness: cuttle_testbed::Cluster,
    pub(crate) doors: Doors,
    pub(crate) clusters: Clusters,
    pub(crate) cluster: Cluster,
    pub(crate) io: Io,
}

pub(crate) fn pool() -> PoolName {
    PoolName::new("rbd").unwrap()
}

pub(crate) fn image(name: &str) -> ImageName {
    ImageName::new(name).unwrap()
}

pub(crate) fn random_name(prefix: &str) -> String {
    format!("{prefix}-{}", uuid::Uuid::new_v4().simple())
}

pub(crate) fn monitors(witness: &cuttle_testbed::Cluster) -> Monitors {
    Monitors::new(vec![witness.monitors()]).unwrap()
}

pub(crate) fn credentials(user: &str, key: &str) -> Credentials {
    Credentials {
        user: UserId::new(user).unwrap(),
        key: Secret::new(key.to_owned()),
    }
}

pub(crate) fn admin(witness: &cuttle_testbed::Cluster) -> Credentials {
    credentials("admin", &witness.admin_key())
}

/// A connection and a fresh namespace that RBD knows.
pub(crate) fn setup() -> Setup {
    with_faults("")
}

/// The same, with faults waiting for the calls after the set-up has made its own.
pub(crate) fn with_faults(plan: &str) -> Setup {
    let witness = cuttle_testbed::shared_cluster();
    let namespace = random_name("t");
    witness.namespace("rbd", &namespace).unwrap();
    let doors = Doors::new(FaultPlan::parse(plan).unwrap());
    let clusters = Clusters::new(doors.ceph.clone(), ConnectOptions::default());
    let cluster = clusters
        .connect(&monitors(&witness), &admin(&witness))
        .unwrap();
    let namespace = RadosNamespace::new(namespace).unwrap();
    let io = cluster.io(&pool(), &namespace).unwrap();
    Setup {
        witness,
        doors,
        clusters,
        cluster,
        io,
    }
}

impl Setup {
    /// The same pool and namespace through a connection of its own, as another process has it.
    pub(crate) fn other_connection(&self) -> Io {
        let clusters = Clusters::new(self.doors.ceph.clone(), ConnectOptions::default());
        let other = clusters
            .connect(&monitors(&self.witness), &admin(&self.witness))
            .unwrap();
        other.io(&pool(), self.io.namespace()).unwrap()
    }

    /// The image's name as `rbd` wants it.
    pub(crate) fn spec(&self, name: &str) -> String {
        format!("rbd/{}/{name}", self.io.namespace())
    }

    /// Runs `rbd` and reads its JSON.
    pub(crate) fn rbd_json(&self, words: &[&str]) -> serde_json::Value {
        let mut words = words.to_vec();
        words.extend(["--format", "json"]);
        serde_json::from_str(&self.witness.rbd(&words).unwrap()).unwrap()
    }

    pub(crate) fn make(&self, name: &str) {
        let options = ImageOptions {
            features: Some(FEATURES),
            ..ImageOptions::default()
        };
        self.io.create_image(&image(name), SIZE, &options).unwrap();
    }

    /// The names of all objects in the namespace, sorted.
    pub(crate) fn objects(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .io
            .list_objects()
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        names.sort();
        names
    }

    /// As above, without those that every namespace has once it was used.
    pub(crate) fn leftovers(&self) -> Vec<String> {
        let lasting = ["rbd_directory", "rbd_info", "rbd_trash"];
        let mut names = self.objects();
        names.retain(|name| !lasting.contains(&name.as_str()));
        names
    }

    /// How many calls of that name ended well so far.
    pub(crate) fn count(&self, call: &str) -> u64 {
        let entries = self.doors.ledger().snapshot();
        let matching = entries
            .iter()
            .filter(|entry| entry.call == call && entry.errno.is_none());
        matching.map(|entry| entry.count).sum()
    }
}

/// Whether `look` comes to answer yes within `limit`.
pub(crate) fn until(limit: Duration, mut look: impl FnMut() -> bool) -> bool {
    let look = || {
        if look() {
            Ok(())
        } else {
            Err("not yet".to_owned())
        }
    };
    cuttle_testbed::until("the condition", limit, look).is_ok()
}
