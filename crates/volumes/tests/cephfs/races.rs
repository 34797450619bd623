//! Several processes at the same volume: here, several connections without a common dispatcher.

use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use ceph::ConnectOptions;
use cuttle_model::{Explain, Left, VolumeHandle};
use cuttle_volumes::{ControllerSettings, ExpandVolume};

use crate::setup::{controller_connecting, controller_that_waits, mib, random_name, range, setup};

#[test]
fn twelve_creators_of_one_name_make_one_volume() {
    let setup = setup();
    let name = random_name("pvc");
    let request = setup.request(&name, &[]);
    let barrier = Barrier::new(12);
    // Four processes with three threads each.
    let patient = Duration::from_secs(30);
    let controllers: Vec<_> = (0..4)
        .map(|_| controller_that_waits("", patient).1)
        .collect();
    let created: Vec<_> = thread::scope(|scope| {
        let workers: Vec<_> = (0..12)
            .map(|number| {
                let (setup, request, barrier) = (&setup, &request, &barrier);
                let controller = &controllers[number % 4];
                scope.spawn(move || {
                    barrier.wait();
                    controller.create(&setup.table(), request)
                })
            })
            .collect();
        workers
            .into_iter()
            .map(|worker| worker.join().unwrap().unwrap())
            .collect()
    });
    assert!(created.iter().all(|one| *one == created[0]), "{created:#?}");
    setup.assert_exactly("made", &[(&name, &created[0])]);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| setup.delete(&created[0].handle).unwrap());
        }
    });
    setup.assert_nothing_left("deleted");
}

/// A maker that stands still before its n-th call of a kind until another has taken over and
/// finished: there is one volume, with its quota, and nothing of the late one's.
fn a_late_maker(filter: &str, calls: u32, deleted: bool) {
    let setup = setup();
    for n in 1..=calls {
        let name = random_name("pvc");
        let request = setup.request(&name, &[]);
        let pause = format!("pause@{n}:{filter}=4000ms");
        let (_, late) = controller_that_waits(&pause, Duration::from_secs(30));
        let (made, second) = thread::scope(|scope| {
            let first = scope.spawn(|| late.create(&setup.table(), &request));
            thread::sleep(Duration::from_millis(500));
            let second = setup.create(&request).unwrap();
            if deleted {
                setup.delete(&second.handle).unwrap();
            }
            (first.join().unwrap(), second)
        });
        let made = made.unwrap();
        assert!(deleted || made == second, "call {n}: {made:?} {second:?}");
        let now = setup.create(&request).unwrap();
        setup.assert_exactly(&format!("call {n}"), &[(&name, &now)]);
        setup.delete(&now.handle).unwrap();
    }
    setup.assert_nothing_left("at the end");
}

#[test]
fn a_maker_that_is_late_with_a_write_leaves_one_volume() {
    a_late_maker("rados.write", 3, false);
}

#[test]
fn a_maker_that_is_late_with_a_command_leaves_one_volume() {
    a_late_maker("mgr.command", 1, false);
}

#[test]
fn a_maker_that_comes_late_to_a_deleted_volume_leaves_nothing_of_the_old() {
    a_late_maker("rados.write", 3, true);
    a_late_maker("mgr.command", 1, true);
}

/// An undo that stands still before it removes the subvolume, while another takes over and
/// finishes: the volume of the other is whole.
#[test]
fn a_late_undo_removes_nothing_of_a_finished_volume() {
    let setup = setup();
    let name = random_name("pvc");
    let request = setup.request(&name, &[]);
    let plan = "fail@1:mgr.command=EPROTO,pause@2:mgr.command=4000ms";
    let (_, late) = controller_that_waits(plan, Duration::from_secs(30));
    let (undone, second) = thread::scope(|scope| {
        let first = scope.spawn(|| late.create(&setup.table(), &request));
        thread::sleep(Duration::from_millis(500));
        let second = setup.create(&request).unwrap();
        (first.join().unwrap(), second)
    });
    // The late one's own attempt has failed, and it has undone no more than that.
    assert_eq!(undone.unwrap_err().left(), Left::Undone);
    setup.assert_exactly("after both", &[(&name, &second)]);
    setup.delete(&second.handle).unwrap();
    setup.assert_nothing_left("deleted");
}

/// Commands hold their place until they are answered, and some ask for a second one meanwhile:
/// with fewer places than callers all of them still come to their end.
#[test]
fn with_hardly_a_place_among_the_commands_nobody_waits_for_ever() {
    for places in [1, 2] {
        let setup = setup();
        let settings = ControllerSettings {
            set_metadata: true,
            cluster_name: Some("k8s-east".to_owned()),
            ..ControllerSettings::default()
        };
        let options = ConnectOptions {
            manager_commands: places,
            ..ConnectOptions::default()
        };
        let (doors, controller) = controller_connecting("", settings, options);
        let table = setup.table();
        let barrier = Barrier::new(8);
        thread::scope(|scope| {
            for prefix in ["", "team-"].repeat(4) {
                let (setup, controller, table, barrier) = (&setup, &controller, &table, &barrier);
                scope.spawn(move || {
                    barrier.wait();
                    let name = random_name("pvc");
                    let request = setup.request(&name, &[("volumeNamePrefix", prefix)]);
                    let created = controller.create(table, &request).unwrap();
                    let expansion = ExpandVolume {
                        handle: VolumeHandle::Composed(created.handle.clone()),
                        range: range(64, None),
                        capability: None,
                        credentials: setup.admin(),
                    };
                    let expanded = controller.expand(table, &expansion).unwrap();
                    assert_eq!(expanded.size, mib(64));
                    assert_eq!(setup.subvolume(&created).quota, Some(64 << 20));
                    let deletion = setup.deletion(&created.handle);
                    controller.delete(table, &deletion).unwrap();
                });
            }
        });
        let refused: Vec<_> = doors.ledger().snapshot();
        let refused: Vec<_> = refused
            .iter()
            .filter(|entry| entry.call.starts_with("mgr.") && entry.errno == Some(libc::EAGAIN))
            .collect();
        assert!(refused.is_empty(), "no place came free: {refused:?}");
        setup.assert_nothing_left("at the end");
    }
}
