//! Bad requests, unserved calls and readiness; no cluster is needed for them.

use cuttle_csi::v1;
use cuttle_csi::v1::controller_client::ControllerClient;
use cuttle_csi::v1::group_controller_client::GroupControllerClient;
use cuttle_csi::v1::identity_client::IdentityClient;
use cuttle_csi::v1::node_client::NodeClient;
use cuttle_csi::v1::volume_capability::access_mode::Mode;
use tonic::Code;

use crate::requests::{HANDLE, capability, create_request, map, mount, secrets};
use crate::serving::{Served, Setup, assert_refused};

fn setup() -> Setup {
    Setup::unreachable(&["c1", "c2"])
}

#[tokio::test]
async fn identity_tells_name_capabilities_and_readiness() {
    let served = Served::start(setup().without_services()).await;
    let mut identity = IdentityClient::new(served.channel.clone());
    let info = identity
        .get_plugin_info(v1::GetPluginInfoRequest {})
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (info.name.as_str(), info.vendor_version.as_str()),
        ("rbd.csi.ceph.com", "v1.2.3")
    );
    let offered = identity
        .get_plugin_capabilities(v1::GetPluginCapabilitiesRequest {})
        .await
        .unwrap()
        .into_inner();
    assert_eq!(offered.capabilities.len(), 3);
    let hold = served.readiness.hold("configuration");
    let probe = identity
        .probe(v1::ProbeRequest {})
        .await
        .unwrap()
        .into_inner();
    assert_eq!(probe.ready, Some(false));
    drop(hold);
    let probe = identity
        .probe(v1::ProbeRequest {})
        .await
        .unwrap()
        .into_inner();
    assert_eq!(probe.ready, Some(true));
    drop(identity);
    served.end().await;
}

#[tokio::test]
async fn calls_that_are_not_served_say_so() {
    let served = Served::start(setup().without_services()).await;
    let mut controller = ControllerClient::new(served.channel.clone());
    let mut node = NodeClient::new(served.channel.clone());
    let mut groups = GroupControllerClient::new(served.channel.clone());
    assert_refused(
        controller
            .create_volume(v1::CreateVolumeRequest::default())
            .await,
        Code::Unimplemented,
        &["--controllerserver=true", "[CUTTLE-1034]"],
    );
    assert_refused(
        node.node_get_info(v1::NodeGetInfoRequest {}).await,
        Code::Unimplemented,
        &["--nodeserver=true"],
    );
    assert_refused(
        groups
            .get_volume_group_snapshot(v1::GetVolumeGroupSnapshotRequest::default())
            .await,
        Code::Unimplemented,
        &["group snapshots"],
    );
    drop((controller, node, groups));
    served.end().await;
}

#[tokio::test]
async fn what_comes_later_is_unimplemented_in_plain_words() {
    let served = Served::start(setup()).await;
    let mut controller = ControllerClient::new(served.channel.clone());
    assert_refused(
        controller
            .list_snapshots(v1::ListSnapshotsRequest::default())
            .await,
        Code::Unimplemented,
        &["names credentials for listing for none", "CUTTLE-1040"],
    );
    assert_refused(
        controller
            .controller_modify_volume(v1::ControllerModifyVolumeRequest::default())
            .await,
        Code::Unimplemented,
        &["not supported yet"],
    );
    assert_refused(
        controller
            .list_volumes(v1::ListVolumesRequest::default())
            .await,
        Code::Unimplemented,
        &["credentials"],
    );
    drop(controller);
    served.end().await;
}

#[tokio::test]
async fn capabilities_without_listing_credentials_offer_no_listing() {
    use v1::controller_service_capability::{Type, rpc};
    let served = Served::start(setup()).await;
    let mut controller = ControllerClient::new(served.channel.clone());
    let offered = controller
        .controller_get_capabilities(v1::ControllerGetCapabilitiesRequest {})
        .await
        .unwrap()
        .into_inner();
    let kinds: Vec<rpc::Type> = offered
        .capabilities
        .into_iter()
        .map(|capability| {
            let Some(Type::Rpc(rpc)) = capability.r#type else {
                panic!("empty capability");
            };
            rpc.r#type()
        })
        .collect();
    assert_eq!(
        kinds,
        [
            rpc::Type::CreateDeleteVolume,
            rpc::Type::CreateDeleteSnapshot,
            rpc::Type::CloneVolume,
            rpc::Type::ExpandVolume,
            rpc::Type::SingleNodeMultiWriter,
        ]
    );
    drop(controller);
    served.end().await;
}

#[tokio::test]
async fn bad_controller_requests_name_field_rule_and_remedy() {
    let served = Served::start(setup()).await;
    let mut controller = ControllerClient::new(served.channel.clone());
    let good = create_request("pvc-1", &[("clusterID", "c1"), ("pool", "rbd")]);
    let long = v1::CreateVolumeRequest {
        name: "n".repeat(1 << 20),
        ..good.clone()
    };
    assert_refused(
        controller.create_volume(long).await,
        Code::InvalidArgument,
        &[
            "create volume \"nnn",
            "name",
            "at most 128 bytes",
            "[CUTTLE-1001]",
        ],
    );
    let unknown = v1::CreateVolumeRequest {
        parameters: map(&[("clusterID", "nope"), ("pool", "rbd")]),
        ..good.clone()
    };
    assert_refused(
        controller.create_volume(unknown).await,
        Code::InvalidArgument,
        &[
            "clusterID",
            "\"nope\" is not in config.json",
            "use one of c1, c2",
        ],
    );
    let beyond = v1::CreateVolumeRequest {
        capacity_range: Some(v1::CapacityRange {
            required_bytes: (1 << 30) + 1,
            limit_bytes: (1 << 30) + 1,
        }),
        ..good
    };
    assert_refused(
        controller.create_volume(beyond).await,
        Code::OutOfRange,
        &["limit_bytes"],
    );
    assert_refused(
        controller
            .delete_volume(v1::DeleteVolumeRequest {
                volume_id: "../../etc/passwd".to_owned(),
                secrets: secrets(),
            })
            .await,
        Code::InvalidArgument,
        &["delete volume", "volume_id", "malformed", "[CUTTLE-1005]"],
    );
    assert_refused(
        controller
            .controller_expand_volume(v1::ControllerExpandVolumeRequest {
                volume_id: HANDLE.to_owned(),
                ..Default::default()
            })
            .await,
        Code::InvalidArgument,
        &[
            "capacity_range",
            "secrets.userID",
            "secrets.userKey",
            "[CUTTLE-1032]",
        ],
    );
    drop(controller);
    served.end().await;
}

#[tokio::test]
async fn bad_node_requests_name_field_rule_and_remedy() {
    let served = Served::start(setup()).await;
    let mut node = NodeClient::new(served.channel.clone());
    let stage = v1::NodeStageVolumeRequest {
        volume_id: HANDLE.to_owned(),
        staging_target_path: "relative/path".to_owned(),
        volume_capability: Some(capability(mount(), Mode::MultiNodeMultiWriter)),
        ..Default::default()
    };
    assert_refused(
        node.node_stage_volume(stage).await,
        Code::InvalidArgument,
        &[
            "stage volume",
            "staging_target_path",
            "begin with '/'",
            "MULTI_NODE",
            "secrets.userID",
        ],
    );
    let publish = v1::NodePublishVolumeRequest {
        volume_id: HANDLE.to_owned(),
        staging_target_path: "/staging".to_owned(),
        target_path: "/pods/../etc".to_owned(),
        volume_capability: Some(capability(mount(), Mode::SingleNodeWriter)),
        ..Default::default()
    };
    assert_refused(
        node.node_publish_volume(publish).await,
        Code::InvalidArgument,
        &["publish volume", "target_path", "\"..\""],
    );
    assert_refused(
        node.node_unstage_volume(v1::NodeUnstageVolumeRequest::default())
            .await,
        Code::InvalidArgument,
        &["volume_id", "staging_target_path"],
    );
    assert_refused(
        node.node_get_volume_stats(v1::NodeGetVolumeStatsRequest::default())
            .await,
        Code::InvalidArgument,
        &["volume_path"],
    );
    let info = node
        .node_get_info(v1::NodeGetInfoRequest {})
        .await
        .unwrap()
        .into_inner();
    assert_eq!(info.node_id, "node-1");
    assert_eq!(info.accessible_topology.unwrap().segments.len(), 1);
    drop(node);
    served.end().await;
}

#[tokio::test]
async fn health_of_a_volume_without_a_path_is_unknown_and_so_not_bad() {
    let served = Served::start(setup()).await;
    let mut node = NodeClient::new(served.channel.clone());
    let ask = |path: &str| v1::NodeGetVolumeHealthRequest {
        volume_id: HANDLE.to_owned(),
        volume_publish_path: path.to_owned(),
        ..Default::default()
    };
    let health = node
        .node_get_volume_health(ask(""))
        .await
        .unwrap()
        .into_inner();
    let health = health.volume_health.unwrap();
    assert_eq!(
        (health.volume_id.as_str(), health.health_statuses.len()),
        (HANDLE, 0)
    );
    // A path where nothing is mounted: the volume cannot be used from here.
    let health = node
        .node_get_volume_health(ask("/nowhere/at/all"))
        .await
        .unwrap()
        .into_inner();
    let statuses = health.volume_health.unwrap().health_statuses;
    assert_eq!(statuses.len(), 1);
    assert_eq!(
        statuses[0].status(),
        v1::VolumeHealthErrorType::Inaccessible
    );
    drop(node);
    served.end().await;
}
