//! The controller is killed at every outside call in turn; the repeat, or the deletion, must end
//! with exactly the right objects.

use std::time::Duration;

use cuttle_csi::v1;
use cuttle_testbed::until;
use tonic::Code;

use crate::calls::{Client, GIB, MIB};
use crate::world::World;

/// More calls than any operation makes; a loop that gets here does not end.
const CALLS_BOUND: u32 = 200;

/// After this time Ceph has forgotten a client that died with an image open.
const WATCH_PATIENCE: Duration = Duration::from_secs(60);

/// Runs `scene` with 1, 2, 3 … until it tells that the kill did not strike any more, and demands
/// that it struck at all.
fn at_every_call(mut scene: impl FnMut(u32) -> bool) {
    for call in 1..CALLS_BOUND {
        if !scene(call) {
            assert!(
                call > 3,
                "the kill never struck an outside call that matters"
            );
            return;
        }
    }
    panic!("still killed at call {CALLS_BOUND}");
}

/// Demands that the journal and the pool hold exactly this one volume.
fn assert_only(world: &World, name: &str, volume: &v1::Volume) {
    let uuid = world.journal_uuid(name).expect("the name in the journal");
    assert_eq!(volume.volume_id, world.handle_of(&uuid));
    let contents = world.contents();
    let image = format!("csi-vol-{uuid}");
    assert_eq!(contents.images.iter().collect::<Vec<_>>(), [&image]);
    assert!(contents.trash.is_empty(), "trash: {:?}", contents.trash);
    let records: Vec<&String> = contents
        .objects
        .iter()
        .filter(|object| object.starts_with("csi.volume."))
        .collect();
    assert_eq!(records, [&format!("csi.volume.{uuid}")]);
    let keys = &contents.omap_keys["csi.volumes.default"];
    assert_eq!(keys.len(), 1, "{keys:?}");
    let headers = contents
        .objects
        .iter()
        .filter(|object| object.starts_with("rbd_header."));
    assert_eq!(headers.count(), 1, "{:?}", contents.objects);
}

/// Deletes a volume as the provisioner does: while Ceph still counts a killed driver among the
/// image's users, the deletion is refused and tried again.
fn delete(world: &World, client: &Client, handle: &str) {
    until("the volume is deleted", WATCH_PATIENCE, || {
        match client.delete_volume(world.delete_request(handle)) {
            Ok(_) => Ok(()),
            Err(status) if status.code() == Code::FailedPrecondition => Err(status.to_string()),
            Err(status) => panic!("{status}"),
        }
    })
    .unwrap();
}

#[test]
fn a_repeated_create_finishes_what_a_killed_one_began() {
    let world = World::new();
    at_every_call(|call| {
        let name = format!("pvc-{call}");
        let mut doomed = world.start_doomed(call);
        let first = doomed.client.create(world.create_request(&name, GIB));
        let killed = doomed.was_killed(&first);
        let uuid_before = world.journal_uuid(&name);

        let driver = world.start(&[]);
        let volume = driver
            .client
            .create(world.create_request(&name, GIB))
            .expect("the repeat");
        assert_only(&world, &name, &volume);
        if let Some(uuid) = uuid_before {
            assert_eq!(
                volume.volume_id,
                world.handle_of(&uuid),
                "killed at call {call}"
            );
        }
        if let Ok(first) = &first {
            assert_eq!(first.volume_id, volume.volume_id);
        }
        delete(&world, &driver.client, &volume.volume_id);
        world.assert_ceph_empty(&format!(
            "after create was killed at call {call} and repeated"
        ));
        killed
    });
}

#[test]
fn a_delete_after_a_killed_create_leaves_nothing() {
    let world = World::new();
    at_every_call(|call| {
        let name = format!("pvc-{call}");
        let mut doomed = world.start_doomed(call);
        let first = doomed.client.create(world.create_request(&name, GIB));
        let killed = doomed.was_killed(&first);
        if let Some(uuid) = world.journal_uuid(&name) {
            let driver = world.start(&[]);
            delete(&world, &driver.client, &world.handle_of(&uuid));
        }
        world.assert_ceph_empty(&format!(
            "after create was killed at call {call} and deleted"
        ));
        killed
    });
}

#[test]
fn a_repeated_delete_finishes_what_a_killed_one_began() {
    let world = World::new();
    let driver = world.start(&[]);
    at_every_call(|call| {
        let name = format!("pvc-{call}");
        let volume = driver
            .client
            .create(world.create_request(&name, GIB))
            .expect("a volume");
        let mut doomed = world.start_doomed(call);
        let first = doomed
            .client
            .delete_volume(world.delete_request(&volume.volume_id));
        let killed = doomed.was_killed(&first);

        let fresh = world.start_named("fresh", &[]);
        delete(&world, &fresh.client, &volume.volume_id);
        world.assert_ceph_empty(&format!(
            "after delete was killed at call {call} and repeated"
        ));
        killed
    });
}

#[test]
fn a_create_of_the_same_name_after_a_killed_delete_is_a_new_volume() {
    let world = World::new();
    let driver = world.start(&[]);
    at_every_call(|call| {
        let name = format!("pvc-{call}");
        let volume = driver
            .client
            .create(world.create_request(&name, GIB))
            .expect("a volume");
        let mut doomed = world.start_doomed(call);
        let first = doomed
            .client
            .delete_volume(world.delete_request(&volume.volume_id));
        let killed = doomed.was_killed(&first);

        let fresh = world.start_named("fresh", &[]);
        let again = fresh
            .client
            .create(world.create_request(&name, GIB))
            .expect("a volume");
        // The provisioner goes on deleting the old handle until it succeeds.
        delete(&world, &fresh.client, &volume.volume_id);
        if again.volume_id != volume.volume_id {
            assert_only_once_settled(&world, &name, &again);
        }
        delete(&world, &fresh.client, &again.volume_id);
        world.assert_ceph_empty(&format!("after delete was killed at call {call}"));
        killed
    });
}

/// As [`assert_only`], once the manager has emptied the trash.
fn assert_only_once_settled(world: &World, name: &str, volume: &v1::Volume) {
    until("the trash is empty", Duration::from_secs(60), || {
        let trash = world.contents().trash;
        if trash.is_empty() {
            Ok(())
        } else {
            Err(format!("{trash:?}"))
        }
    })
    .unwrap();
    assert_only(world, name, volume);
}

#[test]
fn a_repeated_expand_finishes_what_a_killed_one_began() {
    let world = World::new();
    let driver = world.start(&[]);
    at_every_call(|call| {
        let name = format!("pvc-{call}");
        let volume = driver
            .client
            .create(world.create_request(&name, GIB))
            .expect("a volume");
        let mut doomed = world.start_doomed(call);
        let request = world.expand_request(&volume.volume_id, 2 * GIB);
        let first = doomed.client.controller_expand_volume(request.clone());
        let killed = doomed.was_killed(&first);

        let fresh = world.start_named("fresh", &[]);
        let answer = fresh
            .client
            .controller_expand_volume(request)
            .expect("the repeat");
        assert_eq!(answer.capacity_bytes, 2 * GIB);
        let again = fresh
            .client
            .create(world.create_request(&name, GIB))
            .expect("still there");
        assert_eq!(again.volume_id, volume.volume_id);
        assert_only(&world, &name, &volume);
        delete(&world, &fresh.client, &volume.volume_id);
        world.assert_ceph_empty(&format!("after expand was killed at call {call}"));
        killed
    });
}

#[test]
fn small_sizes_are_rounded_as_ceph_csi_rounds_them() {
    let world = World::new();
    let driver = world.start(&[]);
    for (asked, made) in [(1, MIB), (MIB + 1, 2 * MIB), (GIB, GIB), (GIB + 1, 2 * GIB)] {
        let name = format!("pvc-{asked}");
        let volume = driver
            .client
            .create(world.create_request(&name, asked))
            .expect("a volume");
        assert_eq!(volume.capacity_bytes, made, "asked for {asked}");
        delete(&world, &driver.client, &volume.volume_id);
    }
    world.assert_ceph_empty("after the sizes");
}
