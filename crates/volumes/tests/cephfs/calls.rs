//! The calls that each operation makes, counted: `docs/round-trips.md` explains them.

use std::collections::BTreeMap;

use cuttle_door::Doors;
use cuttle_model::VolumeHandle;
use cuttle_volumes::{ControllerSettings, ExpandVolume};

use crate::setup::{controller, controller_with, random_name, range, setup};

/// How often each call was made so far.
fn counts(doors: &Doors) -> BTreeMap<&'static str, u64> {
    let mut counts = BTreeMap::new();
    for entry in doors.ledger().snapshot() {
        *counts.entry(entry.call).or_default() += entry.count;
    }
    counts
}

/// What `work` has added to the counts.
fn calls_of(doors: &Doors, work: impl FnOnce()) -> Vec<(&'static str, u64)> {
    let before = counts(doors);
    work();
    let mut added = counts(doors);
    for (call, count) in before {
        *added.get_mut(call).unwrap() -= count;
    }
    added.into_iter().filter(|(_, count)| *count > 0).collect()
}

/// The fewest calls of several tries: a question that is sent right behind a command is carried
/// out before it now and then, on a busy machine, and is asked once more.
fn fewest_calls_of(doors: &Doors, mut work: impl FnMut(u64)) -> Vec<(&'static str, u64)> {
    let tries = (1..=6).map(|number| calls_of(doors, || work(number)));
    let all: Vec<_> = tries.collect();
    let total = |calls: &Vec<(&str, u64)>| calls.iter().map(|(_, count)| count).sum::<u64>();
    let fewest = all.iter().min_by_key(|calls| total(calls)).unwrap();
    for calls in &all {
        assert!(total(calls) <= total(fewest) + 1, "{all:?}");
    }
    fewest.clone()
}

#[test]
fn each_operation_makes_the_documented_calls() {
    let setup = setup();
    let (doors, controller) = controller("");
    let table = setup.table();
    // The first volume on a connection finds the file system and its pool.
    let first = setup.request(&random_name("pvc"), &[]);
    let first = controller.create(&table, &first).unwrap();

    let mut created = Vec::new();
    let create = fewest_calls_of(&doors, |_| {
        let request = setup.request(&random_name("pvc"), &[]);
        created.push((controller.create(&table, &request).unwrap(), request));
    });
    let expected = [
        ("mgr.command", 1),
        ("mgr.query", 1),
        ("rados.omap_get", 1),
        ("rados.write", 3),
    ];
    assert_eq!(create, expected);
    let mut made: Vec<_> = created.iter().map(|(one, _)| one.handle.clone()).collect();
    made.push(first.handle);
    let (created, request) = &created[0];
    let again = calls_of(&doors, || {
        controller.create(&table, request).unwrap();
    });
    assert_eq!(again, [("mgr.query", 1), ("rados.omap_get", 2)]);

    let expand = fewest_calls_of(&doors, |number| {
        let expansion = ExpandVolume {
            handle: VolumeHandle::Composed(created.handle.clone()),
            range: range(64 * number, None),
            capability: None,
            credentials: setup.admin(),
        };
        controller.expand(&table, &expansion).unwrap();
    });
    let expected = [("mgr.command", 1), ("mgr.query", 2), ("rados.omap_get", 1)];
    assert_eq!(expand, expected);

    let deletion = setup.deletion(&created.handle);
    let delete = calls_of(&doors, || {
        controller.delete(&table, &deletion).unwrap();
    });
    let expected = [
        ("mgr.command", 1),
        ("rados.omap_get", 1),
        ("rados.write", 2),
    ];
    assert_eq!(delete, expected);
    for volume in made {
        setup.delete(&volume).unwrap();
    }
    setup.assert_nothing_left("at the end");
}

#[test]
fn each_entry_of_the_metadata_is_one_command() {
    let setup = setup();
    let labelling = ControllerSettings {
        set_metadata: true,
        cluster_name: Some("k8s-east".to_owned()),
        ..ControllerSettings::default()
    };
    let (doors, controller) = controller_with("", labelling);
    let table = setup.table();
    let first = setup.request(&random_name("pvc"), &[]);
    let first = controller.create(&table, &first).unwrap();
    let mut created = Vec::new();
    let create = fewest_calls_of(&doors, |_| {
        let request = setup.request(&random_name("pvc"), &[]);
        created.push((controller.create(&table, &request).unwrap(), request));
    });
    // The subvolume, the names of volume, claim and namespace, and that of the cluster.
    let expected = [
        ("mgr.command", 5),
        ("mgr.query", 1),
        ("rados.omap_get", 1),
        ("rados.write", 3),
    ];
    assert_eq!(create, expected);
    // What is there already is not set again.
    let again = calls_of(&doors, || {
        controller.create(&table, &created[0].1).unwrap();
    });
    assert_eq!(again, [("mgr.query", 2), ("rados.omap_get", 2)]);
    created.push((first, setup.request(&random_name("pvc"), &[])));
    for (volume, _) in created {
        setup.delete(&volume.handle).unwrap();
    }
    setup.assert_nothing_left("at the end");
}
