//! Many threads at once, and the memory that takes.

use std::os::unix::fs::FileExt;
use std::thread;

use crate::bed::{Bed, MIB, noise};

/// A line of `/proc/<pid>/status` in KiB.
fn kib(pid: u32, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_ascii_whitespace()
        .nth(1)
        .unwrap()
        .parse()
        .unwrap()
}

#[test]
fn threads_that_write_read_and_sync_at_once_do_not_disturb_each_other() {
    const THREADS: u64 = 12;
    const REGION: u64 = 4 * MIB + 4096;
    let bed = Bed::new();
    bed.image("busy", 64);
    let export = bed.export("busy");
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let export = &export;
            scope.spawn(move || {
                let file = export.open();
                let start = thread * REGION;
                for round in 0..12 {
                    // Pieces from a few bytes to over one request, in an order of their own.
                    let piece = [100, 4096, 65_536, 3 << 19, 70_000, 511][round % 6];
                    let bytes = noise(thread * 100 + u64::try_from(round).unwrap(), piece);
                    let room = REGION - u64::try_from(piece).unwrap();
                    let offset = start + (u64::from(bytes[0]) * 16_411 + thread) % room;
                    file.write_all_at(&bytes, offset).unwrap();
                    if round % 3 == 0 {
                        file.sync_data().unwrap();
                    }
                    let mut read = vec![0; piece];
                    file.read_exact_at(&mut read, offset).unwrap();
                    assert!(read == bytes, "thread {thread}, round {round}");
                }
                let last = noise(thread, usize::try_from(REGION).unwrap());
                file.write_all_at(&last, start).unwrap();
            });
        }
    });
    let peak = kib(export.pid(), "VmHWM");
    assert!(peak < 200 << 10, "the export needed {peak} KiB");
    assert_eq!(export.unmount(), 0);
    let content = bed.content("busy");
    for thread in 0..THREADS {
        let start = usize::try_from(thread * REGION).unwrap();
        let expected = noise(thread, usize::try_from(REGION).unwrap());
        assert!(
            content[start..start + expected.len()] == expected,
            "region of thread {thread}"
        );
    }
}

#[test]
fn an_idle_export_is_small() {
    let bed = Bed::new();
    bed.image("idle", 4);
    let export = bed.export("idle");
    let resident = kib(export.pid(), "VmRSS");
    assert!(resident < 60 << 10, "an idle export needs {resident} KiB");
    assert_eq!(export.unmount(), 0);
}
