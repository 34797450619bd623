//! Asynchronous image I/O.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use ceph::{Error, Image, OpenMode};
use cuttle_model::ByteSize;

use crate::setup::{SIZE, Setup, image, setup, until};

/// Begins an operation and waits for what its function is told.
fn wait<T: Send + 'static>(
    begin: impl FnOnce(Box<dyn FnOnce(Result<T, Error>) + Send>),
) -> Result<T, Error> {
    let (sender, receiver) = mpsc::channel();
    begin(Box::new(move |outcome| sender.send(outcome).unwrap()));
    receiver
        .recv_timeout(Duration::from_secs(60))
        .expect("the function is called")
}

fn opened() -> (Setup, Image) {
    let setup = setup();
    setup.make("i");
    let open = setup
        .io
        .open_image(&image("i"), OpenMode::ReadWrite)
        .unwrap();
    (setup, open)
}

fn data_objects(setup: &Setup) -> usize {
    setup
        .objects()
        .iter()
        .filter(|name| name.starts_with("rbd_data."))
        .count()
}

#[test]
fn what_is_written_is_read() {
    let (_setup, image) = opened();
    let data: Vec<u8> = (0..=255_u8).cycle().take(100_000).collect();
    wait(|done| image.aio_write(12_345, data.clone(), done)).unwrap();
    wait(|done| image.aio_flush(done)).unwrap();
    let read = wait(|read| image.aio_read(12_345, 100_000, read)).unwrap();
    assert!(read == data);
    let hole = wait(|read| image.aio_read(8 << 20, 4096, read)).unwrap();
    assert!(hole == vec![0; 4096]);
    image.flush().unwrap();
}

#[test]
fn zeroing_and_discarding_free_objects() {
    let (setup, image) = opened();
    wait(|done| image.aio_write(0, vec![1; 12 << 20], done)).unwrap();
    assert_eq!(data_objects(&setup), 3);
    wait(|done| image.aio_write_zeroes(0, 4 << 20, done)).unwrap();
    let read = wait(|read| image.aio_read(0, 4096, read)).unwrap();
    assert!(read == vec![0; 4096]);
    wait(|done| image.aio_discard(4 << 20, 4 << 20, done)).unwrap();
    assert_eq!(data_objects(&setup), 1);
}

#[test]
fn many_at_once_all_end_and_closing_waits_for_them() {
    let (setup, open) = opened();
    let ended = Arc::new(AtomicUsize::new(0));
    for n in 0..64 {
        let ended = Arc::clone(&ended);
        let done = Box::new(move |outcome: Result<(), Error>| {
            outcome.unwrap();
            ended.fetch_add(1, Ordering::Relaxed);
        });
        open.aio_write(n * 4096, vec![3; 4096], done);
    }
    open.close().unwrap();
    assert_eq!(ended.load(Ordering::Relaxed), 64);
    let again = setup
        .io
        .open_image(&image("i"), OpenMode::ReadOnly)
        .unwrap();
    assert!(wait(|read| again.aio_read(0, 64 * 4096, read)).unwrap() == vec![3; 64 * 4096]);
}

#[test]
fn past_the_end_and_on_a_read_only_image_writing_fails() {
    let (setup, open) = opened();
    let error = wait(|done| open.aio_write(SIZE.bytes() + 4096, vec![1; 512], done)).unwrap_err();
    assert_eq!(
        (error.errno().name(), error.call()),
        ("EINVAL", "rbd.aio_write")
    );
    let reading = setup
        .io
        .open_image(&image("i"), OpenMode::ReadOnly)
        .unwrap();
    let error = wait(|done| reading.aio_write(0, vec![1; 512], done)).unwrap_err();
    assert_eq!(error.errno().name(), "EROFS");
}

#[test]
fn a_panic_in_a_function_goes_no_further() {
    let (_setup, image) = opened();
    image.aio_write(
        0,
        vec![9; 4096],
        Box::new(|_outcome| panic!("a panic in a test")),
    );
    let read = wait(|read| image.aio_read(0, 4096, read)).unwrap();
    assert_eq!(read.len(), 4096);
    // The one that panicked is over, too: closing does not wait for ever.
    image.close().unwrap();
}

#[test]
fn a_dropped_image_is_closed_in_the_background() {
    let (setup, open) = opened();
    open.aio_write(0, vec![9; 4096], Box::new(|outcome| outcome.unwrap()));
    drop(open);
    let reading = setup
        .io
        .open_image(&image("i"), OpenMode::ReadOnly)
        .unwrap();
    assert!(until(Duration::from_secs(30), || reading
        .watchers()
        .unwrap()
        .is_empty()));
    assert!(wait(|read| reading.aio_read(0, 4096, read)).unwrap() == vec![9; 4096]);
}

#[test]
fn a_resize_by_another_is_told() {
    let (setup, open) = opened();
    let told = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&told);
    open.on_update(move || {
        seen.fetch_add(1, Ordering::Relaxed);
        panic!("a panic in a test");
    })
    .unwrap();
    setup
        .witness
        .rbd(&["resize", "--no-progress", "--size", "64M", &setup.spec("i")])
        .unwrap();
    assert!(until(Duration::from_secs(30), || told
        .load(Ordering::Relaxed)
        > 0));
    assert_eq!(open.size().unwrap(), ByteSize::from_bytes(64 << 20));
    open.close().unwrap();
}
