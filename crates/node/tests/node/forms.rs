//! In which form a volume is staged, published, measured and grown.

use std::fs;
use std::os::unix::fs::symlink;

use cuttle_model::{Access, AccessMode, ByteSize, Class, Explain, FsType, chain};
use cuttle_node::rbd::{ExpandVolume, StageVolume, VolumeStats};

use crate::field::{Field, filesystem, id, publish_request, unpublish_request, unstage_request};
use crate::refusals::{disk, host, mount_tmpfs, refused, told, unmount};

const MIB: u64 = 1 << 20;

fn with_flags(stage: &StageVolume, kind: &str, flags: &[&str]) -> StageVolume {
    let mut stage = stage.clone();
    stage.capability.access = Access::Filesystem {
        fs_type: Some(FsType::new(kind).unwrap()),
        mount_flags: flags.iter().map(|&flag| flag.to_owned()).collect(),
    };
    stage
}

fn expand(
    field: &Field,
    stage: &StageVolume,
    mib: u64,
) -> Result<u64, cuttle_node::rbd::ExpandError> {
    let expanded = field.node().expand(&ExpandVolume {
        id: stage.id.clone(),
        volume_path: stage.staging_path.clone(),
        staging_path: Some(stage.staging_path.clone()),
        required: Some(ByteSize::from_bytes(mib * MIB)),
    })?;
    Ok(expanded.size.bytes() / MIB)
}

fn resize(field: &Field, image: &str, mib: u64) {
    let (size, spec) = (format!("{mib}M"), field.spec(image));
    let words = ["resize", "--no-progress", "--size", &size, &spec];
    field.cluster.rbd(&words).unwrap();
}

#[test]
fn a_filesystem_that_was_staged_read_only_is_not_called_writable() {
    let (field, stage) = disk();
    field.node().stage(&stage).unwrap();
    field.node().unstage(&unstage_request(&stage)).unwrap();
    let mut reader = stage.clone();
    reader.capability.mode = AccessMode::SingleNodeReaderOnly;
    field.node().stage(&reader).unwrap();
    field.node().stage(&reader).unwrap();
    let words = ["read-only mounted filesystem", "writable filesystem"];
    refused(&field, &stage, 1572, Class::Unmet, &words);
    // A flag says the same as the mode.
    field
        .node()
        .stage(&with_flags(&stage, "ext4", &["ro"]))
        .unwrap();
    // It is as large as it was; what is asked is what the device has.
    resize(&field, "disk", 48);
    assert_eq!(expand(&field, &reader, 48).unwrap(), 48);
    field.node().unstage(&unstage_request(&reader)).unwrap();

    field.node().stage(&stage).unwrap();
    let words = ["writable filesystem", "read-only mounted filesystem"];
    refused(&field, &reader, 1572, Class::Unmet, &words);
    field.node().unstage(&unstage_request(&stage)).unwrap();
    field.assert_clean_host();
}

#[test]
fn a_reader_of_a_snapshot_of_a_volume_in_use_is_told_what_is_missing() {
    let (field, stage) = disk();
    field.node().stage(&stage).unwrap();
    fs::write(stage.staging_path.join("disk/file"), "content").unwrap();
    host()
        .run("host.test", &cuttle_host::Program::new("sync"))
        .unwrap();
    let snapshot = format!("{}@moment", field.spec("disk"));
    let clone = field.spec("clone");
    let rbd = |words: &[&str]| field.cluster.rbd(words).unwrap();
    rbd(&["snap", "create", "--no-progress", &snapshot]);
    rbd(&["snap", "protect", &snapshot]);
    rbd(&["clone", &snapshot, &clone]);
    let staging = field.staging("two");
    let mut reader = field.stage_request("clone", &staging, filesystem("ext4"));
    reader.capability.mode = AccessMode::MultiNodeReaderOnly;
    refused(&field, &reader, 1554, Class::Unmet, &["noload", "EROFS"]);
    field.assert_empty(&staging);
    let reader = {
        let mut with_flag = with_flags(&reader, "ext4", &["noload"]);
        with_flag.capability.mode = AccessMode::MultiNodeReaderOnly;
        with_flag
    };
    field.node().stage(&reader).unwrap();
    field.node().unstage(&unstage_request(&reader)).unwrap();
    // Mounted for writing once, it can be read.
    let writer = field.stage_request("clone", &staging, filesystem("ext4"));
    field.node().stage(&writer).unwrap();
    let file = fs::read_to_string(staging.join("clone/file")).unwrap();
    assert_eq!(file, "content");
    field.node().unstage(&unstage_request(&writer)).unwrap();
    field.node().unstage(&unstage_request(&stage)).unwrap();
    rbd(&["rm", "--no-progress", &clone]);
    rbd(&["snap", "unprotect", &snapshot]);
    rbd(&["snap", "rm", "--no-progress", &snapshot]);
    field.assert_clean_host();
}

#[test]
fn a_filesystem_goes_read_only_on_errors_unless_a_flag_says_otherwise() {
    let (field, stage) = disk();
    let options = || {
        let place = stage.staging_path.join("disk");
        let table = host().mount_table().unwrap();
        table.at(place).unwrap().super_options.clone()
    };
    field.node().stage(&stage).unwrap();
    assert!(options().contains("errors=remount-ro"), "{}", options());
    field.node().unstage(&unstage_request(&stage)).unwrap();
    let flags = ["errors=continue", "_netdev", "noatime"];
    let flagged = with_flags(&stage, "ext4", &flags);
    field.node().stage(&flagged).unwrap();
    assert!(!options().contains("remount-ro"), "{}", options());
    field.node().unstage(&unstage_request(&stage)).unwrap();
    for flag in ["bind", "remount", "loop=/dev/loop0"] {
        let flagged = with_flags(&stage, "ext4", &[flag]);
        let error = field.node().stage(&flagged).unwrap_err();
        assert_eq!(error.class(), Class::Invalid, "{flag}: {}", chain(&error));
        field.assert_empty(&stage.staging_path);
    }
    field.assert_clean_host();
}

#[test]
fn what_stands_in_the_place_of_a_volume_is_neither_grown_nor_measured() {
    let (field, stage) = disk();
    field.node().stage(&stage).unwrap();
    let place = stage.staging_path.join("disk");
    unmount(&place);
    mount_tmpfs(&place);
    let error = expand(&field, &stage, 32).unwrap_err();
    let (code, class, text) = told(&error);
    assert_eq!((code, class), (1591, Class::Unmet), "{text}");
    assert!(text.contains("something else is mounted"), "{text}");
    let measured = field.node().stats(&VolumeStats {
        id: id("disk"),
        volume_path: place.clone(),
    });
    let (code, class, text) = told(&measured.unwrap_err());
    assert_eq!((code, class), (1595, Class::Absent), "{text}");
    unmount(&place);
    field.node().unstage(&unstage_request(&stage)).unwrap();
    field.assert_clean_host();
}

#[test]
fn only_the_volume_that_is_named_is_unpublished() {
    let (field, stage) = disk();
    for access in [filesystem("ext4"), Access::Block] {
        let stage = field.stage_request("disk", &stage.staging_path, access);
        let target = field.target("pod");
        field.node().stage(&stage).unwrap();
        let publish = publish_request(&stage, &target);
        field.node().publish(&publish).unwrap();
        let mut other = unpublish_request(&stage, &target);
        other.id = id("other");
        let error = field.node().unpublish(&other).unwrap_err();
        let (code, class, text) = told(&error);
        assert_eq!((code, class), (1563, Class::Unmet), "{text}");
        assert!(text.contains("volume disk"), "{text}");
        // It is still there.
        field.node().publish(&publish).unwrap();
        field
            .node()
            .unpublish(&unpublish_request(&stage, &target))
            .unwrap();
        field.node().unstage(&unstage_request(&stage)).unwrap();
        if stage.capability.is_block() {
            continue;
        }
        let words = ["rm", "--no-progress", &field.spec("disk")];
        field.cluster.rbd(&words).unwrap();
        field.image("disk", 32);
    }
    field.assert_clean_host();
}

#[test]
fn directories_on_the_way_may_be_links() {
    let (field, stage) = disk();
    let real = field.staging("kubelet");
    let link = field.path().join("link");
    symlink(&real, &link).unwrap();
    let mut stage = stage;
    stage.staging_path = link.join("plugins/globalmount");
    fs::create_dir_all(&stage.staging_path).unwrap();
    let target = link.join("pods/one/mount");
    field.node().stage(&stage).unwrap();
    field.node().stage(&stage).unwrap();
    let publish = publish_request(&stage, &target);
    field.node().publish(&publish).unwrap();
    field.node().publish(&publish).unwrap();
    let table = host().mount_table().unwrap();
    assert_eq!(table.count_at(real.join("pods/one/mount")), 1);
    // By whichever path it is asked for.
    let volume_path = real.join("pods/one/mount");
    let measured = field.node().stats(&VolumeStats {
        id: stage.id.clone(),
        volume_path: volume_path.clone(),
    });
    assert!(measured.unwrap().usage.is_some());
    field
        .node()
        .unpublish(&unpublish_request(&stage, &volume_path))
        .unwrap();
    field
        .node()
        .unpublish(&unpublish_request(&stage, &target))
        .unwrap();
    field.node().unstage(&unstage_request(&stage)).unwrap();
    field.assert_empty(&real.join("plugins/globalmount"));
    field.assert_clean_host();
}
