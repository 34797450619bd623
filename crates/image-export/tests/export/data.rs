//! What is written through the file is what the image holds.

use std::os::unix::fs::FileExt;

use crate::bed::{Bed, Loop, MIB, noise};

#[test]
fn what_was_synced_is_in_the_image_and_nothing_else() {
    let bed = Bed::new();
    bed.image("data", 24);
    let export = bed.export("data");
    assert_eq!(export.size, 24 * MIB);
    let file = export.open();
    let mut expected = vec![0; 24 << 20];
    // Small and large, aligned and not, across objects and at both ends.
    for (seed, offset, length) in [
        (1, 0, 1),
        (2, 511, 2),
        (3, 4096, 4096),
        (4, 100_000, 300_001),
        (5, (4 << 20) - 7, 14),
        (6, 5 << 20, 9 << 20),
        (7, (24 << 20) - 513, 513),
    ] {
        let bytes = noise(seed, length);
        file.write_all_at(&bytes, u64::try_from(offset).unwrap())
            .unwrap();
        expected[offset..offset + length].copy_from_slice(&bytes);
    }
    file.sync_all().unwrap();
    assert!(bed.content("data") == expected, "Ceph holds something else");

    let mut read = vec![0; expected.len()];
    file.read_exact_at(&mut read, 0).unwrap();
    assert!(read == expected, "the file reads something else");
    drop(file);
    assert_eq!(export.unmount(), 0);
    assert!(
        bed.content("data") == expected,
        "unmounting changed the image"
    );
}

#[test]
fn data_synced_before_a_crash_is_there_after_it() {
    let bed = Bed::new();
    bed.image("crash", 8);
    let export = bed.export("crash");
    let bytes = noise(11, 3 << 20);
    let file = export.open();
    file.write_all_at(&bytes, MIB).unwrap();
    file.sync_data().unwrap();
    drop(file);
    let fenced = export.crash(&bed, "crash");
    let content = bed.content("crash");
    assert!(content[1 << 20..4 << 20] == bytes, "synced data is gone");

    let again = bed.export("crash");
    let mut read = vec![0; bytes.len()];
    again.open().read_exact_at(&mut read, MIB).unwrap();
    assert!(read == bytes, "the new export reads something else");
    assert_eq!(again.unmount(), 0);
    let pardon = ["osd", "blocklist", "rm", &fenced];
    bed.cluster.json(&pardon).unwrap();
}

#[test]
fn a_read_only_export_reads_and_refuses_writes() {
    let bed = Bed::new();
    bed.image("frozen", 8);
    let bytes = noise(21, 100_000);
    let writable = bed.export("frozen");
    writable.open().write_all_at(&bytes, 12_345).unwrap();
    assert_eq!(writable.unmount(), 0);

    let export = bed
        .export_as("frozen", |request| request.read_only = true)
        .unwrap();
    let refused = std::fs::OpenOptions::new()
        .write(true)
        .open(&export.path)
        .unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(libc::EROFS));
    let device = Loop::attach(&export.path, &["--direct-io=on", "--read-only"]);
    let read = std::fs::read(&device.device).unwrap();
    assert!(
        read[12_345..112_345] == bytes,
        "the loop device reads something else"
    );
    let opened = std::fs::OpenOptions::new().write(true).open(&device.device);
    let refused = opened.unwrap().write_at(b"x", 0).unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(libc::EPERM));
    // Not even an empty flush: an image that is only read must stay free for its writer.
    std::fs::File::open(&export.path)
        .unwrap()
        .sync_all()
        .unwrap();
    device.detach();
    assert_eq!(export.unmount(), 0);
}

#[test]
fn two_exports_may_read_one_image() {
    let bed = Bed::new();
    bed.image("shared", 4);
    let read_only = |request: &mut cuttle_image_export::ExportRequest| request.read_only = true;
    let first = bed.export_as("shared", read_only).unwrap();
    let second = bed.export_as("shared", read_only).unwrap();
    assert!(std::fs::read(&first.path).unwrap() == std::fs::read(&second.path).unwrap());
    assert_eq!(first.unmount(), 0);
    assert_eq!(second.unmount(), 0);
}
