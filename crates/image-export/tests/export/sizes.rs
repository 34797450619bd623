//! The file has the image's size, always, and ends where the image ends.

use std::os::unix::fs::FileExt;

use cuttle_testbed::until;

use crate::bed::{Bed, Loop, MIB, PATIENCE, noise, run};

#[test]
fn an_online_resize_is_seen_by_file_and_loop_device() {
    let bed = Bed::new();
    bed.image("growing", 8);
    let export = bed.export("growing");
    let device = Loop::on(&export);
    assert_eq!(device.size(), 8 * MIB);
    bed.resize("growing", 20);
    // The image's clients are told before `rbd resize` ends: no waiting here.
    assert_eq!(std::fs::metadata(&export.path).unwrap().len(), 20 * MIB);
    run("losetup", ["-c".as_ref(), device.device.as_os_str()]);
    assert_eq!(device.size(), 20 * MIB);

    let bytes = noise(1, 1 << 20);
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(&device.device)
        .unwrap();
    file.write_all_at(&bytes, 19 * MIB).unwrap();
    file.sync_all().unwrap();
    drop(file);
    assert!(bed.content("growing")[19 << 20..] == bytes);
    device.detach();
    assert_eq!(export.unmount(), 0);
}

#[test]
fn a_resize_is_noticed_without_being_asked() {
    let bed = Bed::new();
    bed.image("told", 4);
    let export = bed.export("told");
    bed.resize("told", 8);
    // Nobody touches the file here: the log shows that the notification itself arrived.
    until("the export logs the new size", PATIENCE, || {
        let log = export.log();
        if log.contains("the image has a new size") {
            Ok(())
        } else {
            Err(log)
        }
    })
    .unwrap();
    assert_eq!(export.unmount(), 0);
}

#[test]
fn a_shrunk_image_ends_earlier() {
    let bed = Bed::new();
    bed.image("shrinking", 8);
    let export = bed.export("shrinking");
    let words = ["resize", "--no-progress", "--allow-shrink", "--size", "4M"];
    let spec = bed.spec("shrinking");
    bed.cluster
        .program("rbd")
        .args(words)
        .arg(&spec)
        .ok()
        .unwrap();
    let file = export.open();
    assert_eq!(file.metadata().unwrap().len(), 4 * MIB);
    assert_eq!(file.read_at(&mut [0; 10], 4 * MIB).unwrap(), 0);
    let refused = file.write_at(b"x", 4 * MIB).unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(libc::ENOSPC));
    drop(file);
    assert_eq!(export.unmount(), 0);
}

#[test]
fn reads_and_writes_end_at_the_images_end() {
    let bed = Bed::new();
    bed.image("end", 4);
    let export = bed.export("end");
    let file = export.open();
    let end = 4 * MIB;
    assert_eq!(file.read_at(&mut [0; 100], end - 10).unwrap(), 10);
    assert_eq!(file.read_at(&mut [0; 100], end).unwrap(), 0);
    assert_eq!(file.read_at(&mut [0; 100], end + 4096).unwrap(), 0);
    // As on a block device: what fits is written, then there is no space.
    assert_eq!(file.write_at(&[7; 100], end - 10).unwrap(), 10);
    for offset in [end, end + 1, 1 << 50] {
        let refused = file.write_at(&[7; 100], offset).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::ENOSPC), "at {offset}");
    }
    assert_eq!(file.metadata().unwrap().len(), end);
    drop(file);
    assert_eq!(export.unmount(), 0);
    assert_eq!(
        bed.content("end")[(4 << 20) - 11..],
        [0, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7]
    );
}

#[test]
fn the_file_can_be_neither_truncated_nor_replaced() {
    let bed = Bed::new();
    bed.image("fixed", 4);
    let export = bed.export("fixed");
    let file = export.open();
    for size in [0, 5 * MIB] {
        let refused = file.set_len(size).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::EPERM));
    }
    // To the size it has: nothing to do.
    file.set_len(4 * MIB).unwrap();
    let refused = std::fs::remove_file(&export.path).unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(libc::EBUSY));
    drop(file);
    let truncating = std::fs::OpenOptions::new()
        .write(true)
        .truncate(true)
        .open(&export.path);
    assert_eq!(truncating.unwrap_err().raw_os_error(), Some(libc::EPERM));
    assert_eq!(export.unmount(), 0);
}
