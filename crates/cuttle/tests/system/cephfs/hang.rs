//! A daemon that stops answering: requests end and say who does not answer, equal ones join, all
//! recover; images and other clusters are not disturbed.
//!
//! Nothing is judged by the clock: that work runs, waits or joins is read from the driver's figures
//! while the daemon stands still.

use std::thread;
use std::time::Duration;

use cuttle_csi::v1;
use cuttle_testbed::{Cluster, StartOptions, until};
use tonic::{Code, Status};

use super::FsWorld;
use crate::calls::{Client, GIB, MIB};
use crate::figures::Figures;
use crate::shares::mount_as_admin;
use crate::storm::settled;
use crate::world::{Running, World};

/// How long callers wait who are to see the end of the work.
const CALLER: Duration = Duration::from_secs(300);

/// How many ask for the same.
const CALLERS: u64 = 6;

/// A world on a cluster of its own, whose daemons may be stopped, and one on the shared cluster.
struct Two {
    stopped: FsWorld,
    healthy: FsWorld,
}

impl Two {
    fn new() -> Self {
        let own = Cluster::start(&StartOptions::default()).expect("a cluster of its own");
        // The monitors are not to give up on a daemon that stands still.
        for option in ["mon_mgr_beacon_grace", "mds_beacon_grace"] {
            let words = ["config", "set", "global", option, "3600"];
            own.json(&words).expect("a setting");
        }
        let (stopped, healthy) = (FsWorld::on(own), FsWorld::new());
        stopped
            .world
            .write_config(&[stopped.config_entry(), healthy.config_entry()]);
        Self { stopped, healthy }
    }

    /// A driver that serves CephFS and RBD of both, and a connection for its images.
    fn start(&self, name: &str, more: &[&str]) -> (Running, Client) {
        let world = &self.stopped.world;
        let rbd = world.path(&format!("{name}-rbd.sock"));
        let cephfs = world.path(&format!("{name}.sock"));
        let endpoint = format!(
            "--endpoint=unix://{},unix://{}",
            cephfs.display(),
            rbd.display()
        );
        let mut arguments = vec![
            "--type=cephfs,rbd",
            "--drivername=cephfs.csi.ceph.com,rbd.csi.ceph.com",
            "--nodeserver=false",
            "--setmetadata=false",
            endpoint.as_str(),
        ];
        arguments.extend(more);
        let running = world.start_named(name, &arguments);
        (running, Client::connect(&rbd))
    }

    /// The three operations, about volumes that `client` makes for them.
    fn asks(&self, client: &Client, name: &str) -> (v1::Volume, [Ask; 3]) {
        let fs = &self.stopped;
        let make = |what: &str| {
            let request = fs.create_request(&format!("{name}-{what}"), 20 * MIB);
            client.create(request).expect("a volume")
        };
        let (doomed, grown) = (make("doomed"), make("grown"));
        let asks = [
            Ask::Create(fs.create_request(&format!("{name}-late"), 20 * MIB)),
            Ask::Delete(fs.delete_request(&doomed.volume_id)),
            Ask::Expand(fs.expand_request(&grown.volume_id, 64 * MIB)),
        ];
        let grown = v1::Volume {
            capacity_bytes: 64 * MIB,
            ..grown
        };
        (grown, asks)
    }

    /// A volume of the other cluster and an image of this world are made and removed.
    fn others_go_on(&self, client: &Client, images: &Client, world: &World) {
        let volume = self.healthy.create_request("healthy", 20 * MIB);
        let volume = client.create(volume).expect("another cluster's volume");
        self.healthy.delete(client, &volume.volume_id);
        let image = world.create_request("image", GIB);
        let image = images.create(image).expect("an image");
        let deletion = world.delete_request(&image.volume_id);
        images.delete_volume(deletion).expect("its end");
    }
}

/// One of the three operations.
#[derive(Clone)]
enum Ask {
    Create(v1::CreateVolumeRequest),
    Delete(v1::DeleteVolumeRequest),
    Expand(v1::ControllerExpandVolumeRequest),
}

impl Ask {
    fn send(&self, client: &Client, limit: Duration) -> Result<Option<v1::Volume>, Status> {
        match self.clone() {
            Self::Create(request) => client.create_within(request, limit).map(Some),
            Self::Delete(request) => client.delete_within(request, limit).map(|()| None),
            Self::Expand(request) => client.expand_within(request, limit).map(|()| None),
        }
    }

    fn method(&self) -> &'static str {
        match self {
            Self::Create(_) => "CreateVolume",
            Self::Delete(_) => "DeleteVolume",
            Self::Expand(_) => "ControllerExpandVolume",
        }
    }
}

/// Leads creating, deleting and expanding into `daemon` standing still and out again. What the
/// error of each says is among `words`.
fn stands_still(daemon: &str, words: &[&str], images_go_on: bool) {
    let (two, figures) = (Two::new(), Figures::new());
    let fs = &two.stopped;
    let (impatient, _) = two.start("impatient", &["--ceph-timeout=4s"]);
    let (patient, images) = two.start("patient", &["--ceph-timeout=600s", &figures.flag()]);
    let (short_grown, short) = two.asks(&impatient.client, "short");
    let (long_grown, long) = two.asks(&patient.client, "long");
    let images_of = if images_go_on { fs } else { &two.healthy };
    two.others_go_on(&patient.client, &images, &images_of.world);
    let socket = |running: &Running| running.driver.socket().unwrap().to_owned();
    fs.world
        .cluster
        .pause(daemon)
        .expect("a daemon that stands still");

    // Who waits for the end learns what does not answer and what to do.
    let (impatient_at, patient_at) = (socket(&impatient), socket(&patient));
    thread::scope(|scope| {
        let callers = short.iter().map(|ask| {
            let at = &impatient_at;
            scope.spawn(move || (ask.method(), ask.send(&Client::connect(at), CALLER)))
        });
        for caller in callers.collect::<Vec<_>>() {
            let (method, answer) = caller.join().unwrap();
            let status = answer.expect_err("no answer while a daemon stands still");
            let code = status.code();
            assert!(
                matches!(code, Code::DeadlineExceeded | Code::Unavailable),
                "{method}: {status}"
            );
            for word in words {
                assert!(
                    status.message().contains(word),
                    "{method}: {word}: {status}"
                );
            }
        }
    });

    let late = thread::scope(|scope| {
        let callers = long.iter().flat_map(|ask| (0..CALLERS).map(move |_| ask));
        let callers = callers.map(|ask| {
            let at = &patient_at;
            scope.spawn(move || ask.send(&Client::connect(at), CALLER))
        });
        let callers: Vec<_> = callers.collect();
        for ask in &long {
            figures.wait_open(ask.method(), CALLERS);
        }
        // All wait for one job of each kind.
        let three_hang = || {
            assert_eq!(figures.sum("cuttle_jobs_open", &[]), 3);
            let lane = figures.lane("subvolumes", &fs.world.cluster_id);
            assert_eq!(lane, (3, 0));
        };
        three_hang();
        // Who cannot wait is let go at the own deadline, and told to come back.
        for ask in &long {
            let limit = Duration::from_secs(1);
            let status = ask.send(&Client::connect(&patient_at), limit);
            let status = status.expect_err("no answer while a daemon stands still");
            assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
            assert!(status.message().contains("CUTTLE-1703"), "{status}");
        }
        two.others_go_on(&patient.client, &images, &images_of.world);
        three_hang();
        fs.world
            .cluster
            .resume(daemon)
            .expect("a daemon that goes on");
        let answers = callers.into_iter().map(|caller| caller.join().unwrap());
        let volumes: Vec<_> = answers
            .filter_map(|answer| answer.expect("the end of the work"))
            .collect();
        assert!(volumes.iter().all(|one| *one == volumes[0]), "{volumes:?}");
        volumes[0].clone()
    });

    let mut short_late = None;
    for ask in &short {
        let made = settled(|| ask.send(&impatient.client, CALLER));
        short_late = short_late.or(made);
    }
    let short_late = short_late.unwrap();
    let left = [
        ("long-late", &late),
        ("long-grown", &long_grown),
        ("short-late", &short_late),
        ("short-grown", &short_grown),
    ];
    fs.assert_exactly("after the outage", &left);
    for (_, volume) in left {
        fs.delete(&patient.client, &volume.volume_id);
    }
    fs.assert_exactly("at the end", &[]);
    two.healthy.assert_exactly("of the other cluster", &[]);
    nothing_in_the_trash(fs);
}

/// The manager empties its own trash by and by.
fn nothing_in_the_trash(fs: &FsWorld) {
    let world = &fs.world;
    let mounted = mount_as_admin(&world.cluster, world.root(), "/volumes").unwrap();
    let trash = mounted.at.join("_deleting");
    until("an empty trash", Duration::from_secs(120), || {
        let left = std::fs::read_dir(&trash).map_or(0, Iterator::count);
        if left == 0 {
            Ok(())
        } else {
            Err(format!("{left} subvolumes"))
        }
    })
    .unwrap();
}

#[test]
fn a_stopped_manager_ends_requests_and_leaves_others_alone() {
    stands_still("mgr.x", &["manager did not answer", "ceph mgr stat"], false);
}

#[test]
fn a_stopped_metadata_server_ends_requests_and_leaves_images_alone() {
    stands_still("mds.a", &["manager did not answer", "ceph fs status"], true);
}

#[test]
fn a_stopped_osd_ends_requests_and_leaves_others_alone() {
    stands_still("osd.0", &["ETIMEDOUT", "OSDs are up"], false);
}
