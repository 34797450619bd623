//! File systems on a loop device on an export, read back through Ceph's own program.

use std::path::PathBuf;

use crate::bed::{Bed, Loop, Mounted, noise, run};

fn a_file_system_is_whole_in_the_image(make: &str, mib: u64, read_options: &str) {
    let bed = Bed::new();
    bed.image("files", mib);
    let export = bed.export("files");
    let device = Loop::on(&export);
    run(make, ["-q".as_ref(), device.device.as_os_str()]);
    let mounted = Mounted::at(&device.device, "defaults");
    let files: Vec<(PathBuf, Vec<u8>)> = (0..20)
        .map(|n| (PathBuf::from(format!("file-{n}")), noise(n, 300_000 + 7919)))
        .collect();
    for (name, bytes) in &files {
        std::fs::write(mounted.dir.path().join(name), bytes).unwrap();
    }
    run(
        "sync",
        ["--file-system".as_ref(), mounted.dir.path().as_os_str()],
    );
    mounted.unmount();
    device.detach();
    assert_eq!(export.unmount(), 0);

    // The witness: Ceph's program copies the image out, the kernel mounts the copy.
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("copy");
    let spec = bed.spec("files");
    let words = [
        "export".as_ref(),
        "--no-progress".as_ref(),
        spec.as_ref(),
        copy.as_os_str(),
    ];
    bed.cluster.program("rbd").args(words).ok().unwrap();
    let device = Loop::attach(&copy, &["--read-only"]);
    let mounted = Mounted::at(&device.device, read_options);
    for (name, bytes) in &files {
        let read = std::fs::read(mounted.dir.path().join(name)).unwrap();
        assert!(read == *bytes, "{} differs", name.display());
    }
    mounted.unmount();
    device.detach();
}

#[test]
fn ext4_is_whole_in_the_image() {
    a_file_system_is_whole_in_the_image("mkfs.ext4", 64, "ro");
}

#[test]
fn xfs_is_whole_in_the_image() {
    a_file_system_is_whole_in_the_image("mkfs.xfs", 320, "ro,nouuid");
}

#[test]
fn a_mounted_xfs_grows_with_its_image() {
    let bed = Bed::new();
    bed.image("grown", 320);
    let export = bed.export("grown");
    let device = Loop::on(&export);
    run("mkfs.xfs", ["-q".as_ref(), device.device.as_os_str()]);
    let mounted = Mounted::at(&device.device, "defaults");
    let before = rustix::fs::statvfs(mounted.dir.path()).unwrap();
    bed.resize("grown", 640);
    assert_eq!(std::fs::metadata(&export.path).unwrap().len(), 640 << 20);
    run("losetup", ["-c".as_ref(), device.device.as_os_str()]);
    run("xfs_growfs", [mounted.dir.path()]);
    let after = rustix::fs::statvfs(mounted.dir.path()).unwrap();
    assert!(after.f_blocks * after.f_bsize > before.f_blocks * before.f_bsize + (300 << 20));
    mounted.unmount();
    device.detach();
    assert_eq!(export.unmount(), 0);
}
