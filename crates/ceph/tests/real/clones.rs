//! Clones made by plan are the same as librbd's, and torn ones are removed.

use std::collections::BTreeMap;

use ceph::{CloneParent, ClonePlan, ImageOptions, OpenMode, SnapId, SnapshotOf, header_object};
use cuttle_model::{ByteSize, ImageId, ImageName, ObjectUuid};

use crate::setup::{FEATURES, SIZE, Setup, image, setup};

/// Makes an image with some data and a snapshot.
fn parent(setup: &Setup, name: &str) -> CloneParent {
    setup.make(name);
    let name = image(name);
    let open = setup.io.open_image(&name, OpenMode::ReadWrite).unwrap();
    write(&open, 0, b"of the parent");
    let snapshot = open.create_snapshot("s").unwrap();
    let stat = open.stat().unwrap();
    let id = open.id().unwrap();
    open.close().unwrap();
    CloneParent {
        io: setup.io.clone(),
        image: id,
        features: stat.features,
        order: stat.order,
        snapshot,
        size: stat.size,
    }
}

fn random_id() -> ImageId {
    ImageId::of(&ObjectUuid::random())
}

fn write(open: &ceph::Image, offset: u64, data: &[u8]) {
    let (sender, receiver) = std::sync::mpsc::channel();
    let done = Box::new(move |done| sender.send(done).unwrap());
    open.aio_write(offset, data.to_vec(), done);
    receiver.recv().unwrap().unwrap();
}

fn read(setup: &Setup, name: &ImageName, length: usize) -> Vec<u8> {
    let open = setup.io.open_image(name, OpenMode::ReadOnly).unwrap();
    let (sender, receiver) = std::sync::mpsc::channel();
    open.aio_read(0, length, Box::new(move |read| sender.send(read).unwrap()));
    let read = receiver.recv().unwrap().unwrap();
    open.close().unwrap();
    read
}

fn options(features: Option<u64>) -> ImageOptions {
    ImageOptions {
        features,
        ..ImageOptions::default()
    }
}

fn plan(setup: &Setup, name: &str, features: Option<u64>, parent: &CloneParent) -> ClonePlan {
    let plan = setup.io.plan_clone_as(
        &random_id(),
        &image(name),
        SIZE,
        &options(features),
        &[("k", "v")],
        parent,
    );
    plan.unwrap().expect("an everyday clone")
}

/// The header's content, without what differs between any two images.
fn header(setup: &Setup, id: &ImageId) -> BTreeMap<String, Vec<u8>> {
    let mut omap = setup.io.omap_all(&header_object(id)).unwrap().unwrap();
    for differs in [
        "object_prefix",
        "create_timestamp",
        "access_timestamp",
        "modify_timestamp",
    ] {
        assert!(omap.remove(differs).is_some(), "{differs}");
    }
    omap
}

#[test]
fn a_planned_clone_is_the_same_as_librbds() {
    let setup = setup();
    let parent = parent(&setup, "parent");
    let open = setup
        .io
        .open_image(&image("parent"), OpenMode::ReadWrite)
        .unwrap();
    open.set_metadata("k", "v").unwrap();
    open.close().unwrap();
    for features in [None, Some(0b10_0001), Some(FEATURES)] {
        let (planned, plain) = (
            format!("planned-{features:?}"),
            format!("plain-{features:?}"),
        );
        let plan = plan(&setup, &planned, features, &parent);
        setup.io.create_planned_clone(&plan).unwrap();
        let from = (&setup.io, &image("parent"), "s");
        setup
            .io
            .clone_image(&image(&plain), &options(features), from)
            .unwrap();
        let plain_id = setup.io.image_id(&image(&plain)).unwrap().unwrap();
        assert_eq!(header(&setup, plan.image.id()), header(&setup, &plain_id));
        let parent_of = |id| setup.io.parent_by_id(id, None).unwrap().unwrap();
        assert_eq!(parent_of(plan.image.id()), parent_of(&plain_id));
        assert_eq!(parent_of(&plain_id).image, parent.image);
        assert_eq!(parent_of(&plain_id).overlap, SIZE);
        assert_eq!(read(&setup, &image(&planned), 13), b"of the parent");
        let children = setup
            .io
            .children_by_id(&parent.image, parent.snapshot)
            .unwrap();
        let children: Vec<&ImageId> = children.iter().map(|child| &child.image).collect();
        assert!(children.contains(&plan.image.id()) && children.contains(&&plain_id));
        if features == Some(FEATURES) {
            let spec = setup.spec(&planned);
            let words = ["object-map", "check", "--no-progress", &spec];
            setup.witness.rbd(&words).unwrap();
        }
    }
}

#[test]
fn a_larger_clone_shows_the_parent_and_then_nothing() {
    let setup = setup();
    let parent = parent(&setup, "parent");
    let size = ByteSize::from_bytes(SIZE.bytes() * 2);
    let plan = setup.io.plan_clone_as(
        &random_id(),
        &image("c"),
        size,
        &options(Some(FEATURES)),
        &[],
        &parent,
    );
    let plan = plan.unwrap().unwrap();
    setup.io.create_planned_clone(&plan).unwrap();
    let info = setup.rbd_json(&["info", &setup.spec("c")]);
    assert_eq!(info["size"], size.bytes());
    assert_eq!(info["parent"]["overlap"], SIZE.bytes());
    let open = setup
        .io
        .open_image(&image("c"), OpenMode::ReadWrite)
        .unwrap();
    write(&open, SIZE.bytes() + 4096, b"beyond");
    open.close().unwrap();
    let spec = setup.spec("c");
    let check = ["object-map", "check", "--no-progress", &spec];
    setup.witness.rbd(&check).unwrap();
}

/// Snapshot, clone, a snapshot of the clone with a number that was asked for beforehand, and a
/// clone of that: then all is removed from the top, and nothing is left.
#[test]
fn a_chain_with_a_number_asked_for_beforehand() {
    let setup = setup();
    let number = setup.io.start_snap_id().unwrap();
    let parent = parent(&setup, "parent");
    let number: SnapId = number.wait().unwrap();
    assert!(number != parent.snapshot);
    let middle = plan(&setup, "middle", Some(0b10_0001), &parent);
    setup.io.create_planned_clone(&middle).unwrap();
    let (object, write) = setup
        .io
        .snapshot_write(middle.image.id(), "m", number)
        .unwrap();
    setup.io.write(&object, &write).unwrap();
    assert!(setup.io.write(&object, &write).unwrap_err().is_present());
    setup
        .io
        .trash_snapshot(&parent.image, parent.snapshot)
        .unwrap();
    setup
        .io
        .trash_snapshot(&parent.image, parent.snapshot)
        .unwrap();
    let trashed = setup
        .io
        .snapshot_by_id(&parent.image, parent.snapshot)
        .unwrap()
        .unwrap();
    assert_eq!(
        trashed.of,
        SnapshotOf::Trash {
            name: "s".to_owned()
        }
    );
    assert_eq!(trashed.clones, 1);

    let snapshots = setup
        .io
        .snapshots_by_id(middle.image.id())
        .unwrap()
        .unwrap();
    let [snapshot] = snapshots.as_slice() else {
        unreachable!("{snapshots:?}");
    };
    assert_eq!((snapshot.id, snapshot.name.as_str()), (number, "m"));
    assert_eq!((&snapshot.of, snapshot.size), (&SnapshotOf::Users, SIZE));
    let listed = setup.rbd_json(&["snap", "ls", &setup.spec("middle")]);
    assert_eq!(listed[0]["id"], number.get());
    let below = CloneParent {
        image: middle.image.id().clone(),
        features: 0b10_0001,
        snapshot: number,
        ..parent.clone()
    };
    let bottom = plan(&setup, "bottom", Some(FEATURES), &below);
    setup.io.create_planned_clone(&bottom).unwrap();
    assert_eq!(read(&setup, &image("bottom"), 13), b"of the parent");

    // A snapshot in the trash takes no more clones.
    let late = plan(&setup, "late", Some(FEATURES), &parent);
    let refused = setup.io.create_planned_clone(&late).unwrap_err();
    assert!(refused.is_absent(), "{refused}");
    assert!(setup.io.remove_image(&image("late")).unwrap());

    assert!(setup.io.remove_image(&image("bottom")).unwrap());
    setup.io.trash_snapshot(middle.image.id(), number).unwrap();
    // librbd removes what is in the snapshots' trash together with the image.
    assert!(setup.io.remove_image(&image("middle")).unwrap());
    assert!(setup.io.remove_image(&image("parent")).unwrap());
    assert_eq!(setup.leftovers(), [""; 0]);
}

#[test]
fn a_flattened_clone_has_no_parent_but_its_older_snapshot_may_have() {
    let setup = setup();
    let parent = parent(&setup, "parent");
    // Without deep-flatten, so that the snapshot keeps the parent.
    let clone = plan(&setup, "c", Some(1), &parent);
    setup.io.create_planned_clone(&clone).unwrap();
    let open = setup
        .io
        .open_image(&image("c"), OpenMode::ReadWrite)
        .unwrap();
    let snapshot = open.create_snapshot("before").unwrap();
    open.close().unwrap();
    let spec = setup.spec("c");
    setup
        .witness
        .rbd(&["flatten", "--no-progress", &spec])
        .unwrap();
    let id = clone.image.id();
    assert_eq!(setup.io.parent_by_id(id, None).unwrap(), None);
    let older = setup.io.parent_by_id(id, Some(snapshot)).unwrap().unwrap();
    assert_eq!((older.image, older.overlap), (parent.image, SIZE));
    assert_eq!(read(&setup, &image("c"), 13), b"of the parent");
}

/// Every beginning of a clone's making is found and removed by name, and the parent then knows no
/// clone.
#[test]
fn torn_clones_are_removed() {
    let setup = setup();
    let parent = parent(&setup, "parent");
    let before = setup.leftovers();
    for steps in 0..4 {
        let plan = plan(&setup, "torn", Some(FEATURES), &parent);
        if steps == 0 {
            for (object, write) in plan.image.names() {
                setup.io.write(object, write).unwrap();
            }
        } else {
            setup.io.create_planned_image(&plan.image).unwrap();
        }
        if steps > 1 {
            let (object, write) = plan.parent_link();
            setup.io.write(object, write).unwrap();
        }
        if steps > 2 {
            let (io, object, write) = plan.child_link();
            io.write(object, write).unwrap();
        }
        assert!(setup.io.remove_image(&image("torn")).unwrap(), "{steps}");
        assert_eq!(setup.leftovers(), before, "{steps}");
        let children = setup
            .io
            .children_by_id(&parent.image, parent.snapshot)
            .unwrap();
        assert_eq!(children, [], "{steps}");
    }
}
