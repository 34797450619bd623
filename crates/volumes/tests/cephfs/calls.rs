//! The calls that each operation makes, counted: `docs/round-trips.md` explains them.

use std::collections::BTreeMap;

use cuttle_door::Doors;
use cuttle_model::VolumeHandle;
use cuttle_volumes::ExpandVolume;

use crate::setup::{controller, random_name, range, setup};

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

#[test]
fn each_operation_makes_the_documented_calls() {
    let setup = setup();
    let (doors, controller) = controller("");
    let table = setup.table();
    // The first volume on a connection finds the file system and its pool.
    let first = setup.request(&random_name("pvc"), &[]);
    let first = controller.create(&table, &first).unwrap();

    let request = setup.request(&random_name("pvc"), &[]);
    let mut created = None;
    let create = calls_of(&doors, || {
        created = Some(controller.create(&table, &request).unwrap());
    });
    let expected = [
        ("mgr.command", 1),
        ("mgr.query", 1),
        ("rados.omap_get", 1),
        ("rados.write", 3),
    ];
    assert_eq!(create, expected);
    let again = calls_of(&doors, || {
        controller.create(&table, &request).unwrap();
    });
    assert_eq!(again, [("mgr.query", 1), ("rados.omap_get", 2)]);

    let created = created.unwrap();
    let expansion = ExpandVolume {
        handle: VolumeHandle::Composed(created.handle.clone()),
        range: range(64, None),
        capability: None,
        credentials: setup.admin(),
    };
    let expand = calls_of(&doors, || {
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
    setup.delete(&first.handle).unwrap();
    setup.assert_nothing_left("at the end");
}
