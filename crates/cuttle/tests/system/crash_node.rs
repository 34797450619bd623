//! The node plugin is killed at every outside call of stage and unstage in turn; the repeat, or
//! the way back, must end with exactly the right mounts, devices and processes.

use std::cell::RefCell;

use cuttle_csi::v1;

use crate::calls::{MIB, mount_capability, publish_request, unpublish_request, unstage_request};
use crate::world::{Running, World};

/// More calls than any operation makes.
const CALLS_BOUND: u32 = 300;

/// Every call is tried by one of so many tests, which run side by side.
const SHARES: u32 = 2;

/// One volume that all rounds of a test stage again and again.
struct Stage {
    world: World,
    driver: Running,
    volume: v1::Volume,
    /// What the volume holds.
    written: RefCell<Option<String>>,
}

impl Stage {
    fn new() -> Self {
        let world = World::new();
        let driver = world.start(&[]);
        let volume = driver
            .client
            .create(world.create_request("pvc-staged", 64 * MIB))
            .expect("a volume");
        Self {
            world,
            driver,
            volume,
            written: RefCell::new(None),
        }
    }

    fn request(&self, staging: &std::path::Path) -> v1::NodeStageVolumeRequest {
        self.world
            .stage_request(&self.volume, staging, mount_capability("ext4"))
    }

    /// Publishes, writes, reads back, unpublishes: the staging must really work, and show what the
    /// last one has written.
    fn prove_use(&self, on: &Running, staging: &std::path::Path, text: &str) {
        let target = self.world.path("target");
        on.client
            .node_publish_volume(publish_request(
                &self.volume,
                staging,
                &target,
                mount_capability("ext4"),
            ))
            .expect("a publication");
        let file = target.join("proof");
        let before = std::fs::read_to_string(&file).ok();
        assert_eq!(before, self.written.replace(Some(text.to_owned())));
        std::fs::write(&file, text).expect("a write through the mount");
        assert_eq!(std::fs::read_to_string(&file).expect("a read"), text);
        on.client
            .node_unpublish_volume(unpublish_request(&self.volume.volume_id, &target))
            .expect("an end of the publication");
        assert!(!target.exists(), "the target path stays behind");
    }

    fn unstage(&self, on: &Running, staging: &std::path::Path) {
        on.client
            .node_unstage_volume(unstage_request(&self.volume.volume_id, staging))
            .expect("an end of the staging");
    }

    fn finish(self) {
        self.driver
            .client
            .delete_volume(self.world.delete_request(&self.volume.volume_id))
            .expect("a deletion");
        self.world.assert_ceph_empty("after the volume was deleted");
        self.world
            .assert_host_clean(&[&self.driver], "after the volume was deleted");
    }
}

/// Runs `scene` for this share of the calls until the kill does not strike any more.
fn at_calls_of(share: u32, mut scene: impl FnMut(u32) -> bool) {
    let mut call = 1 + share;
    while call < CALLS_BOUND {
        if !scene(call) {
            assert!(call > 10, "staging makes more outside calls than {call}");
            return;
        }
        call += SHARES;
    }
    panic!("still killed at call {CALLS_BOUND}");
}

fn repeat_stage(share: u32) {
    let stage = Stage::new();
    at_calls_of(share, |call| {
        let staging = stage.world.make_dir("staging");
        let mut doomed = stage.world.start_doomed(call);
        let first = doomed.client.node_stage_volume(stage.request(&staging));
        let killed = doomed.was_killed(&first);

        let fresh = stage.world.start_named("fresh", &[]);
        fresh
            .client
            .node_stage_volume(stage.request(&staging))
            .unwrap_or_else(|status| panic!("repeat after a kill at call {call}: {status}"));
        stage.prove_use(&fresh, &staging, &format!("killed at call {call}"));
        stage.unstage(&fresh, &staging);
        stage.world.assert_host_clean(
            &[&stage.driver, &fresh, &doomed],
            &format!("after stage was killed at call {call}, repeated and undone"),
        );
        killed
    });
    stage.finish();
}

#[test]
fn a_repeated_stage_finishes_what_a_killed_one_began_odd_calls() {
    repeat_stage(0);
}

#[test]
fn a_repeated_stage_finishes_what_a_killed_one_began_even_calls() {
    repeat_stage(1);
}

#[test]
fn an_unstage_after_a_killed_stage_leaves_nothing() {
    let stage = Stage::new();
    for share in 0..SHARES {
        at_calls_of(share, |call| {
            let staging = stage.world.make_dir("staging");
            let mut doomed = stage.world.start_doomed(call);
            let first = doomed.client.node_stage_volume(stage.request(&staging));
            let killed = doomed.was_killed(&first);

            let fresh = stage.world.start_named("fresh", &[]);
            stage.unstage(&fresh, &staging);
            stage.world.assert_host_clean(
                &[&stage.driver, &fresh, &doomed],
                &format!("after stage was killed at call {call} and undone"),
            );
            killed
        });
    }
    stage.finish();
}

#[test]
fn a_repeated_unstage_finishes_what_a_killed_one_began() {
    let stage = Stage::new();
    for share in 0..SHARES {
        let mut call = 1 + share;
        loop {
            let staging = stage.world.make_dir("staging");
            stage
                .driver
                .client
                .node_stage_volume(stage.request(&staging))
                .expect("a staging");
            let mut doomed = stage.world.start_doomed(call);
            let request = unstage_request(&stage.volume.volume_id, &staging);
            let first = doomed.client.node_unstage_volume(request);
            let killed = doomed.was_killed(&first);

            let fresh = stage.world.start_named("fresh", &[]);
            stage.unstage(&fresh, &staging);
            stage.world.assert_host_clean(
                &[&stage.driver, &fresh, &doomed],
                &format!("after unstage was killed at call {call} and repeated"),
            );
            if !killed {
                assert!(call > 4, "unstaging makes more outside calls than {call}");
                break;
            }
            call += SHARES;
        }
    }
    stage.finish();
}

#[test]
fn a_publication_survives_kills_and_never_doubles() {
    let stage = Stage::new();
    let staging = stage.world.make_dir("staging");
    stage
        .driver
        .client
        .node_stage_volume(stage.request(&staging))
        .expect("a staging");
    let target = stage.world.path("pod/target");
    std::fs::create_dir_all(target.parent().unwrap()).unwrap();
    for call in 1..CALLS_BOUND {
        let publish = publish_request(&stage.volume, &staging, &target, mount_capability("ext4"));
        let mut doomed = stage.world.start_doomed(call);
        let first = doomed.client.node_publish_volume(publish.clone());
        let killed = doomed.was_killed(&first);

        let fresh = stage.world.start_named("fresh", &[]);
        fresh
            .client
            .node_publish_volume(publish)
            .expect("the repeat");
        let mounts = stage.world.residue(&[]).mounts;
        let here = mounts.iter().filter(|mount| mount.target == target).count();
        assert_eq!(here, 1, "killed at call {call}: {mounts:#?}");
        fresh
            .client
            .node_unpublish_volume(unpublish_request(&stage.volume.volume_id, &target))
            .expect("an end of the publication");
        assert!(!target.exists());
        if !killed {
            assert!(call > 2, "publishing makes more outside calls than {call}");
            drop((doomed, fresh));
            stage.unstage(&stage.driver, &staging);
            stage.finish();
            return;
        }
    }
    panic!("still killed at call {CALLS_BOUND}");
}

/// What formatting is made of: looking, noting, making, taking the note back, mounting.
const AROUND_MKFS: [&str; 6] = [
    "kill@1:host.blkid",
    "kill@1:rados.write",
    "kill@1:host.mkfs",
    "kill@2:rados.write",
    "kill@2:host.blkid",
    "kill@1:host.mount",
];

/// The tests of the node operations kill the first stage of an empty image at every call; here it
/// is the driver's whole process, and what it leaves to another one, around the formatting.
#[test]
fn a_first_stage_that_was_killed_around_mkfs_is_finished_by_its_repeat() {
    let world = World::new();
    let driver = world.start(&[]);
    for (fs_type, mib) in [("ext4", 64), ("xfs", 320)] {
        for (n, fault) in AROUND_MKFS.iter().enumerate() {
            let name = format!("pvc-{fs_type}-{n}");
            let volume = driver.client.create(world.create_request(&name, mib * MIB));
            let volume = volume.expect("a volume");
            let staging = world.make_dir(&name);
            let stage = world.stage_request(&volume, &staging, mount_capability(fs_type));
            let mut doomed = world.start_named("doomed", &[&format!("--inject-fault={fault}")]);
            let first = doomed.client.node_stage_volume(stage.clone());
            doomed.was_killed(&first);

            let fresh = world.start_named("fresh", &[]);
            let unstage = unstage_request(&volume.volume_id, &staging);
            // Every other one is undone before it is done again.
            for way in [true, false] {
                if way == (n % 2 == 0) {
                    let undone = fresh.client.node_unstage_volume(unstage.clone());
                    undone.unwrap_or_else(|status| panic!("{fs_type}, {fault}: {status}"));
                }
            }
            let staged = fresh.client.node_stage_volume(stage);
            staged.unwrap_or_else(|status| panic!("{fs_type}, {fault}: {status}"));
            let file = staging.join(&volume.volume_id).join("file");
            std::fs::write(&file, "text").expect("a write to the file system");
            let unstaged = fresh.client.node_unstage_volume(unstage);
            unstaged.expect("an end of the staging");
            let left = format!("after {fault} with {fs_type}");
            world.assert_host_clean(&[&driver, &fresh, &doomed], &left);
            let delete = world.delete_request(&volume.volume_id);
            driver.client.delete_volume(delete).expect("a deletion");
        }
    }
    world.assert_ceph_empty("after the volumes were deleted");
}
