//! Volumes that somebody uses.

use ceph::OpenMode;
use cuttle_model::{ByteSize, Class, Explain, ImageName, Left, VolumeHandle};
use cuttle_volumes::ExpandVolume;
use cuttle_volumes::rbd::DeleteError;

use crate::setup::{random_name, range, setup};

#[test]
fn a_watched_volume_is_not_deleted_and_its_users_are_named() {
    let setup = setup();
    let name = random_name("pvc");
    let created = setup.create(&setup.request(&name, &[])).unwrap();
    let image = ImageName::new(created.context["imageName"].clone()).unwrap();
    let user = setup.io().open_image(&image, OpenMode::ReadWrite).unwrap();
    let address = user.watchers().unwrap().pop().unwrap().address;

    let deletion = setup.deletion(&created.handle);
    let error = setup
        .controller
        .delete(&setup.table, &deletion)
        .unwrap_err();
    assert!(
        matches!(&error, DeleteError::InUse { watchers, .. } if watchers.iter().eq([&address])),
        "{error}"
    );
    assert_eq!((error.class(), error.left()), (Class::Unmet, Left::Nothing));
    assert!(error.to_string().contains(&address), "{error}");
    setup.assert_exactly("while in use", &[(&name, &created)]);

    user.close().unwrap();
    setup.delete(&created.handle).unwrap();
    setup.assert_nothing_left("after delete");
}

#[test]
fn a_volume_grows_while_another_client_holds_its_lock() {
    let setup = setup();
    let created = setup
        .create(&setup.request(&random_name("pvc"), &[]))
        .unwrap();
    let image = ImageName::new(created.context["imageName"].clone()).unwrap();
    let user = setup.io().open_image(&image, OpenMode::ReadWrite).unwrap();
    // The first write takes the exclusive lock.
    let (done, written) = std::sync::mpsc::channel();
    user.aio_write(
        0,
        vec![7; 4096],
        Box::new(move |outcome| done.send(outcome).unwrap()),
    );
    written.recv().unwrap().unwrap();

    let request = ExpandVolume {
        handle: VolumeHandle::Composed(created.handle.clone()),
        range: range(32, None),
        capability: None,
        credentials: setup.admin(),
    };
    let expanded = setup.controller.expand(&setup.table, &request).unwrap();
    assert_eq!(expanded.size, ByteSize::from_mib(32).unwrap());
    assert_eq!(user.size().unwrap(), expanded.size);
    user.close().unwrap();
    setup.delete(&created.handle).unwrap();
    setup.assert_nothing_left("after delete");
}
