//! Discards and zeroes: space is given back, and what was given back reads as zeroes.

use std::fs::File;
use std::os::unix::fs::FileExt;

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

use crate::bed::{Bed, Loop, MIB, Mounted, noise, run};

fn blkdiscard(device: &Loop, options: &[&str], offset: u64, length: u64) {
    let range = [
        "--offset",
        &offset.to_string(),
        "--length",
        &length.to_string(),
    ];
    let words = options.iter().chain(&range).map(AsRef::as_ref);
    run("blkdiscard", words.chain([device.device.as_os_str()]));
}

fn all_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

#[test]
fn a_discard_frees_objects_and_reads_zero() {
    for options in [[].as_slice(), &["--zeroout"]] {
        let bed = Bed::new();
        bed.image("holes", 32);
        let export = bed.export("holes");
        let device = Loop::on(&export);
        let bytes = noise(1, 32 << 20);
        std::fs::write(&device.device, &bytes).unwrap();
        File::open(&device.device).unwrap().sync_all().unwrap();
        assert_eq!(bed.data_objects(), 8);

        // Two whole objects, and parts of their neighbours.
        blkdiscard(&device, options, 3 * MIB, 10 * MIB);
        assert_eq!(bed.data_objects(), 6, "{options:?}");
        let content = bed.content("holes");
        assert!(all_zero(&content[3 << 20..13 << 20]), "{options:?}");
        assert!(content[..3 << 20] == bytes[..3 << 20], "{options:?}");
        assert!(content[13 << 20..] == bytes[13 << 20..], "{options:?}");

        blkdiscard(&device, options, 0, 32 * MIB);
        assert_eq!(bed.data_objects(), 0, "{options:?}");
        assert!(
            all_zero(&std::fs::read(&device.device).unwrap()),
            "{options:?}"
        );
        device.detach();
        assert_eq!(export.unmount(), 0);
    }
}

#[test]
fn a_discard_larger_than_one_step_of_librbd_zeroes_everything() {
    let bed = Bed::new();
    bed.image("wide", 1024);
    let export = bed.export("wide");
    let file = export.open();
    // One byte in the first and last object of each step of 256 MiB.
    let marks = [
        0,
        256 * MIB - 1,
        256 * MIB,
        512 * MIB - 1,
        512 * MIB,
        1000 * MIB - 1,
    ];
    for offset in marks {
        file.write_all_at(b"x", offset).unwrap();
    }
    assert_eq!(bed.data_objects(), 6);
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    fallocate(&file, flags, 100, 1000 * MIB).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, 0).unwrap();
    assert_eq!(byte, *b"x");
    for offset in marks.into_iter().skip(1) {
        file.read_exact_at(&mut byte, offset).unwrap();
        assert_eq!(byte, [0], "at {offset}");
    }
    drop(file);
    assert_eq!(export.unmount(), 0);
    assert_eq!(bed.data_objects(), 1);
}

#[test]
fn only_holes_and_zeroes_can_be_allocated() {
    let bed = Bed::new();
    bed.image("modes", 4);
    let export = bed.export("modes");
    let file = export.open();
    let keep = FallocateFlags::KEEP_SIZE;
    for flags in [
        FallocateFlags::empty(),
        keep,
        FallocateFlags::ZERO_RANGE,
        FallocateFlags::COLLAPSE_RANGE,
        FallocateFlags::INSERT_RANGE,
    ] {
        let refused = fallocate(&file, flags, 0, MIB).unwrap_err();
        assert_eq!(refused, Errno::OPNOTSUPP, "{flags:?}");
    }
    let punch = keep | FallocateFlags::PUNCH_HOLE;
    let zero = keep | FallocateFlags::ZERO_RANGE;
    fallocate(&file, punch, 3 * MIB, 100 * MIB).unwrap();
    fallocate(&file, punch, 100 * MIB, MIB).unwrap();
    fallocate(&file, zero, 3 * MIB, MIB).unwrap();
    assert_eq!(
        fallocate(&file, zero, 3 * MIB, MIB + 1).unwrap_err(),
        Errno::NOSPC
    );
    drop(file);
    assert_eq!(export.unmount(), 0);
}

#[test]
fn trimming_a_file_system_frees_objects() {
    let bed = Bed::new();
    bed.image("trim", 96);
    let export = bed.export("trim");
    let device = Loop::on(&export);
    run("mkfs.ext4", ["-q".as_ref(), device.device.as_os_str()]);
    let mounted = Mounted::at(&device.device, "defaults");
    let empty = bed.data_objects();
    std::fs::write(mounted.file("large"), noise(1, 40 << 20)).unwrap();
    File::open(mounted.file("large"))
        .unwrap()
        .sync_all()
        .unwrap();
    let full = bed.data_objects();
    assert!(full >= empty + 9, "{empty} {full}");
    std::fs::remove_file(mounted.file("large")).unwrap();
    run(
        "sync",
        ["--file-system".as_ref(), mounted.dir.path().as_os_str()],
    );
    run("fstrim", [mounted.dir.path()]);
    let trimmed = bed.data_objects();
    // Not all ten: the file system keeps tables of its own between the file's blocks.
    assert!(trimmed + 5 <= full, "{full} {trimmed}");
    mounted.unmount();
    device.detach();
    assert_eq!(export.unmount(), 0);
}
