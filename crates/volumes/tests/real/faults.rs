//! A fault at every call in turn: the repeated request, or a delete, always ends exactly right.

use cuttle_model::{ByteSize, Explain, Left, VolumeHandle, chain};
use cuttle_volumes::Created;
use cuttle_volumes::rbd::RbdController;
use cuttle_volumes::{DeleteVolume, ExpandVolume};

use crate::setup::{Setup, controller, random_name, range, setup};

/// Whether the planned fault has struck.
fn struck(doors: &cuttle_door::Doors, errno: i32) -> bool {
    doors
        .ledger()
        .snapshot()
        .iter()
        .any(|entry| entry.errno == Some(errno))
}

/// Creates with a fault at each call in turn, until none is left to strike.
fn for_each_call_of_create(errno: &str, number: i32, check: impl Fn(&Setup, &str, u64)) {
    let setup = setup();
    for n in 1.. {
        let (doors, faulty) = controller(&format!("fail@{n}={errno}"));
        let name = random_name("pvc");
        let outcome = faulty.create(&setup.table, &setup.request(&name, &[]));
        if !struck(&doors, number) {
            let created = outcome.unwrap();
            assert!(n > 8, "only {n} calls could fail");
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
    for_each_call_of_create("EIO", libc::EIO, |setup, name, n| {
        if setup
            .contents()
            .leftovers()
            .iter()
            .any(|left| left.to_string().contains(name))
        {
            // Undoing failed, or the volume was complete but for its metadata.
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
        let entry = setup
            .io()
            .omap_get("csi.volumes.default", &[key.as_str()])
            .unwrap();
        if let Some(value) = entry.and_then(|mut omap| omap.remove(&key)) {
            let uuid = String::from_utf8(value).unwrap();
            setup.delete(&setup.handle(&uuid)).unwrap();
        }
        setup.assert_nothing_left(&format!("call {n}"));
    });
}

#[test]
fn images_made_by_librbd_are_completed_too() {
    let setup = setup();
    for n in 1.. {
        let (doors, faulty) = controller(&format!("fail@{n}=ETIMEDOUT"));
        let name = random_name("pvc");
        let request = setup.request(&name, &[("imageFeatures", "")]);
        let outcome = faulty.create(&setup.table, &request);
        if !struck(&doors, libc::ETIMEDOUT) {
            setup.delete(&outcome.unwrap().handle).unwrap();
            break;
        }
        let created = setup.create(&request).unwrap();
        setup.assert_exactly(&format!("call {n}"), &[(&name, &created)]);
        setup.delete(&created.handle).unwrap();
        setup.assert_nothing_left(&format!("call {n}"));
    }
}

fn delete_with(
    faulty: &RbdController,
    setup: &Setup,
    created: &Created,
) -> Result<(), cuttle_volumes::rbd::DeleteError> {
    let request = DeleteVolume {
        handle: VolumeHandle::Composed(created.handle.clone()),
        credentials: setup.admin(),
    };
    faulty.delete(&setup.table, &request).map(drop)
}

#[test]
fn a_delete_cut_off_at_any_call_is_completed_by_its_repetition() {
    let setup = setup();
    for errno in ["ETIMEDOUT", "EIO"] {
        let number = cuttle_door::errno_from_name(errno).unwrap();
        for n in 1.. {
            let created = setup
                .create(&setup.request(&random_name("pvc"), &[]))
                .unwrap();
            let (doors, faulty) = controller(&format!("fail@{n}={errno}"));
            let outcome = delete_with(&faulty, &setup, &created);
            if !struck(&doors, number) {
                outcome.unwrap();
                assert!(n > 6, "only {n} calls could fail");
                break;
            }
            assert!(outcome.is_err(), "call {n} failed unnoticed");
            setup.delete(&created.handle).unwrap();
            setup.assert_nothing_left(&format!("{errno} at call {n}"));
        }
        setup.assert_nothing_left("at the end");
    }
}

#[test]
fn a_manager_that_cannot_is_done_without() {
    let setup = setup();
    for errno in ["EOPNOTSUPP", "EINVAL", "EACCES"] {
        let created = setup
            .create(&setup.request(&random_name("pvc"), &[]))
            .unwrap();
        let (_doors, lonely) = controller(&format!("fail@1:mgr.command={errno}"));
        delete_with(&lonely, &setup, &created).unwrap();
        // At once: nobody else empties the trash.
        assert_eq!(setup.contents().leftovers(), [], "{errno}");
    }
}

#[test]
fn a_manager_that_does_not_answer_is_not_done_without() {
    let setup = setup();
    let created = setup
        .create(&setup.request(&random_name("pvc"), &[]))
        .unwrap();
    let (_doors, faulty) = controller("fail@1:mgr.command=ETIMEDOUT");
    let error = delete_with(&faulty, &setup, &created).unwrap_err();
    assert_eq!(error.left(), Left::MaybeRunning, "{error}");
    assert_eq!(setup.contents().trash.len(), 1);
    setup.delete(&created.handle).unwrap();
    setup.assert_nothing_left("after the repetition");
}

#[test]
fn an_expansion_that_fails_at_any_call_is_completed_by_its_repetition() {
    let setup = setup();
    // By librbd, and by the header alone.
    fails_at_any_call(&setup, &[], 8);
    fails_at_any_call(&setup, &[("imageFeatures", "layering")], 6);
    setup.assert_nothing_left("at the end");
}

fn fails_at_any_call(setup: &Setup, parameters: &[(&str, &str)], at_least: u32) {
    let request = setup.request(&random_name("pvc"), parameters);
    let created = setup.create(&request).unwrap();
    let mut size = 16;
    for n in 1.. {
        size += 4;
        let request = ExpandVolume {
            handle: VolumeHandle::Composed(created.handle.clone()),
            range: range(size, None),
            capability: None,
            credentials: setup.admin(),
        };
        let (doors, faulty) = controller(&format!("fail@{n}=ETIMEDOUT"));
        let outcome = faulty.expand(&setup.table, &request);
        if !struck(&doors, libc::ETIMEDOUT) {
            outcome.unwrap();
            assert!(n > at_least, "only {n} calls could fail");
            break;
        }
        let expanded = setup.controller.expand(&setup.table, &request).unwrap();
        assert_eq!(expanded.size, ByteSize::from_mib(size).unwrap(), "call {n}");
    }
    setup.delete(&created.handle).unwrap();
}
