//! Every outside call of every operation fails in turn, or the process is killed before it: then a
//! repeat finishes the work, or an unstage leaves nothing.

use std::path::PathBuf;

use crate::field::{Field, filesystem, publish_request, unpublish_request, unstage_request};
use cuttle_model::{Access, chain};
use cuttle_node::rbd::{StageVolume, UnstageVolume, Usage, VolumeStats};
use serde_json::json;

/// More calls than any operation makes.
const MOST: u64 = 200;

/// Runs `attempt` with the fault at the first call, the second, and so on, until it no longer
/// strikes; `attempt` answers how many calls were made. Answers how often it struck.
fn at_every_call(mut attempt: impl FnMut(u64) -> u64) -> u64 {
    for nth in 1..MOST {
        if attempt(nth) < nth {
            return nth - 1;
        }
    }
    panic!("more than {MOST} calls");
}

/// Stages with a fault; answers the number of calls.
fn stage_failing(field: &Field, stage: &StageVolume, fault: &str) -> u64 {
    let (node, doors) = field.node_with(fault);
    let outcome = node.stage(stage);
    if let Err(error) = &outcome {
        assert!(error.undo_error().is_none(), "{fault}: {}", chain(error));
    }
    doors.ledger().total()
}

fn unstage(field: &Field, request: &UnstageVolume, fault: &str) {
    let unstaged = field.node().unstage(request);
    unstaged.unwrap_or_else(|error| panic!("after {fault}: {}", chain(&error)));
}

/// A field with one image, a staging directory and a stage of it.
fn one_disk(access: Access) -> (Field, PathBuf, StageVolume) {
    let field = Field::new();
    field.image("disk", 32);
    let staging = field.staging("one");
    let stage = field.stage_request("disk", &staging, access);
    (field, staging, stage)
}

#[test]
fn a_stage_that_fails_anywhere_leaves_nothing() {
    let (field, staging, stage) = one_disk(filesystem("ext4"));
    let struck = at_every_call(|nth| {
        let fault = format!("fail@{nth}=EIO");
        let calls = stage_failing(&field, &stage, &fault);
        // What a failed call could not undo, an unstage takes down.
        unstage(&field, &unstage_request(&stage), &fault);
        field.assert_empty(&staging);
        calls
    });
    assert!(struck > 20, "{struck}");
    field.assert_unwatched("disk");
    field.assert_clean_host();
}

#[test]
fn a_stage_that_ran_out_of_time_is_finished_by_its_repeat() {
    let (field, staging, stage) = one_disk(Access::Block);
    let struck = at_every_call(|nth| {
        let fault = format!("fail@{nth}=ETIMEDOUT");
        let calls = stage_failing(&field, &stage, &fault);
        let repeated = field.node().stage(&stage);
        repeated.unwrap_or_else(|error| panic!("after {fault}: {}", chain(&error)));
        unstage(&field, &unstage_request(&stage), &fault);
        field.assert_empty(&staging);
        calls
    });
    assert!(struck > 20, "{struck}");
    field.assert_unwatched("disk");
    field.assert_clean_host();
}

#[test]
fn an_unstage_that_fails_anywhere_is_finished_by_its_repeat() {
    let (field, staging, stage) = one_disk(filesystem("ext4"));
    let struck = at_every_call(|nth| {
        let fault = format!("fail@{nth}=EIO");
        field.node().stage(&stage).unwrap();
        let (node, doors) = field.node_with(&fault);
        let _failed_or_not = node.unstage(&unstage_request(&stage));
        unstage(&field, &unstage_request(&stage), &fault);
        field.assert_empty(&staging);
        doors.ledger().total()
    });
    assert!(struck > 15, "{struck}");
    field.assert_unwatched("disk");
    field.assert_clean_host();
}

#[test]
fn publishing_that_fails_anywhere_is_finished_by_its_repeat() {
    let (field, staging, stage) = one_disk(filesystem("ext4"));
    field.node().stage(&stage).unwrap();
    let target = field.target("pod");
    let (publish, unpublish) = (
        publish_request(&stage, &target),
        unpublish_request(&stage, &target),
    );
    let published = at_every_call(|nth| {
        let (node, doors) = field.node_with(&format!("fail@{nth}=EIO"));
        let _failed_or_not = node.publish(&publish);
        field.node().publish(&publish).unwrap();
        assert!(target.join("lost+found").exists());
        field.node().unpublish(&unpublish).unwrap();
        assert!(!target.exists());
        doors.ledger().total()
    });
    let unpublished = at_every_call(|nth| {
        field.node().publish(&publish).unwrap();
        let (node, doors) = field.node_with(&format!("fail@{nth}=EIO"));
        let _failed_or_not = node.unpublish(&unpublish);
        field.node().unpublish(&unpublish).unwrap();
        assert!(!target.exists());
        doors.ledger().total()
    });
    assert!(
        published > 8 && unpublished > 4,
        "{published} {unpublished}"
    );
    unstage(&field, &unstage_request(&stage), "publishing");
    field.assert_empty(&staging);
    field.assert_clean_host();
}

/// What follows a stage that was killed.
#[derive(Clone, Copy, PartialEq)]
enum Then {
    Repeat,
    Undo,
    /// The one after odd calls, the other after even ones.
    Either,
}

/// Stages an empty image of so many MiB and is killed at every call in turn. Every kill is followed
/// by `then`; whatever it was, a workload must find its filesystem at last, and an unstage must
/// leave nothing.
fn first_stage_killed_at_every_call(fs_type: &str, mib: u64, then: Then) {
    let (field, staging, _) = one_disk(Access::Block);
    let target = field.target("pod");
    let struck = at_every_call(|nth| {
        // A device of its own each time, so that every kill meets the formatting, too.
        let image = format!("disk-{nth}");
        field.image(&image, mib);
        let order = |operation: &str, faults: &str| {
            json!({
                "operation": operation, "faults": faults, "within_ms": 60_000, "image": image,
                "staging": staging, "target": target, "fs_type": fs_type,
            })
        };
        let killed = field.in_own_process(&order("stage", &format!("kill@{nth}")));
        let stage = field.stage_request(&image, &staging, filesystem(fs_type));
        if then == Then::Undo || then == Then::Either && nth % 2 == 0 {
            unstage(&field, &unstage_request(&stage), &format!("kill@{nth}"));
            field.assert_empty(&staging);
        }
        let staged = field.node().stage(&stage);
        staged.unwrap_or_else(|error| panic!("after kill@{nth}: {}", chain(&error)));
        std::fs::write(staging.join(&image).join("file"), "a workload's").unwrap();
        unstage(&field, &unstage_request(&stage), &format!("kill@{nth}"));
        field.assert_empty(&staging);
        match killed {
            None => nth,
            Some(outcome) => {
                assert!(outcome["error"].is_null(), "{outcome}");
                nth - 1
            }
        }
    });
    assert!(struck > 20, "{struck}");
    field.assert_clean_host();
}

#[test]
fn a_first_stage_killed_anywhere_is_finished_by_its_repeat_ext4() {
    first_stage_killed_at_every_call("ext4", 16, Then::Repeat);
}

#[test]
fn a_first_stage_killed_anywhere_is_undone_by_an_unstage_ext4() {
    first_stage_killed_at_every_call("ext4", 16, Then::Undo);
}

/// Both ways are shown for every call with ext4. With xfs other programs run, but the driver makes
/// the same calls and writes the same notes, so that what it leaves behind at a call is the same:
/// each call is tried one way.
#[test]
fn a_first_stage_killed_anywhere_is_finished_or_undone_xfs() {
    first_stage_killed_at_every_call("xfs", 320, Then::Either);
}

/// What a volume holds outlives its stage's death at any call: nothing takes it for empty. The
/// driver's own tests show the same of ext4.
#[test]
fn a_stage_killed_anywhere_keeps_what_the_volume_holds() {
    let field = Field::new();
    field.image("disk", 320);
    let staging = field.staging("one");
    let stage = field.stage_request("disk", &staging, filesystem("xfs"));
    let file = staging.join("disk/file");
    field.node().stage(&stage).unwrap();
    std::fs::write(&file, "from before").unwrap();
    unstage(&field, &unstage_request(&stage), "nothing");
    let struck = at_every_call(|nth| {
        let order = json!({
            "operation": "stage", "faults": format!("kill@{nth}"), "within_ms": 60_000,
            "image": "disk", "staging": staging, "target": field.target("pod"),
            "fs_type": "xfs",
        });
        let killed = field.in_own_process(&order);
        let staged = field.node().stage(&stage);
        staged.unwrap_or_else(|error| panic!("after kill@{nth}: {}", chain(&error)));
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "from before");
        unstage(&field, &unstage_request(&stage), &format!("kill@{nth}"));
        if killed.is_none() { nth } else { nth - 1 }
    });
    assert!(struck > 20, "{struck}");
    field.assert_empty(&staging);
    field.assert_clean_host();
}

#[test]
fn an_unstage_killed_anywhere_is_finished_by_its_repeat() {
    let (field, staging, stage) = one_disk(filesystem("ext4"));
    let target = field.target("pod");
    let struck = at_every_call(|nth| {
        let order = |faults: &str| {
            json!({
                "operation": "unstage", "faults": faults, "within_ms": 60_000, "image": "disk",
                "staging": staging, "target": target, "fs_type": "ext4",
            })
        };
        field.node().stage(&stage).unwrap();
        let killed = field.in_own_process(&order(&format!("kill@{nth}")));
        let repeated = field.in_own_process(&order("")).unwrap();
        assert!(repeated["error"].is_null(), "after kill@{nth}: {repeated}");
        field.assert_empty(&staging);
        if killed.is_none() { nth } else { nth - 1 }
    });
    assert!(struck > 15, "{struck}");
    field.assert_unwatched("disk");
    field.assert_clean_host();
}

#[test]
fn an_unpublish_killed_anywhere_is_finished_by_its_repeat() {
    let (field, staging, stage) = one_disk(filesystem("ext4"));
    let target = field.target("pod");
    field.node().stage(&stage).unwrap();
    let struck = at_every_call(|nth| {
        let order = |faults: &str| {
            json!({
                "operation": "unpublish", "faults": faults, "within_ms": 60_000, "image": "disk",
                "staging": staging, "target": target, "fs_type": "ext4",
            })
        };
        field
            .node()
            .publish(&publish_request(&stage, &target))
            .unwrap();
        let killed = field.in_own_process(&order(&format!("kill@{nth}")));
        let repeated = field.in_own_process(&order("")).unwrap();
        assert!(repeated["error"].is_null(), "after kill@{nth}: {repeated}");
        assert!(!target.exists(), "after kill@{nth}");
        if killed.is_none() { nth } else { nth - 1 }
    });
    assert!(struck > 4, "{struck}");
    unstage(&field, &unstage_request(&stage), "unpublishing");
    field.assert_empty(&staging);
    field.assert_clean_host();
}

/// The size of the filesystem, in MiB.
fn filesystem_size(field: &Field, path: &std::path::Path) -> u64 {
    let request = VolumeStats {
        id: crate::field::id("disk"),
        volume_path: path.to_owned(),
    };
    match field.node().stats(&request).unwrap().usage {
        Some(Usage::Filesystem { bytes, .. }) => bytes.total >> 20,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_expansion_cut_off_anywhere_is_finished_by_its_repeat() {
    let field = Field::new();
    field.image("disk", 320);
    let staging = field.staging("one");
    let stage = field.stage_request("disk", &staging, filesystem("xfs"));
    let target = field.target("pod");
    field.node().stage(&stage).unwrap();
    field
        .node()
        .publish(&publish_request(&stage, &target))
        .unwrap();
    let mut mib = 320;
    for (fault, least) in [("kill", 5), ("fail", 5)] {
        let struck = at_every_call(|nth| {
            // Each attempt has something to do.
            mib += 32;
            let (size, spec) = (format!("{mib}M"), field.spec("disk"));
            let words = ["resize", "--no-progress", "--size", &size, &spec];
            field.cluster.rbd(&words).unwrap();
            let order = |faults: &str| {
                json!({
                    "operation": "expand", "faults": faults, "within_ms": 60_000,
                    "image": "disk", "staging": staging, "target": target, "fs_type": "xfs",
                    "required_mib": mib,
                })
            };
            let faults = match fault {
                "kill" => format!("kill@{nth}"),
                _ => format!("fail@{nth}=EIO"),
            };
            let cut = field.in_own_process(&order(&faults));
            let repeated = field.in_own_process(&order("")).unwrap();
            assert!(repeated["error"].is_null(), "after {faults}: {repeated}");
            let size = filesystem_size(&field, &target);
            assert!(size + 80 > mib, "after {faults}: {size} of {mib}");
            match cut {
                None => nth,
                Some(outcome) if !outcome["error"].is_null() => nth,
                Some(_) => nth - 1,
            }
        });
        assert!(struck >= least, "{fault}: {struck}");
    }
    field
        .node()
        .unpublish(&unpublish_request(&stage, &target))
        .unwrap();
    unstage(&field, &unstage_request(&stage), "expanding");
    field.assert_empty(&staging);
    field.assert_clean_host();
}
