//! Several processes at the same volume: here, several connections without a common dispatcher.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use cuttle_door::job::{self, JobContext, Progress};

use crate::setup::{controller_that_waits, random_name, setup};

#[test]
fn twenty_creators_of_one_name_make_one_volume() {
    let setup = setup();
    for round in 0..5 {
        let name = random_name("pvc");
        // Images by plan and, because of the striping, images by librbd.
        let striped = [("stripeUnit", "65536"), ("stripeCount", "2")];
        let more = if round % 2 == 0 { &[][..] } else { &striped };
        let request = setup.request(&name, more);
        let barrier = Barrier::new(20);
        // Four processes with five threads each.
        let patient = Duration::from_secs(30);
        let controllers: Vec<_> = (0..4)
            .map(|_| controller_that_waits("", patient).1)
            .collect();
        let created: Vec<_> = thread::scope(|scope| {
            let workers: Vec<_> = (0..20)
                .map(|number| {
                    let (setup, request, barrier) = (&setup, &request, &barrier);
                    let controller = &controllers[number % 4];
                    scope.spawn(move || {
                        barrier.wait();
                        controller.create(&setup.table, request)
                    })
                })
                .collect();
            workers
                .into_iter()
                .map(|worker| worker.join().unwrap().unwrap())
                .collect()
        });
        assert!(
            created.iter().all(|one| *one == created[0]),
            "round {round}: {created:#?}"
        );
        setup.assert_exactly(&format!("round {round}"), &[(&name, &created[0])]);
        setup.delete(&created[0].handle).unwrap();
        setup.assert_nothing_left(&format!("round {round}"));
    }
}

#[test]
fn many_deletes_of_one_volume_all_succeed() {
    let setup = setup();
    let created = setup
        .create(&setup.request(&random_name("pvc"), &[]))
        .unwrap();
    let barrier = Barrier::new(8);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                barrier.wait();
                setup.delete(&created.handle).unwrap();
            });
        }
    });
    setup.assert_nothing_left("after delete");
}

#[test]
fn creates_and_deletes_of_many_names_do_not_disturb_each_other() {
    let setup = setup();
    let kept: Vec<_> = thread::scope(|scope| {
        let workers: Vec<_> = (0..8)
            .map(|worker| {
                let setup = &setup;
                scope.spawn(move || {
                    let mut kept = Vec::new();
                    for number in 0..4 {
                        let name = format!("pvc-{worker}-{number}");
                        let created = setup.create(&setup.request(&name, &[])).unwrap();
                        if number % 2 == 0 {
                            setup.delete(&created.handle).unwrap();
                        } else {
                            kept.push((name, created));
                        }
                    }
                    kept
                })
            })
            .collect();
        workers
            .into_iter()
            .flat_map(|worker| worker.join().unwrap())
            .collect()
    });
    let expected: Vec<_> = kept
        .iter()
        .map(|(name, created)| (name.as_str(), created))
        .collect();
    setup.assert_exactly("at the end", &expected);
    for (_, created) in &kept {
        setup.delete(&created.handle).unwrap();
    }
    setup.assert_nothing_left("after delete");
}

/// A maker that stands still before its n-th call until another has taken over and finished: there
/// is one volume, and nothing of the late one's.
fn a_late_maker(features: &str, filter: &str, deleted: bool) {
    let setup = setup();
    for n in 1..=8 {
        let name = random_name("pvc");
        let request = setup.request(&name, &[("imageFeatures", features)]);
        let pause = format!("pause@{n}:{filter}=2500ms");
        let (_doors, late) = controller_that_waits(&pause, Duration::from_secs(30));
        let (made, second) = thread::scope(|scope| {
            let first = scope.spawn(|| late.create(&setup.table, &request));
            thread::sleep(Duration::from_millis(200));
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
        setup.assert_nothing_left(&format!("call {n}"));
    }
}

#[test]
fn a_maker_that_comes_late_leaves_one_volume() {
    a_late_maker("layering,exclusive-lock,object-map", "rados.write", false);
}

#[test]
fn a_maker_that_comes_late_to_a_deleted_volume_leaves_nothing_of_the_old() {
    a_late_maker("layering,exclusive-lock,object-map", "rados.write", true);
}

/// A creation that fails and is undone, but stands still before that call of undoing it, for longer
/// than its own time, while another takes over and finishes: the volume of the other is whole.
fn a_late_undo(paused_before: &str, deleted: bool) {
    let setup = setup();
    let name = random_name("pvc");
    let request = setup.request(&name, &[]);
    // The seventh write is the commit.
    let faults = format!("fail@7:rados.write=EIO,pause@1:{paused_before}=3000ms");
    let (_doors, late) = controller_that_waits(&faults, Duration::from_secs(30));
    let time = Duration::from_secs(2);
    let (made, second) = thread::scope(|scope| {
        let first = scope.spawn(|| {
            let _job = job::enter(JobContext {
                request_id: "late".to_owned(),
                deadline: Instant::now().checked_add(time),
                progress: Progress::new(),
            });
            late.create(&setup.table, &request)
        });
        thread::sleep(Duration::from_millis(500));
        let second = setup.create(&request).unwrap();
        if deleted {
            setup.delete(&second.handle).unwrap();
        }
        (first.join().unwrap(), second)
    });
    // Its time is over: it could not go on to answer with the other's volume.
    made.unwrap_err();
    if !deleted {
        setup.assert_exactly(paused_before, &[(&name, &second)]);
        assert_eq!(setup.create(&request).unwrap(), second, "{paused_before}");
        setup.delete(&second.handle).unwrap();
    }
    setup.assert_nothing_left(paused_before);
}

#[test]
fn an_undo_that_comes_late_brings_back_what_another_has_finished() {
    a_late_undo("rbd.trash_move", false);
}

#[test]
fn an_undo_that_comes_late_leaves_what_another_has_made_anew() {
    a_late_undo("rbd.trash_list", false);
}

#[test]
fn an_undo_that_comes_late_leaves_nothing_of_what_was_deleted_meanwhile() {
    a_late_undo("rbd.trash_move", true);
    a_late_undo("rbd.trash_list", true);
}
