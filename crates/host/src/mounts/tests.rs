//! Tests of real mounts, also of dead ones.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};

use super::{BindMount, DeviceMount, Route, Unmounted};
use crate::fixture::{Disk, MIB, Place, eventually, faulty, host, impatient, path};
use crate::{AbsolutePath, Error, FilesystemKind, Host, MountOptions};

const ROUTES: [Route; 2] = [Route::New, Route::Old];

fn options(flags: &[&str]) -> MountOptions {
    MountOptions::parse(flags).unwrap()
}

fn bind(
    route: Route,
    source: &AbsolutePath,
    target: &AbsolutePath,
    flags: &[&str],
) -> Result<(), Error> {
    host().bind_by(
        route,
        &BindMount {
            seen: None,
            source,
            target,
            options: &options(flags),
        },
    )
}

fn mount_ext4(disk: &Disk, target: &AbsolutePath) {
    let (device, fs_type, options) = (&disk.device.path, "ext4", &options(&[]));
    host()
        .mount_device(&DeviceMount {
            device,
            target,
            fs_type,
            options,
        })
        .unwrap();
}

fn write_to(target: &AbsolutePath) -> std::io::Result<()> {
    std::fs::write(target.join("written").unwrap(), b"x")
}

#[test]
fn a_device_is_mounted_with_its_options() {
    for route in ROUTES {
        let disk = Disk::formatted(FilesystemKind::Ext4, 32 * MIB);
        let target = disk.place.directory("m");
        let flags = [
            "noatime,nosuid",
            "errors=remount-ro",
            "_netdev",
            "commit=17",
            "discard",
        ];
        let (device, fs_type, options) = (&disk.device.path, "ext4", &options(&flags));
        let wanted = DeviceMount {
            device,
            target: &target,
            fs_type,
            options,
        };
        host().mount_device_by(route, &wanted).unwrap();
        let mount = host().mount_at(&target).unwrap().unwrap();
        let has = |options: &str, option: &str| options.split(',').any(|known| known == option);
        assert_eq!(
            (mount.device, mount.fs_type.as_str()),
            (disk.device.number, "ext4")
        );
        assert!(
            has(&mount.options, "noatime") && has(&mount.options, "nosuid"),
            "{mount:?}"
        );
        for option in ["errors=remount-ro", "commit=17", "discard"] {
            assert!(
                has(&mount.super_options, option),
                "{route:?}: {option} in {mount:?}"
            );
        }
        write_to(&target).unwrap();
        assert_eq!(host().unmount(&target).unwrap(), Unmounted { taken: 1 });
    }
}

#[test]
fn xfs_takes_its_options_and_two_copies_of_one() {
    let disk = Disk::formatted(FilesystemKind::Xfs, 320 * MIB);
    let target = disk.mount("m", "xfs", &["nouuid", "noatime"]);
    let mount = host().mount_at(&target).unwrap().unwrap();
    assert!(mount.super_options.contains("nouuid"), "{mount:?}");
}

#[test]
fn read_only_reaches_the_file_system() {
    for route in ROUTES {
        let disk = Disk::formatted(FilesystemKind::Ext4, 32 * MIB);
        let target = disk.place.directory("m");
        let (device, fs_type, options) = (&disk.device.path, "ext4", &options(&["ro"]));
        let wanted = DeviceMount {
            device,
            target: &target,
            fs_type,
            options,
        };
        host().mount_device_by(route, &wanted).unwrap();
        let mount = host().mount_at(&target).unwrap().unwrap();
        assert!(mount.options.starts_with("ro") && mount.super_options.starts_with("ro"));
        assert_eq!(
            write_to(&target).unwrap_err().raw_os_error(),
            Some(libc::EROFS)
        );
    }
}

#[test]
fn a_failed_mount_says_why_and_leaves_nothing() {
    let disk = Disk::new(32 * MIB);
    let target = disk.place.directory("m");
    let device = &disk.device.path;
    let attempt = |route, fs_type, flags: &[&str]| {
        let wanted = DeviceMount {
            device,
            target: &target,
            fs_type,
            options: &options(flags),
        };
        host().mount_device_by(route, &wanted).unwrap_err()
    };
    for route in ROUTES {
        let error = attempt(route, "ext4", &[]);
        assert!(error.to_string().contains("EINVAL"), "{error}");
        let error = attempt(route, "nosuchfs", &[]);
        assert!(error.to_string().contains("ENODEV"), "{error}");
    }
    // What the kernel says about it is passed on.
    let error = attempt(Route::New, "ext4", &["nosuchoption=7"]);
    assert!(
        error.to_string().contains("fsconfig failed with EINVAL"),
        "{error}"
    );
    assert!(error.to_string().contains("nosuchoption"), "{error}");
    assert!(!host().is_mount_point(&target).unwrap());
}

#[test]
fn a_bind_has_its_attributes_and_its_source_keeps_its_own() {
    for route in ROUTES {
        let place = Place::new();
        let (source, target) = (place.directory("source"), place.directory("target"));
        bind(route, &source, &target, &["ro", "noexec", "discard"]).unwrap();
        let mount = host().mount_at(&target).unwrap().unwrap();
        assert!(
            mount.options.starts_with("ro,") && mount.options.contains("noexec"),
            "{mount:?}"
        );
        assert_eq!(
            write_to(&target).unwrap_err().raw_os_error(),
            Some(libc::EROFS)
        );
        write_to(&source).unwrap();
        assert!(target.join("written").unwrap().as_path().exists());
        host().unmount(&target).unwrap();
    }
}

#[test]
fn a_bind_takes_over_what_is_not_said() {
    for route in ROUTES {
        let disk = Disk::formatted(FilesystemKind::Ext4, 32 * MIB);
        let source = disk.mount("source", "ext4", &["nosuid", "noatime"]);
        let target = disk.place.directory("target");
        bind(route, &source, &target, &["ro"]).unwrap();
        let mount = host().mount_at(&target).unwrap().unwrap();
        for option in ["ro", "nosuid", "noatime"] {
            assert!(
                mount.options.split(',').any(|known| known == option),
                "{route:?} {mount:?}"
            );
        }
        let plain = disk.place.directory("plain");
        bind(route, &source, &plain, &[]).unwrap();
        write_to(&plain).unwrap();
    }
}

#[test]
fn a_device_node_is_bound_over_a_file() {
    for route in ROUTES {
        let disk = Disk::new(MIB);
        let target = disk.place.file("block", b"");
        bind(route, &disk.device.path, &target, &[]).unwrap();
        let about = host().block_device(&target).unwrap();
        assert_eq!(about.number, disk.device.number);
        // Made again, it is found to be in place.
        assert!(!host().ensure_file(&target, 0o600).unwrap());
        assert_eq!(host().unmount(&target).unwrap().taken, 1);
        host().block_device(&target).unwrap_err();
        assert!(host().remove_file(&target).unwrap());
    }
}

#[test]
fn directories_and_files_do_not_mix() {
    let place = Place::new();
    let (directory, file) = (place.directory("d"), place.file("f", b""));
    for route in ROUTES {
        for (source, target) in [(&directory, &file), (&file, &directory)] {
            let error = bind(route, source, target, &[]).unwrap_err();
            assert!(error.to_string().contains("ENOTDIR"), "{route:?}: {error}");
        }
        let none = place.path().join("none").unwrap();
        assert!(bind(route, &none, &directory, &[]).unwrap_err().is_absent());
        assert!(bind(route, &directory, &none, &[]).unwrap_err().is_absent());
    }
}

#[test]
fn links_in_place_of_a_target_or_source_are_refused() {
    let place = Place::new();
    let directory = place.directory("d");
    let (link, elsewhere) = (
        place.path().join("link").unwrap(),
        place.directory("elsewhere"),
    );
    symlink(&elsewhere, &link).unwrap();
    for route in ROUTES {
        for (source, target) in [(&directory, &link), (&link, &directory)] {
            let error = bind(route, source, target, &[]).unwrap_err();
            assert!(error.to_string().contains("ELOOP"), "{route:?}: {error}");
        }
    }
    assert!(!host().is_mount_point(&elsewhere).unwrap());
}

#[test]
fn mounts_reach_the_peers_of_the_directory_they_stand_in() {
    let place = Place::new();
    let (shared, peer, source) = (
        place.directory("shared"),
        place.directory("peer"),
        place.directory("source"),
    );
    bind(Route::New, &shared, &shared, &[]).unwrap();
    mount_change(shared.as_path(), MountPropagationFlags::SHARED).unwrap();
    bind(Route::New, &shared, &peer, &[]).unwrap();
    let target = shared.join("m").unwrap();
    std::fs::create_dir(&target).unwrap();
    for route in ROUTES {
        bind(route, &source, &target, &["ro"]).unwrap();
        let seen = host().mount_at(&peer.join("m").unwrap()).unwrap().unwrap();
        // The old interface changes the attributes of one mount only, after it has spread.
        assert_eq!(seen.is_read_only(), route == Route::New);
        host().unmount(&target).unwrap();
        assert!(!host().is_mount_point(&peer.join("m").unwrap()).unwrap());
    }
    let disk = Disk::formatted(FilesystemKind::Ext4, 32 * MIB);
    mount_ext4(&disk, &target);
    assert!(host().is_mount_point(&peer.join("m").unwrap()).unwrap());
    host().unmount(&target).unwrap();
}

#[test]
fn stacked_mounts_go_one_by_one() {
    let place = Place::new();
    let (source, target) = (place.directory("source"), place.directory("target"));
    for _ in 0..3 {
        bind(Route::New, &source, &target, &[]).unwrap();
    }
    assert_eq!(host().mount_table().unwrap().count_at(&target), 3);
    assert_eq!(host().unmount(&target).unwrap(), Unmounted { taken: 3 });
    assert_eq!(host().unmount(&target).unwrap(), Unmounted { taken: 0 });
    assert!(host().remove_directory(&target).unwrap());
    // Neither the path nor its directory need exist.
    assert_eq!(host().unmount(&target).unwrap(), Unmounted { taken: 0 });
    assert_eq!(
        host().unmount(&path("/no/such/path")).unwrap(),
        Unmounted { taken: 0 }
    );
}

#[test]
fn too_many_stacked_mounts_are_reported() {
    let place = Place::new();
    let (source, target) = (place.directory("source"), place.directory("target"));
    for _ in 0..=super::MOST_STACKED {
        bind(Route::New, &source, &target, &[]).unwrap();
    }
    let error = host().unmount(&target).unwrap_err();
    assert!(
        matches!(
            error,
            Error::StillMounted {
                taken: super::MOST_STACKED,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(host().unmount(&target).unwrap().taken, 1);
}

#[test]
fn a_mount_in_use_stays() {
    let disk = Disk::formatted(FilesystemKind::Ext4, 32 * MIB);
    let target = disk.mount("m", "ext4", &[]);
    let user = File::create(target.join("file").unwrap()).unwrap();
    let error = host().unmount(&target).unwrap_err();
    assert!(error.is_busy(), "{error}");
    assert!(host().is_mount_point(&target).unwrap());
    assert_eq!(host().unmount_lazily(&target).unwrap().taken, 1);
    drop(user);
    // The file system itself goes with its last user; then the device is free.
    eventually("the device is free", || {
        host().detach_loop(&disk.device).is_ok()
    });
}

#[test]
fn an_unmount_the_kernel_calls_no_mount_is_believed_only_with_the_table() {
    let place = Place::new();
    let (source, target) = (place.directory("source"), place.directory("target"));
    bind(Route::New, &source, &target, &[]).unwrap();
    let (host, _ledger) = faulty("fail@1:host.unmount=EINVAL");
    let error = host.unmount(&target).unwrap_err();
    assert!(error.to_string().contains("EINVAL"), "{error}");
    assert_eq!(host.unmount(&target).unwrap().taken, 1);
}

#[test]
fn mounts_over_links_are_found_by_either_name() {
    let place = Place::new();
    let (real, source) = (place.directory("real"), place.directory("source"));
    let via = place.path().join("via").unwrap();
    symlink(&real, &via).unwrap();
    let (target, seen) = (via.join("m").unwrap(), real.join("m").unwrap());
    std::fs::create_dir(&target).unwrap();
    bind(Route::New, &source, &target, &[]).unwrap();
    assert!(host().is_mount_point(&target).unwrap() && host().is_mount_point(&seen).unwrap());
    assert_eq!(host().unmount(&target).unwrap().taken, 1);
    assert!(!host().is_mount_point(&seen).unwrap());
}

/// A FUSE mount whose server never answers.
struct DeadFuse {
    server: File,
    connection: u32,
    target: AbsolutePath,
    _place: Place,
}

impl DeadFuse {
    fn mount() -> Self {
        let place = Place::new();
        let target = place.directory("dead");
        let server = File::options()
            .read(true)
            .write(true)
            .open("/dev/fuse")
            .unwrap();
        let data = format!(
            "fd={},rootmode=40000,user_id=0,group_id=0\0",
            server.as_raw_fd()
        );
        let data = std::ffi::CStr::from_bytes_with_nul(data.as_bytes()).unwrap();
        mount(
            c"dead",
            target.as_path(),
            c"fuse",
            MountFlags::empty(),
            data,
        )
        .unwrap();
        let connection = host().mount_at(&target).unwrap().unwrap().device.minor;
        Self {
            server,
            connection,
            target,
            _place: place,
        }
    }
}

impl Drop for DeadFuse {
    fn drop(&mut self) {
        // Ends every call that still waits for an answer.
        let abort = format!("/sys/fs/fuse/connections/{}/abort", self.connection);
        let _aborted = std::fs::write(abort, "1");
        let _gone = host().unmount_lazily(&self.target);
        let _alive = self.server.metadata();
    }
}

#[test]
fn a_dead_mount_hangs_nobody() {
    let dead = DeadFuse::mount();
    let host = impatient(Duration::from_millis(300));
    let started = Instant::now();
    let target = &dead.target;
    let late = |error: Error| {
        assert!(matches!(error, Error::Hung { .. }), "{error}");
        // Slow is not dead.
        assert!(error.is_late() && !error.is_dead_mount() && !error.is_disconnected());
    };
    late(host.usage(target).unwrap_err());
    late(host.entry(target).unwrap_err());
    late(host.entry(&target.join("below").unwrap()).unwrap_err());
    late(host.ensure_directory(target, 0o750).unwrap_err());
    // Questions to the mount table are answered at once.
    assert!(host.is_mount_point(target).unwrap());
    assert_eq!(host.real_path(target).unwrap(), *target);
    assert!(started.elapsed() < Duration::from_secs(10));
    assert_eq!(host.unmount(target).unwrap().taken, 1);
    eventually("the children are gone", || host.reap() == 0);
}

/// The head of a FUSE answer (`struct fuse_out_header`).
fn fuse_answer(unique: u64, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(16 + body.len()).unwrap();
    let mut answer = length.to_ne_bytes().to_vec();
    answer.extend_from_slice(&0_i32.to_ne_bytes());
    answer.extend_from_slice(&unique.to_ne_bytes());
    answer.extend_from_slice(body);
    answer
}

/// Answers the first request, `FUSE_INIT`, of a server that answers nothing else.
fn answer_init(server: &File) {
    use std::io::{Read as _, Write as _};

    let mut request = vec![0; 256 * 1024];
    let mut reader = server;
    let count = reader.read(&mut request).unwrap();
    assert!(count >= 40);
    assert_eq!(u32::from_ne_bytes(request[4..8].try_into().unwrap()), 26);
    let unique = u64::from_ne_bytes(request[8..16].try_into().unwrap());
    // struct fuse_init_out of protocol 7.23 and later: 64 bytes.
    let mut body = vec![0; 64];
    body[..4].copy_from_slice(&7_u32.to_ne_bytes());
    body[4..8].copy_from_slice(&31_u32.to_ne_bytes());
    body[20..24].copy_from_slice(&4096_u32.to_ne_bytes());
    let mut writer = server;
    writer.write_all(&fuse_answer(unique, &body)).unwrap();
}

/// A mount on a block device whose server does not let it go: unmounting it waits in the kernel
/// for the answer to `FUSE_DESTROY`, and not even SIGKILL ends that.
#[test]
fn an_unmount_that_cannot_be_killed_is_left_behind() {
    let disk = Disk::new(MIB);
    let target = disk.place.directory("m");
    let server = File::options()
        .read(true)
        .write(true)
        .open("/dev/fuse")
        .unwrap();
    let data = format!(
        "fd={},rootmode=40000,user_id=0,group_id=0,blksize=512\0",
        server.as_raw_fd()
    );
    let data = std::ffi::CStr::from_bytes_with_nul(data.as_bytes()).unwrap();
    let device = disk.device.path.as_path();
    mount(
        device,
        target.as_path(),
        c"fuseblk",
        MountFlags::empty(),
        data,
    )
    .unwrap();
    answer_init(&server);

    let host: Host = impatient(Duration::from_millis(400));
    let started = Instant::now();
    let error = host.unmount(&target).unwrap_err();
    assert!(matches!(error, Error::Hung { .. }), "{error}");
    assert!(started.elapsed() < Duration::from_secs(5));
    assert_eq!(
        host.reap(),
        1,
        "the child was killed although it sleeps in the kernel"
    );
    // Other calls go on meanwhile, and the stuck one is not made a second time.
    assert!(host.entry(&disk.place.path()).unwrap().is_some());
    assert_eq!(host.unmount(&target).unwrap().taken, 0);

    // The server goes away at last: the kernel gives up, the child dies and is reaped.
    drop(server);
    eventually("the stuck child is gone", || host.reap() == 0);
}

#[test]
fn a_bind_shows_the_mount_that_was_looked_at_and_no_other() {
    let (host, place) = (host(), Place::new());
    let (source, target) = (place.directory("source"), place.directory("target"));
    let mount_source = || {
        let flags = MountFlags::empty();
        mount("test", source.as_path(), "tmpfs", flags, None).unwrap();
    };
    mount_source();
    let seen = host.mount_at(&source).unwrap().unwrap();
    let options = MountOptions::default();
    let bind = |target: &AbsolutePath| {
        host.bind(&BindMount {
            source: &source,
            seen: Some(&seen),
            target,
            options: &options,
        })
    };
    bind(&target).unwrap();
    let changed = |host: &Host| {
        let error = bind(&place.path().join("other").unwrap()).unwrap_err();
        assert!(matches!(error, Error::MountChanged { .. }), "{error}");
        assert!(
            host.mount_at(&place.path().join("other").unwrap())
                .unwrap()
                .is_none()
        );
    };
    place.directory("other");
    host.unmount(&source).unwrap();
    // The bare directory.
    changed(&host);
    // Another mount of the same kind.
    mount_source();
    changed(&host);
}
