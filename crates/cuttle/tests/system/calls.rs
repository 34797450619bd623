//! CSI calls as kubelet and the sidecars make them, blocking, with short ways to build requests.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use cuttle_csi::v1;
use tokio::runtime::Runtime;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use crate::world::{POOL, World};

pub(crate) const MIB: i64 = 1 << 20;
pub(crate) const GIB: i64 = 1 << 30;

/// No call of a test takes longer than this unless the test says so.
const PATIENCE: Duration = Duration::from_secs(120);

/// A blocking connection to a driver's socket.
pub(crate) struct Client {
    runtime: Runtime,
    channel: Channel,
}

macro_rules! calls {
    ($($name:ident, $service:ident :: $client:ident, $request:ident => $response:ident;)*) => {
        impl Client {
            $(
                pub(crate) fn $name(&self, request: v1::$request) -> Result<v1::$response, Status> {
                    let mut request = Request::new(request);
                    request.set_timeout(PATIENCE);
                    let mut client = v1::$service::$client::new(self.channel.clone());
                    self.runtime
                        .block_on(client.$name(request))
                        .map(tonic::Response::into_inner)
                }
            )*
        }
    };
}

calls! {
    probe, identity_client::IdentityClient, ProbeRequest => ProbeResponse;
    get_plugin_info, identity_client::IdentityClient, GetPluginInfoRequest => GetPluginInfoResponse;
    get_plugin_capabilities, identity_client::IdentityClient,
        GetPluginCapabilitiesRequest => GetPluginCapabilitiesResponse;
    create_volume, controller_client::ControllerClient,
        CreateVolumeRequest => CreateVolumeResponse;
    delete_volume, controller_client::ControllerClient,
        DeleteVolumeRequest => DeleteVolumeResponse;
    controller_expand_volume, controller_client::ControllerClient,
        ControllerExpandVolumeRequest => ControllerExpandVolumeResponse;
    validate_volume_capabilities, controller_client::ControllerClient,
        ValidateVolumeCapabilitiesRequest => ValidateVolumeCapabilitiesResponse;
    list_volumes, controller_client::ControllerClient, ListVolumesRequest => ListVolumesResponse;
    get_capacity, controller_client::ControllerClient, GetCapacityRequest => GetCapacityResponse;
    controller_get_capabilities, controller_client::ControllerClient,
        ControllerGetCapabilitiesRequest => ControllerGetCapabilitiesResponse;
    controller_get_volume, controller_client::ControllerClient,
        ControllerGetVolumeRequest => ControllerGetVolumeResponse;
    create_snapshot, controller_client::ControllerClient,
        CreateSnapshotRequest => CreateSnapshotResponse;
    delete_snapshot, controller_client::ControllerClient,
        DeleteSnapshotRequest => DeleteSnapshotResponse;
    node_stage_volume, node_client::NodeClient, NodeStageVolumeRequest => NodeStageVolumeResponse;
    node_unstage_volume, node_client::NodeClient,
        NodeUnstageVolumeRequest => NodeUnstageVolumeResponse;
    node_publish_volume, node_client::NodeClient,
        NodePublishVolumeRequest => NodePublishVolumeResponse;
    node_unpublish_volume, node_client::NodeClient,
        NodeUnpublishVolumeRequest => NodeUnpublishVolumeResponse;
    node_get_volume_stats, node_client::NodeClient,
        NodeGetVolumeStatsRequest => NodeGetVolumeStatsResponse;
    node_expand_volume, node_client::NodeClient,
        NodeExpandVolumeRequest => NodeExpandVolumeResponse;
    node_get_info, node_client::NodeClient, NodeGetInfoRequest => NodeGetInfoResponse;
    node_get_capabilities, node_client::NodeClient,
        NodeGetCapabilitiesRequest => NodeGetCapabilitiesResponse;
}

impl Client {
    /// Connects to a socket that a driver serves.
    pub(crate) fn connect(socket: &Path) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let channel = runtime.block_on(open(socket)).expect("a connection");
        Self { runtime, channel }
    }

    /// Whether the driver no longer answers at all.
    pub(crate) fn is_broken(&self) -> bool {
        self.probe(v1::ProbeRequest {}).is_err()
    }

    /// The same, with a limit of the caller's own; the code tells whether the driver or the
    /// client's clock ended it.
    pub(crate) fn create_within(
        &self,
        request: v1::CreateVolumeRequest,
        limit: Duration,
    ) -> Result<v1::Volume, Status> {
        let mut request = Request::new(request);
        request.set_timeout(limit);
        let mut client = v1::controller_client::ControllerClient::new(self.channel.clone());
        self.runtime
            .block_on(client.create_volume(request))
            .map(|response| response.into_inner().volume.expect("a volume"))
    }

    /// Stages with a limit of the caller's own.
    pub(crate) fn stage_within(
        &self,
        request: v1::NodeStageVolumeRequest,
        limit: Duration,
    ) -> Result<(), Status> {
        let mut request = Request::new(request);
        request.set_timeout(limit);
        let mut client = v1::node_client::NodeClient::new(self.channel.clone());
        let reply = self.runtime.block_on(client.node_stage_volume(request));
        reply.map(drop)
    }

    /// Unstages with a limit of the caller's own.
    pub(crate) fn unstage_within(
        &self,
        request: v1::NodeUnstageVolumeRequest,
        limit: Duration,
    ) -> Result<(), Status> {
        let mut request = Request::new(request);
        request.set_timeout(limit);
        let mut client = v1::node_client::NodeClient::new(self.channel.clone());
        let reply = self.runtime.block_on(client.node_unstage_volume(request));
        reply.map(drop)
    }

    /// Deletes with a limit of the caller's own.
    pub(crate) fn delete_within(
        &self,
        request: v1::DeleteVolumeRequest,
        limit: Duration,
    ) -> Result<(), Status> {
        let mut request = Request::new(request);
        request.set_timeout(limit);
        let mut client = v1::controller_client::ControllerClient::new(self.channel.clone());
        let reply = self.runtime.block_on(client.delete_volume(request));
        reply.map(drop)
    }

    /// Expands with a limit of the caller's own.
    pub(crate) fn expand_within(
        &self,
        request: v1::ControllerExpandVolumeRequest,
        limit: Duration,
    ) -> Result<(), Status> {
        let mut request = Request::new(request);
        request.set_timeout(limit);
        let mut client = v1::controller_client::ControllerClient::new(self.channel.clone());
        let reply = self
            .runtime
            .block_on(client.controller_expand_volume(request));
        reply.map(drop)
    }

    /// Creates a volume and gives back what the provisioner would keep of the answer.
    pub(crate) fn create(&self, request: v1::CreateVolumeRequest) -> Result<v1::Volume, Status> {
        self.create_volume(request)
            .map(|response| response.volume.expect("a volume in the answer"))
    }
}

/// Opens a connection to a socket.
pub(crate) async fn open(socket: &Path) -> Result<Channel, tonic::transport::Error> {
    Endpoint::from_shared(format!("unix://{}", socket.display()))?
        .connect()
        .await
}

/// A volume that is written by one node, with a file system.
pub(crate) fn mount_capability(fs_type: &str) -> v1::VolumeCapability {
    use v1::volume_capability::{AccessMode, AccessType, MountVolume, access_mode::Mode};
    v1::VolumeCapability {
        access_mode: Some(AccessMode {
            mode: Mode::SingleNodeWriter.into(),
        }),
        access_type: Some(AccessType::Mount(MountVolume {
            fs_type: fs_type.to_owned(),
            ..MountVolume::default()
        })),
    }
}

/// A raw block volume that is written by one node.
pub(crate) fn block_capability() -> v1::VolumeCapability {
    use v1::volume_capability::{AccessMode, AccessType, BlockVolume, access_mode::Mode};
    v1::VolumeCapability {
        access_mode: Some(AccessMode {
            mode: Mode::SingleNodeWriter.into(),
        }),
        access_type: Some(AccessType::Block(BlockVolume {})),
    }
}

impl World {
    /// The secrets of this world's user.
    pub(crate) fn secrets(&self) -> BTreeMap<String, String> {
        BTreeMap::from([
            ("userID".to_owned(), self.user.clone()),
            ("userKey".to_owned(), self.key.clone()),
        ])
    }

    /// The parameters of this world's storage class.
    pub(crate) fn parameters(&self) -> BTreeMap<String, String> {
        [
            ("clusterID", self.cluster_id.as_str()),
            ("pool", POOL),
            (
                "imageFeatures",
                "layering,exclusive-lock,object-map,fast-diff,deep-flatten",
            ),
            ("mounter", "fuse"),
            ("csi.storage.k8s.io/pvc/name", "claim"),
            ("csi.storage.k8s.io/pvc/namespace", "default"),
            ("csi.storage.k8s.io/pv/name", "pv"),
        ]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
    }

    /// A request for a volume with an ext4 file system.
    pub(crate) fn create_request(&self, name: &str, bytes: i64) -> v1::CreateVolumeRequest {
        v1::CreateVolumeRequest {
            name: name.to_owned(),
            capacity_range: Some(v1::CapacityRange {
                required_bytes: bytes,
                limit_bytes: 0,
            }),
            volume_capabilities: vec![mount_capability("ext4")],
            parameters: self.parameters(),
            secrets: self.secrets(),
            ..v1::CreateVolumeRequest::default()
        }
    }

    pub(crate) fn delete_request(&self, handle: &str) -> v1::DeleteVolumeRequest {
        v1::DeleteVolumeRequest {
            volume_id: handle.to_owned(),
            secrets: self.secrets(),
        }
    }

    pub(crate) fn expand_request(
        &self,
        handle: &str,
        bytes: i64,
    ) -> v1::ControllerExpandVolumeRequest {
        v1::ControllerExpandVolumeRequest {
            volume_id: handle.to_owned(),
            capacity_range: Some(v1::CapacityRange {
                required_bytes: bytes,
                limit_bytes: 0,
            }),
            secrets: self.secrets(),
            volume_capability: Some(mount_capability("ext4")),
        }
    }

    pub(crate) fn stage_request(
        &self,
        volume: &v1::Volume,
        staging: &Path,
        capability: v1::VolumeCapability,
    ) -> v1::NodeStageVolumeRequest {
        v1::NodeStageVolumeRequest {
            volume_id: volume.volume_id.clone(),
            staging_target_path: text(staging),
            volume_capability: Some(capability),
            secrets: self.secrets(),
            volume_context: volume.volume_context.clone(),
            ..v1::NodeStageVolumeRequest::default()
        }
    }
}

pub(crate) fn unstage_request(handle: &str, staging: &Path) -> v1::NodeUnstageVolumeRequest {
    v1::NodeUnstageVolumeRequest {
        volume_id: handle.to_owned(),
        staging_target_path: text(staging),
    }
}

pub(crate) fn publish_request(
    volume: &v1::Volume,
    staging: &Path,
    target: &Path,
    capability: v1::VolumeCapability,
) -> v1::NodePublishVolumeRequest {
    v1::NodePublishVolumeRequest {
        volume_id: volume.volume_id.clone(),
        staging_target_path: text(staging),
        target_path: text(target),
        volume_capability: Some(capability),
        volume_context: volume.volume_context.clone(),
        ..v1::NodePublishVolumeRequest::default()
    }
}

pub(crate) fn unpublish_request(handle: &str, target: &Path) -> v1::NodeUnpublishVolumeRequest {
    v1::NodeUnpublishVolumeRequest {
        volume_id: handle.to_owned(),
        target_path: text(target),
    }
}

pub(crate) fn stats_request(
    handle: &str,
    path: &Path,
    staging: &Path,
) -> v1::NodeGetVolumeStatsRequest {
    v1::NodeGetVolumeStatsRequest {
        volume_id: handle.to_owned(),
        volume_path: text(path),
        staging_target_path: text(staging),
    }
}

/// A path as the protocol carries it.
pub(crate) fn text(path: &Path) -> String {
    path.to_str().expect("a path in UTF-8").to_owned()
}
