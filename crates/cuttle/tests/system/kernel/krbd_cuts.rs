//! The driver is killed, and calls fail, while the kernel's RBD client is at work: no mapping is
//! lost or left.
//!
//! Every call of staging and unstaging is tried with `mounter: fuse`, where a round costs a tenth.
//! Here are those where this client differs: from the mapping, of which nobody has a note yet, to
//! the note; the first call after it; the end; and the unmapping with what follows it. Between the
//! mapping and its note the driver only reads sysfs, so that the first of these reads and the note
//! itself, with everything read and nothing written, stand for all of them.

use serde_json::Value;

use super::volume::{Volume, world};
use crate::calls::{MIB, mount_capability};
use crate::world::Running;

/// The driver's outside calls so far, in order.
fn calls(driver: &Running) -> Vec<String> {
    let log = driver.driver.log_text();
    log.lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|event| event["target"] == "cuttle::door")
        .filter_map(|event| Some(event["fields"]["call"].as_str()?.to_owned()))
        .collect()
}

/// The calls of a driver that did only this: those before the work, and all.
fn calls_of(name: &str, work: impl FnOnce(&Running)) -> (usize, Vec<String>) {
    let driver = world().start_named(name, &[]);
    let before = calls(&driver).len();
    work(&driver);
    (before, calls(&driver))
}

/// Strikes the call at this place of the list: by its name, and which of that name it is.
fn at(calls: &[String], place: usize) -> String {
    let name = &calls[place];
    let nth = calls[..=place].iter().filter(|call| *call == name).count();
    format!("@{nth}:{name}")
}

fn place_of(calls: &[String], from: usize, name: &str) -> usize {
    let found = calls[from..].iter().position(|call| call == name);
    from + found.unwrap_or_else(|| panic!("no {name} in {:?}", &calls[from..]))
}

/// A driver with this fault.
fn doomed(fault: &str) -> Running {
    world().start_named("doomed", &[&format!("--inject-fault={fault}")])
}

fn assert_gone(volume: &Volume<'_>, after: &str) {
    volume.assert_unmapped();
    let left: Vec<_> = std::fs::read_dir(&volume.staging).unwrap().collect();
    assert!(left.is_empty(), "after {after}: {left:?}");
}

#[test]
fn a_stage_and_an_unstage_that_are_cut_off_leave_no_mapping() {
    let driver = world().start_named("driver", &[]);
    let capability = mount_capability("ext4");
    let krbd = [("mounter", "rbd")];
    let volume = Volume::create(&driver, "krbd-cuts", 64 * MIB, capability, &krbd);
    let file = volume.staging.join(&volume.volume.volume_id).join("file");
    // Formatting is another test's matter.
    volume.stage(&driver).expect("a staging");
    std::fs::write(&file, "kept").unwrap();
    volume.unstage(&driver).expect("its end");

    let (begun, staging) = calls_of("staging", |on| volume.stage(on).expect("a staging"));
    let (end_begun, ending) = calls_of("ending", |on| volume.unstage(on).expect("its end"));

    let mapping = place_of(&staging, begun, "host.rbd_add");
    let note = place_of(&staging, mapping, "host.write");
    for place in [mapping + 1, note, note + 1, staging.len() - 1] {
        let fault = format!("kill{}", at(&staging, place));
        for repeats in [true, false] {
            let mut cut = doomed(&fault);
            let first = volume.stage(&cut);
            assert!(cut.was_killed(&first), "{fault} did not strike");
            if repeats {
                let staged = volume.stage(&driver);
                staged.unwrap_or_else(|status| panic!("repeat after {fault}: {status}"));
                // One mapping, not the lost one and another.
                volume.mapping();
                assert_eq!(std::fs::read_to_string(&file).unwrap(), "kept", "{fault}");
            }
            let unstaged = volume.unstage(&driver);
            unstaged.unwrap_or_else(|status| panic!("unstage after {fault}: {status}"));
            assert_gone(&volume, &fault);
        }
    }
    // A call that fails is undone by the stage itself, or by the unstage that must follow.
    for place in [mapping + 1, note] {
        let fault = format!("fail{}=EIO", at(&staging, place));
        let failing = doomed(&fault);
        let status = volume.stage(&failing).expect_err(&fault);
        assert!(status.message().contains("EIO"), "{fault}: {status}");
        let unstaged = volume.unstage(&driver);
        unstaged.unwrap_or_else(|status| panic!("unstage after {fault}: {status}"));
        assert_gone(&volume, &fault);
    }

    for name in ["host.rbd_remove", "host.unlink"] {
        let fault = format!("kill{}", at(&ending, place_of(&ending, end_begun, name)));
        volume.stage(&driver).expect("a staging");
        let mut cut = doomed(&fault);
        let first = volume.unstage(&cut);
        assert!(cut.was_killed(&first), "{fault} did not strike");
        let unstaged = volume.unstage(&driver);
        unstaged.unwrap_or_else(|status| panic!("repeat after {fault}: {status}"));
        assert_gone(&volume, &fault);
    }
    volume.delete(&driver);
    world().assert_host_clean(&[&driver], "after what was cut off");
}
