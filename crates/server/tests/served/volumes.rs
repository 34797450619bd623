//! Controller calls on a real cluster.

use std::collections::BTreeSet;
use std::time::Duration;

use cuttle_csi::v1;
use cuttle_csi::v1::controller_client::ControllerClient;
use cuttle_csi::v1::volume_capability::access_mode::Mode;
use cuttle_model::{
    ClusterId, ClusterSettings, ListingSettings, Monitors, PoolName, RadosNamespace,
};
use cuttle_testbed::{Cluster, shared_cluster};
use tonic::Code;
use tonic::transport::Channel;

use crate::requests::{NOBODYS_KEY, capability, create_request, map, mount};
use crate::serving::{Served, Setup, assert_refused};

const GIB: i64 = 1 << 30;

/// The shared cluster with a namespace of this test's own, configured for listing.
pub(crate) struct Ground {
    cluster: Cluster,
    namespace: String,
    secret: tempfile::TempDir,
}

impl Ground {
    pub(crate) fn new() -> Self {
        let cluster = shared_cluster();
        let namespace = format!("served-{}", uuid::Uuid::new_v4());
        cluster.namespace("rbd", &namespace).unwrap();
        let secret = tempfile::tempdir().unwrap();
        std::fs::write(secret.path().join("userID"), "admin\n").unwrap();
        std::fs::write(secret.path().join("userKey"), cluster.admin_key()).unwrap();
        Self {
            cluster,
            namespace,
            secret,
        }
    }

    pub(crate) fn setup(&self) -> Setup {
        let monitors = Monitors::new(vec![self.cluster.monitors()]).unwrap();
        let mut settings = ClusterSettings::new(ClusterId::new("c1").unwrap(), monitors);
        settings.rbd.namespace = RadosNamespace::new(self.namespace.clone()).unwrap();
        settings.rbd.listing = Some(ListingSettings {
            credentials_directory: self.secret.path().to_owned(),
            pools: vec![PoolName::new("rbd").unwrap()],
        });
        Setup::new([settings])
    }

    pub(crate) fn create(&self, name: &str) -> v1::CreateVolumeRequest {
        let mut request = create_request(name, &[("clusterID", "c1"), ("pool", "rbd")]);
        request.secrets = self.secrets();
        request
    }

    pub(crate) fn delete(&self, handle: &str) -> v1::DeleteVolumeRequest {
        v1::DeleteVolumeRequest {
            volume_id: handle.to_owned(),
            secrets: self.secrets(),
        }
    }

    pub(crate) fn secrets(&self) -> std::collections::BTreeMap<String, String> {
        map(&[("userID", "admin"), ("userKey", &self.cluster.admin_key())])
    }

    /// Asserts that nothing is left, waiting for the manager to empty the trash.
    pub(crate) async fn assert_empty(&self) {
        let end = std::time::Instant::now() + Duration::from_secs(60);
        loop {
            let contents = self
                .cluster
                .rbd_namespace_contents("rbd", &self.namespace)
                .unwrap();
            let left = contents.leftovers();
            if left.is_empty() {
                return;
            }
            assert!(std::time::Instant::now() < end, "left behind: {left:?}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

#[tokio::test]
async fn a_volume_lives_its_whole_life() {
    let ground = Ground::new();
    let served = Served::start(ground.setup()).await;
    let mut controller = ControllerClient::new(served.channel.clone());

    let created = controller
        .create_volume(ground.create("pvc-1"))
        .await
        .unwrap();
    let volume = created.into_inner().volume.unwrap();
    assert_eq!(volume.capacity_bytes, GIB);
    assert_eq!(volume.volume_context["pool"], "rbd");
    let again = controller
        .create_volume(ground.create("pvc-1"))
        .await
        .unwrap();
    assert_eq!(again.into_inner().volume.unwrap(), volume);
    let mut larger = ground.create("pvc-1");
    larger.capacity_range = Some(v1::CapacityRange {
        required_bytes: 2 * GIB,
        limit_bytes: 0,
    });
    assert_refused(
        controller.create_volume(larger).await,
        Code::AlreadyExists,
        &["create volume \"pvc-1\"", "[CUTTLE-1413]"],
    );

    ask_about(&mut controller, &ground, &volume).await;

    let expand = v1::ControllerExpandVolumeRequest {
        volume_id: volume.volume_id.clone(),
        capacity_range: Some(v1::CapacityRange {
            required_bytes: 3 * GIB,
            limit_bytes: 0,
        }),
        secrets: ground.secrets(),
        volume_capability: Some(capability(mount(), Mode::SingleNodeWriter)),
    };
    let grown = controller
        .controller_expand_volume(expand)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(grown.capacity_bytes, 3 * GIB);
    assert!(grown.node_expansion_required);

    for _ in 0..2 {
        controller
            .delete_volume(ground.delete(&volume.volume_id))
            .await
            .unwrap();
    }
    let gone = v1::ControllerGetVolumeRequest {
        volume_id: volume.volume_id,
    };
    assert_refused(
        controller.controller_get_volume(gone).await,
        Code::NotFound,
        &["[CUTTLE-1451]"],
    );
    ground.assert_empty().await;
    drop(controller);
    assert_eq!(served.end().await, 0);
}

/// Everything that only reads.
async fn ask_about(
    controller: &mut ControllerClient<Channel>,
    ground: &Ground,
    volume: &v1::Volume,
) {
    let listed = controller
        .list_volumes(v1::ListVolumesRequest::default())
        .await
        .unwrap();
    let entries = listed.into_inner().entries;
    assert_eq!(entries.len(), 1);
    let entry = entries[0].volume.clone().unwrap();
    assert_eq!(
        (entry.volume_id, entry.capacity_bytes),
        (volume.volume_id.clone(), GIB)
    );

    let capacity = v1::GetCapacityRequest {
        parameters: map(&[("clusterID", "c1"), ("pool", "rbd")]),
        ..Default::default()
    };
    let capacity = controller
        .get_capacity(capacity)
        .await
        .unwrap()
        .into_inner();
    assert!(capacity.available_capacity > 0);

    let get = v1::ControllerGetVolumeRequest {
        volume_id: volume.volume_id.clone(),
    };
    let found = controller
        .controller_get_volume(get)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(found.volume.unwrap().capacity_bytes, GIB);
    assert!(!found.status.unwrap().volume_condition.unwrap().abnormal);

    let health = v1::ControllerGetVolumeHealthRequest {
        volume_id: volume.volume_id.clone(),
        secrets: ground.secrets(),
    };
    let health = controller
        .controller_get_volume_health(health)
        .await
        .unwrap()
        .into_inner();
    assert!(health.volume_health.unwrap().health_statuses.is_empty());

    let validate = |mode| v1::ValidateVolumeCapabilitiesRequest {
        volume_id: volume.volume_id.clone(),
        volume_capabilities: vec![capability(mount(), mode)],
        secrets: ground.secrets(),
        ..Default::default()
    };
    let good = controller
        .validate_volume_capabilities(validate(Mode::SingleNodeWriter))
        .await
        .unwrap()
        .into_inner();
    assert!(good.confirmed.is_some(), "{}", good.message);
    let bad = controller
        .validate_volume_capabilities(validate(Mode::MultiNodeMultiWriter))
        .await
        .unwrap()
        .into_inner();
    assert!(bad.confirmed.is_none());
    assert!(
        bad.message.contains("MULTI_NODE_MULTI_WRITER"),
        "{}",
        bad.message
    );
}

#[tokio::test]
async fn wrong_keys_and_pools_are_told_and_leave_nothing() {
    let ground = Ground::new();
    let served = Served::start(ground.setup()).await;
    let mut controller = ControllerClient::new(served.channel.clone());
    let mut wrong_key = ground.create("pvc-1");
    wrong_key.secrets = map(&[("userID", "admin"), ("userKey", NOBODYS_KEY)]);
    assert_refused(
        controller.create_volume(wrong_key).await,
        Code::Unauthenticated,
        &[
            "could not connect to cluster \"c1\" as client.admin",
            "[CUTTLE-",
        ],
    );
    let mut wrong_pool = ground.create("pvc-1");
    wrong_pool
        .parameters
        .insert("pool".to_owned(), "no-such-pool".to_owned());
    assert_refused(
        controller.create_volume(wrong_pool).await,
        Code::InvalidArgument,
        &["has no pool \"no-such-pool\"", "[CUTTLE-1403]"],
    );
    ground.assert_empty().await;
    drop(controller);
    served.end().await;
}

/// 200 volumes over 32 connections: each is asked for up to three times at once, some callers hang
/// up, and every second volume is deleted again, also more than once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_ends_with_exactly_the_expected_volumes() {
    const VOLUMES: usize = 200;
    const CONNECTIONS: usize = 32;
    let ground = std::sync::Arc::new(Ground::new());
    let served = Served::start(ground.setup()).await;
    let mut tasks = tokio::task::JoinSet::new();
    for lane in 0..CONNECTIONS {
        let (channel, ground) = (served.connect().await, std::sync::Arc::clone(&ground));
        tasks.spawn(async move {
            let mut kept = BTreeSet::new();
            for number in (lane..VOLUMES).step_by(CONNECTIONS) {
                kept.extend(one_of_the_crowd(&channel, &ground, number).await);
            }
            kept
        });
    }
    let mut expected = BTreeSet::new();
    while let Some(kept) = tasks.join_next().await {
        expected.extend(kept.unwrap());
    }
    assert_eq!(expected.len(), VOLUMES / 2);

    let mut controller = ControllerClient::new(served.channel.clone());
    assert_eq!(list_all(&mut controller).await, expected);
    for handle in &expected {
        controller
            .delete_volume(ground.delete(handle))
            .await
            .unwrap();
    }
    ground.assert_empty().await;
    assert_eq!(served.dispatcher.held_keys(), 0);
    assert_eq!(served.dispatcher.panics(), 0);
    drop(controller);
    assert_eq!(served.end().await, 0);
}

/// Makes a volume among duplicates and hang-ups; deletes it if its number is odd. Answers the
/// handle if it stays.
async fn one_of_the_crowd(channel: &Channel, ground: &Ground, number: usize) -> Option<String> {
    let name = format!("pvc-{number}");
    let call = || {
        let (mut client, request) = (ControllerClient::new(channel.clone()), ground.create(&name));
        async move { client.create_volume(request).await }
    };
    // One caller hangs up at once, one while the work runs, and two stay.
    let gone = tokio::spawn(call());
    gone.abort();
    let hasty = tokio::time::timeout(Duration::from_millis(3), call());
    let (_hasty, first, second) = tokio::join!(hasty, call(), call());
    let handle = |reply: Result<tonic::Response<v1::CreateVolumeResponse>, tonic::Status>| {
        reply.unwrap().into_inner().volume.unwrap().volume_id
    };
    let (first, second) = (handle(first), handle(second));
    assert_eq!(first, second, "two volumes for {name}");
    if number.is_multiple_of(2) {
        return Some(first);
    }
    let delete = || {
        let (mut client, request) = (
            ControllerClient::new(channel.clone()),
            ground.delete(&first),
        );
        async move { client.delete_volume(request).await }
    };
    let hasty = tokio::time::timeout(Duration::from_millis(2), delete());
    let (_hasty, one, two) = tokio::join!(hasty, delete(), delete());
    one.unwrap();
    two.unwrap();
    None
}

async fn list_all(controller: &mut ControllerClient<Channel>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut token = String::new();
    loop {
        let request = v1::ListVolumesRequest {
            max_entries: 30,
            starting_token: token,
        };
        let page = controller.list_volumes(request).await.unwrap().into_inner();
        found.extend(
            page.entries
                .into_iter()
                .map(|entry| entry.volume.unwrap().volume_id),
        );
        token = page.next_token;
        if token.is_empty() {
            return found;
        }
    }
}
