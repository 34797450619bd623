//! Faults injected at the door come out as errors of the call they strike, and leave no mess.

use cuttle_model::{Class, Explain, Left};

use ceph::{OpenMode, WriteOp, write_many};

use crate::setup::{image, with_faults};

#[test]
fn an_injected_failure_replaces_the_call() {
    let setup = with_faults("fail@1:rados.write=ENOSPC,fail@2:rados.write=ETIMEDOUT");
    let write = || setup.io.write("o", WriteOp::new().write_full(b"x"));
    let error = write().unwrap_err();
    assert_eq!((error.call(), error.class()), ("rados.write", Class::Full));
    assert_eq!(setup.io.read("o", 1).unwrap(), None);
    let error = write().unwrap_err();
    assert_eq!(
        (error.class(), error.left()),
        (Class::Down, Left::MaybeRunning)
    );
    write().unwrap();
    assert_eq!(setup.io.read("o", 1).unwrap().unwrap(), b"x");
}

#[test]
fn of_several_writes_at_once_only_the_struck_one_fails() {
    let setup = with_faults("fail@2:rados.write=EIO");
    let op = WriteOp::new().write_full(b"x");
    let io = &setup.io;
    let outcomes = write_many(&[(io, "o1", &op), (io, "o2", &op), (io, "o3", &op)]);
    assert!(outcomes[0].is_ok() && outcomes[1].is_err() && outcomes[2].is_ok());
    assert_eq!(setup.leftovers(), ["o1", "o3"]);
}

#[test]
fn a_struck_close_still_closes() {
    let setup = with_faults("fail@1:rbd.close=EIO");
    setup.make("i");
    let open = setup
        .io
        .open_image(&image("i"), OpenMode::ReadWrite)
        .unwrap();
    assert_eq!(open.close().unwrap_err().call(), "rbd.close");
    let reading = setup
        .io
        .open_image(&image("i"), OpenMode::ReadOnly)
        .unwrap();
    let closed = || reading.watchers().unwrap().is_empty();
    assert!(crate::setup::until(
        std::time::Duration::from_secs(30),
        closed
    ));
}

#[test]
fn a_struck_asynchronous_call_tells_its_function() {
    let setup = with_faults("fail@1:rbd.aio_read=EIO");
    setup.make("i");
    let open = setup
        .io
        .open_image(&image("i"), OpenMode::ReadOnly)
        .unwrap();
    let (sender, receiver) = std::sync::mpsc::channel();
    open.aio_read(
        0,
        512,
        Box::new(move |outcome| sender.send(outcome).unwrap()),
    );
    assert_eq!(receiver.recv().unwrap().unwrap_err().errno().name(), "EIO");
    open.close().unwrap();
}
