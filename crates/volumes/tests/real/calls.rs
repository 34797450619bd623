//! How many calls to Ceph an operation makes: the docs explain the figures, and a slower path
//! would show here first.

use std::collections::BTreeMap;

use cuttle_door::Ledger;

use crate::setup::{Setup, controller, random_name, setup};

/// Calls since the last look, by name; failed ones have their errno beside it.
struct Counter {
    ledger: Ledger,
    seen: BTreeMap<String, u64>,
}

impl Counter {
    fn of(ledger: Ledger) -> Self {
        let seen = BTreeMap::new();
        Self { ledger, seen }
    }

    fn new(setup: &Setup) -> Self {
        let mut counter = Self::of(setup.doors.ledger());
        counter.since();
        counter
    }

    fn since(&mut self) -> Vec<(String, u64)> {
        let mut fresh = Vec::new();
        let mut seen = BTreeMap::new();
        for entry in self.ledger.snapshot() {
            let errno = entry
                .errno
                .map_or_else(String::new, |errno| format!(" errno {errno}"));
            let name = format!("{}{errno}", entry.call);
            let before = self.seen.get(&name).copied().unwrap_or(0);
            if entry.count > before {
                fresh.push((name.clone(), entry.count - before));
            }
            seen.insert(name, entry.count);
        }
        self.seen = seen;
        fresh
    }
}

#[track_caller]
fn assert_calls(counter: &mut Counter, expected: &[(&str, u64)]) {
    let expected: Vec<(String, u64)> = expected
        .iter()
        .map(|(name, count)| ((*name).to_owned(), *count))
        .collect();
    assert_eq!(counter.since(), expected);
}

#[test]
fn the_everyday_operations_make_few_calls() {
    let setup = setup();
    // Connection, pool and its settings are known after the first.
    let first = setup
        .create(&setup.request(&random_name("pvc"), &[]))
        .unwrap();
    setup.delete(&first.handle).unwrap();
    let mut counter = Counter::new(&setup);

    // One after the other: the name; record, two names; header, object map; commit.
    let name = random_name("pvc");
    let created = setup.create(&setup.request(&name, &[])).unwrap();
    assert_calls(&mut counter, &[("rados.write", 7)]);

    // The name's entry; record, image id and header at once.
    assert_eq!(setup.create(&setup.request(&name, &[])).unwrap(), created);
    let repeated = [("rados.omap_get", 3), ("rados.read", 1)];
    assert_calls(&mut counter, &repeated);

    // A process that does not know the name tries to take it first.
    let (doors, other) = controller("");
    let request = setup.request(&name, &[]);
    assert_eq!(other.create(&setup.table, &request).unwrap(), created);
    let mut writes = Counter::of(doors.ledger()).since();
    writes.retain(|(call, _)| call.starts_with("rados.write"));
    assert_eq!(writes, [("rados.write errno 125".to_owned(), 1)]);

    // Record and image id at once; snapshots and an image in between at once; watchers; the trash;
    // manager and name at once; the record.
    setup.delete(&created.handle).unwrap();
    assert_calls(
        &mut counter,
        &[
            ("mgr.command", 1),
            ("rados.exec_read", 1),
            ("rados.notify", 1),
            ("rados.omap_get", 1),
            ("rados.read", 1),
            ("rados.read errno 2", 1),
            ("rados.write", 2),
            ("rbd.trash_move", 1),
        ],
    );
    setup.assert_nothing_left("after delete");
}

#[test]
fn a_repeated_create_costs_the_same_among_many_volumes() {
    let setup = setup();
    let name = random_name("pvc");
    let created = setup.create(&setup.request(&name, &[])).unwrap();
    let io = setup.io();
    let crowd: Vec<(String, String)> = (0..2000)
        .map(|number| {
            let uuid = cuttle_model::ObjectUuid::random();
            (format!("csi.volume.pvc-{number}"), uuid.to_string())
        })
        .collect();
    io.write("csi.volumes.default", ceph::WriteOp::new().set_omap(&crowd))
        .unwrap();
    let mut counter = Counter::new(&setup);
    assert_eq!(setup.create(&setup.request(&name, &[])).unwrap(), created);
    let repeated = [("rados.omap_get", 3), ("rados.read", 1)];
    assert_calls(&mut counter, &repeated);
    setup.delete(&created.handle).unwrap();
    io.remove("csi.volumes.default").unwrap();
    setup.assert_nothing_left("after delete");
}
