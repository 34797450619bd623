//! Images: made, described, resized, listed, watched, removed.

use ceph::{ImageOptions, OpenMode, WriteOp, header_object};
use cuttle_model::{ByteSize, Class, Explain, ImageId, PoolName, RadosNamespace};

use crate::setup::{FEATURES, SIZE, image, setup};

#[test]
fn an_image_is_made_as_asked() {
    let setup = setup();
    let options = ImageOptions {
        features: Some(FEATURES),
        order: Some(23),
        stripe_unit: Some(1 << 20),
        stripe_count: Some(4),
        data_pool: None,
    };
    setup.io.create_image(&image("i"), SIZE, &options).unwrap();
    let told = setup.rbd_json(&["info", &setup.spec("i")]);
    assert_eq!(told["size"], SIZE.bytes());
    assert_eq!(
        (&told["order"], &told["stripe_count"]),
        (&23.into(), &4.into())
    );
    let stat = setup
        .io
        .open_image(&image("i"), OpenMode::ReadOnly)
        .unwrap()
        .stat()
        .unwrap();
    assert_eq!((stat.size, stat.order, stat.objects), (SIZE, 23, 4));
    assert_eq!((stat.stripe_unit, stat.stripe_count), (1 << 20, 4));
    assert_eq!(stat.features & FEATURES, FEATURES);
    assert_eq!(stat.data_pool, setup.io.pool_id().get());
    assert_eq!(stat.object_size, ByteSize::from_bytes(8 << 20));
}

#[test]
fn making_it_twice_and_in_an_unknown_pool_fail_clearly() {
    let setup = setup();
    setup.make("i");
    let plain = ImageOptions::default();
    let error = setup
        .io
        .create_image(&image("i"), SIZE, &plain)
        .unwrap_err();
    assert!(error.is_present(), "{error}");
    assert_eq!(error.target(), setup.spec("i"));
    let elsewhere = ImageOptions {
        data_pool: Some(PoolName::new("no-such-pool").unwrap()),
        ..plain
    };
    let error = setup
        .io
        .create_image(&image("j"), SIZE, &elsewhere)
        .unwrap_err();
    assert!(error.is_absent(), "{error}");
    assert_eq!(setup.io.image_id(&image("j")).unwrap(), None);
}

#[test]
fn identifier_and_size_are_read_without_opening() {
    let setup = setup();
    setup.make("i");
    let id = setup.io.image_id(&image("i")).unwrap().unwrap();
    assert_eq!(
        setup.rbd_json(&["info", &setup.spec("i")])["id"],
        id.as_str()
    );
    assert_eq!(setup.io.image_size_by_id(&id).unwrap(), Some(SIZE));
    let opened = setup
        .io
        .open_image(&image("i"), OpenMode::ReadOnly)
        .unwrap();
    assert_eq!(opened.id().unwrap(), id);
    assert_eq!(setup.io.image_id(&image("none")).unwrap(), None);
    assert_eq!(
        setup
            .io
            .image_size_by_id(&ImageId::new("0123").unwrap())
            .unwrap(),
        None
    );
}

#[test]
fn an_identifier_of_another_form_is_malformed_not_absent() {
    let setup = setup();
    setup
        .io
        .write("rbd_id.odd", WriteOp::new().write_full(b"\xff\0\0\0short"))
        .unwrap();
    let error = setup.io.image_id(&image("odd")).unwrap_err();
    assert_eq!(
        (error.errno().name(), error.class()),
        ("EBADMSG", Class::Bug)
    );
}

#[test]
fn growing_works_and_shrinking_must_be_asked_for() {
    let setup = setup();
    setup.make("i");
    let open = setup
        .io
        .open_image(&image("i"), OpenMode::ReadWrite)
        .unwrap();
    let (large, small) = (
        ByteSize::from_bytes(64 << 20),
        ByteSize::from_bytes(8 << 20),
    );
    open.resize(large, false).unwrap();
    assert_eq!(open.size().unwrap(), large);
    assert_eq!(
        open.resize(small, false).unwrap_err().errno().name(),
        "EINVAL"
    );
    open.resize(small, true).unwrap();
    open.close().unwrap();
    assert_eq!(
        setup.rbd_json(&["info", &setup.spec("i")])["size"],
        small.bytes()
    );
    let reading = setup
        .io
        .open_image(&image("i"), OpenMode::ReadOnly)
        .unwrap();
    assert_eq!(
        reading.resize(large, false).unwrap_err().errno().name(),
        "EROFS"
    );
}

#[test]
fn metadata_set_by_identifier_is_what_rbd_lists() {
    let setup = setup();
    setup.make("i");
    let id = setup.io.image_id(&image("i")).unwrap().unwrap();
    let entries = [
        ("csi.storage.k8s.io/pvc/name", "data"),
        ("csi.ceph.com/cluster/name", "k8s ✓"),
    ];
    setup.io.set_image_metadata_by_id(&id, &entries).unwrap();
    let told = setup.rbd_json(&["image-meta", "list", &setup.spec("i")]);
    let expected = serde_json::json!({
        "csi.storage.k8s.io/pvc/name": "data",
        "csi.ceph.com/cluster/name": "k8s ✓",
    });
    assert_eq!(told, expected);
    // And the other way round, and through librbd.
    let open = setup
        .io
        .open_image(&image("i"), OpenMode::ReadWrite)
        .unwrap();
    open.set_metadata("more", &"x".repeat(9000)).unwrap();
    assert_eq!(open.metadata().unwrap().len(), 3);
    assert_eq!(open.metadata().unwrap()["more"].len(), 9000);
    assert!(open.remove_metadata("more").unwrap());
    assert!(!open.remove_metadata("more").unwrap());
    for n in 0..150 {
        open.set_metadata(&format!("k{n}"), "v").unwrap();
    }
    assert_eq!(open.metadata().unwrap().len(), 152);
}

#[test]
fn metadata_is_read_and_removed_by_identifier() {
    let setup = setup();
    setup.make("i");
    let id = setup.io.image_id(&image("i")).unwrap().unwrap();
    let read = |key: &str| setup.io.image_metadata_by_id(&id, key).unwrap();
    let words = ["image-meta", "set", &setup.spec("i"), "mark", "one ✓"];
    setup.witness.rbd(&words).unwrap();
    assert_eq!(read("mark").as_deref(), Some("one ✓"));
    assert_eq!(read("another"), None);
    setup.io.remove_image_metadata_by_id(&id, "mark").unwrap();
    setup.io.remove_image_metadata_by_id(&id, "mark").unwrap();
    assert_eq!(read("mark"), None);
    let nobody = ImageId::new("00000000000000").unwrap();
    assert_eq!(
        setup.io.image_metadata_by_id(&nobody, "mark").unwrap(),
        None
    );
    let error = setup
        .io
        .remove_image_metadata_by_id(&nobody, "mark")
        .unwrap_err();
    assert!(error.is_absent(), "{error}");
    assert_eq!(setup.io.read(&header_object(&nobody), 1).unwrap(), None);
}

#[test]
fn metadata_of_no_image_makes_no_header() {
    let setup = setup();
    let nobody = ImageId::new("00000000000000").unwrap();
    let error = setup
        .io
        .set_image_metadata_by_id(&nobody, &[("k", "v")])
        .unwrap_err();
    assert!(error.is_absent(), "{error}");
    assert_eq!(setup.io.read(&header_object(&nobody), 1).unwrap(), None);
}

#[test]
fn watchers_are_those_who_may_write() {
    let setup = setup();
    setup.make("i");
    let reading = setup
        .io
        .open_image(&image("i"), OpenMode::ReadOnly)
        .unwrap();
    assert_eq!(reading.watchers().unwrap(), []);
    let writing = setup
        .io
        .open_image(&image("i"), OpenMode::ReadWrite)
        .unwrap();
    let watchers = reading.watchers().unwrap();
    assert_eq!(watchers.len(), 1);
    assert_eq!(
        u64::try_from(watchers[0].id).unwrap(),
        setup.cluster.instance_id()
    );
    assert!(watchers[0].address.contains("127.0.0.1"), "{watchers:?}");
    writing.close().unwrap();
    assert_eq!(reading.watchers().unwrap(), []);
}

#[test]
fn whether_an_image_is_watched_is_known_without_opening_it() {
    let setup = setup();
    setup.make("i");
    let id = setup.io.image_id(&image("i")).unwrap().unwrap();
    assert!(!setup.io.image_is_watched(&id).unwrap());
    let (name, mode) = (image("i"), OpenMode::ReadWrite);
    let mine = setup.io.open_image(&name, mode).unwrap();
    assert!(setup.io.image_is_watched(&id).unwrap());
    let theirs = setup.other_connection().open_image(&name, mode).unwrap();
    mine.close().unwrap();
    assert!(setup.io.image_is_watched(&id).unwrap());
    theirs.close().unwrap();
    assert!(!setup.io.image_is_watched(&id).unwrap());
    let nobody = ImageId::new("00000000000000").unwrap();
    assert!(!setup.io.image_is_watched(&nobody).unwrap());
}

#[test]
fn a_watched_image_and_one_with_snapshots_are_not_removed() {
    let setup = setup();
    setup.make("i");
    let writing = setup
        .io
        .open_image(&image("i"), OpenMode::ReadWrite)
        .unwrap();
    let error = setup.io.remove_image(&image("i")).unwrap_err();
    assert!(error.is_busy(), "{error}");
    writing.close().unwrap();
    setup
        .witness
        .rbd(&[
            "snap",
            "create",
            "--no-progress",
            &format!("{}@s", setup.spec("i")),
        ])
        .unwrap();
    let error = setup.io.remove_image(&image("i")).unwrap_err();
    assert!(error.is_not_empty(), "{error}");
    let snapshots = setup
        .io
        .open_image(&image("i"), OpenMode::ReadOnly)
        .unwrap()
        .snapshots()
        .unwrap();
    assert_eq!((snapshots.len(), snapshots[0].name.as_str()), (1, "s"));
    setup
        .witness
        .rbd(&[
            "snap",
            "rm",
            "--no-progress",
            &format!("{}@s", setup.spec("i")),
        ])
        .unwrap();
    assert!(setup.io.remove_image(&image("i")).unwrap());
    assert!(!setup.io.remove_image(&image("i")).unwrap());
    assert_eq!(setup.leftovers(), [""; 0]);
}

#[test]
fn images_are_listed_in_pages() {
    let setup = setup();
    assert_eq!(
        setup.io.image_names(None, 10).unwrap(),
        ceph::ImagePage::default()
    );
    for n in 0..5 {
        setup.make(&format!("i{n}"));
    }
    let first = setup.io.image_names(None, 3).unwrap();
    assert!(first.more);
    let (last, id) = first.images.last().unwrap();
    assert_eq!(setup.io.image_id(last).unwrap().as_ref(), Some(id));
    let second = setup.io.image_names(Some(last), 3).unwrap();
    assert!(!second.more);
    let names: Vec<&str> = first
        .images
        .iter()
        .chain(&second.images)
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(names, ["i0", "i1", "i2", "i3", "i4"]);
}

#[test]
fn namespaces_of_rbd_are_known() {
    let setup = setup();
    let root = setup
        .cluster
        .io(setup.io.pool_id(), &RadosNamespace::default())
        .unwrap();
    assert!(root.namespace_exists(setup.io.namespace()).unwrap());
    assert!(root.namespace_exists(&RadosNamespace::default()).unwrap());
    let other = RadosNamespace::new(crate::setup::random_name("ns")).unwrap();
    assert!(!root.namespace_exists(&other).unwrap());
    assert!(root.create_namespace(&other).unwrap());
    assert!(!root.create_namespace(&other).unwrap());
    setup
        .witness
        .rbd(&["namespace", "rm", &format!("rbd/{other}")])
        .unwrap();
}
