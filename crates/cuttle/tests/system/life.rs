//! A volume's whole life, for every kind of volume: what a pod sees and what Ceph holds.

use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use cuttle_csi::v1;
use cuttle_csi::v1::volume_usage::Unit;
use tonic::Code;

use crate::calls::{
    GIB, MIB, block_capability, mount_capability, publish_request, stats_request, text,
    unpublish_request, unstage_request,
};
use crate::world::{POOL, Running, World};

fn usage(answer: &v1::NodeGetVolumeStatsResponse, unit: Unit) -> &v1::VolumeUsage {
    answer
        .usage
        .iter()
        .find(|usage| usage.unit == i32::from(unit))
        .unwrap_or_else(|| panic!("no {unit:?} in {answer:?}"))
}

fn expand(
    world: &World,
    on: &Running,
    volume: &v1::Volume,
    paths: (&Path, &Path),
    capability: &v1::VolumeCapability,
    bytes: i64,
) {
    let answer = on
        .client
        .controller_expand_volume(world.expand_request(&volume.volume_id, bytes))
        .expect("a bigger image");
    assert_eq!(answer.capacity_bytes, bytes);
    assert!(answer.node_expansion_required);
    on.client
        .node_expand_volume(v1::NodeExpandVolumeRequest {
            volume_id: volume.volume_id.clone(),
            volume_path: text(paths.1),
            staging_target_path: text(paths.0),
            volume_capability: Some(capability.clone()),
            ..v1::NodeExpandVolumeRequest::default()
        })
        .expect("a bigger file system");
}

#[test]
fn a_filesystem_volume_keeps_its_data_from_node_to_node() {
    let world = World::new();
    let driver = world.start(&[]);
    let capability = mount_capability("xfs");
    let mut request = world.create_request("pvc-life", 512 * MIB);
    request.volume_capabilities = vec![capability.clone()];
    let volume = driver.client.create(request).expect("a volume");
    let metadata = world
        .cluster
        .rbd(&[
            "image-meta",
            "ls",
            "--format",
            "json",
            &format!(
                "{POOL}/{}/{}",
                world.namespace, volume.volume_context["imageName"]
            ),
        ])
        .expect("its metadata");
    let metadata: serde_json::Value = serde_json::from_str(&metadata).unwrap();
    assert_eq!(metadata["csi.storage.k8s.io/pvc/name"], "claim");
    assert_eq!(metadata["csi.ceph.com/cluster/name"], "test");

    let staging = world.make_dir("node-1/staging");
    let target = world.path("node-1/target");
    let stage = world.stage_request(&volume, &staging, capability.clone());
    driver
        .client
        .node_stage_volume(stage.clone())
        .expect("a staging");
    driver
        .client
        .node_stage_volume(stage)
        .expect("the same staging again");
    let publish = publish_request(&volume, &staging, &target, capability.clone());
    driver
        .client
        .node_publish_volume(publish.clone())
        .expect("a publication");
    driver
        .client
        .node_publish_volume(publish)
        .expect("the same publication again");

    let data: Vec<u8> = (0..3_000_000_u32)
        .map(|n| n.to_le_bytes()[0] ^ 0x5a)
        .collect();
    std::fs::write(target.join("data"), &data).expect("a write");
    let before = driver
        .client
        .node_get_volume_stats(stats_request(&volume.volume_id, &target, &staging))
        .expect("figures");
    assert!(usage(&before, Unit::Bytes).used >= 3_000_000, "{before:?}");
    assert!(usage(&before, Unit::Inodes).total > 0, "{before:?}");
    assert!(
        !before
            .volume_condition
            .as_ref()
            .expect("a condition")
            .abnormal,
        "{before:?}"
    );

    expand(
        &world,
        &driver,
        &volume,
        (&staging, &target),
        &capability,
        GIB,
    );
    let after = driver
        .client
        .node_get_volume_stats(stats_request(&volume.volume_id, &target, &staging))
        .expect("figures");
    let grown = usage(&after, Unit::Bytes).total - usage(&before, Unit::Bytes).total;
    assert!(grown > 400 * MIB, "grew by {grown} bytes only");

    let in_use = driver
        .client
        .delete_volume(world.delete_request(&volume.volume_id))
        .expect_err("a volume in use is not deleted");
    assert_eq!(in_use.code(), Code::FailedPrecondition, "{in_use}");
    assert!(
        in_use.message().contains("127.0.0.1"),
        "no watcher named: {in_use}"
    );

    for _ in 0..2 {
        driver
            .client
            .node_unpublish_volume(unpublish_request(&volume.volume_id, &target))
            .expect("an end of the publication");
        driver
            .client
            .node_unstage_volume(unstage_request(&volume.volume_id, &staging))
            .expect("an end of the staging");
    }
    world.assert_host_clean(&[&driver], "on the first node");

    let other = world.start_named("other", &["--nodeid=node-2"]);
    let staging = world.make_dir("node-2/staging");
    let target = world.path("node-2/target");
    other
        .client
        .node_stage_volume(world.stage_request(&volume, &staging, capability.clone()))
        .expect("a staging elsewhere");
    other
        .client
        .node_publish_volume(publish_request(&volume, &staging, &target, capability))
        .expect("a publication elsewhere");
    assert!(
        std::fs::read(target.join("data")).expect("the file") == data,
        "other data"
    );
    other
        .client
        .node_unpublish_volume(unpublish_request(&volume.volume_id, &target))
        .expect("an end of the publication");
    other
        .client
        .node_unstage_volume(unstage_request(&volume.volume_id, &staging))
        .expect("an end of the staging");
    driver
        .client
        .delete_volume(world.delete_request(&volume.volume_id))
        .expect("a deletion");
    world.assert_ceph_empty("after the volume's life");
    world.assert_host_clean(&[&driver, &other], "after the volume's life");
}

#[test]
fn a_raw_block_volume_is_the_image_itself() {
    let world = World::new();
    let driver = world.start(&[]);
    let mut request = world.create_request("pvc-raw", 64 * MIB);
    request.volume_capabilities = vec![block_capability()];
    let volume = driver.client.create(request).expect("a volume");
    let staging = world.make_dir("staging");
    let target = world.path("pod/device");
    std::fs::create_dir_all(target.parent().unwrap()).unwrap();
    driver
        .client
        .node_stage_volume(world.stage_request(&volume, &staging, block_capability()))
        .expect("a staging");
    driver
        .client
        .node_publish_volume(publish_request(
            &volume,
            &staging,
            &target,
            block_capability(),
        ))
        .expect("a publication");
    assert!(
        std::fs::metadata(&target)
            .unwrap()
            .file_type()
            .is_block_device()
    );
    let mut device = std::fs::File::options()
        .read(true)
        .write(true)
        .open(&target)
        .unwrap();
    device.seek(SeekFrom::Start(1 << 20)).unwrap();
    device.write_all(b"straight to the image").unwrap();
    device.sync_all().expect("a flush");
    drop(device);
    let stats = driver
        .client
        .node_get_volume_stats(stats_request(&volume.volume_id, &target, &staging))
        .expect("figures");
    assert_eq!(usage(&stats, Unit::Bytes).total, 64 * MIB);

    // Ceph's own tool reads what was written through the device.
    let image = format!(
        "{POOL}/{}/{}",
        world.namespace, volume.volume_context["imageName"]
    );
    let copy = world.path("copy");
    world
        .cluster
        .rbd(&["export", "--no-progress", &image, &text(&copy)])
        .expect("an export");
    let mut bytes = [0; 21];
    let mut file = std::fs::File::open(&copy).unwrap();
    file.seek(SeekFrom::Start(1 << 20)).unwrap();
    file.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"straight to the image");

    driver
        .client
        .node_unpublish_volume(unpublish_request(&volume.volume_id, &target))
        .expect("an end of the publication");
    driver
        .client
        .node_unstage_volume(unstage_request(&volume.volume_id, &staging))
        .expect("an end of the staging");
    driver
        .client
        .delete_volume(world.delete_request(&volume.volume_id))
        .expect("a deletion");
    world.assert_ceph_empty("after the raw volume's life");
    world.assert_host_clean(&[&driver], "after the raw volume's life");
}

#[test]
fn a_read_only_publication_refuses_writes() {
    let world = World::new();
    let driver = world.start(&[]);
    let capability = mount_capability("ext4");
    let volume = driver
        .client
        .create(world.create_request("pvc-ro", 64 * MIB))
        .expect("a volume");
    let staging = world.make_dir("staging");
    let target = world.path("target");
    driver
        .client
        .node_stage_volume(world.stage_request(&volume, &staging, capability.clone()))
        .expect("a staging");
    let mut publish = publish_request(&volume, &staging, &target, capability);
    publish.readonly = true;
    driver
        .client
        .node_publish_volume(publish)
        .expect("a publication");
    let error = std::fs::write(target.join("file"), "text").expect_err("a read-only mount");
    assert_eq!(
        error.raw_os_error(),
        Some(rustix::io::Errno::ROFS.raw_os_error())
    );
    driver
        .client
        .node_unpublish_volume(unpublish_request(&volume.volume_id, &target))
        .expect("an end of the publication");
    driver
        .client
        .node_unstage_volume(unstage_request(&volume.volume_id, &staging))
        .expect("an end of the staging");
    driver
        .client
        .delete_volume(world.delete_request(&volume.volume_id))
        .expect("a deletion");
    world.assert_ceph_empty("after the read-only publication");
    world.assert_host_clean(&[&driver], "after the read-only publication");
}

#[test]
fn a_restarted_plugin_takes_down_what_its_predecessor_staged() {
    let world = World::new();
    let mut first = world.start_named("first", &[]);
    let capability = mount_capability("ext4");
    let volume = first
        .client
        .create(world.create_request("pvc-restart", 64 * MIB))
        .expect("a volume");
    let staging = world.make_dir("staging");
    let target = world.path("target");
    first
        .client
        .node_stage_volume(world.stage_request(&volume, &staging, capability.clone()))
        .expect("a staging");
    first
        .client
        .node_publish_volume(publish_request(&volume, &staging, &target, capability))
        .expect("a publication");
    let mut open = std::fs::File::create(target.join("open")).unwrap();
    first.driver.kill().expect("its end");
    open.write_all(b"the mount outlives the plugin")
        .expect("a write");
    open.sync_all().expect("a flush");
    drop(open);

    let second = world.start_named("second", &[]);
    second
        .client
        .node_unpublish_volume(unpublish_request(&volume.volume_id, &target))
        .expect("an end of the publication");
    second
        .client
        .node_unstage_volume(unstage_request(&volume.volume_id, &staging))
        .expect("an end of the staging");
    second
        .client
        .delete_volume(world.delete_request(&volume.volume_id))
        .expect("a deletion");
    world.assert_ceph_empty("after the restart");
    world.assert_host_clean(&[&second], "after the restart");
}

#[test]
fn the_second_single_writer_is_told_who_has_the_volume() {
    let world = World::new();
    let driver = world.start(&[]);
    let other = world.start_named("other", &["--nodeid=node-2"]);
    let capability = mount_capability("ext4");
    let volume = driver
        .client
        .create(world.create_request("pvc-two", 64 * MIB))
        .expect("a volume");
    let staging = world.make_dir("staging-1");
    driver
        .client
        .node_stage_volume(world.stage_request(&volume, &staging, capability.clone()))
        .expect("a staging");
    let second = world.make_dir("staging-2");
    let status = other
        .client
        .node_stage_volume(world.stage_request(&volume, &second, capability))
        .expect_err("one writer only");
    assert_eq!(status.code(), Code::FailedPrecondition, "{status}");
    assert!(
        status.message().contains("127.0.0.1"),
        "no watcher named: {status}"
    );
    driver
        .client
        .node_unstage_volume(unstage_request(&volume.volume_id, &staging))
        .expect("an end of the staging");
    driver
        .client
        .delete_volume(world.delete_request(&volume.volume_id))
        .expect("a deletion");
    world.assert_ceph_empty("after the refusal");
    world.assert_host_clean(&[&driver, &other], "after the refusal");
}

#[test]
fn a_repeated_create_answers_the_same_unless_it_is_incompatible() {
    let world = World::new();
    let driver = world.start(&[]);
    let first = driver
        .client
        .create(world.create_request("pvc-same", GIB))
        .expect("a volume");
    let again = driver
        .client
        .create(world.create_request("pvc-same", GIB))
        .expect("the same");
    assert_eq!(first, again);
    let bigger = driver
        .client
        .create(world.create_request("pvc-same", 2 * GIB))
        .expect_err("another size");
    assert_eq!(bigger.code(), Code::AlreadyExists, "{bigger}");
    driver
        .client
        .delete_volume(world.delete_request(&first.volume_id))
        .expect("a deletion");
    driver
        .client
        .delete_volume(world.delete_request(&first.volume_id))
        .expect("a deletion of what is gone");
    world.assert_ceph_empty("after the comparison");
}

#[test]
fn listing_capacity_and_validation_tell_the_truth() {
    let world = World::new();
    let credentials = world.make_dir("listing");
    std::fs::write(credentials.join("userID"), &world.user).unwrap();
    std::fs::write(credentials.join("userKey"), &world.key).unwrap();
    let mut entry = world.config_entry();
    entry["rbd"]["listing"] =
        serde_json::json!({ "credentialsDirectory": text(&credentials), "pools": [POOL] });
    world.write_config(&[entry]);
    let driver = world.start(&[]);
    let volumes: Vec<v1::Volume> = (0..5)
        .map(|n| {
            let request = world.create_request(&format!("pvc-{n}"), GIB);
            driver.client.create(request).expect("a volume")
        })
        .collect();

    let mut listed = Vec::new();
    let mut token = String::new();
    loop {
        let page = driver
            .client
            .list_volumes(v1::ListVolumesRequest {
                max_entries: 2,
                starting_token: token,
            })
            .expect("a page");
        assert!(page.entries.len() <= 2);
        listed.extend(
            page.entries
                .into_iter()
                .filter_map(|e| e.volume)
                .map(|v| v.volume_id),
        );
        token = page.next_token;
        if token.is_empty() {
            break;
        }
    }
    listed.sort();
    let mut made: Vec<String> = volumes.iter().map(|v| v.volume_id.clone()).collect();
    made.sort();
    assert_eq!(listed, made);

    let capacity = driver
        .client
        .get_capacity(v1::GetCapacityRequest {
            parameters: world.parameters(),
            ..v1::GetCapacityRequest::default()
        })
        .expect("a figure");
    assert!(capacity.available_capacity > GIB, "{capacity:?}");

    let one = driver
        .client
        .controller_get_volume(v1::ControllerGetVolumeRequest {
            volume_id: made[0].clone(),
        })
        .expect("the volume");
    assert_eq!(one.volume.expect("a volume").capacity_bytes, GIB);

    let validate = |handle: &str| {
        driver
            .client
            .validate_volume_capabilities(v1::ValidateVolumeCapabilitiesRequest {
                volume_id: handle.to_owned(),
                volume_capabilities: vec![mount_capability("ext4")],
                secrets: world.secrets(),
                ..v1::ValidateVolumeCapabilitiesRequest::default()
            })
    };
    assert!(validate(&made[0]).expect("an answer").confirmed.is_some());
    for volume in &volumes {
        driver
            .client
            .delete_volume(world.delete_request(&volume.volume_id))
            .expect("a deletion");
    }
    let gone = validate(&made[0]).expect_err("a deleted volume is not valid");
    assert_eq!(gone.code(), Code::NotFound, "{gone}");
    world.assert_ceph_empty("after the listing");
    cuttle_testbed::remove_tree(&credentials).expect("no listing credentials");
    world.assert_host_clean(&[&driver], "after the listing");
}
