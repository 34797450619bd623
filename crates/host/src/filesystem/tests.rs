//! Tests of file systems on real devices.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use cuttle_door::{Doors, FaultPlan};
use cuttle_model::ByteSize;

use super::{Check, FilesystemKind, Growth, MakeFilesystem, Probe};
use crate::fixture::{Disk, MIB, Place, faulty, host, impatient, path};
use crate::{AbsolutePath, Capability, Error, Host, Limits, Program};

const XFS: u64 = 320 * MIB;
const EXT: u64 = 64 * MIB;

fn size_for(kind: FilesystemKind) -> u64 {
    if kind == FilesystemKind::Xfs {
        XFS
    } else {
        EXT
    }
}

fn make(host: &Host, device: &AbsolutePath, kind: FilesystemKind) -> Result<(), Error> {
    host.make_filesystem(&MakeFilesystem {
        device,
        kind,
        options: None,
    })
}

fn has_kind(probe: &Probe, wanted: FilesystemKind) -> bool {
    matches!(probe, Probe::Filesystem { kind, .. } if kind == wanted.name())
}

/// Runs `debugfs -w`, which edits an ext file system by hand.
fn debugfs(disk: &Disk, request: &str) {
    let program = Program::new("debugfs")
        .args(["-w", "-R", request])
        .arg(disk.device.path.as_path());
    host()
        .run("host.test", &program)
        .unwrap()
        .expect_success("debugfs")
        .unwrap();
}

#[test]
fn every_kind_is_made_found_mounted_and_used() {
    let host = host();
    for kind in FilesystemKind::ALL {
        let disk = Disk::new(size_for(kind));
        let device = &disk.device.path;
        assert_eq!(host.probe(device).unwrap(), Probe::Empty);
        make(&host, device, kind).unwrap();
        assert!(has_kind(&host.probe(device).unwrap(), kind), "{kind:?}");
        assert_eq!(
            host.check_filesystem(device, kind.name()).unwrap(),
            Check::Sound
        );
        let target = disk.mount("m", kind.name(), &[]);
        std::fs::write(target.join("file").unwrap(), b"content").unwrap();
        assert_eq!(
            host.check_filesystem(device, kind.name()).unwrap(),
            Check::Skipped
        );
        host.unmount(&target).unwrap();
        // No trace of the mark is left in the room of the file system.
        assert!(!host.survey(device).unwrap().marked);
    }
}

#[test]
fn options_replace_the_usual_ones_and_labels_are_told() {
    let (host, disk) = (host(), Disk::new(EXT));
    let options = [
        "-L".to_owned(),
        "my label".to_owned(),
        "-N".to_owned(),
        "64".to_owned(),
    ];
    let device = &disk.device.path;
    let kind = FilesystemKind::Ext4;
    host.make_filesystem(&MakeFilesystem {
        device,
        kind,
        options: Some(&options),
    })
    .unwrap();
    let Probe::Filesystem { label, .. } = host.probe(device).unwrap() else {
        panic!("no file system");
    };
    assert_eq!(label.as_deref(), Some("my label"));
    assert_eq!(
        host.usage(&disk.mount("m", "ext4", &[])).unwrap().inodes,
        64
    );
}

#[test]
fn one_byte_anywhere_that_is_looked_at_stops_mkfs() {
    let host = host();
    let size = 160 * MIB;
    for at in [
        0,
        511,
        1080,
        MIB - 1,
        8 * MIB + 1024,
        32 * MIB,
        64 * MIB,
        128 * MIB,
        size - MIB,
        size - 1,
    ] {
        let disk = Disk::new(size);
        disk.scribble(at, b"d");
        let Probe::Unknown { found } = host.probe(&disk.device.path).unwrap() else {
            panic!("byte {at} was overlooked");
        };
        assert!(found.ends_with(&format!("at byte {at}")), "{found}");
        let error = make(&host, &disk.device.path, FilesystemKind::Ext4).unwrap_err();
        assert!(matches!(error, Error::NotEmpty { .. }), "{error}");
        let mut byte = [0];
        File::open(&disk.file)
            .unwrap()
            .read_exact_at(&mut byte, at)
            .unwrap();
        assert_eq!(&byte, b"d");
    }
}

#[test]
fn partition_tables_and_foreign_signatures_are_recognised() {
    let host = host();
    let disk = Disk::new(EXT);
    let mut table = [0; 66];
    table[4] = 0x83;
    table[8..12].copy_from_slice(&2048_u32.to_le_bytes());
    table[12..16].copy_from_slice(&4096_u32.to_le_bytes());
    table[64..].copy_from_slice(&[0x55, 0xAA]);
    disk.scribble(446, &table);
    let kind = "dos".to_owned();
    assert_eq!(
        host.probe(&disk.device.path).unwrap(),
        Probe::PartitionTable { kind }
    );

    let disk = Disk::new(EXT);
    let program = Program::new("mkswap").arg(disk.device.path.as_path());
    host.run("host.test", &program)
        .unwrap()
        .expect_success("mkswap")
        .unwrap();
    let (kind, usage) = ("swap".to_owned(), "other".to_owned());
    assert_eq!(
        host.probe(&disk.device.path).unwrap(),
        Probe::Signature { kind, usage }
    );
    let error = make(&host, &disk.device.path, FilesystemKind::Xfs).unwrap_err();
    assert!(
        error.to_string().contains("swap, used for other"),
        "{error}"
    );
}

#[test]
fn a_made_or_mounted_file_system_is_never_formatted() {
    let host = host();
    let disk = Disk::formatted(FilesystemKind::Ext4, EXT);
    let target = disk.mount("m", "ext4", &[]);
    std::fs::write(target.join("file").unwrap(), b"content").unwrap();
    let error = make(&host, &disk.device.path, FilesystemKind::Ext4).unwrap_err();
    assert!(error.to_string().contains("mounted on"), "{error}");
    host.unmount(&target).unwrap();
    let error = make(&host, &disk.device.path, FilesystemKind::Xfs).unwrap_err();
    assert!(error.to_string().contains("file system ext4"), "{error}");
    let again = disk.mount("again", "ext4", &[]);
    assert_eq!(
        std::fs::read(again.join("file").unwrap()).unwrap(),
        b"content"
    );
}

#[test]
fn what_cannot_be_read_is_an_error_and_not_empty() {
    let place = Place::new();
    let file = place.file("file", &[0; 4096]);
    assert!(matches!(
        host().probe(&file),
        Err(Error::NotABlockDevice { .. })
    ));
    assert!(host().probe(&path("/dev/none")).unwrap_err().is_absent());
    let disk = Disk::new(EXT);
    for plan in ["fail@1:host.survey=EIO", "fail@1:host.blkid=EIO"] {
        let (host, _ledger) = faulty(plan);
        assert!(host.probe(&disk.device.path).is_err(), "{plan}");
        let (host, _ledger) = faulty(plan);
        assert!(
            make(&host, &disk.device.path, FilesystemKind::Ext4).is_err(),
            "{plan}"
        );
        assert_eq!(host.probe(&disk.device.path).unwrap(), Probe::Empty);
    }
    // The file behind the device is cut short: its end cannot be read any more.
    disk.stretch(MIB);
    let error = host().probe(&disk.device.path).unwrap_err();
    assert!(error.to_string().contains("EIO"), "{error}");
}

#[test]
fn a_mkfs_cut_off_at_any_call_is_finished_by_the_next() {
    for kind in [FilesystemKind::Ext4, FilesystemKind::Xfs] {
        let mut cut = 0;
        for nth in 1.. {
            let disk = Disk::new(size_for(kind));
            let (host, _ledger) = faulty(&format!("fail@{nth}=EIO"));
            if make(&host, &disk.device.path, kind).is_ok() {
                break;
            }
            cut += 1;
            finish(&disk.device.path, kind);
        }
        assert!(cut >= 7, "only {cut} calls were cut off");
    }
}

/// What the node does after a crash: look again, and go on from what is found.
fn finish(device: &AbsolutePath, kind: FilesystemKind) {
    let host = host();
    match host.probe(device).unwrap() {
        Probe::Empty | Probe::Unfinished => make(&host, device, kind).unwrap(),
        found @ (Probe::Filesystem { .. }
        | Probe::PartitionTable { .. }
        | Probe::Signature { .. }
        | Probe::Unknown { .. }) => assert!(has_kind(&found, kind), "{found:?}"),
    }
    host.check_filesystem(device, kind.name()).unwrap();
    assert!(has_kind(&host.probe(device).unwrap(), kind));
    assert!(!host.survey(device).unwrap().marked);
}

#[test]
fn a_mkfs_killed_in_its_work_is_finished_by_the_next() {
    let mut killed = 0;
    for kind in [FilesystemKind::Ext4, FilesystemKind::Xfs] {
        // Without a pause mkfs is done at the end; cut it off ever later until it is.
        for micros in (200..).step_by(400) {
            let disk = Disk::new(size_for(kind));
            let limits = Limits {
                filesystem: Duration::from_micros(micros),
                ..Limits::default()
            };
            let host = Host::with_limits(Doors::new(FaultPlan::none()).host, limits);
            match make(&host, &disk.device.path, kind) {
                Ok(()) => break,
                Err(error) => assert!(matches!(error, Error::ProgramLate { .. }), "{error}"),
            }
            killed += 1;
            finish(&disk.device.path, kind);
        }
    }
    assert!(killed > 2, "mkfs was killed only {killed} times");
}

#[test]
fn half_a_file_system_without_our_mark_stays_untouched() {
    let (host, disk) = (host(), Disk::formatted(FilesystemKind::Ext4, EXT));
    // The first superblock is lost: blkid sees nothing, but the rest is somebody's data.
    disk.scribble(1024, &[0; 1024]);
    assert!(matches!(
        host.probe(&disk.device.path).unwrap(),
        Probe::Unknown { .. }
    ));
    assert!(make(&host, &disk.device.path, FilesystemKind::Ext4).is_err());
}

#[test]
fn an_ext_with_errors_is_repaired_where_that_is_safe() {
    let (host, disk) = (host(), Disk::formatted(FilesystemKind::Ext4, EXT));
    let device = &disk.device.path;
    debugfs(&disk, "set_super_value free_blocks_count 1");
    debugfs(&disk, "set_super_value state 2");
    assert_eq!(
        host.check_filesystem(device, "ext4").unwrap(),
        Check::Repaired
    );
    assert_eq!(host.check_filesystem(device, "ext4").unwrap(), Check::Sound);
}

#[test]
fn an_ext_that_needs_an_operator_is_left_to_one() {
    let (host, disk) = (host(), Disk::formatted(FilesystemKind::Ext4, EXT));
    debugfs(&disk, "clri <2>");
    debugfs(&disk, "set_super_value state 2");
    let error = host
        .check_filesystem(&disk.device.path, "ext4")
        .unwrap_err();
    assert!(matches!(error, Error::FilesystemDamaged { .. }), "{error}");
    assert!(error.to_string().contains("ended with code 4"), "{error}");
}

#[test]
fn a_read_only_device_is_not_checked() {
    let host = host();
    let disk = Disk::attach(EXT, true);
    assert_eq!(
        host.check_filesystem(&disk.device.path, "ext4").unwrap(),
        Check::Skipped
    );
}

#[test]
fn a_mounted_xfs_grows_to_its_device() {
    let (host, disk) = (host(), Disk::formatted(FilesystemKind::Xfs, XFS));
    let device = &disk.device.path;
    let target = disk.mount("m", "xfs", &["nouuid"]);
    let grow = || host.grow_filesystem(device, &target, "xfs").unwrap();
    assert!(matches!(grow(), Growth::Unneeded { .. }));
    let before = host.usage(&target).unwrap().total;
    disk.stretch(2 * XFS);
    host.refresh_loop_size(&disk.device).unwrap();
    let Growth::Grown { from, to } = grow() else {
        panic!("it did not grow");
    };
    assert_eq!(
        (from, to),
        (ByteSize::from_bytes(XFS), ByteSize::from_bytes(2 * XFS))
    );
    assert!(host.usage(&target).unwrap().total > before);
    assert_eq!(grow(), Growth::Unneeded { size: to });
}

#[test]
fn a_mounted_ext4_grows_or_says_which_capability_is_missing() {
    let (host, disk) = (host(), Disk::formatted(FilesystemKind::Ext4, EXT));
    let device = &disk.device.path;
    let target = disk.mount("m", "ext4", &[]);
    let size = ByteSize::from_bytes(EXT);
    let unneeded = host.grow_filesystem(device, &target, "ext4").unwrap();
    assert_eq!(unneeded, Growth::Unneeded { size });
    disk.stretch(2 * EXT);
    host.refresh_loop_size(&disk.device).unwrap();
    let grown = host.grow_filesystem(device, &target, "ext4");
    if host.has_capability(Capability::SysResource).unwrap() {
        let to = ByteSize::from_bytes(2 * EXT);
        assert_eq!(grown.unwrap(), Growth::Grown { from: size, to });
    } else {
        let error = grown.unwrap_err();
        assert!(error.to_string().contains("CAP_SYS_RESOURCE"), "{error}");
    }
}

#[test]
fn only_the_mount_of_the_device_is_grown() {
    let (host, disk) = (host(), Disk::formatted(FilesystemKind::Xfs, XFS));
    let elsewhere = disk.place.directory("not-mounted");
    let error = host
        .grow_filesystem(&disk.device.path, &elsewhere, "xfs")
        .unwrap_err();
    assert!(error.to_string().contains("EXDEV"), "{error}");
    let error = host
        .grow_filesystem(&disk.device.path, &elsewhere, "vfat")
        .unwrap_err();
    assert!(
        matches!(error, Error::FilesystemUnsupported { .. }),
        "{error}"
    );
}

#[test]
fn usage_adds_up() {
    let disk = Disk::formatted(FilesystemKind::Ext4, EXT);
    let target = disk.mount("m", "ext4", &[]);
    let before = host().usage(&target).unwrap();
    std::fs::write(target.join("file").unwrap(), vec![1; 5 << 20]).unwrap();
    File::open(target.join("file").unwrap())
        .unwrap()
        .sync_all()
        .unwrap();
    let after = host().usage(&target).unwrap();
    assert!(after.total.bytes() > EXT / 2 && after.total.bytes() <= EXT);
    assert!(after.used.bytes() >= before.used.bytes() + (5 << 20));
    assert!(after.available.bytes() < before.available.bytes());
    assert_eq!(after.inodes_used, before.inodes_used + 1);
    assert_eq!(after.inodes, after.inodes_used + after.inodes_free);
}

#[test]
fn usage_of_nothing_is_absent() {
    let host = impatient(Duration::from_secs(5));
    assert!(host.usage(&path("/no/such/path")).unwrap_err().is_absent());
}

#[test]
fn data_in_the_middle_is_not_formatted_over() {
    // Where no superblock is looked for, and nothing is recognised.
    let (host, disk) = (host(), Disk::new(64 * MIB));
    disk.scribble(20 * MIB + 4096, b"an application's own format");
    let wanted = MakeFilesystem {
        device: &disk.device.path,
        kind: FilesystemKind::Ext4,
        options: None,
    };
    let error = host.make_filesystem(&wanted).unwrap_err();
    assert!(
        matches!(&error, Error::NotEmpty { found, .. } if found.contains("byte 20975616")),
        "{error}"
    );
    disk.scribble(20 * MIB + 4096, &[0; 27]);
    host.make_filesystem(&wanted).unwrap();
}
