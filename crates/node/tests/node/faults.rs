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

#[test]
fn a_stage_killed_anywhere_is_finished_by_its_repeat_or_taken_down() {
    let (field, staging, _) = one_disk(Access::Block);
    let target = field.target("pod");
    let struck = at_every_call(|nth| {
        // A device of its own each time, so that every kill meets the formatting, too.
        let image = format!("disk-{nth}");
        field.image(&image, 16);
        let order = |operation: &str, faults: &str| {
            json!({
                "operation": operation, "faults": faults, "within_ms": 60_000, "image": image,
                "staging": staging, "target": target, "fs_type": "ext4",
            })
        };
        let killed = field.in_own_process(&order("stage", &format!("kill@{nth}")));
        if nth % 2 == 0 {
            let repeated = field.in_own_process(&order("stage", "")).unwrap();
            assert!(repeated["error"].is_null(), "after kill@{nth}: {repeated}");
            assert!(staging.join(&image).join("lost+found").exists());
        }
        let taken_down = field.in_own_process(&order("unstage", "")).unwrap();
        assert!(
            taken_down["error"].is_null(),
            "after kill@{nth}: {taken_down}"
        );
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
