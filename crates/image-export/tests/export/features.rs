//! Images with the features that change how librbd writes, frees and resizes.

use std::os::unix::fs::FileExt;

use crate::bed::{Bed, Loop, MIB, noise, run};

const ALL: &str = "layering,exclusive-lock,object-map,fast-diff,deep-flatten";

#[test]
fn a_locked_and_mapped_image_keeps_every_promise() {
    let bed = Bed::new();
    bed.image_with("rich", 16, ALL);
    let export = bed.export("rich");
    let device = Loop::on(&export);
    let bytes = noise(1, 16 << 20);
    std::fs::write(&device.device, &bytes).unwrap();
    std::fs::File::open(&device.device)
        .unwrap()
        .sync_all()
        .unwrap();
    assert!(bed.content("rich") == bytes);

    let words = ["--offset", "4194304", "--length", "8388608"].map(AsRef::as_ref);
    run(
        "blkdiscard",
        words.into_iter().chain([device.device.as_os_str()]),
    );
    assert_eq!(bed.data_objects(), 2);

    bed.resize("rich", 24);
    assert_eq!(std::fs::metadata(&export.path).unwrap().len(), 24 * MIB);
    device.detach();
    assert_eq!(export.unmount(), 0);
    let words = ["object-map", "check", "--no-progress"];
    bed.cluster
        .program("rbd")
        .args(words)
        .arg(bed.spec("rich"))
        .ok()
        .unwrap();
    let locks = bed.cluster.rbd(&["lock", "ls", &bed.spec("rich")]).unwrap();
    assert_eq!(locks, "", "the exclusive lock was not given back");
}

#[test]
fn two_writers_pass_the_lock_without_losing_data() {
    let bed = Bed::new();
    bed.image_with("passed", 8, ALL);
    let (first, second) = (bed.export("passed"), bed.export("passed"));
    let (left, right) = (first.open(), second.open());
    for round in 0..4 {
        let offset = round * 2 * 4096;
        left.write_all_at(&noise(round, 4096), offset).unwrap();
        right
            .write_all_at(&noise(round + 100, 4096), offset + 4096)
            .unwrap();
    }
    left.sync_all().unwrap();
    right.sync_all().unwrap();
    drop((left, right));
    let content = bed.content("passed");
    for round in 0..4_u64 {
        let start = usize::try_from(round * 2 * 4096).unwrap();
        assert!(content[start..start + 4096] == noise(round, 4096));
        assert!(content[start + 4096..start + 8192] == noise(round + 100, 4096));
    }
    assert_eq!(first.unmount(), 0);
    assert_eq!(second.unmount(), 0);
}
