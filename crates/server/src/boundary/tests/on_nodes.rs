//! The Node service's requests.

use cuttle_node::rbd::Volume;

use super::*;
use crate::boundary::node;

fn stage() -> v1::NodeStageVolumeRequest {
    v1::NodeStageVolumeRequest {
        volume_id: HANDLE.to_owned(),
        staging_target_path: "/var/lib/kubelet/x/globalmount".to_owned(),
        volume_capability: Some(capability(mount(), Mode::SingleNodeWriter)),
        secrets: secrets(),
        volume_context: map(&[("clusterID", "c1"), ("pool", "rbd"), ("mounter", "fuse")]),
        ..v1::NodeStageVolumeRequest::default()
    }
}

#[test]
fn a_provisioned_volume_is_found_by_its_handle() {
    let request = node::stage(stage(), &table()).unwrap();
    assert!(matches!(request.volume, Volume::Provisioned(handle) if handle.encode() == HANDLE));
    assert_eq!(request.cluster.id.as_str(), "c1");
    assert_eq!(request.parameters.mounter, cuttle_model::Mounter::Fuse);
}

#[test]
fn a_static_volume_is_found_by_its_context() {
    let mut wire = stage();
    wire.volume_id = "disk-1".to_owned();
    wire.volume_context = map(&[("staticVolume", "true"), ("clusterID", "c2"), ("pool", "p")]);
    let request = node::stage(wire.clone(), &table()).unwrap();
    assert!(matches!(request.volume, Volume::Static(image) if image.image.as_str() == "disk-1"));
    assert_eq!(request.cluster.id.as_str(), "c2");
    wire.volume_context = map(&[("staticVolume", "true"), ("clusterID", "c9"), ("pool", "p")]);
    assert_told(
        &node::stage(wire, &table()).unwrap_err(),
        Class::Invalid,
        &["volume_context.clusterID", "\"c9\"", "c1, c2"],
    );
}

#[test]
fn a_migrated_volume_carries_its_image_in_the_handle() {
    let monitors = "b7f67366bb43f32e07d8a261a7840da9";
    let cluster = ClusterSettings::new(
        ClusterId::new(monitors).unwrap(),
        Monitors::new(vec!["127.0.0.1:3300".to_owned()]).unwrap(),
    );
    let mut wire = stage();
    wire.volume_id = format!(
        "mig_mons-{monitors}_image-e0b45b52-7e09-47d3-8f1b-806995fa4412_\
         706f6f6c5f7265706c6963615f706f6f6c"
    );
    wire.volume_context.clear();
    wire.secrets = map(&[("key", "QUJD")]);
    let request = node::stage(wire, &ClusterTable::new([cluster])).unwrap();
    let Volume::Static(image) = request.volume else {
        panic!("not static");
    };
    assert_eq!(image.pool.as_str(), "pool_replica_pool");
    assert_eq!(request.credentials.user.as_str(), "admin");
}

#[test]
fn all_mistakes_of_a_staging_come_at_once() {
    let wire = v1::NodeStageVolumeRequest {
        volume_id: "a/b".to_owned(),
        staging_target_path: "x".to_owned(),
        volume_context: map(&[("mounter", "usb")]),
        ..v1::NodeStageVolumeRequest::default()
    };
    assert_told(
        &node::stage(wire, &table()).unwrap_err(),
        Class::Invalid,
        &[
            "volume_id",
            "volume_context",
            "mounter",
            "staging_target_path",
            "volume_capability",
            "secrets.userID",
            "secrets.userKey",
        ],
    );
}

#[test]
fn a_shared_file_system_is_refused_and_readers_are_not() {
    let with = |mode| {
        let mut wire = stage();
        wire.volume_capability = Some(capability(mount(), mode));
        node::stage(wire, &table())
    };
    with(Mode::MultiNodeReaderOnly).unwrap();
    assert_told(
        &with(Mode::MultiNodeMultiWriter).unwrap_err(),
        Class::Invalid,
        &[
            "volume_capability.access_mode.mode",
            "MULTI_NODE_MULTI_WRITER",
        ],
    );
}

#[test]
fn publishing_reads_only_when_either_side_says_so() {
    let publish = |readonly, mode| {
        let wire = v1::NodePublishVolumeRequest {
            volume_id: HANDLE.to_owned(),
            staging_target_path: "/staging".to_owned(),
            target_path: "/target".to_owned(),
            volume_capability: Some(capability(mount(), mode)),
            readonly,
            ..v1::NodePublishVolumeRequest::default()
        };
        node::publish(wire).unwrap().read_only
    };
    assert!(!publish(false, Mode::SingleNodeWriter));
    assert!(publish(true, Mode::SingleNodeWriter));
    assert!(publish(false, Mode::SingleNodeReaderOnly));
}

#[test]
fn growing_needs_a_path_and_takes_a_size() {
    let expand = |path: &str, capacity_range| {
        node::expand(v1::NodeExpandVolumeRequest {
            volume_id: HANDLE.to_owned(),
            volume_path: path.to_owned(),
            capacity_range,
            ..v1::NodeExpandVolumeRequest::default()
        })
    };
    let range = |required_bytes| {
        Some(v1::CapacityRange {
            required_bytes,
            limit_bytes: 0,
        })
    };
    assert_eq!(expand("/a", None).unwrap().required, None);
    assert_eq!(
        expand("/a", range(GIB)).unwrap().required,
        Some(ByteSize::GIB)
    );
    assert_told(
        &expand("", range(-1)).unwrap_err(),
        Class::Invalid,
        &["volume_path", "required_bytes must not be negative"],
    );
}

#[test]
fn health_is_looked_for_where_the_volume_should_be() {
    let path = |published: &str, staged: &str| {
        let wire = v1::NodeGetVolumeHealthRequest {
            volume_id: "v".to_owned(),
            volume_publish_path: published.to_owned(),
            staging_target_path: staged.to_owned(),
        };
        let request = node::health(&wire).unwrap();
        request.map(|request| request.volume_path.display().to_string())
    };
    assert_eq!(path("", ""), None);
    assert_eq!(path("/p", "/s").as_deref(), Some("/p"));
    assert_eq!(path("", "/s").as_deref(), Some("/s"));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn hostile_paths_and_contexts_are_refused(
        volume_id in text(),
        first in text(),
        second in text(),
        context in pairs(),
    ) {
        let mut wire = stage();
        wire.volume_id.clone_from(&volume_id);
        wire.staging_target_path.clone_from(&first);
        wire.volume_context = context;
        let publish = node::publish(v1::NodePublishVolumeRequest {
            volume_id: volume_id.clone(),
            staging_target_path: first.clone(),
            target_path: second.clone(),
            ..v1::NodePublishVolumeRequest::default()
        }).err();
        let unstage = node::unstage(&v1::NodeUnstageVolumeRequest {
            volume_id: volume_id.clone(),
            staging_target_path: first,
        }).err();
        let unpublish = node::unpublish(&v1::NodeUnpublishVolumeRequest {
            volume_id,
            target_path: second,
        }).err();
        let all = [node::stage(wire, &table()).err(), publish, unstage, unpublish];
        for mistakes in all.into_iter().flatten() {
            prop_assert_eq!(mistakes.class(), Class::Invalid);
            prop_assert!(mistakes.to_string().len() < 16_384);
        }
    }
}
