//! Growing images by their header alone, beside what others do to them at the same time.

use ceph::OpenMode;
use cuttle_door::Ledger;
use cuttle_model::{ByteSize, ComposedHandle, ImageName, VolumeHandle};
use cuttle_volumes::rbd::RbdController;
use cuttle_volumes::{Created, ExpandVolume};

use crate::setup::{Setup, controller, random_name, range, setup};
use crate::taken::{Taking as _, image_of};

const PLAIN: &[(&str, &str)] = &[("imageFeatures", "layering")];

fn growth(setup: &Setup, handle: &ComposedHandle, mib: u64) -> ExpandVolume {
    ExpandVolume {
        handle: VolumeHandle::Composed(handle.clone()),
        range: range(mib, None),
        capability: None,
        credentials: setup.admin(),
    }
}

#[track_caller]
fn grow(setup: &Setup, by: &RbdController, volume: &Created, mib: u64) -> ByteSize {
    let request = growth(setup, &volume.handle, mib);
    by.expand(&setup.table, &request).unwrap().size
}

fn mib(count: u64) -> ByteSize {
    ByteSize::from_mib(count).unwrap()
}

/// How often that call was made so far.
fn calls(ledger: &Ledger, call: &str) -> u64 {
    let entries = ledger.snapshot();
    let of_call = entries.iter().filter(|entry| entry.call == call);
    of_call.map(|entry| entry.count).sum()
}

/// A client that has the image open for writing.
fn open(setup: &Setup, image: &str) -> ceph::Image {
    let name = ImageName::new(image).unwrap();
    setup.io().open_image(&name, OpenMode::ReadWrite).unwrap()
}

/// What the program `rbd` says of an image.
fn info(setup: &Setup, image: &str) -> serde_json::Value {
    let spec = format!("rbd/{}/{image}", setup.namespace);
    let text = setup.witness.rbd(&["info", "--format", "json", &spec]);
    serde_json::from_str(&text.unwrap()).unwrap()
}

#[test]
fn a_plain_image_grows_in_use_and_without_being_opened() {
    let setup = setup();
    let volume = setup.create(&setup.request("pvc", PLAIN)).unwrap();
    let image = image_of(&volume);
    let user = open(&setup, &image);
    assert_eq!(user.size().unwrap(), mib(16));
    let (doors, fresh) = controller("");
    for size in [32, 24] {
        assert_eq!(grow(&setup, &fresh, &volume, size), mib(32));
    }
    assert_eq!(calls(&doors.ledger(), "rbd.open"), 0);
    // The client was told, and can use what it got.
    assert_eq!(user.size().unwrap(), mib(32));
    let (done, written) = std::sync::mpsc::channel();
    let tell = move |outcome| done.send(outcome).unwrap();
    user.aio_write((32 << 20) - 4096, vec![7; 4096], Box::new(tell));
    written.recv().unwrap().unwrap();
    user.close().unwrap();
    assert_eq!(info(&setup, &image)["size"], 32 << 20);
    let data = setup.data(&image);
    assert_eq!((data.len(), data.last()), (32 << 20, Some(&7)));
    setup.delete(&volume.handle).unwrap();
    setup.assert_nothing_left("after delete");
}

#[test]
fn a_clone_grows_beyond_its_parent() {
    let setup = setup();
    let parent = setup.volume("parent");
    setup.write(&image_of(&parent), (16 << 20) - 4, b"last");
    let clone = setup.clone_of("clone", &parent, PLAIN).unwrap();
    assert_eq!(grow(&setup, &setup.controller, &clone, 20), mib(20));
    let data = setup.data(&image_of(&clone));
    assert_eq!(data.len(), 20 << 20);
    assert_eq!(data[(16 << 20) - 4..16 << 20], *b"last");
    assert!(data[16 << 20..].iter().all(|byte| *byte == 0));
    let parent_of = info(&setup, &image_of(&clone));
    assert_eq!(parent_of["parent"]["overlap"], 16 << 20);
    for volume in [&clone, &parent] {
        setup.delete(&volume.handle).unwrap();
    }
    setup.assert_nothing_left("after delete");
}

#[test]
fn an_image_with_more_than_a_header_is_grown_by_librbd() {
    let setup = setup();
    let plain = setup.create(&setup.request("plain", PLAIN)).unwrap();
    let snapped = open(&setup, &image_of(&plain));
    snapped.create_snapshot("by-hand").unwrap();
    let mapped = setup.create(&setup.request("mapped", &[])).unwrap();
    for volume in [&plain, &mapped] {
        let (doors, fresh) = controller("");
        assert_eq!(grow(&setup, &fresh, volume, 24), mib(24));
        assert_eq!(calls(&doors.ledger(), "rbd.resize"), 1);
        assert_eq!(info(&setup, &image_of(volume))["size"], 24 << 20);
    }
    // The object map has grown as well.
    let image = format!("rbd/{}/{}", setup.namespace, image_of(&mapped));
    setup.witness.rbd(&["object-map", "check", &image]).unwrap();
    assert!(
        !info(&setup, &image_of(&mapped))["flags"]
            .to_string()
            .contains("invalid")
    );
    snapped.remove_snapshot("by-hand").unwrap();
    snapped.close().unwrap();
    for volume in [&plain, &mapped] {
        setup.delete(&volume.handle).unwrap();
    }
    setup.assert_nothing_left("after delete");
}

#[test]
fn of_growths_at_the_same_time_the_largest_stays() {
    let setup = setup();
    let volume = setup
        .create(&setup.request(&random_name("pvc"), PLAIN))
        .unwrap();
    let controllers: Vec<_> = (0..4).map(|_| controller("").1).collect();
    for round in 1..=25 {
        std::thread::scope(|scope| {
            for (place, by) in (0..).zip(&controllers) {
                let size = 16 + round * 4 + place;
                let (setup, volume) = (&setup, &volume);
                scope.spawn(move || {
                    let grown = grow(setup, by, volume, size);
                    assert!(grown >= mib(size), "round {round}: {grown} for {size} MiB");
                });
            }
        });
        let largest = (16 + round * 4 + 3) << 20;
        assert_eq!(
            info(&setup, &image_of(&volume))["size"],
            largest,
            "round {round}"
        );
    }
    setup.delete(&volume.handle).unwrap();
    setup.assert_nothing_left("after delete");
}
