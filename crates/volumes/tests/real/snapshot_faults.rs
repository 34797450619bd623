//! A fault at every call of a snapshot or clone in turn: the repeated request ends exactly right.

use cuttle_model::{Explain, Left, chain};
use cuttle_volumes::{ContentSource, SourceKind};

use crate::setup::{controller, setup};
use crate::taken::Taking as _;

/// Whether the planned fault has struck.
fn struck(doors: &cuttle_door::Doors) -> bool {
    let entries = doors.ledger().snapshot();
    entries
        .iter()
        .any(|entry| entry.errno == Some(libc::ETIMEDOUT))
}

#[test]
fn a_snapshot_cut_off_at_any_call_is_completed_by_its_repetition() {
    let setup = setup();
    let volume = setup.volume("pvc");
    for n in 1.. {
        let (doors, faulty) = controller(&format!("fail@{n}=ETIMEDOUT"));
        let name = format!("s{n}");
        let request = setup.taking(&name, &volume.handle);
        let outcome = faulty.create_snapshot(&setup.table, &request);
        if !struck(&doors) {
            setup.drop(&outcome.unwrap()).unwrap();
            assert!(n > 15, "only {n} calls could fail");
            break;
        }
        if let Err(error) = &outcome {
            // Whatever may still happen must not be undone.
            assert_ne!(error.left(), Left::Undone, "call {n}: {}", chain(error));
        }
        let made = setup.take(&name, &volume).unwrap();
        setup.assert_snapshots(&format!("call {n}"), &[&volume], &[(&name, &made, &volume)]);
        setup.drop(&made).unwrap();
    }
    setup.delete(&volume.handle).unwrap();
    setup.assert_nothing_left("at the end");
}

#[test]
fn a_clone_cut_off_at_any_call_is_completed_by_its_repetition() {
    let setup = setup();
    let volume = setup.volume("pvc");
    for n in 1.. {
        let (doors, faulty) = controller(&format!("fail@{n}=ETIMEDOUT"));
        let name = format!("c{n}");
        let mut request = setup.request(&name, &[]);
        request.source = Some(ContentSource {
            kind: SourceKind::Volume,
            handle: volume.handle.clone(),
        });
        let outcome = faulty.create(&setup.table, &request);
        if !struck(&doors) {
            setup.delete(&outcome.unwrap().handle).unwrap();
            assert!(n > 12, "only {n} calls could fail");
            break;
        }
        if let Err(error) = &outcome {
            assert_ne!(error.left(), Left::Undone, "call {n}: {}", chain(error));
        }
        let clone = setup.create(&request).unwrap();
        setup.assert_snapshots(&format!("call {n}"), &[&volume, &clone], &[]);
        setup.delete(&clone.handle).unwrap();
    }
    setup.delete(&volume.handle).unwrap();
    setup.assert_nothing_left("at the end");
}
