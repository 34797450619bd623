//! What is remembered of an image, a process or a device is compared before it counts.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cuttle_model::{Class, ClusterSettings, Explain, Fsid, Monitors, VolumeHandle, chain};
use cuttle_node::rbd::Volume;
use cuttle_testbed::{Cluster, StartOptions};

use crate::field::{Field, POOL, Stranger, filesystem, publish_request, unstage_request};
use crate::refusals::{disk, refused, told};

/// When a process started, in clock ticks since boot.
fn started(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let mut fields = stat.rsplit_once(')').unwrap().1.split_whitespace();
    fields.nth(19).unwrap().parse().unwrap()
}

#[test]
fn what_a_stage_left_before_the_machine_was_started_anew_is_staged_cleanly() {
    let (field, stage) = disk();
    let stash = stage.staging_path.join("image-meta.json");
    field.node().stage(&stage).unwrap();
    let mut left: serde_json::Value = serde_json::from_slice(&fs::read(&stash).unwrap()).unwrap();
    field.node().unstage(&unstage_request(&stage)).unwrap();
    // Another process has the number now, and by chance started as many ticks after boot.
    let mut stranger = Stranger::start(&["sleep", "600"]);
    left["cuttle"]["boot"] = "00000000-0000-0000-0000-000000000000".into();
    left["cuttle"]["exporter"]["pid"] = stranger.0.id().into();
    left["cuttle"]["exporter"]["started"] = started(stranger.0.id()).into();
    let place = stage.staging_path.join("disk");
    let leave = || {
        fs::write(&stash, left.to_string()).unwrap();
        fs::write(stage.staging_path.join("image-export.fuse"), "").unwrap();
        fs::create_dir(&place).unwrap();
    };
    let begun = Instant::now();

    leave();
    // Nothing is mounted there: publishing would show the node's own disk.
    let target = field.target("pod");
    let error = field
        .node()
        .publish(&publish_request(&stage, &target))
        .unwrap_err();
    let (code, class, text) = told(&error);
    assert_eq!((code, class), (1580, Class::Unmet), "{text}");
    assert!(text.contains("stage the volume"), "{text}");
    assert!(!target.exists());
    field.node().unstage(&unstage_request(&stage)).unwrap();
    field.assert_empty(&stage.staging_path);

    leave();
    field.node().stage(&stage).unwrap();
    assert!(place.join("lost+found").exists());
    field.node().unstage(&unstage_request(&stage)).unwrap();
    field.assert_empty(&stage.staging_path);
    assert!(stranger.is_alive());
    // The stranger was not waited for.
    assert!(begun.elapsed() < Duration::from_secs(45), "{begun:?}");
    field.assert_clean_host();
}

#[test]
fn a_record_of_another_image_of_which_nothing_is_left_is_replaced() {
    let (field, stage) = disk();
    field.image("other", 32);
    let stash = stage.staging_path.join("image-meta.json");
    let mut other = field.stage_request("other", &stage.staging_path, filesystem("ext4"));
    other.id = stage.id.clone();
    field.node().stage(&other).unwrap();
    let left = fs::read(&stash).unwrap();
    field.node().unstage(&unstage_request(&other)).unwrap();
    fs::write(&stash, left).unwrap();
    field.node().stage(&stage).unwrap();
    refused(&field, &other, 1571, Class::Unmet, &["disk", "other"]);
    field.node().unstage(&unstage_request(&stage)).unwrap();
    field.assert_empty(&stage.staging_path);
    field.assert_clean_host();
}

#[test]
fn an_image_that_was_replaced_by_another_of_its_name_is_not_called_staged() {
    let (field, stage) = disk();
    field.image("restored", 32);
    field.node().stage(&stage).unwrap();
    let rename = |from: &str, to: &str| {
        let (from, to) = (field.spec(from), field.spec(to));
        field.cluster.rbd(&["mv", &from, &to]).unwrap();
    };
    rename("disk", "set-aside");
    refused(&field, &stage, 1530, Class::Absent, &["disk"]);
    rename("restored", "disk");
    refused(&field, &stage, 1571, Class::Unmet, &["(id ", "cluster"]);
    // What was staged is still there, whole.
    assert!(stage.staging_path.join("disk/lost+found").exists());
    field.node().unstage(&unstage_request(&stage)).unwrap();
    field.assert_empty(&stage.staging_path);
    field.node().stage(&stage).unwrap();
    field.node().unstage(&unstage_request(&stage)).unwrap();
    field.assert_clean_host();
}

#[test]
fn equal_names_in_another_cluster_are_another_image() {
    let shared = Field::new();
    let mut field = Field::on(Cluster::start(&StartOptions::default()).unwrap());
    field.namespace.clone_from(&shared.namespace);
    field.cluster.namespace(POOL, &field.namespace).unwrap();
    field.image("disk", 32);
    shared.image("disk", 32);
    let staging = field.staging("one");
    let stage = field.stage_request("disk", &staging, filesystem("ext4"));
    field.node().stage(&stage).unwrap();
    // The entry of the configuration leads elsewhere now.
    let elsewhere = shared.stage_request("disk", &staging, filesystem("ext4"));
    refused(&field, &elsewhere, 1571, Class::Unmet, &["cluster"]);

    // As long as the cluster does not answer, what is known has to do: the same names and the same
    // monitors. With other monitors it may be any cluster.
    field.cluster.pause_osd().unwrap();
    field.node().stage(&stage).unwrap();
    let mut moved = stage.clone();
    let mut settings = (*field.settings()).clone();
    let monitors = settings.monitors.addresses().to_vec();
    let twice = monitors.iter().chain(&monitors).cloned().collect();
    settings.monitors = Monitors::new(twice).unwrap();
    moved.cluster = settings.into();
    let error = field.node().stage(&moved).unwrap_err();
    assert!(
        [Class::Down, Class::Late].contains(&error.class()),
        "{}",
        chain(&error)
    );
    field.cluster.resume_osd().unwrap();
    // The same cluster by other monitors is the same cluster.
    field.node().stage(&moved).unwrap();
    field.node().unstage(&unstage_request(&stage)).unwrap();
    field.assert_empty(&staging);
    field.assert_clean_host();
}

#[test]
fn an_image_that_the_journal_calls_encrypted_is_never_taken_for_a_plain_one() {
    let (field, mut stage) = disk();
    let pools = field
        .cluster
        .program("ceph")
        .args(["osd", "lspools", "-f", "json"]);
    let pools: serde_json::Value = serde_json::from_str(&pools.ok().unwrap().text()).unwrap();
    let pool = pools
        .as_array()
        .unwrap()
        .iter()
        .find(|pool| pool["poolname"] == POOL);
    let number = pool.unwrap()["poolnum"].as_i64().unwrap();
    let uuid = "2f1b8a3e-6c4d-11ee-9f5a-0242ac120002";
    let handle = VolumeHandle::parse(&format!("0001-0004-test-{number:016x}-{uuid}")).unwrap();
    let VolumeHandle::Composed(handle) = handle else {
        panic!("{handle:?}");
    };
    let image = format!("csi-vol-{uuid}");
    field.image(&image, 32);
    let record = format!("csi.volume.{uuid}");
    let set = |key: &str, value: &str| {
        let words = [
            "-p",
            POOL,
            "-N",
            &field.namespace,
            "setomapval",
            &record,
            key,
            value,
        ];
        field.cluster.rados(&words).unwrap();
    };
    set("csi.volname", "pvc-encrypted");
    set("csi.imagename", &image);
    stage.volume = Volume::Provisioned(handle);

    // The context says nothing of it.
    set("csi.volume.encryptKMS", "default");
    refused(&field, &stage, 1534, Class::Unmet, &[&image, "ceph-csi"]);
    field.assert_empty(&stage.staging_path);
    let used = field
        .cluster
        .rbd(&["du", "--format", "json", &field.spec(&image)])
        .unwrap();
    let used: serde_json::Value = serde_json::from_str(&used).unwrap();
    assert_eq!(used["images"][0]["used_size"], 0, "{used}");
    field.assert_clean_host();
}

#[test]
fn nothing_is_staged_from_another_cluster_than_the_configured_one() {
    let (field, mut stage) = disk();
    let mut cluster = ClusterSettings::clone(&stage.cluster);
    let configured = "3f9cf5c2-0d5a-4a4f-9c3b-0d6f6a8f8c11";
    cluster.fsid = Some(Fsid::parse(configured).unwrap());
    stage.cluster = Arc::new(cluster);
    refused(
        &field,
        &stage,
        1558,
        Class::Unmet,
        &[configured, field.cluster.fsid(), "config.json"],
    );
    field.assert_empty(&stage.staging_path);
    field.assert_clean_host();

    let mut cluster = ClusterSettings::clone(&stage.cluster);
    cluster.fsid = Some(Fsid::parse(field.cluster.fsid()).unwrap());
    stage.cluster = Arc::new(cluster);
    field.node().stage(&stage).unwrap();
    field.node().unstage(&unstage_request(&stage)).unwrap();
    field.assert_clean_host();
}
