//! Only an empty device is formatted; a mkfs that was cut off is finished, on its own image alone.

use std::fs;
use std::io::{Read, Seek, SeekFrom, Write};

use cuttle_model::Class;
use cuttle_node::rbd::StageVolume;
use serde_json::json;

use crate::field::{Field, POOL, filesystem, unstage_request};
use crate::refusals::{disk, refused, told};
use cuttle_model::{Access, chain};

const KEY: &str = "cuttle.mkfs";
const MIB: u64 = 1 << 20;

/// The note that Cuttle makes before a mkfs of this image.
fn note_of(field: &Field, image: &str) -> String {
    let info = field
        .cluster
        .program("rbd")
        .args(["info", "--format", "json", &field.spec(image)]);
    let info = info.ok().unwrap().json().unwrap();
    let fsid = field.cluster.json(&["fsid"]).unwrap();
    let pools = field.cluster.json(&["osd", "lspools"]).unwrap();
    let pools = pools.as_array().unwrap();
    let pool = pools.iter().find(|pool| pool["poolname"] == POOL).unwrap();
    let (fsid, pool, id) = (&fsid["fsid"], &pool["poolnum"], &info["id"]);
    format!("{}/{pool}/{}", fsid.as_str().unwrap(), id.as_str().unwrap())
}

fn set_note(field: &Field, image: &str, note: &str) {
    let words = ["image-meta", "set", &field.spec(image), KEY, note];
    field.cluster.rbd(&words).unwrap();
}

/// The image's metadata under Cuttle's key.
fn noted(field: &Field, image: &str) -> Option<String> {
    let listed = field.cluster.program("rbd").args([
        "image-meta",
        "list",
        "--format",
        "json",
        &field.spec(image),
    ]);
    let listed = listed.ok().unwrap();
    let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap_or_default();
    listed[KEY].as_str().map(str::to_owned)
}

/// Writes into the image, as an application with a raw block device would.
fn scribble(field: &Field, image: &str, at: u64, bytes: &[u8]) {
    let staging = field.staging("scribbling");
    let block = field.stage_request(image, &staging, Access::Block);
    field.node().stage(&block).unwrap();
    let mut device = fs::File::options()
        .write(true)
        .open(staging.join(image))
        .unwrap();
    device.seek(SeekFrom::Start(at)).unwrap();
    device.write_all(bytes).unwrap();
    device.sync_all().unwrap();
    drop(device);
    field.node().unstage(&unstage_request(&block)).unwrap();
}

fn content(field: &Field, image: &str, at: u64, length: usize) -> Vec<u8> {
    let staging = field.staging("reading");
    let block = field.stage_request(image, &staging, Access::Block);
    field.node().stage(&block).unwrap();
    let mut device = fs::File::open(staging.join(image)).unwrap();
    device.seek(SeekFrom::Start(at)).unwrap();
    let mut bytes = vec![0; length];
    device.read_exact(&mut bytes).unwrap();
    drop(device);
    field.node().unstage(&unstage_request(&block)).unwrap();
    bytes
}

fn stage_and_unstage(field: &Field, stage: &StageVolume) {
    let staged = field.node().stage(stage);
    staged.unwrap_or_else(|error| panic!("{}", chain(&error)));
    let place = stage.staging_path.join(stage.id.as_str());
    assert!(place.join("lost+found").exists());
    field.node().unstage(&unstage_request(stage)).unwrap();
}

#[test]
fn a_mkfs_that_was_cut_off_is_finished_also_after_the_image_has_grown() {
    let (field, stage) = disk();
    scribble(&field, "disk", MIB / 2, b"half a table of inodes");
    let note = note_of(&field, "disk");
    set_note(&field, "disk", &note);
    let words = ["resize", "--no-progress", "--size", "64M"];
    let mut words = words.to_vec();
    let spec = field.spec("disk");
    words.push(&spec);
    field.cluster.rbd(&words).unwrap();
    stage_and_unstage(&field, &stage);
    assert_eq!(noted(&field, "disk"), None);
    field.assert_clean_host();
}

#[test]
fn a_mkfs_is_noted_before_it_begins_and_forgotten_when_it_is_done() {
    let (field, stage) = disk();
    for strike in ["host.mkfs", "rados.write"] {
        let order = |faults: &str| {
            json!({
                "operation": "stage", "faults": faults, "within_ms": 60_000, "image": "disk",
                "staging": stage.staging_path, "target": field.target("pod"), "fs_type": "ext4",
            })
        };
        // The second write to the image is the one that takes the note back.
        let nth = if strike == "rados.write" { 2 } else { 1 };
        let killed = field.in_own_process(&order(&format!("kill@{nth}:{strike}")));
        assert_eq!(killed, None, "{strike}");
        assert_eq!(noted(&field, "disk"), Some(note_of(&field, "disk")));
        let repeated = field.in_own_process(&order("")).unwrap();
        assert!(repeated["error"].is_null(), "{strike}: {repeated}");
        assert_eq!(noted(&field, "disk"), None, "{strike}");
        field.node().unstage(&unstage_request(&stage)).unwrap();
        let words = ["rm", "--no-progress", &field.spec("disk")];
        field.cluster.rbd(&words).unwrap();
        field.image("disk", 32);
    }
    field.assert_clean_host();
}

#[test]
fn a_note_about_another_image_is_no_licence() {
    let (field, stage) = disk();
    scribble(&field, "disk", MIB / 2, b"somebody's data");
    // As a copy and a clone have it: librbd takes the metadata along.
    let note = note_of(&field, "disk");
    set_note(&field, "disk", &note);
    let (from, to) = (field.spec("disk"), field.spec("copy"));
    field
        .cluster
        .rbd(&["cp", "--no-progress", &from, &to])
        .unwrap();
    let snapshot = format!("{from}@moment");
    field
        .cluster
        .rbd(&["snap", "create", "--no-progress", &snapshot])
        .unwrap();
    field.cluster.rbd(&["snap", "protect", &snapshot]).unwrap();
    field
        .cluster
        .rbd(&["clone", &snapshot, &field.spec("clone")])
        .unwrap();
    for image in ["copy", "clone"] {
        assert_eq!(noted(&field, image).as_ref(), Some(&note), "{image}");
        let copy = field.stage_request(image, &stage.staging_path, filesystem("ext4"));
        refused(&field, &copy, 1553, Class::Unmet, &["copied from an image"]);
        assert_eq!(content(&field, image, MIB / 2, 15), b"somebody's data");
    }
    let (clone, copy) = (field.spec("clone"), field.spec("copy"));
    field.cluster.rbd(&["rm", "--no-progress", &clone]).unwrap();
    field.cluster.rbd(&["rm", "--no-progress", &copy]).unwrap();
    field
        .cluster
        .rbd(&["snap", "unprotect", &snapshot])
        .unwrap();
    field
        .cluster
        .rbd(&["snap", "purge", "--no-progress", &from])
        .unwrap();
    field.assert_clean_host();
}

#[test]
fn what_a_mkfs_does_not_leave_is_kept_whatever_is_noted() {
    let (field, stage) = disk();
    scribble(&field, "disk", 0, b"a database");
    set_note(&field, "disk", &note_of(&field, "disk"));
    refused(&field, &stage, 1553, Class::Unmet, &["byte 0"]);
    assert_eq!(content(&field, "disk", 0, 10), b"a database");

    // Where only samples of the objects are looked at: refused, and no note is made that would be a
    // licence the next time.
    field.image("middle", 32);
    scribble(&field, "middle", 20 * MIB, b"data in the middle");
    let middle = field.stage_request("middle", &stage.staging_path, filesystem("ext4"));
    for _ in 0..2 {
        let error = field.node().stage(&middle).unwrap_err();
        let (code, class, text) = told(&error);
        assert_eq!((code, class), (1615, Class::Unmet), "{text}");
        assert_eq!(noted(&field, "middle"), None);
    }
    assert_eq!(content(&field, "middle", 20 * MIB, 4), b"data");
    field.assert_clean_host();
}

#[test]
fn a_device_that_is_handed_out_raw_is_not_taken_for_unfinished_any_more() {
    let (field, stage) = disk();
    set_note(&field, "disk", &note_of(&field, "disk"));
    // This stages it as a raw block volume.
    scribble(&field, "disk", MIB / 2, b"an application's data");
    assert_eq!(noted(&field, "disk"), None);
    refused(&field, &stage, 1553, Class::Unmet, &["volumeMode: Block"]);
    assert_eq!(
        content(&field, "disk", MIB / 2, 21),
        b"an application's data"
    );
    field.assert_clean_host();
}
