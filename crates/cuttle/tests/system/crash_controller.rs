//! The controller is killed at every outside call in turn; the repeat, or the deletion, must end
//! with exactly the right objects.

use std::time::Duration;

use cuttle_csi::v1;
use cuttle_testbed::until;
use tonic::Code;

use crate::calls::{Client, GIB, MIB};
use crate::world::{POOL, World};

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

/// StorageClass parameters beside the usual.
type Parameters = &'static [(&'static str, &'static str)];

/// The driver writes the image's objects itself.
const PLANNED: Parameters = &[];

/// librbd makes the image.
const STRIPED: Parameters = &[("stripeUnit", "65536"), ("stripeCount", "4")];

/// Nothing but its header tells the image's size.
const PLAIN: Parameters = &[("imageFeatures", "layering")];

fn request(world: &World, name: &str, parameters: Parameters) -> v1::CreateVolumeRequest {
    let mut request = world.create_request(name, GIB);
    let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    request.parameters.extend(parameters.iter().map(own));
    request
}

fn repeat_killed_creates(parameters: Parameters) {
    let world = World::new();
    at_every_call(|call| {
        let name = format!("pvc-{call}");
        let mut doomed = world.start_doomed(call);
        let first = doomed.client.create(request(&world, &name, parameters));
        let killed = doomed.was_killed(&first);
        let uuid_before = world.journal_uuid(&name);

        let driver = world.start(&[]);
        let volume = driver
            .client
            .create(request(&world, &name, parameters))
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
fn a_repeated_create_finishes_what_a_killed_one_began() {
    repeat_killed_creates(PLANNED);
}

#[test]
fn a_repeated_create_by_librbd_finishes_what_a_killed_one_began() {
    repeat_killed_creates(STRIPED);
}

fn delete_after_killed_creates(parameters: Parameters) {
    let world = World::new();
    at_every_call(|call| {
        let name = format!("pvc-{call}");
        let mut doomed = world.start_doomed(call);
        let first = doomed.client.create(request(&world, &name, parameters));
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
fn a_delete_after_a_killed_create_leaves_nothing() {
    delete_after_killed_creates(PLANNED);
}

#[test]
fn a_delete_after_a_killed_create_by_librbd_leaves_nothing() {
    delete_after_killed_creates(STRIPED);
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

/// Kills an expansion at every call; a fresh driver does the rest.
fn after_killed_expansions(
    parameters: Parameters,
    rest: impl Fn(&World, &Client, &str, &v1::Volume),
) {
    let world = World::new();
    let driver = world.start(&[]);
    at_every_call(|call| {
        let name = format!("pvc-{call}");
        let volume = driver
            .client
            .create(request(&world, &name, parameters))
            .expect("a volume");
        let mut doomed = world.start_doomed(call);
        let growth = world.expand_request(&volume.volume_id, 2 * GIB);
        let first = doomed.client.controller_expand_volume(growth);
        let killed = doomed.was_killed(&first);

        let fresh = world.start_named("fresh", &[]);
        rest(&world, &fresh.client, &name, &volume);
        delete(&world, &fresh.client, &volume.volume_id);
        world.assert_ceph_empty(&format!("after expand was killed at call {call}"));
        killed
    });
}

fn repeat(world: &World, client: &Client, name: &str, volume: &v1::Volume) {
    let growth = world.expand_request(&volume.volume_id, 2 * GIB);
    let answer = client.controller_expand_volume(growth);
    assert_eq!(answer.expect("the repeat").capacity_bytes, 2 * GIB);
    let image = format!("csi-vol-{}", world.journal_uuid(name).expect("the name"));
    let spec = format!("{POOL}/{}/{image}", world.namespace);
    let info = world.cluster.rbd(&["info", "--format", "json", &spec]);
    let info: serde_json::Value = serde_json::from_str(&info.expect("the image")).unwrap();
    assert_eq!(info["size"], 2 * GIB);
    assert_only(world, name, volume);
}

#[test]
fn a_repeated_expand_finishes_what_a_killed_one_began() {
    after_killed_expansions(PLANNED, repeat);
}

#[test]
fn a_repeated_expand_of_a_plain_image_finishes_what_a_killed_one_began() {
    after_killed_expansions(PLAIN, repeat);
}

#[test]
fn a_delete_after_a_killed_expand_leaves_nothing() {
    after_killed_expansions(PLANNED, |_, _, _, _| {});
}

#[test]
fn a_delete_after_a_killed_expand_of_a_plain_image_leaves_nothing() {
    after_killed_expansions(PLAIN, |_, _, _, _| {});
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
