//! Parameters of a CephFS StorageClass: what is taken, what is refused.

use proptest::prelude::*;

use super::*;

fn map(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
    entries
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect()
}

fn with(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
    let mut all = map(&[("clusterID", "rook-ceph"), ("fsName", "myfs")]);
    all.extend(map(entries));
    all
}

fn mistakes(entries: &[(&str, &str)]) -> Vec<String> {
    let errors = CephfsParameters::parse(&with(entries)).unwrap_err();
    errors
        .mistakes()
        .iter()
        .map(|m| format!("{} {}", m.field, m.rule))
        .collect()
}

#[test]
fn cluster_and_file_system_are_enough() {
    let parsed = CephfsParameters::parse(&with(&[])).unwrap();
    let parameters = parsed.parameters;
    assert_eq!(parameters.cluster.as_str(), "rook-ceph");
    assert_eq!(parameters.fs.as_str(), "myfs");
    assert_eq!(parameters.prefix, SubvolumePrefix::default());
    assert_eq!(parameters.attach, CephfsAttachParameters::default());
    assert_eq!(parsed.metadata, VolumeMetadata::default());
}

#[test]
fn every_parameter_of_a_full_class_is_read() {
    let parsed = CephfsParameters::parse(&with(&[
        ("pool", "myfs.data"),
        ("mounter", "fuse"),
        ("kernelMountOptions", "readdir_max_bytes=1048576,norbytes"),
        ("fuseMountOptions", "debug"),
        ("volumeNamePrefix", "team-"),
        ("subvolumeGroup", "team"),
        ("backingSnapshot", "false"),
        ("encrypted", "false"),
        ("encryptionKMSID", "unused"),
        ("topologyConstrainedPools", ""),
        ("csi.storage.k8s.io/provisioner-secret-name", "s"),
        ("csi.storage.k8s.io/pvc/name", "claim"),
        ("csi.storage.k8s.io/pvc/namespace", "team"),
        ("csi.storage.k8s.io/pv/name", "pvc-1"),
    ]))
    .unwrap();
    let p = &parsed.parameters;
    assert_eq!(p.prefix.as_str(), "team-");
    let attach = &p.attach;
    assert_eq!(attach.mounter, Some(CephfsMounter::Fuse));
    assert_eq!(
        attach.kernel_mount_options.as_deref(),
        Some("readdir_max_bytes=1048576,norbytes")
    );
    assert_eq!(attach.fuse_mount_options.as_deref(), Some("debug"));
    assert_eq!(attach.pool.as_ref().unwrap().as_str(), "myfs.data");
    assert_eq!(attach.group.as_ref().unwrap().as_str(), "team");
    assert_eq!(parsed.metadata.pvc_namespace.as_deref(), Some("team"));
    assert!(!parsed.context.contains_key("topologyConstrainedPools"));
    assert!(
        parsed
            .context
            .keys()
            .all(|key| !key.starts_with("csi.storage.k8s.io/"))
    );
    assert_eq!(parsed.context["fsName"], "myfs");
    assert_eq!(parsed.context["mounter"], "fuse");
}

#[test]
fn missing_and_empty_fields_are_named() {
    let errors = CephfsParameters::parse(&BTreeMap::new()).unwrap_err();
    assert_eq!(
        errors.to_string(),
        "2 mistakes in the StorageClass parameters: clusterID is missing (set it to a clusterID \
         of config.json); fsName is missing (set it to a file system of `ceph fs ls`)"
    );
    assert_eq!(
        mistakes(&[
            ("clusterID", ""),
            ("fsName", ""),
            ("fuseMountOptions", ""),
            ("kernelMountOptions", ""),
            ("mounter", ""),
            ("pool", ""),
            ("subvolumeGroup", ""),
            ("volumeNamePrefix", ""),
        ]),
        [
            "clusterID must not be empty",
            "fsName must not be empty",
            "fuseMountOptions must not be empty",
            "kernelMountOptions must not be empty",
            "mounter must be fuse or kernel",
            "pool must not be empty",
            "subvolumeGroup must not be empty",
            "volumeNamePrefix must not be empty",
        ]
    );
}

#[test]
fn all_mistakes_are_told_at_once_in_field_order() {
    assert_eq!(
        mistakes(&[
            ("backingSnapshot", "maybe"),
            ("fsName", "a/b"),
            ("fuseMountOptions", "-o allow_other"),
            ("kernelMountOptions", "--bind"),
            ("mounter", "rbd"),
            ("pool", "a/b"),
            ("subvolumeGroup", "_deleting"),
            ("volumeNamePrefix", "a/b"),
        ]),
        [
            "backingSnapshot must be true or false",
            "fsName must not contain '/'",
            "fuseMountOptions must not contain white space",
            "kernelMountOptions must not begin with '-'",
            "mounter must be fuse or kernel",
            "pool must not contain '/'",
            "subvolumeGroup must not begin with '_'",
            "volumeNamePrefix must not contain '/'",
        ]
    );
}

#[test]
fn parameters_of_features_to_come_are_named() {
    assert_eq!(
        mistakes(&[
            ("backingSnapshot", "true"),
            ("encrypted", "true"),
            ("encryptionKMSID", "vault"),
            ("encryptionType", "file"),
            ("snapshotNamePrefix", "snap-"),
            ("topologyConstrainedPools", "[]"),
        ]),
        [
            "backingSnapshot is not supported yet",
            "encrypted is not supported yet",
            "encryptionKMSID is not supported yet",
            "encryptionType is not supported yet",
            "snapshotNamePrefix is not supported yet",
            "topologyConstrainedPools is not supported for CephFS",
        ]
    );
}

#[test]
fn unknown_keys_suggest_the_nearest_known_one() {
    let errors = CephfsParameters::parse(&with(&[("fsname", "x")])).unwrap_err();
    assert_eq!(
        errors.mistakes()[0].remedy,
        "did you mean fsName? otherwise remove it"
    );
    assert_eq!(
        mistakes(&[("imageFeatures", "layering")]),
        ["imageFeatures is not a known parameter"]
    );
    CephfsParameters::parse(&with(&[("fsType", "x"), ("rootPath", "/a")])).unwrap();
}

proptest! {
    #[test]
    fn hostile_parameters_never_panic(
        given in proptest::collection::btree_map(
            prop_oneof![
                proptest::sample::select(CEPHFS_KEYS.map(|(key, _)| key.to_owned()).to_vec()),
                any::<String>(),
            ],
            prop_oneof![any::<String>(), "[0-9a-z,;:=./-]{0,40}"],
            0..12,
        )
    ) {
        match CephfsParameters::parse(&given) {
            Ok(parsed) => prop_assert!(parsed.context.len() <= given.len()),
            Err(errors) => {
                prop_assert!(!errors.mistakes().is_empty());
                prop_assert!(errors.to_string().len() < 20_000);
            }
        }
    }
}
