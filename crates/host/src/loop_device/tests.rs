//! Tests on real loop devices.

use std::fs::File;
use std::io::{Read, Write};
use std::time::{Duration, Instant};

use cuttle_model::ByteSize;

use super::{AttachLoop, Detached};
use crate::fixture::{Disk, MIB, Place, faulty, host, impatient, path};
use crate::{Error, FilesystemKind, Program};

#[test]
fn a_file_becomes_a_device_and_is_found_by_its_path() {
    let (host, disk) = (host(), Disk::new(8 * MIB));
    let device = &disk.device;
    assert_eq!(device.backing_file, disk.file.as_path());
    assert!(!device.read_only && !device.deleted && !device.autoclear && !device.direct_io);
    let about = host.block_device(&device.path).unwrap();
    assert_eq!(
        (about.size, about.number),
        (ByteSize::from_bytes(8 * MIB), device.number)
    );
    assert!(!about.read_only);
    assert_eq!(
        host.find_loops(&disk.file).unwrap(),
        std::slice::from_ref(device)
    );
    assert_eq!(
        host.loop_device(&device.path).unwrap().as_ref(),
        Some(device)
    );
    assert!(host.find_loops(&path("/no/such/file")).unwrap().is_empty());
}

#[test]
fn long_and_odd_paths_are_whole() {
    let (host, place) = (host(), Place::new());
    let long = place.directory(&format!("{} with spaces\tand (deleted)", "x".repeat(150)));
    let file = long.join("disk \\ image").unwrap();
    File::create(&file).unwrap().set_len(MIB).unwrap();
    let wanted = AttachLoop {
        file: &file,
        direct_io: false,
        read_only: false,
    };
    let device = host.attach_loop(&wanted).unwrap();
    let found = host.find_loops(&file);
    let detached = host.detach_loop(&device);
    assert_eq!(found.unwrap(), [device]);
    assert_eq!(detached.unwrap(), Detached::Now);
}

#[test]
fn links_on_the_way_to_the_file_do_not_matter() {
    let (host, disk) = (host(), Disk::new(MIB));
    let via = disk.place.path().join("via").unwrap();
    std::os::unix::fs::symlink(disk.place.path(), &via).unwrap();
    let found = host.find_loops(&via.join("disk").unwrap()).unwrap();
    assert_eq!(found, std::slice::from_ref(&disk.device));
}

#[test]
fn a_read_only_device_refuses_writes() {
    let disk = Disk::attach(MIB, true);
    assert!(disk.device.read_only);
    assert!(host().block_device(&disk.device.path).unwrap().read_only);
    let written = File::options()
        .write(true)
        .open(&disk.device.path)
        .and_then(|mut device| device.write_all(b"data").and_then(|()| device.sync_all()));
    assert!(written.is_err());
}

#[test]
fn direct_io_is_what_the_kernel_says_it_is() {
    let (host, disk) = (host(), Disk::new(MIB));
    let wanted = AttachLoop {
        file: &disk.file,
        direct_io: true,
        read_only: false,
    };
    let second = host.attach_loop(&wanted).unwrap();
    let told = std::fs::read_to_string(format!(
        "/sys/block/{}/loop/dio",
        second.path.file_name().unwrap().display()
    ));
    let detached = host.detach_loop(&second);
    assert_eq!(told.unwrap().trim() == "1", second.direct_io);
    assert_eq!(detached.unwrap(), Detached::Now);
    // The other device over the same file is untouched.
    assert!(host.loop_device(&disk.device.path).unwrap().is_some());
}

#[test]
fn a_device_takes_over_the_new_size_when_told() {
    let (host, disk) = (host(), Disk::new(MIB));
    disk.stretch(3 * MIB);
    let size = || host.block_device(&disk.device.path).unwrap().size.bytes();
    assert_eq!(size(), MIB);
    host.refresh_loop_size(&disk.device).unwrap();
    assert_eq!(size(), 3 * MIB);
}

#[test]
fn data_reaches_the_file_when_flushed() {
    let (host, disk) = (host(), Disk::new(MIB));
    File::options()
        .write(true)
        .open(&disk.device.path)
        .unwrap()
        .write_all(b"data")
        .unwrap();
    host.flush_device(&disk.device.path).unwrap();
    let mut start = [0; 4];
    File::open(&disk.file)
        .unwrap()
        .read_exact(&mut start)
        .unwrap();
    assert_eq!(&start, b"data");
}

#[test]
fn detaching_is_done_once() {
    let (host, disk) = (host(), Disk::new(MIB));
    assert_eq!(host.detach_loop(&disk.device).unwrap(), Detached::Now);
    assert_eq!(host.detach_loop(&disk.device).unwrap(), Detached::Before);
    assert!(host.find_loops(&disk.file).unwrap().is_empty());
}

#[test]
fn a_device_that_serves_another_file_by_now_is_left_alone() {
    let (host, disk) = (host(), Disk::new(MIB));
    let mut stale = disk.device.clone();
    stale.backing_file = "/some/other/file".into();
    assert_eq!(host.detach_loop(&stale).unwrap(), Detached::Before);
    assert_eq!(host.find_loops(&disk.file).unwrap().len(), 1);
}

#[test]
fn an_unlinked_file_is_told() {
    let (host, disk) = (host(), Disk::new(MIB));
    std::fs::remove_file(&disk.file).unwrap();
    let seen = host.loop_device(&disk.device.path).unwrap().unwrap();
    assert!(seen.deleted);
    assert_eq!(seen.backing_file, disk.file.as_path());
}

#[test]
fn a_mounted_device_is_not_detached_and_the_mount_is_named() {
    let disk = Disk::formatted(FilesystemKind::Ext4, 32 * MIB);
    let target = disk.mount("m", "ext4", &[]);
    let error = host().detach_loop(&disk.device).unwrap_err();
    assert!(error.is_busy());
    assert!(
        error.to_string().contains(&format!("mounted on {target}")),
        "{error}"
    );
    // Not even marked for later.
    assert!(
        !host()
            .loop_device(&disk.device.path)
            .unwrap()
            .unwrap()
            .autoclear
    );
}

#[test]
fn a_device_held_open_keeps_its_file() {
    let (impatient, disk) = (impatient(Duration::from_millis(300)), Disk::new(MIB));
    let user = File::open(&disk.device.path).unwrap();
    let started = Instant::now();
    let error = impatient.detach_loop(&disk.device).unwrap_err();
    assert!(matches!(&error, Error::LoopBusy { .. }), "{error}");
    assert!(started.elapsed() < Duration::from_secs(5));
    drop(user);
    // Not even marked for later: the device is as it was.
    let found = host().find_loops(&disk.file).unwrap();
    assert_eq!(found, std::slice::from_ref(&disk.device));
    assert_eq!(host().detach_loop(&disk.device).unwrap(), Detached::Now);
}

#[test]
fn a_device_marked_by_somebody_else_is_told_and_can_be_detached() {
    let (host, disk) = (host(), Disk::new(MIB));
    let user = File::open(&disk.device.path).unwrap();
    let losetup = Program::new("losetup")
        .arg("-d")
        .arg(disk.device.path.as_path());
    let asked = host.run("host.test", &losetup).unwrap();
    assert!(asked.exit.is_success());
    assert!(host.find_loops(&disk.file).unwrap()[0].autoclear);
    drop(user);
    crate::fixture::eventually("the file is let go", || {
        host.find_loops(&disk.file).unwrap().is_empty()
    });
    assert_eq!(host.detach_loop(&disk.device).unwrap(), Detached::Before);
}

#[test]
fn many_may_attach_at_once() {
    let place = Place::new();
    let host = host();
    let devices: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|index| {
                let (host, file) = (&host, place.file(&format!("disk{index}"), &[0; 4096]));
                scope.spawn(move || {
                    host.attach_loop(&AttachLoop {
                        file: &file,
                        direct_io: false,
                        read_only: false,
                    })
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    let mut numbers: Vec<_> = devices
        .iter()
        .flatten()
        .map(|device| device.number)
        .collect();
    numbers.sort();
    numbers.dedup();
    for device in devices.iter().flatten() {
        host.detach_loop(device).unwrap();
    }
    assert_eq!(numbers.len(), 8, "{devices:?}");
}

#[test]
fn what_is_no_device_is_refused() {
    let (host, place) = (host(), Place::new());
    let file = place.file("file", b"");
    for path in [&file, &place.path(), &path("/dev/null")] {
        let error = host.block_device(path).unwrap_err();
        assert!(matches!(error, Error::NotABlockDevice { .. }), "{error}");
        let error = host.flush_device(path).unwrap_err();
        assert!(matches!(error, Error::NotABlockDevice { .. }), "{error}");
    }
    assert!(
        host.block_device(&path("/dev/none"))
            .unwrap_err()
            .is_absent()
    );
    assert_eq!(host.loop_device(&file).unwrap(), None);
    let missing = place.path().join("missing").unwrap();
    let wanted = AttachLoop {
        file: &missing,
        direct_io: false,
        read_only: false,
    };
    assert!(host.attach_loop(&wanted).unwrap_err().is_absent());
}

#[test]
fn a_crash_after_attaching_leaves_a_device_that_is_found() {
    // The second call of an attach looks the new device up; failing it stands for a crash there.
    let (host, _ledger) = faulty("fail@1:host.loop_device=EIO");
    let place = Place::new();
    let file = place.file("disk", &[0; 4096]);
    let wanted = AttachLoop {
        file: &file,
        direct_io: false,
        read_only: false,
    };
    host.attach_loop(&wanted).unwrap_err();
    let found = host.find_loops(&file).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(host.detach_loop(&found[0]).unwrap(), Detached::Now);
}
