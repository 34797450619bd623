//! Killed before every outside call in turn: the repeated request ends exactly right.

use cuttle_csi::v1;

use super::FsWorld;
use crate::calls::MIB;

/// More calls than any operation makes; a loop that gets here does not end.
const CALLS_BOUND: u32 = 60;

#[test]
fn a_create_killed_at_any_call_is_completed_by_its_repetition() {
    let fs = FsWorld::new();
    let survivor = fs.start_named("survivor", &[]);
    for call in 1..CALLS_BOUND {
        let name = format!("pvc-{call}");
        let fault = format!("--inject-fault=kill@{call}");
        let mut doomed = fs.start_named("doomed", &[&fault]);
        let outcome = doomed.client.create(fs.create_request(&name, 20 * MIB));
        if let Ok(volume) = outcome {
            assert!(call > 7, "only {call} calls could be killed");
            fs.delete(&survivor.client, &volume.volume_id);
            fs.assert_exactly("at the end", &[]);
            return;
        }
        assert!(doomed.is_dead(), "call {call}");
        let volume = survivor.client.create(fs.create_request(&name, 20 * MIB));
        let volume = volume.unwrap();
        fs.assert_exactly(&format!("call {call}"), &[(&name, &volume)]);
        fs.delete(&survivor.client, &volume.volume_id);
    }
    panic!("still killed at call {CALLS_BOUND}");
}

#[test]
fn a_delete_killed_at_any_call_is_completed_by_its_repetition() {
    let fs = FsWorld::new();
    let survivor = fs.start_named("survivor", &[]);
    for call in 1..CALLS_BOUND {
        let name = format!("pvc-{call}");
        let volume = survivor.client.create(fs.create_request(&name, 20 * MIB));
        let volume = volume.unwrap();
        let fault = format!("--inject-fault=kill@{call}");
        let mut doomed = fs.start_named("doomed", &[&fault]);
        let request = fs.delete_request(&volume.volume_id);
        let struck = doomed.client.delete_volume(request).is_err();
        if struck {
            assert!(doomed.is_dead(), "call {call}");
            fs.delete(&survivor.client, &volume.volume_id);
        }
        fs.assert_exactly(&format!("call {call}"), &[]);
        if !struck {
            assert!(call > 4, "only {call} calls could be killed");
            return;
        }
    }
    panic!("still killed at call {CALLS_BOUND}");
}

#[test]
fn an_expansion_killed_at_any_call_is_completed_by_its_repetition() {
    let fs = FsWorld::new();
    let survivor = fs.start_named("survivor", &[]);
    for call in 1..CALLS_BOUND {
        let name = format!("pvc-{call}");
        let volume = survivor.client.create(fs.create_request(&name, 20 * MIB));
        let volume = volume.unwrap();
        let fault = format!("--inject-fault=kill@{call}");
        let mut doomed = fs.start_named("doomed", &[&fault]);
        let request = || fs.expand_request(&volume.volume_id, 64 * MIB);
        let first = doomed.client.controller_expand_volume(request());
        let struck = doomed.was_killed(&first);
        let expanded = if struck {
            survivor.client.controller_expand_volume(request()).unwrap()
        } else {
            first.unwrap()
        };
        assert_eq!(expanded.capacity_bytes, 64 * MIB, "call {call}");
        let grown = v1::Volume {
            capacity_bytes: 64 * MIB,
            ..volume
        };
        fs.assert_exactly(&format!("call {call}"), &[(&name, &grown)]);
        fs.delete(&survivor.client, &grown.volume_id);
        fs.assert_exactly(&format!("deleted after call {call}"), &[]);
        if !struck {
            assert!(call > 5, "only {call} calls could be killed");
            return;
        }
    }
    panic!("still killed at call {CALLS_BOUND}");
}
