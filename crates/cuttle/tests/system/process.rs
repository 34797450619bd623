//! The process and its promises to kubelet: identity, readiness, socket, shutdown.

use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::time::{Duration, Instant};

use cuttle_csi::v1;
use cuttle_csi::v1::controller_service_capability::rpc::Type as ControllerType;
use cuttle_csi::v1::node_service_capability::rpc::Type as NodeType;
use tonic::Code;

use crate::calls::{Client, GIB};
use crate::world::World;

#[test]
fn it_tells_who_it_is_and_what_it_can() {
    let world = World::new();
    let driver = world.start(&[]);
    let info = driver
        .client
        .get_plugin_info(v1::GetPluginInfoRequest {})
        .expect("who it is");
    assert_eq!(info.name, "rbd.csi.ceph.com");
    assert_eq!(info.vendor_version, env!("CARGO_PKG_VERSION"));
    let ready = driver
        .client
        .probe(v1::ProbeRequest {})
        .expect("an answer")
        .ready;
    assert_eq!(ready, Some(true));
    let plugin = driver
        .client
        .get_plugin_capabilities(v1::GetPluginCapabilitiesRequest {})
        .expect("what the plugin can");
    assert!(!plugin.capabilities.is_empty());

    let controller: Vec<i32> = driver
        .client
        .controller_get_capabilities(v1::ControllerGetCapabilitiesRequest {})
        .expect("what the controller can")
        .capabilities
        .into_iter()
        .filter_map(|capability| match capability.r#type? {
            v1::controller_service_capability::Type::Rpc(rpc) => Some(rpc.r#type),
        })
        .collect();
    for needed in [
        ControllerType::CreateDeleteVolume,
        ControllerType::ExpandVolume,
    ] {
        assert!(
            controller.contains(&needed.into()),
            "{needed:?} is not in {controller:?}"
        );
    }
    // Without credentials for listing it must not promise to list, and must say what is missing.
    for absent in [ControllerType::ListVolumes, ControllerType::GetCapacity] {
        assert!(
            !controller.contains(&absent.into()),
            "{absent:?} is in {controller:?}"
        );
    }
    let status = driver
        .client
        .list_volumes(v1::ListVolumesRequest::default())
        .expect_err("no credentials for listing");
    assert!(status.message().contains("rbd.listing"), "{status}");
    let status = driver
        .client
        .create_snapshot(v1::CreateSnapshotRequest::default())
        .expect_err("an empty request");
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");

    let node: Vec<i32> = driver
        .client
        .node_get_capabilities(v1::NodeGetCapabilitiesRequest {})
        .expect("what the node can")
        .capabilities
        .into_iter()
        .filter_map(|capability| match capability.r#type? {
            v1::node_service_capability::Type::Rpc(rpc) => Some(rpc.r#type),
        })
        .collect();
    for needed in [
        NodeType::StageUnstageVolume,
        NodeType::ExpandVolume,
        NodeType::GetVolumeStats,
    ] {
        assert!(
            node.contains(&needed.into()),
            "{needed:?} is not in {node:?}"
        );
    }
    let node = driver
        .client
        .node_get_info(v1::NodeGetInfoRequest {})
        .expect("which node it is");
    assert_eq!(node.node_id, "node-1");
}

#[test]
fn its_socket_is_private_and_a_dead_one_is_replaced() {
    let world = World::new();
    let mut driver = world.start(&[]);
    let socket = driver.driver.socket().unwrap().to_owned();
    let metadata = std::fs::metadata(&socket).unwrap();
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    driver.driver.kill().expect("its end");
    assert!(socket.exists(), "a killed driver cannot remove its socket");
    let driver = world.start(&[]);
    assert_eq!(
        driver
            .client
            .probe(v1::ProbeRequest {})
            .expect("an answer")
            .ready,
        Some(true)
    );
}

#[test]
fn it_lets_running_jobs_end_before_it_ends() {
    let world = World::new();
    let mut driver = world.start(&[]);
    let socket = driver.driver.socket().unwrap().to_owned();
    let requests: Vec<_> = (0..8)
        .map(|n| world.create_request(&format!("pvc-last-{n}"), GIB))
        .collect();
    let answers = std::thread::scope(|scope| {
        let callers: Vec<_> = requests
            .iter()
            .map(|request| {
                let socket = &socket;
                scope.spawn(move || Client::connect(socket).create(request.clone()))
            })
            .collect();
        // The first reservation shows that the jobs run.
        cuttle_testbed::until("a job runs", Duration::from_secs(30), || {
            if driver.driver.log_text().contains("csi.volumes.default") {
                Ok(())
            } else {
                Err("no".into())
            }
        })
        .unwrap();
        let start = Instant::now();
        let status = driver
            .driver
            .terminate(Duration::from_secs(30))
            .expect("its end");
        assert!(status.success(), "{status}");
        assert!(start.elapsed() < Duration::from_secs(20));
        callers
            .into_iter()
            .map(|caller| caller.join().unwrap())
            .collect::<Vec<_>>()
    });
    assert!(
        !socket.exists(),
        "a driver that ends in order removes its socket"
    );
    let fresh = world.start_named("fresh", &[]);
    for (request, answer) in requests.iter().zip(answers) {
        let again = fresh.client.create(request.clone()).expect("the repeat");
        if let Ok(volume) = answer {
            assert_eq!(volume.volume_id, again.volume_id);
        }
        fresh
            .client
            .delete_volume(world.delete_request(&again.volume_id))
            .expect("a deletion");
    }
    world.assert_ceph_empty("after the shutdown");
}
