//! Bad input is answered with the right code and a message that names field, rule and remedy; it
//! leaves nothing behind.

use cuttle_csi::v1;
use cuttle_csi::v1::volume_capability::{AccessMode, access_mode::Mode};
use tonic::{Code, Status};

use crate::calls::{
    Client, GIB, MIB, block_capability, mount_capability, publish_request, unpublish_request,
    unstage_request,
};
use crate::world::World;

/// Demands a code, words in the message, a remedy, a Cuttle code, and a message that a terminal can
/// hold.
#[track_caller]
pub(crate) fn assert_refused(what: &str, status: &Status, code: Code, words: &[&str]) {
    assert_eq!(status.code(), code, "{what}: {status}");
    let message = status.message();
    for word in words {
        assert!(
            message.contains(word),
            "{what}: no \"{word}\" in: {message}"
        );
    }
    let told = message.rsplit_once(" [CUTTLE-");
    let (told, _code) = told.unwrap_or_else(|| panic!("{what}: no code in: {message}"));
    assert!(told.contains("; "), "{what}: no remedy in: {message}");
    assert!(
        message.len() < 4_096,
        "{what}: {} bytes of message",
        message.len()
    );
}

fn refuse_create(
    client: &Client,
    what: &str,
    request: v1::CreateVolumeRequest,
    code: Code,
    words: &[&str],
) {
    let status = client.create(request).expect_err(what);
    assert_refused(what, &status, code, words);
}

#[test]
fn creates_with_bad_names_sizes_and_capabilities() {
    let world = World::new();
    let driver = world.start(&[]);
    let invalid = Code::InvalidArgument;
    let good = || world.create_request("pvc-bad", GIB);
    let refuse =
        |what: &str, change: &dyn Fn(&mut v1::CreateVolumeRequest), code, words: &[&str]| {
            let mut request = good();
            change(&mut request);
            refuse_create(&driver.client, what, request, code, words);
        };
    refuse("an empty name", &|r| r.name.clear(), invalid, &["name"]);
    refuse(
        "a name of 1 MB",
        &|r| r.name = "n".repeat(1 << 20),
        invalid,
        &["name"],
    );
    refuse(
        "a name with a control character",
        &|r| r.name = "a\u{7}b".into(),
        invalid,
        &["name"],
    );
    refuse(
        "no capability",
        &|r| r.volume_capabilities.clear(),
        invalid,
        &["volume_capabilities"],
    );
    refuse(
        "a capability without an access type",
        &|r| r.volume_capabilities[0].access_type = None,
        invalid,
        &["access_type"],
    );
    refuse(
        "a file system on many nodes",
        &|r| {
            r.volume_capabilities[0].access_mode = Some(AccessMode {
                mode: Mode::MultiNodeMultiWriter.into(),
            });
        },
        invalid,
        &["MULTI_NODE_MULTI_WRITER"],
    );
    refuse(
        "a size of 0",
        &|r| {
            r.capacity_range = Some(v1::CapacityRange {
                required_bytes: 0,
                limit_bytes: 0,
            });
        },
        invalid,
        &["capacity_range"],
    );
    refuse(
        "a negative size",
        &|r| {
            r.capacity_range = Some(v1::CapacityRange {
                required_bytes: -1,
                limit_bytes: 0,
            });
        },
        invalid,
        &["required_bytes"],
    );
    refuse(
        "a limit below the size",
        &|r| {
            r.capacity_range = Some(v1::CapacityRange {
                required_bytes: GIB,
                limit_bytes: MIB,
            });
        },
        invalid,
        &["limit_bytes"],
    );
    refuse(
        "a limit that rounding passes",
        &|r| {
            r.capacity_range = Some(v1::CapacityRange {
                required_bytes: GIB + 1,
                limit_bytes: GIB + 2,
            });
        },
        Code::OutOfRange,
        &["limit_bytes"],
    );
    refuse(
        "a size beyond what an image can have",
        &|r| {
            r.capacity_range = Some(v1::CapacityRange {
                required_bytes: i64::MAX,
                limit_bytes: 0,
            });
        },
        Code::OutOfRange,
        &["required_bytes"],
    );
    refuse(
        "no secrets",
        &|r| r.secrets.clear(),
        invalid,
        &["userID", "userKey"],
    );
    world.assert_ceph_empty("after bad names, sizes and capabilities");
}

#[test]
fn creates_with_bad_parameters_name_every_one_of_them() {
    let world = World::new();
    let driver = world.start(&[]);
    let invalid = Code::InvalidArgument;
    let refuse = |what: &str, pairs: &[(&str, Option<&str>)], code, words: &[&str]| {
        let mut request = world.create_request("pvc-bad", GIB);
        for (key, value) in pairs {
            match value {
                Some(value) => request.parameters.insert((*key).into(), (*value).into()),
                None => request.parameters.remove(*key),
            };
        }
        refuse_create(&driver.client, what, request, code, words);
    };
    refuse(
        "no cluster",
        &[("clusterID", None)],
        invalid,
        &["clusterID"],
    );
    refuse("no pool", &[("pool", None)], invalid, &["pool"]);
    refuse(
        "an unknown key",
        &[("pol", Some("x"))],
        invalid,
        &["pol", "pool"],
    );
    refuse(
        "an unknown cluster",
        &[("clusterID", Some("elsewhere"))],
        invalid,
        &["clusterID", "elsewhere", &world.cluster_id],
    );
    refuse(
        "features that need others",
        &[("imageFeatures", Some("fast-diff"))],
        invalid,
        &["imageFeatures", "object-map"],
    );
    refuse(
        "several mistakes at once",
        &[
            ("imageFeatures", Some("layering,warp")),
            ("stripeUnit", Some("4096")),
            ("objectSize", Some("3")),
            ("mounter", Some("magic")),
        ],
        invalid,
        &["warp", "stripeCount", "objectSize", "mounter"],
    );
    refuse(
        "an empty prefix",
        &[("volumeNamePrefix", Some(""))],
        invalid,
        &["volumeNamePrefix"],
    );
    let status = {
        let mut request = world.create_request("pvc-bad", GIB);
        request.parameters.insert("encrypted".into(), "true".into());
        driver.client.create(request).expect_err("encryption")
    };
    assert!(
        matches!(status.code(), Code::InvalidArgument | Code::Unimplemented),
        "{status}"
    );
    assert!(status.message().contains("encrypted"), "{status}");
    assert!(status.message().contains("not supported yet"), "{status}");
    world.assert_ceph_empty("after bad parameters");
}

#[test]
fn creates_that_ceph_refuses_say_why_and_leave_nothing() {
    let world = World::new();
    let driver = world.start(&[]);
    let mut request = world.create_request("pvc-bad", GIB);
    request
        .parameters
        .insert("pool".into(), "no-such-pool".into());
    let status = driver.client.create(request).expect_err("no such pool");
    assert!(
        matches!(status.code(), Code::InvalidArgument | Code::NotFound),
        "{status}"
    );
    assert!(status.message().contains("no-such-pool"), "{status}");

    let mut request = world.create_request("pvc-bad", GIB);
    // Right in form, wrong in value.
    request.secrets.insert(
        "userKey".into(),
        "AQBAAAAAAAAAABAAAAAAAAAAAAAAAAAAAAAAAA==".into(),
    );
    let status = driver.client.create(request).expect_err("a wrong key");
    assert!(
        matches!(
            status.code(),
            Code::Unauthenticated | Code::PermissionDenied
        ),
        "{status}"
    );
    assert!(status.message().contains(&world.user), "{status}");

    let bare = format!("bare-{}", world.namespace);
    world
        .cluster
        .bare_pool(&bare)
        .expect("a pool without rbd pool init");
    let admin = world.cluster.admin_key();
    let mut entry = world.config_entry();
    entry["rbd"] = serde_json::json!({});
    entry["clusterID"] = "plain".into();
    world.write_config(&[world.config_entry(), entry]);
    let plain = world.start_named("plain", &[]);
    let mut request = world.create_request("pvc-bad", GIB);
    request
        .parameters
        .insert("clusterID".into(), "plain".into());
    request.parameters.insert("pool".into(), bare.clone());
    request.secrets = [("userID", "admin"), ("userKey", &admin)]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
    let status = plain
        .client
        .create(request)
        .expect_err("a pool that is not initialised");
    assert_refused(
        "a pool without rbd pool init",
        &status,
        Code::FailedPrecondition,
        &["rbd pool init", &bare],
    );
    let left = world
        .cluster
        .rbd_namespace_contents(&bare, "")
        .expect("a listing")
        .leftovers();
    assert!(left.is_empty(), "{left:?}");
    world.cluster.remove_pool(&bare).expect("no pool any more");
    world.assert_ceph_empty("after what Ceph refused");
}

#[test]
fn node_calls_with_bad_paths_are_refused() {
    let world = World::new();
    let driver = world.start(&[]);
    let volume = driver
        .client
        .create(world.create_request("pvc-path", 64 * MIB))
        .expect("a volume");
    let capability = mount_capability("ext4");
    let good = world.make_dir("staging");
    for path in ["", "relative/path", "/tmp/../etc", "/tmp/a/../../b"] {
        let mut request = world.stage_request(&volume, &good, capability.clone());
        request.staging_target_path = path.to_owned();
        let status = driver.client.node_stage_volume(request).expect_err(path);
        assert_refused(
            path,
            &status,
            Code::InvalidArgument,
            &["staging_target_path"],
        );
        let mut request = publish_request(&volume, &good, &good, capability.clone());
        request.target_path = path.to_owned();
        let status = driver.client.node_publish_volume(request).expect_err(path);
        assert_refused(path, &status, Code::InvalidArgument, &["target_path"]);
        let mut request = unstage_request(&volume.volume_id, &good);
        request.staging_target_path = path.to_owned();
        let status = driver.client.node_unstage_volume(request).expect_err(path);
        assert_refused(
            path,
            &status,
            Code::InvalidArgument,
            &["staging_target_path"],
        );
        let mut request = unpublish_request(&volume.volume_id, &good);
        request.target_path = path.to_owned();
        let status = driver
            .client
            .node_unpublish_volume(request)
            .expect_err(path);
        assert_refused(path, &status, Code::InvalidArgument, &["target_path"]);
    }

    let target = world.path("target");
    let status = driver
        .client
        .node_publish_volume(publish_request(&volume, &good, &target, capability.clone()))
        .expect_err("a volume that is not staged");
    assert_refused("not staged", &status, Code::FailedPrecondition, &["stag"]);
    assert!(
        !target.exists(),
        "a refused publication leaves a target behind"
    );
    let mut request = world.stage_request(&volume, &good, capability.clone());
    request.volume_capability = None;
    let status = driver
        .client
        .node_stage_volume(request)
        .expect_err("no capability");
    assert_refused(
        "no capability",
        &status,
        Code::InvalidArgument,
        &["volume_capability"],
    );
    let status = driver
        .client
        .node_stage_volume(world.stage_request(&volume, &world.path("absent"), capability))
        .expect_err("a staging path that kubelet did not make");
    assert_refused(
        "no staging path",
        &status,
        Code::InvalidArgument,
        &["staging_target_path"],
    );
    driver
        .client
        .delete_volume(world.delete_request(&volume.volume_id))
        .expect("a deletion");
    world.assert_ceph_empty("after bad paths");
    world.assert_host_clean(&[&driver], "after bad paths");
}

#[test]
fn a_staging_path_that_is_someone_elses_mount_is_left_alone() {
    let world = World::new();
    let driver = world.start(&[]);
    let volume = driver
        .client
        .create(world.create_request("pvc-other", 64 * MIB))
        .expect("a volume");
    let staging = world.make_dir("staging");
    let inner = staging.join(&volume.volume_id);
    std::fs::create_dir(&inner).unwrap();
    rustix::mount::mount(
        "other",
        &inner,
        "tmpfs",
        rustix::mount::MountFlags::empty(),
        None::<&std::ffi::CStr>,
    )
    .expect("somebody else's mount");
    std::fs::write(inner.join("precious"), "data").unwrap();
    for capability in [mount_capability("ext4"), block_capability()] {
        let status = driver
            .client
            .node_stage_volume(world.stage_request(&volume, &staging, capability))
            .expect_err("the path is taken");
        assert!(
            matches!(
                status.code(),
                Code::FailedPrecondition | Code::InvalidArgument
            ),
            "{status}"
        );
        assert!(
            status.message().contains("tmpfs"),
            "what is there is not named: {status}"
        );
    }
    assert_eq!(
        std::fs::read_to_string(inner.join("precious")).unwrap(),
        "data"
    );
    rustix::mount::unmount(&inner, rustix::mount::UnmountFlags::empty()).expect("its end");
    std::fs::remove_dir(&inner).expect("an empty directory");
    driver
        .client
        .delete_volume(world.delete_request(&volume.volume_id))
        .expect("a deletion");
    world.assert_ceph_empty("after the refusal");
    world.assert_host_clean(&[&driver], "after the refusal");
}

#[test]
fn mistakes_in_the_configuration_are_named_by_their_path() {
    let world = World::new();
    let mut broken = world.config_entry();
    broken["clusterID"] = "broken".into();
    broken["monitors"] = "not a list".into();
    broken["rbd"]["mirrorDaemonCount"] = "one".into();
    world.write_config(&[world.config_entry(), broken]);
    let driver = world.start(&[]);
    let log = driver.driver.log_text();
    for path in ["$[1].monitors", "$[1].rbd.mirrorDaemonCount"] {
        assert!(log.contains(path), "no {path} in the log:\n{log}");
    }
    // The other entry works as if nothing were wrong with its neighbour.
    let volume = driver
        .client
        .create(world.create_request("pvc-next", GIB))
        .expect("a volume");

    // A file that is no JSON at all leaves the last good one in force.
    std::fs::write(world.config_path(), "[{").unwrap();
    cuttle_testbed::until(
        "the broken file is noticed",
        std::time::Duration::from_secs(30),
        || {
            let log = driver.driver.log_text();
            let again = driver
                .client
                .create(world.create_request("pvc-next", GIB))
                .expect("it");
            assert_eq!(again.volume_id, volume.volume_id);
            if log.matches("config").count() > 1 && log.contains("last good") {
                Ok(())
            } else {
                Err("not yet".to_owned())
            }
        },
    )
    .unwrap();
    driver
        .client
        .delete_volume(world.delete_request(&volume.volume_id))
        .expect("a deletion");
    world.assert_ceph_empty("after the broken configuration");
}
