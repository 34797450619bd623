//! Deleting a volume that ceph-csi has cloned from another, and one with snapshots taken by hand.
//!
//! ceph-csi clones a volume through an image of its own, `<image>-temp`, which goes with the clone.

use ceph::OpenMode;
use cuttle_model::{Class, Explain, ImageName, Left};
use cuttle_volumes::Created;
use cuttle_volumes::rbd::DeleteError;

use crate::setup::{Setup, random_name, setup};

/// Puts a clone, as ceph-csi makes it, in the place of a volume's image; answers the name of the
/// image between.
fn clone_as_ceph_csi(setup: &Setup, source: &Created, clone: &Created) -> String {
    let rbd = |words: &[&str]| setup.witness.rbd(words).unwrap();
    let spec = |created: &Created| setup.spec(&created.context["imageName"]);
    let (source, target) = (spec(source), spec(clone));
    let between = format!("{}-temp", clone.context["imageName"]);
    let middle = setup.spec(&between);
    let snapshot = |image: &str, name: &str| format!("{image}@{name}");
    let make = |parent: &str, name: &str, child: &str| {
        rbd(&["snap", "create", &snapshot(parent, name)]);
        let format = "--rbd-default-clone-format=2";
        rbd(&["clone", format, &snapshot(parent, name), child]);
        rbd(&["snap", "rm", &snapshot(parent, name)]);
    };
    make(&source, &between, &middle);
    rbd(&["rm", "--no-progress", &target]);
    make(&middle, &clone.context["imageName"], &target);
    let info: serde_json::Value =
        serde_json::from_str(&rbd(&["info", "--format=json", &target])).unwrap();
    let record = format!("csi.volume.{}", clone.handle.uuid);
    setup.set_omap(&record, "csi.imageid", info["id"].as_str().unwrap());
    between
}

fn refused(setup: &Setup, created: &Created, word: &str) -> DeleteError {
    let deletion = setup.deletion(&created.handle);
    let error = setup
        .controller
        .delete(&setup.table, &deletion)
        .unwrap_err();
    assert_eq!((error.class(), error.left()), (Class::Unmet, Left::Nothing));
    assert!(error.to_string().contains(word), "{word} is not in {error}");
    // Nothing was touched.
    let image = &created.context["imageName"];
    setup.witness.rbd(&["info", &setup.spec(image)]).unwrap();
    error
}

#[test]
fn the_image_between_a_volume_and_its_clone_goes_with_the_clone() {
    let setup = setup();
    let make = || {
        setup
            .create(&setup.request(&random_name("pvc"), &[]))
            .unwrap()
    };
    let (source, clone) = (make(), make());
    let between = clone_as_ceph_csi(&setup, &source, &clone);
    let foreign = format!("{}@mine", setup.spec(&between));

    let image = ImageName::new(between.clone()).unwrap();
    let user = setup.io().open_image(&image, OpenMode::ReadWrite).unwrap();
    let error = refused(&setup, &clone, &between);
    assert!(matches!(error, DeleteError::InUse { .. }), "{error}");
    user.close().unwrap();

    setup.witness.rbd(&["snap", "create", &foreign]).unwrap();
    let error = refused(&setup, &clone, "mine");
    assert!(matches!(error, DeleteError::HasSnapshots { .. }), "{error}");
    setup.witness.rbd(&["snap", "rm", &foreign]).unwrap();

    setup.delete(&clone.handle).unwrap();
    setup.delete(&source.handle).unwrap();
    setup.assert_nothing_left("after clone and source were deleted");
}

#[test]
fn a_volume_with_snapshots_taken_by_hand_is_not_deleted() {
    let setup = setup();
    let created = setup
        .create(&setup.request(&random_name("pvc"), &[]))
        .unwrap();
    let snapshot = format!("{}@by-hand", setup.spec(&created.context["imageName"]));
    setup.witness.rbd(&["snap", "create", &snapshot]).unwrap();
    let error = refused(&setup, &created, "by-hand");
    assert_eq!(error.code().number(), 1425);
    setup.witness.rbd(&["snap", "rm", &snapshot]).unwrap();
    setup.delete(&created.handle).unwrap();
    setup.assert_nothing_left("after the snapshot was removed");
}
