//! `mounter: rbd`: the kernel's RBD client.

use std::io::{Read, Seek, SeekFrom, Write};

use cuttle_csi::v1;
use cuttle_csi::v1::volume_capability::access_mode::Mode;

use super::volume::{Volume, attribute, mounted_at, of_disk, world};
use crate::calls::{GIB, MIB, block_capability, mount_capability, text};

const KRBD: (&str, &str) = ("mounter", "rbd");

fn with_mode(mut capability: v1::VolumeCapability, mode: Mode) -> v1::VolumeCapability {
    capability.access_mode = Some(v1::volume_capability::AccessMode { mode: mode.into() });
    capability
}

/// Bytes that are not the same anywhere.
fn data() -> Vec<u8> {
    (0..1_000_000_u32)
        .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect()
}

fn a_filesystem_lives(fs_type: &str) {
    let driver = world().start_named("node-a", &[]);
    let name = format!("krbd-{fs_type}");
    let volume = Volume::create(
        &driver,
        &name,
        400 * MIB,
        mount_capability(fs_type),
        &[KRBD],
    );
    volume.stage(&driver).expect("a staging");
    volume.stage(&driver).expect("the same staging");
    volume.publish(&driver, false).expect("a publication");
    volume
        .publish(&driver, false)
        .expect("the same publication");
    let device = format!("rbd{}", volume.mapping());
    let seen = (format!("/dev/{device}"), fs_type.to_owned());
    assert_eq!(mounted_at(&volume.target), seen);
    std::fs::write(volume.target.join("data"), data()).expect("a write");

    let before = volume.total_bytes(&driver);
    volume.expand(&driver, GIB);
    assert_eq!(of_disk(&device, "size"), (GIB / 512).to_string());
    let grown = volume.total_bytes(&driver) - before;
    assert!(grown > 400 * MIB, "grew by {grown} bytes only");
    volume.take_down(&driver);
    volume.assert_unmapped();

    let other = world().start_named("node-b", &["--nodeid=node-2"]);
    let there = volume.elsewhere(&format!("{name}-b"));
    there.bring_up(&other);
    let read = std::fs::read(there.target.join("data")).expect("the file");
    assert!(read == data(), "other data");
    there.take_down(&other);
    volume.assert_unmapped();
    volume.delete(&driver);
    world().assert_host_clean(&[&driver, &other], "after the volume's life");
}

#[test]
fn an_ext4_volume_keeps_its_data_and_grows_online() {
    a_filesystem_lives("ext4");
}

#[test]
fn an_xfs_volume_keeps_its_data_and_grows_online() {
    a_filesystem_lives("xfs");
}

#[test]
fn a_raw_block_volume_is_the_image_itself_and_grows() {
    let driver = world().start(&[]);
    // Such an image grows by its header alone, and the kernel is told by a notification.
    let plain = [KRBD, ("imageFeatures", "layering")];
    let volume = Volume::create(&driver, "krbd-raw", 64 * MIB, block_capability(), &plain);
    volume.bring_up(&driver);
    let options = std::fs::File::options().read(true).write(true).to_owned();
    let mut device = options.open(&volume.target).expect("the device");
    device.seek(SeekFrom::Start(1 << 20)).unwrap();
    device.write_all(b"straight to the image").expect("a write");
    device.sync_all().expect("a flush");
    volume.expand(&driver, 128 * MIB);
    assert_eq!(volume.total_bytes(&driver), 128 * MIB);
    assert_eq!(device.seek(SeekFrom::End(0)).unwrap(), 128 << 20);
    drop(device);

    let copy = world().path("krbd-raw/copy");
    let export = ["export", "--no-progress", &volume.image(), &text(&copy)];
    world().cluster.rbd(&export).expect("an export");
    let mut file = std::fs::File::open(&copy).unwrap();
    file.seek(SeekFrom::Start(1 << 20)).unwrap();
    let mut bytes = [0; 21];
    file.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"straight to the image");
    volume.take_down(&driver);
    volume.assert_unmapped();
    volume.delete(&driver);
}

#[test]
fn readers_on_two_staging_paths_do_not_disturb_each_other() {
    let driver = world().start(&[]);
    let mut volume = Volume::create(
        &driver,
        "krbd-ro",
        64 * MIB,
        mount_capability("ext4"),
        &[KRBD],
    );
    volume.stage(&driver).expect("a staging");
    volume.publish(&driver, true).expect("a publication");
    let error = std::fs::write(volume.target.join("file"), "text").expect_err("a read-only mount");
    assert_eq!(error.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    volume
        .unpublish(&driver)
        .expect("an end of the publication");
    volume.publish(&driver, false).expect("a publication");
    std::fs::write(volume.target.join("file"), "text").expect("a write");
    volume.take_down(&driver);

    volume.capability = with_mode(volume.capability, Mode::MultiNodeReaderOnly);
    let second = volume.elsewhere("krbd-ro-b");
    volume.bring_up(&driver);
    second.bring_up(&driver);
    for number in volume.mappings() {
        assert_eq!(of_disk(&format!("rbd{number}"), "ro"), "1");
    }
    for place in [&volume, &second] {
        assert_eq!(
            std::fs::read_to_string(place.target.join("file")).unwrap(),
            "text"
        );
        let error = std::fs::write(place.target.join("new"), "").expect_err("a read-only mount");
        assert_eq!(error.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    }
    volume.take_down(&driver);
    assert_eq!(
        std::fs::read_to_string(second.target.join("file")).unwrap(),
        "text"
    );
    second.take_down(&driver);
    volume.assert_unmapped();
    volume.delete(&driver);
}

#[test]
fn map_and_unmap_options_reach_the_kernel() {
    let driver = world().start(&[]);
    let options = [
        KRBD,
        (
            "mapOptions",
            "krbd:queue_depth=64,lock_on_read,read_from_replica=localize,crush_location=host:a|rack:b",
        ),
        ("unmapOptions", "krbd:force"),
    ];
    let volume = Volume::create(
        &driver,
        "krbd-options",
        64 * MIB,
        mount_capability("ext4"),
        &options,
    );
    volume.bring_up(&driver);
    let number = volume.mapping();
    assert_eq!(of_disk(&format!("rbd{number}"), "mq/0/nr_tags"), "64");
    let told = attribute(number, "config_info");
    for option in [
        "lock_on_read",
        "read_from_replica=localize",
        "crush_location=host:a|rack:b",
    ] {
        assert!(told.contains(option), "{told}");
    }
    assert!(!told.contains(&world().key), "the key is readable in sysfs");
    std::fs::write(volume.target.join("file"), "text").expect("a write");
    // Somebody who still has the device open does not stop a forced unmapping.
    let device = std::fs::File::open(format!("/dev/rbd{number}")).expect("the device");
    volume.take_down(&driver);
    volume.assert_unmapped();
    drop(device);
    volume.delete(&driver);
}

#[test]
fn what_a_plugin_staged_its_successor_takes_down() {
    let mut first = world().start_named("first", &[]);
    let volume = Volume::create(
        &first,
        "krbd-restart",
        64 * MIB,
        mount_capability("ext4"),
        &[KRBD],
    );
    volume.bring_up(&first);
    first.driver.kill().expect("its end");
    std::fs::write(volume.target.join("file"), "text").expect("the mount goes on");
    let second = world().start_named("second", &[]);
    volume.stage(&second).expect("it is staged already");
    volume.take_down(&second);
    volume.assert_unmapped();
    volume.delete(&second);
}

/// A driver whose cluster has these monitors in `config.json`.
fn start_with_monitors(name: &str, monitors: &[&str]) -> crate::world::Running {
    let mut entry = world().config_entry();
    entry["monitors"] = serde_json::json!(monitors);
    let path = world().path(&format!("{name}.json"));
    std::fs::write(&path, serde_json::json!([entry]).to_string()).unwrap();
    world().start_named(name, &[&format!("--config={}", path.display())])
}

#[test]
fn the_protocol_is_the_one_that_the_monitors_speak() {
    let maker = world().start_named("maker", &[]);
    let volume = Volume::create(
        &maker,
        "krbd-protocol",
        64 * MIB,
        mount_capability("ext4"),
        &[KRBD],
    );
    // A port that no list tells the protocol of, and a name, which only Ceph's own program resolves.
    let hosts = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
    std::fs::write("/etc/hosts", format!("{hosts}\n10.99.0.1 monitor\n")).expect("a name");
    for (name, monitor, mode) in [
        ("first", "10.99.0.1:6789", None),
        ("second", "v2:10.99.0.1:3300", Some("ms_mode=prefer-crc")),
        ("either", "10.99.0.1", None),
        ("named", "monitor:6789", None),
    ] {
        let driver = start_with_monitors(name, &[monitor]);
        volume
            .stage(&driver)
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let told = attribute(volume.mapping(), "config_info");
        assert_eq!(
            told.split([' ', ','])
                .find(|option| option.starts_with("ms_mode")),
            mode,
            "{told}"
        );
        volume.unstage(&driver).expect("an end of the staging");
        volume.assert_unmapped();
    }
    volume.delete(&maker);
}

#[test]
fn what_the_kernel_cannot_do_is_told_before_it_waits() {
    let driver = world().start(&[]);
    let all = "layering,exclusive-lock,journaling";
    let journaled = Volume::create(
        &driver,
        "krbd-journaled",
        64 * MIB,
        mount_capability("ext4"),
        &[("mounter", "fuse"), ("imageFeatures", all)],
    );
    let mut by_kernel = journaled.elsewhere("krbd-journaled-b");
    by_kernel
        .volume
        .volume_context
        .insert("mounter".to_owned(), "rbd".to_owned());
    let refused = by_kernel.stage(&driver).expect_err("no kernel journals");
    assert!(refused.message().contains("CUTTLE-1513"), "{refused}");
    assert!(refused.message().contains("journaling"), "{refused}");
    journaled.delete(&driver);

    let options = [KRBD, ("mapOptions", "krbd:no_such_option")];
    let strange = Volume::create(
        &driver,
        "krbd-strange",
        64 * MIB,
        mount_capability("ext4"),
        &options,
    );
    let refused = strange.stage(&driver).expect_err("no kernel knows it");
    assert!(refused.message().contains("CUTTLE-1518"), "{refused}");
    assert!(refused.message().contains("EINVAL"), "{refused}");
    // The reason is the kernel's own.
    assert!(refused.message().contains("no_such_option"), "{refused}");
    strange.assert_unmapped();
    strange.delete(&driver);
}
