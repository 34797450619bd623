//! A cluster that stops answering: requests end, join and recover; others are not disturbed.

use std::time::{Duration, Instant};

use cuttle_testbed::{Cluster, StartOptions};
use tonic::Code;

use crate::calls::{
    Client, GIB, MIB, mount_capability, publish_request, unpublish_request, unstage_request,
};
use crate::world::World;

/// How long the driver waits for one Ceph operation in these tests.
const CEPH_TIMEOUT: &str = "--ceph-timeout=4s";

/// A world on a cluster of its own that may be stopped, next to one on the shared cluster, and
/// one driver that serves both.
struct Two {
    stopped: World,
    healthy: World,
}

impl Two {
    fn new() -> Self {
        let own = Cluster::start(&StartOptions::default()).expect("a cluster of its own");
        let two = Self {
            stopped: World::on(own),
            healthy: World::new(),
        };
        two.stopped
            .write_config(&[two.stopped.config_entry(), two.healthy.config_entry()]);
        two
    }
}

impl Drop for Two {
    fn drop(&mut self) {
        drop(self.stopped.cluster.resume_osd());
    }
}

#[test]
fn a_stopped_osd_ends_creates_by_their_deadline_and_leaves_others_alone() {
    let two = Two::new();
    let driver = two.stopped.start(&[CEPH_TIMEOUT]);
    // Both connections are up before the cluster stops.
    let warm = driver
        .client
        .create(two.stopped.create_request("warm", GIB))
        .expect("a volume");
    two.stopped.cluster.pause_osd().expect("a stopped OSD");

    let limit = Duration::from_secs(2);
    let start = Instant::now();
    let late = driver
        .client
        .create_within(two.stopped.create_request("late", GIB), limit)
        .expect_err("no answer without an OSD");
    assert!(
        start.elapsed() < limit + Duration::from_secs(2),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(late.code(), Code::DeadlineExceeded, "{late}");

    // The repeats join the job instead of piling up, and it ends by itself with the reason.
    let socket = driver.driver.socket().unwrap().to_owned();
    let request = two.stopped.create_request("late", GIB);
    std::thread::scope(|scope| {
        let repeats: Vec<_> = (0..16)
            .map(|_| {
                let (socket, request) = (&socket, request.clone());
                scope.spawn(move || {
                    Client::connect(socket).create_within(request, Duration::from_secs(60))
                })
            })
            .collect();
        // Meanwhile another cluster is served as if nothing were wrong.
        let start = Instant::now();
        let volume = driver
            .client
            .create(two.healthy.create_request("healthy", GIB))
            .expect("a volume");
        driver
            .client
            .delete_volume(two.healthy.delete_request(&volume.volume_id))
            .expect("a deletion");
        assert!(
            start.elapsed() < Duration::from_secs(4),
            "{:?}",
            start.elapsed()
        );
        for repeat in repeats {
            let status = repeat
                .join()
                .unwrap()
                .expect_err("no answer without an OSD");
            assert!(
                matches!(status.code(), Code::DeadlineExceeded | Code::Unavailable),
                "{status}"
            );
            assert!(status.message().contains("CUTTLE-"), "{status}");
        }
    });

    two.stopped.cluster.resume_osd().expect("a running OSD");
    let volume = driver
        .client
        .create(request.clone())
        .expect("the repeat after the outage");
    let again = driver.client.create(request).expect("the same again");
    assert_eq!(volume.volume_id, again.volume_id);
    let contents = two.stopped.contents();
    assert_eq!(contents.images.len(), 2, "{:?}", contents.images);
    assert_eq!(contents.omap_keys["csi.volumes.default"].len(), 2);
    for handle in [&warm.volume_id, &volume.volume_id] {
        driver
            .client
            .delete_volume(two.stopped.delete_request(handle))
            .expect("a deletion");
    }
    two.stopped.assert_ceph_empty("after the outage");
    two.healthy.assert_ceph_empty("on the healthy cluster");
}

#[test]
fn a_delete_that_met_a_stopped_osd_never_counts_as_done() {
    let two = Two::new();
    let driver = two.stopped.start(&[CEPH_TIMEOUT]);
    let volume = driver
        .client
        .create(two.stopped.create_request("kept", GIB))
        .expect("a volume");
    two.stopped.cluster.pause_osd().expect("a stopped OSD");
    let status = driver
        .client
        .delete_volume(two.stopped.delete_request(&volume.volume_id))
        .expect_err("an unreachable cluster is no proof of absence");
    assert!(
        matches!(status.code(), Code::DeadlineExceeded | Code::Unavailable),
        "{status}"
    );
    two.stopped.cluster.resume_osd().expect("a running OSD");
    driver
        .client
        .delete_volume(two.stopped.delete_request(&volume.volume_id))
        .expect("the repeat");
    two.stopped.assert_ceph_empty("after the repeated delete");
}

#[test]
fn unmounting_works_while_another_cluster_hangs() {
    let two = Two::new();
    let driver = two.stopped.start(&[CEPH_TIMEOUT]);
    let volume = driver
        .client
        .create(two.healthy.create_request("staged", 64 * MIB))
        .expect("a volume");
    let staging = two.healthy.make_dir("staging");
    let target = two.healthy.path("target");
    let capability = mount_capability("ext4");
    driver
        .client
        .node_stage_volume(
            two.healthy
                .stage_request(&volume, &staging, capability.clone()),
        )
        .expect("a staging");
    driver
        .client
        .node_publish_volume(publish_request(
            &volume,
            &staging,
            &target,
            capability.clone(),
        ))
        .expect("a publication");
    let blocked: Vec<_> = (0..8)
        .map(|n| {
            driver
                .client
                .create(two.stopped.create_request(&format!("staged-{n}"), 64 * MIB))
                .expect("a volume")
        })
        .collect();
    two.stopped.cluster.pause_osd().expect("a stopped OSD");
    let socket = driver.driver.socket().unwrap().to_owned();
    std::thread::scope(|scope| {
        // Stagings on the dead cluster fill whatever lane they run in.
        for (n, volume) in blocked.iter().enumerate() {
            let staging = two.stopped.make_dir(&format!("staging-{n}"));
            let request = two
                .stopped
                .stage_request(volume, &staging, mount_capability("ext4"));
            let socket = &socket;
            scope.spawn(move || {
                let status = Client::connect(socket).node_stage_volume(request);
                assert!(status.is_err(), "staged without an OSD");
            });
        }
        let start = Instant::now();
        driver
            .client
            .node_unpublish_volume(unpublish_request(&volume.volume_id, &target))
            .expect("an end of the publication");
        driver
            .client
            .node_unstage_volume(unstage_request(&volume.volume_id, &staging))
            .expect("an end of the staging");
        assert!(
            start.elapsed() < Duration::from_secs(10),
            "{:?}",
            start.elapsed()
        );
    });
    two.stopped.cluster.resume_osd().expect("a running OSD");
    for (n, volume) in blocked.iter().enumerate() {
        let staging = two.stopped.path(&format!("staging-{n}"));
        driver
            .client
            .node_unstage_volume(unstage_request(&volume.volume_id, &staging))
            .expect("the way back");
        driver
            .client
            .delete_volume(two.stopped.delete_request(&volume.volume_id))
            .expect("a deletion");
    }
    driver
        .client
        .delete_volume(two.healthy.delete_request(&volume.volume_id))
        .expect("a deletion");
    two.stopped.assert_ceph_empty("on the cluster that hung");
    two.healthy.assert_ceph_empty("on the healthy cluster");
    two.healthy.assert_host_clean(&[], "of the healthy cluster");
    two.stopped
        .assert_host_clean(&[&driver], "of the cluster that hung");
}
