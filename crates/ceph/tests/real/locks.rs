//! The exclusive lock of an image.

use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use ceph::{Image, ImageOptions, OpenMode};
use cuttle_model::ByteSize;

use crate::setup::{SIZE, image, setup};

const LOCKABLE: u64 = 1 | 1 << 2 | 1 << 3;

fn write(image: &Image, bytes: &[u8]) -> Result<(), String> {
    let (told, outcome) = channel();
    let then = move |written: Result<(), ceph::Error>| {
        let written = written.map_err(|error| error.errno().name().to_owned());
        told.send(written).unwrap();
    };
    image.aio_write(0, bytes.to_vec(), Box::new(then));
    outcome.recv_timeout(Duration::from_secs(60)).unwrap()
}

#[test]
fn one_client_keeps_the_lock_and_works_for_the_others() {
    let setup = setup();
    let options = ImageOptions {
        features: Some(LOCKABLE),
        ..ImageOptions::default()
    };
    setup.io.create_image(&image("i"), SIZE, &options).unwrap();
    let open = |io: &ceph::Io| io.open_image(&image("i"), OpenMode::ReadWrite).unwrap();
    let keeper = open(&setup.io);
    assert!(!keeper.is_lock_owner().unwrap());
    keeper.lock_exclusively().unwrap();
    keeper.lock_exclusively().unwrap();
    assert!(keeper.is_lock_owner().unwrap());
    write(&keeper, b"kept").unwrap();

    let other = open(&setup.other_connection());
    let begun = Instant::now();
    let error = other.lock_exclusively().unwrap_err();
    assert!(error.is_locked(), "{error}");
    assert_eq!(write(&other, b"lost"), Err("EROFS".to_owned()));
    assert!(begun.elapsed() < Duration::from_secs(30), "{begun:?}");
    assert!(keeper.is_lock_owner().unwrap() && !other.is_lock_owner().unwrap());
    // What is the owner's business is done by it.
    let larger = ByteSize::from_bytes(SIZE.bytes() * 2);
    other.resize(larger, false).unwrap();
    assert_eq!(keeper.size().unwrap(), larger);
    let snapshot = format!("{}@moment", setup.spec("i"));
    setup.witness.rbd(&["snap", "create", &snapshot]).unwrap();
    setup.witness.rbd(&["snap", "rm", &snapshot]).unwrap();
    write(&keeper, b"kept").unwrap();

    keeper.close().unwrap();
    other.lock_exclusively().unwrap();
    write(&other, b"mine").unwrap();
    other.close().unwrap();
}

#[test]
fn an_image_without_the_feature_cannot_be_locked() {
    let setup = setup();
    let options = ImageOptions {
        features: Some(1),
        ..ImageOptions::default()
    };
    setup.io.create_image(&image("i"), SIZE, &options).unwrap();
    let open = setup
        .io
        .open_image(&image("i"), OpenMode::ReadWrite)
        .unwrap();
    let error = open.lock_exclusively().unwrap_err();
    assert_eq!(error.errno().name(), "EINVAL");
}

#[test]
fn a_client_that_takes_the_lock_by_itself_is_refused_at_once() {
    let setup = setup();
    let options = ImageOptions {
        features: Some(LOCKABLE),
        ..ImageOptions::default()
    };
    setup.io.create_image(&image("i"), SIZE, &options).unwrap();
    let open = |io: &ceph::Io| io.open_image(&image("i"), OpenMode::ReadWrite).unwrap();
    let keeper = open(&setup.io);
    keeper.lock_exclusively().unwrap();
    let other = open(&setup.other_connection());
    assert_eq!(write(&other, b"lost"), Err("EROFS".to_owned()));
    keeper.close().unwrap();
    write(&other, b"mine").unwrap();
    other.close().unwrap();
}
