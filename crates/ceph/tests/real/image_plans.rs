//! Images made by plan are the same as librbd's, and torn ones are removed.

use ceph::{ImageOptions, ImagePlan, OpenMode, WriteOp, write_many};
use cuttle_model::{ByteSize, ImageName, RadosNamespace};

use crate::setup::{FEATURES, SIZE, Setup, image, random_name, setup};

fn plan(setup: &Setup, name: &ImageName, features: impl Into<Option<u64>>) -> ImagePlan {
    let options = ImageOptions {
        features: features.into(),
        ..ImageOptions::default()
    };
    setup
        .io
        .plan_image(name, SIZE, &options, &[("k", "v")])
        .unwrap()
        .expect("an everyday image")
}

#[test]
fn a_planned_image_is_the_same_as_librbds() {
    let setup = setup();
    let left_to_ceph = None;
    for features in [
        Some(1),
        Some(0b101),
        Some(0b1101),
        Some(FEATURES),
        left_to_ceph,
    ] {
        let named = |what| format!("{what}-{}", features.unwrap_or(0));
        let (planned, plain) = (named("planned"), named("plain"));
        let plan = plan(&setup, &image(&planned), features);
        setup.io.create_planned_image(&plan).unwrap();
        let options = ImageOptions {
            features,
            ..ImageOptions::default()
        };
        setup
            .io
            .create_image(&image(&plain), SIZE, &options)
            .unwrap();

        let told = |name: &str| {
            let mut info = setup.rbd_json(&["info", &setup.spec(name)]);
            let fields = info.as_object_mut().unwrap();
            for differs in [
                "name",
                "id",
                "block_name_prefix",
                "create_timestamp",
                "access_timestamp",
                "modify_timestamp",
            ] {
                assert!(fields.remove(differs).is_some(), "{differs}");
            }
            info
        };
        assert_eq!(told(&planned), told(&plain));
        let info = setup.rbd_json(&["info", &setup.spec(&planned)]);
        assert_eq!(info["id"], plan.id().as_str());
        assert_eq!(info["block_name_prefix"], format!("rbd_data.{}", plan.id()));
        let metadata = setup.rbd_json(&["image-meta", "list", &setup.spec(&planned)]);
        assert_eq!(metadata, serde_json::json!({"k": "v"}));
        // The object map is sound: rbd checks it against the image.
        if features.unwrap_or(FEATURES) & 0b1000 != 0 {
            setup
                .witness
                .rbd(&[
                    "object-map",
                    "check",
                    "--no-progress",
                    &setup.spec(&planned),
                ])
                .unwrap();
        }
        // The same objects, but for their identifiers.
        let id = setup.io.image_id(&image(&plain)).unwrap().unwrap();
        let of = |name: &str, id: &str| -> Vec<String> {
            let objects = setup.objects().into_iter();
            let mine = objects.filter(|object| object.ends_with(id) || object.ends_with(name));
            mine.map(|object| object.split('.').next().unwrap().to_owned())
                .collect()
        };
        assert_eq!(of(&planned, plan.id().as_str()), of(&plain, id.as_str()));
    }
}

#[test]
fn a_planned_image_takes_data_resizes_and_goes() {
    let setup = setup();
    let name = image("i");
    setup
        .io
        .create_planned_image(&plan(&setup, &name, FEATURES))
        .unwrap();
    let open = setup.io.open_image(&name, OpenMode::ReadWrite).unwrap();
    let (sender, receiver) = std::sync::mpsc::channel();
    open.aio_write(
        4096,
        vec![7; 8192],
        Box::new(move |done| sender.send(done).unwrap()),
    );
    receiver.recv().unwrap().unwrap();
    open.resize(ByteSize::from_bytes(64 << 20), false).unwrap();
    open.close().unwrap();
    setup
        .witness
        .rbd(&["object-map", "check", "--no-progress", &setup.spec("i")])
        .unwrap();
    assert!(setup.io.remove_image(&name).unwrap());
    assert_eq!(setup.leftovers(), [""; 0]);
}

#[test]
fn a_taken_name_is_refused_and_the_image_there_stays() {
    let setup = setup();
    let name = image("i");
    let first = plan(&setup, &name, FEATURES);
    setup.io.create_planned_image(&first).unwrap();
    let refused = setup
        .io
        .create_planned_image(&plan(&setup, &name, FEATURES))
        .unwrap_err();
    assert!(refused.is_present(), "{refused}");
    assert_eq!(setup.io.image_id(&name).unwrap().as_ref(), Some(first.id()));
    assert_eq!(setup.io.image_size_by_id(first.id()).unwrap(), Some(SIZE));
}

#[test]
fn what_is_not_everyday_has_no_plan() {
    let setup = setup();
    let none = |options: ImageOptions| {
        let planned = setup
            .io
            .plan_image(&image("i"), SIZE, &options, &[])
            .unwrap();
        assert!(planned.is_none(), "{options:?}");
    };
    let plain = ImageOptions {
        features: Some(FEATURES),
        ..ImageOptions::default()
    };
    none(ImageOptions {
        features: Some(FEATURES | 1 << 6),
        ..plain.clone()
    });
    none(ImageOptions {
        features: Some(0b1001),
        ..plain.clone()
    });
    none(ImageOptions {
        order: Some(30),
        ..plain.clone()
    });
    none(ImageOptions {
        stripe_count: Some(4),
        ..plain.clone()
    });
    none(ImageOptions {
        data_pool: Some(crate::setup::pool()),
        ..plain.clone()
    });
    let huge = setup
        .io
        .plan_image(&image("i"), ByteSize::from_bytes(1 << 52), &plain, &[]);
    assert!(huge.unwrap().is_none());
    assert_eq!(setup.leftovers(), [""; 0]);
}

#[test]
fn a_namespace_that_rbd_does_not_know_is_absent() {
    let setup = setup();
    let unknown = RadosNamespace::new(random_name("unknown")).unwrap();
    let io = setup.cluster.io(setup.io.pool_id(), &unknown).unwrap();
    let options = ImageOptions {
        features: Some(FEATURES),
        ..ImageOptions::default()
    };
    let plan = io
        .plan_image(&image("i"), SIZE, &options, &[])
        .unwrap()
        .unwrap();
    let error = io.create_planned_image(&plan).unwrap_err();
    assert!(error.is_absent(), "{error}");
    io.remove_image(&image("i")).unwrap();
    assert_eq!(io.list_objects().unwrap().count(), 0);
}

#[test]
fn what_removes_torn_images_refuses_whole_ones() {
    let setup = setup();
    let name = image("whole");
    setup
        .io
        .create_planned_image(&plan(&setup, &name, FEATURES))
        .unwrap();
    let before = setup.leftovers();
    let error = setup.io.remove_torn_image(&name).unwrap_err();
    assert!(error.is_busy(), "{error}");
    assert_eq!(setup.leftovers(), before);
    assert!(setup.io.remove_image(&name).unwrap());

    // An id object without content is torn, too.
    let object = format!("rbd_id.{name}");
    setup.io.write(&object, WriteOp::new().create()).unwrap();
    assert_eq!(setup.io.image_id(&name).unwrap(), None);
    assert!(setup.io.remove_torn_image(&name).unwrap());
    assert_eq!(setup.leftovers(), [""; 0]);
}

#[test]
fn an_object_is_removed_only_with_the_expected_content() {
    let setup = setup();
    let io = &setup.io;
    let remove = |expected: &[u8]| io.write("o", WriteOp::new().compare_data(expected).remove());
    assert!(remove(b"abc").unwrap_err().is_absent());
    io.write("o", WriteOp::new().write_full(b"abd")).unwrap();
    let error = remove(b"abc").unwrap_err();
    assert!(error.is_guard_failed(), "{error}");
    assert!(remove(b"abde").unwrap_err().is_guard_failed());
    assert_eq!(io.read("o", 10).unwrap().unwrap(), b"abd");
    remove(b"abd").unwrap();
    assert_eq!(io.read("o", 10).unwrap(), None);
}

/// Every subset of the writes of a plan, as crashes leave them: names alone in any number, or
/// all names and some of the header's.
#[test]
fn every_torn_image_is_removed_without_a_trace_and_can_be_made_again() {
    let setup = setup();
    let name = image("torn");
    for kept in [0b0000, 0b0001, 0b0010, 0b0011, 0b0111, 0b1011, 0b1111_u32] {
        let plan = plan(&setup, &name, FEATURES);
        let writes = plan.names().iter().chain(plan.header());
        for (at, (object, op)) in writes.enumerate() {
            if kept & (1 << at) != 0 {
                setup.io.write(object, op).unwrap();
            }
        }
        let there = setup.io.remove_image(&name).unwrap();
        assert_eq!(there, kept != 0, "{kept:04b}");
        assert_eq!(setup.leftovers(), [""; 0], "{kept:04b}");
        assert!(
            setup.io.image_names(None, 10).unwrap().images.is_empty(),
            "{kept:04b}"
        );
        assert!(!setup.io.remove_image(&name).unwrap());
    }
    setup
        .io
        .create_planned_image(&plan(&setup, &name, FEATURES))
        .unwrap();
}

#[test]
fn an_image_without_its_object_map_goes_through_the_trash() {
    let setup = setup();
    let name = image("torn");
    let plan = plan(&setup, &name, FEATURES);
    let ops: Vec<_> = plan
        .names()
        .iter()
        .map(|(object, op)| (&setup.io, object.as_str(), op))
        .collect();
    assert!(write_many(&ops).iter().all(Result::is_ok));
    let (object, op) = &plan.header()[0];
    setup.io.write(object, op).unwrap();
    assert!(setup.io.trash_move(&name).unwrap());
    assert!(setup.io.trash_remove(plan.id(), false).unwrap());
    assert_eq!(setup.leftovers(), [""; 0]);
}

#[test]
fn settings_of_the_pool_are_left_to_librbd() {
    let setup = setup();
    let pool = random_name("settings");
    setup.witness.pool(&pool).unwrap();
    setup
        .witness
        .rbd(&["config", "pool", "set", &pool, "rbd_default_order", "20"])
        .unwrap();
    let pool_name = cuttle_model::PoolName::new(pool.clone()).unwrap();
    let io = setup
        .cluster
        .io(&pool_name, &RadosNamespace::default())
        .unwrap();
    let options = ImageOptions {
        features: Some(FEATURES),
        ..ImageOptions::default()
    };
    let planned = io.plan_image(&image("i"), SIZE, &options, &[]).unwrap();
    assert!(planned.is_none());
    setup.witness.remove_pool(&pool).unwrap();
}
