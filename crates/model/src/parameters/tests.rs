//! StorageClass parameters: what is taken, what is refused, and that every mistake is told.

use proptest::prelude::*;

use super::*;
use crate::error::{Class, Explain};
use crate::image::LogStrategy;

fn map(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
    entries
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect()
}

fn with(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
    let mut all = map(&[("clusterID", "rook-ceph"), ("pool", "rbd")]);
    all.extend(map(entries));
    all
}

fn mistakes(entries: &[(&str, &str)]) -> Vec<String> {
    let errors = RbdParameters::parse(&with(entries)).unwrap_err();
    errors
        .mistakes()
        .iter()
        .map(|m| format!("{} {}", m.field, m.rule))
        .collect()
}

#[test]
fn cluster_and_pool_are_enough() {
    let parsed = RbdParameters::parse(&with(&[])).unwrap();
    let parameters = parsed.parameters;
    assert_eq!(parameters.cluster.as_str(), "rook-ceph");
    assert_eq!(parameters.pool.as_str(), "rbd");
    assert_eq!(parameters.prefix.as_str(), "csi-vol-");
    assert_eq!(parameters.features, None);
    assert_eq!(parameters.attach, AttachParameters::default());
    assert_eq!(parsed.metadata, VolumeMetadata::default());
}

#[test]
fn every_parameter_of_a_full_class_is_read() {
    let parsed = RbdParameters::parse(&with(&[
        ("dataPool", "ec"),
        ("volumeNamePrefix", "team-"),
        ("imageFeatures", "layering,exclusive-lock,journaling"),
        ("mounter", "rbd-nbd"),
        ("tryOtherMounters", "True"),
        ("mapOptions", "krbd:lock_on_read;nbd:try-netlink"),
        ("unmapOptions", "force"),
        ("mkfsOptions", "-m0 -E nodiscard"),
        ("cephLogDir", "/var/log/x"),
        ("cephLogStrategy", "Preserve"),
        ("stripeUnit", "4096"),
        ("stripeCount", "16"),
        ("objectSize", "1048576"),
        ("encrypted", "false"),
        ("encryptionKMSID", "unused"),
        ("radosNamespace", "ignored"),
        ("topologyConstrainedPools", ""),
        ("csi.storage.k8s.io/fstype", "xfs"),
        ("csi.storage.k8s.io/pvc/name", "claim"),
        ("csi.storage.k8s.io/pvc/namespace", "team"),
        ("csi.storage.k8s.io/pv/name", "pvc-1"),
    ]))
    .unwrap();
    let p = &parsed.parameters;
    assert_eq!(p.data_pool.as_ref().unwrap().as_str(), "ec");
    assert_eq!(
        p.features.unwrap().to_string(),
        "layering,exclusive-lock,journaling"
    );
    assert_eq!(p.attach.mounter, Mounter::Nbd);
    assert!(p.attach.try_other_mounters);
    assert_eq!(
        p.attach.map_options.for_mounter(Mounter::Nbd),
        "try-netlink"
    );
    assert_eq!(p.attach.unmap_options.for_mounter(Mounter::Krbd), "force");
    assert_eq!(p.attach.ceph_log_strategy, LogStrategy::Preserve);
    let striping = p.striping.unwrap();
    assert_eq!((striping.unit.bytes(), striping.count), (4096, 16));
    assert_eq!(p.object_size.unwrap().order(), 20);
    let uuid = crate::ids::ObjectUuid::random();
    assert_eq!(p.prefix.image_name(&uuid).as_str(), format!("team-{uuid}"));
    let entries: Vec<_> = parsed.metadata.entries().collect();
    assert_eq!(
        entries,
        [
            (PVC_NAME_KEY, "claim"),
            (PVC_NAMESPACE_KEY, "team"),
            (PV_NAME_KEY, "pvc-1")
        ]
    );
    assert!(
        parsed
            .context
            .keys()
            .all(|key| !key.starts_with("csi.storage.k8s.io/"))
    );
    assert!(!parsed.context.contains_key("topologyConstrainedPools"));
    assert_eq!(parsed.context["mounter"], "rbd-nbd");
}

#[test]
fn missing_and_empty_fields_are_named() {
    let errors = RbdParameters::parse(&BTreeMap::new()).unwrap_err();
    assert_eq!(errors.class(), Class::Invalid);
    assert_eq!(
        errors.to_string(),
        "2 mistakes in the StorageClass parameters: clusterID is missing (set it to a clusterID \
         of config.json); pool is missing (set it to an existing RADOS pool)"
    );
    assert_eq!(
        mistakes(&[
            ("clusterID", ""),
            ("pool", ""),
            ("dataPool", ""),
            ("imageFeatures", ""),
            ("radosNamespace", ""),
            ("volumeNamePrefix", ""),
        ]),
        [
            "clusterID must not be empty",
            "dataPool must not be empty",
            "imageFeatures must not be empty",
            "pool must not be empty",
            "radosNamespace must not be empty",
            "volumeNamePrefix must not be empty",
        ]
    );
}

#[test]
fn all_mistakes_are_told_at_once_in_field_order() {
    assert_eq!(
        mistakes(&[
            ("volumeNamePrefix", "a/b"),
            ("stripeUnit", "x"),
            ("objectSize", "3"),
            ("mounter", "kernel"),
            ("mapOptions", "loop:x"),
            ("imageFeatures", "fast-diff"),
            ("cephLogDir", "logs/../x"),
            ("cephLogStrategy", "shred"),
            ("tryOtherMounters", "maybe"),
        ]),
        [
            "cephLogDir must be an absolute path without \"..\"",
            "cephLogStrategy must be remove, compress or preserve",
            "imageFeatures has fast-diff without object-map, which it needs",
            "mapOptions has an item for the unknown mounter \"loop\"",
            "mounter must be rbd, rbd-nbd or fuse",
            "objectSize must be a power of two from 4096 to 33554432 bytes",
            "stripeUnit needs stripeCount beside it",
            "stripeUnit must be a whole number",
            "tryOtherMounters must be true or false",
            "volumeNamePrefix must not contain '/'",
        ]
    );
}

#[test]
fn unknown_keys_suggest_the_nearest_known_one() {
    let errors = RbdParameters::parse(&with(&[("imageFeature", "layering")])).unwrap_err();
    let mistake = &errors.mistakes()[0];
    assert_eq!(mistake.rule, "is not a known parameter");
    assert_eq!(
        mistake.remedy,
        "did you mean imageFeatures? otherwise remove it"
    );
    let errors = RbdParameters::parse(&with(&[("fsName", "x")])).unwrap_err();
    assert_eq!(errors.mistakes()[0].remedy, "remove it");
}

#[test]
fn parameters_of_features_to_come_are_named() {
    assert_eq!(
        mistakes(&[
            ("encrypted", "true"),
            ("encryptionKMSID", "vault"),
            ("encryptionType", "file"),
            ("topologyConstrainedPools", "[]"),
            ("snapshotNamePrefix", "snap-"),
            ("thickProvision", "true"),
        ]),
        [
            "encrypted is not supported yet",
            "encryptionKMSID is not supported yet",
            "encryptionType is not supported yet",
            "thickProvision is not supported yet",
            "topologyConstrainedPools is not supported yet",
        ]
    );
    assert_eq!(
        mistakes(&[("encrypted", "yes")]),
        ["encrypted must be true or false"]
    );
    let topology_alone = map(&[("clusterID", "a"), ("topologyConstrainedPools", "[{}]")]);
    let errors = RbdParameters::parse(&topology_alone).unwrap_err();
    assert_eq!(errors.mistakes().len(), 1);
}

#[test]
fn journaling_needs_a_mounter_that_has_it() {
    let list = ("imageFeatures", "exclusive-lock,journaling");
    assert_eq!(
        mistakes(&[list]),
        ["imageFeatures has journaling, which mounter \"rbd\" cannot attach"]
    );
    RbdParameters::parse(&with(&[list, ("mounter", "fuse")])).unwrap();
}

#[test]
fn stripes_divide_objects() {
    assert_eq!(
        mistakes(&[("stripeUnit", "4097"), ("stripeCount", "2")]),
        ["stripeUnit must divide the object size of 4 MiB"]
    );
    assert_eq!(
        mistakes(&[("stripeUnit", "0"), ("stripeCount", "2")]),
        ["stripeUnit must divide the object size of 4 MiB"]
    );
    assert_eq!(
        mistakes(&[("stripeCount", "2")]),
        ["stripeCount needs stripeUnit beside it"]
    );
    let none = RbdParameters::parse(&with(&[("stripeUnit", "0"), ("stripeCount", "0")])).unwrap();
    assert_eq!(none.parameters.striping, None);
}

#[test]
fn the_object_map_limits_the_size() {
    let largest = |entries: &[(&str, &str)]| {
        RbdParameters::parse(&with(entries))
            .unwrap()
            .parameters
            .largest_image()
    };
    let default = ObjectSize::DEFAULT.largest_image_with_object_map();
    assert_eq!(largest(&[]), default);
    assert_eq!(
        largest(&[("imageFeatures", "exclusive-lock,object-map")]),
        default
    );
    assert_eq!(
        largest(&[("imageFeatures", "layering")]),
        ByteSize::LARGEST_IMAGE
    );
    assert!(largest(&[("objectSize", "4096")]) < default);
}

#[test]
fn in_tree_and_old_sidecar_keys_are_left_alone() {
    RbdParameters::parse(&with(&[
        ("monitors", "a:1"),
        ("imageFormat", "2"),
        ("fsType", "xfs"),
    ]))
    .unwrap();
}

proptest! {
    #[test]
    fn hostile_parameters_never_panic(
        given in proptest::collection::btree_map(
            prop_oneof![
                proptest::sample::select(KEYS.map(|(key, _)| key.to_owned()).to_vec()),
                any::<String>(),
            ],
            prop_oneof![any::<String>(), "[0-9a-z,;:=./-]{0,40}"],
            0..12,
        )
    ) {
        match RbdParameters::parse(&given) {
            Ok(parsed) => prop_assert!(parsed.context.len() <= given.len()),
            Err(errors) => {
                prop_assert!(!errors.mistakes().is_empty());
                prop_assert!(errors.to_string().len() < 20_000);
            }
        }
    }
}
