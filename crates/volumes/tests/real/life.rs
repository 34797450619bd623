//! A volume's whole life, and the ways of asking about it.

use std::time::Duration;

use cuttle_model::{
    Access, AccessMode, ByteSize, Class, Explain, ImageName, PoolName, VolumeCapability,
    VolumeHandle,
};
use cuttle_volumes::Validation;
use cuttle_volumes::rbd::{CapacityError, CapacityOf, ExpandError, GetError, ValidateError};
use cuttle_volumes::{Deleted, ExpandVolume, GetVolume, ValidateVolume};

use crate::setup::{capability, random_name, range, setup};

#[test]
fn a_volume_is_made_looked_at_grown_and_removed() {
    let setup = setup();
    let name = random_name("pvc");
    let created = setup.create(&setup.request(&name, &[])).unwrap();
    assert_eq!(created.size, ByteSize::from_mib(16).unwrap());
    setup.assert_exactly("after create", &[(&name, &created)]);

    let asked = GetVolume {
        handle: created.handle.clone(),
        credentials: setup.admin(),
    };
    let volume = setup.controller.get(&setup.table, &asked).unwrap();
    assert_eq!(volume.name.unwrap().as_str(), name);
    assert_eq!((volume.size, volume.trouble), (Some(created.size), None));

    let expanded = setup
        .controller
        .expand(&setup.table, &growth(&setup, &created.handle, 20, None));
    let expanded = expanded.unwrap();
    assert_eq!(expanded.size, ByteSize::from_mib(20).unwrap());
    assert!(expanded.node_expansion_required);

    assert_eq!(setup.delete(&created.handle).unwrap(), Deleted::Removed);
    setup.assert_nothing_left("after delete");
    assert_eq!(
        setup.delete(&created.handle).unwrap(),
        Deleted::NothingThere
    );
    let gone = setup.controller.get(&setup.table, &asked).unwrap_err();
    assert!(matches!(gone, GetError::Absent { .. }), "{gone}");
}

fn growth(
    setup: &crate::setup::Setup,
    handle: &cuttle_model::ComposedHandle,
    required: u64,
    limit: Option<u64>,
) -> ExpandVolume {
    ExpandVolume {
        handle: VolumeHandle::Composed(handle.clone()),
        range: range(required, limit),
        capability: Some(capability()),
        credentials: setup.admin(),
    }
}

#[test]
fn the_image_carries_features_metadata_and_name_of_its_class() {
    let setup = setup();
    let name = random_name("pvc");
    let more = [("volumeNamePrefix", "fast-"), ("objectSize", "1048576")];
    let created = setup.create(&setup.request(&name, &more)).unwrap();
    let image = format!("fast-{}", created.handle.uuid);
    assert_eq!(created.context["imageName"], image);
    let spec = setup.spec(&image);
    let info = setup
        .witness
        .rbd(&["info", "--format", "json", &spec])
        .unwrap();
    let info: serde_json::Value = serde_json::from_str(&info).unwrap();
    assert_eq!(info["size"], 16 << 20);
    assert_eq!(info["order"], 20);
    assert_eq!(
        info["features"],
        serde_json::json!(["layering", "exclusive-lock", "object-map", "fast-diff"])
    );
    let metadata = setup
        .witness
        .rbd(&["image-meta", "list", "--format", "json", &spec])
        .unwrap();
    let metadata: serde_json::Value = serde_json::from_str(&metadata).unwrap();
    assert_eq!(
        metadata,
        serde_json::json!({
            "csi.storage.k8s.io/pvc/name": "data",
            "csi.storage.k8s.io/pvc/namespace": "shop",
            "csi.storage.k8s.io/pv/name": name,
            "csi.ceph.com/cluster/name": "k8s-east",
        })
    );
    setup.delete(&created.handle).unwrap();
    setup.assert_nothing_left("after delete");
}

#[test]
fn other_images_are_made_by_librbd() {
    let setup = setup();
    let data_pool = random_name("data");
    setup.witness.pool(&data_pool).unwrap();
    let cases: [&[(&str, &str)]; 3] = [
        &[("imageFeatures", "")],
        &[("stripeUnit", "65536"), ("stripeCount", "4")],
        &[("dataPool", &data_pool)],
    ];
    for more in cases {
        let name = random_name("pvc");
        let request = setup.request(&name, more);
        let created = setup.create(&request).unwrap();
        assert_eq!(setup.create(&request).unwrap(), created, "{more:?}");
        setup.assert_exactly("after create", &[(&name, &created)]);
        let spec = setup.spec(&created.context["imageName"]);
        let info = setup
            .witness
            .rbd(&["info", "--format", "json", &spec])
            .unwrap();
        if more[0].0 == "dataPool" {
            assert!(info.contains(&data_pool), "{info}");
            assert_eq!(created.context["dataPool"], data_pool);
        }
        if more[0].0 == "stripeUnit" {
            assert!(info.contains("\"stripe_count\":4"), "{info}");
        }
        let metadata = setup.witness.rbd(&["image-meta", "list", &spec]).unwrap();
        assert!(metadata.contains("k8s-east"), "{metadata}");
        setup.delete(&created.handle).unwrap();
        setup.assert_nothing_left("after delete");
    }
    setup.witness.remove_pool(&data_pool).unwrap();
}

#[test]
fn the_volume_context_is_that_of_ceph_csi() {
    let setup = setup();
    let name = random_name("pvc");
    let more = [("mapOptions", "lock_on_read"), ("mounter", "rbd")];
    let created = setup.create(&setup.request(&name, &more)).unwrap();
    let mut expected = std::collections::BTreeMap::from([
        ("clusterID", "east"),
        ("pool", "rbd"),
        ("journalPool", "rbd"),
        ("radosNamespace", setup.namespace.as_str()),
        (
            "imageFeatures",
            "layering,exclusive-lock,object-map,fast-diff",
        ),
        ("mapOptions", "lock_on_read"),
        ("mounter", "rbd"),
    ]);
    let image = format!("csi-vol-{}", created.handle.uuid);
    expected.insert("imageName", &image);
    let context: std::collections::BTreeMap<&str, &str> = created
        .context
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    assert_eq!(context, expected);
    setup.delete(&created.handle).unwrap();
    setup.assert_nothing_left("after delete");
}

#[test]
fn volumes_grow_within_the_limit_and_never_shrink() {
    let setup = setup();
    let created = setup
        .create(&setup.request(&random_name("pvc"), &[]))
        .unwrap();
    let expand = |required, limit| {
        setup.controller.expand(
            &setup.table,
            &growth(&setup, &created.handle, required, limit),
        )
    };
    let mib = |count| ByteSize::from_mib(count).unwrap();
    assert_eq!(expand(8, None).unwrap().size, mib(16));
    assert_eq!(expand(16, Some(16)).unwrap().size, mib(16));
    let past = expand(8, Some(12)).unwrap_err();
    assert!(matches!(past, ExpandError::PastLimit { .. }), "{past}");
    assert_eq!(past.class(), Class::OutOfRange);
    // 1025 MiB round up to 2 GiB.
    let past = expand(1025, Some(1500)).unwrap_err();
    assert_eq!(past.class(), Class::OutOfRange, "{past}");
    assert_eq!(expand(1025, None).unwrap().size, mib(2048));
    assert_eq!(expand(1025, Some(2048)).unwrap().size, mib(2048));
    let block = VolumeCapability {
        access: Access::Block,
        mode: AccessMode::MultiNodeMultiWriter,
    };
    let request = ExpandVolume {
        capability: Some(block),
        ..growth(&setup, &created.handle, 8, None)
    };
    let expanded = setup.controller.expand(&setup.table, &request).unwrap();
    assert!(!expanded.node_expansion_required);
    setup.delete(&created.handle).unwrap();
    let gone = expand(4096, None).unwrap_err();
    assert!(matches!(gone, ExpandError::Absent { .. }), "{gone}");
    setup.assert_nothing_left("after delete");
}

#[test]
fn capabilities_are_checked_for_volumes_that_exist() {
    let setup = setup();
    let created = setup
        .create(&setup.request(&random_name("pvc"), &[]))
        .unwrap();
    let validate = |mode, access: Access| {
        let request = ValidateVolume {
            handle: VolumeHandle::Composed(created.handle.clone()),
            capabilities: vec![capability(), VolumeCapability { access, mode }],
            credentials: setup.admin(),
        };
        setup.controller.validate(&setup.table, &request)
    };
    let filesystem = || capability().access;
    let answer = validate(AccessMode::MultiNodeMultiWriter, Access::Block).unwrap();
    assert_eq!(answer, Validation::Confirmed);
    let answer = validate(AccessMode::MultiNodeReaderOnly, filesystem()).unwrap();
    assert_eq!(answer, Validation::Confirmed);
    let answer = validate(AccessMode::MultiNodeMultiWriter, filesystem()).unwrap();
    assert!(matches!(answer, Validation::Refused(_)), "{answer:?}");
    setup.delete(&created.handle).unwrap();
    let gone = validate(AccessMode::SingleNodeWriter, filesystem()).unwrap_err();
    assert!(matches!(gone, ValidateError::Absent { .. }), "{gone}");
    setup.assert_nothing_left("after delete");
}

#[test]
fn capacity_is_what_the_data_pool_has_left() {
    let setup = setup();
    let pool = random_name("room");
    setup.witness.pool(&pool).unwrap();
    let settings = setup.table.iter().next().unwrap();
    let capacity = |pool: &str, data: Option<&str>| {
        let of = CapacityOf {
            cluster: settings.id.clone(),
            pool: PoolName::new(pool).unwrap(),
            data_pool: data.map(|data| PoolName::new(data).unwrap()),
            credentials: setup.admin(),
        };
        setup.controller.capacity(&setup.table, &of)
    };
    let free = capacity("rbd", None).unwrap();
    assert!(free > ByteSize::MIB, "{free}");
    let quota = (64_u64 << 20).to_string();
    setup
        .witness
        .json(&["osd", "pool", "set-quota", &pool, "max_bytes", &quota])
        .unwrap();
    // Figures and quota of a new pool come a moment later; until then it is never called missing.
    let quota = ByteSize::from_mib(64).unwrap();
    cuttle_testbed::until("the quota counts", Duration::from_secs(30), || {
        match capacity("rbd", Some(&pool)) {
            // RBD's own object takes a few bytes of it.
            Ok(left) if left <= quota && left > ByteSize::from_mib(63).unwrap() => Ok(()),
            Ok(left) => Err(left.to_string()),
            Err(CapacityError::NotReported { .. }) => Err("no figures yet".to_owned()),
            Err(error) => panic!("{error}"),
        }
    })
    .unwrap();
    let missing = capacity("no-such-pool", None).unwrap_err();
    assert_eq!(missing.class(), Class::Invalid, "{missing}");
    setup.witness.remove_pool(&pool).unwrap();
}

#[test]
fn a_migrated_volume_is_removed_by_its_image() {
    let setup = setup();
    let uuid = "e0b45b52-7e09-47d3-8f1b-806995fa4412";
    let pool = random_name("legacy");
    setup.witness.pool(&pool).unwrap();
    let hex: String = pool.bytes().map(|byte| format!("{byte:02x}")).collect();
    let handle = VolumeHandle::parse(&format!("mig_mons-east_image-{uuid}_{hex}"));
    let Ok(handle) = handle else {
        panic!("{handle:?}");
    };
    let image = format!("{pool}/kubernetes-dynamic-pvc-{uuid}");
    setup
        .witness
        .rbd(&["create", "--size", "16", &image])
        .unwrap();
    let request = ExpandVolume {
        handle: handle.clone(),
        range: range(8, None),
        capability: None,
        credentials: setup.admin(),
    };
    let expanded = setup.controller.expand(&setup.table, &request).unwrap();
    assert_eq!(expanded.size, ByteSize::from_mib(16).unwrap());
    let request = cuttle_volumes::DeleteVolume {
        handle,
        credentials: setup.admin(),
    };
    assert_eq!(
        setup.controller.delete(&setup.table, &request).unwrap(),
        Deleted::Removed
    );
    let gone = || {
        let left = setup
            .witness
            .rbd_namespace_contents(&pool, "")
            .unwrap()
            .leftovers();
        if left.is_empty() {
            Ok(())
        } else {
            Err(format!("{left:?}"))
        }
    };
    cuttle_testbed::until("nothing left", Duration::from_secs(60), gone).unwrap();
    let again = setup.controller.delete(&setup.table, &request).unwrap();
    assert_eq!(again, Deleted::NothingThere);
    setup.witness.remove_pool(&pool).unwrap();
    // An image name is no more than a name: the type keeps it apart from handles.
    ImageName::new(image).unwrap_err();
}
