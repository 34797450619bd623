//! Making, sharing, replacing and closing connections.

use std::thread;
use std::time::{Duration, Instant};

use ceph::{Clusters, ConnectOptions};
use cuttle_door::{Doors, FaultPlan};
use cuttle_model::{Class, Explain, Left, Monitors, RadosNamespace};

use crate::setup::{admin, credentials, monitors, pool, random_name, setup, until};

const CAPS: &[(&str, &str)] = &[("mon", "profile rbd"), ("osd", "profile rbd pool=rbd")];

fn pool_of_connections(options: ConnectOptions) -> (Clusters, Doors) {
    let doors = Doors::new(FaultPlan::none());
    (Clusters::new(doors.ceph.clone(), options), doors)
}

#[test]
fn the_cluster_tells_who_it_is() {
    let setup = setup();
    let fsid = setup.cluster.fsid().unwrap();
    assert_eq!(fsid.to_string(), setup.witness.fsid());
    assert!(setup.cluster.instance_id() > 0);
}

#[test]
fn concurrent_first_connects_make_one_connection() {
    let witness = cuttle_testbed::shared_cluster();
    let (clusters, doors) = pool_of_connections(ConnectOptions::default());
    let numbers: Vec<u64> = thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    let cluster = clusters
                        .connect(&monitors(&witness), &admin(&witness))
                        .unwrap();
                    cluster.instance_id()
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    assert_eq!(clusters.open_connections(), 1);
    assert!(
        numbers.iter().all(|number| *number == numbers[0]),
        "{numbers:?}"
    );
    // A further one costs no call at all.
    let before = doors.ledger().total();
    clusters
        .connect(&monitors(&witness), &admin(&witness))
        .unwrap();
    assert_eq!(doors.ledger().total(), before);
}

#[test]
fn a_wrong_key_and_an_unknown_user_are_denied() {
    let witness = cuttle_testbed::shared_cluster();
    let (clusters, _doors) = pool_of_connections(ConnectOptions::default());
    let wrong = "AQBdOwFrAAAAABAAAAAAAAAAAAAAAAAAAAAAAA==";
    for user in ["admin".to_owned(), random_name("nobody")] {
        let refused = clusters.connect(&monitors(&witness), &credentials(&user, wrong));
        let error = refused.unwrap_err();
        assert!(error.is_denied(), "{error}");
        assert_eq!(
            (error.class(), error.left()),
            (Class::Denied, Left::Nothing)
        );
        assert!(!format!("{error} {error:?}").contains(wrong));
    }
    // A failed attempt leaves nothing in the pool and does not stand in the way.
    assert_eq!(clusters.open_connections(), 0);
    clusters
        .connect(&monitors(&witness), &admin(&witness))
        .unwrap();
}

#[test]
fn a_key_that_is_no_key_is_denied_without_asking() {
    let witness = cuttle_testbed::shared_cluster();
    let (clusters, _doors) = pool_of_connections(ConnectOptions::default());
    for key in ["", "not base64 at all", "AQ==", "a\0b"] {
        let refused = clusters.connect(&monitors(&witness), &credentials("admin", key));
        let error = refused.unwrap_err();
        assert!(
            error.is_denied() && error.to_string().contains("base64"),
            "{error}"
        );
    }
}

#[test]
fn addresses_and_files_of_no_use_are_told_and_are_no_absence() {
    let witness = cuttle_testbed::shared_cluster();
    let (clusters, _doors) = pool_of_connections(ConnectOptions::default());
    for address in ["no.such.host.invalid", "256.1.1.1:6789"] {
        let addresses = Monitors::new(vec![address.to_owned()]).unwrap();
        let error = clusters.connect(&addresses, &admin(&witness)).unwrap_err();
        assert!(
            !error.is_absent() && error.to_string().contains(address),
            "{error}"
        );
        assert_eq!(error.class(), Class::Down);
    }
    let options = ConnectOptions {
        ceph_conf: Some("/no/such/ceph.conf".into()),
        ..ConnectOptions::default()
    };
    let (clusters, _doors) = pool_of_connections(options);
    let error = clusters
        .connect(&monitors(&witness), &admin(&witness))
        .unwrap_err();
    assert!(
        !error.is_absent() && error.to_string().contains("/no/such/ceph.conf"),
        "{error}"
    );
    assert_eq!(error.class(), Class::Invalid);
}

#[test]
fn monitors_that_do_not_answer_end_at_the_connect_time_out() {
    let options = ConnectOptions {
        connect_timeout: Duration::from_secs(2),
        ..ConnectOptions::default()
    };
    let (clusters, _doors) = pool_of_connections(options);
    // Listens and never answers: worse than a closed port.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("v2:{}", silent.local_addr().unwrap());
    let monitors = Monitors::new(vec![address]).unwrap();
    let key = "AQBdOwFrAAAAABAAAAAAAAAAAAAAAAAAAAAAAA==";
    let began = Instant::now();
    let error = clusters
        .connect(&monitors, &credentials("admin", key))
        .unwrap_err();
    assert!(error.is_timeout() && !error.is_absent(), "{error}");
    assert_eq!((error.class(), error.left()), (Class::Down, Left::Nothing));
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "{:?}",
        began.elapsed()
    );
}

#[test]
fn a_changed_key_makes_a_new_connection_and_drops_the_old() {
    let witness = cuttle_testbed::shared_cluster();
    let user = random_name("keys");
    let old_key = witness.user(&user, CAPS).unwrap();
    let (clusters, _doors) = pool_of_connections(ConnectOptions::default());
    let old = clusters
        .connect(&monitors(&witness), &credentials(&user, &old_key))
        .unwrap();

    let entity = format!("client.{user}");
    witness.json(&["auth", "rm", &entity]).unwrap();
    let new_key = witness.user(&user, CAPS).unwrap();
    assert_ne!(old_key, new_key);
    let new = clusters
        .connect(&monitors(&witness), &credentials(&user, &new_key))
        .unwrap();

    assert_ne!(old.instance_id(), new.instance_id());
    assert_eq!(clusters.open_connections(), 1);
    let io = new.io(&pool(), &RadosNamespace::default()).unwrap();
    assert_eq!(io.read("no-such-object", 10).unwrap(), None);
    witness.json(&["auth", "rm", &entity]).unwrap();
}

#[test]
fn idle_connections_are_closed_and_used_ones_are_not() {
    let witness = cuttle_testbed::shared_cluster();
    let idle = Duration::from_secs(1);
    let (clusters, _doors) = pool_of_connections(ConnectOptions {
        idle,
        ..ConnectOptions::default()
    });
    let cluster = clusters
        .connect(&monitors(&witness), &admin(&witness))
        .unwrap();
    let io = cluster.io(&pool(), &RadosNamespace::default()).unwrap();
    drop(cluster);
    let began = Instant::now();
    while began.elapsed() < idle * 2 {
        // The I/O context alone keeps the connection in use.
        assert_eq!(clusters.open_connections(), 1);
        io.read("no-such-object", 10).unwrap();
    }
    drop(io);
    assert!(until(Duration::from_secs(20), || clusters
        .open_connections()
        == 0));
}

#[test]
fn a_fenced_client_gets_a_new_connection() {
    let setup = setup();
    let client = setup.cluster.instance_id();
    let dump = setup.io.open_image_watcher_address();
    setup
        .witness
        .json(&["osd", "blocklist", "add", &dump])
        .unwrap();
    // The OSDs learn of it with their next map.
    assert!(until(Duration::from_secs(30), || {
        setup
            .io
            .read("no-such-object", 1)
            .is_err_and(|error| error.is_fenced())
    }));
    let monitors = monitors(&setup.witness);
    let fresh = setup
        .clusters
        .connect(&monitors, &admin(&setup.witness))
        .unwrap();
    assert_ne!(fresh.instance_id(), client);
    let io = fresh.io(&pool(), setup.io.namespace()).unwrap();
    assert_eq!(io.read("no-such-object", 1).unwrap(), None);
    setup
        .witness
        .json(&["osd", "blocklist", "rm", &dump])
        .unwrap();
}

/// How a test learns this client's address: as the watcher of an image.
trait OwnAddress {
    fn open_image_watcher_address(&self) -> String;
}

impl OwnAddress for ceph::Io {
    fn open_image_watcher_address(&self) -> String {
        let name = crate::setup::image("address");
        let options = ceph::ImageOptions::default();
        self.create_image(&name, crate::setup::SIZE, &options)
            .unwrap();
        let image = self.open_image(&name, ceph::OpenMode::ReadWrite).unwrap();
        let watchers = image.watchers().unwrap();
        image.close().unwrap();
        watchers[0].address.clone()
    }
}
