//! A fault at every call in turn: the repeated request, or a delete, always ends exactly right.

use cuttle_door::Doors;
use cuttle_model::{Explain, Left, VolumeHandle, chain};
use cuttle_volumes::ExpandVolume;

use crate::setup::{Setup, controller, mib, random_name, range, setup};

/// Whether the planned fault has struck.
fn struck(doors: &Doors, errno: i32) -> bool {
    let entries = doors.ledger().snapshot();
    entries.iter().any(|entry| entry.errno == Some(errno))
}

/// Creates with a fault at each call in turn, until none is left to strike.
fn for_each_call_of_create(errno: &str, number: i32, check: impl Fn(&Setup, &str, u64)) {
    let setup = setup();
    for n in 1.. {
        let (doors, faulty) = controller(&format!("fail@{n}={errno}"));
        let name = random_name("pvc");
        let outcome = faulty.create(&setup.table(), &setup.request(&name, &[]));
        if !struck(&doors, number) {
            let created = outcome.unwrap();
            assert!(n > 7, "only {n} calls could fail");
            setup.delete(&created.handle).unwrap();
            break;
        }
        if let Err(error) = &outcome
            && errno == "ETIMEDOUT"
        {
            // Whatever may still happen must not be undone.
            assert_ne!(error.left(), Left::Undone, "call {n}: {}", chain(error));
        }
        check(&setup, &name, n);
    }
    setup.assert_nothing_left("at the end");
}

#[test]
fn a_create_cut_off_at_any_call_is_completed_by_its_repetition() {
    for_each_call_of_create("ETIMEDOUT", libc::ETIMEDOUT, |setup, name, n| {
        let created = setup.create(&setup.request(name, &[])).unwrap();
        setup.assert_exactly(&format!("call {n}"), &[(name, &created)]);
        setup.delete(&created.handle).unwrap();
    });
}

#[test]
fn a_create_that_fails_at_any_call_is_undone_or_completed() {
    for_each_call_of_create("EPROTO", libc::EPROTO, |setup, name, n| {
        if !setup.journal().leftovers().is_empty() {
            // Undoing failed, or the volume was complete but not read back.
            let created = setup.create(&setup.request(name, &[])).unwrap();
            setup.assert_exactly(&format!("call {n}"), &[(name, &created)]);
            setup.delete(&created.handle).unwrap();
        }
        setup.assert_nothing_left(&format!("call {n}"));
    });
}

#[test]
fn a_create_cut_off_at_any_call_is_removed_by_a_delete() {
    for_each_call_of_create("ETIMEDOUT", libc::ETIMEDOUT, |setup, name, n| {
        let key = format!("csi.volume.{name}");
        let entry = setup.io().omap_get("csi.volumes.default", &[key.as_str()]);
        if let Some(value) = entry.unwrap().and_then(|mut omap| omap.remove(&key)) {
            let uuid = String::from_utf8(value).unwrap();
            setup.delete(&setup.handle(&uuid)).unwrap();
        }
        setup.assert_nothing_left(&format!("call {n}"));
    });
}

/// The taking over of an unfinished volume, cut off at each call in turn, is completed as well.
#[test]
fn a_take_over_cut_off_at_any_call_is_completed_by_its_repetition() {
    for errno in ["ETIMEDOUT", "EPROTO"] {
        let number = if errno == "EPROTO" {
            libc::EPROTO
        } else {
            libc::ETIMEDOUT
        };
        let setup = setup();
        // Once the connection is made and the file system is known.
        for n in 4.. {
            let name = random_name("pvc");
            let request = setup.request(&name, &[]);
            let (_, dying) = controller("fail@1:mgr.query=ETIMEDOUT,fail@3:rados.write=ETIMEDOUT");
            dying.create(&setup.table(), &request).unwrap_err();
            let (doors, faulty) = controller(&format!("fail@{n}={errno}"));
            let outcome = faulty.create(&setup.table(), &request);
            let all = !struck(&doors, number);
            let created = match outcome {
                Ok(created) => created,
                Err(error) => {
                    assert!(!all, "{}", chain(&error));
                    setup.create(&request).unwrap()
                }
            };
            setup.delete(&created.handle).unwrap();
            if all {
                assert!(n > 15, "only {n} calls could fail");
                break;
            }
        }
        setup.assert_nothing_left(errno);
    }
}

#[test]
fn a_delete_cut_off_at_any_call_is_completed_by_its_repetition() {
    let setup = setup();
    for (errno, number) in [("ETIMEDOUT", libc::ETIMEDOUT), ("EPROTO", libc::EPROTO)] {
        for n in 1.. {
            let name = random_name("pvc");
            let created = setup.create(&setup.request(&name, &[])).unwrap();
            let (doors, faulty) = controller(&format!("fail@{n}={errno}"));
            let outcome = faulty.delete(&setup.table(), &setup.deletion(&created.handle));
            let all = !struck(&doors, number);
            if all {
                outcome.unwrap();
                assert!(n > 5, "only {n} calls could fail");
            } else {
                outcome.unwrap_err();
                setup.delete(&created.handle).unwrap();
            }
            if all {
                break;
            }
        }
        setup.assert_nothing_left(errno);
    }
}

#[test]
fn an_expansion_cut_off_at_any_call_is_completed_by_its_repetition() {
    let setup = setup();
    for (errno, number) in [("ETIMEDOUT", libc::ETIMEDOUT), ("EPROTO", libc::EPROTO)] {
        for n in 1.. {
            let name = random_name("pvc");
            let created = setup.create(&setup.request(&name, &[])).unwrap();
            let request = ExpandVolume {
                handle: VolumeHandle::Composed(created.handle.clone()),
                range: range(64, None),
                capability: None,
                credentials: setup.admin(),
            };
            let (doors, faulty) = controller(&format!("fail@{n}={errno}"));
            let outcome = faulty.expand(&setup.table(), &request);
            let all = !struck(&doors, number);
            if all {
                outcome.unwrap();
                assert!(n > 5, "only {n} calls could fail");
            } else {
                // A question that was not sent is asked again by the call itself.
                let asked = doors.ledger().snapshot().into_iter();
                let mut questions = asked.filter(|entry| entry.call == "mgr.query");
                let again = questions.any(|entry| entry.errno == Some(number));
                assert!(
                    outcome.is_err() || again,
                    "{errno} at call {n}: {outcome:?}"
                );
                setup.controller.expand(&setup.table(), &request).unwrap();
            }
            let grown = cuttle_volumes::Created {
                size: mib(64),
                ..created
            };
            setup.assert_exactly(&format!("{errno} at call {n}"), &[(&name, &grown)]);
            setup.delete(&grown.handle).unwrap();
            if all {
                break;
            }
        }
    }
    setup.assert_nothing_left("at the end");
}
