//! A cluster that stops answering: requests end, join and recover; others are not disturbed.
//!
//! Nothing is judged by the clock: that work runs, waits or joins is read from the driver's figures
//! while the cluster is stopped.

use std::time::Duration;

use cuttle_testbed::{Cluster, StartOptions, until};
use tonic::Code;

use crate::calls::{
    Client, GIB, MIB, mount_capability, publish_request, unpublish_request, unstage_request,
};
use crate::figures::Figures;
use crate::world::World;

/// The driver gives up on a Ceph operation after a moment.
const IMPATIENT: &str = "--ceph-timeout=4s";

/// The driver waits for Ceph longer than any of these tests takes.
const PATIENT: &str = "--ceph-timeout=600s";

/// How long callers wait who are to see the end of the work.
const CALLER: Duration = Duration::from_secs(300);

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
fn identical_requests_join_the_one_that_hangs_and_all_get_its_volume() {
    const REPEATS: u64 = 16;
    let (two, figures) = (Two::new(), Figures::new());
    let driver = two.stopped.start(&[PATIENT, &figures.flag()]);
    let stopped = two.stopped.cluster_id.as_str();
    // The first pays for the connection; the second tells what one creation calls.
    let first = two.stopped.create_request("first", GIB);
    let first = driver.client.create(first).expect("a volume");
    let before = figures.calls("rados.write");
    let counted = two.stopped.create_request("counted", GIB);
    let counted = driver.client.create(counted).expect("a volume");
    let one_creation = figures.calls("rados.write") - before;
    assert!(one_creation > 0, "a creation writes nothing");
    two.stopped.cluster.pause_osd().expect("a stopped OSD");

    // The caller's deadline is kept by the driver, not by the client's clock, which has another
    // code; the work goes on.
    let request = two.stopped.create_request("late", GIB);
    let limit = Duration::from_secs(2);
    let late = driver.client.create_within(request.clone(), limit);
    let late = late.expect_err("no answer without an OSD");
    assert_eq!(late.code(), Code::DeadlineExceeded, "{late}");
    assert!(late.message().contains("CUTTLE-"), "{late}");
    let before = figures.calls("rados.write");
    let (jobs, claims) = (
        figures.sum("cuttle_jobs_open", &[]),
        figures.sum("cuttle_claims_held", &[]),
    );
    assert_eq!(jobs, 1);

    let socket = driver.driver.socket().unwrap().to_owned();
    let handles: Vec<String> = std::thread::scope(|scope| {
        let repeats: Vec<_> = (0..REPEATS)
            .map(|_| {
                let (socket, request) = (&socket, request.clone());
                scope.spawn(move || Client::connect(socket).create_within(request, CALLER))
            })
            .collect();
        // All wait, and nothing was added: neither jobs nor claims, neither threads nor calls.
        figures.wait_open("CreateVolume", REPEATS);
        let one_hangs = || {
            assert_eq!(figures.sum("cuttle_jobs_open", &[]), 1);
            assert_eq!(figures.sum("cuttle_claims_held", &[]), claims);
            assert_eq!(figures.lane("cluster", stopped), (1, 0));
        };
        one_hangs();
        // Another request for the name is told who holds it, at which step, since when.
        let other = two.stopped.create_request("late", 2 * GIB);
        let held = driver.client.create(other).expect_err("the name is held");
        assert_eq!(held.code(), Code::Aborted, "{held}");
        for word in ["CreateVolume", "late", "rados.write"] {
            assert!(held.message().contains(word), "no {word} in: {held}");
        }
        // Another cluster is served as if nothing were wrong, while all of that still hangs.
        let healthy = two.healthy.create_request("healthy", GIB);
        let healthy = driver.client.create(healthy).expect("a volume");
        let deletion = two.healthy.delete_request(&healthy.volume_id);
        driver.client.delete_volume(deletion).expect("a deletion");
        figures.wait_open("CreateVolume", REPEATS);
        one_hangs();

        let writes_elsewhere = figures.calls("rados.write") - before;
        two.stopped.cluster.resume_osd().expect("a running OSD");
        let volumes = repeats.into_iter().map(|repeat| repeat.join().unwrap());
        let handles = volumes
            .map(|volume| volume.expect("the volume").volume_id)
            .collect();
        let writes = figures.calls("rados.write") - before - writes_elsewhere;
        assert_eq!(writes, one_creation, "one creation for all");
        handles
    });
    assert!(
        handles.iter().all(|handle| *handle == handles[0]),
        "{handles:?}"
    );
    figures.wait("cuttle_jobs_open", &[], 0);
    figures.wait("cuttle_claims_held", &[], 0);

    let again = driver.client.create(request).expect("the same again");
    assert_eq!(again.volume_id, handles[0]);
    let contents = two.stopped.contents();
    assert_eq!(contents.images.len(), 3, "{:?}", contents.images);
    assert_eq!(contents.omap_keys["csi.volumes.default"].len(), 3);
    for handle in [&first.volume_id, &counted.volume_id, &again.volume_id] {
        let deletion = two.stopped.delete_request(handle);
        driver.client.delete_volume(deletion).expect("a deletion");
    }
    two.stopped.assert_ceph_empty("after the outage");
    two.healthy.assert_ceph_empty("on the healthy cluster");
}

#[test]
fn a_create_that_hangs_ends_with_an_error_and_its_repeat_leaks_nothing() {
    let (two, figures) = (Two::new(), Figures::new());
    let driver = two.stopped.start(&[IMPATIENT, &figures.flag()]);
    let warm = two.stopped.create_request("warm", GIB);
    let warm = driver.client.create(warm).expect("a volume");
    two.stopped.cluster.pause_osd().expect("a stopped OSD");
    let request = two.stopped.create_request("late", GIB);
    for _attempt in 0..2 {
        let status = driver.client.create_within(request.clone(), CALLER);
        let status = status.expect_err("no answer without an OSD");
        assert!(
            matches!(status.code(), Code::DeadlineExceeded | Code::Unavailable),
            "{status}"
        );
        for word in ["CUTTLE-", "ETIMEDOUT"] {
            assert!(status.message().contains(word), "no {word} in: {status}");
        }
    }
    figures.wait("cuttle_jobs_open", &[], 0);
    assert_eq!(figures.sum("cuttle_claims_held", &[]), 0);

    two.stopped.cluster.resume_osd().expect("a running OSD");
    let repeat = driver.client.create(request.clone());
    let volume = repeat.expect("the repeat after the outage");
    let again = driver.client.create(request).expect("the same again");
    assert_eq!(volume.volume_id, again.volume_id);
    let contents = two.stopped.contents();
    assert_eq!(contents.images.len(), 2, "{:?}", contents.images);
    assert_eq!(contents.omap_keys["csi.volumes.default"].len(), 2);
    for handle in [&warm.volume_id, &volume.volume_id] {
        let deletion = two.stopped.delete_request(handle);
        driver.client.delete_volume(deletion).expect("a deletion");
    }
    two.stopped.assert_ceph_empty("after the outage");
}

#[test]
fn a_delete_that_met_a_stopped_osd_never_counts_as_done() {
    let two = Two::new();
    let driver = two.stopped.start(&[IMPATIENT]);
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
    /// More than the lane has threads.
    const BLOCKED: u64 = 10;
    let (two, figures) = (Two::new(), Figures::new());
    let driver = two.stopped.start(&[PATIENT, &figures.flag()]);
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
    let blocked: Vec<_> = (0..BLOCKED)
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
        // Stagings on the dead cluster fill their lane.
        let stagings: Vec<_> = blocked
            .iter()
            .enumerate()
            .map(|(n, volume)| {
                let staging = two.stopped.make_dir(&format!("staging-{n}"));
                let capability = mount_capability("ext4");
                let request = two.stopped.stage_request(volume, &staging, capability);
                let socket = &socket;
                scope.spawn(move || Client::connect(socket).node_stage_volume(request))
            })
            .collect();
        let full = || {
            let stopped = two.stopped.cluster_id.as_str();
            let limit = figures.sum(
                "cuttle_lane_threads_limit",
                &["lane=\"stage\"", &format!("cluster=\"{stopped}\"")],
            );
            let (busy, queued) = figures.lane("stage", stopped);
            assert_eq!((busy, queued), (limit, BLOCKED - limit), "busy, queued");
        };
        figures.wait_open("NodeStageVolume", BLOCKED);
        full();
        driver
            .client
            .node_unpublish_volume(unpublish_request(&volume.volume_id, &target))
            .expect("an end of the publication");
        driver
            .client
            .node_unstage_volume(unstage_request(&volume.volume_id, &staging))
            .expect("an end of the staging");
        full();
        two.stopped.cluster.resume_osd().expect("a running OSD");
        for staging in stagings {
            staging.join().unwrap().expect("a staging after the outage");
        }
    });
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

#[test]
fn a_stage_ends_without_its_osd_and_its_repeat_succeeds_with_it() {
    let world = World::on(Cluster::start(&StartOptions::default()).expect("a cluster of its own"));
    // The one job is still at work when the last of its repeats comes.
    let driver = world.start(&["--ceph-timeout=20s"]);
    let create = |name: &str| {
        let request = world.create_request(name, 64 * MIB);
        driver.client.create(request).expect("a volume")
    };
    let (used, late) = (create("used"), create("late"));
    let capability = mount_capability("ext4");
    let (staging, target) = (world.make_dir("used/staging"), world.path("used/target"));
    let stage = world.stage_request(&used, &staging, capability.clone());
    driver.client.node_stage_volume(stage).expect("a staging");
    let publish = publish_request(&used, &staging, &target, capability.clone());
    let published = driver.client.node_publish_volume(publish);
    published.expect("a publication");

    world.cluster.pause_osd().expect("a stopped OSD");
    let place = world.make_dir("late/staging");
    let request = world.stage_request(&late, &place, capability.clone());
    let ended = |client: &Client, limit| {
        let status = client
            .stage_within(request.clone(), limit)
            .expect_err("no OSD");
        assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
        // What is being done, and what comes of it.
        for word in ["CUTTLE-1703", "rados.", "repeat the request to join it"] {
            assert!(status.message().contains(word), "{status}");
        }
    };
    ended(&driver.client, Duration::from_secs(2));
    let socket = driver.driver.socket().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| ended(&Client::connect(socket), Duration::from_secs(2)));
        }
    });
    let joined = driver
        .driver
        .log_text()
        .matches("joined a running request")
        .count();
    assert_eq!(joined, 16, "of the repeats");
    // The pod that is there already can go.
    let unpublish = unpublish_request(&used.volume_id, &target);
    let unpublished = driver.client.node_unpublish_volume(unpublish);
    unpublished.expect("an end of the publication");

    world.cluster.resume_osd().expect("a running OSD");
    let spoilt = [
        // The job that the outage has spoilt, and the watches that it has left.
        Code::DeadlineExceeded,
        Code::Unavailable,
        Code::FailedPrecondition,
    ];
    until("the repeat succeeds", Duration::from_secs(120), || {
        let repeated = driver.client.node_stage_volume(request.clone());
        repeated.map(drop).map_err(|status| {
            assert!(spoilt.contains(&status.code()), "{status}");
            status.to_string()
        })
    })
    .unwrap();
    assert!(place.join(&late.volume_id).join("lost+found").exists());
    for (volume, staging) in [(&late, &place), (&used, &staging)] {
        let unstage = unstage_request(&volume.volume_id, staging);
        let unstaged = driver.client.node_unstage_volume(unstage);
        unstaged.expect("an end of the staging");
        let delete = world.delete_request(&volume.volume_id);
        driver.client.delete_volume(delete).expect("a deletion");
    }
    world.assert_ceph_empty("after the outage");
    world.assert_host_clean(&[&driver], "after the outage");
}
