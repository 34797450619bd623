//! Volumes through their whole life on a node, on a real cluster with real mounts.

use std::fs;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};
use std::path::Path;
use std::time::Duration;

use crate::field::{Field, filesystem, publish_request, unpublish_request, unstage_request};
use cuttle_model::{Access, AccessMode, ByteSize, Class, Explain};
use cuttle_node::rbd::{ExpandVolume, Usage, VolumeStats};
use cuttle_testbed::until;

const MIB: u64 = 1 << 20;

/// Bytes that tell where they belong.
fn pattern(length: usize) -> Vec<u8> {
    (0..length)
        .map(|at| u8::try_from(at * 31 % 251).unwrap())
        .collect()
}

fn stats(field: &Field, id: &str, path: &Path) -> cuttle_node::rbd::Stats {
    let request = VolumeStats {
        id: crate::field::id(id),
        volume_path: path.to_owned(),
    };
    field.node().stats(&request).unwrap()
}

fn whole_life(kind: &str, mib: u64) {
    let field = Field::new();
    field.image("disk", mib);
    let (one, two) = (field.staging("one"), field.staging("two"));
    let target = field.target("pod");
    let stage = field.stage_request("disk", &one, filesystem(kind));
    let publish = publish_request(&stage, &target);

    field.node().stage(&stage).unwrap();
    field.node().stage(&stage).unwrap();
    field.node().publish(&publish).unwrap();
    field.node().publish(&publish).unwrap();
    fs::write(target.join("file"), pattern(3 << 20)).unwrap();

    let measured = stats(&field, "disk", &target);
    let Some(Usage::Filesystem { bytes, inodes }) = measured.usage else {
        panic!("{measured:?}");
    };
    assert!(
        bytes.used > 3 * MIB && bytes.total <= mib * MIB && inodes.used > 0,
        "{measured:?}"
    );
    assert!(!measured.condition.abnormal, "{measured:?}");
    assert_eq!(stats(&field, "disk", &one).usage, measured.usage);

    let refused = field.node().unstage(&unstage_request(&stage)).unwrap_err();
    assert_eq!(refused.class(), Class::Unmet);
    let unpublish = unpublish_request(&stage, &target);
    field.node().unpublish(&unpublish).unwrap();
    field.node().unpublish(&unpublish).unwrap();
    assert!(!target.exists());
    field.node().unstage(&unstage_request(&stage)).unwrap();
    field.node().unstage(&unstage_request(&stage)).unwrap();
    field.assert_empty(&one);
    field.assert_unwatched("disk");

    let stage = field.stage_request("disk", &two, filesystem(kind));
    field.node().stage(&stage).unwrap();
    field
        .node()
        .publish(&publish_request(&stage, &target))
        .unwrap();
    assert_eq!(fs::read(target.join("file")).unwrap(), pattern(3 << 20));
    field.node().unpublish(&unpublish).unwrap();
    field.node().unstage(&unstage_request(&stage)).unwrap();
    field.assert_empty(&two);
    field.assert_clean_host();
}

#[test]
fn an_ext4_volume_lives_and_goes() {
    whole_life("ext4", 64);
}

#[test]
fn an_xfs_volume_lives_and_goes() {
    whole_life("xfs", 320);
}

#[test]
fn a_raw_block_volume_lives_and_goes() {
    let field = Field::new();
    field.image("disk", 32);
    let staging = field.staging("one");
    let target = field.target("pod");
    let stage = field.stage_request("disk", &staging, Access::Block);
    field.node().stage(&stage).unwrap();
    field.node().stage(&stage).unwrap();
    let publish = publish_request(&stage, &target);
    field.node().publish(&publish).unwrap();
    field.node().publish(&publish).unwrap();
    assert!(fs::metadata(&target).unwrap().file_type().is_block_device());
    let device = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(&target)
        .unwrap();
    device.write_all_at(&pattern(8192), 4096).unwrap();
    device.sync_all().unwrap();
    drop(device);
    let measured = stats(&field, "disk", &target);
    let total = ByteSize::from_bytes(32 * MIB);
    assert_eq!(measured.usage, Some(Usage::Block { total }));

    let spec = field.spec("disk");
    field
        .cluster
        .rbd(&["resize", "--no-progress", "--size", "48M", &spec])
        .unwrap();
    let required = Some(ByteSize::from_bytes(48 * MIB));
    let expanded = field.node().expand(&ExpandVolume {
        id: stage.id.clone(),
        volume_path: target.clone(),
        staging_path: None,
        required,
    });
    assert_eq!(Some(expanded.unwrap().size), required);

    field
        .node()
        .unpublish(&unpublish_request(&stage, &target))
        .unwrap();
    field.node().unstage(&unstage_request(&stage)).unwrap();
    field.assert_empty(&staging);
    let export = field.target("export");
    fs::create_dir_all(export.parent().unwrap()).unwrap();
    field
        .cluster
        .rbd(&["export", "--no-progress", &spec, &export.to_string_lossy()])
        .unwrap();
    assert_eq!(
        &fs::read(&export).unwrap()[4096..4096 + 8192],
        pattern(8192)
    );
    field.assert_clean_host();
}

#[test]
fn an_xfs_volume_grows_while_it_is_used() {
    let field = Field::new();
    field.image("disk", 320);
    let staging = field.staging("one");
    let target = field.target("pod");
    let stage = field.stage_request("disk", &staging, filesystem("xfs"));
    field.node().stage(&stage).unwrap();
    field
        .node()
        .publish(&publish_request(&stage, &target))
        .unwrap();
    fs::write(target.join("file"), pattern(1 << 20)).unwrap();
    let size = |path: &Path| match stats(&field, "disk", path).usage {
        Some(Usage::Filesystem { bytes, .. }) => bytes.total,
        other => panic!("{other:?}"),
    };
    let before = size(&target);

    let spec = field.spec("disk");
    field
        .cluster
        .rbd(&["resize", "--no-progress", "--size", "480M", &spec])
        .unwrap();
    let request = ExpandVolume {
        id: stage.id.clone(),
        volume_path: target.clone(),
        staging_path: Some(staging.clone()),
        required: Some(ByteSize::from_bytes(480 * MIB)),
    };
    field.node().expand(&request).unwrap();
    field.node().expand(&request).unwrap();
    assert!(
        size(&target) > before + 140 * MIB,
        "{before} -> {}",
        size(&target)
    );
    assert_eq!(fs::read(target.join("file")).unwrap(), pattern(1 << 20));

    field
        .node()
        .unpublish(&unpublish_request(&stage, &target))
        .unwrap();
    field.node().unstage(&unstage_request(&stage)).unwrap();

    // What grew while it was not staged fills its device when it is staged next.
    field
        .cluster
        .rbd(&["resize", "--no-progress", "--size", "640M", &spec])
        .unwrap();
    field.node().stage(&stage).unwrap();
    assert!(size(&staging.join("disk")) > before + 300 * MIB);
    field.node().unstage(&unstage_request(&stage)).unwrap();
    field.assert_clean_host();
}

#[test]
fn an_ext4_volume_grows_or_says_what_it_lacks() {
    let field = Field::new();
    field.image("disk", 64);
    let staging = field.staging("one");
    let stage = field.stage_request("disk", &staging, filesystem("ext4"));
    field.node().stage(&stage).unwrap();
    let spec = field.spec("disk");
    field
        .cluster
        .rbd(&["resize", "--no-progress", "--size", "96M", &spec])
        .unwrap();
    let expanded = field.node().expand(&ExpandVolume {
        id: stage.id.clone(),
        volume_path: staging.clone(),
        staging_path: None,
        required: Some(ByteSize::from_bytes(96 * MIB)),
    });
    let may = fs::read_to_string("/proc/self/status").unwrap();
    let may = may
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .unwrap()
        .trim();
    let may = u64::from_str_radix(may, 16).unwrap() & (1 << 24) != 0;
    match expanded {
        Ok(expanded) => {
            assert!(may);
            assert_eq!(expanded.size.bytes(), 96 * MIB);
        }
        Err(error) => {
            assert!(!may, "{}", cuttle_model::chain(&error));
            assert_eq!(error.class(), Class::Unmet);
            let told = format!(
                "{}; {}",
                cuttle_model::chain(&error),
                error.remedy().unwrap()
            );
            assert!(
                told.contains("CAP_SYS_RESOURCE") && told.contains("xfs"),
                "{told}"
            );
        }
    }
    // Lacking the capability keeps nobody from using the volume.
    field.node().unstage(&unstage_request(&stage)).unwrap();
    field.node().stage(&stage).unwrap();
    field.node().unstage(&unstage_request(&stage)).unwrap();
    field.assert_clean_host();
}

#[test]
fn readers_cannot_write() {
    let field = Field::new();
    field.image("disk", 64);
    let staging = field.staging("one");
    let target = field.target("pod");
    let mut stage = field.stage_request("disk", &staging, filesystem("ext4"));
    field.node().stage(&stage).unwrap();
    let mut publish = publish_request(&stage, &target);
    publish.read_only = true;
    field.node().publish(&publish).unwrap();
    let denied = fs::write(target.join("file"), "x").unwrap_err();
    assert_eq!(denied.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    publish.read_only = false;
    let refused = field.node().publish(&publish).unwrap_err();
    assert_eq!(refused.code().number(), 1583);
    field
        .node()
        .unpublish(&unpublish_request(&stage, &target))
        .unwrap();
    field.node().unstage(&unstage_request(&stage)).unwrap();

    // Many readers: the device itself refuses, and others may have the image open.
    stage.capability.mode = AccessMode::MultiNodeReaderOnly;
    let other = field.staging("two");
    let mut other_stage = stage.clone();
    other_stage.staging_path = other;
    field.node().stage(&stage).unwrap();
    field.node().stage(&other_stage).unwrap();
    let denied = fs::write(staging.join("disk/file"), "x").unwrap_err();
    assert_eq!(denied.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    field.node().unstage(&unstage_request(&stage)).unwrap();
    field
        .node()
        .unstage(&unstage_request(&other_stage))
        .unwrap();
    field.assert_clean_host();
}

#[test]
fn a_volume_whose_export_died_says_so_and_heals() {
    let field = Field::new();
    field.image("disk", 64);
    let staging = field.staging("one");
    let target = field.target("pod");
    let stage = field.stage_request("disk", &staging, filesystem("ext4"));
    field.node().stage(&stage).unwrap();
    field
        .node()
        .publish(&publish_request(&stage, &target))
        .unwrap();
    fs::write(target.join("file"), "kept").unwrap();
    let file = fs::File::open(target.join("file")).unwrap();
    file.sync_all().unwrap();
    drop(file);

    let process = field.exporter(&staging);
    rustix::process::kill_process(process, rustix::process::Signal::KILL).unwrap();
    until("the death is noticed", Duration::from_secs(10), || {
        let measured = stats(&field, "disk", &target);
        if measured.condition.abnormal {
            Ok(())
        } else {
            Err(format!("{measured:?}"))
        }
    })
    .unwrap();
    let refused = field.node().stage(&stage).unwrap_err();
    assert_eq!(
        refused.class(),
        Class::Unmet,
        "{}",
        cuttle_model::chain(&refused)
    );
    assert!(cuttle_model::chain(&refused).contains("targets/pod"));

    // The cluster takes the dead client's watch off after half a minute; until then the image may
    // still be in use as far as anybody knows.
    field
        .node()
        .unpublish(&unpublish_request(&stage, &target))
        .unwrap();
    until(
        "the dead client's watch is gone",
        Duration::from_secs(90),
        || {
            let error = match field.node().stage(&stage) {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            assert_eq!(
                error.code().number(),
                1532,
                "{}",
                cuttle_model::chain(&error)
            );
            Err(error.to_string())
        },
    )
    .unwrap();
    field
        .node()
        .publish(&publish_request(&stage, &target))
        .unwrap();
    assert_eq!(fs::read_to_string(target.join("file")).unwrap(), "kept");
    assert!(fs::metadata(target.join("file")).unwrap().size() == 4);
    field
        .node()
        .unpublish(&unpublish_request(&stage, &target))
        .unwrap();
    field.node().unstage(&unstage_request(&stage)).unwrap();
    field.assert_empty(&staging);
    field.assert_clean_host();
}
