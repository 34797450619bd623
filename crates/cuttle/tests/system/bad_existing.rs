//! Bad input about volumes that exist, or ought to: handles, sizes, capabilities, secrets.

use cuttle_csi::v1;
use cuttle_csi::v1::volume_capability::{AccessMode, access_mode::Mode};
use cuttle_csi::v1::volume_content_source::{SnapshotSource, Type, VolumeSource};
use tonic::{Code, Status};

use crate::bad_input::assert_refused;
use crate::calls::{GIB, MIB, mount_capability};
use crate::world::{POOL, Running, World};

/// What every call that takes a handle says to this one.
fn answers(world: &World, driver: &Running, handle: &str) -> Vec<(&'static str, Option<Status>)> {
    let (client, secrets) = (&driver.client, world.secrets());
    let volume = v1::Volume {
        volume_id: handle.to_owned(),
        ..v1::Volume::default()
    };
    let staging = world.make_dir("staging");
    let stage = world.stage_request(&volume, &staging, mount_capability("ext4"));
    let validate = v1::ValidateVolumeCapabilitiesRequest {
        volume_id: handle.to_owned(),
        volume_capabilities: vec![mount_capability("ext4")],
        secrets: secrets.clone(),
        ..Default::default()
    };
    let get = v1::ControllerGetVolumeRequest {
        volume_id: handle.to_owned(),
    };
    let snapshot = v1::CreateSnapshotRequest {
        source_volume_id: handle.to_owned(),
        name: "snapshot".to_owned(),
        secrets: secrets.clone(),
        ..Default::default()
    };
    let no_snapshot = v1::DeleteSnapshotRequest {
        snapshot_id: handle.to_owned(),
        secrets,
    };
    let from = |source: Type| v1::CreateVolumeRequest {
        volume_content_source: Some(v1::VolumeContentSource {
            r#type: Some(source),
        }),
        ..world.create_request("pvc-from", GIB)
    };
    let restore = from(Type::Snapshot(SnapshotSource {
        snapshot_id: handle.to_owned(),
    }));
    let clone = from(Type::Volume(VolumeSource {
        volume_id: handle.to_owned(),
    }));
    vec![
        (
            "delete",
            client.delete_volume(world.delete_request(handle)).err(),
        ),
        (
            "expand",
            client
                .controller_expand_volume(world.expand_request(handle, GIB))
                .err(),
        ),
        ("stage", client.node_stage_volume(stage).err()),
        (
            "validate",
            client.validate_volume_capabilities(validate).err(),
        ),
        ("get", client.controller_get_volume(get).err()),
        ("snapshot", client.create_snapshot(snapshot).err()),
        (
            "delete of a snapshot",
            client.delete_snapshot(no_snapshot).err(),
        ),
        ("restore", client.create(restore).err()),
        ("clone", client.create(clone).err()),
    ]
}

#[test]
fn hostile_handles_are_refused_everywhere() {
    let world = World::new();
    // For ControllerGetVolume, which carries no secrets.
    let credentials = world.make_dir("listing");
    for (name, value) in [("userID", &world.user), ("userKey", &world.key)] {
        std::fs::write(credentials.join(name), value).unwrap();
    }
    let mut entry = world.config_entry();
    entry["rbd"]["listing"] = serde_json::json!({
        "credentialsDirectory": credentials,
        "pools": [POOL],
    });
    world.write_config(&[entry]);
    let driver = world.start(&[]);
    let huge = "0".repeat(1 << 20);
    let hostile = [
        "",
        "-",
        "../../etc/passwd",
        "0001-ffff-x",
        "0001-0024-short",
        "0009-0003-abc-0000000000000001-00000000-0000-0000-0000-000000000000",
        "mig_mons-_image-_",
        "0001-0003-abc-ffffffffffffffff-00000000-0000-0000-0000-000000000000",
        "0001-0003-ab\u{e9}-0000000000000001-00000000-0000-0000-0000-000000000000",
        "0001-0003-a\0c-0000000000000001-00000000-0000-0000-0000-000000000000",
        huge.as_str(),
    ];
    for handle in hostile {
        let shown: String = handle.chars().take(40).collect();
        for (call, status) in answers(&world, &driver, handle) {
            let status = status.unwrap_or_else(|| panic!("{call} took the handle {shown}"));
            assert!(
                matches!(
                    status.code(),
                    Code::InvalidArgument | Code::NotFound | Code::FailedPrecondition
                ),
                "{call} {shown}: {status}"
            );
            assert_refused(&format!("{call} {shown}"), &status, status.code(), &[]);
        }
    }
    for name in ["userID", "userKey"] {
        std::fs::remove_file(credentials.join(name)).unwrap();
    }
    world.assert_ceph_empty("after hostile handles");
    world.assert_host_clean(&[&driver], "after hostile handles");
}

#[test]
fn volumes_are_not_grown_to_sizes_that_make_no_sense() {
    let world = World::new();
    let driver = world.start(&[]);
    let volume = driver.client.create(world.create_request("pvc-grow", GIB));
    let volume = volume.expect("a volume");
    let refuse = |what: &str, range: Option<(i64, i64)>, code, words: &[&str]| {
        let mut request = world.expand_request(&volume.volume_id, GIB);
        request.capacity_range = range.map(|(required_bytes, limit_bytes)| v1::CapacityRange {
            required_bytes,
            limit_bytes,
        });
        let status = driver.client.controller_expand_volume(request);
        assert_refused(what, &status.expect_err(what), code, words);
    };
    let (invalid, range) = (Code::InvalidArgument, Code::OutOfRange);
    refuse("no range", None, invalid, &["capacity_range"]);
    refuse("a size of 0", Some((0, 0)), invalid, &["capacity_range"]);
    refuse(
        "a negative size",
        Some((-1, 0)),
        invalid,
        &["required_bytes"],
    );
    refuse(
        "a negative limit",
        Some((GIB, -1)),
        invalid,
        &["limit_bytes"],
    );
    refuse(
        "a limit below the size",
        Some((2 * GIB, GIB)),
        invalid,
        &["limit_bytes"],
    );
    refuse(
        "a limit that rounding passes",
        Some((GIB + 1, GIB + 2)),
        range,
        &["limit_bytes"],
    );
    refuse(
        "a limit below what it has",
        Some((MIB, 2 * MIB)),
        range,
        &["limit_bytes", "1 GiB"],
    );
    refuse(
        "more than an image can have",
        Some((i64::MAX, 0)),
        range,
        &["required_bytes"],
    );
    let mut request = world.expand_request(&volume.volume_id, 2 * GIB);
    request.secrets.clear();
    let status = driver.client.controller_expand_volume(request);
    let status = status.expect_err("no secrets");
    assert_refused("no secrets", &status, invalid, &["userID", "userKey"]);
    // None of these has changed it.
    let again = driver.client.create(world.create_request("pvc-grow", GIB));
    assert_eq!(again.expect("the same").capacity_bytes, GIB);
    let deletion = world.delete_request(&volume.volume_id);
    driver.client.delete_volume(deletion).expect("a deletion");
    world.assert_ceph_empty("after the sizes");
}

#[test]
fn what_a_volume_cannot_do_is_not_confirmed() {
    let world = World::new();
    let driver = world.start(&[]);
    let volume = driver.client.create(world.create_request("pvc-can", GIB));
    let volume = volume.expect("a volume");
    let ask = |capabilities: Vec<v1::VolumeCapability>| {
        let request = v1::ValidateVolumeCapabilitiesRequest {
            volume_id: volume.volume_id.clone(),
            volume_context: volume.volume_context.clone(),
            volume_capabilities: capabilities,
            secrets: world.secrets(),
            ..Default::default()
        };
        driver.client.validate_volume_capabilities(request)
    };
    let none = ask(Vec::new()).expect_err("no capability");
    assert_refused(
        "none",
        &none,
        Code::InvalidArgument,
        &["volume_capabilities"],
    );
    let half = v1::VolumeCapability {
        access_type: None,
        ..mount_capability("ext4")
    };
    let half = ask(vec![half]).expect_err("half a capability");
    assert_refused("half", &half, Code::InvalidArgument, &["access_type"]);
    let shared = v1::VolumeCapability {
        access_mode: Some(AccessMode {
            mode: Mode::MultiNodeMultiWriter.into(),
        }),
        ..mount_capability("ext4")
    };
    let answer = ask(vec![shared]).expect("an answer");
    assert_eq!(answer.confirmed, None);
    assert!(
        answer.message.contains("MULTI_NODE_MULTI_WRITER"),
        "{}",
        answer.message
    );
    let answer = ask(vec![mount_capability("ext4")]).expect("an answer");
    assert!(answer.confirmed.is_some(), "{}", answer.message);

    let deletion = world.delete_request(&volume.volume_id);
    let mut nobody = deletion.clone();
    nobody.secrets.clear();
    let status = driver.client.delete_volume(nobody).expect_err("no secrets");
    assert_refused(
        "no secrets",
        &status,
        Code::InvalidArgument,
        &["userID", "userKey"],
    );
    driver.client.delete_volume(deletion).expect("a deletion");
    // It is not there any more, by the cluster's own word.
    let gone = ask(vec![mount_capability("ext4")]).expect_err("a volume that is gone");
    assert_refused("gone", &gone, Code::NotFound, &[&volume.volume_id]);
    world.assert_ceph_empty("after the questions");
}
