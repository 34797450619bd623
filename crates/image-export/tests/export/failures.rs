//! What the export says when it cannot start and when the cluster turns it away.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::FileExt;
use std::time::Duration;

use cuttle_image_export::{Answer, ExitStatus, ExportRequest, parse_ready_line};
use cuttle_model::{Monitors, Secret};

use crate::bed::{Bed, Loop, Mounted, run, spawn};

fn refused(bed: &Bed, image: &str, change: impl FnOnce(&mut ExportRequest)) -> (i32, String) {
    let Err(refusal) = bed.export_as(image, change) else {
        panic!("the export started");
    };
    (refusal.errno, refusal.text)
}

#[test]
fn an_export_that_cannot_start_says_why_and_leaves_nothing() {
    let bed = Bed::new();
    bed.image("there", 4);
    let (errno, text) = refused(&bed, "gone", |_| {});
    assert_eq!(errno, libc::ENOENT, "{text}");
    assert!(text.contains(&bed.spec("gone")), "{text}");

    let wrong_key = "AQDxxxxxAAAAABAAxxxxxxxxxxxxxxxxxxxxxx==";
    let (errno, text) = refused(&bed, "there", |request| {
        request.credentials.key = Secret::new(wrong_key.to_owned());
    });
    assert!(
        [libc::EACCES, libc::EPERM].contains(&errno),
        "{errno} {text}"
    );
    assert!(!text.contains(wrong_key), "{text}");

    let (errno, text) = refused(&bed, "there", |request| {
        request.mountpoint = request.mountpoint.with_file_name("absent");
    });
    assert_eq!(errno, libc::ENOENT, "{text}");
    let (errno, text) = refused(&bed, "there", |request| {
        request.mountpoint.pop();
    });
    assert_eq!(errno, libc::EINVAL, "{text}");
    assert!(text.contains("not a regular file"), "{text}");
    let (errno, text) = refused(&bed, "there", |request| {
        let link = request.mountpoint.with_file_name("link");
        std::os::unix::fs::symlink(&request.mountpoint, &link).unwrap();
        request.mountpoint = link;
    });
    assert_eq!(errno, libc::EINVAL, "{text}");
    assert_eq!(bed.watchers("there"), [""; 0]);
}

#[test]
fn an_unreachable_cluster_is_given_up_in_time() {
    let bed = Bed::new();
    let began = std::time::Instant::now();
    let (errno, text) = refused(&bed, "any", |request| {
        // An address for documentation (RFC 5737): nobody answers there.
        request.monitors = Monitors::new(vec!["v2:192.0.2.1:3300".to_owned()]).unwrap();
        request.start_within = Duration::from_secs(2);
    });
    assert_eq!(errno, libc::ETIMEDOUT, "{text}");
    assert!(
        began.elapsed() < Duration::from_secs(20),
        "{:?}",
        began.elapsed()
    );
}

#[test]
fn a_malformed_request_is_refused_without_repeating_it() {
    for line in [
        "",
        "{}\n",
        "{\"key\": \"AQBmarker\", \"x\": 1}\n",
        "\u{1}\n",
    ] {
        let mut child = spawn();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(line.as_bytes())
            .unwrap();
        let mut answer = String::new();
        child
            .stdout
            .take()
            .unwrap()
            .read_to_string(&mut answer)
            .unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(1));
        assert!(!answer.contains("marker"), "{answer}");
        let Answer::Refused(refusal) = parse_ready_line(&answer).unwrap() else {
            panic!("{answer}");
        };
        assert_eq!(refusal.errno, libc::EINVAL);
        assert!(refusal.text.starts_with("CUTTLE-1801"), "{answer}");
    }
}

#[test]
fn a_starter_that_went_away_leaves_no_export() {
    let bed = Bed::new();
    bed.image("orphan", 4);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("image");
    std::fs::File::create(&path).unwrap();
    let mut child = spawn();
    drop(child.stdout.take());
    let line = bed.request("orphan", &path).to_json_line().unwrap();
    child.stdin.take().unwrap().write_all(&line).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert!(!crate::bed::is_mount_point(&path));
    assert_eq!(bed.watchers("orphan"), [""; 0]);
}

/// Fences the export off, as the cluster does with a client whose lock was broken.
struct Fence<'a> {
    bed: &'a Bed,
    address: String,
}

impl<'a> Fence<'a> {
    fn raise(bed: &'a Bed, image: &str) -> Self {
        let address = bed.watchers(image).pop().unwrap();
        bed.cluster
            .json(&["osd", "blocklist", "add", &address])
            .unwrap();
        Self { bed, address }
    }
}

impl Drop for Fence<'_> {
    fn drop(&mut self) {
        self.bed
            .cluster
            .json(&["osd", "blocklist", "rm", &self.address])
            .unwrap();
    }
}

#[test]
fn a_fenced_export_fails_writes_and_syncs() {
    let bed = Bed::new();
    bed.image("fenced", 8);
    let export = bed.export("fenced");
    let file = export.open();
    file.write_all_at(b"before", 0).unwrap();
    file.sync_all().unwrap();
    let fence = Fence::raise(&bed, "fenced");
    let written = file.write_all_at(b"after!", 4096).unwrap_err();
    assert_eq!(written.raw_os_error(), Some(libc::ESHUTDOWN));
    let read = file.read_at(&mut [0; 6], 0).unwrap_err();
    assert_eq!(read.raw_os_error(), Some(libc::ESHUTDOWN));
    drop(file);
    // The export answers first and logs then.
    cuttle_testbed::until("the refusal is logged", Duration::from_secs(10), || {
        let log = export.log();
        if log.contains("the image did not serve a request") {
            Ok(())
        } else {
            Err(log)
        }
    })
    .unwrap();
    let content = bed.content("fenced");
    assert_eq!(&content[..6], b"before");
    assert_eq!(&content[4096..4102], [0; 6]);
    assert_eq!(export.unmount(), i32::from(ExitStatus::Refused.code()));
    drop(fence);
}

#[test]
fn an_fsync_on_the_file_system_of_a_fenced_export_fails() {
    let bed = Bed::new();
    bed.image("dirty", 64);
    let export = bed.export("dirty");
    let device = Loop::on(&export);
    run("mkfs.ext4", ["-q".as_ref(), device.device.as_os_str()]);
    let mounted = Mounted::at(&device.device, "errors=remount-ro");
    let mut file = std::fs::File::create(mounted.file("data")).unwrap();
    file.write_all(&[1; 100_000]).unwrap();
    file.sync_all().unwrap();
    let fence = Fence::raise(&bed, "dirty");
    // The page cache takes it; only the sync can tell.
    file.write_all(&[2; 100_000]).unwrap();
    let synced = file.sync_all().unwrap_err();
    assert_eq!(synced.raw_os_error(), Some(libc::EIO));
    drop(file);
    mounted.unmount();
    device.detach();
    assert_eq!(export.unmount(), i32::from(ExitStatus::Refused.code()));
    drop(fence);
}

#[test]
fn the_first_line_is_the_only_one() {
    let bed = Bed::new();
    bed.image("brief", 4);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("image");
    std::fs::File::create(&path).unwrap();
    let mut child = spawn();
    let line = bed.request("brief", &path).to_json_line().unwrap();
    child.stdin.take().unwrap().write_all(&line).unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut answer = String::new();
    stdout.read_line(&mut answer).unwrap();
    let Ok(Answer::Ready {
        size,
        client,
        locked,
    }) = parse_ready_line(&answer)
    else {
        panic!("{answer:?}");
    };
    assert_eq!((size.bytes(), client > 0), (4 << 20, true), "{answer:?}");
    assert!(!locked, "{answer:?}");
    // The process lets go of the pipe while it serves.
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "");
    assert!(crate::bed::is_mount_point(&path));
    rustix::mount::unmount(&path, rustix::mount::UnmountFlags::empty()).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_failed_flush_reaches_the_callers_fsync() {
    let bed = Bed::new();
    bed.image("flush", 4);
    for (faults, errno) in [
        ("fail@2:rbd.aio_flush=EIO", libc::EIO),
        ("fail@2:rbd.aio_flush=ENOSPC", libc::ENOSPC),
    ] {
        let export = bed.export_with("flush", faults);
        let file = export.open();
        file.write_all_at(b"data", 0).unwrap();
        file.sync_all().unwrap();
        let failed = file.sync_data().unwrap_err();
        assert_eq!(failed.raw_os_error(), Some(errno));
        file.sync_all().unwrap();
        drop(file);
        assert_eq!(export.unmount(), i32::from(ExitStatus::Refused.code()));
    }
}

#[test]
fn a_failed_flush_reaches_an_fsync_on_the_file_system() {
    let bed = Bed::new();
    bed.image("journal", 64);
    let export = bed.export("journal");
    let device = Loop::on(&export);
    run("mkfs.ext4", ["-q".as_ref(), device.device.as_os_str()]);
    device.detach();
    assert_eq!(export.unmount(), 0);

    // Mounting may flush a few times; from then on every flush fails.
    let faults: Vec<String> = (6..60)
        .map(|n| format!("fail@{n}:rbd.aio_flush=EIO"))
        .collect();
    let export = bed.export_with("journal", &faults.join(","));
    let device = Loop::on(&export);
    let mounted = Mounted::at(&device.device, "errors=continue");
    let mut file = std::fs::File::create(mounted.file("data")).unwrap();
    let synced = (0..10).try_for_each(|_| {
        file.write_all(&[1; 1000])?;
        file.sync_all()
    });
    assert_eq!(synced.unwrap_err().raw_os_error(), Some(libc::EIO));
    drop(file);
    mounted.unmount();
    device.detach();
    assert_eq!(export.unmount(), i32::from(ExitStatus::Refused.code()));
}

#[test]
fn a_last_flush_that_fails_is_told_by_the_exit_code() {
    let bed = Bed::new();
    bed.image("last", 4);
    let export = bed.export_with("last", "fail@1:rbd.flush=EIO");
    let log = export.dir().join("log");
    let kept = tempfile::tempdir().unwrap();
    let copy = kept.path().join("log");
    std::fs::hard_link(&log, &copy).unwrap();
    assert_eq!(export.unmount(), i32::from(ExitStatus::NotFlushed.code()));
    let log = std::fs::read_to_string(copy).unwrap();
    assert!(log.contains("CUTTLE-1807"), "{log}");
}

#[test]
fn a_single_failed_write_fails_that_write_alone() {
    let bed = Bed::new();
    bed.image("single", 4);
    let export = bed.export_with(
        "single",
        "fail@2:rbd.aio_write=EIO,fail@1:rbd.aio_write_zeroes=EIO",
    );
    let file = export.open();
    file.write_all_at(b"first", 0).unwrap();
    let failed = file.write_all_at(b"second", 0).unwrap_err();
    assert_eq!(failed.raw_os_error(), Some(libc::EIO));
    let keep = rustix::fs::FallocateFlags::KEEP_SIZE;
    let punch = keep | rustix::fs::FallocateFlags::PUNCH_HOLE;
    let failed = rustix::fs::fallocate(&file, punch, 0, 4096).unwrap_err();
    assert_eq!(failed, rustix::io::Errno::IO);
    let mut read = [0; 5];
    file.read_exact_at(&mut read, 0).unwrap();
    assert_eq!(&read, b"first");
    drop(file);
    assert_eq!(export.unmount(), i32::from(ExitStatus::Refused.code()));
}
