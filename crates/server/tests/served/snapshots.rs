//! Snapshot calls on a real cluster.

use cuttle_csi::v1;
use cuttle_csi::v1::controller_client::ControllerClient;
use cuttle_csi::v1::volume_content_source::{SnapshotSource, Type, VolumeSource};
use tonic::Code;

use crate::requests::map;
use crate::serving::{Served, assert_refused};
use crate::volumes::Ground;

fn taking(ground: &Ground, name: &str, volume: &str) -> v1::CreateSnapshotRequest {
    v1::CreateSnapshotRequest {
        source_volume_id: volume.to_owned(),
        name: name.to_owned(),
        secrets: ground.secrets(),
        parameters: map(&[("clusterID", "c1")]),
    }
}

fn from(ground: &Ground, name: &str, kind: Type) -> v1::CreateVolumeRequest {
    v1::CreateVolumeRequest {
        volume_content_source: Some(v1::VolumeContentSource { r#type: Some(kind) }),
        ..ground.create(name)
    }
}

/// Lists and describes the only snapshot there is, with and without secrets.
async fn listed_and_described(
    ground: &Ground,
    controller: &mut ControllerClient<tonic::transport::Channel>,
    snapshot: &v1::Snapshot,
) {
    let all = v1::ListSnapshotsRequest::default();
    let one = v1::ListSnapshotsRequest {
        snapshot_id: snapshot.snapshot_id.clone(),
        secrets: ground.secrets(),
        ..all.clone()
    };
    let of = v1::ListSnapshotsRequest {
        source_volume_id: snapshot.source_volume_id.clone(),
        ..all.clone()
    };
    let both = v1::ListSnapshotsRequest {
        source_volume_id: snapshot.source_volume_id.clone(),
        ..one.clone()
    };
    for request in [&all, &one, &of, &both] {
        let answer = controller.list_snapshots(request.clone()).await.unwrap();
        let answer = answer.into_inner();
        assert_eq!(answer.entries.len(), 1, "{request:?}");
        assert_eq!(answer.entries[0].snapshot.as_ref(), Some(snapshot));
        assert_eq!(answer.next_token, "");
    }
    // What nobody has is not there, which is no mistake.
    let other = |id: &str| {
        let mut other = id.to_owned();
        other.truncate(id.len() - 4);
        other + "0000"
    };
    let others = [
        v1::ListSnapshotsRequest {
            snapshot_id: other(&snapshot.snapshot_id),
            ..all.clone()
        },
        v1::ListSnapshotsRequest {
            snapshot_id: "of another driver".to_owned(),
            ..all.clone()
        },
        v1::ListSnapshotsRequest {
            source_volume_id: other(&snapshot.source_volume_id),
            ..all.clone()
        },
        v1::ListSnapshotsRequest {
            source_volume_id: other(&snapshot.source_volume_id),
            ..one.clone()
        },
    ];
    for request in others {
        let answer = controller.list_snapshots(request.clone()).await.unwrap();
        assert_eq!(
            answer.into_inner(),
            v1::ListSnapshotsResponse::default(),
            "{request:?}"
        );
    }
    assert_refused(
        controller
            .list_snapshots(v1::ListSnapshotsRequest {
                starting_token: "yesterday's".to_owned(),
                ..all.clone()
            })
            .await,
        Code::Aborted,
        &["starting_token", "CUTTLE-1461"],
    );
    for secrets in [ground.secrets(), map(&[])] {
        let request = v1::GetSnapshotRequest {
            snapshot_id: snapshot.snapshot_id.clone(),
            secrets: secrets.clone(),
        };
        let answer = controller.get_snapshot(request).await.unwrap();
        assert_eq!(answer.into_inner().snapshot.as_ref(), Some(snapshot));
        let request = v1::GetSnapshotRequest {
            snapshot_id: other(&snapshot.snapshot_id),
            secrets,
        };
        assert_refused(
            controller.get_snapshot(request).await,
            Code::NotFound,
            &["there is no snapshot", "CUTTLE-1442"],
        );
    }
}

#[tokio::test]
async fn a_snapshot_lives_its_whole_life() {
    let ground = Ground::new();
    let served = Served::start(ground.setup()).await;
    let mut controller = ControllerClient::new(served.channel.clone());
    let created = controller.create_volume(ground.create("pvc-1")).await;
    let volume = created.unwrap().into_inner().volume.unwrap();
    assert_eq!(volume.content_source, None);

    let request = taking(&ground, "snapshot-1", &volume.volume_id);
    let made = controller.create_snapshot(request.clone()).await.unwrap();
    let snapshot = made.into_inner().snapshot.unwrap();
    assert!(snapshot.ready_to_use);
    assert_eq!(snapshot.source_volume_id, volume.volume_id);
    assert_eq!(snapshot.size_bytes, volume.capacity_bytes);
    assert!(snapshot.creation_time.as_ref().unwrap().seconds > 1_600_000_000);
    let again = controller.create_snapshot(request).await.unwrap();
    assert_eq!(again.into_inner().snapshot.unwrap(), snapshot);

    listed_and_described(&ground, &mut controller, &snapshot).await;

    let mut made = Vec::new();
    for (name, kind) in [
        (
            "restored",
            Type::Snapshot(SnapshotSource {
                snapshot_id: snapshot.snapshot_id.clone(),
            }),
        ),
        (
            "cloned",
            Type::Volume(VolumeSource {
                volume_id: volume.volume_id.clone(),
            }),
        ),
    ] {
        let request = from(&ground, name, kind);
        let answer = controller.create_volume(request.clone()).await.unwrap();
        let volume = answer.into_inner().volume.unwrap();
        assert_eq!(volume.content_source, request.volume_content_source);
        made.push(volume.volume_id);
    }
    // A smaller limit than the source.
    let mut small = from(
        &ground,
        "small",
        Type::Snapshot(SnapshotSource {
            snapshot_id: snapshot.snapshot_id.clone(),
        }),
    );
    small.capacity_range = Some(v1::CapacityRange {
        required_bytes: 1 << 20,
        limit_bytes: 1 << 29,
    });
    assert_refused(
        controller.create_volume(small).await,
        Code::OutOfRange,
        &["the source has 1 GiB", "at most 512 MiB", "CUTTLE-1449"],
    );

    controller
        .delete_volume(ground.delete(&volume.volume_id))
        .await
        .unwrap();
    let deletion = v1::DeleteSnapshotRequest {
        snapshot_id: snapshot.snapshot_id.clone(),
        secrets: ground.secrets(),
    };
    for _ in 0..2 {
        controller.delete_snapshot(deletion.clone()).await.unwrap();
    }
    assert_refused(
        controller
            .create_snapshot(taking(&ground, "late", &volume.volume_id))
            .await,
        Code::NotFound,
        &["there is no volume", "CUTTLE-1442"],
    );
    let late = Type::Snapshot(SnapshotSource {
        snapshot_id: snapshot.snapshot_id,
    });
    assert_refused(
        controller.create_volume(from(&ground, "late", late)).await,
        Code::NotFound,
        &["there is no snapshot"],
    );
    for volume in made {
        controller
            .delete_volume(ground.delete(&volume))
            .await
            .unwrap();
    }
    ground.assert_empty().await;
    drop(controller);
    served.end().await;
}
