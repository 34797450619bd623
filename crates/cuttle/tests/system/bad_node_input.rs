//! Bad input to the node's calls: each is refused with code, field, rule and remedy, and leaves
//! nothing behind.

use cuttle_csi::v1;
use cuttle_csi::v1::volume_capability::{AccessMode, AccessType, MountVolume, access_mode::Mode};
use tonic::{Code, Status};

use crate::calls::{
    MIB, mount_capability, publish_request, stats_request, unpublish_request, unstage_request,
};
use crate::world::{Running, World};

/// A driver with one volume that is staged nowhere.
struct Bad {
    world: World,
    driver: Running,
    volume: v1::Volume,
}

impl Bad {
    fn new() -> Self {
        let world = World::new();
        let driver = world.start(&[]);
        let request = world.create_request("pvc-bad-node", 64 * MIB);
        let volume = driver.client.create(request).expect("a volume");
        Self {
            world,
            driver,
            volume,
        }
    }

    /// Demands that nothing is in the staging directory or on the host, then deletes the volume.
    fn finish(self, staging: &std::path::Path) {
        let left: Vec<_> = std::fs::read_dir(staging).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
        self.world
            .assert_host_clean(&[&self.driver], "after the refusals");
        let delete = self.world.delete_request(&self.volume.volume_id);
        let deleted = self.driver.client.delete_volume(delete);
        deleted.expect("a deletion: nobody has the image open");
        self.world.assert_ceph_empty("after the refusals");
    }
}

/// Demands INVALID_ARGUMENT and a message with the number, the field, the rule and the remedy.
fn refused<T: std::fmt::Debug>(what: &str, answer: Result<T, Status>, words: &[&str]) {
    let status = answer.expect_err(what);
    assert_eq!(status.code(), Code::InvalidArgument, "{what}: {status}");
    let message = status.message();
    for word in ["CUTTLE-"].iter().chain(words) {
        assert!(message.contains(word), "{what}: no {word:?} in: {message}");
    }
    assert!(message.len() < 4_096, "{what}: {} bytes", message.len());
}

#[test]
fn paths() {
    let bad = Bad::new();
    let client = &bad.driver.client;
    let staging = bad.world.make_dir("staging");
    let id = &bad.volume.volume_id;
    let capability = || mount_capability("ext4");
    let long = format!("/{}", "x".repeat(1 << 20));
    let remedy = "the absolute path that kubelet uses";
    for (path, rule) in [
        ("", "must not be empty"),
        ("relative/path", "must begin with '/'"),
        ("/tmp/../etc", "must not contain \"..\""),
        ("/", "must not be the root directory"),
        ("/a\nb", "control characters"),
        (long.as_str(), "at most 4095 bytes"),
    ] {
        let path = || path.to_owned();
        let staging_field = ["staging_target_path", rule, remedy];
        let target_field = ["target_path", rule, remedy];
        let volume_field = ["volume_path", rule, remedy];
        let mut stage = bad.world.stage_request(&bad.volume, &staging, capability());
        stage.staging_target_path = path();
        refused("stage", client.node_stage_volume(stage), &staging_field);
        let mut unstage = unstage_request(id, &staging);
        unstage.staging_target_path = path();
        let unstaged = client.node_unstage_volume(unstage);
        refused("unstage", unstaged, &staging_field);
        let mut publish = publish_request(&bad.volume, &staging, &staging, capability());
        publish.target_path = path();
        let published = client.node_publish_volume(publish.clone());
        refused("publish", published, &target_field);
        publish.target_path = "/t".to_owned();
        publish.staging_target_path = path();
        let published = client.node_publish_volume(publish);
        refused("publish from", published, &staging_field);
        let mut unpublish = unpublish_request(id, &staging);
        unpublish.target_path = path();
        let unpublished = client.node_unpublish_volume(unpublish);
        refused("unpublish", unpublished, &target_field);
        let mut stats = stats_request(id, &staging, &staging);
        stats.volume_path = path();
        refused("stats", client.node_get_volume_stats(stats), &volume_field);
        let grow = v1::NodeExpandVolumeRequest {
            volume_id: id.clone(),
            volume_path: path(),
            ..v1::NodeExpandVolumeRequest::default()
        };
        refused("expand", client.node_expand_volume(grow), &volume_field);
    }
    bad.finish(&staging);
}

#[test]
fn capabilities_secrets_and_contexts() {
    let bad = Bad::new();
    let staging = bad.world.make_dir("staging");
    let refuse = |what: &str, change: &dyn Fn(&mut v1::NodeStageVolumeRequest), words: &[&str]| {
        let capability = mount_capability("ext4");
        let mut stage = bad.world.stage_request(&bad.volume, &staging, capability);
        change(&mut stage);
        refused(what, bad.driver.client.node_stage_volume(stage), words);
    };
    let field = "volume_capability";
    refuse(
        "no capability",
        &|stage| stage.volume_capability = None,
        &[
            field,
            "is missing",
            "say how the volume is going to be used",
        ],
    );
    let access_type = "volume_capability.access_type";
    refuse(
        "no access type",
        &|stage| stage.volume_capability.as_mut().unwrap().access_type = None,
        &[access_type, "is missing", "set block or mount"],
    );
    refuse(
        "no access mode",
        &|stage| stage.volume_capability.as_mut().unwrap().access_mode = None,
        &["volume_capability.access_mode"],
    );
    refuse(
        "a file system that several nodes write",
        &|stage| {
            let mode = Mode::MultiNodeMultiWriter.into();
            let capability = stage.volume_capability.as_mut().unwrap();
            capability.access_mode = Some(AccessMode { mode });
        },
        &[field, "MULTI_NODE_MULTI_WRITER", "CephFS"],
    );
    refuse(
        "a file system that nobody makes",
        &|stage| {
            let fs_type = "btrfs".to_owned();
            let mount = MountVolume {
                fs_type,
                ..MountVolume::default()
            };
            let capability = stage.volume_capability.as_mut().unwrap();
            capability.access_type = Some(AccessType::Mount(mount));
        },
        &["btrfs", "ext4 or xfs"],
    );
    let parameter = "csi.storage.k8s.io/node-stage-secret-name";
    refuse(
        "no secrets",
        &|stage| stage.secrets.clear(),
        &["userID", "userKey", parameter],
    );
    refuse(
        "half of the secrets",
        &|stage| {
            stage.secrets.remove("userKey");
        },
        &["userKey", parameter],
    );
    refuse(
        "a cluster that is not configured",
        &|stage| {
            let known = &bad.world.cluster_id;
            let unknown = "f".repeat(known.len());
            stage.volume_id = stage.volume_id.replace(known.as_str(), &unknown);
        },
        &["volume_id", "ffff", &bad.world.cluster_id],
    );
    refuse(
        "a static volume without a place",
        &|stage| {
            stage.volume_context = [("staticVolume", "true")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into();
        },
        &["clusterID", "pool", "is missing", "config.json"],
    );
    bad.finish(&staging);
}

#[test]
fn handles() {
    let bad = Bad::new();
    let client = &bad.driver.client;
    let staging = bad.world.make_dir("staging");
    let target = bad.world.path("target");
    let huge = "0".repeat(1 << 20);
    // They become names of files and of objects.
    for handle in [
        "",
        ".",
        "..",
        "../../etc/passwd",
        "a/b",
        "a\0b",
        huge.as_str(),
    ] {
        let volume = v1::Volume {
            volume_id: handle.to_owned(),
            ..v1::Volume::default()
        };
        let capability = || mount_capability("ext4");
        let words = ["volume_id"];
        let stage = bad.world.stage_request(&volume, &staging, capability());
        refused("stage", client.node_stage_volume(stage), &words);
        let publish = publish_request(&volume, &staging, &target, capability());
        refused("publish", client.node_publish_volume(publish), &words);
        let unpublish = unpublish_request(handle, &target);
        refused("unpublish", client.node_unpublish_volume(unpublish), &words);
        let unstage = unstage_request(handle, &staging);
        refused("unstage", client.node_unstage_volume(unstage), &words);
        let stats = stats_request(handle, &target, &staging);
        refused("stats", client.node_get_volume_stats(stats), &words);
        assert!(!target.exists());
    }
    bad.finish(&staging);
}

#[test]
fn a_staging_path_that_is_itself_someone_elses_mount() {
    let bad = Bad::new();
    let staging = bad.world.make_dir("staging");
    let flags = rustix::mount::MountFlags::empty();
    rustix::mount::mount("stranger", &staging, "tmpfs", flags, None).expect("a mount");
    std::fs::write(staging.join("precious"), "data").unwrap();
    let capability = mount_capability("ext4");
    let stage = bad.world.stage_request(&bad.volume, &staging, capability);
    let status = bad.driver.client.node_stage_volume(stage);
    let status = status.expect_err("the path is taken");
    assert_eq!(status.code(), Code::FailedPrecondition, "{status}");
    let path = staging.to_str().unwrap();
    for word in ["CUTTLE-1563", path, "tmpfs", "stranger"] {
        assert!(status.message().contains(word), "{status}");
    }
    let unstage = unstage_request(&bad.volume.volume_id, &staging);
    let unstaged = bad.driver.client.node_unstage_volume(unstage);
    unstaged.expect("nothing of the volume is there");
    let names: Vec<_> = std::fs::read_dir(&staging)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert_eq!(names, [staging.join("precious")]);
    assert_eq!(std::fs::read_to_string(&names[0]).unwrap(), "data");
    rustix::mount::unmount(&staging, rustix::mount::UnmountFlags::empty()).expect("its end");
    bad.finish(&staging);
}
