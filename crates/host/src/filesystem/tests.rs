//! Tests of file systems on real devices.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use cuttle_door::{Doors, FaultPlan};
use cuttle_model::ByteSize;

use super::{Check, FilesystemKind, Growth, History, MakeFilesystem, Probe};
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
    make_on(host, device, kind, History::Unknown)
}

fn make_on(
    host: &Host,
    device: &AbsolutePath,
    kind: FilesystemKind,
    history: History,
) -> Result<(), Error> {
    let clearance = host.clear_for_mkfs(device, history)?;
    let wanted = MakeFilesystem {
        device,
        kind,
        options: None,
    };
    host.make_filesystem(&wanted, clearance)
}

fn check(host: &Host, device: &AbsolutePath, kind: &str) -> Result<Check, Error> {
    host.check_filesystem(device, kind, History::Unknown)
}

fn has_kind(probe: &Probe, wanted: FilesystemKind) -> bool {
    matches!(probe, Probe::Filesystem { kind, .. } if kind == wanted.name())
}

/// Runs `debugfs -w`, which edits an ext file system by hand.
fn debugfs(disk: &Disk, request: &str) {
    edit("debugfs", &["-w", "-R", request], disk);
}

/// Runs `xfs_db`, which edits an XFS by hand and keeps its checksums right.
fn xfs_db(disk: &Disk, place: &str, request: &str) {
    edit("xfs_db", &["-x", "-c", place, "-c", request], disk);
}

fn edit(program: &str, arguments: &[&str], disk: &Disk) {
    let command = Program::new(program)
        .args(arguments)
        .arg(disk.device.path.as_path());
    host()
        .run("host.test", &command)
        .unwrap()
        .expect_success(program)
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
        assert_eq!(check(&host, device, kind.name()).unwrap(), Check::Sound);
        let target = disk.mount("m", kind.name(), &[]);
        std::fs::write(target.join("file").unwrap(), b"content").unwrap();
        assert_eq!(check(&host, device, kind.name()).unwrap(), Check::Skipped);
        host.unmount(&target).unwrap();
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
    let wanted = MakeFilesystem {
        device,
        kind,
        options: Some(&options),
    };
    let clearance = host.clear_for_mkfs(device, History::Unknown).unwrap();
    host.make_filesystem(&wanted, clearance).unwrap();
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
        let probe = host.probe(&disk.device.path).unwrap();
        let (Probe::Unknown { found } | Probe::Remains { found }) = &probe else {
            panic!("byte {at} was overlooked");
        };
        let behind_the_start = matches!(probe, Probe::Remains { .. });
        assert_eq!(behind_the_start, at >= 2048, "byte {at}");
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

/// What the node does after a crash, knowing that a mkfs had begun: look again, and go on from
/// what is found.
fn finish(device: &AbsolutePath, kind: FilesystemKind) {
    let (host, begun) = (host(), History::MkfsBegun);
    match host.probe(device).unwrap() {
        Probe::Empty | Probe::Remains { .. } => make_on(&host, device, kind, begun).unwrap(),
        found @ (Probe::Filesystem { .. }
        | Probe::PartitionTable { .. }
        | Probe::Signature { .. }
        | Probe::Unknown { .. }) => assert!(has_kind(&found, kind), "{found:?}"),
    }
    host.check_filesystem(device, kind.name(), begun).unwrap();
    assert!(has_kind(&host.probe(device).unwrap(), kind));
}

#[test]
fn a_mkfs_killed_in_its_work_is_finished_by_the_next() {
    let mut killed = 0;
    for kind in [FilesystemKind::Ext4, FilesystemKind::Xfs] {
        // Without a pause mkfs is done at the end; cut it off ever later until it is.
        let later = |micros: &u64| Some(micros + micros / 4);
        for micros in std::iter::successors(Some(200_u64), later) {
            let disk = Disk::new(size_for(kind));
            let device = &disk.device.path;
            let limits = Limits {
                filesystem: Duration::from_micros(micros),
                ..Limits::default()
            };
            let host = Host::with_limits(Doors::new(FaultPlan::none()).host, limits);
            match make(&host, device, kind) {
                Ok(()) => break,
                Err(error) => assert!(matches!(error, Error::ProgramLate { .. }), "{error}"),
            }
            killed += 1;
            // Without knowledge of the mkfs, what it has left is somebody's data.
            if matches!(host.probe(device).unwrap(), Probe::Remains { .. }) {
                let error = make(&host, device, kind).unwrap_err();
                assert!(matches!(error, Error::NotEmpty { .. }), "{error}");
            }
            finish(device, kind);
        }
    }
    assert!(killed > 2, "mkfs was killed only {killed} times");
}

#[test]
fn knowing_of_a_mkfs_is_no_licence_for_anything_else() {
    let host = host();
    let kind = FilesystemKind::Ext4;
    let refused = |disk: &Disk| {
        let error = make_on(&host, &disk.device.path, kind, History::MkfsBegun).unwrap_err();
        assert!(matches!(error, Error::NotEmpty { .. }), "{error}");
    };
    // An application's own format, which begins where everything begins.
    let disk = Disk::new(EXT);
    disk.scribble(0, b"database");
    refused(&disk);
    let disk = Disk::formatted(FilesystemKind::Ext4, EXT);
    refused(&disk);
    let target = disk.mount("m", "ext4", &[]);
    refused(&disk);
    host.unmount(&target).unwrap();
    // Only what a mkfs may have left.
    let disk = Disk::new(EXT);
    disk.scribble(MIB / 2, b"half a table of inodes");
    make_on(&host, &disk.device.path, kind, History::MkfsBegun).unwrap();
    assert!(has_kind(&host.probe(&disk.device.path).unwrap(), kind));
}

#[test]
fn an_xfs_in_the_making_is_made_again_by_whom_knows_of_it_alone() {
    let (host, kind) = (host(), FilesystemKind::Xfs);
    let disk = Disk::formatted(kind, XFS);
    let device = &disk.device.path;
    xfs_db(&disk, "sb 0", "write inprogress 1");
    assert!(matches!(host.probe(device).unwrap(), Probe::Remains { .. }));
    make(&host, device, kind).unwrap_err();
    make_on(&host, device, kind, History::MkfsBegun).unwrap();
    assert!(has_kind(&host.probe(device).unwrap(), kind));
}

#[test]
fn half_a_file_system_stays_untouched() {
    let (host, disk) = (host(), Disk::formatted(FilesystemKind::Ext4, EXT));
    // The first superblock is lost: blkid sees nothing, but the rest is somebody's data.
    disk.scribble(1024, &[0; 1024]);
    assert!(matches!(
        host.probe(&disk.device.path).unwrap(),
        Probe::Remains { .. }
    ));
    assert!(make(&host, &disk.device.path, FilesystemKind::Ext4).is_err());
}

#[test]
fn a_device_is_looked_at_past_what_was_read_before() {
    let (host, disk) = (host(), Disk::new(EXT));
    let device = File::open(&disk.device.path).unwrap();
    // Somebody keeps the device open, so that its cache stays, and has read emptiness.
    device.read_exact_at(&mut vec![0; 1 << 20], 0).unwrap();
    let file = File::options().write(true).open(&disk.file).unwrap();
    file.write_all_at(b"from another node", 0).unwrap();
    let found = host.probe(&disk.device.path).unwrap();
    assert!(matches!(found, Probe::Unknown { .. }), "{found:?}");
}

#[test]
fn an_ext_with_errors_is_repaired_where_that_is_safe() {
    let (host, disk) = (host(), Disk::formatted(FilesystemKind::Ext4, EXT));
    let device = &disk.device.path;
    debugfs(&disk, "set_super_value free_blocks_count 1");
    debugfs(&disk, "set_super_value state 2");
    assert_eq!(check(&host, device, "ext4").unwrap(), Check::Repaired);
    assert_eq!(check(&host, device, "ext4").unwrap(), Check::Sound);
}

#[test]
fn an_ext_that_needs_an_operator_is_left_to_one() {
    let (host, disk) = (host(), Disk::formatted(FilesystemKind::Ext4, EXT));
    debugfs(&disk, "clri <2>");
    debugfs(&disk, "set_super_value state 2");
    let error = check(&host, &disk.device.path, "ext4").unwrap_err();
    assert!(matches!(error, Error::FilesystemDamaged { .. }), "{error}");
    assert!(error.to_string().contains("ended with code 4"), "{error}");
}

#[test]
fn a_read_only_device_is_not_checked() {
    let host = host();
    let disk = Disk::attach(EXT, true);
    assert_eq!(
        check(&host, &disk.device.path, "ext4").unwrap(),
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
    let kind = FilesystemKind::Ext4;
    let error = make(&host, &disk.device.path, kind).unwrap_err();
    assert!(
        matches!(&error, Error::NotEmpty { found, .. } if found.contains("byte 20975616")),
        "{error}"
    );
    disk.scribble(20 * MIB + 4096, &[0; 27]);
    make(&host, &disk.device.path, kind).unwrap();
    // What was cleared is one device, not any.
    let (cleared, other) = (Disk::new(EXT), Disk::new(EXT));
    let clearance = host
        .clear_for_mkfs(&cleared.device.path, History::Unknown)
        .unwrap();
    let wanted = MakeFilesystem {
        device: &other.device.path,
        kind,
        options: None,
    };
    let error = host.make_filesystem(&wanted, clearance).unwrap_err();
    assert!(matches!(error, Error::NotEmpty { .. }), "{error}");
}
